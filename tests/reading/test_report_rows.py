"""What the page of a reader's answers is made of: kinds of miss, groups, places, and what the file holds."""

import json
import re

import pytest

from kobert_tf2.errors import InputError
from kobert_tf2.reading import report as mrc_report
from kobert_tf2.reading.josa import JosaStripper
from kobert_tf2.reading.squad_files import Answer, Question

CONTEXT = "해미는 나루터에서 배를 탔다. 강바람이 불었다."


def question(name, answer, context=CONTEXT, text="어디에서 탔나?"):
    start = context.index(answer)
    return Question(name, text, context, (Answer(answer, start, start + len(answer)),), False, "해미</script>")


QUESTIONS = [question("q1", "나루터"), question("q2", "해미"), question("q3", "불었다."), question("q4", "루터")]


@pytest.mark.parametrize(
    ("prediction", "kind"),
    [
        ("나루터", "right"),
        ("나루터에서", "particle"),
        ("나루터에서 배", "boundary"),
        ("해미", "same sentence"),
        ("강바람", "wrong sentence"),
        ("", "other"),
        ("서울", "other"),
    ],
)
def test_kinds_of_miss(prediction, kind):
    spans = mrc_report.predicted_spans(QUESTIONS[:1], {"q1": prediction}, {})
    found = mrc_report.kind_of_miss(QUESTIONS[0], prediction, spans.get("q1"), "korquad1", JosaStripper())
    assert found == kind


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("배를 탄 사람은 누구인가?", "누구"),
        ("배를 탄 사람은?", "누구"),
        ("몇 년에 탔나?", "몇"),
        ("태어난 연도는?", "언제"),
        ("배는 어디에서 탔나?", "어디"),
        ("어떤 배를 탔나?", "어느·어떤"),
        ("탄 것은 무엇인가?", "무엇"),
        ("배의 길이는?", "기타"),
    ],
)
def test_question_words(text, word):
    assert mrc_report.question_word(text) == word


def test_a_place_is_taken_from_the_n_best_list_or_found_nearest_to_the_answer():
    nbest = {"q1": [{"text": "나루터에서", "stripped": "나루터", "start": 4, "end": 9}]}
    assert mrc_report.predicted_spans(QUESTIONS[:1], {"q1": "나루터"}, nbest) == {"q1": (4, 9)}
    twice = question("q6", "탔다", "탔다. 해미는 배를 탔다.")._replace(answers=(Answer("탔다", 11, 13),))
    assert mrc_report.predicted_spans([twice], {"q6": "탔다"}, {}) == {"q6": (11, 13)}


def test_the_page_holds_everything_and_nothing_ends_its_script(tmp_path):
    path = tmp_path / "report.html"
    mrc_report.write(str(path), QUESTIONS, {"q1": "나루터에서", "q2": "해미"}, {"q1": (4, 9), "q2": (0, 2)})
    page = path.read_text()
    data = re.search(r'<script id="data" type="application/json">(.*?)</script>', page, re.S)[1]
    held = json.loads(data)
    assert held["contexts"] == [CONTEXT]
    assert [row["kind"] for row in held["questions"]] == ["particle", "right", "other", "other"]
    assert held["questions"][0]["stripped"] == "나루터"
    assert held["questions"][0]["title"] == "해미</script>"
    assert not re.findall(r"(?:src|href)=", page)
    assert "@import" not in page


@pytest.mark.parametrize(
    ("text", "group"),
    [
        ("", "1–2"),
        ("나 루", "1–2"),
        ("나루터", "3–4"),
        ("나루 터에", "3–4"),
        ("나" * 5, "5–8"),
        ("나" * 16, "9–16"),
        ("나" * 17, "17+"),
    ],
)
def test_lengths_count_no_white_space(text, group):
    assert mrc_report.length_group(text) == group


def test_a_question_without_an_answer_is_right_with_none():
    impossible = Question("q9", "왜?", CONTEXT, (), True)
    kinds = [mrc_report.kind_of_miss(impossible, text, None, "squad2", JosaStripper()) for text in ("", "배")]
    assert kinds == ["right", "other"]
    (row,) = mrc_report.rows([impossible], {}, {}, "squad2")["questions"]
    assert (row["length"], row["em"], row["span"]) == ("–", 1.0, None)


def test_a_place_of_the_n_best_list_beyond_the_context_is_not_believed():
    nbest = {"q1": [{"text": "나루터", "start": 400, "end": 403}]}
    assert mrc_report.predicted_spans(QUESTIONS[:1], {"q1": "나루터"}, nbest) == {"q1": (4, 7)}


def test_only_a_report_is_replaced(tmp_path):
    path = str(tmp_path / "report.html")
    mrc_report.write(path, QUESTIONS[:1], {}, {})
    mrc_report.write(path, QUESTIONS[:2], {}, {}, "klue_mrc")
    assert "ROUGE-W" in (tmp_path / "report.html").read_text("utf-8")
    (tmp_path / "report.html").write_text("<html>a thesis</html>")
    with pytest.raises(InputError, match="already there, and it is not a report of evaluate_mrc"):
        mrc_report.write(path, QUESTIONS[:1], {}, {})
