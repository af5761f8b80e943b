"""`tools/convert_checkpoint.py` from end to end: every way across, what it prints, what it refuses."""

import json
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
import warm_python
from safetensors.numpy import load_file, save_file
from small_models import (
    assert_same_weights,
    batch,
    config,
    numpy,
    save_tf1,
    with_large_weights,
)

from kobert_tf2 import files, parallel
from kobert_tf2.bert import checkpoint_files, matching, models
from kobert_tf2.conversion import compare, hf_forward, rewriting
from kobert_tf2.conversion import convert as conversion
from kobert_tf2.errors import InputError

TOOL = pathlib.Path(__file__).resolve().parents[2] / "tools" / "convert_checkpoint.py"


# The tool without the processes that it starts.
IN_ONE_PROCESS = """
import runpy, sys
from kobert_tf2 import parallel
parallel.in_subprocess = lambda function, *args, **kwargs: function(*args, **kwargs)
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def convert(*flags: str) -> subprocess.CompletedProcess:
    environment = dict(os.environ, TF_CPP_MIN_LOG_LEVEL="3")
    return subprocess.run([sys.executable, TOOL, *flags], capture_output=True, text=True, timeout=300, env=environment)


def in_warm_process(function, *args, **kwargs):
    """`parallel.in_subprocess` of a test: what needs PyTorch goes where it is imported, the rest stays here."""
    needs_torch = function is hf_forward._answer_quietly or (function is compare._ask_each and "ours" not in args[0])
    return warm_python.call(function, *args, imported="transformers") if needs_torch else function(*args, **kwargs)


@pytest.fixture(autouse=True)
def no_new_processes(monkeypatch):
    """Each would import its library anew; the tool's test has them as they are."""
    monkeypatch.setattr(parallel, "in_subprocess", in_warm_process)


@pytest.fixture
def tf1(tmp_path) -> str:
    return save_tf1(with_large_weights(models.BertForPreTraining(config())), tmp_path / "tf1")


def test_the_tool_converts_and_ends_with_both_sides_compared(tf1, tmp_path):
    result = convert(f"--input={tf1}", f"--output={tmp_path / 'hf'}", "--to=hf")
    assert result.returncode == 0, result.stderr
    summary = json.loads(result.stdout.splitlines()[-1])
    assert summary["architecture"] == "BertForPreTraining"
    assert summary["weights"] == 46
    if summary["compared_with"] is None:
        pytest.skip("transformers and torch are not installed")
    assert summary["largest_difference"] <= 1e-4
    assert "largest difference" in result.stderr


def test_the_tool_reports_a_users_mistake_in_a_sentence_and_leaves_nothing(tf1, tmp_path):
    files.write_json(f"{tf1}/bert_config.json", {**files.read_json(f"{tf1}/bert_config.json"), "vocab_size": 41})
    result = warm_python.run(["-c", IN_ONE_PROCESS, TOOL, f"--input={tf1}", f"--output={tmp_path / 'hf'}"])
    assert result.returncode == 1
    assert "Traceback" not in result.stderr
    assert "error: " in result.stderr
    assert "the model needs [41, 16], the checkpoint has [40, 16]" in result.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["tf1"]


@pytest.mark.slow
def test_tf1_and_back_compares_what_was_read_back(tf1, tmp_path):
    summary = conversion.convert(tf1, f"{tmp_path}/again", to="tf1")
    assert summary["compared_with"] == summary["source_computed_by"] == "the original's graph in NumPy"
    assert summary["largest_difference"] <= 1e-4


@pytest.mark.slow
def test_keras_hub_there_and_back(tf1, tmp_path, capfd):
    pytest.importorskip("keras_hub", reason="keras-hub is not installed")
    summary = conversion.convert(tf1, f"{tmp_path}/preset", to="keras_hub")
    assert summary["largest_difference"] <= 1e-4
    assert "left behind" in capfd.readouterr().err
    rewriting.rewrite(f"{tmp_path}/preset", f"{tmp_path}/hf", to="hf")
    ours = models.BertBackbone.from_pretrained(f"{tmp_path}/hf")
    assert_same_weights(ours, models.BertBackbone.from_pretrained(tf1))
    with pytest.raises(InputError, match="keras-hub preset"):
        models.BertBackbone.from_pretrained(f"{tmp_path}/preset")


