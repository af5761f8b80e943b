"""Serving never uses a head that is not in the weights; the labels described by a classifier's export."""

import numpy as np
import pytest
import tensorflow as tf
import warm_python
from paths import ROOT
from slow_cases import rest_slow
from small_models import batch, config, numpy, save_tf1, with_large_weights

from kobert_tf2 import files
from kobert_tf2.bert import models
from kobert_tf2.errors import InputError
from kobert_tf2.serving import export
from kobert_tf2.serving.predictor import Predictor
from kobert_tf2.tokenization.tokenizer import Tokenizer

PIECES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"가나다라마바사아자차카타파하"]
NAMES = ("좋음", "싫음", "모름")


@pytest.fixture(scope="module")
def tokenizer():
    return Tokenizer(PIECES, pre_tokenizer="none")


@pytest.fixture(scope="module")
def pretrained(tokenizer, tmp_path_factory):
    """Masked LM, next sentence and pooler: no span, no classifier."""
    folder = str(tmp_path_factory.mktemp("pretrained") / "model")
    with_large_weights(models.BertForPreTraining(config())).save_pretrained(folder, tokenizer)
    return folder


@pytest.fixture(scope="module")
def reader(tokenizer, tmp_path_factory):
    """A span head and no pooler."""
    folder = str(tmp_path_factory.mktemp("reader") / "model")
    with_large_weights(models.BertForQuestionAnswering(config())).save_pretrained(folder, tokenizer)
    return folder


def test_a_predictor_needs_a_span_head(pretrained):
    with pytest.raises(InputError, match=r"the weights hold no span head \(qa_outputs") as refused:
        Predictor.load(pretrained)
    assert pretrained in str(refused.value)


@pytest.mark.parametrize("head", ["reading", "classification", "tokens"])
def test_an_export_needs_its_head(head, pretrained, tmp_path):
    with pytest.raises(InputError, match=r"the weights hold no (span|classification) head"):
        export.export(pretrained, str(tmp_path / "export"), head=head)
    assert not (tmp_path / "export").exists()


def test_a_head_that_only_config_json_names_is_not_there(pretrained, tokenizer, tmp_path):
    models.BertForSequenceClassification.from_pretrained(pretrained).save_pretrained(tmp_path / "model", tokenizer)
    assert files.read_json(f"{tmp_path}/model/config.json")["architectures"] == ["BertForSequenceClassification"]
    with pytest.raises(InputError, match="no classification head"):
        export.export(f"{tmp_path}/model", str(tmp_path / "export"))


def test_a_head_in_memory_is_exported_once_it_is_trained(pretrained, tokenizer, tmp_path):
    model = models.BertForQuestionAnswering.from_pretrained(pretrained)
    with pytest.raises(InputError, match="the span head of this model came with no weights and was not trained"):
        export.export_model(model, tokenizer, str(tmp_path / "export"))
    assert not (tmp_path / "export").exists()
    model.span.kernel.assign_add(np.ones((16, 2), "float32"))
    assert export.export_model(model, tokenizer, str(tmp_path / "export"), with_text=False)["head"] == "reading"


@pytest.mark.parametrize("in_memory", [True, False])
def test_an_embedding_has_no_pooled_output_where_the_weights_have_no_pooler(in_memory, reader, tokenizer, tmp_path):
    if in_memory:
        model = models.BertBackbone.from_pretrained(reader, dtype="mixed_bfloat16")
        path = export.export_model(model, tokenizer, str(tmp_path))["path"]
    else:
        path = export.export(reader, str(tmp_path), head="embedding")["path"]
    inputs = {name: value for name, value in batch().items() if name != "masked_lm_positions"}
    outputs = tf.saved_model.load(path).signatures["serving_default"](**{k: tf.constant(v) for k, v in inputs.items()})
    assert set(outputs) == {"sequence_output", "mean_output"}
    expected = models.BertBackbone.from_pretrained(reader, add_pooling_layer=False)(inputs)
    np.testing.assert_allclose(outputs["sequence_output"], expected["sequence_output"], atol=1e-5)


