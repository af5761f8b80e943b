"""Files of questions: what is read, what is repaired and listed, what is refused."""

import contextlib
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
    assert questions[0][:6] == ("q1", "어디에서?", CONTEXT, (("나루", 4, 6),), False, "해미")
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
def test_what_is_not_squad_is_reported_with_its_place(write, content, message):
    with pytest.raises(InputError, match=message):
        read_squad(write(content))


ANSWER = {"text": "나루", "answer_start": 4}
FOUND = (("나루", 4, 6),)


def asked(**changed):
    """A question whose fields are changed; a field that becomes `GONE` is taken out."""
    whole = {"id": "q1", "question": "어디에서?", "answers": [ANSWER]} | changed
    return {name: value for name, value in whole.items() if value is not GONE}


GONE = object()
FLAT = {"id": "q1", "title": "해미", "context": CONTEXT, "question": "어디에서?"}
COLUMNS = {"text": ["나루"], "answer_start": [4]}

# What is there, whether it is read as impossible, its answers, the repairs.
READ_AS = [
    (squad(asked(is_impossible="false")), False, FOUND, ["flag"]),
    (squad(asked(is_impossible=" False ")), False, FOUND, ["flag"]),
    (squad(asked(is_impossible="no")), False, FOUND, ["flag"]),
    (squad(asked(is_impossible="0")), False, FOUND, ["flag"]),
    (squad(asked(is_impossible=0)), False, FOUND, ["flag"]),
    (squad(asked(is_impossible=0.0)), False, FOUND, ["flag"]),
    (squad(asked(is_impossible=None)), False, FOUND, ["flag"]),
    (squad(asked(is_impossible="true", answers=[])), True, (), ["flag"]),
    (squad(asked(is_impossible="TRUE", answers=[])), True, (), ["flag"]),
    (squad(asked(is_impossible=1, answers=[])), True, (), ["flag"]),
    (squad(asked(is_impossible="1", answers=None)), True, (), ["answers_shape", "flag"]),
    (squad(asked(is_impossible=True)), True, (), ["impossible_with_answers"]),
    (squad(asked(answers=GONE)), False, (), []),
    (squad(asked(answers=None)), False, (), ["answers_shape"]),
    (squad(asked(answers=ANSWER)), False, FOUND, ["answers_shape"]),
    (squad(asked(answers=COLUMNS)), False, FOUND, ["answers_shape"]),
    (squad(asked(answers=GONE, answer=[ANSWER])), False, FOUND, ["answer_for_answers"]),
    (squad(asked(answers=None, answer=ANSWER)), False, FOUND, ["answer_for_answers", "answers_shape"]),
    (squad(asked(answers=[{**ANSWER, "answer_start": 4.0}])), False, FOUND, ["answer_start_float"]),
    (squad(asked(answers=[{**ANSWER, "answer_start": -1}])), False, FOUND, ["answer_start"]),
    (squad(asked(id=GONE, guid="q1")), False, FOUND, ["guid"]),
    (squad(asked(), title=None), False, FOUND, []),
    (squad(asked())["data"], False, FOUND, ["file_list"]),
    ({"data": [{"title": "해미", "context": CONTEXT, "qas": [asked()]}]}, False, FOUND, ["article_is_paragraph"]),
    ([FLAT | {"answers": COLUMNS}], False, FOUND, ["answers_shape", "article_is_question", "file_list"]),
    ({"data": [FLAT | {"answers": [ANSWER]}]}, False, FOUND, ["article_is_question"]),
    (
        {"data": [FLAT | {"answers": {"text": [], "answer_start": []}}]},
        True,
        (),
        ["article_is_question", "impossible_without_flag"],
    ),
    (squad(asked(question="어디\ud83d?")), False, FOUND, ["lone_surrogate"]),
    (squad(asked(), context=CONTEXT + "\ude00"), False, FOUND, ["lone_surrogate"]),
    (
        squad(asked(answers=[{"text": 1945, "answer_start": 0}]), context="1945년의 나루"),
        False,
        (("1945", 0, 4),),
        ["answer_number"],
    ),
    (
        squad(asked(answers=[{"text": 1945.0, "answer_start": 0}]), context="1945년의 나루"),
        False,
        (("1945", 0, 4),),
        ["answer_number"],
    ),
    (FLAT | {"answers": [ANSWER]}, False, FOUND, ["article_is_question", "file_article"]),
    (
        {name: [value] for name, value in (FLAT | {"answers": [ANSWER]}).items()},
        False,
        FOUND,
        ["article_is_question", "file_columns"],
    ),
    (
        {"data": {name: [value] for name, value in (FLAT | {"answers": COLUMNS}).items()}},
        False,
        FOUND,
        ["answers_shape", "article_is_question", "file_columns"],
    ),
    (squad(asked())["data"][0], False, FOUND, ["file_article"]),
]


