"""Guards against stripping what looks like a particle but is the end of a word, with tables of forms and words.

A particle is stripped only if no guard of `GUARDS` matches. Each has an example: a sentence and a span of it that is
unchanged because of this guard alone:

    배는 매물도 앞바다를 지났다.              span 매물도
        guard island     도 before a word of the sea: the name of an island, not 매물 with 도

The tables hold particles, endings and classes of words, never names or words of a data set: for words, Mecab's
dictionary is queried (`is_dictionary_noun`).
"""

import functools
import itertools
import re
from collections.abc import Callable, Collection, Sequence
from typing import NamedTuple

from kobert_tf2.reading.josa_text import TITLES, Span, find_marks
from kobert_tf2.tokenization.mecab import Morpheme

# ---------------------------------------------------------------------------------------------------------------------
# Tables: the two forms of a particle, and final consonants
# ---------------------------------------------------------------------------------------------------------------------

# Behind a final consonant, and behind a vowel. 으로 and its like take ㄹ for a vowel: 서울로.
TWO_FORMS = (
    ("은", "는"),
    ("이", "가"),
    ("을", "를"),
    ("과", "와"),
    ("으로", "로"),
    ("으로서", "로서"),
    ("으로써", "로써"),
    ("으로부터", "로부터"),
    ("이나", "나"),
    ("이나마", "나마"),
    ("이랑", "랑"),
    ("이란", "란"),
    ("이며", "며"),
    ("이든", "든"),
    ("이든지", "든지"),
    ("이라고", "라고"),
    ("이라도", "라도"),
    ("이야", "야"),
    ("이야말로", "야말로"),
    ("이여", "여"),
    ("은커녕", "는커녕"),
    ("아", "야"),
)
_WANTS_FINAL = {form: True for form, _ in TWO_FORMS} | {form: False for _, form in TWO_FORMS}
# What 기 of the copula leads to (학생이기 때문에, 위해); before other words, 기 ends a noun: 공기정화기.
BEHIND_GI = ("때문", "위", "전", "이전", "이후", "마련", "십상")
# Those of more than one syllable that names end in: 우크라이나.
_LONG_ENDS_OF_NAMES = {"이나"}
# The copula of one syllable that follows anything; without its 이 it follows a vowel: 나래다, 나래며.
WHOLE_COPULA = ("인", "일")

_FINALS = ("", *"ㄱㄲㄳㄴㄵㄶㄷㄹㄺㄻㄼㄽㄾㄿㅀㅁㅂㅄㅅㅆㅇㅈㅊㅋㅌㅍㅎ")
_FINALS_OF_DIGITS = ("ㅇ", "ㄹ", "", "ㅁ", "", "", "ㄱ", "ㄹ", "ㄹ", "")  # 영 일 이 삼 사 오 육 칠 팔 구
_FINALS_OF_ZEROS = {1: "ㅂ", 2: "ㄱ", 3: "ㄴ", 4: "ㄴ", 5: "ㄴ", 6: "ㄴ", 7: "ㄴ", 8: "ㄱ"}  # 십 백 천 만 ... 억


def final_consonant(text: str) -> str | None:
    """The final consonant of a text when read aloud, "" if it ends in a vowel, None if unknown.

    Known are syllables and numbers. Latin letters and symbols are not: how they are read is the writer's choice (WSJ은
    for 월스트리트저널은), and so is what stands in brackets.
    """
    last = text[-1:]
    if "가" <= last <= "힣":
        return _FINALS[(ord(last) - ord("가")) % 28]
    if not re.match("[0-9]", last):
        return None
    digits = text[len(text.rstrip("0123456789,")) :].replace(",", "")
    zeros = len(digits) - len(digits.rstrip("0"))
    if 0 < zeros < len(digits) and not text[: -len(digits)].endswith("."):
        return _FINALS_OF_ZEROS.get(zeros)
    return _FINALS_OF_DIGITS[int(digits[-1])]


