"""uvicorn's HTTP protocol with limits that uvicorn lacks: on headers, on connections, on slow readers.

- A request's headers must arrive within a time limit; uvicorn waits forever.
- The number of connections is limited. To admit a new one, the connection that has waited longest for its client is
  closed, so that half-sent requests cannot block other clients (with uvicorn's `limit_concurrency` everyone would get
  a 503).
- After a response to an incomplete request, the rest of the input is read for a short time and discarded: if the
  connection were closed at once, it would be reset, and the client might never receive the response.
"""

import asyncio
import collections
import http
import json
import select
import time
from collections.abc import Callable
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from kobert_tf2.serving.limits import Limits

# The limits on discarding the rest of an incomplete request after the response.
_LINGER_SECONDS, _LINGER_BYTES = 2.0, 16_000_000
_LOOK_SECONDS = 1.0
# The time limit for a client to read a response.
_WRITE_SECONDS = 30.0


def protocol_class(limits: Limits) -> type[H11Protocol]:
    """The protocol class for one server, to be passed to uvicorn as `http`."""
    return type("BoundedProtocol", (_BoundedProtocol,), {"limits": limits, "addresses": collections.Counter()})


class _BoundedProtocol(H11Protocol):
    limits: Limits
    addresses: collections.Counter[str]

    def connection_made(self, transport: Any) -> None:
        self._timer: asyncio.TimerHandle | None = None
        self._write_timer: asyncio.TimerHandle | None = None
        self._gone_timer: asyncio.TimerHandle | None = None
        self._address = ""
        self.since = time.monotonic()
        super().connection_made(_LingeringTransport(transport, self))  # type: ignore[arg-type]  # acts as one
        self._address = self.client[0] if self.client else ""
        self.addresses[self._address] += 1
        most = 2 * self.limits.most_of(self._address)
        if self.addresses[self._address] > most:
            self._refuse(429, f"expected at most {most:g} connections from one address, but there are more")
        elif len(self.connections) > self.limits.connections and not self._close_longest_waiting():
            self._refuse(503, "too many connections are open; ask again in a moment")
        self._watch_headers()

    def _close_longest_waiting(self) -> bool:
        ours = (one for one in self.connections if isinstance(one, _BoundedProtocol))
        others = [one for one in ours if one is not self and one.waits_for_client]
        if others:
            min(others, key=lambda one: one.since).transport.abort()
        return bool(others)

    @property
    def waits_for_client(self) -> bool:
        """Whether the server is waiting for the client to send something."""
        return self.cycle is None or self.cycle.response_complete or self.cycle.more_body

    # --- Time for the headers ---

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._watch_headers()
        self._watch_connection()

    def _watch_connection(self) -> None:
        """Polls the socket once a second while reading is paused, which happens when a request is in progress and more
        are queued behind it: otherwise a disconnect would go unnoticed.
        """
        if self.flow.read_paused and not self.waits_for_client and self._gone_timer is None:
            self._gone_timer = self.loop.call_later(_LOOK_SECONDS, self._look_if_gone)

    def _look_if_gone(self) -> None:
        self._gone_timer = None
        socket = self.transport.get_extra_info("socket")
        if socket is None or socket.fileno() < 0:
            return
        poll = select.poll()
        poll.register(socket.fileno(), select.POLLRDHUP)
        if poll.poll(0):
            self.transport.abort()
        else:
            self._watch_connection()

    def on_response_complete(self) -> None:
        self.since = time.monotonic()
        super().on_response_complete()
        if self.conn.their_state is h11.SEND_BODY:
            self.transport.close()  # uvicorn would read the rest of the body, whatever its length.
        self._watch_headers()

    def _watch_headers(self) -> None:
        waits = self.conn.their_state is h11.IDLE and not self.transport.is_closing()
        if not waits:
            self._unset_timer()
        elif self._timer is None:
            self._timer = self.loop.call_later(self.limits.header_seconds, self._headers_are_late)

    def _unset_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _headers_are_late(self) -> None:
        if not self.transport.is_closing():
            self._refuse(408, f"expected a request within {self.limits.header_seconds:g} seconds, but it has not come")

    def shutdown(self) -> None:
        try:
            super().shutdown()
        except h11.LocalProtocolError:  # the input was not HTTP
            self.transport.abort()

    # --- Responses that the application does not make ---

    def send_400_response(self, msg: str) -> None:
        self._refuse(400, "expected an HTTP/1.1 request, but what came is none")

    def _refuse(self, status: int, error: str) -> None:
        body = json.dumps({"error": error}).encode()
        phrase = http.HTTPStatus(status).phrase
        head = f"HTTP/1.1 {status} {phrase}\r\ncontent-type: application/json\r\nconnection: close\r\n"
        self.transport.write(f"{head}content-length: {len(body)}\r\n\r\n".encode() + body)
        self.transport.close()

    # --- Clients that do not read ---

    def pause_writing(self) -> None:
        super().pause_writing()
        if self._write_timer is None:
            self._write_timer = self.loop.call_later(_WRITE_SECONDS, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        self._unset_write_timer()

    def _unset_write_timer(self) -> None:
        if self._write_timer is not None:
            self._write_timer.cancel()
            self._write_timer = None

    def connection_lost(self, exc: Exception | None) -> None:
        self._unset_timer()
        self._unset_write_timer()
        if self._gone_timer is not None:
            self._gone_timer.cancel()
        self._unset_keepalive_if_required()
        self.addresses[self._address] -= 1
        if self.addresses[self._address] <= 0:
            del self.addresses[self._address]
        super().connection_lost(exc)


class _LingeringTransport:
    """The connection's transport, whose `close` first waits for the rest of an incomplete request."""

    def __init__(self, transport: asyncio.Transport, protocol: _BoundedProtocol):
        self._transport, self._protocol = transport, protocol
        self._lingers = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def is_closing(self) -> bool:
        return self._lingers or self._transport.is_closing()

    def close(self) -> None:
        if self._lingers:
            return
        finished = self._protocol.conn.their_state not in (h11.SEND_BODY, h11.ERROR)
        if finished or self._transport.is_closing() or not self._transport.can_write_eof():
            self._transport.close()
            return
        self._lingers = True
        self._transport.write_eof()
        self._transport.set_protocol(_Discard(self._transport, self._protocol.connection_lost))
        self._protocol.flow.resume_reading()


class _Discard(asyncio.Protocol):
    """Discards further input, for a limited time."""

    def __init__(self, transport: asyncio.Transport, connection_lost: Callable[[Exception | None], None]):
        self._transport, self._connection_lost = transport, connection_lost
        self._left = _LINGER_BYTES
        self._timer = asyncio.get_running_loop().call_later(_LINGER_SECONDS, transport.abort)

    def data_received(self, data: bytes) -> None:
        self._left -= len(data)
        if self._left < 0:
            self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self._timer.cancel()
        self._connection_lost(exc)
