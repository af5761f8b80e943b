"""ASGI middleware that enforces the service's limits on every request, whatever its endpoint.

It reads the whole body within the time and size limits. It cancels a request when its client disconnects or its total
time is over. It limits the concurrent requests of each address. Every refusal is `{"error": one sentence}`.
"""

import asyncio
import collections
import contextlib
import json

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from kobert_tf2.serving.limits import Limits

_RETRY_AFTER = (b"retry-after", b"1")
_CLOSE = (b"connection", b"close")


class Bounds:
    """The middleware; `limits` are the ones given to `make_app`."""

    def __init__(self, app: ASGIApp, limits: Limits):
        self._app, self._limits = app, limits
        self._in_work: collections.Counter[str] = collections.Counter()
        self._bodies = _UnfinishedBodies(limits)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        address = (scope.get("client") or ("",))[0]
        most = self._limits.most_of(address)
        if self._in_work[address] >= most:
            error = f"expected at most {most:g} requests at a time from one address, but there are more"
            await refuse(send, 429, error, _RETRY_AFTER, _CLOSE)
            return
        self._in_work[address] += 1
        try:
            await self._bounded(scope, receive, send)
        finally:
            self._in_work[address] -= 1
            if not self._in_work[address]:
                del self._in_work[address]

    async def _bounded(self, scope: Scope, receive: Receive, send: Send) -> None:
        most = self._limits.body_bytes
        try:
            if _announced(scope) > most:
                raise _TooLargeError
            body = await self._bodies.read(receive)
        except _TooLargeError:
            await refuse(send, 413, f"expected a body of at most {most:,} bytes, but it is larger", _CLOSE)
        except _NoRoomError:
            await refuse(send, 503, "too many large bodies are coming in; ask again in a moment", _RETRY_AFTER, _CLOSE)
        except TimeoutError:
            error = f"expected the whole body within {self._limits.body_seconds:g} seconds, but it has not come"
            await refuse(send, 408, error, _CLOSE)
        except _GoneError:
            return
        else:
            await self._answer(scope, body, receive, send)

    async def _answer(self, scope: Scope, body: bytes, receive: Receive, send: Send) -> None:
        """Runs the application until it has answered, the client disconnects, or the total time is over."""
        started = False

        async def watched_send(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        answer = asyncio.ensure_future(self._app(scope, _replay(body), watched_send))
        gone = asyncio.ensure_future(_until_gone(receive))
        try:
            done, _ = await asyncio.wait(
                {answer, gone}, timeout=self._limits.total_seconds, return_when=asyncio.FIRST_COMPLETED
            )
            if answer in done:
                answer.result()
        finally:
            for task in (answer, gone):
                task.cancel()
            with contextlib.suppress(asyncio.CancelledError, Exception):
                await answer
        if not done:
            if started:
                raise TimeoutError(f"the response was not taken within {self._limits.total_seconds:g} seconds")
            error = (
                f"there is no answer after {self._limits.total_seconds:g} seconds: the text is too long for this load"
            )
            await refuse(send, 503, error, _RETRY_AFTER)


async def refuse(send: Send, status: int, error: str, *headers: tuple[bytes, bytes]) -> None:
    """Sends a complete response whose body gives the reason for the refusal in one sentence."""
    body = json.dumps({"error": error}, ensure_ascii=False).encode()
    kind = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": [*kind, *headers]})
    await send({"type": "http.response.body", "body": body})


def _announced(scope: Scope) -> int:
    value = dict(scope["headers"]).get(b"content-length", b"0")
    return int(value) if value.isdigit() and len(value) < 20 else 0


def _replay(body: bytes) -> Receive:
    messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> Message:
        if messages:
            return messages.pop()
        await asyncio.Event().wait()  # The middleware cancels the application when the client disconnects.
        raise AssertionError

    return receive


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


class _TooLargeError(Exception):
    """The body exceeds its size limit."""


class _NoRoomError(Exception):
    """The unfinished bodies of all clients together exceed their limit, and this one is the largest."""


class _GoneError(Exception):
    """The client has closed the connection."""


class _Unfinished:
    """A body that is still being received."""

    def __init__(self, timeout: asyncio.Timeout):
        self.body = bytearray()
        self.is_refused = False
        self._timeout = timeout

    def refuse(self) -> None:
        """Ends the wait for its next part immediately."""
        self.is_refused = True
        self._timeout.reschedule(asyncio.get_running_loop().time())


class _UnfinishedBodies:
    """Reads bodies, and limits the total memory of the unfinished ones."""

    def __init__(self, limits: Limits):
        self._limits = limits
        self._unfinished: set[_Unfinished] = set()

    async def read(self, receive: Receive) -> bytes:
        """Reads a whole body. Raises `_TooLargeError`, `_NoRoomError`, `_GoneError`, or `TimeoutError` if late."""
        async with asyncio.timeout(self._limits.body_seconds) as timeout:
            one = _Unfinished(timeout)
            self._unfinished.add(one)
            try:
                while await self._read_part(receive, one):
                    self._make_room()
                return bytes(one.body)
            except asyncio.CancelledError:
                if one.is_refused:
                    raise _NoRoomError from None
                raise
            finally:
                self._unfinished.discard(one)

    async def _read_part(self, receive: Receive, one: _Unfinished) -> bool:
        """Appends the next part; returns whether another will follow."""
        message = await receive()
        if message["type"] == "http.disconnect":
            raise _GoneError
        part = message.get("body", b"")
        if len(one.body) + len(part) > self._limits.body_bytes:
            raise _TooLargeError
        one.body += part
        return bool(message.get("more_body", False))

    def _make_room(self) -> None:
        if sum(len(one.body) for one in self._unfinished) > self._limits.unfinished_bytes:
            left = [one for one in self._unfinished if not one.is_refused]
            if left:
                max(left, key=lambda one: len(one.body)).refuse()
