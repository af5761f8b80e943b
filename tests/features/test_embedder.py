"""Texts as vectors: pooling, windows of long texts, order; attention weights as transformers computes them."""

import numpy as np
import pytest
import tensorflow as tf
from small_models import config, with_large_weights

import kobert_tf2 as kb
from kobert_tf2.bert import models
from kobert_tf2.errors import InputError
from kobert_tf2.features import embedder, text_windows
from kobert_tf2.tokenization.tokenizer import Tokenizer

PIECES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"가나다라마바사아자차"]
TEXTS = ["가 나", "", "다 라 마 바 사", "뷁", "가"]
LONG = "가 나 다 라 마 바 사 아 자 차 " * 4


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = str(tmp_path_factory.mktemp("model") / "m")
    model = with_large_weights(models.BertBackbone(config(vocab_size=len(PIECES))))
    model.save_pretrained(path, Tokenizer(PIECES, pre_tokenizer="none"))
    return path


@pytest.fixture(scope="module")
def loaded(folder):
    return kb.Embedder.load(folder)


def by_hand(loaded, ids: list[int]) -> dict[str, np.ndarray]:
    """One row through the model itself, without padding."""
    row = np.array([[2, *ids, 3]], np.int32)
    inputs = {"input_ids": row, "input_mask": np.ones_like(row), "segment_ids": np.zeros_like(row)}
    outputs = loaded.model(inputs, training=False)
    states = np.asarray(outputs["hidden_states"][-1])[0]
    return {"mean": states.mean(axis=0), "cls": states[0], "pooled": np.asarray(outputs["pooled_output"])[0]}


@pytest.mark.parametrize("pooling", embedder.POOLINGS)
def test_a_vector_for_each_text_in_order(loaded, pooling):
    vectors = loaded.embed(TEXTS, pooling=pooling, batch_size=2)
    assert vectors.dtype == np.float32
    for text, vector in zip(TEXTS, vectors, strict=True):
        expected = by_hand(loaded, loaded.tokenizer.encode_ids(text))[pooling]
        np.testing.assert_allclose(vector, expected, atol=2e-5)


def test_no_texts_are_no_vectors(loaded):
    assert loaded.embed([]).shape == (0, 16)
    assert loaded.embed(iter(["가"])).shape == (1, 16)


def test_a_long_text_is_read_in_windows_or_cut_with_a_count(loaded, capsys):
    ids = loaded.tokenizer.encode_ids(LONG)
    cut = loaded.embed([LONG, "가"], long_texts="truncate")
    assert "1 of 2 texts are longer than 24 tokens and were cut" in capsys.readouterr().err
    np.testing.assert_allclose(cut[0], by_hand(loaded, ids[:22])["mean"], atol=2e-5)
    first, second = loaded.embed([LONG, "가"])
    np.testing.assert_allclose(second, cut[1], atol=2e-5)
    assert np.abs(first - cut[0]).max() > 1e-3  # What follows the first 22 tokens matters.
    windows = [by_hand(loaded, ids[begin : begin + 22])["cls"] for begin in (0, 11, 22)]
    np.testing.assert_allclose(loaded.embed([LONG], pooling="cls")[0], np.mean(windows, axis=0), atol=2e-5)


def test_the_mean_of_windows_counts_each_token_once(loaded):
    encoding = loaded.tokenizer.encode(LONG)
    windows = text_windows.windows_of(0, encoding, 22, "windows")
    counted = sum(int(window.counts[1:-1].sum()) for window in windows)
    assert counted == len(encoding)


def test_vectors_of_length_one(loaded):
    lengths = np.linalg.norm(loaded.embed(TEXTS, normalize=True), axis=1)
    np.testing.assert_allclose(lengths, 1, atol=1e-6)
    assert embedder.unit_vectors(np.zeros((1, 3))).tolist() == [[0, 0, 0]]