def fits(form: str, final: str | None) -> bool:
    """Whether this form of a particle can follow this final consonant. Unknown ones fit."""
    wants_final = _WANTS_FINAL.get(form)
    if wants_final is None or final is None:
        return True
    if form.startswith(("으로", "로")) and final == "ㄹ":
        final = ""
    return bool(final) == wants_final


# ---------------------------------------------------------------------------------------------------------------------
# Tables: kinds of particles
# ---------------------------------------------------------------------------------------------------------------------

# Nothing is written behind these but 요, 커녕 and what quotes: where a particle or the copula follows, as in 매물도는,
# they are the end of the word.
_CLOSING_PARTICLES = {"은", "는", "이", "가", "을", "를", "의", "도"}
_BEHIND_CLOSING = ("요", "커녕", "라")
# Behind these there may be others, but not the subject's and the object's: 겐자부로가, 오키나와를.
_BEFORE_NO_CASE = {"로", "와"}
_CASES = {"가", "를"}
# Particles of speech, rare in writing: as the last syllable of a name they are more frequent (스플라이서, 랜드루).
_RARE_PARTICLES = {"서", "야", "아", "루", "가지"}
# 야 stands behind other particles (뒤에야). 서 is 에서 behind these (여기서) and behind names of places, and says how
# many were together (둘이서).
_BEFORE_SEO = ("여기", "거기", "저기", "어디", "혼자", "아래", "데", "둘이", "셋이", "넷이")
# These stay on an answer of several words, which leans on them: 흉년 때문에, 매우 자발적으로.
_ON_PHRASES = {("때문", "에"), ("적", "으로")}
# What 까지 answers: from there, or counting to it.
_FROM = ("부터", "에서", "째")
# Particles that bind words to a verb, long enough not to be the end of a name.
_CLAUSE_PARTICLES = {"을", "를", "에서", "에게", "으로"}
# What a word has behind it when it is used as one: behind a final consonant, and behind none.
_USED_AS_WORD = {True: ("은", "이", "을", "과", "이다", "이라"), False: ("는", "가", "를", "와", "라는", "라고")}
# Particles that are the last syllable of a word as often as not. Others stack (에서는) and say nothing about the word.
_LIKE_LAST_SYLLABLES = _CLOSING_PARTICLES | {"로", "랑", "나"}

# ---------------------------------------------------------------------------------------------------------------------
# Tables: kinds of words
# ---------------------------------------------------------------------------------------------------------------------

# What a particle can lean on: nouns, numbers, foreign words, closing brackets and quotation marks, other particles and
# the endings that quote (라고까지). On a bare stem or an exclamation it is none: 아/IC 가/JKS is the word 아가.
_HOSTS = ("N", "J", "E", "SL", "SH", "SN", "SSC", "SY", "XSN", "MA", "UN")
# Nouns that are written apart by the rules of spelling, so where one hangs on a word it is not part of it.
HANGING_NOUNS = {"등", "정도", "이전", "때", "동안", "무렵"}
MEASURES = {"정도", "동안", "등"}
# These hang only on a number with its unit (40분만에); 정도전 is a name.
HANGING_ON_UNITS = {"만", "전", "내"}
# Behind a bare name, not behind a particle: 매물도 등, 안나 및.
_AFTER_NAMES = {"등", "및", "또는", "혹은"}

