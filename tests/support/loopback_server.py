"""Runs the HTTP service on a free loopback port, in a thread of this process; sends raw requests to it."""

import contextlib
import json
import re
import socket
import threading
import time

from kobert_tf2.serving import http
from kobert_tf2.serving.limits import Limits
from kobert_tf2.serving.server import Server, bind


@contextlib.contextmanager
def serving(service, *, drain_seconds=5.0, access=http.Access(), others=(), **limits):  # noqa: B008
    """A running `Server`; its port is `server.port`, its scheduler `server.scheduler`."""
    limits = Limits(**limits)
    app = http.make_app(service, limits, access, others)
    server, listener = Server(app, limits=limits, drain_seconds=drain_seconds), bind("127.0.0.1", 0)
    thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive(), "the server did not start"
        time.sleep(0.01)
    server.port = listener.getsockname()[1]
    server.scheduler, server.thread = app.state.scheduler, thread
    try:
        yield server
    finally:
        server.should_exit = True
        thread.join(30)


def connect(server, address: str = "127.0.0.1") -> socket.socket:
    """Connects from this address: every 127.x.y.z is on the loopback interface."""
    one = socket.create_connection(("127.0.0.1", server.port), timeout=20, source_address=(address, 0))
    one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return one


def request(question: str = "?", context: str = "가 나", *headers: str) -> bytes:
    body = json.dumps({"question": question, "context": context}).encode()
    lines = ["POST /answer HTTP/1.1", "Host: x", "Content-Type: application/json", f"Content-Length: {len(body)}"]
    return "\r\n".join([*lines, *headers, "", ""]).encode() + body


def response(connection: socket.socket) -> tuple[int, str]:
    """Status and body; (0, "") if the connection is closed without a response."""
    data = b""
    with contextlib.suppress(ConnectionError):
        while b"\r\n\r\n" not in data:
            block = connection.recv(1 << 16)
            if not block:
                return 0, ""
            data += block
        head, _, body = data.partition(b"\r\n\r\n")
        length = int(re.search(rb"(?i)content-length: (\d+)", head).group(1))
        while len(body) < length:
            body += connection.recv(1 << 16)
        return int(head.split()[1]), body.decode()
    return 0, ""


def is_closed(connection: socket.socket, seconds: float = 5.0) -> bool:
    """Returns whether the server closes the connection within this time."""
    connection.settimeout(seconds)
    try:
        while connection.recv(1 << 16):
            pass
    except TimeoutError:
        return False
    except ConnectionError:
        pass
    return True


def ask(server, address: str = "127.0.0.1", **more) -> tuple[int, str]:
    with connect(server, address) as connection:
        connection.sendall(request(**more))
        return response(connection)


def wait_until(condition, what: str, seconds: float = 30.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"never: {what}"
        time.sleep(0.02)
