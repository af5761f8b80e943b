"""Particles and endings off the end of an answer, judged by the sentence that it stands in.

A reader that answers in eojeols gives 세종대왕이라는 where 세종대왕 is meant. Whether the last syllables belong to the
word cannot be seen from the answer alone (나라 is a word, 나라면 is 나 + 라면 or 나라 + 면), so the sentence around it
is analysed, and rules look at the morphemes at the end of the span:

    그는 훈민정음(訓民正音)을 만들었다.        span 훈민정음(訓民正音)을
        particle    을/JKO after a closing bracket     훈민정음(訓民正音)
        gloss       (訓民正音) right behind a word      훈민정음

Each rule takes one thing away; they are tried in the order of `RULES`, from the first again after each success, until
none applies. The table names for each an example, which the tests run. A rule sees a span as it was given, too: one
that stops in the middle of an eojeol was cut by someone who saw morphemes, and then only what cannot be meant goes.

What this does not do: it never looks at the question, never makes a span longer, and never makes it empty.
"""

import bisect
import functools
import re
from collections.abc import Callable, Sequence
from typing import NamedTuple

from kobert_tf2.tokenization.mecab import Morpheme, MorphemeAnalyser

_BRACKETS = {"(": ")", "[": "]", "{": "}", "（": "）", "［": "］", "〔": "〕", "【": "】"}
_QUOTES = {"《": "》", "〈": "〉", "『": "』", "「": "」", "“": "”", "‘": "’", "<": ">"}
_STRAIGHT = "\"'"
_OPENERS = _BRACKETS | _QUOTES | {quote: quote for quote in _STRAIGHT}
_CLOSERS = {closer: opener for opener, closer in (_BRACKETS | _QUOTES).items()}
_STOPS = ".,?!;:…·。、，．！？：；"

# What a particle can lean on: nouns, numbers, foreign words, closing brackets and quotation marks, other particles and
# the endings that quote (라고까지). On a bare stem or an exclamation it is none: 아/IC 가/JKS is the word 아가.
_HOSTS = ("N", "J", "E", "SL", "SH", "SN", "SSC", "SY", "XSN", "XR", "MA", "UN")
# Nouns that are written apart by the rules of spelling, so where one hangs on a word it is not part of it.
_HANGING_NOUNS = {"등", "정도", "이전", "때", "동안", "무렵"}
# These hang only on a number with its unit (40분만에); 정도전 is a name.
_HANGING_ON_UNITS = {"만", "전", "내"}
# Particles of speech, rare in writing: as the last syllable of a name they are more frequent (창사랑, 스플라이서).
_RARE_PARTICLES = {"랑", "서", "야", "아", "여"}
# Syllables that end names of islands and people as often as they are particles (거문도, 마르티나): behind another
# particle (에서도) they can be nothing else, behind a bare noun they stay.
_NAME_LIKE_PARTICLES = {"도", "나"}
# Particles that have one form behind a final consonant and another behind a vowel: 참나무과 is no 참나무 + 과.
_WANTS_FINAL = dict.fromkeys(("은", "이", "을", "과", "으로", "이나", "이란", "이라고"), True)
_WANTS_FINAL |= dict.fromkeys(("는", "가", "를", "와", "나"), False)
# The copula as it is written at the head of its endings: 이다, 인, 일, 였다; behind a vowel 라는, 다, 며.
_COPULA = ("이", "인", "일", "임", "였", "라", "란", "다", "며")
# Particles that bind words to a verb, long enough not to be the end of a name.
_CLAUSE_PARTICLES = {"을", "를", "에서", "에게", "으로"}
# What a word has behind it when it is used as one: behind a final consonant, and behind none.
_USED_AS_WORD = {True: "은|이|을|과|이다|이라", False: "는|가|를|와|라는|라고"}
# What stacks on another particle (에서는, 으로는) and so says nothing about the word.
_STACKING = {"으로", "에", "에서", "에게", "까지", "부터", "와", "과", "만"}
_TITLES = "《〈『「"
_TOPICS = {("JX", "은"), ("JX", "는")}

