"""What is counted without a TPU is what the program holds."""

import dataclasses
import json

import pytest
import tensorflow as tf
import training_runs

from kobert_tf2.errors import InputError
from kobert_tf2.tasks import classify, preflight, read, tag
from kobert_tf2.tpu import hlo, program

INPUTS = ("input_ids", "input_mask", "segment_ids", "masked_lm_positions")


@pytest.fixture(scope="module")
def report():
    model, optimizer = training_runs.model_and_optimizer(tf.distribute.get_strategy(), dropout=0.1)
    return check(model, optimizer, 16)


def planned(model, optimizer, rows: int, **changes) -> preflight.PlannedRun:
    features = training_runs.features(rows)
    batch = {name: tf.TensorSpec(x.shape, tf.as_dtype(x.dtype)) for name, x in features.items()}
    run = preflight.PlannedRun(
        model=model, training=(optimizer, training_runs.task()), batch=batch, iterations_per_loop=5
    )
    return dataclasses.replace(run, **changes)


def check(model, optimizer, rows: int, topology: str = "v3-8") -> dict:
    return preflight.preflight(planned(model, optimizer, rows), preflight.PreflightSettings(tpu_topology=topology))


def test_the_program_compiles_with_static_shapes_and_nothing_foreign(report):
    assert report["compiled"]
    assert report["dynamic_shapes"] == []
    assert report["without_a_tpu_kernel"] == []
    assert report["rows_per_core"] == 2


def test_the_products_of_the_program_are_those_by_the_book(report):
    assert report["flops_per_step"] == report["flops_per_step_by_the_book"]


def test_speed_is_peak_over_work(report):
    expected = 0.4 * 61.5e12 * 8 / report["flops_per_step"]
    assert report["steps_per_second_at_40_percent_of_peak"] == pytest.approx(expected)


def test_a_batch_that_the_cores_cannot_share_is_reported_with_both_numbers():
    with pytest.raises(InputError, match="train_batch_size=12 cannot be divided among the 8 cores of v3-8"):
        check(None, None, 12)


def test_a_topology_that_does_not_exist_is_reported():
    with pytest.raises(InputError, match=r"v3-8.*but got 'v9-1'"):
        check(None, None, 8, "v9-1")


def test_fewer_rows_than_cores_are_reported():
    with pytest.raises(InputError, match="train_batch_size=4: too few rows for the 8 cores of v3-8"):
        check(None, None, 4)


@pytest.mark.parametrize("sizes", [[], [1], [1, 2, 3, 4, 6, 8, 12], list(range(1, 40))])
def test_the_largest_size_that_fits_is_found(sizes):
    for limit in range(max(sizes, default=0) + 2):
        expected = max((size for size in sizes if size <= limit), default=None)
        assert preflight.largest_that(lambda size, limit=limit: size <= limit, sizes) == expected


def with_sums(sums) -> preflight.steps.Task:
    usual = training_runs.task()

    def of(outputs, batch):
        terms, metrics = usual.sums(outputs, batch)
        name = next(iter(terms))
        return terms | {name: terms[name] + sums(batch)}, metrics

    return preflight.steps.Task(weights=usual.weights, sums=of)


def length_as_string(batch) -> tf.Tensor:
    text = tf.strings.as_string(batch["input_ids"])
    return tf.reduce_sum(tf.cast(tf.strings.length(text), tf.float32))


def sum_of_some(batch) -> tf.Tensor:
    return tf.cast(tf.reduce_sum(tf.boolean_mask(batch["input_ids"], batch["input_ids"] > 3)), tf.float32)


@pytest.mark.parametrize(
    ("sums", "reason"),
    [
        (length_as_string, r"operation AsString cannot be compiled, at AsString \(kobert_tf2/training/steps.py:\d+\)"),
        (sum_of_some, r"the shape of boolean_mask/Where \(kobert_tf2/training/steps.py:\d+\) is not static"),
    ],
)
def test_strings_and_dynamic_shapes_are_refused_with_their_place(sums, reason):
    model, optimizer = training_runs.model_and_optimizer(tf.distribute.get_strategy(), tiny=True)
    task = dataclasses.replace(with_sums(sums), inputs=training_runs.task(tiny=True).inputs)
    run = planned(model, optimizer, 8, training=(optimizer, task))
    with pytest.raises(InputError, match=reason):
        preflight.preflight(run, preflight.PreflightSettings())


