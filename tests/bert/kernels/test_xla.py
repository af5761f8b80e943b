"""Programs within a graph: updates in place, and what XLA does with their sums."""

import os
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from kobert_tf2.bert.kernels import xla


def numbers(*shape, seed=0):
    return tf.constant(np.random.default_rng((seed, *shape)).normal(size=shape), tf.float32)


def _moved(parameter, sum_of_all, gradient, rate):
    return parameter - rate * gradient, sum_of_all + gradient


def two_variables(seed: int) -> list:
    return [tf.Variable(numbers(4, 5, seed=seed + i)) for i in range(2)]


def test_an_update_goes_to_the_variables_it_is_given():
    """One program serves all variables of its shapes, in a graph's loop as well as alone."""
    first, second, gradient = two_variables(0), two_variables(2), numbers(4, 5, seed=9)
    before = [[variable.numpy().copy() for variable in pair] for pair in (first, second)]

    @tf.function(autograph=False)
    def three_times():
        def body(number):
            xla.update_in_place(_moved, first, gradient, rate=0.5)
            xla.update_in_place(_moved, second, gradient, rate=0.5)
            return (number + 1,)

        tf.while_loop(lambda number: number < 3, body, (tf.constant(0),), parallel_iterations=1)

    three_times()
    xla.update_in_place(_moved, second, gradient, rate=0.5)
    for pair, old, times in zip((first, second), before, (3, 4), strict=True):
        np.testing.assert_allclose(pair[0].numpy(), old[0] - 0.5 * times * gradient, rtol=1e-5)
        np.testing.assert_allclose(pair[1].numpy(), old[1] + times * gradient, rtol=1e-5)


def test_what_was_read_before_an_update_stays_as_it_was():
    """An array may share a variable's memory, and the update is written where the old value lies."""
    variables, gradient = two_variables(0), numbers(4, 5, seed=9)
    read, array = tf.convert_to_tensor(variables[0]), variables[1].numpy()
    copies = read.numpy().copy(), array.copy()
    xla.update_in_place(_moved, variables, gradient, rate=0.5)
    assert np.array_equal(read.numpy(), copies[0])
    assert np.array_equal(array, copies[1])
    assert not np.array_equal(variables[0].numpy(), copies[0])


COMPILE_SUMS = """
import os
import tensorflow as tf
from kobert_tf2.bert.kernels import xla

before = os.environ.get("XLA_FLAGS")
tf.function(lambda x: xla.compiled(lambda x: tf.reduce_sum(x, axis=0), x), autograph=False)(tf.ones([4096, 512]))
assert os.environ.get("XLA_FLAGS") == before
"""


@pytest.mark.parametrize("users_flag", ["", "--xla_cpu_experimental_ynn_fusion_type=+reduce"])
def test_sums_stay_in_xla_unless_the_user_sets_the_flag(tmp_path, users_flag):
    """And the environment, which other libraries read, is as it was."""
    flags = f"--xla_dump_to={tmp_path} --xla_dump_hlo_as_text {users_flag}"
    process = subprocess.run(
        [sys.executable, "-c", COMPILE_SUMS], env={**os.environ, "XLA_FLAGS": flags}, capture_output=True, text=True
    )
    assert process.returncode == 0, process.stderr
    programs = [path.read_text() for path in tmp_path.glob("*after_optimizations.txt")]
    assert programs
    if tf.__version__.startswith("2.21."):
        assert any("ynn_fusion" in program for program in programs) == bool(users_flag)
