"""Our backbone as keras-hub's and back, in one process: every weight at its place, and the same answers."""

import keras
import numpy as np
import pytest
from small_models import batch, config, numpy, values, with_large_weights

from kobert_tf2.bert import models
from kobert_tf2.errors import InputError

pytest.importorskip("keras_hub", reason="keras-hub is not installed")

from kobert_tf2.conversion import keras_hub


@pytest.fixture(scope="module")
def ours() -> models.BertBackbone:
    return with_large_weights(models.BertBackbone(config()))


@pytest.fixture(scope="module")
def theirs(ours):
    return keras_hub.to_keras_hub(ours)


def test_the_same_answers(ours, theirs):
    inputs = batch()
    inputs.pop("masked_lm_positions")
    expected = numpy(ours(inputs))
    found = theirs(
        {
            "token_ids": inputs["input_ids"],
            "segment_ids": inputs["segment_ids"],
            "padding_mask": inputs["input_mask"],
        }
    )
    visible = inputs["input_mask"].astype(bool)
    for name in ("sequence_output", "pooled_output"):
        values = keras.ops.convert_to_numpy(found[name])
        if name == "sequence_output":
            np.testing.assert_allclose(values[visible], expected[name][visible], atol=1e-4)
        else:
            np.testing.assert_allclose(values, expected[name], atol=1e-4)


def test_there_and_back_keeps_every_bit(ours, theirs):
    again = keras_hub.from_keras_hub(theirs)
    assert again.config.to_dict() == ours.config.to_dict()
    before, after = values(ours), values(again)
    assert before.keys() == after.keys()
    assert all(np.array_equal(before[name], after[name]) for name in before)


def test_a_head_is_left_behind(theirs):
    model = with_large_weights(models.BertForPreTraining(config()))
    assert len(keras_hub.to_keras_hub(model).weights) == len(theirs.weights)


def test_a_model_without_a_pooler_is_refused():
    with pytest.raises(InputError, match="has a pooler, but this model lacks"):
        keras_hub.to_keras_hub(models.BertForQuestionAnswering(config()))


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"hidden_act": "gelu"}, "hidden_act='gelu'"),
        ({"hidden_act": "relu"}, "hidden_act='relu'"),
        ({"layer_norm_eps": 1e-5}, "this model 1e-05"),
        ({"hidden_dropout_prob": 0.2}, "hidden_dropout_prob=0.2"),
    ],
)
def test_a_function_that_keras_hub_does_not_compute_is_refused(change, expected):
    with pytest.raises(InputError, match=expected):
        keras_hub.to_keras_hub(models.BertBackbone(config(**change)))


def test_a_folder_that_is_no_preset_is_one_sentence(tmp_path):
    with pytest.raises(InputError) as caught:
        keras_hub.open_preset(str(tmp_path))
    assert str(caught.value).startswith(f"{tmp_path}: keras-hub cannot load it")
    assert "\n" not in str(caught.value)
