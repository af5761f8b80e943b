"""Suppresses TensorFlow's notes about CUDA, oneDNN and absl on stderr while it is imported.

Its C++ libraries write them to descriptor 2 before they read any of their settings. So the descriptor is redirected to
a file during the import, and the output is written out afterwards without the lines that are certainly notes, or in
full if the import failed. TensorFlow's later output is not affected.

    TF_CPP_MIN_LOG_LEVEL=0      a user's own level below 2 (`--verbose` of a tool) leaves everything as it is

Lost output: that of TensorFlow just before it aborts the process while loading (use `--verbose` in that case), and that
of a process started by another thread during the import.
"""

import contextlib
import glob
import importlib.util
import os
import re
import sys
import tempfile
from collections.abc import Callable, Iterator

from kobert_tf2.import_hooks import around_import

LEVEL = "TF_CPP_MIN_LOG_LEVEL"
# "I0000 00:00:1795757284.346151   24962 port.cc:153] ...", and "2024-01-31 12:00:00.123: I tensorflow/core/..."
_LOGGED = re.compile(rb"^(?:([IWEF])\d{4} [\d:.]+ +\d+ \S+\] |\d{4}-\d\d-\d\d [\d:.]+: ([IWEF]) )")
_ABOUT_LOGGING = b"WARNING: All log messages before absl::InitializeLog() is called"
_MORE_OF_A_NOTE = b"To enable the following instructions:"
# Logged as errors, but harmless.
_NO_ERRORS = re.compile(rb"Unable to register cu\w+ factory")
_NO_GPU_IS_NO_ERROR = re.compile(rb"failed call to cuInit", re.IGNORECASE)
_GPU_DEVICES = ("/dev/nvidia[0-9]*", "/dev/nvidiactl", "/dev/dxg")


def load_quietly() -> None:
    """Makes a later import of TensorFlow quiet; no effect if it is already imported."""
    if "tensorflow" not in sys.modules:
        around_import("tensorflow", _load)


def _load(load: Callable[[], None]) -> None:
    if os.environ.setdefault(LEVEL, "2") in ("0", "1"):
        load()
        return
    has_gpu = has_gpu_device()
    with _caught_errors(has_gpu):
        load()
        if not has_gpu and importlib.util.find_spec("libtpu") is None:
            # Without a GPU, the CUDA platform logs a failure on first use; trigger it here, where it is suppressed.
            with contextlib.suppress(Exception):
                sys.modules["tensorflow"].config.list_physical_devices("GPU")


def has_gpu_device() -> bool:
    """Whether this machine has an NVIDIA GPU, usable by TensorFlow or not."""
    return any(map(glob.glob, _GPU_DEVICES))


@contextlib.contextmanager
def _caught_errors(has_gpu: bool) -> Iterator[None]:
    """Redirects descriptor 2 to a file; at the end, writes the relevant lines to stderr."""
    try:
        screen = os.dup(2)
    except OSError:  # Standard error is closed: nothing would be visible.
        yield
        return
    with tempfile.TemporaryFile() as caught, contextlib.ExitStack() as end:
        end.callback(os.close, screen)
        os.dup2(caught.fileno(), 2)
        succeeded = False
        try:
            yield
            succeeded = True
        finally:
            _flush()
            os.dup2(screen, 2)
            caught.seek(0)
            lines = caught.readlines()
            with contextlib.suppress(OSError):
                _write_all(b"".join(lines if not succeeded else (x for x in lines if not is_note(x, has_gpu=has_gpu))))


def is_note(line: bytes, *, has_gpu: bool) -> bool:
    """Whether a line of stderr is one that TensorFlow writes when nothing is wrong."""
    if line.startswith((_ABOUT_LOGGING, _MORE_OF_A_NOTE)):
        return True
    logged = _LOGGED.match(line)
    if not logged:
        return False
    if (logged[1] or logged[2]) in (b"I", b"W"):
        return True
    return bool(_NO_ERRORS.search(line) or (not has_gpu and _NO_GPU_IS_NO_ERROR.search(line)))


def _flush() -> None:
    with contextlib.suppress(AttributeError, OSError, ValueError):
        sys.stderr.flush()


def _write_all(data: bytes) -> None:
    while data:
        data = data[os.write(2, data) :]
