"""Our own test sentences for each table entry of josa_guards.py and josa_text.py: a span, and its stripped form.

A case is written `before |span| after -> stripped`. `python tests/support/josa_mutants.py` removes the guards and the
entries one by one and reports those whose removal changes no case.
"""

from typing import NamedTuple

from kobert_tf2.reading import josa_guards


class Case(NamedTuple):
    sentence: str
    start: int
    end: int
    left: str


def read_case(line: str) -> Case:
    marked, left = line.rsplit(" -> ", 1)
    before, span, after = marked.split("|")
    return Case(before + span + after, len(before), len(before) + len(span), left)


OFFICES = (
    "회장 대통령 총리 장관 의원 위원장 위원 교수 박사 감독 선수 대표 사장 대사 특사 장군 대장 총재 지사 시장 후보 기자 "
    "작가 배우 판사 검사 변호사 이사장 이사 총장 원장 국왕 황제 부부 선생 목사 신부 부인 여사 공주 왕자"
).split()
PROFESSIONS = (
    "가수 배우 화가 시인 작가 감독 선수 방송인 개그맨 코미디언 아나운서 디자이너 소설가 작곡가 모델 연출가 조각가 "
    "무용가 만화가 교수 박사 의원 장관 총리 회장 사장 대표 위원장 기자 변호사 판사 검사 장군"
).split()
SEA = (
    "앞바다 바다 해역 해상 공해 섬 등대 항 항구 포구 선착장 근해 연안 해안 해변 해수욕장 주민 어민 여객선 "
    "동쪽 서쪽 남쪽 북쪽 남동쪽 남서쪽 북동쪽 북서쪽"
).split()

DEGREES = "만족 청결 선호 신뢰 인지 지지 의존 정확 중요 완성 친밀 몰입 호감 기여 심각".split()
SAID_OF_DEGREES = (
    *(f"{word} 결과를 보았다." for word in "조사 평가 개선 향상 상승 하락 순위".split()),
    *("높은 곳에 갔다.", "낮은 곳에 갔다.", "떨어지는 곳에 갔다.", "오르는 곳에 갔다.", "올라서 좋아했다."),
)
BRACKETS = "() [] {} （） ［］ 〔〕 【】"
QUOTES = "《》 〈〉 『』 「」 “” ‘’ <> \"\" ''"
TITLES = "《》 〈〉 『』 「」"

# Endings to be stripped, in the form that fits the word: particles, and the copula at the end of a sentence.
PARTICLES = {
    "사과": "는 가 를 와 로 로서 로써 로부터 나마 랑 란 며 든 든지 라고 라도 야말로 는커녕 도 만 의 에 에서 에게 한테 "
    "까지 부터 마저 조차 밖에 처럼 만큼 보다 하고 마다 뿐 대로 에서부터 에서는 까지도 로서의 만이 에게서도 "
    "라서 라는 이자",
    "수박": "은 이 을 과 으로 으로서 으로써 으로부터 이나 이나마 이랑 이란 이며 이든 이든지 이라고 이라도 이야말로 "
    "은커녕 도 만 이라서 이라는 이자",
    "서울": "은 이 을 과 로 로서 로써 로부터",
    "1945년": "은 이 을 과 으로 에 까지 부터 이라서",
    "CEO": "는 가 를 와 로 의 에게 도",
    "3.1": "은 이 을 과 로 의 에",
    "90%": "는 가 를 와 로 의 에 까지",
    "10km": "는 가 를 와 로 의 에 까지",
    "5℃": "는 가 를 로 의 까지",
    "K리그": "는 가 를 와 로 의 에서",
    "“봄날”": "은 이 을 과 으로 의 에서 이라고 이라는",
    "봄날(春日)": "은 이 을 과 으로 의 에서 이라고 이라는",
}
COPULAS = {
    "사과": "다 였다 예요 인가요 입니다 입니까 였습니다 죠 네요 거든요 잖아요 랍니다 인데요 인걸요 일까요 였지요",
    "수박": "이다 이었다 이에요 인가요 입니다 입니까 이었습니다 이죠 이네요 이거든요 이잖아요 이랍니다 인데요 이었지요",
    "1945년": "이다 이었다 이에요 입니다 입니까 인가요 이었지요",
    "CEO": "다 였다 예요 입니다",
    "90%": "다 였다 입니다",
    "10km": "다 였다 입니다",
    "“봄날”": "이다 이었다 이에요 입니다 인가요 인데요",
    "봄날(春日)": "이다 이었다 이에요 입니다 인가요 인데요",
}
LEFT = {"“봄날”": "봄날", "봄날(春日)": "봄날"}

