"""The TPUs that a run can be planned for: their names, published specifications, and names in the TPU compiler.

This table needs no TPU, TPU library or TensorFlow.
"""

import math
import re
from typing import NamedTuple

from kobert_tf2.errors import InputError

# Common names, for messages and help; any slice size in `_SLICES` is accepted.
USUAL = ("v2-8", "v3-8", "v3-32", "v4-8", "v5e-1", "v5e-4", "v5e-8", "v5p-8", "v6e-8")
_ALIASES = {"v5litepod": "v5e", "v5lite": "v5e"}


class _Generation(NamedTuple):
    """`memory` (GiB), `peak` (TFLOP/s in bfloat16) and `bandwidth` (GB/s of memory) are per chip; `available` is the
    memory (GiB) per replica that the TPU compiler leaves to a program.
    """

    memory: float
    peak: float
    bandwidth: float
    available: float
    replicas: int  # per chip, as TensorFlow sees it
    counted: int  # what the number in a name counts per chip: cores, or the chip
    torus: int  # dimensions of the network between the chips


# Google's pages cloud.google.com/tpu/docs/{v3,v4,v5e,v5p,v6e} (read 2026-11) give memory, peak and bandwidth of a chip.
# There is no page for v2: its board of four chips was announced with 180 TFLOP/s and 64 GB, and Norrie et al. 2021,
# "The Design Process for Google's Training Chips", give 700 GB/s. A v2 or v3 chip has two cores, each a replica. v4 and
# v5p names count two cores per chip as well (v5p-8 is the slice 2x2x1, four chips), but the two form one replica. v5e
# and v6e names count chips. GB of memory are taken as GiB. The available memory is what libtpu 0.0.42.1 reports when it
# rejects a program that is too large ("exceeds available HBM (15.75G)").
_GENERATIONS = {
    "v2": _Generation(16, 45, 700, 7.48, replicas=2, counted=2, torus=2),
    "v3": _Generation(32, 123, 900, 15.48, replicas=2, counted=2, torus=2),
    "v4": _Generation(32, 275, 1228, 30.75, replicas=1, counted=2, torus=3),
    "v5e": _Generation(16, 197, 819, 15.75, replicas=1, counted=1, torus=2),
    "v5p": _Generation(95, 459, 2765, 95.74, replicas=1, counted=2, torus=3),
    "v6e": _Generation(32, 918, 1640, 31.25, replicas=1, counted=1, torus=2),
}
# {torus dimensions: {chips: layout}}.
_SLICES: dict[int, dict[int, tuple[int, ...]]] = {
    2: {1: (1, 1), 4: (2, 2), 8: (2, 4), 16: (4, 4), 32: (4, 8), 64: (8, 8), 128: (8, 16), 256: (16, 16)},
    3: {4: (2, 2, 1), 8: (2, 2, 2), 16: (2, 2, 4), 32: (2, 4, 4), 64: (4, 4, 4), 128: (4, 4, 8), 256: (4, 8, 8)},
}
_ONE_CHIP = (1, 1, 1)


class Topology(NamedTuple):
    """`cores` is the number of replicas that TensorFlow sees. The figures are per replica: memory and the part of it
    available to a program (GiB), peak (bfloat16 TFLOP/s) and memory bandwidth (GB/s).
    """

    name: str
    cores: int
    memory: float
    available: float
    peak: float
    bandwidth: float
    compiler_name: str  # the TPU compiler's name: "v3:2x2"
    compiler_options: dict


def find(name: str) -> Topology:
    """The topology with a name such as v3-8, v5e-8 or v5litepod-8. Raises `InputError` if it does not exist."""
    match = re.fullmatch(r"(v\w+)-(\d{1,5})", name.strip().lower())
    kind = _ALIASES.get(match[1], match[1]) if match else ""
    if match is None or kind not in _GENERATIONS:
        raise InputError(f"expected --tpu_topology among {', '.join(USUAL)}, but got {name!r}")
    generation = _GENERATIONS[kind]
    slices = _SLICES[generation.torus]
    chips, rest = divmod(int(match[2]), generation.counted)
    if rest or chips not in slices or (chips == 1 and generation.replicas > 1):
        sizes = ", ".join(f"{kind}-{n * generation.counted}" for n in slices if n > 1 or generation.replicas == 1)
        raise InputError(f"--tpu_topology={name}: no such slice of {kind}; expected one of {sizes}")
    return _topology(f"{kind}-{match[2]}", kind, slices[chips])


def _topology(name: str, kind: str, layout: tuple[int, ...]) -> Topology:
    generation, chips = _GENERATIONS[kind], math.prod(layout)
    options: dict = {}
    if chips == 1:  # By default the compiler expects hosts with four chips.
        layout, options = _ONE_CHIP, {"chips_per_host_bounds": list(_ONE_CHIP)}
    if kind == "v4":  # The two cores of a chip form one device; the compiler's default is two devices.
        options = {"chip_config_name": "megacore"}
    replicas = generation.replicas
    return Topology(
        name,
        chips * replicas,
        generation.memory / replicas,
        generation.available,
        generation.peak / replicas,
        generation.bandwidth / replicas,
        f"{kind}:{'x'.join(map(str, layout))}",
        options,
    )
