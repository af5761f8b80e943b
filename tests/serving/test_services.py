"""The service with each kind of model: over HTTP it gives the same answers as the model's own class."""

import json

import pytest

pytest.importorskip("fastapi", reason="the extra 'serve' is not installed")
testclient = pytest.importorskip("fastapi.testclient", reason="the framework's test client needs httpx")
from korean_text import VOCAB  # noqa: E402
from small_models import config, with_large_weights  # noqa: E402

import kobert_tf2 as kb  # noqa: E402
from kobert_tf2.errors import InputError  # noqa: E402
from kobert_tf2.labelling.settings import ClassifierSettings, TaggerSettings  # noqa: E402
from kobert_tf2.serving import http, services  # noqa: E402
from kobert_tf2.serving.limits import Limits  # noqa: E402
from kobert_tf2.serving.mask_filler import MaskFiller  # noqa: E402
from kobert_tf2.serving.requests import Fill, prepare_fill  # noqa: E402

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


# Sends every text through the other process too.
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


@pytest.mark.parametrize("kept", [{}, {"max_seq_length": 9, "doc_stride": 2}])
def test_a_tagger_finds_as_its_class_does(tmp_path, kept):
    path = saved(tmp_path / "tagger", kb.BertForTokenClassification, labels=LABELS)
    file = tmp_path / "tagger" / "config.json"
    settings = TaggerSettings(**kept).to_config()
    file.write_text(json.dumps({**json.loads(file.read_text("utf-8")), "task_specific_params": settings}), "utf-8")
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


@pytest.mark.parametrize("problem_type", ["single_label_classification", "multi_label_classification", "regression"])
@pytest.mark.parametrize("takes_pairs", [True, False])
def test_a_classifier_answers_as_its_class_does(tmp_path, problem_type, takes_pairs):
    labels = ["number"] if problem_type == "regression" else ["가", "나", "다"]
    settings = ClassifierSettings(takes_pairs=takes_pairs).to_config()
    path = saved(tmp_path / "classifier", kb.BertForSequenceClassification, labels=labels, problem_type=problem_type)
    file = tmp_path / "classifier" / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text("utf-8")), "task_specific_params": settings}), "utf-8")
    classifier = kb.Classifier.load(path)
    with client_of(path) as client:
        for text in TEXTS[:1] + TEXTS[3:]:
            body = {"text": text, **({"text_pair": "나무를 심었다"} if takes_pairs else {})}
            found = without_time(client.post("/classify", json=body))
            expected = classifier.predict([tuple(body.values()) if takes_pairs else text])[0]
            assert found.keys() == expected.keys()
            assert found.get("label") == expected.get("label")
            for name in ("score", "scores"):
                assert found.get(name) == (pytest.approx(expected[name], abs=1e-5) if name in expected else None)
        wrong = {"text": "가", **({} if takes_pairs else {"text_pair": "나"})}
        response = client.post("/classify", json=wrong)
        assert (response.status_code, "this model was trained on" in response.text) == (422, True)
        assert ("text_pair" in client.get("/").text) == takes_pairs


@pytest.mark.parametrize("architecture", ["BertForPreTraining", "BertForMaskedLM"])
def test_masks_are_filled_as_the_model_says(tmp_path, architecture):
    path = saved(tmp_path / "pretrained", kb.BertForPreTraining)
    file = tmp_path / "pretrained" / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text("utf-8")), "architectures": [architecture]}), "utf-8")
    filler = MaskFiller.load(path)
    model, tokenizer = kb.BertForPreTraining.from_pretrained(path), kb.Tokenizer.from_pretrained(path)
    with client_of(path) as client:
        for text in ("사과 [MASK]", "[MASK] 나무를 [MASK]", "😀[MASK]"):
            found = without_time(client.post("/fill-mask", json={"text": text, "n_best": 3}))["masks"]
            assert [text[mask["start"] : mask["end"]] for mask in found] == ["[MASK]"] * text.count("[MASK]")
            assert found[0]["candidates"][0]["piece"] == filler.fill(text)[0]["candidates"][0]["piece"]
            assert all(len(mask["candidates"]) == 3 for mask in found)
            ids = prepare_fill(Fill(text), tokenizer=tokenizer, max_seq_length=24).features
            logits = model(ids)["masked_lm_logits"].numpy()[0, : len(found)]
            best = tokenizer.convert_ids_to_tokens(logits.argmax(-1).tolist())
            assert [mask["candidates"][0]["piece"] for mask in found] == best
        for text in ("사과", "[MASK]" * 11, "사과 " * 40 + "[MASK]"):
            response = client.post("/fill-mask", json={"text": text})
            assert (response.status_code, "text: expected" in response.text) == (422, True)
        assert "view.js" in client.get("/").text


def test_a_model_that_answers_nothing_is_refused(tmp_path):
    with pytest.raises(InputError, match="expected a model that answers questions, classifies, fills masks"):
        services.load(saved(tmp_path / "backbone", kb.BertBackbone))
    path = saved(tmp_path / "tagger", kb.BertForTokenClassification, labels=LABELS)
    with pytest.raises(InputError, match="null_score_diff_threshold: expected a reader"):
        services.load(path, null_score_diff_threshold=0.0)