BY_TABLE = {
    "guards": [
        "그는 |시·도| 대표로 나갔다. -> 시·도",
        "값은 10% |대로| 올랐다. -> 대로",
        "그는 |드 메랑| 박사를 만났다. -> 드 메랑",
        "그는 오전 |11시께| 집을 나섰다. -> 11시께",
        "|학교에서|는 논다. -> 학교에서",
        "투표에서 |랜드루| 후보가 이겼다. -> 랜드루",
        "문은 |3월부터 5월까지| 열린다. -> 3월부터 5월까지",
        "법은 |사람을 나라로| 여긴다. -> 사람을 나라로",
        "배는 |소나도(小那島)에| 닿았다. -> 소나도",
        "그는 |미르도(Mirdo)를| 샀다. -> 미르도",
        "|지지도는| 높았다. -> 지지도",
        "버스는 |전용차로를| 달린다. -> 전용차로",
        "딸 |사랑이의| 방이다. -> 사랑이",
        "모임은 |회사랑| 역시 컸다. -> 회사랑",
        "그는 |회사랑| 싸웠다. -> 회사",
        "그는 |의사랑| 다시 싸웠다. -> 의사",
        "|을지로4가| 골목이 좁다. -> 을지로4가",
        "|종로3가| 골목이 좁다. -> 종로3가",
        "|아이폰6가| 나왔다. -> 아이폰6",
        "그는 |더럼 경이| 오기를 빌었다. -> 더럼 경",
        "걸어서 구시가지와 |신시가지| 모두 가능하다. -> 신시가지",
        "그는 |하지원이랑| 좀 닮았다. -> 하지원",
        "그는 |고속철도| 이용을 권했다. -> 고속철도",
        "|대학로| 극장에 갔다. -> 대학로",
        "|대학로에| 갔다. -> 대학로",
        "그는 |기사나| 사진을 모은다. -> 기사",
        "|우려도| 나왔다. -> 우려",
        "|방도| 깨끗하다. -> 방",
    ],
    "closing particles": [
        "|구슬은의| 노래가 좋다. -> 구슬은",
        "|나루는의| 노래가 좋다. -> 나루는",
        "|구슬이는| 노래가 좋다. -> 구슬이",
        "|바위가의| 노래가 좋다. -> 바위가",
        "|구슬을의| 노래가 좋다. -> 구슬을",
        "|나루를의| 노래가 좋다. -> 나루를",
        "|구슬의가| 좋다. -> 구슬의",
        "|구슬도는| 멀다. -> 구슬도",
        "|구슬로가| 컸다. -> 구슬로",
        "|바위로를| 보았다. -> 바위로",
        "|나루와가| 컸다. -> 나루와",
        "|나루와를| 보았다. -> 나루와",
        "|구슬은요| 예쁘다. -> 구슬",
        "|구슬도라고| 했다. -> 구슬",
        "그는 |구슬은| 및 섬을 돌았다. -> 구슬은",
        "그는 |바위나| 및 섬을 돌았다. -> 바위나",
        "배는 |바위도| 등 섬을 돌았다. -> 바위도",
        "그는 |바위나| 등 여럿을 보았다. -> 바위나",
        "그는 |구슬만| 및 섬을 돌았다. -> 구슬만",
        "그는 |나무랑| 및 섬을 돌았다. -> 나무랑",
        "그는 |바위로| 및 섬을 돌았다. -> 바위로",
        "그는 |바위만| 등을 보았다. -> 바위만",
        "그는 |청결도|, 위치, 값을 보았다. -> 청결도",
        "그는 |청결은|, 위치, 값을 보았다. -> 청결",
    ],
    "used as a word": [
        f"그는 |{word}| 옆에 섰다. {word}{particle} 컸다. -> {word}"
        for word, particle in zip(
            "구슬은 나루는 구슬이 바위가 구슬을 나루를 구슬의 나루도 벨라로 나무랑 바위나".split(),
            "은 은 는 는 은 은 가 가 가 은 는".split(),
            strict=True,
        )
    ],
    "기 of the copula": [
        "그것은 |사실이기| 때문이다. -> 사실",
        "그것은 |학생이기| 위해서다. -> 학생",
        "그는 |학생이기| 전에 아들이다. -> 학생",
        "그는 |학생이기| 이전에 아들이다. -> 학생",
        "그는 |학생이기| 이후에 바뀌었다. -> 학생",
        "꿈은 |꿈이기| 마련이다. -> 꿈",
        "꿈은 |꿈이기| 십상이다. -> 꿈",
        "그것은 |밤이었기| 좋다. -> 밤",
        "그는 |가수이기도| 하다. -> 가수",
        "그는 |가수이기는| 했다. -> 가수",
        "그는 |드라이기도| 샀다. -> 드라이기",
        "그것은 |봄이라기보다| 여름이다. -> 봄",
        "그것은 |세종이었음을| 밝혔다. -> 세종",
        "그는 |CEO였음을| 밝혔다. -> CEO",
        "가격은 |90%며| 값은 5%다. -> 90%",
        "직접 만든 |공기정화기| 단추를 눌렀다. -> 공기정화기",
        "그는 |학생인| 동생을 불렀다. -> 학생",
        "그는 |학생일| 것이다. -> 학생",
    ],
    "서 and other rare particles": [
        *(f"그는 |{place}서| 잔다. -> {place}" for place in "여기 거기 저기 혼자 아래 가운데".split()),
        "그는 |어디서| 자는가. -> 어디",
        "말을 찾는 |데서| 온다. -> 데",
        "경기는 |서울서| 열린다. -> 서울",
        "|바보들아|. -> 바보들",
        "|너랑| 논다. -> 너",
        "값은 두 |배나| 뛰었다. -> 배",
        *(f"그들은 |{number}서| 잔다. -> {number}" for number in "둘이 셋이 넷이".split()),
        "지역 |스플라이서| 회사가 생겼다. -> 스플라이서",
        "그는 |수진아| 소재 회사에 다닌다. -> 수진아",
        "그는 |두고야| 도시에 산다. -> 두고야",
        "|수진아|, 놀자. -> 수진",
        "그는 |뒤에야| 왔다. -> 뒤",
    ],
    "phrases": [
        "그는 |매우 자발적으로| 왔다. -> 매우 자발적으로",
        "|흉년 때문에| 떠났다. -> 흉년 때문에",
        "|때문에| 떠났다. -> 때문",
        "문은 |서울에서 부산까지| 열린다. -> 서울에서 부산까지",
        "그는 |다섯째 줄까지| 걸었다. -> 다섯째 줄까지",
        "그는 |넓은 들까지| 걸었다. -> 넓은 들",
        "표어는 |나를 강으로| 였다. -> 나를 강으로",
        "표어는 |산에서 강으로| 였다. -> 산에서 강으로",
        "표어는 |형에게 돈으로| 였다. -> 형에게 돈으로",
        "표어는 |집으로 차로| 였다. -> 집으로 차로",
    ],
    "hosts": [
        "그는 |졌다고까지| 말했다. -> 졌다고",
        "그는 |十信을| 썼다. -> 十信",
        "|학생들은| 갔다. -> 학생들",
        "|지금은| 밤이다. -> 지금",
        "그것은 |3.1이다|. -> 3.1",
        "그들은 |학생들이다|. -> 학생들",
        "답은 |아직이다|. -> 아직",
        "취미는 |읽기이다|. -> 읽기",
        "그는 |룔뷘이다|. -> 룔뷘",
        "그것은 |十信이다|. -> 十信",
        "좋은 곳을 찾는 |분들께는| 최고이다. -> 분들",
        "그의 |CEO의| -> CEO",
        "그의 |3.1과| -> 3.1",
        '그는 |"봄날" 노래를| 들었다. -> "봄날" 노래',
        "그는 |'봄날' 노래를| 들었다. -> '봄날' 노래",
    ],
    "hanging nouns": [
        "|배추등이| 왔다. -> 배추",
        "|1990년이전의| 일이다. -> 1990년",
        "|15살때는| 컸다. -> 15살",
        "|3년동안의| 일이다. -> 3년",
        "|10월무렵에| 왔다. -> 10월",
        "그는 |30분정도| 걸었다. -> 30분정도",
        "그는 |3년동안| 걸었다. -> 3년동안",
        "|40분만에| 왔다. -> 40분",
        "|10년전에| 왔다. -> 10년",
        "|10분내에| 왔다. -> 10분",
        "|5차전에서| 이겼다. -> 5차전",
        "그는 |과일등| 가게에 갔다. -> 과일등",
        "그는 |일등| 상을 받았다. -> 일등",
    ],
    "unknown words": [
        *(
            f"그는 |룔뷔즈{form}| 갔다. -> 룔뷔즈"
            for form in "에서는 에서 에게 까지 부터 가 는 를 와 의 에 로 도".split()
        ),
        *(f"그는 |룔뷕{form}| 갔다. -> 룔뷕" for form in "으로 이 은 을 과".split()),
    ],
    "verbs on nouns": [
        "|억압받는| 사람이다. -> 억압받는",
        "|양식있는| 사람이다. -> 양식있는",
        "|뜻없는| 사람이다. -> 뜻없는",
        "|대쪽같은| 사람이다. -> 대쪽같은",
        "|악명높은| 사람이다. -> 악명높은",
    ],
    "eojeols read again": [
        "그는 대부분 |도보로| 갔다. -> 도보",
        "그는 개인 |용도로| 썼다. -> 용도",
        "그는 11월 |여주로| 갔다. -> 여주",
        "일곱 곡이 |수록되었다|. -> 수록",
        "나라의 최대 |고비인| 때다. -> 고비",
        "그는 반지의 제왕 |이라는| 영화를 보았다. -> 이라는",
        "배에 |불이| 나 놀랐다. -> 불",
    ],
    "names": [
        "|안병의는| 화가이다. -> 안병의",
        "|안병의가| 그린 그림이다. -> 안병의",
        "가수 |이은하는| 노래를 불렀다. -> 이은하",
        "방송인 |정준하는| 웃었다. -> 정준하",
        *(f"우승자는 |정준하{form}|. -> 정준하" for form in "입니다 입니까 였다 였습니다 예요".split()),
        "그는 |정준하라는| 배우를 만났다. -> 정준하",
        "그는 |정준하라고| 한다. -> 정준하",
        "그는 |하와이라는| 이름을 들었다. -> 하와이",
        "배우 |홍재인| 씨가 왔다. -> 홍재인",
        "주연은 |홍재인| 등이 맡았다. -> 홍재인",
        "배우 |강민도| 씨가 왔다. -> 강민도",
        "그는 |가수인| 동생을 불렀다. -> 가수",
        "디자이너 |마르샹| 부인을 만났다. -> 마르샹",
        "대통령 |문재인| 정부가 출범했다. -> 문재인",
        "정당은 |이상일| 의원을 불렀다. -> 이상일",
        "그것은 |이상일| 수도 있다. -> 이상",
        "시인 |조은| 시집을 냈다. -> 조은",
        "|조은의| 시집이 나왔다. -> 조은",
        "|서양인| 여행객이 왔다. -> 서양인",
        "|우크라이나| 사태가 났다. -> 우크라이나",
        "그 일은 |문제이나| 어렵다. -> 문제",
    ],
}


