"""The scorers against figures that the official scripts gave (evaluate-v1.0.py of KorQuAD, v1.1 and v2.0 of SQuAD)."""

import pytest

from kobert_tf2.errors import InputError
from kobert_tf2.reading import metrics

# prediction, gold, then exact match and F1 of the three official scripts
OFFICIAL = [
    ("세종대왕은", "세종대왕", 0.0, 0.888888888888889, 0.0, 0, 0.0, 0),
    ("세종 대왕", "세종대왕", 0.0, 1.0, 0.0, 0, 0.0, 0),
    ("《훈민정음》", "훈민정음", 1.0, 1.0, 0.0, 0, 0.0, 0),
    ("훈민정음(訓民正音)", "훈민정음", 0.0, 0.6666666666666666, 0.0, 0, 0.0, 0),
    ("1,000명", "1000명", 1.0, 1.0, 1.0, 1.0, 1.0, 1.0),
    ("‘아리랑’", "아리랑", 1.0, 1.0, 0.0, 0, 0.0, 0),
    ("“아리랑”", "아리랑", 0.0, 0.7499999999999999, 0.0, 0, 0.0, 0),
    ("the Han River", "Han river", 0.0, 0.8421052631578948, 1.0, 1.0, 1.0, 1.0),
    ("서울 한강", "한강 서울", 0.0, 1.0, 0.0, 1.0, 0.0, 1.0),
    ("a", "the", 0.0, 0, 1.0, 0, 1.0, 1),
    ("", "", 1.0, 0, 1.0, 0, 1.0, 1),
    ("", "서울", 0.0, 0, 0.0, 0, 0.0, 0),
    ("---", "...", 1.0, 0, 1.0, 0, 1.0, 1),
    ("3.1운동", "31운동", 1.0, 1.0, 1.0, 1.0, 1.0, 1.0),
    ("A(B)", "AB", 0.0, 1.0, 1.0, 1.0, 1.0, 1.0),
    ("이순신 장군이", "이순신 장군", 0.0, 0.9090909090909091, 0.0, 0.5, 0.0, 0.5),
    ("İzmir", "i̇zmir", 1.0, 1.0, 1.0, 1.0, 1.0, 1.0),
    ("나비\u3000나무", "나비 나무", 1.0, 1.0, 1.0, 1.0, 1.0, 1.0),
    ("ㄱㄴㄷ", "가나다", 0.0, 0, 0.0, 0, 0.0, 0),
]
METRIC_COLUMNS = {"korquad1": 2, "squad1": 4, "squad2": 6}
LONG = "가나다라마바사아자차" * 25
# The same for KorQuAD 2 (its script with BeautifulSoup) and for KLUE-baseline: prediction, gold, EM, F1 or ROUGE-W.
OFFICIAL_OF_OTHERS = {
    "korquad2": [
        ("세종대왕은", "세종대왕", 0.0, 0.888888888888889),
        ("세종 대왕", "세종대왕", 1.0, 1.0),
        ("《훈민정음》", "훈민정음", 1.0, 1.0),
        ("훈민정음(訓民正音)", "훈민정음", 0.0, 0.6666666666666666),
        ("the Han River", "Han river", 0.0, 0.8421052631578948),
        ("서울 한강", "한강 서울", 0.0, 1.0),
        ("", "", 1.0, 0),
        ("---", "...", 1.0, 0),
        ("<table><tr><td>나루</td><td>강바람</td></tr></table>", "나루 강바람", 1.0, 1.0),
        ("<p>배&amp;노</p>", "배&노", 1.0, 1.0),
        ("<b>나<!-- 주석 -->루</b>", "나루", 1.0, 1.0),
        ("나루터 <a href='#x'>강", "나루터 강가", 0.0, 0.888888888888889),
        ("<ul><li>하나<li>둘</ul>", "하나 둘", 1.0, 1.0),
        ("3 < 5 이다", "3 5이다", 1.0, 1.0),
        ("<script>x()</script>나루", "나루", 1.0, 1.0),
        ("&nbsp;나&#45208;루", "나나루", 1.0, 1.0),
        ("<td>나루", "<td><p>나루</p></td>", 1.0, 1.0),
    ],
    "klue_mrc": [
        ("세종대왕은", "세종대왕", 0.0, 0.888888888888889),
        ("세종 대왕", "세종대왕", 0.0, 0.4444444444444445),
        ("《훈민정음》", "훈민정음", 0.0, 0.8),
        ("1,000명", "1000명", 1.0, 1.0),
        ("the Han River", "Han river", 0.0, 0.8181818181818181),
        ("서울 한강", "한강 서울", 0.0, 0.4000000000000001),
        ("a", "the", 0.0, 0.0),
        ("", "", 1.0, 1.0),
        ("", "서울", 0.0, 0.0),
        ("나루", "", 0.0, 0.0),
        ("---", "...", 1.0, 1.0),
        ("A(B)", "AB", 1.0, 1.0),
        ("이순신 장군이", "이순신 장군", 0.0, 0.923076923076923),
        ("'()‘’나루", "나루", 1.0, 1.0),
        ("ß", "ss", 0.0, 0.0),
        (LONG, LONG, 1.0, 1.0),
        (LONG + "끝", "끝" + LONG, 0.0, 0.00398406374501992),
    ],
}

