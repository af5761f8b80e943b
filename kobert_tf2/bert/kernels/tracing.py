"""What a graph is traced for: the code that traces it enters `for_cpu`, and the kernels are chosen by that."""

import contextlib
import threading
from collections.abc import Iterator

_current = threading.local()


@contextlib.contextmanager
def for_cpu(on: bool = True, *, final_weights: bool = False) -> Iterator[None]:
    """Within this context a model is traced to run in this process, on processors, and XLA does not compile it whole.

    With `final_weights` the graph may hold the weights as they are now. The context belongs to one thread. Outside of
    it nothing is known: the graph may be written to a file, and run elsewhere.
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
