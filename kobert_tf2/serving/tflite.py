"""Writes a model as a TFLite file for devices and verifies it with the interpreter before keeping it.

There are three kinds of weights: "float32", "float16" (half the size), and "int8" (a quarter of the size: kernels are
quantised to integers, and activations are quantised at run time, which TensorFlow calls dynamic range quantisation).
Both dimensions of the inputs are dynamic: the signature's runner takes any length.
"""

import tempfile
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from kobert_tf2.errors import InputError
from kobert_tf2.serving import onnx
from kobert_tf2.serving.signatures import Servable

WEIGHTS = ("float32", "float16", "int8")
TOLERANCE = 1e-4
_SIGNATURE = "serving_default"
_CHECKED_SHAPES = ((1, 8), (32, 16))


def write(servable: Servable, path: str, *, weights: str, vocab_size: int) -> dict:
    """Writes the plain signature of a model (ids to logits) as a TFLite file.

    Returns: `largest_difference` between the outputs of the interpreter and TensorFlow on random rows, and
    `equal_answers`, the proportion of rows (positions, for a tagger) with the same highest logit; None if the model has
    no logits.

    Raises:
        InputError: float32 outputs differ by more than `TOLERANCE`, or any outputs are NaN.
    """
    if weights not in WEIGHTS:
        raise InputError(f"weights: expected one of {', '.join(WEIGHTS)}. Received: {weights!r}")
    signature = [tf.TensorSpec([None, None], tf.int32, name=name) for name in servable.inputs]
    function = tf.function(lambda *values: servable.serve(**dict(zip(servable.inputs, values, strict=True))), signature)
    content = _converted(servable, function, weights)
    largest, equal = _checked(content, function, servable, vocab_size)
    if not largest <= (TOLERANCE if weights == "float32" else np.inf):
        raise InputError(f"{path}: TFLite's outputs differ from TensorFlow's by {largest:.3g} (at most {TOLERANCE})")
    with open(path, "wb") as file:
        file.write(content)
    return {"largest_difference": largest, "equal_answers": equal}


def _converted(servable: Servable, function: Any, weights: str) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        servable.hold_files([])
        tf.saved_model.save(servable, folder, signatures={_SIGNATURE: function.get_concrete_function()})
        converter = tf.lite.TFLiteConverter.from_saved_model(folder, signature_keys=[_SIGNATURE])
        if weights != "float32":
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
        if weights == "float16":
            converter.target_spec.supported_types = [tf.float16]
        try:
            return converter.convert()
        except Exception as error:
            last = (str(error).strip().splitlines() or [type(error).__name__])[-1]
            raise InputError(f"TFLite cannot take this model ({last[:200]})") from None


def _checked(content: bytes, function: Callable, servable: Servable, vocab_size: int) -> tuple[float, float | None]:
    """Returns (the largest difference, the proportion of equal answers)."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TensorFlow's interpreter is going to move to a separate package
        run = tf.lite.Interpreter(model_content=content).get_signature_runner(_SIGNATURE)
    largest, equal = 0.0, []
    for shape in _CHECKED_SHAPES:
        inputs = onnx.random_inputs(servable.inputs, *shape, vocab_size, servable.type_vocab_size)
        expected = function(*(tf.constant(inputs[name]) for name in servable.inputs))
        found = run(**inputs)
        for name, values in expected.items():
            difference = np.abs(values.numpy() - found[name])
            largest = np.nan if np.isnan(difference).any() else max(largest, float(difference.max(initial=0)))
            if name.endswith("logits"):
                equal.append((values.numpy().argmax(-1) == found[name].argmax(-1)).ravel())
    return largest, float(np.concatenate(equal).mean()) if equal else None
