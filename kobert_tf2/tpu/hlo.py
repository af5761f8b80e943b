"""Parses HLO text, XLA's notation of programs: TensorFlow's source program and the TPU compiler's optimized one.

    %fusion.7 = bf16[32,128,256]{2,1,0:T(8,128)(2,1)} fusion(%a, %b), kind=kLoop, calls=%fused.3, metadata={...}

Only the counted elements are parsed. No XLA library is needed.
"""

import math
import re
from collections.abc import Iterator
from typing import NamedTuple

_BITS = {
    "pred": 8,
    "s4": 4,
    "u4": 4,
    "s8": 8,
    "u8": 8,
    "bf16": 16,
    "f16": 16,
    "s16": 16,
    "u16": 16,
    "s32": 32,
    "u32": 32,
}
_BITS |= {"f32": 32, "s64": 64, "u64": 64, "f64": 64, "c64": 64, "c128": 128}
# Types that a TPU does not support. It has no strings either; 64-bit integers are emulated as pairs of 32-bit ones.
FOREIGN_TYPES = ("f64", "c128", "c64")
WIDE_INTEGERS = ("s64", "u64")
_MAIN_MEMORY = (0,)
# Operations that move data to or from the host, anywhere in a program.
_HOST = ("infeed", "outfeed", "send", "recv", "send-done", "recv-done")
_PRODUCTS = ("convolution", "dot")
_PICKING = ("gather", "dynamic-slice", "slice")
# Asynchronous copies between the two memories of a chip.
_PREFETCHES = ("copy-start", "slice-start", "dynamic-slice-start")
# Operations that only name existing data and move no bytes.
_FREE = frozenset(
    """parameter constant get-tuple-element tuple bitcast while conditional call iota partition-id replica-id after-all
    add-dependency""".split()
)

_SHAPE = re.compile(r"(\w+)\[([\d,<=? ]*)\](?:\{([\d,]*)(?::([^}]*))?\})?")
_NAME = re.compile(r"%([\w.-]+)")
_HEAD = re.compile(r"^\s*(?:ROOT )?%?([\w.-]+) = (.*)$")
_COMPUTATION = re.compile(r"^(ENTRY )?%?([\w.-]+) .*\{$")
_OPCODE = re.compile(r"\s*([\w-]+)\(")
_CALLS = re.compile(r"(?:calls|to_apply|body|condition)=%([\w.-]+)")
_BODY = re.compile(r"body=%([\w.-]+)")
_OP_NAME = re.compile(r'op_name="([^"]*)"')
_TARGET = re.compile(r'custom_call_target="([^"]+)"')
_CYCLES = re.compile(r'"estimated_cycles":"(\d+)"')


