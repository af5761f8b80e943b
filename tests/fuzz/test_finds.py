"""Damaged files: those that once broke a reader, and some new ones in each run (`run.py` makes them by the hour)."""

import pathlib
import random

import pytest
from fuzz_mutations import mutated
from fuzz_targets import TARGETS, judge

FINDS = sorted(path for path in (pathlib.Path(__file__).parent / "finds").glob("*/*/*") if path.is_file())
# Of each kind; those that make a Keras model have fewer.
_CASES = {"model": 8, "doctor": 15}


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> dict:
    """A folder of valid files for each kind that can be made here, and what they hold."""
    made: dict = {}

    def folder(name: str):
        if TARGETS[name].needs:
            pytest.importorskip(TARGETS[name].needs, reason=f"{TARGETS[name].needs} is not installed")
        if name not in made:
            path = tmp_path_factory.mktemp("fuzz") / "folder"
            path.mkdir()
            TARGETS[name].make(path)
            made[name] = path, {file: (path / file).read_bytes() for file in TARGETS[name].files}
        return made[name]

    return folder


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", TARGETS)
def test_valid_files_are_read(folders, name):
    TARGETS[name].read(folders(name)[0])


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", TARGETS)
def test_damaged_files_are_read_or_refused_in_a_sentence(folders, name):
    folder, valid = folders(name)
    for seed in range(_CASES.get(name, 60)):
        rng = random.Random(seed)
        file = rng.choice(TARGETS[name].files)
        (folder / file).write_bytes(mutated(valid[file], rng, list(valid.values())))
        assert judge(TARGETS[name], folder) is None, f"seed {seed}"
        (folder / file).write_bytes(valid[file])


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("path", FINDS, ids=lambda path: "-".join(path.parts[-3:]))
def test_what_was_found_stays_mended(folders, path):
    name, file = path.parts[-3], path.parts[-2].replace("|", "/")
    folder, valid = folders(name)
    (folder / file).write_bytes(path.read_bytes())
    try:
        assert judge(TARGETS[name], folder) is None
    finally:
        (folder / file).write_bytes(valid[file])
