"""The training step on processors: the stretches between the matrix products, each one XLA program with its gradient.

For TensorFlow, where XLA does not compile the whole step. There the matrix products belong to oneDNN, which has the
processor's bfloat16 units, and everything between them would run operation by operation, each a pass over memory. The
mathematics is that of `plain.py`, and the tests hold the two together; where XLA compiles the whole step (a GPU, a
TPU), it fuses `plain.py` itself. What is done, and why:

- `affine`: a matrix product with its bias, which oneDNN adds while it writes, and whose gradient is a plain product.
  oneDNN multiplies float32 by a transposed weight at two thirds of the speed, so the weight is transposed first, which
  takes a small fraction of the product's time.
- `activate`, `residual_norm`, `normed_and_dropped`: one pass forward and one or two backward. Kept for the gradient are
  the inputs or the normalised values, never a mask: the counter's hash is cheaper than a byte of memory.
- `gelu_tanh`: by a power instead of a tangent. XLA computes either in one long chain, where every operation waits for
  the one before; `_power` has half of it beside the other half.
- `vocabulary_logits`: the product with the embeddings, whose gradient would else be computed transposed and then
  transposed back.
- `embed_words`: the words of a batch, and the table for that product. The gradient of the words is added to the
  product's in place; else a table of zeros would be filled with it, and both would be added up in a third.
- `rows_of`: a few rows of a sequence or a table, picked by a product, because one thread adds up a gather's gradient.
- `split_heads`: query, key and value come out of one product; they are separated and transposed in one pass, and their
  gradients joined in one (slices of a tensor would each have a gradient of its size, mostly zeros), as 64-bit words.
- `attend`: the softmax's gradient needs no mask: where `p` are the probabilities and `d` those left by dropout, it is
  `d * g - p * sum(d * g)` for the gradient `g` of `d`. And the sum over a row is that of its outputs times their
  gradient (Dao et al. 2022, FlashAttention, appendix B.2), which are a head's width and not the sequence's.
- `cross_entropy`: from the scores in the compute type: neither float32 logits nor their softmax are stored.
"""

import functools
import math
from collections.abc import Callable, Sequence

import keras
import tensorflow as tf

from kobert_tf2.bert.dropout import Drop, keep_mask
from kobert_tf2.bert.kernels import plain, tracing
from kobert_tf2.bert.kernels.weights import gamma_and_beta, kernel_and_bias, shared_products
from kobert_tf2.bert.kernels.xla import compiled


def applies(*tensors: tf.Tensor) -> bool:
    """Whether a graph for processors is being traced, with these tensors in it, all of static shapes.

    XLA compiles its programs for one shape each.
    """
    if not tracing.is_for_cpu() or tf.executing_eagerly():
        return False
    return all(tf.is_tensor(x) and x.shape.is_fully_defined() for x in tensors)


# ------------------------------------------------------------------------------------------------------------------
# The kernels, as in `plain.py`
# ------------------------------------------------------------------------------------------------------------------


def embed_words(table: keras.Variable, ids: tf.Tensor, dtype: str) -> tuple:
    @tf.custom_gradient
    def call(table: tf.Tensor) -> tuple:
        def gradient(of_rows: tf.Tensor, of_table: tf.Tensor) -> tf.Tensor:
            of_rows = tf.reshape(of_rows, [-1, table.shape[1]])
            return compiled(_with_rows_added, of_table, tf.reshape(ids, [-1, 1]), of_rows)

        return (tf.gather(table, ids), tf.cast(table, dtype)), gradient

    return call(tf.convert_to_tensor(table))


def rows_of(table: tf.Tensor, ids: tf.Tensor) -> tf.Tensor:
    return tf.matmul(tf.one_hot(ids, table.shape[-2], dtype=table.dtype), table)


def norm_and_dropout(x: tf.Tensor, norm: keras.layers.Layer, *, drop: Drop | None, dtype: str) -> tf.Tensor:
    states = normed_and_dropped(_rows(x), *gamma_and_beta(norm), epsilon=norm.epsilon, drop=drop, dtype=dtype)
    return tf.reshape(states, x.shape)


