"""The pre-training tool: from records to a model directory, and what it says to wrong input."""

import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import threading

import keras
import numpy as np
import pytest
import tensorflow as tf
import training_runs
import warm_python
from slow_cases import rest_slow

from kobert_tf2 import files
from kobert_tf2.bert import models
from kobert_tf2.errors import InputError
from kobert_tf2.pretraining_data import tfrecord
from kobert_tf2.tasks import pretrain as pretraining
from kobert_tf2.training import loop, strategies

CONFIG = {
    "hidden_size": 8,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 16,
    "hidden_act": "gelu",
    "hidden_dropout_prob": 0.1,
    "attention_probs_dropout_prob": 0.1,
    "max_position_embeddings": training_runs.SEQUENCE,
    "type_vocab_size": 2,
    "initializer_range": 0.02,
}
PIECES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *map(chr, range(0xAC00, 0xAC00 + training_runs.VOCAB - 5))]


@pytest.fixture
def folder(tmp_path):
    """Two shards with their side-car, a vocabulary, a configuration without vocab_size."""
    table = training_runs.features(48)
    for name, part in zip(tfrecord.shard_names(f"{tmp_path}/r.tfrecord", 2), (slice(24), slice(24, 48)), strict=True):
        tfrecord.write(name, {feature: x[part] for feature, x in table.items()})
    (tmp_path / "tokenizer").mkdir()
    (tmp_path / "tokenizer" / "vocab.txt").write_text("".join(f"{piece}\n" for piece in PIECES), encoding="utf-8")
    (tmp_path / "tokenizer" / "tokenizer_config.json").write_text('{"do_lower_case": false}')
    (tmp_path / "bert_config.json").write_text(json.dumps(CONFIG))
    write_sidecar(tmp_path)
    return tmp_path


def write_sidecar(folder, **changed) -> None:
    car = {
        "format": "kobert_tf2 pre-training records, version 1",
        "complete": True,
        "max_seq_length": training_runs.SEQUENCE,
        "max_predictions_per_seq": training_runs.PREDICTIONS,
        "vocab_size": training_runs.VOCAB,
        "vocab_sha256": files.sha256(f"{folder}/tokenizer/vocab.txt"),
    }
    files.write_json(f"{folder}/r.tfrecord.json", car | changed)


def pretrain(folder, **changed) -> dict:
    running = {"strategy": "one_device", "save_checkpoints_steps": 4, "keep_checkpoints": 2, "iterations_per_loop": 10}
    arguments = {
        "bert_config_file": f"{folder}/bert_config.json",
        "input_file": f"{folder}/r.tfrecord*",
        "output_dir": f"{folder}/out",
        "vocab_file": f"{folder}/tokenizer",
        "do_train": True,
        "do_eval": True,
        "train_batch_size": 8,
        "eval_batch_size": 5,
        "learning_rate": 5e-3,
        "num_train_steps": 8,
        "num_warmup_steps": 2,
        "log_steps": 2,
    }
    return pretraining.pretrain(pretraining.PretrainSettings(**{**running, **arguments, **changed}))


def test_from_records_to_a_model_directory(folder, capfd):
    summary = pretrain(folder)
    assert sorted(path.name for path in (folder / "out").iterdir()) == [
        "checkpoints",
        "eval_results.txt",
        "events",
        "model",
        "report.html",
        "run_config.json",
        "train_log.jsonl",
    ]
    assert {path.name for path in (folder / "out" / "model").iterdir()} >= {
        "config.json",
        "model.safetensors",
        "vocab.txt",
        "tokenizer_config.json",
    }
    lines = (folder / "out" / "eval_results.txt").read_text().splitlines()
    assert [line.split(" = ")[0] for line in lines] == [
        "global_step",
        "loss",
        "masked_lm_accuracy",
        "masked_lm_loss",
        "next_sentence_accuracy",
        "next_sentence_loss",
    ]
    assert lines[0] == "global_step = 8"
    json.dumps(summary, allow_nan=False)
    log = [json.loads(line) for line in (folder / "out" / "train_log.jsonl").read_text().splitlines()]
    assert [record["step"] for record in log] == [1, 2, 4, 6, 8]
    assert log[0].keys() >= {"loss", "masked_lm_accuracy", "next_sentence_accuracy", "learning_rate", "padding"}
    said = capfd.readouterr().err
    assert f"ln(vocab_size) = {np.log(training_runs.VOCAB):.2f}" in said
    assert "one device (CPU), float32" in said
    config = json.loads((folder / "out" / "run_config.json").read_text())
    assert config["train_batch_size_per_replica"] == 8
    assert config["model"]["hidden_act"] == "gelu_new", "gelu in Google's file is the tanh form"


