"""The kernels that the others are held against, themselves held against NumPy in float64."""

import numpy as np
import pytest
from bert_in_numpy import gelu_erf, gelu_tanh, softmax
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import ops

from kobert_tf2.bert.kernels import plain

RNG = np.random.default_rng(0)


def normal(*shape: int) -> np.ndarray:
    return RNG.normal(size=shape).astype(np.float32)


def test_words_and_the_table_for_the_output_layer():
    table = normal(7, 4)
    words, handed_over = plain.embed_words(ops.convert_to_tensor(table), np.array([[6, 0], [3, 3]]), "float32")
    assert np.array_equal(words, table[[[6, 0], [3, 3]]])
    assert np.array_equal(handed_over, table)


def test_rows_of_one_table_and_of_one_for_each_row_of_the_batch():
    ids = np.array([[0, 4, 4], [2, 1, 0]], np.int32)
    shared, own = normal(5, 3), normal(2, 5, 3)
    assert np.array_equal(plain.rows_of(ops.convert_to_tensor(shared), ids), shared[ids])
    expected = np.stack([own[row][ids[row]] for row in range(2)])
    assert np.array_equal(plain.rows_of(ops.convert_to_tensor(own), ids), expected)


@given(scale=st.floats(1e-3, 1e3), shift=st.floats(-100, 100), width=st.integers(2, 40))
@settings(max_examples=50, deadline=None)
def test_layer_norm(scale, shift, width):
    x = normal(3, width) * np.float32(scale) + np.float32(shift)
    gamma, beta = normal(width), normal(width)
    wide = x.astype(np.float64)
    expected = (wide - wide.mean(-1, keepdims=True)) / np.sqrt(wide.var(-1, keepdims=True) + 1e-12) * gamma + beta
    # Cancellation costs as many digits as the mean is larger than the spread.
    tolerance = 1e-5 * (1 + abs(shift) / scale)
    np.testing.assert_allclose(plain.layer_norm(x, gamma, beta, 1e-12), expected, atol=tolerance, rtol=tolerance)


def test_layer_norm_takes_its_moments_in_float32_whatever_comes():
    """In bfloat16, with 8 bits, the mean of 300 numbers near 100 would be off by whole units."""
    x = ops.cast(100 + normal(2, 300), "bfloat16")
    found = plain.layer_norm(x, np.ones(300, np.float32), np.zeros(300, np.float32), 1e-12)
    assert found.dtype.name == "bfloat16"
    wide = ops.convert_to_numpy(ops.cast(x, "float32")).astype(np.float64)
    expected = (wide - wide.mean(-1, keepdims=True)) / wide.std(-1, keepdims=True)
    np.testing.assert_allclose(ops.convert_to_numpy(ops.cast(found, "float32")), expected, atol=0.02)


def test_attention_is_the_papers_and_a_masked_position_has_no_weight():
    query, key, value = normal(2, 3, 4, 5), normal(2, 3, 6, 5), normal(2, 3, 6, 5)
    visible = np.arange(6) < np.array([[6], [2]])
    mask_scores = np.where(visible, 0, -10000.0).astype(np.float32)[:, None, None, :]
    scores = query.astype(np.float64) @ key.transpose(0, 1, 3, 2) / np.sqrt(5)
    expected = softmax(np.where(visible[:, None, None, :], scores, -np.inf)) @ value
    np.testing.assert_allclose(plain.attend(query, key, value, mask_scores, drop=None), expected, atol=1e-6)


def test_heads_are_split_and_joined_again():
    x = normal(2, 5, 12)
    heads = plain.split_heads(ops.convert_to_tensor(x), 3)
    assert tuple(heads.shape) == (2, 3, 5, 4)
    assert np.array_equal(heads[1, 2, 4], x[1, 4, 8:12])
    assert np.array_equal(plain.join_heads(heads), x)


def test_vocabulary_logits_are_float32_whatever_the_states():
    states, table, bias = normal(2, 3, 4), normal(6, 4), normal(6)
    expected = states @ table.T + bias
    np.testing.assert_allclose(
        plain.vocabulary_logits(*map(ops.convert_to_tensor, (states, table, bias))), expected, atol=1e-5
    )
    narrow = plain.vocabulary_logits(
        ops.cast(states, "bfloat16"), ops.cast(table, "bfloat16"), ops.convert_to_tensor(bias)
    )
    assert narrow.dtype.name == "float32"


def test_cross_entropy_and_who_is_right():
    logits, labels = normal(4, 5), np.array([0, 4, 2, 1], np.int32)
    losses, correct = plain.cross_entropy(logits, labels)
    expected = -np.log(softmax(logits.astype(np.float64))[np.arange(4), labels])
    np.testing.assert_allclose(losses, expected, atol=1e-5)
    assert np.array_equal(correct, (logits.argmax(-1) == labels).astype(np.float32))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("gelu", gelu_erf),
        ("gelu_new", gelu_tanh),
        ("gelu_pytorch_tanh", gelu_tanh),
        ("relu", lambda x: np.maximum(x, 0)),
        ("silu", lambda x: x / (1 + np.exp(-x))),
        ("swish", lambda x: x / (1 + np.exp(-x))),
        ("tanh", np.tanh),
        ("linear", lambda x: x),
    ],
)
def test_activations_by_hugging_faces_names(name, expected):
    x = np.linspace(-6, 6, 101)
    np.testing.assert_allclose(plain.ACTIVATIONS[name](x.astype(np.float32)), expected(x), atol=1e-5)
