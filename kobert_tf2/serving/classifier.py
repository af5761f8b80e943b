"""Classifies texts and pairs of texts with a model that is loaded once: one label, several labels, or a number.

The maximum length, whether texts come in pairs, and the probability thresholds of labels are read from the model's
`config.json` (`labelling/settings.py`), so the predictions equal those of the evaluation during training.
"""

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from kobert_tf2 import files
from kobert_tf2.bert import checkpoint_files
from kobert_tf2.bert import labels as head_labels
from kobert_tf2.bert.config import BertConfig
from kobert_tf2.bert.inference import compiled, dtype_policy
from kobert_tf2.bert.labels import Labels
from kobert_tf2.bert.models import BertForSequenceClassification
from kobert_tf2.errors import InputError
from kobert_tf2.labelling import problems, sentences
from kobert_tf2.labelling.sentence_files import Example
from kobert_tf2.labelling.settings import ClassifierSettings
from kobert_tf2.serving.export import check_vocabulary
from kobert_tf2.serving.predictor import serving_batches
from kobert_tf2.serving.saved_export import export_labels, find_export, read_export
from kobert_tf2.tokenization.tokenizer import Tokenizer

# How many texts have their rows in memory at the same time.
TEXTS_AT_ONCE = 4096

Text = str | Sequence[str]


