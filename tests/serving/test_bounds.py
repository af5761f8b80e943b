"""The middleware that enforces the request limits, without a server: total size of bodies, total time, refusals."""

import asyncio
import json

import pytest

pytest.importorskip("fastapi", reason="the extra 'serve' is not installed")
from kobert_tf2.serving.bounds import Bounds
from kobert_tf2.serving.limits import Limits


class Client:
    """An ASGI client whose parts come when `more` is called."""

    def __init__(self, app, address="192.0.2.1", headers=()):
        self._parts, self.sent = asyncio.Queue(), []
        scope = {"type": "http", "method": "POST", "path": "/", "headers": list(headers), "client": (address, 1)}

        async def send(message):
            self.sent.append(message)

        self.task = asyncio.ensure_future(app(scope, self._parts.get, send))

    def more(self, body: bytes, *, last: bool = False) -> None:
        self._parts.put_nowait({"type": "http.request", "body": body, "more_body": not last})

    def leave(self) -> None:
        self._parts.put_nowait({"type": "http.disconnect"})

    async def answer(self) -> tuple[int, str]:
        await asyncio.wait_for(self.task, 10)
        if not self.sent:
            return 0, ""
        body = b"".join(message.get("body", b"") for message in self.sent[1:])
        return self.sent[0]["status"], body.decode()


async def echo(scope, receive, send):
    body = (await receive())["body"]
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": body})


class Sleeps:
    """An application that never answers; remembers whether it was cancelled."""

    def __init__(self):
        self.began = self.cancelled = 0

    async def __call__(self, scope, receive, send):
        self.began += 1
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise


def test_a_body_in_parts_comes_whole():
    async def run():
        client = Client(Bounds(echo, Limits()))
        client.more(b"ab")
        client.more(b"cd", last=True)
        return await client.answer()

    assert asyncio.run(run()) == (200, "abcd")


@pytest.mark.parametrize(
    ("headers", "parts", "status"),
    [
        ([(b"content-length", b"99999999")], [], 413),
        ([(b"content-length", b"9" * 5000)], [b"x"], 408),  # an absurd length: the received bytes are counted
        ([], [b"x" * 900, b"x" * 900], 413),
        ([], [b"x" * 900], 408),
    ],
)
def test_bodies_that_are_too_large_or_too_slow(headers, parts, status):
    async def run():
        client = Client(
            Bounds(echo, Limits(question_characters=1, context_characters=1, body_seconds=0.2)), headers=headers
        )
        for part in parts:
            client.more(part)
        return await client.answer()

    got, body = asyncio.run(run())
    assert got == status
    assert json.loads(body)["error"].endswith(("but it is larger", "but it has not come"))


def test_of_unfinished_bodies_that_are_too_large_together_the_largest_is_refused():
    async def run():
        bounds = Bounds(echo, Limits(unfinished_bytes=1000, body_seconds=5))
        small, large, other = (Client(bounds) for _ in range(3))
        small.more(b"s" * 300)
        large.more(b"l" * 600)
        await asyncio.sleep(0.01)
        other.more(b"o" * 400)
        refused = await large.answer()
        small.more(b"s", last=True)
        other.more(b"o", last=True)
        return refused[0], len((await small.answer())[1]), len((await other.answer())[1])

    assert asyncio.run(run()) == (503, 301, 401)


def test_work_ends_with_its_client_and_with_its_time():
    async def run():
        app = Sleeps()
        gone, late = Client(Bounds(app, Limits())), Client(Bounds(app, Limits(total_seconds=0.2)))
        for client in (gone, late):
            client.more(b"", last=True)
        await asyncio.sleep(0.05)
        gone.leave()
        return app, await gone.answer(), await late.answer()

    app, gone, (status, body) = asyncio.run(run())
    assert gone == (0, "")
    assert (status, json.loads(body)["error"][:36]) == (503, "there is no answer after 0.2 seconds")
    assert app.began == app.cancelled == 2


def test_a_client_that_leaves_before_its_body_is_whole_has_no_answer():
    async def run():
        client = Client(Bounds(echo, Limits()))
        client.more(b"{")
        client.leave()
        return await client.answer()

    assert asyncio.run(run()) == (0, "")


def test_an_address_has_so_many_requests_and_gets_its_place_back():
    async def run():
        app = Sleeps()
        bounds = Bounds(app, Limits(per_address=2))
        first = [Client(bounds) for _ in range(2)]
        for client in first:
            client.more(b"", last=True)
        await asyncio.sleep(0.01)
        refused, other = Client(bounds), Client(bounds, "192.0.2.2")
        local = [Client(bounds, "127.0.0.1") for _ in range(5)]
        await asyncio.sleep(0.01)
        status = (await refused.answer())[0], other.task.done(), any(one.task.done() for one in local)
        first[0].leave()
        await first[0].answer()
        again = Client(bounds)
        await asyncio.sleep(0.01)
        return *status, again.task.done()

    assert asyncio.run(run()) == (429, False, False, False)


def test_what_the_application_raises_is_raised():
    async def broken(scope, receive, send):
        raise RuntimeError("a mistake of ours")

    async def run():
        client = Client(Bounds(broken, Limits()))
        client.more(b"", last=True)
        await client.answer()

    with pytest.raises(RuntimeError, match="a mistake of ours"):
        asyncio.run(run())
