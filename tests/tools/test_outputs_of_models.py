"""The outputs of tools that load a model: a full disk leaves nothing half-written, a link is written at its target."""

import json
import os
import shutil

import numpy as np
import pytest
import warm_python
from paths import ROOT
from small_models import config

from kobert_tf2 import outputs, sample_data
from kobert_tf2.bert import models
from kobert_tf2.pretraining_data import tfrecord
from kobert_tf2.tokenization.tokenizer import Tokenizer

VOCAB = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *dict.fromkeys("해미는배를탔다.누리나루터에갔강을건넜노래했")]
TRAIN = "--do_train --init_checkpoint=model --num_train_epochs=1 --max_seq_length=16 --train_batch_size=2"
# The flags of each tool but its output; the output; a name that it writes there (None: the output is a file).
TOOLS = {
    "convert_checkpoint": ("--input=model --to=tf1", "output", "bert_config.json"),
    "export_model": ("--model_dir=model --nowith_text --head=embedding", "output_dir", "1/saved_model.pb"),
    "extract_features": (
        "--init_checkpoint=model --input_file=corpus.txt --max_seq_length=12 --layers=-1 --batch_size=2",
        "output_file",
        None,
    ),
    "finetune_classifier": (f"{TRAIN} --train_file=train.tsv", "output_dir", "model/config.json"),
    "finetune_mrc": (
        f"{TRAIN} --train_file=squad.json --doc_stride=4 --max_query_length=6",
        "output_dir",
        "model/config.json",
    ),
    "finetune_ner": (f"{TRAIN} --train_file=ner.txt", "output_dir", "model/config.json"),
    "pretrain": (
        "--do_train --init_checkpoint=model --input_file=records --max_seq_length=8 --max_predictions_per_seq=2 "
        "--train_batch_size=4 --num_train_steps=2 --num_warmup_steps=0",
        "output_dir",
        "model/config.json",
    ),
}


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("inputs")
    tiny = config(vocab_size=len(VOCAB), num_hidden_layers=1, hidden_size=8, intermediate_size=8)
    tokenizer = Tokenizer(VOCAB, pre_tokenizer="none")
    models.BertForPreTraining(tiny).save_pretrained(folder / "model", tokenizer)
    (folder / "corpus.txt").write_text("해미는 배를 탔다.\n누리는 나루터에 갔다.\n", "utf-8")
    (folder / "train.tsv").write_text("label\tdocument\n1\t배를 탔다\n0\t갔다\n", "utf-8")
    (folder / "ner.txt").write_text("<해미:PS>는 갔다\n<누리:PS>는 탔다\n", "utf-8")
    data = sample_data.korquad(1, seed=1, questions_each=2)
    (folder / "squad.json").write_text(json.dumps(data, ensure_ascii=False), "utf-8")
    features = tfrecord.pretraining_features(max_seq_length=8, max_predictions_per_seq=2)
    table = {name: np.ones((8, feature.length), feature.dtype) for name, feature in features.items()}
    tfrecord.write(str(folder / "records"), table)
    return folder


def run(tool: str, folder, flag: str, value: str, *, fsize: int | None = None) -> dict:
    flags = [*TOOLS[tool][0].split(), f"--{flag}={value}"]
    (folder.parent / "cases.json").write_text(json.dumps([{"cwd": str(folder), "flags": flags, "fsize": fsize}]))
    program = [ROOT / "tests/support/run_tool.py", ROOT / f"tools/{tool}.py", folder.parent / "cases.json"]
    result = warm_python.run(program, timeout=600)
    assert result.returncode == 0, result.stderr[-3000:]
    return json.loads(result.stdout.splitlines()[-1])[0]


@pytest.mark.slow
@pytest.mark.parametrize("tool", TOOLS)
def test_a_full_disk_is_a_sentence_and_a_link_is_written_at_its_target(inputs, tool, tmp_path):
    _, flag, name = TOOLS[tool]
    folder = tmp_path / "here"
    shutil.copytree(inputs, folder)
    before = outputs.files_in(str(folder))
    full = run(tool, folder, flag, "full", fsize=100)
    said = [line for line in full["stderr"].splitlines() if line.startswith("error: ")]
    assert full["status"] == 1, full
    assert len(said) == 1, full["stderr"]
    assert full["stderr"].splitlines()[-1] == said[0]  # AutoGraph may warn before that it has no temporary file.
    assert "too large" in said[0], said
    left = [path for path in outputs.files_in(str(folder)) if path not in before and os.path.getsize(folder / path)]
    assert not [path for path in left if path == "full" or path.startswith(("full/model", "full/1"))], left
    assert not [path for path in left if "tmp" in path], left
    (folder / "link").symlink_to("target")
    result = run(tool, folder, flag, "link")
    assert result["status"] == 0, result["stderr"][-2000:]
    assert len(result["stdout"].splitlines()) == 1, "its result, and nothing else, on standard output"
    assert (folder / "link").is_symlink()
    assert (folder / "target").is_file() if name is None else (folder / "target" / name).is_file()