# What stands behind a name and makes it one, or before it.
_OFFICES = set(
    "회장 대통령 총리 장관 의원 위원장 위원 교수 박사 감독 선수 대표 사장 대사 특사 장군 대장 총재 지사 시장 후보 기자 "
    "작가 배우 씨 판사 검사 변호사 이사장 이사 총장 원장 국왕 황제 부부 선생 목사 신부 부인 여사 공주 왕자".split()
)
_PROFESSIONS = set(
    "가수 배우 화가 시인 작가 감독 선수 방송인 개그맨 코미디언 아나운서 디자이너 소설가 작곡가 모델 연출가 조각가 "
    "무용가 만화가 교수 박사 의원 장관 총리 회장 사장 대표 위원장 기자 변호사 판사 검사 장군".split()
)
# Names of islands end in 도. These words follow an island, hardly a word with 도.
_SEA = set(
    "앞바다 바다 해역 해상 공해 섬 등대 항 항구 포구 선착장 근해 연안 해안 해변 해수욕장 주민 어민 여객선 "
    "동쪽 서쪽 남쪽 북쪽 남동쪽 남서쪽 북동쪽 북서쪽".split()
)
# What there are degrees of, and what is said of a degree.
_DEGREES = (
    "만족",
    "청결",
    "선호",
    "신뢰",
    "인지",
    "지지",
    "의존",
    "정확",
    "중요",
    "완성",
    "친밀",
    "몰입",
    "호감",
    "기여",
    "심각",
)
_SAID_OF_DEGREES = ("조사", "평가", "개선", "향상", "상승", "하락", "순위", "높", "낮", "떨어", "오르", "올라")
_SURNAMES = set(
    "김이박최정강조윤장임한오서신권황안송류전홍고문양손배백허유남심노하곽성차주우구민진지엄채원천방공현함변염여추도소석"
    "선설마길연위표명기반라왕금옥육인맹제모탁국"
)
# Syllables that end given names and are particles: 안병의, 박진도. Those before 은 in a name: 고은, 나은.
_ENDS_OF_NAMES = {"은", "의", "도", "만", "나"}
_BEFORE_EUN = set("가고나다도동라루미민보비상새서성세소수시아양여연영예유윤자재정조주지채초태하해현혜호효희")


# ---------------------------------------------------------------------------------------------------------------------
# What rules and guards ask of a morpheme
# ---------------------------------------------------------------------------------------------------------------------


def all_tags(morpheme: Morpheme, *starts: str) -> bool:
    tag = morpheme.tag
    return all(part.startswith(starts) for part in tag.split("+")) if "+" in tag else tag.startswith(starts)


def can_host(morpheme: Morpheme) -> bool:
    return morpheme.tag.split("+")[-1].startswith(_HOSTS)


def makes_noun(morpheme: Morpheme) -> bool:
    """음 and ㅁ make names of things (어울림); 기 rather begins 기 때문에, 기 위해."""
    return "ETN" in morpheme.tag and morpheme.surface != "기"


def is_dictionary_noun(span: Span, word: str, tags: tuple[str, ...] = ("NNG", "NNP")) -> bool:
    """Whether Mecab, given the word alone, analyses it as one noun: 문재인, 마르티나, but not 문재 or 기사나."""
    alone = span.analyse(word)
    return len(alone) == 1 and len(alone.eojeol(0)) == 1 and alone.eojeol(0)[0].tag in tags


def is_full_name(word: str) -> bool:
    """Whether a word is a surname and two more syllables, like most Korean names."""
    return len(word) == 3 and word[0] in _SURNAMES


def may_end_name(word: str) -> bool:
    """Whether the last syllable of a full name is one that such names end in; 은 is so behind few syllables only."""
    return word[-1] in _ENDS_OF_NAMES and (word[-1] != "은" or word[-2] in _BEFORE_EUN)


# ---------------------------------------------------------------------------------------------------------------------
# Guards
# ---------------------------------------------------------------------------------------------------------------------


class Cut:
    """A particle that may be stripped: the span, the morphemes of its last eojeol, the last two of them.

    `word` is the eojeol with the particle, `stem` the eojeol without it.
    """

    __slots__ = ("eojeol", "form", "host", "particle", "span", "stem", "word")

    def __init__(self, span: Span, eojeol: Sequence[Morpheme]):
        self.span, self.eojeol = span, eojeol
        self.host, self.particle = eojeol[-2], eojeol[-1]
        self.form = self.particle.surface
        self.word = span.sentence.text[eojeol[0].start : span.end]
        self.stem = span.sentence.text[eojeol[0].start : self.particle.start]

    @property
    def next_character(self) -> str:
        return self.span.sentence.text[self.span.end : self.span.end + 1]

    def before_noun(self, *surfaces: str) -> bool:
        following = self.span.following
        return following is not None and following.tag.startswith("NN") and following.surface in surfaces


