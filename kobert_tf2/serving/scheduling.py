"""Schedules requests by window, a few windows at a time, so that a short request never waits for a long one to finish.

A request goes through three steps: its text is converted to windows, the model computes these, and the outputs are
converted to an answer. Short texts are tokenized in a thread, long ones in a separate process, because the tokenizer
holds the GIL. The model runs in turns. Each turn takes a few windows of the requests with the fewest windows left. A
quarter of the time goes to the request that has waited longest, so that long requests finish too. The number of windows
in a turn depends on the speed of the last turns.

When a client disconnects, its request is cancelled and its remaining windows are not computed.
"""

import asyncio
import collections
import contextlib
import dataclasses
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any, NamedTuple, Protocol

import numpy as np

from kobert_tf2.parallel import Workers
from kobert_tf2.serving.limits import Limits
from kobert_tf2.tokenization.batches import prediction_batches

# Windows are padded to the next multiple of 16, to limit the number of shapes.
WIDTHS = tuple(range(16, 513, 16))
# The target duration of a turn: the longest time a short request waits before its computation starts.
TURN_SECONDS = 0.2
# Tokens in a turn: the maximum, and the number in the first turn, before the model's speed is known.
_MOST_TOKENS, _FIRST_TOKENS = 8192, 512
# Tokens in one call of the model within a turn.
_TOKENS_OF_A_CALL = 4096
# One in `_OTHERS` + 1 of all tokens goes to the oldest request. A new request is preferred until the oldest is owed
# `_PATIENCE` windows.
_OTHERS, _PATIENCE = 3, 4


class TooManyWaitingError(Exception):
    """The maximum number of waiting requests is exceeded."""


class DrainedError(Exception):
    """The service is shutting down before this request could be answered."""


class Prepared(NamedTuple):
    """The windows of a request: int32 [windows, sequence] arrays by the model's input names, the number of tokens in
    each window, and any other data that `finish` needs.
    """

    features: dict[str, np.ndarray]
    lengths: np.ndarray
    source: Any = None


Row = dict[str, np.ndarray]