# What stands behind a name and makes it one.
_OFFICES = set(
    "회장 대통령 총리 장관 의원 위원장 위원 교수 박사 감독 선수 대표 사장 대사 특사 장군 대장 총재 지사 시장 후보 기자 "
    "작가 배우 씨 판사 검사 변호사 이사장 이사 총장 원장 국왕 황제 부부 선생 목사 신부".split()
)
_SURNAMES = set(
    "김이박최정강조윤장임한오서신권황안송류전홍고문양손배백허유남심노하곽성차주우구민진지엄채원천방공현함변염여추도소석"
    "선설마길연위표명기반라왕금옥육인맹제모탁국"
)


class Span(NamedTuple):
    """A span of a context on its way through the rules.

    `start` and `end` are where it is now, `given_end` is where it ended at first; `mecab` are those of its
    sentence.
    """

    context: str
    morphemes: Sequence[Morpheme]
    start: int
    end: int
    given_end: int

    @property
    def text(self) -> str:
        return self.context[self.start : self.end]

    @property
    def ran_to_eojeol_end(self) -> bool:
        """Whether the span, as given, stopped where an eojeol does."""
        return self.given_end == len(self.context) or self.context[self.given_end].isspace()

    @property
    def stops_before_particle(self) -> bool:
        """Whether the span still ends as given, and a particle hangs on it there: it was cut between two on purpose."""
        following = (m for m in self.morphemes if m.start == self.end)
        return self.end == self.given_end and any(_all_tags(m, "J") for m in following)

    def earlier_morphemes(self) -> list[Morpheme]:
        """The morphemes of the span before its last eojeol."""
        space = max((i for i in range(self.start, self.end) if self.context[i].isspace()), default=self.start)
        return [m for m in self.morphemes if m.start >= self.start and m.end <= space]

    def is_sentence(self) -> bool:
        """Whether the span has a subject or an object of its own and the ending of a sentence; a title is none."""
        if self.text[:1] in _OPENERS:
            return False
        words = [m for m in self.morphemes if m.start >= self.start and m.end <= self.end and m.tag[0] != "S"]
        inside = self.earlier_morphemes()
        ends = bool(words) and (words[-1].tag.endswith("EF") or (words[-1].tag == "EC" and words[-1].surface == "다"))
        return ends and any(m.tag in ("JKS", "JKO", "JKB") or (m.tag, m.surface[-1]) in _TOPICS for m in inside)

    def last_eojeol(self) -> list[Morpheme]:
        """The morphemes of the span's last eojeol that lie in the span, none if it ends within a morpheme."""
        last = bisect.bisect_left(self.morphemes, self.end, key=lambda morpheme: morpheme.end)
        if last == len(self.morphemes) or self.morphemes[last].end != self.end:
            return []
        first = last
        while first > 0 and self.morphemes[first - 1].end == self.morphemes[first].start >= self.start:
            first -= 1
        return list(self.morphemes[first + (self.morphemes[first].start < self.start) : last + 1])


Bounds = tuple[int, int] | None


# ---------------------------------------------------------------------------------------------------------------------
# The rules: each gives new bounds, or None where it does not apply
# ---------------------------------------------------------------------------------------------------------------------


def _outer_space(span: Span) -> Bounds:
    bare = span.text.strip()
    if bare == span.text:
        return None
    start = span.start + len(span.text) - len(span.text.lstrip())
    return start, start + len(bare)


def _punctuation(span: Span) -> Bounds:
    return (span.start, span.end - 1) if span.text[-1] in _STOPS else None


def _unclosed_opener(span: Span) -> Bounds:
    """Opened and not closed: at the beginning the mark goes, a bracket further on goes with what follows it."""
    for place in _marks(span.context, span.start, span.end).unclosed:
        if place == span.start:
            return span.start + 1, span.end
        if span.context[place] in _BRACKETS:
            return (place + 1, span.end) if _answer_must_be_in_bracket(span, place) else (span.start, place)
        if place == span.end - 1:
            return span.start, place
    return None


