"""Folders as they are found: which weights and which configuration are taken, what is asked, what is refused.

The folders are shaped as published ones are: Google's and ETRI's TF1 checkpoints, KR-BERT's with the sizes in the names
of its files, Hugging Face folders of ten years.
"""

import json
import pathlib
import shutil

import ml_dtypes
import numpy as np
import pytest
import tensorflow as tf
from safetensors.numpy import load_file, save_file
from small_models import assert_same_weights, config, save_tf1, with_large_weights

from kobert_tf2 import files
from kobert_tf2.bert import checkpoint_files, models
from kobert_tf2.errors import InputError


@pytest.fixture(scope="module")
def model():
    return with_large_weights(models.BertForPreTraining(config()))


@pytest.fixture
def tf1(model, tmp_path) -> pathlib.Path:
    return pathlib.Path(save_tf1(model, tmp_path / "tf1"))


@pytest.fixture
def hf(model, tmp_path) -> pathlib.Path:
    model.save_pretrained(tmp_path / "hf")
    return tmp_path / "hf"


def load(path, **kwargs):
    return models.BertForPreTraining.from_pretrained(path, **kwargs)


def report(path, **kwargs) -> str:
    with pytest.raises(InputError) as caught:
        load(path, **kwargs)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def renamed(folder: pathlib.Path, old: str, new: str) -> None:
    for path in folder.glob(f"{old}*"):
        path.rename(folder / path.name.replace(old, new))


# --- TF1 folders ---


@pytest.mark.parametrize(
    "name", ["config.json", "bert_config_char16424.json", "bert_config_file.json", "my_bert_config.json"]
)
def test_a_tf1_configuration_of_another_name_is_googles_still(tf1, model, name):
    renamed(tf1, "bert_config.json", name)
    loaded = load(tf1)
    assert loaded.config == model.config
    assert_same_weights(loaded, model)


@pytest.mark.parametrize("name", ["bert_model.ckpt-1000000", "model.ckpt-2990", "krbert"])
def test_a_tf1_checkpoint_of_another_name_is_found_by_each_of_its_files(tf1, model, name):
    renamed(tf1, "bert_model.ckpt", name)
    for path in (tf1, tf1 / name, tf1 / f"{name}.index", tf1 / f"{name}.data-00000-of-00001", tf1 / f"{name}.meta"):
        assert checkpoint_files.find_source(path).prefix == f"{tf1}/{name}"
    assert_same_weights(load(tf1), model)


def several(tf1: pathlib.Path) -> None:
    for step in (1000, 2000):
        for path in tf1.glob("bert_model.ckpt.*"):
            shutil.copy(path, tf1 / path.name.replace("bert_model.ckpt", f"model.ckpt-{step}"))
    for path in tf1.glob("bert_model.ckpt.*"):
        path.unlink()


@pytest.mark.parametrize("place", ["", "/home/somebody/out/", "gs://bucket/out/", "C:\\\\out\\\\"])
def test_of_several_checkpoints_the_newest_is_taken_and_said(tf1, place, capsys):
    several(tf1)
    lines = [f'model_checkpoint_path: "{place}model.ckpt-1000"', 'all_model_checkpoint_paths: "model.ckpt-2000"']
    (tf1 / "checkpoint").write_text("\n".join(lines))
    for path in (tf1, tf1 / "checkpoint"):
        assert checkpoint_files.find_source(path).prefix == f"{tf1}/model.ckpt-1000"
    assert capsys.readouterr().err.count("of 2 checkpoints the newest") == 1


@pytest.mark.parametrize("content", [None, "", 'model_checkpoint_path: "model.ckpt-3000"', "model_checkpoint_path: ?"])
def test_of_several_checkpoints_none_is_guessed(tf1, content):
    several(tf1)
    if content is not None:
        (tf1 / "checkpoint").write_text(content)
    told = report(tf1)
    assert "expected one checkpoint, but found 2" in told
    assert "model.ckpt-1000.index" in told
    assert checkpoint_files.find_source(tf1 / "model.ckpt-2000").prefix == f"{tf1}/model.ckpt-2000"


def test_of_several_configurations_none_is_guessed_and_a_given_one_is_taken(tf1, model):
    shutil.copy(tf1 / "bert_config.json", tf1 / "bert_config_subchar12367.json")
    renamed(tf1, "bert_config.json", "bert_config_char16424.json")
    told = report(tf1)
    assert "expected one configuration, but found" in told
    assert "bert_config_char16424.json" in told
    assert "--bert_config_file" in told
    assert_same_weights(load(tf1, config=model.config), model)