def test_one_call_for_a_folder_and_a_model_trained_on_is_loaded_again(folder, loaded, tmp_path):
    np.testing.assert_array_equal(kb.embed(TEXTS, folder), loaded.embed(TEXTS))
    np.testing.assert_array_equal(kb.embed(TEXTS, loaded), loaded.embed(TEXTS))
    first = with_large_weights(models.BertBackbone(config(vocab_size=len(PIECES))))
    first.save_pretrained(str(tmp_path / "m"), loaded.tokenizer)
    before = kb.embed(["가"], tmp_path / "m")
    first.embeddings.norm.beta.assign_add(tf.ones([16]))
    first.save_pretrained(str(tmp_path / "m"), loaded.tokenizer)
    assert np.abs(kb.embed(["가"], tmp_path / "m") - before).max() > 1e-3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"pooling": "max"}, "pooling: expected one of mean, cls, pooled, but got 'max'"),
        ({"long_texts": "drop"}, "long_texts: expected one of windows, truncate"),
        ({"max_seq_length": 25}, "max_seq_length: expected a whole number from 3 to 24, but got 25"),
        ({"batch_size": 0}, "batch_size: expected a whole number of at least 1"),
    ],
)
def test_a_wrong_argument_is_named(loaded, arguments, message):
    with pytest.raises(InputError, match=message):
        loaded.embed(["가"], **arguments)
    with pytest.raises(TypeError, match="texts: expected strings"):
        loaded.embed("가")
    with pytest.raises(TypeError, match=r"texts\[1\]: expected a string"):
        loaded.embed(["가", 3])


def test_a_pooler_that_the_weights_do_not_hold_is_refused(tmp_path, capsys):
    reader = models.BertForQuestionAnswering(config(vocab_size=len(PIECES)))
    reader.save_pretrained(str(tmp_path / "reader"), Tokenizer(PIECES, pre_tokenizer="none"))
    found = kb.Embedder.load(tmp_path / "reader")
    assert "starts new" not in capsys.readouterr().err
    assert found.embed(["가"]).shape == (1, 16)
    with pytest.raises(InputError, match="pooling='pooled' needs a pooler, but the weights hold none"):
        found.embed(["가"], pooling="pooled")


def test_layers_are_counted_as_python_counts(loaded):
    rows = [loaded.row([5, 6]), loaded.row([7], [8, 9])]
    both = list(loaded.run(rows, layers=(0, -1)))
    assert [output.states.shape for output in both] == [(2, 4, 16), (2, 6, 16)]
    (last,) = (output.states for output in loaded.run(rows[:1], layers=(1,)))
    np.testing.assert_allclose(both[0].states[1], last[0], atol=1e-6)
    with pytest.raises(InputError, match=r"layers: expected numbers from -2 to 1 \(-1 is the last\), but got 2"):
        list(loaded.run(rows, layers=(2,)))


def test_attentions_are_of_the_tokens_alone_and_sum_to_one(folder, loaded):
    model = embedder.load_backbone(folder, attentions=True)
    found = list(kb.Embedder(model, loaded.tokenizer).run([loaded.row([5, 6]), loaded.row([7])], attentions=True))
    assert [output.attentions.shape for output in found] == [(1, 4, 4, 4), (1, 4, 3, 3)]
    for output in found:
        np.testing.assert_allclose(output.attentions.sum(axis=-1), 1, atol=1e-5)


def test_the_precision_asked_for_is_the_one_computed_in(folder, loaded):
    half = kb.Embedder.load(folder, precision="bfloat16")
    assert half.model.embeddings.compute_dtype == "bfloat16"
    vectors = half.embed(TEXTS)
    assert vectors.dtype == np.float32
    difference = np.abs(vectors - loaded.embed(TEXTS)).max()
    assert 0 < difference < 0.5
    assert np.abs(kb.embed(TEXTS, folder, precision="bfloat16") - vectors).max() == 0
    with pytest.raises(InputError, match=r"precision: expected float32 or bfloat16\. Received: .float16"):
        kb.Embedder.load(folder, precision="float16")
