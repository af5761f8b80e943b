"""Makes the workers on several hosts wait for each other before TensorFlow starts.

TensorFlow's own waiting prints nothing, has no timeout on the first worker, and blocks Python. Here the first worker
listens at its address and port, and the others connect and send their number. When all have connected, it tells them to
continue and frees the port for TensorFlow's server.
"""

import contextlib
import socket
import time
from collections.abc import Sequence

from kobert_tf2.errors import InputError

_SECONDS_BETWEEN_TRIES = 0.5
_SECONDS_OF_A_TRY = 10.0
_GO = b"go\n"
_EXPECTED = (
    "expected all workers to run the same command, each with its own TF_CONFIG, and to reach the first one "
    "(--worker_timeout waits longer)"
)


def meet(addresses: Sequence[str], index: int, *, timeout: float) -> None:
    """Waits until the workers at all `addresses` (host:port) are present. This is worker `index`, counted from 0.

    Raises: `InputError` after `timeout` seconds, naming the missing workers.
    """
    if len(addresses) < 2:
        return
    end = time.monotonic() + timeout
    if index:
        _join(addresses[0], index, end, timeout)
    else:
        _wait_for(addresses, end, timeout)


def _wait_for(addresses: Sequence[str], end: float, timeout: float) -> None:
    """First worker: waits until every other worker has sent its number."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(_listening(addresses[0]))
        there: dict[int, socket.socket] = {}
        while len(there) < len(addresses) - 1:
            listener.settimeout(max(end - time.monotonic(), 0.001))
            try:
                connection, _ = listener.accept()
            except TimeoutError:
                missing = [address for number, address in enumerate(addresses) if number and number not in there]
                raise InputError(
                    f"{len(missing)} of {len(addresses)} workers did not come within {timeout:g} seconds: "
                    f"{', '.join(missing[:8])}; {_EXPECTED}"
                ) from None
            stack.enter_context(connection)
            number = _number_said(connection)
            if number is not None and 0 < number < len(addresses):
                there[number] = connection
            there = {number: connection for number, connection in there.items() if _is_open(connection)}
        for connection in there.values():
            with contextlib.suppress(OSError):  # TensorFlow reports a worker that has disconnected again.
                connection.sendall(_GO)
                connection.recv(1)  # The other side closes first, so that no port stays in TIME_WAIT here.


def _listening(address: str) -> socket.socket:
    port = int(address.rpartition(":")[2])
    try:
        return socket.create_server(("", port))
    except OSError as error:
        raise InputError(
            f"{address}: this worker cannot listen there ({error.strerror}); is an earlier run still using the port?"
        ) from None


def _number_said(connection: socket.socket) -> int | None:
    """The number of the worker that connected; None for any other client."""
    connection.settimeout(_SECONDS_OF_A_TRY)
    with contextlib.suppress(OSError, ValueError):
        said = connection.recv(64).split()
        if len(said) == 2 and said[0] == b"worker":
            return int(said[1])
    return None


def _is_open(connection: socket.socket) -> bool:
    connection.settimeout(0)
    try:
        return connection.recv(1, socket.MSG_PEEK) != b""
    except BlockingIOError:
        return True
    except OSError:
        return False
    finally:
        connection.settimeout(_SECONDS_OF_A_TRY)


def _join(first: str, index: int, end: float, timeout: float) -> None:
    """Other workers: wait until the first worker reports that all are present."""
    reason = "it is not there"
    while (left := end - time.monotonic()) > 0:
        host, _, port = first.rpartition(":")
        try:
            with socket.create_connection((host, int(port)), timeout=min(left, _SECONDS_OF_A_TRY)) as connection:
                connection.sendall(b"worker %d\n" % index)
                reason = "others are still missing"
                connection.settimeout(max(end - time.monotonic(), 0.001))
                if connection.recv(len(_GO)) == _GO:
                    return
                reason = "it ended"
        except TimeoutError:
            pass
        except OSError as error:
            reason = error.strerror or str(error)
        time.sleep(min(_SECONDS_BETWEEN_TRIES, max(left, 0)))
    raise InputError(
        f"the first worker, {first}, did not say within {timeout:g} seconds that all are there ({reason}); {_EXPECTED}"
    )
