"""What is said of a folder or a hub id before anything runs, and that nothing heavy is loaded for it."""

import json
import os
import pathlib
import re
import subprocess
import sys

import loopback_hub
import pytest
from paths import ROOT
from safetensors.numpy import load_file, save_file
from small_models import config, save_tf1

from kobert_tf2 import files
from kobert_tf2.bert import models
from kobert_tf2.conversion import inspection
from kobert_tf2.errors import InputError
from kobert_tf2.tokenization.tokenizer import Tokenizer

PIECES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "가", "##나"]
NAMES = ("긍정", "부정", "모름")


@pytest.fixture
def save(tmp_path):
    def save_model(model, name: str = "model") -> pathlib.Path:
        model.save_pretrained(tmp_path / name, Tokenizer(PIECES, pre_tokenizer="none"))
        return tmp_path / name

    return save_model


def change_config(folder: pathlib.Path, **changes) -> None:
    path = str(folder / "config.json")
    files.write_json(path, files.read_json(path) | changes)


def test_a_classifier_is_described_with_its_labels_tokenizer_and_uses(save):
    folder = save(models.BertForSequenceClassification(config(), labels=NAMES, problem_type="regression"))
    (folder / "notes.txt").write_text("mine")
    found = inspection.inspect(f"{folder}/")
    assert (found.kind, found.architecture) == ("a model directory", "BertForSequenceClassification")
    assert found.reads == ["config.json", "model.safetensors", "tokenizer_config.json", "vocab.txt"]
    assert found.not_read == ["README.md", "notes.txt"]
    assert found.parts == ["encoder", "pooler", "classifier"]
    assert (found.labels, found.problem_type) == (list(NAMES), "regression")
    assert found.tokenizer["pieces"] == len(PIECES)
    assert found.tokenizer["settings"]["pre_tokenizer"] == "none"
    assert [use.split()[0] for use in found.can] == ["classify", "give"]
    assert [what.split()[0] for what in found.needs_training] == ["reading", "entities"]
    assert (found.notes, found.problems) == ([], [])


@pytest.mark.parametrize(
    ("cls", "can"),
    [
        (models.BertForPreTraining, ["predict masked pieces and next sentences", "give embeddings ("]),
        (models.BertForQuestionAnswering, ["answer questions", "give embeddings without pooled_output"]),
        (models.BertForTokenClassification, ["tag entities", "give embeddings without pooled_output"]),
        (models.BertBackbone, ["give embeddings ("]),
    ],
)
def test_a_model_can_do_what_its_weights_hold(cls, can, save, tmp_path):
    model = cls(config())
    for path in (save(model), save_tf1(model, tmp_path / "tf1"), f"{tmp_path}/tf1/bert_model.ckpt"):
        found = inspection.inspect(str(path))
        assert len(found.can) == len(can)
        assert all(use.startswith(start) for use, start in zip(found.can, can, strict=True))
    assert found.kind == "a TF1 checkpoint"
    assert "there is no tokenizer beside it" in found.problems[0]


def test_a_head_that_only_the_configuration_names_is_a_note(save):
    folder = save(models.BertBackbone(config()))
    change_config(folder, architectures=["BertForQuestionAnswering"])
    found = inspection.inspect(str(folder))
    assert found.notes == [
        "the configuration names BertForQuestionAnswering, but the weights hold no span head: it must be trained first"
    ]
    assert found.problems == []
    change_config(folder, architectures=["BertForDreaming"])
    assert "'BertForDreaming', whose head is not known here" in inspection.inspect(str(folder)).notes[0]


def test_one_segment_is_a_note_and_no_reader(save):
    found = inspection.inspect(str(save(models.BertBackbone(config(type_vocab_size=1)))))
    assert "type_vocab_size is 1" in found.notes[0]
    assert not any(what.startswith("reading") for what in found.needs_training)


@pytest.mark.parametrize(
    ("break_it", "told"),
    [
        (lambda folder: change_config(folder, model_type="roberta"), "model_type 'roberta'"),
        (lambda folder: change_config(folder, vocab_size=41), r"the model needs \[41, 16\]"),
        (lambda folder: change_config(folder, id2label={"0": "a", "2": "b", "1": "b"}), "'b' is there 2 times"),
        (lambda folder: (folder / "model.safetensors").write_bytes(b"no"), "not a whole safetensors file"),
        (lambda folder: (folder / "model.safetensors").unlink(), "there are no weights that can be read"),
        (lambda folder: (folder / "vocab.txt").unlink(), "there is no tokenizer beside it"),
        (
            lambda folder: (folder / "vocab.txt").write_text("\n".join([*PIECES, *(f"w{i}" for i in range(43))])),
            "vocab.txt has 50 pieces, but the model has vocab_size 40",
        ),
        (
            lambda folder: (folder / "model.safetensors").rename(folder / "pytorch_model.bin"),
            "convert_checkpoint.py --allow_pickle --input=",
        ),
    ],
)
def test_what_is_wrong_is_a_problem_in_a_sentence_that_names_the_folder(break_it, told, save):
    folder = save(models.BertForSequenceClassification(config(), labels=NAMES))
    break_it(folder)
    found = inspection.inspect(str(folder))
    (problem,) = found.problems
    assert re.search(told, problem), problem
    assert str(folder) in problem


