"""Weights into every format and back, bit for bit; what does not fit, in one report."""

import json
import pathlib
import re
import shutil

import numpy as np
import pytest
import tensorflow as tf
from safetensors.numpy import load_file, save_file
from small_models import (
    MODELS,
    assert_same_weights,
    config,
    save_tf1,
    values,
    with_a_value_for_every_weight,
    with_large_weights,
)

from kobert_tf2 import files
from kobert_tf2.bert import checkpoint_files, models, pretrained, weight_names
from kobert_tf2.errors import InputError

# --- Round trips ---


@pytest.mark.parametrize("cls", MODELS)
def test_a_model_directory_gives_back_every_weight(cls, tmp_path):
    model = with_a_value_for_every_weight(cls(config()))
    model.save_pretrained(tmp_path / "model")
    loaded = cls.from_pretrained(tmp_path / "model")
    assert loaded.config == model.config
    assert_same_weights(model, loaded)


@pytest.mark.parametrize("cls", MODELS)
def test_a_tf1_checkpoint_gives_back_every_weight_and_its_optimizer_is_passed_over(cls, tmp_path, capsys):
    model = with_a_value_for_every_weight(cls(config()))
    state = {
        "global_step": np.int64(7),
        "bert/pooler/dense/kernel/adam_m": np.zeros((16, 16), "float32"),
        "bert/pooler/dense/kernel/adam_v": np.zeros((16, 16), "float32"),
    }
    assert_same_weights(model, cls.from_pretrained(save_tf1(model, tmp_path / "tf1", **state)))
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    "file", ["", "bert_model.ckpt", "bert_model.ckpt.index", "bert_model.ckpt.data-00000-of-00001"]
)
def test_a_tf1_checkpoint_is_found_by_any_of_its_names(file, tf1):
    source = checkpoint_files.find_source(f"{tf1}/{file}")
    assert source == ("tf1", tf1, f"{tf1}/bert_model.ckpt", f"{tf1}/bert_config.json")
    assert checkpoint_files.find_source(tf1 + "/") == source


def test_every_weight_of_every_model_has_a_row_of_its_own_and_the_shape_that_the_row_says():
    seen = set()
    for cls in MODELS:
        model = cls(config(tie_word_embeddings=False))
        found = pretrained.variables(model)
        assert len(found) == len(model.weights)
        for row, variable in found.items():
            assert weight_names.keras_shape(row, model.config) == tuple(variable.shape), row
        seen |= set(found)
    rows = weight_names.table(2)
    assert seen == set(rows)
    for column in ("keras", "tf1", "hf"):
        names = [getattr(row, column) for row in rows if getattr(row, column)]
        assert len(set(names)) == len(names) >= len(rows) - 1, column


def test_a_pre_training_model_becomes_a_reader_with_a_new_head(tmp_path, capsys):
    model = with_large_weights(models.BertForPreTraining(config()))
    model.save_pretrained(tmp_path / "model")
    reader = models.BertForQuestionAnswering.from_pretrained(tmp_path / "model")
    for path, value in values(reader).items():
        assert path.startswith("span/") or np.array_equal(value, values(model)[path]), path
    told = capsys.readouterr().err
    assert "'span': it starts new" in told
    assert "were not used: bert.pooler.dense.bias" in told


def test_a_reader_becomes_a_classifier_with_a_new_pooler_and_head(tmp_path, capsys):
    models.BertForQuestionAnswering(config()).save_pretrained(tmp_path / "model")
    models.BertForSequenceClassification.from_pretrained(tmp_path / "model", num_labels=3)
    told = capsys.readouterr().err
    assert "'classifier'" in told
    assert "'pooler'" in told


def test_num_labels_come_from_the_checkpoint(tmp_path):
    models.BertForTokenClassification(config(), num_labels=5).save_pretrained(tmp_path / "model")
    assert models.BertForTokenClassification.from_pretrained(tmp_path / "model").num_labels == 5
    with pytest.raises(InputError, match=r"classifier.weight: the model needs \[3, 16\], the checkpoint has \[5, 16\]"):
        models.BertForTokenClassification.from_pretrained(tmp_path / "model", num_labels=3)


def test_saving_over_a_model_keeps_what_else_lies_there_and_writes_the_tokenizer(tmp_path):
    class Words:
        def save_pretrained(self, folder):
            files.write_json(f"{folder}/tokenizer_config.json", {})

    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "notes.txt").write_text("mine")
    models.BertBackbone(config()).save_pretrained(tmp_path / "model", tokenizer=Words())
    assert sorted(path.name for path in (tmp_path / "model").iterdir()) == [
        "README.md",
        "config.json",
        "model.safetensors",
        "notes.txt",
        "tokenizer_config.json",
    ]


