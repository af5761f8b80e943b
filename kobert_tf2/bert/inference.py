"""Inference-only models: loaded in the requested precision, and traced once per process."""

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from kobert_tf2.bert.kernels import tracing
from kobert_tf2.errors import InputError

INPUTS = ("input_ids", "input_mask", "segment_ids")


def dtype_policy(precision: str) -> str:
    """The Keras dtype policy of an inference-only model; `precision` is "float32" or "bfloat16"."""
    if precision not in ("float32", "bfloat16"):
        raise InputError(f"precision: expected float32 or bfloat16. Received: {precision!r}")
    # Not mixed_bfloat16, which gives the same results here but casts every weight in every call (10 of 37 ms with 4
    # layers, width 512, one question) and takes twice the memory.
    return precision


def compiled(
    model: keras.Model,
    outputs: Callable[[dict], Any] = lambda outputs: outputs,
    *,
    inputs: tuple[str, ...] = INPUTS,
) -> Callable[..., Any]:
    """The model as one traced function for any batch size and length, called with its `inputs` by name.

    `outputs` converts the model's outputs to the function's result. The caller must keep a reference to the model.
    """
    spec = {name: tf.TensorSpec([None, None], tf.int32, name=name) for name in inputs}
    with tracing.for_cpu(final_weights=True):
        traced = tf.function(lambda **inputs: outputs(model(inputs, training=False)))
        return traced.get_concrete_function(**spec)
