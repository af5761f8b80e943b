"""The rules of josa.py: each strips one thing from the end of a span, or from its start.

They are tried in the order of `RULES`, starting again after each success, until none applies. Each has an example in
the table, which the tests run:

    그는 훈민정음(訓民正音)을 만들었다.        span 훈민정음(訓民正音)을
        particle    을/JKO after a closing bracket     훈민정음(訓民正音)
        gloss       (訓民正音) right behind a word      훈민정음

What only looks like a particle is kept by the guards of josa_guards.py.
"""

import itertools
import re
from collections.abc import Callable, Sequence
from typing import NamedTuple

from kobert_tf2.reading import josa_guards
from kobert_tf2.reading.josa_guards import (
    BEHIND_GI,
    HANGING_NOUNS,
    HANGING_ON_UNITS,
    MEASURES,
    WHOLE_COPULA,
    Cut,
    all_tags,
    can_host,
    final_consonant,
    fits,
    is_dictionary_noun,
    is_full_name,
    is_inside_title,
    is_name_before_ssi,
    makes_noun,
    was_cut_on_purpose,
)
from kobert_tf2.reading.josa_text import BRACKETS, CLOSERS, QUOTES, STOPS, STRAIGHT, Span, find_marks
from kobert_tf2.tokenization.mecab import Morpheme

# ---------------------------------------------------------------------------------------------------------------------
# Rules on marks: each gives new bounds, or None where it does not apply
# ---------------------------------------------------------------------------------------------------------------------

Bounds = tuple[int, int] | None


def _outer_space(span: Span) -> Bounds:
    bare = span.text.strip()
    if bare == span.text:
        return None
    start = span.start + len(span.text) - len(span.text.lstrip())
    return start, start + len(bare)


def _punctuation(span: Span) -> Bounds:
    return (span.start, span.end - 1) if span.text[-1] in STOPS else None


def _unclosed_opener(span: Span) -> Bounds:
    """An opening mark without its closing one: at the start the mark is stripped; a bracket further on, with all that
    follows it.
    """
    text = span.sentence.text
    for place in find_marks(text, span.start, span.end).unclosed:
        if place == span.start:
            return span.start + 1, span.end
        if text[place] in BRACKETS:
            return (place + 1, span.end) if _answer_must_be_in_bracket(span, place) else (span.start, place)
        if place == span.end - 1:
            return span.start, place
    return None


def _unopened_closer(span: Span) -> Bounds:
    if span.end - 1 in find_marks(span.sentence.text, span.start, span.end).unopened:
        return span.start, span.end - 1
    return None


def _gloss(span: Span) -> Bounds:
    """A bracket within one eojeol, directly after a word: its Hanja, original spelling or abbreviation.

    Where there is a blank before or in the bracket, a span of eojeols holds it because it was meant. So it is where the
    span stops right at the bracket though a particle follows.
    """
    text = span.sentence.text
    if not span.ran_to_eojeol_end or span.text[-1] not in BRACKETS.values():
        return None
    opener = find_marks(text, span.start, span.end).pairs.get(span.end - 1)
    if opener is None or opener == span.start:
        return None
    if any(map(str.isspace, text[opener - 1 : span.end])):
        return None
    if _answer_must_be_in_bracket(span, opener):
        return opener + 1, span.end - 1
    if span.as_given and re.search("[가-힣]", text[opener : span.end]):
        return None  # With no particle behind it, a second name in Hangul is as likely to be meant as not.
    return span.start, opener


def _answer_must_be_in_bracket(span: Span, opener: int) -> bool:
    """Whether what stands before a bracket is no name: a sentence ends there, or a title that began before the span."""
    text, before = span.sentence.text, opener
    while before > span.start and text[before - 1] in CLOSERS.keys() | set(STRAIGHT):
        before -= 1
    if any(place >= before for place in find_marks(text, span.start, opener).unopened):
        return True
    morpheme = span.sentence.before(before)
    if morpheme is None or morpheme.end != before:
        return False
    return morpheme.tag.split("+")[-1] in ("EF", "EC") and morpheme.surface.endswith("다")


