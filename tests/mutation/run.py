"""Changes the code of one room a line at a time and counts how many changes its tests notice, with mutmut 3.

    pip install mutmut
    python tests/mutation/run.py labelling                    a room, some minutes to an hour
    python tests/mutation/run.py foundation --only='*x_check*'  some of its functions

Works on a copy of the clone in a temporary folder. Prints the share that was noticed and the changes that were not;
`survivors.md` beside this file says which of them cannot be noticed, and why. The texts of messages are not changed:
tests say what a sentence must name, not how it is worded.
"""

import argparse
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
from typing import NamedTuple

ROOT = pathlib.Path(__file__).resolve().parents[2]


class Room(NamedTuple):
    """The code that is changed and the tests that are run; with `forkserver` where tests start TensorFlow's threads."""

    code: tuple[str, ...]
    tests: tuple[str, ...]
    forkserver: bool = False


def _tests(room: str, *names: str) -> tuple[str, ...]:
    return tuple(f"tests/{room}test_{name}.py" for name in names)


ROOMS = {
    "foundation": Room(
        tuple(f"kobert_tf2/{name}.py" for name in ("files", "outputs", "arguments", "flag_bounds", "flag_files")),
        _tests("", "files", "outputs", "arguments", "flag_bounds", "flag_files"),
    ),
    "labelling": Room(("kobert_tf2/labelling",), ("tests/labelling",)),
    "reading": Room(  # josa has tests/support/josa_mutants.py
        tuple(
            f"kobert_tf2/reading/{name}.py"
            for name in ("answers", "html_text", "metrics", "settings", "tables", "training_windows", "windows")
        ),
        _tests("reading/", *("answers", "html_text", "metrics", "settings", "tables", "training_windows", "windows")),
    ),
    "tokenization": Room(
        tuple(
            f"kobert_tf2/tokenization/{name}.py"
            for name in (
                *("normalization", "words", "wordpiece", "vocab_file", "user_dictionary", "spans", "added_tokens"),
                *("batches", "decoding", "mecab", "hf_files", "pretrained", "tokenizer", "word_cache", "encoding"),
            )
        ),
        _tests(
            "tokenization/",
            *("normalization", "vocab_file", "user_dictionary", "spans", "batches", "decoding", "mecab", "pretrained"),
            *("tokenizer", "tokenizer_offsets", "word_cache", "encoding", "hf_files", "unknown"),
        ),
    ),
    "pretraining_data": Room(
        tuple(f"kobert_tf2/pretraining_data/{name}.py" for name in ("instances", "tfrecord", "record_check")),
        _tests("pretraining_data/", "instances", "tfrecord", "record_check"),
        forkserver=True,
    ),
    "training": Room(
        tuple(f"kobert_tf2/training/{name}.py" for name in ("losses", "optimizers", "steps")),
        _tests("training/", "losses", "optimizers", "loop"),
        forkserver=True,
    ),
    "bert": Room(
        tuple(f"kobert_tf2/bert/{name}.py" for name in ("matching", "weight_names", "config")),
        _tests("bert/", "matching", "weight_names", "config"),
        forkserver=True,
    ),
}

# Lines that are a message and nothing else.
_MESSAGES = (r"^\s*f?[\"'].*[\"']\s*$", r"raise \w+(Error|_type)\(", r"\b(warn|print|say)\(", r"bad_lines\.add\(")
_COPIED = ("kobert_tf2", "tests", "tools", "configs", "README.md", "README.ko.md", "setup.cfg", "pyproject.toml", ".ci")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("room", choices=ROOMS)
    parser.add_argument("--only", action="append", default=[], help="names of mutants, with *")
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="mutation-") as folder:
        _copy(pathlib.Path(folder), ROOMS[arguments.room])
        command = [sys.executable, "-m", "mutmut"]
        environment = {**os.environ, "PYTHONPATH": "", "TF_CPP_MIN_LOG_LEVEL": "3", "KOBERT_SHARED": "/nowhere"}
        options = {"cwd": folder, "env": environment, "text": True, "check": False}
        run = [*command, "run", f"--max-children={arguments.processes}", *arguments.only]
        result = subprocess.run(run, **options, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        outcomes = subprocess.run([*command, "results", "--all=true"], **options, stdout=subprocess.PIPE).stdout
        found = dict(re.findall(r"^\s*(\S+): (.+)$", outcomes, re.MULTILINE))
        tried = {name: outcome for name, outcome in found.items() if outcome != "not checked"}
        if not tried:
            sys.exit(result.stdout[-3000:])
        survivors = [name for name, outcome in tried.items() if outcome not in ("killed", "timeout", "segfault")]
        for name in survivors:
            shown = subprocess.run([*command, "show", name], **options, stdout=subprocess.PIPE).stdout
            changed = [line for line in shown.splitlines() if re.match(r"[-+](?![-+])", line)]
            print(f"{tried[name]}: {name}", *changed, sep="\n", flush=True)
        noticed = len(tried) - len(survivors)
        print(f"{arguments.room}: {noticed:,} of {len(tried):,} changes were noticed, {noticed / len(tried):.1%}")


def _copy(folder: pathlib.Path, room: Room) -> None:
    for name in _COPIED:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", "fuzz"))
        else:
            shutil.copy(ROOT / name, folder / name)
    lists = {
        "source_paths": room.code,
        "do_not_mutate_patterns": _MESSAGES,
        "also_copy": _COPIED,
        "pytest_add_cli_args": ("-q", "-x", "-p", "no:cacheprovider", "-o", "pythonpath=. tests/support"),
        "pytest_add_cli_args_test_selection": room.tests,
    }
    lines = ["", "[mutmut]", f"process_isolation={'forkserver' if room.forkserver else 'fork'}"]
    for key, values in lists.items():
        lines += [f"{key}=", *(f"    {value}" for value in values)]
    with open(folder / "setup.cfg", "a", encoding="utf-8") as file:
        file.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
