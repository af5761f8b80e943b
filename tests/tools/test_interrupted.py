"""Ctrl-C as a terminal sends it, to all processes of a tool: one line that says what a repetition does, and no other
trace."""

import importlib.util
import json
import os
import signal
import subprocess
import sys

import pytest
from paths import ROOT

from kobert_tf2 import command_line, files
from kobert_tf2.errors import InputError


def start(*command: str, **more) -> subprocess.Popen:
    """A process group of its own, as a terminal makes one for each command line."""
    return subprocess.Popen(
        [sys.executable, *command], start_new_session=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        cwd=ROOT, **more,
    )  # fmt: skip


def interrupted(process: subprocess.Popen, when: str) -> tuple[int, str]:
    """Sends SIGINT to the group as soon as a line on standard error holds `when`; the status and what is said then."""
    next(line for line in process.stderr if when in line)
    os.killpg(process.pid, signal.SIGINT)
    said = process.communicate(timeout=600)[1]
    return process.returncode, said


# The line comes from a thread, when the main one already waits: CPython may keep a lock for ever if the signal comes
# in the few instructions in which the main thread takes it.
WORKERS = """
import sys, time, threading
from kobert_tf2 import command_line, parallel
def main():
    with parallel.Workers(time.sleep, num_workers=2) as workers:
        for number, _ in enumerate(workers.map([0, 0, 0, 6000, 6000, 6000])):
            if number == 2:
                threading.Timer(1, lambda: print("asleep", file=sys.stderr, flush=True)).start()
    parallel.in_subprocess(time.sleep, 6000)
command_line.run(main)
"""
ALONE = """
import sys, time, threading
from kobert_tf2 import command_line, parallel
threading.Timer(4, lambda: print("asleep", file=sys.stderr, flush=True)).start()
command_line.run(lambda: parallel.in_subprocess(time.sleep, 6000))
"""


@pytest.mark.parametrize("program", [WORKERS, ALONE], ids=["workers", "in_subprocess"])
def test_worker_processes_say_nothing_and_end(program):
    status, said = interrupted(start("-c", program), "asleep")
    assert status == 130, said
    assert said.strip() == f"interrupted: {command_line.BEGINS_AGAIN}"


def test_data_creation_goes_on_with_the_same_bytes(tmp_path):
    sentences = "\n".join(f"해미는 {number} 번 나루터에서 배를 탔다." for number in range(400))
    (tmp_path / "corpus.txt").write_text("\n\n".join([sentences] * 60), encoding="utf-8")
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"해미는번나루터에서배를탔다.0123456789"]
    (tmp_path / "vocab.txt").write_text("\n".join([*pieces, *(f"##{piece}" for piece in pieces[5:])]), encoding="utf-8")
    command = [
        "tools/create_pretraining_data.py", f"--input_file={tmp_path}/corpus.txt", f"--vocab_file={tmp_path}/vocab.txt",
        "--num_workers=2", "--num_shards=2", "--max_seq_length=32", "--max_predictions_per_seq=4", "--dupe_factor=2",
        "--work_dir={}",
    ]  # fmt: skip

    def made(name: str) -> subprocess.Popen:
        asked = [word.format(f"{tmp_path}/{name}.work") for word in command]
        return start(*asked, f"--output_file={tmp_path}/{name}")

    broken = made("broken")
    status, said = interrupted(broken, "tokeniz")
    assert status == 130, said
    assert said.strip().splitlines()[-1].startswith("interrupted: the same command goes on")
    assert "Traceback" not in said
    for name in ("broken", "whole"):
        process = made(name)
        process.communicate(timeout=600)
        assert process.returncode == 0
    for shard in range(2):
        broken, whole = (tmp_path / f"{name}-{shard:05d}-of-00002" for name in ("broken", "whole"))
        assert broken.read_bytes() == whole.read_bytes()
    assert not [path for path in tmp_path.rglob("*") if "tmp" in path.name or path.name.endswith(".work")]


# --- The quickstart ---


@pytest.fixture
def quickstart(monkeypatch):
    """The tool as a module whose stages take no time."""
    spec = importlib.util.spec_from_file_location("quickstart", ROOT / "tools" / "quickstart.py")
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setattr(command_line.flags, "DEFINE_string", lambda *_, **__: None)
    monkeypatch.setattr(command_line.flags, "DEFINE_enum", lambda *_, **__: None)
    monkeypatch.setattr(command_line.flags, "DEFINE_integer", lambda *_, **__: None)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "make_data", lambda *_: None)
    monkeypatch.setattr(module, "ask_exported_model", lambda _: (3, 3))
    return module


SUMMARY = {
    **{"vocab_size": 9, "unk_rate": 0.0, "instances": 4, "masked_lm_accuracy": 0.5, "loss": 1.0, "exact_match": 99.0},
    **{"f1": 99.0, "predictions": 3, "signatures": ["answer"]},
}


def test_the_quickstart_goes_on_with_the_stage_that_it_had_reached(quickstart, tmp_path, monkeypatch):
    folder, ran = f"{tmp_path}/out", []

    def run(folder: str, size: str = "small", stops_at: int | None = None) -> dict:
        def command(words):
            if len(ran) + 1 == stops_at:
                raise KeyboardInterrupt
            ran.append(words[1].rpartition("/")[2])
            return json.dumps(SUMMARY), 0, 1.0, 2.0

        monkeypatch.setattr(quickstart, "run_command", command)
        given = type("Flags", (), {"output_dir": folder, "size": size, "seed": 7})
        monkeypatch.setattr(quickstart, "FLAGS", given)
        return quickstart.main()

    with pytest.raises(command_line.Interrupted, match="same command goes on with the stage 'pre-training'"):
        run(folder, stops_at=3)
    assert ran == ["build_vocab.py", "create_pretraining_data.py"]
    with pytest.raises(InputError, match="--size=small, but now came full"):
        run(folder, size="full")
    assert run(folder)["exact_match"] == 99.0
    assert ran[2] == "pretrain.py"
    assert len(ran) == len(quickstart.stages(folder, quickstart.SIZES["small"], 7))
    count = len(ran)
    assert run(folder)["exact_match"] == 99.0
    assert len(ran) == count, "a finished one has nothing to do"
    files.write_json(f"{tmp_path}/other/notes.json", {})
    with pytest.raises(InputError, match="expected a new or empty folder"):
        run(f"{tmp_path}/other")
