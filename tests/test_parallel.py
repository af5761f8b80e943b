"""A function in a process of its own: what it returns, raises, and what is said when it is ended from outside."""

import os
import subprocess
import sys
import textwrap

import pytest

from kobert_tf2 import files, parallel
from kobert_tf2.errors import InputError


def test_a_function_apart_returns_and_raises_here():
    assert parallel.apart(os.getpid) != os.getpid()
    with pytest.raises(InputError, match="/no/such/file: there is no such file"):
        parallel.apart(files.read_json, "/no/such/file")
    with pytest.raises(ZeroDivisionError):
        parallel.apart(divmod, 1, 0)


def test_a_process_that_is_ended_from_outside_is_a_sentence():
    with pytest.raises(InputError, match="abort was ended from outside"):
        parallel.apart(os.abort)


def test_a_program_without_a_guard_is_not_run_again(tmp_path):
    program = tmp_path / "program.py"
    program.write_text(
        textwrap.dedent("""
            import os
            from kobert_tf2 import parallel
            print("once", parallel.apart(os.getpid) != os.getpid())
        """)
    )
    result = subprocess.run([sys.executable, program], capture_output=True, text=True, timeout=60)
    assert (result.stdout, result.stderr) == ("once True\n", "")