QUESTIONS = [
    ("1", ["서울 특별시", "서울"], "서울 특별시는"),
    ("2", [], ""),
    ("3", [], "부산"),
    ("4", ["the"], "x"),
    ("5", ["한강 다리"], "한강 다리"),
    ("6", ["낙동강"], ""),
    ("7", ["금강 하구"], "금강"),
]
ANSWERS = {name: golds for name, golds, _ in QUESTIONS}
PREDICTIONS = {name: prediction for name, _, prediction in QUESTIONS}
NULL_ODDS = {"3": 0.4, "1": -2.5, "2": 3.0, "5": 0.4, "4": 0.7, "6": 2.0, "7": 1.5}
SQUAD2 = {
    "exact": 28.571428571428573,
    "f1": 47.61904761904761,
    "total": 7,
    "HasAns_exact": 20.0,
    "HasAns_f1": 46.666666666666664,
    "HasAns_total": 5,
    "NoAns_exact": 50.0,
    "NoAns_f1": 50.0,
    "NoAns_total": 2,
}
SQUAD2_WITH_ODDS = {
    "exact": 28.571428571428573,
    "f1": 38.09523809523809,
    "total": 7,
    "HasAns_exact": 20.0,
    "HasAns_f1": 33.33333333333333,
    "HasAns_total": 5,
    "NoAns_exact": 50.0,
    "NoAns_f1": 50.0,
    "NoAns_total": 2,
    "best_exact": 28.571428571428573,
    "best_exact_thresh": 0.0,
    "best_f1": 47.61904761904761,
    "best_f1_thresh": 1.5,
}


@pytest.mark.parametrize("metric", METRIC_COLUMNS)
@pytest.mark.parametrize("row", OFFICIAL, ids=lambda row: f"{row[0]}|{row[1]}")
def test_a_pair_scores_as_the_official_script_says(metric, row):
    column = METRIC_COLUMNS[metric]
    assert tuple(metrics.score_pair(metric, row[0], row[1])) == row[column : column + 2]


@pytest.mark.parametrize("metric", OFFICIAL_OF_OTHERS)
def test_a_pair_scores_as_the_scripts_of_korquad2_and_klue_say(metric):
    for prediction, gold, exact, overlap in OFFICIAL_OF_OTHERS[metric]:
        found = metrics.score_pair(metric, prediction, gold)
        assert (found.exact, found.f1) == (exact, overlap), (prediction, gold)


