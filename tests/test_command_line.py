"""What a program in tools/ does with success, a user's mistake and one of ours: exit status, stdout, stderr."""

import json
import subprocess
import sys

import pytest

from kobert_tf2 import command_line, files

PROGRAM = """
'''Adds nothing to nothing.'''
from absl import flags
from kobert_tf2 import command_line; from kobert_tf2 import errors
flags.DEFINE_string('kind', 'good', 'How to end.')
command_line.define_tokenizer_flags()
def main():
    kind = flags.FLAGS.kind
    if kind == 'input':
        raise errors.InputError('a.txt, line 3: expected two columns, but got 5')
    if kind == 'file':
        open('/nowhere/at/all')
    if kind == 'bug':
        raise KeyError('ours')
    if kind == 'ctrl-c':
        raise KeyboardInterrupt
    if kind == 'ctrl-c-in-a-condition':
        try:
            raise KeyboardInterrupt
        finally:
            raise RuntimeError('cannot release un-acquired lock')
    print('not the last line')
    return {'답': 1, 'settings': command_line.tokenizer_settings(given_only=True)}
if __name__ == '__main__':
    command_line.run(main)
"""


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    path = tmp_path_factory.mktemp("tools") / "program.py"
    path.write_text(PROGRAM, encoding="utf-8")
    return lambda *flags: subprocess.run([sys.executable, str(path), *flags], capture_output=True, text=True)


def test_the_result_is_the_last_line_of_standard_output(program):
    result = program("--tags")
    assert result.returncode == 0
    assert json.loads(result.stdout.splitlines()[-1]) == {"답": 1, "settings": {"tags": True}}


@pytest.mark.parametrize(
    ("kind", "sentence"),
    [
        ("input", "a.txt, line 3: expected two columns, but got 5"),
        ("file", "/nowhere/at/all: No such file or directory"),
    ],
)
def test_a_users_mistake_is_one_sentence_and_status_1(program, kind, sentence):
    result = program(f"--kind={kind}")
    assert result.returncode == 1
    assert result.stdout == ""
    assert result.stderr == f"error: {sentence}\n"


def test_a_mistake_of_ours_keeps_its_traceback(program):
    result = program("--kind=bug")
    assert result.returncode == 1
    assert "Traceback" in result.stderr


@pytest.mark.parametrize("kind", ["ctrl-c", "ctrl-c-in-a-condition"])
def test_ctrl_c_is_a_line_that_says_what_a_repetition_does(program, kind):
    result = program(f"--kind={kind}")
    assert (result.returncode, result.stdout) == (130, "")
    assert result.stderr == f"\ninterrupted: {command_line.BEGINS_AGAIN}\n"


def test_help_explains_each_flag_and_succeeds(program):
    result = program("--help")
    assert result.returncode == 0
    for part in ("Adds nothing to nothing", "--kind: How to end.", "--[no]tags", "--continuation"):
        assert part in result.stdout


def test_unknown_flags_and_stray_words_are_refused(program):
    assert "Unknown command line flag 'kindd'" in program("--kindd=x").stderr
    stray = program("word")
    assert stray.returncode == 1
    assert "expected flags alone, but got 'word'" in stray.stderr


def test_the_fields_of_settings_are_the_flags_of_these_names():
    program = """
import dataclasses
from absl import flags
from kobert_tf2 import command_line
flags.DEFINE_integer('steps', 3, '')
flags.DEFINE_integer('length', 128, '')
flags.DEFINE_integer('width', 5, '')
command_line.define_tokenizer_flags()
@dataclasses.dataclass
class Settings:
    steps: int
    length: int | None = None
    width: int | None = None
    other: str = 'own'
    tokenizer_settings: dict | None = None
command_line.run(lambda: dataclasses.asdict(command_line.settings_from_flags(Settings)))
"""
    command = [sys.executable, "-c", program, "--width=6", "--tags"]
    result = subprocess.run(command, capture_output=True, text=True)
    assert json.loads(result.stdout) == {
        "steps": 3,  # its default
        "length": None,  # not given: the field's own None, not the flag's default
        "width": 6,
        "other": "own",
        "tokenizer_settings": {"tags": True},
    }, result.stderr


def test_a_bucket_that_cannot_be_reached_is_a_sentence(monkeypatch, capsys):
    """TensorFlow's errors are no OSError, and say a page."""
    import tensorflow as tf

    def fail(path, *_):
        raise tf.errors.FailedPreconditionError(None, None, f"Could not resolve host\n\t when reading {path}")

    monkeypatch.setattr(tf.io.gfile, "exists", fail)
    with pytest.raises(OSError, match="Could not resolve host: 'gs://nowhere/x'"):
        files.exists("gs://nowhere/x")
    assert command_line._is_of_remote_files(tf.errors.NotFoundError(None, None, "gs://nowhere/x: no such object"))
    assert not command_line._is_of_remote_files(tf.errors.InvalidArgumentError(None, None, "shapes"))
    assert not command_line._is_of_remote_files(ValueError("gs://x"))


def test_a_nul_from_a_flag_file_is_a_sentence(program, tmp_path):
    (tmp_path / "a.flags").write_bytes(b"--kind=go\0od\n")
    result = program(f"--flagfile={tmp_path}/a.flags")
    assert (result.returncode, result.stderr) == (1, "error: --kind: expected text without NUL, but got 'go\\x00od'\n")
