"""BERT as Keras models: the backbone and its four heads, built from `layers.py`.

Nothing here reads or writes weight files (`pretrained.py` does), computes a loss or processes text.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Self

import keras
import numpy as np
from keras import ops

from kobert_tf2.bert import labels as label_names
from kobert_tf2.bert import pretrained, resizing
from kobert_tf2.bert.config import BertConfig
from kobert_tf2.bert.dropout import Dropout, dropout_seed
from kobert_tf2.bert.layers import (
    AttentionMask,
    Embeddings,
    EncoderLayer,
    MaskedLMHead,
    Pooler,
    logits_layer,
    same_sequence_scores,
)
from kobert_tf2.errors import InputError

__all__ = [
    "BertBackbone",
    "BertConfig",
    "BertForPreTraining",
    "BertForQuestionAnswering",
    "BertForSequenceClassification",
    "BertForTokenClassification",
    "dropout_seed",
]


# The names of our inputs in transformers, and thus in the result of a tokenizer call.
_SAME_INPUT = {"attention_mask": "input_mask", "token_type_ids": "segment_ids"}


def _input(name: str) -> keras.KerasTensor:
    return keras.Input(shape=(None,), dtype="int32", name=name)


def _backbone_inputs() -> dict:
    return {name: _input(name) for name in ("input_ids", "input_mask", "segment_ids")}


class _BertModel(keras.Model):
    """Base class of all models here: input selection, serialisation, loading and saving of model directories."""

    def __call__(self, inputs: dict, *args: object, **kwargs: Any) -> dict:
        """Accepts a batch with more keys than the model's inputs; Keras would match values to inputs by order only."""
        return super().__call__(self._chosen(inputs), *args, **kwargs)

    def _chosen(self, inputs: dict) -> dict:
        if not isinstance(inputs, dict) or not isinstance(self.input, dict):
            return inputs
        inputs = {_SAME_INPUT.get(name, name): value for name, value in inputs.items()}
        missing = [name for name in self.input if name not in inputs]
        if missing:
            raise InputError(f"expected the inputs {', '.join(self.input)}. Received: {', '.join(sorted(inputs))}")
        if self.config.type_vocab_size < 2:
            self._refuse_pairs(inputs["segment_ids"])
        return {name: inputs[name] for name in self.input}

    def _refuse_pairs(self, segment_ids: Any) -> None:
        """Raises for a second segment that the model does not support, if the values are known; in a compiled graph it
        passes unnoticed.
        """
        is_known = isinstance(segment_ids, np.ndarray) or hasattr(segment_ids, "numpy")
        if is_known and keras.ops.convert_to_numpy(segment_ids).any():
            self.config.check_takes_pairs("segment_ids", "a second segment was given")

    def get_config(self) -> dict:
        policy = keras.saving.serialize_keras_object(self._layer_policy)
        return {"config": self.config.to_dict(), "dtype": policy, "name": self.name, "trainable": self.trainable}

    @classmethod
    def from_config(cls, config: dict, custom_objects: dict | None = None) -> Self:
        return cls(**{**config, "config": BertConfig(**config["config"])})

    @classmethod
    def from_pretrained(cls, path: str, **kwargs: Any) -> Self:
        """Loads a model from a model directory, a TF1 checkpoint (its prefix, its `.index`, or its folder) or a hub id.

        A missing or misshapen weight of the backbone raises an `InputError` that lists all of them. A head that the
        files do not contain is initialised at random and reported on stderr: `new_parts` lists such parts until they
        are trained. With `require_trained` it raises `InputError`. A classifier takes its labels from the files; if
        `labels` differ, its head is initialised at random. `kwargs` are passed to the constructor.
        """
        return pretrained.from_pretrained(cls, path, **kwargs)

    @property
    def new_parts(self) -> tuple[str, ...]:
        """The parts that were missing from the loaded files and still have their random initial values: `("span",)`.

        They may not be used for predictions. A model created by its constructor has none: its weights are up to the
        caller.
        """
        return pretrained.new_parts(self)

    def save_pretrained(
        self, folder: str, tokenizer: Any = None, *, task_specific_params: Mapping | None = None
    ) -> None:
        """Writes a model directory, which Hugging Face's `transformers` can load too. The write is atomic.

        `task_specific_params` are written to config.json under this name: the settings that each task needs besides the
        weights. By default, those of the folder that this model with its head was loaded from. `new_parts` are omitted
        and reported on stderr, so that the folder cannot be mistaken for a trained model.
        """
        pretrained.save_pretrained(self, folder, tokenizer, task_specific_params=task_specific_params)

    def resize_token_embeddings(self, vocab_size: int) -> Self:
        """A new model with the first `vocab_size` word embeddings of this one, and new ones if it had fewer."""
        return resizing.resize_token_embeddings(self, vocab_size)

    def add_tokens(self, tokenizer: object, pieces: Iterable[str]) -> tuple:
        """A new model and a new tokenizer that include `pieces`; see `resizing.add_tokens`."""
        return resizing.add_tokens(self, tokenizer, pieces)