def _no_host(cut: Cut) -> bool:
    """시·도: behind a mark stands no particle. Behind a stem it may: a name that the analysis cuts up, 도크에서."""
    return cut.host.tag == "SC"


def _bare_suffix(cut: Cut) -> bool:
    """A suffix alone is no word: 대로 read as 대/XSN + 로. Behind other words it may be one: 더럼 경이."""
    return len(cut.eojeol) == 2 and cut.host.tag == "XSN" and cut.span.is_one_eojeol()


def _wrong_form(cut: Cut) -> bool:
    """참나무과, 대학로, 우크라이나: the form does not fit what it follows.

    Where it can be no end of a name, it is a slip of the writer (대학교으로, 13로) or the copula (문제이나).
    """
    if len(cut.form) > 1 and (cut.form not in _LONG_ENDS_OF_NAMES or cut.host.tag == "NNG"):
        return False
    return not cut.stem[-1].isdigit() and not fits(cut.form, final_consonant(cut.stem))


def _cut_on_purpose(cut: Cut) -> bool:
    """학교|에서|는: the span, as given, ends within an eojeol, so someone saw the morphemes."""
    return was_cut_on_purpose(cut.span)


def was_cut_on_purpose(span: Span) -> bool:
    hanging = span.hanging() if span.as_given else None
    return hanging is not None and not hanging.tag.startswith("S")


def _closing_goes_on(cut: Cut) -> bool:
    """매물도는, 안병의가: behind 도 and 의 no particle can stand."""
    hanging = cut.span.hanging()
    if hanging is None or not hanging.tag.startswith(("J", "VCP")):
        return False
    return not hanging.surface.startswith(_BEHIND_CLOSING) and hanging.tag != "JKQ"


def _case_goes_on(cut: Cut) -> bool:
    """겐자부로가, 오키나와를: behind 로 and 와 stand other particles, but not the subject's and the object's."""
    hanging = cut.span.hanging()
    return hanging is not None and hanging.surface in _CASES


def _glossed(cut: Cut) -> bool:
    """쇼와(昭和): a spelling in brackets right behind it belongs to the whole word."""
    if cut.next_character not in ("(", "（"):
        return False
    return re.match("[\u4e00-\u9fffA-Za-z]", cut.span.sentence.text[cut.span.end + 1 :]) is not None


def _rare(cut: Cut) -> bool:
    """스플라이서, 랜드루. Not 뒤에야, 여기서 and 수진아!"""
    if cut.host.tag.startswith("JKB") or (cut.particle.tag == "JKV" and cut.next_character in tuple(",!.")):
        return False
    return cut.form != "서" or not (cut.stem.endswith(_BEFORE_SEO) or is_dictionary_noun(cut.span, cut.stem, ("NNP",)))


def _street(cut: Cut) -> bool:
    """을지로4가: 가 behind the number of a street is the street's."""
    return cut.stem[-1].isdigit() and re.search("[로동][0-9]+$", cut.stem) is not None


def _loves(cut: Cut) -> bool:
    """책사랑 역시: 사랑 is a word that names end in. Not 의사랑 싸웠다: a word before 랑 joins a noun or a verb."""
    if not cut.word.endswith("사랑"):
        return False
    following = cut.span.following
    return following is None or not following.tag.startswith(("NN", "NP", "SL", "M", "V")) or following.tag == "MAJ"


