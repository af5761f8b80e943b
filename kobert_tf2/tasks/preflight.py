"""What can be known about a TPU run without a TPU: compiles one core's N-step program with XLA, and counts.

The program is the one that training runs, forward, backward, clipping and optimizer in a loop of N steps, for one
core's rows of the batch; on several cores it has all-reduces of the gradients and metrics besides. XLA compiles it
for the CPU: that every operation has an XLA kernel and every shape is static is thereby known; that libtpu compiles
it too is not.

No TPU library is touched.
"""

import math
import re
from typing import NamedTuple

import keras
import tensorflow as tf

from kobert_tf2.bert.config import BertConfig
from kobert_tf2.errors import InputError
from kobert_tf2.training import steps

_GIB = 1 << 30
_UTILISATION = 0.4
# Types that a TPU does not have. It has no strings either; 64-bit integers are emulated in pairs of 32 bits.
_FOREIGN_TYPES = ("f64", "c128", "c64")


class Topology(NamedTuple):
    """`cores`: replicas that TensorFlow sees. Memory in GiB and peak bfloat16 TFLOP/s are of one of them."""

    cores: int
    memory: float
    peak: float


# For a chip, Google's pages cloud.google.com/tpu/docs/{v3,v4,v5e,v5p,v6e} (read 2026-11) say: v3 123 TFLOP/s and
# 32 GiB, v4 275 and 32 GiB, v5e 197 and 16 GB, v5p 459 and 95 GB, v6e 918 and 32 GB; for v2 none was found, and its
# board of four chips was announced with 180 TFLOP/s and 64 GB. A chip of v2 and v3 is two cores, each a replica, and
# the name counts cores; v4 and v5p count them too (v5p-8 is the slice 2x2x1, four chips) but join the two of a chip to
# one; v5e and v6e count chips. GB stands for GiB there; what the runtime keeps for itself is not taken off.
TOPOLOGIES = {
    "v2-8": Topology(8, 8, 22.5),
    "v2-32": Topology(32, 8, 22.5),
    "v3-8": Topology(8, 16, 61.5),
    "v3-32": Topology(32, 16, 61.5),
    "v4-8": Topology(4, 32, 275),
    "v5e-1": Topology(1, 16, 197),
    "v5e-4": Topology(4, 16, 197),
    "v5e-8": Topology(8, 16, 197),
    "v5p-8": Topology(4, 95, 459),
    "v6e-8": Topology(8, 32, 918),
}


