"""One worker process of a service, started by `workers.py`: `python -m kobert_tf2.serving.worker DESCRIPTORS`.

The arguments are the descriptors of the listening socket, of a pipe for the report to the supervisor, and of the memory
for the weights. Standard input brings the pickled `WorkerSettings`, and its end is the supervisor's: then this process
drains and ends too.
"""

import json
import os
import pickle
import signal
import socket
import sys
import threading

from fastapi import FastAPI

from kobert_tf2.bert import shared_memory
from kobert_tf2.errors import InputError
from kobert_tf2.serving import http, services
from kobert_tf2.serving.server import BACKLOG, Server
from kobert_tf2.serving.workers import WorkerSettings


def load_app(settings: WorkerSettings) -> FastAPI:
    """Loads what is served and warms it up; also for a service of one process (`tools/serve.py`)."""
    loaded = services.load_all(
        settings.model_dir,
        precision=settings.precision,
        limits=settings.limits,
        **settings.encoder,
        **settings.reading,
    )
    for service in loaded:
        services.warm_up(service)
    log = sys.stdout if settings.access_log else None
    access = http.Access(keys=settings.keys, allowed_hosts=settings.allowed_hosts, log=log)
    return http.make_app(loaded[0], settings.limits, access, loaded[1:])


class _SharedListener(socket.socket):
    """The listening socket of all workers. Its queue keeps its length: a worker asks asyncio for one of 1, so that
    asyncio takes one connection at a time from it and leaves the next to the other workers.
    """

    def listen(self, backlog: int = BACKLOG, /) -> None:
        super().listen(BACKLOG)


def main(listener_descriptor: int, report_descriptor: int, weights_descriptor: int) -> None:
    settings: WorkerSettings = pickle.load(sys.stdin.buffer)
    threading.Thread(target=_end_with_supervisor, daemon=True).start()
    listener = _SharedListener(fileno=listener_descriptor)
    with open(report_descriptor, "w", encoding="utf-8") as report:
        try:
            with shared_memory.sharing(weights_descriptor):
                app = load_app(settings)
        except InputError as error:
            report.write(json.dumps({"error": str(error)}))
            sys.exit(1)
        server = Server(
            app, limits=settings.limits, drain_seconds=settings.drain_seconds, backlog=1, log_level="warning"
        )
        report.write(json.dumps({"ready": True}))
    server.run(sockets=[listener])


def _end_with_supervisor() -> None:
    sys.stdin.buffer.read()
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