def attention(
    query_states: tf.Tensor,
    states: tf.Tensor,
    mask_scores: tf.Tensor,
    projections: Sequence,
    *,
    num_heads: int,
    drop: Drop | None,
) -> tf.Tensor:
    heads: list[tf.Tensor] = []
    for x, layers in shared_products(query_states, states, projections):
        joined = affine(_rows(x), *kernel_and_bias(*layers))
        heads += split_heads(joined, batch=x.shape[0], num_heads=num_heads, parts=len(layers))
    query, key, value = heads
    return tf.reshape(attend(query, key, value, mask_scores, drop=drop), query_states.shape)


def dense_activation(x: tf.Tensor, dense: keras.layers.Dense, activation: Callable) -> tf.Tensor:
    inner = affine(_rows(x), *kernel_and_bias(dense))
    inner = gelu_tanh(inner) if activation is plain.gelu_tanh else activate(inner, activation)
    return tf.reshape(inner, (*x.shape[:-1], dense.units))


def dense_residual_norm(
    x: tf.Tensor, dense: keras.layers.Dense, residual: tf.Tensor, norm: keras.layers.Layer, *, drop: Drop | None
) -> tf.Tensor:
    products = affine(_rows(x), *kernel_and_bias(dense))
    states = residual_norm(products, _rows(residual), *gamma_and_beta(norm), epsilon=norm.epsilon, drop=drop)
    return tf.reshape(states, residual.shape)


def vocabulary_logits(states: tf.Tensor, table: tf.Tensor, bias: tf.Tensor) -> tf.Tensor:
    scores = times_rows(_rows(states), table, bias)
    return tf.cast(tf.reshape(scores, (*states.shape[:-1], table.shape[0])), tf.float32)


def cross_entropy(logits: tf.Tensor, labels: tf.Tensor) -> tuple:
    scores = _rows(_before_cast(logits))
    return tuple(tf.reshape(x, labels.shape) for x in cross_entropy_of_rows(scores, tf.reshape(labels, [-1])))


def _rows(x: tf.Tensor) -> tf.Tensor:
    """[B, S, H] -> [B * S, H]"""
    return tf.reshape(x, (-1, x.shape[-1]))


def _before_cast(logits: tf.Tensor) -> tf.Tensor:
    """The bfloat16 or float16 scores that float32 logits were cast from, if they were: half of the memory to read.

    Nothing else reads the logits then, and TensorFlow prunes them from the graph.
    """
    operation = logits.op
    if operation.type == "Cast" and operation.inputs[0].dtype in (tf.bfloat16, tf.float16):
        return operation.inputs[0]
    return logits


# ------------------------------------------------------------------------------------------------------------------
# Sums, in float32
# ------------------------------------------------------------------------------------------------------------------


def _wide(x: tf.Tensor) -> tf.Tensor:
    return tf.cast(x, tf.float32)


def _kept(shape: tuple, key: tf.Tensor, rate: float) -> tf.Tensor:
    """What dropout multiplies by: 0, or 1 / (1 - rate)."""
    return tf.cast(keep_mask(shape, key, rate), tf.float32) * (1.0 / (1.0 - rate))


def _key_and_rate(drop: Drop | None) -> tuple:
    return (tf.zeros([2], tf.uint32), 0.0) if drop is None else (drop.key, drop.rate)


def _column_sums(x: tf.Tensor) -> tf.Tensor:
    """float32 [columns]"""
    return compiled(_sum_over, x, axis=0)


def _sum_over(x: tf.Tensor, axis: int) -> tf.Tensor:
    """The float32 sums over an axis, which is dropped: up to eight parts of it are added first, then the rest.

    XLA fuses the addition of the parts with whatever computes `x`. A plain sum over more than 32 elements it would turn
    into a reduce-window, and write `x` out before it.
    """
    return tf.reduce_sum(functools.reduce(tf.add, _parts(_wide(x), axis)), axis=axis)


def _parts(x: tf.Tensor, axis: int) -> list:
    return tf.split(x, math.gcd(x.shape[axis], 8), axis=axis)


def _row_sums(x: tf.Tensor) -> tf.Tensor:
    """The sums over the last axis, [..., 1]."""
    return _sum_over(x, axis=-1)[..., None]


def _row_means(x: tf.Tensor) -> tf.Tensor:
    return _row_sums(x) * (1.0 / x.shape[-1])


