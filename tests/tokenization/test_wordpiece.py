"""One word to pieces: greedily, the longest first, whatever was cut before."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kobert_tf2.tokenization import wordpiece
from kobert_tf2.tokenization.wordpiece import MAX_WORD_LENGTH, WordPiece

UNKNOWN = "[UNK]"


def made(*pieces: str, **settings) -> WordPiece:
    return WordPiece({piece: i for i, piece in enumerate([UNKNOWN, *pieces])}, unk_token=UNKNOWN, **settings)


def greedy(pieces: list[str], word: str, *, continues: bool) -> list[str] | None:
    """BERT's rule, as it is told: the longest piece that fits, then the longest of what is left."""
    found = []
    while word:
        prefix = "##" if found or continues else ""
        known = (end for end in range(len(word), 0, -1) if prefix + word[:end] in pieces)
        end = next((end for end in known if prefix or not word[:end].startswith("##")), None)
        if end is None:
            return None
        found.append(prefix + word[:end])
        word = word[end:]
    return found


PIECES = st.lists(
    st.text("가나다", min_size=1, max_size=4).flatmap(lambda text: st.sampled_from([text, f"##{text}"])), unique=True
)


@given(PIECES, st.lists(st.text("가나다라", min_size=1, max_size=9), min_size=1, max_size=6), st.booleans())
def test_every_word_is_cut_by_berts_rule(pieces, words, continues):
    cutter = made(*pieces)
    for word in words:  # Ends of words are remembered from one to the next.
        expected = greedy(pieces, word, continues=continues)
        found = cutter.cut(word, continues=continues)
        assert [piece.piece for piece in found] == (expected or [UNKNOWN])
        assert "".join(word[piece.start : piece.end] for piece in found) == word


def test_remembered_ends_may_be_forgotten_at_any_time(monkeypatch):
    monkeypatch.setattr(wordpiece, "_RESTS", 1)
    cutter = made("가", "##나", "##다")
    for word in ("가나다", "가다나", "가나다"):
        assert [piece.piece for piece in cutter.cut(word)] == ["가", *(f"##{char}" for char in word[1:])]
    assert len(cutter._rests) == 1


def test_a_word_of_more_than_a_hundred_characters_is_unknown():
    cutter = made("가", "##가")
    assert len(cutter.cut("가" * MAX_WORD_LENGTH)) == MAX_WORD_LENGTH
    long = "가" * (MAX_WORD_LENGTH + 1)
    assert [(piece.piece, piece.end) for piece in cutter.cut(long)] == [(UNKNOWN, MAX_WORD_LENGTH + 1)]


@pytest.mark.parametrize("special", ["[SEP]", UNKNOWN])
def test_a_word_cannot_spell_a_special_token_or_a_continuation(special):
    cutter = made("[SEP]", "##가", "[", "##S", "##E", "##P", "##]", "##U", "##N", "##K", special_tokens=["[SEP]"])
    assert [piece.piece for piece in cutter.cut(special)] == ["[", *(f"##{char}" for char in special[1:])]
    assert [piece.piece for piece in cutter.cut("##가")] == [UNKNOWN]


def test_a_tagged_piece_goes_before_the_same_without_its_tag_and_before_a_longer_one_without():
    cutter = made("사과", "사과/NNG", "사", "##나무", "##나무/NNG", "##과/NNG")
    assert [piece.piece for piece in cutter.cut("사과", tag="NNG")] == ["사과/NNG"]
    assert [piece.piece for piece in cutter.cut("사과", tag="VV")] == ["사과"]
    assert [piece.piece for piece in cutter.cut("사과나무", tag="NNG")] == ["사과/NNG", "##나무/NNG"]
    # The longest with the tag, be there a longer one without.
    assert [piece.piece for piece in made("가나", "가/NNG", "##나/NNG").cut("가나", tag="NNG")] == [
        "가/NNG",
        "##나/NNG",
    ]
    # What was remembered for one tag is not used for another.
    assert [piece.piece for piece in cutter.cut("사과나무", tag="VV")] == ["사과", "##나무"]


def test_nothing_longer_than_the_longest_piece_of_a_first_character_is_tried():
    assert wordpiece._longest_by_first({"가": 0, "가나다": 1, "나": 2}) == {"가": 3, "나": 1}
    assert wordpiece._longest("가나", "", {"가": 7}, {"가": 1}) == (7, 1)
    assert wordpiece._longest("다", "", {"가": 7}, {"가": 1}) == (-1, 0)