@pytest.mark.parametrize(("content", "impossible", "answers", "kinds"), READ_AS)
def test_a_shape_that_can_mean_one_thing_is_read_and_counted(write, capsys, content, impossible, answers, kinds):
    path = write(content)
    (question,), repairs = read_squad_and_repairs(path)
    assert (question.id, question.is_impossible, question.answers) == ("q1", impossible, answers)
    assert sorted(repair.kind for repair in repairs) == kinds
    assert question.title in ("해미", "")
    assert read_squad(path) == [question]
    assert capsys.readouterr().err == (
        f"{path}: read otherwise than it stands: {', '.join(f'{kind} (1)' for kind in kinds)}\n" if kinds else ""
    )


def test_json_lines_are_rows(write):
    rows = [FLAT | {"id": name, "answers": COLUMNS} for name in ("q1", "q2")]
    path = write("\n".join(map(json.dumps, rows)) + "\n\n")
    questions, repairs = read_squad_and_repairs(path)
    assert [(question.id, question.answers) for question in questions] == [("q1", FOUND), ("q2", FOUND)]
    assert "file_lines" in [repair.kind for repair in repairs]
    with pytest.raises(InputError, match="line 3, column 2: not JSON"):
        read_squad(write("\n".join(map(json.dumps, rows)) + "\n{,}\n"))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            squad(asked(is_impossible="maybe")),
            r"\(id q1\): expected 'is_impossible' to be true or false, but got str 'may",
        ),
        (squad(asked(is_impossible="")), "expected 'is_impossible' to be true or false"),
        (squad(asked(is_impossible=2)), "expected 'is_impossible' to be true or false, but got int 2"),
        (squad(asked(is_impossible=[])), "expected 'is_impossible' to be true or false, but got list"),
        (squad(asked(id=None)), r"qas\[0\]: expected 'id' to be a string or a whole number, but got null"),
        (squad(asked(id=1.5)), r"qas\[0\]: expected 'id' to be a string or a whole number, but got float 1.5"),
        (squad(asked(id=True)), r"expected 'id' to be a string or a whole number, but got bool True"),
        (squad(asked(id=["q1"])), r"expected 'id' to be a string or a whole number, but got list"),
        (squad(asked(id="\u200b ")), r"qas\[0\]: expected 'id' to name the question, but got str"),
        (squad(asked(id="q\ud83d")), r"qas\[0\]: expected 'id' to name the question, but got str"),
        (squad(asked(id=7), asked(id="7")), "expected each id once, but 7 stands twice"),
        (squad(asked(id="가"), asked(id="\u1100\u1161\u200b")), "expected each id once, but .* stands twice"),
        (squad(asked(question=3)), r"\(id q1\): expected 'question' to be a string, but got int 3"),
        (squad(asked(question=None)), "expected 'question' to be a string, but got null"),
        (squad(asked(answers=["나루"])), r"answers\[0\]: expected an object with 'text', but got str '나루'"),
        (squad(asked(answers=[None])), r"answers\[0\]: expected an object with 'text', but got null"),
        (squad(asked(answers=GONE, answer="나루")), r"\(id q1\): expected 'answer' to be a list, but got str"),
        (
            squad(asked(answers=[{"text": ["나루"], "answer_start": [4]}])),
            "expected 'text' to be a string, but got list",
        ),
        (squad(asked(answers={"text": ["나루"], "answer_start": [4, 5]})), "lists 'text' and 'answer_start' of equal"),
        (squad(asked(answers={"text": ["나루"]})), "lists 'text' and 'answer_start' of equal length"),
        (squad(asked(answers={"text": "나루"})), r"answers\[0\]: expected the field 'answer_start'"),
        (
            squad(asked(answers=[{"text": "나루", "answer_start": None}])),
            "'answer_start' to be a whole number, but got null",
        ),
        (squad(asked(answers=[{"text": "나루", "answer_start": 4.5}])), "to be a whole number, but got float 4.5"),
        (squad(asked(answers=[{"text": "나루", "answer_start": True}])), "to be a whole number, but got bool True"),
        (squad(asked(answers=[{"text": "나루", "answer_start": 1e400}])), r"has no Infinity; is it null"),
        (squad(asked(answers=[{"text": 7, "answer_start": 0}])), "expected 'text' to be a string, but got int 7"),
        (squad(asked(answers=[{"text": None, "answer_start": 4}])), "expected 'text' to be a string, but got null"),
        (
            squad(asked(answers=[{"text": "\u3000", "answer_start": 4}])),
            "expected the text of an answer, but it is empty",
        ),
        (squad(asked(), context=3), "expected 'context' to be a string, but got int 3"),
        (squad(asked(), context=None), "expected 'context' to be a string, but got null"),
        (squad(asked(), context="\u200b\u3000"), "expected a context to read, but it is empty"),
        (squad(None), r"qas\[0\]: expected an object with 'id', but got null"),
        ({"data": None}, "expected 'data' to be a list, but got null"),
        ({"data": [None]}, r"data\[0\]: expected an object with 'paragraphs', but got null"),
        ({"data": [{"paragraphs": None}]}, r"data\[0\]: expected 'paragraphs' to be a list, but got null"),
        ({"data": [{"paragraphs": [None]}]}, r"paragraphs\[0\]: expected an object with 'context', but got null"),
        ({"data": [{"paragraphs": [{"context": CONTEXT}]}]}, r"paragraphs\[0\]: expected the field 'qas'"),
        ({"data": [{"paragraphs": [{"context": CONTEXT, "qas": None}]}]}, "expected 'qas' to be a list, but got null"),
        ([["나루"]], r"data\[0\]: expected an object with 'paragraphs', but got list"),
        ({"id": ["q1"], "context": [CONTEXT]}, "expected the field 'data', but there are only"),
        ("null", "expected an object with 'data', but got null"),
        (
            {"id": ["q1"], "context": [CONTEXT, CONTEXT], "question": ["왜?"]},
            "expected columns of one length, but got {'id': 1, 'context': 2, 'question': 1}",
        ),
        (squad(asked(question_type=4)), r"\(id q1\): expected 'question_type' to be 1, 2 or 3, but got int 4"),
        (squad(asked(question_type="1")), "expected 'question_type' to be 1, 2 or 3, but got str '1'"),
        (squad(asked(question_type=True)), "expected 'question_type' to be 1, 2 or 3, but got bool True"),
        ('{"data": [],}', r"line 1, column \d+: not JSON"),
        ('{"data":\n [NaN]}', "line 2: expected JSON, which has no NaN"),
        ('{"data": ["NaN",\n -Infinity]}', "line 2: expected JSON, which has no -Infinity"),
        ('{"data": [{"id": 1, "id": 2}]}', "expected each name of an object once, but 'id' stands twice in"),
        ("\x00", "not JSON"),
    ],
)
def test_a_shape_that_can_mean_several_things_is_reported_with_its_place(write, content, message):
    with pytest.raises(InputError, match=message):
        read_squad(write(content))


