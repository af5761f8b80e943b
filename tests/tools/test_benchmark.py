"""tools/benchmark.py measures what it says: run as it is run, on a model that takes no time."""

import json
import pathlib
import subprocess
import sys

import pytest

TOOL = pathlib.Path(__file__).resolve().parents[2] / "tools" / "benchmark.py"
TINY = ["--sizes=tiny", "--shapes=4x32", "--precisions=float32", "--vocab_size=50", "--rounds=1", "--steps=1"]


def run(*arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, str(TOOL), *TINY, *arguments], capture_output=True, text=True, timeout=600, check=False
    )


@pytest.mark.slow
def test_every_pass_of_ours(tmp_path):
    written = tmp_path / "results.json"
    result = run(
        "--passes=train,data,predict,read_train,read_predict", "--contestants=ours,ours_padded", f"--output={written}"
    )
    assert result.returncode == 0, result.stderr
    rows = json.loads(result.stdout.splitlines()[-1])["results"]
    assert rows == json.loads(written.read_text())
    found = {(row["kind"], row["contestant"]): row for row in rows}
    one = {(kind, who) for kind in ("train", "data", "predict") for who in ("floor", "ours")}
    assert set(found) == one | {
        (kind, who) for kind in ("read_train", "read_predict") for who in ("floor", "ours", "ours_padded")
    }
    for row in rows:
        assert row["seconds"] > 0
        assert row["peak_mib"] > 0
        assert row["share_of_floor"] > 0
    assert 0 < found["data", "ours"]["waiting_for_data"] < 1
    # The backward pass has each product twice more; the last of two layers is asked at 6 of 32 positions.
    assert found["train", "ours"]["gflops"] * found["train", "ours"]["seconds"] > (
        2 * found["predict", "ours"]["gflops"] * found["predict", "ours"]["seconds"]
    )


@pytest.mark.parametrize(
    ("flag", "words"),
    [
        ("--shapes=32", "--shapes: expected batch x length"),
        ("--shapes=2x513", "length up to 512"),
        ("--sizes=huge", "--sizes: expected some of tiny, small, base, smoke, nsmc, but got huge"),
        ("--passes=train,fly", "--passes: expected some of"),
    ],
)
def test_a_flag_that_cannot_be_is_reported_in_a_sentence(flag, words):
    result = run(flag)
    assert result.returncode == 1
    assert words in result.stderr
    assert "Traceback" not in result.stderr
