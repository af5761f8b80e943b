"""ASGI middleware that observes every request and response: it counts for /metrics, and writes the JSON access log."""

import datetime
import json
import time
from collections.abc import Callable, Iterator
from typing import Any, TextIO

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from kobert_tf2.serving.scheduling import Scheduler

# nginx's status for a client that disconnected before it received the response.
CLIENT_GONE = 499
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2, 5, 10, 30, 60, 300)
# The maximum number of characters of client input in a log line.
_MOST_CHARACTERS = 200


class Metrics:
    """The data of /metrics. Paths not in `paths` count as "other", so that clients cannot create new series."""

    def __init__(self, scheduler: Scheduler, paths: Callable[[], set[str]]):
        self._paths = paths
        self._registry = CollectorRegistry()
        labels = ("path", "status")
        self._requests = Counter("kobert_requests", "Requests, by response.", labels, registry=self._registry)
        self._seconds = Histogram(
            "kobert_request_seconds",
            "From a request to its response.",
            ("path",),
            buckets=_SECONDS,
            registry=self._registry,
        )
        self._in_progress = Gauge("kobert_requests_in_progress", "Requests without response.", registry=self._registry)
        self._registry.register(_SchedulerMetrics(scheduler))
        ProcessCollector(registry=self._registry)
        self.finished = self.in_progress = 0

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

    def text(self) -> tuple[bytes, str]:
        """The metrics in Prometheus' text format, and its content type."""
        return generate_latest(self._registry), CONTENT_TYPE_LATEST


class _SchedulerMetrics:
    """The scheduler's own counts, read on each collection."""

    def __init__(self, scheduler: Scheduler):
        self._scheduler = scheduler

    def collect(self) -> Iterator[Metric]:
        one = self._scheduler
        yield GaugeMetricFamily("kobert_waiting", "Requests that the model works on or will.", one.waiting)
        yield CounterMetricFamily("kobert_answered", "Requests that the model has answered.", one.answered)
        yield CounterMetricFamily("kobert_turns", "Turns that the model has taken.", one.turns)
        yield CounterMetricFamily("kobert_windows", "Windows of texts that the model has computed.", one.windows)


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