def _unopened_closer(span: Span) -> Bounds:
    if span.end - 1 in _marks(span.context, span.start, span.end).unopened:
        return span.start, span.end - 1
    return None


def _gloss(span: Span) -> Bounds:
    """A bracket within one eojeol, right behind a word: its Hanja, its original spelling, its abbreviation.

    Where there is a blank before or in the bracket, a span of eojeols holds it because it was meant. So it is where the
    span stops right at the bracket though a particle follows.
    """
    if not span.ran_to_eojeol_end or span.text[-1] not in _BRACKETS.values():
        return None
    opener = _marks(span.context, span.start, span.end).pairs.get(span.end - 1)
    if opener is None or opener == span.start:
        return None
    if any(map(str.isspace, span.context[opener - 1 : span.end])):
        return None
    if _answer_must_be_in_bracket(span, opener):
        return opener + 1, span.end - 1
    if span.end == span.given_end and re.search("[가-힣]", span.context[opener : span.end]):
        return None  # With no particle behind it, a second name in Hangul is as likely to be meant as not.
    return span.start, opener


def _answer_must_be_in_bracket(span: Span, opener: int) -> bool:
    """Whether what stands before a bracket is no name: a sentence ends there, or a title that began before the span."""
    before = opener
    while before > span.start and span.context[before - 1] in _CLOSERS.keys() | set(_STRAIGHT):
        before -= 1
    if any(place >= before for place in _marks(span.context, span.start, opener).unopened):
        return True
    morpheme = next((m for m in span.morphemes if m.end == before), None)
    return morpheme is not None and morpheme.tag.split("+")[-1] in ("EF", "EC") and morpheme.surface.endswith("다")


def _quotation_marks(span: Span) -> Bounds:
    """A pair of quotation marks around the whole span, of which more than the marks was given."""
    if not span.ran_to_eojeol_end or span.end - span.start < 3:
        return None
    if span.text[0] not in _QUOTES and span.text[0] not in _STRAIGHT:
        return None
    if _marks(span.context, span.start, span.end).pairs.get(span.end - 1) != span.start:
        return None
    return span.start + 1, span.end - 1


def _particle(span: Span) -> Bounds:
    eojeol = span.last_eojeol()
    if len(eojeol) < 2 or not _is_particle(eojeol) or span.stops_before_particle:
        return None
    host, particle = eojeol[-2:]
    if not _can_host(host) or _contradicts_sound(host, particle.surface):
        return None
    if _is_word_elsewhere(span, eojeol) or _is_name_before_office(span, eojeol):
        return None
    if _belongs_to_phrase(span, host, particle) or _is_clause_without_verb(span, particle) or _inside_title(span):
        return None
    return span.start, particle.start


def _contradicts_sound(host: Morpheme, particle: str) -> bool:
    """Whether the form of a particle does not fit the syllable before it, so that it is none: 참나무과."""
    last = host.surface[-1]
    wanted = _WANTS_FINAL.get(particle)
    return wanted is not None and "가" <= last <= "힣" and _has_final(last) != wanted


def _is_word_elsewhere(span: Span, eojeol: Sequence[Morpheme]) -> bool:
    """Whether the context has the eojeol, its would-be particle included, with a particle of its own: 겐자부로가."""
    word, particle = span.context[eojeol[0].start : span.end], eojeol[-1].surface
    if len(word) < 3 or particle in _STACKING:
        return False
    after = _USED_AS_WORD[_has_final(word[-1])]
    if particle == "로":
        after = after.removeprefix("는|")  # 로는 is two particles.
    return re.search(f"(?<![가-힣]){re.escape(word)}(?:{after})(?![가-힣])", span.context) is not None


