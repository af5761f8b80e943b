"""One training step on many machine configurations: the same batch gives the same numbers on all of them."""

import functools
import json
import re
import socket
import time

import numpy as np
import pytest
import tensorflow as tf
import training_runs

from kobert_tf2.errors import InputError
from kobert_tf2.training import loop as training

TOLERANCE = 1e-4
ON_TWO_REPLICAS = {
    "plain": {},
    "micro": {"micro_batch_size": 2},
    "jit": {"jit_compile": True},
    "fused": {"fused": True},
    "adamw": {"optimizer": "adamw", "num_steps": 8},
    "lamb": {"optimizer": "lamb", "num_steps": 8},
    "fit": {},
    "four rows": {"num_steps": 1, "four_rows": 2},
    "four rows, dropout": {"dropout": 0.3, "num_steps": 1, "four_rows": 2},
}


@pytest.fixture(scope="module")
def one_device():
    return training_runs.run(tf.distribute.get_strategy())


def assert_same(a: dict, b: dict, tolerance: float = TOLERANCE) -> None:
    assert a.keys() == b.keys()
    for name in a:
        np.testing.assert_allclose(a[name], b[name], rtol=0, atol=tolerance, err_msg=name)


def test_training_learns(one_device):
    assert one_device["losses"][-5:].mean() < one_device["losses"][:5].mean() - 0.05


@pytest.mark.parametrize(
    "how",
    [
        {"iterations_per_loop": 1},
        {"micro_batch_size": 2},
        {"fused": True},
        pytest.param(
            {"jit_compile": True, "iterations_per_loop": 10, "micro_batch_size": 4}, marks=pytest.mark.slow
        ),  # jit alone: on two replicas
    ],
    ids=str,
)
def test_however_the_steps_are_made_the_numbers_are_the_same(one_device, how):
    assert_same(one_device, training_runs.run(tf.distribute.get_strategy(), **how))


@pytest.mark.parametrize(
    "how",
    [{"micro_batch_size": 2}, *(pytest.param(how, marks=pytest.mark.slow) for how in ({}, {"jit_compile": True}))],
)
def test_a_layer_that_is_computed_again_drops_out_the_same(how):
    """The gradient of other masks than those of the loss would be wrong without any error."""
    options = {"dropout": 0.3, "fused": True, "num_steps": 3, **how}
    once = training_runs.run(tf.distribute.get_strategy(), **options)
    again = training_runs.run(tf.distribute.get_strategy(), recompute=True, **options)
    assert_same(once, again, 1e-6)


@pytest.fixture(scope="module", autouse=True)
def mirrored_process(tmp_path_factory):
    """Started first, so that it runs beside the tests before it."""
    folder = tmp_path_factory.mktemp("mirrored")
    process = training_runs.start("mirrored", folder, ON_TWO_REPLICAS)
    yield folder, process
    process.kill()


@pytest.fixture(scope="module")
def on_two_replicas(mirrored_process):
    folder, process = mirrored_process
    training_runs.finish(process)
    return {name: dict(np.load(folder / f"{name}.npz")) for name in ON_TWO_REPLICAS}


@pytest.mark.parametrize("how", ["plain", "micro", "jit", "fused"])
def test_two_replicas_equal_one(one_device, on_two_replicas, how):
    assert_same(one_device, on_two_replicas[how])


def test_fit_sums_the_gradients_over_the_replicas(on_two_replicas):
    assert_same(training_runs.run_fit(tf.distribute.get_strategy()), on_two_replicas["fit"], tolerance=1e-6)


@pytest.mark.parametrize("name", ["adamw", "lamb"])
def test_keras_optimizers_clip_after_the_sum_too(on_two_replicas, name):
    alone = training_runs.run(tf.distribute.get_strategy(), optimizer=name, num_steps=8)
    assert max(alone["norms"]) > 1.0, "the test says nothing unless gradients are clipped"
    assert_same(alone, on_two_replicas[name])


def _free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def start_workers(folder, count: int = 2, **kwargs) -> list:
    cluster = {"worker": [f"127.0.0.1:{port}" for port in _free_ports(count)]}
    tasks = [json.dumps({"cluster": cluster, "task": {"type": "worker", "index": index}}) for index in range(count)]
    return [
        training_runs.start(
            "multi_worker", folder, {f"worker-{index}": kwargs}, env=training_runs.environment(TF_CONFIG=task)
        )
        for index, task in enumerate(tasks)
    ]


