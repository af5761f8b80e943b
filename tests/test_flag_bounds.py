"""Numbers of the command line that make no sense are a sentence, in every tool, before anything is loaded."""

import ast
import pathlib
import subprocess
import sys

import pytest
from paths import ROOT

from kobert_tf2 import flag_bounds
from kobert_tf2.errors import InputError

TOOLS = [path for path in (ROOT / "tools").glob("*.py") if not path.stem.startswith(("benchmark", "__init__"))]
# Any number will do, or the tool itself says which will.
UNBOUNDED = {"random_seed"}


def number_flags(path: pathlib.Path) -> set[str]:
    """Flags of a program that hold a number and are not bounded on both sides where they are defined."""
    names = set()
    for call in ast.walk(ast.parse(path.read_text("utf-8"))):
        if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Attribute):
            continue
        bounded = {"lower_bound", "upper_bound"} <= {keyword.arg for keyword in call.keywords}
        if call.func.attr in ("DEFINE_integer", "DEFINE_float") and not bounded:
            names.add(call.args[0].value)
    return names


@pytest.mark.parametrize("path", [*TOOLS, ROOT / "kobert_tf2" / "command_line.py"], ids=lambda path: path.stem)
def test_every_number_of_every_tool_has_its_bounds(path):
    assert number_flags(path) <= flag_bounds.BOUNDS.keys() | UNBOUNDED


@pytest.mark.parametrize("name", sorted(flag_bounds.BOUNDS))
def test_what_lies_within_is_taken_and_what_lies_without_is_not(name):
    low, high = flag_bounds.BOUNDS[name]
    flag_bounds.check({name: low})
    flag_bounds.check({name: high})
    for value in (float("nan"), *([low - 1, high + 1] if high < float("inf") else [])):
        with pytest.raises(InputError, match=rf"--{name}: expected a number from .* but got {value}"):
            flag_bounds.check({name: value})
    flag_bounds.check({name: None, "of no bounds": 10**30, "jit_compile": True})


@pytest.mark.parametrize(
    ("tool", "flags", "said"),
    [
        (
            "create_pretraining_data",
            "--input_file=c --output_file=r --vocab_file=v --num_shards=999999999999",
            "99,999",
        ),
        (
            "create_pretraining_data",
            "--input_file=c --output_file=r --vocab_file=v --max_seq_length=1000000000",
            "65,536",
        ),
        ("build_vocab", "--input_file=c --output_dir=v --num_unused=300000000", "1,000,000"),
        ("evaluate_mrc", "--data_file=d --null_score_diff_threshold=nan", "but got nan"),
    ],
)
def test_a_slip_of_the_hand_is_a_sentence_of_the_tool(tmp_path, tool, flags, said):
    command = [sys.executable, str(ROOT / "tools" / f"{tool}.py"), *flags.split()]
    result = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=600)
    assert result.returncode == 1
    assert result.stderr.startswith("error: --")
    assert said in result.stderr
    assert result.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_an_extra_that_is_missing_is_a_sentence_with_the_line_to_type(tmp_path):
    for name, content in (
        ("c.txt", "가 나\n다\n\n라\n"),
        ("v.txt", "\n".join("[PAD] [UNK] [CLS] [SEP] [MASK] 가".split())),
    ):
        (tmp_path / name).write_text(content, "utf-8")
    script = (
        "import runpy, sys\n"
        "sys.modules['apache_beam'] = None\n"  # as good as not installed
        "sys.argv = sys.argv[1:]\n"
        "runpy.run_path(sys.argv[0], run_name='__main__')"
    )
    flags = ["--input_file=c.txt", "--vocab_file=v.txt", "--output_file=r", "--runner=beam", "--pre_tokenizer=none"]
    command = [sys.executable, "-c", script, str(ROOT / "tools" / "create_pretraining_data.py"), *flags]
    result = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=600)
    assert result.returncode == 1, result.stderr
    said = "error: this needs apache_beam, which is not installed: pip install 'kobert_tf2[beam]'\n"
    assert result.stderr.endswith(said)
    assert "Traceback" not in result.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["c.txt", "v.txt"]
