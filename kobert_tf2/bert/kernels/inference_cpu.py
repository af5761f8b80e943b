"""The forward pass in the forms that TensorFlow's graph optimiser looks for.

On a processor it makes one oneDNN operation of each: of a matrix product, its bias (a `BiasAdd`, and no reshape between
them) and the activation or residual sum behind them; of the scores of attention, their factor and their mask. Written
as `layers.py` writes them the same stretches are four to ten passes over memory, which take a third of the time of a
question answered in bfloat16. Any batch and length will do, and nothing is compiled: for predictions and exports. The
training step, whose gradient needs what lies between, has `training_cpu.py`.

Two things are done only `for_this_process`, not in a graph that is written to a file. Layer normalisation has the form
that is known of it, a batch normalisation in disguise, which other programs (the converter to ONNX) would take at its
word. And where the weights are final, query, key and value come out of one product, whose joined kernel the graph holds
as a constant.
"""

import contextlib
import threading

import tensorflow as tf

_traced = threading.local()


@contextlib.contextmanager
def for_this_process(*, final_weights: bool = False):
    """Within this context a model is traced to be run here; with `final_weights`, with those that it has now."""
    _traced.here, _traced.final_weights = True, final_weights
    try:
        yield
    finally:
        _traced.here = _traced.final_weights = False


def applies(training) -> bool:
    """Whether this is the forward pass alone. A symbolic `training` may still be either."""
    return training is None or training is False


def stays_here() -> bool:
    """Whether a graph is traced `for_this_process`, and for a processor."""
    return getattr(_traced, "here", False) and {device.device_type for device in tf.config.list_logical_devices()} == {
        "CPU"
    }


def weights_are_final() -> bool:
    """Whether a graph that stays here may hold weights as constants."""
    return stays_here() and _traced.final_weights


def once():
    """Within this context tensors are computed while the graph is traced, and the graph holds them as they are then."""
    return tf.init_scope()


def dense(x, kernel, bias):
    """`x` [rows, from] times `kernel` [from, to], plus `bias` [to]."""
    return tf.nn.bias_add(tf.matmul(x, kernel), bias)


def heads(x, *, batch, num_heads: int, parts: int = 1) -> list:
    """[B * S, parts * H] -> so many [B, N, S, D]: query, key and value of one product are turned in one pass."""
    width = x.shape[-1] // parts // num_heads
    return tf.unstack(tf.transpose(tf.reshape(x, (batch, -1, parts, num_heads, width)), (2, 0, 3, 1, 4)))


def attend(query, key, value, mask_scores):
    """Scaled dot-product attention, [B, N, P, D], [B, N, S, D] twice and [B, 1, 1, S] -> [B * P, H].

    The scores are rounded to the compute type once, after factor and mask; the softmax adds up in float32.
    """
    num_heads, width = query.shape[1], query.shape[3]
    scores = tf.matmul(query, key, transpose_b=True) * tf.constant(width**-0.5, query.dtype)
    probabilities = tf.nn.softmax(scores + tf.cast(mask_scores, query.dtype))
    attended = tf.transpose(tf.matmul(probabilities, value), (0, 2, 1, 3))
    return tf.reshape(attended, (-1, num_heads * width))


def norm(x, gamma, beta, *, epsilon: float):
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
