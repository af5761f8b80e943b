"""BERT as Keras models: the backbone and its four heads, written with `keras` and `keras.ops` alone.

Follows Devlin et al. 2018 and, number for number, the original graph of google-research/bert. The letters on the lines that
reshape: B batch, S sequence, P predictions, H hidden width, N attention heads, D width of a head, V vocabulary.

Nothing here reads or writes a file of weights (`weights.py` does), knows a loss or sees text.
"""

import contextlib
import dataclasses
import functools
import threading
import zlib
from collections.abc import Callable
from typing import NamedTuple

import keras
from keras import ops

from kobert_tf2 import files
from kobert_tf2.errors import InputError

# A masked position gets this added to its attention score, as in the original graph. Its weight is then 0 in float32, unless
# the whole row is masked, and such a row stays finite.
MASKED_SCORE = -10000.0

# ---------------------------------------------------------------------------------------------------------------------------
# Configuration
# ---------------------------------------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True, kw_only=True)
class BertConfig:
    """The sizes and rates of a BERT, under the names of `bert_config.json`.

    `hidden_act` has Hugging Face's meaning: "gelu" is the exact erf form and "gelu_new" the tanh form. Google's files write
    "gelu" for the tanh form: read them with `from_google_json`.
    """

    vocab_size: int
    hidden_size: int = 768
    num_hidden_layers: int = 12
    num_attention_heads: int = 12
    intermediate_size: int = 3072
    hidden_act: str = "gelu_new"
    hidden_dropout_prob: float = 0.1
    attention_probs_dropout_prob: float = 0.1
    max_position_embeddings: int = 512
    type_vocab_size: int = 2
    initializer_range: float = 0.02
    layer_norm_eps: float = 1e-12
    pad_token_id: int = 0

    def __post_init__(self):
        for name in _SIZES:
            _check_size(name, getattr(self, name))
        if self.hidden_size % self.num_attention_heads:
            raise InputError(
                f"hidden_size must be a multiple of num_attention_heads. "
                f"Received: hidden_size={self.hidden_size}, num_attention_heads={self.num_attention_heads}"
            )
        for name in ("hidden_dropout_prob", "attention_probs_dropout_prob"):
            if not 0 <= getattr(self, name) < 1:
                raise InputError(f"{name} must be at least 0 and below 1. Received: {getattr(self, name)!r}")
        activation_function(self.hidden_act)

    @classmethod
    def from_google_json(cls, path: str) -> "BertConfig":
        """Reads a `bert_config.json` of the original scripts, whose "gelu" is the tanh form."""
        values = _read_config(path)
        return cls._from_values(dict(values, hidden_act=_GOOGLE_ACTIVATIONS.get(*[values["hidden_act"]] * 2)), path)

    @classmethod
    def from_json(cls, path: str) -> "BertConfig":
        """Reads a Hugging Face `config.json`, whose "gelu" is the erf form."""
        values = _read_config(path)
        if values.get("model_type", "bert") != "bert":
            raise InputError(f'{path}: expected "model_type": "bert", but found {values["model_type"]!r}')
        if values.get("position_embedding_type", "absolute") != "absolute":
            raise InputError(f"{path}: expected absolute positions, but found {values['position_embedding_type']!r}")
        if values.get("is_decoder") or values.get("add_cross_attention"):
            raise InputError(f"{path}: expected an encoder, but this is a decoder's configuration")
        return cls._from_values(values, path)

    @classmethod
    def from_pretrained(cls, path: str) -> "BertConfig":
        """The configuration of a model directory, a TF1 checkpoint or a hub id; see `BertBackbone.from_pretrained`."""
        from kobert_tf2 import weights

        return weights.read_config(path)

    @classmethod
    def _from_values(cls, values: dict, path: str) -> "BertConfig":
        try:
            return cls(**{field.name: values[field.name] for field in dataclasses.fields(cls) if field.name in values})
        except InputError as error:
            raise InputError(f"{path}: {error}") from None

    def to_dict(self) -> dict:
        return dataclasses.asdict(self)

    def to_google_dict(self) -> dict:
        """The keys and values of the original `bert_config.json`; an activation that it cannot name is an `InputError`."""
        act = {"gelu_new": "gelu", "gelu_pytorch_tanh": "gelu"}.get(self.hidden_act, self.hidden_act)
        if act not in ("linear", "relu", "tanh") and act == self.hidden_act:
            raise InputError(
                f"hidden_act={self.hidden_act!r} does not exist in the original bert_config.json: its 'gelu' is the tanh "
                "form, so this model would answer differently there"
            )
        values = {
            name: value for name, value in self.to_dict().items() if name not in ("layer_norm_eps", "pad_token_id")
        }
        return dict(values, hidden_act=act)


