"""What this machine's processor can do, read from the kernel: whether bfloat16 is computed by hardware."""

import functools
import platform
import sys

_CPU_INFO = "/proc/cpuinfo"
# How Linux names an instruction set that multiplies bfloat16, on x86-64 ("flags") and on ARM ("Features").
_BFLOAT16 = {"avx512_bf16", "amx_bf16", "bf16"}


class Processor:
    """Name and instruction sets of a processor; `features` is None on a system that does not list them."""

    def __init__(self, name: str, features: frozenset[str] | None) -> None:
        self.name, self.features = name, features

    @property
    def has_bfloat16(self) -> bool | None:
        """Whether it multiplies bfloat16 in hardware; None if unknown."""
        return None if self.features is None else bool(self.features & _BFLOAT16)

    def instruction_sets(self) -> list[str]:
        """The ones that decide the speed of BERT, in the kernel's spelling."""
        known = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16", "amx_int8", "asimd", "sve", "bf16")
        return [name for name in known if name in (self.features or ())]


@functools.cache
def this_processor() -> Processor:
    """The processor that this process runs on."""
    try:
        with open(_CPU_INFO, encoding="utf-8", errors="replace") as file:
            return parse_cpu_info(file.read())
    except OSError:  # Not Linux.
        return Processor(platform.processor() or platform.machine(), None)


def parse_cpu_info(content: str) -> Processor:
    """The first processor of a /proc/cpuinfo."""
    fields: dict[str, str] = {}
    for line in content.splitlines():
        key, colon, value = line.partition(":")
        if colon:
            fields.setdefault(key.strip(), value.strip())
    listed = fields.get("flags", fields.get("Features"))
    features = None if listed is None else frozenset(listed.split())
    return Processor(fields.get("model name") or platform.machine(), features)


def warn_of_emulated_bfloat16(*, flag: str = "--precision") -> None:
    """Says on standard error, once per process, that bfloat16 is emulated on this processor, and which flag to take."""
    if this_processor().has_bfloat16 is False:
        _warn_once(
            f"{flag}=bfloat16: {this_processor().name} has no instructions for bfloat16 (avx512_bf16 or amx_bf16), so "
            f"it is emulated and slower than float32; {flag}=float32 is the faster choice here"
        )


@functools.cache
def _warn_once(text: str) -> None:
    print(text, file=sys.stderr)
