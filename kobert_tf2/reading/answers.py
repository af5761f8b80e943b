"""Decodes the logits of windows into answers: the best spans of each question over all its windows, and "no answer".

A span runs from the first character of its first token to the last character of its last token, so every answer is a
slice of its context.

Shapes: W windows, S sequence length, N n-best size, L longest answer in tokens, C candidates.
"""

import math
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from kobert_tf2.reading.squad_files import Question
from kobert_tf2.reading.windows import Windows


class Span(NamedTuple):
    """A predicted answer: `text` is `context[start:end]`. "No answer" is the empty span at 0.

    `score` is the sum of the two logits; `probability` is the softmax over the list of spans that contains it.
    """

    text: str
    start: int
    end: int
    score: float
    probability: float
    start_logit: float
    end_logit: float


# ---------------------------------------------------------------------------------------------------------------------
# "No answer"
# ---------------------------------------------------------------------------------------------------------------------

# The `null_score_diff` of a context without tokens: above every threshold, and finite so that JSON can hold it.
NO_SPAN = 1e9


def prefers_no_answer(null_score_diff: Any, threshold: float) -> Any:
    """run_squad's rule: predict "no answer" if its score exceeds the best span's by more than the threshold.

    `null_score_diff` may be a number, an array or a tensor, and the result has the same kind: the graph of an export
    applies this rule too.
    """
    return null_score_diff > threshold


class Answer(NamedTuple):
    """The answers decoded for one question.

    Attributes:
      spans: the n best spans, best first; empty only if the context has no tokens.
      null: "no answer" with its logits if it is a candidate (SQuAD 2.0), otherwise None.
      null_score_diff: the score of `null` minus the best span's; `NO_SPAN` if there are no spans, None if `null` is
        None.
    """

    spans: list[Span]
    null: Span | None = None
    null_score_diff: float | None = None

    def is_none(self, threshold: float | None) -> bool:
        """Whether the answer is "no answer". With a threshold of None every question is taken to have an answer."""
        if threshold is None or self.null_score_diff is None:
            return not self.spans
        return prefers_no_answer(self.null_score_diff, threshold)

    def ranked(self, threshold: float | None = 0.0) -> list[Span]:
        """All candidates, starting with the answer to give. Probabilities are not recomputed: they remain those among
        the spans.

        "No answer" comes first if it is preferred by more than the threshold. Otherwise it is placed by its score, but
        never before the best span.
        """
        if self.null is None:
            return self.spans
        behind = 1 + sum(span.score >= self.null.score for span in self.spans[1:])
        place = 0 if self.is_none(threshold) else behind
        return [*self.spans[:place], self.null, *self.spans[place:]]


# ---------------------------------------------------------------------------------------------------------------------
# Decoding
# ---------------------------------------------------------------------------------------------------------------------


def decode(
    questions: Sequence[Question],
    windows: Windows,
    start_logits: np.ndarray,
    end_logits: np.ndarray,
    *,
    n_best_size: int = 20,
    max_answer_length: int = 30,
    with_null: bool = False,
) -> list[Answer]:
    """The best answers of every question over all its windows.

    A span lies inside the context, begins at a token for which its window has the maximum context, and has at most
    `max_answer_length` tokens. The n best spans are exact; the original pairs the n best starts with the n best ends,
    among which there may be no valid pair. Equal texts are listed once, with their best score.

    Args:
      start_logits, end_logits: float [W, S], one row per window of `windows`.
      with_null: for SQuAD 2.0: "no answer" is also a candidate, with the lowest null score over the windows.
    """
    candidates = _best_in_windows(windows, start_logits, end_logits, n_best_size, max_answer_length)
    # By question, then by score; of equal scores the earlier, then the shorter span.
    score = candidates.start_logit + candidates.end_logit
    order = np.lexsort((candidates.end, candidates.start, -score, candidates.question))
    bounds = np.searchsorted(candidates.question[order], np.arange(len(questions) + 1))
    starts, ends, first, last = (column[order].tolist() for column in candidates[1:])
    found = []
    for index, question in enumerate(questions):
        rows = range(bounds[index], bounds[index + 1])
        spans = ((starts[row], ends[row], first[row], last[row]) for row in rows)
        found.append(Answer(_n_best(question.context, spans, n_best_size)))
    if not with_null:
        return found
    nulls = _null_logits(windows, start_logits, end_logits, len(questions))
    # The float32 sum, as in the graph of an export, so that both decide alike.
    null_scores = nulls.sum(axis=1).tolist()
    with_nulls = []
    for answer, null_score, (first, last) in zip(found, null_scores, nulls.tolist(), strict=True):
        difference = null_score - answer.spans[0].score if answer.spans else NO_SPAN
        with_nulls.append(Answer(answer.spans, Span("", 0, 0, first + last, 1.0, first, last), difference))
    return with_nulls


