"""Writes a model as an ONNX file and verifies it with onnxruntime before keeping it. Needs the extra `onnx` (tf2onnx).

tf2onnx copies the constants of a graph repeatedly: for 4 layers of width 768 (213 MB) it took 16 GB and a minute. So it
is given the graph with the weights as inputs, and they are inserted into its output afterwards.
"""

import contextlib
import logging
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import tensorflow as tf

from kobert_tf2.errors import InputError

# The operator set, which every onnxruntime since 1.12 (2022) supports.
OPSET = 17
TOLERANCE = 1e-4
# Constants with at most this many elements stay in the graph, where the conversion can inspect them.
_SMALL = 1024
_CHECKED_SHAPES = ((1, 8), (3, 16))


def write(
    function: Callable[..., dict], names: tuple[str, ...], path: str, *, vocab_size: int, type_vocab_size: int
) -> float:
    """Writes `function` as an ONNX file, with int32 [batch, sequence] inputs of these names, both dimensions dynamic.

    Returns: the largest difference between the outputs of onnxruntime and TensorFlow on random rows of several sizes.

    Raises:
        InputError: the extra is not installed, or the outputs differ by more than `TOLERANCE`.
    """
    try:
        import onnx
        import onnxruntime
        import tf2onnx
    except ImportError as error:
        raise InputError(f"an ONNX export needs {error.name}, which is not installed: pip install '.[onnx]'") from None
    signature = [tf.TensorSpec([None, None], tf.int32, name=name) for name in names]
    by_place = tf.function(lambda *values: function(**dict(zip(names, values, strict=True))), input_signature=signature)
    frozen, names_of = _frozen(by_place.get_concrete_function())
    graph, weights = _weights_as_inputs(frozen.graph.as_graph_def())
    with _quiet(tf.get_logger()):  # tf2onnx calls deprecated TensorFlow functions.
        model, _ = tf2onnx.convert.from_graph_def(
            graph,
            input_names=[*(tensor.name for tensor in frozen.inputs), *weights],
            output_names=[tensor.name for tensor in frozen.outputs],
            tensors_to_rename=names_of,
            opset=OPSET,
            custom_op_handlers={"Erfc": (_as_one_less_erf, [])},
        )
    _put_in(model, weights, onnx.numpy_helper.from_array)
    onnx.save(model, path)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return _largest_difference(session, by_place, names, (vocab_size, type_vocab_size))


@contextlib.contextmanager
def _quiet(logger: logging.Logger) -> Iterator[None]:
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


def _frozen(function: Any) -> tuple[Any, dict[str, str]]:
    """The function with its variables frozen to constants, and {tensor: name} of its inputs and outputs."""
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    frozen = convert_variables_to_constants_v2(function, lower_control_flow=False, aggressive_inlining=True)
    specs = tf.nest.flatten(function.structured_input_signature)
    names = {tensor.name: spec.name for tensor, spec in zip(frozen.inputs, specs, strict=True)}
    return frozen, names | {tensor.name: name for name, tensor in function.structured_outputs.items()}


def _weights_as_inputs(graph: Any) -> tuple[Any, dict[str, np.ndarray]]:
    """A `GraphDef` with each large constant replaced by a placeholder, and {tensor: value} of those constants."""
    weights = {}
    for node in graph.node:
        if node.op == "Const" and np.prod([d.size for d in node.attr["value"].tensor.tensor_shape.dim]) > _SMALL:
            weights[f"{node.name}:0"] = value = tf.make_ndarray(node.attr["value"].tensor)
            node.op = "Placeholder"
            del node.attr["value"]
            node.attr["shape"].shape.CopyFrom(tf.TensorShape(value.shape).as_proto())
    return graph, weights


def _put_in(model: Any, weights: dict[str, np.ndarray], as_tensor: Callable) -> None:
    """Turns the inputs of an ONNX model that represent weights into initializers."""
    inputs = [entry for entry in model.graph.input if entry.name not in weights]
    used = [entry.name for entry in model.graph.input if entry.name in weights]
    del model.graph.input[:]
    model.graph.input.extend(inputs)
    model.graph.initializer.extend(as_tensor(weights[name], name) for name in used)


def _as_one_less_erf(graph: Any, node: Any, name: str, args: list) -> None:
    """Converts erfc(x), used by TensorFlow's exact GELU, to 1 - erf(x): ONNX and tf2onnx 1.17 do not support Erfc."""
    shapes, types, outputs = node.output_shapes, node.output_dtypes, list(node.output)
    one = graph.make_const(f"{name}/one", np.ones((), np.float32))
    erf = graph.make_node("Erf", list(node.input), name=f"{name}/erf", shapes=shapes, dtypes=types)
    graph.remove_node(name)
    graph.make_node("Sub", [one.output[0], erf.output[0]], name=name, outputs=outputs, shapes=shapes, dtypes=types)


def _largest_difference(session: Any, function: Callable, names: tuple[str, ...], sizes: tuple[int, int]) -> float:
    largest = 0.0
    outputs = [output.name for output in session.get_outputs()]
    for batch, length in _CHECKED_SHAPES:
        inputs = random_inputs(names, batch, length, *sizes)
        expected = function(*(tf.constant(inputs[name]) for name in names))
        try:
            answers = session.run(outputs, inputs)
        except Exception as error:  # onnxruntime's own exception classes have no common base
            raise InputError(f"onnxruntime cannot run the file that tf2onnx wrote: {error}") from error
        for name, value in zip(outputs, answers, strict=True):
            largest = max(largest, float(np.abs(value - expected[name].numpy()).max()))
    if not largest <= TOLERANCE:
        raise InputError(f"the ONNX file differs from the model by {largest:.2g}, expected at most {TOLERANCE:.0e}")
    return largest


def random_inputs(
    names: tuple[str, ...], batch: int, length: int, vocab_size: int, type_vocab_size: int
) -> dict[str, np.ndarray]:
    """Random rows of different lengths, so that the mask is partly 0."""
    rng = np.random.default_rng(0)
    used = length - np.arange(batch)[:, None] * 2 % length
    mask = (np.arange(length) < used).astype(np.int32)
    segment = (np.arange(length) >= length // 3).astype(np.int32) * mask * (type_vocab_size > 1)
    inputs = {
        "input_ids": rng.integers(0, vocab_size, (batch, length)).astype(np.int32) * mask,
        "input_mask": mask,
        "segment_ids": segment,
        "masked_lm_positions": rng.integers(0, length, (batch, 3)).astype(np.int32),
    }
    return {name: inputs[name] for name in names}
