"""Packs several short instances into one row, so that few tokens of a batch are padding.

Attention stays within an instance, positions begin again with each, and each keeps its next sentence label: a model's
losses are those of the same instances in rows of their own. A packed row has the features of an unpacked one, and

    sequence_ids             [max_seq_length]  1, 2 ... for the tokens of the row's instances, 0 for padding
    position_ids             [max_seq_length]  the place of a token in its instance
    next_sentence_positions  [slots]           where the instances begin (their [CLS])
    next_sentence_labels     [slots]
    next_sentence_weights    [slots]           1 for an instance, 0 for an empty slot
"""

import numpy as np

FEATURES = ("sequence_ids", "position_ids", "next_sentence_positions", "next_sentence_weights")
# An instance has at least this many tokens on average in a full row: it bounds the slots of a row.
_TOKENS_PER_SLOT = 8


def slots(max_seq_length: int) -> int:
    """The most instances in a row."""
    return max(1, max_seq_length // _TOKENS_PER_SLOT)


def predictions(max_predictions_per_seq: int) -> int:
    """The most predictions in a row: an eighth more, as short instances round theirs up."""
    return max_predictions_per_seq + -(-max_predictions_per_seq // 8)


def pack_rows(table: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The instances of a feature table, packed: the longest first, each into the fullest row that it fits into. Rows
    come in the order of their first instance in the table.
    """
    width = table["input_ids"].shape[1]
    limit = predictions(table["masked_lm_ids"].shape[1])
    lengths = table["input_mask"].sum(axis=1, dtype=np.int64)
    wanted = (table["masked_lm_weights"] > 0).sum(axis=1)
    rows = sorted(map(sorted, _rows(lengths, wanted, width, limit)))
    packed = _empty(len(rows), width, limit)
    for row, members in enumerate(rows):
        start = place = 0
        for slot, member in enumerate(members):
            end, after = start + int(lengths[member]), place + int(wanted[member])
            for name in ("input_ids", "input_mask", "segment_ids"):
                packed[name][row, start:end] = table[name][member, : end - start]
            packed["sequence_ids"][row, start:end] = slot + 1
            packed["position_ids"][row, start:end] = np.arange(end - start)
            for name in ("masked_lm_ids", "masked_lm_weights"):
                packed[name][row, place:after] = table[name][member, : after - place]
            packed["masked_lm_positions"][row, place:after] = (
                table["masked_lm_positions"][member, : after - place] + start
            )
            packed["next_sentence_positions"][row, slot] = start
            packed["next_sentence_labels"][row, slot] = table["next_sentence_labels"][member, 0]
            packed["next_sentence_weights"][row, slot] = 1.0
            start, place = end, after
    return packed


def _rows(lengths: np.ndarray, wanted: np.ndarray, width: int, limit: int) -> list[list[int]]:
    """Best fit, the longest first: the members of each row."""
    rows: list[list[int]] = []
    free = np.zeros((len(lengths), 3), np.int64)  # of each row: tokens, predictions, slots
    for member in np.argsort(-lengths, kind="stable").tolist():
        need = np.array([lengths[member], wanted[member], 1])
        fits = np.flatnonzero((free[: len(rows)] >= need).all(axis=1))
        if len(fits):
            row = int(fits[free[fits, 0].argmin()])
        else:
            row = len(rows)
            rows.append([])
            free[row] = width, limit, slots(width)
        rows[row].append(member)
        free[row] -= need
    return rows


def _empty(rows: int, width: int, limit: int) -> dict[str, np.ndarray]:
    of_slots = slots(width)
    return {
        **{name: np.zeros((rows, width), np.int32) for name in ("input_ids", "input_mask", "segment_ids")},
        **{name: np.zeros((rows, width), np.int32) for name in ("sequence_ids", "position_ids")},
        **{name: np.zeros((rows, limit), np.int32) for name in ("masked_lm_positions", "masked_lm_ids")},
        "masked_lm_weights": np.zeros((rows, limit), np.float32),
        **{name: np.zeros((rows, of_slots), np.int32) for name in ("next_sentence_positions", "next_sentence_labels")},
        "next_sentence_weights": np.zeros((rows, of_slots), np.float32),
    }
