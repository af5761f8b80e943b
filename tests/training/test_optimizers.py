"""BERT's Adam, compared with plain NumPy and the original's golden run; the schedule; which weights decay."""

import dataclasses
import unittest.mock

import keras
import numpy as np
import pytest
import small_models
import tensorflow as tf
import training_runs
from hypothesis import given, settings
from hypothesis import strategies as st

from kobert_tf2.bert import models
from kobert_tf2.errors import InputError
from kobert_tf2.training import loop, losses, optimizers


def adam_by_hand(parameter, gradients, *, learning_rate, weight_decay, beta_1=0.9, beta_2=0.999, epsilon=1e-6):
    """The update of the paper's code, element by element, in float64."""
    m = v = np.zeros_like(parameter)
    for gradient in gradients:
        m = beta_1 * m + (1 - beta_1) * gradient
        v = beta_2 * v + (1 - beta_2) * gradient * gradient
        parameter = parameter - learning_rate * (m / (np.sqrt(v) + epsilon) + weight_decay * parameter)
    return parameter


def test_adam_without_bias_correction_moves_about_three_rates_in_its_first_step():
    """m = 0.1 g and v = 0.001 g^2, so the step is 0.1 / sqrt(0.001) = 3.16 rates whatever the gradient."""
    parameter, _, _ = optimizers.adam_update(
        0.0, 0.0, 0.0, 7.0, 1.0, 0.01, beta_1=0.9, beta_2=0.999, epsilon=1e-6, weight_decay=0.0
    )
    assert float(parameter) == pytest.approx(-0.0316, abs=1e-4)


@pytest.mark.parametrize("fuse_from", [0, 1 << 16])
@settings(deadline=None, max_examples=10)
@given(seed=st.integers(0, 2**31), decay=st.sampled_from([0.0, 0.01]))
def test_bert_adam_follows_the_update_by_hand(fuse_from, seed, decay):
    with unittest.mock.patch.object(optimizers, "FUSE_FROM", fuse_from):
        follow_the_update_by_hand(seed, decay)


def follow_the_update_by_hand(seed, decay):
    rng = np.random.default_rng(seed)
    start, gradients = rng.normal(size=5), rng.normal(size=(6, 5)) * 0.1
    variable = keras.Variable(start, dtype="float32", name="kernel")
    optimizer = optimizers.BertAdam(0.1, weight_decay_rate=decay, clip_norm=None)
    for step, gradient in enumerate(gradients, start=1):
        optimizer.apply([tf.constant(gradient, tf.float32)], [variable])
        expected = adam_by_hand(start, gradients[:step], learning_rate=0.1, weight_decay=decay)
        np.testing.assert_allclose(variable.numpy(), expected, rtol=2e-4, atol=2e-5, err_msg=f"step {step}")


@pytest.mark.parametrize("name", optimizers.NAMES)
def test_neither_norms_nor_biases_decay(name):
    """With no gradient the weights of a kernel shrink and those of a norm or a bias stay."""
    names = {"dense/kernel": True, "dense/bias": False, "norm/gamma": False, "norm/beta": False, "output_bias": False}
    with keras.name_scope("model"):
        variables = [keras.Variable(np.ones(3), dtype="float32", name=path.replace("/", "_")) for path in names]
    optimizer = optimizers.create_optimizer(name, learning_rate=0.1, num_train_steps=10, weight_decay_rate=0.5)
    optimizer.apply([tf.zeros(3)] * len(variables), variables)
    assert [bool((variable.numpy() < 1).all()) for variable in variables] == list(names.values())


@pytest.mark.parametrize("name", optimizers.NAMES)
def test_the_global_norm_is_clipped_over_all_variables(name):
    optimizer = optimizers.create_optimizer(name, learning_rate=0.1, num_train_steps=10)
    for gradients, norm, scale in (([3.0, 4.0], 5.0, 0.2), ([0.3, 0.4], 0.5, 1.0)):
        _, found = optimizer.sum([tf.constant([x]) for x in gradients])
        assert float(found) == pytest.approx(norm)
        assert float(optimizer.scale(found)) == pytest.approx(scale)


@pytest.mark.parametrize("name", optimizers.NAMES)
def test_a_scale_left_to_the_update_is_a_gradient_scaled_before(name):
    def updated(gradient, scale):
        variables = [keras.Variable(np.linspace(-1, 1, 6).reshape(3, 2), dtype="float32", name="kernel")]
        optimizer = optimizers.create_optimizer(name, learning_rate=0.1, num_train_steps=10, clip_norm=None)
        optimizer.build(variables)
        optimizer.apply_summed([gradient], variables, optimizer.learning_rate, tf.constant(scale))
        return variables[0].numpy()

    gradient = tf.constant(np.random.default_rng(0).normal(size=(3, 2)), tf.float32)
    np.testing.assert_allclose(updated(gradient, 0.01), updated(gradient * 0.01, 1.0), rtol=1e-6)
    assert not np.allclose(updated(gradient, 0.01), updated(gradient, 0.0))


def test_rows_that_occur_twice_count_once_in_the_norm():
    """Gradients of an embedding come as rows; the norm is that of their sum."""
    rows = tf.IndexedSlices(tf.constant([[3.0], [-3.0]]), tf.constant([1, 1]), tf.constant([4, 1]))
    _, norm = optimizers.BertAdam(0.1).sum([rows])
    assert float(norm) == 0.0