class Service(Protocol):
    """The steps of a request for a model. `prepare` is picklable and does not need TensorFlow."""

    prepare: Callable[[Any], Prepared]

    def forward(self, features: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Computes the outputs, with windows as the first dimension, for int32 [windows, width] features."""

    def finish(self, request: Any, prepared: Prepared, rows: list[Row]) -> dict:
        """Makes the answer from the outputs of each window. A token dimension is as wide as the trimmed window."""


@dataclasses.dataclass(eq=False)
class _Job:
    """A request with windows left to compute."""

    service: Service
    prepared: Prepared
    finished: asyncio.Future
    order: int
    next: int = 0
    rows: list[Row] = dataclasses.field(default_factory=list)

    @property
    def left(self) -> int:
        return len(self.prepared.lengths) - self.next

    @property
    def width(self) -> int:
        """The number of tokens in the next window, including padding."""
        return -(-int(self.prepared.lengths[self.next]) // 16) * 16


class _Place(NamedTuple):
    job: _Job
    row: int


class Scheduler:
    """Runs requests through one or several `Service`s, which take turns. Call `start` and `close` in the event loop."""

    def __init__(self, service: Service, limits: Limits = Limits(), others: Sequence[Service] = ()):  # noqa: B008
        self._services, self._limits = (service, *others), limits
        self._short_texts, self._long_answers, self._model = (
            ThreadPoolExecutor(1, thread_name_prefix=name) for name in ("short-texts", "long-answers", "model")
        )
        self._long_texts = _LongTexts(_PrepareOne(tuple(one.prepare for one in self._services)))
        self._jobs: list[_Job] = []
        self._wake = asyncio.Event()
        self._turns = _TurnSize()
        self._arrived, self._owed = 0, 0.0
        self._running: set[asyncio.Task] = set()
        self._loop_task: asyncio.Task | None = None
        self._drained = False
        self.turns = self.answered = self.windows = 0
        # Called whenever `waiting`, `turns`, `answered` or `windows` has changed.
        self.changed: Callable[[], None] = lambda: None

    def start(self) -> None:
        self._long = asyncio.Semaphore(self._limits.long_at_once)
        self._loop_task = asyncio.create_task(self._take_turns())

    async def close(self) -> None:
        """Drops the requests still in progress, and shuts down."""
        self.drop_all()
        if self._loop_task is not None:
            self._loop_task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._loop_task
        self._long_texts.close()
        for thread in (self._short_texts, self._long_answers, self._model):
            thread.shutdown(wait=False, cancel_futures=True)

    def drop_all(self) -> None:
        """Fails every unanswered request, and every later one, with `DrainedError`."""
        self._drained = True
        for task in self._running:
            task.cancel()

    @property
    def waiting(self) -> int:
        """The number of requests in progress."""
        return len(self._running)

    async def run(self, request: Any, service: Service | None = None) -> dict:
        """Returns a service's answer, by default the first one's, to a request that has a `size()` in characters.

        Raises: `TooManyWaitingError`, `DrainedError`, and any exception from the service.
        """
        if self._drained:
            raise DrainedError
        if len(self._running) >= self._limits.waiting:
            raise TooManyWaitingError
        task = asyncio.ensure_future(self._run(request, service or self._services[0]))
        self._running.add(task)
        self.changed()
        try:
            answer = await task
        except asyncio.CancelledError:
            if self._drained and task.cancelled():
                raise DrainedError from None
            task.cancel()
            raise
        finally:
            self._running.discard(task)
            self.changed()
        self.answered += 1
        self.changed()
        return answer

    async def _run(self, request: Any, service: Service) -> dict:
        if request.size() <= self._limits.short_characters:
            prepared = await _in_thread(self._short_texts, service.prepare, request)
            rows = await self._compute(prepared, service)
            return await _in_thread(self._short_texts, service.finish, request, prepared, rows)
        async with self._long:
            prepared = await self._long_texts.prepare((self._services.index(service), request))
            rows = await self._compute(prepared, service)
            return await _in_thread(self._long_answers, service.finish, request, prepared, rows)

    async def _compute(self, prepared: Prepared, service: Service) -> list[Row]:
        self._arrived += 1
        job = _Job(service, prepared, asyncio.get_running_loop().create_future(), self._arrived)
        if not job.left:
            return []
        self._jobs.append(job)
        self._wake.set()
        try:
            await job.finished
        finally:
            if job in self._jobs:
                self._jobs.remove(job)
        return job.rows

    # --- Turns of the model ---

    async def _take_turns(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            if not self._jobs:
                self._wake.clear()
                await self._wake.wait()
            turn = self._choose()
            try:
                outputs, tokens, seconds = await loop.run_in_executor(self._model, self._forward, turn)
            except Exception as error:  # reported to each request of the turn; the service continues
                self._fail({place.job for place in turn}, error)
                continue
            self._turns.add(tokens, seconds)
            self.turns += 1
            self.windows += len(turn)
            self.changed()
            self._give(turn, outputs)

    def _choose(self) -> list[_Place]:
        """Chooses the windows of the next turn, all of one service: at least one, and as many as fit its duration."""
        places: list[_Place] = []
        tokens = 0
        waiting = list(self._jobs)
        while waiting:
            job = self._next(waiting)
            tokens += job.width
            if places and tokens > self._turns.tokens:
                break
            self._count(job, self._jobs)
            places.append(_Place(job, job.next))
            if len(places) == 1:
                waiting = [one for one in waiting if one.service is job.service]
            job.next += 1
            if not job.left:
                waiting.remove(job)
                self._jobs.remove(job)
        return places

    def _next(self, waiting: list[_Job]) -> _Job:
        """The request with the fewest windows left, or the oldest, which earns a token per `_OTHERS` tokens of others.

        A request with no windows computed yet has priority over the oldest for a while, so that a short request waits
        only for the running turn.
        """
        fewest, oldest = min(waiting, key=_by_windows), min(waiting, key=_by_age)
        patience = _PATIENCE if fewest.next == 0 else 1
        return oldest if self._owed >= patience * oldest.width else fewest

    def _count(self, job: _Job, waiting: list[_Job]) -> None:
        """Updates the tokens owed to the oldest request."""
        oldest = min(waiting, key=_by_age)
        if job is not oldest:
            self._owed += job.width / _OTHERS
        elif len(waiting) > 1:
            self._owed = max(self._owed - job.width, 0.0)

    def _forward(self, turn: list[_Place]) -> tuple[list[Row], int, float]:
        """Runs in the model's thread. Returns the outputs of each place, the number of tokens computed, and the seconds
        it took.
        """
        began = time.perf_counter()
        names = turn[0].job.prepared.features
        features = {name: np.stack([p.job.prepared.features[name][p.row] for p in turn]) for name in names}
        lengths = np.array([place.job.prepared.lengths[place.row] for place in turn])
        rows: list[Row] = [{} for _ in turn]
        longest = features["input_ids"].shape[1]
        widths = [*(width for width in WIDTHS if width < longest), longest]
        batches = prediction_batches(lengths, widths, _rows_of_a_call, powers_of_two=True)
        for batch in batches:
            inputs = {name: _cut(array[batch.rows], batch.width, longest) for name, array in features.items()}
            outputs = turn[0].job.service.forward(inputs)
            for place, number in enumerate(batch.rows):
                rows[number] = {name: output[place] for name, output in outputs.items()}
        tokens = sum(len(batch.rows) * batch.width for batch in batches)
        return rows, tokens, time.perf_counter() - began

    def _give(self, turn: list[_Place], outputs: list[Row]) -> None:
        for (job, _), row in zip(turn, outputs, strict=True):
            job.rows.append(row)
            if len(job.rows) == len(job.prepared.lengths) and not job.finished.done():
                job.finished.set_result(None)

    def _fail(self, jobs: set[_Job], error: Exception) -> None:
        for job in jobs:
            if job in self._jobs:
                self._jobs.remove(job)
            if not job.finished.done():
                job.finished.set_exception(error)


async def _in_thread(thread: ThreadPoolExecutor, function: Callable, *args: Any) -> Any:
    return await asyncio.get_running_loop().run_in_executor(thread, function, *args)


def _by_windows(job: _Job) -> tuple[int, int]:
    return job.left, job.order


def _by_age(job: _Job) -> int:
    return job.order


class _TurnSize:
    """The maximum number of tokens in a turn, from the speed of the last turns."""

    def __init__(self) -> None:
        self.tokens = _FIRST_TOKENS
        self._recent: collections.deque[tuple[int, float]] = collections.deque(maxlen=8)

    def add(self, tokens: int, seconds: float) -> None:
        self._recent.append((tokens, seconds))
        rate = sum(one for one, _ in self._recent) / max(sum(time for _, time in self._recent), 1e-6)
        # At most double it: the speed of a small turn says little about that of a large one.
        self.tokens = int(min(rate * TURN_SECONDS, 2 * self.tokens, _MOST_TOKENS))
        self.tokens = max(self.tokens, 1)


def _cut(array: np.ndarray, width: int, longest: int) -> np.ndarray:
    """Trims a feature to a width if it has one element per token; the positions of masks do not."""
    return array[:, :width] if array.shape[1] == longest else array


def _rows_of_a_call(width: int) -> int:
    return 1 << (max(1, _TOKENS_OF_A_CALL // width).bit_length() - 1)


@dataclasses.dataclass(frozen=True)
class _PrepareOne:
    """The `prepare` of several services as one picklable function of (number of the service, request)."""

    functions: tuple[Callable[[Any], Prepared], ...]

    def __call__(self, numbered: Any, /) -> Prepared:
        number, request = numbered
        return self.functions[number](request)


class _LongTexts:
    """Runs `prepare` in a separate process, which is started for the first long text.

    If the process is killed, the text it is working on fails with `BrokenProcessPool`, and the next one starts a new
    process.
    """

    def __init__(self, prepare: Callable[[Any], Prepared]):
        self._prepare = prepare
        self._workers: Workers | None = None
        self._starter = ThreadPoolExecutor(1, thread_name_prefix="long-texts")

    async def prepare(self, request: Any) -> Prepared:
        future = await asyncio.get_running_loop().run_in_executor(self._starter, self._submit, request)
        return await asyncio.wrap_future(future)

    def _submit(self, request: Any) -> Future[Prepared]:
        if self._workers is not None:
            try:
                return self._workers.submit(request)
            except BrokenProcessPool:  # the process has ended between two texts: neither of them is the cause
                self._end_process()
        self._workers = Workers(self._prepare, num_workers=1)
        return self._workers.submit(request)

    def close(self) -> None:
        self._starter.shutdown(wait=False, cancel_futures=True)
        self._end_process()

    def _end_process(self) -> None:
        workers, self._workers = self._workers, None
        if workers is not None:
            workers.kill()