def _name_in_rang(cut: Cut) -> bool:
    """드 메랑: 랑 joins words that the dictionary knows."""
    if cut.host.tag == "NP":
        return False
    return len(cut.word) < 3 or not cut.host.tag.startswith(("NN", "XSN"))


def _name_in_na(cut: Cut) -> bool:
    """마르티나 부인, 안나 카레니나: 나 ends more names than it joins short or unknown words."""
    before = cut.span.sentence.before(cut.host.start)
    is_counted = before is not None and before.tag in ("SN", "NR", "MM")  # 두 배나
    if is_counted or cut.host.tag.startswith(("J", "E", "XSN", "NNB", "SSC", "SN")):
        return False
    if len(cut.word) < 3 or cut.host.tag == "UNKNOWN" or is_dictionary_noun(cut.span, cut.word):
        return True
    return cut.before_noun(*_OFFICES)


def _about(cut: Cut) -> bool:
    """오전 11시께: 께 behind a time is 'about', not the particle of respect."""
    return cut.host.tag in ("NNBC", "SN")


def _before_list_end(cut: Cut) -> bool:
    """매물도 등: what ends a list follows names, not particles."""
    following = cut.span.following
    if following is None or following.surface not in _AFTER_NAMES:
        return False
    is_listed = following.tag in ("NNB", "MAJ")  # 등 may also be a back: 나도 등이 아프다.
    return is_listed or cut.form not in ("은", "도")


def _in_list(cut: Cut) -> bool:
    """청결도, 위치, 값: in a list of bare nouns the first is one, too: how clean it is."""
    if cut.next_character != ",":
        return False
    text = cut.span.sentence.text
    following = itertools.islice(cut.span.sentence.behind(cut.span.end + 1), 6)
    nouns = list(itertools.takewhile(lambda m: m.tag.startswith(("NN", "SL", "XSN")), following))
    return bool(nouns) and text[nouns[-1].end : nouns[-1].end + 1] == ","


def _to_the_last(cut: Cut) -> bool:
    """3월부터 5월까지, 다섯째 줄까지: a span from one place to another, which 까지 belongs to."""
    return any(m.surface.endswith(_FROM) for m in cut.span.earlier_morphemes())


def _leans_on_phrase(cut: Cut) -> bool:
    """흉년 때문에, 매우 자발적으로: of several words, and the last particle belongs to what they say."""
    if not any(cut.form == form and cut.host.surface.endswith(noun) for noun, form in _ON_PHRASES):
        return False
    return not cut.span.is_one_eojeol()


def _island(cut: Cut) -> bool:
    """매물도 앞바다, 연평도 포격: 도 before a word of the sea, or of a name that the dictionary has, before a noun."""
    following = cut.span.following
    if len(cut.stem) > 3 or following is None or not all_tags(cut.host, "NN", "MM", "UN"):
        return False
    if following.surface in _SEA:
        return True
    if 1 < len(cut.stem) < 3 and cut.host.tag == "NNG":
        return False  # 경기도 개최: a game, too.
    return following.tag.startswith("NN") and is_dictionary_noun(cut.span, cut.word, ("NNP",))


def _degree(cut: Cut) -> bool:
    """만족도 조사, 청결도 높은: how satisfied, how clean; 도 is a word there, as is seen from what is said of it."""
    following = cut.span.following
    return cut.stem.endswith(_DEGREES) and following is not None and following.surface.startswith(_SAID_OF_DEGREES)


def _inside_title(cut: Cut) -> bool:
    """《섬에서 온 편지》: the end of a title is not reached."""
    return is_inside_title(cut.span)


_TITLE = re.compile(f"[{TITLES}]")


def is_inside_title(span: Span) -> bool:
    """Whether the span lies in the marks of a title whose end it does not reach."""
    start = span.offset + span.start
    near = max(0, start - 60)
    if not _TITLE.search(span.context, near, start):
        return False
    opened = [place for place in find_marks(span.context, near, span.offset + span.end).unclosed if place < start]
    return any(span.context[place] in TITLES for place in opened)