def klue(**changed):
    """A question as KLUE-MRC has it."""
    whole = {"guid": "klue-1", "question": "어디에서?", "question_type": 2, "is_impossible": False, "answers": [ANSWER]}
    return whole | changed


def test_klue_mrc(write, capsys):
    plausible = {"is_impossible": True, "answers": [], "plausible_answers": [ANSWER], "question_type": 3}
    first, second = read_squad(write(squad(klue(), klue(guid="klue-2", **plausible))))
    assert (first.id, first.question_type, first.answers) == ("klue-1", 2, FOUND)
    assert (second.is_impossible, second.question_type, second.answers) == (True, 3, ())
    assert "guid (1)" in capsys.readouterr().err


PAGE = "<!DOCTYPE html>\n<html><body><table><tr><td>나루</td><td>강바람</td></tr></table></body></html>"


def korquad2(text, **changed):
    answer = {"text": text, "answer_start": PAGE.index(text), "html_answer_start": 90, "html_answer_text": text}
    return {"id": 8, "question": "어디에서?", "answer": answer} | changed


@pytest.mark.parametrize(
    "text", ["강바람", "<td>나루</td><td>강바람</td>", "<table><tr><td>나루</td><td>강바람</td></tr></table>"]
)
def test_korquad2_answers_are_places_in_the_page(write, text):
    article = {"title": "해미", "url": "x", "context": PAGE, "raw_html": "<html></html>", "qas": [korquad2(text)]}
    (question,) = read_squad(write({"version": "KorQuAD_2.0_dev", "data": [article]}))
    assert question.is_html
    assert question.id == "8"
    assert [PAGE[a.start : a.end] for a in question.answers] == [text]
    row = {**{name: article[name] for name in ("title", "url", "context", "raw_html")}, **korquad2(text)}
    assert read_squad(write([row]))[0].answers == question.answers


