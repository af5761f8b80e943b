"""A model as an ONNX file, checked against onnxruntime before it is kept. Needs the extra `onnx` (tf2onnx)."""

from collections.abc import Callable

import numpy as np
import tensorflow as tf

from kobert_tf2.errors import InputError

# The operator set: every onnxruntime since 1.12 (2022) has it.
OPSET = 17
TOLERANCE = 1e-4
_CHECKED_SHAPES = ((1, 8), (3, 16))


def write(function: Callable[..., dict], names: tuple[str, ...], path: str, *, vocab_size: int) -> float:
    """Writes `function` of int32 [batch, sequence] inputs of these names, both dimensions open, as an ONNX file.

    Returns: the largest difference between onnxruntime's outputs and TensorFlow's, on random rows of several sizes.

    Raises:
        InputError: the extra is not installed, or the outputs differ by more than `TOLERANCE`.
    """
    try:
        import onnxruntime
        import tf2onnx
    except ImportError as error:
        raise InputError(f"an ONNX export needs {error.name}, which is not installed: pip install '.[onnx]'") from None
    signature = [tf.TensorSpec([None, None], tf.int32, name=name) for name in names]
    by_place = tf.function(lambda *values: function(**dict(zip(names, values, strict=True))), input_signature=signature)
    tf2onnx.convert.from_function(
        by_place,
        input_signature=signature,
        opset=OPSET,
        output_path=path,
        custom_op_handlers={"Erfc": (_as_one_less_erf, [])},
    )
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return _largest_difference(session, by_place, names, vocab_size)


def _as_one_less_erf(graph, node, name: str, args: list) -> None:
    """erfc(x) as 1 - erf(x). ONNX has no Erfc, which the exact GELU is in TensorFlow; tf2onnx 1.17 does not know it."""
    shapes, types, outputs = node.output_shapes, node.output_dtypes, list(node.output)
    one = graph.make_const(f"{name}/one", np.ones((), np.float32))
    erf = graph.make_node("Erf", list(node.input), name=f"{name}/erf", shapes=shapes, dtypes=types)
    graph.remove_node(name)
    graph.make_node("Sub", [one.output[0], erf.output[0]], name=name, outputs=outputs, shapes=shapes, dtypes=types)


def _largest_difference(session, function, names: tuple[str, ...], vocab_size: int) -> float:
    largest = 0.0
    outputs = [output.name for output in session.get_outputs()]
    for batch, length in _CHECKED_SHAPES:
        inputs = _random_inputs(names, batch, length, vocab_size)
        expected = function(*(tf.constant(inputs[name]) for name in names))
        try:
            answers = session.run(outputs, inputs)
        except Exception as error:  # onnxruntime's own classes, which share no base of theirs
            raise InputError(f"onnxruntime cannot run the file that tf2onnx wrote: {error}") from error
        for name, value in zip(outputs, answers, strict=True):
            largest = max(largest, float(np.abs(value - expected[name].numpy()).max()))
    if not largest <= TOLERANCE:
        raise InputError(f"the ONNX file differs from the model by {largest:.2g}, expected at most {TOLERANCE:.0e}")
    return largest


def _random_inputs(names: tuple[str, ...], batch: int, length: int, vocab_size: int) -> dict[str, np.ndarray]:
    """Rows of different lengths, so that the mask is partly 0."""
    rng = np.random.default_rng(0)
    used = length - np.arange(batch)[:, None] * 2
    mask = (np.arange(length) < used).astype(np.int32)
    segment = (np.arange(length) >= length // 3).astype(np.int32) * mask
    inputs = {
        "input_ids": rng.integers(0, vocab_size, (batch, length)).astype(np.int32) * mask,
        "input_mask": mask,
        "segment_ids": segment,
        "masked_lm_positions": rng.integers(0, length, (batch, 3)).astype(np.int32),
    }
    return {name: inputs[name] for name in names}
