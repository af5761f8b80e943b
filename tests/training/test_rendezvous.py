"""Workers wait for each other before TensorFlow starts, and report which are missing."""

import socket
import threading
import time

import pytest

from kobert_tf2.errors import InputError
from kobert_tf2.training import rendezvous


def addresses(count: int) -> list[str]:
    """Only the first is listened at."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        return [f"127.0.0.1:{free.getsockname()[1]}", *(f"10.0.0.{index}:2222" for index in range(1, count))]


def start(at: list[str], index: int, timeout: float = 20.0) -> tuple[threading.Thread, list]:
    outcome: list = []

    def run() -> None:
        try:
            outcome.append(rendezvous.meet(at, index, timeout=timeout))
        except InputError as error:
            outcome.append(str(error))

    thread = threading.Thread(target=run)
    thread.start()
    return thread, outcome


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0)])
def test_nobody_goes_on_before_the_last_has_come(order):
    at = addresses(3)
    started = [start(at, index) for index in order[:2]]
    time.sleep(0.3)
    assert [outcome for _, outcome in started] == [[], []]
    started.append(start(at, order[2]))
    for thread, outcome in started:
        thread.join(30)
        assert outcome == [None]
    socket.create_server(("", int(at[0].rpartition(":")[2]))).close()  # The port is available for TensorFlow.


def test_the_first_worker_names_those_that_are_missing():
    at = addresses(4)
    second, said_to_second = start(at, 2, timeout=2.0)
    with pytest.raises(InputError, match=r"^2 of 4 workers did not come within 1 seconds: 10\.0\.0\.1:2222, 10"):
        rendezvous.meet(at, 0, timeout=1.0)
    second.join(30)
    assert said_to_second[0].startswith(f"the first worker, {at[0]}, did not say within 2 seconds that all are there (")


def test_a_stranger_at_the_port_is_not_a_worker():
    at = addresses(2)
    first, outcome = start(at, 0)
    for said in (b"GET / HTTP/1.1\r\n\r\n", b"worker 7\n", b"worker x\n", b""):
        for _ in range(100):
            try:
                with socket.create_connection(("127.0.0.1", int(at[0].rpartition(":")[2])), timeout=5) as stranger:
                    stranger.sendall(said)
                break
            except ConnectionRefusedError:
                time.sleep(0.05)
    assert outcome == []
    rendezvous.meet(at, 1, timeout=20)
    first.join(30)
    assert outcome == [None]


def test_a_worker_that_has_gone_is_waited_for_again():
    at = addresses(3)
    first, outcome = start(at, 0)
    gone, said_to_gone = start(at, 1, timeout=0.5)
    gone.join(30)
    assert said_to_gone[0].startswith("the first worker")
    third, said_to_third = start(at, 2)
    time.sleep(0.5)
    assert (outcome, said_to_third) == ([], [])
    rendezvous.meet(at, 1, timeout=20)
    for thread, said in ((first, outcome), (third, said_to_third)):
        thread.join(30)
        assert said == [None]


def test_a_port_that_is_taken_is_reported():
    with socket.create_server(("", 0)) as taken, pytest.raises(InputError, match="is an earlier run still using"):
        rendezvous.meet([f"127.0.0.1:{taken.getsockname()[1]}", "10.0.0.1:2222"], 0, timeout=1.0)


def test_one_worker_waits_for_nobody():
    rendezvous.meet(["nowhere:1"], 0, timeout=0.0)
