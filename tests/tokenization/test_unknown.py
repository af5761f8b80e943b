"""The share of unknown pieces: counted over text alone, and a warning from 5 % on."""

import numpy as np
import pytest

from kobert_tf2.tokenization import unknown
from kobert_tf2.tokenization.tokenizer import Tokenizer

TOKENIZER = Tokenizer(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "사과", "##를", "."], pre_tokenizer="none")


@pytest.mark.parametrize(("count", "warns"), [(4, False), (5, True), (100, True), (0, False)])
def test_a_warning_from_five_per_cent_on(capsys, count, warns):
    assert unknown.report("a file", unknown=count, pieces=100) == count / 100
    said = capsys.readouterr().err
    assert f"a file: {count} of 100 pieces are unknown ({count:.2f}%)" in said
    assert ("warning" in said) == warns


def test_no_text_is_no_share(capsys):
    assert unknown.report("nothing", unknown=0, pieces=0) == 0.0


def test_every_way_to_count_gives_the_same_share(capsys):
    texts = ["사과를 나무.", "", "강 사과"]
    encodings = TOKENIZER.encode_batch(texts)
    share = unknown.report_encodings("texts", encodings, TOKENIZER.unk_id)
    assert share == round(2 / 6, 6)
    assert unknown.report_ids("texts", TOKENIZER.encode_ids_batch(texts), TOKENIZER.unk_id) == share
    rows = np.zeros((3, 9), np.int32)
    mask = np.zeros_like(rows)
    for row, encoding in enumerate(encodings):
        ids = [TOKENIZER.cls_id, *encoding.ids, TOKENIZER.sep_id]
        rows[row, : len(ids)], mask[row, : len(ids)] = ids, 1
    assert unknown.report_rows("texts", rows, mask, TOKENIZER) == share