def test_the_model_directory_holds_the_trained_weights_and_starts_a_second_phase(folder, capfd):
    trained = pretrain(folder)
    second = {"bert_config_file": None, "init_checkpoint": f"{folder}/out/model", "output_dir": f"{folder}/second"}
    summary = pretrain(folder, **second, num_train_steps=1, learning_rate=0.0)
    assert "starting from the weights of" in capfd.readouterr().err
    assert summary["loss"] == pytest.approx(trained["loss"], abs=1e-5)
    assert summary["global_step"] == 1


@pytest.mark.parametrize("precision", rest_slow(["float32", "bfloat16"]))
def test_a_decoder_of_its_own_is_trained_and_resumed_though_the_configuration_ties_it(folder, precision):
    values = {**CONFIG, "vocab_size": training_runs.VOCAB, "hidden_act": "gelu_new"}
    start = models.BertForPreTraining(models.BertConfig(**values, tie_word_embeddings=False))
    start.masked_lm.decoder.assign(np.random.default_rng(0).normal(0, 0.1, (training_runs.VOCAB, 8)))
    start.save_pretrained(f"{folder}/start")
    tied = files.read_json(f"{folder}/start/config.json") | {"tie_word_embeddings": True}
    files.write_json(f"{folder}/start/config.json", tied)
    run = {"bert_config_file": None, "init_checkpoint": f"{folder}/start", "precision": precision}
    try:
        for steps in (4, 8):
            pretrain(folder, **run, num_train_steps=steps)
    finally:
        keras.config.set_dtype_policy("float32")
    trained = models.BertForPreTraining.from_pretrained(f"{folder}/out/model")
    assert trained.config.tie_word_embeddings is False
    moved = np.abs(np.array(trained.masked_lm.decoder) - np.array(start.masked_lm.decoder)).max(axis=1)
    assert moved.min() > 0
    assert not np.array_equal(trained.masked_lm.decoder, trained.backbone.embeddings.word_embeddings)


def test_evaluation_alone_takes_the_newest_checkpoint(folder):
    trained = pretrain(folder)
    assert pretrain(folder, do_train=False)["loss"] == pytest.approx(trained["loss"], abs=1e-6)
    with pytest.raises(InputError, match="expected a checkpoint to evaluate"):
        pretrain(folder, do_train=False, output_dir=f"{folder}/empty")


def test_bfloat16_keeps_weights_and_losses_in_float32(folder):
    full = pretrain(folder, output_dir=f"{folder}/full", do_eval=False)
    try:
        summary = pretrain(folder, precision="bfloat16", do_eval=False)
        assert keras.config.dtype_policy().name == "mixed_bfloat16"
        assert models.BertForPreTraining(training_runs.config()).compute_dtype == "bfloat16"
    finally:
        keras.config.set_dtype_policy("float32")
    assert summary["loss"] == pytest.approx(full["loss"], abs=0.1)
    assert summary["loss"] != pytest.approx(full["loss"], abs=1e-5), "it was not computed in bfloat16"
    model = models.BertForPreTraining.from_pretrained(f"{folder}/out/model")
    assert {variable.dtype for variable in model.trainable_variables} == {"float32"}


