"""Training on several hosts (network namespaces of this machine) with `tools/pretrain.py`: the weights equal those of
one process, every host reports a lost one in one sentence, and the same commands resume bit for bit.
"""

import json
import os
import pathlib
import random
import signal
import subprocess
import sys
import time

import hosts
import numpy as np
import pytest
from paths import ROOT
from safetensors.numpy import load_file
from training_runs import log_of

from kobert_tf2.pretraining_data import local_runner
from kobert_tf2.pretraining_data.instances import Settings
from kobert_tf2.tokenization.tokenizer import Tokenizer

pytestmark = pytest.mark.slow

LETTERS = "가나다라마바사아자차"
STEPS = 600
# TensorFlow's heartbeats detect a lost worker after 10 seconds; the machine may be busy.
BOUND = 150


@pytest.fixture(scope="module", autouse=True)
def allowed():
    if reason := hosts.reason_against():
        pytest.skip(reason)


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> pathlib.Path:
    folder = tmp_path_factory.mktemp("data")
    rng = random.Random(0)
    documents = [
        "\n".join(" ".join(rng.choices(LETTERS, k=rng.randint(3, 8))) for _ in range(rng.randint(2, 6)))
        for _ in range(60)
    ]
    (folder / "corpus.txt").write_text("\n\n".join(documents), "utf-8")
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *LETTERS]
    (folder / "vocab.txt").write_text("\n".join(pieces) + "\n", "utf-8")
    local_runner.create(
        local_runner.Request(
            input_file=f"{folder}/corpus.txt",
            output_file=f"{folder}/records",
            tokenizer=Tokenizer(pieces, pre_tokenizer="none"),
            settings=Settings(max_seq_length=16, max_predictions_per_seq=3, dupe_factor=2),
        )
    )
    config = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0, "initializer_range": 0.1}
    config |= {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    config |= {"max_position_embeddings": 16, "vocab_size": len(pieces), "hidden_act": "gelu", "type_vocab_size": 2}
    (folder / "bert.json").write_text(json.dumps(config), "utf-8")
    return folder


def command(data: pathlib.Path, output: pathlib.Path, steps: int = STEPS) -> list[str]:
    paths = {"bert_config_file": "bert.json", "vocab_file": "vocab.txt", "input_file": "records"}
    numbers = {"max_seq_length": 16, "max_predictions_per_seq": 3, "train_batch_size": 8, "save_checkpoints_steps": 50}
    numbers |= {"num_train_steps": steps, "num_warmup_steps": 3, "learning_rate": 5e-3, "log_steps": 10}
    flags = [f"--{name}={data / path}" for name, path in paths.items()]
    flags += [f"--{name}={number}" for name, number in {**numbers, "worker_timeout": BOUND}.items()]
    return [sys.executable, str(ROOT / "tools/pretrain.py"), "--do_train", f"--output_dir={output}", *flags]


def start(on: list[hosts.Host], what: list[str], folder: pathlib.Path) -> list[subprocess.Popen]:
    """The same command on every host; what they say goes into files beside the output."""
    folder.mkdir(exist_ok=True)
    started = []
    for index, host in enumerate(on):
        workers = [f"{each.address}:{each.port}" for each in on]
        config = {"cluster": {"worker": workers}, "task": {"type": "worker", "index": index}}
        environment = {**os.environ, "TF_CONFIG": json.dumps(config)}
        with open(folder / f"host-{index}.err", "wb") as said:
            started.append(host.start(what, env=environment, stdout=subprocess.DEVNULL, stderr=said))
    return started


def finish(processes: list[subprocess.Popen], folder: pathlib.Path, seconds: float = 500) -> list[str]:
    """The last line of each host, after its status."""
    end = time.monotonic() + seconds
    try:
        statuses = [process.wait(max(end - time.monotonic(), 1)) for process in processes]
    finally:
        for process in processes:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
    last = []
    for index, status in enumerate(statuses):
        said = (folder / f"host-{index}.err").read_text("utf-8")
        assert "Traceback" not in said, said
        sentences = [line for line in said.splitlines() if line.startswith("error: ")]
        last.append(f"{status} {sentences[-1] if sentences else ''}".strip())
        assert len(sentences) == (status == 1), said
    return last


def wait_for_step(output: pathlib.Path, step: int, processes: list[subprocess.Popen]) -> None:
    for _ in range(30_000):
        if any((output / "checkpoints").glob(f"step-{step:08d}*")):
            break
        assert all(process.poll() is None for process in processes)
        time.sleep(0.01)
    assert all(process.poll() is None for process in processes)


def weights(output: pathlib.Path) -> dict[str, np.ndarray]:
    return load_file(output / "model" / "model.safetensors")


@pytest.fixture(scope="module")
def undisturbed(data, tmp_path_factory) -> pathlib.Path:
    """The output of two hosts that nothing happens to."""
    folder = tmp_path_factory.mktemp("undisturbed")
    with hosts.hosts(2) as on:
        assert finish(start(on, command(data, folder / "run"), folder), folder) == ["0", "0"]
    return folder / "run"


def assert_same_run(output: pathlib.Path, expected: pathlib.Path) -> None:
    """Bit for bit: weights, and every record of the log."""
    assert (output / "model/model.safetensors").read_bytes() == (expected / "model/model.safetensors").read_bytes()
    assert log_of(output) == log_of(expected)


def go_on(on: list[hosts.Host], data: pathlib.Path, folder: pathlib.Path, expected: pathlib.Path) -> None:
    """The same commands once more; they resume, and come to where nothing had happened."""
    again = folder / "again"
    assert finish(start(on, command(data, folder / "run"), again), again) == ["0"] * len(on)
    assert "resuming from" in (again / "host-0.err").read_text("utf-8")
    assert_same_run(folder / "run", expected)


@pytest.mark.parametrize("count", [2, 4])
def test_several_hosts_learn_the_weights_of_one_process(data, tmp_path, count):
    alone = subprocess.run(command(data, tmp_path / "alone", 20), capture_output=True, text=True, check=False)
    assert alone.returncode == 0, alone.stderr
    with hosts.hosts(count) as on:
        assert finish(start(on, command(data, tmp_path / "run", 20), tmp_path), tmp_path) == ["0"] * count
    expected, got = weights(tmp_path / "alone"), weights(tmp_path / "run")
    assert expected.keys() == got.keys()
    for name, value in expected.items():
        np.testing.assert_allclose(got[name], value, rtol=0, atol=1e-4, err_msg=name)


@pytest.mark.parametrize("lost", [0, 1])
def test_a_host_that_dies_is_a_sentence_on_the_other_and_both_go_on(data, tmp_path, undisturbed, lost):
    with hosts.hosts(2) as on:
        processes = start(on, command(data, tmp_path / "run"), tmp_path)
        wait_for_step(tmp_path / "run", 100, processes)
        os.killpg(processes[lost].pid, signal.SIGKILL)
        said = finish(processes, tmp_path, BOUND)
        assert said[lost] == "-9"
        assert "another worker is gone" in said[1 - lost]
        assert "give the same command on all workers again" in said[1 - lost]
        go_on(on, data, tmp_path, undisturbed)


def test_a_link_that_breaks_is_a_sentence_on_both_hosts_and_both_go_on(data, tmp_path, undisturbed):
    with hosts.hosts(2) as on:
        processes = start(on, command(data, tmp_path / "run"), tmp_path)
        wait_for_step(tmp_path / "run", 100, processes)
        on[1].cut()
        time.sleep(30)
        on[1].mend()
        for sentence in finish(processes, tmp_path, BOUND):
            assert sentence.startswith("1 error: another worker is gone")
        go_on(on, data, tmp_path, undisturbed)


def test_a_full_disk_on_the_first_host_is_a_sentence_on_both_and_both_go_on(data, tmp_path, undisturbed):
    (tmp_path / "run").mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=5m", "tmpfs", str(tmp_path / "run")]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("this machine may not mount a small disk")
    try:
        with hosts.hosts(2) as on:
            said = finish(start(on, command(data, tmp_path / "run"), tmp_path), tmp_path, 300)
            assert "No space left" in said[0] or "is the disk full?" in said[0]
            assert said[1].startswith("1 error: another worker is gone")
            subprocess.run(["mount", "-o", "remount,size=64m", str(tmp_path / "run")], check=True)
            go_on(on, data, tmp_path, undisturbed)
    finally:
        subprocess.run(["umount", "-l", str(tmp_path / "run")], check=False)
