"""What `--help` prints: the description as it stands, the flags by subject, defaults where they say something."""

import pytest
from absl import flags

from kobert_tf2 import command_help


@pytest.fixture
def keys():
    values = flags.FlagValues()
    flags.DEFINE_string("input_file", None, "What is read.", flag_values=values)
    flags.DEFINE_integer("seed", 3, "Of the shuffling.", flag_values=values)
    flags.DEFINE_bool("tags", True, "With tags.", flag_values=values)
    flags.DEFINE_bool("quiet", False, "Says\n  nothing.", flag_values=values)
    flags.DEFINE_string("report", "", "A page.", flag_values=values)
    return [values[name] for name in ("input_file", "seed", "tags", "quiet", "report")]


def test_subjects_come_in_their_order_with_the_original_flags_first(keys):
    shown = command_help.text("\n  Does a thing.\n\n    tool --flag\n", keys)
    assert shown.startswith("Does a thing.\n\n  tool --flag\n")
    subjects = [line for line in shown.splitlines() if line.endswith(":") and not line.startswith(" ")]
    assert subjects == ["flags of the original scripts:", "data and model:", "running:", "files:"]
    assert shown.index("--input_file") < shown.index("--[no]quiet") < shown.index("--seed") < shown.index("--report")


def test_a_default_is_shown_where_it_says_something(keys):
    shown = command_help.text("x", keys)
    assert "--seed: Of the shuffling. (default: 3)" in shown
    assert "--[no]tags: With tags. (default: on)" in shown
    assert "--[no]quiet: Says nothing.\n" in shown
    assert "--report: A page.\n" in shown


def test_lines_fit_the_terminal(keys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "50")
    keys[0].help = "word " * 60
    assert max(map(len, command_help.text("x", keys[:1]).splitlines()[2:4])) <= 50


def test_a_subject_without_a_flag_is_left_out(keys):
    assert "running:" not in command_help.text("x", keys[:1])
