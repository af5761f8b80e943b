"""The layers of BERT and the mathematics in them, written with `keras` and `keras.ops` alone.

Follows Devlin et al. 2018 and, number for number, the original graph of google-research/bert. The letters on the
lines that reshape: B batch, S sequence, P positions chosen of it, H hidden width, N attention heads, D width of a head,
V vocabulary.

The mathematics is in bare functions. With TensorFlow the forward pass alone takes `inference_cpu.py`'s form of it, and
a training step on a processor that of `training_cpu.py`.
"""

import contextlib
import threading
from collections.abc import Callable

import keras
from keras import ops

from kobert_tf2.bert.config import BertConfig
from kobert_tf2.bert.dropout import Drop, Dropout, drop_out
from kobert_tf2.errors import InputError

# A masked position gets this added to its attention score, as in the original graph. Its weight is then 0 in float32,
# unless the whole row is masked, and such a row stays finite.
MASKED_SCORE = -10000.0

# ------------------------------------------------------------------------------------------------------------------
# The mathematics, as bare functions
# ------------------------------------------------------------------------------------------------------------------


def gelu_tanh(x):
    """Hendrycks and Gimpel 2016, the tanh form: "gelu" in Google's files, "gelu_new" in Hugging Face's."""
    return ops.gelu(x, approximate=True)


