"""Questions answered by a model that is loaded once: text in, answers with their places in the text out.

A `Predictor` reads a model directory or an export of `export.py`. Windows are made and logits are read by `windows`;
here they are put into batches of like length, so that little is computed for padding. Nothing is built again after
the first call.
"""

import functools
import os
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from kobert_tf2 import files
from kobert_tf2.bert import checkpoint_files
from kobert_tf2.bert.kernels import inference_cpu
from kobert_tf2.bert.models import BertForQuestionAnswering
from kobert_tf2.errors import InputError
from kobert_tf2.reading import answers, josa
from kobert_tf2.reading import windows as reading_windows
from kobert_tf2.reading.answers import Span
from kobert_tf2.reading.squad_files import Question
from kobert_tf2.reading.windows import INPUTS, Windows
from kobert_tf2.serving.export import SETTINGS_FILE, ReadingSettings, check_vocabulary
from kobert_tf2.tokenization.tokenizer import Tokenizer

# Windows are padded to the next multiple of 16 and computed so many tokens at a time: more rows where they are short.
LENGTHS = tuple(range(16, 513, 16))
TOKENS_IN_A_BATCH = 4096
# Questions whose windows are in memory at the same time.
QUESTIONS_AT_ONCE = 256
# How much "no answer" is preferred where the context has no token: above every threshold, and finite for JSON.
NO_SPAN = 1e9


