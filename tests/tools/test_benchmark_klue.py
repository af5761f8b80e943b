"""KLUE's benchmark: which files belong to a task, what is run, and that a finished task is not run again."""

import importlib.util
import json
import shlex

import pytest
import warm_python
from absl import flags
from paths import ROOT
from small_models import config

from kobert_tf2 import flag_files
from kobert_tf2.bert import models
from kobert_tf2.tokenization.tokenizer import Tokenizer

TOOL = ROOT / "tools" / "benchmark_klue.py"
WORDS = "배 섬 바다 떠나다 머물다 해미 누리".split()


@pytest.fixture(scope="module")
def tool():
    spec = importlib.util.spec_from_file_location("benchmark_klue", TOOL)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_files_are_found_in_klues_folders_and_in_one_the_newest_version_first(tool, tmp_path):
    nli, sts = (next(task for task in tool.TASKS if task.name == name) for name in ("nli", "sts"))
    inner = tmp_path / "klue-nli-v1.1"
    inner.mkdir()
    inside = ("klue-nli-v1.1_train.json", "klue-nli-v1.1_dev.json")
    outside = ("klue-nli-v1_train.json", "klue-sts-v1.1_dev.json", "klue-sts-v1.1_dev_half.json", "my-klue-sts-v1.json")
    for path in (*(inner / name for name in inside), *(tmp_path / name for name in outside)):
        path.write_text("[]")
    assert tool.find_files(str(tmp_path), nli) == {"train": f"{inner}/{inside[0]}", "dev": f"{inner}/{inside[1]}"}
    assert tool.find_files(str(tmp_path), sts) == {"train": None, "dev": f"{tmp_path}/klue-sts-v1.1_dev.json"}


def test_every_recipe_has_flags_that_its_tool_knows(tool):
    for task in tool.TASKS:
        given = {flag.lstrip("-").partition("=")[0] for flag in flag_files.expand([f"--flagfile=klue_{task.name}"])}
        source = (ROOT / "tools" / task.tool).read_text("utf-8") + (ROOT / "kobert_tf2/command_line.py").read_text(
            "utf-8"
        )
        assert {name for name in given if f'"{name}"' not in source} == set()
        assert {"do_train", "learning_rate", "num_train_epochs", "max_seq_length"} <= given


def test_a_table_has_what_klue_reports(tool):
    shown = tool.table({"nli": {"accuracy": 81.634}, "sts": {"Pearson": None}}, {"mrc": ["klue-mrc-v1.1_train"]})
    assert shown.splitlines() == [
        "nli   accuracy       81.63",
        "sts   Pearson       not defined",
        "mrc   missing       klue-mrc-v1.1_train",
    ]


def write(path, rows) -> None:
    path.write_text(json.dumps(rows, ensure_ascii=False), encoding="utf-8")


@pytest.mark.slow
def test_tasks_run_once_and_the_missing_ones_are_listed(tmp_path):
    tokenizer = Tokenizer(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS], pre_tokenizer="none")
    model = models.BertForPreTraining(config(vocab_size=len(tokenizer.vocab), num_hidden_layers=1))
    model.save_pretrained(str(tmp_path / "model"), tokenizer)
    data = tmp_path / "klue"
    data.mkdir()
    for part, count in (("train", 8), ("dev", 4)):
        rows = [
            {
                "premise": "배 떠나다",
                "hypothesis": f"{WORDS[i % 3]} 머물다",
                "gold_label": ("neutral", "entailment")[i % 2],
            }
            for i in range(count)
        ]
        write(data / f"klue-nli-v1.1_{part}.json", rows)
    write(data / "klue-sts-v1.1_dev.json", [])
    given = f"--init_checkpoint={tmp_path}/model --data_dir={data} --output_dir={tmp_path}/out --tasks=nli,sts"
    options = [
        f"--tool_option=--{flag}" for flag in ("num_train_epochs=0.5", "max_seq_length=16", "train_batch_size=2")
    ]
    first = warm_python.run([TOOL, *shlex.split(given), *options])
    assert first.returncode == 0, first.stderr[-2000:]
    result = json.loads(first.stdout.splitlines()[-1])
    assert result["missing"] == {"sts": ["klue-sts-v1.1_train"]}
    assert 0 <= result["scores"]["nli"]["accuracy"] <= 100
    assert json.loads((tmp_path / "out/klue.json").read_text())["scores"] == result["scores"]
    again = warm_python.run([TOOL, *shlex.split(given), *options])
    assert json.loads(again.stdout.splitlines()[-1]) == result
    assert "nli: finished before" in again.stderr
    for wrong, reported in (
        ([*options, "--tool_option=--seed=1"], "this task was run with other flags"),
        ([*options, "--tasks=nil"], "--tasks: expected names of ynat, sts, nli, ner, re, mrc, but got nil"),
        ([*options, "--tasks=sts"], "expected the train and dev files of a task, but none has both"),
        ([*options, f"--data_dir={tmp_path}/none"], "/none: expected a folder with KLUE's files"),
    ):
        failed = warm_python.run([TOOL, *shlex.split(given), *wrong])
        assert failed.returncode == 1
        assert reported in failed.stderr.splitlines()[-1]


def test_its_flags_are_not_left_in_this_process():
    assert "tool_option" not in flags.FLAGS
