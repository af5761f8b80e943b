"""Batches of rows as a data set: the contents of each, and saving the position."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from kobert_tf2.errors import InputError
from kobert_tf2.tokenization.batches import Batch
from kobert_tf2.training.dataset import dataset_of_batches

FEATURES = {
    "input_ids": np.arange(30, dtype=np.int32).reshape(5, 6),
    "labels": np.arange(5, dtype=np.int32) * 10,
}
ROWS = st.lists(st.integers(-1, 4), min_size=3, max_size=3)


@settings(deadline=None, max_examples=15)
@given(st.lists(st.tuples(ROWS, st.integers(1, 6)), min_size=1, max_size=4))
def test_a_batch_has_its_rows_cut_to_its_width_again_and_again(drawn):
    batches = [Batch(np.array(rows), width) for rows, width in drawn]
    made = list(dataset_of_batches(FEATURES, batches).take(2 * len(batches)).as_numpy_iterator())
    for (rows, width), batch in zip(drawn * 2, made, strict=True):
        assert batch["example_weight"].tolist() == [float(row >= 0) for row in rows]
        for place, row in enumerate(rows):
            if row >= 0:
                assert batch["input_ids"][place].tolist() == FEATURES["input_ids"][row, :width].tolist()
                assert batch["labels"][place] == row * 10


def test_its_place_is_small_and_can_be_taken_up_again(tmp_path):
    batches = [Batch(np.array([row]), 6) for row in range(5)]
    iterator = iter(dataset_of_batches(FEATURES, batches))
    next(iterator), next(iterator)
    path = tf.train.Checkpoint(iterator=iterator).write(str(tmp_path / "place"))
    again = iter(dataset_of_batches(FEATURES, batches))
    tf.train.Checkpoint(iterator=again).read(path)
    assert [int(next(again)["labels"][0]) for _ in range(4)] == [20, 30, 40, 0]


def test_no_batch_at_all_is_a_sentence():
    with pytest.raises(InputError, match="expected rows to train on"):
        dataset_of_batches(FEATURES, [])