def _is_name_before_office(span: Span, eojeol: Sequence[Morpheme]) -> bool:
    """한나은 협회 회장, 겐자부로 특사: only nouns up to an office, so what looks like a particle ends a name."""
    word, particle = span.context[eojeol[0].start : span.end], eojeol[-1].surface
    is_name = (particle == "은" and len(word) == 3 and word[0] in _SURNAMES) or (particle == "로" and len(word) > 2)
    if not is_name:
        return False
    following = [m for m in span.morphemes if m.start >= span.end]
    for morpheme in following[:4]:
        if not morpheme.tag.startswith(("NN", "SL")):
            return False
        if morpheme.surface in _OFFICES:
            return True
    return False


def _is_clause_without_verb(span: Span, particle: Morpheme) -> bool:
    """물을 불로, 서울에서 부산으로: the words lean on a verb behind the span, each with its particle."""
    if particle.tag != "JKB":
        return False
    inside = [m for m in span.morphemes if m.start >= span.start and m.end <= particle.start]
    cases = [place for place, m in enumerate(inside) if m.tag in ("JKO", "JKB") and m.surface in _CLAUSE_PARTICLES]
    return bool(cases) and not any(m.tag.startswith(("V", "XSV", "XSA", "J", "E")) for m in inside[cases[-1] + 1 :])


def _inside_title(span: Span) -> bool:
    """Whether the span lies in the marks of a title whose end it does not reach."""
    opened = [place for place in _marks(span.context, max(0, span.start - 60), span.end).unclosed if place < span.start]
    return any(span.context[place] in _TITLES for place in opened)


def _belongs_to_phrase(span: Span, host: Morpheme, particle: Morpheme) -> bool:
    """자발적으로, 가난 때문에, 여덟째 줄까지: what the particle says is part of the answer."""
    if particle.surface == "까지":
        return _all_tags(host, "NNG", "NNP") or any(m.surface in ("부터", "에서") for m in span.earlier_morphemes())
    if particle.surface in _NAME_LIKE_PARTICLES:
        return not host.tag.startswith(("J", "E", "XSN", "NNB", "SSC"))
    return (host.surface.endswith("적") and particle.surface == "으로") or host.surface == "때문"


def _is_particle(eojeol: Sequence[Morpheme]) -> bool:
    """Whether an eojeol ends in a particle: tagged so, or 이 that is no demonstrative and no copula where it stands."""
    if eojeol[-1].surface == "이" and eojeol[-1].tag in ("MM", "VCP", "NP", "NR"):
        return True
    return _all_tags(eojeol[-1], "J") and eojeol[-1].surface not in _RARE_PARTICLES


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


def _particle_on_unknown_word(span: Span) -> Bounds:
    """A foreign name that the dictionary lacks, its particle with it: the form must fit the last sound before it."""
    eojeol = span.last_eojeol()
    if not eojeol or eojeol[-1].tag != "UNKNOWN":
        return None
    word = span.context[eojeol[0].start : span.end]
    for particle, wants_final in _PARTICLE_FORMS:
        stem = word.removesuffix(particle)
        if stem != word and len(stem) >= 2 and wants_final in (None, _has_final(stem[-1])):
            return span.start, span.end - len(particle)
    return None


def _particle_read_as_ending(span: Span) -> Bounds:
    """A name that the analysis takes for a verb: 매캔/NNP 지/VV 는/ETM. A verb does not begin inside a word."""
    eojeol = span.last_eojeol()
    if len(eojeol) < 3 or eojeol[-1].tag != "ETM" or eojeol[-1].surface not in ("는", "은", "을"):
        return None
    if eojeol[-2].tag not in ("VV", "VX", "VA") or not eojeol[-3].tag.startswith(("NN", "UNKNOWN")):
        return None
    return span.start, eojeol[-1].start