def test_the_learning_rate_rises_for_the_asked_number_of_steps(folder):
    pretrain(folder, num_train_steps=9, num_warmup_steps=4, log_steps=1, do_eval=False)
    rates = [record["learning_rate"] for record in training_runs.log_of(folder / "out")]
    assert rates == pytest.approx(training_runs.learning_rates(5e-3, 9, 4), abs=1e-8)


def test_a_run_that_was_begun_otherwise_is_refused_by_what_differs(folder):
    """Finished here: it would train nothing, with status 0."""
    pretrain(folder, num_train_steps=2, do_eval=False)
    changes = {
        "learning_rate": (1e-3, "has --learning_rate=0.005, but now came 0.001"),
        "num_warmup_steps": (1, "has --num_warmup_steps=2, but now came 1"),
        "num_train_steps": (1, "has --num_train_steps=2, but now came 1"),
        "max_seq_length": (8, "has --max_seq_length=16, but now came 8"),
        "optimizer": ("lamb", "has --optimizer='bert_adam', but now came 'lamb'"),
    }
    for name, (value, said) in changes.items():
        with pytest.raises(InputError, match=re.escape(said)):
            pretrain(folder, **{"num_train_steps": 2, "do_eval": False, name: value})
    again = {"num_train_steps": 2, "do_eval": False}
    config = json.loads((folder / "bert_config.json").read_text())
    (folder / "bert_config.json").write_text(json.dumps({**config, "hidden_dropout_prob": 0.3}))
    with pytest.raises(InputError, match=r"with hidden_dropout_prob=0\.1, but now came 0\.3"):
        pretrain(folder, **again)
    (folder / "bert_config.json").write_text(json.dumps(config))
    shard = tfrecord.shard_names(f"{folder}/r.tfrecord", 2)[1]
    content = pathlib.Path(shard).read_bytes()
    tfrecord.write(shard, training_runs.features(8))
    with pytest.raises(InputError, match=r"another r\.tfrecord-00001-of-00002 of --input_file: \d"):
        pretrain(folder, **again)
    pathlib.Path(shard).write_bytes(content)
    pretrain(folder, **again, log_steps=1, keep_checkpoints=1, iterations_per_loop=1, save_checkpoints_steps=1)
    assert pretrain(folder, **{**again, "num_train_steps": 3})["global_step"] == 3


def order_of_rows(folder, seed: int, batches: int) -> list[bytes]:
    data = pretraining._Records.find(f"{folder}/r.tfrecord*", None, None)
    dataset = data.training_batches(8, seed).take(batches)
    return [row.tobytes() for batch in dataset.as_numpy_iterator() for row in batch["input_ids"]]


def test_records_come_shuffled_by_the_seed_anew_in_each_epoch(folder):
    in_the_files = [row.tobytes() for row in training_runs.features(48)["input_ids"]]
    epochs = order_of_rows(folder, seed=3, batches=12)
    first, second = epochs[:48], epochs[48:]
    assert sorted(first) == sorted(second) == sorted(in_the_files)
    assert len({tuple(order) for order in (first, second, in_the_files)}) == 3
    assert order_of_rows(folder, seed=3, batches=12) == epochs
    assert order_of_rows(folder, seed=4, batches=6) != first


def test_the_same_seed_trains_the_same_and_another_seed_another(folder, monkeypatch):
    asked, make = [], pretraining._Records.training_batches
    monkeypatch.setattr(
        pretraining._Records, "training_batches", lambda data, *how: asked.append(how) or make(data, *how)
    )
    logs = {}
    for output, seed in (("one", 4), ("again", 4), ("other", 5)):
        pretrain(folder, output_dir=f"{folder}/{output}", do_eval=False, log_steps=1, seed=seed)
        logs[output] = [record["loss"] for record in training_runs.log_of(folder / output)]
    assert logs["one"] == logs["again"] != logs["other"]
    # TensorFlow's global seed would give the same order to two runs that are alike; a seed gives it to every run.
    assert asked == [(8, 4), (8, 4), (8, 5)]


# -- wrong input ------------------------------------------------------------------------------------------------------


