"""Parts of a step: the rows of a replica and a micro-batch, the seeds of dropout, several steps in one call."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from kobert_tf2.errors import InputError
from kobert_tf2.training import steps


def test_dropout_is_drawn_anew_for_each_step_replica_and_micro_batch():
    seeds = {
        tuple(steps.dropout_seed_of(7, step, replica, micro, 3).numpy())
        for step in range(4)
        for replica in range(5)
        for micro in range(3)
    }
    assert len(seeds) == 4 * 5 * 3


@given(st.integers(-(2**31), 2**32 - 1), st.integers(0, 2**31 - 1))
@settings(deadline=None, max_examples=30)
def test_a_seed_of_any_size_makes_a_seed_of_dropout(seed, step):
    first, second = (steps.dropout_seed_of(seed, tf.constant(step), tf.constant(0), 0, 1).numpy() for _ in range(2))
    assert first.dtype == np.int32
    assert first.tolist() == second.tolist()


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 4), st.integers(1, 4), st.integers(1, 3))
def test_the_parts_of_a_batch_are_the_batch(count, size, width):
    batch = {"x": tf.reshape(tf.range(count * size * width), [count * size, width])}
    parts = [steps._rows(batch, tf.constant(index), count)["x"] for index in range(count)]
    assert all(part.shape == (size, width) for part in parts)
    np.testing.assert_array_equal(tf.concat(parts, axis=0), batch["x"])


def test_a_micro_batch_divides_the_rows():
    assert steps.micro_batches(8, None) == 1
    assert steps.micro_batches(8, 2) == 4
    with pytest.raises(InputError, match="--micro_batch_size=3 does not divide the 8 rows"):
        steps.micro_batches(8, 3)


def test_steps_in_one_call_have_their_batches_and_numbers():
    def one(batch, number):
        row = tf.stack([tf.reduce_sum(batch["x"]), tf.cast(number, tf.float32)])
        return tf.pad(row[None], [[0, steps._MOST_METRICS - 1], [0, 0]])

    batches = {"x": tf.constant([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])}
    results = steps.over_steps(one)(batches, tf.constant(7)).numpy()
    assert results.shape == (3, steps._MOST_METRICS, 2)
    assert results[:, 0].tolist() == [[3.0, 7.0], [7.0, 8.0], [11.0, 9.0]]


def test_the_inputs_of_a_model_are_chosen_by_name():
    assert steps.inputs_of({"input_ids": 1, "labels": 2, "input_mask": 3}) == {"input_ids": 1, "input_mask": 3}
    assert steps.inputs_of({"a": 1, "b": 2}, ("b", "c")) == {"b": 2}
