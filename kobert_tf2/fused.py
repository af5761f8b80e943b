"""The element-wise stretches of a training step, each as one compiled function with a gradient of its own.

For TensorFlow on processors, where XLA does not compile the whole step: there the matrix products belong to oneDNN,
which has the processor's bfloat16 units, and everything between them would run operation by operation, each a pass
over memory. The mathematics is that of `layers.py` and `losses.py`, and `tests/test_fused.py` holds the two together;
where XLA compiles the whole step (a GPU, a TPU), it makes the same out of those. What is fused, and why:

- `linear`: a matrix product whose gradient is a plain product. oneDNN multiplies float32 by a transposed weight at two
  thirds of the speed, so the weight is turned first, which is a small fraction of the product.
- `bias_and_activation`, `add_and_norm`, `norm_and_drop`: one pass forward and one or two backward. Kept for the
  gradient are the inputs or the normalised values, never a mask: the counter's hash is cheaper than a byte of memory.
- `times_rows`: the product with the embeddings, whose gradient would else be computed turned and then turned back.
- `look_up`: the words of a batch, and the table for that product. The gradient of the words is added to the product's
  where that lies; else a table of zeros would be filled with it, and both would be added up in a third.
- `attend`: query, key and value come out of one product and are taken apart, biased and turned in one pass, and their
  gradients put together in one (slices of a tensor would each have a gradient of its size, mostly zeros). The softmax's
  gradient needs no mask: where `p` are the probabilities and `d` those left by dropout, it is
  `d * g - p * sum(d * g)` for the gradient `g` of `d`.
- `cross_entropy`: over a vocabulary, from the products themselves: neither float32 logits nor their softmax are stored.
- `compiled`: for the optimizer, which reads and writes every parameter some twenty times otherwise.

All shapes must be known while tracing, as XLA compiles for each anew: `applies` says whether they are.
"""

import contextlib
import functools
import threading

import tensorflow as tf

from kobert_tf2.dropout import Drop, keep_mask

# ------------------------------------------------------------------------------------------------------------------
# When, and how
# ------------------------------------------------------------------------------------------------------------------

_context = threading.local()


@contextlib.contextmanager
def fusing(on: bool = True):
    """Within this context layers and losses take the functions of this module.

    It is read while a step is traced, in one thread. `steps.py` enters it, so that exported models and eager calls
    stay free of compiled functions.
    """
    previous = getattr(_context, "products", None)
    _context.products = {} if on else None
    try:
        yield
    finally:
        _context.products = previous


def applies(*tensors) -> bool:
    """Whether these are tensors of a graph that is traced within `fusing`, and of static shapes."""
    if getattr(_context, "products", None) is None or tf.executing_eagerly():
        return False
    return all(tf.is_tensor(x) and x.shape.is_fully_defined() for x in tensors)


def compiled(function, *tensors, **static):
    """`function(*tensors, **static)`, compiled by XLA once for these shapes, types and `static` values."""
    tensors = [tf.convert_to_tensor(x) for x in tensors]
    specs = tuple((tuple(x.shape), x.dtype) for x in tensors)
    return _compiled(function, specs, tuple(sorted(static.items())))(*tensors)


@functools.cache
def _compiled(function, specs, static):
    """Traced outside of the caller's graph and device: another layer, replica or step calls the same program."""
    with tf.init_scope(), tf.device(None):
        program = tf.function(functools.partial(function, **dict(static)), jit_compile=True, autograph=False)
        return program.get_concrete_function(*(tf.TensorSpec(shape, dtype) for shape, dtype in specs))


def _wide(x):
    return tf.cast(x, tf.float32)


def _kept(shape, key, rate: float):
    """What dropout multiplies by: 0, or 1 / (1 - rate)."""
    return tf.cast(keep_mask(shape, key, rate), tf.float32) * (1.0 / (1.0 - rate))


def _key_and_rate(drop: Drop | None):
    return (tf.zeros([2], tf.uint32), 0.0) if drop is None else (drop.key, drop.rate)


def _column_sums(x):
    """float32 [columns]. In bfloat16 as a matrix product, which adds up in float32 at the speed of memory."""
    if x.dtype == tf.float32:
        return compiled(_sum_of_rows, x)
    return _wide(tf.matmul(tf.ones([1, x.shape[0]], x.dtype), x)[0])