def test_korquad2_without_a_context_has_its_places_from_the_raw_html(write):
    """The text stands twice, so the place decides."""
    page = f"{PAGE[:-14]}<p>강바람</p></body></html>"
    second = page.rindex("강바람")
    answer = {"text": "바람", "answer_start": 3, "html_answer_start": second, "html_answer_text": "강바람"}
    for row in (
        {"title": "해미", "raw_html": page, "qas": [{"id": "1", "question": "왜?", "answer": answer}]},
        {"title": "해미", "raw_html": page, "id": "1", "question": "왜?", "answer": answer},
    ):
        (question,), repairs = read_squad_and_repairs(write([row]))
        assert question.answers == (("강바람", second, second + 3),)
        assert not [repair for repair in repairs if repair.kind == "answer_start"]
    del answer["html_answer_text"]
    assert read_squad(write([row]))[0].answers == (("바람", second + 1, second + 3),)


def test_korquad2_without_a_context_is_read_in_its_raw_html(write):
    answer = {
        "text": "강바람",
        "answer_start": 3,
        "html_answer_start": PAGE.index("강바람"),
        "html_answer_text": "강바람",
    }
    article = {"title": "해미", "raw_html": PAGE, "qas": [{"id": "1", "question": "왜?", "answer": answer}]}
    (question,), repairs = read_squad_and_repairs(write({"data": [article]}))
    assert question.answers == (("강바람", PAGE.index("강바람"), PAGE.index("강바람") + 3),)
    assert "raw_html" in [repair.kind for repair in repairs]


def test_a_bad_row_is_named_by_its_line(write):
    rows = [FLAT | {"id": "q1", "answers": COLUMNS}, FLAT | {"id": "q2", "question": 3}]
    path = write("\n".join(map(json.dumps, rows)))
    with pytest.raises(InputError, match=r"questions.json, line 2 \(id q2\): expected 'question' to be a string"):
        read_squad(path)


def places_in(value, path=()):
    """The path of every node of a JSON value."""
    yield path
    if isinstance(value, dict | list):
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield from places_in(inner, (*path, key))


ODD = st.sampled_from(
    [
        GONE,
        None,
        True,
        False,
        0,
        -1,
        1.5,
        1e308,
        "",
        "나루",
        "true",
        [],
        {},
        [None],
        [[]],
        {"text": None},
        {"": 0},
        "\ud800",
    ]
)


@settings(deadline=None, max_examples=300)
@given(st.sampled_from([row[0] for row in READ_AS]), st.data())
def test_whatever_stands_anywhere_it_is_read_or_reported(tmp_path_factory, content, data):
    content = json.loads(json.dumps(content))
    *way, last = data.draw(st.sampled_from([place for place in places_in(content) if place]))
    inner = content
    for key in way:
        inner = inner[key]
    inner[last] = data.draw(ODD)
    if inner[last] is GONE:
        del inner[last]
    path = tmp_path_factory.mktemp("odd") / "questions.json"
    path.write_text(json.dumps(content), "utf-8")
    with contextlib.suppress(InputError):
        questions = read_squad(str(path))
        assert all(q.context[a.start : a.end] for q in questions for a in q.answers if a.start >= 0)
        json.dumps(squad_files.gold_answers(questions), ensure_ascii=False).encode()


@pytest.mark.shared
def test_korquad_has_every_answer_where_it_says(shared):
    questions, repairs = read_squad_and_repairs(f"{shared}/data/korquad/KorQuAD_v1.0_dev_part_a.json")
    assert len(questions) == 3316
    assert [repair.kind for repair in repairs if repair.kind.startswith("answer")] == ["answer_spaces"] * 2
    assert all(q.context[a.start : a.end] == a.text.strip() for q in questions for a in q.answers)
