"""Frozen parts, layer-wise learning rates, LoRA, class weights, label smoothing: in the custom loop and in `fit`."""

import itertools

import keras
import numpy as np
import pytest
import small_models
import tensorflow as tf
from slow_cases import rest_slow

from kobert_tf2.bert import models
from kobert_tf2.errors import InputError
from kobert_tf2.training import loop, losses, optimizers, tuning

LABELS = ("좋음", "싫음", "모름")
TASK = loop.Task(weights=losses.label_weights, sums=losses.label_sums)


def classifier(**changes) -> models.BertForSequenceClassification:
    keras.utils.set_random_seed(5)
    config = small_models.config(hidden_size=8, num_attention_heads=2, intermediate_size=16, **changes)
    return models.BertForSequenceClassification(config, labels=LABELS)


def batch(rows: int = 6) -> dict:
    inputs = {name: x for name, x in small_models.batch(rows).items() if name != "masked_lm_positions"}
    return {**inputs, "labels": (np.arange(rows) % 3).astype(np.int32)}


def optimizer(**changes) -> keras.optimizers.Optimizer:
    schedule = {"learning_rate": 1e-2, "num_train_steps": 100}
    return optimizers.create_optimizer(**{"name": "bert_adam", **schedule, **changes})


def train(model, made=None, *, task=TASK, steps: int = 2, data=None, **more) -> dict:
    """What each variable changed by, {path: array}."""
    before = {v.path: v.numpy() for v in model.weights}
    dataset = tf.data.Dataset.from_tensors(data or batch()).repeat()
    loop.train(model, made or optimizer(), dataset, task, num_steps=steps, **more)
    return {v.path: v.numpy() - before[v.path] for v in model.weights}


def fit(model, made) -> dict:
    before = {v.path: v.numpy() for v in model.weights}
    model.compile(made, loss={"logits": keras.losses.SparseCategoricalCrossentropy(from_logits=True)})
    data = batch()
    labels = data.pop("labels")
    model.fit(data, {"logits": labels}, batch_size=6, epochs=2, shuffle=False, verbose=0)
    return {v.path: v.numpy() - before[v.path] for v in model.weights}


def moved(changes: dict) -> set[str]:
    return {path for path, change in changes.items() if np.any(change)}


# --- Freezing ---


@pytest.mark.parametrize("how", [train, fit])
def test_what_is_frozen_stays_and_the_rest_learns(how):
    model = classifier()
    tuning.freeze(model, "embeddings, 0-0")
    learnt = moved(how(model, optimizer()))
    frozen = {v.path for v in model.weights if v.path.startswith(("embeddings/", "encoder_layer_0/"))}
    assert frozen
    assert learnt == {v.path for v in model.weights} - frozen


@pytest.mark.parametrize(
    ("parts", "count"),
    [("1", 16), ("encoder", 32), ("0-1,pooler", 34), ("embeddings,encoder,pooler", 39)],
)
def test_parts_are_named_as_in_the_readme(parts, count):
    model = classifier()
    tuning.freeze(model, parts)
    assert len(model.weights) - len(model.trainable_variables) == count


@pytest.mark.parametrize("parts", ["2", "1-2", "1-0", "embedding", "0-", "-1", "classifier"])
def test_a_part_that_the_model_does_not_have_is_a_sentence(parts):
    with pytest.raises(
        InputError, match=f"--freeze={parts}: expected embeddings, encoder, pooler, or layers from 0 to"
    ):
        tuning.freeze(classifier(), parts)


# --- Learning rates ---


def test_each_layer_has_its_learning_rate():
    paths = ["m/embeddings/norm/gamma", "encoder_layer_0/query/bias", "encoder_layer_1/output/kernel"]
    paths += ["pooler/dense/kernel", "classifier/kernel", "span/kernel"]
    factors = optimizers.learning_rate_factors(paths, layer_decay=0.5, head_factor=4.0)
    assert factors == [0.125, 0.25, 0.5, 1.0, 4.0, 4.0]
    assert optimizers.learning_rate_factors(paths, layer_decay=1.0, head_factor=1.0) == [1.0] * 6


