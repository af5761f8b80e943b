"""The reader from end to end on a model of toy size, and what is said about wrong input."""

import contextlib
import functools
import json
import pathlib

import numpy as np
import pytest
import training_runs
import warm_python

import kobert_tf2 as kb
from kobert_tf2 import sample_data
from kobert_tf2.errors import InputError
from kobert_tf2.reading import squad_files, window_cache
from kobert_tf2.reading.settings import ReadingSettings, strips_josa
from kobert_tf2.serving import export
from kobert_tf2.tasks import read as read_task
from kobert_tf2.tokenization.tokenizer import Tokenizer
from kobert_tf2.training import log as training_log

TOOL = pathlib.Path(__file__).resolve().parents[2] / "tools" / "finetune_mrc.py"
RUNNING = {"strategy": "one_device", "keep_checkpoints": 1, "log_steps": 1000, "iterations_per_loop": 10, "seed": 3}
LENGTHS = {"max_seq_length": 64, "doc_stride": 16, "max_query_length": 24}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Questions, a vocabulary of their syllables and a tiny configuration."""
    folder = tmp_path_factory.mktemp("reading")
    data = sample_data.korquad(5, seed=1, questions_each=2)
    text = json.dumps(data, ensure_ascii=False)
    (folder / "train.json").write_text(text)
    syllables = sorted({character for character in text if not character.isspace()})
    vocab = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *syllables, *("##" + syllable for syllable in syllables)]
    (folder / "vocab.txt").write_text("\n".join(vocab) + "\n")
    config = {
        "vocab_size": len(vocab),
        "hidden_size": 32,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 64,
        "hidden_act": "gelu",
        "hidden_dropout_prob": 0.0,
        "attention_probs_dropout_prob": 0.0,
        "max_position_embeddings": 64,
        "type_vocab_size": 2,
        "initializer_range": 0.1,
    }
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def settings_of(folder, output="out", **more) -> read_task.FinetuneSettings:
    arguments = {
        "output_dir": str(folder / output),
        "bert_config_file": str(folder / "config.json"),
        "vocab_file": str(folder / "vocab.txt"),
        "train_file": str(folder / "train.json"),
        "predict_file": str(folder / "train.json"),
        "do_predict": True,
        "train_batch_size": 8,
        "learning_rate": 1e-2,
        **RUNNING,
        **LENGTHS,
    }
    return read_task.FinetuneSettings(**(arguments | more))


def finetune(folder, output="out", **more) -> dict:
    return read_task.finetune(settings_of(folder, output, **more))


@pytest.fixture(scope="module")
def trained(folder):
    return finetune(folder, do_train=True, num_train_epochs=60.0)


def read(folder, name, output="out"):
    return json.loads((folder / output / name).read_text())


def test_it_learns_its_questions_by_heart(trained):
    assert trained["exact_match"] >= 80
    assert trained["predictions"] == 10
    assert trained["train_padding"] < 0.3


def test_every_answer_is_a_slice_of_its_context_and_raw_stands_beside_stripped(folder, trained):
    questions = {q.id: q for q in squad_files.read_squad(str(folder / "train.json"))}
    nbest = read(folder, "nbest_predictions.json")
    assert nbest.keys() == questions.keys()
    for name, entries in nbest.items():
        context = questions[name].context
        for entry in entries:
            assert entry["text"] == context[entry["start"] : entry["end"]]
            assert entry["stripped"] == context[entry["stripped_start"] : entry["stripped_end"]] in entry["text"]
        assert sum(entry["probability"] for entry in entries) == pytest.approx(1)
    raw, stripped = read(folder, "predictions_raw.json"), read(folder, "predictions_stripped.json")
    assert raw == {name: entries[0]["text"] for name, entries in nbest.items()}
    assert stripped == {name: entries[0]["stripped"] for name, entries in nbest.items()}
    assert read(folder, "predictions.json") == raw


def test_the_report_counts_every_question(folder, trained):
    counts = read(folder, "alignment_report.json")["counts"]
    assert (counts["questions"], counts["left_out"]) == (10, 0)
    assert counts["windows_with_answer"] >= 10
    assert "exact_match = " in (folder / "out" / "eval_results.txt").read_text()


def test_the_trained_model_is_found_again_and_predicts_the_same(folder, trained):
    before = read(folder, "nbest_predictions.json")
    summary = finetune(folder, strip_josa=True)
    assert read(folder, "predictions.json") == read(folder, "predictions_stripped.json")
    assert summary["raw"] == trained["raw"]
    after = read(folder, "nbest_predictions.json")
    for name, entries in before.items():
        assert after[name][0]["start_logit"] == pytest.approx(entries[0]["start_logit"], abs=1e-4)


def test_a_run_that_is_done_is_not_begun_again(folder, trained):
    again = finetune(folder, do_train=True, do_predict=False, num_train_epochs=60.0)
    assert again["global_step"] == trained["global_step"]


class BrokenOffError(Exception):
    pass


@contextlib.contextmanager
def broken_off(step: int):
    """A training within it ends with `BrokenOffError` after the record of this step."""
    record = training_log.TrainingLog.record

    def record_and_break(self, number, values):
        record(self, number, values)
        if number == step:
            raise BrokenOffError

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training_log.TrainingLog, "record", record_and_break)
        with pytest.raises(BrokenOffError):
            yield


def test_a_run_that_was_broken_off_goes_on_as_if_it_had_not_been(folder):
    settings = {"do_train": True, "num_train_epochs": 6.0, "save_checkpoints_steps": 5, "log_steps": 1}
    whole = finetune(folder, "whole", **settings)
    with broken_off(7):
        finetune(folder, "halves", **settings)
    assert not (folder / "halves" / "model").exists()
    halves = finetune(folder, "halves", **settings)
    assert halves["resumed_from"] == 5
    assert halves["global_step"] == whole["global_step"] > 7
    assert read(folder, "nbest_predictions.json", "halves") == read(folder, "nbest_predictions.json", "whole")


def test_it_starts_from_a_model_directory_and_gives_no_answer_where_none_is(folder, trained):
    data = json.loads((folder / "train.json").read_text())
    for question in data["data"][0]["paragraphs"][0]["qas"]:
        question.update(is_impossible=True, answers=[])
    (folder / "negative.json").write_text(json.dumps(data))
    summary = finetune(
        folder,
        "negative",
        init_checkpoint=str(folder / "out" / "model"),
        bert_config_file=None,
        vocab_file=None,
        train_file=str(folder / "negative.json"),
        predict_file=str(folder / "negative.json"),
        do_train=True,
        num_train_epochs=4.0,
        version_2_with_negative=True,
        null_score_diff_threshold=-1e9,
    )
    assert set(read(folder, "predictions.json", "negative").values()) == {""}
    odds = read(folder, "null_odds.json", "negative")
    assert len(odds) == 10
    assert summary["metric"] == "squad2"
    assert summary["NoAns_exact"] == 100
    nbest = read(folder, "nbest_predictions.json", "negative")
    assert any(entry["text"] == "" for entry in next(iter(nbest.values())))
    best = next(entry for entry in nbest["sample-1-0-0"] if entry["text"])
    null = next(entry for entry in nbest["sample-1-0-0"] if not entry["text"])
    expected = null["start_logit"] + null["end_logit"] - best["start_logit"] - best["end_logit"]
    assert odds["sample-1-0-0"] == pytest.approx(expected, abs=1e-4)


def test_batches_are_static_and_rows_that_fill_up_weigh_nothing(folder):
    tokenizer = Tokenizer(str(folder / "vocab.txt"))
    make = functools.partial(window_cache.windows_of_file, tokenizer=tokenizer, cache_dir=None, **LENGTHS)
    data = read_task._TrainingData(settings_of(folder, train_batch_size=4, num_train_epochs=1.5), make)
    batches = list(data.dataset().take(data.num_steps).as_numpy_iterator())
    assert len(batches) == data.num_steps < len(data.batches)
    for batch, planned in zip(batches, data.batches, strict=False):
        assert batch["input_ids"].shape == batch["segment_ids"].shape == (4, planned.width)
        np.testing.assert_array_equal(batch["example_weight"], planned.rows >= 0)
        real = planned.rows >= 0
        expected = data.windows.input_ids[planned.rows[real], : planned.width]
        np.testing.assert_array_equal(batch["input_ids"][real], expected)
        np.testing.assert_array_equal(batch["start_positions"][real], data.windows.start_positions[planned.rows[real]])


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"do_predict": False}, "expected --do_train, --do_predict or both"),
        ({"predict_file": None}, "expected --predict_file with --do_predict"),
        ({"do_train": True, "train_file": None}, "expected --train_file with --do_train"),
        ({"doc_stride": 60}, "expected doc_stride between 1 and 37"),
        ({}, "expected a trained model there, or --init_checkpoint"),
        ({"do_train": True, "vocab_file": None}, "expected --vocab_file, or --init_checkpoint"),
        ({"do_train": True, "max_seq_length": 65}, "at most max_position_embeddings, 64, but got 65"),
        ({"do_train": True, "bert_config_file": None}, "expected --bert_config_file, or --init_checkpoint"),
    ],
)
def test_what_a_user_can_mend_is_a_sentence(folder, wrong, message):
    with pytest.raises(InputError, match=message):
        finetune(folder, "wrong", **wrong)
    assert not (folder / "wrong" / "predictions.json").exists()


def test_the_program_ends_with_one_and_no_traceback(folder):
    flags = [f"--output_dir={folder}/none", "--do_train", "--doc_stride=400", "--train_file=none.json"]
    result = warm_python.run([TOOL, *flags])
    assert result.returncode == 1
    assert "error: expected doc_stride between 1 and 317" in result.stderr
    assert "Traceback" not in result.stderr
    assert not (folder / "none").exists()


# -- what the model keeps ----------------------------------------------------------------------------------------------


def test_a_trained_model_is_read_as_it_was_trained_without_a_flag(folder, trained):
    model = str(folder / "out" / "model")
    given = {**LENGTHS, "max_answer_length": 30, "n_best_size": 20, "null_score_diff_threshold": None}
    predictor = kb.Predictor.load(model)
    assert predictor.settings == ReadingSettings(**given, strip_josa=trained["strip_josa"])
    questions = squad_files.read_squad(str(folder / "train.json"))
    answers = predictor.answer_batch([(question.question, question.context) for question in questions])
    finetune(folder, "again", init_checkpoint=model)
    assert [answer["text"] for answer in answers] == list(read(folder, "predictions_raw.json", "again").values())
    assert [answer["answer"] for answer in answers] == list(read(folder, "predictions.json", "again").values())
    exported = export.export(model, str(folder / "export"), with_text=False)
    assert kb.Predictor.load(exported["path"]).settings == predictor.settings


def test_a_threshold_and_the_choice_of_particles_are_kept_too(folder, trained):
    asked = {"init_checkpoint": str(folder / "out" / "model"), "do_train": True, "do_predict": False}
    asked |= {"num_train_epochs": 0.1, "max_seq_length": 50, "doc_stride": 10, "max_answer_length": 7}
    finetune(folder, "kept", **asked, version_2_with_negative=True, null_score_diff_threshold=1.5, strip_josa=True)
    settings = kb.Predictor.load(str(folder / "kept" / "model")).settings
    lengths = {**LENGTHS, "max_seq_length": 50, "doc_stride": 10, "max_answer_length": 7}
    assert settings == ReadingSettings(**lengths, null_score_diff_threshold=1.5, strip_josa=True)
    config = json.loads((folder / "kept" / "model" / "config.json").read_text())
    assert config["task_specific_params"]["question-answering"]["doc_stride"] == 10


def test_it_ends_with_the_best_answers_of_the_dev_file(folder):
    asked = {"do_train": True, "num_train_epochs": 6.0, "eval_steps": 2, "early_stopping_patience": 1}
    summary = finetune(folder, "early", **asked, learning_rate=1e-9)
    assert (summary["best_step"], summary["global_step"], summary["stopped_early"]) == (2, 4, True)
    assert summary["best_score"] == pytest.approx(summary["f1"])


# -- what a flag does --------------------------------------------------------------------------------------------------


def test_the_learning_rate_rises_for_the_asked_share_of_the_steps(folder):
    settings = {"do_train": True, "do_predict": False, "num_train_epochs": 4.0, "log_steps": 1}
    steps = finetune(folder, "warm", **settings, warmup_proportion=0.4)["global_step"]
    rates = [record["learning_rate"] for record in training_runs.log_of(folder / "warm")]
    assert int(steps * 0.4) > 2
    assert rates == pytest.approx(training_runs.learning_rates(1e-2, steps, int(steps * 0.4)), abs=1e-8)


def test_a_record_over_a_resumed_run_is_the_mean_of_all_its_steps(folder):
    """The checkpoint lies between two records: what came before it must count in the next one."""

    settings = {"do_train": True, "do_predict": False, "num_train_epochs": 6.0}
    settings |= {"log_steps": 4, "save_checkpoints_steps": 6}
    finetune(folder, "unbroken", **settings)
    with broken_off(8):
        finetune(folder, "broken", **settings)
    resumed = finetune(folder, "broken", **settings)
    assert resumed["resumed_from"] == 6
    assert training_runs.log_of(folder / "broken") == training_runs.log_of(folder / "unbroken")


def test_there_is_no_answer_exactly_where_its_odds_are_above_the_threshold(folder, trained):
    asked = {"version_2_with_negative": True, "do_predict": True, "init_checkpoint": str(folder / "out" / "model")}
    finetune(folder, "odds", **asked)
    odds = read(folder, "null_odds.json", "odds")
    threshold = float(np.median(list(odds.values())))
    finetune(folder, "odds", **asked, null_score_diff_threshold=threshold)
    assert read(folder, "null_odds.json", "odds") == odds
    given = read(folder, "predictions.json", "odds")
    nbest = read(folder, "nbest_predictions.json", "odds")
    best = {name: next(entry for entry in entries if entry["text"]) for name, entries in nbest.items()}
    assert given == {name: "" if odds[name] > threshold else best[name]["text"] for name in odds}
    assert 0 < list(given.values()).count("") < len(given)


@pytest.mark.parametrize("n_best_size", [1, 2])
def test_however_few_are_listed_an_answer_is_the_best_span(folder, trained, n_best_size):
    """Among one of the n best there may be "no answer" alone, while the threshold lets the best span be given."""
    asked = {"version_2_with_negative": True, "null_score_diff_threshold": 1e6, "n_best_size": n_best_size}
    asked["init_checkpoint"] = str(folder / "out" / "model")
    finetune(folder, f"best{n_best_size}", **asked)
    assert read(folder, "predictions.json", f"best{n_best_size}") == read(folder, "predictions_raw.json")


@pytest.mark.parametrize(
    ("pre_tokenizer", "asked", "strips"),
    [("none", None, True), ("mecab", None, False), ("none", False, False), ("mecab", True, True)],
)
def test_particles_are_stripped_by_default_where_the_tokenizer_knows_no_morphemes(pre_tokenizer, asked, strips):
    tokenizer = Tokenizer(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "가"], pre_tokenizer=pre_tokenizer)
    assert strips_josa(asked, tokenizer) is strips


@pytest.mark.parametrize(("pre_tokenizer", "kind"), [("none", "stripped"), ("mecab", "raw")])
def test_predictions_hold_what_the_tokenizer_decides(folder, trained, monkeypatch, pre_tokenizer, kind):
    monkeypatch.setattr(
        read_task, "JosaStripper", lambda analyser: lambda context, start, end: (start, (start + end) // 2)
    )
    output = folder / f"of_{pre_tokenizer}"
    Tokenizer(str(folder / "vocab.txt"), pre_tokenizer=pre_tokenizer).save_pretrained(str(output / "tokenizer"))
    asked = {"vocab_file": str(output / "tokenizer"), "init_checkpoint": str(folder / "out" / "model")}
    assert finetune(folder, output.name, **asked)["strip_josa"] is (kind == "stripped")
    raw, stripped = (read(folder, f"predictions_{name}.json", output.name) for name in ("raw", "stripped"))
    assert raw != stripped
    assert read(folder, "predictions.json", output.name) == {"raw": raw, "stripped": stripped}[kind]
