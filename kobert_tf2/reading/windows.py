"""Converts questions and contexts to windows of token ids, and runs windows through a model in batches.

All positions refer to characters of the context as it is in the file. An answer becomes the tokens that its characters
overlap, and a predicted span of tokens maps back to a slice of the context:

    context   '... 이순신이 명량에서 ...'   answer 이순신, characters 4 to 7
    tokens    이순신 [4, 7)  ##이 [7, 8)  명량 [9, 11)  ##에서 [11, 13)
    answer    tokens 0 to 0; mapped back: context[4:7] = 이순신

The windows over a long context, their stride and the choice of the window with a token's "max context" follow
run_squad.py of the original BERT. `squad_files` reads files of questions; `answers` decodes logits into answers.

Shapes: W windows, S sequence length.
"""

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from kobert_tf2.errors import InputError
from kobert_tf2.reading.squad_files import Question
from kobert_tf2.tokenization.batches import Batch
from kobert_tf2.tokenization.encoding import Encoding
from kobert_tf2.tokenization.spans import max_context, window_spans
from kobert_tf2.tokenization.tokenizer import Tokenizer

# ---------------------------------------------------------------------------------------------------------------------
# Windows
# ---------------------------------------------------------------------------------------------------------------------

INPUTS = ("input_ids", "input_mask", "segment_ids")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Windows:
    """`[CLS] question [SEP] part of the context [SEP]`, for every question in order and every part of its context.

    Attributes:
      input_ids, input_mask, segment_ids: int32 [W, S].
      question_index: int32 [W], the question that a window belongs to.
      token_start, token_end: int32 [W, S], a token's character offsets in the original context; -1 outside the context.
      max_context: bool [W, S], whether this window, of all that contain the token, has the most context around it.
      start_positions, end_positions: int32 [W], first and last token of the answer; 0 (at [CLS]) if the window has
        none. None if the windows were made without answers.
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
        """The number of tokens of each window without padding, int64 [W]."""
        return self.input_mask.sum(axis=1)

    @property
    def has_answer(self) -> np.ndarray:
        """Which windows contain an answer, bool [W]; only for windows made with answers."""
        assert self.start_positions is not None
        return self.start_positions > 0

    def select(self, rows: np.ndarray) -> "Windows":
        """The windows at these indices, in this order."""
        arrays = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        chosen: dict[str, Any] = {name: array[rows] for name, array in arrays.items() if array is not None}
        return Windows(**chosen)

    def features(self) -> dict[str, np.ndarray]:
        """The model's features: the three inputs, and the answer positions if the windows have them."""
        names = INPUTS if self.start_positions is None else (*INPUTS, "start_positions", "end_positions")
        return {name: getattr(self, name) for name in names}


def make_windows(
    questions: Sequence[Question],
    tokenizer: Tokenizer,
    *,
    max_seq_length: int = 384,
    doc_stride: int = 128,
    max_query_length: int = 64,
    with_answers: bool = False,
    num_workers: int = 1,
    progress: Callable = lambda items, what, *, total, unit: items,
) -> Windows:
    """Cuts every question and its context into windows of `max_seq_length` tokens.

    Tokenizes each distinct context and question once. Every token of a context is in at least one window.

    Args:
      doc_stride: tokens from the start of one window to the start of the next.
      max_query_length: longer questions are truncated to this many tokens.
      with_answers: also computes the positions to train on, from the first answer of each question. They point to [CLS]
        if the window does not contain the whole answer or the question has none.
      num_workers: processes for the tokenizer.
      progress: `kobert_tf2.progress.progress`, or a function of the same signature; reports contexts and questions.

    Raises:
      InputError: the lengths leave no room for the context, or the stride would skip tokens between two windows.
    """
    check_lengths(max_seq_length=max_seq_length, doc_stride=doc_stride, max_query_length=max_query_length)
    contexts = _encode_contexts([question.context for question in questions], tokenizer, num_workers, progress)
    queries = list(dict.fromkeys(question.question for question in questions))
    query_ids = dict(zip(queries, tokenizer.encode_ids_batch(queries, num_workers=num_workers), strict=True))
    rows: list[_Row] = []
    for index, question in enumerate(progress(questions, "windows", total=len(questions), unit="questions")):
        query, context = query_ids[question.question][:max_query_length], contexts[question.context]
        spans = window_spans(len(context), max_seq_length - len(query) - 3, doc_stride)
        masks = max_context(spans, len(context))
        first = next((answer for answer in question.answers if answer.start >= 0), None)
        answer = span_tokens(first.start, first.end, context) if with_answers and first is not None else None
        for span, mask in zip(spans, masks, strict=True):
            rows.append(_Row(index, query, context, span, mask, _positions(answer, span, first=len(query) + 2)))
    return _fill(rows, tokenizer, max_seq_length, with_answers)