def all_cases() -> list[Case]:
    cases = [
        read_case(f"{before}|{word}{ending}|{after} -> {LEFT.get(word, word)}")
        for table, before, after in ((PARTICLES, "", " 말이 나왔다."), (COPULAS, "그것은 ", "."))
        for word, endings in table.items()
        for ending in endings.split()
    ]
    lines = [f"새해에는 |현정은| {office} 일행이 왔다. -> 현정은" for office in OFFICES]
    lines += [f"그는 |{noun}도| 조사를 했다. -> {noun}도" for noun in DEGREES]
    lines += [f"그는 |만족도| {said} -> 만족도" for said in SAID_OF_DEGREES]
    lines += ["그는 |로지나| 씨를 만났다. -> 로지나"]
    lines += [f"{profession} |안병의| 그림이 걸렸다. -> 안병의" for profession in PROFESSIONS]
    lines += [f"배는 |구슬도| {word} 쪽에 섰다. -> 구슬도" for word in SEA]
    lines += [f"배는 |구슬도| {word} 섬을 돌았다. -> 구슬도" for word in ("등", "및", "또는", "혹은")]
    lines += [f"그는 |사과{stop}| 배를 샀다. -> 사과" for stop in ".,?!;:…·。、，．！？：；"]
    lines += [f"그는 |봄날{pair[0]}春日{pair[1]}을| 샀다. -> 봄날" for pair in BRACKETS.split()]
    lines += [f"그는 |{pair[0]}봄날{pair[1]}을| 샀다. -> 봄날" for pair in QUOTES.split()]
    lines += [f"그는 책 {pair[0]}|섬에서| 온 편지{pair[1]}를 읽었다. -> 섬에서" for pair in TITLES.split()]
    cases += [read_case(line) for line in lines]
    cases += [read_case(line) for lines in BY_TABLE.values() for line in lines]
    return cases


