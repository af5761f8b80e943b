"""Memory given back to the system. Under load the C library keeps what was freed, for the next time."""

import asyncio
import ctypes
import time
from collections.abc import Callable

_EVERY_SECONDS = 5.0


def trim() -> None:
    """Gives back what is free (glibc alone does; elsewhere nothing happens)."""
    malloc_trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if malloc_trim is not None:
        malloc_trim(0)


async def trim_when_idle(work_done: Callable[[], int], in_work: Callable[[], int]) -> None:
    """For ever: trims once each time that work has been done and none is left."""
    done = work_done()
    while True:
        await asyncio.sleep(_EVERY_SECONDS)
        if not in_work() and work_done() != done:
            done = work_done()
            began = time.perf_counter()
            await asyncio.to_thread(trim)
            # It took 20 ms after the load of an attack; where it takes long, it is not done as often.
            await asyncio.sleep(100 * (time.perf_counter() - began))
