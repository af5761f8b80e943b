"""Files of sentences and pairs: each known kind as it is, columns named by the user, and what is wrong with a line."""

import json

import pytest

from kobert_tf2.errors import InputError
from kobert_tf2.labelling import problems, sentence_files
from kobert_tf2.labelling.relations import Markers
from kobert_tf2.labelling.sentence_files import Columns, ReadingOptions

YNAT = {
    "guid": "ynat-1",
    "title": "가을 나들이 명소",
    "label": "생활문화",
    "url": "https://example.org",
    "date": "2016",
}
NLI = {
    "guid": "nli-1",
    "premise": "배가 떠났다.",
    "hypothesis": "배는 없다.",
    "gold_label": "entailment",
}
STS = {
    "guid": "sts-1",
    "sentence1": "방이 깨끗해요.",
    "sentence2": "방이 깔끔합니다.",
    "labels": {"label": 4.5, "real-label": 4.4285714285714288, "binary-label": 1},
}
RE = {
    "guid": "re-1",
    "sentence": "나루호는 1998년 해미가 세운 배 회사다.",
    "subject_entity": {"word": "나루호", "start_idx": 0, "end_idx": 2, "type": "ORG"},
    "object_entity": {"word": "해미", "start_idx": 11, "end_idx": 12, "type": "PER"},
    "label": "org:founded_by",
}


@pytest.fixture
def write(tmp_path):
    def write_file(content, name="examples.tsv"):
        path = tmp_path / name
        path.write_text(content if isinstance(content, str) else json.dumps(content, ensure_ascii=False, indent=1))
        return str(path)

    return write_file


def read(path, labelled=True, columns=(), **options):
    return sentence_files.read(path, ReadingOptions(columns=Columns(*columns), **options), labelled=labelled)


# ----------------------------------------------------------------------------------------------------------------------
# Known files
# ----------------------------------------------------------------------------------------------------------------------

KNOWN = {
    "NSMC": ("id\tdocument\tlabel\n976\t재미있다\t1\n", ("976", "재미있다", None, "1"), problems.SINGLE_LABEL),
    "KorNLI": (
        "sentence1\tsentence2\tgold_label\n배가 떠났다.\t배는 없다.\tneutral\n",
        ("2", "배가 떠났다.", "배는 없다.", "neutral"),
        problems.SINGLE_LABEL,
    ),
    "KorSTS": (
        "genre\tfilename\tyear\tid\tscore\tsentence1\tsentence2\nmain\tx\t2012\t0001\t3.800\t방이 크다.\t큰 방이다.\n",
        ("0001", "방이 크다.", "큰 방이다.", 3.8),
        problems.REGRESSION,
    ),
    "YNAT": ([YNAT], ("ynat-1", "가을 나들이 명소", None, "생활문화"), problems.SINGLE_LABEL),
    "KLUE-NLI": ([NLI], ("nli-1", "배가 떠났다.", "배는 없다.", "entailment"), problems.SINGLE_LABEL),
    "KLUE-STS": (
        [STS],
        ("sts-1", "방이 깨끗해요.", "방이 깔끔합니다.", 4.4285714285714288),
        problems.REGRESSION,
    ),
    "KLUE-RE": (
        [RE],
        ("re-1", "[SUBJ]나루호[/SUBJ]는 1998년 [OBJ]해미[/OBJ]가 세운 배 회사다.", None, "org:founded_by"),
        problems.SINGLE_LABEL,
    ),
    "several labels": (
        '{"text": "조용하고 깨끗해요", "labels": ["방", "청결"]}\n{"text": "그저 그래요", "labels": []}\n',
        ("1", "조용하고 깨끗해요", None, ("방", "청결")),
        problems.MULTI_LABEL,
    ),
}


@pytest.mark.parametrize("kind", KNOWN)
def test_a_known_file_is_read_as_it_is(write, kind):
    content, expected, problem_type = KNOWN[kind]
    found = read(write(content, "file"))
    assert (found.examples[0], found.problem_type) == (expected, problem_type)
    assert found.has_pairs == (expected[2] is not None)
    assert found.has_markers == (kind == "KLUE-RE")
    is_similarity = kind in ("KorSTS", "KLUE-STS")
    assert found.score_range == ((0, 5) if is_similarity else None)


def test_similarities_of_klue_have_a_label_too(write):
    path = write([STS], "sts.json")
    assert read(path, problem_type=problems.SINGLE_LABEL).examples[0].label == "1"
    assert read(path, problem_type=problems.REGRESSION, columns=(None, None, "labels.label")).examples[0].label == 4.5