def test_gradients_that_are_not_finite_are_not_clipped_into_numbers():
    optimizer = optimizers.BertAdam(0.1)
    gradients, norm = optimizer.sum([tf.constant([1.0, float("inf")])])
    assert not np.isfinite(norm)
    assert not np.isfinite((gradients[0] * optimizer.scale(norm)).numpy()).any()


@settings(deadline=None, max_examples=50)
@given(st.integers(1, 1000), st.integers(0, 300), st.integers(0, 1500))
def test_the_schedule_is_that_of_the_original(num_steps, warmup, step):
    rate = float(optimizers.WarmupLinearDecay(2e-3, num_train_steps=num_steps, num_warmup_steps=warmup)(step))
    falling = 2e-3 * (1 - min(step, num_steps) / num_steps)
    assert rate == pytest.approx(2e-3 * step / warmup if step < warmup else falling, abs=1e-9)


def test_an_optimizer_that_does_not_exist_is_reported():
    with pytest.raises(InputError, match="among bert_adam, adamw, lamb, but got 'sgd'"):
        optimizers.create_optimizer("sgd", learning_rate=0.1, num_train_steps=1)


def test_fit_clips_by_the_global_norm():
    """A large epsilon, so that an update depends on the gradient's size."""
    change = training_runs.run_fit(tf.distribute.get_strategy(), epochs=1)["weights"]
    gradient = training_runs.FIT_GRADIENT
    assert np.linalg.norm(gradient) > 10
    clipped = gradient / np.linalg.norm(gradient)
    np.testing.assert_allclose(change[:, 0], -0.1 * 0.1 * clipped / (np.sqrt(0.001) * np.abs(clipped) + 1), rtol=1e-5)


DECAYING = (
    *("embeddings/word_embeddings", "embeddings/position_embeddings", "embeddings/segment_embeddings"),
    *("encoder_layer_0/query/kernel", "pooler/dense/kernel", "classifier/kernel"),
)
NOT_DECAYING = ("embeddings/norm/gamma", "embeddings/norm/beta", "encoder_layer_0/query/bias", "classifier/bias")


@pytest.mark.parametrize("name", optimizers.NAMES)
def test_all_of_a_real_model_decays_but_norms_and_biases(name):
    """Without gradients only decay moves anything."""
    model = models.BertForSequenceClassification(small_models.config(num_hidden_layers=1), labels=("a", "b"))
    small_models.with_large_weights(model)
    before = {v.path: v.numpy() for v in model.trainable_variables}
    made = optimizers.create_optimizer(name, learning_rate=0.1, num_train_steps=10, weight_decay_rate=0.5)
    made.apply([tf.zeros(v.shape) for v in model.trainable_variables], model.trainable_variables)
    moved = {v.path for v in model.trainable_variables if np.any(v.numpy() != before[v.path])}
    assert set(DECAYING) <= moved
    assert not set(NOT_DECAYING) & moved
    assert moved == {path for path in before if path.endswith(("kernel", "_embeddings"))}


def test_fit_learns_and_the_optimizer_survives_saving(tmp_path):
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    schedule = optimizers.WarmupLinearDecay(0.05, num_train_steps=100, num_warmup_steps=10)
    model.compile(optimizer=optimizers.BertAdam(schedule, weight_decay_rate=0.0), loss="mse")
    x = np.random.default_rng(0).normal(size=(64, 3))
    history = model.fit(x, x.sum(axis=1), epochs=10, batch_size=8, verbose=0).history["loss"]
    assert history[-1] < history[0] / 10
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras").optimizer
    assert again.get_config() == model.optimizer.get_config()
    for a, b in zip(again.variables, model.optimizer.variables, strict=True):
        np.testing.assert_array_equal(a.numpy(), b.numpy())


# -- the golden run of the original graph -----------------------------------------------------------------------------


@pytest.mark.shared
@pytest.mark.parametrize("jit_compile", [False, True])
def test_fifteen_steps_of_the_original(shared, jit_compile):
    folder = shared / "golden" / "tf1_tiny_bert"
    golden = np.load(folder / "golden.npz")
    names = ("input_ids", "input_mask", "segment_ids", "next_sentence_labels")
    names += ("masked_lm_positions", "masked_lm_ids", "masked_lm_weights")
    config = models.BertConfig.from_pretrained(str(folder))
    config = dataclasses.replace(config, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
    model = models.BertForPreTraining.from_pretrained(str(folder), config=config)
    seen = []
    loop.train(
        model,
        optimizers.create_optimizer("bert_adam", learning_rate=2e-3, num_train_steps=100, num_warmup_steps=5),
        tf.data.Dataset.from_tensors({name: golden[name] for name in names}).repeat(),
        loop.Task(weights=losses.pretraining_weights, sums=losses.pretraining_sums),
        num_steps=15,
        settings=loop.LoopSettings(log_steps=1, jit_compile=jit_compile),
        on_record=lambda step, record: seen.append((record["loss"], record["learning_rate"])),
    )
    np.testing.assert_allclose([loss for loss, _ in seen], golden["train_losses"], rtol=0, atol=1e-4)
    np.testing.assert_allclose([rate for _, rate in seen], golden["learning_rates"], rtol=1e-6)
    weights = {variable.path: variable.numpy() for variable in model.variables}
    for stored, path in {
        "query_kernel_0": "encoder_layer_0/query/kernel",
        "word_embeddings": "embeddings/word_embeddings",
        "mlm_output_bias": "masked_lm/output_bias",
    }.items():
        np.testing.assert_allclose(weights[path], golden[f"after_15_steps__{stored}"], rtol=0, atol=1e-5, err_msg=path)
