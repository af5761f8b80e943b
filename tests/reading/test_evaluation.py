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
def test_what_is_no_file_of_predictions_is_told(tmp_path, content, message):
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