def gelu_erf(x):
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

    `key value` are [B, N, S, D], `query` may be of fewer positions, [B, N, P, D], and so is what is returned;
    `mask_scores` float32 [B, 1, 1, S] is added to the scores.
    """
    scale = ops.cast(query.shape[-1] ** -0.5, query.dtype)
    scores = ops.matmul(query, ops.transpose(key, (0, 1, 3, 2))) * scale  # [B, N, P, S]
    # Under a mixed policy Keras hands `mask_scores` over in the compute type.
    probabilities = ops.softmax(ops.cast(scores, "float32") + ops.cast(mask_scores, "float32"), axis=-1)
    return ops.matmul(drop_out(ops.cast(probabilities, value.dtype), drop), value)


def gather_positions(sequence, positions):
    """The rows of `sequence` [B, S, H] at `positions` int32 [B, P], as [B, P, H]: one flat gather."""
    batch, length, width = ops.shape(sequence)
    flat = positions + ops.expand_dims(ops.arange(batch, dtype="int32") * length, 1)  # [B, P]
    return ops.take(ops.reshape(sequence, (batch * length, width)), flat, axis=0)


def _rows_at(sequence, positions):
    if fused := _fused(sequence, positions):
        return fused.rows_of(sequence, positions)
    return gather_positions(sequence, positions)


def _fused(*tensors):
    """`training_cpu.py` where it applies to these tensors, else None."""
    if keras.backend.backend() != "tensorflow":
        return None
    from kobert_tf2.bert.kernels import training_cpu as fused

    return fused if fused.applies(*tensors) else None


def _fused_activation(fused, x, activation):
    return fused.gelu_tanh(x) if activation is gelu_tanh else fused.activated(x, activation)


def _fusible(training):
    """`inference_cpu.py` where it applies, else None."""
    if keras.backend.backend() != "tensorflow":
        return None
    from kobert_tf2.bert.kernels import inference_cpu as fusible

    return fusible if fusible.applies(training) else None


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

    def in_forward_pass(self, x, training=False):
        """`call`, where it can be in the form that is fast in a forward pass alone."""
        fusible = _fusible(training)
        if fusible and fusible.stays_here():
            flat = ops.reshape(x, (-1, x.shape[-1]))
            return ops.reshape(fusible.norm(flat, *self.values(), epsilon=self.epsilon), ops.shape(x))
        return self(x)

    def add(self, x, residual, drop: Drop | None):
        return add_and_norm(x, residual, self.gamma, self.beta, epsilon=self.epsilon, drop=drop)

    def values(self) -> tuple:
        return ops.convert_to_tensor(self.gamma), ops.convert_to_tensor(self.beta)

    def get_config(self):
        return dict(super().get_config(), epsilon=self.epsilon)


def initial_values(config: BertConfig):
    """How every kernel and table of BERT starts."""
    return keras.initializers.TruncatedNormal(stddev=config.initializer_range)


_building = threading.local()


@contextlib.contextmanager
def uninitialized_weights():
    """Within this context the kernels and tables of the backbone are allocated but not initialized.

    A checkpoint is about to replace them. To draw 110 million random numbers would take longer than to read that
    checkpoint, and a page that nobody has written to takes no memory yet.
    """
    _building.uninitialized = True
    try:
        yield
    finally:
        _building.uninitialized = False


@keras.saving.register_keras_serializable(package="kobert_tf2")
class Uninitialized(keras.initializers.Zeros):
    """Allocates without writing, where the backend is TensorFlow; zeros elsewhere. For weights about to be loaded."""

    def __call__(self, shape, dtype=None):
        if keras.backend.backend() != "tensorflow":
            return super().__call__(shape, dtype)
        import tensorflow as tf

        return tf.raw_ops.Empty(shape=shape, dtype=keras.backend.standardize_dtype(dtype))


def _initializer(config: BertConfig):
    return Uninitialized() if getattr(_building, "uninitialized", False) else initial_values(config)


def _values(dense: keras.layers.Dense) -> tuple:
    """Kernel and bias in the compute type."""
    return ops.convert_to_tensor(dense.kernel), ops.convert_to_tensor(dense.bias)


def _are_as_made(*dense) -> bool:
    """Whether dense layers are what they were made as: neither quantized nor anything else put in their place."""
    return all(type(layer) is keras.layers.Dense and layer.quantization_mode is None for layer in dense)


def _joined(layers) -> tuple:
    """Kernel and bias of several dense layers side by side."""
    kernels, biases = zip(*map(_values, layers), strict=True)
    if len(layers) == 1:
        return kernels[0], biases[0]
    return ops.concatenate(kernels, axis=1), ops.concatenate(biases, axis=0)


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
        """In float32 whatever the policy: of a table a batch needs few rows, and only those are worth a cast."""
        return self.add_weight(
            name=name, shape=(rows, self.config.hidden_size), initializer=_initializer(self.config), autocast=False
        )

    def call(self, input_ids, segment_ids, training=False):
        length = ops.shape(input_ids)[1]
        self._check_length(length)
        words = self._words(input_ids)
        segments = self._segments(segment_ids)
        positions = ops.convert_to_tensor(self.position_embeddings)[:length]
        total, drop = words + segments + positions, self.dropout.drop(training)
        if fused := _fused(total):
            return self._fused_norm(fused, total, drop)
        normal = self.norm.in_forward_pass(total, training)
        return drop_out(ops.cast(normal, self.compute_dtype), drop)

    def _segments(self, segment_ids):
        if fused := _fused(segment_ids):
            return fused.rows_of(ops.convert_to_tensor(self.segment_embeddings), segment_ids)
        return ops.take(self.segment_embeddings, segment_ids, axis=0)

    def _words(self, input_ids):
        if fused := _fused(input_ids):
            return fused.look_up(self.word_embeddings, input_ids, self.compute_dtype)
        return ops.take(self.word_embeddings, input_ids, axis=0)

    def _fused_norm(self, fused, total, drop):
        flat = ops.reshape(total, (-1, total.shape[-1]))
        gamma, beta = self.norm.values()
        states = fused.norm_and_drop(flat, gamma, beta, epsilon=self.norm.epsilon, drop=drop, dtype=self.compute_dtype)
        return ops.reshape(states, total.shape)

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
    """Self-attention and a feed-forward network, a residual and a normalisation after each: [B, S, H] -> [B, S, H].

    With `positions`, int32 [B, P], the same there alone, [B, P, H]: every position is attended to, but only these ask.
    """

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

    def call(self, hidden, mask_scores, positions=None, training=False):
        asking = hidden if positions is None else _rows_at(hidden, positions)
        if self._can_be_fused():
            if fusible := _fusible(training):
                return self._fusible_call(fusible, asking, hidden, mask_scores)
            if fused := _fused(asking, hidden, mask_scores):
                return self._fused_call(fused, asking, hidden, mask_scores, training)
        attended = self.attention_output(self._attention(asking, hidden, mask_scores, training))
        asking = self.attention_norm.add(attended, asking, self.attention_output_dropout.drop(training))
        forward = self.feed_forward_output(self.activation(self.intermediate(asking)))
        return self.output_norm.add(forward, asking, self.output_dropout.drop(training))

    def _attention(self, asking, hidden, mask_scores, training):
        query, key, value = (
            split_heads(layer(x), self.config.num_attention_heads)
            for x, layer in ((asking, self.query), (hidden, self.key), (hidden, self.value))
        )
        return join_heads(attend(query, key, value, mask_scores, drop=self.attention_dropout.drop(training)))

    def _can_be_fused(self) -> bool:
        return _are_as_made(
            self.query, self.key, self.value, self.attention_output, self.intermediate, self.feed_forward_output
        )

    def _fused_call(self, fused, asking, hidden, mask_scores, training):
        """The same on [B * S, H]."""
        flat, heads = self._flat(asking), self._fused_heads(fused, asking, hidden)
        attended = fused.attend(*heads, mask_scores, drop=self.attention_dropout.drop(training))
        flat = self._fused_add(
            fused,
            self.attention_output,
            attended,
            flat,
            self.attention_norm,
            self.attention_output_dropout.drop(training),
        )
        inner = _fused_activation(fused, fused.dense(flat, *_values(self.intermediate)), self.activation)
        flat = self._fused_add(
            fused, self.feed_forward_output, inner, flat, self.output_norm, self.output_dropout.drop(training)
        )
        return ops.reshape(flat, asking.shape)

    def _fused_heads(self, fused, asking, hidden) -> list:
        """Query, key and value, [B, N, S, D] each."""
        heads, shape = [], {"batch": hidden.shape[0], "num_heads": self.config.num_attention_heads}
        for x, dense in self._projections(asking, hidden):
            kernel, bias = _joined(dense)
            heads += fused.heads(fused.dense(self._flat(x), kernel, bias), parts=len(dense), **shape)
        return heads

    def _projections(self, asking, hidden) -> list:
        """What query, key and value are made of: the dense layers of the same input together, to be one product."""
        if asking is hidden:
            return [(hidden, (self.query, self.key, self.value))]
        return [(asking, (self.query,)), (hidden, (self.key, self.value))]

    def _flat(self, x):
        """[B, S, H] -> [B * S, H]"""
        return ops.reshape(x, (-1, self.config.hidden_size))

    def _fused_add(self, fused, dense, x, residual, norm, drop):
        products = fused.dense(x, *_values(dense))
        return fused.add_and_norm(products, residual, *norm.values(), epsilon=norm.epsilon, drop=drop)

    def _fusible_call(self, fusible, asking, hidden, mask_scores):
        """The same without dropout, on [B * S, H]."""
        flat, heads = self._flat(asking), self._fusible_heads(fusible, asking, hidden)
        attended = fusible.dense(fusible.attend(*heads, mask_scores), *_values(self.attention_output))
        flat = self.attention_norm.in_forward_pass(attended + flat)
        inner = self.activation(fusible.dense(flat, *_values(self.intermediate)))
        forward = fusible.dense(inner, *_values(self.feed_forward_output))
        return ops.reshape(self.output_norm.in_forward_pass(forward + flat), ops.shape(asking))

    def _fusible_heads(self, fusible, asking, hidden) -> list:
        """Query, key and value, [B, N, S, D] each."""
        heads, shape = [], {"batch": ops.shape(hidden)[0], "num_heads": self.config.num_attention_heads}
        for x, dense in self._projections(asking, hidden):
            if fusible.weights_are_final():
                with fusible.once():
                    kernel, bias = _joined(dense)
                heads += fusible.heads(fusible.dense(self._flat(x), kernel, bias), parts=len(dense), **shape)
            else:
                for layer in dense:
                    heads += fusible.heads(fusible.dense(self._flat(x), *_values(layer)), **shape)
        return heads

    def compute_output_shape(self, hidden_shape, mask_scores_shape, positions_shape=None):
        return hidden_shape if positions_shape is None else (*positions_shape, hidden_shape[-1])


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
    """Scores of the vocabulary, of the states at the masked positions alone: [B, P, H] -> float32 [B, P, V].

    `word_embeddings` gives the backbone's table, which is the output matrix too. It is a function, so that the
    table belongs to the embeddings and to nobody else. Where the configuration does not tie the two, the output matrix
    is a weight of this layer, `decoder` [V, H].
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

    def build(self, hidden_shape):
        self.transform.build((None, None, self.config.hidden_size))
        self.norm.build((None, None, self.config.hidden_size))
        self.output_bias = self.add_weight(name="output_bias", shape=(self.config.vocab_size,), initializer="zeros")
        if not self.config.tie_word_embeddings:
            self.decoder = self.add_weight(
                name="decoder",
                shape=(self.config.vocab_size, self.config.hidden_size),
                initializer=_initializer(self.config),
                autocast=False,
            )

    def call(self, hidden):
        fused = _fused(hidden) if _are_as_made(self.transform) else None
        if fused:
            return self._fused_call(fused, hidden)
        states = self.norm(self.activation(self.transform(hidden)))
        batch, predictions, width = ops.shape(states)
        products = ops.matmul(ops.reshape(states, (batch * predictions, width)), ops.transpose(self._table()))
        logits = ops.cast(products, "float32") + ops.cast(ops.convert_to_tensor(self.output_bias), "float32")
        return ops.reshape(logits, (batch, predictions, self.config.vocab_size))

    def output_matrix(self):
        """The weight that scores the vocabulary, [V, H]."""
        return self.word_embeddings() if self.config.tie_word_embeddings else self.decoder

    def _table(self):
        return ops.cast(ops.convert_to_tensor(self.output_matrix()), self.compute_dtype)

    def _fused_call(self, fused, hidden):
        """The same on [B * P, H]."""
        flat = ops.reshape(hidden, (-1, self.config.hidden_size))
        inner = _fused_activation(fused, fused.dense(flat, *_values(self.transform)), self.activation)
        states = fused.norm_and_drop(
            inner, *self.norm.values(), epsilon=self.norm.epsilon, drop=None, dtype=self.compute_dtype
        )
        table = fused.table_of(self.output_matrix(), self.compute_dtype)
        scores = fused.times_rows(states, table, ops.convert_to_tensor(self.output_bias))  # [B * P, V]
        logits = ops.reshape(ops.cast(scores, "float32"), (*hidden.shape[:-1], self.config.vocab_size))
        fused.remember_scores(logits, scores)
        return logits

    def compute_output_spec(self, hidden):
        return keras.KerasTensor((*hidden.shape[:-1], self.config.vocab_size), dtype="float32")


def logits_layer(config: BertConfig, units: int, name: str):
    """A small head is computed in float32 whatever the policy: it costs nothing there."""
    return keras.layers.Dense(units, kernel_initializer=initial_values(config), dtype="float32", name=name)
