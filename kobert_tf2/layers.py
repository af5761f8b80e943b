"""The layers of BERT and the mathematics in them, written with `keras` and `keras.ops` alone.

Follows Devlin et al. 2018 and, number for number, the original graph of google-research/bert. The letters on the
lines that reshape: B batch, S sequence, P predictions, H hidden width, N attention heads, D width of a head, V
vocabulary.

The mathematics is in bare functions, so that a faster form of one can stand in its place without touching a layer.
"""

import contextlib
import functools
import threading
import zlib
from collections.abc import Callable
from typing import NamedTuple

import keras
from keras import ops

from kobert_tf2.bert_config import BertConfig
from kobert_tf2.errors import InputError

# A masked position gets this added to its attention score, as in the original graph. Its weight is then 0 in float32,
# unless the whole row is masked, and such a row stays finite.
MASKED_SCORE = -10000.0

# ------------------------------------------------------------------------------------------------------------------
# Dropout: masks from a counter
# ------------------------------------------------------------------------------------------------------------------
#
# A mask is a pure function of (seed, site, element): a hash of the element's number under a key of the seed and of
# the dropout layer's own name. So a resumed run draws the same masks again, replicas and micro-batches draw
# different ones when they are given different seeds, and graph, eager and XLA draw the same.

_active_seed = threading.local()


@contextlib.contextmanager
def dropout_seed(seed):
    """Within this context every dropout layer draws its mask from `seed`, an int32 tensor [2].

    The context is read while a call is traced, and belongs to one thread: MirroredStrategy traces its replicas in
    threads. Outside any context (`model.fit`) a layer draws from its own `keras.random.SeedGenerator`.
    """
    previous = getattr(_active_seed, "value", None)
    _active_seed.value = seed
    try:
        yield
    finally:
        _active_seed.value = previous


def _low_bits(x):
    """Cuts to 32 bits where the backend has no uint32 and widens it (torch); costs nothing elsewhere."""
    return x if keras.backend.standardize_dtype(x.dtype) == "uint32" else ops.bitwise_and(x, 0xFFFFFFFF)


def _uint32(value: int):
    return ops.cast(ops.convert_to_tensor(value, dtype="int64"), "uint32")


def _round(x, shift: int, multiplier: int):
    """Half of an integer hash, on uint32 of any shape: xor with the shifted self, times an odd constant."""
    return _low_bits(ops.bitwise_xor(x, ops.right_shift(x, shift)) * _uint32(multiplier))


def _hash(x):
    """Chris Wellons' "lowbias32" (nullprogram.com, 2018): two rounds and a last xor, one to one on uint32."""
    x = _round(_round(x, 16, 0x7FEB352D), 15, 0x846CA68B)
    return ops.bitwise_xor(x, ops.right_shift(x, 16))


def dropout_key(seed, site: int):
    """The uint32 key [2] of the dropout layer with the number `site`, under `seed`, an integer tensor [2].

    The seed is hashed before the site joins it: small numbers in both must not cancel each other out.
    """
    low, high = ops.unstack(_low_bits(ops.cast(seed, "uint32")), num=2)
    low = _hash(ops.bitwise_xor(low, _uint32(0x9E3779B9)))
    high = _hash(ops.bitwise_xor(high, low))
    first = _hash(ops.bitwise_xor(low, _uint32(site)))
    return ops.stack([first, _hash(_low_bits(high + first))])


def _counter(shape):
    """The number of every element of a tensor of `shape`, as uint32 [elements / last, last]."""
    rows = functools.reduce(lambda a, b: a * b, shape[:-1], 1)
    starts = ops.cast(ops.arange(rows, dtype="int32"), "uint32") * ops.cast(shape[-1], "uint32")
    return _low_bits(ops.expand_dims(starts, 1) + ops.cast(ops.arange(shape[-1], dtype="int32"), "uint32"))


