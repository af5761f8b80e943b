"""Synthetic Korean sample data: documents and KorQuAD-format questions about people, towns, companies and buildings.

All are fictional. The data is for trying the pipeline (`tools/quickstart.py`) and for tests: no third-party text, no
download, reproducible by seed. A hash assigns each name and number to the training part or the held-out part, so a
reader that answers the held-out questions has learned to read, not to memorise. It is not suitable for judging a Korean
model: the sentences come from templates.
"""

import dataclasses
import random
import re
import zlib
from collections.abc import Callable, Iterator

# ---- Particles by the sound before them ------------------------------------------------------------------------------

_DIGITS_WITH_FINAL_CONSONANT = set("013678")
_DIGITS_ENDING_IN_RIEUL = set("178")
_RIEUL = 8  # index of ㄹ among the 28 final consonants of a syllable (0: none)


def _final_consonant(character: str) -> int:
    """The index of the final consonant, 0 for none: 산 -> 4, 나무 -> 0. Digits as they are read aloud (3 is 삼)."""
    if "가" <= character <= "힣":
        return (ord(character) - ord("가")) % 28
    if character in _DIGITS_ENDING_IN_RIEUL:
        return _RIEUL
    return 1 if character in _DIGITS_WITH_FINAL_CONSONANT else 0


def with_particle(word: str, particle: str) -> str:
    """The form of a particle after a word: (사과, "은/는") -> 는, (서울, "으로/로") -> 로."""
    after_consonant, after_vowel = particle.split("/")
    letters = re.sub(r"[^0-9가-힣]", "", word)
    final = _final_consonant(letters[-1]) if letters else 0
    if after_consonant == "으로" and final == _RIEUL:
        return after_vowel
    return after_consonant if final else after_vowel


_SLOT = re.compile(r"\{(\w+)\}|\[([^\]]+/[^\]]*)\]")


def fill(template: str, values: dict[str, str]) -> tuple[str, dict[str, int]]:
    """Fills `{slot}` and chooses each `[은/는]`; returns the text and the offset of each slot's value."""
    text, starts, end = "", {}, 0
    for match in _SLOT.finditer(template):
        text += template[end : match.start()]
        slot, particle = match.groups()
        if slot:
            starts[slot] = len(text)
            text += values[slot]
        else:
            text += with_particle(text, particle)
        end = match.end()
    return text + template[end:], starts


# ---- Words -----------------------------------------------------------------------------------------------------------

_SURNAMES = list("김이박최정강조윤장임한오서신권황안송류홍고문양손배백허남심노")
_GIVEN = """
    가영 경민 규리 나연 다은 다현 도윤 도현 동욱 미경 미란 민서 민수 민준 민지 보람 상우 상현 서연 서윤 서준 석진 선영
    성민 성훈 세영 소연 소영 수민 수빈 수아 수진 수현 승우 승현 시우 아름 연우 연희 영수 영호 예린 예은 예준 우진 원석
    유나 유진 윤서 윤아 은서 은영 은지 은희 인호 재민 재현 재훈 정민 정수 정우 정훈 종수 주영 주원 준서 준호 지민 지수
    지아 지우 지원 지은 지현 지호 지훈 진수 진아 진우 진호 찬영 채원 철수 태민 태희 하늘 하은 하준 하진 현수 현우 현정
    현주 혜원 혜진 호준 효진 희정
""".split()
_PLACE = list(
    "가강고구금나남다달대동두마매명무문백별보부북산상새서석소솔송수신아안양여연영예옥온운원월은이임장전정"
    "제조주죽진창천청초춘충태통파팔평포풍하한해향현호홍화황"
)
_JOBS = """
    시인 소설가 화가 건축가 식물학자 천문학자 작곡가 조각가 사진작가 역사학자 요리사 영화감독 의사 번역가 지휘자
    발명가 언어학자 만화가 도예가 기자
""".split()
_SUBJECTS = """
    문학 과학 미술 음악 건축 영화 환경 평화 언어 역사 교육 의학 체육 기술 농업 해양 우주 출판 방송 무용
""".split()
_NATURE = """
    해바라기 사과나무 은행나무 소나무 달빛 바닷가 봄바람 눈사람 별자리 반딧불이 무지개 강물 들꽃 단풍잎 갈매기
    고래 나비 등대 안개 첫눈
""".split()
_PLACES_IN_TITLES = """
    정거장 도서관 골목길 시장 우체국 지붕 편지 노래 그림자 일기 약속 여행 정원 계절 아침 저녁 식탁 사진관 다락방
    연못
""".split()
_SPECIALITIES = """
    사과 굴비 인삼 녹차 고추장 한과 미역 감자 곶감 옥수수 마늘 배추 딸기 포도 전복 막걸리 도자기 한지 대나무 버섯
""".split()
_PRODUCTS = """
    자전거 냉장고 배터리 반도체 카메라 망원경 의자 운동화 화장품 라면 전기자동차 로봇 안경 시계 종이컵 비누 우산
    악기 장난감 청소기
""".split()
_BUILDINGS = """
    박물관 도서관 미술관 음악당 체육관 천문대 수목원 기념관 식물원 과학관 다리 전망대
""".split()


