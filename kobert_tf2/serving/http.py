"""Serves a model over HTTP: `POST /answer`, `/entities`, `/classify` or `/fill-mask`, `/healthz`, `/metrics`, pages.

Uses FastAPI (extra `serve`); `tools/serve.py` runs it. `services.py` defines what each kind of model does,
`scheduling.py` shares the model among requests, `bounds.py` and `protocol.py` enforce the limits of `limits.py`.
"""

import asyncio
import contextlib
import dataclasses
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import TextIO

from fastapi import FastAPI, HTTPException, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, PlainTextResponse, Response
from starlette.exceptions import HTTPException as StarletteHTTPException
from starlette.middleware.trustedhost import TrustedHostMiddleware

from kobert_tf2.errors import InputError
from kobert_tf2.serving import http_page, schemas
from kobert_tf2.serving.access import ApiKeys
from kobert_tf2.serving.api_docs import add_docs
from kobert_tf2.serving.bounds import Bounds
from kobert_tf2.serving.limits import Limits
from kobert_tf2.serving.memory import trim_when_idle
from kobert_tf2.serving.observer import Metrics, Observer
from kobert_tf2.serving.scheduling import DrainedError, Scheduler, TooManyWaitingError
from kobert_tf2.serving.services import HttpService

_RETRY_AFTER = {"Retry-After": "1"}
_ERRORS = {
    400: "The body is no JSON that can be read.",
    413: "The body is larger than the longest request could be.",
    422: "A field is missing, of another type or too long.",
    503: "Too many requests are waiting, or the service ends.",
}


# Paths that need no key: the health check, and the page, which prompts for one.
_PUBLIC = ("/healthz", *http_page.PATHS)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Access:
    """Access control and the access log.

    Attributes:
        keys: a request needs one of them; empty for a service without access control.
        allowed_hosts: names allowed in a request's Host header, such as `example.com` or `*.example.com`.
        log: the stream to which a line of JSON is written for each request.
    """

    keys: tuple[str, ...] = ()
    allowed_hosts: tuple[str, ...] = ()
    log: TextIO | None = None


def make_app(
    service: HttpService,
    limits: Limits = Limits(),  # noqa: B008
    access: Access = Access(),
    others: Sequence[HttpService] = (),
) -> FastAPI:
    """Creates the application for one model; `others` have endpoints and tabs of the page as well."""
    scheduler = Scheduler(service, limits, others)
    metrics = Metrics(scheduler, lambda: {getattr(route, "path", "") for route in app.routes})

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        scheduler.start()
        metrics.serving()
        trimming = asyncio.create_task(trim_when_idle(lambda: metrics.finished, lambda: metrics.in_progress))
        yield
        trimming.cancel()
        await scheduler.close()

    app = FastAPI(title="kobert_tf2", description=service.summary, lifespan=lifespan, docs_url=None, redoc_url=None)
    app.state.scheduler = scheduler
    # The middleware added last receives a request first.
    app.add_middleware(Bounds, limits=limits)
    if access.keys:
        app.add_middleware(ApiKeys, keys=access.keys, public=_PUBLIC)
    if access.allowed_hosts:
        app.add_middleware(TrustedHostMiddleware, allowed_hosts=access.allowed_hosts, www_redirect=False)
    app.add_middleware(Observer, metrics=metrics, access_log=access.log)
    _add_errors(app)
    for one in (service, *others):
        _add_service(app, one, scheduler, limits)
    _add_watching(app, metrics)
    add_docs(app)
    for path, (content, kind) in http_page.files(service.kind, *(one.kind for one in others)).items():
        app.add_api_route(path, _sender(content, kind), include_in_schema=False)
    return app


def _add_watching(app: FastAPI, metrics: Metrics) -> None:
    @app.get("/healthz", response_model=schemas.Health, response_model_exclude_none=True)
    async def healthz() -> dict:
        """Whether the service runs, and how much it has to do."""
        return {"status": "ok", **metrics.health()}

    @app.get("/metrics", response_class=PlainTextResponse)
    async def show_metrics() -> Response:
        """Counts and times in Prometheus' text format."""
        content, kind = metrics.text()
        return Response(content, media_type=kind)


def _add_service(app: FastAPI, service: HttpService, scheduler: Scheduler, limits: Limits) -> None:
    body_model = service.request_model(limits)
    responses = {status: {"model": schemas.Error, "description": text} for status, text in _ERRORS.items()}

    @app.post(
        service.path,
        response_model=service.response_model,
        response_model_exclude_none=True,
        summary=service.summary,
        responses=responses,  # type: ignore[arg-type]  # its keys may be numbers only
    )
    async def answer(body: body_model) -> dict:  # type: ignore[valid-type]  # made for these limits
        began = time.perf_counter()
        try:
            found = await scheduler.run(service.request(body.model_dump()), service)  # type: ignore[attr-defined]
        except TooManyWaitingError:
            raise HTTPException(503, "too many requests are waiting; ask again in a moment", _RETRY_AFTER) from None
        except DrainedError:
            raise HTTPException(503, "the service ends; ask again in a moment", _RETRY_AFTER) from None
        except InputError as error:
            raise HTTPException(422, str(error)) from None
        return {**found, "milliseconds": 1000 * (time.perf_counter() - began)}


def _sender(content: str, kind: str) -> Callable[[], Awaitable[Response]]:
    async def send() -> Response:
        return Response(content, media_type=kind, headers=http_page.HEADERS)

    return send


def _add_errors(app: FastAPI) -> None:
    """Makes every error response `{"error": one sentence}`."""

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        return JSONResponse({"error": "; ".join(_sentence(entry) for entry in error.errors())}, 422)

    @app.exception_handler(StarletteHTTPException)
    async def refused(request: Request, error: StarletteHTTPException) -> JSONResponse:
        return JSONResponse({"error": error.detail}, error.status_code, error.headers)

    @app.exception_handler(Exception)
    async def failed(request: Request, error: Exception) -> JSONResponse:
        return JSONResponse({"error": "the service failed on this request; its log says how"}, 500)


def _sentence(entry: dict) -> str:
    """Formats one of pydantic's errors: the field, the problem, and the received value, truncated."""
    if entry["type"] == "json_invalid":
        return f"expected JSON, but the body is not: {entry.get('ctx', {}).get('error', entry['msg'])}"
    if isinstance(entry.get("input"), bytes):  # FastAPI has not parsed it as JSON
        return "body: expected the header Content-Type: application/json"
    field = ".".join(str(part) for part in entry["loc"] if part != "body") or "body"
    came = repr(entry.get("input"))
    shown = came if len(came) <= 60 else f"{came[:57]}..."
    if entry["type"] == "missing":
        return f"{field}: expected, but it is missing"
    if entry["type"] == "string_pattern_mismatch":
        return f"{field}: expected more than white space, but got {shown}"
    return f"{field}: {entry['msg'][0].lower()}{entry['msg'][1:]}, but got {shown}"