# ------------------------------------------------------------------------------------------------------------------
# Matrix products, bias and activation
# ------------------------------------------------------------------------------------------------------------------


@tf.custom_gradient
def affine(x: tf.Tensor, kernel: tf.Tensor, bias: tf.Tensor) -> tuple:
    """`x` [rows, from] times `kernel` [from, to], plus `bias` [to]."""

    def gradient(upstream: tf.Tensor) -> tuple:
        of_kernel = tf.matmul(x, upstream, transpose_a=True)
        return _times_transposed(upstream, kernel), of_kernel, tf.cast(_column_sums(upstream), bias.dtype)

    return tf.nn.bias_add(tf.matmul(x, kernel), bias), gradient


@tf.custom_gradient
def times_rows(x: tf.Tensor, table: tf.Tensor, bias: tf.Tensor) -> tuple:
    """`x` [rows, width] times every row of `table` [entries, width], plus `bias` [entries]: [rows, entries]. The
    table's gradient has the table's layout."""

    def gradient(upstream: tf.Tensor) -> tuple:
        of_table = tf.matmul(upstream, x, transpose_a=True)
        return tf.matmul(upstream, table), of_table, tf.cast(_column_sums(upstream), bias.dtype)

    return tf.nn.bias_add(tf.matmul(x, table, transpose_b=True), bias), gradient


def _with_rows_added(table: tf.Tensor, ids: tf.Tensor, rows: tf.Tensor) -> tf.Tensor:
    return tf.tensor_scatter_nd_add(tf.cast(table, rows.dtype), ids, rows)