class Predictor:
    """Answers questions about texts. Make one with `Predictor.load`; it may be shared by threads."""

    def __init__(self, forward, tokenizer: Tokenizer, settings: ReadingSettings, *, keep_alive=None):
        self._forward = forward
        self._keep_alive = keep_alive  # the object whose variables `forward` reads
        self.tokenizer = tokenizer
        self.settings = settings

    @classmethod
    def load(cls, path: str, *, precision: str = "float32", **settings) -> "Predictor":
        """Loads a model directory, or an export (its folder, or one of its numbered ones: the highest number is taken).

        Args:
            precision: "float32" or "bfloat16"; an export computes in float32.
            settings: fields of `ReadingSettings` that differ from the export's own, or from the defaults. With
                `null_score_diff_threshold` a question may have no answer.

        Raises:
            InputError: nothing to load there, or a model without a span head.
        """
        path = os.fspath(path)
        export = find_export(path)
        if export is not None:
            return cls._of_export(export, precision, settings)
        tokenizer = Tokenizer.from_pretrained(checkpoint_files.find_source(path).folder)
        model = BertForQuestionAnswering.from_pretrained(path, dtype=_policy(precision))
        check_vocabulary(model.config, tokenizer)
        limits = ReadingSettings.fitting(model.config.max_position_embeddings, **settings)
        return cls(_compiled(model), tokenizer, limits, keep_alive=model)

    @classmethod
    def _of_export(cls, path: str, precision: str, settings: dict) -> "Predictor":
        if precision != "float32":
            raise InputError(f"{path}: an export computes in float32; load the model directory for {precision}")
        about = files.read_json(f"{path}/assets/{SETTINGS_FILE}")
        if about["head"] != "reading":
            raise InputError(f"{path}: expected a reader, but this export's head is {about['head']}")
        config = files.read_json(f"{path}/assets/config.json")
        tokenizer = Tokenizer.from_pretrained(f"{path}/assets")
        limits = ReadingSettings.fitting(config["max_position_embeddings"], **(about["reading"] | settings))
        if "answer_text" in about.get("signatures", ()):
            import tensorflow_text  # noqa: F401 - its operations are in the graph
        loaded = tf.saved_model.load(path)
        return cls(loaded.signatures["serving_default"], tokenizer, limits, keep_alive=loaded)

    @functools.cached_property
    def _stripper(self) -> josa.JosaStripper:
        """Made when it is first needed: a reader with a plain tokenizer may never need Mecab."""
        return josa.JosaStripper(self.tokenizer.analyser)

    def answer(self, question: str, context: str, *, n_best: int = 1, strip_josa: bool = True) -> dict:
        """The answer to one question.

        Returns:
            `text`, `start` and `end` (`text == context[start:end]`), `score` (the sum of two logits), `probability`
            among the best spans; with `strip_josa` also `stripped`: `text`, `start` and `end` of the bare answer and
            `removed`, what was taken off before and behind it; with `n_best` above 1 also `n_best`, so many such
            answers, best first. Where the context has nothing to answer with, `text` is empty and all numbers are 0.
            With the setting `null_score_diff_threshold` "no answer" is a candidate too, an empty `text` at 0, and
            there is also `null_score_diff`, how much higher its score is than the best span's: above the threshold,
            it is the answer.

        Raises:
            InputError: an empty question, or arguments that are not strings.
        """
        return self.answer_batch([(question, context)], n_best=n_best, strip_josa=strip_josa)[0]

    def answer_batch(self, pairs: Iterable[tuple[str, str]], *, n_best: int = 1, strip_josa: bool = True) -> list[dict]:
        """`answer` of every (question, context), in order, computed together."""
        questions = [_question(place, *pair) for place, pair in enumerate(pairs)]
        found_answers = []
        for first in range(0, len(questions), QUESTIONS_AT_ONCE):
            for question, found in self._found(questions[first : first + QUESTIONS_AT_ONCE]):
                best = [self._answer(question, span, strip_josa) for span in found.spans[:n_best]]
                found_answers.append(_told(best, n_best, strip_josa) | found.about_null())
        return found_answers

    def _found(self, questions: Sequence[Question]):
        lengths = {name: getattr(self.settings, name) for name in ("max_seq_length", "doc_stride", "max_query_length")}
        windows = reading_windows.make_windows(questions, self.tokenizer, **lengths)
        start_logits, end_logits = self._logits(windows)
        found = answers.decode(
            questions,
            windows,
            start_logits,
            end_logits,
            n_best_size=self.settings.n_best_size,
            max_answer_length=self.settings.max_answer_length,
        )
        if self.settings.null_score_diff_threshold is None:
            return zip(questions, map(Found, found), strict=True)
        nulls = answers.null_scores(windows, start_logits, end_logits, len(questions)).tolist()
        or_none = functools.partial(with_no_answer, threshold=self.settings.null_score_diff_threshold)
        return zip(questions, map(or_none, found, nulls), strict=True)

    def _logits(self, windows: Windows) -> tuple[np.ndarray, np.ndarray]:
        """float32 [W, S] each; 0 where a window is padded."""
        inputs = windows.features()
        logits = np.zeros((2, *windows.input_ids.shape), np.float32)
        for rows, length in batches(windows.lengths, windows.input_ids.shape[1]):
            outputs = self._forward(**{name: tf.constant(inputs[name][rows, :length]) for name in INPUTS})
            logits[0, rows, :length] = outputs["start_logits"]
            logits[1, rows, :length] = outputs["end_logits"]
        return logits[0], logits[1]

    def _answer(self, question: Question, span, strip_josa: bool) -> dict:
        answer = {
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
        return answer


class Found(NamedTuple):
    """What was found for one question, best first, and how much "no answer" is preferred, if that is a candidate."""

    spans: Sequence[Span]
    null_score_diff: float | None = None

    def about_null(self) -> dict:
        return {} if self.null_score_diff is None else {"null_score_diff": self.null_score_diff}


def with_no_answer(spans: Sequence[Span], null_score: float, *, threshold: float) -> Found:
    """Puts "no answer" among the spans: first where it is preferred by more than the threshold, else behind the best.

    The rule of the original run_squad: its score is held against the best span's. Probabilities are among all of them.
    """
    difference = null_score - spans[0].score if spans else NO_SPAN
    # Behind the best span it stands where its score puts it.
    place = 0 if difference > threshold else 1 + sum(span.score >= null_score for span in spans[1:])
    scores = np.array([null_score, *(span.score for span in spans)])
    weights = np.exp(scores - scores.max())
    null, *probabilities = (weights / weights.sum()).tolist()
    every = [span._replace(probability=value) for span, value in zip(spans, probabilities, strict=True)]
    every.insert(place, Span("", 0, 0, null_score, null, null_score, 0.0))
    return Found(every, difference)


def find_export(path: str) -> str | None:
    """The SavedModel that `path` means: itself, or the highest of its numbered folders; None if neither."""
    if files.exists(f"{path}/saved_model.pb"):
        return path
    if not files.is_folder(path) or files.exists(f"{path}/config.json"):
        return None
    numbered = [name.rstrip("/") for name in tf.io.gfile.listdir(path)]
    versions = [int(name) for name in numbered if name.isdecimal() and files.exists(f"{path}/{name}/saved_model.pb")]
    return f"{path}/{max(versions)}" if versions else None


def batches(lengths: np.ndarray, longest: int) -> Iterable[tuple[np.ndarray, int]]:
    """Puts windows of like length together: (rows, the length that they are padded to), a few shapes in all.

    Full batches hold `TOKENS_IN_A_BATCH` tokens; what is left of a length goes in powers of two, so that the number
    of shapes stays small and no row is computed for nothing.
    """
    sizes = np.array([length for length in LENGTHS if length < longest] + [longest])
    bucket = np.searchsorted(sizes, lengths)
    for place in np.unique(bucket):
        rows = np.flatnonzero(bucket == place)
        size = 1 << (max(1, TOKENS_IN_A_BATCH // int(sizes[place])).bit_length() - 1)
        while len(rows):
            size = min(size, 1 << (len(rows).bit_length() - 1))
            yield rows[:size], int(sizes[place])
            rows = rows[size:]


def _policy(precision: str) -> str:
    if precision not in ("float32", "bfloat16"):
        raise InputError(f"precision: expected float32 or bfloat16. Received: {precision!r}")
    # Not mixed_bfloat16, which gives the same numbers here: it would cast every weight again in every call, 10 of 37 ms
    # (4 layers, width 512, one question), and keep twice the memory.
    return precision


def _compiled(model):
    """The model as one traced function of any batch and length."""
    spec = {name: tf.TensorSpec([None, None], tf.int32, name=name) for name in INPUTS}
    with inference_cpu.for_this_process(final_weights=True):
        return tf.function(lambda **inputs: model(inputs, training=False)).get_concrete_function(**spec)


def _question(place: int, question: str, context: str) -> Question:
    if not isinstance(question, str) or not isinstance(context, str):
        kinds = f"{type(question).__name__} and {type(context).__name__}"
        raise InputError(f"question {place}: expected a question and a context as strings, but got {kinds}")
    if not question.strip():
        raise InputError(f"question {place}: the question is empty")
    return Question(id=str(place), question=question, context=context)


def _told(best: list[dict], n_best: int, strip_josa: bool) -> dict:
    if best:
        return dict(best[0], n_best=best) if n_best > 1 else best[0]
    nothing = {"text": "", "start": 0, "end": 0, "score": 0.0, "probability": 0.0}
    if strip_josa:
        nothing["stripped"] = {"text": "", "start": 0, "end": 0, "removed": ["", ""]}
    return dict(nothing, n_best=[]) if n_best > 1 else nothing