def keep_mask(shape, key, rate: float):
    """Which elements of a tensor of `shape` stay: bool, each False with probability `rate` (to 2**-32), independently.

    An element's number goes through `_hash` with half of the key before each round, and is compared with the rate.
    """
    first, second = ops.unstack(key, num=2)
    x = _round(ops.bitwise_xor(_counter(shape), first), 16, 0x7FEB352D)
    x = _round(_low_bits(x + second), 15, 0x846CA68B)
    x = ops.bitwise_xor(x, ops.right_shift(x, 16))
    return ops.reshape(x >= _uint32(min(round(rate * 2**32), 2**32 - 1)), shape)


class Drop(NamedTuple):
    """What one application of dropout needs: its key and its rate."""

    key: object
    rate: float


def drop_out(x, drop: Drop | None):
    """`x` with elements set to 0 and the rest scaled up by 1 / (1 - rate); `None` changes nothing."""
    if drop is None:
        return x
    kept = ops.cast(keep_mask(ops.shape(x), drop.key, drop.rate), x.dtype)
    return x * (kept * ops.cast(1 / (1 - drop.rate), x.dtype))


@keras.saving.register_keras_serializable(package="kobert_tf2")
class Dropout(keras.layers.Layer):
    """Dropout whose masks are a function of `dropout_seed` and of `site`, a name that no other dropout of the
    model has."""

    def __init__(self, rate: float, *, site: str, **kwargs):
        super().__init__(**kwargs)
        self.rate = rate
        self.site = site
        self.seed_generator = keras.random.SeedGenerator(name=f"{site}_seed".replace("/", "_")) if rate else None
        self.supports_masking = True
        self.built = True

    def drop(self, training) -> Drop | None:
        """The key of this call, or `None` where nothing is dropped."""
        if not training or not self.rate:
            return None
        seed = getattr(_active_seed, "value", None)
        if seed is None:
            seed = self.seed_generator.next()
        return Drop(dropout_key(seed, zlib.crc32(self.site.encode())), self.rate)

    def call(self, x, training=False):
        return drop_out(x, self.drop(training))

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return dict(super().get_config(), rate=self.rate, site=self.site)


# ------------------------------------------------------------------------------------------------------------------
# The mathematics, as bare functions
# ------------------------------------------------------------------------------------------------------------------


def gelu_tanh(x):
    """Hendrycks and Gimpel 2016, the tanh form: "gelu" in Google's files, "gelu_new" in Hugging Face's."""
    return ops.gelu(x, approximate=True)


def gelu_erf(x):
    """The exact form: "gelu" in Hugging Face's files."""
    return ops.gelu(x, approximate=False)


# By Hugging Face's names: the keys are those of `bert_config.ACTIVATIONS`.
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


def project(x, kernel, bias):
    """`x` [..., from] times `kernel` [from, to] plus `bias` [to], as one flat matrix product."""
    shape = ops.shape(x)
    product = ops.matmul(ops.reshape(x, (-1, shape[-1])), kernel)
    return ops.reshape(product + bias, (*shape[:-1], kernel.shape[-1]))


def layer_norm(x, gamma, beta, epsilon: float):
    """Ba et al. 2016 over the last axis; the moments are taken in float32 whatever the type of `x`."""
    wide = ops.cast(x, "float32")
    centred = wide - ops.mean(wide, axis=-1, keepdims=True)
    variance = ops.mean(ops.square(centred), axis=-1, keepdims=True)
    normal = centred * ops.rsqrt(variance + epsilon)
    return ops.cast(normal * ops.cast(gamma, "float32") + ops.cast(beta, "float32"), x.dtype)


def add_and_norm(x, residual, gamma, beta, *, epsilon: float, drop: Drop | None):
    """Dropout of `x`, plus the residual, normalised: the seam between the two halves of every layer."""
    return layer_norm(drop_out(x, drop) + residual, gamma, beta, epsilon)


