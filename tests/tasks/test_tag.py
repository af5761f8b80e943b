"""Fine-tuning a tagger: the whole way on entities it can learn, every kind of file, and wrong input."""

import json
import os
import random

import pytest
import warm_python
from paths import ROOT

from kobert_tf2.errors import InputError
from kobert_tf2.labelling import entity_files
from kobert_tf2.labelling.entity_files import Entity, TaggedText
from kobert_tf2.serving.tagger import Tagger
from kobert_tf2.tasks import tag

TOOL = ROOT / "tools" / "finetune_ner.py"
PEOPLE, PLACES = "김철수 이영희 박민수 최수진".split(), "서울 부산 대구 인천".split()
RUNNING = {"strategy": "one_device", "log_steps": 1000}


def texts(count: int, seed: int) -> list[TaggedText]:
    rng = random.Random(seed)
    made = []
    for number in range(count):
        person, place = rng.choice(PEOPLE), rng.choice(PLACES)
        text = f"어제 {person}가 {place}에 갔다" if rng.random() < 0.5 else f"{place}에서 {person}를 만났다"
        spans = ((text.index(person), person, "PS"), (text.index(place), place, "LC"))
        entities = tuple(Entity(start, start + len(name), kind) for start, name, kind in sorted(spans))
        made.append(TaggedText(f"id-{number}", text, entities))
    return made


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tagger")
    syllables = sorted(set("".join([*PEOPLE, *PLACES, "어제가에갔다서를만났"])))
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *syllables, *(f"##{s}" for s in syllables)]
    (folder / "vocab.txt").write_text("\n".join(pieces) + "\n", encoding="utf-8")
    config = {
        "vocab_size": len(pieces), "hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2,
        "intermediate_size": 64, "hidden_act": "gelu", "hidden_dropout_prob": 0.1, "attention_probs_dropout_prob": 0.1,
        "max_position_embeddings": 32, "type_vocab_size": 2, "initializer_range": 0.02,
    }  # fmt: skip
    (folder / "bert_config.json").write_text(json.dumps(config))
    for name, count, seed in (("train", 400, 1), ("dev", 60, 2)):
        entity_files.write_klue(str(folder / f"{name}.tsv"), texts(count, seed))
    return folder


def arguments(data, output_dir, **changes) -> dict:
    return {
        "bert_config_file": str(data / "bert_config.json"), "vocab_file": str(data / "vocab.txt"),
        "train_file": str(data / "train.tsv"), "eval_file": str(data / "dev.tsv"), "output_dir": str(output_dir),
        "max_seq_length": 12, "learning_rate": 3e-3, "num_train_epochs": 5.0, **RUNNING, **changes,
    }  # fmt: skip


def finetune(**arguments) -> dict:
    return tag.finetune(tag.FinetuneSettings(**arguments))


@pytest.fixture(scope="module")
def trained(data, tmp_path_factory):
    output_dir = tmp_path_factory.mktemp("run") / "out"
    plain = data / "plain.txt"
    plain.write_text("어제 김철수가 부산에 갔다\n\n대구에서 박민수를 만났다\n", encoding="utf-8")
    summary = finetune(
        **arguments(data, output_dir, do_train=True, do_eval=True, do_predict=True, predict_file=str(plain))
    )
    return output_dir, summary


def test_it_learns_what_can_be_learnt_and_scores_it(trained):
    output_dir, summary = trained
    assert summary["entity_f1"] > 0.95
    assert summary["labels"] == ["O", "B-LC", "I-LC", "B-PS", "I-PS"]
    assert summary["types"]["PS"]["support"] == 60
    results = dict(line.split(" = ") for line in (output_dir / "eval_results.txt").read_text().splitlines())
    assert float(results["entity_f1"]) == summary["entity_f1"]
    config = json.loads((output_dir / "model/config.json").read_text())
    assert config["architectures"] == ["BertForTokenClassification"]
    assert [config["id2label"][str(i)] for i in range(5)] == summary["labels"]


def test_predictions_are_slices_of_the_text_in_both_formats(trained):
    output_dir, _ = trained
    rows = json.loads((output_dir / "predictions.json").read_text("utf-8"))
    assert [row["id"] for row in rows] == ["1", "3"]
    for row in rows:
        for entity in row["entities"]:
            assert row["text"][entity["start"] : entity["end"]] == entity["text"]
            assert 0 < entity["score"] <= 1
    assert [(entity["text"], entity["type"]) for entity in rows[0]["entities"]] == [("김철수", "PS"), ("부산", "LC")]
    again = entity_files.read(str(output_dir / "predictions.tsv"))
    assert [len(text.entities) for text in again.texts] == [len(row["entities"]) for row in rows]