def _clause_without_verb(cut: Cut) -> bool:
    """물을 불로, 서울에서 부산으로: the words lean on a verb behind the span, each with its particle."""
    if cut.particle.tag != "JKB" or cut.span.is_one_eojeol():
        return False
    inside = cut.span.sentence.within(cut.span.start, cut.particle.start)
    cases = [place for place, m in enumerate(inside) if m.tag in ("JKO", "JKB") and m.surface in _CLAUSE_PARTICLES]
    return bool(cases) and not any(m.tag.startswith(("V", "XSV", "XSA", "J", "E")) for m in inside[cases[-1] + 1 :])


def _before_office(cut: Cut) -> bool:
    """한나은 협회 회장, 나카노 겐자부로 특사: only nouns up to an office, so what looks like a particle ends a name."""
    if is_name_before_ssi(cut.span, cut.word):
        return True
    if is_full_name(cut.word):
        ends_name = cut.form == "은" and may_end_name(cut.word)
        ends_name = ends_name or is_dictionary_noun(cut.span, cut.word, ("NNP",))
    else:
        before = cut.span.sentence.before(cut.eojeol[0].start)
        is_second_name = before is not None and before.tag == "NNP" and cut.form == "로"
        ends_name = is_second_name and not is_dictionary_noun(cut.span, cut.stem)
    return ends_name and _leads_to_office(cut.span)


def is_name_before_ssi(span: Span, word: str) -> bool:
    """홍재인 씨, 홍재인 등: before 씨 and 등 stands a name, without a particle."""
    following = span.following
    if following is None or not is_full_name(word):
        return False
    return following.surface == "씨" or (following.surface, following.tag) == ("등", "NNB")


def _leads_to_office(span: Span) -> bool:
    """Whether only nouns stand between the span and an office: 협회 회장."""
    for morpheme in itertools.islice(span.sentence.behind(span.end), 4):
        if not morpheme.tag.startswith(("NN", "SL")):
            return False
        if morpheme.surface in _OFFICES:
            return True
    return False


def _behind_profession(cut: Cut) -> bool:
    """화가 안병의 그림: behind a profession stands a name, and few names have two syllables."""
    if not is_full_name(cut.word) or not may_end_name(cut.word):
        return False
    before = cut.span.sentence.text[: cut.eojeol[0].start].split()[-1:]
    if not before or before[0] not in _PROFESSIONS:
        return False
    following = cut.span.following
    is_bare = following is None or following.tag.startswith(("NN", "S", "J"))
    return is_bare and not cut.stem.endswith(cut.form) and not is_dictionary_noun(cut.span, cut.stem, ("NNP",))


def _used_as_word(cut: Cut) -> bool:
    """벨라로 부인 ... 벨라로가: the text near by has the word, its would-be particle included, with a particle."""
    word = cut.word
    if len(word) < 3:
        return False
    begin, end = cut.span.offset + cut.eojeol[0].start, cut.span.offset + cut.span.end
    first, last = max(0, begin - _NEAR), end + _NEAR
    after: Sequence[str] = _USED_AS_WORD[bool(final_consonant(word))]
    if cut.form == "로":
        after = after[1:]  # 로는 is two particles,
    if cut.form == "이":
        after = after[:-2]  # and 이라는 the copula.
    place = cut.span.context.find(word, first, last)
    while place >= 0:
        if place != begin and _is_eojeol_with(cut.span.context, place, place + len(word), after):
            return True
        place = cut.span.context.find(word, place + 1, last)
    return False


_NEAR = 1500  # Characters before and behind a span in which a word is looked for: about an article's paragraph.


def _is_eojeol_with(text: str, start: int, end: int, particles: Sequence[str]) -> bool:
    """Whether a word stands at `start:end`, not inside a longer one, with one of the particles."""
    if start > 0 and "가" <= text[start - 1] <= "힣":
        return False
    return any(
        text.startswith(particle, end) and not "가" <= text[end + len(particle) : end + len(particle) + 1] <= "힣"
        for particle in particles
    )


