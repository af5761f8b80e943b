"""Batches of rows of different lengths with little padding: in random order for training, sorted for prediction."""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np


def bucket_widths(
    lengths: np.ndarray, *, buckets: int = 6, multiple: int = 16, longest: int | None = None
) -> list[int]:
    """The `buckets` widths, at most, that pad rows of these lengths the least; each a multiple of `multiple`.

    Dynamic programming over all multiples up to the longest row. The last width is at most `longest`, the width of the
    arrays that the rows come from.
    """
    steps = -(-np.asarray(lengths) // multiple)
    top = int(steps.max())
    below = np.concatenate([[0], np.cumsum(np.bincount(steps, minlength=top + 1)[1:])])
    cost = np.where(np.arange(top + 1) == 0, 0.0, np.inf)
    choices = []
    for _ in range(min(buckets, top)):
        # cost of all rows up to `end` if the last bucket holds those longer than `begin`
        table = cost[:, None] + (below[None, :] - below[:, None]) * np.arange(top + 1)[None, :]
        table[np.tril_indices(top + 1, -1)] = np.inf
        choices.append(table.argmin(axis=0))
        cost = table.min(axis=0)
    widths, end = set(), top
    for choice in reversed(choices):
        if end:
            widths.add(end * multiple)
            end = int(choice[end])
    return sorted(min(width, longest or width) for width in widths)


class Batch(NamedTuple):
    """Row indices (-1 for a row that only fills the batch) and the width that the rows are truncated to."""

    rows: np.ndarray
    width: int


def epoch_batches(lengths: np.ndarray, widths: Sequence[int], batch_size: int, rng: np.random.Generator) -> list[Batch]:
    """All rows once in random order, in batches of one size; rows that share a batch have the same width.

    The remainders of all widths are combined at the end, and only the last of those batches is filled with dummy rows.
    """
    bucket = np.searchsorted(widths, lengths)
    order = rng.permutation(len(lengths))
    batches, left = [], []
    for number, width in enumerate(widths):
        rows = order[bucket[order] == number]
        whole = len(rows) - len(rows) % batch_size
        batches += [Batch(part, width) for part in rows[:whole].reshape(-1, batch_size)]
        left.append(rows[whole:])
    rest = np.concatenate(left)
    for begin in range(0, len(rest), batch_size):
        part = rest[begin : begin + batch_size]
        filled = np.pad(part, (0, batch_size - len(part)), constant_values=-1)
        batches.append(Batch(filled, widths[int(bucket[part].max())]))
    return [batches[place] for place in rng.permutation(len(batches))]


def batches_of_epochs(
    lengths: np.ndarray, widths: Sequence[int], batch_size: int, *, epochs: float, seed: int
) -> tuple[list[Batch], int]:
    """The batches of all epochs, each epoch in its own order, and how many of them are trained on: with 2.5 epochs the
    second half of the third is not.
    """
    whole = max(1, math.ceil(epochs))
    batches: list[Batch] = []
    for epoch in range(math.ceil(epochs)):
        batches += epoch_batches(lengths, widths, batch_size, np.random.default_rng([seed, epoch]))
    return batches, max(1, round(len(batches) * epochs / whole))


def prediction_batches(
    lengths: np.ndarray,
    widths: Sequence[int],
    batch_size: int | Callable[[int], int],
    *,
    powers_of_two: bool = False,
) -> list[Batch]:
    """All rows once, the shortest first, so that each batch is as narrow as can be.

    Args:
      lengths: int [rows], tokens of each row.
      widths: ascending; a row goes to the first that holds it.
      batch_size: rows per batch, or a function from a width to them.
      powers_of_two: the remainder of a width is split into powers of two instead of one short batch. With a batch size
        that is a power of two, few distinct shapes occur for any number of rows.
    """
    bucket = np.searchsorted(widths, lengths)
    batches = []
    for number in np.unique(bucket):
        width, rows = int(widths[number]), np.flatnonzero(bucket == number)
        size = batch_size if isinstance(batch_size, int) else batch_size(width)
        while len(rows):
            if powers_of_two:
                size = min(size, 1 << (len(rows).bit_length() - 1))
            batches.append(Batch(rows[:size], width))
            rows = rows[size:]
    return batches


def padding_share(batches: Sequence[Batch], lengths: np.ndarray) -> float:
    """The share of padding in what the model reads, from 0 to 1."""
    tokens = sum(int(lengths[batch.rows[batch.rows >= 0]].sum()) for batch in batches)
    return 1 - tokens / sum(len(batch.rows) * batch.width for batch in batches)
