"""The page of a vocabulary."""

from kobert_tf2.tokenization.tokenizer import Tokenizer
from kobert_tf2.vocabulary import coverage, report

PIECES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "배", "##를", "탔다", "해미", "##는", "[unused1]"]


def test_it_shows_what_was_given_and_how_lines_are_cut(tmp_path):
    tokenizer = Tokenizer(PIECES, pre_tokenizer="none")
    lines = ["해미는 배를 탔다", "<script>alert(1)</script> 배를", ""]
    found = {
        **{"vocab_size": len(PIECES), "vocab_size_asked": 20, "corpus_words": 9, "distinct_words": 5},
        **{"min_frequency": 2, "held_out": coverage.measure(tokenizer, lines)},
    }
    report.write(str(tmp_path / "report.html"), tokenizer, found, lines)
    html = (tmp_path / "report.html").read_text("utf-8")
    assert "<script" not in html
    assert "<span>해미</span> <span>##는</span> <span>배</span>" in html
    assert "class=u" in html, "an unknown piece is framed, and is the text itself"
    assert "9 pieces fewer" in html
    assert "<title>2: 2</title>" in html, "탔다 and 해미 have two characters; special and unused pieces do not count"


def test_nothing_measured_is_no_table_of_unknown_text(tmp_path):
    tokenizer = Tokenizer(PIECES, pre_tokenizer="none")
    found = {
        **{"vocab_size": len(PIECES), "vocab_size_asked": len(PIECES), "corpus_words": 9, "distinct_words": 5},
        **{"min_frequency": 2, "held_out": coverage.measure(tokenizer, [])},
    }
    report.write(str(tmp_path / "report.html"), tokenizer, found, [])
    html = (tmp_path / "report.html").read_text("utf-8")
    assert "Unknown" not in html
    assert "fewer than" not in html
