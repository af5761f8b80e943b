"""Packed rows hold the same instances, and a model has the same losses and gradients from them."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from kobert_tf2.bert import models
from kobert_tf2.bert.kernels import tracing
from kobert_tf2.pretraining_data import packing, record_check, tfrecord
from kobert_tf2.training import losses, steps

WIDTH, PREDICTIONS, VOCAB = 32, 4, 23


def instances(
    lengths: list[int], seed: int = 0, *, width: int = WIDTH, predictions: int = PREDICTIONS
) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    rows, length = len(lengths), np.array(lengths)[:, None]
    mask = np.arange(width) < length
    count = np.minimum(np.maximum(length // 8, 1), predictions)
    weights = (np.arange(predictions) < count).astype(np.float32)
    positions = (1 + np.arange(predictions) * (length - 2) // predictions) * (weights > 0)
    return {
        "input_ids": rng.integers(1, VOCAB, (rows, width)) * mask,
        "input_mask": mask.astype(np.int32),
        "segment_ids": (mask & (np.arange(width) >= length // 2)).astype(np.int32),
        "masked_lm_positions": positions,
        "masked_lm_ids": rng.integers(1, VOCAB, (rows, predictions)) * (weights > 0),
        "masked_lm_weights": weights,
        "next_sentence_labels": rng.integers(0, 2, (rows, 1)),
    }


def unpacked(table: dict[str, np.ndarray]) -> list[tuple]:
    """The instances of packed rows."""
    found = []
    for row in range(len(table["input_ids"])):
        for slot in range(int(table["next_sentence_weights"][row].sum())):
            there = np.flatnonzero(table["sequence_ids"][row] == slot + 1)
            start = table["next_sentence_positions"][row, slot]
            assert there[0] == start
            assert (np.diff(there) == 1).all()
            assert table["position_ids"][row, there].tolist() == list(range(len(there)))
            places = table["masked_lm_positions"][row]
            mine = (table["masked_lm_weights"][row] > 0) & (places >= start) & (places <= there[-1])
            found.append(
                (
                    *(tuple(table[name][row, there].tolist()) for name in ("input_ids", "segment_ids")),
                    tuple((places[mine] - start).tolist()),
                    tuple(table["masked_lm_ids"][row, mine].tolist()),
                    int(table["next_sentence_labels"][row, slot]),
                )
            )
    return sorted(found)


def plain(table: dict[str, np.ndarray]) -> list[tuple]:
    found = []
    for row, length in enumerate(table["input_mask"].sum(axis=1)):
        held = table["masked_lm_weights"][row] > 0
        found.append(
            (
                *(tuple(table[name][row, :length].tolist()) for name in ("input_ids", "segment_ids")),
                *(tuple(table[name][row, held].tolist()) for name in ("masked_lm_positions", "masked_lm_ids")),
                int(table["next_sentence_labels"][row, 0]),
            )
        )
    return sorted(found)


@settings(deadline=None)
@given(st.lists(st.integers(5, WIDTH), min_size=1, max_size=40), st.integers(0, 9))
def test_packed_rows_hold_the_same_instances_and_are_valid(lengths, seed):
    table = instances(lengths, seed)
    packed = packing.pack_rows(table)
    assert unpacked(packed) == plain(table)
    assert len(packed["input_ids"]) <= len(lengths)
    assert record_check.find(packed, record_check.Limits(VOCAB)) is None
    features = tfrecord.pretraining_features(max_seq_length=WIDTH, max_predictions_per_seq=PREDICTIONS, packed=True)
    assert {name: x.shape[1] for name, x in packed.items()} == {name: x.length for name, x in features.items()}


def test_short_instances_leave_little_padding():
    lengths = np.random.default_rng(0).integers(5, 60, 2000).tolist()
    assert packing.pack_rows(instances(lengths, width=128, predictions=20))["input_mask"].mean() > 0.98


@pytest.mark.parametrize(
    ("feature", "place", "value"),
    [
        ("sequence_ids", (0, 3), 0),
        ("sequence_ids", (0, 3), 7),
        ("sequence_ids", (0, 0), 2),
        ("position_ids", (0, 3), 9),
        ("next_sentence_positions", (0, 1), WIDTH),
        ("next_sentence_positions", (0, 1), 0),
        ("next_sentence_weights", (0, 0), 0.0),
        ("next_sentence_weights", (0, 0), 0.5),
        ("next_sentence_positions", (0, 1), 11),
        ("next_sentence_weights", (0, 2), 0.0),
        ("next_sentence_weights", (0, 3), 1.0),
    ],
)
def test_a_packed_record_that_lies_is_found(feature, place, value):
    table = packing.pack_rows(instances([10, 10, 12]))
    table[feature][place] = value
    assert record_check.find(table, record_check.Limits(VOCAB)) is not None
    kinds = {name: np.float32 if name.endswith("weights") else np.int64 for name in table}
    tensors = {name: tf.constant(x.astype(kinds[name])) for name, x in table.items()}
    with pytest.raises(tf.errors.InvalidArgumentError):
        record_check.refuse(tensors, record_check.Limits(VOCAB))


@pytest.fixture(scope="module")
def model():
    config = models.BertConfig(
        vocab_size=VOCAB,
        hidden_size=8,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=16,
        max_position_embeddings=WIDTH,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        initializer_range=0.5,
    )
    return models.BertForPreTraining(config)


def sums_and_gradients(model, table: dict[str, np.ndarray], for_cpu: bool) -> tuple:
    kinds = {name: np.float32 if name.endswith("weights") else np.int32 for name in table}
    batch = {name: tf.constant(x.astype(kinds[name])) for name, x in table.items()}
    variables = [variable.value for variable in model.trainable_variables]

    @tf.function(autograph=False)
    def computed():
        with tracing.for_cpu(for_cpu):
            with tf.GradientTape() as tape:
                terms, _ = losses.pretraining_sums(model(steps.inputs_of(batch), training=True), batch)
                total = tf.add_n(list(terms.values()))
            gradients = tape.gradient(total, variables, unconnected_gradients="zero")
        return terms, [tf.convert_to_tensor(x) for x in gradients], losses.pretraining_weights(batch)

    return computed()


@pytest.mark.parametrize("for_cpu", [False, True])
def test_packed_rows_give_the_same_losses_weights_and_gradients(model, for_cpu):
    table = instances([5, 9, 30, 12, 7, 16, 6, 11])
    packed = packing.pack_rows(table)
    assert len(packed["input_ids"]) < 6
    expected, found = (sums_and_gradients(model, each, for_cpu) for each in (table, packed))
    for part in (0, 2):
        for name, value in expected[part].items():
            assert found[part][name].numpy() == pytest.approx(value.numpy(), rel=1e-5), name
    for variable, one, other in zip(model.trainable_variables, expected[1], found[1], strict=True):
        np.testing.assert_allclose(
            other, one, rtol=1e-5, atol=1e-5 * max(1.0, np.abs(one).max()), err_msg=variable.path
        )