@pytest.mark.parametrize(
    ("name", "content"),
    [("config.json", '{"model_type": "bert", "transformers_version": "5"}'), ("model.safetensors", "weights")],
)
def test_a_model_of_someone_else_is_not_saved_over(tmp_path, name, content):
    (tmp_path / name).write_text(content)
    with pytest.raises(InputError, match=f"{name}: already there, and not of a model that kobert_tf2 saved"):
        models.BertBackbone(config()).save_pretrained(tmp_path)
    assert (tmp_path / name).read_text() == content
    assert len(list(tmp_path.iterdir())) == 1


def test_a_model_of_ours_is_saved_over_itself(tmp_path):
    for _ in range(2):
        models.BertBackbone(config()).save_pretrained(tmp_path / "model")
    path = tmp_path / "model" / "config.json"
    values = json.loads(path.read_text())
    path.write_text(json.dumps({name: value for name, value in values.items() if name != "kobert_tf2"}))
    models.BertBackbone(config()).save_pretrained(tmp_path / "model")  # As version 0.1 left it, without the sign.


def test_saving_that_fails_leaves_nothing(tmp_path):
    class Broken:
        def save_pretrained(self, folder):
            raise OSError("no space left")

    with pytest.raises(OSError, match="no space"):
        models.BertBackbone(config()).save_pretrained(tmp_path / "model", tokenizer=Broken())
    assert list(tmp_path.iterdir()) == []


# --- Activations keep their function ---


def test_gelu_means_what_the_file_means():
    assert models.BertConfig(vocab_size=5, hidden_act="gelu_new").to_google_dict()["hidden_act"] == "gelu"
    with pytest.raises(InputError, match="tanh form"):
        models.BertConfig(vocab_size=5, hidden_act="gelu").to_google_dict()


@pytest.mark.parametrize(("google", "ours"), [("gelu", "gelu_new"), ("relu", "relu"), ("tanh", "tanh")])
def test_googles_activations_are_read(google, ours, tmp_path):
    path = tmp_path / "bert_config.json"
    path.write_text(json.dumps({**config().to_google_dict(), "hidden_act": google}))
    assert models.BertConfig.from_google_json(path).hidden_act == ours


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"model_type": "roberta"}, "roberta"),
        ({"position_embedding_type": "relative_key"}, "relative_key"),
        ({"is_decoder": True}, "decoder"),
        ({"hidden_act": "gelu_10"}, "gelu_10"),
        ({"vocab_size": 0}, "vocab_size"),
        ({"hidden_size": 10, "num_attention_heads": 4}, "multiple"),
        ({"hidden_dropout_prob": 1.0}, "hidden_dropout_prob"),
        ({"hidden_act": None}, "hidden_act"),
    ],
)
def test_a_configuration_that_we_do_not_compute_is_refused(change, told, tmp_path):
    path = tmp_path / "config.json"
    path.write_text(json.dumps({"model_type": "bert", **config().to_dict(), **change}))
    with pytest.raises(InputError, match=told) as caught:
        models.BertConfig.from_json(path)
    assert str(path) in str(caught.value)


def test_a_configuration_without_sizes_is_reported(tmp_path):
    path = tmp_path / "config.json"
    path.write_text('{"vocab_size": 5}')
    with pytest.raises(InputError, match=r"hidden_size.*is missing"):
        models.BertConfig.from_json(path)


# --- What does not fit ---


@pytest.fixture
def tf1(tmp_path):
    return save_tf1(with_large_weights(models.BertForPreTraining(config())), tmp_path / "tf1")


def changed(tf1: str, **changes) -> dict:
    path = f"{tf1}/bert_config.json"
    files.write_json(path, {**files.read_json(path), **changes})
    return tf1


def rewritten(tf1: str, change) -> str:
    """The same checkpoint after `change` was made to its dict of arrays."""
    prefix = f"{tf1}/bert_model.ckpt"
    reader = tf.train.load_checkpoint(prefix)
    arrays = {name: reader.get_tensor(name) for name in reader.get_variable_to_shape_map()}
    change(arrays)
    checkpoint_files.write_tf1(prefix, arrays, arrays.get)
    return tf1


def report(path: str, cls=models.BertForPreTraining) -> str:
    with pytest.raises(InputError) as caught:
        cls.from_pretrained(path)
    return str(caught.value)


def test_another_vocabulary_size_is_reported_with_both_shapes_and_the_way_out(tf1):
    told = report(changed(tf1, vocab_size=50))
    assert "2 problems" in told
    assert "word_embeddings: the model needs [50, 16], the checkpoint has [40, 16]" in told
    assert "output_bias: the model needs [50], the checkpoint has [40]" in told
    assert "vocab_size 40" in told
    assert "resize_token_embeddings" in told