def test_a_trained_model_evaluates_and_predicts_without_training(trained, data):
    output_dir, summary = trained
    again = finetune(**arguments(data, output_dir, do_eval=True, vocab_file=None, bert_config_file=None))
    assert again["entity_f1"] == summary["entity_f1"]


def test_the_model_keeps_how_it_cuts_texts_and_all_who_load_it_take_it_over(trained, data):
    output_dir, summary = trained
    settings = arguments(data, output_dir, do_eval=True, vocab_file=None, bert_config_file=None)
    del settings["max_seq_length"]
    assert finetune(**settings)["entity_f1"] == summary["entity_f1"]
    tagger = Tagger.load(str(output_dir / "model"))
    assert tagger.max_seq_length == 12
    rows = json.loads((output_dir / "predictions.json").read_text("utf-8"))
    found = tagger.predict([row["text"] for row in rows])
    names = ("text", "type", "start", "end")
    assert [[[entity[name] for name in names] for entity in one] for one in found] == [
        [[entity[name] for name in names] for entity in row["entities"]] for row in rows
    ]


def test_eojeols_that_are_tagged_whole_lose_their_particles(data, tmp_path, capsys):
    path = tmp_path / "eojeols.tsv"
    path.write_text("어제\tO\n김철수가\tB-PS\n서울에\tB-LC\n갔다\tO\n", encoding="utf-8")
    (text,) = tag._read(str(path), None)
    assert entity_files.marked(text.text, text.entities) == "어제 <김철수:PS>가 <서울:LC>에 갔다"
    assert "2 entities were tagged with their particles" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("changes", "reported"),
    [
        ({}, "expected --do_train, --do_eval or --do_predict"),
        ({"do_train": True, "train_file": None}, "--do_train: expected --train_file"),
        ({"do_eval": True, "eval_file": None}, "--do_eval: expected --eval_file, or --train_file with --eval_fraction"),
        ({"do_predict": True}, "--do_predict: expected --predict_file"),
        ({"do_train": True, "eval_fraction": 1.0}, "--eval_fraction: expected"),
        ({"do_train": True, "max_seq_length": 40}, "expected --max_seq_length of at most max_position_embeddings"),
        ({"do_eval": True}, "expected a trained model there, or --init_checkpoint"),
    ],
)
def test_what_is_wrong_is_reported_before_anything_is_made(data, tmp_path, changes, reported):
    with pytest.raises(InputError, match=reported):
        finetune(**arguments(data, tmp_path / "out", **changes))
    assert not (tmp_path / "out" / "model").exists()


def test_a_type_that_the_training_never_saw_is_reported_with_its_text(trained, data, tmp_path):
    path = tmp_path / "dev.tsv"
    entity_files.write_klue(str(path), [TaggedText("id-9", "어제 갔다", (Entity(0, 2, "DT"),))])
    with pytest.raises(InputError, match="id-9: the type 'DT' is not one of LC, PS"):
        finetune(**arguments(data, trained[0], do_eval=True, eval_file=str(path)))


def test_the_tool_ends_with_one_json_line_or_one_sentence(data, tmp_path):
    flags = {
        "bert_config_file": data / "bert_config.json", "vocab_file": data / "vocab.txt", "output_dir": tmp_path / "out",
        "train_file": data / "train.tsv", "max_seq_length": 12, "num_train_epochs": 0.2, "eval_fraction": 0.1,
    }  # fmt: skip
    command = [TOOL, "--do_train", "--do_eval", *(f"--{k}={v}" for k, v in flags.items())]
    result = warm_python.run(command)
    assert json.loads(result.stdout.splitlines()[-1])["eval_texts"] == 40
    assert os.listdir(tmp_path / "out/model")
    wrong = warm_python.run([*command, f"--train_file={data}/vocab.txt"])
    assert wrong.returncode == 1
    assert "vocab.txt: expected entities" in wrong.stderr.splitlines()[-1]


def test_it_ends_with_the_best_entities_of_the_dev_file(data, tmp_path):
    asked = {"do_train": True, "do_eval": True, "early_stopping_patience": 1, "eval_steps": 3, "class_weights": "O:0.5"}
    summary = finetune(**arguments(data, tmp_path / "out", **asked, learning_rate=1e-9, lora_rank=2, layer_decay=0.9))
    assert (summary["best_step"], summary["global_step"], summary["stopped_early"]) == (3, 6, True)
    assert summary["best_score"] == pytest.approx(summary["entity_f1"])


def test_early_stopping_without_dev_data_is_a_sentence(data, tmp_path):
    with pytest.raises(InputError, match="--early_stopping_patience: expected data with answers to evaluate on"):
        finetune(**arguments(data, tmp_path / "out", do_train=True, eval_file=None, early_stopping_patience=1))
