"""Evaluation and prediction over a dataset: every row counts once, and padding rows do not count."""

import numpy as np
import pytest
import tensorflow as tf
import training_runs

from kobert_tf2.errors import InputError
from kobert_tf2.training import evaluate, losses
from kobert_tf2.training.steps import Task


@pytest.fixture(scope="module")
def model():
    return training_runs.model_and_optimizer(tf.distribute.get_strategy())[0]


@pytest.mark.parametrize("batch_size", [1, 4, 7, 20])
def test_a_partial_last_batch_counts_and_its_padding_does_not(model, batch_size):
    data = tf.data.Dataset.from_tensor_slices(training_runs.features(20))
    whole = evaluate.evaluate(model, data.batch(20), training_runs.task())
    parts = evaluate.evaluate(model, data.batch(batch_size), training_runs.task())
    assert parts == pytest.approx(whole, abs=1e-5)


def test_predictions_come_in_order_without_padding_rows(model):
    data = training_runs.features(10)
    batches = tf.data.Dataset.from_tensor_slices(data).batch(4)
    answers = evaluate.predict(model, batches, keep=("masked_lm_ids",))
    np.testing.assert_array_equal(answers["masked_lm_ids"], data["masked_lm_ids"])
    whole = model({name: tf.constant(x) for name, x in data.items()}, training=False)
    np.testing.assert_allclose(answers["masked_lm_logits"], whole["masked_lm_logits"], atol=1e-5)


def test_predictions_of_different_lengths_are_filled_up():
    doubled = lambda batch, training: {"start_logits": tf.cast(batch["input_ids"], tf.float32) * 2}  # noqa: E731
    batches = [{"input_ids": tf.ones([2, length], tf.int32)} for length in (3, 5)]
    answers = evaluate.predict(doubled, batches, padding_value=-9.0)
    assert answers["start_logits"].tolist() == [[2, 2, 2, -9, -9]] * 2 + [[2] * 5] * 2


def test_nothing_to_evaluate_is_an_error():
    with pytest.raises(InputError, match="the data is empty"):
        evaluate.evaluate(None, [], Task(losses.span_weights, losses.span_sums))