def _sum_of_rows(x):
    return tf.reduce_sum(x, axis=0)


# ------------------------------------------------------------------------------------------------------------------
# Matrix products, bias and activation
# ------------------------------------------------------------------------------------------------------------------


@tf.custom_gradient
def linear(x, kernel):
    """`x` [rows, from] times `kernel` [from, to]."""

    def gradient(upstream):
        return _times_turned(upstream, kernel), tf.matmul(x, upstream, transpose_a=True)

    return tf.matmul(x, kernel), gradient


@tf.custom_gradient
def times_rows(x, table):
    """`x` [rows, width] times every row of `table` [entries, width]: [rows, entries]. The table's gradient comes in
    the table's own form."""

    def gradient(upstream):
        return tf.matmul(upstream, table), tf.matmul(upstream, x, transpose_a=True)

    return tf.matmul(x, table, transpose_b=True), gradient


def look_up(variable, ids):
    """The rows `ids` [B, S] of a table [entries, width]. `table_of` then gives the table itself, to be multiplied."""
    rows, _context.products[id(variable)] = _looked_up(tf.convert_to_tensor(variable), ids)
    return rows


def table_of(variable):
    """The table that was looked something up in within this context; the variable, if none was."""
    return (getattr(_context, "products", None) or {}).get(id(variable), variable)


@tf.custom_gradient
def _looked_up(table, ids):
    def gradient(of_rows, of_table):
        of_rows = tf.reshape(of_rows, [-1, table.shape[1]])
        return tf.tensor_scatter_nd_add(of_table, tf.reshape(ids, [-1, 1]), of_rows), None

    return (tf.gather(table, ids), tf.identity(table)), gradient


def _times_turned(x, kernel):
    if x.dtype != tf.float32:
        return tf.matmul(x, kernel, transpose_b=True)
    return tf.matmul(x, compiled(tf.transpose, kernel))


def bias_and_activation(x, bias, activation):
    """`activation(x + bias)`, in float32 inside; `x` [rows, width]."""

    @tf.custom_gradient
    def call(x, bias):
        def gradient(upstream):
            wanted = compiled(_activation_gradient, x, bias, upstream, activation=activation)
            return wanted, tf.cast(_column_sums(wanted), bias.dtype)

        return compiled(_activated, x, bias, activation=activation), gradient

    return call(x, bias)


def _activated(x, bias, activation):
    return tf.cast(activation(_wide(x) + _wide(bias)), x.dtype)


def _activation_gradient(x, bias, upstream, activation):
    biased = _wide(x) + _wide(bias)
    (wanted,) = tf.gradients(activation(biased), biased, _wide(upstream))
    return tf.cast(wanted, x.dtype)


# ------------------------------------------------------------------------------------------------------------------
# Layer normalisation
# ------------------------------------------------------------------------------------------------------------------


def add_and_norm(x, bias, residual, gamma, beta, *, epsilon: float, drop: Drop | None):
    """`norm(dropout(x + bias) + residual)`; `x` and `residual` [rows, width]."""
    key, rate = _key_and_rate(drop)

    @tf.custom_gradient
    def call(x, bias, residual, gamma, beta):
        outputs, normal, scale = compiled(
            _added_and_normed, x, bias, residual, gamma, beta, key, rate=rate, epsilon=epsilon
        )

        def gradient(upstream):
            of_x, of_residual = compiled(_added_gradient, normal, scale, gamma, upstream, key, rate=rate)
            return (
                of_x,
                tf.cast(_column_sums(of_x), bias.dtype),
                of_residual,
                *_scale_and_shift(upstream, normal, gamma),
            )

        return outputs, gradient

    return call(x, bias, residual, gamma, beta)


def _added_and_normed(x, bias, residual, gamma, beta, key, rate, epsilon):
    total = _wide(x) + _wide(bias)
    if rate:
        total *= _kept(x.shape, key, rate)
    return _normed(total + _wide(residual), gamma, beta, epsilon, x.dtype)


def _added_gradient(normal, scale, gamma, upstream, key, rate):
    of_sum = _norm_gradient(normal, scale, gamma, _wide(upstream))
    of_x = of_sum * _kept(of_sum.shape, key, rate) if rate else of_sum
    return tf.cast(of_x, normal.dtype), tf.cast(of_sum, normal.dtype)