class Shape(NamedTuple):
    """The shape of one array. `order` lists the axes, innermost first; the innermost axes are padded to multiples of
    `tile`.
    """

    dtype: str
    dims: tuple[int, ...]
    dynamic: bool = False
    order: tuple[int, ...] = ()
    tile: tuple[int, ...] = ()
    memory_space: int = 0

    @property
    def size(self) -> int:
        """Bytes of the elements, without padding."""
        return math.prod(self.dims) * _BITS.get(self.dtype, 0) // 8

    @property
    def padded_size(self) -> int:
        """Bytes in the chip's memory, with the innermost axes padded to whole tiles."""
        dims = [self.dims[axis] for axis in reversed(self.order)] if len(self.order) == len(self.dims) else self.dims
        padded = list(dims)
        for back, tile in enumerate(reversed(self.tile), start=1):
            if back <= len(padded):
                padded[-back] = -(-padded[-back] // tile) * tile
        return math.prod(padded) * _BITS.get(self.dtype, 0) // 8


class Instruction(NamedTuple):
    name: str
    opcode: str
    shapes: tuple[Shape, ...]  # one shape, or those of a tuple
    operands: tuple[str, ...]  # for a parameter, its number
    rest: str  # the text after the operands

    @property
    def op_name(self) -> str:
        """The TensorFlow operation that the instruction comes from."""
        match = _OP_NAME.search(self.rest)
        return match[1] if match else ""

    @property
    def target(self) -> str:
        """The target of a custom call."""
        match = _TARGET.search(self.rest)
        return match[1] if match else ""


class Module(NamedTuple):
    computations: dict[str, dict[str, Instruction]]
    entry: str

    def instructions(self) -> Iterator[Instruction]:
        for computation in self.computations.values():
            yield from computation.values()

    def called(self, instruction: Instruction) -> list[str]:
        return [name for name in _CALLS.findall(instruction.rest) if name in self.computations]


# ----------------------------------------------------------------------------------------------------------------------
# Parsing
# ----------------------------------------------------------------------------------------------------------------------


def parse(text: str) -> Module:
    computations: dict[str, dict[str, Instruction]] = {}
    entry, current = "", ""
    for line in text.splitlines():
        if not line.startswith(" "):
            match = _COMPUTATION.match(line)
            if match:
                current = match[2]
                computations[current] = {}
                entry = current if match[1] else entry
        elif current and (instruction := _instruction(line)):
            computations[current][instruction.name] = instruction
    return Module(computations, entry)


def _instruction(line: str) -> Instruction | None:
    head = _HEAD.match(line)
    if not head:
        return None
    types, rest = _split_type(head[2])
    opcode = _OPCODE.match(rest)
    if not opcode:
        return None
    inside, behind = _split_parentheses(rest[opcode.end() - 1 :])
    operands = (inside.strip("()"),) if opcode[1] == "parameter" else tuple(_NAME.findall(inside))
    shapes = tuple(_shape(*match) for match in _SHAPE.findall(types))
    return Instruction(head[1], opcode[1], shapes, operands, behind)


def _split_type(text: str) -> tuple[str, str]:
    """Splits off the type at the start of an instruction's line. A tuple's type contains spaces, an array's does
    not.
    """
    if text.startswith("("):
        return _split_parentheses(text)
    types, _, rest = text.partition(" ")
    return types, rest


def _split_parentheses(text: str) -> tuple[str, str]:
    """Splits the text after the parenthesis that closes the initial "("."""
    depth = 0
    for match in re.finditer(r"[()]", text):
        depth += 1 if match[0] == "(" else -1
        if depth == 0:
            return text[: match.end()], text[match.end() :]
    return text, ""


def _shape(dtype: str, dims: str, order: str, layout: str) -> Shape:
    tile = re.search(r"T\(([\d,]+)\)", layout)
    space = re.search(r"S\((\d+)\)", layout)
    return Shape(
        dtype,
        tuple(int(re.sub(r"\D", "", size) or 0) for size in dims.split(",") if size.strip()),
        "<=" in dims or "?" in dims,
        _numbers(order),
        _numbers(tile[1] if tile else ""),
        int(space[1]) if space else 0,
    )


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(number) for number in text.split(",") if number)


# ----------------------------------------------------------------------------------------------------------------------
# What a TPU cannot run, in TensorFlow's source program
# ----------------------------------------------------------------------------------------------------------------------


class Program(NamedTuple):
    """Counts of a source program. Dynamic shapes and foreign operations are {what: the TensorFlow operation it comes
    from}.
    """

    flops: int  # of the matrix products in one step (in one micro-batch) whose results are used
    dynamic: dict[str, str]
    foreign: dict[str, str]
    emulated: int  # operations in 64-bit integers
    operations: int
    all_reduces: int


def survey(module: Module) -> Program:
    """Counts operations in a source program. The body of the step loop occurs once, so one step is counted."""
    flops, count, emulated, all_reduces = 0, 0, 0, 0
    dynamic: dict[str, str] = {}
    foreign: dict[str, str] = {}
    for computation in module.computations.values():
        used = _used(computation)
        for found in computation.values():
            count += 1
            emulated += any(shape.dtype in WIDE_INTEGERS for shape in found.shapes)
            all_reduces += found.opcode.startswith("all-reduce")
            if any(shape.dynamic for shape in found.shapes):
                dynamic.setdefault(f"{found.opcode} {found.name}", found.op_name)
            for what in _foreign(found):
                foreign.setdefault(what, found.op_name)
            if found.opcode == "dot" and found.name in used:
                flops += _flops_of_dot(found, computation)
    return Program(flops, dynamic, foreign, emulated, count, all_reduces)


