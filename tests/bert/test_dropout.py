"""Dropout's masks: right in number, independent wherever they should be, and the same again from the same seed."""

import itertools
import subprocess
import sys
import threading

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from kobert_tf2.bert import dropout, models
from kobert_tf2.bert.dropout import Dropout, dropout_key, keep_mask


def mask(shape=(64, 512), rate=0.1, seed=(1, 2), site=7) -> np.ndarray:
    key = dropout_key(keras.ops.convert_to_tensor(seed, dtype="int32"), site)
    return keras.ops.convert_to_numpy(keep_mask(shape, key, rate))


@settings(deadline=None, max_examples=25)
@given(
    rate=st.sampled_from([0.05, 0.1, 0.5, 0.9]),
    seed=st.tuples(st.integers(-(2**31), 2**31 - 1), st.integers(-(2**31), 2**31 - 1)),
    site=st.integers(0, 2**32 - 1),
)
def test_the_rate_is_kept_within_five_standard_deviations(rate, seed, site):
    kept = mask((256, 256), rate, seed, site)
    deviation = np.sqrt(rate * (1 - rate) / kept.size)
    assert abs((~kept).mean() - rate) < 5 * deviation


def correlation(a: np.ndarray, b: np.ndarray) -> float:
    return abs(np.corrcoef(a.ravel(), b.ravel())[0, 1])


def test_masks_of_other_seeds_and_sites_are_independent():
    """Seeds as a run has them: small numbers that differ by one, in either half."""
    masks = [
        mask(rate=0.5, seed=seed, site=site)
        for seed in ((0, 0), (1, 0), (0, 1), (2, 0), (1, 1), (2**31 - 1, -1))
        for site in (0, 1, 0x9E3779B9)
    ]
    bound = 5 / np.sqrt(masks[0].size)
    for a, b in itertools.combinations(masks, 2):
        assert correlation(a, b) < bound


@pytest.mark.parametrize("lag", [1, 2, 3, 7, 64, 512, 4096])
def test_elements_of_one_mask_are_independent(lag):
    kept = mask((1024, 512), 0.5).ravel()
    assert correlation(kept[:-lag], kept[lag:]) < 5 / np.sqrt(kept.size)


def test_no_mask_is_another_one_moved():
    """A key that only shifted the counter would make the mask of one site reappear, moved, at another."""
    first, second = (mask((8192,), 0.5, site=site) for site in (3, 4))
    spectrum = np.fft.fft(first - 0.5) * np.conj(np.fft.fft(second - 0.5))
    correlations = np.abs(np.fft.ifft(spectrum).real) / (first.size / 4)
    assert correlations.max() < 6 / np.sqrt(first.size)


def test_every_row_and_every_column_is_dropped_at_the_rate():
    kept = mask((2048, 1024), 0.1)
    for axis in (0, 1):
        share = (~kept).mean(axis=axis)
        assert abs(share - 0.1).max() < 6 * np.sqrt(0.09 / kept.shape[axis])


def tiny(rate: float = 0.5, layers: int = 3) -> models.BertBackbone:
    config = models.BertConfig(
        vocab_size=30,
        hidden_size=16,
        num_hidden_layers=layers,
        num_attention_heads=2,
        intermediate_size=16,
        max_position_embeddings=16,
        hidden_dropout_prob=rate,
        attention_probs_dropout_prob=rate,
    )
    return models.BertBackbone(config)


def batch(rows: int = 4) -> dict:
    ids = np.arange(rows * 8).reshape(rows, 8) % 30
    return {"input_ids": ids, "input_mask": np.ones_like(ids), "segment_ids": np.zeros_like(ids)}


def output(model, seed, rows: int = 4) -> np.ndarray:
    with models.dropout_seed(tf.constant(seed, tf.int32)):
        return model(batch(rows), training=True)["sequence_output"].numpy()