_SIZES = (
    "vocab_size",
    "hidden_size",
    "num_hidden_layers",
    "num_attention_heads",
    "intermediate_size",
    "max_position_embeddings",
    "type_vocab_size",
)
_GOOGLE_ACTIVATIONS = {"gelu": "gelu_new", "": "linear", None: "linear"}


def _check_size(name: str, value) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise InputError(f"{name} must be a positive whole number. Received: {value!r}")


def _read_config(path: str) -> dict:
    values = files.read_json(path)
    if not isinstance(values, dict):
        raise InputError(f"{path}: expected a JSON object, but found {type(values).__name__}")
    missing = [name for name in (*_SIZES, "hidden_act") if name not in values]
    if missing:
        raise InputError(f"{path}: expected a BERT configuration, but {', '.join(missing)} is missing")
    return values


# ---------------------------------------------------------------------------------------------------------------------------
# Dropout: masks from a counter
# ---------------------------------------------------------------------------------------------------------------------------
#
# A mask is a pure function of (seed, site, element): a hash of the element's number under a key of the seed and of the dropout
# layer's own name. So a resumed run draws the same masks again, replicas and micro-batches draw different ones when they are
# given different seeds, and graph, eager and XLA draw the same.

_active_seed = threading.local()


@contextlib.contextmanager
def dropout_seed(seed):
    """Within this context every dropout layer draws its mask from `seed`, an int32 tensor [2].

    The context is read while a call is traced, and belongs to one thread: MirroredStrategy traces its replicas in threads.
    Outside any context (`model.fit`) a layer draws from its own `keras.random.SeedGenerator`.
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


def _mix(x, multiplier: int, shift: int):
    """One round of an integer hash on uint32 of any shape: xor with the shifted self, times an odd constant."""
    return _low_bits(ops.bitwise_xor(x, ops.right_shift(x, shift)) * _uint32(multiplier))


def _uint32(value: int):
    return ops.cast(ops.convert_to_tensor(value, dtype="int64"), "uint32")


def dropout_key(seed, site: int):
    """The uint32 key [2] of one dropout layer under `seed`, an integer tensor [2]; `site` is the layer's own number."""
    low, high = ops.unstack(_low_bits(ops.cast(seed, "uint32")), num=2)
    first = _mix(_mix(ops.bitwise_xor(low, _uint32(site)), 0x7FEB352D, 16), 0x846CA68B, 15)
    second = _mix(_mix(ops.bitwise_xor(high, first), 0x7FEB352D, 16), 0x846CA68B, 15)
    return ops.stack([first, second])


def keep_mask(shape, key, rate: float):
    """Which elements of a tensor of `shape` stay: bool, each False with probability `rate` (to 2**-32), independently.

    The two rounds and their constants are Chris Wellons' "lowbias32" (nullprogram.com, 2018), with half of the key before each.
    """
    count = functools.reduce(lambda a, b: a * b, shape)
    first, second = ops.unstack(key, num=2)
    x = ops.bitwise_xor(ops.cast(ops.arange(count, dtype="int32"), "uint32"), first)
    x = _low_bits(_mix(x, 0x7FEB352D, 16) + second)
    x = _mix(x, 0x846CA68B, 15)
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
    """Dropout whose masks are a function of `dropout_seed` and of `site`, a name that no other dropout of the model has."""

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


