"""The stated figures are measured by commands of this repository, and what cannot be measured is said."""

import json
import re

import pytest
from paths import ROOT

from kobert_tf2 import figures, kobert
from kobert_tf2.figures import Figure, Measurement
from kobert_tf2.processor import Processor


@pytest.mark.parametrize("figure", figures.FIGURES, ids=lambda figure: figure.name)
def test_every_command_is_a_tool_with_flags_that_it_has_and_every_place_exists(figure):
    assert bool(figure.command) != bool(figure.why), "either a command or the reason why there is none"
    for place in figure.place.split(", "):
        assert (ROOT / place).exists()
    for command in (figure.command, *figure.before):
        if command:
            known = set(kobert.flags_of(ROOT / "tools" / command[0]))
            assert {re.match(r"--(\w+)=", flag)[1] for flag in command[1:]} <= known


@pytest.fixture
def tools(tmp_path):
    """Tools that take no time: one counts its runs, one fails."""
    (tmp_path / "counts.py").write_text(
        "import json, pathlib, sys\n"
        "path = pathlib.Path(__file__).with_name('runs')\n"
        "path.write_text((path.read_text() if path.exists() else '') + sys.argv[1] + '\\n')\n"
        "print('noise')\nprint(json.dumps({'a': 2, 'b': 3}))\n"
    )
    (tmp_path / "fails.py").write_text("import sys\nsys.exit('error: no such thing')\n")
    return tmp_path


def test_a_command_runs_once_for_all_its_figures_and_a_missing_figure_is_said_with_the_reason(tools):
    common = {"place": "README.md", "unit": "s"}
    asked = [
        Figure(name="a", command=("counts.py", "1"), value=lambda result: result["a"], **common),
        Figure(name="b", command=("counts.py", "1"), value=lambda result: result["b"], **common),
        Figure(name="c", command=("counts.py", "2"), before=(("fails.py",),), value=lambda result: 0, **common),
        Figure(name="d", command=("counts.py", "{shared}"), value=lambda result: 0, **common),
        Figure(name="f", why="not here", **common),
    ]
    rows = Measurement(str(tools), None, {"PATH": ""}).rows(asked)
    assert [row["value"] for row in rows] == [2, 3, None, None, None]
    reasons = [row["missing"] for row in rows[2:]]
    for reason, words in zip(reasons, ("no such thing", "KOBERT_SHARED", "not here"), strict=True):
        assert words in reason
    assert (tools / "runs").read_text() == "1\n"

    figures.write(f"{tools}/out/x.json", {"processor": "A|B CPU"}, rows)
    assert json.loads((tools / "out/x.json").read_text())["figures"] == rows
    lines = (tools / "out/x.md").read_text().splitlines()
    assert sum(line.startswith("| ") for line in lines) == len(rows) + 1


def test_a_processor_has_a_file_of_its_own():
    assert figures.file_name("2026-01-02", Processor("AMD EPYC 9B14 @ 2.6GHz", None)) == (
        "benchmarks/2026-01-02-amd-epyc-9b14-2-6ghz.json"
    )
