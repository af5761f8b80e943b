"""The mathematics of BERT with `keras.ops` alone: any backend, any device, any shapes.

It follows Devlin et al. 2018 and, number for number, the original graph of google-research/bert. The other kernels are
tested against it. The letters on the lines that reshape: B batch, S sequence, P positions chosen of it, H hidden width,
N attention heads, D width of a head, V vocabulary.

A kernel is given the Keras layers that hold its weights: a `Dense` layer, which may be quantized here and so is called,
and a `LayerNorm` with `gamma`, `beta` and `epsilon`.
"""

from collections.abc import Callable, Sequence

import keras
from keras import ops

from kobert_tf2.bert.dropout import Drop, drop_out

# ------------------------------------------------------------------------------------------------------------------
# The kernels: the other modules of this folder define the same names
# ------------------------------------------------------------------------------------------------------------------


def embed_words(table: keras.Variable, ids: keras.KerasTensor, dtype: str) -> tuple:
    """The rows `ids` int32 [B, S] of the table of words, [B, S, H], and the table [V, H] for the output layer.

    An output layer that is tied to the table multiplies by what it is handed here (as `dtype`, or to be cast to it).
    """
    return ops.take(table, ids, axis=0), ops.convert_to_tensor(table)


def rows_of(table: keras.KerasTensor, ids: keras.KerasTensor) -> keras.KerasTensor:
    """The rows `ids` int32 [B, P] of a short table, [S, H] or one for each row of the batch, [B, S, H]: [B, P, H]."""
    if len(table.shape) == 2:
        return ops.take(table, ids, axis=0)
    batch, length, width = ops.shape(table)
    flat_ids = ids + ops.expand_dims(ops.arange(batch, dtype="int32") * length, 1)  # [B, P]
    return ops.take(ops.reshape(table, (batch * length, width)), flat_ids, axis=0)


def norm_and_dropout(
    x: keras.KerasTensor, norm: keras.layers.Layer, *, drop: Drop | None, dtype: str
) -> keras.KerasTensor:
    """Layer normalisation of `x` [..., H], then dropout, as `dtype`."""
    return drop_out(ops.cast(norm(x), dtype), drop)


def attention(
    query_states: keras.KerasTensor,
    states: keras.KerasTensor,
    mask_scores: keras.KerasTensor,
    projections: Sequence,
    *,
    num_heads: int,
    drop: Drop | None,
) -> keras.KerasTensor:
    """Multi-head attention up to the joined heads: [B, P, H] and [B, S, H] -> [B, P, H].

    `projections` are the dense layers of query, key and value; `query_states` may be `states` itself. `mask_scores`
    float32 [B, 1, 1, S] is added to the scores. Dropout is that of the probabilities.
    """
    query, key, value = (
        split_heads(dense(x), num_heads) for dense, x in zip(projections, (query_states, states, states), strict=True)
    )
    return join_heads(attend(query, key, value, mask_scores, drop=drop))


def dense_activation(x: keras.KerasTensor, dense: keras.layers.Dense, activation: Callable) -> keras.KerasTensor:
    """`activation(dense(x))`"""
    return activation(dense(x))


def dense_residual_norm(
    x: keras.KerasTensor,
    dense: keras.layers.Dense,
    residual: keras.KerasTensor,
    norm: keras.layers.Layer,
    *,
    drop: Drop | None,
) -> keras.KerasTensor:
    """`norm(dropout(dense(x)) + residual)`: the end of each half of an encoder layer."""
    return layer_norm(drop_out(dense(x), drop) + residual, norm.gamma, norm.beta, norm.epsilon)


def vocabulary_logits(
    states: keras.KerasTensor, table: keras.KerasTensor, bias: keras.KerasTensor
) -> keras.KerasTensor:
    """float32 [B, P, V]: the states [B, P, H] times every row of the table [V, H], plus a bias [V]."""
    batch, predictions, width = ops.shape(states)
    products = ops.matmul(ops.reshape(states, (batch * predictions, width)), ops.transpose(table))
    logits = ops.cast(products, "float32") + ops.cast(bias, "float32")
    return ops.reshape(logits, (batch, predictions, table.shape[0]))


