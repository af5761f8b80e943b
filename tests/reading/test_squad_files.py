"""Files of questions: what is read, what is repaired and listed, what is refused."""

import json
import unicodedata

import hypothesis.strategies as st
import pytest
from hypothesis import assume, given, settings

from kobert_tf2.errors import InputError
from kobert_tf2.reading import squad_files
from kobert_tf2.reading.squad_files import locate_answer, read_squad, read_squad_and_repairs

CONTEXT = "해미는 나루에서 배를 탔다. 나루에는 강바람이 불었다."


def squad(*questions, context=CONTEXT, title="해미"):
    return {"version": "test", "data": [{"title": title, "paragraphs": [{"context": context, "qas": list(questions)}]}]}


def entry(name="q1", text="나루", start=4, **more):
    return {"id": name, "question": "어디에서?", "answers": [{"text": text, "answer_start": start}], **more}


@pytest.fixture
def write(tmp_path):
    def write_file(content, head=b""):
        path = tmp_path / "questions.json"
        path.write_bytes(head + (content if isinstance(content, str) else json.dumps(content)).encode())
        return str(path)

    return write_file


def test_questions_come_with_their_answers_places(write):
    questions, repairs = read_squad_and_repairs(write(squad(entry(), entry("q2", "강바람", 21))))
    assert not repairs
    assert questions[0] == ("q1", "어디에서?", CONTEXT, (("나루", 4, 6),), False, "해미")
    assert [CONTEXT[a.start : a.end] for question in questions for a in question.answers] == ["나루", "강바람"]


def test_squad2_questions_without_an_answer(write):
    impossible = {
        "id": "q1",
        "question": "왜?",
        "answers": [],
        "is_impossible": True,
        "plausible_answers": [{"text": "배"}],
    }
    (question,) = read_squad(write(squad(impossible)))
    assert question.is_impossible
    assert question.answers == ()


def test_a_file_to_predict_needs_no_answers(write):
    assert read_squad(write(squad({"id": 7, "question": "왜?"})))[0].id == "7"


def test_gold_answers_are_as_the_file_spells_them(write):
    questions = read_squad(write(squad(entry(text=" 나루 ", start=3), context=CONTEXT)))
    assert squad_files.gold_answers(questions) == {"q1": [" 나루 "]}


@pytest.mark.parametrize(
    ("context", "text", "start", "found", "kind"),
    [
        (CONTEXT, "나루", 4, (4, 6), None),
        (CONTEXT, "나루", 5, (4, 6), "answer_start"),
        (CONTEXT, "나루", 14, (16, 18), "answer_start"),
        (CONTEXT, "나루", -3, (4, 6), "answer_start"),
        (CONTEXT, "나루", 900, (16, 18), "answer_start"),
        (CONTEXT, " 나루", 3, (4, 6), "answer_spaces"),
        (CONTEXT, "나루 ", 4, (4, 6), "answer_start"),
        (CONTEXT, "서울", 4, (-1, -1), "answer_missing"),
        ("큰  강에서", "큰 강", 0, (0, 4), "answer_spelling"),
        ("큰\u00a0강에서", "큰 강", 0, (0, 3), "answer_spelling"),
        (unicodedata.normalize("NFD", "옛 강에서"), "강", 2, (4, 7), "answer_spelling"),
        ("옛 강에서", unicodedata.normalize("NFD", "강에"), 2, (2, 4), "answer_spelling"),
        ("카페 cafe\u0301 앞", "café", 3, (3, 8), "answer_spelling"),
    ],
)
def test_an_answer_is_looked_for_and_the_repair_named(context, text, start, found, kind):
    answer, repair = locate_answer(context, text, start)
    assert (answer.text, answer.start, answer.end) == (text, *found)
    assert (repair and repair[0]) == kind


@settings(deadline=None, max_examples=200)
@given(st.text("가나다 \u00a0\u3000ᄀ\u1161강e\u0301", max_size=12), st.data())
def test_what_is_found_says_the_same_as_the_answer(context, data):
    begin = data.draw(st.integers(0, len(context)))
    text = data.draw(
        st.sampled_from([context[begin : begin + 3], unicodedata.normalize("NFC", context[begin : begin + 3])])
    )
    assume(text.strip())
    answer, _ = locate_answer(context, text, data.draw(st.integers(-2, 14)))
    if answer.start >= 0:
        found = unicodedata.normalize("NFC", context[answer.start : answer.end]).split()
        wanted = unicodedata.normalize("NFC", text).split()
        # A slice may begin inside a composed character; the whole character is then the answer.
        assert "".join(wanted) in "".join(found)
    else:
        assert text.strip() not in context


def test_every_oddity_is_listed_with_its_id(write):
    context = " 나루에서  배를\ufeff 탔다. " + unicodedata.normalize("NFD", "강")
    path = write(squad(entry("q1", "나루", 0), entry("q2", "서울", 0), context=context), head=b"\xef\xbb\xbf")
    repairs = read_squad_and_repairs(path)[1]
    about = ["context_bom", "context_double_spaces", "context_not_nfc", "context_outer_spaces"]
    assert repairs[0][:2] == ("", "file_bom")
    for name, own in (("q1", "answer_start"), ("q2", "answer_missing")):
        assert sorted(repair.kind for repair in repairs if repair.id == name) == sorted([own, *about])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[]", r"expected an object with 'data', but got list \[\]"),
        ({"version": "1"}, r"expected the field 'data', but there are only \['version'\]"),
        ({"data": {}}, "expected 'data' to be a list, but got dict"),
        ({"data": [{"title": "해미"}]}, r"data\[0\]: expected the field 'paragraphs'"),
        ({"data": ["해미"]}, r"data\[0\]: expected an object with 'paragraphs', but got str"),
        ({"data": [{"paragraphs": [{"qas": []}]}]}, r"data\[0\].paragraphs\[0\]: expected the field 'context'"),
        (
            squad(entry(), context=" \n"),
            r"paragraphs\[0\] \(title '해미'\): expected a context to read, but it is empty",
        ),
        (squad({"question": "왜?"}), r"qas\[0\]: expected the field 'id'"),
        (squad({"id": "q9", "answers": []}), r"\(id q9\): expected the field 'question'"),
        (squad({"id": "q9", "question": "?", "answers": "나루"}), r"\(id q9\): expected 'answers' to be a list"),
        (
            squad({"id": "q9", "question": "?", "answers": [{"text": "배"}]}),
            r"answers\[0\]: expected the field 'answer_start'",
        ),
        (squad(entry("q9", start="4")), "expected 'answer_start' to be a whole number, but got str '4'"),
        (squad(entry("q9", text=" ")), "expected the text of an answer, but it is empty"),
        (squad(entry("q9"), entry("q9")), "expected each id once, but q9 stands twice"),
        (squad(), "expected at least one question, but there is none"),
        ("", "expected JSON, but the file is empty"),
        ("{", "not JSON"),
    ],
)
def test_what_is_not_squad_is_told_with_its_place(write, content, message):
    with pytest.raises(InputError, match=message):
        read_squad(write(content))


@pytest.mark.shared
def test_korquad_has_every_answer_where_it_says(shared):
    questions, repairs = read_squad_and_repairs(f"{shared}/data/korquad/KorQuAD_v1.0_dev_part_a.json")
    assert len(questions) == 3316
    assert [repair.kind for repair in repairs if repair.kind.startswith("answer")] == ["answer_spaces"] * 2
    assert all(q.context[a.start : a.end] == a.text.strip() for q in questions for a in q.answers)