def _quotation_marks(span: Span) -> Bounds:
    """A pair of quotation marks around the whole span, if the given span is more than the quotation."""
    if not span.ran_to_eojeol_end or span.end - span.start < 3:
        return None
    if span.text[0] not in QUOTES and span.text[0] not in STRAIGHT:
        return None
    if find_marks(span.sentence.text, span.start, span.end).pairs.get(span.end - 1) != span.start:
        return None
    return span.start + 1, span.end - 1


def _sentence_before(span: Span) -> Bounds:
    """The end of the previous sentence without a space before the answer: 끝났다.〈창세기〉."""
    inside = span.sentence.within(span.start, span.end)
    for before, stop in itertools.pairwise(inside):
        ends = stop.tag == "SF" and before.tag.endswith("EF")
        if ends and stop.end < span.end and not span.sentence.text[stop.end].isspace():
            return stop.end, span.end
    return None


def _words_before_title(span: Span) -> Bounds:
    """A word before a title without a space: 규범인《경국전》."""
    text = span.sentence.text
    if span.text[-1] not in QUOTES.values():
        return None
    opener = find_marks(text, span.start, span.end).pairs.get(span.end - 1)
    if opener is None or any(map(str.isspace, text[span.start : opener])):
        return None
    before = span.sentence.before(opener)
    if before is None or before.end != opener or before.start < span.start:
        return None
    return (opener, span.end) if before.tag.endswith("ETM") else None


# ---------------------------------------------------------------------------------------------------------------------
# Rules on morphemes
# ---------------------------------------------------------------------------------------------------------------------


def _particle(span: Span) -> Bounds:
    eojeol = span.last_eojeol()
    if len(eojeol) < 2 or not _is_particle(span, eojeol):
        return None
    cut = Cut(span, eojeol)
    if josa_guards.is_kept(cut):
        return None
    is_irang = cut.form == "랑" and cut.host.surface == "이" and fits("이랑", final_consonant(cut.stem[:-1]))
    return span.start, (cut.host if is_irang else cut.particle).start


def _is_particle(span: Span, eojeol: Sequence[Morpheme]) -> bool:
    """Whether an eojeol ends in a particle: tagged so, or as what it cannot be there."""
    host, last = eojeol[-2:]
    if last.tag in _READ_FOR_PARTICLE.get(last.surface, ()):
        return last.tag != "NNG" or host.tag.startswith("S") or (span.following is None and host.tag.startswith("N"))
    return all_tags(last, "J")


# Particles that are also other words, with the tags of those. 의 is one at the end of a text or behind letters: CEO의.
_READ_FOR_PARTICLE = {"이": ("MM", "VCP", "NP", "NR"), "의": ("NNG",), "과": ("NNG",)}


def _fused_particle(span: Span) -> Bounds:
    """A particle that the dictionary holds in one entry with the word before it: 키를 as 키 + ㄹ + 를."""
    eojeol = span.last_eojeol()
    if not eojeol or not eojeol[-1].expression or eojeol[-1].tag.startswith("NP"):  # 누가 is 누구 + 가, not 누 + 가.
        return None
    surface, _, tag = eojeol[-1].expression.rpartition("+")[2].partition("/")
    tag = tag.partition("/")[0]
    end = span.end - len(surface)
    if not tag.startswith("J") or not eojeol[-1].surface.endswith(surface) or end < eojeol[-1].start:
        return None
    return span.start, end


# Longer forms first.
_ON_UNKNOWN_WORDS = (
    *("에서는", "에서", "에게", "까지", "부터"),
    *("이", "가", "은", "는", "를", "과", "와", "의", "에", "로", "도"),
)