def _other_vocabulary(folder):
    (folder / "tokenizer" / "vocab.txt").write_text("".join(f"{piece}\n" for piece in PIECES[:-1]), encoding="utf-8")


def _vocab_size_in_the_config(folder):
    (folder / "bert_config.json").write_text(json.dumps(CONFIG | {"vocab_size": 99}))


def _few_positions(folder):
    (folder / "bert_config.json").write_text(json.dumps(CONFIG | {"max_position_embeddings": 8}))


def _unfinished_records(folder):
    write_sidecar(folder, complete=False)


@pytest.mark.parametrize(
    ("spoil", "changed", "sentence"),
    [
        (None, {"max_seq_length": 128}, r"--max_seq_length=128, but the records were made with max_seq_length=16"),
        (None, {"do_train": False, "do_eval": False}, "--do_train, --do_eval or both"),
        (None, {"output_dir": None}, "expected --output_dir"),
        (None, {"input_file": "nowhere/*"}, r"nowhere/\*: no file matches"),
        (None, {"bert_config_file": None}, "--bert_config_file, or --init_checkpoint"),
        (None, {"optimizer": "sgd"}, "bert_adam, adamw, lamb"),
        (_other_vocabulary, {}, r"its vocabulary \(60 pieces\) is not the one .* \(61 pieces\)"),
        (_vocab_size_in_the_config, {}, "vocab_size is 99, but the vocabulary of the records has 61"),
        (_few_positions, {}, "max_position_embeddings is 8, but the records have max_seq_length=16"),
        (_unfinished_records, {}, "not complete"),
    ],
)
def test_wrong_input_is_reported_before_anything_is_written(spoil, changed, sentence, folder):
    if spoil:
        spoil(folder)
    with pytest.raises(InputError, match=sentence):
        pretrain(folder, **changed)
    assert not (folder / "out").exists()


def test_a_record_that_breaks_in_mid_run_is_named(folder):
    path = folder / "r.tfrecord-00001-of-00002"
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(InputError, match=r"after step \d+: .*r\.tfrecord-00001-of-00002, record 24"):
        pretrain(folder, num_train_steps=40)


def test_a_shard_that_vanishes_in_mid_run_is_named(folder, monkeypatch):
    path = folder / "r.tfrecord-00001-of-00002"
    monkeypatch.setattr(pretraining._Health, "__call__", lambda *_: path.unlink(missing_ok=True))
    with pytest.raises(InputError, match=r"r\.tfrecord-00001-of-00002 is no longer there"):
        pretrain(folder, num_train_steps=200)


def test_a_model_that_learns_nothing_is_warned_about(capfd):
    health = pretraining._Health(training_runs.VOCAB, 3.0, 10, fresh=True)
    for step, loss in [(1, 4.2), (10, 4.1), (20, 4.0), (30, 4.0)]:
        health(step, {"masked_lm_loss": loss})
    said = capfd.readouterr().err
    assert "unigram baseline: 3.00" in said
    assert said.count("the model learns nothing") == 1


@pytest.mark.parametrize(("loss", "warnings"), [(2.95, 1), (2.8, 0)])
def test_a_model_that_learns_only_frequencies_is_warned_about(capfd, loss, warnings):
    health = pretraining._Health(training_runs.VOCAB, 3.0, 10, fresh=True)
    for step in (15, 220):
        health(step, {"masked_lm_loss": 2.95})
    assert "warning" not in capfd.readouterr().err
    for step in (230, 240):
        health(step, {"masked_lm_loss": loss})
    assert capfd.readouterr().err.count("does not look at the text") == warnings


def test_a_shard_that_breaks_off_is_named_by_the_training_not_by_the_entropy(folder):
    path = folder / "r.tfrecord-00000-of-00002"
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(InputError, match=r"r\.tfrecord-00000-of-00002"):
        pretrain(folder, num_train_steps=40)