def test_a_folder_without_a_configuration_names_the_one_that_it_expects(tf1, model):
    (tf1 / "bert_config.json").unlink()
    assert report(tf1) == f"{tf1}/bert_config.json: there is no such file"
    assert_same_weights(load(tf1, config=model.config), model)


def test_a_scope_before_all_variables_is_taken_off_and_said(tf1, model, capsys):
    reader = tf.train.load_checkpoint(f"{tf1}/bert_model.ckpt")
    arrays = {f"module/{name}": reader.get_tensor(name) for name in reader.get_variable_to_shape_map()}
    checkpoint_files.write_tf1(f"{tf1}/bert_model.ckpt", arrays, arrays.get)
    assert_same_weights(load(tf1), model)
    assert "'module/' was taken off the names" in capsys.readouterr().err


# --- Hugging Face folders ---


def rewritten(hf: pathlib.Path, change) -> None:
    arrays = load_file(hf / "model.safetensors")
    save_file(change(arrays), hf / "model.safetensors", metadata={"format": "pt"})


@pytest.mark.parametrize("name", ["bert_config.json", "bert_config_x.json", "config_char16424.json"])
def test_a_configuration_beside_pytorchs_weights_is_hugging_faces_whatever_its_name(hf, name):
    files.write_json(f"{hf}/config.json", {**files.read_json(f"{hf}/config.json"), "hidden_act": "gelu"})
    renamed(hf, "config.json", name)
    (hf / "tokenizer_config.json").write_text("{}")
    assert load(hf).config.hidden_act == "gelu"


@pytest.mark.parametrize("prefix", ["module.", "model.", "bert.", "_orig_mod.module.", "0.auto_model."])
def test_a_prefix_of_all_names_is_taken_off_and_said(hf, model, prefix, capsys):
    rewritten(hf, lambda arrays: {prefix + name: array for name, array in arrays.items()})
    assert_same_weights(load(hf), model)
    assert f"{prefix!r} was taken off the names" in capsys.readouterr().err


def test_old_names_and_buffers_are_read_in_silence(hf, model, capsys):
    def as_in_2019(arrays):
        arrays = {
            name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): array
            for name, array in arrays.items()
        }
        arrays["bert.embeddings.position_ids"] = np.arange(24)[None]
        arrays["bert.embeddings.token_type_ids"] = np.zeros((1, 24), np.int64)
        return arrays

    rewritten(hf, as_in_2019)
    assert_same_weights(load(hf), model)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("kind", [np.int8, np.uint8, np.int32])
def test_whole_numbers_are_no_weights(hf, kind):
    name = "bert.encoder.layer.1.output.dense.weight"
    rewritten(hf, lambda arrays: {**arrays, name: arrays[name].astype(kind)})
    assert f"{name}: expected floating-point numbers, but it holds {np.dtype(kind).name}" in report(hf)


def test_safetensors_go_before_pickles_and_tf1_goes_where_no_pickle_may(hf, tf1, model):
    (hf / "pytorch_model.bin").write_bytes(b"never opened")
    assert_same_weights(load(hf, allow_pickle=True), model)
    (tf1 / "pytorch_model.bin").write_bytes(b"never opened")
    shutil.copy(hf / "config.json", tf1 / "config.json")
    assert checkpoint_files.find_source(tf1).format == "tf1"
    assert checkpoint_files.find_source(tf1, allow_pickle=True).format == "hf"


# --- PyTorch's files ---


def as_pickles(hf: pathlib.Path, count: int = 1, **options) -> dict:
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    arrays = load_file(hf / "model.safetensors")
    (hf / "model.safetensors").unlink()
    tensors = {name: torch.tensor(array) for name, array in arrays.items()}
    if count == 1:
        torch.save(tensors, hf / "pytorch_model.bin", **options)
        return {}
    shards = [f"pytorch_model-{i + 1:05d}-of-{count:05d}.bin" for i in range(count)]
    weight_map = {name: shards[i % count] for i, name in enumerate(sorted(tensors))}
    for shard in shards:
        torch.save({name: tensor for name, tensor in tensors.items() if weight_map[name] == shard}, hf / shard)
    files.write_json(f"{hf}/pytorch_model.bin.index.json", {"metadata": {}, "weight_map": weight_map})
    return weight_map


@pytest.mark.parametrize("new_format", [True, False])
def test_pickles_of_both_ages_are_read_where_they_are_asked_for(hf, model, new_format):
    as_pickles(hf, _use_new_zipfile_serialization=new_format)
    assert "--allow_pickle" in report(hf)
    assert_same_weights(load(hf, allow_pickle=True), model)


