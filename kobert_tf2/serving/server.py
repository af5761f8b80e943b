"""uvicorn with this service's protocol, and a shutdown within a time limit."""

import asyncio
import resource
import socket

import uvicorn
from fastapi import FastAPI

from kobert_tf2.errors import InputError
from kobert_tf2.serving.limits import Limits
from kobert_tf2.serving.protocol import protocol_class

# The part of the draining time reserved for telling waiting clients that there will be no answer.
_FAREWELL_SECONDS = 0.5

# How many connections may wait to be accepted.
BACKLOG = 2048

# An allowance for the process's open files and sockets other than its connections.
_OTHER_FILES = 200


class Server(uvicorn.Server):
    """Serves an application of `make_app`. On SIGTERM it accepts no new requests and answers the pending ones; those
    not answered within `drain_seconds` get a 503.
    """

    def __init__(
        self,
        app: FastAPI,
        *,
        limits: Limits,
        drain_seconds: float,
        backlog: int = BACKLOG,
        log_level: str | None = None,
    ):
        self._app, self._limits, self._drain_seconds = app, limits, drain_seconds
        super().__init__(
            uvicorn.Config(
                app,
                http=protocol_class(limits),
                ws="none",
                access_log=False,
                server_header=False,
                backlog=backlog,
                log_level=log_level,
                timeout_graceful_shutdown=drain_seconds,  # type: ignore[arg-type]  # it may be fractional
            )
        )

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        _allow_open_files(self._limits.connections + _OTHER_FILES)
        await super().startup(sockets)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        last = max(self._drain_seconds - _FAREWELL_SECONDS, self._drain_seconds / 2)
        timer = asyncio.get_running_loop().call_later(last, self._app.state.scheduler.drop_all)
        await super().shutdown(sockets)
        timer.cancel()


def bind(host: str, port: int) -> socket.socket:
    """Binds a socket to this address without accepting connections yet; port 0 selects a free port.

    Raises:
        InputError: the address does not belong to this machine, or is in use.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((host, port))
    except OSError as error:
        bound.close()
        raise InputError(f"{host}:{port}: cannot listen there: {error.strerror or error}") from None
    return bound


def url_of(bound: socket.socket) -> str:
    host, port = bound.getsockname()[:2]
    return f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/"


def _allow_open_files(wanted: int) -> None:
    """Raises this process's limit on open files, if the system permits it: the usual 1,024 are not enough for 1,000
    connections and TensorFlow's own files.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
