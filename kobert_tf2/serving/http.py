"""A reader behind HTTP: `POST /answer`, `GET /healthz`, an OpenAPI page at /docs and one page to try it at /.

Requests that come at the same time are answered together: each waits in a queue of bounded length, and one thread takes
what has gathered there as one batch. Where the queue is full, the answer is 503 at once rather than late. Written on
FastAPI (extra `serve`); `tools/serve.py` runs it.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Annotated, NamedTuple

from fastapi import FastAPI, HTTPException, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel, ConfigDict, Field, create_model
from starlette.exceptions import HTTPException as StarletteHTTPException

from kobert_tf2.errors import InputError
from kobert_tf2.serving import http_page

MAX_N_BEST = 20
# UTF-8 needs up to four bytes a character, and JSON may spell one as \uXXXX\uXXXX.
_BYTES_A_CHARACTER = 12
_RETRY_AFTER_SECONDS = "1"


class Limits(NamedTuple):
    """What one request may hold, and how much may wait and be computed at once."""

    question_characters: int = 1_000
    context_characters: int = 100_000
    waiting: int = 256
    batch_questions: int = 64
    batch_characters: int = 400_000
    # How long the first of a batch waits for company. On an idle server it waits for nobody: see `Batcher._gather`.
    gather_seconds: float = 0.005

    @property
    def body_bytes(self) -> int:
        return _BYTES_A_CHARACTER * (self.question_characters + self.context_characters) + 1_000


class TooManyWaitingError(Exception):
    """More requests wait than may."""


class Ask(NamedTuple):
    question: str
    context: str
    n_best: int
    strip_josa: bool

    def size(self) -> int:
        return len(self.question) + len(self.context)


# ----------------------------------------------------------------------------------------------------------------------
# Batches
# ----------------------------------------------------------------------------------------------------------------------


class Batcher:
    """Puts requests that come at the same time into one call of `answer_batch`, made in a thread of its own."""

    def __init__(self, predictor, limits: Limits):
        self._predictor, self._limits = predictor, limits
        self._queue: asyncio.Queue[tuple[Ask, asyncio.Future]] = asyncio.Queue(limits.waiting)
        self._held: tuple[Ask, asyncio.Future] | None = None  # did not fit into the last batch
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="predictor")
        self._task: asyncio.Task | None = None
        self.batches = self.answered = 0

    def start(self) -> None:
        self._task = asyncio.create_task(self._run())

    async def close(self) -> None:
        """Answers what still waits, then stops."""
        while self._queue.qsize() or self._held:
            await asyncio.sleep(0.01)
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task
        self._thread.shutdown()

    @property
    def waiting(self) -> int:
        return self._queue.qsize()

    async def answer(self, ask: Ask) -> dict:
        """The predictor's answer. Raises `TooManyWaitingError`, and what the predictor raised."""
        future = asyncio.get_running_loop().create_future()
        try:
            self._queue.put_nowait((ask, future))
        except asyncio.QueueFull:
            raise TooManyWaitingError from None
        return await future

    async def _run(self) -> None:
        while True:
            batch = await self._gather()
            # Those whose client has gone away need no answer.
            batch = [(ask, future) for ask, future in batch if not future.cancelled()]
            if batch:
                await self._answer(batch)

    async def _gather(self) -> list[tuple[Ask, asyncio.Future]]:
        """What waits, up to the limits of a batch; a single one waits a moment for others."""
        first = self._held or await self._queue.get()
        self._held = None
        batch, size = [first], first[0].size()
        if self._queue.empty():
            await asyncio.sleep(self._limits.gather_seconds)
        while len(batch) < self._limits.batch_questions and not self._queue.empty():
            entry = self._queue.get_nowait()
            size += entry[0].size()
            if size > self._limits.batch_characters:
                self._held = entry
                break
            batch.append(entry)
        return batch

    async def _answer(self, batch: list[tuple[Ask, asyncio.Future]]) -> None:
        loop = asyncio.get_running_loop()
        try:
            answers = await loop.run_in_executor(self._thread, self._compute, [ask for ask, _ in batch])
        except Exception as error:  # goes to each that asked: the service lives on
            for _, future in batch:
                if not future.done():
                    future.set_exception(error)
            return
        self.batches += 1
        self.answered += len(batch)
        for (_, future), answer in zip(batch, answers, strict=True):
            if not future.done():
                future.set_result(answer)

    def _compute(self, asks: list[Ask]) -> list[dict]:
        """One call for all, with the most that any of them wants; each then gets what it asked for."""
        n_best = max(ask.n_best for ask in asks)
        answers = self._predictor.answer_batch(
            [(ask.question, ask.context) for ask in asks],
            n_best=n_best,
            strip_josa=any(ask.strip_josa for ask in asks),
        )
        return [_cut_down(answer, ask) for answer, ask in zip(answers, asks, strict=True)]


def _cut_down(answer: dict, ask: Ask) -> dict:
    def bare(entry: dict) -> dict:
        if ask.strip_josa:
            return entry
        raw = {name: value for name, value in entry.items() if name != "stripped"}
        return raw | ({"answer": raw["text"]} if "answer" in raw else {})

    result = bare({name: value for name, value in answer.items() if name != "n_best"})
    if ask.n_best > 1:
        result["n_best"] = [bare(entry) for entry in answer["n_best"][: ask.n_best]]
    return result


