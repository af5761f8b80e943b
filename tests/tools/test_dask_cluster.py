"""`build_vocab` and `create_pretraining_data` on a Dask cluster of several processes: the bytes of the local runs.

A worker that is killed in the middle changes nothing in them.

In an environment of its own: `.ci/nightly beam`.
"""

import json
import os
import pathlib
import random
import signal
import subprocess
import sys
import time

import pytest
from paths import ROOT
from vocabulary_corpus import NOUNS, PLACES

pytest.importorskip("apache_beam", reason="needs the extra `dask`: pip install -e '.[dask,test]'")
pytest.importorskip("distributed", reason="needs the extra `dask`: pip install -e '.[dask,test]'")

from dask_cluster import cluster

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> pathlib.Path:
    """Two files, 9 MB: nine blocks of records, several seconds of work."""
    rng = random.Random(0)
    folder = tmp_path_factory.mktemp("corpus")
    for name in ("a.txt", "b.txt"):
        with open(folder / name, "w", encoding="utf-8") as file:
            while file.tell() < 4_500_000:
                for _ in range(rng.randint(1, 12)):
                    words = [f"{rng.choice(PLACES)}에서 {rng.choice(NOUNS)}도" for _ in range(rng.randint(1, 6))]
                    file.write(" ".join(words) + f" {rng.randint(0, 9999)}번 보았다.\n")
                file.write("\n")
    return folder


def start(tool: str, folder: pathlib.Path, *flags: str) -> subprocess.Popen:
    command = [sys.executable, str(ROOT / "tools" / f"{tool}.py"), *flags]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=folder)


def finish(process: subprocess.Popen) -> dict:
    out, err = process.communicate(timeout=500)
    assert process.returncode == 0, err
    return json.loads(out.splitlines()[-1])


def contents(folder: pathlib.Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def kill_a_worker_after(process: subprocess.Popen, made, sign: str, folder: pathlib.Path) -> None:
    """SIGKILL to a worker as soon as a file of this name is in the folder; the pipeline must still be at work then."""
    for _ in range(20_000):
        if any(folder.glob(sign)):
            break
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)
    os.kill(made.workers[0].pid, signal.SIGKILL)
    made.workers[0].wait()
    assert process.poll() is None


VOCAB = ("--input_file=*.txt", "--vocab_size=300", "--held_out=50")
RECORDS = ("--input_file=*.txt", "--num_shards=3", "--dupe_factor=2", "--random_seed=7")


@pytest.mark.parametrize("killed", [False, True])
def test_the_whole_way_on_a_cluster_gives_the_local_bytes(tmp_path, corpus, killed):
    local, made = tmp_path / "local", tmp_path / "cluster"
    summary = finish(start("build_vocab", corpus, *VOCAB, f"--output_dir={local}/vocab"))
    records = (*RECORDS, f"--vocab_file={local}/vocab")
    counts = finish(start("create_pretraining_data", corpus, *records, f"--output_file={local}/records/r"))
    with cluster(tmp_path / "dask", workers=3) as dask:
        beam = ("--runner=beam", *(f"--beam_option={option}" for option in dask.options))
        process = start("build_vocab", corpus, *VOCAB, *beam, f"--output_dir={made}/vocab")
        if killed:
            kill_a_worker_after(process, dask, "*.function", made / "vocab.work")
            dask.add_worker()
            dask.workers.pop(0)
        assert finish(process) == summary
        process = start("create_pretraining_data", corpus, *records, *beam, f"--output_file={made}/records/r")
        if killed:
            kill_a_worker_after(process, dask, "records-*", made / "records" / "r.work")
        assert finish(process) == counts
    assert contents(made / "vocab") == contents(local / "vocab")
    assert contents(made / "records") == contents(local / "records")
    assert sorted(path.name for path in made.iterdir()) == ["records", "vocab"]


def test_without_a_scheduler_the_end_is_a_sentence_and_nothing_is_left(tmp_path, corpus):
    beam = ("--runner=beam", "--beam_option=--runner=DaskRunner", "--beam_option=--dask_client_address=127.0.0.1:9")
    process = start(
        *("build_vocab", corpus, *VOCAB, *beam, "--beam_option=--dask_connection_timeout=2"),
        f"--output_dir={tmp_path}/vocab",
    )
    out, err = process.communicate(timeout=300)
    assert (process.returncode, out) == (1, "")
    assert err.splitlines()[-1].startswith("error: ")
    assert "Traceback" not in err
    assert list(tmp_path.iterdir()) == []