def test_the_entropy_of_frequencies_is_that_of_the_masked_pieces(folder):
    data = pretraining._Records.find(f"{folder}/r.tfrecord*", None, None)
    ids = []
    for record in tf.data.TFRecordDataset(data.shards[:1]).as_numpy_iterator():
        feature = tf.train.Example.FromString(record).features.feature
        weights = feature["masked_lm_weights"].float_list.value
        ids += [i for i, w in zip(feature["masked_lm_ids"].int64_list.value, weights, strict=True) if w]
    shares = np.unique(ids, return_counts=True)[1] / len(ids)
    expected = -(shares * np.log(shares)).sum()
    assert pretraining._entropy_of_frequencies(data, training_runs.VOCAB) == pytest.approx(expected)


# -- TPU --------------------------------------------------------------------------------------------------------------


def test_a_remote_tpu_needs_paths_that_it_can_read(folder):
    with pytest.raises(InputError, match=r"--input_file=/data/x: TPU 'my-tpu' is another machine .*gs://"):
        loop.require_remote_paths({"use_tpu": True, "tpu_name": "my-tpu"}, input_file="/data/x")
    loop.require_remote_paths({"use_tpu": True, "tpu_name": "local"}, input_file="/data/x")
    loop.require_remote_paths({"use_tpu": True, "tpu_name": "my-tpu"}, input_file="gs://bucket/x", other=None)


def test_a_tpu_that_cannot_be_reached_is_a_sentence():
    with pytest.raises(InputError, match=r"'grpc://127\.0\.0\.1:1' cannot be reached"):
        loop.make_strategy(use_tpu=True, tpu_name="grpc://127.0.0.1:1")
    with pytest.raises(InputError, match="expected --tpu_name"):
        loop.make_strategy("tpu")


class _Resolver:
    """In place of TensorFlow's: no test may ask the cloud, or start a TPU library."""

    def __init__(self, tpu=None, zone=None, project=None):
        if tpu == "lost":
            threading.Event().wait()
        if tpu == "refused":
            raise ValueError("no such TPU\nand a hundred lines more")

    def master(self):
        return "grpc://127.0.0.1:1"


@pytest.fixture
def fake_cloud(monkeypatch):
    monkeypatch.setattr(strategies.tf.distribute.cluster_resolver, "TPUClusterResolver", _Resolver)
    monkeypatch.setattr(strategies, "_SECONDS_TO_REACH_A_TPU", 0.2)
    monkeypatch.setattr(strategies, "_SECONDS_TO_START_A_TPU", 0.2)


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("lost", r"TPU 'lost' did not answer within 0\.2 seconds; .*--tpu_zone"),
        ("refused", r"TPU 'refused' cannot be used: no such TPU$"),
        ("off", r"TPU 'grpc://127\.0\.0\.1:1' cannot be reached"),
    ],
)
def test_a_tpu_given_by_name_that_cannot_be_had_is_a_sentence(name, sentence, fake_cloud):
    with pytest.raises(InputError, match=sentence):
        loop.make_strategy(use_tpu=True, tpu_name=name)


def test_a_tpu_that_hangs_while_it_starts_is_a_sentence(fake_cloud, monkeypatch):
    monkeypatch.setattr(
        strategies.tf.tpu.experimental, "initialize_tpu_system", lambda resolver: threading.Event().wait()
    )
    with pytest.raises(InputError, match="'local' did not answer within"):
        loop.make_strategy(use_tpu=True, tpu_name="local")


def test_who_waits_for_a_tpu_is_reported_within_a_minute():
    assert strategies._SECONDS_TO_CONNECT < strategies._SECONDS_TO_REACH_A_TPU <= 50


# -- the program ------------------------------------------------------------------------------------------------------


def tool(*arguments: str) -> list[str]:
    return [sys.executable, "tools/pretrain.py", *arguments]