def _syllables(source: list[str], count: int) -> Callable[[random.Random], str]:
    return lambda rng: "".join(rng.choices(source, k=count))


def _person(rng: random.Random) -> str:
    return rng.choice(_SURNAMES) + rng.choice(_GIVEN)


def _town(rng: random.Random) -> str:
    return _syllables(_PLACE, 2)(rng) + rng.choice("시시시군군읍")


def _year(rng: random.Random) -> str:
    return f"{rng.randint(1850, 2023)}년"


def _date(rng: random.Random) -> str:
    return f"{_year(rng)} {rng.randint(1, 12)}월 {rng.randint(1, 28)}일"


def _title(rng: random.Random) -> str:
    return f"{rng.choice(_NATURE)} {rng.choice(_PLACES_IN_TITLES)}"


def _prize(rng: random.Random) -> str:
    return _syllables(_PLACE, 2)(rng) + rng.choice(_SUBJECTS) + "상"


def _school(rng: random.Random) -> str:
    return _syllables(_PLACE, 2)(rng) + rng.choice(["대학교", "고등학교", "여자대학교", "예술대학"])


def _company(rng: random.Random) -> str:
    return _syllables(_PLACE, 2)(rng) + rng.choice(["전자", "식품", "출판사", "자동차", "화학", "제약"])


def _building(rng: random.Random) -> str:
    return _syllables(_PLACE, 2)(rng) + rng.choice(_BUILDINGS)


def _people_count(rng: random.Random) -> str:
    return f"{rng.randint(2, 98)}만 {rng.randint(1, 9)},{rng.randint(100, 999)}명"


def _staff(rng: random.Random) -> str:
    return f"{rng.randint(1, 9)},{rng.randint(100, 999)}명"


def _metres(rng: random.Random) -> str:
    return f"{rng.randint(20, 990)}미터"


def _mountain(rng: random.Random) -> str:
    return _syllables(_PLACE, 2)(rng) + "산"


def _river(rng: random.Random) -> str:
    return _syllables(_PLACE, 2)(rng) + "강"


def _festival(rng: random.Random) -> str:
    return rng.choice(_NATURE) + rng.choice(["축제", "잔치", "영화제", "음악회"])


def _cost(rng: random.Random) -> str:
    return f"{rng.randint(12, 980)}억 원"


def _one_of(words: list[str]) -> Callable[[random.Random], str]:
    return lambda rng: rng.choice(words)


# ---- Relations: how a fact is told and how it is asked ---------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Relation:
    """One kind of fact about `{name}`: possible values of `{answer}`, sentences that state it, and questions about
    it.
    """

    answer: Callable[[random.Random], str]
    sentences: tuple[str, ...]
    questions: tuple[str, ...]
    closed: bool = False  # the answer is from a short list of common nouns, shared by training and held-out data


@dataclasses.dataclass(frozen=True)
class Kind:
    """A kind of subject: its names, how it is referred to the second time, and the facts about it."""

    name: Callable[[random.Random], str]
    again: tuple[str, ...]
    opening: tuple[str, ...]
    relations: tuple[Relation, ...]


