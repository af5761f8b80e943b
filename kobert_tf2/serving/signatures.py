"""The contents of a SavedModel: for each head the traced functions, with the variables and files that they need.

All signatures use standard TensorFlow operations, except those with strings, which tokenize with tensorflow-text. A
SavedModel with one of the latter cannot be loaded at all, not even for its other signatures, unless tensorflow-text has
been imported, so `export.py` writes it separately.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from kobert_tf2.bert.labels import MULTI_LABEL, REGRESSION, Labels
from kobert_tf2.reading.answers import prefers_no_answer
from kobert_tf2.reading.settings import ReadingSettings
from kobert_tf2.reading.windows import INPUTS
from kobert_tf2.serving import graph_labelling, graph_reading
from kobert_tf2.tokenization.tokenizer import Tokenizer

# A limit for `answer_text`, so that a long context needs no more memory than a short one.
WINDOWS_AT_ONCE = 16
# Tokens in a window of `tag_text`, the same as `Tagger`'s default.
TAGGER_LENGTH = 128
# The signatures with strings, which need tensorflow-text.
TEXT_SIGNATURES = {"reading": "answer_text", "tokens": "tag_text"}


# ----------------------------------------------------------------------------------------------------------------------
# Heads: the model class of each, and the outputs of its signatures
# ----------------------------------------------------------------------------------------------------------------------


class Head(NamedTuple):
    architectures: tuple[str, ...]  # the names in config.json that mean this head
    model: str  # the class in modeling.py
    outputs: Callable  # (the model, its outputs, the inputs) -> what `serving_default` gives
    extra_inputs: tuple[str, ...] = ()


def _as_they_are(model: keras.Model, outputs: dict, inputs: dict) -> dict:
    return outputs


def _embedding_outputs(model: keras.Model, outputs: dict, inputs: dict) -> dict:
    weights = tf.expand_dims(tf.cast(inputs["input_mask"], tf.float32), -1)
    tokens = tf.maximum(tf.reduce_sum(weights, axis=1), 1.0)
    return dict(outputs, mean_output=tf.reduce_sum(outputs["sequence_output"] * weights, axis=1) / tokens)


def _class_outputs(model: keras.Model, outputs: dict, inputs: dict) -> dict:
    """Adds `probabilities`: over all labels for single-label models, of each label for multi-label ones, none for a
    regression.
    """
    kind = Labels(model.labels, model.problem_type).kind
    if kind == REGRESSION:
        return outputs
    function = tf.sigmoid if kind == MULTI_LABEL else tf.nn.softmax
    return dict(outputs, probabilities=function(outputs["logits"]))


HEADS = {
    "reading": Head(("BertForQuestionAnswering",), "BertForQuestionAnswering", _as_they_are),
    "classification": Head(("BertForSequenceClassification",), "BertForSequenceClassification", _class_outputs),
    "tokens": Head(("BertForTokenClassification",), "BertForTokenClassification", _class_outputs),
    "embedding": Head(("BertModel", "BertBackbone"), "BertBackbone", _embedding_outputs),
    "pretraining": Head(("BertForPreTraining",), "BertForPreTraining", _as_they_are, ("masked_lm_positions",)),
}


# ----------------------------------------------------------------------------------------------------------------------
# Signatures
# ----------------------------------------------------------------------------------------------------------------------


class Servable(tf.Module):
    """The traced functions and the variables and files they need, as attributes so that the SavedModel includes them.

    Args:
        settings: a `ReadingSettings`, for a reader.
        tagging: the fields of `TaggerSettings`, for a tagger that was not trained with `Tagger`'s defaults.
    """

    def __init__(
        self,
        model: keras.Model,
        head: Head,
        *,
        tokenizer: Tokenizer,
        settings: ReadingSettings | None = None,
        tagging: Mapping[str, Any] | None = None,
    ):
        super().__init__()
        self._model, self._head, self._settings, self._plain = model, head, settings, tokenizer
        self.plain_signatures = ("serving_default", *(["answer_span"] if settings else []))
        self._tagging = dict(tagging or {})
        self.text_signature = "answer_text" if settings else "tag_text"
        self.variables_of_model = [variable.value for variable in model.weights]

    def hold_files(self, paths: list[str]) -> None:
        """Sets the files to include as assets, replacing any previous ones."""
        self.assets = [tf.saved_model.Asset(path) for path in paths]

    def signatures(self, names: list[str]) -> dict:
        """Concrete functions: those of `plain_signatures`, and for a plain tokenizer one of `TEXT_SIGNATURES`."""
        make = {
            "serving_default": lambda: _with_signature(self._serve_checked, self.inputs),
            "answer_span": lambda: _with_signature(self.answer_span, INPUTS),
            "answer_text": self._answer_text,
            "tag_text": self._tag_text,
        }
        return {name: make[name]() for name in names}

    def _forward(self, inputs: dict) -> dict:
        return self._model(inputs, training=False)

    @property
    def inputs(self) -> tuple[str, ...]:
        return (*INPUTS, *self._head.extra_inputs)

    def serve(self, **inputs: tf.Tensor) -> dict:
        """Returns named float32 outputs."""
        outputs = self._head.outputs(self._model, self._forward(inputs), inputs)
        return {name: tf.cast(output, tf.float32, name=name) for name, output in outputs.items()}

    @property
    def type_vocab_size(self) -> int:
        return self._model.config.type_vocab_size

    def _serve_checked(self, **inputs: tf.Tensor) -> dict:
        """`serve` that raises for a pair given to a single-segment model, for which some devices would return zeros."""
        if self.type_vocab_size == 1:
            only_first = "type_vocab_size is 1: this model takes single texts alone, so segment_ids must all be 0"
            tf.debugging.assert_equal(inputs["segment_ids"], 0, message=only_first)
        return self.serve(**inputs)

    @property
    def _reading(self) -> ReadingSettings:
        assert self._settings is not None  # of a reader, which alone has these signatures
        return self._settings

    def answer_span(self, **inputs: tf.Tensor) -> dict:
        """The best spans of each row (a window), and the scores for comparing them with "no answer".

        For a context of one window, `null_score_diff` above the threshold means that there is no answer. For several
        windows, compare the lowest `null_score` with the best span of all windows, as the original run_squad does.
        """
        outputs = self._forward(inputs)
        start_logits, end_logits = outputs["start_logits"], outputs["end_logits"]
        allowed = graph_reading.context_positions(**inputs, sep_id=self._plain.sep_id)
        spans = graph_reading.best_spans(start_logits, end_logits, allowed, allowed, **self._reading.best)
        null_score = start_logits[:, 0] + end_logits[:, 0]
        return dict(spans._asdict(), null_score=null_score, null_score_diff=null_score - spans.score[:, 0])

    def _answer_text(self) -> tf.types.experimental.ConcreteFunction:
        """Takes strings, returns answers: tokens, windows, spans and offsets are all computed in the graph."""
        from kobert_tf2.serving import graph_tokenizer  # needs tensorflow-text, which the other signatures do not

        self.tokenizer = graph_tokenizer.GraphTokenizer(self._plain)
        text = {name: tf.TensorSpec([None], tf.string, name=name) for name in ("question", "context")}
        return tf.function(self._read_text, autograph=False).get_concrete_function(**text)

    def _read_text(self, question: tf.Tensor, context: tf.Tensor) -> dict:
        ids = {name: getattr(self._plain, name) for name in ("cls_id", "sep_id", "pad_id")}
        tokens = self.tokenizer(context)
        windows = graph_reading.make_windows(self.tokenizer(question).ids, tokens.ids, **ids, **self._reading.lengths)
        logits = graph_reading.logits_in_chunks(self._span_logits, windows.inputs, size=WINDOWS_AT_ONCE)
        spans = graph_reading.merge_spans(windows, *logits, **self._reading.best)
        null_score = graph_reading.null_scores(windows, *logits)
        start = graph_reading.of_tokens(tokens.starts, spans.start)
        end = graph_reading.of_tokens(tokens.ends, spans.end)
        repeated = tf.repeat(context[:, tf.newaxis], self._reading.n_best_size, axis=1)
        texts = tf.strings.substr(repeated, start, end - start, unit="UTF8_CHAR")
        every = {"text": texts, "start": start, "end": end, "score": spans.score, "probability": spans.probability}
        first = {("answer" if name == "text" else name): column[:, 0] for name, column in every.items()}
        if self._reading.null_score_diff_threshold is not None:
            first = _or_none(first, spans.score, null_score, self._reading.null_score_diff_threshold)
        null = {"null_score": null_score, "null_score_diff": null_score - spans.score[:, 0]}
        return first | null | {f"n_best_{name}": column for name, column in every.items()}

    def _tag_text(self) -> tf.types.experimental.ConcreteFunction:
        """Takes strings, returns entities."""
        from kobert_tf2.serving import graph_tokenizer  # needs tensorflow-text, which the other signatures do not

        self.tokenizer = graph_tokenizer.GraphTokenizer(self._plain)
        text = tf.TensorSpec([None], tf.string, name="text")
        return tf.function(self._find_entities, autograph=False).get_concrete_function(text=text)

    def _find_entities(self, text: tf.Tensor) -> dict:
        ids = {name: getattr(self._plain, name) for name in ("cls_id", "sep_id", "pad_id")}
        tokens = self.tokenizer(text)
        kept = self._tagging.get("max_seq_length")
        length = min(kept or TAGGER_LENGTH, self._model.config.max_position_embeddings)
        stride = self._tagging.get("doc_stride") if length == kept else None
        windows = graph_labelling.make_windows(tokens.ids, **ids, max_seq_length=length, doc_stride=stride)
        (logits,) = graph_reading.logits_in_chunks(
            lambda inputs: (self._forward(inputs)["logits"],), windows.inputs, size=WINDOWS_AT_ONCE, ranks=(3,)
        )
        per_token = graph_labelling.token_logits(windows, logits, tokens.ids)
        found = graph_labelling.decode(per_token, tokens.starts, tokens.ends, self._model.labels)
        repeated = tf.repeat(text[:, tf.newaxis], tf.shape(found.start)[1], axis=1)
        first = tf.maximum(found.start, 0)
        texts = tf.strings.substr(repeated, first, tf.maximum(found.end, 0) - first, unit="UTF8_CHAR")
        return {"text": texts, **found._asdict()}

    def _span_logits(self, inputs: dict) -> tuple:
        outputs = self._forward(inputs)
        return outputs["start_logits"], outputs["end_logits"]


def _or_none(first: dict, scores: tf.Tensor, null_score: tf.Tensor, threshold: float) -> dict:
    """The best answers, or an empty one if "no answer" scores higher by more than the threshold. Probabilities are over
    the n best and "no answer".
    """
    is_none = prefers_no_answer(null_score - scores[:, 0], threshold)
    probabilities = tf.nn.softmax(tf.concat([scores, null_score[:, tf.newaxis]], axis=1))
    nothing = {
        "answer": "",
        "start": 0,
        "end": 0,
        "score": null_score,
        "probability": probabilities[:, -1],
    }
    first = dict(first, probability=probabilities[:, 0])
    return {name: tf.where(is_none, nothing[name], column) for name, column in first.items()}


def _with_signature(function: Callable, inputs: tuple[str, ...]) -> tf.types.experimental.ConcreteFunction:
    """A traced function with keyword arguments, each int32 [batch, sequence] with both dimensions dynamic."""
    specs = {name: tf.TensorSpec([None, None], tf.int32, name=name) for name in inputs}
    return tf.function(function, autograph=False).get_concrete_function(**specs)