class _Candidates(NamedTuple):
    """Columns of C candidate spans: question, character offsets, logits."""

    question: np.ndarray
    start: np.ndarray
    end: np.ndarray
    start_logit: np.ndarray
    end_logit: np.ndarray


_ROWS_AT_ONCE = 512


def _best_in_windows(
    windows: Windows, start_logits: np.ndarray, end_logits: np.ndarray, n_best_size: int, max_answer_length: int
) -> _Candidates:
    pieces = []
    for begin in range(0, len(windows), _ROWS_AT_ONCE):
        rows = slice(begin, begin + _ROWS_AT_ONCE)
        found = _best_spans(
            np.where(windows.max_context[rows], start_logits[rows], -np.inf).astype(np.float32),
            np.where(windows.token_start[rows] >= 0, end_logits[rows], -np.inf).astype(np.float32),
            n_best_size,
            max_answer_length,
        )
        row, start, end = found[0] + begin, found[1], found[2]
        pieces.append(
            _Candidates(
                windows.question_index[row],
                windows.token_start[row, start],
                windows.token_end[row, end],
                start_logits[row, start],
                end_logits[row, end],
            )
        )
    return _Candidates(*map(np.concatenate, zip(*pieces, strict=True)))


def _best_spans(
    start: np.ndarray, end: np.ndarray, n_best_size: int, longest: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The n best spans of each row. Logits are float32 [rows, S], -inf where no answer may begin or end.

    First computes the best score of each start, from the highest end logit among the next `longest` tokens. The n best
    spans begin at the n best of these starts: a span with any other start is no better than the best span of each of
    these n starts.

    Returns:
      Three integer arrays: row, first token, last token.
    """
    length = start.shape[1]
    longest = min(longest, length)
    padded = np.pad(end, ((0, 0), (0, longest - 1)), constant_values=-np.inf)
    ahead = np.lib.stride_tricks.sliding_window_view(padded, longest, axis=1)
    starts = _largest(start + _sliding_maximum(padded, longest), n_best_size)
    row = np.arange(len(start))[:, None]
    scores = (start[row, starts][:, :, None] + ahead[row, starts]).reshape(len(start), -1)
    best = _largest(scores, n_best_size)
    row, place = np.nonzero(np.isfinite(np.take_along_axis(scores, best, axis=1)))
    chosen = best[row, place]
    first = starts[row, chosen // longest]
    return row, first, first + chosen % longest


def _largest(values: np.ndarray, count: int) -> np.ndarray:
    """Columns of the `count` largest values of each row, unordered."""
    if count >= values.shape[1]:
        return np.broadcast_to(np.arange(values.shape[1]), values.shape)
    return np.argpartition(values, -count, axis=1)[:, -count:]


def _sliding_maximum(values: np.ndarray, width: int) -> np.ndarray:
    """The maximum of each `width` adjacent values, computed by doubling: [rows, S + width - 1] -> [rows, S]."""
    reach = 1
    while reach < width:
        step = min(reach, width - reach)
        values = np.maximum(values[:, :-step], values[:, step:])
        reach += step
    return values


def _n_best(context: str, spans: Iterable[tuple[int, int, float, float]], n_best_size: int) -> list[Span]:
    """The first spans with distinct texts. `spans` are (start, end, start logit, end logit), best first."""
    kept: dict[str, Span] = {}
    for start, end, first, last in spans:
        text = context[start:end]
        kept.setdefault(text, Span(text, start, end, first + last, 0.0, first, last))
        if len(kept) == n_best_size:
            break
    return with_probabilities(list(kept.values()))


def with_probabilities(spans: Sequence[Span]) -> list[Span]:
    """The spans, with `probability` set to the softmax of their scores."""
    if not spans:
        return []
    highest = max(span.score for span in spans)
    weights = [math.exp(span.score - highest) for span in spans]
    total = sum(weights)
    return [span._replace(probability=weight / total) for span, weight in zip(spans, weights, strict=True)]


def _null_logits(windows: Windows, start_logits: np.ndarray, end_logits: np.ndarray, questions: int) -> np.ndarray:
    """For each question, the [CLS] logits of the window where their sum is lowest: float32 [questions, 2]."""
    pair = np.stack([start_logits[:, 0], end_logits[:, 0]], axis=1).astype(np.float32)
    order = np.lexsort((pair.sum(axis=1), windows.question_index))
    first = np.searchsorted(windows.question_index[order], np.arange(questions))
    return pair[order[first]]
