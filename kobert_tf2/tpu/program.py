"""The exact program that a TPU would run, as HLO: N training steps of one of several replicas, or one forward pass.

TensorFlow lowers it in the same way as `tf.function(jit_compile=True)`. A replica context replaces that of
`tf.distribute`: its sums are XLA all-reduces over all replicas, and it gets its number from XLA at run time, so that
one program serves every replica, as on a TPU.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import keras
import tensorflow as tf
from tensorflow.compiler.tf2xla.ops import gen_xla_ops
from tensorflow.compiler.tf2xla.python import xla

from kobert_tf2.errors import InputError
from kobert_tf2.training import steps

_OURS, _THIS_ROOM = "/kobert_tf2/", "/kobert_tf2/tpu/"
_FUNCTIONS_OF_AN_OPERATION = ("body", "cond", "then_branch", "else_branch", "f")


class Replica(tf.distribute.ReplicaContext):
    """The context of one of `count` replicas; which one is known only at run time."""

    def __init__(self, count: int) -> None:
        super().__init__(tf.distribute.get_strategy(), 0)
        self._count = count

    @property
    def num_replicas_in_sync(self) -> int:
        return self._count

    @property
    def replica_id_in_sync_group(self) -> tf.Tensor:
        return xla.replica_id() if self._count > 1 else tf.constant(0)

    def all_reduce(self, reduce_op: tf.distribute.ReduceOp, value: Any, options: object = None) -> Any:
        """The sum over the replicas; our programs use no other reduction."""
        if reduce_op != tf.distribute.ReduceOp.SUM:
            raise NotImplementedError(f"expected a sum over the replicas, but got {reduce_op}")
        if self._count == 1:
            return value
        group = [list(range(self._count))]
        return tf.nest.map_structure(
            lambda x: gen_xla_ops.xla_all_reduce(x, group, reduce_op="Add", mode="CrossReplica"), value
        )


class Lowered(NamedTuple):
    """A program before optimization by any compiler.

    Attributes:
      stages: `stages(stage="hlo_serialized")` and so on, as `experimental_get_compiler_ir` returns it.
      places: {TensorFlow operation: the line of this package that created it}, "kobert_tf2/bert/layers.py:123".
      arguments: the names of the program's arguments, in order.
    """

    stages: Callable
    places: dict[str, str]
    arguments: list[str]

    def hlo(self) -> bytes:
        """The serialized HloModuleProto."""
        return self._stage("hlo_serialized")

    def text(self) -> str:
        return self._stage("hlo")

    def compile_for_cpu(self) -> None:
        """Compiles the program fully for the CPU and discards the result. Raises `InputError` if XLA cannot compile
        it.
        """
        self._stage("optimized_hlo_serialized")

    def _stage(self, stage: str) -> Any:
        try:
            return self.stages(stage=stage)
        except (tf.errors.OpError, ValueError, TypeError) as error:
            raise refusal(error, self.places) from error

    def place(self, operation: str) -> str:
        """A readable name of `operation` (as named in HLO), and the line of our code that it comes from, if known."""
        return place(operation, self.places)


def lower_training(
    model: keras.Model,
    optimizer: keras.optimizers.Optimizer,
    task: steps.Task,
    batch: dict[str, tf.TensorSpec],
    *,
    replicas: int,
    iterations: int,
    micro_batch_size: int | None,
) -> Lowered:
    """`iterations` training steps in a loop, for a global `batch` ({feature: spec [global batch, ...]})."""
    check_static(batch)
    one = steps.ReplicaStep(
        model, optimizer, task, seed=0, micro_batch_size=micro_batch_size, jit_gradients=False, for_cpu=False
    )
    stacked = {name: tf.TensorSpec([iterations, *x.shape], x.dtype, name=name) for name, x in batch.items()}
    first = tf.TensorSpec([], tf.int32, name="first")
    optimizer.build(model.trainable_variables)
    names = _names((*model.variables, *optimizer.variables))
    return _lower(steps.over_steps(one), (stacked, first), replicas, names)


def lower_forward(model: keras.Model, inputs: dict[str, tf.TensorSpec], *, replicas: int = 1) -> Lowered:
    """One forward pass of one of `replicas` over its rows of a global batch {feature: spec [global batch, ...]}."""
    check_static(inputs)

    def forward(batch: dict) -> dict:
        return model(steps.rows_of_replica(batch), training=False)

    return _lower(forward, (inputs,), replicas, _names(model.variables))


def _names(variables: Iterable[keras.Variable]) -> dict[int, str]:
    """Variable names by handle, because a traced function captures handles."""
    return {id(variable.value.handle): variable.path for variable in variables}


def check_static(batch: dict[str, tf.TensorSpec]) -> None:
    """Rejects features that a TPU does not support: strings, and unknown shapes."""
    for name, spec in batch.items():
        if spec.dtype == tf.string:
            raise InputError(f"feature {name!r}: a TPU takes no strings; tokenize before the records are written")
        if not spec.shape.is_fully_defined():
            raise InputError(f"feature {name!r}: expected a static shape, but got {spec.shape}")


def _lower(function: Callable, arguments: tuple, replicas: int, names: dict[int, str]) -> Lowered:
    """Lowers `function(*arguments)` as one replica's program; nested arguments are flattened, as XLA requires."""
    flat = tf.nest.flatten(arguments)

    def program(*values: tf.Tensor) -> Any:
        with Replica(replicas):
            return function(*tf.nest.pack_sequence_as(arguments, values))

    compiled = tf.function(program, jit_compile=True, autograph=False)
    concrete = compiled.get_concrete_function(*flat)
    places = {operation.name: line for operation in _operations(concrete.graph) if (line := _line_of(operation))}
    try:
        stages = compiled.experimental_get_compiler_ir(*flat)
    except (tf.errors.OpError, ValueError, TypeError) as error:
        raise refusal(error, places) from error
    captured = [names.get(id(handle), "a constant") for handle in concrete.captured_inputs]
    return Lowered(stages, places, [*(spec.name for spec in flat), *captured])