def test_the_same_seed_draws_the_same_masks_and_another_seed_others():
    model = tiny()
    first = output(model, (5, 0))
    assert np.array_equal(first, output(model, (5, 0)))
    assert not np.array_equal(first, output(model, (6, 0)))
    assert not np.array_equal(first, output(model, (5, 1)))


def test_two_models_of_one_configuration_draw_the_same_masks():
    """A resumed run builds its model again: a mask may hang on nothing that counts up as layers are made."""
    first, second = tiny(), tiny()
    second.set_weights(first.get_weights())
    assert np.array_equal(output(first, (5, 0)), output(second, (5, 0)))


def test_every_dropout_of_a_model_has_a_site_of_its_own():
    model = models.BertForSequenceClassification(tiny().config)
    sites = [layer.site for layer in model._flatten_layers() if isinstance(layer, Dropout)]
    assert len(sites) == 2 + 3 * 3
    assert len({dropout.zlib.crc32(site.encode()) for site in sites}) == len(sites)


def test_eager_graph_and_xla_draw_the_same_masks():
    key = dropout_key(tf.constant([3, 4]), 11)
    eager = keep_mask((33, 65), key, 0.1).numpy()
    for jit in (False, True):
        compiled = tf.function(lambda key: keep_mask((33, 65), key, 0.1), jit_compile=jit)
        assert np.array_equal(compiled(key).numpy(), eager)


def test_outside_the_context_every_call_draws_anew_and_the_rate_holds():
    layer = Dropout(0.25, site="here")
    x = np.ones((200, 200), "float32")
    first, second = (np.asarray(layer(x, training=True)) for _ in range(2))
    assert not np.array_equal(first, second)
    assert set(np.unique(first)) == {np.float32(0), np.float32(1 / 0.75)}
    assert abs((first == 0).mean() - 0.25) < 0.02


def test_the_mean_is_kept():
    layer = Dropout(0.1, site="here")
    x = np.ones((1000, 1000), "float32")
    assert abs(np.asarray(layer(x, training=True)).mean() - 1) < 0.002


def test_a_rate_of_zero_and_prediction_drop_nothing():
    x = np.ones((4, 4), "float32")
    assert np.array_equal(Dropout(0.0, site="here")(x, training=True), x)
    assert np.array_equal(Dropout(0.5, site="here")(x, training=False), x)


def test_the_context_belongs_to_one_thread():
    seen = []
    with models.dropout_seed(tf.constant([1, 1])):
        thread = threading.Thread(target=lambda: seen.append(getattr(dropout._active_seed, "value", None)))
        thread.start()
        thread.join()
    assert seen == [None]


def test_two_replicas_with_their_own_seeds_draw_their_own_masks():
    devices = tf.config.list_logical_devices("CPU")
    if len(devices) < 2:
        pytest.skip("needs two logical CPU devices: run by test_two_replicas_in_a_process_of_their_own")
    strategy = tf.distribute.MirroredStrategy([device.name for device in devices[:2]])
    layer = Dropout(0.5, site="here")

    def step():
        replica = tf.distribute.get_replica_context().replica_id_in_sync_group
        with models.dropout_seed(tf.stack([tf.constant(9), tf.cast(replica, tf.int32)])):
            return layer(tf.ones((16, 16)), training=True)

    first, second = strategy.experimental_local_results(tf.function(lambda: strategy.run(step))())
    assert correlation(first.numpy(), second.numpy()) < 0.3


def test_two_replicas_in_a_process_of_their_own():
    """Logical devices can be made only before TensorFlow starts."""
    script = (
        "import sys, pytest, tensorflow as tf\n"
        "device = tf.config.list_physical_devices('CPU')[0]\n"
        "tf.config.set_logical_device_configuration(device, [tf.config.LogicalDeviceConfiguration()] * 2)\n"
        f"sys.exit(pytest.main(['-q', '-k', 'with_their_own_seeds', {__file__!r}]))"
    )
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=600)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "1 passed" in result.stdout