def _particle_on_unknown_word(span: Span) -> Bounds:
    """A foreign name that the dictionary lacks, its particle with it: the form must fit the last sound before it."""
    eojeol = span.last_eojeol()
    if not eojeol or eojeol[-1].tag != "UNKNOWN":
        return None
    word = span.sentence.text[eojeol[0].start : span.end]
    for particle in _ON_UNKNOWN_WORDS:
        stem = word.removesuffix(particle)
        if stem != word and len(stem) >= 2 and fits(particle, final_consonant(stem)):
            return span.start, span.end - len(particle)
    return None


# Verbs that are written on to a noun: 억압받는, 재미있는.
_VERBS_ON_NOUNS = {"받", "있", "없", "같", "높"}


def _particle_read_as_ending(span: Span) -> Bounds:
    """A name that the analysis takes for a verb: 매캔/NNP 지/VV 는/ETM. No verb begins inside a word."""
    eojeol = span.last_eojeol()
    if len(eojeol) < 3 or eojeol[-1].tag != "ETM" or eojeol[-1].surface not in ("는", "은", "을"):
        return None
    if eojeol[-2].tag not in ("VV", "VX", "VA") or not eojeol[-3].tag.startswith("NN"):
        return None
    if eojeol[-2].surface in _VERBS_ON_NOUNS:
        return None
    return span.start, eojeol[-1].start


def _name_read_as_verb(span: Span) -> Bounds:
    """정준하는 as 정준/NNG 하/XSV 는/ETM: the dictionary knows 정준하 as a name."""
    eojeol = span.last_eojeol()
    if len(eojeol) != 3 or eojeol[-1].surface != "는" or eojeol[-2].surface != "하":
        return None
    name = span.sentence.text[eojeol[0].start : eojeol[-1].start]
    if not is_full_name(name) or not is_dictionary_noun(span, name, ("NNP",)):
        return None
    before = span.sentence.before(eojeol[0].start)
    has_object = before is not None and before.tag.startswith(("JK", "JX", "MA", "E"))
    return None if has_object else (span.start, eojeol[-1].start)


# Forms of the copula behind a name that may end in 이: 하와이라는 is 하와이 + 라는.
_COPULA_FORMS = ("라는", "라고", "입니다", "였다", "였습니다")


def _copula_on_name(span: Span) -> Bounds:
    """정준하입니다, 하와이라는: where the sentence is read otherwise, the dictionary knows a name before the copula."""
    eojeol = span.last_eojeol()
    if not eojeol or eojeol[-1].end - eojeol[0].start < 4:
        return None
    word = span.sentence.text[eojeol[0].start : span.end]
    if not word.endswith(_COPULA_FORMS):
        return None
    for form in _COPULA_FORMS:
        name = word.removesuffix(form)
        if len(name) > 1 and name != word and is_dictionary_noun(span, name, ("NNP",)):
            return None if was_cut_on_purpose(span) else (span.start, span.end - len(form))
    return None


def _copula(span: Span) -> Bounds:
    """이다 with all that hangs on it: 이라는, 였다, 이며, 인, 입니다, 예요."""
    eojeol = span.last_eojeol()
    place = _where_endings_begin(eojeol)
    if place is None:
        return None
    if eojeol[place].tag in ("SY", "SN", "SL") and eojeol[place + 1].tag in ("EC", "EF"):
        return span.start, eojeol[place].end  # 90%며: the copula itself is not written.
    if place == 0 or not eojeol[place].tag.startswith("VCP") or _is_word_in_eum(span, eojeol[-1]):
        return None
    host, copula = eojeol[place - 1 : place + 1]
    if not can_host(host) or was_cut_on_purpose(span) or is_inside_title(span):
        return None
    if _is_word_in_copula(span, eojeol, place):
        return None
    describes = host.surface == "적"
    bare_suffix = place == 1 and host.tag.startswith("XS")  # A suffix alone is no word: 상인 read as 상 + 인.
    return None if describes or bare_suffix else (span.start, copula.start)


