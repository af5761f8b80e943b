"""The forward pass in the forms that TensorFlow's graph optimiser looks for.

On a processor it makes one oneDNN operation of each: of a matrix product, its bias (a `BiasAdd`, and no reshape between
them) and the activation or residual sum behind them; of the scores of attention, their factor and their mask. Written
as `layers.py` writes them the same stretches are four to ten passes over memory, which take a third of the time of a
question answered in bfloat16. Any batch and length will do, and nothing is compiled: for predictions and exports. The
training step, whose gradient needs what lies between, has `fused.py`.
"""

import tensorflow as tf


def applies(training) -> bool:
    """Whether this is the forward pass alone. A symbolic `training` may still be either."""
    return training is None or training is False


def dense(x, kernel, bias):
    """`x` [rows, from] times `kernel` [from, to], plus `bias` [to]."""
    return tf.nn.bias_add(tf.matmul(x, kernel), bias)


def attend(query, key, value, mask_scores, *, num_heads: int):
    """Scaled dot-product attention, [B * S, H] three times and [B, 1, 1, S] -> [B * S, H].

    The scores are rounded to the compute type once, after factor and mask; the softmax adds up in float32.
    """
    batch, length = tf.shape(mask_scores)[0], tf.shape(mask_scores)[3]
    width = query.shape[-1] // num_heads

    def split(x):
        return tf.transpose(tf.reshape(x, (batch, length, num_heads, width)), (0, 2, 1, 3))

    scores = tf.matmul(split(query), split(key), transpose_b=True) * tf.constant(width**-0.5, query.dtype)
    probabilities = tf.nn.softmax(scores + tf.cast(mask_scores, query.dtype))
    attended = tf.matmul(probabilities, split(value))
    return tf.reshape(tf.transpose(attended, (0, 2, 1, 3)), (batch * length, num_heads * width))
