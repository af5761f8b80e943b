"""Weights of several processes in one piece of memory: the same values, nobody's changes, and no others' weights."""

import contextlib
import os

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from kobert_tf2.bert import shared_memory
from kobert_tf2.errors import InputError

NAME = "weights-of-this-test"


@pytest.fixture
def descriptor():
    made = os.memfd_create(NAME)
    yield made
    os.close(made)


def is_mapped(values: tf.Tensor) -> bool:
    address = np.asarray(memoryview(tf.bitcast(values, f"uint{8 * values.dtype.size}"))).ctypes.data
    with open("/proc/self/maps", encoding="utf-8") as file:
        for line in file:
            begin, _, end = line.split()[0].partition("-")
            if int(begin, 16) <= address < int(end, 16):
                return NAME in line
    return False


@settings(max_examples=20, deadline=None)
@given(
    st.lists(st.lists(st.integers(0, 40), max_size=3), min_size=1, max_size=4), st.sampled_from(["float32", "bfloat16"])
)
def test_every_process_gets_the_same_values(shapes, dtype):
    rng = np.random.default_rng(5)
    weights = [rng.normal(size=shape).astype(np.float32) for shape in shapes]
    descriptor = os.memfd_create(NAME)
    with contextlib.closing(os.fdopen(descriptor, "rb")):
        for _ in range(3):
            with shared_memory.sharing(descriptor):
                for values in weights:
                    placed = shared_memory.placed(values, dtype)
                    assert placed.dtype == dtype
                    assert placed.shape == values.shape
                    np.testing.assert_array_equal(placed.numpy(), tf.cast(values, dtype).numpy())
                    assert is_mapped(placed) or not values.size


def test_a_variable_takes_the_memory_over_and_changes_stay_its_own(descriptor):
    variables = []
    for _ in range(2):
        variable = tf.Variable(tf.zeros([300, 20]))
        with shared_memory.sharing(descriptor):
            variable.assign(shared_memory.placed(np.ones([300, 20], np.float32), "float32"))
        assert is_mapped(variable.read_value())
        variables.append(variable)
    variables[0].assign_add(tf.ones([300, 20]))
    assert (variables[0].numpy() == 2).all()
    assert (variables[1].numpy() == 1).all()


@pytest.mark.parametrize("other", [np.ones(9), np.full(10, 1 + 2**-23), np.zeros(10)])
def test_other_weights_are_refused(descriptor, other):
    for values in (np.ones(10), other):
        refused = pytest.raises(InputError, match="the weights that the other workers serve")
        with shared_memory.sharing(descriptor), refused if values is other else contextlib.nullcontext():
            shared_memory.placed(values.astype(np.float32), "float32")
            shared_memory.placed(np.arange(5, dtype=np.float32), "float32")


def test_elsewhere_values_stay_as_they_are():
    values = np.ones(3)
    assert shared_memory.placed(values, "float32") is values
