"""Reading comprehension as arrays: KorQuAD and SQuAD files in, windows of token ids out, logits back to answers.

Everything is tied to characters of the context as the file has it. An answer becomes the tokens that its characters
touch, a predicted span of tokens becomes the slice of the context between its first and last character; no text is
put together again from pieces, so nothing can be lost on the way:

    context   '... 이순신이 명량에서 ...'   answer 이순신, characters 4 to 7
    tokens    이순신 [4, 7)  ##이 [7, 8)  명량 [9, 11)  ##에서 [11, 13)
    answer    tokens 0 to 0; back again context[4:7] = 이순신

The windows over a long context, their stride and which window speaks for a token ("max context") follow run_squad.py of
the original BERT. Files of questions are read in `squad_files`.

Letters for shapes: W windows, S sequence, N n-best size, L longest answer in tokens, C candidates.
"""

import bisect
import dataclasses
import math
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np

from kobert_tf2.errors import InputError
from kobert_tf2.reading.squad_files import Answer, Question, Repair, gold_answers, read_squad, read_squad_and_repairs

__all__ = [
    "Answer",
    "Question",
    "Repair",
    "Span",
    "Windows",
    "decode",
    "gold_answers",
    "make_windows",
    "null_scores",
    "read_squad",
    "read_squad_and_repairs",
]

# ---------------------------------------------------------------------------------------------------------------------
# Windows
# ---------------------------------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True, kw_only=True)
class Windows:
    """`[CLS] question [SEP] part of the context [SEP]` for every part of every question, in the order of the questions.

    Attributes:
      input_ids, input_mask, segment_ids: int32 [W, S].
      question_index: int32 [W], which question a window belongs to.
      token_start, token_end: int32 [W, S], the characters of the original context behind a token; -1 outside it.
      max_context: bool [W, S], whether this window is the one that speaks for the token.
      start_positions, end_positions: int32 [W], first and last token of the answer; 0 (at [CLS]) where the window has
        none. None when the windows were made without answers.
    """

    input_ids: np.ndarray
    input_mask: np.ndarray
    segment_ids: np.ndarray
    question_index: np.ndarray
    token_start: np.ndarray
    token_end: np.ndarray
    max_context: np.ndarray
    start_positions: np.ndarray | None = None
    end_positions: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.question_index)

    @property
    def lengths(self) -> np.ndarray:
        """How many tokens of each window are no padding, int64 [W]."""
        return self.input_mask.sum(axis=1)

    def select(self, rows: np.ndarray) -> "Windows":
        """Only these windows, in this order."""
        arrays = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return Windows(**{name: None if array is None else array[rows] for name, array in arrays.items()})

    def features(self) -> dict[str, np.ndarray]:
        """What a model reads: the three inputs, and the positions where there are answers."""
        names = ["input_ids", "input_mask", "segment_ids"]
        if self.start_positions is not None:
            names += ["start_positions", "end_positions"]
        return {name: getattr(self, name) for name in names}


class _Context(NamedTuple):
    """A context's tokens as arrays: int32 [tokens] each."""

    ids: np.ndarray
    starts: np.ndarray
    ends: np.ndarray


def make_windows(
    questions: Sequence[Question],
    tokenizer,
    *,
    max_seq_length: int = 384,
    doc_stride: int = 128,
    max_query_length: int = 64,
    with_answers: bool = False,
    num_workers: int = 1,
    progress: Callable = lambda items, what, *, total, unit: items,
) -> Windows:
    """Cuts every question and its context into windows of `max_seq_length` tokens.

    Each distinct context and question is tokenized once. Every token of a context is in at least one window.

    Args:
      tokenizer: a `Tokenizer`.
      doc_stride: how many tokens further the next window begins.
      max_query_length: of a longer question, so many tokens are kept.
      with_answers: also makes the positions to train on, from the first answer of each question. A window that does not
        hold all of it points to [CLS], as does a question that has none.
      num_workers: processes for the tokenizer.
      progress: `kobert_tf2.progress.progress` or alike, wrapped around the contexts and the questions.

    Raises:
      InputError: the lengths leave no room, or the stride would leave tokens between two windows without overlap.
    """
    check_lengths(max_seq_length=max_seq_length, doc_stride=doc_stride, max_query_length=max_query_length)
    contexts = _encode_contexts([question.context for question in questions], tokenizer, num_workers, progress)
    queries = _encode_queries([question.question for question in questions], tokenizer, num_workers)
    parts: list[_Part] = []
    for index, question in enumerate(progress(questions, "windows", total=len(questions), unit="questions")):
        query = queries[question.question][:max_query_length]
        room = max_seq_length - len(query) - 3
        parts += _parts(index, question, query, contexts[question.context], room, doc_stride, with_answers)
    return _fill(parts, tokenizer, max_seq_length, with_answers)


def check_lengths(*, max_seq_length: int, doc_stride: int, max_query_length: int) -> None:
    """Holds the three lengths against each other, so that no token of a context can fall between two windows."""
    room = max_seq_length - max_query_length - 3
    if max_query_length < 1 or room < 1:
        raise InputError(
            f"expected max_seq_length to be greater than max_query_length + 3, but got {max_seq_length} and "
            f"{max_query_length}"
        )
    if not 1 <= doc_stride <= room:
        raise InputError(
            f"expected doc_stride between 1 and {room}, the context tokens that fit beside a question (max_seq_length "
            f"{max_seq_length} - max_query_length {max_query_length} - 3), but got {doc_stride}; half of it is usual"
        )


_CONTEXTS_AT_ONCE = 4096


