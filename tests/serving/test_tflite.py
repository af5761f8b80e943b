"""The TFLite file gives the model's outputs; with fewer bits per weight it is smaller and reports the difference."""

import os

import numpy as np
import pytest
import tensorflow as tf

import kobert_tf2 as kb
from kobert_tf2.errors import InputError
from kobert_tf2.serving import export, onnx, tflite

VOCAB = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"가나다라마바사"]
CONFIG = kb.BertConfig(
    vocab_size=len(VOCAB), hidden_size=64, num_hidden_layers=2, num_attention_heads=2, intermediate_size=128,
    max_position_embeddings=64, initializer_range=0.3,
)  # fmt: skip


def exported(model, folder, **options) -> dict:
    return export.export_model(
        model, kb.Tokenizer(VOCAB, pre_tokenizer="none"), str(folder), file_format="tflite", **options
    )


def answers(folder, inputs: dict) -> dict:
    interpreter = tf.lite.Interpreter(model_path=f"{folder}/1/model.tflite")
    return interpreter.get_signature_runner("serving_default")(**inputs)


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize(
    ("head", "act"),
    [
        (kb.BertForQuestionAnswering, "gelu_new"),
        pytest.param(kb.BertForSequenceClassification, "gelu", marks=pytest.mark.slow),
        pytest.param(kb.BertForTokenClassification, "relu", marks=pytest.mark.slow),
        pytest.param(kb.BertForPreTraining, "gelu", marks=pytest.mark.slow),
        pytest.param(kb.BertBackbone, "silu", marks=pytest.mark.slow),
    ],
)
def test_the_interpreter_gives_the_models_outputs_for_any_size(head, act, tmp_path):
    model = head(kb.BertConfig(**{**CONFIG.to_dict(), "hidden_act": act}))
    summary = exported(model, tmp_path)
    assert summary["largest_difference"] <= 1e-4
    assert summary["weights"] == "float32"
    assert sorted(os.listdir(tmp_path / "1")) == ["assets", "model.tflite"]
    assert "vocab.txt" in os.listdir(tmp_path / "1" / "assets")
    for shape in ((2, 33), (1, 64), (5, 3)):
        inputs = onnx.random_inputs(tuple(model.input), *shape, len(VOCAB), 2)
        found = answers(tmp_path, inputs)
        for name, expected in model(inputs, training=False).items():
            np.testing.assert_allclose(found[name], expected, atol=1e-4, err_msg=name)


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.slow
def test_fewer_bits_make_a_smaller_file_and_the_share_of_equal_answers_is_said(tmp_path):
    model = kb.BertForQuestionAnswering(CONFIG)
    sizes, summaries = {}, {}
    for weights in tflite.WEIGHTS:
        summaries[weights] = exported(model, tmp_path / weights, weights=weights)
        sizes[weights] = os.path.getsize(tmp_path / weights / "1" / "model.tflite")
    assert sizes["float16"] < 0.7 * sizes["float32"]
    assert sizes["int8"] < 0.8 * sizes["float16"]
    assert summaries["float32"]["equal_answers"] == 1
    assert 0.98 <= summaries["float16"]["equal_answers"] <= 1
    assert 0.7 <= summaries["int8"]["equal_answers"] <= 1
    assert summaries["int8"]["largest_difference"] > 1e-4


def test_a_file_that_differs_is_not_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(tflite, "TOLERANCE", -1.0)
    with pytest.raises(InputError, match="TFLite's outputs differ from TensorFlow's by"):
        exported(kb.BertForSequenceClassification(CONFIG), tmp_path / "out")
    assert not (tmp_path / "out" / "1").exists()


def test_another_kind_of_weights_is_a_sentence(tmp_path):
    with pytest.raises(InputError, match="weights: expected one of float32, float16, int8"):
        exported(kb.BertBackbone(CONFIG), tmp_path / "out", weights="int4")
    with pytest.raises(InputError, match="weights: float16 is for the format tflite, but the format is onnx"):
        export.export_model(
            kb.BertBackbone(CONFIG), kb.Tokenizer(VOCAB, pre_tokenizer="none"), str(tmp_path / "out"),
            file_format="onnx", weights="float16",
        )  # fmt: skip


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.slow
def test_tensorflows_converter_takes_the_keras_model_and_the_exported_saved_model(tmp_path):
    model = kb.BertForSequenceClassification(CONFIG)
    export.export_model(model, kb.Tokenizer(VOCAB, pre_tokenizer="none"), str(tmp_path), with_text=False)
    inputs = onnx.random_inputs(tuple(model.input), 2, 9, len(VOCAB), 2)
    for converter in (
        tf.lite.TFLiteConverter.from_keras_model(model),
        tf.lite.TFLiteConverter.from_saved_model(f"{tmp_path}/1", signature_keys=["serving_default"]),
    ):
        run = tf.lite.Interpreter(model_content=converter.convert()).get_signature_runner("serving_default")
        np.testing.assert_allclose(run(**inputs)["logits"], model(inputs)["logits"], atol=1e-4)
