"""The forward pass alone, in the forms that TensorFlow's graph optimizer fuses on a processor.

Each of these becomes one oneDNN operation: a matrix product with its bias (a `BiasAdd`, with no reshape in between) and
the activation or residual sum behind it; the scores of attention with their factor and mask. As `plain.py` writes them
the same stretches are four to ten passes over memory, a third of the time of a question answered in bfloat16. Any batch
and length will do, and nothing is compiled: for predictions and exports. A training step, whose gradient needs the
values in between, has `training_cpu.py`.

Two things are done only for a graph that runs in this process (`tracing.for_cpu`), not for one that is written to a
file. Layer normalisation is written as the batch normalisation that TensorFlow recognises and replaces; another program
(the converter to ONNX) would take it literally. And where the weights are final, query, key and value come out of one
product, whose joined kernel is a constant of the graph.
"""

from collections.abc import Callable, Sequence

import keras
import tensorflow as tf
from keras import ops

from kobert_tf2.bert import shared_memory
from kobert_tf2.bert.dropout import Drop, drop_out
from kobert_tf2.bert.kernels import plain, tracing
from kobert_tf2.bert.kernels.plain import cross_entropy, embed_words, rows_of, vocabulary_logits
from kobert_tf2.bert.kernels.weights import gamma_and_beta, kernel_and_bias, shared_products

__all__ = [
    "attention",
    "cross_entropy",
    "dense_activation",
    "dense_residual_norm",
    "embed_words",
    "norm_and_dropout",
    "rows_of",
    "vocabulary_logits",
]


# ------------------------------------------------------------------------------------------------------------------
# The kernels, as in `plain.py`
# ------------------------------------------------------------------------------------------------------------------


def norm_and_dropout(x: tf.Tensor, norm: keras.layers.Layer, *, drop: Drop | None, dtype: str) -> tf.Tensor:
    if not _is_for_this_process():
        return plain.norm_and_dropout(x, norm, drop=drop, dtype=dtype)
    normal = batch_norm_form(_rows(x), *gamma_and_beta(norm), epsilon=norm.epsilon)
    return drop_out(tf.cast(tf.reshape(normal, ops.shape(x)), dtype), drop)


def attention(
    query_states: tf.Tensor,
    states: tf.Tensor,
    mask_scores: tf.Tensor,
    projections: Sequence,
    *,
    num_heads: int,
    drop: Drop | None,
) -> tf.Tensor:
    batch, parts = ops.shape(states)[0], []
    for x, layers in shared_products(query_states, states, projections):
        if tracing.weights_are_final() and _is_for_this_process():
            with tf.init_scope():  # The graph holds the joined weights as they are now.
                kernel, bias = (shared_memory.placed(one, one.dtype) for one in kernel_and_bias(*layers))
            parts += heads(affine(_rows(x), kernel, bias), batch=batch, num_heads=num_heads, parts=len(layers))
        else:
            for layer in layers:
                parts += heads(affine(_rows(x), *kernel_and_bias(layer)), batch=batch, num_heads=num_heads)
    query, key, value = parts
    return tf.reshape(attend(query, key, value, mask_scores), ops.shape(query_states))


def dense_activation(x: tf.Tensor, dense: keras.layers.Dense, activation: Callable) -> tf.Tensor:
    inner = activation(affine(_rows(x), *kernel_and_bias(dense)))
    return tf.reshape(inner, (*ops.shape(x)[:-1], dense.units))


def dense_residual_norm(
    x: tf.Tensor, dense: keras.layers.Dense, residual: tf.Tensor, norm: keras.layers.Layer, *, drop: Drop | None
) -> tf.Tensor:
    total = affine(_rows(x), *kernel_and_bias(dense)) + _rows(residual)
    if _is_for_this_process():
        normal = batch_norm_form(total, *gamma_and_beta(norm), epsilon=norm.epsilon)
    else:
        normal = norm(total)
    return tf.reshape(normal, ops.shape(residual))


def _rows(x: tf.Tensor) -> tf.Tensor:
    """[B, S, H] -> [B * S, H]"""
    return tf.reshape(x, (-1, x.shape[-1]))


def _is_for_this_process() -> bool:
    """Whether the graph that is traced runs here, and on processors."""
    return tracing.is_for_cpu() and {device.device_type for device in tf.config.list_logical_devices()} == {"CPU"}


# ------------------------------------------------------------------------------------------------------------------
# What they are made of, on rows: [B * S, H]
# ------------------------------------------------------------------------------------------------------------------


def affine(x: tf.Tensor, kernel: tf.Tensor, bias: tf.Tensor) -> tf.Tensor:
    """`x` [rows, from] times `kernel` [from, to], plus `bias` [to]."""
    return tf.nn.bias_add(tf.matmul(x, kernel), bias)


def heads(x: tf.Tensor, *, batch: int, num_heads: int, parts: int = 1) -> list:
    """[B * S, parts * H] -> `parts` tensors [B, N, S, D]: query, key and value of one product in one transposition."""
    width = x.shape[-1] // parts // num_heads
    return tf.unstack(tf.transpose(tf.reshape(x, (batch, -1, parts, num_heads, width)), (2, 0, 3, 1, 4)))


def attend(query: tf.Tensor, key: tf.Tensor, value: tf.Tensor, mask_scores: tf.Tensor) -> tf.Tensor:
    """Scaled dot-product attention, [B, N, P, D], [B, N, S, D] twice and [B, 1, 1, S] -> [B * P, H].

    The scores are rounded to the compute type once, after factor and mask; the softmax adds up in float32.
    """
    num_heads, width = query.shape[1], query.shape[3]
    scores = tf.matmul(query, key, transpose_b=True) * tf.constant(width**-0.5, query.dtype)
    probabilities = tf.nn.softmax(scores + tf.cast(mask_scores, query.dtype))
    attended = tf.transpose(tf.matmul(probabilities, value), (0, 2, 1, 3))
    return tf.reshape(attended, (-1, num_heads * width))


def batch_norm_form(x: tf.Tensor, gamma: tf.Tensor, beta: tf.Tensor, *, epsilon: float) -> tf.Tensor:
    """Layer normalisation of `x` [rows, width], the moments in float32: each row is a "channel" of a batch of one."""
    shape = tf.shape(x)
    rows, nothing = shape[:1], tf.constant([], tf.float32)
    normal, *_ = tf.raw_ops.FusedBatchNormV3(
        x=tf.reshape(x, tf.concat([[1], shape, [1]], 0)),
        scale=tf.ones(rows),
        offset=tf.zeros(rows),
        mean=nothing,
        variance=nothing,
        epsilon=epsilon,
        data_format="NCHW",
        is_training=True,
    )
    return tf.reshape(normal, shape) * tf.cast(gamma, x.dtype) + tf.cast(beta, x.dtype)
