"""One function over many blocks in several processes, the results in the blocks' order.

Processes, because MeCab holds Python's lock; started afresh ("spawn"), because a fork of a process in which
TensorFlow runs hangs. A started process does not import the caller's main program (it would load TensorFlow
there, or run an unguarded script again): the function must live in an importable module.
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

# Blocks that wait or run for each process: enough to keep it busy, few enough to bound the memory.
_WINDOW = 3

_function: Callable | None = None

Result = TypeVar("Result")


class Workers:
    """`num_workers` processes that hold `function`; a context manager.

    The function goes to them through a file: through the pipe by which a process is started, one that holds a
    vocabulary would keep this one waiting until that one is up, and only then would the next one be started.
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
        """`function(block)` of every block, in order. Blocks are drawn only as fast as they are worked on."""
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
        """`function(block)`, as soon as a process is free; `BrokenProcessPool` where its process was ended."""
        with _starting_a_process():
            return self._executor.submit(_call, block)

    def close(self) -> None:
        self._executor.shutdown(cancel_futures=True)
        with contextlib.suppress(FileNotFoundError):
            os.remove(self._pickled)

    def kill(self) -> None:
        """`close` that waits for no block: a process that works on one is killed."""
        for process in list((self._executor._processes or {}).values()):
            process.kill()
        self.close()

    def __enter__(self) -> "Workers":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None and not issubclass(kind, Exception):
            _end(self._executor)
        self.close()


def ordered_map(function: Callable, blocks: Iterable, *, num_workers: int = 1) -> Iterator:
    """`function(block)` of every block, in order; with one worker in this process."""
    if num_workers <= 1:
        yield from map(function, blocks)
        return
    with Workers(function, num_workers=num_workers) as workers:
        yield from workers.map(blocks)


def in_subprocess(function: Callable[..., Result], *args: Any, **kwargs: Any) -> Result:
    """`function(...)` in a process of its own, whose memory is freed when it returns; what it raises is raised here.

    For a library of half a gigabyte, or for two that cannot share a process.
    """
    executor = concurrent.futures.ProcessPoolExecutor(
        1, mp_context=multiprocessing.get_context("spawn"), initializer=_end_with, initargs=(os.getpid(),)
    )
    with executor:
        with _starting_a_process():
            future = executor.submit(function, *args, **kwargs)
        try:
            return future.result()
        except KeyboardInterrupt:
            _end(executor)
            raise
        except concurrent.futures.process.BrokenProcessPool:
            raise InputError(
                f"the process of {function.__name__.strip('_')} was ended from outside; is there enough memory?"
            ) from None


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
    """SIGTERM ends what a process does as an exception would, so that nothing half-written stays.

    One whose parent was killed would wait for work for ever: each second it looks if the parent lives.
    """
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    threading.Thread(target=_watch, args=(parent,), daemon=True).start()


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)


def _call(block: Any) -> Any:
    assert _function is not None
    return _function(block)


def _end(executor: concurrent.futures.ProcessPoolExecutor) -> None:
    """Tells the processes to end now: an executor by itself waits until they have done what they are at."""
    for process in list((executor._processes or {}).values()):
        process.terminate()


@contextlib.contextmanager
def _starting_a_process() -> Iterator[None]:
    """Around what may start a process.

    It must not run the caller's main program: multiprocessing looks in `sys.modules` for what it should import. And a
    terminal's Ctrl-C goes to all processes: those that are started inherit that it is blocked, and this one alone
    decides.
    """
    main = sys.modules["__main__"]
    sys.modules["__main__"] = types.ModuleType("__main__")
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        sys.modules["__main__"] = main
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
