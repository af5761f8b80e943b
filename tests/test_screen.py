"""What is laid out on standard error: numbers, tables, commands."""

import shlex
import subprocess
import sys

import pytest

from kobert_tf2 import screen


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        *[(0.123456, "0.1235"), (12.3456, "12.35"), (1234.56, "1,235"), (0.0000123, "1.23e-05"), (0.0, "0")],
        *[(1234567, "1,234,567"), (True, "True"), ("text", "text"), (None, "None"), (float("nan"), "nan")],
    ],
)
def test_numbers_have_four_figures(value, shown):
    assert screen.number(value) == shown


def test_a_table_is_aligned_and_each_row_fits_its_line(monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    lines = screen.table({"loss": 1.5, "a long name": "x" * 100, "two lines": "a\nb"}).splitlines()
    assert lines[0] == "  loss         1.5"
    assert len(lines[1]) == 39
    assert lines[1].endswith("…")
    assert lines[2] == "  two lines    a b"


def test_results_are_the_figures_of_a_summary():
    summary = {"f1": 0.5, "path": "x", "raw": {"f1": 1.0}, "labels": ["a"], "done": True, "confusion": [[1]]}
    assert screen.results(summary) == "  f1      0.5\n  raw f1  1"
    assert screen.results({"path": "x"}) == ""


def test_a_command_can_be_copied(monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    flags = {"input_file": "a b/*.txt", "do_train": True, "report": None, "nbest": False, "vocab": "x" * 30}
    text = screen.command("evaluate_mrc.py", flags)
    words = shlex.split(text.replace("\\\n", " "))
    assert words[2:] == ["--input_file=a b/*.txt", "--do_train", "--nonbest", f"--vocab={'x' * 30}"]
    assert subprocess.run([*words[:2], "--help"], capture_output=True).returncode == 0


def test_under_the_installed_command_it_is_a_sub_command(monkeypatch):
    monkeypatch.setitem(sys.modules, "kobert_tf2.kobert", sys)
    monkeypatch.setattr(screen.shutil, "which", lambda name: f"/bin/{name}")
    assert screen.command("export_model.py", {"version": 2}) == "kobert export-model --version=2"
