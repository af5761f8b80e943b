"""A model that answers only: loaded in the precision asked for, and traced once for this process."""

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from kobert_tf2.bert.kernels import tracing
from kobert_tf2.errors import InputError

INPUTS = ("input_ids", "input_mask", "segment_ids")


def dtype_policy(precision: str) -> str:
    """The Keras policy of a model that only answers; `precision` is "float32" or "bfloat16"."""
    if precision not in ("float32", "bfloat16"):
        raise InputError(f"precision: expected float32 or bfloat16. Received: {precision!r}")
    # Not mixed_bfloat16, which gives the same numbers here: it would cast every weight again in every call, 10 of 37 ms
    # (4 layers, width 512, one question), and keep twice the memory.
    return precision


def compiled(
    model: keras.Model,
    outputs: Callable[[dict], Any] = lambda outputs: outputs,
    *,
    inputs: tuple[str, ...] = INPUTS,
) -> Callable[..., Any]:
    """The model as one traced function of any batch and length, called with its `inputs` by name.

    `outputs` makes of the model's outputs what the function returns. The model must be kept alive beside it.
    """
    spec = {name: tf.TensorSpec([None, None], tf.int32, name=name) for name in inputs}
    with tracing.for_cpu(final_weights=True):
        traced = tf.function(lambda **inputs: outputs(model(inputs, training=False)))
        return traced.get_concrete_function(**spec)
