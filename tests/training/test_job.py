"""A run claims its output folder: it continues its own earlier run, and refuses a folder with other contents."""

import dataclasses
import json
import os
import subprocess
import sys

import pytest
import tensorflow as tf

from kobert_tf2 import files, outputs
from kobert_tf2.errors import InputError
from kobert_tf2.training.job import TrainingJob, job_inputs
from kobert_tf2.training.settings import TaskSettings

WRITTEN = {"predictions.tsv": lambda path: files.read_text(path).startswith("id\t"), "scores.json": None}


@pytest.fixture
def claim(tmp_path):
    """Claims `tmp_path/out` for a run, and lets it go again."""

    def claim(inputs=None, *, trains=True):
        job = TrainingJob(TaskSettings(output_dir=f"{tmp_path}/out"), tf.distribute.get_strategy())
        job.claim(inputs or {}, WRITTEN, trains=trains)
        return job

    return claim


def write(path, content: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content, encoding="utf-8")


FOREIGN = {
    "run_config.json": '{"mine": 1}',
    "train_log.jsonl": "my log\n",
    "eval_results.txt": "loss = 1\n",
    "predictions.tsv": "my own table",
    "scores.json": "{}  ",
    "checkpoints/step-00000010/weights.bin": "mine",
    "model/config.json": '{"model_type": "bert"}',
    "model/model.safetensors": "mine",
}


@pytest.mark.parametrize("name", FOREIGN)
def test_a_file_of_someone_else_is_refused_and_stays(claim, tmp_path, name):
    write(tmp_path / "out" / name, FOREIGN[name])
    with pytest.raises(InputError, match=rf"{name.split('/')[0]}.*: already there, and not of a"):
        claim()
    assert (tmp_path / "out" / name).read_text(encoding="utf-8") == FOREIGN[name]
    assert outputs.files_in(str(tmp_path / "out")) == [name]


OURS = {
    "run_config.json": json.dumps(outputs.signed({}, "pretrain")),
    "train_log.jsonl": '{"step": 1, "loss": 2.0}\n',
    "predictions.tsv": "id\tpredicted\n",
    "checkpoints/step-00000010/manifest.json": '{"version": 1, "step": 10, "sha256": {}}',
}


@pytest.mark.parametrize("name", OURS)
def test_a_folder_of_an_earlier_run_goes_on_with_all_its_files(claim, tmp_path, name):
    write(tmp_path / "out" / "scores.json", "{}")
    write(tmp_path / "out" / "eval_results.txt", "loss = 1\n")
    with pytest.raises(InputError, match="already there"):
        claim()
    write(tmp_path / "out" / name, OURS[name])
    claim()


def test_other_files_of_a_folder_do_not_matter(claim, tmp_path):
    write(tmp_path / "out" / "notes.txt", "mine")
    write(tmp_path / "out" / "model" / "README.md", "mine")
    claim()
    assert outputs.files_in(str(tmp_path / "out")) == ["model/README.md", "notes.txt"]


def test_an_input_is_not_written_over(claim, tmp_path):
    write(tmp_path / "out" / "predictions.tsv", "id\t")
    (tmp_path / "out" / "model").mkdir()
    os.symlink(tmp_path / "out", tmp_path / "link")
    with pytest.raises(InputError, match=r"predictions\.tsv: .*--predict_file"):
        claim({"predict_file": f"{tmp_path}/link/predictions.tsv"})
    with pytest.raises(InputError, match=r"out: .*it is an input of the same run \(--init_checkpoint"):
        claim({"init_checkpoint": f"{tmp_path}/link"})
    with pytest.raises(InputError, match=r"out/model: .*is an input of the same run"):
        claim({"init_checkpoint": f"{tmp_path}/out/model"})
    claim({"init_checkpoint": f"{tmp_path}/out/model"}, trains=False)


def test_a_second_run_is_refused_while_the_first_lives(claim, tmp_path):
    job = claim()
    script = "import sys; from kobert_tf2 import outputs; outputs.FolderLock(sys.argv[1])"
    command = [sys.executable, "-c", script, f"{tmp_path}/out"]
    assert "another run is writing" in subprocess.run(command, capture_output=True, text=True).stderr
    del job
    assert os.listdir(tmp_path) == []  # Nothing was written, so the folder is removed too.


def test_the_inputs_of_a_task_are_its_fields_of_such_names():
    @dataclasses.dataclass
    class Settings:
        output_dir: str = "out"
        train_file: str = "a"
        init_checkpoint: str | None = None
        num_workers: int = 1

    assert job_inputs(Settings()) == {"train_file": "a", "init_checkpoint": None}