def test_another_width_lists_every_weight(tf1):
    told = report(changed(tf1, hidden_size=20))
    assert int(re.search(r"\((\d+) problems\)", told)[1]) == told.count("other shape:") > 30
    assert "seq_relationship/output_weights: the model needs [2, 20], the checkpoint has [2, 16]" in told
    assert "configuration file" in told


def test_too_many_and_too_few_layers(tf1):
    told = report(changed(tf1, num_hidden_layers=3))
    assert "16 problems" in told
    assert "missing: bert/encoder/layer_2/output/dense/kernel [32, 16]" in told
    told = report(changed(tf1, num_hidden_layers=1))
    assert "16 problems" in told
    assert "unexpected: bert/encoder/layer_1/intermediate/dense/kernel [16, 32]" in told
    assert "num_hidden_layers" in told


def test_missing_extra_and_misshapen_weights_are_one_report(tf1):
    def change(arrays):
        del arrays["bert/encoder/layer_0/attention/self/query/bias"]
        arrays["bert/encoder/layer_0/adapter/kernel"] = np.zeros((2, 3), "float32")
        arrays["bert/embeddings/LayerNorm/beta"] = np.zeros(9, "float32")

    told = report(rewritten(tf1, change))
    assert "3 problems" in told
    assert "missing: bert/encoder/layer_0/attention/self/query/bias [16]" in told
    assert "unexpected: bert/encoder/layer_0/adapter/kernel [2, 3]" in told
    assert "bert/embeddings/LayerNorm/beta: the model needs [16], the checkpoint has [9]" in told


def test_half_a_head_is_an_error_rather_than_a_new_head(tf1):
    told = report(rewritten(tf1, lambda arrays: arrays.pop("cls/predictions/output_bias")))
    assert "missing: cls/predictions/output_bias [40]" in told


def test_a_foreign_head_is_reported_and_not_used(tf1, capsys):
    rewritten(tf1, lambda arrays: arrays.update(my_head=np.zeros(3, "float32")))
    models.BertForPreTraining.from_pretrained(tf1)
    assert "1 weights were not used: my_head" in capsys.readouterr().err


def test_another_models_checkpoint_is_recognised(tf1):
    def change(arrays):
        arrays.clear()
        arrays["generator/conv/kernel"] = np.zeros((3, 3), "float32")

    told = report(rewritten(tf1, change), models.BertBackbone)
    assert "another model's checkpoint (it holds generator/conv/kernel" in told


def test_a_report_leaves_the_model_as_it_was(tf1):
    model = with_a_value_for_every_weight(models.BertForPreTraining(config(vocab_size=50)))
    before = values(model)
    with pytest.raises(InputError):
        pretrained.load(model, tf1)
    assert all(np.array_equal(value, before[path]) for path, value in values(model).items())


