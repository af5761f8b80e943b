"""The ONNX file gives the same outputs as the model. Skipped if the extra `onnx` is not installed."""

import os

import numpy as np
import pytest

pytest.importorskip("tf2onnx", reason="the extra 'onnx' is not installed")
onnxruntime = pytest.importorskip("onnxruntime", reason="the extra 'onnx' is not installed")

import kobert_tf2 as kb  # noqa: E402
from kobert_tf2.errors import InputError  # noqa: E402
from kobert_tf2.serving import export, onnx  # noqa: E402

VOCAB = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"가나다라마바사"]
CONFIG = kb.BertConfig(
    vocab_size=len(VOCAB), hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32,
    max_position_embeddings=64, initializer_range=0.4,
)  # fmt: skip
BASE = kb.BertConfig(vocab_size=30_000)


def assert_runs_alike(model, folder: str, shapes: list[tuple[int, int]]) -> None:
    """Exports a model, and asks onnxruntime for the model's outputs (and those that an export adds) at these sizes."""
    tokenizer = kb.Tokenizer(VOCAB, pre_tokenizer="none")
    result = export.export_model(model, tokenizer, folder, file_format="onnx")
    assert result["largest_difference"] < 1e-4
    assert sorted(os.listdir(f"{folder}/1")) == ["assets", "model.onnx"]
    assert "vocab.txt" in os.listdir(f"{folder}/1/assets")
    session = onnxruntime.InferenceSession(f"{folder}/1/model.onnx", providers=["CPUExecutionProvider"])
    names = tuple(entry.name for entry in session.get_inputs())
    for batch, length in shapes:
        inputs = onnx.random_inputs(names, batch, length, len(VOCAB), 2)
        outputs = dict(zip([o.name for o in session.get_outputs()], session.run(None, inputs), strict=True))
        for name, value in model(inputs, training=False).items():
            np.testing.assert_allclose(outputs[name], value, atol=1e-4, err_msg=name)
        if "mean_output" in outputs:
            weights = inputs["input_mask"][:, :, None]
            mean = (outputs["sequence_output"] * weights).sum(1) / weights.sum(1)
            np.testing.assert_allclose(outputs["mean_output"], mean, atol=1e-4)
        if "probabilities" in outputs:
            np.testing.assert_allclose(outputs["probabilities"].sum(-1), 1, atol=1e-4)


HEADS = [kb.BertForQuestionAnswering, kb.BertForPreTraining]
OTHERS = (kb.BertForSequenceClassification, kb.BertForTokenClassification, kb.BertBackbone)
HEADS += [pytest.param(head, marks=pytest.mark.slow) for head in OTHERS]


@pytest.mark.parametrize("head", HEADS)
def test_onnxruntime_gives_the_models_outputs_for_any_size(head, tmp_path):
    more = {"num_labels": 3} if head in OTHERS[:2] else {}
    assert_runs_alike(head(CONFIG, **more), str(tmp_path), [(2, 33), (1, 64)])


@pytest.mark.parametrize(
    "hidden_act", ["gelu", *(pytest.param(act, marks=pytest.mark.slow) for act in ("relu", "silu"))]
)
def test_every_activation_runs_in_onnxruntime(hidden_act, tmp_path):
    config = kb.BertConfig(**{**CONFIG.to_dict(), "hidden_act": hidden_act})
    assert_runs_alike(kb.BertForQuestionAnswering(config), str(tmp_path), [(2, 33)])


@pytest.mark.slow
def test_a_model_trained_in_another_precision_runs_in_onnxruntime(tmp_path):
    model = kb.BertForQuestionAnswering(CONFIG, dtype="mixed_bfloat16")
    plain = kb.BertForQuestionAnswering(CONFIG)
    plain.set_weights(model.get_weights())
    export.export_model(model, kb.Tokenizer(VOCAB, pre_tokenizer="none"), str(tmp_path), file_format="onnx")
    session = onnxruntime.InferenceSession(f"{tmp_path}/1/model.onnx", providers=["CPUExecutionProvider"])
    inputs = onnx.random_inputs(tuple(entry.name for entry in session.get_inputs()), 2, 33, len(VOCAB), 2)
    outputs = dict(zip([o.name for o in session.get_outputs()], session.run(None, inputs), strict=True))
    for name, value in plain(inputs, training=False).items():
        np.testing.assert_allclose(outputs[name], value, atol=1e-4, err_msg=name)


@pytest.mark.slow
@pytest.mark.parametrize("head", [kb.BertForQuestionAnswering, kb.BertForPreTraining])
def test_a_model_of_base_size_runs_in_onnxruntime(head, tmp_path):
    assert_runs_alike(head(BASE), str(tmp_path), [(2, 128), (1, 384)])


def test_a_file_that_differs_is_not_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(onnx, "TOLERANCE", -1.0)
    tokenizer = kb.Tokenizer(VOCAB, pre_tokenizer="none")
    with pytest.raises(InputError, match="the ONNX file differs from the model"):
        export.export_model(kb.BertBackbone(CONFIG), tokenizer, str(tmp_path), file_format="onnx")
    assert os.listdir(tmp_path) == []
