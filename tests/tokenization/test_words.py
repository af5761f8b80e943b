"""Text to words by keys: the keys of a text add up to it, and its words come from its keys alone."""

import pytest
from hypothesis import given, settings
from korean_text import texts

from kobert_tf2.errors import InputError
from kobert_tf2.tokenization.words import Segmenter, Word, length_of_key

PLAIN = Segmenter(pre_tokenizer="none")
MECAB = Segmenter()
SETTINGS = {
    "plain": PLAIN,
    "mecab": MECAB,
    "by morpheme": Segmenter(continuation="morpheme"),
    "tags": Segmenter(tags=True, decompose_compounds=True),
}


def words(segmenter: Segmenter, text: str) -> list[tuple]:
    return [(word.surface, word.start, word.end, word.begins, word.continues) for word in segmenter.words(text)]


@settings(deadline=None)
@pytest.mark.parametrize("name", SETTINGS)
@given(text=texts(24))
def test_the_keys_of_a_text_add_up_to_it(name, text):
    segmenter = SETTINGS[name]
    normalized = segmenter.normalize(text).text
    keys, begin = segmenter.keys(normalized)
    joined = "".join(key.partition("\t")[0] for key in keys)
    assert sum(map(length_of_key, keys)) == len(joined)
    assert (" " * (begin < 0) + normalized).startswith(joined)
    assert not normalized[len(joined) + begin :].strip(" ")
    for word in segmenter.words_of(segmenter.normalize(text)):
        assert normalized[word.start : word.end] == word.surface


@settings(deadline=None)
@pytest.mark.parametrize("name", SETTINGS)
@given(text=texts(24))
def test_several_texts_have_the_keys_that_each_has_alone(name, text):
    segmenter = SETTINGS[name]
    several = [segmenter.normalize(one).text for one in (text, "사과나무를", "", text)]
    lines, shifts = segmenter.lines_of_texts(several)
    for one, line, shift in zip(several, lines, shifts, strict=True):
        keys, begin = segmenter.keys(one)
        assert line.split("\n")[: len(keys)] == keys
        assert line.count("\n") == len(keys) + 1 or not keys
        assert begin == shift or not keys


def test_plain_words_are_cut_at_white_space_punctuation_and_ideographs():
    assert [surface for surface, *_ in words(PLAIN, " 가나,다  漢字라.")] == ["가나", ",", "다", "漢", "字", "라", "."]
    assert words(PLAIN, "가, 나") == [("가", 0, 1, True, False), (",", 1, 2, False, False), ("나", 3, 4, True, False)]


@pytest.mark.parametrize("char", ["$", "+", "<", "=", ">", "^", "`", "|", "~", "—", "「"])
def test_what_berts_punctuation_is(char):
    assert [surface for surface, *_ in words(PLAIN, f"가{char}나")] == ["가", char, "나"]


@pytest.mark.parametrize("char", ["₩", "°", "ㄱ", "あ", "½"])
def test_what_is_none(char):
    assert [surface for surface, *_ in words(PLAIN, f"가{char}나")] == [f"가{char}나"]


def test_what_continues_an_eojeol_and_what_only_a_morpheme():
    by_eojeol, by_morpheme = words(MECAB, "학교에서 배를"), words(SETTINGS["by morpheme"], "학교에서 배를")
    assert [(surface, begins, continues) for surface, _, _, begins, continues in by_eojeol] == [
        *(("학교", True, False), ("에서", False, True), ("배", True, False), ("를", False, True))
    ]
    assert [continues for *_, continues in by_morpheme] == [False] * 4


def test_a_compound_taken_apart_has_the_tags_of_its_parts():
    found = SETTINGS["tags"].words("사과나무를")
    assert [(word.surface, word.tag, word.begins) for word in found] == [
        *(("사과", "NNG", True), ("나무", "NNG", False), ("를", "JKO", False))
    ]
    # Parts of a morpheme continue it, whatever carries ## elsewhere.
    parts = Segmenter(continuation="morpheme", decompose_compounds=True).words("사과나무를")
    assert [word.continues for word in parts] == [False, True, False]


def test_a_key_of_spaces_alone_has_no_word():
    assert MECAB.words_of_key("  ") == []
    assert MECAB.words_of_key(" 배") == [Word("배", "", 1, 2, True, False)]
    assert length_of_key(" 배\tNNG,*") == 2


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"pre_tokenizer": "space"}, "pre_tokenizer: expected one of mecab, none. Received: 'space'"),
        ({"continuation": "word"}, "continuation: expected one of eojeol, morpheme. Received: 'word'"),
        ({"pre_tokenizer": "none", "tags": True}, "tags and decompose_compounds need morphemes"),
    ],
)
def test_settings_that_cannot_be_are_reported(settings, told):
    with pytest.raises(InputError, match=told):
        Segmenter(**settings)