def _is_word_in_eum(span: Span, last: Morpheme) -> bool:
    """Whether 음 or ㅁ makes a word of it: 어울림. Not where a particle stood behind the copula: 세종이었음을."""
    if not makes_noun(last) or "+J" in last.tag:
        return False
    return span.as_given or ("VCP" not in last.tag and last.surface not in ("음", "라기"))


def _is_word_in_copula(span: Span, eojeol: Sequence[Morpheme], place: int) -> bool:
    """Whether what looks like the copula ends a word: 바스크인, 문재인, 서양인, 콜로라도."""
    host, copula = eojeol[place - 1 : place + 1]
    text = span.sentence.text
    if is_name_before_ssi(span, text[eojeol[0].start : span.end]):
        return True
    is_short = span.end - copula.start == 1  # 라고 and 라는 are no end of a name.
    if is_short and not copula.surface.startswith(WHOLE_COPULA) and final_consonant(text[: copula.start]):
        return True
    if eojeol[-1].surface.endswith("기") and "EP" not in "".join(m.tag for m in eojeol[place:]):
        return not _goes_on_behind_gi(span)
    if copula.end != span.end or copula.surface not in ("인", "일", "임"):
        return False
    if copula.surface == "인" and host.tag == "NNP":
        return True
    following = span.following
    if following is not None and following.tag.startswith("NNB"):
        return False  # 이상일 수도
    return is_dictionary_noun(span, text[eojeol[0].start : span.end])


def _goes_on_behind_gi(span: Span) -> bool:
    """Whether 기 is the copula's, by what follows: 학생이기 때문에, 학생이기도 하다, 봄이라기보다."""
    following = list(itertools.islice(span.sentence.behind(span.end), 2))
    if not following or span.text.endswith("라기"):
        return bool(following)
    if span.hanging() and following[0].surface in ("도", "는"):
        return len(following) == 2 and following[1].surface.startswith(("하", "했", "해", "한"))
    return following[0].surface.startswith(BEHIND_GI)


def _verb_from_noun(span: Span) -> Bounds:
    """하다, 되다 and the like behind a noun, with their endings: 패소했다. With words before it, it is a clause."""
    eojeol = span.last_eojeol()
    place = _where_endings_begin(eojeol)
    if place is None or place == 0 or not eojeol[place].tag.startswith("XSV") or makes_noun(eojeol[-1]):
        return None
    noun = eojeol[place - 1]
    if [m.surface for m in eojeol[place:]] == ["하", "고"] and noun.tag.startswith("N"):
        return span.start, noun.end  # The particle 하고: 영희하고.
    if noun.tag != "NNG" or noun.end - noun.start < 2 or not span.is_one_eojeol():
        return None
    following = span.following
    if eojeol[-1].surface == "해" and following is not None and following.tag.startswith("NN"):
        return None  # 풍수해 대책: 해 that other nouns follow is the harm.
    return span.start, noun.end


_OTHER_ENDINGS = ("NNB+", "EC+VX")  # 인걸요, 이잖아요: the dictionary has what they are put together from.


def _where_endings_begin(eojeol: Sequence[Morpheme]) -> int | None:
    """The place of the stem (이, 하 ...) in front of the endings that close an eojeol, particles on them included."""
    place = len(eojeol) - 1
    while place >= 0 and (all_tags(eojeol[place], "E", "J") or eojeol[place].tag.startswith(_OTHER_ENDINGS)):
        place -= 1
    if place < 0:
        return None
    has_endings = any("E" in tag[:1] for m in eojeol[place:] for tag in m.tag.split("+"))
    return place if has_endings else None


