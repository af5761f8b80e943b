"""What a user sees of a run in which nothing is wrong: no line of a library, what was made, a next command that works.

The slow test goes the whole way, each stage begun with the command that the one before it printed.
"""

import json
import os
import pathlib
import re
import shlex
import subprocess
import sys
import threading

import pytest
from paths import ROOT

from kobert_tf2 import sample_data

# What TensorFlow, its libraries and absl write, and Python's warnings.
NOISE = re.compile(
    r"^[IWEF]\d{4} |absl|cuInit|CUDA|cuda|oneDNN|retracing|^WARNING|Warning:|I tensorflow/|StreamExecutor|XLA service"
)
CONFIG = {
    "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8,
    "hidden_act": "gelu", "hidden_dropout_prob": 0.1, "attention_probs_dropout_prob": 0.1,
    "max_position_embeddings": 128, "type_vocab_size": 2, "initializer_range": 0.02,
}  # fmt: skip
READING = "--max_seq_length=64 --doc_stride=16 --max_query_length=24"


def run(command: list[str], folder: pathlib.Path) -> tuple[str, dict]:
    """Runs a command as a user's shell does; its standard error and the JSON of its last line."""
    environment = {name: value for name, value in os.environ.items() if name != "TF_CPP_MIN_LOG_LEVEL"}
    result = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    noise = [line for line in result.stderr.splitlines() if NOISE.search(line)]
    assert not noise, f"{command}: {noise}"
    return result.stderr, json.loads(result.stdout.splitlines()[-1])


def tool(name: str, flags: str) -> list[str]:
    return [sys.executable, str(ROOT / "tools" / f"{name}.py"), *shlex.split(flags)]


def next_command(stderr: str) -> list[str]:
    _, _, rest = stderr.partition("\nnext\n")
    assert rest, stderr
    return shlex.split(rest.partition("\n\n")[0].replace("\\\n", " "))


def made(stderr: str) -> dict[str, str]:
    _, _, rest = stderr.partition("\nmade\n")
    lines = rest.partition("\n\n")[0].splitlines()
    return dict(re.split(r" {2,}", line.strip(), maxsplit=1) for line in lines if line.startswith("  "))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("screen")
    documents = list(sample_data.documents(60, seed=1))
    (folder / "corpus.txt").write_text("\n\n".join("\n".join(document) for document in documents), encoding="utf-8")
    syllables = sorted({character for document in documents for line in document for character in line.strip()} - {" "})
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *syllables, *(f"##{s}" for s in syllables)]
    (folder / "tokenizer").mkdir()
    (folder / "tokenizer/vocab.txt").write_text("\n".join(pieces) + "\n", encoding="utf-8")
    (folder / "config.json").write_text(json.dumps(CONFIG | {"vocab_size": len(pieces)}))
    (folder / "train.json").write_text(json.dumps(sample_data.korquad(12, seed=1)), encoding="utf-8")
    rows = [f"{line}\t{'가나'[number % 2]}" for number, line in enumerate(documents[0] * 6)]
    (folder / "train.tsv").write_text("document\tlabel\n" + "\n".join(rows) + "\n", encoding="utf-8")
    marked = [line.replace("년", "<년:DT>") for document in documents for line in document if "년" in line]
    (folder / "marked.txt").write_text("\n".join(marked) + "\n", encoding="utf-8")
    return folder


NEW = "--bert_config_file=config.json --vocab_file=tokenizer --do_train --train_batch_size=4 --num_train_epochs=1"
CLASSIFY = f"{NEW} --train_file=train.tsv --do_eval --eval_fraction=0.25 --output_dir=classifier --max_seq_length=32"


def test_a_training_says_what_it_made_and_nothing_else_does(folder):
    stderr, summary = run(tool("finetune_classifier", CLASSIFY), folder)
    assert made(stderr)["model"] == str(folder / "classifier/model")
    assert (folder / "classifier/model/config.json").exists()
    assert re.search(r"\nresults\n(  .*\n)*  accuracy +0", stderr)
    assert re.search(r"^loss [\d.]+  [\d,.]+ tokens/s  \d+/\d+ steps  \d+:\d\d left$", stderr, re.MULTILINE)
    assert next_command(stderr)[1].endswith("export_model.py")
    assert summary["model_dir"] == "classifier/model"


@pytest.mark.slow
def test_from_text_to_pretrained_by_the_printed_commands(folder):
    build = tool("build_vocab", "--input_file=corpus.txt --output_dir=learnt --vocab_size=300")
    seen, command = [], build
    for _ in range(4):
        seen.append(pathlib.Path(command[1]).stem)
        stderr, _ = run(command, folder)
        assert all(os.path.isabs(path) and os.path.exists(path) for path in made(stderr).values())
        if seen[-1] == "doctor":
            break
        command = next_command(stderr)
    assert seen == ["build_vocab", "create_pretraining_data", "pretrain", "doctor"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "flags"),
    [
        ("finetune_classifier", CLASSIFY.replace("=classifier", "=classifier_2")),
        ("finetune_ner", f"{NEW} --train_file=marked.txt --output_dir=tagger --max_seq_length=32"),
        (
            "finetune_mrc",
            f"{NEW} --train_file=train.json --predict_file=train.json --do_predict --output_dir=reader {READING}",
        ),
    ],
)
def test_a_model_is_exported_by_the_printed_command(folder, name, flags):
    stderr, _ = run(tool(name, flags), folder)
    stderr, exported = run(next_command(stderr), folder)
    assert os.path.exists(made(stderr)["export"])
    if exported["head"] == "reading":
        assert_serves(next_command(stderr), folder)
        evaluate = tool("evaluate_mrc", "--data_file=train.json --predictions_file=reader/predictions.json")
        stderr, _ = run(evaluate, folder)
        stderr, _ = run(next_command(stderr), folder)
        assert made(stderr)["report"].endswith("report.html")


@pytest.mark.slow
def test_the_other_tools_are_quiet_too(folder):
    """After the training of the test above, or with one of their own."""
    if not (folder / "classifier/model").exists():
        run(tool("finetune_classifier", CLASSIFY), folder)
    (folder / "words.csv").write_text("나루터\n", encoding="utf-8")
    model = "classifier/model"
    for name, flags in (
        ("build_user_dictionary", "--input_file=words.csv --output_file=user.dic"),
        ("extract_features", f"--input_file=corpus.txt --init_checkpoint={model} --output_file=f.jsonl --pooling=mean"),
        ("convert_checkpoint", f"--input={model} --output=tf1 --to=tf1"),
        ("convert_checkpoint", "--input=tf1 --output=hf --to=hf"),
    ):
        stderr, _ = run(tool(name, flags), folder)
        assert all(os.path.isabs(path) and os.path.exists(path) for path in made(stderr).values())
        assert made(stderr)
        if name == "convert_checkpoint":
            run(next_command(stderr), folder)


def assert_serves(command: list[str], folder: pathlib.Path) -> None:
    pytest.importorskip("uvicorn")
    process = subprocess.Popen([*command, "--port=0"], cwd=folder, stderr=subprocess.PIPE, text=True)
    stop = threading.Timer(120, process.kill)
    stop.start()
    try:
        assert any("Uvicorn running on" in line for line in process.stderr)
    finally:
        stop.cancel()
        process.terminate()
        process.wait()
