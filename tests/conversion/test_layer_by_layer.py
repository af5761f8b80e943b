"""The forward pass with one layer's weights in memory: the answers of the whole model, and never more than a layer."""

import numpy as np
import pytest
from small_models import MODELS, batch, config, numpy, save_tf1, with_large_weights

from kobert_tf2.bert import checkpoint_files, pretrained
from kobert_tf2.bert import models as modeling
from kobert_tf2.conversion import layer_by_layer


@pytest.mark.parametrize("form", ["hf", "tf1"])
@pytest.mark.parametrize("cls", MODELS)
def test_it_answers_as_the_whole_model_does(cls, form, tmp_path):
    model = with_large_weights(cls(config()))
    model.save_pretrained(tmp_path / "hf")
    save_tf1(model, tmp_path / "tf1")
    answers = layer_by_layer.forward(cls, checkpoint_files.find_source(tmp_path / form), batch())
    expected = numpy(model(batch()))
    assert answers.keys() == expected.keys()
    for name in expected:
        assert np.array_equal(answers[name], expected[name]), name


def test_other_layers_hold_nothing_while_one_is_called(tmp_path, monkeypatch):
    model = with_large_weights(modeling.BertForPreTraining(config()))
    model.save_pretrained(tmp_path / "hf")
    models, held = [], []
    uninitialized, load = pretrained.uninitialized, layer_by_layer._load

    def watched(uses, *args):
        load(uses, *args)
        held.append({row.keras for row, v in pretrained.variables(models[0]).items() if v.numpy().size})
        assert held[-1] == {row.keras for row in uses}

    monkeypatch.setattr(pretrained, "uninitialized", lambda *args: models.append(uninitialized(*args)) or models[0])
    monkeypatch.setattr(layer_by_layer, "_load", watched)
    layer_by_layer.forward(modeling.BertForPreTraining, checkpoint_files.find_source(tmp_path / "hf"), batch())
    assert set().union(*held) == {row.keras for row in pretrained.variables(model)}
    assert not any(v.numpy().size for v in pretrained.variables(models[0]).values())
