"""Checks that the values of pre-training records are valid before a model is trained on them.

TensorFlow does not report a position beyond the row, a label beyond the vocabulary or a mask of 7: a gather on a GPU or
a TPU gives zeros, a cast to int32 gives another number, and the model trains on it. So the data pipeline checks every
batch on the host (`refuse`), at the cost of a few comparisons. The bad record is then identified by reading the files
again (`find`). Both apply the rules of `_violations`.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

# Weights are 0 or 1 in all known files; larger ones up to this limit are accepted as intended weights.
_LARGEST_WEIGHT = 1e6
_FEATURES = (
    *("input_ids", "input_mask", "segment_ids"),
    *("masked_lm_positions", "masked_lm_ids", "masked_lm_weights", "next_sentence_labels"),
)


class Limits(NamedTuple):
    """The limits of the model's inputs."""

    vocab_size: int
    type_vocab_size: int = 2


class _Violation(NamedTuple):
    """Where a rule is violated: bool [rows, numbers], or [rows, 1] for rules about a whole row; and what the rule
    expects.
    """

    feature: str
    where: Any
    expected: str


def applies_to(features: Mapping[str, object]) -> bool:
    """Whether a table has the features that the rules need."""
    return all(name in features for name in _FEATURES)


def _violations(table: Mapping, limits: Limits, any_of: Callable, total_of: Callable) -> list[_Violation]:
    """The rules, for NumPy and TensorFlow alike: `any_of` and `total_of` reduce the last dimension and keep it.

    `table` contains int64 and float32 arrays [rows, numbers].
    """
    ids, mask, segments = (table[name] for name in ("input_ids", "input_mask", "segment_ids"))
    positions, labels, weights = (table[f"masked_lm_{name}"] for name in ("positions", "ids", "weights"))
    pairs, length = table["next_sentence_labels"], total_of(mask)
    vocabulary = f"an id from 0 to {limits.vocab_size - 1}, as the vocabulary has it"
    last_segment = limits.type_vocab_size - 1
    weighted = weights > 0
    return [
        _Violation("input_ids", (ids < 0) | (ids >= limits.vocab_size), vocabulary),
        _Violation("input_mask", (mask < 0) | (mask > 1), "0 or 1"),
        _Violation("input_mask", ~any_of(mask > 0), "a row with a token, but it is 0 everywhere"),
        _Violation("input_mask", any_of(mask[:, 1:] > mask[:, :-1]), "ones and then zeros, but a 1 follows a 0"),
        _Violation("segment_ids", (segments < 0) | (segments > last_segment), f"a segment from 0 to {last_segment}"),
        _Violation("masked_lm_positions", positions < 0, "a position from 0 on"),
        _Violation("masked_lm_positions", positions >= ids.shape[1], f"a position below {ids.shape[1]}, in the row"),
        _Violation("masked_lm_positions", weighted & (positions >= length), "the position of a token, not of padding"),
        _Violation("masked_lm_ids", (labels < 0) | (labels >= limits.vocab_size), vocabulary),
        # This also rejects NaN, which is in no range.
        _Violation("masked_lm_weights", ~((weights >= 0) & (weights <= _LARGEST_WEIGHT)), "a weight of 0 or more"),
        _Violation(
            "masked_lm_weights",
            any_of((labels != 0) | (positions != 0)) & ~any_of(weighted),
            "a weight above 0 where there are labels, but all are 0",
        ),
        _Violation("next_sentence_labels", (pairs < 0) | (pairs > 1), "0 or 1"),
        *(_violations_of_packing(table, any_of) if "sequence_ids" in table else []),
    ]


def _violations_of_packing(table: Mapping, any_of: Callable) -> list[_Violation]:
    """The rules for rows that hold several instances, see `packing`."""
    mask, sequences, positions = (table[name] for name in ("input_mask", "sequence_ids", "position_ids"))
    places, weights = table["next_sentence_positions"], table["next_sentence_weights"]
    same = (sequences[:, 1:] == sequences[:, :-1]) & (mask[:, 1:] > 0)
    steps = sequences[:, 1:] - sequences[:, :-1]
    in_order = (positions[:, 1:] - positions[:, :-1] == 1) & same | (positions[:, 1:] == 0) & ~same
    first = (sequences[:, :1] != 1) | (positions[:, :1] != 0)
    used = weights > 0
    # bool [rows, tokens, slots]: the tokens of the instance of each slot; then over the tokens.
    members = sequences[:, :, None] == np.arange(1, places.shape[1] + 1)
    chosen = places[:, None, :] == np.arange(mask.shape[1])[:, None]
    exists = any_of(members)[:, 0]
    begins = any_of(members & chosen & (positions[:, :, None] == 0))[:, 0]
    return [
        _Violation("sequence_ids", (sequences > 0) != (mask > 0), "an instance from 1 on for a token, 0 for padding"),
        _Violation("sequence_ids", any_of((mask[:, 1:] > 0) & (steps != 0) & (steps != 1)), "1, 2 ... in order"),
        _Violation("position_ids", first | any_of(~in_order), "0, 1 ... in each instance, and 0 for padding"),
        _Violation("next_sentence_positions", (places < 0) | (places >= mask.shape[1]), "a position in the row"),
        _Violation("next_sentence_positions", used & ~begins, "the first token of each instance, in order"),
        _Violation("next_sentence_weights", (weights != 0) & (weights != 1), "0 or 1"),
        _Violation("next_sentence_weights", used != exists, "1 for each instance, and then zeros"),
    ]


def find(table: Mapping[str, np.ndarray], limits: Limits) -> tuple[int, str] | None:
    """The first invalid row of a table and a description of the error; None if all rows are valid."""
    rules = _violations(table, limits, lambda x: x.any(axis=1, keepdims=True), lambda x: x.sum(axis=1, keepdims=True))
    found = [(int(rule.where.any(axis=1).argmax()), rule) for rule in rules if rule.where.any()]
    if not found:
        return None
    row, rule = min(found, key=lambda pair: pair[0])
    values = table[rule.feature][row]
    if rule.where.shape[1] == 1 and len(values) > 1:
        return row, f"{rule.feature}: expected {rule.expected}"
    place = int(rule.where[row].argmax())
    return row, f"{rule.feature}, number {place + 1}: expected {rule.expected}, but got {values[place]}"


def is_refusal(message: str) -> bool:
    """Whether a TensorFlow error message comes from the gather in `refuse`."""
    return "is not in [0, 1)" in message


def refuse(table: Mapping, limits: Limits) -> Any:
    """For use in a data pipeline: returns an int64 scalar 0 to add to the batch; computing it fails if a row is
    invalid.

    Uses an out-of-range gather rather than an assertion: the pipeline's function stays stateless, so nothing
    changes in how it is run and saved.
    """
    import tensorflow as tf

    rules = _violations(
        table, limits, lambda x: tf.reduce_any(x, 1, keepdims=True), lambda x: tf.reduce_sum(x, 1, keepdims=True)
    )
    wrong = tf.reduce_any(tf.stack([tf.reduce_any(rule.where) for rule in rules]))
    return tf.gather(tf.zeros([1], tf.int64), tf.cast(wrong, tf.int32))