def _copula(span: Span) -> Bounds:
    """이다 with all that hangs on it: 이라는, 였다, 이며, 인."""
    eojeol = span.last_eojeol()
    place = _where_endings_begin(eojeol)
    if place is None or place == 0 or not eojeol[place].tag.startswith("VCP") or _makes_noun(eojeol[-1]):
        return None
    host, copula = eojeol[place - 1 : place + 1]
    if not copula.surface.startswith(_COPULA) or not _can_host(host) or _inside_title(span):
        return None
    describes = host.surface == "적"
    person = copula.surface == "인" and host.tag == "NNP"  # 바스크인
    rubble = place == 1 and host.tag.startswith("XS")  # A suffix alone is no word: 상인 read as 상 + 인.
    return None if describes or person or rubble else (span.start, copula.start)


def _verb_from_noun(span: Span) -> Bounds:
    """하다, 되다 and the like behind a noun, with their endings: 패소했다. With words before it, it is a clause."""
    eojeol = span.last_eojeol()
    place = _where_endings_begin(eojeol)
    if place is None or place == 0 or not eojeol[place].tag.startswith("XSV") or _makes_noun(eojeol[-1]):
        return None
    noun = eojeol[place - 1]
    if noun.tag != "NNG" or noun.end - noun.start < 2 or span.earlier_morphemes():
        return None
    return span.start, noun.end


def _hanging_noun(span: Span) -> Bounds:
    eojeol = span.last_eojeol()
    if len(eojeol) < 2 or not span.ran_to_eojeol_end or not eojeol[-1].tag.startswith("NN"):
        return None
    noun, host = eojeol[-1].surface, eojeol[-2].tag
    hangs = noun in _HANGING_NOUNS and host.startswith(("N", "SL", "SSC", "SY", "XSN"))
    return (span.start, eojeol[-1].start) if hangs or (noun in _HANGING_ON_UNITS and host == "NNBC") else None


def _sentence_before(span: Span) -> Bounds:
    """The end of the sentence before, run together with the answer: 끝났다.〈창세기〉."""
    for before, stop, after in zip(span.morphemes, span.morphemes[1:], span.morphemes[2:], strict=False):
        ends = stop.tag == "SF" and before.tag.endswith("EF")
        if ends and span.start <= before.start and stop.end == after.start < span.end:
            return after.start, span.end
    return None


def _words_before_title(span: Span) -> Bounds:
    """A word that describes a title and runs into it: 규범인《경국전》."""
    if span.text[-1] not in _QUOTES.values():
        return None
    opener = _marks(span.context, span.start, span.end).pairs.get(span.end - 1)
    before = next((m for m in span.morphemes if m.end == opener and m.start >= span.start), None)
    if before is None or not before.tag.endswith("ETM") or any(map(str.isspace, span.context[span.start : opener])):
        return None
    return opener, span.end


# ---------------------------------------------------------------------------------------------------------------------
# What the rules look at
# ---------------------------------------------------------------------------------------------------------------------

# Longer forms first; True wants a final consonant before it, False none, None either.
_PARTICLE_FORMS = (
    ("에서는", None),
    ("으로", True),
    ("에서", None),
    ("에게", None),
    ("까지", None),
    ("부터", None),
    ("이", True),
    ("가", False),
    ("은", True),
    ("는", False),
    ("을", True),
    ("를", False),
    ("과", True),
    ("와", False),
    ("의", None),
    ("에", None),
    ("로", False),
    ("도", None),
)


def _has_final(character: str) -> bool:
    """Whether a syllable ends in a consonant (받침); what is no syllable counts as ending in none."""
    return "가" <= character <= "힣" and (ord(character) - ord("가")) % 28 != 0


def _all_tags(morpheme: Morpheme, *starts: str) -> bool:
    return all(tag.startswith(starts) for tag in morpheme.tag.split("+"))


def _makes_noun(morpheme: Morpheme) -> bool:
    """음 and ㅁ make names of things (어울림); 기 rather begins 기 때문에, 기 위해."""
    return "ETN" in morpheme.tag and morpheme.surface != "기"


def _can_host(morpheme: Morpheme) -> bool:
    return morpheme.tag.split("+")[-1].startswith(_HOSTS)