def norm_and_drop(x, gamma, beta, *, epsilon: float, drop: Drop | None, dtype):
    """`dropout(norm(x))` as `dtype`; `x` float32 [rows, width]."""
    key, rate = _key_and_rate(drop)

    @tf.custom_gradient
    def call(x, gamma, beta):
        outputs, normal, scale = compiled(
            _normed_and_dropped, x, gamma, beta, key, rate=rate, epsilon=epsilon, dtype=dtype
        )

        def gradient(upstream):
            of_x, of_normed = compiled(_dropped_gradient, normal, scale, gamma, upstream, key, rate=rate)
            return of_x, *_scale_and_shift(of_normed, normal, gamma)

        return outputs, gradient

    return call(x, gamma, beta)


def _normed_and_dropped(x, gamma, beta, key, rate, epsilon, dtype):
    outputs, normal, scale = _normed(x, gamma, beta, epsilon, tf.float32)
    if rate:
        outputs *= _kept(x.shape, key, rate)
    return tf.cast(outputs, dtype), normal, scale


def _dropped_gradient(normal, scale, gamma, upstream, key, rate):
    upstream = _wide(upstream)
    if rate:
        upstream *= _kept(upstream.shape, key, rate)
    return _norm_gradient(normal, scale, gamma, upstream), upstream


def _normed(x, gamma, beta, epsilon, dtype):
    """The outputs, the normalised values, both as `dtype`, and 1 / deviation, float32 [rows, 1]."""
    centred = x - tf.reduce_mean(x, axis=-1, keepdims=True)
    scale = tf.math.rsqrt(tf.reduce_mean(tf.square(centred), axis=-1, keepdims=True) + epsilon)
    normal = centred * scale
    return tf.cast(normal * _wide(gamma) + _wide(beta), dtype), tf.cast(normal, dtype), scale


def _norm_gradient(normal, scale, gamma, upstream):
    normal, upstream = _wide(normal), upstream * _wide(gamma)
    mean = tf.reduce_mean(upstream, axis=-1, keepdims=True)
    along = tf.reduce_mean(upstream * normal, axis=-1, keepdims=True)
    return scale * (upstream - mean - normal * along)


def _scale_and_shift(upstream, normal, gamma):
    """The gradients of gamma and beta. Apart from the rows: XLA adds up columns well only in a program of its own."""
    return [tf.cast(x, gamma.dtype) for x in compiled(_scale_and_shift_sums, upstream, normal)]


def _scale_and_shift_sums(upstream, normal):
    return _sum_of_rows(_wide(upstream) * _wide(normal)), _sum_of_rows(_wide(upstream))


# ------------------------------------------------------------------------------------------------------------------
# Attention
# ------------------------------------------------------------------------------------------------------------------


