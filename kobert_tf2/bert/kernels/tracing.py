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


@contextlib.contextmanager
def recomputing(on: bool = True) -> Iterator[None]:
    """Within this context a training step keeps the inputs of each encoder layer, and computes the rest of the layer
    again when its gradient needs it (Chen et al. 2016, "Training deep nets with sublinear memory cost").

    The gradient must be taken within the context too, under the same `dropout_seed`. Thread-local.
    """
    before = is_recomputing()
    _current.recomputes = on
    try:
        yield
    finally:
        _current.recomputes = before


def is_recomputing() -> bool:
    return getattr(_current, "recomputes", False)


def is_for_cpu() -> bool:
    return getattr(_current, "on", False)


def weights_are_final() -> bool:
    return getattr(_current, "final_weights", False)