def failures(stripper) -> list[tuple[Case, str]]:
    """The cases with a wrong result, and that result."""
    left = [(case, case.sentence[slice(*stripper(*case[:3]))]) for case in all_cases()]
    return [(case, text) for case, text in left if text != case.left]


SURNAMES = (
    "김이박최정강조윤장임한오서신권황안송류전홍고문양손배백허유남심노하곽성차주우구민진지엄채원천방공현함변염여추도소석"
    "선설마길연위표명기반라왕금옥육인맹제모탁국"
)
BEFORE_EUN = "가고나다도동라루미민보비상새서성세소수시아양여연영예유윤자재정조주지채초태하해현혜호효희"


def failures_of_names() -> list[str]:
    """Full names that josa_guards does not recognise, and non-names that it does."""
    names = [surname + "나은" for surname in SURNAMES] + [f"김{syllable}은" for syllable in BEFORE_EUN]
    names += ["김병의", "김진도", "김병만", "김하나"]
    others = ["뷁나은", "김철은", "김나", "김나나은", "김철가"]
    is_name = {name: josa_guards.is_full_name(name) and josa_guards.may_end_name(name) for name in names + others}
    return [name for name in names if not is_name[name]] + [name for name in others if is_name[name]]


FINALS = ("", *"ㄱㄲㄳㄴㄵㄶㄷㄹㄺㄻㄼㄽㄾㄿㅀㅁㅂㅄㅅㅆㅇㅈㅊㅋㅌㅍㅎ")
SYLLABLES = {final: chr(ord("바") + place) for place, final in enumerate(FINALS)}
FORMS = (
    "은/는 이/가 을/를 과/와 으로/로 으로서/로서 으로써/로써 으로부터/로부터 이나/나 이나마/나마 이랑/랑 이란/란 "
    "이며/며 이든/든 이든지/든지 이라고/라고 이라도/라도 이야/야 이야말로/야말로 이여/여 은커녕/는커녕 아/야"
).split()
NUMBERS = {
    **dict(zip("0123456789", ("ㅇ", "ㄹ", "", "ㅁ", "", "", "ㄱ", "ㄹ", "ㄹ", ""), strict=True)),
    **{"10": "ㅂ", "100": "ㄱ", "1000": "ㄴ", "10,000": "ㄴ", "100000": "ㄴ", "1000000": "ㄴ", "10,000,000": "ㄴ"},
    **{"100000000": "ㄱ", "3.10": "ㅇ", "1945": "", "20": "ㅂ"},
}


def failures_of_finals() -> list[tuple[str, str]]:
    """(form, final) of particles wrongly accepted or wrongly rejected after a final, and numbers read wrongly."""
    wrong = [
        (text, final)
        for text, final in (NUMBERS | {syllable: final for final, syllable in SYLLABLES.items()}).items()
        if josa_guards.final_consonant(text) != final
    ]
    for forms in FORMS:
        behind_consonant, behind_vowel = forms.split("/")
        for final in FINALS:
            is_vowel = final == "" or (behind_vowel.startswith("로") and final == "ㄹ")
            fitting = [form for form in (behind_consonant, behind_vowel) if josa_guards.fits(form, final)]
            if fitting != [behind_vowel if is_vowel else behind_consonant]:
                wrong.append((forms, final))
    return wrong