# ----------------------------------------------------------------------------------------------------------------------
# The application
# ----------------------------------------------------------------------------------------------------------------------


class Bare(BaseModel):
    """The answer without particles, endings and loose marks."""

    text: str
    start: int
    end: int
    removed: list[str] = Field(description="What was taken off before and behind it.")


class Answer(BaseModel):
    text: str = Field(description="The answer, as the context spells it; empty where there is none.")
    start: int = Field(description="Its first character in the context, counted in code points.")
    end: int = Field(description="Past its last character.")
    score: float
    probability: float = Field(description="Among the best spans.")
    stripped: Bare | None = None
    answer: str | None = Field(
        None, description="The text or the stripped one: which of them the model was trained to give."
    )


class Answers(Answer):
    n_best: list[Answer] | None = None
    null_score_diff: float | None = Field(
        None, description='Where a question may have none: how much higher "no answer" scores than the best span.'
    )
    milliseconds: float


class Health(BaseModel):
    status: str
    waiting: int
    answered: int
    batches: int


def _question_model(limits: Limits) -> type[BaseModel]:
    question = Annotated[str, Field(min_length=1, max_length=limits.question_characters)]
    context = Annotated[str, Field(max_length=limits.context_characters)]
    return create_model(
        "Question",
        __config__=ConfigDict(extra="forbid"),
        question=(question, ...),
        context=(context, ...),
        n_best=(Annotated[int, Field(ge=1, le=MAX_N_BEST)], 1),
        strip_josa=(bool, True),
    )


def make_app(predictor, limits: Limits = Limits()) -> FastAPI:  # noqa: B008 - a tuple cannot change
    """The application; `predictor` is a `Predictor`, or anything with its `answer_batch`."""
    batcher: Batcher | None = None

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        nonlocal batcher
        batcher = app.state.batcher = Batcher(predictor, limits)
        batcher.start()
        yield
        await batcher.close()

    app = FastAPI(title="kobert_tf2", description="Answers questions about a text.", lifespan=lifespan)
    _add_bounds(app, limits)
    _add_errors(app)
    question_model = _question_model(limits)

    @app.post("/answer", response_model=Answers, response_model_exclude_none=True)
    async def answer(question: question_model):
        began = time.perf_counter()
        try:
            found = await batcher.answer(Ask(**question.model_dump()))
        except TooManyWaitingError:
            raise HTTPException(
                503, "too many questions are waiting; ask again in a moment", {"Retry-After": _RETRY_AFTER_SECONDS}
            ) from None
        except InputError as error:
            raise HTTPException(422, str(error)) from None
        return {**found, "milliseconds": 1000 * (time.perf_counter() - began)}

    @app.get("/healthz", response_model=Health)
    async def healthz():
        return {"status": "ok", "waiting": batcher.waiting, "answered": batcher.answered, "batches": batcher.batches}

    for path, (content, kind) in http_page.FILES.items():
        app.add_api_route(path, _sender(content, kind), include_in_schema=False)
    return app


def _sender(content: str, kind: str) -> Callable:
    def send() -> Response:
        return Response(content, media_type=kind, headers=http_page.HEADERS)

    return send


def _add_bounds(app: FastAPI, limits: Limits) -> None:
    """Bodies that are too large are refused before they are in memory, also where their length is not announced."""

    @app.middleware("http")
    async def bound(request: Request, call_next):
        announced = request.headers.get("content-length", "")
        if announced.isdecimal() and int(announced) > limits.body_bytes:
            return _too_large(limits)
        if request.method == "POST" and not announced:
            return JSONResponse({"error": "expected a Content-Length header, but there is none"}, 411)
        return await call_next(request)


def _too_large(limits: Limits) -> JSONResponse:
    return JSONResponse({"error": f"expected a body of at most {limits.body_bytes:,} bytes, but it is larger"}, 413)


def _add_errors(app: FastAPI) -> None:
    """Every error is `{"error": one sentence}`."""

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError):
        return JSONResponse({"error": "; ".join(_sentence(entry) for entry in error.errors())}, 422)

    @app.exception_handler(StarletteHTTPException)
    async def refused(request: Request, error: StarletteHTTPException):
        return JSONResponse({"error": error.detail}, error.status_code, error.headers)

    @app.exception_handler(Exception)
    async def failed(request: Request, error: Exception):
        return JSONResponse({"error": "the service failed on this question; its log says how"}, 500)


def _sentence(entry: dict) -> str:
    """One of pydantic's errors: which field, what is wrong, what came, cut short."""
    if entry["type"] == "json_invalid":
        return f"expected JSON, but the body is not: {entry.get('ctx', {}).get('error', entry['msg'])}"
    field = ".".join(str(part) for part in entry["loc"] if part != "body") or "body"
    came = repr(entry.get("input"))
    shown = came if len(came) <= 60 else f"{came[:57]}..."
    if entry["type"] == "missing":
        return f"{field}: expected, but it is missing"
    return f"{field}: {entry['msg'][0].lower()}{entry['msg'][1:]}, but got {shown}"
