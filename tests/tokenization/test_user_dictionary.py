"""A list of words becomes a dictionary that Mecab uses, whatever the words end in; what is no word is told."""

import unicodedata

import pytest

from kobert_tf2.errors import InputError
from kobert_tf2.tokenization.mecab import MorphemeAnalyser
from kobert_tf2.tokenization.user_dictionary import compile_user_dictionary
from kobert_tf2.tokenization.words import Segmenter


def compiled(tmp_path, content: str) -> MorphemeAnalyser:
    (tmp_path / "words.csv").write_text(content, encoding="utf-8")
    compile_user_dictionary(str(tmp_path / "words.csv"), str(tmp_path / "user.dic"))
    return MorphemeAnalyser(user_dictionary=str(tmp_path / "user.dic"))


def test_a_user_dictionary_may_lie_anywhere(tmp_path):
    """Mecab takes a list of them, with commas between, and said that it could not open its own dictionary."""
    folder = tmp_path / "빈 칸, 쉼표 'q' \"d\" $HOME"
    folder.mkdir()
    (folder / "words.csv").write_text("해미산\n", "utf-8")
    compile_user_dictionary(str(folder / "words.csv"), str(folder / "user.dic"))
    assert MorphemeAnalyser(user_dictionary=str(folder / "user.dic")).keys("해미산에", features=False)[0] == "해미산"


def test_a_user_dictionary_is_compiled_and_used(tmp_path):
    words = tmp_path / "words.csv"
    words.write_text("# 새 낱말\n대박꿀잼\n사과나무숲,NNP,0,사과/NNG/*+나무/NNG/*+숲/NNG/*\n\n", encoding="utf-8")
    assert compile_user_dictionary(str(words), str(tmp_path / "user.dic")) == 2
    with_it = MorphemeAnalyser(user_dictionary=str(tmp_path / "user.dic"))
    text = "그 사과나무숲은 대박꿀잼이다"
    assert "대박꿀잼" not in [m.surface for m in MorphemeAnalyser().analyse(text)]
    assert [m.surface for m in with_it.analyse(text)] == ["그", "사과나무숲", "은", "대박꿀잼", "이", "다"]
    assert [p.surface for p in with_it.parts(with_it.analyse(text)[1])] == ["사과", "나무", "숲"]
    assert with_it.fingerprint()["user_dictionary"] != MorphemeAnalyser().fingerprint()["user_dictionary"]


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("낱말,XYZ", "'XYZ' is no tag"),
        ("낱말,JX", "'JX' is no tag that the dictionary has for words of a list"),
        ("낱말,NNG,x", "a cost"),
        ("낱말,NNG,--5", "a cost"),
        ("낱말,NNG,²", "a cost"),
        ("낱말,NNG,40000", "a cost"),
        (",NNG", "expected word"),
        ("# 없음", "a word a line"),
        ("\u3000\n\u200b", "a word a line"),
        ("낱말,NNG,0,낱/NNG/*,또", r"expected word\[,tag"),
        ("큰 낱말", "line 1: expected a word without blanks, but '큰 낱말' has a space"),
        ("낱말\tNNG", "without blanks, but '낱말 NNG' has a tab; columns are separated by commas"),
        ("큰\u00a0낱말,NNG", r"without blanks, but '큰 낱말' has U\+00A0 \(NO-BREAK SPACE\)"),
        ("큰\u3000낱말", r"without blanks, but '큰 낱말' has U\+3000 \(IDEOGRAPHIC SPACE\)"),
        ("큰낱말,NNG,0,큰/VA/*+말/NNG/*", "expected parts that spell '큰낱말'"),
        ("낱" * 101, "expected a word of at most 100 characters, but this one has 101"),
        ("맞는말\n낱말,XYZ\n또,NNG,x", "2 lines are wrong: line 2: 'XYZ' is no tag .*; line 3: expected a cost"),
    ],
)
def test_a_wrong_list_of_words_is_reported_with_its_line(tmp_path, line, told):
    (tmp_path / "words.csv").write_text(line + "\n", encoding="utf-8")
    with pytest.raises(InputError, match=told):
        compile_user_dictionary(str(tmp_path / "words.csv"), str(tmp_path / "user.dic"))
    assert not (tmp_path / "user.dic").exists()


ENDINGS = [
    "K9",
    "GaonBERT",
    "갤럭시S24",
    "삼성SDS",
    "C++",
    "C#",
    "아이폰15",
    "가온!",
    "(주)가온",
    "ㅋㅋ루",
    "가온ㆍ나래",
    "ＡＢＣ",
    "漢字B",
    "나래-1.5",
    "３",
]


@pytest.mark.parametrize("tag", ["NNP", "NNG", "SL"])
def test_a_word_may_end_in_letters_digits_and_symbols(tmp_path, tag):
    analyser = compiled(tmp_path, "".join(f"{word},{tag},-2000\n" for word in ENDINGS))
    for word in ENDINGS:
        text = f"어제 {word}를 보았다"
        found = [(m.surface, m.tag) for m in analyser.analyse(text)]
        assert found[:3] == [("어제", "MAG"), (word, tag), ("를", "JKO")], found


def test_every_tag_of_the_dictionary_takes_such_a_word(tmp_path):
    tags = "NNG NNP NR NP VV VA MAG IC EC XPN SY SL SH SN".split()
    compiled(tmp_path, "".join(f"{word},{tag}\n" for tag in tags for word in ("K9", "가", "강")))


def test_words_are_composed_and_the_composed_are_counted(tmp_path, capsys):
    decomposed = unicodedata.normalize("NFD", "나래말")
    analyser = compiled(tmp_path, f"\ufeff대박꿀잼\n{decomposed}\n가온\u200b누리,NNP,-2000\n  바른말 , NNP\n")
    assert capsys.readouterr().err == (
        f"{tmp_path}/words.csv: 2 words were not in NFC or had zero-width characters, and are compiled without "
        "(the first in line 2)\n"
    )
    for text in (f"그 {decomposed}은", "그 나래말은"):
        assert [m.surface for m in analyser.analyse(text)] == ["그", "나래말", "은"]
    assert "가온누리" in [m.surface for m in analyser.analyse("그 가온누리는")]


@pytest.mark.parametrize("strip_accents", [False, True])
def test_a_tokenizer_that_lower_cases_finds_words_in_capitals(tmp_path, strip_accents):
    """It analyses the text in lower case, so the entry has to be in lower case too; the offsets are the original's."""
    words = "GaonBERT,NNP,0,Gaon/NNP/*+BERT/NNG/*\nÉclairON\n"
    (tmp_path / "words.csv").write_text(words, encoding="utf-8")
    output, switches = str(tmp_path / "user.dic"), {"do_lower_case": True, "strip_accents": strip_accents}
    assert compile_user_dictionary(str(tmp_path / "words.csv"), output, **switches) == 2
    segmenter = Segmenter(user_dictionary=output, **switches)
    text = "새GaonBERT와 ÉclairON을"
    assert [text[word.start : word.end] for word in segmenter.words(text)] == ["새", "GaonBERT", "와", "ÉclairON", "을"]
    in_parts = Segmenter(user_dictionary=output, decompose_compounds=True, **switches)
    assert [text[word.start : word.end] for word in in_parts.words(text)][1:3] == ["Gaon", "BERT"]