def test_pickles_in_shards_are_read_where_they_are_asked_for(hf, model):
    weight_map = as_pickles(hf, count=3)
    assert "--allow_pickle" in report(hf)
    assert_same_weights(load(hf, allow_pickle=True), model)
    files.write_json(f"{hf}/pytorch_model.bin.index.json", {"weight_map": {**weight_map, "x": "../x.bin"}})
    assert "names of files in this folder" in report(hf, allow_pickle=True)
    files.write_json(f"{hf}/pytorch_model.bin.index.json", {"weight_map": weight_map})
    (hf / "pytorch_model-00002-of-00003.bin").unlink()
    assert "names pytorch_model-00002-of-00003.bin, but there is no such file" in report(hf, allow_pickle=True)


@pytest.mark.parametrize("kind", ["float16", "bfloat16"])
def test_half_precision_pickles_are_the_numbers_that_they_are(hf, kind):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    arrays = load_file(hf / "model.safetensors")
    (hf / "model.safetensors").unlink()
    half = {name: torch.tensor(array).to(getattr(torch, kind)) for name, array in arrays.items()}
    torch.save(half, hf / "pytorch_model.bin")
    name = "embeddings/word_embeddings"
    variable = next(variable for variable in load(hf, allow_pickle=True).weights if variable.path == name)
    expected = arrays["bert.embeddings.word_embeddings.weight"].astype(getattr(ml_dtypes, kind, None) or kind)
    assert np.array_equal(variable.numpy(), expected.astype(np.float32))


def test_a_pickle_of_something_else_is_a_sentence(hf):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    (hf / "model.safetensors").unlink()
    for content, told in [
        ({"epoch": 3, "state_dict": {"x": torch.zeros(2)}}, "found a dict of dict, int"),
        ([torch.zeros(2)], "found list"),
        (torch.zeros(2), "found Tensor"),
    ]:
        torch.save(content, hf / "pytorch_model.bin")
        assert told in report(hf, allow_pickle=True)
    for content in (b"", b"nothing of the kind", b"PK\x03\x04 and no more"):
        (hf / "pytorch_model.bin").write_bytes(content)
        assert "PyTorch cannot read it as weights" in report(hf, allow_pickle=True)


def test_a_folder_with_no_weights_says_what_to_do_with_a_pickle(hf):
    (hf / "model.safetensors").unlink()
    assert "expected model.safetensors, but it is not there; if the model has only pytorch_model.bin" in report(hf)


# --- Files that lie ---


@pytest.mark.parametrize(
    "index",
    [[], 3, {}, {"weight_map": []}, {"weight_map": {}}, {"weight_map": {"x": 3}}, {"weight_map": {"x": ["a"]}}],
    ids=json.dumps,
)
def test_an_index_of_another_shape_is_a_sentence(hf, index):
    (hf / "model.safetensors").unlink()
    files.write_json(f"{hf}/model.safetensors.index.json", index)
    assert "model.safetensors.index.json" in report(hf)


def test_a_shard_without_what_the_index_promises_is_named(hf):
    (hf / "model.safetensors").rename(hf / "model-00001-of-00001.safetensors")
    weight_map = dict.fromkeys(["bert.pooler.dense.bias", "lost.weight"], "model-00001-of-00001.safetensors")
    files.write_json(f"{hf}/model.safetensors.index.json", {"weight_map": weight_map})
    assert "model-00001-of-00001.safetensors: the index says that it holds lost.weight" in report(hf)


@pytest.mark.parametrize("content", [b"", b"\x10", b"\xff" * 40, b"\x10\0\0\0\0\0\0\0{}"])
def test_a_safetensors_file_that_is_none_is_a_sentence(hf, content):
    (hf / "model.safetensors").write_bytes(content)
    assert "model.safetensors: not a whole safetensors file" in report(hf)


def test_a_safetensors_file_that_breaks_off_is_a_sentence(hf):
    whole = (hf / "model.safetensors").read_bytes()
    (hf / "model.safetensors").write_bytes(whole[:-100])
    assert "model.safetensors: not a whole safetensors file" in report(hf)


def test_a_type_that_numpy_does_not_have_is_a_sentence(hf):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    from safetensors.torch import save_file as save_tensors

    arrays = {name: torch.tensor(array) for name, array in load_file(hf / "model.safetensors").items()}
    name = "bert.encoder.layer.1.output.dense.weight"
    save_tensors({**arrays, name: arrays[name].to(torch.float8_e4m3fn)}, hf / "model.safetensors")
    assert name in report(hf)


@pytest.mark.parametrize("content", ["[]", "3", "null", '"bert"', "{", ""])
def test_a_configuration_that_is_none_is_a_sentence_in_both_formats(hf, tf1, content):
    for path in (hf / "config.json", tf1 / "bert_config.json"):
        path.write_text(content)
        assert str(path) in report(path.parent)