def _used(computation: dict[str, Instruction]) -> set[str]:
    """The instructions on which the last one, the computation's result, depends.

    TensorFlow also computes the gradients of frozen weights, and leaves the removal of unused results to XLA.
    """
    pending, used = list(computation)[-1:], set()
    while pending:
        name = pending.pop()
        if name not in used:
            used.add(name)
            pending += [operand for operand in computation[name].operands if operand in computation]
    return used


def _foreign(found: Instruction) -> list[str]:
    types = [f"{found.opcode} in {shape.dtype}" for shape in found.shapes if shape.dtype in FOREIGN_TYPES]
    return types + ([f"custom-call {found.target}"] if found.opcode == "custom-call" else [])


def _flops_of_dot(found: Instruction, computation: dict[str, Instruction]) -> int:
    """Twice the number of result elements times the number of products summed for each."""
    dims = re.search(r"lhs_contracting_dims=\{([\d,]*)\}", found.rest)
    left = computation[found.operands[0]].shapes[0].dims
    return 2 * math.prod(found.shapes[0].dims) * math.prod(left[axis] for axis in _numbers(dims[1] if dims else ""))


# ----------------------------------------------------------------------------------------------------------------------
# The program optimized by the TPU compiler
# ----------------------------------------------------------------------------------------------------------------------


class Step(NamedTuple):
    """Counts of one training step of an optimized program; places are TensorFlow operations."""

    all_reduces: int
    all_reduce_bytes: int
    bytes_moved: int  # to and from the chip's main memory
    percent_in_products: (
        int  # of all bytes that operations read and write, by matrix products and what is fused to them
    )
    transposes: int  # copies to another layout and transposes of their own, not within a fusion
    transpose_bytes: int
    pads: int
    float32_products: list[str]
    host_transfers: list[str]
    cycles: int  # by the compiler's own estimate, if it has one


def step_of(module: Module, *, inner_repeats: int = 1) -> Step:
    """Counts operations in the step loop, or in the whole program if it has no loop.

    `inner_repeats` is the iteration count of a loop within a step (over micro-batches).
    """
    total = dict.fromkeys(
        ("reductions", "reduced", "moved", "touched", "product", "copies", "copied", "pads", "cycles"), 0
    )
    for computation, found, times in _counted(module, _step_body(module), inner_repeats):
        touched = _bytes_touched(module, found, computation) * times
        total["moved"] += _bytes_moved(module, found, computation) * times
        total["touched"] += touched
        if any(inner.opcode in _PRODUCTS for inner in _with_fused(module, found)):
            total["product"] += touched
        if found.opcode in ("transpose", "copy"):
            total["copies"] += times
            total["copied"] += touched
        if found.opcode in ("all-reduce", "all-reduce-start"):
            total["reductions"] += times
            total["reduced"] += times * sum(shape.size for shape in found.shapes)
        match = _CYCLES.search(found.rest)
        total["cycles"] += int(match[1]) * times if match else 0
        total["pads"] += times * (found.opcode == "pad")
    return Step(
        total["reductions"],
        total["reduced"],
        total["moved"],
        round(100 * total["product"] / max(1, total["touched"])),
        total["copies"],
        total["copied"],
        total["pads"],
        _float32_products(module),
        sorted({found.op_name or found.opcode for found in module.instructions() if found.opcode in _HOST}),
        total["cycles"],
    )


def _step_body(module: Module) -> str:
    """The body of the entry's largest loop, or the entry itself."""
    bodies = [match[1] for x in module.computations[module.entry].values() if (match := _BODY.search(x.rest))]
    return max(bodies, key=lambda name: len(module.computations[name]), default=module.entry)