_PERSON = Kind(
    _person,
    ("{name}", "{name}", "그"),
    (
        "{name}[은/는] 많은 사람이 기억하는 인물이다.",
        "{name}의 삶은 여러 책에 실려 있다.",
        "오늘은 {name}의 이야기를 소개한다.",
    ),
    (
        Relation(
            _town,
            (
                "{name}[은/는] {answer}에서 태어났다.",
                "{name}의 고향은 {answer}이다.",
                "{answer}[은/는] {name}[이/가] 태어나고 자란 곳이다.",
                "{name}[은/는] {answer}의 작은 마을에서 태어나 자랐다.",
            ),
            ("{name}[이/가] 태어난 곳은 어디인가?", "{name}의 고향은 어디인가?", "{name}[은/는] 어디에서 태어났는가?"),
        ),
        Relation(
            _date,
            (
                "{name}의 생일은 {answer}이다.",
                "{name}[이/가] 세상에 나온 날은 {answer}[이었다/였다].",
                "{answer}에 {name}[이/가] 세상에 나왔다.",
            ),
            ("{name}의 생일은 언제인가?", "{name}[이/가] 세상에 나온 날은?", "{name}의 생일은 몇 년 몇 월 며칠인가?"),
        ),
        Relation(
            _one_of(_JOBS),
            (
                "{name}[은/는] {answer}[으로/로] 이름을 알렸다.",
                "{name}의 직업은 {answer}이다.",
                "사람들은 {name}[을/를] 뛰어난 {answer}[이라고/라고] 불렀다.",
                "{name}[은/는] 평생 {answer}[으로/로] 일했다.",
            ),
            (
                "{name}의 직업은 무엇인가?",
                "{name}[은/는] 어떤 일을 한 사람인가?",
                "{name}[은/는] 무엇으로 이름을 알렸는가?",
            ),
            closed=True,
        ),
        Relation(
            _school,
            (
                "{name}[은/는] {answer}[을/를] 졸업했다.",
                "{name}[이/가] 공부한 학교는 {answer}이다.",
                "{answer}[은/는] {name}의 모교이다.",
                "{name}[은/는] {answer}에서 공부했다.",
            ),
            ("{name}[이/가] 졸업한 학교는 어디인가?", "{name}의 모교는?", "{name}[은/는] 어느 학교에서 공부했는가?"),
        ),
        Relation(
            _title,
            (
                "{name}의 대표작은 《{answer}》이다.",
                "{name}[은/는] 《{answer}》[을/를] 발표해 큰 사랑을 받았다.",
                "《{answer}》[은/는] {name}[이/가] 남긴 대표작으로 꼽힌다.",
            ),
            (
                "{name}의 대표작은 무엇인가?",
                "{name}[이/가] 발표한 작품은?",
                "{name}[이/가] 남긴 작품의 제목은 무엇인가?",
            ),
        ),
        Relation(
            _prize,
            (
                "{name}[은/는] {answer}[을/를] 받았다.",
                "{answer}[이/가] {name}에게 돌아갔다.",
                "{name}[은/는] {answer}의 첫 수상자였다.",
            ),
            (
                "{name}[이/가] 받은 상은 무엇인가?",
                "{name}에게 돌아간 상의 이름은?",
                "{name}[은/는] 어떤 상을 받았는가?",
            ),
        ),
        Relation(
            _person,
            (
                "{name}의 스승은 {answer}이다.",
                "{name}[은/는] {answer}에게서 일을 배웠다.",
                "{answer}[은/는] {name}[을/를] 제자로 받아들였다.",
                "{name}[은/는] 스승인 {answer}[과/와] 오래 함께 지냈다.",
            ),
            ("{name}의 스승은 누구인가?", "{name}[을/를] 가르친 사람은?", "{name}[은/는] 누구에게서 배웠는가?"),
        ),
        Relation(
            _year,
            (
                "{name}[은/는] {answer}부터 외국에서 살았다.",
                "{answer}까지 {name}[은/는] 고향을 떠나지 않다가 외국으로 갔다.",
                "{answer}에는 {name}[이/가] 외국으로 떠났다.",
            ),
            ("{name}[이/가] 외국으로 떠난 해는?", "{name}[은/는] 언제 외국으로 갔는가?"),
        ),
    ),
)

