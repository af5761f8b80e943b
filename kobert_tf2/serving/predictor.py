"""Answers questions with a model that is loaded once: takes texts, returns answers with their offsets in the text.

A `Predictor` loads a model directory or an export of `export.py`. It makes windows, batches and answers with the same
functions as `tasks/read.py`. Nothing is rebuilt after the first call.
"""

import functools
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from kobert_tf2.bert import checkpoint_files
from kobert_tf2.bert.inference import compiled, dtype_policy
from kobert_tf2.bert.models import BertForQuestionAnswering
from kobert_tf2.errors import InputError
from kobert_tf2.reading import answers, josa
from kobert_tf2.reading.answers import Span, with_probabilities
from kobert_tf2.reading.settings import ReadingSettings, strips_josa
from kobert_tf2.reading.squad_files import Question
from kobert_tf2.reading.windows import Windows, make_windows, predict_logits
from kobert_tf2.serving.export import SETTINGS_FILE, check_vocabulary
from kobert_tf2.serving.saved_export import find_export, read_export
from kobert_tf2.tokenization.batches import Batch, prediction_batches
from kobert_tf2.tokenization.tokenizer import Tokenizer

# Windows are padded to the next multiple of 16. A batch has this many tokens, so it has more rows if they are short.
LENGTHS = tuple(range(16, 513, 16))
TOKENS_IN_A_BATCH = 4096
# How many questions have their windows in memory at the same time.
QUESTIONS_AT_ONCE = 256