# ---------------------------------------------------------------------------------------------------------------------------
# The mathematics, as bare functions
# ---------------------------------------------------------------------------------------------------------------------------


def gelu_tanh(x):
    """Hendrycks and Gimpel 2016, the tanh form: "gelu" in Google's files, "gelu_new" in Hugging Face's."""
    return ops.gelu(x, approximate=True)


def gelu_erf(x):
    """The exact form: "gelu" in Hugging Face's files."""
    return ops.gelu(x, approximate=False)


_ACTIVATIONS = {
    "gelu": gelu_erf,
    "gelu_new": gelu_tanh,
    "gelu_pytorch_tanh": gelu_tanh,
    "relu": ops.relu,
    "silu": ops.silu,
    "swish": ops.silu,
    "tanh": ops.tanh,
    "linear": lambda x: x,
}


def activation_function(name: str) -> Callable:
    """The function that a Hugging Face `hidden_act` names."""
    if name not in _ACTIVATIONS:
        raise InputError(f"hidden_act must be one of {', '.join(sorted(_ACTIVATIONS))}. Received: {name!r}")
    return _ACTIVATIONS[name]


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

    `query key value` are [B, N, S, D], `mask_scores` float32 [B, 1, 1, S] is added to the scores; returns [B, N, S, D].
    """
    scale = ops.cast(query.shape[-1] ** -0.5, query.dtype)
    scores = ops.matmul(query, ops.transpose(key, (0, 1, 3, 2))) * scale  # [B, N, S, S]
    probabilities = ops.softmax(ops.cast(scores, "float32") + mask_scores, axis=-1)
    return ops.matmul(drop_out(ops.cast(probabilities, value.dtype), drop), value)


def gather_positions(sequence, positions):
    """The rows of `sequence` [B, S, H] at `positions` int32 [B, P], as [B, P, H]: one flat gather."""
    batch, length, width = ops.shape(sequence)
    flat = positions + ops.expand_dims(ops.arange(batch, dtype="int32") * length, 1)  # [B, P]
    return ops.take(ops.reshape(sequence, (batch * length, width)), flat, axis=0)


# ---------------------------------------------------------------------------------------------------------------------------
# Layers
# ---------------------------------------------------------------------------------------------------------------------------


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


def _initializer(config: BertConfig):
    return keras.initializers.TruncatedNormal(stddev=config.initializer_range)


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
        self.activation = activation_function(config.hidden_act)

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

    `word_embeddings` gives the backbone's table, which is the output matrix too. It is a function, so that the table belongs to
    the embeddings and to nobody else.
    """

    def __init__(self, *, word_embeddings: Callable, **kwargs):
        super().__init__(**kwargs)
        self.word_embeddings = word_embeddings
        self.transform = self._dense(self.config.hidden_size, "transform")
        self.norm = self._norm("norm")
        self.activation = activation_function(self.config.hidden_act)

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


def _logits_layer(config: BertConfig, units: int, name: str):
    """A small head is computed in float32 whatever the policy: it costs nothing there."""
    return keras.layers.Dense(units, kernel_initializer=_initializer(config), dtype="float32", name=name)


# ---------------------------------------------------------------------------------------------------------------------------
# Models
# ---------------------------------------------------------------------------------------------------------------------------


def _input(name: str):
    return keras.Input(shape=(None,), dtype="int32", name=name)


def _backbone_inputs() -> dict:
    return {name: _input(name) for name in ("input_ids", "input_mask", "segment_ids")}