_TOWN = Kind(
    _town,
    ("{name}", "{name}", "이곳"),
    (
        "{name}[은/는] 산과 들이 아름다운 고장이다.",
        "{name}[을/를] 찾는 여행자가 해마다 늘고 있다.",
        "{name}[은/는] 오랜 역사를 지닌 곳이다.",
    ),
    (
        Relation(
            _people_count,
            (
                "{name}의 인구는 {answer}이다.",
                "{name}에는 {answer}[이/가] 살고 있다.",
                "{name}의 주민은 모두 {answer}으로 조사되었다.",
            ),
            ("{name}의 인구는 몇 명인가?", "{name}에 사는 사람은 모두 몇 명인가?", "{name}의 주민 수는?"),
        ),
        Relation(
            _river,
            (
                "{name}[을/를] 가로지르는 강은 {answer}이다.",
                "{answer}[이/가] {name}[을/를] 지나 바다로 흐른다.",
                "{name}[은/는] {answer}[을/를] 끼고 있다.",
            ),
            ("{name}[을/를] 지나는 강은 무엇인가?", "{name}[을/를] 가로지르는 강의 이름은?"),
        ),
        Relation(
            _mountain,
            (
                "{name}에서 가장 높은 산은 {answer}이다.",
                "{name}의 북쪽에는 {answer}[이/가] 솟아 있다.",
                "{answer}에서는 {name}[이/가] 한눈에 내려다보인다.",
            ),
            ("{name}에 있는 산은 무엇인가?", "{name}에 솟은 산의 이름은?"),
        ),
        Relation(
            _festival,
            (
                "{name}에서는 해마다 {answer}[이/가] 열린다.",
                "{answer}[은/는] {name}[을/를] 대표하는 행사이다.",
                "해마다 {answer}[을/를] 보러 {name}에 사람이 모인다.",
            ),
            ("{name}에서 해마다 열리는 행사는 무엇인가?", "{name}[을/를] 대표하는 행사는?"),
        ),
        Relation(
            _one_of(_SPECIALITIES),
            (
                "{name}의 특산물은 {answer}이다.",
                "{name}[은/는] {answer}[으로/로] 유명하다.",
                "{answer}[을/를] 사려고 {name}[을/를] 찾는 사람이 많다.",
            ),
            ("{name}의 특산물은 무엇인가?", "{name}[은/는] 무엇으로 유명한가?"),
            closed=True,
        ),
        Relation(
            _person,
            (
                "{name}의 시장은 {answer}이다.",
                "{answer}[이/가] {name}의 시장으로 뽑혔다.",
                "{name} 주민은 {answer}[을/를] 시장으로 뽑았다.",
            ),
            ("{name}의 시장은 누구인가?", "{name}의 시장으로 뽑힌 사람은?"),
        ),
        Relation(
            _year,
            (
                "{name}에 기차역이 생긴 해는 {answer}이다.",
                "{answer}에 {name}까지 철길이 놓였다.",
                "{name}의 기차역은 {answer}부터 손님을 맞았다.",
            ),
            ("{name}에 기차역이 생긴 해는 언제인가?", "{name}에 철길이 놓인 때는?"),
        ),
    ),
)