def attend(products, bias, mask_scores, *, num_heads: int, drop: Drop | None):
    """Scaled dot-product attention with dropout on the probabilities: [B * S, 3 H] -> [B * S, H].

    `products` and `bias` [3 H] are those of query, key and value side by side, `mask_scores` [B, 1, 1, S].
    """
    key, rate = _key_and_rate(drop)
    batch, length = mask_scores.shape[0], mask_scores.shape[-1]
    shape = (batch, length, 3, num_heads, products.shape[-1] // 3 // num_heads)  # [B, S, 3, N, D]
    factor = shape[-1] ** -0.5

    @tf.custom_gradient
    def call(products, bias, mask_scores):
        queries, keys, values = compiled(_taken_apart, products, bias, shape=shape)  # [B, N, S, D] each
        scores = tf.matmul(queries, keys, transpose_b=True)
        found, left = compiled(_probabilities, scores, mask_scores, key, factor=factor, rate=rate)
        outputs = _joined(tf.matmul(left, values))

        def gradient(upstream):
            upstream = _split(upstream, shape)
            of_values = tf.matmul(left, upstream, transpose_a=True)
            of_left = tf.matmul(upstream, values, transpose_b=True)
            of_scores = compiled(_softmax_gradient, found, left, of_left, factor=factor)
            of_queries, of_keys = tf.matmul(of_scores, keys), tf.matmul(of_scores, queries, transpose_a=True)
            together = compiled(_put_together, of_queries, of_keys, of_values)
            return together, tf.cast(_column_sums(together), bias.dtype), None

        return outputs, gradient

    return call(products, bias, mask_scores)


def _taken_apart(products, bias, shape):
    biased = tf.cast(_wide(products) + _wide(bias), products.dtype)
    return tf.unstack(tf.transpose(tf.reshape(biased, shape), (2, 0, 3, 1, 4)))


def _put_together(queries, keys, values):
    stacked = tf.transpose(tf.stack([queries, keys, values]), (1, 3, 0, 2, 4))  # [B, S, 3, N, D]
    batch, length, _, heads, width = stacked.shape
    return tf.reshape(stacked, (batch * length, 3 * heads * width))


def _joined(x):
    """[B, N, S, D] -> [B * S, H]"""
    batch, heads, length, width = x.shape
    return tf.reshape(tf.transpose(x, (0, 2, 1, 3)), (batch * length, heads * width))


def _split(x, shape):
    """[B * S, H] -> [B, N, S, D]"""
    batch, length, _, heads, width = shape
    return tf.transpose(tf.reshape(x, (batch, length, heads, width)), (0, 2, 1, 3))


def _probabilities(scores, mask_scores, key, factor, rate):
    """The softmax, and what dropout leaves of it. Written out: a division an element costs a third of all this."""
    scores, dtype = _wide(scores) * factor + _wide(mask_scores), scores.dtype
    powers = tf.exp(scores - tf.reduce_max(scores, axis=-1, keepdims=True))
    found = powers * (1.0 / tf.reduce_sum(powers, axis=-1, keepdims=True))
    left = found * _kept(scores.shape, key, rate) if rate else found
    return tf.cast(found, dtype), tf.cast(left, dtype)


def _softmax_gradient(found, left, of_left, factor):
    product = _wide(left) * _wide(of_left)
    total = tf.reduce_sum(product, axis=-1, keepdims=True)
    return tf.cast((product - _wide(found) * total) * factor, found.dtype)


# ------------------------------------------------------------------------------------------------------------------
# Cross entropy over a vocabulary
# ------------------------------------------------------------------------------------------------------------------


def remember_products(logits, products, bias) -> None:
    """Notes that `logits` [..., V] are `products` [rows, V] plus `bias`, so that their loss can start from there. What
    nobody reads, the logits then, TensorFlow leaves out of a graph."""
    _context.products[id(logits)] = logits, products, bias


def products_of(logits):
    """`(products, bias)` of logits that were remembered within this context, or None."""
    return (getattr(_context, "products", None) or {}).get(id(logits), (None,))[1:] or None


@tf.custom_gradient
def cross_entropy(products, bias, labels):
    """The cross entropy of the labels, and 1.0 where the first of the highest logits is the label's: float32 [rows].

    `products` [rows, V], `bias` [V], `labels` int32 [rows].
    """
    losses, correct, total = compiled(_cross_entropy, products, bias, labels)

    def gradient(upstream, _):
        of_products = compiled(_cross_entropy_gradient, products, bias, labels, total, upstream)
        return of_products, tf.cast(_column_sums(of_products), bias.dtype), None

    return (losses, correct), gradient


def _cross_entropy(products, bias, labels):
    logits, numbers = _wide(products) + _wide(bias), tf.range(products.shape[1])
    highest = tf.reduce_max(logits, axis=-1, keepdims=True)
    total = tf.math.log(tf.reduce_sum(tf.exp(logits - highest), axis=-1, keepdims=True)) + highest
    rows = tf.range(products.shape[0])
    of_label = _wide(tf.gather_nd(products, tf.stack([rows, labels], axis=1))) + tf.gather(_wide(bias), labels)
    before = tf.reduce_any((logits == highest) & (numbers < labels[:, None]), axis=-1)
    return total[:, 0] - of_label, _wide((of_label == highest[:, 0]) & ~before), total


def _cross_entropy_gradient(products, bias, labels, total, upstream):
    probabilities = tf.exp(_wide(products) + _wide(bias) - total)
    wanted = tf.cast(tf.range(products.shape[1]) == labels[:, None], tf.float32)
    return tf.cast((probabilities - wanted) * upstream[:, None], products.dtype)
