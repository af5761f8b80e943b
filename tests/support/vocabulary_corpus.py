"""Sentences for vocabularies: a place, a noun with its josa, a year."""

NOUNS = "사과나무 학교 도서관 박물관 시장 바다 마을 역사 과학 음악 영화 친구 선생님 할머니 강아지 고양이".split()
PLACES = "서울 부산 대구 광주 대전 울산 제주 강릉 전주 수원".split()
CORPUS = [
    f"{place}에서 {noun}{'을' if (ord(noun[-1]) - 0xAC00) % 28 else '를'} 보았다. 좋았고 {1900 + i * 7 % 120}년이었다."
    for i, noun in enumerate(NOUNS)
    for place in PLACES
]
