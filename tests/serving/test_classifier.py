"""Classification by a loaded model: the predictions for each problem type, and rejected input."""

import json

import numpy as np
import pytest
from korean_text import VOCAB
from small_models import config, with_large_weights

import kobert_tf2 as kb
from kobert_tf2.errors import InputError
from kobert_tf2.labelling import sentences
from kobert_tf2.labelling.settings import ClassifierSettings
from kobert_tf2.serving import export, signatures

LABELS = ["긍정", "부정", "중립"]
TEXTS = ["사과나무를 심었다", "", "나무", "사과나무를 심었다 " * 30]


def save(folder, settings=ClassifierSettings(), cls=kb.BertForSequenceClassification, **head) -> str:  # noqa: B008
    tokenizer = kb.Tokenizer(VOCAB)
    model = with_large_weights(cls(config(vocab_size=len(tokenizer.vocab)), **head))
    model.save_pretrained(str(folder), tokenizer, task_specific_params=settings.to_config())
    return str(folder)


def logits_of(path, texts, max_seq_length):
    tokenizer = kb.Tokenizer.from_pretrained(path)
    examples = [sentences.Example("", *(text if isinstance(text, tuple) else (text, None)), None) for text in texts]
    features = sentences.make_features(examples, tokenizer, max_seq_length=max_seq_length)
    return np.asarray(kb.BertForSequenceClassification.from_pretrained(path)(features)["logits"])


@pytest.fixture(scope="module")
def single(tmp_path_factory):
    return save(tmp_path_factory.mktemp("single") / "model", labels=LABELS)


@pytest.fixture(scope="module")
def several(tmp_path_factory):
    kept = ClassifierSettings(max_seq_length=10, takes_pairs=False, thresholds={"긍정": 0.9, "중립": 0.1})
    folder = tmp_path_factory.mktemp("several") / "model"
    return save(folder, kept, labels=LABELS, problem_type="multi_label_classification")


def test_one_label_is_the_highest_softmax_alone_and_in_a_batch(single):
    classifier = kb.Classifier.load(single)
    assert (classifier.problem_type, classifier.max_seq_length) == ("single_label_classification", 24)
    logits = logits_of(single, TEXTS, 24)
    softmax = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    answers = classifier.predict(TEXTS)
    np.testing.assert_allclose([list(answer["scores"].values()) for answer in answers], softmax, atol=1e-5)
    for answer, row in zip(answers, softmax, strict=True):
        assert answer["label"] == LABELS[row.argmax()]
        assert answer["score"] == max(answer["scores"].values())
    assert classifier.predict(TEXTS[0])["scores"] == pytest.approx(answers[0]["scores"], abs=1e-5)
    assert classifier.predict([]) == []


def test_several_labels_are_sigmoids_above_the_thresholds_that_the_model_keeps(several):
    classifier = kb.Classifier.load(several)
    assert classifier.max_seq_length == 10
    assert classifier.thresholds == pytest.approx({"긍정": 0.9, "부정": 0.5, "중립": 0.1})
    sigmoid = 1 / (1 + np.exp(-logits_of(several, TEXTS, 10)))
    for answer, row in zip(classifier.predict(TEXTS), sigmoid, strict=True):
        np.testing.assert_allclose(list(answer["scores"].values()), row, atol=1e-5)
        given = {name for name, p, t in zip(LABELS, row, (0.9, 0.5, 0.1), strict=True) if p >= t}
        assert {entry["label"] for entry in answer["labels"]} == given
        assert [entry["score"] for entry in answer["labels"]] == sorted(
            (entry["score"] for entry in answer["labels"]), reverse=True
        )
    everything = kb.Classifier.load(several, thresholds=0.0).predict(TEXTS[0])
    assert len(everything["labels"]) == 3
    assert kb.Classifier.load(several, thresholds={"부정": 1.0}).thresholds["긍정"] == pytest.approx(0.9)


def test_a_number_is_the_logit_of_a_pair(tmp_path):
    path = save(tmp_path / "model", ClassifierSettings(takes_pairs=True), num_labels=1, problem_type="regression")
    classifier = kb.Classifier.load(path)
    pairs = [("사과나무", "나무"), ("나무를 심었다", "사과")]
    expected = logits_of(path, pairs, 24)[:, 0]
    assert [answer["score"] for answer in classifier.predict(pairs)] == pytest.approx(expected.tolist(), abs=1e-5)
    with pytest.raises(InputError, match=r"text 1: this model was trained on a pair .* got '나무'"):
        classifier.predict([("나무", "사과"), "나무"])


