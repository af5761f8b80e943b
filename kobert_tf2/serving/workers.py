"""Serves with several processes behind one listening socket (`tools/serve.py --workers`), and supervises them.

Every worker loads the model, whose weights are in memory that all share (`bert/shared_memory.py`; an export's are not),
and answers on its own (`worker.py`), so a worker that dies takes only its own requests with it; it is started again.
The supervisor itself does not load TensorFlow. Counts for /metrics and /healthz are those of all workers:
prometheus_client keeps them in files that the workers map, in a temporary folder.

Limits (`limits.py`) hold for each worker on its own.
"""

import contextlib
import dataclasses
import json
import os
import pickle
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from typing import Any

from prometheus_client import multiprocess

from kobert_tf2.errors import InputError
from kobert_tf2.serving.limits import Limits
from kobert_tf2.serving.server import BACKLOG, url_of

_LOOK_SECONDS = 0.1
# How much longer than its draining time a worker may take to end.
_MORE_SECONDS = 3.0
# A worker that ends before it is ready is started again after 1, 2, 4 ... seconds, up to this.
_LONGEST_PAUSE = 30.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class WorkerSettings:
    """What a worker serves, and how.

    `reading` and `encoder` are arguments of `services.load_all`, the others those of `http` and `server`.
    """

    model_dir: str
    precision: str = "float32"
    reading: dict[str, Any] = dataclasses.field(default_factory=dict)
    encoder: dict[str, Any] = dataclasses.field(default_factory=dict)
    limits: Limits = Limits()  # noqa: RUF009 - immutable
    keys: tuple[str, ...] = ()
    allowed_hosts: tuple[str, ...] = ()
    access_log: bool = False
    drain_seconds: float = 30.0


def serve(settings: WorkerSettings, listener: socket.socket, num_workers: int) -> None:
    """Serves until SIGTERM or SIGINT; then the workers answer what they have, and the signal takes its usual effect.

    Raises:
        InputError: a worker cannot load the model.
    """
    with tempfile.TemporaryDirectory(prefix="kobert_tf2-metrics-") as folder:
        supervisor = _Supervisor(settings, listener, num_workers, folder)
        with _captured_signals(supervisor.end) as captured:
            try:
                supervisor.start()
                if not captured:
                    url = url_of(listener)
                    print(
                        f"{settings.model_dir} is loaded and served on {url} by {num_workers} workers", file=sys.stderr
                    )
                supervisor.watch()
            finally:
                supervisor.drain()
    for number in captured[:1]:
        signal.raise_signal(number)


@contextlib.contextmanager
def _captured_signals(end: threading.Event) -> Iterator[list[int]]:
    """Collects SIGTERM and SIGINT, and sets the event; a second one takes its usual effect at once."""
    captured: list[int] = []

    def handle(number: int, frame: object) -> None:
        captured.append(number)
        end.set()
        for one, handler in before.items():
            signal.signal(one, handler)

    before = {number: signal.signal(number, handle) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield captured
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class _Worker:
    """A worker process; `is_ready` once it has loaded its model."""

    def __init__(
        self,
        number: int,
        settings: WorkerSettings,
        listener: socket.socket,
        weights: int,
        environment: dict[str, str],
    ):
        self.number, self.is_ready = number, False
        self._reason: str | None = None
        self._report, report = os.pipe()
        passed = (listener.fileno(), report, weights)
        command = [sys.executable, "-P", "-m", "kobert_tf2.serving.worker", *map(str, passed)]
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            pass_fds=passed,
            env=environment,
            start_new_session=True,  # A terminal's Ctrl-C reaches the supervisor alone.
        )
        os.close(report)
        assert self.process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.write(pickle.dumps(settings))
            self.process.stdin.flush()

    def look(self) -> str | None:
        """Reads its report, if it has come; returns the reason why it cannot serve."""
        if self.is_ready or self._reason or not select.select([self._report], [], [], 0)[0]:
            return self._reason
        with open(os.dup(self._report), encoding="utf-8") as file:
            report = json.loads(file.read() or "{}")
        self.is_ready = report.get("ready", False)
        self._reason = report.get("error")
        return self._reason

    def close(self) -> None:
        os.close(self._report)
        assert self.process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()


