"""TensorFlow loads quietly: what is a note and what is not, and what standard error holds in a process of its own."""

import os
import subprocess
import sys

import pytest

from kobert_tf2 import quiet_tensorflow

NOTES = [
    b"WARNING: All log messages before absl::InitializeLog() is called are written to STDERR\n",
    b"I0000 00:00:1795757284.346151   24962 port.cc:153] oneDNN custom operations are on.\n",
    b"W0000 00:00:1795757284.346151   24962 computation_placer.cc:177] computation placer already registered.\n",
    b"E0000 00:00:1795757284.346151   24962 cuda_dnn.cc:8579] Unable to register cuDNN factory: Attempting to ...\n",
    b"2024-01-31 12:00:00.123456: I tensorflow/core/util/port.cc:113] oneDNN custom operations are on.\n",
    b"To enable the following instructions: AVX2 FMA, in other operations, rebuild TensorFlow.\n",
]
NO_NOTES = [
    b"E0000 00:00:1795757284.346151   24962 env.cc:12] No space left on device\n",
    b"F0000 00:00:1795757284.346151   24962 env.cc:12] Check failed\n",
    b"UserWarning: something of another thread\n",
    b"the word oneDNN alone\n",
    b"\n",
]
CU_INIT = b"E0000 00:00:1795757287.422578   25 cuda_platform.cc:52] failed call to cuInit: INTERNAL: CUDA error: 303\n"


@pytest.mark.parametrize("line", NOTES)
def test_what_tensorflow_writes_when_nothing_is_wrong_is_a_note(line):
    assert quiet_tensorflow.is_note(line, has_gpu=True)


@pytest.mark.parametrize("line", NO_NOTES)
def test_anything_else_is_kept(line):
    assert not quiet_tensorflow.is_note(line, has_gpu=False)


def test_a_gpu_that_does_not_start_is_an_error_only_where_there_is_one():
    assert quiet_tensorflow.is_note(CU_INIT, has_gpu=False)
    assert not quiet_tensorflow.is_note(CU_INIT, has_gpu=True)


# A package called tensorflow that says what a real one does.
FAKE = """
import contextlib, os, sys
def say(line):
    with contextlib.suppress(OSError):
        os.write(2, line)
say(b"I0000 00:00:1795757284.346151   24962 port.cc:153] oneDNN custom operations are on.\\n")
say(b"from C\\n")
if sys.stderr:
    print("from Python", file=sys.stderr)
if os.environ.get("FAILS"):
    raise ImportError("libcudart.so.12: cannot open shared object file")
class config:
    def list_physical_devices(kind):
        say(b"E0000 00:00:1795757287.422578   25 cuda_platform.cc:52] failed call to cuInit: UNKNOWN (303)\\n")
"""


@pytest.fixture
def run(tmp_path):
    """Runs a program beside a fake tensorflow; a level of TF_CPP_MIN_LOG_LEVEL as the user's, or none."""
    (tmp_path / "tensorflow.py").write_text(FAKE)

    def run(program: str, level: str | None = None, shell: str = "", **environment: str):
        kept = {name: value for name, value in os.environ.items() if name != "TF_CPP_MIN_LOG_LEVEL"}
        paths = os.pathsep.join([str(tmp_path), *sys.path])
        more = {"TF_CPP_MIN_LOG_LEVEL": level} if level else {}
        return subprocess.run(
            ["sh", "-c", f'exec "$0" -c "$1" {shell}', sys.executable, program],
            env={**kept, "PYTHONPATH": paths, **more, **environment},
            capture_output=True,
            text=True,
        )

    return run


def test_notes_are_left_out_and_the_rest_is_written(run):
    result = run("import kobert_tf2, tensorflow, os; os.write(2, b'later\\n')")
    assert result.stderr.splitlines() == ["from C", "from Python", "later"]


def test_a_failed_import_shows_all_of_it(run):
    result = run("import kobert_tf2, tensorflow", FAILS="1")
    assert "oneDNN" in result.stderr
    assert "ImportError: libcudart" in result.stderr
    assert result.returncode == 1


@pytest.mark.parametrize(("level", "is_quiet"), [("0", False), ("1", False), ("2", True), ("3", True)])
def test_a_level_of_the_users_own_wins(run, level, is_quiet):
    result = run("import kobert_tf2, tensorflow, os; print(os.environ['TF_CPP_MIN_LOG_LEVEL'])", level)
    assert ("oneDNN" not in result.stderr) == is_quiet
    assert result.stdout.strip() == level


def test_standard_error_may_be_closed(run):
    result = run("import kobert_tf2, tensorflow; print('ok')", shell="2>&-")
    assert (result.stdout, result.returncode) == ("ok\n", 0)


def test_asking_whether_tensorflow_is_installed_changes_nothing(run):
    result = run("import importlib.util, kobert_tf2; importlib.util.find_spec('tensorflow'); import tensorflow")
    assert "oneDNN" not in result.stderr


def test_the_real_tensorflow_says_nothing():
    script = "import kobert_tf2 as kb; kb.BertBackbone; import tensorflow as tf; tf.constant(1) + 1"
    environment = {name: value for name, value in os.environ.items() if name != "TF_CPP_MIN_LOG_LEVEL"}
    result = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True)
    assert (result.returncode, result.stderr) == (0, "")