def check_lengths(*, max_seq_length: int, doc_stride: int, max_query_length: int) -> None:
    """Raises `InputError` unless the lengths fit together and no token of a context can fall between two windows."""
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


def _encode_contexts(
    texts: Iterable[str], tokenizer: Tokenizer, num_workers: int, progress: Callable
) -> dict[str, Encoding]:
    """Tokenizes distinct contexts in blocks: one at a time so that progress is visible, or enough to keep several
    processes busy.
    """
    distinct = list(dict.fromkeys(texts))
    size = 1 if num_workers == 1 else _CONTEXTS_AT_ONCE
    blocks = (distinct[begin : begin + size] for begin in range(0, len(distinct), size))
    encoded = (tokens for block in blocks for tokens in tokenizer.encode_batch(block, num_workers=num_workers))
    reported = progress(encoded, "tokenizing", total=len(distinct), unit="contexts")
    return dict(zip(distinct, reported, strict=True))


def span_tokens(start: int, end: int, encoding: Encoding) -> tuple[int, int] | None:
    """First and last token that overlap the characters `[start, end)`; None if no token does."""
    first = int(np.searchsorted(encoding.ends, start, side="right"))
    last = int(np.searchsorted(encoding.starts, end, side="left")) - 1
    return (first, last) if first <= last else None


def _positions(answer: tuple[int, int] | None, span: tuple[int, int], *, first: int) -> tuple[int, int]:
    """The answer's token positions in a window whose context begins at `first`; (0, 0) unless all its tokens are in the
    window.
    """
    begin, end = span
    if answer is None or not (begin <= answer[0] and answer[1] < end):
        return 0, 0
    return answer[0] - begin + first, answer[1] - begin + first


class _Row(NamedTuple):
    """One window before it is written to arrays: the token range `span` of a question's context, and the answer's
    positions.
    """

    question: int
    query: list[int]
    context: Encoding
    span: tuple[int, int]
    max_context: np.ndarray
    positions: tuple[int, int]


def _fill(rows: Sequence[_Row], tokenizer: Tokenizer, max_seq_length: int, with_answers: bool) -> Windows:
    shape = len(rows), max_seq_length
    input_ids = np.full(shape, tokenizer.pad_id, np.int32)
    input_mask, segment_ids = np.zeros(shape, np.int32), np.zeros(shape, np.int32)
    token_start, token_end = np.full(shape, -1, np.int32), np.full(shape, -1, np.int32)
    has_max_context = np.zeros(shape, bool)
    for number, row in enumerate(rows):
        begin, end = row.span
        first = len(row.query) + 2
        last = first + end - begin
        input_ids[number, 0] = tokenizer.cls_id
        input_ids[number, 1 : first - 1] = row.query
        input_ids[number, first - 1] = input_ids[number, last] = tokenizer.sep_id
        input_ids[number, first:last] = row.context.ids[begin:end]
        token_start[number, first:last] = row.context.starts[begin:end]
        token_end[number, first:last] = row.context.ends[begin:end]
        has_max_context[number, first:last] = row.max_context
        input_mask[number, : last + 1] = 1
        segment_ids[number, first : last + 1] = 1
    positions = np.array([row.positions for row in rows], np.int32).reshape(-1, 2)
    return Windows(
        input_ids=input_ids,
        input_mask=input_mask,
        segment_ids=segment_ids,
        question_index=np.array([row.question for row in rows], np.int32),
        token_start=token_start,
        token_end=token_end,
        max_context=has_max_context,
        start_positions=np.ascontiguousarray(positions[:, 0]) if with_answers else None,
        end_positions=np.ascontiguousarray(positions[:, 1]) if with_answers else None,
    )


# ---------------------------------------------------------------------------------------------------------------------
# Batches by length
# ---------------------------------------------------------------------------------------------------------------------


def predict_logits(
    windows: Windows,
    batches: Sequence[Batch],
    forward: Callable[[Iterable[dict[str, np.ndarray]]], Iterable[Mapping[str, np.ndarray]]],
) -> tuple[np.ndarray, np.ndarray]:
    """Start and end logits of every window, float32 [W, S]; -inf beyond the width of the window's batch.

    `forward` is the model: for each batch of inputs, int32 [rows, width], it yields `start_logits` and `end_logits` in
    order.
    """
    start, end = np.full((2, *windows.input_ids.shape), -np.inf, np.float32)
    inputs = ({name: getattr(windows, name)[batch.rows, : batch.width] for name in INPUTS} for batch in batches)
    for batch, outputs in zip(batches, forward(inputs), strict=True):
        start[batch.rows, : batch.width] = outputs["start_logits"]
        end[batch.rows, : batch.width] = outputs["end_logits"]
    return start, end
