"""The page of pre-training data: instances as text, read without TensorFlow."""

import numpy as np
import pytest

from kobert_tf2.pretraining_data import report, tfrecord
from kobert_tf2.tokenization.tokenizer import Tokenizer

PIECES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "배", "##를", "탔다", "해미", "<b>"]
TABLE = {
    "input_ids": np.array([[2, 8, 4, 3, 5, 9, 3, 0]]),
    "input_mask": np.array([[1, 1, 1, 1, 1, 1, 1, 0]]),
    "segment_ids": np.array([[0, 0, 0, 0, 1, 1, 1, 0]]),
    "masked_lm_positions": np.array([[2, 5, 0]]),
    "masked_lm_ids": np.array([[7, 6, 0]]),
    "masked_lm_weights": np.array([[1.0, 1.0, 0.0]], np.float32),
    "next_sentence_labels": np.array([[1]]),
}


def test_masked_pieces_stand_beside_what_was_there(tmp_path):
    shard, page = str(tmp_path / "r.tfrecord"), tmp_path / "report_r.html"
    tfrecord.write(shard, TABLE)
    report.write(str(page), shard, Tokenizer(PIECES, pre_tokenizer="none"), {"instances": 1, "shards": []})
    html = page.read_text("utf-8")
    assert '<span class="m">[MASK] <small>(탔다)</small></span>' in html
    assert '<span class="m">&lt;b&gt; <small>(##를)</small></span>' in html
    assert "the second part is from elsewhere" in html
    assert html.count("[PAD]") == 0
    assert "<td>instances</td><td class=n>1</td>" in html


def test_no_pattern_of_records_matches_the_page():
    assert report.path_of("a/corpus.tfrecord") == "a/report_corpus.html"
    assert report.path_of("a/corpus-00000-of-00016") == "a/report_corpus.html"
    assert report.path_of("corpus") == "report_corpus.html"


@pytest.mark.parametrize("numbers", [[0, 1, 127, 128, 300, 2**31 - 1], [-1, -(2**40)]])
def test_numbers_are_read_as_they_were_written(numbers):
    (example,) = tfrecord.serialize({"a": np.array([numbers]), "b": np.array([[0.5, -2.0]], np.float32)})
    table = report._decode(example)
    assert table["a"].tolist() == numbers
    assert table["b"].tolist() == [0.5, -2.0]