def test_an_embedding_keeps_the_pooler_that_there_is(pretrained, tmp_path):
    path = export.export(pretrained, str(tmp_path), head="embedding")["path"]
    assert "pooled_output" in tf.saved_model.load(path).signatures["serving_default"].structured_outputs


@pytest.mark.parametrize("how", rest_slow(["hf", "tf1", "in memory"]))
@pytest.mark.parametrize(
    ("problem", "probabilities"),
    [
        (None, lambda x: np.exp(x) / np.exp(x).sum(-1, keepdims=True)),
        ("multi_label_classification", lambda x: 1 / (1 + np.exp(-x))),
        ("regression", None),
    ],
)
@pytest.mark.parametrize("cls", [models.BertForSequenceClassification, models.BertForTokenClassification])
def test_an_export_has_the_labels_in_the_order_of_the_head(cls, problem, probabilities, how, tokenizer, tmp_path):
    model = with_large_weights(cls(config(), labels=NAMES, problem_type=problem))
    if how == "in memory":
        path = export.export_model(model, tokenizer, str(tmp_path / "export"))["path"]
    elif how == "hf":
        model.save_pretrained(tmp_path / "hf", tokenizer)
        path = export.export(f"{tmp_path}/hf", str(tmp_path / "export"))["path"]
    else:
        folder = save_tf1(model, tmp_path / "tf1")
        tokenizer.save_pretrained(folder)
        kind = {"architecture": cls.__name__, "id2label": dict(enumerate(NAMES)), "problem_type": problem}
        files.write_json(f"{folder}/bert_config.json", files.read_json(f"{folder}/bert_config.json") | kind)
        path = export.export(folder, str(tmp_path / "export"))["path"]
    assert files.read_json(f"{path}/assets/serving.json")["labels"] == list(NAMES)
    in_assets = files.read_json(f"{path}/assets/config.json")
    assert in_assets["id2label"] == {"0": "좋음", "1": "싫음", "2": "모름"}
    assert in_assets["label2id"] == {"좋음": 0, "싫음": 1, "모름": 2}
    assert in_assets.get("problem_type") == problem
    assert in_assets["architectures"] == [cls.__name__]
    inputs = {name: tf.constant(value) for name, value in batch().items() if name != "masked_lm_positions"}
    outputs = numpy(tf.saved_model.load(path).signatures["serving_default"](**inputs))
    np.testing.assert_allclose(outputs["logits"], model(inputs)["logits"], atol=1e-5)
    assert ("probabilities" in outputs) == (probabilities is not None)
    if probabilities:
        np.testing.assert_allclose(outputs["probabilities"], probabilities(outputs["logits"]), atol=1e-5)


def test_labels_that_cannot_be_stop_an_export(tokenizer, tmp_path):
    models.BertForSequenceClassification(config(), labels=NAMES).save_pretrained(tmp_path / "model", tokenizer)
    path = f"{tmp_path}/model/config.json"
    files.write_json(path, files.read_json(path) | {"id2label": {"0": "좋음", "2": "모름"}, "label2id": None})
    with pytest.raises(InputError, match="but 1 is missing"):
        export.export(f"{tmp_path}/model", str(tmp_path / "export"))
    assert not (tmp_path / "export").exists()


def test_the_tool_ends_with_one_and_a_sentence_and_leaves_nothing(pretrained, tmp_path):
    flags = ["--head=reading", f"--output_dir={tmp_path}/export", f"--model_dir={pretrained}"]
    result = warm_python.run([ROOT / "tools/export_model.py", *flags])
    assert result.returncode == 1, result.stderr
    assert result.stderr.splitlines()[-1].startswith(f"error: {pretrained}: the weights hold no span head")
    assert "Traceback" not in result.stderr
    assert result.stdout == ""
    assert list(tmp_path.iterdir()) == []
