"""Windows and decoding: every token somewhere, every answer where its characters are, every text a slice."""

import itertools
import re

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

from kobert_tf2.errors import InputError
from kobert_tf2.reading import windows as mrc
from kobert_tf2.reading.windows import Answer, Question
from kobert_tf2.tokenization.encoding import Encoding, Token


class PairTokenizer:
    """Cuts words into pieces of two characters: enough to see where windows and spans fall."""

    pad_id, cls_id, sep_id = 0, 1, 2

    def __init__(self):
        self.encoded = []

    def encode(self, text):
        self.encoded.append(text)
        words = (match.span() for match in re.finditer(r"\S+", text))
        spans = [(begin, min(begin + 2, end)) for start, end in words for begin in range(start, end, 2)]
        return Encoding.of(Token(text[begin:end], 10 + ord(text[begin]) % 1000, begin, end) for begin, end in spans)

    def encode_batch(self, texts, *, num_workers=1):
        return [self.encode(text) for text in texts]

    def encode_ids_batch(self, texts, *, num_workers=1):
        return [encoding.ids.tolist() for encoding in self.encode_batch(texts)]


def question(context, query="누구 인가", answer=None, name="q"):
    answers = (Answer(context[slice(*answer)], *answer),) if answer else ()
    return Question(name, query, context, answers)


def windows_of(*questions, tokenizer=None, **lengths):
    sizes = {"max_seq_length": 16, "doc_stride": 4, "max_query_length": 6} | lengths
    return mrc.make_windows(list(questions), tokenizer or PairTokenizer(), **sizes)


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


def original_max_context(spans, position):
    """The rule of run_squad.py written out: the smaller side counts, longer windows and then earlier ones first."""
    covering = [(number, begin, end) for number, (begin, end) in enumerate(spans) if begin <= position < end]
    return max(covering, key=lambda s: (min(position - s[1], s[2] - 1 - position) + 0.01 * (s[2] - s[1]), -s[0]))[0]


@pytest.mark.parametrize(
    ("tokens", "room", "stride"), [(40, 12, 4), (41, 12, 5), (13, 12, 12), (100, 30, 7), (12, 12, 3)]
)
def test_windows_and_max_context_are_those_of_the_original(tokens, room, stride):
    spans = mrc.window_spans(tokens, room, stride)
    assert spans[0][0] == 0
    assert spans[-1][1] == tokens
    assert all(end == tokens for _, end in spans[-1:])
    assert all(end < tokens for _, end in spans[:-1])
    speaks = mrc.max_context(spans, tokens)
    for position in range(tokens):
        best = original_max_context(spans, position)
        assert [
            number
            for number, (begin, end) in enumerate(spans)
            if begin <= position < end and speaks[number][position - begin]
        ] == [best]


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
    logits = np.zeros(windows.input_ids.shape, np.float32)
    assert mrc.decode([question(" ")], windows, logits, logits) == [[]]


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


def all_spans(questions, windows, start, end, longest):
    """What decoding must find, pair by pair."""
    found = {}
    for row, index in enumerate(windows.question_index):
        for first, last in itertools.product(range(windows.input_ids.shape[1]), repeat=2):
            if not (windows.max_context[row, first] and windows.token_start[row, last] >= 0):
                continue
            if first <= last < first + longest:
                text = questions[index].context[windows.token_start[row, first] : windows.token_end[row, last]]
                score = float(start[row, first] + end[row, last])
                found.setdefault(index, {})[text] = max(score, found.get(index, {}).get(text, -np.inf))
    return found


@settings(deadline=None, max_examples=60)
@given(
    st.lists(contexts.filter(str.strip), min_size=1, max_size=3),
    st.integers(1, 9),
    st.integers(1, 6),
    st.integers(0, 99),
)
def test_the_n_best_are_those_of_trying_every_pair(texts, longest, size, seed):
    questions = [question(text, name=str(number)) for number, text in enumerate(texts)]
    windows = windows_of(*questions)
    start, end = np.random.default_rng(seed).normal(size=(2, *windows.input_ids.shape)).astype(np.float32)
    answers = mrc.decode(questions, windows, start, end, n_best_size=size, max_answer_length=longest)
    expected = all_spans(questions, windows, start, end, longest)
    for index, spans in enumerate(answers):
        scores = sorted(expected[index].values(), reverse=True)[:size]
        # A text that stands twice may push others out of a window's n best: what is there is right, the best is first.
        assert spans[0].score == pytest.approx(scores[0])
        assert all(span.score == pytest.approx(expected[index][span.text]) for span in spans[:1])
        assert [span.score for span in spans] == sorted((span.score for span in spans), reverse=True)
        assert len({span.text for span in spans}) == len(spans) <= size
        assert sum(span.probability for span in spans) == pytest.approx(1)
        assert all(span.text == questions[index].context[span.start : span.end] for span in spans)


def test_the_n_best_of_distinct_texts_are_exact():
    context = " ".join("가나다라마바사아자차카타")
    questions = [question(context)]
    windows = windows_of(*questions, max_seq_length=32)
    start, end = np.random.default_rng(5).normal(size=(2, *windows.input_ids.shape)).astype(np.float32)
    (spans,) = mrc.decode(questions, windows, start, end, n_best_size=10, max_answer_length=4)
    expected = sorted(all_spans(questions, windows, start, end, 4)[0].items(), key=lambda item: -item[1])[:10]
    assert [span.text for span in spans] == [text for text, _ in expected]


def test_an_answer_begins_only_where_its_window_speaks_for_the_token():
    questions = [question(" ".join("가나다라마바사아자차카타"))]
    windows = windows_of(*questions)
    row, column = np.argwhere((windows.token_start >= 0) & ~windows.max_context)[0]
    start, end = np.random.default_rng(1).normal(size=(2, *windows.input_ids.shape)).astype(np.float32)
    start[row, column] = 99
    (spans,) = mrc.decode(questions, windows, start, end)
    assert max(span.start_logit for span in spans) < 99


def test_the_question_and_the_padding_never_answer():
    questions = [question("가나다 라")]
    windows = windows_of(*questions)
    start = np.where(windows.token_start >= 0, -50, 50).astype(np.float32)
    (spans,) = mrc.decode(questions, windows, start, start)
    assert {span.text for span in spans} == {"가나", "가나다", "가나다 라", "다", "다 라", "라"}


def test_no_answer_is_a_candidate_with_the_lowest_null_score():
    context = " ".join("가나다라마바사아자차카타") * 2
    questions = [question(context), question("가")]
    windows = windows_of(*questions)
    start = np.full(windows.input_ids.shape, -9, np.float32)
    start[:, 0] = np.arange(len(windows))[::-1] + 2
    lowest = start[windows.question_index == 0, 0].min() * 2
    answers = mrc.decode(questions, windows, start, start, with_null=True, n_best_size=3)
    assert mrc.null_scores(windows, start, start, 2).tolist() == [lowest, 4]
    assert answers[0][0][:4] == ("", 0, 0, lowest)
    assert len(answers[0]) == 3
    assert [span.text for span in answers[1]] == ["", "가"]
