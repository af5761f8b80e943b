"""Declares what a graph is traced for: the code that traces it enters `for_cpu`, and kernels are chosen accordingly."""

import contextlib
import threading
from collections.abc import Iterator

_current = threading.local()


@contextlib.contextmanager
def for_cpu(on: bool = True, *, final_weights: bool = False) -> Iterator[None]:
    """Within this context, graphs are traced to run in this process on CPUs, without XLA compiling them as a whole.

    With `final_weights` the graph may embed the current weights as constants. The context is thread-local. Outside of
    it nothing is assumed: the graph may be written to a file and run elsewhere.
    """
    before = getattr(_current, "on", False), getattr(_current, "final_weights", False)
    _current.on, _current.final_weights = on, on and final_weights
    try:
        yield
    finally:
        _current.on, _current.final_weights = before


def is_for_cpu() -> bool:
    return getattr(_current, "on", False)


def weights_are_final() -> bool:
    return getattr(_current, "final_weights", False)