def test_klue_scores_by_question_type_and_knows_questions_without_an_answer():
    answers = {"a": ["서울"], "b": ["부산", "부산시"], "c": [], "d": []}
    predictions = {"a": "서울은", "b": "부산시", "c": "", "d": "대구"}
    types = {"a": 1, "b": 2, "c": 3, "d": 3}
    result = metrics.evaluate("klue_mrc", answers, predictions, question_types=types)
    assert result["exact_match"] == 50.0
    assert result["rouge_w"] == pytest.approx(100 * (0.8 + 1 + 1 + 0) / 4)
    assert result["by_question_type"]["3"] == {"exact_match": 50.0, "rouge_w": 50.0, "total": 2}
    assert "f1" not in result
    # Without a type a question is one of the first.
    assert list(metrics.evaluate("klue_mrc", answers, predictions)["by_question_type"]) == ["1"]


@pytest.mark.parametrize(("odds", "expected"), [(None, SQUAD2), (NULL_ODDS, SQUAD2_WITH_ODDS)])
def test_squad2_gives_every_figure_of_the_official_script(odds, expected):
    result = metrics.evaluate("squad2", ANSWERS, PREDICTIONS, null_odds=odds)
    assert {name: result[name] for name in expected} == expected
    assert result["exact_match"] == result["exact"]


def test_the_best_of_several_gold_answers_counts_for_each_figure():
    assert metrics.score_question("korquad1", "가나", ["가나다라", "가나", "마"]) == (1.0, 1.0)
    assert metrics.score_question("korquad1", "가나", ["가나다", "마"]) == (0.0, 0.8)


@pytest.mark.parametrize("metric", metrics.METRICS)
def test_a_question_without_prediction_scores_nothing_and_is_counted(metric):
    result = metrics.evaluate(metric, {"a": ["서울"], "b": ["부산"]}, {"a": "서울"})
    overlap = result[metrics.overlap_name(metric)]
    assert (result["exact_match"], overlap, result["total"], result["missing"]) == (50.0, 50.0, 2, 1)


def test_scores_of_each_question_stand_in_the_order_of_the_file():
    scores = metrics.score("korquad1", {"b": ["부산"], "a": ["서울"]}, {"a": "서울", "b": "부산은"})
    assert list(scores) == ["b", "a"]
    assert [score.exact for score in scores.values()] == [0.0, 1.0]


def test_a_running_sum_is_added_in_turn():
    """As `total += value` does; a compensated sum gives 1.0."""
    assert metrics._add_in_turn([0.1] * 10) == 0.9999999999999999


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("bleu", {"a": ["가"]}, {}), "expected a metric out of"),
        (("korquad1", {}, {}), "at least one question"),
        (("korquad1", {"q7": []}, {"q7": ""}), "question q7: expected a gold answer"),
    ],
)
def test_what_cannot_be_scored_is_said(arguments, message):
    with pytest.raises(InputError, match=message):
        metrics.evaluate(*arguments)


def test_odds_must_cover_all_questions():
    odds = {name: value for name, value in NULL_ODDS.items() if name != "4"}
    with pytest.raises(InputError, match="1 of 7 questions have none, the first is 4"):
        metrics.evaluate("squad2", ANSWERS, PREDICTIONS, null_odds=odds)


def test_the_best_threshold_goes_by_the_odds_and_not_by_the_names():
    answers = {"a": ["서울"], "b": [], "c": ["부산"]}
    predictions = {"a": "서울", "b": "대구", "c": "부산"}
    odds = {"a": 3.0, "b": 2.0, "c": 1.0}
    scores = metrics.score("squad2", answers, predictions)
    # c gains its point at 1.0; then b loses one at 2.0, which a regains at 3.0: no more than before.
    assert metrics.best_null_threshold(answers, predictions, scores, odds) == (pytest.approx(200 / 3), 1.0)
    assert metrics.best_null_threshold(answers, predictions, scores, odds, "exact")[1] == 1.0