@pytest.mark.parametrize(
    ("name", "how"),
    [
        ("bert_adam", train),
        ("bert_adam", fit),
        *rest_slow(itertools.product(["adamw", "lamb"], [train, fit]), first=0),
    ],
)
def test_an_update_is_the_plain_one_times_the_factor(how, name):
    """One step: the gradients of both are the same."""
    one = (lambda *a: train(*a, steps=1)) if how is train else None
    if how is fit and name != "bert_adam":
        pytest.skip("the loop has shown it")
    run = one or (lambda model, made: _one_step_of_fit(model, made))
    plain = run(classifier(), optimizer(name=name))
    scaled = run(classifier(), optimizer(name=name, layer_decay=0.5, head_factor=3.0))
    factors = dict(
        zip(plain, optimizers.learning_rate_factors(list(plain), layer_decay=0.5, head_factor=3.0), strict=True)
    )
    for path, change in plain.items():
        np.testing.assert_allclose(scaled[path], factors[path] * change, rtol=2e-4, atol=2e-7, err_msg=path)


def _one_step_of_fit(model, made) -> dict:
    before = {v.path: v.numpy() for v in model.weights}
    model.compile(made, loss={"logits": keras.losses.SparseCategoricalCrossentropy(from_logits=True)})
    data = batch()
    labels = data.pop("labels")
    model.train_on_batch(data, {"logits": labels})
    return {v.path: v.numpy() - before[v.path] for v in model.weights}


def test_the_factors_survive_a_copy_of_the_optimizer():
    made = optimizers.BertAdam(1e-3, layer_decay=0.9, head_factor=2.0)
    copy = optimizers.BertAdam.from_config(made.get_config())
    assert (copy.layer_decay, copy.head_factor) == (0.9, 2.0)


# --- LoRA ---


def logits(model) -> np.ndarray:
    return small_models.numpy(model(batch(), training=False))["logits"]


@pytest.mark.parametrize("how", [train, fit])
def test_lora_learns_little_and_is_merged_into_an_ordinary_model(how, tmp_path):
    model = small_models.with_large_weights(classifier())
    names = [v.path for v in model.weights]
    before = logits(model)
    tuning.enable_lora(model, 2)
    np.testing.assert_allclose(logits(model), before, atol=1e-5)
    learnt = moved(how(model, optimizer()))
    assert {path.split("/")[-1] for path in learnt if path.startswith("encoder_layer")} == {
        "lora_kernel_a",
        "lora_kernel_b",
    }
    assert not [path for path in learnt if path.startswith("embeddings")]
    assert {"pooler/dense/kernel", "classifier/kernel"} <= learnt
    after = logits(model)
    assert np.abs(after - before).max() > 1e-3
    tuning.merge_lora(model)
    assert [v.path for v in model.weights] == names
    np.testing.assert_allclose(logits(model), after, atol=2e-5)
    model.save_pretrained(str(tmp_path / "model"))
    loaded = models.BertForSequenceClassification.from_pretrained(str(tmp_path / "model"))
    np.testing.assert_allclose(logits(loaded), after, atol=2e-5)


def test_lora_and_frozen_parts_go_on_bit_for_bit(tmp_path):
    def run(steps: int, folder) -> dict:
        model = classifier(hidden_dropout_prob=0.2)
        tuning.enable_lora(model, 2)
        tuning.freeze(model, "pooler")
        made = optimizer(layer_decay=0.8, head_factor=2.0)
        train(model, made, steps=steps, output_dir=str(folder), task=tuning.with_label_smoothing(TASK, 0.1))
        return {v.path: v.numpy() for v in (*model.variables, *made.variables)}

    whole = run(4, tmp_path / "whole")
    run(2, tmp_path / "parts")
    again = run(4, tmp_path / "parts")
    assert whole.keys() == again.keys()
    for path, value in whole.items():
        np.testing.assert_array_equal(value, again[path], err_msg=path)


# --- What is learnt ---


