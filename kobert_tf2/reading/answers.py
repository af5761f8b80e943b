"""Logits of windows as answers: the best spans of each question over all its windows, and "no answer".

A span goes from the first character of its first token to the last of its last one: every answer is a slice of its
context.

Letters for shapes: W windows, S sequence, N n-best size, L longest answer in tokens, C candidates.
"""

import bisect
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from kobert_tf2.reading.squad_files import Question
from kobert_tf2.reading.windows import Windows


class Span(NamedTuple):
    """A predicted answer: `text` is `context[start:end]`. "No answer" is the empty span at 0.

    `score` is the sum of the two logits; `probability` is over the n-best list that it stands in.
    """

    text: str
    start: int
    end: int
    score: float
    probability: float
    start_logit: float
    end_logit: float


def decode(
    questions: Sequence[Question],
    windows: Windows,
    start_logits: np.ndarray,
    end_logits: np.ndarray,
    *,
    n_best_size: int = 20,
    max_answer_length: int = 30,
    with_null: bool = False,
) -> list[list[Span]]:
    """The best answers of every question over all its windows, best first.

    A span lies in the context, begins where its window has the maximum context, and has at most `max_answer_length`
    tokens. The n best are exact: the original takes pairs of the n best starts and the n best ends, which may hold no
    valid pair at all. Equal texts are listed once, with their best score.

    Args:
      start_logits, end_logits: float [W, S], row by row those of `windows`.
      with_null: SQuAD 2.0: "no answer" is a candidate too, with the lowest null score over the windows.

    Returns:
      For each question up to `n_best_size` spans; none at all only if its context has no token and `with_null` is off.
    """
    candidates = _best_in_windows(windows, start_logits, end_logits, n_best_size, max_answer_length)
    order, bounds = _best_first(candidates, len(questions))
    nulls = _null_logits(windows, start_logits, end_logits, len(questions)) if with_null else None
    starts, ends, first, last = (column[order].tolist() for column in candidates[1:])
    answers = []
    for index, question in enumerate(questions):
        rows = range(bounds[index], bounds[index + 1])
        spans = [(starts[row], ends[row], first[row], last[row]) for row in rows]
        if nulls is not None:
            bisect.insort(spans, (0, 0, *nulls[index].tolist()), key=lambda span: -(span[2] + span[3]))
        answers.append(_n_best(question.context, spans, n_best_size))
    return answers


class _Candidates(NamedTuple):
    """Columns of C spans: question, characters, logits."""

    question: np.ndarray
    start: np.ndarray
    end: np.ndarray
    start_logit: np.ndarray
    end_logit: np.ndarray


_ROWS_AT_ONCE = 512


def _best_in_windows(windows, start_logits, end_logits, n_best_size, max_answer_length) -> _Candidates:
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


def _best_spans(start: np.ndarray, end: np.ndarray, n_best_size: int, longest: int):
    """The n best spans of each row of float32 [rows, S] logits that are -inf where no answer may begin or end.

    First the best score of each start, from the highest end among the next `longest` tokens. The n best spans begin at
    the n best of these starts: were another start among them, n spans that are better would stand before it.

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
    """Columns of the `count` largest values of each row, in no order."""
    if count >= values.shape[1]:
        return np.broadcast_to(np.arange(values.shape[1]), values.shape)
    return np.argpartition(values, -count, axis=1)[:, -count:]


def _sliding_maximum(values: np.ndarray, width: int) -> np.ndarray:
    """The maximum over each `width` neighbours, by doubling: [rows, S + width - 1] -> [rows, S]."""
    reach = 1
    while reach < width:
        step = min(reach, width - reach)
        values = np.maximum(values[:, :-step], values[:, step:])
        reach += step
    return values


def _best_first(candidates: _Candidates, questions: int) -> tuple[np.ndarray, np.ndarray]:
    """The order by question, then score (ties: the earlier, then the shorter span), and where each question begins."""
    score = candidates.start_logit + candidates.end_logit
    order = np.lexsort((candidates.end, candidates.start, -score, candidates.question))
    return order, np.searchsorted(candidates.question[order], np.arange(questions + 1))


def _n_best(context: str, spans: Sequence[tuple[int, int, float, float]], n_best_size: int) -> list[Span]:
    """The first spans with different texts, and their probabilities among each other."""
    kept: dict[str, tuple[int, int, float, float]] = {}
    for span in spans:
        kept.setdefault(context[span[0] : span[1]], span)
        if len(kept) == n_best_size:
            break
    if not kept:
        return []
    highest = max(span[2] + span[3] for span in kept.values())
    weights = [math.exp(span[2] + span[3] - highest) for span in kept.values()]
    total = sum(weights)
    return [
        Span(text, start, end, first + last, weight / total, first, last)
        for (text, (start, end, first, last)), weight in zip(kept.items(), weights, strict=True)
    ]


def _null_logits(windows: Windows, start_logits, end_logits, questions: int) -> np.ndarray:
    """The logits of [CLS] in the window of each question where their sum is lowest, float32 [questions, 2]."""
    pair = np.stack([start_logits[:, 0], end_logits[:, 0]], axis=1).astype(np.float32)
    order = np.lexsort((pair.sum(axis=1), windows.question_index))
    first = np.searchsorted(windows.question_index[order], np.arange(questions))
    return pair[order[first]]


def null_scores(windows: Windows, start_logits: np.ndarray, end_logits: np.ndarray, questions: int) -> np.ndarray:
    """How much a model is for "no answer" to each question, float32 [questions]: to be held against a span's score."""
    return _null_logits(windows, start_logits, end_logits, questions).sum(axis=1)