class Classifier:
    """Classifies texts. Create one with `Classifier.load`; it is thread-safe.

    `problem_type` is one of `problems`. `labels` are the model's, in the order of its logits. `thresholds` apply to
    multi-label models and are empty otherwise. `takes_pairs` is None if the model does not specify it.
    """

    def __init__(
        self,
        forward: Callable[..., dict[str, tf.Tensor]],
        tokenizer: Tokenizer,
        labels: Labels,
        settings: ClassifierSettings,
        *,
        max_seq_length: int,
        keep_alive: object = None,
    ):
        self._forward = forward
        self.keep_alive = keep_alive  # the object whose variables `forward` reads
        self.tokenizer, self.max_seq_length = tokenizer, max_seq_length
        self.labels, self.problem_type = labels.names, labels.kind
        self.takes_pairs = settings.takes_pairs
        self._thresholds = problems.threshold_row(settings.thresholds, self.labels)

    @property
    def thresholds(self) -> dict[str, float]:
        if self.problem_type != problems.MULTI_LABEL:
            return {}
        return {name: float(value) for name, value in zip(self.labels, self._thresholds, strict=True)}

    @classmethod
    def load(
        cls,
        path: str | os.PathLike,
        *,
        precision: str = "float32",
        max_seq_length: int | None = None,
        thresholds: Mapping[str, float] | float | None = None,
    ) -> "Classifier":
        """Loads a model directory, a hub id or an export.

        Args:
            precision: "float32" or "bfloat16"; an export computes in float32.
            max_seq_length: pieces in a row; longer rows are truncated. The default is the value used in training, or
                else the model's number of positions.
            thresholds: for a multi-label model, the minimum probability at which a label is assigned: one for all
                labels, or {label: probability} for some. The default is the values stored with the model, or else 0.5.

        Raises:
            InputError: there is nothing to load, or the model has no trained classification head.
        """
        path = os.fspath(path)
        found = find_export(path)
        loaded = _of_export(found, precision) if found is not None else _of_model(path, precision)
        labels = loaded.labels
        problems.check_head(labels.kind, labels.names, path)
        kept = ClassifierSettings.kept_in(loaded.config_file, labels.names)
        longest = loaded.config.max_position_embeddings
        length = max_seq_length or min(kept.max_seq_length or longest, longest)
        if not 4 <= length <= longest:
            raise InputError(f"max_seq_length: expected 4 to {longest}, but got {length}")
        chosen = _thresholds(thresholds, kept.thresholds, labels)
        settings = ClassifierSettings(takes_pairs=kept.takes_pairs, thresholds=chosen)
        return cls(
            loaded.forward,
            loaded.tokenizer,
            labels,
            settings,
            max_seq_length=length,
            keep_alive=loaded.keep_alive,
        )

    def predict(self, texts: Text | Iterable[Text]) -> Any:
        """Predictions for texts, in order. A text is a string, or a pair (text, second text).

        Returns one prediction for a single string, and a list for an iterable. A prediction is a dict that depends on
        `problem_type`:

            single_label_classification    {"label": "긍정", "score": 0.98, "scores": {"긍정": 0.98, "부정": 0.02}}
            multi_label_classification     {"labels": [{"label": "방", "score": 0.91}], "scores": {"방": 0.91, ...}}
            regression                     {"score": 3.71}

        Scores are probabilities, or the predicted number of a regression. Several labels are sorted by descending
        score.
        """
        if isinstance(texts, str):
            return self.predict([texts])[0]
        examples = [self._example(place, text) for place, text in enumerate(texts)]
        blocks = range(0, len(examples), TEXTS_AT_ONCE)
        return [self._answer(row) for first in blocks for row in self._scores(examples[first : first + TEXTS_AT_ONCE])]

    def _example(self, place: int, text: Text) -> Example:
        pair = (text, None) if isinstance(text, str) else tuple(text) if isinstance(text, Sequence) else ()
        if len(pair) != 2 or not isinstance(pair[0], str) or not isinstance(pair[1], str | None):
            raise InputError(f"text {place}: expected a string, or a pair of them, but got {text!r:.60}")
        if self.takes_pairs not in (None, pair[1] is not None):
            expected = "a pair (text, second text)" if self.takes_pairs else "a text alone"
            raise InputError(f"text {place}: this model was trained on {expected}, but got {text!r:.60}")
        return Example(str(place), pair[0], pair[1], None)

    def _scores(self, examples: Sequence[Example]) -> np.ndarray:
        """float32 [examples, labels]"""
        inputs = sentences.pad(
            sentences.encode(examples, self.tokenizer), self.tokenizer, max_seq_length=self.max_seq_length
        )
        logits = np.zeros((len(examples), len(self.labels)), np.float32)
        for batch in serving_batches(inputs["input_mask"].sum(axis=1), self.max_seq_length):
            rows = {name: array[batch.rows, : batch.width] for name, array in inputs.items()}
            logits[batch.rows] = self.forward(rows)["logits"]
        return problems.scores(logits, self.problem_type)

    def forward(self, features: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """`logits`, float32 [rows, labels], of int32 [rows, width] features."""
        outputs = self._forward(**{name: tf.constant(value) for name, value in features.items()})
        return {"logits": outputs["logits"].numpy()}

    def answer(self, logits: np.ndarray) -> dict[str, Any]:
        """The prediction that `predict` returns for one text, from its logits, float32 [labels]."""
        return self._answer(problems.scores(logits[None], self.problem_type)[0])

    def check_text(self, text: Text, place: int = 0) -> None:
        """Raises `InputError` for a pair if the model takes single texts, and for a single text if it takes pairs."""
        self._example(place, text)

    def _answer(self, row: np.ndarray) -> dict[str, Any]:
        if self.problem_type == problems.REGRESSION:
            return {"score": float(row[0])}
        scores = {name: float(value) for name, value in zip(self.labels, row, strict=True)}
        if self.problem_type == problems.SINGLE_LABEL:
            best = self.labels[int(row.argmax())]
            return {"label": best, "score": scores[best], "scores": scores}
        chosen = np.flatnonzero(problems.chosen_labels(row, self._thresholds))
        ranked = sorted((self.labels[place] for place in chosen), key=lambda name: -scores[name])
        return {"labels": [{"label": name, "score": scores[name]} for name in ranked], "scores": scores}


class _Loaded(NamedTuple):
    """A model ready to predict, whether loaded from a directory, the hub or an export."""

    forward: Callable[..., dict[str, tf.Tensor]]
    config: BertConfig
    tokenizer: Tokenizer
    labels: Labels
    config_file: str
    keep_alive: object


def _of_model(path: str, precision: str) -> _Loaded:
    model = BertForSequenceClassification.from_pretrained(path, dtype=dtype_policy(precision), require_trained=True)
    source = checkpoint_files.find_source(path)
    tokenizer = Tokenizer.from_pretrained(source.folder)
    check_vocabulary(model.config, tokenizer)
    labels = Labels(model.labels, model.problem_type)
    return _Loaded(compiled(model), model.config, tokenizer, labels, source.config, model)


def _of_export(path: str, precision: str) -> _Loaded:
    export, config_file = read_export(path, "classification", precision=precision), f"{path}/assets/config.json"
    names = export_labels(export)
    labels = head_labels.read(files.read_json(config_file, dict), config_file, len(names))
    return _Loaded(export.forward, export.config, export.tokenizer, labels, config_file, export.keep_alive)


def _thresholds(
    given: Mapping[str, float] | float | None, kept: Mapping[str, float] | None, labels: Labels
) -> dict[str, float]:
    """The threshold of each label: the given one, or else the stored one."""
    if given is None:
        return dict(kept or {})
    if labels.kind != problems.MULTI_LABEL:
        raise InputError(f"thresholds are for several labels, but this model is for {labels.kind}")
    new = dict(given) if isinstance(given, Mapping) else dict.fromkeys(labels.names, given)
    problems.check_thresholds(new, labels.names, "thresholds")
    return {**(kept or {}), **new}