@pytest.mark.parametrize(
    ("spec", "reason"),
    [
        (tf.TensorSpec([8, 16], tf.string), "feature 'input_mask': a TPU takes no strings"),
        (tf.TensorSpec([8, None], tf.int32), r"feature 'input_mask': expected a static shape, but got \(1, None\)"),
    ],
)
def test_features_that_no_tpu_takes_are_refused_by_name(spec, reason):
    run = planned(None, None, 8)
    with pytest.raises(InputError, match=reason):
        preflight.preflight(
            dataclasses.replace(run, batch=run.batch | {"input_mask": spec}), preflight.PreflightSettings()
        )


@pytest.fixture
def lowered_alone(monkeypatch):
    """The program is lowered but not compiled, which takes most of the time."""
    monkeypatch.setattr(program.Lowered, "compile_for_cpu", lambda lowered: None)


def test_several_topologies_make_a_table_in_which_what_is_refused_has_its_reason(lowered_alone, capsys):
    model, optimizer = training_runs.model_and_optimizer(tf.distribute.get_strategy())
    settings = preflight.PreflightSettings(tpu_topology="v5e-1, v3-32")
    found = preflight.preflight(planned(model, optimizer, 16), settings)["topologies"]
    assert found["v5e-1"]["rows_per_core"] == 16
    assert found["v3-32"] == {
        "refused": "--train_batch_size=16: too few rows for the 32 cores of v3-32; give a multiple of it"
    }
    assert f"| v3-32 | {found['v3-32']['refused']} |" in capsys.readouterr().err


def test_a_run_that_does_not_train_is_the_forward_pass(lowered_alone):
    model, _ = training_runs.model_and_optimizer(tf.distribute.get_strategy())
    features = {name: ([x.shape[1]], tf.int32) for name, x in training_runs.features(1).items() if name in INPUTS}
    asked = preflight.PreflightSettings(tpu_topology="v5e-1")
    report = preflight.preflight(preflight.PlannedRun.to_ask(model, features, 4, "eval_batch_size"), asked)
    trained = preflight.expected_flops(model.config, planned(None, None, 4).batch)
    assert report["flops_per_step"] == trained / 3
    assert "optimizer" not in report["memory_per_core_gib"]
    with pytest.raises(InputError, match="--eval_batch_size=4: too few rows for the 8 cores of v3-8"):
        preflight.preflight(
            preflight.PlannedRun.to_ask(model, features, 4, "eval_batch_size"), preflight.PreflightSettings()
        )


@pytest.mark.parametrize("task", [read, classify, tag], ids=lambda module: module.__name__.rpartition(".")[2])
def test_the_fine_tuning_tools_look_at_the_program_of_their_head(task, tmp_path, lowered_alone):
    (tmp_path / "config.json").write_text(json.dumps(training_runs.config().to_dict()))
    settings = task.FinetuneSettings(
        output_dir=None, bert_config_file=str(tmp_path), train_batch_size=8, max_seq_length=16, optimizer="adamw"
    )
    asked = preflight.PreflightSettings(tpu_topology="v5e-8")
    training = task.preflight(settings, asked)
    predicting = task.preflight(dataclasses.replace(settings, do_predict=True, predict_batch_size=8), asked)
    assert training["rows_per_core"] == predicting["rows_per_core"] == 1
    assert training["flops_per_step"] > 2.9 * predicting["flops_per_step"]


def test_sizes_that_the_chip_pads_are_advised_against():
    model, optimizer = training_runs.model_and_optimizer(tf.distribute.get_strategy())
    step = hlo.Step(0, 0, 1, 0, 0, 0, 0, [], ["while/print"], 0)
    vocabulary, length, host = preflight._advice(planned(model, optimizer, 8), step)
    assert vocabulary.startswith("vocab_size 61: the chip pads the logits to 128, 110 % more")
    assert length.startswith("max_seq_length 16: the chip pads the attention scores to 128, 700 % more")
    assert "exchanges data with the host" in host


def test_what_does_not_learn_is_no_part_of_the_program(tmp_path, lowered_alone):
    (tmp_path / "config.json").write_text(json.dumps(training_runs.config().to_dict()))
    settings = read.FinetuneSettings(
        output_dir="", bert_config_file=str(tmp_path), train_batch_size=8, max_seq_length=16, label_smoothing=0.1
    )
    asked = preflight.PreflightSettings(tpu_topology="v5e-8")
    whole = read.preflight(settings, asked)
    frozen = read.preflight(dataclasses.replace(settings, freeze="embeddings,encoder"), asked)
    assert frozen["operations"] < whole["operations"]
    assert frozen["flops_per_step"] < 0.6 * whole["flops_per_step"]
