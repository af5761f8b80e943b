"""The ONNX file gives what the model gives. Skipped where the extra `onnx` is not installed."""

import os

import numpy as np
import pytest

pytest.importorskip("tf2onnx", reason="the extra 'onnx' is not installed")
onnxruntime = pytest.importorskip("onnxruntime", reason="the extra 'onnx' is not installed")

import kobert_tf2 as kb  # noqa: E402
from kobert_tf2 import onnx_export, serving  # noqa: E402
from kobert_tf2.errors import InputError  # noqa: E402

VOCAB = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"가나다라마바사"]
CONFIG = kb.BertConfig(
    vocab_size=len(VOCAB), hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32,
    max_position_embeddings=64, initializer_range=0.4,
)  # fmt: skip
HEADS = [kb.BertForQuestionAnswering, kb.BertForPreTraining]
HEADS += [pytest.param(head, marks=pytest.mark.slow) for head in (kb.BertForSequenceClassification, kb.BertBackbone)]


@pytest.mark.parametrize("head", HEADS)
def test_onnxruntime_gives_the_models_outputs_for_any_size(head, tmp_path):
    model = head(CONFIG)
    tokenizer = kb.Tokenizer(VOCAB, pre_tokenizer="none")
    result = serving.export_model(model, tokenizer, str(tmp_path), file_format="onnx")
    assert result["largest_difference"] < 1e-4
    assert sorted(os.listdir(f"{tmp_path}/1")) == ["assets", "model.onnx"]
    assert "vocab.txt" in os.listdir(f"{tmp_path}/1/assets")
    session = onnxruntime.InferenceSession(f"{tmp_path}/1/model.onnx", providers=["CPUExecutionProvider"])
    names = tuple(entry.name for entry in session.get_inputs())
    inputs = onnx_export._random_inputs(names, 2, 33, len(VOCAB))
    outputs = dict(zip([o.name for o in session.get_outputs()], session.run(None, inputs), strict=True))
    for name, value in model(inputs, training=False).items():
        np.testing.assert_allclose(outputs[name], value, atol=1e-4)


def test_a_file_that_differs_is_not_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(onnx_export, "TOLERANCE", -1.0)
    tokenizer = kb.Tokenizer(VOCAB, pre_tokenizer="none")
    with pytest.raises(InputError, match="the ONNX file differs from the model"):
        serving.export_model(kb.BertBackbone(CONFIG), tokenizer, str(tmp_path), file_format="onnx")
    assert os.listdir(tmp_path) == []