_COMPANY = Kind(
    _company,
    ("{name}", "{name}", "이 회사"),
    (
        "{name}[은/는] 꾸준히 자라 온 회사이다.",
        "{name}[을/를] 모르는 사람은 드물다.",
        "{name}[은/는] 작은 가게에서 출발했다.",
    ),
    (
        Relation(
            _person,
            (
                "{name}[을/를] 세운 사람은 {answer}이다.",
                "{answer}[은/는] 친구들과 {name}[을/를] 세웠다.",
                "{name}[은/는] {answer}[이/가] 창업했다.",
            ),
            ("{name}[을/를] 세운 사람은 누구인가?", "{name}의 창업자는?", "누가 {name}[을/를] 창업했는가?"),
        ),
        Relation(
            _year,
            (
                "{name}[이/가] 세워진 해는 {answer}이다.",
                "{name}[은/는] {answer}에 문을 열었다.",
                "{answer}[은/는] {name}[이/가] 첫걸음을 뗀 해이다.",
            ),
            ("{name}[이/가] 세워진 해는 언제인가?", "{name}[은/는] 언제 문을 열었는가?"),
        ),
        Relation(
            _town,
            (
                "{name}의 본사는 {answer}에 있다.",
                "{name}[은/는] 본사를 {answer}[으로/로] 옮겼다.",
                "{answer}에는 {name}의 본사가 자리 잡고 있다.",
            ),
            ("{name}의 본사는 어디에 있는가?", "{name}의 본사가 있는 곳은?"),
        ),
        Relation(
            _one_of(_PRODUCTS),
            (
                "{name}[은/는] {answer}[을/를] 만든다.",
                "{name}의 대표 상품은 {answer}이다.",
                "{name}에서 만든 {answer}[은/는] 외국에서도 잘 팔린다.",
            ),
            ("{name}[이/가] 만드는 것은 무엇인가?", "{name}의 대표 상품은?"),
            closed=True,
        ),
        Relation(
            _staff,
            (
                "{name}의 직원은 {answer}이다.",
                "{name}에서는 {answer}[이/가] 일한다.",
                "{name}[은/는] 직원을 {answer}까지 늘렸다.",
            ),
            ("{name}의 직원은 몇 명인가?", "{name}에서 일하는 사람은 몇 명인가?"),
        ),
        Relation(
            _company,
            (
                "{name}의 경쟁사는 {answer}이다.",
                "{name}[은/는] {answer}[과/와] 오래 경쟁했다.",
                "{answer}[이야말로/야말로] {name}의 가장 큰 경쟁사이다.",
            ),
            ("{name}의 경쟁사는 어디인가?", "{name}[과/와] 경쟁한 회사는?"),
        ),
    ),
)

_BUILDING = Kind(
    _building,
    ("{name}", "{name}", "이 건물"),
    (
        "{name}[은/는] 시민이 아끼는 곳이다.",
        "{name}[은/는] 우리 고장의 자랑이다.",
        "{name}에는 날마다 많은 사람이 드나든다.",
    ),
    (
        Relation(
            _metres,
            (
                "{name}의 높이는 {answer}이다.",
                "{name}[은/는] 높이가 {answer}에 이른다.",
                "{answer}[이나/나] 되는 높이는 {name}의 자랑이다.",
            ),
            ("{name}의 높이는 얼마인가?", "{name}[은/는] 몇 미터인가?"),
        ),
        Relation(
            _person,
            (
                "{name}[을/를] 설계한 사람은 {answer}이다.",
                "{name}[은/는] {answer}[이/가] 설계했다.",
                "{answer}[은/는] {name}[을/를] 설계해 널리 알려졌다.",
            ),
            ("{name}[을/를] 설계한 사람은 누구인가?", "누가 {name}[을/를] 설계했는가?"),
        ),
        Relation(
            _date,
            (
                "{name}[은/는] {answer}에 문을 열었다.",
                "{name}의 개관일은 {answer}이다.",
                "{answer}에는 {name}의 개관식이 열렸다.",
            ),
            ("{name}의 개관일은 언제인가?", "{name}[은/는] 언제 문을 열었는가?"),
        ),
        Relation(
            _cost,
            (
                "{name}[을/를] 짓는 데 {answer}[이/가] 들었다.",
                "{name}의 공사비는 {answer}이다.",
                "{name}[은/는] 공사비로 {answer}[을/를] 썼다.",
            ),
            ("{name}의 공사비는 얼마인가?", "{name}[을/를] 짓는 데 든 돈은?"),
        ),
        Relation(
            _town,
            (
                "{name}[은/는] {answer}에 있다.",
                "{name}[이/가] 자리한 곳은 {answer}이다.",
                "{answer}에서는 {name}[을/를] 가장 먼저 찾게 된다.",
            ),
            ("{name}[은/는] 어디에 있는가?", "{name}[이/가] 자리한 곳은?"),
        ),
        Relation(
            _people_count,
            (
                "지난해 {name}[을/를] 찾은 사람은 {answer}이다.",
                "한 해에 {answer}[이/가] {name}[을/를] 찾는다.",
                "{name}의 한 해 관람객은 {answer}에 이른다.",
            ),
            ("{name}의 한 해 관람객은 몇 명인가?", "한 해에 {name}[을/를] 찾는 사람은 몇 명인가?"),
        ),
    ),
)

