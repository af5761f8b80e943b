"""Shutdown of a service: its timing, and the responses to waiting clients."""

import re
import resource
import threading
import time

import pytest

pytest.importorskip("fastapi", reason="the extra 'serve' is not installed")
from loopback_server import connect, request, response, serving, wait_until
from stand_in_service import StandIn

from kobert_tf2.errors import InputError
from kobert_tf2.serving import server as server_module


@pytest.mark.parametrize("half_sent", [False, True])
def test_draining_ends_when_it_says_and_nobody_waits_in_vain(half_sent):
    with serving(StandIn(seconds=0.02, characters=1), drain_seconds=1.5) as server:
        waiting = [connect(server) for _ in range(4)]
        for connection in waiting:
            connection.sendall(request(context="가" * 3000))
        if half_sent:
            connect(server).send(b"POST /answer HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n")
        wait_until(lambda: server.scheduler.waiting == 4, "four in work")
        began = time.monotonic()
        server.should_exit = True
        assert [response(connection)[0] for connection in waiting] == [503] * 4
        server.thread.join(10)
        assert 0.7 < time.monotonic() - began < 3


def test_what_can_be_answered_while_draining_is(capfd):
    with serving(StandIn(seconds=0.3), drain_seconds=10) as server:
        connection = connect(server)
        connection.sendall(request())
        wait_until(lambda: server.scheduler.waiting == 1, "one in work")
        server.should_exit = True
        assert response(connection)[0] == 200
    assert "Traceback" not in capfd.readouterr().err


def test_an_address_that_cannot_be_had_is_a_sentence():
    with server_module.bind("127.0.0.1", 0) as bound:
        bound.listen()
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+/", server_module.url_of(bound))
        port = bound.getsockname()[1]
        with pytest.raises(InputError, match=rf"127\.0\.0\.1:{port}: cannot listen there: Address already in use"):
            server_module.bind("127.0.0.1", port)
    for host in ("203.0.113.7", "no such host"):
        with pytest.raises(InputError, match=f"{host}:0: cannot listen there: "):
            server_module.bind(host, 0)


def test_no_thread_is_left_behind():
    before = threading.active_count()
    with serving(StandIn()) as server, connect(server) as connection:
        connection.sendall(request(context="가 " * 4000))
        assert response(connection)[0] == 200
    wait_until(lambda: threading.active_count() <= before, f"the threads end: {threading.enumerate()}")


def test_the_limit_of_open_files_is_raised_as_far_as_the_system_allows(monkeypatch):
    set_to = []
    monkeypatch.setattr(resource, "setrlimit", lambda what, limits: set_to.append(limits))
    for soft, hard in ((1024, 4096), (1024, 1100), (9999, 9999), (1024, resource.RLIM_INFINITY)):
        monkeypatch.setattr(resource, "getrlimit", lambda what, limits=(soft, hard): limits)
        server_module._allow_open_files(1200)
    assert set_to == [(1200, 4096), (1100, 1100), (1200, resource.RLIM_INFINITY)]