def _where_endings_begin(eojeol: Sequence[Morpheme]) -> int | None:
    """The place of the stem (이, 하 ...) in front of the endings that close an eojeol, particles on them included."""
    place = len(eojeol) - 1
    while place >= 0 and _all_tags(eojeol[place], "E", "J"):
        place -= 1
    if place < 0:
        return None
    has_endings = place < len(eojeol) - 1 or "+E" in eojeol[place].tag
    return place if has_endings else None


class _Marks(NamedTuple):
    """Places of brackets and quotation marks in a part of a text; `pairs` leads from a closing to its opening one."""

    pairs: dict[int, int]
    unclosed: list[int]
    unopened: list[int]


def _marks(text: str, start: int, end: int) -> _Marks:
    pairs, unclosed, unopened = {}, [], []
    for place in range(start, end):
        character = text[place]
        if character in _STRAIGHT:
            is_closer, opener = any(text[other] == character for other in unclosed), character
        else:
            is_closer, opener = character in _CLOSERS, _CLOSERS.get(character)
        if is_closer:
            match = next((other for other in reversed(unclosed) if text[other] == opener), None)
            if match is not None:
                pairs[place] = match
                unclosed = [other for other in unclosed if other < match]
            elif character not in "’>":
                unopened.append(place)
        elif character in _OPENERS and not _is_apostrophe(text, place):
            unclosed.append(place)
    return _Marks(pairs, unclosed, unopened)


def _is_apostrophe(text: str, place: int) -> bool:
    """Screamin', Ra'ad: right behind a Latin letter a straight mark opens nothing."""
    return text[place] in "'<" and place > 0 and text[place - 1].isascii() and text[place - 1].isalnum()


# ---------------------------------------------------------------------------------------------------------------------
# The table
# ---------------------------------------------------------------------------------------------------------------------


class Rule(NamedTuple):
    """A rule with a sentence, a span of it, and what the rule alone leaves of the span when it is applied once.

    `in_title`: it applies even when the span has become all that stands in quotation marks; a title keeps the rest.
    """

    name: str
    apply: Callable[[Span], Bounds]
    sentence: str
    given: str
    left: str
    in_title: bool = False


RULES = (
    Rule("outer_space", _outer_space, "해는 동쪽 에서 뜬다.", "동쪽 ", "동쪽"),
    Rule("unclosed", _unclosed_opener, "옻칠(한국의 전통 칠)을 했다.", "옻칠(한국의", "옻칠"),
    Rule("punctuation", _punctuation, "사과, 배를 샀다.", "사과,", "사과"),
    Rule("unopened", _unopened_closer, "왕(1418년)이 되었다.", "1418년)", "1418년"),
    Rule("particle", _particle, "철수가 학교에서 잔다.", "학교에서", "학교"),
    Rule("copula", _copula, "그곳은 제주도라는 섬이다.", "섬이다", "섬"),
    Rule("gloss", _gloss, "그는 훈민정음(訓民正音) 스물여덟 자를 지었다.", "훈민정음(訓民正音)", "훈민정음", True),
    Rule("quotation_marks", _quotation_marks, "그는 “새벽 종”이라 했다.", "“새벽 종”이라", "새벽 종"),
    Rule("fused_particle", _fused_particle, "밤에 사사키를 보았다.", "사사키를", "사사키"),
    Rule("unknown_word", _particle_on_unknown_word, "그는 룔뷔즈와 함께 갔다.", "룔뷔즈와", "룔뷔즈"),
    Rule("read_as_ending", _particle_read_as_ending, "알렉산더 매캔지는 탐험가이다.", "매캔지는", "매캔지"),
    Rule("verb_from_noun", _verb_from_noun, "그는 재판에서 패소했다.", "패소했다", "패소"),
    Rule("hanging_noun", _hanging_noun, "비는 두시간이 아니라 한시간정도 내렸다.", "한시간정도", "한시간"),
    Rule("sentence_before", _sentence_before, "날이 저물었다.철수는 집에 갔다.", "저물었다.철수", "철수"),
    Rule("words_before_title", _words_before_title, "그의 소설인《새벽》을 읽었다.", "소설인《새벽》", "《새벽》"),
)


