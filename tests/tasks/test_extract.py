"""extract_features: the original's file, and the other formats with the same numbers."""

import json

import numpy as np
import pytest
import tensorflow as tf
import warm_python
from paths import ROOT
from small_models import save_tf1, with_large_weights
from tokenizer_folders import PIECES, model, write_vocab

import kobert_tf2 as kb
from kobert_tf2.errors import InputError
from kobert_tf2.tasks import extract, feature_files
from kobert_tf2.tokenization.tokenizer import Tokenizer

LINES = ["사과나무를 학교에서", "사과 나무 ||| 학교에서", "", "사과 " * 9 + "||| " + "나무 " * 4, "CAFE ||| 는 ||| 를"]
# What extract_features.py of google-research/bert, run in TF1 mode, writes for these lines, with at most 10 tokens.
TOKENS_OF_THE_ORIGINAL = [
    "[CLS] 사과 ##나무 ##를 학교 ##에서 [SEP]",
    "[CLS] 사과 나무 [SEP] 학교 ##에서 [SEP]",
    "[CLS] [SEP]",
    "[CLS] 사과 사과 사과 사과 [SEP] 나무 나무 나무 [SEP]",
    "[CLS] CAFE [UNK] [UNK] [UNK] 는 [SEP] 를 [SEP]",
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("extract")
    with_large_weights(model()).save_pretrained(str(path / "m"), Tokenizer(PIECES, pre_tokenizer="none"))
    (path / "in.txt").write_text("\n".join(LINES) + "\n", "utf-8")
    return path


def run(folder, name="out", **changes) -> dict:
    values = {"layers": ["-1"], "max_seq_length": 10, "overwrite": True, **changes}
    return extract.extract(
        extract.ExtractionSettings(
            input_file=str(folder / "in.txt"),
            output_file=str(folder / name),
            init_checkpoint=str(folder / "m"),
            **values,
        )
    )


def test_the_originals_lines(folder):
    summary = run(folder)
    lines = list(feature_files.read_jsonl(str(folder / "out")))
    assert [line["linex_index"] for line in lines] == [0, 1, 2, 3, 4]
    assert [" ".join(token["token"] for token in line["features"]) for line in lines] == TOKENS_OF_THE_ORIGINAL
    assert all(list(line) == ["linex_index", "features"] for line in lines)
    token = lines[0]["features"][1]
    assert list(token) == ["token", "layers"]
    assert [list(layer) for layer in token["layers"]] == [["index", "values"]]
    assert token["layers"][0]["index"] == -1
    assert (folder / "out").read_bytes().isascii()  # As json.dumps of the original.
    assert {name: summary[name] for name in ("inputs", "pairs", "empty", "truncated")} == {
        "inputs": 5,
        "pairs": 3,
        "empty": 1,
        "truncated": 1,
    }


def values(lines: list[dict]) -> list[np.ndarray]:
    return [np.array([[layer["values"] for layer in token["layers"]] for token in line["features"]]) for line in lines]


def test_all_formats_hold_the_same_numbers(folder):
    run(folder, "a.jsonl", layers=["0", "-1"])
    run(folder, "a.npz", format="npz", layers=["0", "-1"])
    run(folder, "a.tfrecord", format="tfrecord", layers=["0", "-1"])
    expected = values(list(feature_files.read_jsonl(str(folder / "a.jsonl"))))
    arrays = np.load(folder / "a.npz")
    assert arrays["layers"].tolist() == [0, -1]
    records = [tf.train.Example.FromString(one.numpy()) for one in tf.data.TFRecordDataset(str(folder / "a.tfrecord"))]
    for i, wanted in enumerate(expected):
        assert arrays[f"values_{i}"].dtype == np.float32
        np.testing.assert_allclose(arrays[f"values_{i}"], wanted, atol=1e-6)
        assert " ".join(arrays[f"tokens_{i}"]) == TOKENS_OF_THE_ORIGINAL[i]
        feature = records[i].features.feature
        shape = list(feature["shape"].int64_list.value)
        np.testing.assert_array_equal(
            np.array(feature["values"].float_list.value, np.float32).reshape(shape), arrays[f"values_{i}"]
        )
        tokens = [token.decode() for token in feature["tokens"].bytes_list.value]
        assert " ".join(tokens) == TOKENS_OF_THE_ORIGINAL[i]


def test_a_pooled_vector_is_that_of_embed(folder):
    texts = [LINES[0], LINES[2]]
    (folder / "in.txt").write_text("\n".join(texts) + "\n", "utf-8")
    for pooling in ("mean", "cls", "pooled"):
        run(folder, "p.npz", format="npz", pooling=pooling)
        expected = kb.embed(texts, folder / "m", pooling=pooling)
        np.testing.assert_allclose(np.load(folder / "p.npz")["embeddings"], expected, atol=1e-5)
    run(folder, "p.jsonl", pooling="mean")
    lines = [json.loads(line) for line in (folder / "p.jsonl").read_text().splitlines()]
    np.testing.assert_allclose([line["values"] for line in lines], kb.embed(texts, folder / "m"), atol=1e-5)
    (folder / "in.txt").write_text("\n".join(LINES) + "\n", "utf-8")


def test_attention_weights_are_written_with_every_format(folder):
    run(folder, "att.npz", format="npz", output_attentions=True)
    arrays = np.load(folder / "att.npz")
    assert arrays["attentions_0"].shape == (1, 4, 7, 7)
    np.testing.assert_allclose(arrays["attentions_0"].sum(axis=-1), 1, atol=1e-5)
    run(folder, "att.jsonl", output_attentions=True)
    first = next(feature_files.read_jsonl(str(folder / "att.jsonl")))
    np.testing.assert_allclose(first["attentions"], arrays["attentions_0"], atol=1e-6)
    with pytest.raises(InputError, match="--output_attentions goes with --pooling=tokens"):
        run(folder, "att.npz", output_attentions=True, pooling="mean")


def test_the_same_bytes_again_whatever_the_batch(folder):
    run(folder, "one.npz", format="npz", batch_size=2)
    first = (folder / "one.npz").read_bytes()
    run(folder, "one.npz", format="npz", batch_size=2)
    assert (folder / "one.npz").read_bytes() == first
    run(folder, "two.npz", format="npz", batch_size=3)
    one, two = np.load(folder / "one.npz"), np.load(folder / "two.npz")
    for name in one.files:
        if name.startswith("values"):
            np.testing.assert_allclose(one[name], two[name], atol=1e-5)


@pytest.mark.parametrize("name", ["f.jsonl", "f.npz", "f.tfrecord"])
def test_only_a_file_of_features_is_replaced(folder, name):
    file_format = name.partition(".")[2]
    run(folder, name, format=file_format)
    with pytest.raises(InputError, match="already there; name another file, or replace it with --overwrite"):
        run(folder, name, format=file_format, overwrite=False)
    run(folder, name, format=file_format)
    (folder / name).write_bytes(b"a thesis")
    with pytest.raises(InputError, match="already there, and it is not a file of features"):
        run(folder, name, format=file_format)


def test_what_cannot_be_is_a_sentence(folder):
    for changes, message in [
        ({"layers": ["-2"]}, "layers: expected numbers from -1 to 0"),
        ({"layers": ["x"]}, "--layers: expected whole numbers with commas between, but got 'x'"),
        ({"layers": ["-1", "-1"]}, "--layers: expected layers, each once"),
        ({"max_seq_length": 2}, "--max_seq_length: expected room for a token, but 2 holds none"),
        ({"max_seq_length": 99}, "expected --max_seq_length of at most max_position_embeddings, 24"),
    ]:
        with pytest.raises(InputError, match=message):
            run(folder, "never", **changes)
    assert not (folder / "never").exists()


def test_the_tool_takes_an_old_command_line(tmp_path):
    write_vocab(tmp_path)
    save_tf1(model(), tmp_path / "tf1")
    (tmp_path / "in.txt").write_text("사과나무를\n", "utf-8")
    flags = [
        *("--input_file=in.txt", "--output_file=out.jsonl", "--vocab_file=vocab.txt"),
        *("--bert_config_file=tf1/bert_config.json", "--init_checkpoint=tf1/bert_model.ckpt", "--layers=-1"),
        *("--max_seq_length=16", "--batch_size=8", "--do_lower_case=False", "--use_tpu=False", "--num_tpu_cores=8"),
    ]
    result = warm_python.run([ROOT / "tools/extract_features.py", *flags], cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout.splitlines()[-1])["tokens"] == 5
    assert next(feature_files.read_jsonl(str(tmp_path / "out.jsonl")))["features"][2]["token"] == "##나무"