KINDS = (_PERSON, _TOWN, _COMPANY, _BUILDING)

# ---- Facts, passages, documents, questions ---------------------------------------------------------------------------


def is_held_out(value: str) -> bool:
    """Whether a name or number is held out: one in five, by a hash of its spelling, never occurs in the training
    part.
    """
    return zlib.crc32(value.encode("utf-8")) % 5 == 0


def _draw(make: Callable[[random.Random], str], rng: random.Random, held_out: bool) -> str:
    """Draws a value of the requested part, by rejection sampling."""
    while is_held_out(value := make(rng)) != held_out:
        pass
    return value


@dataclasses.dataclass(frozen=True)
class Fact:
    """One sentence, the answer in it, and the answer's offset."""

    sentence: str
    name: str
    relation: Relation
    answer: str
    answer_start: int


def _make_fact(kind: Kind, relation: Relation, name: str, subject: str, rng: random.Random, held_out: bool) -> Fact:
    answer = relation.answer(rng) if relation.closed else _draw(relation.answer, rng, held_out)
    sentence, starts = fill(rng.choice(relation.sentences), {"name": subject, "answer": answer})
    return Fact(sentence, name, relation, answer, starts["answer"])


def _make_passage(rng: random.Random, held_out: bool, subjects: int, facts_each: int) -> list[Fact | str]:
    """Sentences about one or several subjects of one kind; only a single subject is sometimes called 그 or 이곳."""
    kind = rng.choice(KINDS)
    passage: list[Fact | str] = []
    for _ in range(subjects):
        name = _draw(kind.name, rng, held_out)
        passage.append(fill(rng.choice(kind.opening), {"name": name})[0])
        for relation in rng.sample(kind.relations, min(facts_each, len(kind.relations))):
            subject = rng.choice(kind.again).replace("{name}", name) if subjects == 1 else name
            passage.append(_make_fact(kind, relation, name, subject, rng, held_out))
    return passage


def documents(count: int, *, seed: int, held_out: bool = False) -> Iterator[list[str]]:
    """Yields `count` documents, each a list of sentences, in the form that `create_pretraining_data` reads."""
    rng = random.Random(f"documents {seed}")
    for _ in range(count):
        passage = _make_passage(rng, held_out, subjects=rng.choice((1, 1, 2)), facts_each=rng.randint(3, 6))
        yield [part if isinstance(part, str) else part.sentence for part in passage]


def _paragraph(passage: list[Fact | str], rng: random.Random) -> tuple[str, list[tuple[Fact, int]]]:
    """Joins sentences, occasionally with two spaces, and returns the offset of each fact's answer in the paragraph."""
    text, placed = "", []
    for part in passage:
        if text:
            text += "  " if rng.random() < 0.05 else " "
        if isinstance(part, Fact):
            placed.append((part, len(text) + part.answer_start))
        text += part if isinstance(part, str) else part.sentence
    return text, placed


def korquad(paragraphs: int, *, seed: int, held_out: bool = False, questions_each: int = 4) -> dict:
    """Data in the KorQuAD 1.0 format: `paragraphs` articles, each with one paragraph and its questions.

    One paragraph in four has two subjects, so that a reader must look for the name in the question.
    """
    rng = random.Random(f"korquad {seed}")
    data = []
    for number in range(paragraphs):
        two = rng.random() < 0.25
        passage = _make_passage(rng, held_out, subjects=2 if two else 1, facts_each=3 if two else 5)
        context, placed = _paragraph(passage, rng)
        asked = rng.sample(placed, min(questions_each, len(placed)))
        questions = [
            {
                "id": f"sample-{seed}-{number}-{index}",
                "question": fill(rng.choice(fact.relation.questions), {"name": fact.name})[0],
                "answers": [{"text": fact.answer, "answer_start": start}],
            }
            for index, (fact, start) in enumerate(asked)
        ]
        title = next(part.name for part in passage if isinstance(part, Fact))
        data.append({"title": title, "paragraphs": [{"context": context, "qas": questions}]})
    return {"version": "kobert_tf2 sample", "data": data}
