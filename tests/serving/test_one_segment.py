"""A model with type_vocab_size 1: serving refuses pairs and answers single texts."""

import numpy as np
import pytest
import tensorflow as tf
from small_models import batch, config, with_large_weights

from kobert_tf2.bert import models
from kobert_tf2.errors import InputError
from kobert_tf2.serving import export
from kobert_tf2.serving.predictor import Predictor
from kobert_tf2.tokenization.tokenizer import Tokenizer

SINGLE = config(type_vocab_size=1)


@pytest.fixture(scope="module")
def tokenizer():
    return Tokenizer(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"가나다라마"], pre_tokenizer="none")


def test_a_reader_of_one_segment_is_not_served(tokenizer, tmp_path):
    folder = str(tmp_path / "reader")
    models.BertForQuestionAnswering(SINGLE).save_pretrained(folder, tokenizer)
    told = "with type_vocab_size 1 this model takes single texts alone, but a reader takes a question and a context"
    with pytest.raises(InputError, match=told):
        Predictor.load(folder)
    with pytest.raises(InputError, match=told):
        export.export(folder, str(tmp_path / "export"))
    assert not (tmp_path / "export").exists()


@pytest.mark.parametrize("cls", [models.BertForSequenceClassification, models.BertForTokenClassification])
def test_an_export_answers_single_texts_and_refuses_pairs(cls, tokenizer, tmp_path):
    model = with_large_weights(cls(SINGLE))
    serve = tf.saved_model.load(export.export_model(model, tokenizer, str(tmp_path))["path"]).signatures[
        "serving_default"
    ]
    pairs = {name: tf.constant(value) for name, value in batch().items() if name != "masked_lm_positions"}
    single = {**pairs, "segment_ids": tf.zeros_like(pairs["segment_ids"])}
    np.testing.assert_allclose(serve(**single)["logits"], model(single)["logits"], atol=1e-5)
    with pytest.raises(tf.errors.InvalidArgumentError, match="this model takes single texts alone"):
        serve(**pairs)


@pytest.mark.slow
def test_an_onnx_file_answers_single_texts(tokenizer, tmp_path):
    pytest.importorskip("tf2onnx", reason="the extra onnx is not installed")
    model = with_large_weights(models.BertForSequenceClassification(SINGLE))
    written = export.export_model(model, tokenizer, str(tmp_path), file_format="onnx")
    assert written["largest_difference"] <= 1e-4