class _BertModel(keras.Model):
    """What all models here share: chosen inputs, serialisation, and the way to and from a model directory."""

    def __call__(self, inputs, *args, **kwargs):
        """Takes a batch with more keys than the model's inputs: Keras would pair values with inputs by order alone."""
        return super().__call__(self._chosen(inputs), *args, **kwargs)

    def _chosen(self, inputs):
        if not isinstance(inputs, dict) or not isinstance(self.input, dict):
            return inputs
        missing = [name for name in self.input if name not in inputs]
        if missing:
            raise InputError(f"expected the inputs {', '.join(self.input)}. Received: {', '.join(sorted(inputs))}")
        return {name: inputs[name] for name in self.input}

    def get_config(self):
        policy = keras.saving.serialize_keras_object(self._layer_policy)
        return {"config": self.config.to_dict(), "dtype": policy, "name": self.name, "trainable": self.trainable}

    @classmethod
    def from_config(cls, config, custom_objects=None):
        return cls(**{**config, "config": BertConfig(**config["config"])})

    @classmethod
    def from_pretrained(cls, path: str, **kwargs):
        """Loads a model directory, a TF1 checkpoint (its prefix, its `.index`, or its folder) or a hub id.

        A weight of the backbone that is missing or misshapen is an `InputError` that lists all of them; a head that the files do
        not have starts new, and standard error says so. `kwargs` go to the constructor.
        """
        from kobert_tf2 import weights

        return weights.from_pretrained(cls, path, **kwargs)

    def save_pretrained(self, folder: str, tokenizer=None) -> None:
        """Writes a model directory, which Hugging Face's `transformers` loads too; whole or not at all."""
        from kobert_tf2 import weights

        weights.save_pretrained(self, folder, tokenizer)


@keras.saving.register_keras_serializable(package="kobert_tf2")
class BertBackbone(_BertModel):
    """The encoder.

    Inputs: `{"input_ids", "input_mask", "segment_ids"}`, int32 [batch, sequence]; `input_mask` is 1 on tokens and 0 on padding.
    Outputs: `sequence_output` [batch, sequence, hidden]; `pooled_output` [batch, hidden] unless `add_pooling_layer` is false;
    `hidden_states`, a list of `num_hidden_layers` + 1 tensors like `sequence_output`, where `output_hidden_states` asks for it.
    """

    def __init__(
        self,
        config: BertConfig,
        *,
        add_pooling_layer: bool = True,
        output_hidden_states: bool = False,
        dtype=None,
        **kwargs,
    ):
        policy = keras.dtype_policies.get(dtype or keras.config.dtype_policy())
        shared = {"config": config, "dtype": policy}

        # Layers
        self.embeddings = Embeddings(**shared, name="embeddings")
        self.attention_mask = AttentionMask(dtype="float32", name="attention_mask")
        self.encoder_layers = [
            EncoderLayer(**shared, name=f"encoder_layer_{i}") for i in range(config.num_hidden_layers)
        ]
        self.pooler = Pooler(**shared, name="pooler") if add_pooling_layer else None

        # Wiring
        inputs = _backbone_inputs()
        mask_scores = self.attention_mask(inputs["input_mask"])
        hidden_states = [self.embeddings(inputs["input_ids"], inputs["segment_ids"])]
        for layer in self.encoder_layers:
            hidden_states.append(layer(hidden_states[-1], mask_scores))
        outputs = {"sequence_output": hidden_states[-1]}
        if add_pooling_layer:
            outputs["pooled_output"] = self.pooler(hidden_states[-1])
        if output_hidden_states:
            outputs["hidden_states"] = hidden_states
        super().__init__(inputs=inputs, outputs=outputs, **kwargs)

        # Record
        self.config = config
        self.add_pooling_layer = add_pooling_layer
        self.output_hidden_states = output_hidden_states
        self._layer_policy = policy

    @property
    def backbone(self) -> "BertBackbone":
        return self

    def get_config(self):
        return dict(
            super().get_config(),
            add_pooling_layer=self.add_pooling_layer,
            output_hidden_states=self.output_hidden_states,
        )


