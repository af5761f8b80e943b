"""What is counted without a TPU is what the program holds."""

import dataclasses

import pytest
import tensorflow as tf
import training_runs

from kobert_tf2.errors import InputError
from kobert_tf2.tasks import preflight


@pytest.fixture(scope="module")
def report():
    model, optimizer = training_runs.model_and_optimizer(tf.distribute.get_strategy(), dropout=0.1)
    return check(model, optimizer, 16)


def planned(model, optimizer, rows: int, **changes) -> preflight.PlannedRun:
    features = training_runs.features(rows)
    batch = {name: tf.TensorSpec(x.shape, tf.as_dtype(x.dtype)) for name, x in features.items()}
    run = preflight.PlannedRun(
        model=model, optimizer=optimizer, task=training_runs.task(), batch=batch, iterations_per_loop=5
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


def test_a_batch_that_the_cores_cannot_share_is_told_with_both_numbers():
    with pytest.raises(InputError, match="train_batch_size=12 cannot be divided among the 8 cores of v3-8"):
        check(None, None, 12)


def test_a_topology_that_does_not_exist_is_told():
    with pytest.raises(InputError, match=r"v3-8.*but got 'v9-1'"):
        check(None, None, 8, "v9-1")


def test_fewer_rows_than_cores_are_told():
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
    run = planned(
        model, optimizer, 8, task=dataclasses.replace(with_sums(sums), inputs=training_runs.task(tiny=True).inputs)
    )
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
