"""Weights that are left empty until a checkpoint is loaded: none stays so, and they take no memory before."""

import itertools

import keras
import numpy as np
import pytest
from slow_cases import rest_slow
from small_models import MODELS, config, with_large_weights

from kobert_tf2.bert import layers, models


@pytest.fixture
def empty_is_nan(monkeypatch):
    """What lies in memory made visible; counts how often it was asked for."""
    asked = []

    def nan(self, shape, dtype=None):
        asked.append(shape)
        return keras.ops.full(shape, np.nan, dtype)

    monkeypatch.setattr(layers.Uninitialized, "__call__", nan)
    return asked


@pytest.mark.parametrize(
    ("saved", "cls"),
    rest_slow(itertools.product([models.BertForPreTraining, models.BertForQuestionAnswering], MODELS), first=3),
)
def test_loading_leaves_no_weight_as_it_lay_in_memory(saved, cls, empty_is_nan, tmp_path):
    """Also where the checkpoint lacks the pooler and the head: those get a random start of BERT's size."""
    with_large_weights(saved(config())).save_pretrained(tmp_path / "model")
    assert not empty_is_nan
    loaded = cls.from_pretrained(tmp_path / "model")
    assert len(empty_is_nan) >= 15  # three tables, six kernels a layer
    for variable in loaded.weights:
        assert np.isfinite(variable.numpy()).all(), variable.path
    for variable in loaded.weights:
        new = variable.path.split("/")[0] not in {weight.path.split("/")[0] for weight in saved(config()).weights}
        if new and len(variable.shape) == 2:
            assert 0 < np.abs(variable.numpy()).max() <= 2.3 * 0.02, variable.path


def test_outside_of_loading_weights_are_drawn(empty_is_nan):
    with pytest.raises(RuntimeError), layers.uninitialized_weights():
        raise RuntimeError
    for variable in models.BertBackbone(config()).weights:
        assert np.isfinite(variable.numpy()).all(), variable.path
    assert not empty_is_nan


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="other backends draw zeros")
def test_uninitialized_weights_take_no_memory():
    before = resident()
    large = [layers.Uninitialized()((1 << 24,), "float32") for _ in range(4)]
    assert resident() - before < 128 << 20  # of 256 MiB
    del large


def resident() -> int:
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * 4096