@keras.saving.register_keras_serializable(package="kobert_tf2")
class BertBackbone(_BertModel):
    """The encoder.

    Inputs: `{"input_ids", "input_mask", "segment_ids"}`, int32 [batch, sequence]; `input_mask` is 1 on tokens and 0 on
    padding. Outputs: `sequence_output` [batch, sequence, hidden]; `pooled_output` [batch, hidden] unless
    `add_pooling_layer` is false; `hidden_states`, a list of `num_hidden_layers` + 1 tensors like `sequence_output`,
    with `output_hidden_states`; `attentions`, for each layer float32 [batch, heads, sequence, sequence], the attention
    weights (without dropout), with `output_attentions`.

    If called with `output_positions`, int32 [batch, positions], `sequence_output` is [batch, positions, hidden], at
    these positions only, and there are no `hidden_states` and `attentions`. The last layer is computed only at these
    positions and the first token, so a head that reads few positions saves most of a layer; a head that needs only the
    pooled output passes [batch, 0].
    """

    def __init__(
        self,
        config: BertConfig,
        *,
        add_pooling_layer: bool = True,
        output_hidden_states: bool = False,
        output_attentions: bool = False,
        dtype: str | keras.DTypePolicy | None = None,
        **kwargs: Any,
    ) -> None:
        policy = keras.dtype_policies.get(dtype or keras.config.dtype_policy())
        shared = {"config": config, "dtype": policy}

        # Layers
        embeddings = Embeddings(**shared, name="embeddings")
        attention_mask = AttentionMask(dtype="float32", name="attention_mask")
        encoder_layers = [EncoderLayer(**shared, name=f"encoder_layer_{i}") for i in range(config.num_hidden_layers)]
        pooler = Pooler(**shared, name="pooler") if add_pooling_layer else None

        # Wiring
        inputs = _backbone_inputs()
        mask_scores = attention_mask(inputs["input_mask"])
        hidden_states = [embeddings(inputs["input_ids"], inputs["segment_ids"])]
        attentions = []
        for layer in encoder_layers:
            if output_attentions:
                output, attention = layer(hidden_states[-1], mask_scores, output_attentions=True)
                attentions.append(attention)
            else:
                output = layer(hidden_states[-1], mask_scores)
            hidden_states.append(output)
        outputs: dict[str, Any] = {"sequence_output": hidden_states[-1]}
        if pooler is not None:
            outputs["pooled_output"] = pooler(hidden_states[-1])
        if output_hidden_states:
            outputs["hidden_states"] = hidden_states
        if output_attentions:
            outputs["attentions"] = attentions
        super().__init__(inputs=inputs, outputs=outputs, **kwargs)

        # With the torch backend, a model accepts attributes only after construction
        self.config = config
        self.embeddings = embeddings
        self.attention_mask = attention_mask
        self.encoder_layers = encoder_layers
        self.pooler = pooler
        self.add_pooling_layer = add_pooling_layer
        self.output_hidden_states = output_hidden_states
        self.output_attentions = output_attentions
        self._layer_policy = policy

    def call(
        self,
        inputs: dict,
        training: bool | None = None,
        mask: keras.KerasTensor | None = None,
        output_positions: keras.KerasTensor | None = None,
    ) -> dict:
        if output_positions is None:
            return super().call(inputs, training=training, mask=mask)
        return self.at_positions(output_positions, inputs, training)[0]

    def at_positions(
        self, positions: keras.KerasTensor, inputs: dict, training: bool | None
    ) -> tuple[dict, keras.KerasTensor]:
        """The outputs at `positions` [batch, positions], and the word embedding table [vocabulary, hidden] for a tied
        output layer.
        """
        if "sequence_ids" in inputs:
            return self._at_positions_of_packed(positions, inputs, training)
        mask_scores = self.attention_mask(inputs["input_mask"])
        hidden, table = self.embeddings(inputs["input_ids"], inputs["segment_ids"], training=training, with_table=True)
        *layers, last = self.encoder_layers
        for layer in layers:
            hidden = layer(hidden, mask_scores, training=training)
        if self.pooler is None:
            return {"sequence_output": last(hidden, mask_scores, positions, training=training)}, table
        positions = ops.pad(ops.cast(positions, "int32"), ((0, 0), (1, 0)))  # The pooler uses the first token.
        states = last(hidden, mask_scores, positions, training=training)
        return {"sequence_output": states[:, 1:], "pooled_output": self.pooler(states)}, table

    def _at_positions_of_packed(
        self, positions: keras.KerasTensor, inputs: dict, training: bool | None
    ) -> tuple[dict, keras.KerasTensor]:
        """`at_positions` for rows that hold several sequences: a token attends to those with the same of `sequence_ids`
        [batch, sequence], and the pooled output [batch, sequences, hidden] is that of `next_sentence_positions`.
        """
        assert self.pooler is not None, "packed rows are for next sentence prediction"
        sequence_ids, first = inputs["sequence_ids"], inputs["next_sentence_positions"]
        hidden, table = self.embeddings(
            inputs["input_ids"],
            inputs["segment_ids"],
            training=training,
            with_table=True,
            position_ids=inputs["position_ids"],
        )
        mask_scores = same_sequence_scores(sequence_ids, sequence_ids)
        *layers, last = self.encoder_layers
        for layer in layers:
            hidden = layer(hidden, mask_scores, training=training)
        places = ops.concatenate([first, ops.cast(positions, "int32")], axis=1)
        mask_scores = same_sequence_scores(ops.take_along_axis(sequence_ids, places, axis=1), sequence_ids)
        states = last(hidden, mask_scores, places, training=training)
        batch, count = ops.shape(first)
        heads = ops.reshape(states[:, :count], (batch * count, 1, self.config.hidden_size))
        pooled = ops.reshape(self.pooler(heads), (batch, count, self.config.hidden_size))
        return {"sequence_output": states[:, count:], "pooled_output": pooled}, table

    def compute_output_spec(
        self,
        inputs: dict,
        training: bool | None = None,
        mask: keras.KerasTensor | None = None,
        output_positions: keras.KerasTensor | None = None,
    ) -> dict:
        if output_positions is None:
            return super().compute_output_spec(inputs, training=training, mask=mask)
        width, dtype = self.config.hidden_size, self._layer_policy.compute_dtype
        outputs = {"sequence_output": keras.KerasTensor((*output_positions.shape, width), dtype)}
        if self.add_pooling_layer:
            outputs["pooled_output"] = keras.KerasTensor((output_positions.shape[0], width), dtype)
        return outputs

    def get_config(self) -> dict:
        return dict(
            super().get_config(),
            add_pooling_layer=self.add_pooling_layer,
            output_hidden_states=self.output_hidden_states,
            output_attentions=self.output_attentions,
        )