def _times_transposed(x: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
    if x.dtype != tf.float32:
        return tf.matmul(x, kernel, transpose_b=True)
    return tf.matmul(x, compiled(tf.transpose, kernel))


def activate(x: tf.Tensor, activation: Callable) -> tf.Tensor:
    """`activation(x)`, in float32 inside; `x` [rows, width]."""

    @tf.custom_gradient
    def call(x: tf.Tensor) -> tuple:
        gradient = functools.partial(compiled, _activation_gradient, x, activation=activation)
        return compiled(_activated, x, activation=activation), gradient

    return call(x)


def _activated(x: tf.Tensor, activation: Callable) -> tf.Tensor:
    return tf.cast(activation(_wide(x)), x.dtype)


def _activation_gradient(x: tf.Tensor, upstream: tf.Tensor, activation: Callable) -> tf.Tensor:
    wide = _wide(x)
    (wanted,) = tf.gradients(activation(wide), wide, _wide(upstream))
    return tf.cast(wanted, x.dtype)


@tf.custom_gradient
def gelu_tanh(x: tf.Tensor) -> tuple:
    """GELU in its tanh form."""
    return compiled(_gelu_tanh, x), functools.partial(compiled, _gelu_tanh_gradient, x)


def _gelu_tanh(x: tf.Tensor) -> tf.Tensor:
    wide = _wide(x)
    return tf.cast(wide / (1.0 + _power(-_gelu_exponent(wide))), x.dtype)


def _gelu_tanh_gradient(x: tf.Tensor, upstream: tf.Tensor) -> tf.Tensor:
    wide = _wide(x)
    gate = 1.0 / (1.0 + _power(-_gelu_exponent(wide)))
    slope = 2.0 * _GELU_SCALE * (1.0 + 3.0 * _GELU_CUBE * wide * wide)
    return tf.cast(_wide(upstream) * (gate + wide * gate * (1.0 - gate) * slope), x.dtype)


# Hendrycks and Gimpel 2016: x * (1 + tanh(u)) / 2 with u = _GELU_SCALE * (x + _GELU_CUBE * x^3); and (1 + tanh(u)) / 2
# is 1 / (1 + e^(-2 u)).
_GELU_SCALE = math.sqrt(2.0 / math.pi)
_GELU_CUBE = 0.044715


def _gelu_exponent(x: tf.Tensor) -> tf.Tensor:
    """2 u"""
    return x * (2.0 * _GELU_SCALE + 2.0 * _GELU_SCALE * _GELU_CUBE * x * x)


# 2^f for f from -0.5 to 0.5: 1 at 0, and a relative error of 1.1e-7 at most.
_POWER = (1.0, 0.693147, 0.24022242, 0.055507336, 0.009671513, 0.0013264726)


def _power(x: tf.Tensor) -> tf.Tensor:
    """e^x in float32, with a relative error of about 1e-7 * (1 + |x|); as if `x` were 87 at most and -87 at least."""
    x = tf.clip_by_value(x * math.log2(math.e), -126.0, 126.0)
    whole = tf.round(x)
    f = x - whole
    square = f * f
    a, b, c, d, e, g = _POWER
    power = (a + b * f) + square * ((c + d * f) + square * (e + g * f))
    exponent = tf.bitwise.left_shift(tf.cast(whole, tf.int32), 23)
    return tf.bitcast(tf.bitcast(power, tf.int32) + exponent, tf.float32)


# ------------------------------------------------------------------------------------------------------------------
# Layer normalisation
# ------------------------------------------------------------------------------------------------------------------


def residual_norm(
    x: tf.Tensor, residual: tf.Tensor, gamma: tf.Tensor, beta: tf.Tensor, *, epsilon: float, drop: Drop | None
) -> tf.Tensor:
    """`norm(dropout(x) + residual)`; `x` and `residual` [rows, width]."""
    key, rate = _key_and_rate(drop)

    @tf.custom_gradient
    def call(x: tf.Tensor, residual: tf.Tensor, gamma: tf.Tensor, beta: tf.Tensor) -> tuple:
        outputs, normal, scale = compiled(_added_and_normed, x, residual, gamma, beta, key, rate=rate, epsilon=epsilon)

        def gradient(upstream: tf.Tensor) -> tuple:
            of_x, of_residual = compiled(_added_gradient, normal, scale, gamma, upstream, key, rate=rate)
            return of_x, of_residual, *_scale_and_shift(upstream, normal, gamma)

        return outputs, gradient

    return call(x, residual, gamma, beta)


def _added_and_normed(
    x: tf.Tensor, residual: tf.Tensor, gamma: tf.Tensor, beta: tf.Tensor, key: tf.Tensor, rate: float, epsilon: float
) -> tf.Tensor:
    left = _wide(x) * _kept(x.shape, key, rate) if rate else _wide(x)
    return _normed(left + _wide(residual), gamma, beta, epsilon, x.dtype)


def _added_gradient(
    normal: tf.Tensor, scale: tf.Tensor, gamma: tf.Tensor, upstream: tf.Tensor, key: tf.Tensor, rate: float
) -> tuple:
    of_sum = _norm_gradient(normal, scale, gamma, _wide(upstream))
    of_x = of_sum * _kept(of_sum.shape, key, rate) if rate else of_sum
    return tf.cast(of_x, normal.dtype), tf.cast(of_sum, normal.dtype)


def normed_and_dropped(
    x: tf.Tensor, gamma: tf.Tensor, beta: tf.Tensor, *, epsilon: float, drop: Drop | None, dtype: str
) -> tf.Tensor:
    """`dropout(norm(x))` as `dtype`; `x` [rows, width]."""
    key, rate = _key_and_rate(drop)

    @tf.custom_gradient
    def call(x: tf.Tensor, gamma: tf.Tensor, beta: tf.Tensor) -> tuple:
        outputs, normal, scale = compiled(
            _normed_and_dropped, x, gamma, beta, key, rate=rate, epsilon=epsilon, dtype=dtype
        )

        def gradient(upstream: tf.Tensor) -> tuple:
            of_x, of_normed = compiled(
                _dropped_gradient, normal, scale, gamma, upstream, key, rate=rate, dtype=x.dtype.name
            )
            return of_x, *_scale_and_shift(of_normed, normal, gamma)

        return outputs, gradient

    return call(x, gamma, beta)


def _normed_and_dropped(
    x: tf.Tensor, gamma: tf.Tensor, beta: tf.Tensor, key: tf.Tensor, rate: float, epsilon: float, dtype: str
) -> tuple:
    outputs, normal, scale = _normed(_wide(x), gamma, beta, epsilon, tf.float32)
    if rate:
        outputs *= _kept(x.shape, key, rate)
    return tf.cast(outputs, dtype), normal, scale


def _dropped_gradient(
    normal: tf.Tensor, scale: tf.Tensor, gamma: tf.Tensor, upstream: tf.Tensor, key: tf.Tensor, rate: float, dtype: str
) -> tuple:
    upstream = _wide(upstream)
    if rate:
        upstream *= _kept(upstream.shape, key, rate)
    return tf.cast(_norm_gradient(normal, scale, gamma, upstream), dtype), upstream


def _normed(x: tf.Tensor, gamma: tf.Tensor, beta: tf.Tensor, epsilon: float, dtype: str) -> tuple:
    """The outputs and the normalised values, both as `dtype`, and 1 / standard deviation, float32 [rows, 1]."""
    centred = x - _row_means(x)
    scale = tf.math.rsqrt(_row_means(tf.square(centred)) + epsilon)
    normal = centred * scale
    return tf.cast(normal * _wide(gamma) + _wide(beta), dtype), tf.cast(normal, dtype), scale


def _norm_gradient(normal: tf.Tensor, scale: tf.Tensor, gamma: tf.Tensor, upstream: tf.Tensor) -> tf.Tensor:
    normal, upstream = _wide(normal), upstream * _wide(gamma)
    return scale * (upstream - _row_means(upstream) - normal * _row_means(upstream * normal))


def _scale_and_shift(upstream: tf.Tensor, normal: tf.Tensor, gamma: tf.Tensor) -> list:
    """The gradients of gamma and beta."""
    return [tf.cast(x, gamma.dtype) for x in compiled(_scale_and_shift_sums, upstream, normal)]


def _scale_and_shift_sums(upstream: tf.Tensor, normal: tf.Tensor) -> tuple:
    return _sum_over(_wide(upstream) * _wide(normal), axis=0), _sum_over(upstream, axis=0)


# ------------------------------------------------------------------------------------------------------------------
# Attention
# ------------------------------------------------------------------------------------------------------------------


def split_heads(x: tf.Tensor, *, batch: int, num_heads: int, parts: int) -> list:
    """[B * S, parts * H] -> `parts` tensors [B, N, S, D]: query, key and value of one product."""
    rows, width = x.shape

    @tf.custom_gradient
    def call(x: tf.Tensor) -> tuple:
        split = tf.reshape(x, (batch, rows // batch, parts, num_heads, width // parts // num_heads))
        outputs = tf.unstack(_transposed(split, (2, 0, 3, 1, 4)))
        return outputs, lambda *upstream: tf.concat([_joined(of_part) for of_part in upstream], axis=1)

    return call(x)


def _transposed(x: tf.Tensor, axes: tuple) -> tf.Tensor:
    """`tf.transpose(x, axes)` where the last axis stays the last: moved in pieces of 64 bits where its size allows."""
    # Not as int64, which oneDNN reports on standard error that it cannot take.
    together = tf.float64.size // x.dtype.size
    if x.shape[-1] % together:
        return tf.transpose(x, axes)
    words = tf.bitcast(tf.reshape(x, (*x.shape[:-1], -1, together)), tf.float64)
    transposed = tf.bitcast(tf.transpose(words, axes), x.dtype)
    return tf.reshape(transposed, (*transposed.shape[:-2], -1))


def _joined(x: tf.Tensor) -> tf.Tensor:
    """[B, N, S, D] -> [B * S, H]"""
    batch, heads, length, width = x.shape
    return tf.reshape(_transposed(x, (0, 2, 1, 3)), (batch * length, heads * width))


def _split(x: tf.Tensor, shape: tuple) -> tf.Tensor:
    """[B * S, H] -> `shape`, [B, N, S, D]"""
    batch, heads, length, width = shape
    return _transposed(tf.reshape(x, (batch, length, heads, width)), (0, 2, 1, 3))


def attend(
    query: tf.Tensor, key: tf.Tensor, value: tf.Tensor, mask_scores: tf.Tensor, *, drop: Drop | None
) -> tf.Tensor:
    """Scaled dot-product attention with dropout on the probabilities: [B, N, P, D], [B, N, S, D] twice -> [B * P, H].

    `mask_scores` is [B, 1, 1, S].
    """
    dropout_key, rate = _key_and_rate(drop)
    factor = query.shape[-1] ** -0.5

    @tf.custom_gradient
    def call(query: tf.Tensor, key: tf.Tensor, value: tf.Tensor, mask_scores: tf.Tensor) -> tuple:
        scores = tf.matmul(query, key, transpose_b=True)
        found, left = compiled(_probabilities, scores, mask_scores, dropout_key, factor=factor, rate=rate)
        attended = tf.matmul(left, value)

        def gradient(upstream: tf.Tensor) -> tuple:
            upstream = _split(upstream, query.shape)
            of_value = tf.matmul(left, upstream, transpose_a=True)
            of_left = tf.matmul(upstream, value, transpose_b=True)
            of_scores = compiled(_softmax_gradient, found, left, of_left, attended, upstream, factor=factor)
            return tf.matmul(of_scores, key), tf.matmul(of_scores, query, transpose_a=True), of_value, None

        return _joined(attended), gradient

    return call(query, key, value, mask_scores)


def _probabilities(scores: tf.Tensor, mask_scores: tf.Tensor, key: tf.Tensor, factor: float, rate: float) -> tuple:
    """The softmax, and what dropout leaves of it. Multiplied by 1 / sum, as a division per element costs a third of it
    all."""
    scores, dtype = _wide(scores) * factor + _wide(mask_scores), scores.dtype
    highest = tf.reduce_max(functools.reduce(tf.maximum, _parts(scores, -1)), axis=-1, keepdims=True)
    powers = tf.exp(scores - highest)
    found = powers * (1.0 / _row_sums(powers))
    left = found * _kept(scores.shape, key, rate) if rate else found
    return tf.cast(found, dtype), tf.cast(left, dtype)


def _softmax_gradient(
    found: tf.Tensor, left: tf.Tensor, of_left: tf.Tensor, attended: tf.Tensor, upstream: tf.Tensor, factor: float
) -> tf.Tensor:
    total = _row_sums(_wide(attended) * _wide(upstream))
    return tf.cast((_wide(left) * _wide(of_left) - _wide(found) * total) * factor, found.dtype)


# ------------------------------------------------------------------------------------------------------------------
# Cross entropy over a vocabulary
# ------------------------------------------------------------------------------------------------------------------


@tf.custom_gradient
def cross_entropy_of_rows(scores: tf.Tensor, labels: tf.Tensor) -> tuple:
    """The cross entropy of the labels, and 1.0 where the first of the highest scores is the label's: float32 [rows].

    `scores` [rows, V], `labels` int32 [rows].
    """
    losses, correct, total = compiled(_cross_entropy, scores, _highest(scores), labels)

    def gradient(upstream: tf.Tensor, _: tf.Tensor) -> tuple:
        return compiled(_cross_entropy_gradient, scores, labels, total, upstream), None

    return (losses, correct), gradient


def _highest(scores: tf.Tensor) -> tf.Tensor:
    """The maximum of each row, float32 [rows, 1]. For long rows by oneDNN's max pooling over 64 columns, which runs at
    the speed of memory; XLA takes four times as long."""
    rows, entries = scores.shape
    if entries % 64 == 0:
        columns = tf.reshape(scores, (rows, entries // 64, 1, 64))
        scores = tf.reshape(tf.nn.max_pool2d(columns, (entries // 64, 1), 1, "VALID"), (rows, 64))
    return tf.reduce_max(_wide(scores), axis=-1, keepdims=True)


def _cross_entropy(scores: tf.Tensor, highest: tf.Tensor, labels: tf.Tensor) -> tuple:
    wide, numbers = _wide(scores), tf.range(scores.shape[1])
    total = tf.math.log(_row_sums(tf.exp(wide - highest))) + highest
    of_label = _wide(tf.gather_nd(scores, tf.stack([tf.range(scores.shape[0]), labels], axis=1)))[:, None]
    as_high_before = _row_sums(_wide((wide == highest) & (numbers < labels[:, None])))
    correct = (of_label == highest) & (as_high_before == 0.0)
    return (total - of_label)[:, 0], _wide(correct)[:, 0], total


def _cross_entropy_gradient(scores: tf.Tensor, labels: tf.Tensor, total: tf.Tensor, upstream: tf.Tensor) -> tf.Tensor:
    probabilities = _power(_wide(scores) - total)
    wanted = tf.cast(tf.range(scores.shape[1]) == labels[:, None], tf.float32)
    upstream = (upstream + (total - total)[:, 0])[:, None]  # `_power` may map NaN to a number.
    return tf.cast((probabilities - wanted) * upstream, scores.dtype)