@pytest.mark.parametrize("put_together", ["list", "lines", "data", "one line"])
def test_json_is_read_however_it_is_put_together_and_knows_its_lines(write, put_together):
    rows = [{**NLI, "guid": f"n{number}"} for number in range(3)]
    content, lines = {
        "list": (json.dumps(rows, indent=1), [2, 8, 14]),
        "lines": ("\n".join(map(json.dumps, rows)) + "\n", [1, 2, 3]),
        "data": (json.dumps({"version": "1", "data": rows}, indent=1), [4, 10, 16]),
        "one line": (json.dumps(rows), [1, 1, 1]),
    }[put_together]
    found = read(write(content, "nli.json"))
    assert [example.id for example in found.examples] == ["n0", "n1", "n2"]
    assert found.lines == lines


def test_markers_are_the_users_choice_and_cover_entities_that_overlap(write, capsys):
    entities = {"subject_entity": {"start_idx": 0, "end_idx": 2}, "object_entity": {"start_idx": 2, "end_idx": 3}}
    found = read(write([{**RE, **entities}], "re.json"), markers=Markers("<s>", "</s>", "<o>", "</o>"))
    assert found.examples[0].text == "<s>나루<o>호</s>는</o> 1998년 해미가 세운 배 회사다."
    assert "1 texts have a subject_entity and an object_entity that overlap" in capsys.readouterr().err


# ----------------------------------------------------------------------------------------------------------------------
# Columns of the user
# ----------------------------------------------------------------------------------------------------------------------


def test_columns_are_named_by_the_user(write):
    path = write("번호\t글\t대답\t평가\n1\t안녕\t반가워\t좋음\n", "chat.tsv")
    assert read(path, columns=("글", None, "평가")).examples == [("2", "안녕", None, "좋음")]
    assert read(path, columns=("글", "대답", "평가")).examples == [("2", "안녕", "반가워", "좋음")]


def test_a_file_without_a_header_has_numbers(write):
    path = write("좋음\t안녕\n나쁨\t저리 가\n")
    found = read(path, columns=("2", None, "1"))
    assert found.examples == [("1", "안녕", None, "좋음"), ("2", "저리 가", None, "나쁨")]
    assert read(path, columns=("02",), labelled=False).examples[1] == ("2", "저리 가", None, None)


def test_a_text_that_is_named_alone_is_no_pair(write):
    path = write("sentence1\tsentence2\tlabel\n가\t나\t1\n")
    assert read(path, columns=("sentence1",)).examples == [("2", "가", None, "1")]


def test_several_labels_stand_in_a_cell(write):
    path = write("document\tlabel\n가\t욕설|혐오| 욕설\n나\t\n다\t없음\n")
    found = read(path, problem_type=problems.MULTI_LABEL, label_separator="|")
    assert [example.label for example in found.examples] == [("욕설", "혐오"), (), ("없음",)]


def test_without_labels_they_are_not_looked_at(write):
    path = write("genre\tscore\tsentence1\tsentence2\nmain\tunknown\t가\t나\n")
    assert read(path, labelled=False).examples == [("2", "가", "나", None)]


