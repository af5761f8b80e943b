"""Small XLA programs within a TensorFlow graph that XLA does not compile as a whole.

On a processor the matrix products belong to oneDNN, and what lies between them would run operation by operation, each a
pass over memory. A function that goes through `compiled` is one pass instead. All shapes must be known while tracing.
"""

import functools
import os
from collections.abc import Callable
from typing import Any

import tensorflow as tf


def compiled(function: Callable, *tensors: tf.Tensor, **static: object) -> Any:
    """`function(*tensors, **static)`, compiled by XLA once for these shapes, types and `static` values."""
    arguments = [tf.convert_to_tensor(x) for x in tensors]
    specs = tuple((tuple(x.shape), x.dtype) for x in arguments)
    return _compiled(function, specs, tuple(sorted(static.items())))(*arguments)


@functools.cache
def _compiled(function: Callable, specs: tuple, static: tuple) -> Callable:
    """Traced outside of the caller's graph and device, so that other layers, replicas and steps share the program."""
    _keep_sums_in_xla()
    with tf.init_scope(), tf.device(None):
        program = tf.function(functools.partial(function, **dict(static)), jit_compile=True, autograph=False)
        return program.get_concrete_function(*(tf.TensorSpec(shape, dtype) for shape, dtype in specs))


def update_in_place(function: Callable, variables: list, *tensors: tf.Tensor, **static: object) -> None:
    """Assigns to the variables what `function(*their values, *tensors, **static)` returns.

    XLA is given the variables themselves and writes the new values into their memory, after the last read of the old
    ones: a training step needs no second set of parameters and moments. One program serves all variables of the same
    shapes.
    """
    arguments = [tf.convert_to_tensor(x) for x in tensors]
    specs = tuple((tuple(x.shape), x.dtype) for x in (*variables, *arguments))
    _keep_sums_in_xla()
    with tf.init_scope(), tf.device(None):
        program = _assigning(function, specs, tuple(sorted(static.items()))).get_concrete_function(
            variables, [tf.TensorSpec(x.shape, x.dtype) for x in arguments]
        )
    program(variables, arguments)


@functools.cache
def _assigning(function: Callable, specs: tuple, static: tuple) -> tf.types.experimental.PolymorphicFunction:
    def assign(variables: list, tensors: list) -> None:
        values = function(*(variable.read_value() for variable in variables), *tensors, **dict(static))
        for variable, value in zip(variables, values, strict=True):
            variable.assign(value)

    return tf.function(assign, jit_compile=True, autograph=False)


@functools.cache
def _keep_sums_in_xla() -> None:
    """Keeps XLA from handing the reductions of these programs to YNNPACK, as it does from TensorFlow 2.21 on.

    YNNPACK breaks a fusion apart (the gradient of softmax then takes twice as long) and, where others met it, crashed
    in a worker thread (jax-ml/jax issues 39257 and 40412). XLA reads its flags from the environment once in a process,
    when it first compiles something. What is compiled here is a constant, and then the environment is restored: other
    libraries bring an XLA of their own, and one that does not know a flag ends the process.
    """
    flags = os.environ.get("XLA_FLAGS")
    if not tf.__version__.startswith("2.21.") or (flags and ("ynn_fusion_type" in flags or flags[0] != "-")):
        return
    os.environ["XLA_FLAGS"] = f"{flags or ''} --xla_cpu_experimental_ynn_fusion_type="
    try:
        with tf.init_scope(), tf.device("CPU:0"):
            tf.function(lambda: tf.constant(0), jit_compile=True, autograph=False)()
    finally:
        if flags is None:
            del os.environ["XLA_FLAGS"]
        else:
            os.environ["XLA_FLAGS"] = flags
