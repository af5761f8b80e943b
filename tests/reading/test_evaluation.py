"""Ceilings, metrics by the data, what josa rules do on a file, and files of predictions."""

import json
import unicodedata

import pytest

from kobert_tf2.errors import InputError
from kobert_tf2.reading import evaluation
from kobert_tf2.reading.josa import JosaStripper
from kobert_tf2.reading.squad_files import Answer, Question, read_squad
from kobert_tf2.tokenization.tokenizer import Tokenizer

CONTEXT = "해미는 나루터에서 배를 탔다. 강바람이 불었다."


def question(name, answer, context=CONTEXT, text="어디에서 탔나?"):
    start = context.index(answer)
    return Question(name, text, context, (Answer(answer, start, start + len(answer)),), False, "해미</script>")


QUESTIONS = [question("q1", "나루터"), question("q2", "해미"), question("q3", "불었다."), question("q4", "루터")]


def test_a_ceiling_says_what_no_unit_spells():
    ceiling = evaluation.eojeol_ceiling(QUESTIONS)
    assert ceiling.scores["exact_match"] == 25
    assert [(miss.id, miss.kind, miss.nearest) for miss in ceiling.misses] == [
        ("q1", "ends_after", "나루터에서"),
        ("q2", "ends_after", "해미는"),
        ("q4", "begins_before_and_ends_after", "나루터에서"),
    ]
    assert ceiling.summary()["misses"] == {"ends_after": 2, "begins_before_and_ends_after": 1}


def test_the_ceiling_of_a_tokenizer_and_of_stripped_eojeols():
    vocab = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *sorted(set(CONTEXT) - {" "})]
    vocab += ["##" + piece for piece in vocab[5:]]
    whole = Tokenizer(vocab, pre_tokenizer="none")
    assert evaluation.tokenizer_ceiling(QUESTIONS, whole).scores["exact_match"] == 100
    stripped = evaluation.eojeol_ceiling(QUESTIONS, stripper=JosaStripper())
    assert [miss.id for miss in stripped.misses] == ["q4"]


def test_an_answer_outside_its_context_is_a_miss_of_its_own():
    lost = Question("q9", "?", CONTEXT, (Answer("서울", -1, -1),))
    assert [miss.kind for miss in evaluation.eojeol_ceiling([*QUESTIONS, lost]).misses][-1] == "not_in_context"


def test_each_rule_is_counted_for_what_it_fixed_and_broke():
    carries = question("q5", "배를")
    spans = evaluation.eojeol_ceiling([*QUESTIONS, carries]).spans
    report = evaluation.josa_report([*QUESTIONS, carries], spans)
    particle = report["rules"]["particle"]
    assert (particle["fixed"], particle["broken"], particle["wrong_still"]) == (2, 1, 1)
    assert particle["examples"]["broken"] == [["q5", "배를", "배", "배를"]]
    assert particle["sentence"]
    assert report["all"]["fixed"] == 2
    assert report["rules"]["gloss"]["fixed"] == 0


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[]", "expected an object of ids and answers, but got list"),
        ('{"q1": 3}', "expected the answer to q1 to be a string, but got int"),
        ('{"zz": "가"}', "none of its 1 ids is in the data; the first is zz"),
    ],
)
def test_what_is_no_file_of_predictions_is_reported(tmp_path, content, message):
    path = tmp_path / "predictions.json"
    path.write_text(content)
    with pytest.raises(InputError, match=message):
        evaluation.read_predictions(str(path), QUESTIONS)


def test_ids_are_compared_as_they_look(tmp_path):
    questions = [Question("물음1", "?", "가", ())]
    path = tmp_path / "p.json"
    path.write_text(json.dumps({unicodedata.normalize("NFD", "물음1") + "\u200b": "가"}), "utf-8")
    assert evaluation.read_predictions(str(path), questions) == {"물음1": "가"}
    path.write_text(json.dumps({"물음1": "가", "물음1 ": "나"}), "utf-8")
    with pytest.raises(InputError, match="expected each id once, but 물음1 stands twice"):
        evaluation.read_predictions(str(path), questions)


@pytest.mark.shared
def test_the_ceilings_of_korquad(shared):
    questions = read_squad(f"{shared}/data/korquad/KorQuAD_v1.0_dev_part_a.json")
    eojeols = evaluation.eojeol_ceiling(questions).scores
    assert (round(eojeols["exact_match"], 2), round(eojeols["f1"], 2)) == (23.88, 87.41)
    mecab = Tokenizer(f"{shared}/data/vocab/koelectra_wordpiece_vocab.txt")
    assert evaluation.tokenizer_ceiling(questions, mecab).scores["exact_match"] >= 99.19


@pytest.mark.parametrize(
    ("changed", "metric"),
    [
        ({}, "korquad1"),
        ({"is_impossible": True}, "squad2"),
        ({"question_type": 1}, "klue_mrc"),
        ({"is_html": True}, "korquad2"),
    ],
)
def test_the_metric_is_recognised_by_the_questions(changed, metric):
    plain = Question("1", "왜?", "가")
    assert evaluation.metric_of([plain, plain._replace(**changed)]) == metric


