"""Entity recognition in a TensorFlow graph: windows over a long text, the best valid label sequence, and its entities.

Implements the rules of `labelling/entities.py` with standard TensorFlow operations, so that they can be exported; a
property test compares the results with the NumPy implementation. Particles are not stripped, since Mecab cannot run in
a graph.

Letters: B texts, W windows, S positions of a window, T tokens of the longest text, N tokens of all texts, L labels,
E entities of the text with the most.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from kobert_tf2.labelling import entities
from kobert_tf2.serving import graph_reading
from kobert_tf2.serving.graph_reading import GraphWindows


class GraphEntities(NamedTuple):
    """The entities of each text in order; as padding, start and end are -1, the type is empty and the score is 0."""

    start: tf.Tensor  # int32 [B, E], characters of the text
    end: tf.Tensor  # int32 [B, E]
    type: tf.Tensor  # string [B, E]
    score: tf.Tensor  # float32 [B, E], the mean probability of an entity's labels
    count: tf.Tensor  # int32 [B], the number of entities in each text


def make_windows(
    ids: tf.RaggedTensor,
    *,
    cls_id: int,
    sep_id: int,
    pad_id: int,
    max_seq_length: int,
    doc_stride: int | None = None,
) -> GraphWindows:
    """Makes windows of texts, int32 [B, (tokens)], as `entities.make_windows` does: [CLS] part of the text [SEP].

    These are the windows of a context with an empty question, without the [SEP] after the question.
    """
    found = graph_reading.make_windows(
        ids[:, :0],
        ids,
        cls_id=cls_id,
        sep_id=sep_id,
        pad_id=pad_id,
        max_seq_length=max_seq_length + 1,
        doc_stride=max((max_seq_length - 2) // 2, 1) if doc_stride is None else doc_stride,
        max_query_length=1,
    )
    inputs = {name: _without_second(values) for name, values in found.inputs.items()}
    inputs["segment_ids"] = tf.zeros_like(inputs["segment_ids"])
    return GraphWindows(
        inputs=inputs,
        in_context=_without_second(found.in_context),
        max_context=_without_second(found.max_context),
        token=_without_second(found.token),
        per_question=found.per_question,
    )


def _without_second(values: tf.Tensor) -> tf.Tensor:
    """Removes the second column."""
    return tf.concat([values[:, :1], values[:, 2:]], axis=1)


def token_logits(windows: GraphWindows, logits: tf.Tensor, ids: tf.RaggedTensor) -> tf.RaggedTensor:
    """float32 [B, (tokens), L] from the logits [W, S, L] of all windows: each token's logits come from its max-context
    window.
    """
    text = tf.repeat(tf.range(tf.size(windows.per_question)), windows.per_question)  # [W]
    places = tf.where(windows.max_context)  # [N, 2]
    token = tf.cast(tf.gather_nd(windows.token, places), tf.int64)
    target = tf.gather(ids.row_starts(), tf.gather(text, places[:, 0])) + token
    size = tf.stack([tf.size(ids.flat_values, tf.int64), tf.shape(logits, tf.int64)[2]])
    return ids.with_flat_values(tf.scatter_nd(target[:, tf.newaxis], tf.gather_nd(logits, places), size))


def viterbi(log_probabilities: tf.Tensor, lengths: tf.Tensor, labels: Sequence[str]) -> tf.Tensor:
    """int32 [B, T]: the most probable valid label sequence of each text; undefined beyond its `lengths`, int64 [B].

    Args:
        log_probabilities: float32 [B, T, L], T at least 1.
    """
    allowed = tf.constant(entities.transitions(labels))[tf.newaxis]  # [1, from, to]
    begins = tf.constant([not label.startswith("I-") for label in labels])
    steps = tf.transpose(log_probabilities, [1, 0, 2])  # [T, B, L]
    here = tf.broadcast_to(tf.range(len(labels)), tf.shape(steps)[1:])  # [B, L]: each label's predecessor is itself
    total = tf.shape(steps)[0]
    came_from = tf.TensorArray(tf.int32, total, element_shape=[None, len(labels)])

    def forward(token: tf.Tensor, score: tf.Tensor, came_from: tf.TensorArray) -> tuple:
        through = tf.where(allowed, score[:, :, tf.newaxis], -np.inf)  # [B, from, to]
        goes_on = (tf.cast(token, tf.int64) < lengths)[:, tf.newaxis]
        best = tf.where(goes_on, tf.argmax(through, axis=1, output_type=tf.int32), here)
        score = tf.where(goes_on, tf.reduce_max(through, axis=1) + steps[token], score)
        return token + 1, score, came_from.write(token, best)

    first = tf.where(begins, steps[0], -np.inf)
    _, score, came_from = tf.while_loop(
        lambda token, *_: token < total, forward, (1, first, came_from.write(0, here)), parallel_iterations=1
    )
    chosen = tf.TensorArray(tf.int32, total, element_shape=[None])

    def backward(token: tf.Tensor, label: tf.Tensor, chosen: tf.TensorArray) -> tuple:
        before = tf.gather(came_from.read(token), label, batch_dims=1)
        return token - 1, before, chosen.write(token, label)

    last = tf.argmax(score, axis=1, output_type=tf.int32)
    _, _, chosen = tf.while_loop(
        lambda token, *_: token >= 0, backward, (total - 1, last, chosen), parallel_iterations=1
    )
    return tf.transpose(chosen.stack())


def decode(
    logits: tf.RaggedTensor, starts: tf.RaggedTensor, ends: tf.RaggedTensor, labels: Sequence[str]
) -> GraphEntities:
    """Decodes the entities of each text, as `entities.decode` does.

    Args:
        logits: float32 [B, (tokens), L].
        starts, ends: int32 [B, (tokens)], the character span of each token.
    """
    lengths, row = logits.row_lengths(), logits.value_rowids()
    log_probabilities = tf.nn.log_softmax(logits.flat_values)  # [N, L]
    dense = logits.with_flat_values(log_probabilities).to_tensor(shape=[None, None, len(labels)])
    dense = tf.pad(dense, [[0, 0], [0, tf.cast(tf.shape(dense)[1] == 0, tf.int32)], [0, 0]])
    label = tf.RaggedTensor.from_tensor(viterbi(dense, lengths, labels), lengths).flat_values  # [N]
    begins = tf.gather(tf.constant([name.startswith("B-") for name in labels]), label)
    within = begins | tf.gather(tf.constant([name.startswith("I-") for name in labels]), label)
    # The index of each token's entity; tokens outside of entities are omitted.
    entity = tf.boolean_mask(tf.cumsum(tf.cast(begins, tf.int32)) - 1, within)
    count = tf.reduce_sum(tf.cast(begins, tf.int32))
    probability = tf.boolean_mask(tf.exp(tf.gather(log_probabilities, label, batch_dims=1)), within)
    score = tf.math.unsorted_segment_mean(probability, entity, count)
    end = tf.math.unsorted_segment_max(tf.boolean_mask(ends.flat_values, within), entity, count)
    start = tf.boolean_mask(starts.flat_values, begins)
    kinds = tf.constant([name.partition("-")[2] for name in labels])
    kind = tf.gather(kinds, tf.boolean_mask(label, begins))
    rows = tf.boolean_mask(row, begins)

    def padded(values: tf.Tensor, default: object) -> tf.Tensor:
        return tf.RaggedTensor.from_value_rowids(values, rows, logits.nrows()).to_tensor(default)

    per_text = tf.math.unsorted_segment_sum(tf.ones_like(start), rows, logits.nrows())
    return GraphEntities(padded(start, -1), padded(end, -1), padded(kind, ""), padded(score, 0.0), per_text)
