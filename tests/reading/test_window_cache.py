"""Kept windows: the same as made, and never stale."""

import dataclasses
import json

import numpy as np
import pytest

from kobert_tf2.reading import window_cache
from kobert_tf2.reading import windows as reading_windows
from kobert_tf2.reading.squad_files import Answer, Question
from kobert_tf2.tokenization.tokenizer import Tokenizer

VOCAB = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"가나다라마바사아", *("##" + c for c in "가나다라마바사아")]
LENGTHS = {"max_seq_length": 16, "doc_stride": 4, "max_query_length": 6}


def tokenizer(**more):
    return Tokenizer(VOCAB, pre_tokenizer="none", **more)


def question(name, context, start=None, **more):
    answers = (Answer(context[start : start + 2], start, start + 2),) if start is not None else ()
    return Question(name, "가나 다", context, answers, **more)


QUESTIONS = [question("q1", "가나 다라 마바 사아 가나다라 마바 가나", 3), question("q2", "마바 사아", 0)]


@pytest.fixture
def made(tmp_path, monkeypatch):
    """Makes windows of a file under `tmp_path`, and tells how often they were really made."""
    path, calls = tmp_path / "questions.json", []
    path.write_text(json.dumps("first"))
    original = reading_windows.make_windows
    monkeypatch.setattr(
        reading_windows, "make_windows", lambda *args, **settings: calls.append(1) or original(*args, **settings)
    )

    def make(questions=QUESTIONS, using=None, **settings):
        arguments = {"with_answers": True, "cache_dir": str(tmp_path / "kept"), **LENGTHS, **settings}
        return window_cache.windows_of_file(str(path), questions, using or tokenizer(), **arguments)

    make.path, make.calls, make.folder = path, calls, tmp_path / "kept"
    return make


def same(one, other):
    for field in dataclasses.fields(one):
        a, b = getattr(one, field.name), getattr(other, field.name)
        np.testing.assert_array_equal(a, b, err_msg=field.name)
        assert a is None or a.dtype == b.dtype, field.name
    return True


@pytest.mark.parametrize("with_answers", [True, False])
def test_kept_windows_are_the_same_as_made(made, with_answers):
    first, again = made(with_answers=with_answers), made(with_answers=with_answers)
    assert same(first, again)
    assert len(made.calls) == 1


@pytest.mark.parametrize("change", ["file", "questions", "tokenizer", "stride", "answers"])
def test_whatever_decides_the_windows_makes_them_new(made, change):
    made()
    if change == "file":
        made.path.write_text(json.dumps("second"))
    changed = {
        "file": {},
        "questions": {"questions": QUESTIONS[:1]},
        "tokenizer": {"using": tokenizer(do_lower_case=True)},
        "stride": {"doc_stride": 3},
        "answers": {"with_answers": False},
    }
    made(**changed[change])
    assert len(made.calls) == 2


@pytest.mark.parametrize("damage", [b"", b"PK\x03\x04 not a zip", None])
def test_a_damaged_file_is_made_again(made, damage):
    first = made()
    (kept,) = made.folder.glob("*.npz")
    kept.write_bytes(kept.read_bytes()[:500] if damage is None else damage)
    assert same(first, made())
    assert len(made.calls) == 2


def test_more_workers_and_a_bar_change_nothing(made):
    made()
    made(num_workers=2, progress=lambda items, what, **_: items)
    assert len(made.calls) == 1
