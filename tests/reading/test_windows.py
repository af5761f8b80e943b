"""Windows and their batches: every token somewhere, every answer where its characters are, little padding."""

import itertools

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings
from reading_windows import PairTokenizer, question, windows_of

from kobert_tf2.errors import InputError
from kobert_tf2.reading import squad_files, training_windows
from kobert_tf2.reading import windows as reading_windows
from kobert_tf2.tokenization.tokenizer import Tokenizer

contexts = st.text("가나다라 \n", min_size=1, max_size=80)


def test_a_window_is_laid_out_as_bert_reads_it():
    windows = windows_of(question("가나다 라", answer=(2, 3)), with_answers=True)
    ids = PairTokenizer().encode_ids_batch(["누구 인가", "가나다 라"])
    assert windows.input_ids.tolist() == [[1, *ids[0], 2, *ids[1], 2] + [0] * 8]
    assert windows.input_mask.tolist() == [[1] * 8 + [0] * 8]
    assert windows.segment_ids.tolist() == [[0] * 4 + [1] * 4 + [0] * 8]
    assert windows.token_start.tolist() == [[-1] * 4 + [0, 2, 4] + [-1] * 9]
    assert windows.token_end.tolist() == [[-1] * 4 + [2, 3, 5] + [-1] * 9]
    assert (windows.start_positions.tolist(), windows.end_positions.tolist()) == ([5], [5])
    assert {array.dtype for array in windows.features().values()} == {np.dtype("int32")}


@settings(deadline=None, max_examples=150)
@given(contexts, st.integers(1, 7), st.text("가나 ", max_size=30))
def test_every_token_is_in_a_window_and_exactly_one_speaks_for_it(context, stride, query):
    windows = windows_of(question(context, query), doc_stride=stride)
    tokens = [(token.start, token.end) for token in PairTokenizer().encode(context)]
    spans = list(zip(windows.token_start[windows.max_context], windows.token_end[windows.max_context], strict=True))
    assert sorted(spans) == tokens
    seen = windows.token_start >= 0
    assert set(zip(windows.token_start[seen], windows.token_end[seen], strict=True)) == set(tokens)


@settings(deadline=None, max_examples=150)
@given(contexts.filter(str.strip), st.data())
def test_an_answer_is_the_tokens_that_its_characters_touch(context, data):
    start = data.draw(st.integers(0, len(context) - 1).filter(lambda place: not context[place].isspace()))
    end = data.draw(st.integers(start + 1, len(context)))
    windows = windows_of(question(context, answer=(start, end)), with_answers=True)
    touched = [token for token in PairTokenizer().encode(context) if token.start < end and token.end > start]
    held = windows.start_positions > 0
    for row in np.flatnonzero(held):
        first, last = windows.start_positions[row], windows.end_positions[row]
        assert windows.token_start[row, first] == touched[0].start
        assert windows.token_end[row, last] == touched[-1].end
    whole = [
        {touched[0].start, touched[-1].start} <= set(windows.token_start[row].tolist()) for row in range(len(windows))
    ]
    assert held.tolist() == whole


def test_a_window_without_the_whole_answer_points_to_cls():
    context = " ".join("가나다라마바사아자차카타파하거너더러머버"[i : i + 2] for i in range(0, 20, 2)) * 3
    windows = windows_of(question(context, answer=(3, 5)), with_answers=True)
    assert windows.start_positions[0] == 5
    assert windows.start_positions[1:].tolist() == windows.end_positions[1:].tolist() == [0] * (len(windows) - 1)


def test_each_context_and_question_is_tokenized_once():
    tokenizer = PairTokenizer()
    windows_of(question("가나다"), question("가나다"), question("라마", "다른"), tokenizer=tokenizer)
    assert sorted(tokenizer.encoded) == sorted(["가나다", "라마", "누구 인가", "다른"])


def test_a_long_question_is_cut_and_an_empty_context_has_one_window():
    windows = windows_of(question(" ", "가 " * 40))
    assert len(windows) == 1
    assert windows.lengths.tolist() == [9]


@pytest.mark.parametrize(
    ("lengths", "message"),
    [
        ({"max_seq_length": 9}, r"max_seq_length to be greater than max_query_length \+ 3, but got 9 and 6"),
        ({"doc_stride": 8}, "expected doc_stride between 1 and 7"),
        ({"doc_stride": 0}, "expected doc_stride between 1 and 7"),
    ],
)
def test_lengths_that_would_lose_tokens_are_refused(lengths, message):
    with pytest.raises(InputError, match=message):
        windows_of(question("가나"), **lengths)


# -- batches by length ------------------------------------------------------------------------------------------------

lengths_of_rows = st.lists(st.integers(1, 384), min_size=1, max_size=60).map(np.array)


@settings(deadline=None, max_examples=60)
@given(lengths_of_rows, st.integers(1, 3))
def test_widths_pad_as_little_as_any_choice_could(lengths, buckets):
    multiple = 64
    widths = reading_windows.bucket_widths(lengths, buckets=buckets, multiple=multiple)
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
    widths = reading_windows.bucket_widths(lengths)
    batches = reading_windows.epoch_batches(lengths, widths, batch_size, np.random.default_rng(seed))
    rows = np.concatenate([batch.rows for batch in batches])
    assert sorted(rows[rows >= 0]) == list(range(len(lengths)))
    assert {len(batch.rows) for batch in batches} == {batch_size}
    assert (rows < 0).sum() < batch_size
    assert all((lengths[batch.rows[batch.rows >= 0]] <= batch.width).all() for batch in batches)


@settings(deadline=None, max_examples=30)
@given(lengths_of_rows, st.integers(1, 9))
def test_a_prediction_sees_every_row_once(lengths, batch_size):
    widths = reading_windows.bucket_widths(lengths)
    batches = reading_windows.prediction_batches(lengths, widths, batch_size)
    assert sorted(np.concatenate([batch.rows for batch in batches])) == list(range(len(lengths)))
    assert all((lengths[batch.rows] <= batch.width).all() for batch in batches)


def test_the_same_seed_gives_the_same_batches():
    lengths = np.random.default_rng(0).integers(20, 384, 300)
    one, two, other = (
        reading_windows.epoch_batches(lengths, reading_windows.bucket_widths(lengths), 8, np.random.default_rng(seed))
        for seed in (1, 1, 2)
    )
    assert all((a.rows == b.rows).all() and a.width == b.width for a, b in zip(one, two, strict=True))
    assert any((a.rows != b.rows).any() for a, b in zip(one, other, strict=True))


@pytest.mark.shared
def test_padding_on_korquad_is_under_fifteen_percent(shared):
    questions = squad_files.read_squad(f"{shared}/data/korquad/KorQuAD_v1.0_dev_part_a.json")
    vocab = f"{shared}/data/vocab/koelectra_wordpiece_vocab.txt"
    windows = reading_windows.make_windows(questions, Tokenizer(vocab), with_answers=True)
    assert len(training_windows.without_answer(windows, questions)) == 0
    widths = reading_windows.bucket_widths(windows.lengths)
    assert len(widths) <= 6
    for size in (8, 32):
        batches = reading_windows.epoch_batches(windows.lengths, widths, size, np.random.default_rng(0))
        assert reading_windows.padding_share(batches, windows.lengths) < 0.15
