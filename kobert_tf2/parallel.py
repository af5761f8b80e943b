"""Maps a function over many blocks in several processes, with the results in order.

It uses processes because MeCab holds the GIL, and starts them with "spawn" because a fork of a process that runs
TensorFlow hangs. A worker process does not import the caller's main program (which would load TensorFlow there, or run
an unguarded script again), so the function must be in an importable module.
"""

import collections
import concurrent.futures
import contextlib
import itertools
import multiprocessing
import os
import pickle
import signal
import sys
import tempfile
import threading
import time
import types
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

from kobert_tf2.errors import InputError

# Queued or running blocks per process: enough to keep it busy, few enough to bound memory.
_WINDOW = 3

_function: Callable | None = None

Result = TypeVar("Result")


class Workers:
    """A pool of `num_workers` processes that have `function` loaded; a context manager.

    The function is passed through a file. Sent through the pipe that starts a process, a function with a large
    vocabulary would block the parent until that process is up, so that the processes would start one after another.
    """

    def __init__(self, function: Callable, *, num_workers: int):
        self.num_workers = num_workers
        with tempfile.NamedTemporaryFile(prefix="kobert_tf2-", suffix=".pickle", delete=False) as file:
            pickle.dump(function, file)
        self._pickled = file.name
        self._executor = concurrent.futures.ProcessPoolExecutor(
            num_workers,
            mp_context=multiprocessing.get_context("spawn"),
            initializer=_hold,
            initargs=(file.name, os.getpid()),
        )

    def map(self, blocks: Iterable) -> Iterator:
        """Yields `function(block)` for every block, in order. Blocks are read only as fast as they are processed."""
        blocks = iter(blocks)
        waiting: collections.deque[concurrent.futures.Future[Any]] = collections.deque()
        try:
            for block in itertools.islice(blocks, _WINDOW * self.num_workers):
                waiting.append(self.submit(block))
            while waiting:
                result = waiting.popleft().result()
                for block in itertools.islice(blocks, 1):
                    waiting.append(self.submit(block))
                yield result
        finally:
            for future in waiting:
                future.cancel()

    def submit(self, block: Any) -> concurrent.futures.Future[Any]:
        """Submits `function(block)` and returns its future, which raises `BrokenProcessPool` if the process was
        killed.
        """
        with _starting_a_process():
            return self._executor.submit(_call, block)

    def close(self) -> None:
        self._executor.shutdown(cancel_futures=True)
        with contextlib.suppress(FileNotFoundError):
            os.remove(self._pickled)

    def kill(self) -> None:
        """Like `close`, but without waiting: processes that are working on a block are killed."""
        for process in list((self._executor._processes or {}).values()):
            process.kill()
        self.close()

    def __enter__(self) -> "Workers":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        # Not after KeyboardInterrupt alone: one that comes while `threading.Condition` takes its lock again ends as
        # RuntimeError.
        if kind is not None:
            _end(self._executor)
        self.close()


def ordered_map(function: Callable, blocks: Iterable, *, num_workers: int = 1) -> Iterator:
    """Yields `function(block)` for every block, in order; with one worker, in this process."""
    if num_workers <= 1:
        yield from map(function, blocks)
        return
    with Workers(function, num_workers=num_workers) as workers:
        yield from workers.map(blocks)


def in_subprocess(function: Callable[..., Result], *args: Any, **kwargs: Any) -> Result:
    """Runs `function(...)` in a separate process, whose memory is freed at the end; its exceptions are re-raised here.

    For a library that takes half a gigabyte, or for two that cannot share a process.
    """
    executor = concurrent.futures.ProcessPoolExecutor(
        1, mp_context=multiprocessing.get_context("spawn"), initializer=_end_with, initargs=(os.getpid(),)
    )
    with executor:
        with _starting_a_process():
            future = executor.submit(function, *args, **kwargs)
        try:
            return future.result()
        except concurrent.futures.process.BrokenProcessPool:
            raise InputError(
                f"the process of {function.__name__.strip('_')} was ended from outside; is there enough memory?"
            ) from None
        except BaseException:
            _end(executor)
            raise


def blocks_of(items: Iterable, size: int) -> Iterator[list]:
    """Lists of up to `size` items."""
    items = iter(items)
    while block := list(itertools.islice(items, size)):
        yield block


def _hold(path: str, parent: int) -> None:
    global _function
    _end_with(parent)
    with open(path, "rb") as file:
        _function = pickle.load(file)


def _end_with(parent: int) -> None:
    """Worker initialisation: SIGTERM raises an exception, so that no partial files remain.

    A worker whose parent was killed would wait for work forever, so it checks every second whether the parent is alive.
    """
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    threading.Thread(target=_watch, args=(parent,), daemon=True).start()


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)


def _call(block: Any) -> Any:
    assert _function is not None
    try:
        return _function(block)
    except SystemExit as end:  # SIGTERM: the executor would return it as this block's result and begin the next block
        os._exit(end.code if isinstance(end.code, int) else 1)


def _end(executor: concurrent.futures.ProcessPoolExecutor) -> None:
    """Terminates the processes now; an executor would wait for their current work."""
    for process in list((executor._processes or {}).values()):
        process.terminate()


@contextlib.contextmanager
def _starting_a_process() -> Iterator[None]:
    """Context manager for code that may start a process.

    The new process must not run the caller's main program, which multiprocessing looks up in `sys.modules`. A
    terminal's Ctrl-C goes to all processes: the new ones inherit a blocked SIGINT, so that only this process handles
    it.
    """
    main = sys.modules["__main__"]
    sys.modules["__main__"] = types.ModuleType("__main__")
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        sys.modules["__main__"] = main
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
