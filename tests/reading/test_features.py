"""Windows that are kept and batched: never stale, none lost, little padding."""

import dataclasses
import json

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

from kobert_tf2.reading import features
from kobert_tf2.reading import windows as mrc
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
    original = mrc.make_windows
    monkeypatch.setattr(mrc, "make_windows", lambda *args, **settings: calls.append(1) or original(*args, **settings))

    def make(questions=QUESTIONS, using=None, **settings):
        arguments = {"with_answers": True, "cache_dir": str(tmp_path / "kept"), **LENGTHS, **settings}
        return features.windows_of_file(str(path), questions, using or tokenizer(), **arguments)

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


def test_questions_that_cannot_be_trained_on_are_told():
    questions = [
        *QUESTIONS,
        Question("lost", "가", "나", (Answer("다", -1, -1),)),
        Question("bare", "가", "나"),
        Question("none", "가", "나", is_impossible=True),
    ]
    kept, left_out = features.trainable(questions, with_negative=False)
    assert [q.id for q in kept] == ["q1", "q2"]
    assert [(item.id, item.kind) for item in left_out] == [
        ("lost", "answer_missing"),
        ("bare", "no_answer"),
        ("none", "impossible"),
    ]
    assert [q.id for q in features.trainable(questions, with_negative=True)[0]] == ["q1", "q2", "none"]


def test_windows_without_the_answer_are_kept_dropped_or_sampled():
    questions = [question("q1", "가나 다라 마바 사아 " * 8, 3), question("q2", "마바 사아 " * 8, is_impossible=True)]
    windows = mrc.make_windows(questions, tokenizer(), with_answers=True, **LENGTHS)
    with_answer = int((windows.start_positions > 0).sum())
    impossible = int((windows.question_index == 1).sum())
    choose = {how: features.choose_windows(windows, questions, how, 0) for how in ("keep", "drop", "sample")}
    assert len(choose["keep"]) == len(windows) > with_answer * 2 + impossible
    assert len(choose["drop"]) == with_answer + impossible
    assert len(choose["sample"]) == 2 * with_answer + 2 * impossible
    assert (choose["drop"].start_positions > 0).sum() == (choose["sample"].start_positions > 0).sum() == with_answer


def test_an_answer_longer_than_a_window_is_told():
    long = Question("long", "가", "가나다라마바사아" * 5, (Answer("가나다라마바사아" * 5, 0, 40),))
    windows = mrc.make_windows([*QUESTIONS, long], tokenizer(), with_answers=True, **LENGTHS)
    assert [(item.id, item.kind) for item in features.without_answer(windows, [*QUESTIONS, long])] == [
        ("long", "in_no_window")
    ]


lengths_of_rows = st.lists(st.integers(1, 384), min_size=1, max_size=60).map(np.array)


@settings(deadline=None, max_examples=60)
@given(lengths_of_rows, st.integers(1, 3))
def test_widths_pad_as_little_as_any_choice_could(lengths, buckets):
    import itertools

    multiple = 64
    widths = features.bucket_widths(lengths, buckets=buckets, multiple=multiple)
    assert len(widths) <= buckets
    assert widths[-1] >= lengths.max()

    def tokens(widths):
        return int(np.array(widths)[np.searchsorted(widths, lengths)].sum())

    top = -(-lengths.max() // multiple) * multiple
    choices = itertools.combinations(range(multiple, top, multiple), min(buckets - 1, top // multiple - 1))
    assert tokens(widths) == min(tokens([*choice, top]) for choice in choices)


@settings(deadline=None, max_examples=60)
@given(lengths_of_rows, st.integers(1, 9), st.integers(0, 99))
def test_an_epoch_sees_every_row_once_and_none_is_cut(lengths, batch_size, seed):
    widths = features.bucket_widths(lengths)
    batches = features.epoch_batches(lengths, widths, batch_size, np.random.default_rng(seed))
    rows = np.concatenate([batch.rows for batch in batches])
    assert sorted(rows[rows >= 0]) == list(range(len(lengths)))
    assert {len(batch.rows) for batch in batches} == {batch_size}
    assert (rows < 0).sum() < batch_size
    assert all((lengths[batch.rows[batch.rows >= 0]] <= batch.width).all() for batch in batches)


@settings(deadline=None, max_examples=30)
@given(lengths_of_rows, st.integers(1, 9))
def test_a_prediction_sees_every_row_once(lengths, batch_size):
    widths = features.bucket_widths(lengths)
    batches = features.prediction_batches(lengths, widths, batch_size)
    assert sorted(np.concatenate([batch.rows for batch in batches])) == list(range(len(lengths)))
    assert all((lengths[batch.rows] <= batch.width).all() for batch in batches)


def test_the_same_seed_gives_the_same_batches():
    lengths = np.random.default_rng(0).integers(20, 384, 300)
    one, two, other = (
        features.epoch_batches(lengths, features.bucket_widths(lengths), 8, np.random.default_rng(seed))
        for seed in (1, 1, 2)
    )
    assert all((a.rows == b.rows).all() and a.width == b.width for a, b in zip(one, two, strict=True))
    assert any((a.rows != b.rows).any() for a, b in zip(one, other, strict=True))


@pytest.mark.shared
def test_padding_on_korquad_is_under_fifteen_percent(shared):
    questions = mrc.read_squad(f"{shared}/data/korquad/KorQuAD_v1.0_dev_part_a.json")
    vocab = f"{shared}/data/vocab/koelectra_wordpiece_vocab.txt"
    windows = mrc.make_windows(questions, Tokenizer(vocab), with_answers=True)
    assert len(features.without_answer(windows, questions)) == 0
    widths = features.bucket_widths(windows.lengths)
    assert len(widths) <= 6
    for size in (8, 32):
        batches = features.epoch_batches(windows.lengths, widths, size, np.random.default_rng(0))
        assert features.padding_share(batches, windows.lengths) < 0.15