class Predictor:
    """Answers questions about texts. Create one with `Predictor.load`; it is thread-safe."""

    def __init__(
        self,
        forward: Callable[..., dict],
        tokenizer: Tokenizer,
        settings: ReadingSettings,
        *,
        keep_alive: object = None,
    ):
        self._forward = forward
        self.keep_alive = keep_alive  # the object whose variables `forward` reads
        self.tokenizer = tokenizer
        self.settings = settings
        self._gives_bare = strips_josa(settings.strip_josa, tokenizer)

    @classmethod
    def load(cls, path: str, *, precision: str = "float32", **settings: Any) -> "Predictor":
        """Loads a model directory, or an export: a numbered folder, or the parent of several (uses the highest number).

        Args:
            precision: "float32" or "bfloat16"; an export computes in float32.
            settings: fields of `ReadingSettings` that override those that the model was trained or exported with, or
                the defaults. With `null_score_diff_threshold` a question may have no answer.

        Raises:
            InputError: there is nothing to load, or the model has no span head.
        """
        path = os.fspath(path)
        export = find_export(path)
        if export is not None:
            return cls._of_export(export, precision, settings)
        source = checkpoint_files.find_source(path)
        tokenizer = Tokenizer.from_pretrained(source.folder)
        model = BertForQuestionAnswering.from_pretrained(path, dtype=dtype_policy(precision), require_trained=True)
        model.config.check_takes_pairs(path, "a reader takes a question and a context")
        check_vocabulary(model.config, tokenizer)
        kept = ReadingSettings.kept_in(source.config)
        fitting = ReadingSettings.fitting(model.config.max_position_embeddings, kept=kept, **settings)
        return cls(compiled(model), tokenizer, fitting, keep_alive=model)

    @classmethod
    def _of_export(cls, path: str, precision: str, given: dict[str, Any]) -> "Predictor":
        export = read_export(path, "reading", precision=precision)
        kept = ReadingSettings.checked_fields(export.about.get("reading"), f"{path}/assets/{SETTINGS_FILE}, reading")
        settings = ReadingSettings.fitting(export.config.max_position_embeddings, kept=kept, **given)
        return cls(export.forward, export.tokenizer, settings, keep_alive=export.keep_alive)

    @functools.cached_property
    def _stripper(self) -> josa.JosaStripper:
        """Created on first use: a reader with a plain tokenizer may never need Mecab."""
        return josa.JosaStripper(self.tokenizer.analyser)

    def answer(self, question: str, context: str, *, n_best: int = 1, strip_josa: bool = True) -> dict:
        """Answers one question.

        Returns:
            `text`, `start`, `end`: the best span, `text == context[start:end]`; empty if there is no answer.
            `score`, `probability`: the sum of its two logits, and its softmax probability among the best spans.
            `stripped`, with `strip_josa`: `text`, `start` and `end` without particles, and `removed`, the text stripped
                before and after it.
            `answer`: the text that predictions.json would contain: the stripped one if the setting `strip_josa` is on;
                without the argument `strip_josa` always `text`.
            `n_best`, with `n_best` above 1: that many such answers, best first.
            `null_score_diff`, with the setting `null_score_diff_threshold`: the score of "no answer" minus the best
                span's. "No answer" is then a candidate too, and the answer if the difference is above the threshold.
            If the context contains no possible answer, `text` is empty and all numbers are 0.

        Raises:
            InputError: the question is empty, or an argument is not a string.
        """
        return self.answer_batch([(question, context)], n_best=n_best, strip_josa=strip_josa)[0]

    def predict(self, pairs: Iterable[tuple[str, str]]) -> list[dict]:
        """`answer_batch` with its defaults, under the same name as in `Classifier` and `Tagger`."""
        return self.answer_batch(pairs)

    def answer_batch(self, pairs: Iterable[tuple[str, str]], *, n_best: int = 1, strip_josa: bool = True) -> list[dict]:
        """`answer` for every (question, context), in order, computed in batches."""
        questions = [_question(place, *pair) for place, pair in enumerate(pairs)]
        results = []
        for first in range(0, len(questions), QUESTIONS_AT_ONCE):
            block = questions[first : first + QUESTIONS_AT_ONCE]
            lengths: dict[str, Any] = self.settings.lengths
            windows = make_windows(block, self.tokenizer, **lengths)
            batches = serving_batches(windows.lengths, windows.input_ids.shape[1])
            logits = predict_logits(windows, batches, self._outputs)
            results += self.decode(block, windows, *logits, n_best=n_best, strip_josa=strip_josa)
        return results

    def decode(
        self,
        questions: Sequence[Question],
        windows: Windows,
        start_logits: np.ndarray,
        end_logits: np.ndarray,
        *,
        n_best: int = 1,
        strip_josa: bool = True,
    ) -> list[dict]:
        """The results of `answer` for each question, from the logits of its windows, float32 [W, S]."""
        with_null = self.settings.null_score_diff_threshold is not None
        results, best_of = [], self.settings.best
        found = answers.decode(questions, windows, start_logits, end_logits, **best_of, with_null=with_null)
        for question, answer in zip(questions, found, strict=True):
            spans = with_probabilities(answer.ranked(self.settings.null_score_diff_threshold))
            best = [self._entry(question, span, strip_josa) for span in spans[:n_best]]
            null = {} if answer.null_score_diff is None else {"null_score_diff": answer.null_score_diff}
            results.append(_result(best, n_best, strip_josa) | null)
        return results

    def forward(self, features: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """`start_logits` and `end_logits`, float32 [windows, width], of int32 features of that shape."""
        outputs = self._forward(**{name: tf.constant(value) for name, value in features.items()})
        return {name: outputs[name].numpy() for name in ("start_logits", "end_logits")}

    def _outputs(self, batches: Iterable[dict[str, np.ndarray]]) -> Iterable[dict[str, np.ndarray]]:
        return map(self.forward, batches)

    def _entry(self, question: Question, span: Span, strip_josa: bool) -> dict:
        answer: dict[str, Any] = {
            "text": span.text,
            "start": span.start,
            "end": span.end,
            "score": float(span.score),
            "probability": float(span.probability),
        }
        if strip_josa:
            start, end = self._stripper(question.context, span.start, span.end) if span.text else (0, 0)
            answer["stripped"] = {
                "text": question.context[start:end],
                "start": start,
                "end": end,
                "removed": [question.context[span.start : start], question.context[end : span.end]],
            }
        return answer | {"answer": answer["stripped"]["text"] if strip_josa and self._gives_bare else span.text}


def serving_batches(lengths: np.ndarray, longest: int) -> list[Batch]:
    """Batches of windows of similar length, about `TOKENS_IN_A_BATCH` tokens each, with only a few distinct shapes."""
    widths = [length for length in LENGTHS if length < longest] + [longest]

    def rows(width: int) -> int:
        return 1 << (max(1, TOKENS_IN_A_BATCH // width).bit_length() - 1)

    return prediction_batches(lengths, widths, rows, powers_of_two=True)


def _question(place: int, question: str, context: str) -> Question:
    if not isinstance(question, str) or not isinstance(context, str):
        kinds = f"{type(question).__name__} and {type(context).__name__}"
        raise InputError(f"question {place}: expected a question and a context as strings, but got {kinds}")
    if not question.strip():
        raise InputError(f"question {place}: the question is empty")
    return Question(id=str(place), question=question, context=context)


def _result(best: list[dict], n_best: int, strip_josa: bool) -> dict:
    if best:
        return dict(best[0], n_best=best) if n_best > 1 else best[0]
    nothing = {"text": "", "start": 0, "end": 0, "score": 0.0, "probability": 0.0, "answer": ""}
    if strip_josa:
        nothing["stripped"] = {"text": "", "start": 0, "end": 0, "removed": ["", ""]}
    return dict(nothing, n_best=[]) if n_best > 1 else nothing
