"""Batches by length: every row once, none cut, and as little padding as any choice of widths would give."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kobert_tf2.tokenization import batches as batches_by_length

lengths_of_rows = st.lists(st.integers(1, 384), min_size=1, max_size=60).map(np.array)


@settings(deadline=None, max_examples=60)
@given(lengths_of_rows, st.integers(1, 3))
def test_widths_pad_as_little_as_any_choice_could(lengths, buckets):
    multiple = 64
    widths = batches_by_length.bucket_widths(lengths, buckets=buckets, multiple=multiple)
    assert len(widths) <= buckets
    assert widths[-1] >= lengths.max()

    def tokens(widths):
        return int(np.array(widths)[np.searchsorted(widths, lengths)].sum())

    top = -(-lengths.max() // multiple) * multiple
    choices = itertools.combinations(range(multiple, top, multiple), min(buckets - 1, top // multiple - 1))
    assert tokens(widths) == min(tokens([*choice, top]) for choice in choices)


@settings(deadline=None, max_examples=60)
@given(lengths_of_rows, st.integers(1, 9), st.integers(0, 99))
def test_an_epoch_sees_every_row_once_and_none_is_cut(lengths, batch_size, seed):
    widths = batches_by_length.bucket_widths(lengths)
    batches = batches_by_length.epoch_batches(lengths, widths, batch_size, np.random.default_rng(seed))
    rows = np.concatenate([batch.rows for batch in batches])
    assert sorted(rows[rows >= 0]) == list(range(len(lengths)))
    assert {len(batch.rows) for batch in batches} == {batch_size}
    assert (rows < 0).sum() < batch_size
    assert all((lengths[batch.rows[batch.rows >= 0]] <= batch.width).all() for batch in batches)


@settings(deadline=None, max_examples=30)
@given(lengths_of_rows, st.integers(1, 9))
def test_a_prediction_sees_every_row_once(lengths, batch_size):
    widths = batches_by_length.bucket_widths(lengths)
    batches = batches_by_length.prediction_batches(lengths, widths, batch_size)
    assert sorted(np.concatenate([batch.rows for batch in batches])) == list(range(len(lengths)))
    assert all((lengths[batch.rows] <= batch.width).all() for batch in batches)


def test_the_same_seed_gives_the_same_batches():
    lengths = np.random.default_rng(0).integers(20, 384, 300)
    one, two, other = (
        batches_by_length.epoch_batches(
            lengths, batches_by_length.bucket_widths(lengths), 8, np.random.default_rng(seed)
        )
        for seed in (1, 1, 2)
    )
    assert all((a.rows == b.rows).all() and a.width == b.width for a, b in zip(one, two, strict=True))
    assert any((a.rows != b.rows).any() for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize(("epochs", "steps"), [(1, 5), (2, 10), (2.5, 12), (0.2, 1), (0.01, 1)])
def test_a_part_of_an_epoch_is_a_part_of_its_batches(epochs, steps):
    lengths = np.full(20, 7)
    batches, num_steps = batches_by_length.batches_of_epochs(lengths, [16], 4, epochs=epochs, seed=3)
    assert len(batches) == 5 * -(-epochs // 1)
    assert num_steps == steps
    again, _ = batches_by_length.batches_of_epochs(lengths, [16], 4, epochs=epochs + 1, seed=3)
    assert all((a.rows == b.rows).all() for a, b in zip(batches, again, strict=False))