def _encode_contexts(texts: Iterable[str], tokenizer, num_workers: int, progress: Callable) -> dict[str, _Context]:
    """A few contexts at once, so that there is progress to tell, or enough of them to keep several processes busy."""
    distinct = list(dict.fromkeys(texts))
    size = 1 if num_workers == 1 else _CONTEXTS_AT_ONCE
    blocks = (distinct[begin : begin + size] for begin in range(0, len(distinct), size))
    encoded = (tokens for block in blocks for tokens in tokenizer.encode_batch(block, num_workers=num_workers))
    told = progress(encoded, "tokenizing", total=len(distinct), unit="contexts")
    return {text: _Context(found.ids, found.starts, found.ends) for text, found in zip(distinct, told, strict=True)}


def _encode_queries(texts: Iterable[str], tokenizer, num_workers: int) -> dict[str, list[int]]:
    distinct = list(dict.fromkeys(texts))
    return dict(zip(distinct, tokenizer.encode_ids_batch(distinct, num_workers=num_workers), strict=True))


class _Part(NamedTuple):
    """One window before it is laid out: `context[begin:end]` of a question, and the answer's tokens in the window."""

    index: int
    query: list[int]
    context: _Context
    begin: int
    end: int
    max_context: np.ndarray
    answer: tuple[int, int]


def _parts(index, question, query, context, room, doc_stride, with_answers) -> list[_Part]:
    spans = window_spans(len(context.ids), room, doc_stride)
    speaks = max_context(spans, len(context.ids))
    answer = answer_tokens(question, context.starts, context.ends) if with_answers else None
    parts = []
    for (begin, end), mask in zip(spans, speaks, strict=True):
        position = (0, 0)
        if answer and begin <= answer[0] and answer[1] < end:
            shift = len(query) + 2 - begin
            position = answer[0] + shift, answer[1] + shift
        parts.append(_Part(index, query, context, begin, end, mask, position))
    return parts


def window_spans(tokens: int, room: int, doc_stride: int) -> list[tuple[int, int]]:
    """First and past-the-last token of each window. A context without a token has one empty window."""
    begins = range(0, max(tokens - room, 0) + doc_stride, doc_stride)
    return [(begin, min(begin + room, tokens)) for begin in begins]


def max_context(spans: Sequence[tuple[int, int]], tokens: int) -> list[np.ndarray]:
    """For each window, bool over its tokens: is this the window that shows the most of what stands around the token?

    That is the window where the smaller of the left and the right context is largest, longer windows and then earlier
    ones first, by the original's formula.
    """
    if len(spans) == 1:
        return [np.ones(spans[0][1] - spans[0][0], bool)]
    # Window by window, for memory that does not grow with windows times tokens: 780 times 100,000 were 2 GB.
    best, speaker = np.full(tokens, -np.inf), np.zeros(tokens, np.int32)
    for number, (begin, end) in enumerate(spans):
        place = np.arange(end - begin)
        context = np.minimum(place, place[::-1]) + 0.01 * (end - begin)
        better = begin + np.flatnonzero(context > best[begin:end])
        best[better], speaker[better] = context[better - begin], number
    return [speaker[begin:end] == number for number, (begin, end) in enumerate(spans)]


def answer_tokens(question: Question, starts: np.ndarray, ends: np.ndarray) -> tuple[int, int] | None:
    """First and last token that the characters of the first answer found in the context touch; None without one."""
    answer = next((answer for answer in question.answers if answer.start >= 0), None)
    return None if answer is None else span_tokens(answer.start, answer.end, starts, ends)


def span_tokens(start: int, end: int, starts: np.ndarray, ends: np.ndarray) -> tuple[int, int] | None:
    """First and last token that `[start, end)` touches; None where it touches none."""
    first = int(np.searchsorted(ends, start, side="right"))
    last = int(np.searchsorted(starts, end, side="left")) - 1
    return (first, last) if first <= last else None


def _fill(parts: Sequence[_Part], tokenizer, max_seq_length: int, with_answers: bool) -> Windows:
    shape = len(parts), max_seq_length
    input_ids = np.full(shape, tokenizer.pad_id, np.int32)
    input_mask, segment_ids = np.zeros(shape, np.int32), np.zeros(shape, np.int32)
    token_start, token_end = np.full(shape, -1, np.int32), np.full(shape, -1, np.int32)
    speaks = np.zeros(shape, bool)
    for row, part in enumerate(parts):
        first = len(part.query) + 2
        last = first + part.end - part.begin
        input_ids[row, 0] = tokenizer.cls_id
        input_ids[row, 1 : first - 1] = part.query
        input_ids[row, first - 1] = input_ids[row, last] = tokenizer.sep_id
        input_ids[row, first:last] = part.context.ids[part.begin : part.end]
        token_start[row, first:last] = part.context.starts[part.begin : part.end]
        token_end[row, first:last] = part.context.ends[part.begin : part.end]
        speaks[row, first:last] = part.max_context
        input_mask[row, : last + 1] = 1
        segment_ids[row, first : last + 1] = 1
    answers = np.array([part.answer for part in parts], np.int32).reshape(-1, 2)
    return Windows(
        input_ids=input_ids,
        input_mask=input_mask,
        segment_ids=segment_ids,
        question_index=np.array([part.index for part in parts], np.int32),
        token_start=token_start,
        token_end=token_end,
        max_context=speaks,
        start_positions=np.ascontiguousarray(answers[:, 0]) if with_answers else None,
        end_positions=np.ascontiguousarray(answers[:, 1]) if with_answers else None,
    )


# ---------------------------------------------------------------------------------------------------------------------
# Decoding
# ---------------------------------------------------------------------------------------------------------------------


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
