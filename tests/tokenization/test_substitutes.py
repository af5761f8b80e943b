"""The table of substitutes, by asking the dictionary again; and what they change: the analysis, never the surface."""

import unicodedata
from collections.abc import Iterable, Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from korean_text import SPECIAL, VOCAB, texts

from kobert_tf2.tokenization import mecab
from kobert_tf2.tokenization.mecab import MorphemeAnalyser
from kobert_tf2.tokenization.normalization import Normalizer
from kobert_tf2.tokenization.substitutes import SUBSTITUTES, readable
from kobert_tf2.tokenization.tokenizer import Tokenizer

# Between words, at their ends, twice in a row, before particles; between numbers and Latin letters. All made up.
FRAMES = (
    "서울{}부산{}대구를 방문했다",
    "정치{}경제를 배운다",
    "시{}군{}구는 넓다",
    "서울{} 부산",
    "서울 {}부산",
    "학교에서 {} 집까지",
    "서울{}{}부산",
    "그는 {}사랑{}을 불렀다",
    "그가 쓴 소나무{}는 책이다",
    "기차로 대전{}에서 왔다",
    "3월{}에 만나자",
    "1945년{}1950년",
    "10{}20",
    "12{}이 넘는다",
    "KBS{}MBC",
    "KBS{}가 말했다",
    "日{}韓",
)
# Letters that people use as punctuation, and digits and letters of Unicode's symbols.
LETTERS = "ㆍᆞᆢㅡㅇㆁㅣㅁㅤǀǁǂǃ・ーꞏᐧ"
HARMLESS_WHERE_USED = {
    # Old Hangul in Hanyang's private use, of which the dictionary has words: 한.르, .대 ...; no bullet stands there.
    *"\ue10e\ue288\ue292\ue38a\ue38f\ue3a8\ue46c\ue560\ue669\ue671\ue8e6\ue97d\ue982\ued7f\uf1fc",
    # Turned digits, which are part of a number.
    *"↊↋",
}


def harm(analyser: MorphemeAnalyser, char: str) -> Iterator[str]:
    """The frames in which a character is joined to what stands beside it, or makes it unknown."""
    for frame in FRAMES:
        text = frame.replace("{}", char)
        for morpheme in analyser.analyse(text):
            rest = text[morpheme.start : morpheme.end].strip(char)
            if rest and (morpheme.tag == "UNKNOWN" or char in text[morpheme.start : morpheme.end]):
                yield f"{text}: {rest}"


def punctuation(codes: Iterable[int]) -> Iterator[str]:
    normalize = Normalizer()
    for char in map(chr, codes):
        is_punctuation = unicodedata.category(char)[0] in "PS" or unicodedata.category(char) == "Co"
        if is_punctuation and normalize(char).text == char and char not in HARMLESS_WHERE_USED:
            yield char


@pytest.fixture(scope="module")
def analyser() -> MorphemeAnalyser:
    return MorphemeAnalyser()


@pytest.fixture
def unaided(analyser, monkeypatch) -> MorphemeAnalyser:
    """The analyser without substitutes."""
    monkeypatch.setattr(mecab, "readable", lambda text: text)
    return analyser


# Latin-1, general punctuation to dingbats, CJK's symbols and compatibility forms, HWP's symbol fonts, half and full
# width, enclosed characters and emoji, and HWP's numbers in plane 15.
ASKED = (
    *(range(0x21, 0x250), range(0x2000, 0x2800), range(0x2E00, 0x2E80), range(0x3000, 0x3400), range(0xA700, 0xA800)),
    *(range(0xE000, 0xE010), range(0xF000, 0xF100), range(0xFE10, 0xFE70), range(0xFF00, 0x10000)),
    *(range(0x1F100, 0x1F200), range(0x1F600, 0x1F640), range(0xF0290, 0xF0310)),
)


def test_no_punctuation_harms_its_neighbours(analyser):
    asked = [*punctuation(code for codes in ASKED for code in codes), *LETTERS]
    assert len(asked) > 3000
    harmed = {char: found for char in asked if (found := list(harm(analyser, char)))}
    assert not harmed


@pytest.mark.slow
def test_no_punctuation_of_all_unicode_harms_its_neighbours(analyser):
    for char in punctuation(range(0x110000)):
        assert not list(harm(analyser, char)), f"U+{ord(char):04X}"


@pytest.mark.parametrize("char", SUBSTITUTES)
def test_every_entry_is_needed_and_its_substitute_is_not_one(unaided, char):
    assert list(harm(unaided, char)), f"{char}: Mecab knows it by now"
    assert len(SUBSTITUTES[char]) == 1
    assert not list(harm(unaided, SUBSTITUTES[char]))


