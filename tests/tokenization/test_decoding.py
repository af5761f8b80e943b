"""Pieces back to text."""

import pytest
from korean_text import SPECIAL

from kobert_tf2.tokenization import decoding
from kobert_tf2.tokenization.tokenizer import Tokenizer

SENTENCE = "사과나무를 학교에서 심었다 . 나무"
PIECES = "사과 나무 ##나무 ##를 를 학교 ##에서 에서 심 ##었 ##다 었 다 . ##.".split()


def test_pieces_by_eojeol_come_back_with_the_spaces_of_the_text():
    tokenizer = Tokenizer([*SPECIAL, *PIECES])
    assert tokenizer.decode(tokenizer.encode_ids(SENTENCE)) == SENTENCE


def test_pieces_by_morpheme_lose_where_an_eojeol_begins():
    tokenizer = Tokenizer([*SPECIAL, *PIECES], continuation="morpheme")
    assert tokenizer.decode(tokenizer.encode_ids("학교에서")) == "학교 에서"


def test_tags_are_taken_off():
    assert (
        decoding.morpheme_text(["사과나무/NNG", "##를/JKO", "심/VV+EP", "A/B", "//SY"], tags=True)
        == "사과나무를 심 A /"
    )
    assert decoding.morpheme_text(["사과나무/NNG", "##를/JKO"]) == "사과나무/NNG를/JKO"


@pytest.mark.parametrize(
    ("pieces", "text"),
    [
        (["사과", "##나무", "."], "사과나무."),
        (["가", ",", "나", "?", "다", "!"], "가, 나? 다!"),
        (["##를", "##가"], "##를가"),
        (["(", "가", ")"], "( 가 )"),
        ([], ""),
    ],
)
def test_plain_pieces(pieces, text):
    assert decoding.plain_text(pieces) == text


def test_sentencepiece_carries_its_spaces():
    assert decoding.sentencepiece_text(["▁사과", "나무", "▁는"]) == "사과나무 는"


def test_clean_up_is_that_of_transformers():
    assert decoding.clean_up("가 . 나 , it 's ' 다") == "가. 나, it's'다"
