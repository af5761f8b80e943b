"""Returns free memory to the operating system. Under load the C library keeps freed memory for reuse."""

import asyncio
import ctypes
import time
from collections.abc import Callable

_EVERY_SECONDS = 5.0


def trim() -> None:
    """Returns free memory to the system (with glibc only; does nothing elsewhere)."""
    malloc_trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if malloc_trim is not None:
        malloc_trim(0)


async def trim_when_idle(work_done: Callable[[], int], in_work: Callable[[], int]) -> None:
    """Runs forever: trims once whenever work has been done and none is in progress."""
    done = work_done()
    while True:
        await asyncio.sleep(_EVERY_SECONDS)
        if not in_work() and work_done() != done:
            done = work_done()
            began = time.perf_counter()
            await asyncio.to_thread(trim)
            # A trim took 20 ms after an attack's load. If it takes longer, it is done less often.
            await asyncio.sleep(100 * (time.perf_counter() - began))
