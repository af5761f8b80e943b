"""Simulates several hosts on this machine: network namespaces with their own addresses, connected by a bridge.

They share the disk, as hosts in distributed training share their output folder.
"""

import contextlib
import itertools
import os
import subprocess
from collections.abc import Iterator, Sequence

_numbers = itertools.count()


def _run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise OSError(f"{' '.join(command)}: {done.stderr.strip()}")
    return done.stdout


def reason_against() -> str | None:
    """The reason why this machine cannot create such hosts; None if it can."""
    try:
        with hosts(1):
            return None
    except OSError as error:
        return f"network namespaces are not allowed here ({error})"


class Host:
    """One host; `port` is free on every host."""

    port = 2222

    def __init__(self, name: str, index: int) -> None:
        self.name, self.address = name, f"10.77.{os.getpid() % 200}.{index + 1}"

    def start(self, command: Sequence[str], **how) -> subprocess.Popen:
        """Starts a program on the host, in a new process group; `how` is passed to Popen."""
        return subprocess.Popen(["ip", "netns", "exec", self.name, *command], start_new_session=True, **how)

    def cut(self) -> None:
        """Takes the link down: packets are lost but connections stay open, as when a cable is unplugged."""
        _run("ip", "-n", self.name, "link", "set", "eth0", "down")

    def mend(self) -> None:
        _run("ip", "-n", self.name, "link", "set", "eth0", "up")


@contextlib.contextmanager
def hosts(count: int) -> Iterator[list[Host]]:
    tag = f"kb{os.getpid()}x{next(_numbers)}"
    switch, names = f"{tag}s", [f"{tag}h{index}" for index in range(count)]
    made = []
    try:
        for name in (switch, *names):
            _run("ip", "netns", "add", name)
            made.append(name)
        _run("ip", "-n", switch, "link", "add", "bridge", "type", "bridge")
        _run("ip", "-n", switch, "link", "set", "bridge", "up")
        found = [Host(name, index) for index, name in enumerate(names)]
        for index, host in enumerate(found):
            _run(
                *("ip", "-n", switch, "link", "add", f"port{index}", "type", "veth"),
                *("peer", "name", "eth0", "netns", host.name),
            )
            _run("ip", "-n", switch, "link", "set", f"port{index}", "master", "bridge", "up")
            _run("ip", "-n", host.name, "address", "add", f"{host.address}/24", "dev", "eth0")
            for link in ("eth0", "lo"):  # Packets from a host to its own address go through `lo`.
                _run("ip", "-n", host.name, "link", "set", link, "up")
        yield found
    finally:
        for name in made:
            subprocess.run(["ip", "netns", "delete", name], capture_output=True, check=False)
