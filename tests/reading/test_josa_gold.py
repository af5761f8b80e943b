"""Josa stripping against gold morphemes: which words are measured, what the report counts, KLUE's figures."""

import pytest

from kobert_tf2.errors import InputError
from kobert_tf2.reading import josa_gold
from kobert_tf2.reading.josa import JosaStripper

FILE = """## 토큰, 레이블 구분자 : \\t
## s1\t해미는 “나루터”에서 큰 배를 12%만큼 빨리 탔다, 사공도.
1\t해미는\t해미 는\tNNP+JX\t7\tNP_SBJ
2\t“나루터”에서\t“ 나루터 ” 에서\tSS+NNG+SS+JKB\t7\tNP_AJT
3\t큰\t크 ㄴ\tVA+ETM\t4\tVP_MOD
4\t배를\t배 를\tNNG+JKO\t7\tNP_OBJ
5\t12%만큼\t12 % 만큼\tSN+SW+JKB\t7\tNP_AJT
6\t빨리\t빨리\tMAG\t7\tAP
7\t탔다,\t타 았 다 ,\tVV+EP+EF+SP\t0\tVP
8\t사공도.\t사공 도 .\tNNG+JX+SF\t0\tNP

## s2\t마을에서부터 왔다.
1\t마을에서부터\t마을 에서 부터\tNNG+JKB+JX\t2\tNP_AJT
2\t왔다\t오 았 다\tVV+EP+EF\t0\tVP

## s3\t사과 배,
1\t사과\t사과\tNNG\t2\tNP
2\t배,\t배 ,\tNNG+SP\t0\tNP
3\t밤\t밤\tNNG\t0\tNP
"""


@pytest.fixture
def gold(tmp_path):
    path = tmp_path / "gold.tsv"
    path.write_text(FILE)
    return josa_gold.read_gold_words(str(path))


def test_which_words_are_measured(gold):
    assert [(word.id, word.sentence[word.start : word.end], word.bare, word.particles) for word in gold.words] == [
        ("s1", "해미는", "해미", "는"),
        ("s1", "배를", "배", "를"),
        ("s1", "사공도.", "사공", "도"),
        ("s2", "마을에서부터", "마을", "에서부터"),
        ("s3", "사과", "사과", ""),
        ("s3", "배,", "배", ""),
    ]
    assert gold.skipped == {
        "morphemes_do_not_spell_it": 3,
        "no_noun": 2,
        "quotes_or_brackets": 1,
        "not_in_sentence": 1,
    }


def test_the_report_counts_and_lists_misses(gold):
    class Cutter(JosaStripper):
        """Takes the last character, unless that is a full stop."""

        def steps(self, context, start, end):
            return [] if context[end - 1] == "." else super().steps(context, start, end)

    report = josa_gold.josa_gold_report(gold, Cutter())
    assert report["all"]["with_particle"] == {"words": 4, "right": 3, "too_long": 1, "too_short": 0, "percent": 75}
    assert report["all"]["without_particle"]["percent"] == 100
    assert report["by_particle"]["도"] == {
        "words": 1,
        "right": 0,
        "misses": [["s1", "사공도.", "사공도.", "사공", []]],
    }
    assert next(iter(report["by_particle"])) == "도"
    assert josa_gold.gold_summary(report) == {
        "with_particle": 75,
        "without_particle": 100,
        "words": 6,
        "skipped": 7,
    }
    assert list(josa_gold.report_lines(report)) == ["도: 1 of 1 missed: 사공도. -> 사공도."]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1\t배를\t배 를\tNNG+JKO\n", "line 1: expected a word's number.*got '1"),
        ("## s1\t배를\n배를\n", "line 2: expected a word's number.*got '배를'"),
        ("## s1\t배를\n", "none can be measured"),
    ],
)
def test_what_is_no_such_file_is_said(tmp_path, text, message):
    (tmp_path / "x.tsv").write_text(text)
    with pytest.raises(InputError, match=message):
        josa_gold.read_gold_words(str(tmp_path / "x.tsv"))


@pytest.mark.shared
def test_words_are_left_as_klue_has_them(shared):
    gold = josa_gold.read_gold_words(f"{shared}/data/klue/klue-dp-v1.1_dev_half.tsv")
    scores = josa_gold.josa_gold_report(gold)["all"]
    assert (scores["with_particle"]["words"], scores["without_particle"]["words"]) == (3696, 2910)
    assert scores["with_particle"]["percent"] >= 98.5
    assert scores["without_particle"]["percent"] >= 99.3