class Step(NamedTuple):
    """One rule that applied, and the span after it."""

    rule: str
    start: int
    end: int


class JosaStripper:
    """`strip_josa` for many spans: keeps the analyser, and the analyses of the last sentences."""

    def __init__(self, analyser: MorphemeAnalyser | None = None, *, rules: Sequence[Rule] = RULES):
        self.analyser = analyser or MorphemeAnalyser()
        self.rules = tuple(rules)
        self._morphemes = functools.lru_cache(maxsize=4096)(self._analyse)

    def __call__(self, context: str, start: int, end: int) -> tuple[int, int]:
        steps = self.steps(context, start, end)
        return steps[-1][1:] if steps else (start, end)

    def steps(self, context: str, start: int, end: int) -> list[Step]:
        """Which rules applied to a span, in turn."""
        if _fills_quotation_marks(context, start, end):
            return []
        span, steps = (
            Span(context, self._morphemes(context, *sentence_around(context, start, end)), start, end, end),
            [],
        )
        if span.is_sentence():
            return []
        while step := self._step(span):
            steps.append(step)
            span = span._replace(start=step.start, end=step.end)
        return steps

    def _step(self, span: Span) -> Step | None:
        titled = _fills_quotation_marks(span.context, span.start, span.end)
        for rule in self.rules:
            bounds = None if titled and not rule.in_title else rule.apply(span)
            if bounds and any(map(str.isalnum, span.context[slice(*bounds)])):
                return Step(rule.name, *bounds)
        return None

    def _analyse(self, context: str, begin: int, end: int) -> list[Morpheme]:
        """The morphemes of a sentence, with offsets in the context."""
        morphemes = self.analyser.analyse(context[begin:end])
        return [m._replace(start=m.start + begin, end=m.end + begin) for m in morphemes]


def strip_josa(context: str, start: int, end: int, analyser: MorphemeAnalyser | None = None) -> tuple[int, int]:
    """Takes particles, copula, endings, loose brackets and punctuation off a span of a context.

    Args:
      start, end: characters of `context`, `end` past the last.
      analyser: without one, a `MorphemeAnalyser()` is made at the first call and kept. For many spans and another
        analyser, keep a `JosaStripper(analyser)`.

    Returns:
      Bounds of the bare answer: within the given ones, and empty only if those are.
    """
    return _stripper(analyser)(context, start, end)


@functools.lru_cache(maxsize=4)
def _stripper(analyser: MorphemeAnalyser | None) -> JosaStripper:
    return JosaStripper(analyser)


def sentence_around(context: str, start: int, end: int) -> tuple[int, int]:
    """The bounds of the sentence, or of the run of sentences, that holds a span.

    A sentence ends at a line end, or behind . ? ! and closing marks when white space follows.
    """
    ends = _sentence_ends(context)
    begin = bisect.bisect_right(ends, start)
    stop = bisect.bisect_left(ends, end)
    return ends[begin - 1] if begin else 0, ends[stop] if stop < len(ends) else len(context)


_SENTENCE_END = re.compile("\\n|[.?!。][" + re.escape("".join(_CLOSERS) + _STRAIGHT) + "]*(?=\\s)")


@functools.lru_cache(maxsize=256)
def _sentence_ends(context: str) -> list[int]:
    return [match.end() for match in _SENTENCE_END.finditer(context)]


def _fills_quotation_marks(context: str, start: int, end: int) -> bool:
    """Whether a span is all that stands between two marks: a title or a saying, whose last particle is its own."""
    if start == 0 or end >= len(context) or start >= end:
        return start >= end
    before = context[start - 1]
    return before in _OPENERS and before not in _BRACKETS and context[end] == _OPENERS[before]
