"""Access control for a service that other machines can reach: API keys and host names."""

import pytest

pytest.importorskip("fastapi", reason="the extra 'serve' is not installed")
testclient = pytest.importorskip("fastapi.testclient", reason="the framework's test client needs httpx")
from stand_in_service import StandIn  # noqa: E402

from kobert_tf2.errors import InputError  # noqa: E402
from kobert_tf2.serving import access, http  # noqa: E402

KEYS = ("first-key-of-our-own", "second-key-of-our-own")


@pytest.fixture(scope="module")
def client():
    app = http.make_app(StandIn(), access=http.Access(keys=KEYS, allowed_hosts=("kobert.test", "*.inner.test")))
    with testclient.TestClient(app, base_url="http://kobert.test") as client:
        yield client


@pytest.mark.parametrize(
    "headers",
    [{"Authorization": f"Bearer {KEYS[0]}"}, {"authorization": f"bearer {KEYS[1]}"}, {"X-API-Key": KEYS[1]}],
)
def test_each_of_the_keys_is_good(client, headers):
    assert client.post("/answer", json={"question": "?", "context": "가"}, headers=headers).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": ""},
        {"Authorization": "Bearer "},
        {"Authorization": f"Basic {KEYS[0]}"},
        {"Authorization": f"Bearer {KEYS[0]}x"},
        {"Authorization": f"Bearer {KEYS[0][:-1]}"},
        {"X-API-Key": ",".join(KEYS)},
        {"X-API-Key": "ÿ"},
    ],
)
@pytest.mark.parametrize(
    ("method", "path"), [("POST", "/answer"), ("GET", "/metrics"), ("GET", "/docs"), ("GET", "/x")]
)
def test_nothing_else_is(client, headers, method, path):
    response = client.request(method, path, headers={name: value.encode("latin-1") for name, value in headers.items()})
    assert response.status_code == 401
    assert response.headers["www-authenticate"] == "Bearer"
    assert "expected the header Authorization" in response.json()["error"]


@pytest.mark.parametrize("path", ["/", "/page.js", "/page.css", "/healthz"])
def test_the_page_and_the_health_need_no_key(client, path):
    assert client.get(path).status_code == 200


@pytest.mark.parametrize(
    ("host", "status"),
    [("kobert.test", 200), ("kobert.test:8080", 200), ("a.inner.test", 200), ("inner.test", 400), ("evil.test", 400)],
)
def test_only_these_hosts(client, host, status):
    assert client.get("/healthz", headers={"Host": host}).status_code == status


def test_without_either_everyone_may_ask():
    with testclient.TestClient(http.make_app(StandIn()), base_url="http://any.test") as client:
        assert client.get("/metrics").status_code == 200


def test_a_file_of_keys(tmp_path):
    path = tmp_path / "keys"
    path.write_text(f"# ours\n\n{KEYS[0]}\n  {KEYS[1]}  \n")
    assert access.read_keys(str(path)) == list(KEYS)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("", "expected one key a line, but there is none"),
        ("# nothing\n", "expected one key a line, but there is none"),
        ("short\n", ":1: expected a key of at least 16 characters .* but this one has 5 characters"),
        (f"{KEYS[0]}\nwith a blank in it\n", ":2: expected a key"),
        ("열여섯글자가넘는한글로된열쇠입니다그렇죠\n", ":1: expected a key"),
    ],
)
def test_a_bad_key_is_a_sentence_that_does_not_show_it(tmp_path, content, sentence):
    path = tmp_path / "keys"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(InputError, match=sentence) as caught:
        access.read_keys(str(path))
    assert "blank in" not in str(caught.value)