def split_heads(x, num_heads: int):
    """[B, S, H] -> [B, N, S, D]"""
    batch, length, width = ops.shape(x)
    return ops.transpose(ops.reshape(x, (batch, length, num_heads, width // num_heads)), (0, 2, 1, 3))


def join_heads(x):
    """[B, N, S, D] -> [B, S, H]"""
    batch, heads, length, width = ops.shape(x)
    return ops.reshape(ops.transpose(x, (0, 2, 1, 3)), (batch, length, heads * width))


def attend(query, key, value, mask_scores, *, drop: Drop | None):
    """Scaled dot-product attention (Vaswani et al. 2017, section 3.2.1); the softmax is taken in float32.

    `query key value` are [B, N, S, D], `mask_scores` float32 [B, 1, 1, S] is added to the scores; returns [B, N,
    S, D].
    """
    scale = ops.cast(query.shape[-1] ** -0.5, query.dtype)
    scores = ops.matmul(query, ops.transpose(key, (0, 1, 3, 2))) * scale  # [B, N, S, S]
    # Under a mixed policy Keras hands `mask_scores` over in the compute type.
    probabilities = ops.softmax(ops.cast(scores, "float32") + ops.cast(mask_scores, "float32"), axis=-1)
    return ops.matmul(drop_out(ops.cast(probabilities, value.dtype), drop), value)


def gather_positions(sequence, positions):
    """The rows of `sequence` [B, S, H] at `positions` int32 [B, P], as [B, P, H]: one flat gather."""
    batch, length, width = ops.shape(sequence)
    flat = positions + ops.expand_dims(ops.arange(batch, dtype="int32") * length, 1)  # [B, P]
    return ops.take(ops.reshape(sequence, (batch * length, width)), flat, axis=0)


# ------------------------------------------------------------------------------------------------------------------
# Layers
# ------------------------------------------------------------------------------------------------------------------


@keras.saving.register_keras_serializable(package="kobert_tf2")
class LayerNorm(keras.layers.Layer):
    """The scale and shift of a layer normalisation, read by the function that applies it."""

    def __init__(self, *, epsilon: float, **kwargs):
        super().__init__(**kwargs)
        self.epsilon = epsilon

    def build(self, input_shape):
        self.gamma = self.add_weight(name="gamma", shape=(input_shape[-1],), initializer="ones")
        self.beta = self.add_weight(name="beta", shape=(input_shape[-1],), initializer="zeros")

    def call(self, x):
        return layer_norm(x, self.gamma, self.beta, self.epsilon)

    def add(self, x, residual, drop: Drop | None):
        return add_and_norm(x, residual, self.gamma, self.beta, epsilon=self.epsilon, drop=drop)

    def get_config(self):
        return dict(super().get_config(), epsilon=self.epsilon)


def initial_values(config: BertConfig):
    """How every kernel and table of BERT starts."""
    return keras.initializers.TruncatedNormal(stddev=config.initializer_range)


_building = threading.local()


@contextlib.contextmanager
def to_load_over():
    """Within this context the kernels and tables of the backbone start as whatever is in memory: 110 million random
    numbers that a checkpoint is to replace at once take longer to draw than the checkpoint to read, and memory that
    nobody has written to is not taken yet.
    """
    _building.unwritten = True
    try:
        yield
    finally:
        _building.unwritten = False


@keras.saving.register_keras_serializable(package="kobert_tf2")
class Unwritten(keras.initializers.Zeros):
    """Numbers that are to be replaced: not even zeros where the backend is TensorFlow."""

    def __call__(self, shape, dtype=None):
        if keras.backend.backend() != "tensorflow":
            return super().__call__(shape, dtype)
        import tensorflow as tf

        return tf.raw_ops.Empty(shape=shape, dtype=keras.backend.standardize_dtype(dtype))


def _initializer(config: BertConfig):
    return Unwritten() if getattr(_building, "unwritten", False) else initial_values(config)


class _ConfiguredLayer(keras.layers.Layer):
    """A layer whose constructor takes the model's configuration."""

    def __init__(self, *, config: BertConfig | dict, **kwargs):
        super().__init__(**kwargs)
        self.config = config if isinstance(config, BertConfig) else BertConfig(**config)

    def get_config(self):
        return dict(super().get_config(), config=self.config.to_dict())

    def _dense(self, units: int, name: str):
        return keras.layers.Dense(
            units, kernel_initializer=_initializer(self.config), dtype=self.dtype_policy, name=name
        )

    def _norm(self, name: str):
        return LayerNorm(epsilon=self.config.layer_norm_eps, dtype=self.dtype_policy, name=name)


@keras.saving.register_keras_serializable(package="kobert_tf2")
class Embeddings(_ConfiguredLayer):
    """Word, position and segment embeddings, summed, normalised, dropped out: int32 [B, S] twice -> [B, S, H]."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.norm = self._norm("norm")
        self.dropout = Dropout(self.config.hidden_dropout_prob, site=f"{self.name}/dropout", dtype=self.dtype_policy)

    def build(self, input_ids_shape, segment_ids_shape):
        config = self.config
        self.word_embeddings = self._table("word_embeddings", config.vocab_size)
        self.position_embeddings = self._table("position_embeddings", config.max_position_embeddings)
        self.segment_embeddings = self._table("segment_embeddings", config.type_vocab_size)
        self.norm.build((None, None, config.hidden_size))

    def _table(self, name: str, rows: int):
        return self.add_weight(name=name, shape=(rows, self.config.hidden_size), initializer=_initializer(self.config))

    def call(self, input_ids, segment_ids, training=False):
        length = ops.shape(input_ids)[1]
        self._check_length(length)
        words = ops.take(self.word_embeddings, input_ids, axis=0)
        segments = ops.take(self.segment_embeddings, segment_ids, axis=0)
        positions = ops.convert_to_tensor(self.position_embeddings)[:length]
        return drop_out(self.norm(words + segments + positions), self.dropout.drop(training))

    def _check_length(self, length) -> None:
        longest = self.config.max_position_embeddings
        if isinstance(length, int) and length > longest:
            raise InputError(
                f"expected at most {longest} tokens in a row (max_position_embeddings), but input_ids has {length}: "
                "cut the text into windows, or lower max_seq_length"
            )

    def compute_output_shape(self, input_ids_shape, segment_ids_shape):
        return (*input_ids_shape, self.config.hidden_size)


@keras.saving.register_keras_serializable(package="kobert_tf2")
class AttentionMask(keras.layers.Layer):
    """What a padding mask adds to the attention scores: int [B, S] of 1 and 0 -> float32 [B, 1, 1, S]."""

    def call(self, input_mask):
        return ((1.0 - ops.cast(input_mask, "float32")) * MASKED_SCORE)[:, None, None, :]


@keras.saving.register_keras_serializable(package="kobert_tf2")
class EncoderLayer(_ConfiguredLayer):
    """Self-attention and a feed-forward network, a residual and a normalisation after each: [B, S, H] -> [B, S, H]."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        config = self.config
        self.query = self._dense(config.hidden_size, "query")
        self.key = self._dense(config.hidden_size, "key")
        self.value = self._dense(config.hidden_size, "value")
        self.attention_dropout = self._dropout(config.attention_probs_dropout_prob, "attention_dropout")
        self.attention_output = self._dense(config.hidden_size, "attention_output")
        self.attention_output_dropout = self._dropout(config.hidden_dropout_prob, "attention_output_dropout")
        self.attention_norm = self._norm("attention_norm")
        self.intermediate = self._dense(config.intermediate_size, "intermediate")
        self.feed_forward_output = self._dense(config.hidden_size, "output")
        self.output_dropout = self._dropout(config.hidden_dropout_prob, "output_dropout")
        self.output_norm = self._norm("output_norm")
        self.activation = ACTIVATIONS[config.hidden_act]

    def _dropout(self, rate: float, name: str) -> Dropout:
        return Dropout(rate, site=f"{self.name}/{name}", dtype=self.dtype_policy, name=name)

    def build(self, hidden_shape, mask_scores_shape):
        hidden = (None, None, self.config.hidden_size)
        for layer in (self.query, self.key, self.value, self.attention_output, self.attention_norm, self.intermediate):
            layer.build(hidden)
        self.feed_forward_output.build((None, None, self.config.intermediate_size))
        self.output_norm.build(hidden)

    def call(self, hidden, mask_scores, training=False):
        attended = self.attention_output(self._self_attention(hidden, mask_scores, training))
        hidden = self.attention_norm.add(attended, hidden, self.attention_output_dropout.drop(training))
        forward = self.feed_forward_output(self.activation(self.intermediate(hidden)))
        return self.output_norm.add(forward, hidden, self.output_dropout.drop(training))

    def _self_attention(self, hidden, mask_scores, training):
        query, key, value = (
            split_heads(layer(hidden), self.config.num_attention_heads) for layer in (self.query, self.key, self.value)
        )
        return join_heads(attend(query, key, value, mask_scores, drop=self.attention_dropout.drop(training)))

    def compute_output_shape(self, hidden_shape, mask_scores_shape):
        return hidden_shape


@keras.saving.register_keras_serializable(package="kobert_tf2")
class Pooler(_ConfiguredLayer):
    """A dense layer with tanh over the first token, `[CLS]`: [B, S, H] -> [B, H]."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.dense = self._dense(self.config.hidden_size, "dense")

    def build(self, hidden_shape):
        self.dense.build((None, self.config.hidden_size))

    def call(self, hidden):
        return ops.tanh(self.dense(hidden[:, 0]))


@keras.saving.register_keras_serializable(package="kobert_tf2")
class MaskedLMHead(_ConfiguredLayer):
    """Scores of the vocabulary at the masked positions alone: [B, S, H], int32 [B, P] -> float32 [B, P, V].

    `word_embeddings` gives the backbone's table, which is the output matrix too. It is a function, so that the
    table belongs to the embeddings and to nobody else.
    """

    def __init__(self, *, word_embeddings: Callable, **kwargs):
        super().__init__(**kwargs)
        self.word_embeddings = word_embeddings
        self.transform = self._dense(self.config.hidden_size, "transform")
        self.norm = self._norm("norm")
        self.activation = ACTIVATIONS[self.config.hidden_act]

    @classmethod
    def from_config(cls, config):
        raise InputError(
            "the masked-LM head shares its matrix with the embeddings of one model and cannot be copied alone (as "
            "keras.models.clone_model does): copy the whole model with type(model).from_config(model.get_config())"
        )

    def build(self, hidden_shape, positions_shape):
        self.transform.build((None, None, self.config.hidden_size))
        self.norm.build((None, None, self.config.hidden_size))
        self.output_bias = self.add_weight(name="output_bias", shape=(self.config.vocab_size,), initializer="zeros")

    def call(self, hidden, positions):
        states = self.norm(self.activation(self.transform(gather_positions(hidden, positions))))
        batch, predictions, width = ops.shape(states)
        flat = ops.reshape(states, (batch * predictions, width))
        scores = ops.matmul(flat, ops.transpose(ops.convert_to_tensor(self.word_embeddings())))  # [B * P, V]
        logits = ops.cast(scores, "float32") + ops.cast(self.output_bias, "float32")
        return ops.reshape(logits, (batch, predictions, self.config.vocab_size))

    def compute_output_spec(self, hidden, positions):
        return keras.KerasTensor((*positions.shape, self.config.vocab_size), dtype="float32")


def logits_layer(config: BertConfig, units: int, name: str):
    """A small head is computed in float32 whatever the policy: it costs nothing there."""
    return keras.layers.Dense(units, kernel_initializer=initial_values(config), dtype="float32", name=name)