def cross_entropy(logits: keras.KerasTensor, labels: keras.KerasTensor) -> tuple:
    """The cross entropy, and 1.0 where the first of the highest logits is the label's: float32 [...] twice.

    `logits` [..., classes], `labels` int32 [...].
    """
    losses = ops.sparse_categorical_crossentropy(labels, ops.cast(logits, "float32"), from_logits=True)
    correct = ops.equal(ops.argmax(logits, axis=-1), ops.cast(labels, "int32"))
    return losses, ops.cast(correct, "float32")


# ------------------------------------------------------------------------------------------------------------------
# What they are made of
# ------------------------------------------------------------------------------------------------------------------


def gelu_tanh(x: keras.KerasTensor) -> keras.KerasTensor:
    """Hendrycks and Gimpel 2016, the tanh form: "gelu" in Google's files, "gelu_new" in Hugging Face's."""
    return ops.gelu(x, approximate=True)


def gelu_erf(x: keras.KerasTensor) -> keras.KerasTensor:
    """The exact form: "gelu" in Hugging Face's files."""
    return ops.gelu(x, approximate=False)


# By Hugging Face's names: the keys are those of `config.ACTIVATIONS`.
ACTIVATIONS = {
    "gelu": gelu_erf,
    "gelu_new": gelu_tanh,
    "gelu_pytorch_tanh": gelu_tanh,
    "relu": ops.relu,
    "silu": ops.silu,
    "swish": ops.silu,
    "tanh": ops.tanh,
    "linear": lambda x: x,
}


def layer_norm(
    x: keras.KerasTensor, gamma: keras.KerasTensor, beta: keras.KerasTensor, epsilon: float
) -> keras.KerasTensor:
    """Ba et al. 2016 over the last axis; the moments are taken in float32 whatever the type of `x`."""
    wide = ops.cast(x, "float32")
    centred = wide - ops.mean(wide, axis=-1, keepdims=True)
    variance = ops.mean(ops.square(centred), axis=-1, keepdims=True)
    normal = centred * ops.rsqrt(variance + epsilon)
    return ops.cast(normal * ops.cast(gamma, "float32") + ops.cast(beta, "float32"), x.dtype)


def attend(
    query: keras.KerasTensor,
    key: keras.KerasTensor,
    value: keras.KerasTensor,
    mask_scores: keras.KerasTensor,
    *,
    drop: Drop | None,
) -> keras.KerasTensor:
    """Scaled dot-product attention (Vaswani et al. 2017, section 3.2.1); the softmax is taken in float32.

    [B, N, P, D], [B, N, S, D] twice and [B, 1, 1, S] -> [B, N, P, D].
    """
    probabilities = attention_probabilities(query, key, mask_scores)
    return ops.matmul(drop_out(ops.cast(probabilities, value.dtype), drop), value)


def attention_probabilities(
    query: keras.KerasTensor, key: keras.KerasTensor, mask_scores: keras.KerasTensor
) -> keras.KerasTensor:
    """How much each position attends to each: [B, N, P, D], [B, N, S, D] and [B, 1, 1, S] -> float32 [B, N, P, S]."""
    scale = ops.cast(query.shape[-1] ** -0.5, query.dtype)
    scores = ops.matmul(query, ops.transpose(key, (0, 1, 3, 2))) * scale  # [B, N, P, S]
    # Under a mixed policy Keras hands `mask_scores` over in the compute type.
    return ops.softmax(ops.cast(scores, "float32") + ops.cast(mask_scores, "float32"), axis=-1)


def split_heads(x: keras.KerasTensor, num_heads: int) -> keras.KerasTensor:
    """[B, S, H] -> [B, N, S, D]"""
    batch, length, width = ops.shape(x)
    return ops.transpose(ops.reshape(x, (batch, length, num_heads, width // num_heads)), (0, 2, 1, 3))


def join_heads(x: keras.KerasTensor) -> keras.KerasTensor:
    """[B, N, S, D] -> [B, S, H]"""
    batch, heads, length, width = ops.shape(x)
    return ops.reshape(ops.transpose(x, (0, 2, 1, 3)), (batch, length, heads * width))