class Guard(NamedTuple):
    """A guard of some particles (None: of all), with a sentence and a span that stays because of this guard alone."""

    name: str
    forms: Collection[str] | None
    keeps: Callable[[Cut], bool]
    sentence: str
    given: str


# Cheap ones first.
GUARDS = (
    Guard("no_host", None, _no_host, "그는 시·도 대표로 나갔다.", "시·도"),
    Guard("bare_suffix", None, _bare_suffix, "값은 10% 대로 올랐다.", "대로"),
    Guard("rare", _RARE_PARTICLES, _rare, "투표에서 랜드루 후보가 이겼다.", "랜드루"),
    Guard("street", {"가"}, _street, "을지로4가 골목이 좁다.", "을지로4가"),
    Guard("loves", {"랑"}, _loves, "모임은 회사랑 역시 컸다.", "회사랑"),
    Guard("name_in_rang", {"랑"}, _name_in_rang, "그는 드 메랑 박사를 만났다.", "드 메랑"),
    Guard("about", {"께"}, _about, "그는 오전 11시께 집을 나섰다.", "11시께"),
    Guard("wrong_form", None, _wrong_form, "그는 보문로 가게에 갔다.", "보문로"),
    Guard("cut_on_purpose", None, _cut_on_purpose, "학교에서는 논다.", "학교에서"),
    Guard("closing_goes_on", _CLOSING_PARTICLES, _closing_goes_on, "지지도는 높았다.", "지지도는"),
    Guard("case_goes_on", _BEFORE_NO_CASE, _case_goes_on, "버스는 전용차로를 달린다.", "전용차로를"),
    Guard("glossed", None, _glossed, "배는 소나도(小那島)에 닿았다.", "소나도(小那島)에"),
    Guard("before_list_end", set("은도나만랑로"), _before_list_end, "배는 매물도 등을 돌았다.", "매물도"),
    Guard("in_list", {"도"}, _in_list, "청결도, 위치, 값이 좋다.", "청결도,"),
    Guard("to_the_last", {"까지"}, _to_the_last, "문은 3월부터 5월까지 열린다.", "3월부터 5월까지"),
    Guard("leans_on_phrase", {"에", "으로"}, _leans_on_phrase, "흉년 때문에 떠났다.", "흉년 때문에"),
    Guard("island", {"도"}, _island, "배는 매물도 앞바다를 지났다.", "매물도"),
    Guard("degree", {"도"}, _degree, "그는 만족도 조사를 했다.", "만족도"),
    Guard("name_in_na", {"나"}, _name_in_na, "그는 로지나 부인을 만났다.", "로지나"),
    Guard("inside_title", None, _inside_title, "그는 책 《섬에서 온 편지》를 읽었다.", "섬에서"),
    Guard("clause_without_verb", None, _clause_without_verb, "법은 사람을 나라로 여긴다.", "사람을 나라로"),
    Guard("before_office", None, _before_office, "새해에는 현정은 협회 회장이 왔다.", "현정은"),
    Guard("behind_profession", _ENDS_OF_NAMES, _behind_profession, "화가 안병의 그림이 걸렸다.", "안병의"),
    Guard("used_as_word", _LIKE_LAST_SYLLABLES, _used_as_word, "그는 벨라로 부인을 만났다. 벨라로가 웃었다.", "벨라로"),
)


@functools.lru_cache(maxsize=1000)
def guards_of(form: str) -> tuple[Guard, ...]:
    """The guards of a particle."""
    return tuple(guard for guard in GUARDS if guard.forms is None or form in guard.forms)


def is_kept(cut: Cut) -> bool:
    """Whether any guard prevents the cut."""
    return any(guard.keeps(cut) for guard in guards_of(cut.form))
