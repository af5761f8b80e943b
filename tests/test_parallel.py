"""A function in a process of its own: what it returns, raises, and what is said when it is ended from outside."""

import os
import pathlib
import subprocess
import sys
import textwrap
import time

import pytest

from kobert_tf2 import files, parallel
from kobert_tf2.errors import InputError


def test_a_function_in_a_subprocess_returns_and_raises_here():
    assert parallel.in_subprocess(os.getpid) != os.getpid()
    with pytest.raises(InputError, match="/no/such/file: there is no such file"):
        parallel.in_subprocess(files.read_json, "/no/such/file")
    with pytest.raises(ZeroDivisionError):
        parallel.in_subprocess(divmod, 1, 0)


def test_a_process_that_is_ended_from_outside_is_a_sentence():
    with pytest.raises(InputError, match="abort was ended from outside"):
        parallel.in_subprocess(os.abort)


def test_a_program_without_a_guard_is_not_run_again(tmp_path):
    program = tmp_path / "program.py"
    program.write_text(
        textwrap.dedent("""
            import os
            from kobert_tf2 import parallel
            print("once", parallel.in_subprocess(os.getpid) != os.getpid())
        """)
    )
    result = subprocess.run([sys.executable, program], capture_output=True, text=True, timeout=300)
    assert (result.stdout, result.stderr) == ("once True\n", "")


@pytest.mark.skipif(not pathlib.Path("/proc/self/stat").exists(), reason="looks for processes in /proc")
def test_workers_do_not_outlive_a_killed_parent(tmp_path):
    program = tmp_path / "program.py"
    program.write_text(
        textwrap.dedent("""
            import multiprocessing, time
            from kobert_tf2 import parallel
            with parallel.Workers(abs, num_workers=2) as workers:
                assert list(workers.map([-1, -2, -3])) == [1, 2, 3]
                print(*(child.pid for child in multiprocessing.active_children()), flush=True)
                time.sleep(600)
        """)
    )
    with subprocess.Popen([sys.executable, program], stdout=subprocess.PIPE, text=True) as parent:
        workers = list(map(int, parent.stdout.readline().split()))
        assert [is_alive(worker) for worker in workers] == [True, True]
        parent.kill()
    deadline = time.monotonic() + 60
    while any(map(is_alive, workers)) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not any(map(is_alive, workers))


def is_alive(pid: int) -> bool:
    try:
        state = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"
