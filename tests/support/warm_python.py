"""Runs `python PROGRAM ARGUMENTS...` for tests, in forks of a process that has already done the slow imports.

A program that imports TensorFlow, or PyTorch and transformers, takes seconds to start, and the default tests run
dozens. One process per test session imports them (without starting any of their threads), and each program runs in a
fork of it, with its own command line, working folder, environment, files and exit status.

Settings read at import are the same for all forks: a test of the import itself, or of a variable read there
(KERAS_BACKEND, OMP_NUM_THREADS, TF_CPP_MIN_LOG_LEVEL), must start a separate Python.
"""

import atexit
import functools
import gc
import json
import os
import pathlib
import pickle
import select
import signal
import subprocess
import sys
import tempfile
import types
from collections.abc import Callable
from typing import Any

# The modules imported in advance for each kind of program. One process cannot import both (see hf_forward.py).
IMPORTS = {
    "tensorflow": ("tensorflow", "tensorflow_text"),
    "transformers": ("torch", "transformers.models.bert.modeling_bert", "transformers.models.auto.tokenization_auto"),
}


def run(
    arguments: list,
    *,
    imported: str = "tensorflow",
    cwd: str | os.PathLike | None = None,
    env: dict[str, str] | None = None,
    timeout: float = 300,
) -> subprocess.CompletedProcess:
    """Returns the same as `subprocess.run([sys.executable, *arguments], capture_output=True, text=True)`.

    `arguments` are a program's path and its flags, or "-c", the code and its arguments.
    """
    arguments = [os.fspath(argument) for argument in arguments]
    with tempfile.TemporaryDirectory(prefix="warm_python-") as folder:
        streams = {name: f"{folder}/{name}" for name in ("stdout", "stderr")}
        asked = {
            "arguments": arguments,
            "cwd": os.fspath(cwd or os.getcwd()),
            "env": dict(os.environ if env is None else env),
        }
        status = _ended(_server(imported), {**asked, **streams}, timeout)
        # As in `subprocess`, lines end in "\n".
        out, err = (pathlib.Path(path).read_text("utf-8", "backslashreplace") for path in streams.values())
    return subprocess.CompletedProcess([sys.executable, *arguments], status, out, err)


CALL = """
import pickle, sys
with open(sys.argv[1], "rb") as file:
    function, args, kwargs = pickle.load(file)
try:
    result = True, function(*args, **kwargs)
except Exception as error:
    result = False, error
with open(sys.argv[1], "wb") as file:
    pickle.dump(result, file)
"""


def call(function: Callable, *args: Any, imported: str = "tensorflow", **kwargs: Any) -> Any:
    """Calls `function(...)` in such a process; returns its result or raises its exception."""
    with tempfile.NamedTemporaryFile(prefix="warm_python-") as file:
        pickle.dump((function, args, kwargs), file)
        file.flush()
        ended = run(["-c", CALL, file.name], imported=imported)
        assert ended.returncode == 0, ended.stderr
        succeeded, result = pickle.loads(pathlib.Path(file.name).read_bytes())
    if not succeeded:
        raise result
    return result


@functools.cache
def _server(imported: str) -> subprocess.Popen:
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "USE_TF": "0"}
    command = [sys.executable, __file__, *IMPORTS[imported]]
    pipe = subprocess.PIPE
    server = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, text=True, env=environment)
    atexit.register(_end, server)
    return server


def _end(server: subprocess.Popen) -> None:
    server.stdin.close()
    server.wait(timeout=300)


def _ended(server: subprocess.Popen, asked: dict, timeout: float) -> int:
    """Starts a program and waits for it to end; returns its exit status, as `subprocess` does."""
    print(json.dumps(asked), file=server.stdin, flush=True)
    process = int(server.stdout.readline())
    if not select.select([server.stdout], [], [], timeout)[0]:
        os.killpg(process, signal.SIGKILL)
        server.stdout.readline()
        raise subprocess.TimeoutExpired(asked["arguments"], timeout)
    return int(server.stdout.readline())


# ------------------------------------------------------------------------------------------------------- the server


def _serve() -> None:
    """Reads one program per line of standard input; writes its process id, and then its exit status."""
    for name in sys.argv[1:]:
        __import__(name)
    gc.freeze()  # Objects that exist now stay alive in every fork.
    answers = os.fdopen(os.dup(1), "w")
    # Bypasses Python's buffer: a fork would inherit input that was read ahead.
    while line := _line():
        process = os.fork()
        if process == 0:
            answers.close()
            _become(**json.loads(line))
            return
        print(process, file=answers, flush=True)
        print(os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]), file=answers, flush=True)


def _line() -> str:
    read = bytearray()
    while (byte := os.read(0, 1)) not in (b"", b"\n"):
        read += byte
    return read.decode()


def _become(arguments: list[str], cwd: str, env: dict[str, str], stdout: str, stderr: str) -> None:
    """Runs the program in this process, as Python does at start-up."""
    os.setpgid(0, 0)
    for descriptor, path in ((0, os.devnull), (1, stdout), (2, stderr)):
        opened = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        os.dup2(opened, descriptor)
        os.close(opened)
    os.environ.clear()
    os.environ.update(env)
    os.chdir(cwd)
    program = arguments[0]
    if program == "-c":
        text, sys.argv = arguments[1], ["-c", *arguments[2:]]
    else:
        text, sys.argv = pathlib.Path(program).read_text("utf-8"), arguments
    folders = env.get("PYTHONPATH", "").split(os.pathsep)
    sys.path[0] = "" if program == "-c" else os.path.dirname(os.path.abspath(program))
    sys.path[1:] = dict.fromkeys([*filter(None, folders), *sys.path[1:]])
    main = types.ModuleType("__main__")
    if program != "-c":
        main.__file__ = program
    sys.modules["__main__"] = main
    exec(compile(text, "<string>" if program == "-c" else program, "exec"), main.__dict__)


if __name__ == "__main__":
    _serve()
