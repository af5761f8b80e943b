"""The tools one after another on real Korean text: film reviews for the model, KorQuAD questions for the reader."""

import itertools
import json
import pathlib
import subprocess
import sys

import pytest

TOOLS = pathlib.Path(__file__).resolve().parent.parent / "tools"
CORPUS_LINES = 8_000
QUESTIONS = 16
TINY_BERT = {
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 256,
    "max_position_embeddings": 192,
    "type_vocab_size": 2,
    "hidden_act": "gelu",
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
    "initializer_range": 0.02,
    "vocab_size": 3000,
}

pytestmark = pytest.mark.shared


def run(tool: str, **flags) -> dict:
    """Runs a tool and returns the JSON object on the last line of its standard output."""
    command = [sys.executable, str(TOOLS / tool), *(f"--{name}={value}" for name, value in flags.items())]
    result = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def reviews(shared, tmp_path_factory) -> str:
    path = tmp_path_factory.mktemp("reviews") / "corpus.txt"
    with open(shared / "data/nsmc/corpus.txt", encoding="utf-8") as file:
        path.write_text("".join(itertools.islice(file, CORPUS_LINES)), encoding="utf-8")
    return str(path)


@pytest.fixture(scope="module")
def questions(shared, tmp_path_factory) -> pathlib.Path:
    """The first questions of KorQuAD part a, in a file of their own that lives no longer than the test."""
    (path,) = (shared / "data/korquad").glob("*part_a.json")
    data = json.loads(path.read_text(encoding="utf-8"))
    kept, left = [], QUESTIONS
    for paragraph in itertools.chain.from_iterable(article["paragraphs"] for article in data["data"]):
        kept.append({**paragraph, "qas": paragraph["qas"][:left]})
        left -= len(kept[-1]["qas"])
        if not left:
            break
    target = tmp_path_factory.mktemp("korquad") / "questions.json"
    target.write_text(json.dumps({"version": "1", "data": [{"title": "-", "paragraphs": kept}]}), encoding="utf-8")
    return target


@pytest.mark.slow
def test_from_reviews_to_answers(reviews, questions, tmp_path):
    vocabulary = run("build_vocab.py", input_file=reviews, output_dir=tmp_path / "tokenizer", vocab_size=3000)
    assert vocabulary["vocab_size"] == 3000
    data = run(
        "create_pretraining_data.py",
        input_file=reviews,
        output_file=tmp_path / "records/reviews.tfrecord",
        vocab_file=tmp_path / "tokenizer",
        max_seq_length=64,
        max_predictions_per_seq=10,
        dupe_factor=1,
    )
    assert data["instances"] > 500
    (tmp_path / "bert_config.json").write_text(json.dumps(TINY_BERT))
    pretrained = run(
        "pretrain.py",
        bert_config_file=tmp_path / "bert_config.json",
        input_file=tmp_path / "records/reviews.tfrecord",
        vocab_file=tmp_path / "tokenizer",
        output_dir=tmp_path / "pretrained",
        do_train=True,
        train_batch_size=32,
        learning_rate=1e-3,
        num_train_steps=60,
        num_warmup_steps=10,
    )
    assert pretrained["masked_lm_loss"] < 7.9  # ln 3000 = 8.0: it learns something in 60 steps
    read = run(
        "finetune_mrc.py",
        init_checkpoint=tmp_path / "pretrained/model",
        train_file=questions,
        predict_file=questions,
        output_dir=tmp_path / "reader",
        do_train=True,
        do_predict=True,
        max_seq_length=192,
        doc_stride=96,
        max_query_length=48,
        train_batch_size=8,
        learning_rate=2e-3,
        num_train_epochs=80,
    )
    assert read["exact_match"] >= 90, "a reader must at least learn the questions that it is trained on"
    contexts = {
        question["id"]: paragraph["context"]
        for paragraph in json.loads(questions.read_text())["data"][0]["paragraphs"]
        for question in paragraph["qas"]
    }
    answers = json.loads((tmp_path / "reader/predictions.json").read_text(encoding="utf-8"))
    assert answers.keys() == contexts.keys()
    assert all(answer in contexts[id] for id, answer in answers.items())
    scores = run("evaluate_mrc.py", data_file=questions, predictions_file=tmp_path / "reader/predictions.json")
    assert scores["exact_match"] == read["exact_match"]