def test_klue_scores_have_a_name_of_their_own():
    question = Question("1", "왜?", "강에 나루", (Answer("나루", 3, 5),), question_type=2)
    scores = evaluation.scores_of("klue_mrc", [question], {"1": "나루"})
    assert (scores["rouge_w"], list(scores["by_question_type"])) == (100.0, ["2"])
    entry = evaluation.per_question("klue_mrc", [question], {"1": "나루"})["1"]
    assert entry["rouge_w"] == 1.0
    assert "f1" not in entry
    summary = evaluation.eojeol_ceiling([question], "klue_mrc").summary()
    assert summary["rouge_w"] == 100.0
    assert "f1" not in summary


def file(tmp_path, content) -> str:
    path = tmp_path / "given.json"
    path.write_text(json.dumps(content), "utf-8")
    return str(path)


def test_null_odds_are_numbers_under_the_ids_of_the_questions(tmp_path):
    path = file(tmp_path, {"q1\u200b": -1, "q2": 2.5, "other": 0})
    assert evaluation.read_null_odds(path, QUESTIONS) == {"q1": -1, "q2": 2.5, "other": 0}
    assert evaluation.read_null_odds(path) == {"q1\u200b": -1, "q2": 2.5, "other": 0}
    for wrong in ([], {"q1": "1"}, {"q1": True}, {"q1": None}):
        with pytest.raises(InputError, match=r"given.json: expected an object of ids and numbers"):
            evaluation.read_null_odds(file(tmp_path, wrong), QUESTIONS)


def test_an_n_best_list_is_ours_or_the_originals(tmp_path):
    ours = {"text": "나루터에서", "stripped": "나루터", "start": 4, "end": 9}
    entries = {"q1\u200b": [ours, {"text": ""}], "q2": [{"text": "배", "start": 0, "end": 0}], "q3": []}
    found = evaluation.read_nbest(file(tmp_path, entries), QUESTIONS)
    assert found == {"q1": entries["q1\u200b"], "q2": entries["q2"], "q3": []}
    assert evaluation.read_nbest(file(tmp_path, entries)) == entries


@pytest.mark.parametrize(
    "entry",
    [
        None,
        "나루",
        {},
        {"text": 3},
        {"text": None},
        {"text": "배", "stripped": 3},
        {"text": "배", "start": 3},
        {"text": "배", "end": 3},
        {"text": "배", "start": -1, "end": 3},
        {"text": "배", "start": 0, "end": -1},
        {"text": "배", "start": 0.0, "end": 1},
        {"text": "배", "start": 0, "end": True},
    ],
)
def test_another_entry_of_an_n_best_list_is_reported_with_its_question(tmp_path, entry):
    for entries in ([entry], [{"text": "배"}, entry]):
        with pytest.raises(InputError, match=r"given.json: q1: expected a list of answers, each with its text and, if"):
            evaluation.read_nbest(file(tmp_path, {"q1": entries}), QUESTIONS)
    with pytest.raises(InputError, match="q1: expected a list of answers"):
        evaluation.read_nbest(file(tmp_path, {"q1": {"text": "배"}}), QUESTIONS)


SCORES = {"exact_match": 1.0, "f1": 1.0, "prediction": "배", "gold": ["배"]}
MISS = {"id": "q1", "kind": "ends_after", "gold": "배", "nearest": "배를"}
KINDS = {
    "per_question_file": ({"q1": SCORES}, [{"q1": {**SCORES, "more": 1}}, {"q1": [SCORES]}]),
    "misses_file": ({"eojeol": [MISS], "tokenizer": []}, [{"eojeol": [{**MISS, "more": 1}]}, {"eojeol": MISS}]),
    "josa_report": (
        {"gold": {"all": {}, "rules": {}}, "words": {"all": {}, "by_particle": {}}},
        [{"gold": {"all": {}}}],
    ),
}


@pytest.mark.parametrize("kind", KINDS)
def test_only_a_file_of_its_kind_is_replaced(tmp_path, kind):
    ours, others = KINDS[kind]
    path = str(tmp_path / "out.json")
    evaluation.check_output(kind, None)
    evaluation.check_output(kind, path)
    evaluation.write(kind, path, ours)
    evaluation.write(kind, path, ours)
    assert json.loads((tmp_path / "out.json").read_text("utf-8")) == ours
    strange = [*others, *(values for other, (values, _) in KINDS.items() if other != kind), {"q1": 3}, [1]]
    for content in strange:
        (tmp_path / "out.json").write_text(json.dumps(content), "utf-8")
        with pytest.raises(InputError, match=r"out.json: already there, and it is not the (scores|misses|report)"):
            evaluation.write(kind, path, ours)


def test_scores_of_each_question():
    found = evaluation.per_question("korquad1", QUESTIONS[:2], {"q1": "나루"})
    assert found == {
        "q1": {"exact_match": 0.0, "f1": pytest.approx(0.8), "prediction": "나루", "gold": ["나루터"]},
        "q2": {"exact_match": 0.0, "f1": 0.0, "prediction": None, "gold": ["해미"]},
    }
