"""tools/benchmark.py measures what it says: run as it is run, on a model that takes no time."""

import importlib.util
import json
import pathlib
import subprocess
import sys

import pytest
from absl import flags

from kobert_tf2.errors import InputError
from kobert_tf2.processor import Processor

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
        ("--isa=avx2 --precisions=bfloat16", "--isa=avx2: expected --precisions=float32"),
        ("--passes=train,fly", "--passes: expected some of"),
    ],
)
def test_a_flag_that_cannot_be_is_reported_in_a_sentence(flag, words):
    result = run(*flag.split())
    assert result.returncode == 1
    assert words in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize("isa", ["avx2", "avx512"])
def test_an_instruction_set_limits_the_libraries_of_every_contestant(monkeypatch, isa):
    benchmark = loaded()
    monkeypatch.setattr(benchmark.processor, "this_processor", lambda: Processor("a CPU", frozenset({"avx2"})))
    before = {"XLA_FLAGS": "--xla_mine=1", "HOME": "/home"}
    assert benchmark.limited(before, "native") == before
    if isa == "avx512":
        with pytest.raises(InputError, match="--isa=avx512: expected a processor that has it, but a CPU does not"):
            benchmark.limited(before, isa)
        return
    after = benchmark.limited(before, isa)
    assert after["XLA_FLAGS"] == "--xla_mine=1 --xla_cpu_max_isa=AVX2"
    assert after["ONEDNN_MAX_CPU_ISA"] == "AVX2"
    assert after["HOME"] == "/home"


def loaded():
    """The tool as a module; its flags must not join those of the test run."""
    spec = importlib.util.spec_from_file_location("benchmark_tool", TOOL)
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patched:
        for name in [name for name in dir(flags) if name.startswith("DEFINE_")]:
            patched.setattr(flags, name, lambda *_, **__: None)
        patched.setitem(sys.modules, "benchmark_tool", module)
        spec.loader.exec_module(module)
    return module
