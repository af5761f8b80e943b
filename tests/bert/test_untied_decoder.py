"""A masked-LM decoder of its own: read, trained, saved, resized and converted, and refused where there is no place."""

import itertools

import keras
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from slow_cases import rest_slow
from small_models import assert_same_weights, batch, config, numpy, values, with_large_weights

from kobert_tf2 import files
from kobert_tf2.bert import models
from kobert_tf2.conversion import hf_forward, rewriting
from kobert_tf2.errors import InputError

WORDS, DECODER = "bert.embeddings.word_embeddings.weight", "cls.predictions.decoder.weight"
BIAS, DECODER_BIAS = "cls.predictions.bias", "cls.predictions.decoder.bias"


def untied_model():
    return with_large_weights(models.BertForPreTraining(config(tie_word_embeddings=False, hidden_act="gelu")))


@pytest.fixture
def untied(tmp_path) -> str:
    untied_model().save_pretrained(tmp_path / "untied")
    return str(tmp_path / "untied")


def test_it_is_saved_under_the_names_that_both_transformers_read_and_comes_back(untied):
    model = untied_model()
    assert "masked_lm/decoder" in values(model)
    saved = load_file(f"{untied}/model.safetensors")
    assert np.array_equal(saved[DECODER], values(model)["masked_lm/decoder"])
    assert np.array_equal(saved[DECODER_BIAS], saved[BIAS])
    assert files.read_json(f"{untied}/config.json")["tie_word_embeddings"] is False
    assert_same_weights(models.BertForPreTraining.from_pretrained(untied), model)


@pytest.mark.parametrize("tie", [True, None])
def test_a_configuration_that_says_otherwise_is_corrected_aloud(untied, tie, capsys):
    changed = {**files.read_json(f"{untied}/config.json"), "tie_word_embeddings": tie}
    files.write_json(f"{untied}/config.json", {name: value for name, value in changed.items() if value is not None})
    model = models.BertForPreTraining.from_pretrained(untied)
    assert model.config.tie_word_embeddings is False
    assert_same_weights(model, untied_model())
    assert f"{DECODER} differs from the table of the embeddings" in capsys.readouterr().err


def test_scores_come_from_the_decoder_and_not_from_the_table():
    model, inputs = untied_model(), batch()
    before = numpy(model(inputs))["masked_lm_logits"]
    model.masked_lm.decoder.assign(2 * model.masked_lm.decoder)
    bias = values(model)["masked_lm/output_bias"]
    assert np.allclose(numpy(model(inputs))["masked_lm_logits"] - bias, 2 * (before - bias), atol=1e-4)


def test_training_moves_the_decoder_and_the_table_apart():
    model, inputs = untied_model(), batch()
    before = values(model)
    model.compile(keras.optimizers.SGD(0.1), loss={"masked_lm_logits": "mse", "next_sentence_logits": "mse"})
    targets = {name: np.zeros_like(value) for name, value in numpy(model(inputs)).items()}
    model.fit(inputs, targets, epochs=1, verbose=0)
    after = values(model)
    unseen = np.setdiff1d(np.arange(40), inputs["input_ids"])
    assert np.abs(after["masked_lm/decoder"] - before["masked_lm/decoder"]).min(axis=1).max() > 0
    table = "embeddings/word_embeddings"
    assert np.array_equal(after[table][unseen], before[table][unseen])
    assert not np.array_equal(after[table], before[table])


def test_resizing_changes_the_decoder_too():
    model = untied_model()
    resized = values(model.resize_token_embeddings(50))["masked_lm/decoder"]
    assert resized.shape == (50, 16)
    assert np.array_equal(resized[:40], values(model)["masked_lm/decoder"])


def test_conversion_keeps_it_where_there_is_a_place_and_refuses_by_name_where_there_is_none(untied, tmp_path):
    rewriting.rewrite(untied, f"{tmp_path}/hf", to="hf")
    assert_same_weights(models.BertForPreTraining.from_pretrained(f"{tmp_path}/hf"), untied_model())
    tanh = {**files.read_json(f"{untied}/config.json"), "hidden_act": "gelu_new"}
    files.write_json(f"{untied}/config.json", tanh)
    with pytest.raises(InputError, match=f"{DECODER} differs from the table of the embeddings"):
        rewriting.rewrite(untied, f"{tmp_path}/tf1", to="tf1")
    assert not (tmp_path / "tf1").exists()


def test_a_repeated_table_is_no_decoder_of_its_own(tmp_path, capsys):
    model = with_large_weights(models.BertForPreTraining(config()))
    model.save_pretrained(tmp_path / "tied")
    arrays = load_file(tmp_path / "tied" / "model.safetensors")
    save_file({**arrays, DECODER: arrays[WORDS], DECODER_BIAS: arrays[BIAS]}, tmp_path / "tied" / "model.safetensors")
    loaded = models.BertForPreTraining.from_pretrained(tmp_path / "tied")
    assert loaded.config.tie_word_embeddings
    assert_same_weights(loaded, model)
    assert capsys.readouterr().err == ""


@pytest.mark.skipif(not hf_forward.is_installed(), reason="transformers and torch are not installed")
@pytest.mark.parametrize(
    ("tie", "names"),
    rest_slow(
        [
            *((tie, (DECODER, DECODER_BIAS)) for tie in (False, True)),
            *itertools.product([True, False], [(DECODER,), (DECODER_BIAS,)]),
        ],
        first=2,
    ),
)
def test_transformers_answers_as_we_do_from_what_it_or_we_wrote(untied, tie, names):
    """Each of the two names alone, where transformers 5 leaves nothing to chance (see its list of missing names)."""
    arrays = load_file(f"{untied}/model.safetensors")
    rng = np.random.default_rng(1)
    arrays[DECODER_BIAS] = rng.normal(size=40).astype(np.float32)
    kept = {name: array for name, array in arrays.items() if name not in (DECODER, DECODER_BIAS) or name in names}
    save_file(kept, f"{untied}/model.safetensors", metadata={"format": "pt"})
    files.write_json(f"{untied}/config.json", {**files.read_json(f"{untied}/config.json"), "tie_word_embeddings": tie})
    theirs = hf_forward.forward(untied, batch())
    problems = str(theirs.pop("loading_problems"))
    if "decoder" in problems:
        assert not tie
        if DECODER not in names:
            with pytest.raises(InputError, match=DECODER):
                models.BertForPreTraining.from_pretrained(untied)
        return
    ours = numpy(models.BertForPreTraining.from_pretrained(untied)(batch()))
    for name, answer in ours.items():
        assert np.abs(answer - theirs[name]).max() <= 1e-4, name