# What google-research/bert's modeling.py, run_pretraining.py, run_squad.py and run_classifier.py create, in this size.
ORIGINAL = {
    "bert/embeddings/word_embeddings": [40, 16],
    "bert/embeddings/token_type_embeddings": [2, 16],
    "bert/embeddings/position_embeddings": [24, 16],
    "bert/embeddings/LayerNorm/gamma": [16],
    "bert/embeddings/LayerNorm/beta": [16],
    **{
        f"bert/encoder/layer_{i}/{name}": shape
        for i in range(2)
        for name, shape in {
            **{f"attention/self/{part}/kernel": [16, 16] for part in ("query", "key", "value")},
            **{f"attention/self/{part}/bias": [16] for part in ("query", "key", "value")},
            "attention/output/dense/kernel": [16, 16],
            "attention/output/dense/bias": [16],
            "attention/output/LayerNorm/gamma": [16],
            "attention/output/LayerNorm/beta": [16],
            "intermediate/dense/kernel": [16, 32],
            "intermediate/dense/bias": [32],
            "output/dense/kernel": [32, 16],
            "output/dense/bias": [16],
            "output/LayerNorm/gamma": [16],
            "output/LayerNorm/beta": [16],
        }.items()
    },
    "bert/pooler/dense/kernel": [16, 16],
    "bert/pooler/dense/bias": [16],
}
PRE_TRAINING = {
    "cls/predictions/transform/dense/kernel": [16, 16],
    "cls/predictions/transform/dense/bias": [16],
    "cls/predictions/transform/LayerNorm/gamma": [16],
    "cls/predictions/transform/LayerNorm/beta": [16],
    "cls/predictions/output_bias": [40],
    "cls/seq_relationship/output_weights": [2, 16],
    "cls/seq_relationship/output_bias": [2],
}


@pytest.mark.parametrize(
    ("cls", "head", "pooled"),
    [
        (models.BertForPreTraining, PRE_TRAINING, True),
        (models.BertForQuestionAnswering, {"cls/squad/output_weights": [2, 16], "cls/squad/output_bias": [2]}, False),
        (models.BertForSequenceClassification, {"output_weights": [2, 16], "output_bias": [2]}, True),
    ],
)
def test_the_original_scripts_find_every_variable_by_name_and_shape(cls, head, pooled, tmp_path):
    cls(config()).save_pretrained(tmp_path / "hf")
    rewriting.rewrite(tmp_path / "hf", f"{tmp_path}/tf1", to="tf1")
    reader = tf.train.load_checkpoint(f"{tmp_path}/tf1/bert_model.ckpt")
    wanted = {name: shape for name, shape in {**ORIGINAL, **head}.items() if pooled or "pooler" not in name}
    assert reader.get_variable_to_shape_map() == wanted
    assert set(reader.get_variable_to_dtype_map().values()) == {tf.float32}


def test_the_vocabulary_goes_along_and_its_hangul_is_left_alone(tf1, tmp_path):
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "사과", "##를"]
    pathlib.Path(tf1, "vocab.txt").write_text("\n".join(pieces) + "\n", encoding="utf-8")
    rewriting.rewrite(tf1, f"{tmp_path}/hf", to="hf")
    assert pathlib.Path(tmp_path, "hf", "vocab.txt").read_text(encoding="utf-8").split() == pieces
    settings = files.read_json(f"{tmp_path}/hf/tokenizer_config.json")
    assert settings["do_lower_case"] is False
    assert settings["strip_accents"] is False
    rewriting.rewrite(f"{tmp_path}/hf", f"{tmp_path}/again", to="hf")
    assert files.read_json(f"{tmp_path}/again/tokenizer_config.json") == settings


def test_a_vocabulary_larger_than_the_model_is_reported(tf1, tmp_path):
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *(f"w{i}" for i in range(50))]
    pathlib.Path(tf1, "vocab.txt").write_text("\n".join(pieces) + "\n", encoding="utf-8")
    with pytest.raises(InputError, match="55 pieces, but the model has vocab_size 40"):
        rewriting.rewrite(tf1, f"{tmp_path}/hf", to="hf")
    assert not (tmp_path / "hf").exists()


def test_what_tf1_cannot_say_is_refused_before_anything_is_written(tmp_path):
    models.BertBackbone(config(hidden_act="gelu")).save_pretrained(tmp_path / "hf")
    with pytest.raises(InputError, match="tanh form"):
        conversion.convert(tmp_path / "hf", f"{tmp_path}/tf1", to="tf1")
    assert not (tmp_path / "tf1").exists()


