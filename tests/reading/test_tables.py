"""Tables of questions: parquet files, and JSON by columns."""

import json

import pytest

from kobert_tf2.errors import InputError
from kobert_tf2.reading import squad_files, tables

CONTEXT = "해미는 나루에서 배를 탔다."
ROWS = [
    {
        "id": f"q{number}",
        "title": "해미",
        "context": CONTEXT,
        "question": "어디에서?",
        "answers": {"text": texts, "answer_start": starts},
        "is_impossible": not texts,
    }
    for number, (texts, starts) in enumerate([(["나루"], [4]), ([], []), (["배", "배를"], [9, 9])])
]


def write_parquet(path, rows):
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    return str(path)


def test_a_parquet_file_is_read_as_its_rows_in_json_are(tmp_path):
    path = write_parquet(tmp_path / "rows.bin", ROWS)
    (tmp_path / "rows.json").write_text(json.dumps(ROWS), "utf-8")
    assert squad_files.read_squad(path) == squad_files.read_squad(str(tmp_path / "rows.json"))
    assert [question.is_impossible for question in squad_files.read_squad(path)] == [False, True, False]


def test_a_bad_row_of_a_parquet_file_is_named_by_its_number(tmp_path):
    bad = [ROWS[0], {**ROWS[1], "context": " "}]
    path = write_parquet(tmp_path / "rows.parquet", bad)
    with pytest.raises(InputError, match=r"rows.parquet: row 1: expected a context to read, but it is empty"):
        squad_files.read_squad(path)


def test_a_parquet_file_of_something_else_or_damaged_is_a_sentence(tmp_path):
    path = write_parquet(tmp_path / "other.parquet", [{"text": "가", "label": 1}])
    with pytest.raises(InputError, match="expected a column 'context', but there are only text, label"):
        squad_files.read_squad(path)
    whole = (tmp_path / "other.parquet").read_bytes()
    (tmp_path / "cut.parquet").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match=r"cut.parquet: pyarrow cannot read it as a parquet file"):
        squad_files.read_squad(str(tmp_path / "cut.parquet"))


def test_without_pyarrow_the_sentence_says_what_to_install(tmp_path, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "pyarrow", None)
    (tmp_path / "rows.parquet").write_bytes(b"PAR1 and so on")
    with pytest.raises(InputError, match=r"a parquet file needs pyarrow: pip install 'kobert_tf2\[parquet\]'"):
        list(tables.parquet_rows(str(tmp_path / "rows.parquet")))


def test_columns_of_one_length_are_rows():
    columns = {"context": ["가", "나"], "question": ["다", "라"], "version": "1"}
    assert tables.is_columns(columns)
    assert tables.rows_of_columns(columns, "x") == [
        {"context": "가", "question": "다"},
        {"context": "나", "question": "라"},
    ]
    assert not tables.is_columns({"context": "가", "question": ["다"]})


def test_columns_of_several_lengths_are_reported_with_each():
    columns = {"context": ["가"], "question": ["다", "라"]}
    with pytest.raises(InputError, match=r"^x: expected columns of one length, but got {'context': 1, 'question': 2}$"):
        tables.rows_of_columns(columns, "x")