@pytest.mark.slow
def test_two_processes_equal_one_and_each_other(one_device, tmp_path):
    workers = start_workers(tmp_path, output_dir=str(tmp_path / "run"), save_checkpoints_steps=7)
    for worker in workers:
        training_runs.finish(worker)
    first, second = (dict(np.load(tmp_path / f"worker-{index}.npz")) for index in range(2))
    assert_same(one_device, first)
    assert_same(first, second, tolerance=0.0)
    assert sorted(path.name for path in (tmp_path / "run" / "checkpoints").iterdir()) == [
        "step-00000007",
        "step-00000014",
        "step-00000020",
    ]


@pytest.mark.slow
def test_a_worker_that_is_killed_is_reported_by_the_other(tmp_path):
    log = tmp_path / "run" / "train_log.jsonl"
    first, second = start_workers(tmp_path, output_dir=str(tmp_path / "run"), num_steps=100_000)
    waited_until = time.monotonic() + 120
    while not log.exists() and time.monotonic() < waited_until:
        time.sleep(0.2)
    second.kill()
    said, _ = first.communicate(timeout=600)
    assert first.returncode == 1
    assert re.search(r"InputError: another worker is gone .*give the same command on all workers again", said), said


def test_an_optimizer_made_outside_the_scope_is_refused():
    other = tf.distribute.MirroredStrategy(["CPU:0"])
    model, optimizer = training_runs.model_and_optimizer(tf.distribute.get_strategy())
    optimizer._distribution_strategy = _TwoReplicas()
    with pytest.raises(ValueError, match="made within strategy"):
        training.train(model, optimizer, training_runs.dataset(), training_runs.task(), num_steps=1, strategy=other)


class _TwoReplicas:
    num_replicas_in_sync = 2


# -- dropout ----------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_dropout_follows_the_seed_alone():
    first, again, other = (
        training_runs.run(tf.distribute.get_strategy(), dropout=0.3, num_steps=3, seed=seed) for seed in (0, 0, 1)
    )
    assert_same(first, again, tolerance=0.0)
    assert not np.allclose(first["losses"], other["losses"], atol=1e-4)


def test_replicas_draw_different_masks(on_two_replicas):
    """Two replicas with the same four rows and the same masks would have the loss of one replica with these rows."""
    run = functools.partial(training_runs.run, tf.distribute.get_strategy(), num_steps=1, four_rows=1)
    assert abs(run(dropout=0.0)["losses"][0] - on_two_replicas["four rows"]["losses"][0]) < 1e-5
    assert abs(run(dropout=0.3)["losses"][0] - on_two_replicas["four rows, dropout"]["losses"][0]) > 1e-3


# -- batches ----------------------------------------------------------------------------------------------------------


def test_a_batch_that_cannot_be_divided_is_reported_with_both_numbers():
    with pytest.raises(InputError, match="3 does not divide the 8 rows"):
        training_runs.run(tf.distribute.get_strategy(), micro_batch_size=3)


def test_a_batch_that_the_replicas_cannot_share_is_reported_with_both_numbers():
    with pytest.raises(InputError, match="a batch of 7 rows cannot be divided among 2 replicas"):
        training.check_batch({"input_ids": np.zeros([3, 7, 5])}, _TwoReplicas, None)
    training.check_batch({"input_ids": np.zeros([3, 8, 5])}, _TwoReplicas, None)


def test_batches_of_several_static_shapes_are_trained_on():
    long = _masked_early(16)
    short = {name: x[:, :8] if name.startswith(("input", "segment")) else x for name, x in long.items()}
    datasets = [tf.data.Dataset.from_tensor_slices(data).batch(8) for data in (short, long)]
    mixed = tf.data.Dataset.sample_from_datasets(datasets, seed=0).repeat()
    model, optimizer = training_runs.model_and_optimizer(tf.distribute.get_strategy())
    losses_seen = []
    training.train(
        model,
        optimizer,
        mixed,
        training_runs.task(),
        num_steps=8,
        settings=training.LoopSettings(log_steps=1),
        on_record=lambda step, record: losses_seen.append(record["loss"]),
    )
    assert len(losses_seen) == 8
    assert np.isfinite(losses_seen).all()


def _masked_early(rows: int) -> dict:
    data = training_runs.features(rows)
    data["masked_lm_positions"] = np.minimum(data["masked_lm_positions"], 7)
    return data


def test_data_that_ends_too_early_is_reported_with_the_step():
    model, optimizer = training_runs.model_and_optimizer(tf.distribute.get_strategy())
    with pytest.raises(InputError, match="ended at step 5"):
        training.train(model, optimizer, training_runs.dataset().take(5), training_runs.task(), num_steps=8)