def _hanging_noun(span: Span) -> Bounds:
    eojeol = span.last_eojeol()
    if len(eojeol) < 2 or not span.ran_to_eojeol_end or not eojeol[-1].tag.startswith("NN"):
        return None
    host, noun = eojeol[-2:]
    if span.as_given and noun.surface in MEASURES:
        return None  # With no particle behind it, it may be meant.
    if noun.surface in HANGING_NOUNS:
        hangs = host.tag.startswith(("N", "SL", "SSC", "SY", "XSN")) and (host.surface, noun.surface) != ("일", "등")
    else:
        hangs = noun.surface in HANGING_ON_UNITS and host.tag == "NNBC" and host.surface != "차"  # 5차전: a match.
    return (span.start, noun.start) if hangs else None


# ---------------------------------------------------------------------------------------------------------------------
# The table
# ---------------------------------------------------------------------------------------------------------------------


class Rule(NamedTuple):
    """A rule with an example: a sentence, a span of it, and the span after this rule.

    `on`: the tags of the span's last morpheme for which the rule is tried, "" for any; "marks": only spans with
      something other than letters and digits. `in_title`: the rule applies even if the span is all of a quotation; a
      title keeps the rest.
    """

    name: str
    apply: Callable[[Span], Bounds]
    on: tuple[str, ...] | str
    sentence: str
    given: str
    left: str
    in_title: bool = False


RULES = (
    Rule("outer_space", _outer_space, "marks", "해는 동쪽 에서 뜬다.", "동쪽 ", "동쪽"),
    Rule("unclosed", _unclosed_opener, "marks", "옻칠(한국의 전통 칠)을 했다.", "옻칠(한국의", "옻칠"),
    Rule("punctuation", _punctuation, "marks", "사과, 배를 샀다.", "사과,", "사과"),
    Rule("unopened", _unopened_closer, "marks", "왕(1418년)이 되었다.", "1418년)", "1418년"),
    Rule("particle", _particle, ("J", "MM", "VCP", "NP", "NR", "NNG"), "철수가 학교에서 잔다.", "학교에서", "학교"),
    Rule("copula_on_name", _copula_on_name, ("E",), "우승자는 정준하입니다.", "정준하입니다", "정준하"),
    Rule("copula", _copula, ("E", "J"), "그곳은 제주도라는 섬이다.", "섬이다", "섬"),
    Rule(
        "gloss",
        _gloss,
        "marks",
        "그는 훈민정음(訓民正音) 스물여덟 자를 지었다.",
        "훈민정음(訓民正音)",
        "훈민정음",
        True,
    ),
    Rule("quotation_marks", _quotation_marks, "marks", "그는 “새벽 종”이라 했다.", "“새벽 종”이라", "새벽 종"),
    Rule("fused_particle", _fused_particle, ("J",), "밤에 사사키를 보았다.", "사사키를", "사사키"),
    Rule("unknown_word", _particle_on_unknown_word, ("UNKNOWN",), "그는 룔뷔즈와 함께 갔다.", "룔뷔즈와", "룔뷔즈"),
    Rule("read_as_ending", _particle_read_as_ending, ("ETM",), "알렉산더 매캔지는 탐험가이다.", "매캔지는", "매캔지"),
    Rule("name_as_verb", _name_read_as_verb, ("ETM",), "방송인 정준하는 웃었다.", "정준하는", "정준하"),
    Rule("verb_from_noun", _verb_from_noun, ("E", "J"), "그는 재판에서 패소했다.", "패소했다", "패소"),
    Rule("hanging_noun", _hanging_noun, ("NN",), "그 일은 한시간정도가 걸렸다.", "한시간정도가", "한시간"),
    Rule("sentence_before", _sentence_before, "marks", "날이 저물었다.철수는 집에 갔다.", "저물었다.철수", "철수"),
    Rule(
        "words_before_title",
        _words_before_title,
        "marks",
        "그의 소설인《새벽》을 읽었다.",
        "소설인《새벽》",
        "《새벽》",
    ),
)