def test_a_folder_that_is_there_is_written_into_only_on_request(tf1, tmp_path):
    (tmp_path / "hf").mkdir()
    with pytest.raises(InputError, match="already there"):
        rewriting.rewrite(tf1, f"{tmp_path}/hf", to="hf")
    rewriting.rewrite(tf1, f"{tmp_path}/hf", to="hf", overwrite=True)
    assert models.BertForPreTraining.from_pretrained(tmp_path / "hf").config == config()


def test_a_file_that_breaks_off_leaves_nothing(tf1, tmp_path):
    data = pathlib.Path(tf1, "bert_model.ckpt.data-00000-of-00001")
    data.write_bytes(data.read_bytes()[:-3000])
    with pytest.raises(InputError, match="cut short"):
        rewriting.rewrite(tf1, f"{tmp_path}/hf", to="hf")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["tf1"]


def of_the_folder(path: str, *, architecture: str = "BertForPreTraining") -> compare.Model:
    parts = frozenset(["pooler", "masked_lm", "next_sentence"])
    return compare.Model(
        checkpoint_files.find_source(path), models.BertConfig.from_pretrained(path), parts, architecture
    )


def with_one_kernel_transposed(folder: str) -> None:
    prefix, name = f"{folder}/bert_model.ckpt", "bert/encoder/layer_1/attention/self/query/kernel"
    reader = tf.train.load_checkpoint(prefix)
    arrays = {name: reader.get_tensor(name) for name in reader.get_variable_to_shape_map()}
    checkpoint_files.write_tf1(prefix, arrays, {**arrays, name: arrays[name].T}.get)


def test_a_comparison_shows_a_wrong_conversion(tf1, tmp_path):
    """The check at the end must be able to fail: one kernel is written the wrong way round."""
    rewriting.rewrite(tf1, f"{tmp_path}/again", to="tf1")
    with_one_kernel_transposed(f"{tmp_path}/again")
    compared = compare.compare(of_the_folder(tf1), f"{tmp_path}/again", to="tf1")
    assert compared.largest_difference > 1e-3
    assert "sequence_output" in compared.too_different


def test_a_wrong_conversion_is_an_error_and_leaves_nothing(tf1, tmp_path, monkeypatch):
    def write_wrongly(source, folder, to, *args, **kwargs):
        written = write(source, folder, to, *args, **kwargs)
        with_one_kernel_transposed(folder)
        return written

    write = rewriting.write
    monkeypatch.setattr(rewriting, "write", write_wrongly)
    with pytest.raises(InputError, match=r"does not answer as the original's graph in NumPy does: .*sequence_output"):
        conversion.convert(tf1, f"{tmp_path}/again", to="tf1")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["tf1"]


def test_our_own_reading_is_held_against_the_sources_library(tf1, tmp_path, monkeypatch):
    """A source that we read wrongly would be written wrongly, and the two would agree."""
    read = matching.Contents.read

    def read_wrongly(contents, row, *, target="keras"):
        values = read(contents, row, target=target)
        return values + 1 if row.keras == "pooler/dense/bias" else values

    monkeypatch.setattr(matching.Contents, "read", read_wrongly)
    with pytest.raises(InputError, match="pooled_output"):
        conversion.convert(tf1, f"{tmp_path}/again", to="tf1")
    assert not (tmp_path / "again").exists()


def test_without_transformers_the_rest_is_compared_and_that_is_said(tf1, tmp_path, monkeypatch, capfd):
    monkeypatch.setattr(hf_forward, "is_installed", lambda: False)
    summary = conversion.convert(tf1, f"{tmp_path}/hf", to="hf")
    assert summary["compared_with"] is None
    assert summary["source_computed_by"] == "the original's graph in NumPy"
    assert summary["largest_difference"] <= 1e-4
    assert "transformers and torch are not installed: the output was not asked" in capfd.readouterr().err


@pytest.mark.skipif(not hf_forward.is_installed(), reason="transformers and torch are not installed")
def test_a_hugging_face_folder_with_every_head_answers_through_transformers(tmp_path):
    """Under a prefix, too, which transformers does not know by itself."""
    folder = tmp_path / "hf"
    arrays = {}
    for cls in (models.BertForQuestionAnswering, models.BertForSequenceClassification, models.BertForPreTraining):
        labels = {"num_labels": 5} if cls is models.BertForSequenceClassification else {}
        with_large_weights(cls(config(), **labels)).save_pretrained(folder)
        arrays |= load_file(folder / "model.safetensors")
    arrays = {f"module.{name}": array for name, array in arrays.items()}
    save_file(arrays, folder / "model.safetensors", metadata={"format": "pt"})
    summary = conversion.convert(folder, f"{tmp_path}/tf1", to="tf1")
    assert summary["parts"] == ["classifier", "masked_lm", "next_sentence", "pooler", "span"]
    assert summary["source_computed_by"].startswith("transformers ")
    assert summary["compared_with"] == "the original's graph in NumPy"
    assert summary["largest_difference"] <= 1e-4


