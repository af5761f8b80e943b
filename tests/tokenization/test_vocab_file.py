"""`vocab.txt`: what is read over, what is refused with its line, and that it survives writing."""

import unicodedata

import pytest

from kobert_tf2.errors import InputError
from kobert_tf2.tokenization import vocab_file
from kobert_tf2.tokenization.tokenizer import Tokenizer


def write(path, content: bytes) -> str:
    path.write_bytes(content)
    return str(path)


@pytest.mark.parametrize("content", [b"a\nb\n", b"a\r\nb\r\n", b"\xef\xbb\xbfa\nb", b"a\nb\n\n\n"])
def test_line_ends_a_bom_and_blank_lines_at_the_end_are_read_over(tmp_path, content):
    assert vocab_file.load(write(tmp_path / "vocab.txt", content)) == {"a": 0, "b": 1}


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"a\n\nb\n", r"vocab.txt, line 2: .* empty"),
        (b"a\nb\nc\na\n", r"vocab.txt, line 4: 'a' is there already, at line 1"),
        (b"a\n\xff\n", r"vocab.txt, line 2: expected UTF-8"),
        (b"", r"vocab.txt: .* empty"),
    ],
)
def test_what_is_wrong_is_reported_with_its_line(tmp_path, content, told):
    with pytest.raises(InputError, match=told):
        vocab_file.load(write(tmp_path / "vocab.txt", content))


def test_a_vocabulary_survives_writing(tmp_path):
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "사과", "##\u2028", "\u3000", "a b"]
    vocab_file.save(str(tmp_path / "vocab.txt"), pieces)
    assert list(vocab_file.load(str(tmp_path / "vocab.txt"))) == pieces


SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


@pytest.mark.parametrize(
    ("pieces", "told"),
    [
        (["\u2581한국", "\u2581나라", "어"], r"put the .model file beside it"),
        ([unicodedata.normalize("NFD", piece) for piece in ("한국", "##나라", "어")], "conjoining jamo"),
    ],
)
def test_a_vocabulary_that_no_text_can_spell_is_refused(pieces, told):
    with pytest.raises(InputError, match=told):
        Tokenizer([*SPECIAL, *pieces])


@pytest.mark.parametrize("pieces", [["한국", "##나라"], ["\u2581", "##나"], ["the", "##s", "\u1100", *"abcdefgh"]])
def test_other_vocabularies_are_not(pieces):
    Tokenizer([*SPECIAL, *pieces])


@pytest.mark.parametrize(
    ("pieces", "told"),
    [(["한국"], "no piece carries ##"), (["the", "##s", "\u1100", *"abcdefgh"], "every Korean word is unknown")],
)
def test_what_speaks_against_a_vocabulary_is_a_warning(tmp_path, pieces, told):
    vocab_file.save(str(tmp_path / "vocab.txt"), [*SPECIAL, *pieces])
    with pytest.warns(UserWarning, match=told):
        Tokenizer.from_pretrained(tmp_path)


def test_a_mark_of_another_tokenizer_is_doubted_above_a_twentieth_of_the_pieces():
    plain = [f"w{i}" for i in range(17)]
    assert vocab_file.doubts([*plain, "##x", "~~a", "a_"]) == []
    assert vocab_file.doubts([*plain, "##x", "~~", "_"]) == []  # a mark alone is a piece like any other
    (doubt,) = vocab_file.doubts([*plain[1:], "##x", "~~a", "~~b", "a_"])
    assert doubt.startswith("10% of its pieces carry ~~, the mark of HanBERT's")
    (doubt,) = vocab_file.doubts([*plain[1:], "##x", "a_", "b_", "~~a"])
    assert doubt.startswith("10% of its pieces carry _, the mark of KorBERT's")


def test_a_sentencepiece_model_has_more_pieces_with_its_mark_than_with_ours():
    assert not vocab_file.is_of_sentencepiece(["\u2581ab", "##ab"])
    assert vocab_file.is_of_sentencepiece(["\u2581ab", "\u2581cd", "##ab"])
    assert not vocab_file.is_of_sentencepiece(["\u2581a", "\u2581b"])  # too short to tell
    assert not vocab_file.is_of_sentencepiece(["ab"])


@pytest.mark.parametrize("syllable", ["가", "힣"])
def test_one_syllable_shows_that_hangul_is_not_spelt_in_jamo(syllable):
    assert vocab_file.doubts(["##a", "\u1100", "\u11ff", syllable]) == []
    for jamo in ("\u1100", "\u11ff"):
        assert vocab_file.doubts(["##a", jamo]) == [
            "Hangul is spelt in conjoining jamo (NFD) alone, so every Korean word is unknown"
        ]
