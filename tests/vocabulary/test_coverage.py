"""What is counted of a vocabulary on text."""

import pytest

from kobert_tf2.tokenization.tokenizer import Tokenizer
from kobert_tf2.vocabulary import coverage

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


def test_coverage_counts():
    report = coverage.measure(Tokenizer([*SPECIAL, "사과", "##나무", "##를"]), ["사과나무를 심었다", ""])
    assert report["lines"] == 2
    assert report["eojeols"] == 2
    assert report["words"] == 5
    assert report["pieces"] == 6
    assert report["unk_pieces"] == 3
    assert report["unk_rate"] == 0.5
    assert report["whole_word_rate"] == pytest.approx(1 / 6, abs=1e-6)
    assert [text for text, _ in report["frequent_unk"]] == ["심", "었", "다"]