def test_damaged_checkpoints_are_reported(tf1, tmp_path):
    data = pathlib.Path(tf1, "bert_model.ckpt.data-00000-of-00001")
    whole = data.read_bytes()
    data.write_bytes(whole[: len(whole) // 2])
    assert "cut short" in report(tf1)
    data.write_bytes(whole[:500] + bytes([whole[500] ^ 255]) + whole[501:])
    assert "damaged" in report(tf1)
    data.unlink()
    assert "data file" in report(tf1)
    pathlib.Path(tf1, "bert_model.ckpt.index").write_bytes(b"nothing of the kind")
    assert "cannot open" in report(tf1)


def test_a_checkpoint_of_objects_is_reported(tmp_path):
    tf.train.Checkpoint(x=tf.Variable(1.0)).write(str(tmp_path / "bert_model.ckpt"))
    files.write_json(str(tmp_path / "bert_config.json"), config().to_google_dict())
    assert "TF2 objects" in report(tmp_path)


def test_a_folder_without_a_model_and_one_with_several(tmp_path, tf1):
    assert "neither config.json" in report(tmp_path)
    for ending in ("index", "data-00000-of-00001"):
        shutil.copy(f"{tf1}/bert_model.ckpt.{ending}", f"{tf1}/other.ckpt.{ending}")
    assert "found 2; name one of" in report(tf1)
    assert "another file" in report(f"{tf1}/bert_config.json")


# --- Hugging Face's files ---


@pytest.fixture
def hf(tmp_path):
    model = with_large_weights(models.BertForPreTraining(config()))
    model.save_pretrained(tmp_path / "hf")
    return tmp_path / "hf"


def shard(folder, names: tuple[str, ...] = ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors")):
    arrays = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    index = {name: names[i % 2] for i, name in enumerate(sorted(arrays))}
    for file in names:
        save_file({name: arrays[name] for name in arrays if index[name] == file}, folder / file)
    files.write_json(str(folder / "model.safetensors.index.json"), {"weight_map": index})
    return index


def test_sharded_files_are_read(hf):
    model = models.BertForPreTraining.from_pretrained(hf)
    shard(hf)
    assert_same_weights(models.BertForPreTraining.from_pretrained(hf), model)


def test_a_shard_is_never_looked_for_outside_the_folder(hf):
    index = shard(hf)
    for name in ("../model-00001-of-00002.safetensors", "/etc/passwd", "..", ""):
        files.write_json(
            str(hf / "model.safetensors.index.json"), {"weight_map": {**index, "bert.pooler.dense.bias": name}}
        )
        assert "names of files in this folder" in report(hf)


def test_a_missing_shard_and_a_broken_file_are_reported(hf):
    shard(hf)
    (hf / "model-00002-of-00002.safetensors").unlink()
    assert "names model-00002-of-00002.safetensors, but there is no such file" in report(hf)
    (hf / "model.safetensors").write_bytes(b"\x10\0\0\0\0\0\0\0{}")
    assert "not a whole safetensors file" in report(hf)
    (hf / "model.safetensors").unlink()
    (hf / "model.safetensors.index.json").unlink()
    assert "expected model.safetensors" in report(hf)


def test_names_without_the_prefix_and_with_the_old_layer_norm_are_read(hf):
    model = models.BertBackbone.from_pretrained(hf)
    arrays = load_file(hf / "model.safetensors")
    old = {name.removeprefix("bert."): array for name, array in arrays.items() if name.startswith("bert.")}
    old = {re.sub(r"LayerNorm\.weight", "LayerNorm.gamma", name): array for name, array in old.items()}
    old = {re.sub(r"LayerNorm\.bias", "LayerNorm.beta", name): array for name, array in old.items()}
    old["embeddings.position_ids"] = np.arange(24)[None]
    save_file(old, hf / "model.safetensors")
    assert_same_weights(models.BertBackbone.from_pretrained(hf), model)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_files_are_read(hf, dtype):
    import ml_dtypes

    arrays = load_file(hf / "model.safetensors")
    kind = {"float16": np.float16, "bfloat16": ml_dtypes.bfloat16}[dtype]
    save_file({name: array.astype(kind) for name, array in arrays.items()}, hf / "model.safetensors")
    model = models.BertForPreTraining.from_pretrained(hf)
    for row, variable in pretrained.variables(model).items():
        expected = weight_names.transpose(
            arrays[row.hf].astype(kind).astype(np.float32), row, source="hf", target="keras"
        )
        assert np.array_equal(variable.numpy(), expected)


def test_a_pickle_is_read_only_where_it_is_asked_for(hf):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    model = models.BertForPreTraining.from_pretrained(hf)
    arrays = load_file(hf / "model.safetensors")
    (hf / "model.safetensors").unlink()
    torch.save({name: torch.tensor(array) for name, array in arrays.items()}, hf / "pytorch_model.bin")
    assert "allow_pickle" in report(hf)
    assert_same_weights(models.BertForPreTraining.from_pretrained(hf, allow_pickle=True), model)


def test_a_pickle_that_runs_code_is_refused_even_then(hf):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")

    class Evil:
        def __reduce__(self):
            return open, (str(hf / "broken-in"), "w")

    (hf / "model.safetensors").unlink()
    torch.save({"x": Evil()}, hf / "pytorch_model.bin")
    with pytest.raises(InputError, match="cannot read it as weights"):
        models.BertForPreTraining.from_pretrained(hf, allow_pickle=True)
    assert not (hf / "broken-in").exists()


PARAMS = {"question-answering": {"max_seq_length": 20, "doc_stride": 8}, "other": {"a": [1, None]}}


def saved_params(folder) -> dict | None:
    return json.loads((folder / "config.json").read_text("utf-8")).get("task_specific_params")


def test_the_settings_of_a_task_stay_with_its_head(tmp_path):
    model = models.BertForQuestionAnswering(config(num_hidden_layers=1))
    model.save_pretrained(tmp_path / "a", task_specific_params=PARAMS)
    loaded = models.BertForQuestionAnswering.from_pretrained(tmp_path / "a")
    loaded.save_pretrained(tmp_path / "b")
    assert saved_params(tmp_path / "b") == PARAMS
    loaded.resize_token_embeddings(50).save_pretrained(tmp_path / "larger")
    assert saved_params(tmp_path / "larger") == PARAMS
    loaded.save_pretrained(tmp_path / "c", task_specific_params={"other": {}})
    assert saved_params(tmp_path / "c") == {"other": {}}
    models.BertBackbone.from_pretrained(tmp_path / "a").save_pretrained(tmp_path / "backbone")
    assert saved_params(tmp_path / "backbone") is None