class _Supervisor:
    def __init__(self, settings: WorkerSettings, listener: socket.socket, num_workers: int, folder: str):
        self._settings, self._listener, self._folder = settings, listener, folder
        self._weights = os.memfd_create("kobert_tf2-weights")  # as `shared_memory.sharing` takes it
        self._environment = {**os.environ, "PROMETHEUS_MULTIPROC_DIR": folder}
        threads = max(1, len(os.sched_getaffinity(0)) // num_workers)
        self._environment.setdefault("TF_NUM_INTRAOP_THREADS", str(threads))
        self._numbers = range(1, num_workers + 1)
        self._workers: dict[int, _Worker] = {}
        self._failures, self._next_start = dict.fromkeys(self._numbers, 0), dict.fromkeys(self._numbers, 0.0)
        self.end = threading.Event()

    def start(self) -> None:
        """Starts the first worker, which writes the weights to the shared memory, then the others; waits for all."""
        self._listener.listen(BACKLOG)  # Clients wait from now on; they are answered as soon as a worker is ready.
        for numbers in (self._numbers[:1], self._numbers[1:]):
            for number in numbers if not self.end.is_set() else ():
                self._start(number)
            self._wait_until_ready()

    def _wait_until_ready(self) -> None:
        while not all(worker.is_ready for worker in self._workers.values()) and not self.end.wait(_LOOK_SECONDS):
            for worker in self._workers.values():
                reason = worker.look()
                if reason:
                    raise InputError(reason)
                if worker.process.poll() is not None and not worker.is_ready:
                    raise InputError(f"worker {worker.number} {_ending(worker)} while it loaded the model")

    def watch(self) -> None:
        """Starts workers that have ended again, until `end` is set."""
        while not self.end.wait(_LOOK_SECONDS):
            for number in self._numbers:
                worker = self._workers.get(number)
                if worker is None:
                    if time.monotonic() >= self._next_start[number]:
                        self._start(number)
                    continue
                reason = worker.look()
                if worker.is_ready:
                    self._failures[number] = 0
                if worker.process.poll() is not None:
                    self._ended(worker, reason)

    def _start(self, number: int) -> None:
        self._workers[number] = _Worker(number, self._settings, self._listener, self._weights, self._environment)

    def _ended(self, worker: _Worker, reason: str | None) -> None:
        pause = 0.0 if worker.is_ready else min(2.0 ** self._failures[worker.number], _LONGEST_PAUSE)
        self._failures[worker.number] += not worker.is_ready
        self._next_start[worker.number] = time.monotonic() + pause
        why = f"cannot serve ({reason})" if reason else _ending(worker)
        print(
            f"worker {worker.number} (process {worker.process.pid}) {why}: started again", file=sys.stderr, flush=True
        )
        multiprocess.mark_process_dead(worker.process.pid, self._folder)
        worker.close()
        del self._workers[worker.number]

    def drain(self) -> None:
        """Ends the workers: they answer what they have, within the draining time."""
        latest = time.monotonic() + self._settings.drain_seconds + _MORE_SECONDS
        for worker in self._workers.values():
            worker.process.terminate()
        try:
            for worker in self._workers.values():
                with contextlib.suppress(subprocess.TimeoutExpired):
                    worker.process.wait(max(0.0, latest - time.monotonic()))
        finally:
            for worker in self._workers.values():
                worker.process.kill()
                worker.process.wait()
                worker.close()
            os.close(self._weights)


def _ending(worker: _Worker) -> str:
    status = worker.process.returncode
    return f"was ended by signal {-status}" if status < 0 else f"ended with status {status}"