@pytest.mark.parametrize(
    ("head", "has"),
    [
        ({"labels": LABELS}, "softmax"),
        ({"labels": LABELS, "problem_type": "multi_label_classification"}, "sigmoid"),
        ({"num_labels": 1, "problem_type": "regression"}, None),
        ({"num_labels": 1}, None),
    ],
)
def test_an_exports_signature_gives_what_the_classifier_gives(tmp_path, head, has):
    """The one function that SavedModel, ONNX and TFLite are made of."""
    path = save(tmp_path / "model", **head)
    model, tokenizer = kb.BertForSequenceClassification.from_pretrained(path), kb.Tokenizer.from_pretrained(path)
    servable = signatures.Servable(export.in_float32(model), signatures.HEADS["classification"], tokenizer=tokenizer)
    examples = [sentences.Example("", text, None, None) for text in TEXTS]
    outputs = servable.serve(**sentences.make_features(examples, tokenizer, max_seq_length=24))
    answers = kb.Classifier.load(path).predict(TEXTS)
    if has is None:
        assert outputs.keys() == {"logits"}
        np.testing.assert_allclose(outputs["logits"][:, 0], [answer["score"] for answer in answers], atol=1e-5)
    else:
        expected = [list(answer["scores"].values()) for answer in answers]
        np.testing.assert_allclose(outputs["probabilities"], expected, atol=1e-5)


def test_an_export_answers_as_its_model_does_with_the_thresholds_kept(several, tmp_path):
    export.export(several, str(tmp_path / "export"))
    ours, theirs = kb.Classifier.load(several), kb.Classifier.load(tmp_path / "export")
    for name in ("labels", "problem_type", "thresholds", "max_seq_length", "takes_pairs"):
        assert getattr(theirs, name) == getattr(ours, name)
    for answer, expected in zip(theirs.predict(TEXTS), ours.predict(TEXTS), strict=True):
        assert [entry["label"] for entry in answer["labels"]] == [entry["label"] for entry in expected["labels"]]
        assert answer["scores"] == pytest.approx(expected["scores"], abs=1e-5)
    with pytest.raises(InputError, match="an export computes in float32"):
        kb.Classifier.load(tmp_path / "export", precision="bfloat16")
    with pytest.raises(InputError, match="expected a tagger, but this export's head is classification"):
        kb.Tagger.load(str(tmp_path / "export"))


def test_what_cannot_be_answered_is_refused(single, several, tmp_path):
    classifier = kb.Classifier.load(several)
    for texts, reported in (
        ([("가", "나")], "text 0: this model was trained on a text alone"),
        (["가", None], "text 1: expected a string, or a pair of them, but got None"),
        ([("가", "나", "다")], "text 0: expected a string, or a pair"),
        ([("가", 3)], "text 0: expected a string, or a pair"),
    ):
        with pytest.raises(InputError, match=reported):
            classifier.predict(texts)
    with pytest.raises(InputError, match="thresholds are for several labels"):
        kb.Classifier.load(single, thresholds=0.3)
    with pytest.raises(InputError, match=r"expected labels of .* but got '없음'"):
        kb.Classifier.load(several, thresholds={"없음": 0.3})
    with pytest.raises(InputError, match="max_seq_length: expected 4 to 24, but got 25"):
        kb.Classifier.load(single, max_seq_length=25)
    for cls, head in ((kb.BertBackbone, {}), (kb.BertForTokenClassification, {"labels": ["O", "B-X", "I-X"]})):
        with pytest.raises(InputError, match="hold no"):
            kb.Classifier.load(save(tmp_path / cls.__name__, cls=cls, **head))


def test_all_three_take_many_by_one_name(tmp_path):
    """`predict` is what each calls a batch."""
    reader = kb.Predictor.load(save(tmp_path / "reader", cls=kb.BertForQuestionAnswering))
    tagger = kb.Tagger.load(save(tmp_path / "tagger", cls=kb.BertForTokenClassification, labels=["O", "B-X", "I-X"]))
    pairs = [("나무", "사과나무를 심었다"), ("사과", "나무")]
    assert reader.predict(pairs) == reader.answer_batch(pairs)
    assert tagger.predict(TEXTS[:2]) == tagger.tag_batch(TEXTS[:2])


def test_what_a_model_folder_says_wrongly_is_named(single, tmp_path):
    path = save(tmp_path / "model", labels=LABELS)
    file = tmp_path / "model/config.json"
    kept = json.loads(file.read_text("utf-8"))
    for values, reported in (
        ({"thresholds": {"없음": 0.5}}, "thresholds: expected labels"),
        ({"max_seq_length": "long"}, "max_seq_length to be a whole number"),
        ({"takes_pairs": 1}, "takes_pairs to be true or false"),
        ({"score_range": [5, 0]}, "score_range to be two numbers"),
        ([], "text-classification: expected an object"),
    ):
        file.write_text(json.dumps({**kept, "task_specific_params": {"text-classification": values or [1]}}))
        with pytest.raises(InputError, match=f"config.json.*{reported}"):
            kb.Classifier.load(path)
