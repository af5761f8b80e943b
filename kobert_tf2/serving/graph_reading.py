"""Reading comprehension in a TensorFlow graph: windows over a long context, the best spans, and their merging per
question.

Implements the rules of `reading/windows.py` and `reading/answers.py` with standard TensorFlow operations, so that they
can be exported; a property test compares the results with the NumPy implementation. This module does not handle text:
inputs are token ids, outputs are spans of token positions.

Letters: B questions, W windows, S positions of a window, L `max_answer_length`, N `n_best_size`.
"""

from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf

# Lower than any sum of two logits, and finite, so that it can be added and serialised as JSON.
IMPOSSIBLE = -1e9


class GraphWindows(NamedTuple):
    """Windows over B contexts; the windows of one context are adjacent."""

    inputs: dict[str, tf.Tensor]  # input_ids, input_mask, segment_ids: int32 [W, S]
    in_context: tf.Tensor  # bool [W, S]: a token of the context
    max_context: tf.Tensor  # bool [W, S]: the token's max-context window, which has the most context around it
    token: tf.Tensor  # int32 [W, S]: the token's index in its context; undefined outside the context
    per_question: tf.Tensor  # int64 [B]: the number of windows of each question; they add up to W


class Spans(NamedTuple):
    """The N best spans, best first; in padding, start and end are -1, score is `IMPOSSIBLE`, probability is 0."""

    start: tf.Tensor  # int32 [rows, N], a position in a window or a token index
    end: tf.Tensor  # int32 [rows, N], inclusive
    score: tf.Tensor  # float32 [rows, N], start logit + end logit
    probability: tf.Tensor  # float32 [rows, N], normalised over the N spans


def context_positions(input_ids: tf.Tensor, input_mask: tf.Tensor, segment_ids: tf.Tensor, *, sep_id: int) -> tf.Tensor:
    """bool [rows, S]: the tokens of the context, which is segment 1 without the final [SEP] and the padding."""
    return (segment_ids == 1) & (input_mask == 1) & (input_ids != sep_id)


def best_spans(
    start_logits: tf.Tensor,
    end_logits: tf.Tensor,
    may_start: tf.Tensor,
    may_end: tf.Tensor,
    *,
    n_best_size: int,
    max_answer_length: int,
) -> Spans:
    """The best spans of at most L tokens in each row.

    Args:
        start_logits, end_logits: float32 [rows, S].
        may_start, may_end: bool [rows, S], where a span may start and end.
    """
    starts = tf.where(may_start, start_logits, IMPOSSIBLE)
    ends = tf.pad(
        tf.where(may_end, end_logits, IMPOSSIBLE), [[0, 0], [0, max_answer_length - 1]], constant_values=IMPOSSIBLE
    )
    length = tf.shape(start_logits)[1]
    # [S, L]: for each start, the L positions where its span can end.
    places = tf.range(length)[:, tf.newaxis] + tf.range(max_answer_length)[tf.newaxis, :]
    scores = starts[:, :, tf.newaxis] + tf.gather(ends, places, axis=1)  # [rows, S, L]
    flat = tf.reshape(scores, [tf.shape(scores)[0], length * max_answer_length])
    # A row may have fewer than N spans.
    flat = tf.pad(flat, [[0, 0], [0, n_best_size]], constant_values=2 * IMPOSSIBLE)
    score, place = tf.math.top_k(flat, n_best_size)
    start = place // max_answer_length
    return _as_spans(start, start + place % max_answer_length, score)


def _as_spans(start: tf.Tensor, end: tf.Tensor, score: tf.Tensor) -> Spans:
    found = score > IMPOSSIBLE / 2
    score = tf.where(found, score, IMPOSSIBLE)
    probability = tf.where(found, tf.nn.softmax(score), 0.0)
    return Spans(tf.where(found, start, -1), tf.where(found, end, -1), score, probability)