def preflight(
    model: keras.Model,
    optimizer: keras.optimizers.Optimizer,
    task: steps.Task,
    batch: dict[str, tf.TensorSpec],
    *,
    topology: str,
    iterations_per_loop: int,
    micro_batch_size: int | None = None,
) -> dict:
    """Compiles and counts for a global `batch` ({feature: spec [global batch, ...]}) on `topology`; returns the report.

    Raises `InputError` where the program does not compile or the batch does not divide.
    """
    if topology not in TOPOLOGIES:
        raise InputError(f"expected --tpu_topology among {', '.join(TOPOLOGIES)}, but got {topology!r}")
    chosen = TOPOLOGIES[topology]
    rows = next(iter(batch.values())).shape[0]
    if rows % chosen.cores:
        raise InputError(f"--train_batch_size={rows} cannot be divided among the {chosen.cores} cores of {topology}")
    optimizer.build(model.trainable_variables)
    hlo = _compiled(model, optimizer, task, batch, rows // chosen.cores, iterations_per_loop, micro_batch_size)

    program = parse(hlo)
    flops = program.flops * steps.micro_batches(rows // chosen.cores, micro_batch_size) * chosen.cores
    memory = _memory(model, optimizer, batch, (micro_batch_size or rows // chosen.cores), iterations_per_loop)
    return {
        "topology": topology,
        "cores": chosen.cores,
        "rows_per_core": rows // chosen.cores,
        "steps_in_one_call": iterations_per_loop,
        "compiled": True,
        "dynamic_shapes": program.dynamic,
        "without_a_tpu_kernel": program.foreign,
        "operations": program.operations,
        "operations_in_emulated_64_bit_integers": program.emulated,
        "flops_per_step": flops,
        "flops_per_step_by_the_book": expected_flops(model.config, batch),
        "memory_per_core_gib": {name: round(size / _GIB, 3) for name, size in memory.items()},
        "memory_of_a_core_gib": chosen.memory,
        "fits": sum(memory.values()) < chosen.memory * _GIB,
        "steps_per_second_at_40_percent_of_peak": _UTILISATION * chosen.peak * 1e12 * chosen.cores / flops,
        "not_verified": "compilation by libtpu, the all-reduces, infeed speed: these need the hardware",
    }


def _compiled(
    model: keras.Model,
    optimizer: keras.optimizers.Optimizer,
    task: steps.Task,
    batch: dict[str, tf.TensorSpec],
    rows: int,
    iterations: int,
    micro_batch_size: int | None,
) -> str:
    """One core's program as HLO text, before XLA optimizes it for the CPU; it is compiled to the end all the same."""
    strategy = tf.distribute.get_strategy()
    train_steps = steps.TrainSteps(
        strategy, model, optimizer, task, micro_batch_size=micro_batch_size, jit_compile=True
    )
    specs = {name: tf.TensorSpec([iterations, rows, *x.shape[1:]], x.dtype, name=name) for name, x in batch.items()}
    function, (named, first) = train_steps.program(specs)
    flat = tf.function(
        lambda first, *values: function.python_function(dict(zip(named, values, strict=True)), first),
        jit_compile=True,
        autograph=False,
    )
    try:
        stages = flat.experimental_get_compiler_ir(first, *named.values())
        stages(stage="optimized_hlo_serialized")
        return stages(stage="hlo")
    except (tf.errors.OpError, ValueError, TypeError) as error:
        reason = str(error).strip().splitlines()[0]
        raise InputError(f"the program does not compile with XLA: {reason}") from error


# ----------------------------------------------------------------------------------------------------------------------
# Reading HLO
# ----------------------------------------------------------------------------------------------------------------------

_INSTRUCTION = re.compile(r"^\s*(?:ROOT )?%?([\w.-]+) = (\w+)\[([\d,<=? ]*)\]\S* ([\w-]+)\((.*)$")
_OPERAND = re.compile(r"\s*(?:\w+\[[^\]]*\]\S* )?%?([\w.-]+)\s*[,)]")
_CALLED = re.compile(r'custom_call_target="([^"]+)"')


class Program(NamedTuple):
    flops: int  # of the matrix products in one step (in one micro-batch)
    dynamic: list[str]  # instructions whose shape is not static
    foreign: list[str]  # custom calls and types that a TPU does not have
    emulated: int  # operations in 64-bit integers
    operations: int


def parse(hlo: str) -> Program:
    """Counts in HLO text. The body of the loop over the steps stands there once, so what is counted is one step."""
    shapes: dict[str, list[int]] = {}
    flops, count, emulated, dynamic, foreign = 0, 0, 0, [], set()
    for line in hlo.splitlines():
        match = _INSTRUCTION.match(line)
        if not match:
            continue
        name, dtype, dims, operation, rest = match.groups()
        count += 1
        emulated += dtype in ("s64", "u64")
        if "<=" in dims or "?" in dims:
            dynamic.append(f"{operation} {name}: [{dims}]")
            continue
        shapes[name] = [int(size) for size in dims.split(",") if size]
        if operation == "custom-call":
            target = _CALLED.search(rest)
            foreign.add(f"custom-call {target[1] if target else ''}")
        if dtype in _FOREIGN_TYPES:
            foreign.add(f"{operation} in {dtype}")
        if operation == "dot":
            flops += 2 * math.prod(shapes[name]) * _contracted(rest, shapes)
    return Program(flops, dynamic, sorted(foreign), emulated, count)


def _contracted(rest: str, shapes: dict[str, list[int]]) -> int:
    """How many products are added up for one element of a dot's result: `%a, %b), ..., lhs_contracting_dims={1}`."""
    left = _OPERAND.match(rest)[1]
    dims = re.search(r"lhs_contracting_dims=\{([\d,]*)\}", rest)
    return math.prod(shapes[left][int(axis)] for axis in dims[1].split(",") if axis)


# ----------------------------------------------------------------------------------------------------------------------
# Counting without compiling
# ----------------------------------------------------------------------------------------------------------------------


def expected_flops(config: BertConfig, batch: dict) -> int:
    """FLOPs of a pre-training step's matrix products by the book: forward, and twice that for backward. The last layer
    is computed at the first token and at the masked positions alone."""
    rows, length = batch["input_ids"].shape
    predictions = batch["masked_lm_ids"].shape[1]
    layers = (config.num_hidden_layers - 1) * _layer_flops(config, rows, length, length)
    layers += _layer_flops(config, rows, 1 + predictions, length)
    width, masked = config.hidden_size, rows * predictions
    heads = 2 * rows * width * (width + 2) + 2 * masked * width * (width + config.vocab_size)
    return 3 * (layers + heads)


def _layer_flops(config: BertConfig, rows: int, queries: int, length: int) -> int:
    """Forward, with so many query positions in a row, each attending to all `length` positions."""
    width, inner = config.hidden_size, config.intermediate_size
    of_all, of_queries = 2 * width * width, 2 * width * width + 2 * width * inner
    return 2 * rows * (length * of_all + queries * of_queries + 2 * queries * length * width)


def _memory(
    model: keras.Model, optimizer: keras.optimizers.Optimizer, batch: dict, rows: int, iterations: int
) -> dict[str, float]:
    """Bytes of one core. Activations are an estimate: Korthikanti et al. 2022, "Reducing Activation Recomputation",
    eq. 2."""
    parameters = sum(math.prod(v.shape) * 4 for v in model.variables)
    memory = {
        "parameters": parameters,
        "optimizer": sum(math.prod(v.shape) * 4 for v in optimizer.variables),
        "gradients": parameters,
        "batches": sum(iterations * rows * math.prod(x.shape[1:]) * 4 for x in batch.values()),
    }
    return memory | {"activations (estimated)": _activations(model, batch, rows)}


def _activations(model: keras.Model, batch: dict, rows: int) -> float:
    config, length = model.config, batch["input_ids"].shape[1]
    bytes_a_number = 2 if keras.config.dtype_policy().compute_dtype == "bfloat16" else 4
    layer = rows * length * (17 * config.hidden_size + 2.5 * config.num_attention_heads * length)
    logits = rows * batch["masked_lm_ids"].shape[1] * config.vocab_size if "masked_lm_ids" in batch else 0
    return layer * bytes_a_number * config.num_hidden_layers + 3 * 4 * logits
