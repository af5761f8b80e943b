"""The stages of the quickstart fit together: their flags exist, and each reads what was written before it."""

import importlib.util

import pytest
from absl import flags
from paths import ROOT

from kobert_tf2 import command_line, kobert

INPUTS = set(command_line.INPUT_FLAGS)
MADE_BEFORE = {"out/data/corpus.txt", "out/data/train.json", "out/data/held_out.json", "out/data/bert_config.json"}


@pytest.fixture(scope="module")
def quickstart():
    before = set(flags.FLAGS)
    spec = importlib.util.spec_from_file_location("quickstart", ROOT / "tools" / "quickstart.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    for name in set(flags.FLAGS) - before:  # Another tool may define flags of these names in this process.
        delattr(flags.FLAGS, name)
    return module


def test_every_flag_is_one_of_its_tool(quickstart):
    for stage in quickstart.stages("out", quickstart.SIZES["small"], seed=1):
        known = kobert.flags_of(ROOT / "tools" / stage.tool)
        assert set(stage.flags) <= set(known), stage.name


def test_every_stage_reads_what_is_there(quickstart):
    there = set(MADE_BEFORE)
    for stage in quickstart.stages("out", quickstart.SIZES["full"], seed=1):
        for name, value in stage.flags.items():
            if name in INPUTS:
                path = value.rstrip("*")
                assert any(path == made or path.startswith(f"{made}/") for made in there), (stage.name, name, path)
        there |= {str(stage.flags[name]) for name in ("output_dir", "output_file") if name in stage.flags}


def test_names_are_each_once_and_the_reader_is_exported_as_trained(quickstart):
    stages = {stage.name: stage for stage in quickstart.stages("out", quickstart.SIZES["small"], seed=1)}
    assert len(stages) == 8
    for name, value in quickstart.READING.items():
        assert stages["reading: training, prediction"].flags[name] == stages["export"].flags[name] == value
