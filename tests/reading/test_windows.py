"""Windows and their batches: every token somewhere, every answer where its characters are, little padding."""

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings
from reading_windows import PairTokenizer, question, windows_of

from kobert_tf2.errors import InputError
from kobert_tf2.reading import squad_files, training_windows
from kobert_tf2.reading import windows as reading_windows
from kobert_tf2.tokenization import batches
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


# Eleven tokens of a context fit into a window: nearly all of these have several windows.
long_contexts = st.lists(st.text("가나다라", min_size=1, max_size=5), min_size=6, max_size=40).map(" ".join)


@settings(deadline=None, max_examples=150)
@given(long_contexts, st.data())
def test_an_answer_is_the_tokens_that_its_characters_touch(context, data):
    start = data.draw(st.integers(0, len(context) - 1).filter(lambda place: not context[place].isspace()))
    end = data.draw(st.integers(start + 1, min(start + 24, len(context))))
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


@pytest.mark.parametrize(("tokens", "held"), [((7, 10), [True, True, True]), ((7, 11), [False, True, True])])
def test_an_answer_up_to_the_last_token_of_a_window_is_held_and_one_further_is_not(tokens, held):
    context = " ".join("가나다라마바사아자차카타파하거너더러머버")  # windows begin at tokens 0, 4, 8 and hold eleven
    answer = 2 * tokens[0], 2 * tokens[1] + 1
    windows = windows_of(question(context, answer=answer), with_answers=True)
    assert (windows.start_positions > 0).tolist()[:2] == held[:2]
    begin = windows.token_start[np.arange(2), windows.start_positions[:2]]
    assert begin.tolist() == [answer[0] if held[0] else -1, answer[0]]


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


def test_logits_go_back_to_their_windows_and_nothing_stands_behind_a_cut():
    windows = windows_of(question("가나다라 " * 6), question("마 바", name="r"))
    made = [batches.Batch(np.array([len(windows) - 1, 0]), 12), batches.Batch(np.arange(1, len(windows) - 1), 16)]
    asked = []

    def forward(inputs):
        for one in inputs:
            asked.append({name: array.shape for name, array in one.items()})
            yield {"start_logits": one["input_ids"] + 0.5, "end_logits": -one["input_ids"].astype(np.float32)}

    start, end = reading_windows.predict_logits(windows, made, forward)
    assert asked == [dict.fromkeys(reading_windows.INPUTS, (len(batch.rows), batch.width)) for batch in made]
    assert (start.dtype, end.dtype) == (np.float32, np.float32)
    for batch in made:
        for row in batch.rows:
            np.testing.assert_array_equal(start[row, : batch.width], windows.input_ids[row, : batch.width] + 0.5)
            np.testing.assert_array_equal(end[row, : batch.width], -windows.input_ids[row, : batch.width])
            assert np.isneginf(start[row, batch.width :]).all()
            assert np.isneginf(end[row, batch.width :]).all()


def test_features_are_the_inputs_and_the_positions_where_there_are_answers():
    windows = windows_of(question("가나다 라", answer=(2, 3)), with_answers=True)
    assert list(windows.features()) == [*reading_windows.INPUTS, "start_positions", "end_positions"]
    assert list(windows_of(question("가나다 라")).features()) == list(reading_windows.INPUTS)


@pytest.mark.shared
def test_padding_on_korquad_is_under_fifteen_percent(shared):
    questions = squad_files.read_squad(f"{shared}/data/korquad/KorQuAD_v1.0_dev_part_a.json")
    vocab = f"{shared}/data/vocab/koelectra_wordpiece_vocab.txt"
    windows = reading_windows.make_windows(questions, Tokenizer(vocab), with_answers=True)
    assert len(training_windows.without_answer(windows, questions)) == 0
    widths = batches.bucket_widths(windows.lengths)
    assert len(widths) <= 6
    for size in (8, 32):
        epoch = batches.epoch_batches(windows.lengths, widths, size, np.random.default_rng(0))
        assert batches.padding_share(epoch, windows.lengths) < 0.15