@keras.saving.register_keras_serializable(package="kobert_tf2")
class BertForPreTraining(_BertModel):
    """Masked LM and next-sentence prediction.

    Inputs: the backbone's, and `masked_lm_positions` int32 [batch, predictions]. Outputs, float32:
    `masked_lm_logits` [batch, predictions, vocabulary], `next_sentence_logits` [batch, 2], where index 0 means
    that the second sentence follows the first.

    Rows may hold several sequences, as `create_pretraining_data --pack_sequences` makes them: with the inputs
    `sequence_ids` and `position_ids` int32 [batch, sequence] and `next_sentence_positions` int32 [batch, slots],
    `next_sentence_logits` is [batch, slots, 2].
    """

    packed_inputs = ("sequence_ids", "position_ids", "next_sentence_positions")

    def _chosen(self, inputs: dict) -> dict:
        chosen = super()._chosen(inputs)
        return chosen | {name: inputs[name] for name in self.packed_inputs if name in inputs}

    def __init__(self, config: BertConfig, *, dtype: str | keras.DTypePolicy | None = None, **kwargs: Any) -> None:
        backbone = BertBackbone(config, dtype=dtype, name="backbone")
        masked_lm = MaskedLMHead(
            config=config,
            word_embeddings=lambda: backbone.embeddings.word_embeddings,
            dtype=backbone._layer_policy,
            name="masked_lm",
        )
        next_sentence = logits_layer(config, 2, "next_sentence")

        inputs = _backbone_inputs() | {"masked_lm_positions": _input("masked_lm_positions")}
        encoded = backbone(inputs, output_positions=inputs["masked_lm_positions"])
        outputs = {
            "masked_lm_logits": masked_lm(encoded["sequence_output"]),
            "next_sentence_logits": next_sentence(encoded["pooled_output"]),
        }
        super().__init__(inputs=inputs, outputs=outputs, **kwargs)

        self.config = config
        self.backbone = backbone
        self.masked_lm = masked_lm
        self.next_sentence = next_sentence
        self._layer_policy = backbone._layer_policy

    def call(self, inputs: dict, training: bool | None = None, mask: keras.KerasTensor | None = None) -> dict:
        """As built by the constructor, except that the word embedding table is passed from the embeddings to the head
        as a value: see `embed_words`.
        """
        inputs = {name: ops.cast(x, "int32") for name, x in inputs.items()}
        encoded, table = self.backbone.at_positions(inputs["masked_lm_positions"], inputs, training)
        return {
            "masked_lm_logits": self.masked_lm(encoded["sequence_output"], table, training=training),
            "next_sentence_logits": self.next_sentence(encoded["pooled_output"]),
        }