def _counted(module: Module, name: str, inner_repeats: int, times: int = 1) -> Iterator[tuple[dict, Instruction, int]]:
    """Each instruction that runs separately in a step, with its computation and how often it runs."""
    computation = module.computations[name]
    for found in computation.values():
        if found.opcode == "while":
            match = _BODY.search(found.rest)
            if match:
                yield from _counted(module, match[1], inner_repeats, times * inner_repeats)
        elif found.opcode in ("call", "conditional"):
            for called in module.called(found):
                yield from _counted(module, called, inner_repeats, times)
        elif found.opcode not in _FREE:
            yield computation, found, times


def _with_fused(module: Module, found: Instruction) -> Iterator[Instruction]:
    yield found
    if found.opcode == "fusion":
        for name in module.called(found):
            for inner in module.computations[name].values():
                yield from _with_fused(module, inner)


def _bytes_moved(module: Module, found: Instruction, computation: dict[str, Instruction]) -> int:
    """Bytes read and written in the chip's main memory; accesses to the core's own memory are not counted."""
    if found.opcode in _PREFETCHES:  # The result lists source and destination, which hold the same data.
        ends = [shape for shape in found.shapes if shape.dims]
        size = min((shape.padded_size for shape in ends), default=0)
        return size * sum(shape.memory_space in _MAIN_MEMORY for shape in ends)
    if found.opcode.endswith("-done"):
        return 0
    read = _arrays_read(module, found, computation)
    written = [(shape, shape.padded_size) for shape in found.shapes]
    return sum(size for shape, size in (*read, *written) if shape.memory_space in _MAIN_MEMORY)


def _bytes_touched(module: Module, found: Instruction, computation: dict[str, Instruction]) -> int:
    """Bytes read and written by an operation in either memory; prefetches are not counted."""
    if found.opcode.endswith(("-start", "-done")):
        return 0
    read = _arrays_read(module, found, computation)
    return sum(size for _, size in read) + sum(shape.padded_size for shape in found.shapes)


def _arrays_read(
    module: Module, found: Instruction, computation: dict[str, Instruction]
) -> Iterator[tuple[Shape, int]]:
    """Each operand array, with the number of bytes read from it."""
    for number, name in enumerate(found.operands):
        for shape in computation[name].shapes if name in computation else ():
            yield shape, min(shape.padded_size, _bytes_picked(module, found, number) or shape.padded_size)


def _bytes_picked(module: Module, found: Instruction, number: int) -> int:
    """The bytes read from an operand of which only rows or a slice are read; 0 if it is read as a whole."""
    if found.opcode in _PICKING:
        return sum(shape.padded_size for shape in found.shapes) if number == 0 else 0
    if found.opcode != "fusion":
        return 0
    fused = module.computations[module.called(found)[0]]
    inner = next((x.name for x in fused.values() if x.opcode == "parameter" and x.operands == (str(number),)), "")
    users = [x for x in fused.values() if inner in x.operands]
    if not users or not all(x.opcode in _PICKING and x.operands[0] == inner for x in users):
        return 0
    return sum(shape.padded_size for x in users for shape in x.shapes)


def _float32_products(module: Module) -> list[str]:
    """The places of matrix products with float32 factors, which take a TPU several passes."""
    places = set()
    for computation in module.computations.values():
        for found in computation.values():
            factors = [computation[name].shapes[0].dtype for name in found.operands[:2] if name in computation]
            if found.opcode in _PRODUCTS and "f32" in factors:
                places.add(found.op_name or found.name)
    return sorted(places)


def arguments(module: Module) -> list[Shape]:
    """The program's argument arrays in order, with their layouts on the chip."""
    parameters = [x for x in module.computations[module.entry].values() if x.opcode == "parameter"]
    return [shape for found in sorted(parameters, key=lambda x: int(x.operands[0])) for shape in found.shapes]


def largest_results(module: Module, count: int) -> list[tuple[str, Shape]]:
    """The largest arrays computed in a step, each with the TensorFlow operation that it comes from."""
    found: dict[str, Shape] = {}
    for _, instruction, _ in _counted(module, _step_body(module), 1):
        for shape in instruction.shapes:
            before = found.get(instruction.op_name)
            if before is None or shape.padded_size > before.padded_size:
                found[instruction.op_name] = shape
    return sorted(found.items(), key=lambda pair: -pair[1].padded_size)[:count]