# ----------------------------------------------------------------------------------------------------------------------
# The source lines of operations
# ----------------------------------------------------------------------------------------------------------------------


def _operations(graph: tf.Graph) -> Iterator[tf.Operation]:
    """All operations of the graph and of all functions that it calls."""
    for operation in graph.get_operations():
        yield operation
        for attribute in _FUNCTIONS_OF_AN_OPERATION:
            function = operation.node_def.attr[attribute].func.name if attribute in operation.node_def.attr else ""
            if function and (inner := _graph_of(graph, function)):
                yield from _operations(inner)


def _graph_of(graph: tf.Graph, name: str) -> tf.Graph | None:
    while graph is not None:
        if graph._is_function(name):
            return getattr(graph._get_function(name), "graph", None)
        graph = getattr(graph, "outer_graph", None)
    return None


def _line_of(operation: tf.Operation) -> str:
    """The innermost line of this package in the operation's traceback; "" if there is none."""
    for frame in reversed(operation.traceback or ()):
        if _OURS in frame.filename and _THIS_ROOM not in frame.filename:
            return f"{_OURS.strip('/')}/{frame.filename.rpartition(_OURS)[2]}:{frame.lineno}"
    return ""


def place(operation: str, places: dict[str, str]) -> str:
    """A readable name of a TensorFlow operation, with the line that it comes from.

    "gradient_tape/while/bert_1/encoder_layer_0_1/MatMul" -> "gradient of encoder_layer_0/MatMul
    (kobert_tf2/bert/kernels/plain.py:61)". XLA prefixes the operations' names with those of the loops.
    """
    parts = operation.split(";")[0].split("/")
    backward = "gradient_tape" in parts
    parts = [part for part in parts if part != "gradient_tape" and not re.fullmatch(r"call\.\d+", part)]
    line = next((places[name] for name in _candidates(parts) if name in places), "")
    *scopes, last = [part for part in parts if part != "while" and not part.startswith("bert_")] or [operation]
    readable = "/".join([*(re.sub(r"_1$", "", scope) for scope in scopes), last])
    return f"{'gradient of ' if backward else ''}{readable}" + (f" ({line})" if line else "")


def _candidates(parts: list[str]) -> Iterator[str]:
    """Yields an operation's name, then the names of its enclosing scopes, innermost first; then the same without each
    leading "while", which XLA puts before the name of an operation in a loop.
    """
    for start in range(len(parts)):
        for end in range(len(parts), start, -1):
            if parts[start:end] != ["while"]:  # The loop is not an operation of ours.
                yield "/".join(parts[start:end])
        if parts[start] != "while":
            return


def refusal(error: Exception, places: dict[str, str]) -> InputError:
    """The error for a program that TensorFlow cannot lower: its first sentence, and where the operation was created."""
    message = str(error)
    node = re.search(r"\{\{node ([^}]+)\}\}", message)
    reason = next((line.strip() for line in message.splitlines() if line.strip()), type(error).__name__)
    unsupported = re.search(r"XLA_\w+_JIT: (\w+) \(No registered", message)
    if unsupported:
        reason = f"operation {unsupported[1]} cannot be compiled"
    where = f", at {place(node[1], places)}" if node else ""
    return InputError(f"the program does not compile with XLA: {reason}{where}")
