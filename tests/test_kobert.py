"""The command `kobert`: its sub-commands are the tools, wrong ones are answered at once, and it needs no clone."""

import ast
import configparser
import subprocess
import sys

import pytest
from paths import ROOT

from kobert_tf2 import kobert


def run(*arguments, **options):
    script = "import sys; from kobert_tf2.kobert import main; main()"
    return subprocess.run([sys.executable, "-c", script, *arguments], capture_output=True, text=True, **options)


def test_every_tool_is_a_command_and_says_what_it_is_for():
    listed = run("--help").stdout
    for path in (ROOT / "tools").glob("*.py"):
        summary = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))).partition("\n")[0]
        assert f"  {path.stem.replace('_', '-')} " in listed
        assert summary in listed


@pytest.mark.parametrize("word", ["pretrian", "pre_train", "serv"])
def test_a_wrong_command_is_one_line_with_the_right_one(word):
    result = run(word)
    assert result.returncode == 1
    assert result.stderr.count("\n") == 1
    assert "did you mean" in result.stderr
    assert result.stdout == ""


def test_a_wrong_flag_is_one_line_and_imports_no_tensorflow():
    script = "import sys; from kobert_tf2.kobert import main\ntry: main()\nfinally: print('tensorflow' in sys.modules)"
    command = [sys.executable, "-c", script, "pretrain", "--learning_rat=1"]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 1
    assert result.stderr.count("\n") == 1
    assert "learning_rate" in result.stderr
    assert result.stdout == "False\n"


@pytest.mark.parametrize("name", kobert.commands())
def test_the_flags_for_completion_are_those_of_the_help(name):
    shown = run(name, "--help").stdout
    for flag in kobert.flags_of(kobert.commands()[name]):
        assert f"--{flag}:" in shown or f"--[no]{flag}:" in shown


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_completion_script_knows_the_commands(shell):
    assert "create-pretraining-data" in run("completion", shell).stdout


def test_bash_completes_commands_and_flags(tmp_path):
    (tmp_path / "kobert").write_text(
        f'#!/bin/sh\nexec {sys.executable} -c "import sys; from kobert_tf2.kobert import main; main()" "$@"\n'
    )
    (tmp_path / "kobert").chmod(0o755)
    script = f"""PATH={tmp_path}:$PATH; eval "$(kobert completion bash)"
COMP_WORDS=(kobert pretr); COMP_CWORD=1; _kobert; echo "${{COMPREPLY[@]}}"
COMP_WORDS=(kobert pretrain --learn); COMP_CWORD=2; _kobert; echo "${{COMPREPLY[@]}}" """
    lines = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True).stdout.splitlines()
    assert lines == ["pretrain", "--learning_rate="]


def test_the_list_of_packages_is_whole():
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg", encoding="utf-8")
    rooms = {path.parent for path in (ROOT / "kobert_tf2").rglob("__init__.py")}
    found = {".".join(room.relative_to(ROOT).parts) for room in rooms} | {"kobert_tf2.tools", "kobert_tf2.configs"}
    assert set(setup["options"]["packages"].split()) == found
