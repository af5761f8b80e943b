"""Fine-tuning a classifier: the whole way on sentences it can learn, the scores by hand, and wrong input."""

import gc
import json
import random

import numpy as np
import pytest
import training_runs
import warm_python
from paths import ROOT

from kobert_tf2 import outputs
from kobert_tf2.errors import InputError
from kobert_tf2.labelling import sentence_metrics, sentences
from kobert_tf2.tasks import classify
from kobert_tf2.tasks.hold_out import hold_out

TOOL = ROOT / "tools" / "finetune_classifier.py"
GOOD, BAD = "좋다 최고 훌륭 감동 재미".split(), "나쁘다 최악 지루 실망 허접".split()
SYLLABLES = sorted(set("".join([*GOOD, *BAD, "이영화"])))
RUNNING = {"strategy": "one_device", "log_steps": 1000}


def write_sentences(path, count: int, seed: int) -> None:
    rng = random.Random(seed)
    lines = ["document\tlabel"]
    for _ in range(count):
        label = rng.randrange(2)
        words = (BAD, GOOD)[label]
        lines.append(f"이 영화 {rng.choice(words)} {rng.choice(words)}\t{('싫음', '좋음')[label]}")
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("classifier")
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *SYLLABLES, *(f"##{s}" for s in SYLLABLES)]
    (folder / "vocab.txt").write_text("\n".join(pieces) + "\n", encoding="utf-8")
    config = {
        "vocab_size": len(pieces), "hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2,
        "intermediate_size": 64, "hidden_act": "gelu", "hidden_dropout_prob": 0.1, "attention_probs_dropout_prob": 0.1,
        "max_position_embeddings": 32, "type_vocab_size": 2, "initializer_range": 0.02,
    }  # fmt: skip
    (folder / "bert_config.json").write_text(json.dumps(config))
    (folder / "tokenizer_config.json").write_text('{"do_lower_case": false}')
    for name, count, seed in (("train", 400, 1), ("dev", 67, 2), ("test", 41, 3)):
        write_sentences(folder / f"{name}.tsv", count, seed)
    return folder


def finetune(**arguments) -> dict:
    return classify.finetune(classify.FinetuneSettings(**arguments))


def arguments(data, output_dir, **changes) -> dict:
    return {
        "data_dir": str(data), "bert_config_file": str(data / "bert_config.json"), "vocab_file": str(data),
        "output_dir": str(output_dir), "max_seq_length": 32, "learning_rate": 1e-3, "num_train_epochs": 5.0,
        **RUNNING, **changes,
    }  # fmt: skip


@pytest.fixture(scope="module")
def trained(data, tmp_path_factory):
    output_dir = tmp_path_factory.mktemp("run") / "out"
    summary = finetune(**arguments(data, output_dir, do_train=True, do_eval=True, do_predict=True))
    return output_dir, summary


def test_it_learns_what_can_be_learnt_and_says_so(trained):
    output_dir, summary = trained
    assert summary["accuracy"] > 0.95
    assert summary["labels"] == ["싫음", "좋음"]
    assert np.sum(summary["confusion"]) == summary["eval_examples"] == 67
    results = dict(line.split(" = ") for line in (output_dir / "eval_results.txt").read_text().splitlines())
    assert float(results["eval_accuracy"]) == summary["accuracy"]
    assert int(results["global_step"]) == 62


def test_predictions_are_in_order_with_probabilities_that_sum_to_one(trained, data):
    output_dir, _ = trained
    rows = [line.split("\t") for line in (output_dir / "predictions.tsv").read_text(encoding="utf-8").splitlines()]
    assert rows[0] == ["id", "predicted", "probability_싫음", "probability_좋음"]
    examples = sentences.read_tsv(str(data / "test.tsv"))
    assert [row[0] for row in rows[1:]] == [example.id for example in examples]
    assert np.mean([row[1] == example.label for row, example in zip(rows[1:], examples, strict=True)]) > 0.9
    np.testing.assert_allclose([float(row[2]) + float(row[3]) for row in rows[1:]], 1, atol=2e-6)


def test_the_model_directory_is_evaluated_later_and_resumed_without_training_again(trained, data):
    output_dir, summary = trained
    again = finetune(**arguments(data, output_dir, vocab_file=None, bert_config_file=None, do_eval=True))
    assert (again["accuracy"], again["labels"]) == (summary["accuracy"], summary["labels"])
    resumed = finetune(**arguments(data, output_dir, do_train=True))
    assert (resumed["resumed_from"], resumed["global_step"]) == (62, 62)


def test_a_finished_run_lets_go_of_its_folder_at_once(data, tmp_path):
    """Its lock ends with the job, which nothing may hold in a circle that only the collector ends."""
    gc.disable()
    try:
        finetune(**arguments(data, tmp_path / "out", do_train=True, do_eval=True, num_train_epochs=0.1))
        assert all(not folder.startswith(str(tmp_path)) for _, folder in outputs._held)
    finally:
        gc.enable()


def test_the_batch_size_does_not_change_a_score(trained, data):
    output_dir, summary = trained
    other = finetune(**arguments(data, output_dir, do_eval=True, eval_batch_size=5))
    assert other["loss"] == pytest.approx(summary["loss"], abs=1e-5)