def test_other_folders_are_named_for_what_they_are(save, tmp_path):
    Tokenizer(PIECES, pre_tokenizer="none").save_pretrained(tmp_path / "tokenizer")
    found = inspection.inspect(str(tmp_path / "tokenizer"))
    assert (found.kind, found.tokenizer["pieces"]) == ("a tokenizer alone", len(PIECES))
    (tmp_path / "export/3/assets").mkdir(parents=True)
    (tmp_path / "export/3/saved_model.pb").write_bytes(b"")
    assert inspection.inspect(str(tmp_path / "export")).kind == "a SavedModel of another program"
    files.write_json(f"{tmp_path}/export/3/assets/serving.json", {"head": "reading"})
    found = inspection.inspect(str(tmp_path / "export"))
    assert "export of a model with the head 'reading'" in found.kind
    assert found.can
    files.write_json(f"{tmp_path}/preset/config.json", {"registered_name": "keras_hub>BertBackbone"})
    files.write_json(f"{tmp_path}/preset/metadata.json", {})
    assert inspection.inspect(str(tmp_path / "preset")).kind == "a keras-hub preset"
    for nothing in (tmp_path / "nowhere/at/all", tmp_path):
        with pytest.raises(InputError, match="expected a model"):
            inspection.inspect(str(nothing))


WITHOUT = """
import json, sys
from kobert_tf2.conversion import inspection
found = inspection.inspect(sys.argv[1])
heavy = [name for name in ("tensorflow", "keras", "torch", "transformers") if name in sys.modules]
print(json.dumps([found.kind, found.parts, found.labels, found.problems, heavy]))
"""


def test_a_hub_id_is_described_from_headers_alone_without_tensorflow_and_offline_from_the_cache(save, tmp_path):
    folder = save(models.BertForSequenceClassification(config(), labels=NAMES), "hub")
    with loopback_hub.serve(folder) as (endpoint, asked):
        environment = {**os.environ, "HF_ENDPOINT": endpoint, "HF_HOME": str(tmp_path / "home")}
        command = [sys.executable, "-c", WITHOUT, loopback_hub.NAME]
        result = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=tmp_path, timeout=600)
        assert result.returncode == 0, result.stderr
        assert json.loads(result.stdout.splitlines()[-1]) == [
            "a model of the hub", ["encoder", "pooler", "classifier"], list(NAMES), [], [],
        ]  # fmt: skip
        assert not list((tmp_path / "home").rglob("*.safetensors"))
        assert any("safetensors" in path for path in asked)
    environment["HF_HUB_OFFLINE"] = "1"
    result = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=tmp_path, timeout=600)
    assert result.returncode == 0, result.stderr
    kind, parts, _, problems, _ = json.loads(result.stdout.splitlines()[-1])
    assert (kind, parts) == ("a model of the hub", None)
    assert "there are no weights that can be read" in problems[0]


def test_the_doctor_reports_on_standard_error_and_ends_with_json(save):
    def doctor(path):
        command = [sys.executable, str(ROOT / "tools/doctor.py"), f"--model={path}"]
        return subprocess.run(command, capture_output=True, text=True, timeout=600)

    folder = save(models.BertForSequenceClassification(config(), labels=NAMES))
    right = doctor(folder)
    assert right.returncode == 0, right.stderr
    assert json.loads(right.stdout.splitlines()[-1])["labels"] == list(NAMES)
    assert "라벨 / labels" in right.stderr
    assert "모두 정상입니다" in right.stderr
    arrays = load_file(folder / "model.safetensors")
    del arrays["bert.encoder.layer.1.output.dense.bias"]
    save_file(arrays, folder / "model.safetensors")
    wrong = doctor(folder)
    assert wrong.returncode == 1
    assert "missing: bert.encoder.layer.1.output.dense.bias [16]" in json.loads(wrong.stdout)["problems"][0]
    nowhere = doctor(f"{folder}/nowhere")
    assert (nowhere.returncode, nowhere.stdout) == (1, "")
    assert nowhere.stderr.splitlines()[-1].startswith("error: ")