@pytest.mark.parametrize(
    ("text", "surfaces"),
    [
        ("서울ㆍ부산ㆍ대구를", "서울 ㆍ 부산 ㆍ 대구 를"),
        ("존재감ㅡ그 자체ㅡ을", "존재감 ㅡ 그 자체 ㅡ 을"),
        ("ㅡㅡ역시 ㅡㅡ; ㅡ.ㅡ", "ㅡㅡ 역시 ㅡㅡ ; ㅡ . ㅡ"),
        ("ㅇ서울은 ㅇㅇ", "ㅇ 서울 은 ㅇㅇ"),
        ("김ㅇㅇ씨가 ㅇㅇ시에서", "김 ㅇㅇ 씨 가 ㅇㅇ 시 에서"),
        ("ㅇㅋ ㅇㅇ; ㅋㅇㅇ", "ㅇㅋ ㅇㅇ ; ㅋ ㅇㅇ"),
        ("KBS×MBC", "KBS × MBC"),
        ("1945⁽¹⁾년", "1945 ⁽ ¹⁾ 년"),
        ("\u1112\u119e\u11ab글 서울\u119e부산", "\u1112\u119e\u11ab글 서울 \u119e 부산"),
        ("  서울ㆍ부산  ㆍ 대구 ", "서울 ㆍ 부산 ㆍ 대구"),
    ],
)
def test_the_surface_and_its_place_are_those_of_the_original(analyser, text, surfaces):
    found = analyser.analyse(text)
    assert [morpheme.surface for morpheme in found] == surfaces.split()
    assert [text[morpheme.start : morpheme.end] for morpheme in found] == surfaces.split()


MARKED = st.lists(
    st.sampled_from([*SUBSTITUTES, "서울", "을", " ", "  ", "10", "KBS", ".", "ㅋ", "ᄒ", "ᆫ"]), max_size=12
)


@settings(deadline=None, max_examples=200)
@given(MARKED.map("".join))
def test_the_keys_add_up_to_the_text_and_only_the_marks_are_read_otherwise(analyser, text):
    text = Normalizer()(text).text
    read = readable(text)
    assert len(read) == len(text)
    assert all(old == new or SUBSTITUTES[old] == new for old, new in zip(text, read, strict=True))
    assert "".join(analyser.keys(text)) == text.rstrip(" ")
    assert [key.partition("\t")[0] for key in analyser.keys(text, features=True)] == analyser.keys(text)
    assert analyser.lines_of_texts([text, "서울"])[0] == "\n".join([*analyser.keys(text), "", ""])


@settings(deadline=None, max_examples=200)
@given(texts())
def test_a_text_without_such_characters_is_read_as_it_is(text):
    if not set(SUBSTITUTES) & set(text):
        assert readable(text) is text


def test_a_text_longer_than_a_chunk(analyser):
    text = "서울ㆍ부산 " * 2000 + "서울ㆍ부산" * 2000
    assert "".join(analyser.keys(text)) == text
    assert analyser.keys(text)[:6] == ["서울", "ㆍ", "부산", " 서울", "ㆍ", "부산"]
    assert "ㆍ부산" not in [morpheme.surface for morpheme in analyser.analyse(text)]


def test_the_piece_is_that_of_the_original_and_alone_unknown_where_there_is_none():
    text = "사과ㆍ나무를"
    with_it, without = Tokenizer([*VOCAB, "##ㆍ"]), Tokenizer([*VOCAB, "##·"])
    assert with_it.tokenize(text) == ["사과", "##ㆍ", "##나무", "##를"]
    assert without.tokenize(text) == ["사과", "[UNK]", "##나무", "##를"]
    assert [(token.start, token.end) for token in without.encode(text)] == [(0, 2), (2, 3), (3, 5), (5, 6)]


NOUNS = "서울 부산 대구 정치 경제 문화 사과 나무 학교 국가 시민 역사".split()


@pytest.mark.parametrize("mark", [*"ㆍㅡ×", "\u3164", "\u119e"])
def test_every_noun_of_an_enumeration_can_be_the_answer(mark):
    """Answers that are whole tokens: with ㆍ none but the first of each text could be one, with · all."""
    tokenizer = Tokenizer([*SPECIAL, *NOUNS, *(f"##{noun}" for noun in NOUNS), "를", "##를", "다"])
    for start in range(len(NOUNS)):
        listed = (NOUNS[start:] + NOUNS[:start])[:5]
        text = mark.join(listed) + "를 다룬다"
        spans = {(token.start, token.end) for token in tokenizer.encode(text)}
        for noun in listed:
            assert (text.index(noun), text.index(noun) + len(noun)) in spans, (text, noun)