def test_a_part_of_the_training_file_can_be_held_out():
    examples = [sentences.Example(str(n), "", None, "0") for n in range(200)]
    rest, held_out = hold_out(examples, 0.05, seed=3)
    assert len(held_out) == 10
    assert {*rest, *held_out} == set(examples)
    assert (rest, held_out) == hold_out(examples, 0.05, seed=3)
    assert held_out != hold_out(examples, 0.05, seed=4)[1]


def test_scores_are_those_counted_by_hand():
    probabilities = np.array([[0.7, 0.2, 0.1], [0.1, 0.8, 0.1], [0.6, 0.3, 0.1], [0.2, 0.5, 0.3]], np.float32)
    scores = sentence_metrics.single_label(probabilities, np.array([0, 1, 1, 1]))
    assert scores["accuracy"] == 0.75
    assert scores["confusion"] == [[1, 0, 0], [1, 2, 0], [0, 0, 0]]
    assert scores["f1_of_each"] == pytest.approx([2 / 3, 4 / 5, 0])
    assert scores["f1"] == pytest.approx((2 / 3 + 4 / 5) / 2)
    assert scores["loss"] == pytest.approx(-np.log([0.7, 0.8, 0.3, 0.5]).mean(), abs=1e-6)
    assert sentence_metrics.single_label(probabilities[:, :2], np.array([0, 1, 1, 1]))["f1"] == pytest.approx(4 / 5)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({}, "expected --do_train, --do_eval or --do_predict"),
        ({"do_train": True, "data_dir": None}, "--do_train: expected --train_file, or train.tsv in --data_dir"),
        (
            {"do_train": True, "vocab_file": None},
            "expected --vocab_file, or --init_checkpoint with a vocabulary beside it",
        ),
        ({"do_train": True, "max_seq_length": 33}, "max_position_embeddings, 32, but got 33"),
        ({"do_eval": True}, "expected a trained model there, or --init_checkpoint"),
        ({"do_eval": True, "eval_fraction": 1.0}, "--eval_fraction"),
    ],
)
def test_wrong_input_is_a_sentence(data, tmp_path, changes, sentence):
    with pytest.raises(InputError, match=sentence):
        finetune(**arguments(data, tmp_path / "out", **changes))
    assert not (tmp_path / "out").exists()


def test_a_label_that_was_not_trained_on_is_named(trained, data, tmp_path):
    output_dir, _ = trained
    (tmp_path / "dev.tsv").write_text("document\tlabel\n이 영화\t보통\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"dev\.tsv, line 2: the label '보통' is not one of 싫음, 좋음"):
        finetune(**arguments(data, output_dir, eval_file=str(tmp_path / "dev.tsv"), do_eval=True))


def run_tool(*flags):
    return warm_python.run([TOOL, *flags])


def test_the_tool_prints_its_summary_last_and_a_sentence_for_a_mistake(trained, data):
    output_dir, summary = trained
    right = run_tool(f"--output_dir={output_dir}", f"--data_dir={data}", "--do_eval", "--max_seq_length=32")
    assert json.loads(right.stdout.splitlines()[-1])["accuracy"] == summary["accuracy"]
    wrong = run_tool(f"--output_dir={output_dir}", "--eval_file=nowhere.tsv", "--do_eval")
    assert (wrong.returncode, wrong.stdout) == (1, "")
    assert wrong.stderr.splitlines()[-1] == "error: nowhere.tsv: there is no such file"


def test_the_tool_holds_a_part_out_and_finds_it_again(data, tmp_path):
    """Trained and evaluated in one call, and evaluated again by another: the same rows are held out."""
    flags = {
        "bert_config_file": data / "bert_config.json", "vocab_file": data, "train_file": data / "train.tsv",
        "output_dir": tmp_path / "out", "eval_fraction": 0.1, "max_seq_length": 32, "num_train_epochs": 1,
    }  # fmt: skip
    given = [f"--{name}={value}" for name, value in flags.items()]
    first, again = (run_tool(*given, *asked) for asked in (("--do_train", "--do_eval"), ("--do_eval",)))
    assert (first.returncode, again.returncode) == (0, 0), first.stderr[-2000:] + again.stderr[-2000:]
    first, again = (json.loads(result.stdout.splitlines()[-1]) for result in (first, again))
    assert (first["train_examples"], first["eval_examples"]) == (360, 40)
    assert again["eval_examples"] == 40
    assert (again["loss"], again["confusion"]) == (first["loss"], first["confusion"])


def test_the_learning_rate_rises_for_the_asked_share_of_the_steps(data, tmp_path):
    settings = arguments(data, tmp_path, do_train=True, num_train_epochs=1.0, log_steps=1)
    steps = finetune(**settings, warmup_proportion=0.5)["global_step"]
    rates = [record["learning_rate"] for record in training_runs.log_of(tmp_path)]
    assert int(steps * 0.5) > 2
    assert rates == pytest.approx(training_runs.learning_rates(1e-3, steps, int(steps * 0.5)), abs=1e-8)
