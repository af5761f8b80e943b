"""Connections of malicious clients, on a server with small limits: half-sent, endless, unread, too many."""

import contextlib
import json
import socket
import time

import pytest

pytest.importorskip("fastapi", reason="the extra 'serve' is not installed")
from loopback_server import ask, connect, is_closed, request, response, serving, wait_until
from stand_in_service import StandIn

from kobert_tf2.serving import protocol

LIMITS = {"header_seconds": 0.6, "body_seconds": 0.6, "context_characters": 5_000, "connections": 20}
HEAD = b"POST /answer HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"


@pytest.fixture(scope="module")
def server():
    with serving(StandIn(), **LIMITS) as server:
        yield server


@pytest.mark.parametrize(
    ("sent", "status", "sentence"),
    [
        (b"", 408, "expected a request within 0.6 seconds, but it has not come"),
        (b"POST /answer HTTP/1.1\r\nHost: x\r\nX-", 408, "expected a request within 0.6 seconds"),
        (HEAD + b"Content-Length: 90\r\n\r\n{", 408, "expected the whole body within 0.6 seconds"),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n", 408, "expected the whole body within 0.6 seconds"),
        (b"\x16\x03\x01 hello\r\n\r\n", 400, "expected an HTTP/1.1 request, but what came is none"),
        (b"GET /healthz HTTP/1.1\r\nHost: x\r\nX: " + b"x" * 100_000, 400, "expected an HTTP/1.1 request"),
        (HEAD + b"Content-Length: 99999999\r\n\r\n", 413, "expected a body of at most 73,000 bytes"),
        (HEAD + b"Content-Length: -1\r\n\r\n", 400, "expected an HTTP/1.1 request"),
        (HEAD + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n", 400, ""),
    ],
)
def test_a_request_that_does_not_come_whole_is_answered_and_its_connection_closed(server, sent, status, sentence):
    with connect(server) as connection:
        connection.sendall(sent)
        got, body = response(connection)
        if not sentence:  # two lengths: h11 decides which error it is
            assert got in (400, 408)
            return
        assert got == status
        assert sentence in json.loads(body)["error"]
        assert is_closed(connection)


def test_a_second_request_of_a_connection_has_its_time_limit_too(server):
    with connect(server) as connection:
        connection.sendall(request())
        assert response(connection)[0] == 200
        connection.sendall(HEAD)
        assert response(connection)[0] == 408


@pytest.mark.parametrize("length", [b"Transfer-Encoding: chunked\r\n\r\n", b"Content-Length: 9999999999\r\n\r\n"])
@pytest.mark.parametrize("head", [HEAD, HEAD.replace(b"POST /answer", b"GET /healthz")], ids=["POST", "GET"])
def test_an_endless_body_is_answered_at_the_limit_and_read_no_further(server, head, length):
    chunk = b"2000\r\n" + b"x" * 0x2000 + b"\r\n"
    sent, status = 0, None
    with connect(server) as connection:
        connection.sendall(head + length)
        connection.settimeout(0.001)
        with contextlib.suppress(ConnectionError):
            while sent < 100_000_000:
                with contextlib.suppress(TimeoutError):
                    sent += connection.send(chunk)
                if status is None:
                    with contextlib.suppress(TimeoutError):
                        status = connection.recv(12)
    assert status in (b"HTTP/1.1 413", b"HTTP/1.1 400")
    assert sent < 3 * protocol._LINGER_BYTES


def test_a_client_that_sends_before_it_reads_still_gets_the_413(server):
    with connect(server) as connection:
        body = b"x" * 3_000_000
        connection.sendall(HEAD + b"Content-Length: %d\r\n\r\n" % len(body) + body)
        assert response(connection)[0] == 413


def test_half_sent_requests_keep_nobody_out(server):
    """Three times as many as there may be connections, each younger than the time for its headers."""
    with contextlib.ExitStack() as held:
        for _ in range(60):
            held.enter_context(connect(server)).send(b"POST /ans")
        began = time.monotonic()
        assert ask(server)[0] == 200
        assert time.monotonic() - began < 2


def test_one_address_has_so_many_requests_and_connections():
    service = StandIn(seconds=0.02, characters=1)
    with serving(service, per_address=2, count_loopback=True) as server, contextlib.ExitStack() as held:
        waiting = [held.enter_context(connect(server)) for _ in range(3)]
        for connection in waiting[:2]:
            connection.sendall(request(context="가" * 100))
        wait_until(lambda: server.scheduler.waiting == 2, "two in work")
        waiting[2].sendall(request())
        status, body = response(waiting[2])
        assert (status, "at most 2 requests at a time" in body) == (429, True)
        assert ask(server, "127.0.0.2")[0] == 200
        more = [held.enter_context(connect(server)) for _ in range(4)]
        assert "at most 4 connections" in response(more[-1])[1]
        for connection in waiting[:2]:
            assert response(connection)[0] == 200
    with serving(StandIn(), per_address=1) as server, contextlib.ExitStack() as held:
        assert all(held.enter_context(connect(server)) for _ in range(5))
        assert ask(server)[0] == 200


@pytest.mark.parametrize("how", ["closed", "reset", "pipelined"])
def test_the_work_of_a_client_that_is_gone_is_dropped(how):
    service = StandIn(seconds=0.02, characters=1)
    with serving(service) as server:
        connections = [connect(server) for _ in range(5)]
        for connection in connections:
            connection.sendall(request(context="가" * 3000) * (20 if how == "pipelined" else 1))
        wait_until(lambda: server.scheduler.waiting == 5, "five in work")
        for connection in connections:
            if how == "reset":
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            connection.close()
        wait_until(lambda: server.scheduler.waiting == 0, "the work is dropped", 5)
        assert ask(server)[0] == 200
    assert sum(map(len, service.calls)) < 1000  # of 15,000


def test_a_client_that_does_not_read_its_response_is_cut_off(monkeypatch):
    monkeypatch.setattr(protocol, "_WRITE_SECONDS", 0.5)
    with serving(StandIn()) as server, connect(server) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.sendall(b"GET /docs/swagger-ui-bundle.js HTTP/1.1\r\nHost: x\r\n\r\n" * 8)
        wait_until(lambda: not server.server_state.connections, "the connection is closed", 10)
