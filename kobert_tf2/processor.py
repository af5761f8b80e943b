"""The capabilities of this machine's processor, read from the kernel: whether it computes bfloat16 in hardware."""

import functools
import platform
import sys

_CPU_INFO = "/proc/cpuinfo"
# Linux's names of instruction sets that multiply bfloat16, on x86-64 ("flags") and on ARM ("Features").
_BFLOAT16 = {"avx512_bf16", "amx_bf16", "bf16"}


class Processor:
    """The name and instruction sets of a processor; `features` is None on a system that does not list them."""

    def __init__(self, name: str, features: frozenset[str] | None) -> None:
        self.name, self.features = name, features

    @property
    def has_bfloat16(self) -> bool | None:
        """Whether the processor multiplies bfloat16 in hardware; None if unknown."""
        return None if self.features is None else bool(self.features & _BFLOAT16)

    def instruction_sets(self) -> list[str]:
        """The instruction sets that determine the speed of BERT, in the kernel's spelling."""
        known = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16", "amx_int8", "asimd", "sve", "bf16")
        return [name for name in known if name in (self.features or ())]


@functools.cache
def this_processor() -> Processor:
    """The processor of this machine."""
    try:
        with open(_CPU_INFO, encoding="utf-8", errors="replace") as file:
            return parse_cpu_info(file.read())
    except OSError:  # Not Linux.
        return Processor(platform.processor() or platform.machine(), None)


def parse_cpu_info(content: str) -> Processor:
    """Parses the first processor in /proc/cpuinfo."""
    fields: dict[str, str] = {}
    for line in content.splitlines():
        key, colon, value = line.partition(":")
        if colon:
            fields.setdefault(key.strip(), value.strip())
    listed = fields.get("flags", fields.get("Features"))
    features = None if listed is None else frozenset(listed.split())
    return Processor(fields.get("model name") or platform.machine(), features)


def warn_of_emulated_bfloat16(*, flag: str = "--precision") -> None:
    """Warns on stderr, once per process, that bfloat16 is emulated on this processor, and names the flag to use."""
    if this_processor().has_bfloat16 is False:
        _warn_once(
            f"{flag}=bfloat16: {this_processor().name} has no instructions for bfloat16 (avx512_bf16 or amx_bf16), so "
            f"it is emulated and slower than float32; {flag}=float32 is the faster choice here"
        )


@functools.cache
def _warn_once(text: str) -> None:
    print(text, file=sys.stderr)
