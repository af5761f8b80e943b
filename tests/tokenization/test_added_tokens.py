"""Strings that are one piece wherever they stand: which are found, where, and what stands around them."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kobert_tf2.errors import InputError
from kobert_tf2.tokenization.added_tokens import AddedToken, AddedTokens, Place, added_token
from kobert_tf2.tokenization.normalization import Normalizer
from kobert_tf2.tokenization.tokenizer import Tokenizer


def finder(*tokens, lower_case: bool = False) -> AddedTokens:
    return AddedTokens([added_token(token) for token in tokens], Normalizer(lower_case=lower_case, strip_accents=False))


def found(added: AddedTokens, text: str) -> list[tuple]:
    return [tuple(place) for place in added.find(text)]


def test_a_string_or_its_fields_are_a_token():
    assert added_token("가") == AddedToken("가")
    assert added_token({"content": "가", "special": True}) == AddedToken("가", special=True)
    assert added_token(AddedToken("가")).switches() == {
        **dict.fromkeys(("single_word", "lstrip", "rstrip", "special"), False),
        "normalized": True,
    }
    with pytest.raises(InputError, match="added_tokens: expected a string with characters, but one is empty"):
        added_token("")


@given(st.text("가나[]EM ", max_size=30))
def test_what_lies_between_and_the_tokens_are_the_text(text):
    added = finder("[EM]", {"content": "나가", "normalized": False})
    places = [(place.start, place.end) for place in added.find(text)]
    assert all(start < end <= later for (start, end), (later, _) in itertools.pairwise(places))
    for content, start, end in found(added, text):
        assert text[start:end] == content
    rest = text
    for start, end in reversed(places):
        rest = f"{rest[:start]}|{rest[end:]}"
    assert all("[EM]" not in part and "나가" not in part for part in rest.split("|"))


def test_the_longest_of_those_that_begin_at_a_place_is_taken():
    assert found(finder("나루", "나루터"), "나루터와 나루") == [("나루터", 0, 3), ("나루", 5, 7)]


def test_a_single_word_is_none_within_a_word():
    added = finder({"content": "EM", "single_word": True})
    assert found(added, "EM EMU가EM, EM!") == [("EM", 0, 2), ("EM", 11, 13)]


def test_a_normalized_token_is_found_in_any_case_and_spelling_and_the_others_as_they_stand():
    assert found(finder("Naver", lower_case=True), "NAVER naver") == [("Naver", 0, 5), ("Naver", 6, 11)]
    as_is = finder({"content": "Naver", "normalized": False}, lower_case=True)
    assert found(as_is, "NAVER Naver") == [("Naver", 6, 11)]
    assert found(finder("\uac15"), "\u1100\u1161\u11bc") == [("\uac15", 0, 3)]


def test_a_token_is_not_found_across_one_that_is_found_as_it_stands():
    added = finder({"content": "[A]", "normalized": False}, "가나")
    assert found(added, "가[A]나 가나") == [("[A]", 1, 4), ("가나", 6, 8)]


def test_a_part_of_what_was_one_character_is_no_token():
    assert found(finder("i", lower_case=True), "\u0130 i") == [("i", 2, 3)]


def test_no_token_is_no_place():
    assert finder().find("가") == []
    assert finder("가").find("") == []
    assert Place("가", 0, 1).content == "가"


def test_what_follows_a_token_without_a_space_begins_no_eojeol():
    vocab = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "[EM]", "가", "나", "##나"]
    tokenizer = Tokenizer(vocab, pre_tokenizer="none", added_tokens=["[EM]"])
    text = "가[EM]나 [EM] 나"
    encodings = tokenizer.encode_texts([text, "가 나"])
    alone = encodings.alone(0)
    assert [text[a:b] for a, b in zip(alone.starts, alone.ends, strict=True)] == ["가", "[EM]", "나", "[EM]", "나"]
    assert alone.begins.tolist() == [2, 1, 1, 2, 2]
    assert encodings.alone(1).starts.tolist() == [0, 2]
    assert [(word.surface, word.begins) for word in tokenizer.pre_tokenize(text)] == [
        *(("가", True), ("[EM]", False), ("나", False), ("[EM]", True), ("나", True))
    ]
