"""/metrics and the access log."""

import io
import json
import re

import pytest

pytest.importorskip("fastapi", reason="the extra 'serve' is not installed")
testclient = pytest.importorskip("fastapi.testclient", reason="the framework's test client needs httpx")
from prometheus_client.parser import text_string_to_metric_families  # noqa: E402
from stand_in_service import StandIn  # noqa: E402

from kobert_tf2.serving import http  # noqa: E402


@pytest.fixture
def log():
    return io.StringIO()


@pytest.fixture
def client(log):
    app = http.make_app(StandIn(), access=http.Access(log=log))
    with testclient.TestClient(app, raise_server_exceptions=False) as client:
        yield client


def samples(client) -> dict:
    response = client.get("/metrics")
    assert response.headers["content-type"].startswith("text/plain; version=")
    families = text_string_to_metric_families(response.text)
    return {(s.name, *sorted(s.labels.items())): s.value for family in families for s in family.samples}


def test_metrics_count_by_path_and_status(client):
    for context in ("가", "나", 3):
        client.post("/answer", json={"question": "?", "context": context})
    client.post("/answer", json={"question": "broken", "context": "가"})
    for number in range(5):
        client.get(f"/made/up/{number}")
    found = samples(client)
    by_status = {
        key[2][1]: value for key, value in found.items() if key[:2] == ("kobert_requests_total", ("path", "/answer"))
    }
    assert by_status == {"200": 2, "422": 1, "500": 1}
    assert found["kobert_requests_total", ("path", "other"), ("status", "404")] == 5
    assert found["kobert_request_seconds_count", ("path", "/answer")] == 4
    assert found[("kobert_answered_total",)] == 2
    assert found[("kobert_windows_total",)] == 3
    assert found[("kobert_waiting",)] == 0
    assert found[("kobert_requests_in_progress",)] == 1  # this one
    assert found[("process_resident_memory_bytes",)] > 1e6


def test_each_request_is_a_line_without_its_texts(client, log):
    client.post("/answer", json={"question": "비밀인가?", "context": "비밀"}, headers={"User-Agent": 'a"\x0bb' * 100})
    client.get("/없다%0a{}?비밀")
    first, second = map(json.loads, log.getvalue().splitlines())
    assert (first["method"], first["path"], first["status"]) == ("POST", "/answer", 200)
    assert first["client"] == "testclient"
    assert first["milliseconds"] >= 0
    assert first["received_bytes"] > 20
    assert second["received_bytes"] is None
    assert first["sent_bytes"] > 20
    assert len(first["user_agent"]) == 200
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT[\d:.]+\+00:00", first["time"])
    assert (second["path"], second["status"]) == ("/없다\n{}", 404)
    assert "비밀" not in log.getvalue()