# ----------------------------------------------------------------------------------------------------------------------
# What is wrong
# ----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "options", "reported"),
    [
        ("document\tlabel\n가\t1\n", {"columns": ("글",)}, "line 1: .*글 is missing in 'document label'"),
        ("document\tlabel\n가\t1\n", {"columns": ("document", "답")}, "답 is missing .*--pair_column"),
        ("text\ttext\tlabel\n가\t나\t1\n", {}, "line 1: the header names 'text' twice"),
        ("a\ta\tdocument\tlabel\n1\t2\t가\t1\n", {}, "line 1: the header names 'a' twice"),
        ("sentence1\tsentence2\tlabel\n가\t나\t1\n가\t \t1\n", {}, "line 3: sentence2 is empty"),
        ("sentence1\tsentence2\tlabel\n\t나\t1\n", {}, "line 2: sentence1 is empty"),
        (
            "sentence1\tsentence2\tlabel\n가\t\t1\n",
            {"columns": ("sentence1", "sentence2")},
            "line 2: sentence2 is empty",
        ),
        ("document\tlabel\n\t1\n\t0\n", {}, "expected texts as document, but all 2 are empty"),
        ("score\tsentence1\tsentence2\n5.5\t가\t나\n", {}, "line 2: expected a score from 0 to 5, but found 5.5"),
        ("score\tsentence1\tsentence2\nnan\t가\t나\n", {}, "line 2: expected a number as score, but found nan"),
        ("score\tsentence1\tsentence2\n-inf\t가\t나\n", {}, "line 2: expected a number as score"),
        ("score\tsentence1\tsentence2\n높음\t가\t나\n", {}, "line 2: expected a number as score, but found '높음'"),
        ("score\tsentence1\tsentence2\n\t가\t나\n", {}, "line 2: expected a number as score, but found ''"),
        (
            "score\tdocument\n3\t가\n",
            {"score_range": (0.0, 1.0)},
            "line 2: expected a score from 0 to 1, but found 3",
        ),
        ("1\t가\n2\t나\t다\n", {"columns": ("2", None, "1")}, "line 2: expected 2 columns as in line 1"),
        ("1\t가\n", {"columns": ("3", None, "1")}, "--text_column: expected the number of one of its 2 columns"),
        ("1\t가\n", {"columns": ("2", None, "label")}, "--label_column: expected the number .* got 'label'"),
        ("document\tlabel\n가\t1\n", {"columns": ("1", None, "2")}, "by number, .* name the columns"),
        ([NLI, {**NLI, "hypothesis": ""}], {}, "line 8: hypothesis is empty"),
        ([NLI, {**NLI, "premise": None}], {}, "line 8: premise: expected a text, but found null"),
        ([NLI, {"guid": "x", "gold_label": "neutral"}], {}, "line 8: premise is missing"),
        ([{**STS, "labels": {"real-label": 7}}], {}, "line 2: expected a labels.real-label from 0 to 5, but found 7"),
        ([{"text": "가", "labels": ["a"]}], {"problem_type": problems.SINGLE_LABEL}, "--problem_type=multi_label"),
        ([{"text": "가", "label": None}], {}, "line 2: the label is empty"),
        ([{"text": "가", "label": {"a": 1}}], {}, "line 2: expected a label, but found a JSON object"),
        ('[{"text": "가", "label": NaN}]', {}, "line 1: expected JSON, which has no NaN"),
        ('[{"text": "가", "label": 1}, 3]', {}, "line 1: expected a JSON object, but found a whole number"),
        ('{"text": "가", "label": "1"}\n{"text": "나"\n', {}, "line 2, column"),
        ("[]", {}, "expected JSON objects, but there is none"),
        ('{\n"text": "가"}', {}, 'expected a JSON list, an object a line, or an object with a list as "data"'),
        ([{**RE, "object_entity": {**RE["object_entity"], "word": "누리"}}], {}, "expected '누리' at 11 to 12"),
        ([{**RE, "object_entity": RE["subject_entity"]}], {}, "are the same characters"),
        ([{**RE, "subject_entity": {"start_idx": 0, "end_idx": 99}}], {}, "within the 24 characters of the text"),
        ([{**RE, "subject_entity": {"start_idx": "0", "end_idx": 1}}], {}, "expected whole numbers"),
        ([{**RE, "sentence": "[SUBJ] " + RE["sentence"]}], {}, "line 2: the text has '\\[SUBJ\\]' in it"),
    ],
)
def test_what_is_wrong_is_reported_with_its_line(write, content, options, reported):
    path = write(content, "file")
    with pytest.raises(InputError, match=reported) as error:
        read(path, **options)
    assert str(error.value).startswith(path)
    assert "\n" not in str(error.value)


def test_a_column_of_second_texts_that_is_empty_makes_no_pairs(write):
    assert read(write("document\tdocument2\tlabel\n가\t\t1\n나\t \t0\n")).examples == [
        ("2", "가", None, "1"),
        ("3", "나", None, "0"),
    ]


def test_empty_texts_of_single_sentences_are_kept_and_counted(write, capsys):
    found = read(write("document\tlabel\n가\t1\n\t0\n\u200b\t1\n"))
    assert [example.text for example in found.examples] == ["가", "", "\u200b"]
    assert "2 texts are empty and are read as such (the first in line 3)" in capsys.readouterr().err


# ----------------------------------------------------------------------------------------------------------------------
# Real files
# ----------------------------------------------------------------------------------------------------------------------


@pytest.mark.shared
@pytest.mark.parametrize(
    ("name", "count", "problem_type", "labels"),
    [
        ("klue/klue-nli-v1.1_dev_half.json", 1500, problems.SINGLE_LABEL, {"contradiction", "entailment", "neutral"}),
        ("klue/klue-sts-v1.1_dev_half.json", 260, problems.REGRESSION, None),
        ("kornlu/sts-train.tsv", 5749, problems.REGRESSION, None),
        ("kornlu/sts-dev.tsv", 1500, problems.REGRESSION, None),
        ("kornlu/xnli.dev.ko.tsv", 2490, problems.SINGLE_LABEL, {"contradiction", "entailment", "neutral"}),
        ("nsmc/sentiment.tsv", 111936, problems.SINGLE_LABEL, {"0", "1"}),
    ],
)
def test_a_real_file_is_read_whole(shared, name, count, problem_type, labels):
    found = read(str(shared / "data" / name))
    assert (len(found.examples), found.problem_type) == (count, problem_type)
    assert found.has_pairs == ("nsmc" not in name)
    values = {example.label for example in found.examples}
    if labels is None:
        assert found.score_range == (0, 5)
        assert min(values) == 0
        assert max(values) == 5
    else:
        assert values == labels
