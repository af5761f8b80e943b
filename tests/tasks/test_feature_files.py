"""Files of features: each format gives back what was written, equal features give equal bytes, other files stay."""

import io
import json

import numpy as np
import pytest
import tensorflow as tf

from kobert_tf2.errors import InputError
from kobert_tf2.tasks import feature_files
from kobert_tf2.tasks.feature_files import Entry

LAYERS = (-1, -3)


def entries(*, attentions: bool = False) -> list[Entry]:
    values = np.random.default_rng(0).normal(size=(2, 3, 2, 4)).astype(np.float32)
    weights = [np.full([2, 2, length, length], 1 / length, np.float32) for length in (3, 2)]
    return [
        Entry(["[CLS]", "나무", "[SEP]"], values[0], weights[0] if attentions else None),
        Entry(["[CLS]", "[SEP]"], values[1, :2], weights[1] if attentions else None),
    ]


def test_json_lines_have_the_layers_of_each_token_rounded_to_six_digits(tmp_path):
    path = str(tmp_path / "out.jsonl")
    feature_files.write(path, "jsonl", entries(attentions=True), layers=LAYERS)
    for number, (line, entry) in enumerate(zip(feature_files.read_jsonl(path), entries(), strict=True)):
        assert line["linex_index"] == number
        assert [feature["token"] for feature in line["features"]] == entry.tokens
        for feature, of_token in zip(line["features"], entry.values, strict=True):
            assert [layer["index"] for layer in feature["layers"]] == list(LAYERS)
            expected = [[round(value, 6) for value in layer.tolist()] for layer in of_token]
            assert [layer["values"] for layer in feature["layers"]] == expected
        assert np.shape(line["attentions"]) == (2, 2, len(entry.tokens), len(entry.tokens))


def test_an_archive_has_the_arrays_of_each_input_or_one_of_all_vectors(tmp_path):
    tokens, vectors = str(tmp_path / "tokens.npz"), str(tmp_path / "vectors.npz")
    feature_files.write(tokens, "npz", entries(), layers=LAYERS)
    with np.load(tokens) as archive:
        assert (archive["inputs"], archive["layers"].tolist()) == (2, list(LAYERS))
        for number, entry in enumerate(entries()):
            assert archive[f"tokens_{number}"].tolist() == entry.tokens
            np.testing.assert_array_equal(archive[f"values_{number}"], entry.values)
    pooled = [Entry(None, np.arange(4, dtype=np.float32) + n, None) for n in range(3)]
    feature_files.write(vectors, "npz", pooled, layers=LAYERS)
    with np.load(vectors) as archive:
        np.testing.assert_array_equal(archive["embeddings"], [entry.values for entry in pooled])


def test_records_have_the_values_with_their_shape(tmp_path):
    path = str(tmp_path / "out.tfrecord")
    feature_files.write(path, "tfrecord", entries(attentions=True), layers=LAYERS)
    for record, entry in zip(tf.data.TFRecordDataset(path), entries(attentions=True), strict=True):
        features = tf.train.Example.FromString(record.numpy()).features.feature
        for name, expected in (("values", entry.values), ("attentions", entry.attentions)):
            shape = features["shape" if name == "values" else f"{name}_shape"].int64_list.value
            np.testing.assert_array_equal(np.reshape(features[name].float_list.value, shape), expected)
        assert [token.decode() for token in features["tokens"].bytes_list.value] == entry.tokens


@pytest.mark.parametrize("file_format", feature_files.FORMATS)
@pytest.mark.parametrize("number", [0, 2])
def test_equal_features_give_equal_bytes_and_are_ours(tmp_path, file_format, number):
    for name in "ab":
        feature_files.write(str(tmp_path / name), file_format, entries()[:number], layers=LAYERS)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    if number:
        feature_files.check_output(str(tmp_path / "a"), overwrite=True)
        with pytest.raises(InputError):
            feature_files.check_output(str(tmp_path / "a"), overwrite=False)


def archive_of_others() -> bytes:
    file = io.BytesIO()
    np.savez(file, embeddings=np.zeros(3))
    return file.getvalue()


@pytest.mark.parametrize(
    "content", [b"my notes\n", json.dumps({"index": 0, "linex": 1}).encode(), archive_of_others()], ids=str
)
def test_a_file_of_others_is_kept_though_overwriting_is_asked_for(tmp_path, content):
    path = tmp_path / "notes"
    path.write_bytes(content)
    with pytest.raises(InputError):
        feature_files.check_output(str(path), overwrite=True)
    assert path.read_bytes() == content


def test_a_write_that_fails_leaves_nothing(tmp_path):
    def broken():
        yield entries()[0]
        raise RuntimeError("the model")

    with pytest.raises(RuntimeError, match="the model"):
        feature_files.write(str(tmp_path / "out"), "jsonl", broken(), layers=LAYERS)
    assert list(tmp_path.iterdir()) == []