@pytest.mark.skipif(not hf_forward.is_installed(), reason="transformers and torch are not installed")
def test_an_untied_decoder_is_compared_too(tmp_path):
    """In the file's own type, whatever the configuration says that transformers should compute in."""
    model = with_large_weights(models.BertForPreTraining(config(tie_word_embeddings=False, hidden_act="gelu")))
    model.save_pretrained(tmp_path / "hf")
    path = f"{tmp_path}/hf/config.json"
    files.write_json(path, {**files.read_json(path), "torch_dtype": "bfloat16", "dtype": "bfloat16"})
    summary = conversion.convert(f"{tmp_path}/hf", f"{tmp_path}/new", to="hf")
    assert summary["compared_with"] == summary["source_computed_by"]
    assert summary["largest_difference"] <= 1e-4
    assert_same_weights(models.BertForPreTraining.from_pretrained(f"{tmp_path}/new"), model)


def test_the_classes_asked_have_a_place_for_every_head_and_no_new_one(tf1):
    model = of_the_folder(tf1)
    for parts, architecture, expected in [
        ((), "BertModel", ["BertModel"]),
        (("pooler", "masked_lm", "next_sentence"), "BertForPreTraining", ["BertModel", "BertForPreTraining"]),
        (("masked_lm",), "BertForMaskedLM", ["BertModel", "BertForMaskedLM"]),
        (("pooler", "next_sentence"), "BertModel", ["BertModel", "BertForNextSentencePrediction"]),
        (("span", "pooler"), "BertForQuestionAnswering", ["BertModel", "BertForQuestionAnswering"]),
        (("classifier",), "BertForTokenClassification", ["BertModel", "BertForTokenClassification"]),
        (("classifier", "pooler"), "BertForSequenceClassification", ["BertModel", "BertForSequenceClassification"]),
    ]:
        assert model._replace(parts=frozenset(parts), architecture=architecture).classes() == expected


# --- Files as they are found ---


@pytest.mark.slow
def test_a_folder_whose_files_have_sizes_in_their_names_is_converted_whole(tf1, tmp_path, capsys):
    """Shaped as KR-BERT's: two sizes in one folder, so that each file is named, or one of each, found by itself."""
    folder = pathlib.Path(tf1)
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "사과", "##를"]
    (folder / "vocab_char_16424.txt").write_text("\n".join(pieces) + "\n", encoding="utf-8")
    (folder / "bert_config.json").rename(folder / "bert_config_char16424.json")
    rewriting.rewrite(tf1, f"{tmp_path}/found", to="hf")
    (folder / "vocab_subchar_12367.txt").write_text("\n".join(pieces[:5]) + "\n", encoding="utf-8")
    files.write_json(f"{tf1}/bert_config_subchar12367.json", {})
    with pytest.raises(InputError, match="expected one configuration, but found"):
        conversion.convert(tf1, f"{tmp_path}/named", to="hf", compare=False)
    given = {"config_file": f"{tf1}/bert_config_char16424.json", "vocab_file": f"{tf1}/vocab_char_16424.txt"}
    with pytest.raises(InputError, match=r"expected one vocabulary, but found .*--vocab_file"):
        conversion.convert(tf1, f"{tmp_path}/named", to="hf", compare=False, config_file=given["config_file"])
    conversion.convert(tf1, f"{tmp_path}/named", to="hf", **given)
    for name in ("found", "named"):
        assert pathlib.Path(tmp_path, name, "vocab.txt").read_text(encoding="utf-8").split() == pieces
        assert models.BertForPreTraining.from_pretrained(f"{tmp_path}/{name}").config == config()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["found", "named", "tf1"]


# --- Heads ---


@pytest.mark.parametrize("file_format", ["hf", "tf1"])
def test_a_head_that_the_weights_do_not_hold_is_not_named_in_a_config(file_format, tmp_path):
    model = with_large_weights(models.BertForQuestionAnswering(config()))
    if file_format == "hf":
        model.save_pretrained(tmp_path / "in")
    else:
        save_tf1(model, tmp_path / "in")
    for asked, lacking in (
        ("BertForSequenceClassification", "no pooler .* and no classification head"),
        ("BertForPreTraining", "no pooler .* and no masked-LM head .* and no next-sentence head"),
    ):
        with pytest.raises(InputError, match=f"the weights hold {lacking}.*--architecture names {asked}"):
            rewriting.rewrite(f"{tmp_path}/in", f"{tmp_path}/out", to="hf", architecture=asked)
    with pytest.raises(InputError, match="--architecture: expected one of"):
        rewriting.rewrite(f"{tmp_path}/in", f"{tmp_path}/out", to="hf", architecture="BertForDreaming")
    assert not (tmp_path / "out").exists()