def make_windows(
    question_ids: tf.RaggedTensor,
    context_ids: tf.RaggedTensor,
    *,
    cls_id: int,
    sep_id: int,
    pad_id: int,
    max_seq_length: int,
    doc_stride: int,
    max_query_length: int,
) -> GraphWindows:
    """Makes windows as `windows.make_windows` does: [CLS] question [SEP] part of the context [SEP].

    Args:
        question_ids, context_ids: int32 [B, (tokens)]. A question is truncated to `max_query_length`.

    S is the length of the longest window, so that short texts are cheap. `doc_stride` must be at most
    `max_seq_length - max_query_length - 3`; otherwise tokens between two windows would be lost.
    """
    question_ids = question_ids[:, :max_query_length]
    question_length = question_ids.row_lengths()
    room = max_seq_length - 3 - question_length
    length = context_ids.row_lengths()
    per_question = 1 + -(-tf.maximum(length - room, 0) // doc_stride)
    question = tf.repeat(tf.range(context_ids.nrows()), per_question)  # [W]
    first = tf.ragged.range(per_question).flat_values * doc_stride  # [W]: a window's first token in its context
    count = tf.minimum(tf.gather(room, question), tf.gather(length, question) - first)  # [W]
    tokens = tf.ragged.range(first, first + count)  # [W, (count)]
    flat_place = tokens + tf.gather(context_ids.row_starts(), question)[:, tf.newaxis]
    window_ids = tf.RaggedTensor.from_row_splits(
        tf.gather(context_ids.flat_values, flat_place.flat_values), tokens.row_splits
    )
    inputs = _pack(tf.gather(question_ids, question), window_ids, cls_id=cls_id, sep_id=sep_id, pad_id=pad_id)

    # The positions of a window's tokens in its row: after [CLS], the question and [SEP].
    place = tf.range(tf.shape(inputs["input_ids"], tf.int64)[1])[tf.newaxis, :]
    offset = tf.gather(question_length, question)[:, tf.newaxis] + 2
    in_context = (place >= offset) & (place < offset + count[:, tf.newaxis])
    max_context = tf.scatter_nd(
        tf.where(in_context), _has_max_context(flat_place, count, context_ids), tf.shape(in_context, tf.int64)
    )
    token = tf.cast(place - offset + first[:, tf.newaxis], tf.int32)
    return GraphWindows(inputs, in_context, max_context > 0, token, per_question)


def _pack(
    question_ids: tf.RaggedTensor, window_ids: tf.RaggedTensor, *, cls_id: int, sep_id: int, pad_id: int
) -> dict[str, tf.Tensor]:
    rows = question_ids.nrows()
    cls, sep = (tf.fill([rows, 1], tf.constant(value, tf.int32)) for value in (cls_id, sep_id))
    first = tf.concat([cls, tf.cast(question_ids, tf.int32), sep], axis=1)
    second = tf.concat([tf.cast(window_ids, tf.int32), sep], axis=1)
    ids = tf.concat([first, second], axis=1)
    mask = tf.sequence_mask(ids.row_lengths(), dtype=tf.int32)
    segment = mask - tf.sequence_mask(first.row_lengths(), tf.shape(mask)[1], dtype=tf.int32)
    return {"input_ids": ids.to_tensor(pad_id), "input_mask": mask, "segment_ids": segment}


def _has_max_context(flat_place: tf.RaggedTensor, count: tf.Tensor, context_ids: tf.RaggedTensor) -> tf.Tensor:
    """int32 [sum of count]: 1 where this window, of all that contain the token, has the most context around it.

    Uses the original run_squad's formula, min(left, right) + 0.01 * window length, times 100 to stay in integers. The
    first of equal windows wins.
    """
    here = tf.ragged.range(count).flat_values
    window = flat_place.value_rowids()
    width = tf.gather(count, window)
    score = 100 * tf.minimum(here, width - 1 - here) + width
    num_tokens = tf.size(context_ids.flat_values)
    best = tf.math.unsorted_segment_max(score, flat_place.flat_values, num_tokens)
    is_best = score == tf.gather(best, flat_place.flat_values)
    candidates = tf.where(is_best, window, window.dtype.max)
    chosen = tf.math.unsorted_segment_min(candidates, flat_place.flat_values, num_tokens)
    return tf.cast(tf.gather(chosen, flat_place.flat_values) == window, tf.int32)


def merge_spans(
    windows: GraphWindows, start_logits: tf.Tensor, end_logits: tf.Tensor, *, n_best_size: int, max_answer_length: int
) -> Spans:
    """The best spans of each question over all its windows, as token indices of its context: tensors [B, N].

    A span start is considered only in its max-context window, so that no span is found twice.
    """
    spans = best_spans(
        start_logits,
        end_logits,
        windows.max_context,
        windows.in_context,
        n_best_size=n_best_size,
        max_answer_length=max_answer_length,
    )

    def of_question(values: tf.Tensor, default: float) -> tf.Tensor:  # [W, N] -> [B, most windows * N]
        ragged = tf.RaggedTensor.from_row_lengths(tf.reshape(values, [-1]), windows.per_question * n_best_size)
        return ragged.to_tensor(default)

    def as_token(position: tf.Tensor) -> tf.Tensor:
        return of_question(tf.gather(windows.token, tf.maximum(position, 0), batch_dims=1), -1)

    score, place = tf.math.top_k(of_question(spans.score, IMPOSSIBLE), n_best_size)
    start = tf.gather(as_token(spans.start), place, batch_dims=1)
    end = tf.gather(as_token(spans.end), place, batch_dims=1)
    return _as_spans(start, end, score)


def null_scores(windows: GraphWindows, start_logits: tf.Tensor, end_logits: tf.Tensor) -> tf.Tensor:
    """float32 [B]: the lowest score of "no answer" (the logits at [CLS]) over the windows of each question."""
    question = tf.repeat(tf.range(tf.size(windows.per_question)), windows.per_question)
    return tf.math.segment_min(start_logits[:, 0] + end_logits[:, 0], question)


def of_tokens(values: tf.RaggedTensor, token: tf.Tensor) -> tf.Tensor:
    """Gathers the elements of `values`, int32 [B, (tokens)], at `token`, int32 [B, N]; 0 where `token` is -1."""
    place = tf.cast(values.row_starts()[:, tf.newaxis], tf.int32) + token
    # A batch of empty contexts has no values to gather.
    flat = tf.concat([values.flat_values, [0]], 0)
    return tf.where(token >= 0, tf.gather(flat, tf.where(token >= 0, place, 0)), 0)


def logits_in_chunks(
    forward: Callable[[dict], tuple], inputs: dict[str, tf.Tensor], *, size: int, ranks: tuple[int, ...] = (2, 2)
) -> tuple:
    """Runs `forward(inputs) -> (start_logits, end_logits)` on at most `size` windows at a time, to limit memory use.

    `ranks` are the ranks of the outputs, by default 2 and 2.
    """
    total = tf.shape(inputs["input_ids"])[0]
    chunks = tf.maximum(1, -(-total // size))
    shapes = ([None] * rank for rank in ranks)
    arrays = tuple(tf.TensorArray(tf.float32, chunks, infer_shape=False, element_shape=shape) for shape in shapes)

    def body(index: tf.Tensor, arrays: tuple) -> tuple:
        chunk = {name: value[index * size : (index + 1) * size] for name, value in inputs.items()}
        return index + 1, tuple(
            array.write(index, logits) for array, logits in zip(arrays, forward(chunk), strict=True)
        )

    _, arrays = tf.while_loop(lambda index, _: index < chunks, body, (0, arrays), parallel_iterations=1)
    return tuple(array.concat() for array in arrays)
