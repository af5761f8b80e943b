"""Models for inference alone: their precision, and one traced function for every batch size and length."""

import numpy as np
import pytest
import tensorflow as tf

from kobert_tf2.bert import inference, models
from kobert_tf2.bert.config import BertConfig
from kobert_tf2.errors import InputError


@pytest.fixture(scope="module")
def model():
    config = BertConfig(
        vocab_size=20, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16,
        max_position_embeddings=16,
    )  # fmt: skip
    return models.BertForQuestionAnswering(config)


def batch(rows: int, length: int) -> dict[str, tf.Tensor]:
    ids = np.random.default_rng(rows * length).integers(1, 20, [rows, length])
    values = (ids, np.ones_like(ids), np.zeros_like(ids))
    return {name: tf.constant(value, tf.int32) for name, value in zip(inference.INPUTS, values, strict=True)}


def test_any_batch_size_and_length_is_answered_as_the_model_answers(model):
    function = inference.compiled(model)
    for rows, length in ((1, 5), (3, 16), (2, 1)):
        inputs, expected = batch(rows, length), model(batch(rows, length), training=False)
        for name, value in function(**inputs).items():
            np.testing.assert_allclose(value, expected[name], atol=1e-5)


def test_the_outputs_are_converted_within_the_function(model):
    function = inference.compiled(model, lambda outputs: tf.argmax(outputs["start_logits"], axis=-1))
    inputs = batch(4, 7)
    expected = model(inputs, training=False)["start_logits"].numpy().argmax(-1)
    np.testing.assert_array_equal(function(**inputs), expected)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_the_policy_is_that_of_the_whole_model_not_a_mixed_one(precision):
    assert inference.dtype_policy(precision) == precision


@pytest.mark.parametrize("precision", ["float16", "mixed_bfloat16", "", None])
def test_another_precision_is_refused(precision):
    with pytest.raises(InputError, match="precision: expected float32 or bfloat16"):
        inference.dtype_policy(precision)
