"""ASGI middleware that observes every request and response: it counts for /metrics, and writes the JSON access log."""

import datetime
import json
import os
import time
from collections.abc import Callable
from typing import Any, TextIO

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.multiprocess import MultiProcessCollector
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from kobert_tf2.serving.scheduling import Scheduler

# Set by `workers.py`, before prometheus_client is imported, which then keeps its values in files there.
_SHARED_FOLDER = "PROMETHEUS_MULTIPROC_DIR"
# nginx's status for a client that disconnected before it received the response.
CLIENT_GONE = 499
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2, 5, 10, 30, 60, 300)
# The maximum number of characters of client input in a log line.
_MOST_CHARACTERS = 200


class Metrics:
    """The data of /metrics and /healthz. Paths not in `paths` count as "other", so that clients cannot create new
    series.

    In a worker of `workers.py` (prometheus_client's multiprocess mode, switched on by `PROMETHEUS_MULTIPROC_DIR`) they
    are the sums over all workers, those that have died included. Figures of one process (`process_*`) are left out.
    """

    def __init__(self, scheduler: Scheduler, paths: Callable[[], set[str]]):
        self._paths, self._scheduler = paths, scheduler
        self._registry = registry = CollectorRegistry()
        self._shared = os.environ.get(_SHARED_FOLDER)
        self._requests = Counter("kobert_requests", "Requests, by response.", ("path", "status"), registry=registry)
        self._seconds = Histogram(
            "kobert_request_seconds", "From a request to its response.", ("path",), buckets=_SECONDS, registry=registry
        )
        self._in_progress = _gauge("kobert_requests_in_progress", "Requests without response.", registry)
        self._waiting = _gauge("kobert_waiting", "Requests that the model works on or will.", registry)
        counters = {
            "answered": Counter("kobert_answered", "Requests that the model has answered.", registry=registry),
            "turns": Counter("kobert_turns", "Turns that the model has taken.", registry=registry),
            "windows": Counter("kobert_windows", "Windows of texts that the model has computed.", registry=registry),
        }
        self._counters, self._counted = counters, dict.fromkeys(counters, 0)
        scheduler.changed = self._count_scheduler
        if self._shared:
            self._workers = _gauge("kobert_workers", "Worker processes that serve.", registry)
        else:
            ProcessCollector(registry=registry)
        self.finished = self.in_progress = 0

    def serving(self) -> None:
        """Called when requests are accepted from now on."""
        if self._shared:
            self._workers.set(1)

    def _count_scheduler(self) -> None:
        self._waiting.set(self._scheduler.waiting)
        for name, counter in self._counters.items():
            count = getattr(self._scheduler, name)
            counter.inc(count - self._counted[name])
            self._counted[name] = count

    def begin(self) -> None:
        self.in_progress += 1
        self._in_progress.inc()

    def end(self, path: str, status: int, seconds: float) -> None:
        self.in_progress -= 1
        self.finished += 1
        self._in_progress.dec()
        label = path if path in self._paths() else "other"
        self._requests.labels(label, status).inc()
        self._seconds.labels(label).observe(seconds)

    def _read(self) -> CollectorRegistry:
        if not self._shared:
            return self._registry
        registry = CollectorRegistry()
        MultiProcessCollector(registry, self._shared)
        return registry

    def text(self) -> tuple[bytes, str]:
        """The metrics in Prometheus' text format, and its content type."""
        return generate_latest(self._read()), CONTENT_TYPE_LATEST

    def health(self) -> dict[str, int]:
        """`waiting`, `answered`, `batches`, and in a worker `workers`."""
        names = {"waiting": "kobert_waiting", "answered": "kobert_answered_total", "batches": "kobert_turns_total"}
        if self._shared:
            names["workers"] = "kobert_workers"
        samples = {sample.name: sample.value for metric in self._read().collect() for sample in metric.samples}
        return {key: int(samples.get(name, 0)) for key, name in names.items()}


def _gauge(name: str, help_text: str, registry: CollectorRegistry) -> Gauge:
    """A gauge that is summed over the workers that live."""
    return Gauge(name, help_text, registry=registry, multiprocess_mode="livesum")


class Observer:
    """The middleware; writes a line to `access_log` for each request, unless it is None."""

    def __init__(self, app: ASGIApp, metrics: Metrics, access_log: TextIO | None = None):
        self._app, self._metrics, self._access_log = app, metrics, access_log

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, status, sent = time.perf_counter(), CLIENT_GONE, 0

        async def watched_send(message: Message) -> None:
            nonlocal status, sent
            if message["type"] == "http.response.start":
                status = message["status"]
            sent += len(message.get("body", b""))
            await send(message)

        self._metrics.begin()
        try:
            await self._app(scope, receive, watched_send)
        except Exception:
            status = 500  # the framework's own response, made outside this middleware
            raise
        finally:
            seconds = time.perf_counter() - began
            self._metrics.end(scope["path"], status, seconds)
            if self._access_log is not None:
                print(json.dumps(_line(scope, status, sent, seconds), ensure_ascii=False), file=self._access_log)
                self._access_log.flush()


def _line(scope: Scope, status: int, sent: int, seconds: float) -> dict[str, Any]:
    """A log line. Contains no texts, for the users' privacy."""
    headers = {name: value.decode("latin-1")[:_MOST_CHARACTERS] for name, value in scope["headers"]}
    received = headers.get(b"content-length", "")
    return {
        "time": datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds"),
        "client": (scope.get("client") or ("",))[0],
        "method": scope["method"],
        "path": scope["path"][:_MOST_CHARACTERS],
        "status": status,
        "received_bytes": int(received) if received.isdecimal() else None,
        "sent_bytes": sent,
        "milliseconds": round(1000 * seconds, 1),
        "user_agent": headers.get(b"user-agent", ""),
    }