@keras.saving.register_keras_serializable(package="kobert_tf2")
class BertForQuestionAnswering(_BertModel):
    """Predicts the start and the end of an answer. Outputs, float32 [batch, sequence]: `start_logits`, `end_logits`."""

    def __init__(self, config: BertConfig, *, dtype: str | keras.DTypePolicy | None = None, **kwargs: Any) -> None:
        backbone = BertBackbone(config, add_pooling_layer=False, dtype=dtype, name="backbone")
        span = logits_layer(config, 2, "span")

        inputs = _backbone_inputs()
        logits = span(backbone(inputs)["sequence_output"])  # [B, S, 2]
        outputs = {"start_logits": logits[:, :, 0], "end_logits": logits[:, :, 1]}
        super().__init__(inputs=inputs, outputs=outputs, **kwargs)

        self.config = config
        self.backbone = backbone
        self.span = span
        self._layer_policy = backbone._layer_policy


class _Classifier(_BertModel):
    """Base class of the two classification models: their labels.

    `labels` are the names in the order of the logits, LABEL_0, LABEL_1 ... if none were given; `problem_type` is one of
    `labels.PROBLEM_TYPES`, or None.
    """

    def get_config(self) -> dict:
        named = {"labels": list(self.labels), "problem_type": self.problem_type}
        return dict(super().get_config(), num_labels=self.num_labels, **named)


def _classifier_dropout(config: BertConfig, policy: keras.DTypePolicy) -> Dropout:
    rate = config.hidden_dropout_prob if config.classifier_dropout is None else config.classifier_dropout
    return Dropout(rate, site="classifier/dropout", dtype=policy, name="dropout")


@keras.saving.register_keras_serializable(package="kobert_tf2")
class BertForSequenceClassification(_Classifier):
    """Predicts a label for a text or a pair of texts. Outputs: `logits`, float32 [batch, num_labels].

    Args:
        num_labels: the number of labels; 2 if neither it nor `labels` is given.
        labels: the names of the labels, in the order of the logits.
        problem_type: "single_label_classification", "multi_label_classification" or "regression", for `config.json`.
    """

    def __init__(
        self,
        config: BertConfig,
        *,
        num_labels: int | None = None,
        labels: Sequence[str] | None = None,
        problem_type: str | None = None,
        dtype: str | keras.DTypePolicy | None = None,
        **kwargs: Any,
    ) -> None:
        names, problem_type = label_names.make(num_labels, labels, problem_type)
        backbone = BertBackbone(config, dtype=dtype, name="backbone")
        dropout = _classifier_dropout(config, backbone._layer_policy)
        classifier = logits_layer(config, len(names), "classifier")

        inputs = _backbone_inputs()
        encoded = backbone(inputs, output_positions=inputs["input_ids"][:, :0])
        outputs = {"logits": classifier(dropout(encoded["pooled_output"]))}
        super().__init__(inputs=inputs, outputs=outputs, **kwargs)

        self.config = config
        self.backbone = backbone
        self.classifier = classifier
        self.num_labels, self.labels, self.problem_type = len(names), names, problem_type
        self._layer_policy = backbone._layer_policy


@keras.saving.register_keras_serializable(package="kobert_tf2")
class BertForTokenClassification(_Classifier):
    """Predicts a label for every token; the arguments are those of `BertForSequenceClassification`.

    Outputs: `logits`, float32 [batch, sequence, num_labels].
    """

    def __init__(
        self,
        config: BertConfig,
        *,
        num_labels: int | None = None,
        labels: Sequence[str] | None = None,
        problem_type: str | None = None,
        dtype: str | keras.DTypePolicy | None = None,
        **kwargs: Any,
    ) -> None:
        names, problem_type = label_names.make(num_labels, labels, problem_type)
        backbone = BertBackbone(config, add_pooling_layer=False, dtype=dtype, name="backbone")
        dropout = _classifier_dropout(config, backbone._layer_policy)
        classifier = logits_layer(config, len(names), "classifier")

        inputs = _backbone_inputs()
        outputs = {"logits": classifier(dropout(backbone(inputs)["sequence_output"]))}
        super().__init__(inputs=inputs, outputs=outputs, **kwargs)

        self.config = config
        self.backbone = backbone
        self.classifier = classifier
        self.num_labels, self.labels, self.problem_type = len(names), names, problem_type
        self._layer_policy = backbone._layer_policy