def test_label_smoothing_is_that_of_keras_and_leaves_the_metrics():
    outputs = {"logits": tf.constant(np.random.default_rng(0).normal(size=(6, 3)), tf.float32)}
    data = {**batch(), "example_weight": np.array([1, 1, 1, 1, 1, 0], np.float32)}
    terms, metrics = tuning.with_label_smoothing(TASK, 0.3).sums(outputs, data)
    plain, plain_metrics = TASK.sums(outputs, data)
    truth = tf.one_hot(data["labels"], 3)
    expected = keras.losses.categorical_crossentropy(truth, outputs["logits"], from_logits=True, label_smoothing=0.3)
    np.testing.assert_allclose(terms["label"], tf.reduce_sum(expected[:5]), rtol=1e-5)
    assert float(terms["label"]) != float(plain["label"])
    assert {name: [float(x) for x in pair] for name, pair in metrics.items()} == {
        name: [float(x) for x in pair] for name, pair in plain_metrics.items()
    }


def test_label_smoothing_of_spans_passes_over_padding():
    rng = np.random.default_rng(1)
    mask = np.array([[1, 1, 1, 0], [1, 1, 0, 0]])
    starts, ends = rng.normal(size=(2, 2, 4)).astype(np.float32)
    data = {"input_ids": mask, "input_mask": mask, "start_positions": [1, 0], "end_positions": [2, 1]}
    task = tuning.with_label_smoothing(loop.Task(weights=losses.span_weights, sums=losses.span_sums), 0.2)

    def loss(padding: float) -> float:
        outputs = {"start_logits": np.where(mask, starts, padding), "end_logits": np.where(mask, ends, padding)}
        return float(task.sums({name: tf.constant(x, tf.float32) for name, x in outputs.items()}, data)[0]["span"])

    assert loss(-1e4) == pytest.approx(loss(-2e4), rel=1e-6)
    assert loss(-1e4) < 20


def test_a_task_without_such_labels_refuses_smoothing():
    task = loop.Task(weights=losses.pretraining_weights, sums=losses.pretraining_sums)
    with pytest.raises(InputError, match=r"--label_smoothing=0\.1: expected a task"):
        tuning.with_label_smoothing(task, 0.1)


def test_a_class_of_weight_two_is_a_class_of_twice_as_many_rows():
    data = batch(4)
    twice = {name: np.concatenate([x, x[data["labels"] == 1]]) for name, x in data.items()}
    weighted = tuning.class_weights([1.0, 2.0, 1.0])({name: tf.constant(x) for name, x in data.items()})
    weighted = {name: np.asarray(x) for name, x in weighted.items()}
    plain = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    one, other = (train(classifier(**plain), steps=1, data=rows) for rows in (weighted, twice))
    for path, change in one.items():
        np.testing.assert_allclose(change, other[path], rtol=1e-3, atol=1e-6, err_msg=path)


def test_tokens_count_by_their_labels():
    data = {"input_ids": np.zeros((1, 4)), "labels": tf.constant([[-1, 0, 1, 1]])}
    weighted = tuning.class_weights([3.0, 0.5])(data)
    assert float(losses.token_weights(weighted)["token"]) == 3.0 + 0.5 + 0.5


@pytest.mark.parametrize(
    ("asked", "weights"),
    [("balanced", [3 / 4, 3 / 2, 1.0]), ("싫음:4", [1.0, 4.0, 1.0]), ("모름:0, 좋음:0.5", [0.5, 1.0, 0.0])],
)
def test_class_weights_are_read(asked, weights):
    assert tuning.parse_class_weights(asked, LABELS, np.array([0, 0, 1, -1])) == pytest.approx(weights)


@pytest.mark.parametrize("asked", ["나쁨:2", "좋음", "좋음:-1", "좋음:nan", "좋음:많이", "2"])
def test_class_weights_that_cannot_be_are_a_sentence(asked):
    with pytest.raises(InputError, match=f"--class_weights={asked}: expected"):
        tuning.parse_class_weights(asked, LABELS, np.array([0]))


# --- int8 ---


@pytest.mark.slow
def test_a_model_predicts_in_int8_after_keras_has_quantized_it():
    model = small_models.with_large_weights(classifier())
    before = logits(model)
    model.quantize("int8")
    kinds = {v.path.split("/")[-2]: v.dtype for v in model.weights if v.path.endswith("kernel")}
    assert set(kinds.values()) == {"int8"}, kinds
    after = logits(model)
    assert 0 < np.abs(after - before).max() < 0.1 * np.abs(before).max() + 0.1