def test_the_program_stops_on_a_signal_with_its_own_status_and_goes_on(folder):
    """Ctrl-C as a terminal sends it, to all processes of the group; then SIGTERM to the resumed run."""
    arguments = [
        f"--bert_config_file={folder}/bert_config.json",
        f"--input_file={folder}/r.tfrecord*",
        f"--output_dir={folder}/out",
        f"--vocab_file={folder}/tokenizer",
        "--do_train",
        "--train_batch_size=8",
        "--num_warmup_steps=10",
    ]
    for number, when, status in ((signal.SIGINT, "at the start", 130), (signal.SIGTERM, "resuming from", 143)):
        process = subprocess.Popen(
            tool(*arguments, "--num_train_steps=1000000"),
            cwd=training_runs.ROOT,
            env=training_runs.environment(),
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        next(line for line in process.stderr if when in line)
        if status == 143:
            next(line for line in process.stderr if "step " in line)
        os.killpg(process.pid, number)
        said = process.communicate(timeout=300)[1]
        assert process.returncode == status, said
        assert re.search(r"saved at step \d+; the same command goes on from there$", said.strip())
        assert "Traceback" not in said
    assert os.listdir(folder / "out" / "checkpoints")


def test_the_original_flags_are_all_there():
    original = (
        "bert_config_file input_file output_dir init_checkpoint max_seq_length max_predictions_per_seq do_train "
        "do_eval train_batch_size eval_batch_size learning_rate num_train_steps num_warmup_steps max_eval_steps "
        "save_checkpoints_steps iterations_per_loop use_tpu tpu_name tpu_zone gcp_project master num_tpu_cores"
    )
    said = subprocess.run(tool("--help"), cwd=training_runs.ROOT, capture_output=True, text=True, check=True).stdout
    for name in original.split():
        assert f"--{name}" in said or f"--[no]{name}" in said, name


def test_every_configuration_is_a_flagfile_that_its_tool_takes():
    for path in sorted((pathlib.Path(training_runs.ROOT) / "configs").glob("*.flags")):
        name = re.search(rf"tools/(\w+)\.py --flagfile=configs/{path.name}", path.read_text(encoding="utf-8"))[1]
        command = [f"tools/{name}.py", f"--flagfile={path}", "--no_such_flag"]
        said = warm_python.run(command, cwd=training_runs.ROOT).stderr
        assert "Unknown command line flag 'no_such_flag'" in said, f"{path}: {said[-300:]}"


# --- Records that lie ---


def lying_shard(folder, feature: str, value) -> None:
    table = {name: x[24:48].copy() for name, x in training_runs.features(48).items()}
    table[feature][17, 0] = value
    tfrecord.write(tfrecord.shard_names(f"{folder}/r.tfrecord", 2)[1], table)


@pytest.mark.parametrize("do_train", [True, False])
def test_a_record_that_lies_ends_training_and_evaluation_with_its_shard_and_number(folder, do_train):
    if not do_train:
        pretrain(folder)
    lying_shard(folder, "segment_ids", 2)
    with pytest.raises(InputError, match=r"-00001-of-00002, record 18: segment_ids, number 1: expected .* but got 2$"):
        pretrain(folder, do_train=do_train, do_eval=not do_train, eval_batch_size=6)


def test_records_without_a_prediction_teach_nothing_and_are_refused(folder):
    table = {name: x[:24].copy() for name, x in training_runs.features(48).items()}
    for name in ("masked_lm_positions", "masked_lm_ids", "masked_lm_weights"):
        table[name][:] = 0
    tfrecord.write(tfrecord.shard_names(f"{folder}/r.tfrecord", 2)[0], table)
    with pytest.raises(InputError, match=r"00000-of-00002: expected records with masked_lm_weights above 0"):
        pretrain(folder)


def test_an_output_folder_of_someone_else_is_refused_before_the_records_are_read(folder):
    (folder / "out").mkdir()
    (folder / "out" / "eval_results.txt").write_text("loss = mine\n")
    with pytest.raises(InputError, match=r"out/eval_results\.txt: already there, and not of a run"):
        pretrain(folder, input_file=f"{folder}/none*")
    assert (folder / "out" / "eval_results.txt").read_text() == "loss = mine\n"
