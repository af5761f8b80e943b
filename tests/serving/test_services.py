"""What the service does with each kind of model: the same answers as the model's own class gives, over HTTP."""

import pytest

pytest.importorskip("fastapi", reason="the extra 'serve' is not installed")
testclient = pytest.importorskip("fastapi.testclient", reason="the framework's test client needs httpx")
from korean_text import VOCAB  # noqa: E402
from small_models import config, with_large_weights  # noqa: E402

import kobert_tf2 as kb  # noqa: E402
from kobert_tf2.errors import InputError  # noqa: E402
from kobert_tf2.serving import http, services  # noqa: E402
from kobert_tf2.serving.limits import Limits  # noqa: E402

TEXTS = ["사과나무를 심었다. 나무가 자랐다.", "", " ", "사과 " * 40, "학교에서 사과나무를 " * 12]
LABELS = ["O", "B-LC", "I-LC", "B-PS", "I-PS"]


def saved(folder, cls, **given) -> str:
    tokenizer = kb.Tokenizer(VOCAB)
    model = with_large_weights(cls(config(vocab_size=len(tokenizer.vocab), num_hidden_layers=1), **given))
    model.save_pretrained(str(folder), tokenizer)
    return str(folder)


def client_of(path, **limits):
    service = services.load(path)
    services.warm_up(service)
    return testclient.TestClient(http.make_app(service, Limits(**limits)))


def without_time(response) -> dict:
    assert response.status_code == 200, response.text
    found = response.json()
    assert found.pop("milliseconds") >= 0
    return found


# Every text by way of the other process too.
@pytest.mark.parametrize("short_characters", [4000, 0])
def test_a_reader_answers_as_its_predictor_does(tmp_path, short_characters):
    path = saved(tmp_path / "reader", kb.BertForQuestionAnswering)
    predictor = kb.Predictor.load(path)
    with client_of(path, short_characters=short_characters) as client:
        for text in TEXTS:
            body = {"question": "무엇을 심었나?", "context": text, "n_best": 3}
            found = without_time(client.post("/answer", json=body))
            expected = predictor.answer(body["question"], text, n_best=3)
            assert [entry["text"] for entry in found["n_best"]] == [entry["text"] for entry in expected["n_best"]]
            assert found["score"] == pytest.approx(expected["score"], abs=1e-4)
            assert (found["start"], found["end"], found["stripped"]) == (
                *(expected["start"], expected["end"]),
                expected["stripped"],
            )


def test_a_tagger_finds_as_its_class_does(tmp_path):
    path = saved(tmp_path / "tagger", kb.BertForTokenClassification, labels=LABELS)
    tagger = kb.Tagger.load(path)
    with client_of(path) as client:
        for text in TEXTS:
            found = without_time(client.post("/entities", json={"text": text}))["entities"]
            expected = tagger.tag(text)
            assert [{**entity, "score": 0} for entity in found] == [{**entity, "score": 0} for entity in expected]
            assert [entity["score"] for entity in found] == pytest.approx([e["score"] for e in expected], abs=1e-5)
        assert any(tagger.tag(text) for text in TEXTS)
        assert client.post("/entities", json={"text": 3}).status_code == 422
        assert client.post("/answer", json={}).status_code == 404


def test_a_model_that_answers_nothing_is_refused(tmp_path):
    with pytest.raises(InputError, match="expected a model that answers questions"):
        services.load(saved(tmp_path / "backbone", kb.BertBackbone))
    path = saved(tmp_path / "tagger", kb.BertForTokenClassification, labels=LABELS)
    with pytest.raises(InputError, match="null_score_diff_threshold: expected a reader"):
        services.load(path, null_score_diff_threshold=0.0)
