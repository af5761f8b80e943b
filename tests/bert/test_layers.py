"""Each layer alone: shapes, types, what it refuses. What they compute together is held in test_models*.py."""

import keras
import numpy as np
import pytest
from keras import ops
from small_models import batch, config

from kobert_tf2.bert import layers
from kobert_tf2.errors import InputError


def states(rows: int = 2, length: int = 6) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(rows, length, 16)).astype(np.float32)


def mask_scores(rows: int = 2, length: int = 6, visible: int = 6):
    return layers.AttentionMask()(np.tile(np.arange(length) < visible, (rows, 1)).astype(np.int32))


def test_a_mask_adds_nothing_where_it_is_one_and_ten_thousand_below_where_it_is_zero():
    found = layers.AttentionMask()(np.array([[1, 1, 0]], np.int32))
    assert tuple(found.shape) == (1, 1, 1, 3)
    assert np.array_equal(found, [[[[0, 0, -10000]]]])


def test_embeddings_are_a_sum_of_three_tables_normalised():
    layer, inputs = layers.Embeddings(config=config()), batch()
    found = layer(inputs["input_ids"], inputs["segment_ids"])
    words, positions, segments = (
        ops.convert_to_numpy(table)
        for table in (layer.word_embeddings, layer.position_embeddings, layer.segment_embeddings)
    )
    total = words[inputs["input_ids"]] + positions[:12] + segments[inputs["segment_ids"]]
    expected = (total - total.mean(-1, keepdims=True)) / np.sqrt(total.var(-1, keepdims=True) + 1e-12)
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_embeddings_hand_their_table_over_for_a_tied_output_layer():
    layer, inputs = layers.Embeddings(config=config()), batch()
    _, table = layer(inputs["input_ids"], inputs["segment_ids"], with_table=True)
    assert np.array_equal(table, layer.word_embeddings)


def test_a_row_longer_than_the_positions_says_both_numbers():
    layer, ids = layers.Embeddings(config=config()), np.zeros((1, 25), np.int32)
    with pytest.raises(InputError, match=r"at most 24 tokens.*has 25"):
        layer(ids, ids)


def test_an_encoder_layer_computes_chosen_positions_as_it_computes_all():
    layer, x = layers.EncoderLayer(config=config()), states()
    positions = np.array([[5, 0], [2, 2]], np.int32)
    everywhere = ops.convert_to_numpy(layer(x, mask_scores(visible=4)))
    chosen = layer(x, mask_scores(visible=4), positions)
    np.testing.assert_allclose(chosen, everywhere[np.arange(2)[:, None], positions], atol=1e-6)


def test_a_masked_position_is_not_seen():
    layer, x, other = layers.EncoderLayer(config=config()), states(), states()
    other[:, 4:] += 3
    seen = [ops.convert_to_numpy(layer(s, mask_scores(visible=4)))[:, :4] for s in (x, other)]
    assert np.array_equal(*seen)


def test_dropout_is_drawn_in_training_alone():
    layer, x = layers.EncoderLayer(config=config(hidden_dropout_prob=0.5)), states()
    calm = [ops.convert_to_numpy(layer(x, mask_scores())) for _ in range(2)]
    assert np.array_equal(*calm)
    assert not np.array_equal(calm[0], layer(x, mask_scores(), training=True))


def test_the_pooler_sees_the_first_token_alone():
    layer, x = layers.Pooler(config=config()), states()
    found = ops.convert_to_numpy(layer(x))
    kernel, bias = (ops.convert_to_numpy(weight) for weight in layer.dense.weights)
    np.testing.assert_allclose(found, np.tanh(x[:, 0] @ kernel + bias), atol=1e-6)


@pytest.mark.parametrize("tied", [True, False])
def test_the_masked_lm_head_scores_by_the_embeddings_unless_the_configuration_unties_them(tied):
    table = keras.Variable(np.random.default_rng(1).normal(size=(40, 16)).astype(np.float32))
    head = layers.MaskedLMHead(config=config(tie_word_embeddings=tied), word_embeddings=lambda: table)
    logits = head(states(), table)
    assert tuple(logits.shape) == (2, 6, 40)
    names = {weight.path.rpartition("/")[2] for weight in head.weights}
    assert ("decoder" in names) is not tied
    assert head.output_matrix() is (table if tied else head.decoder)
    before = ops.convert_to_numpy(logits)
    table.assign(table * 2)
    assert np.allclose(before, head(states(), table)) is not tied


def test_a_head_of_few_numbers_is_computed_in_float32_under_any_policy():
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        layer = layers.logits_layer(config(), 2, "logits")
        assert layer(ops.cast(states(), "bfloat16")).dtype.name == "float32"
    finally:
        keras.config.set_dtype_policy("float32")


@pytest.mark.parametrize("cls", [layers.Embeddings, layers.EncoderLayer, layers.Pooler])
def test_a_layer_is_made_again_from_its_configuration(cls):
    layer = cls(config=config(hidden_size=8), name="one")
    again = cls.from_config(layer.get_config())
    assert (again.config, again.name) == (layer.config, "one")
