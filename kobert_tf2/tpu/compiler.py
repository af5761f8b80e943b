"""Compiles a program with the TPU's own compiler, libtpu, without a TPU.

The compiler runs in a separate process (`compiler_process.py`) without network access; this module starts it, waits,
and reads its answer. Neither TensorFlow nor jax is imported here.
"""

import dataclasses
import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile

from kobert_tf2.errors import InputError
from kobert_tf2.tpu import compiler_process
from kobert_tf2.tpu.topologies import Topology

# The only tested set of versions; the extra `tpu_compiler` in setup.cfg pins the same.
VERSIONS = {"jax": "0.10.2", "jaxlib": "0.10.2", "libtpu": "0.0.42.1"}
INSTALL = "pip install 'kobert_tf2[tpu_compiler]'"
# The Python interpreter with jax and libtpu, if it is not the running one.
PYTHON_VARIABLE = "KOBERT_TPU_COMPILER_PYTHON"
_SECONDS_TO_LOOK = 60


@dataclasses.dataclass(frozen=True)
class Compiled:
    """The TPU compiler's result for one core. A compiled program fits in memory; one that does not fails to compile.

    Attributes:
      hlo: the optimized program as text.
      memory: bytes, {"arguments", "outputs", "aliased", "temporaries", "code"}; an aliased output takes no memory.
      seconds, cpu_seconds: wall time and CPU time (over all threads) of the compiler; far apart on a busy machine.
      isolated: whether it ran without network access.
    """

    hlo: str
    memory: dict[str, int]
    seconds: float
    cpu_seconds: float
    isolated: bool

    @property
    def memory_used(self) -> int:
        """Bytes used per core while the program runs."""
        held = {name: size for name, size in self.memory.items() if name != "aliased"}
        return sum(held.values()) - self.memory["aliased"]


class CompilationError(InputError):
    """The compiler rejected the program. `message` is its full output."""

    def __init__(self, message: str) -> None:
        super().__init__(f"the TPU compiler refuses the program: {first_sentence(message)}")
        self.message = message

    @property
    def is_for_memory(self) -> bool:
        return "RESOURCE_EXHAUSTED" in self.message or "Ran out of memory" in self.message


def first_sentence(message: str) -> str:
    """The first sentence of the compiler's message, without the leading status code."""
    line = next((line.strip() for line in message.splitlines() if line.strip()), "no message")
    status, colon, rest = line.partition(": ")
    return rest if colon and status.isupper() else line


def python() -> str:
    return os.environ.get(PYTHON_VARIABLE) or sys.executable


def what_is_missing() -> str | None:
    """A sentence that says why the compiler cannot be used; None if the tested versions are installed."""
    script = (
        "import importlib.metadata as m, json\n"
        "found = {d.metadata['Name'].lower(): d.version for d in m.distributions() if d.metadata['Name']}\n"
        f"print(json.dumps({{name: found.get(name) for name in {list(VERSIONS)!r}}}))"
    )
    try:
        said = subprocess.run(
            [python(), "-c", script], capture_output=True, text=True, timeout=_SECONDS_TO_LOOK, check=True
        )
    except (OSError, subprocess.SubprocessError) as error:
        return f"{PYTHON_VARIABLE}={python()}: expected a Python with jax and libtpu, but it does not run: {error}"
    return mismatch(json.loads(said.stdout))


def mismatch(found: dict[str, str | None]) -> str | None:
    """A sentence about the first package of `VERSIONS` that is missing or has another version."""
    for name, version in VERSIONS.items():
        if found.get(name) is None:
            return f"the TPU compiler needs {name}=={version}, which is not installed: {INSTALL}"
    for name, version in VERSIONS.items():
        if found[name] != version:
            pinned = " ".join(f"{name}=={version}" for name, version in VERSIONS.items())
            return f"the TPU compiler was tried with {pinned}, but {name} here is {found[name]}: {INSTALL}"
    return None


def compile_program(hlo: bytes, topology: Topology, replicas: int, *, timeout: float | None = None) -> Compiled:
    """Compiles a serialized HloModuleProto for `replicas` cores of `topology`, in at most `timeout` seconds.

    Raises `CompilationError` if the compiler rejects it, for lack of memory for example, and `InputError` if there is
    no compiler or the time runs out.
    """
    with tempfile.TemporaryDirectory(prefix="kobert-tpu-") as folder:
        paths = {name: os.path.join(folder, name) for name in ("hlo", "compiled", "answer")}
        pathlib.Path(paths["hlo"]).write_bytes(hlo)
        request = {
            **paths,
            "topology": topology.compiler_name,
            "topology_options": topology.compiler_options,
            "replicas": replicas,
        }
        path = pathlib.Path(folder, "request.json")
        path.write_text(json.dumps(request), encoding="utf-8")
        said = _run(path, timeout)
        if not os.path.exists(paths["answer"]):
            raise InputError(f"the TPU compiler ended without an answer; its last words: {_last_line(said)}")
        answer = json.loads(pathlib.Path(paths["answer"]).read_text(encoding="utf-8"))
        if "failed" in answer:
            raise CompilationError(answer["failed"])
        text = pathlib.Path(paths["compiled"]).read_text(encoding="utf-8")
    return Compiled(text, answer["memory"], answer["seconds"], answer["cpu_seconds"], answer["isolated"])


def _run(request: pathlib.Path, timeout: float | None) -> str:
    """Runs the process to its end; returns its standard error."""
    command = [python(), "-P", compiler_process.__file__, str(request)]
    environment = {**os.environ, **compiler_process.ENVIRONMENT}
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True
    ) as process:
        try:
            return process.communicate(timeout=timeout)[1].decode(errors="replace")
        except subprocess.TimeoutExpired:
            raise InputError(
                f"--preflight_timeout={timeout:g}: the TPU compiler was not done after so many seconds; large models "
                "take minutes on a busy machine"
            ) from None
        finally:
            _end(process)


def _end(process: subprocess.Popen) -> None:
    """Terminates the compiler and its children, for whatever reason the wait ended."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)


def _last_line(text: str) -> str:
    return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "none")
