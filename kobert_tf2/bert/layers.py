"""The layers of BERT with `keras` and `keras.ops` alone: their weights, and the order of the computation.

Follows Devlin et al. 2018. The computation of each step is in `kernels/`: a layer chooses its kernels once per call,
and all implementations of a kernel have the same signature. The letters in the shapes: B batch, S sequence, P positions
chosen of it, H hidden width, V vocabulary.
"""

import contextlib
import functools
import threading
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

import keras
from keras import ops

from kobert_tf2.bert import kernels
from kobert_tf2.bert.config import BertConfig
from kobert_tf2.bert.dropout import Dropout, masks_repeat
from kobert_tf2.bert.kernels import plain, tracing
from kobert_tf2.errors import InputError

# Added to the attention score of a masked position, as in the original graph. The weight is then 0 in float32, except
# in a row that is masked entirely, which stays finite.
MASKED_SCORE = -10000.0


@keras.saving.register_keras_serializable(package="kobert_tf2")
class LayerNorm(keras.layers.Layer):
    """Layer normalisation over the last axis. Within the other layers a kernel applies it and reads gamma and beta."""

    def __init__(self, *, epsilon: float, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.epsilon = epsilon

    def build(self, input_shape: tuple) -> None:
        self.gamma = self.add_weight(name="gamma", shape=(input_shape[-1],), initializer="ones")
        self.beta = self.add_weight(name="beta", shape=(input_shape[-1],), initializer="zeros")

    def call(self, x: keras.KerasTensor) -> keras.KerasTensor:
        return plain.layer_norm(x, self.gamma, self.beta, self.epsilon)

    def get_config(self) -> dict:
        return dict(super().get_config(), epsilon=self.epsilon)


def initial_values(config: BertConfig) -> keras.initializers.Initializer:
    """The initializer of every kernel and embedding table of BERT."""
    return keras.initializers.TruncatedNormal(stddev=config.initializer_range)


_building = threading.local()


@contextlib.contextmanager
def uninitialized_weights() -> Iterator[None]:
    """Within this context the kernels and tables of the backbone are allocated but not initialized.

    For weights that a checkpoint is about to replace. Drawing 110 million random numbers takes longer than reading the
    checkpoint, and memory pages that were never written to take no memory.
    """
    _building.uninitialized = True
    try:
        yield
    finally:
        _building.uninitialized = False


@keras.saving.register_keras_serializable(package="kobert_tf2")
class Uninitialized(keras.initializers.Zeros):
    """Allocates without writing on the TensorFlow backend, zeros elsewhere. For weights that are about to be loaded."""

    def __call__(self, shape: tuple, dtype: str | None = None) -> keras.KerasTensor:
        if keras.backend.backend() != "tensorflow":
            return super().__call__(shape, dtype)
        import tensorflow as tf

        return tf.raw_ops.Empty(shape=shape, dtype=keras.backend.standardize_dtype(dtype))


def _initializer(config: BertConfig) -> keras.initializers.Initializer:
    return Uninitialized() if getattr(_building, "uninitialized", False) else initial_values(config)


class _ConfiguredLayer(keras.layers.Layer):
    """A layer whose constructor takes the model's configuration."""

    def __init__(self, *, config: BertConfig | dict, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.config = config if isinstance(config, BertConfig) else BertConfig(**config)

    def get_config(self) -> dict:
        return dict(super().get_config(), config=self.config.to_dict())

    def _dense(self, units: int, name: str) -> keras.layers.Dense:
        return keras.layers.Dense(
            units, kernel_initializer=_initializer(self.config), dtype=self.dtype_policy, name=name
        )

    def _norm(self, name: str) -> LayerNorm:
        return LayerNorm(epsilon=self.config.layer_norm_eps, dtype=self.dtype_policy, name=name)


@keras.saving.register_keras_serializable(package="kobert_tf2")
class Embeddings(_ConfiguredLayer):
    """Word, position and segment embeddings, summed, normalised, dropped out: int32 [B, S] twice -> [B, S, H]."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.norm = self._norm("norm")
        self.dropout = Dropout(self.config.hidden_dropout_prob, site=f"{self.name}/dropout", dtype=self.dtype_policy)

    def build(self, input_ids_shape: tuple, segment_ids_shape: tuple) -> None:
        config = self.config
        self.word_embeddings = self._table("word_embeddings", config.vocab_size)
        self.position_embeddings = self._table("position_embeddings", config.max_position_embeddings)
        self.segment_embeddings = self._table("segment_embeddings", config.type_vocab_size)
        self.norm.build((None, None, config.hidden_size))

    def _table(self, name: str, rows: int) -> keras.Variable:
        """Always float32: a batch needs few rows of a table, and only those are worth casting."""
        return self.add_weight(
            name=name, shape=(rows, self.config.hidden_size), initializer=_initializer(self.config), autocast=False
        )

    def call(
        self,
        input_ids: keras.KerasTensor,
        segment_ids: keras.KerasTensor,
        training: bool = False,
        with_table: bool = False,
        position_ids: keras.KerasTensor | None = None,
    ) -> keras.KerasTensor:
        """With `with_table`, also returns the word embeddings [V, H] for an output layer that is tied to them. Without
        `position_ids`, int32 [B, S], the positions are 0, 1 ... in each row.
        """
        kernel = kernels.choose(training, input_ids, segment_ids)
        length = ops.shape(input_ids)[1]
        self._check_length(length)
        words, table = kernel.embed_words(self.word_embeddings, input_ids, self.compute_dtype)
        segments = kernel.rows_of(ops.convert_to_tensor(self.segment_embeddings), segment_ids)
        positions = ops.convert_to_tensor(self.position_embeddings)[:length]
        if position_ids is not None:
            positions = kernel.rows_of(positions, position_ids)
        states = kernel.norm_and_dropout(
            words + segments + positions, self.norm, drop=self.dropout.drop(training), dtype=self.compute_dtype
        )
        return (states, table) if with_table else states

    def _check_length(self, length: object) -> None:
        longest = self.config.max_position_embeddings
        if isinstance(length, int) and length > longest:
            raise InputError(
                f"expected at most {longest} tokens in a row (max_position_embeddings), but input_ids has {length}: "
                "cut the text into windows, or lower max_seq_length"
            )

    def compute_output_shape(self, input_ids_shape: tuple, segment_ids_shape: tuple) -> tuple:
        return (*input_ids_shape, self.config.hidden_size)


@keras.saving.register_keras_serializable(package="kobert_tf2")
class AttentionMask(keras.layers.Layer):
    """A padding mask as the number to add to the attention scores: int [B, S] of 1 and 0 -> float32 [B, 1, 1, S]."""

    def call(self, input_mask: keras.KerasTensor) -> keras.KerasTensor:
        scores = (1.0 - ops.cast(input_mask, "float32")) * MASKED_SCORE
        return ops.expand_dims(scores, (1, 2))  # TFLite has no slice that adds an axis


def same_sequence_scores(of_queries: keras.KerasTensor, of_keys: keras.KerasTensor) -> keras.KerasTensor:
    """What to add to the attention scores so that each position attends to its own sequence alone: the numbers of the
    sequences, int32 [B, P] and [B, S] -> float32 [B, 1, P, S].
    """
    differ = ops.not_equal(ops.expand_dims(of_queries, 2), ops.expand_dims(of_keys, 1))
    return ops.expand_dims(ops.cast(differ, "float32") * MASKED_SCORE, 1)


@keras.saving.register_keras_serializable(package="kobert_tf2")
class EncoderLayer(_ConfiguredLayer):
    """Self-attention and a feed-forward network, a residual and a normalisation after each: [B, S, H] -> [B, S, H].

    With `positions`, int32 [B, P], only the outputs at these positions are computed, [B, P, H]; they attend to all.
    With `output_attentions` also how much each attends to each, float32 [B, N, P, S]: computed a second time, by
    `plain.attention_probabilities`, because the kernels do not keep it.
    """

    def __init__(self, **kwargs: Any) -> None:
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
        self.activation = plain.ACTIVATIONS[config.hidden_act]

    def _dropout(self, rate: float, name: str) -> Dropout:
        return Dropout(rate, site=f"{self.name}/{name}", dtype=self.dtype_policy, name=name)

    def build(self, hidden_shape: tuple, mask_scores_shape: tuple) -> None:
        hidden = (None, None, self.config.hidden_size)
        for layer in (self.query, self.key, self.value, self.attention_output, self.attention_norm, self.intermediate):
            layer.build(hidden)
        self.feed_forward_output.build((None, None, self.config.intermediate_size))
        self.output_norm.build(hidden)

    def call(
        self,
        hidden: keras.KerasTensor,
        mask_scores: keras.KerasTensor,
        positions: keras.KerasTensor | None = None,
        training: bool = False,
        output_attentions: bool = False,
    ) -> Any:
        # Integers are closed over: only what has a gradient may be an argument of what is computed again.
        states = functools.partial(
            self._states, positions=positions, training=training, output_attentions=output_attentions
        )
        if training is True and tracing.is_recomputing() and masks_repeat():
            return keras.remat(states)(hidden, mask_scores)
        return states(hidden, mask_scores)

    def _states(
        self,
        hidden: keras.KerasTensor,
        mask_scores: keras.KerasTensor,
        *,
        positions: keras.KerasTensor | None,
        training: bool,
        output_attentions: bool,
    ) -> Any:
        kernel = kernels.choose(training, hidden, mask_scores, dense=self._dense_layers())
        query_states = hidden if positions is None else kernel.rows_of(hidden, positions)
        attended = kernel.attention(
            query_states,
            hidden,
            mask_scores,
            (self.query, self.key, self.value),
            num_heads=self.config.num_attention_heads,
            drop=self.attention_dropout.drop(training),
        )
        states = kernel.dense_residual_norm(
            attended,
            self.attention_output,
            query_states,
            self.attention_norm,
            drop=self.attention_output_dropout.drop(training),
        )
        inner = kernel.dense_activation(states, self.intermediate, self.activation)
        output = kernel.dense_residual_norm(
            inner, self.feed_forward_output, states, self.output_norm, drop=self.output_dropout.drop(training)
        )
        return (output, self._attentions(query_states, hidden, mask_scores)) if output_attentions else output

    def _attentions(
        self, query_states: keras.KerasTensor, hidden: keras.KerasTensor, mask_scores: keras.KerasTensor
    ) -> keras.KerasTensor:
        query = plain.split_heads(self.query(query_states), self.config.num_attention_heads)
        key = plain.split_heads(self.key(hidden), self.config.num_attention_heads)
        return plain.attention_probabilities(query, key, mask_scores)

    def _dense_layers(self) -> tuple:
        attention = (self.query, self.key, self.value, self.attention_output)
        return (*attention, self.intermediate, self.feed_forward_output)

    def compute_output_shape(
        self, hidden_shape: tuple, mask_scores_shape: tuple, positions_shape: tuple | None = None
    ) -> tuple:
        return hidden_shape if positions_shape is None else (*positions_shape, hidden_shape[-1])

    def compute_output_spec(
        self,
        hidden: keras.KerasTensor,
        mask_scores: keras.KerasTensor,
        positions: keras.KerasTensor | None = None,
        training: bool = False,
        output_attentions: bool = False,
    ) -> Any:
        positions_shape = None if positions is None else positions.shape
        shape = self.compute_output_shape(hidden.shape, mask_scores.shape, positions_shape)
        output = keras.KerasTensor(shape, dtype=self.compute_dtype)
        if not output_attentions:
            return output
        heads = (shape[0], self.config.num_attention_heads, shape[1], hidden.shape[1])
        return output, keras.KerasTensor(heads, dtype="float32")


@keras.saving.register_keras_serializable(package="kobert_tf2")
class Pooler(_ConfiguredLayer):
    """A dense layer with tanh over the first token, `[CLS]`: [B, S, H] -> [B, H]."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.dense = self._dense(self.config.hidden_size, "dense")

    def build(self, hidden_shape: tuple) -> None:
        self.dense.build((None, self.config.hidden_size))

    def call(self, hidden: keras.KerasTensor) -> keras.KerasTensor:
        return ops.tanh(self.dense(hidden[:, 0]))


@keras.saving.register_keras_serializable(package="kobert_tf2")
class MaskedLMHead(_ConfiguredLayer):
    """Vocabulary logits of the states at the masked positions: [B, P, H] -> float32 [B, P, V].

    The output matrix is the backbone's word embeddings [V, H]. A call may be given them as `table`, as returned by the
    embeddings; otherwise they are read through the function `word_embeddings`, so that the variable belongs to the
    embeddings alone. If the configuration does not tie the two, the output matrix is a weight of this layer, `decoder`
    [V, H].
    """

    def __init__(self, *, word_embeddings: Callable, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.word_embeddings = word_embeddings
        self.transform = self._dense(self.config.hidden_size, "transform")
        self.norm = self._norm("norm")
        self.activation = plain.ACTIVATIONS[self.config.hidden_act]

    @classmethod
    def from_config(cls, config: dict) -> NoReturn:
        raise InputError(
            "the masked-LM head shares its matrix with the embeddings of one model and cannot be copied alone (as "
            "keras.models.clone_model does): copy the whole model with type(model).from_config(model.get_config())"
        )

    def build(self, hidden_shape: tuple, table_shape: tuple | None = None) -> None:
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

    def output_matrix(self) -> keras.Variable:
        """The weight that the logits are computed with, [V, H]."""
        return self.word_embeddings() if self.config.tie_word_embeddings else self.decoder

    def call(
        self, hidden: keras.KerasTensor, table: keras.KerasTensor | None = None, training: bool = False
    ) -> keras.KerasTensor:
        kernel = kernels.choose(training, hidden, dense=(self.transform,))
        inner = kernel.dense_activation(hidden, self.transform, self.activation)
        states = kernel.norm_and_dropout(inner, self.norm, drop=None, dtype=self.compute_dtype)
        if table is None or not self.config.tie_word_embeddings:
            table = ops.convert_to_tensor(self.output_matrix())
        return kernel.vocabulary_logits(
            states, ops.cast(table, self.compute_dtype), ops.convert_to_tensor(self.output_bias)
        )

    def compute_output_spec(
        self, hidden: keras.KerasTensor, table: keras.KerasTensor | None = None, training: bool = False
    ) -> keras.KerasTensor:
        return keras.KerasTensor((*hidden.shape[:-1], self.config.vocab_size), dtype="float32")


def logits_layer(config: BertConfig, units: int, name: str) -> keras.layers.Dense:
    """A small head, always computed in float32, where it costs nothing."""
    return keras.layers.Dense(units, kernel_initializer=initial_values(config), dtype="float32", name=name)