def test_a_head_that_only_the_config_names_is_reported_with_the_way_out(tmp_path):
    models.BertForPreTraining(config()).save_pretrained(tmp_path / "in")
    path = f"{tmp_path}/in/config.json"
    files.write_json(path, files.read_json(path) | {"architectures": ["BertForQuestionAnswering"]})
    with pytest.raises(InputError, match=r"no span head .*config\.json: architectures names BertForQuestionAnswering"):
        rewriting.rewrite(f"{tmp_path}/in", f"{tmp_path}/out", to="hf")
    summary = rewriting.rewrite(f"{tmp_path}/in", f"{tmp_path}/out", to="hf", architecture="BertForPreTraining")
    assert summary["architecture"] == "BertForPreTraining"
    files.write_json(path, files.read_json(path) | {"architectures": ["BertForMultipleChoice"]})
    with pytest.raises(InputError, match=r"expected one of BertModel, .*Received: 'BertForMultipleChoice'"):
        rewriting.rewrite(f"{tmp_path}/in", f"{tmp_path}/out", to="tf1", overwrite=True)


@pytest.mark.parametrize(
    ("architecture", "parts", "kept"),
    [
        ("BertModel", [], ("bert.emb", "bert.enc")),
        pytest.param("BertForMaskedLM", ["masked_lm"], ("bert.e", "cls.predictions"), marks=pytest.mark.slow),
        pytest.param(
            "BertForNextSentencePrediction", ["next_sentence", "pooler"], ("bert.", "cls.seq"), marks=pytest.mark.slow
        ),
    ],
)
def test_what_has_no_pooler_or_no_other_head_is_converted_and_compared_without(architecture, parts, kept, tmp_path):
    with_large_weights(models.BertForPreTraining(config())).save_pretrained(tmp_path / "in")
    arrays = load_file(tmp_path / "in/model.safetensors")
    save_file({key: value for key, value in arrays.items() if key.startswith(kept)}, tmp_path / "in/model.safetensors")
    path = f"{tmp_path}/in/config.json"
    files.write_json(path, files.read_json(path) | {"architectures": [architecture]})
    summary = conversion.convert(f"{tmp_path}/in", f"{tmp_path}/out", to="hf")
    assert (summary["architecture"], summary["parts"]) == (architecture, parts)
    if summary["compared_with"] is not None:
        assert summary["largest_difference"] <= 1e-4


@pytest.mark.shared
def test_the_golden_checkpoint_with_its_three_heads(shared, tmp_path, capsys):
    golden = shared / "golden" / "tf1_tiny_bert"
    if not golden.is_dir():
        pytest.skip(f"no golden checkpoint at {golden}")
    summary = rewriting.rewrite(golden, f"{tmp_path}/hf", to="hf")
    assert summary["parts"] == ["masked_lm", "next_sentence", "pooler", "span"]
    inputs = {**batch(), **np.load(golden / "golden.npz")}
    for cls in (models.BertForPreTraining, models.BertForQuestionAnswering):
        ours, theirs = (numpy(cls.from_pretrained(path)(inputs)) for path in (f"{tmp_path}/hf", golden))
        assert all(np.array_equal(ours[name], theirs[name]) for name in ours)


def test_our_safetensors_file_is_one_for_the_library(tmp_path):
    arrays = {"b": np.arange(6, dtype=np.float32).reshape(2, 3).T, "a": np.float32(3) + np.zeros((), np.float32)}
    shapes = {name: array.shape for name, array in arrays.items()}
    checkpoint_files.write_safetensors(str(tmp_path / "x.safetensors"), shapes, arrays.get)
    loaded = load_file(tmp_path / "x.safetensors")
    assert loaded.keys() == arrays.keys()
    assert all(np.array_equal(loaded[name], arrays[name]) for name in arrays)
    with pytest.raises(ValueError, match="expected the shape"):
        checkpoint_files.write_safetensors(str(tmp_path / "y.safetensors"), {"a": (2,)}, lambda name: np.zeros(3))
    assert not (tmp_path / "y.safetensors").exists()
