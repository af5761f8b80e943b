"""What the rules of josa stripping look at: a sentence by eojeols, a span of it, brackets and quotation marks."""

import itertools

import pytest
from hypothesis import example, given, settings
from korean_text import texts

from kobert_tf2.reading.josa_text import OPENERS, Sentence, Span, find_marks
from kobert_tf2.tokenization.mecab import MorphemeAnalyser

TEXT = "해미는 나루터에서  배를 탔다."
ANALYSER = MorphemeAnalyser()


def sentence(text: str = TEXT) -> Sentence:
    return Sentence(text, ANALYSER.analyse(text))


def span(text: str, part: str, *, given_end: int | None = None) -> Span:
    start = text.index(part)
    end = start + len(part)
    return Span(sentence(text), start, end, end if given_end is None else given_end, text, 0, sentence)


@settings(deadline=None)
@given(texts(30))
@example(TEXT)
def test_the_morphemes_of_all_eojeols_are_those_of_the_analyser(text):
    read = sentence(text)
    morphemes = [morpheme for place in range(len(read)) for morpheme in read.eojeol(place)]
    assert morphemes == list(ANALYSER.analyse(text))
    for place in range(len(read)):
        eojeol = read.eojeol(place)
        assert all(before.end == after.start for before, after in itertools.pairwise(eojeol))
        for position in range(eojeol[0].start, eojeol[-1].end):
            assert read.place_of(position) == place


def test_a_sentence_from_mecabs_lines_is_the_same():
    (output,) = ANALYSER.lines_of_texts([TEXT], features=True)
    read, expected = Sentence.from_output(TEXT, TEXT, output), sentence()
    assert read is not None
    assert len(read) == len(expected) == 4
    for place in range(len(read)):
        assert [m[:4] for m in read.eojeol(place)] == [m[:4] for m in expected.eojeol(place)]
    assert Sentence.from_output(TEXT, "해미는", output) is None
    empty = Sentence.from_output("", "", "")
    assert empty is not None
    assert len(empty) == 0


def test_what_stands_within_behind_and_before():
    read = sentence()
    assert [m.surface for m in read.within(4, 9)] == ["나루터", "에서"]
    assert [m.surface for m in read.within(4, 8)] == ["나루터"]
    assert next(read.behind(9)).surface == "배"
    assert [m.surface for m in read.behind(len(TEXT))] == []
    before = read.before(11)
    assert before is not None
    assert before.surface == "에서"
    assert read.before(0) is None
    assert [read.place_of(position) for position in (0, 3, 4, 9, 10, 11)] == [0, 0, 1, 1, 1, 2]


@pytest.mark.parametrize(
    ("part", "ran"),
    [("나루터에서", True), ("나루터", False), ("탔다", True), ("탔다.", True), ("탔", False)],
)
def test_whether_a_span_ran_to_the_end_of_an_eojeol(part, ran):
    assert span(TEXT, part).ran_to_eojeol_end is ran


def test_what_follows_a_span_and_what_hangs_on_it():
    bare = span(TEXT, "나루터")
    assert (bare.following.surface, bare.hanging().surface) == ("에서", "에서")
    whole = span(TEXT, "나루터에서")
    assert (whole.following.surface, whole.hanging()) == ("배", None)
    last = span(TEXT, "탔다.")
    assert (last.following, last.hanging()) == (None, None)


def test_the_last_eojeol_is_within_the_span_and_none_where_a_morpheme_is_cut():
    assert [m.surface for m in span(TEXT, "해미는 나루터").last_eojeol()] == ["나루터"]
    assert [m.surface for m in span(TEXT, "루터에서").last_eojeol()] == ["에서"]
    assert span(TEXT, "나루").last_eojeol() == []
    assert [m.surface for m in span(TEXT, "해미는 나루터에서").earlier_morphemes()] == ["해미", "는"]


def test_a_span_knows_whether_it_is_as_it_was_given():
    given_span = span(TEXT, "나루터에서")
    assert given_span.as_given
    moved = given_span.moved(4, 7)
    assert (moved.text, moved.as_given, moved.given_end) == ("나루터", False, 9)
    assert moved.is_one_eojeol()
    assert not span(TEXT, "해미는 나루터").is_one_eojeol()


@pytest.mark.parametrize(
    ("text", "part", "is_sentence"),
    [
        ("해미는 배를 탔다. 노래했다.", "해미는 배를 탔다", True),
        (TEXT, "탔다", False),
        ("「해미는 배를 탔다」라는 노래", "「해미는 배를 탔다」", False),
        ("큰 배를 타고 간 해미", "큰 배를 타고 간", False),
    ],
)
def test_what_a_sentence_is(text, part, is_sentence):
    assert span(text, part).is_sentence() is is_sentence


def test_what_fills_quotation_marks():
    assert span("‘나루터’는 노래다.", "나루터").fills_quotation_marks()
    assert not span("(나루터)는 노래다.", "나루터").fills_quotation_marks()
    assert not span("‘나루터의 밤’은 노래다.", "나루터").fills_quotation_marks()
    assert not span(TEXT, "해미").fills_quotation_marks()


@pytest.mark.parametrize(
    ("text", "pairs", "unclosed", "unopened"),
    [
        ("가(나)", {3: 1}, [], []),
        ("(가[나]다)", {6: 0, 4: 2}, [], []),
        ("가(나", {}, [1], []),
        ("가)나", {}, [], [1]),
        ("(가]나)", {4: 0}, [], [2]),
        ("“가‘나”", {4: 0}, [], []),
        ('"가" "나', {2: 0}, [4], []),
        ("가’ 나>", {}, [], []),
        ("Ra'ad", {}, [], []),
        ("a<b", {}, [], []),
        ("", {}, [], []),
    ],
)
def test_brackets_and_quotation_marks(text, pairs, unclosed, unopened):
    assert find_marks(text, 0, len(text)) == (pairs, unclosed, unopened)


def test_marks_outside_the_part_do_not_count():
    assert find_marks("(가(나)", 1, 5).pairs == {4: 2}
    assert find_marks("(가(나)", 1, 5).unclosed == []
    assert all(len(opener) == len(closer) == 1 for opener, closer in OPENERS.items())