@keras.saving.register_keras_serializable(package="kobert_tf2")
class BertForPreTraining(_BertModel):
    """Masked LM and next-sentence prediction.

    Inputs: the backbone's, and `masked_lm_positions` int32 [batch, predictions].
    Outputs, float32: `masked_lm_logits` [batch, predictions, vocabulary], `next_sentence_logits` [batch, 2], where index 0 means
    that the second sentence follows the first.
    """

    def __init__(self, config: BertConfig, *, dtype=None, **kwargs):
        self.backbone = backbone = BertBackbone(config, dtype=dtype, name="backbone")
        self.masked_lm = MaskedLMHead(
            config=config,
            word_embeddings=lambda: backbone.embeddings.word_embeddings,
            dtype=backbone._layer_policy,
            name="masked_lm",
        )
        self.next_sentence = _logits_layer(config, 2, "next_sentence")

        inputs = _backbone_inputs()
        encoded = backbone(inputs)
        inputs["masked_lm_positions"] = _input("masked_lm_positions")
        outputs = {
            "masked_lm_logits": self.masked_lm(encoded["sequence_output"], inputs["masked_lm_positions"]),
            "next_sentence_logits": self.next_sentence(encoded["pooled_output"]),
        }
        super().__init__(inputs=inputs, outputs=outputs, **kwargs)

        self.config = config
        self._layer_policy = backbone._layer_policy


@keras.saving.register_keras_serializable(package="kobert_tf2")
class BertForQuestionAnswering(_BertModel):
    """The start and the end of an answer. Outputs, float32 [batch, sequence]: `start_logits`, `end_logits`."""

    def __init__(self, config: BertConfig, *, dtype=None, **kwargs):
        self.backbone = backbone = BertBackbone(config, add_pooling_layer=False, dtype=dtype, name="backbone")
        self.span = _logits_layer(config, 2, "span")

        inputs = _backbone_inputs()
        logits = self.span(backbone(inputs)["sequence_output"])  # [B, S, 2]
        outputs = {"start_logits": logits[:, :, 0], "end_logits": logits[:, :, 1]}
        super().__init__(inputs=inputs, outputs=outputs, **kwargs)

        self.config = config
        self._layer_policy = backbone._layer_policy


class _Classifier(_BertModel):
    """What the two classification models share: the number of labels."""

    def get_config(self):
        return dict(super().get_config(), num_labels=self.num_labels)


@keras.saving.register_keras_serializable(package="kobert_tf2")
class BertForSequenceClassification(_Classifier):
    """A label for a text or a pair of texts. Outputs: `logits`, float32 [batch, num_labels]."""

    def __init__(self, config: BertConfig, *, num_labels: int = 2, dtype=None, **kwargs):
        self.backbone = backbone = BertBackbone(config, dtype=dtype, name="backbone")
        self.dropout = Dropout(
            config.hidden_dropout_prob, site="classifier/dropout", dtype=backbone._layer_policy, name="dropout"
        )
        self.classifier = _logits_layer(config, num_labels, "classifier")

        inputs = _backbone_inputs()
        outputs = {"logits": self.classifier(self.dropout(backbone(inputs)["pooled_output"]))}
        super().__init__(inputs=inputs, outputs=outputs, **kwargs)

        self.config = config
        self.num_labels = num_labels
        self._layer_policy = backbone._layer_policy


@keras.saving.register_keras_serializable(package="kobert_tf2")
class BertForTokenClassification(_Classifier):
    """A label for every token. Outputs: `logits`, float32 [batch, sequence, num_labels]."""

    def __init__(self, config: BertConfig, *, num_labels: int = 2, dtype=None, **kwargs):
        self.backbone = backbone = BertBackbone(config, add_pooling_layer=False, dtype=dtype, name="backbone")
        self.dropout = Dropout(
            config.hidden_dropout_prob, site="classifier/dropout", dtype=backbone._layer_policy, name="dropout"
        )
        self.classifier = _logits_layer(config, num_labels, "classifier")

        inputs = _backbone_inputs()
        outputs = {"logits": self.classifier(self.dropout(backbone(inputs)["sequence_output"]))}
        super().__init__(inputs=inputs, outputs=outputs, **kwargs)

        self.config = config
        self.num_labels = num_labels
        self._layer_policy = backbone._layer_policy
