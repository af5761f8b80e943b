"""Decoding: the best spans are those of trying every pair, and every text is a slice of its context."""

import itertools

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings
from reading_windows import question, windows_of

from kobert_tf2.reading import answers as reading_answers
from kobert_tf2.reading.answers import Answer, Span

contexts = st.text("가나다라 \n", min_size=1, max_size=80)


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
    answers = reading_answers.decode(questions, windows, start, end, n_best_size=size, max_answer_length=longest)
    expected = all_spans(questions, windows, start, end, longest)
    for index, (spans, *_) in enumerate(answers):
        scores = sorted(expected[index].values(), reverse=True)[:size]
        # A text that stands twice may push others out of a window's n best: what is there is right, the best is first.
        assert spans[0].score == pytest.approx(scores[0])
        assert all(span.score <= expected[index][span.text] + 1e-4 for span in spans)
        assert all(span.score == pytest.approx(span.start_logit + span.end_logit) for span in spans)
        assert [span.score for span in spans] == sorted((span.score for span in spans), reverse=True)
        assert len({span.text for span in spans}) == len(spans) <= size
        assert sum(span.probability for span in spans) == pytest.approx(1)
        assert all(span.text == questions[index].context[span.start : span.end] for span in spans)


SYLLABLES = [chr(0xAC00 + number) for number in range(200)]


@settings(deadline=None, max_examples=60)
@given(st.lists(st.integers(1, 45), min_size=1, max_size=3), st.integers(1, 9), st.integers(1, 12), st.integers(0, 99))
def test_the_n_best_of_distinct_texts_are_exact_over_all_windows(tokens, longest, size, seed):
    """No text stands twice, so all n are known: from one window up to ten for each question."""
    questions = [question(" ".join(SYLLABLES[:count]), name=str(number)) for number, count in enumerate(tokens)]
    windows = windows_of(*questions)
    start, end = np.random.default_rng(seed).normal(size=(2, *windows.input_ids.shape)).astype(np.float32)
    answers = reading_answers.decode(questions, windows, start, end, n_best_size=size, max_answer_length=longest)
    every = all_spans(questions, windows, start, end, longest)
    for index, answer in enumerate(answers):
        expected = sorted(every[index].items(), key=lambda item: -item[1])[:size]
        assert [span.text for span in answer.spans] == [text for text, _ in expected]
        assert [span.score for span in answer.spans] == pytest.approx([score for _, score in expected])
        weights = np.exp([score for _, score in expected])
        assert [span.probability for span in answer.spans] == pytest.approx(weights / weights.sum())


def test_an_answer_begins_only_where_its_window_speaks_for_the_token():
    questions = [question(" ".join("가나다라마바사아자차카타"))]
    windows = windows_of(*questions)
    row, column = np.argwhere((windows.token_start >= 0) & ~windows.max_context)[0]
    start, end = np.random.default_rng(1).normal(size=(2, *windows.input_ids.shape)).astype(np.float32)
    start[row, column] = 99
    ((spans, *_),) = reading_answers.decode(questions, windows, start, end)
    assert max(span.start_logit for span in spans) < 99


def test_the_question_and_the_padding_never_answer():
    questions = [question("가나다 라")]
    windows = windows_of(*questions)
    start = np.where(windows.token_start >= 0, -50, 50).astype(np.float32)
    ((spans, *_),) = reading_answers.decode(questions, windows, start, start)
    assert {span.text for span in spans} == {"가나", "가나다", "가나다 라", "다", "다 라", "라"}


def test_a_context_without_a_token_has_no_span():
    windows = windows_of(question(" "))
    logits = np.zeros(windows.input_ids.shape, np.float32)
    assert reading_answers.decode([question(" ")], windows, logits, logits) == [Answer([])]


def test_no_answer_is_a_candidate_with_the_lowest_null_score():
    context = " ".join("가나다라마바사아자차카타") * 2
    questions = [question(context), question("가")]
    windows = windows_of(*questions)
    start = np.full(windows.input_ids.shape, -9, np.float32)
    start[:, 0] = np.arange(len(windows))[::-1] + 2
    lowest = start[windows.question_index == 0, 0].min() * 2
    answers = reading_answers.decode(questions, windows, start, start, with_null=True, n_best_size=3)
    assert [answer.null.score for answer in answers] == [lowest, 4]
    assert [answer.null_score_diff for answer in answers] == [lowest + 18, 4 + 18]
    assert answers[0].ranked()[0][:4] == ("", 0, 0, lowest)
    assert len(answers[0].ranked()) == 4
    assert [span.text for span in answers[1].ranked()] == ["", "가"]


SPANS = [Span("가", 0, 1, 3.0, 0.0, 2.0, 1.0), Span("나", 1, 2, 1.0, 0.0, 1.0, 0.0)]


@pytest.mark.parametrize(
    ("null_score", "threshold", "texts"),
    [
        (5.0, 1.0, ["", "가", "나"]),
        (5.0, 2.0, ["가", "", "나"]),  # as much as the threshold is not more
        (2.0, 0.0, ["가", "", "나"]),
        (0.0, 0.0, ["가", "나", ""]),
        (0.0, -4.0, ["", "가", "나"]),
    ],
)
def test_no_answer_stands_where_threshold_and_score_put_it(null_score, threshold, texts):
    null = Span("", 0, 0, null_score, 1.0, null_score, 0.0)
    answer = Answer(SPANS, null, null_score - 3.0)
    found = reading_answers.with_probabilities(answer.ranked(threshold))
    assert [span.text for span in found] == texts
    assert answer.is_none(threshold) == (texts[0] == "")
    weights = {"가": np.exp(3.0), "나": np.exp(1.0), "": np.exp(null_score)}
    for span in found:
        assert span.probability == pytest.approx(weights[span.text] / sum(weights.values()))


def test_without_a_threshold_there_is_no_answer_only_where_there_is_no_span():
    null = Span("", 0, 0, 9.0, 1.0, 9.0, 0.0)
    assert Answer(SPANS, null, 6.0).is_none(None) is False
    assert Answer([], null, reading_answers.NO_SPAN).is_none(None) is True
    assert Answer(SPANS).is_none(0.0) is False
    assert Answer([]).is_none(0.0) is True


def test_a_span_as_good_as_no_answer_stands_before_it():
    equal = Span("", 0, 0, 1.0, 1.0, 1.0, 0.0)
    assert [span.text for span in Answer(SPANS, equal, -2.0).ranked(0.0)] == ["가", "나", ""]


def test_a_context_without_a_token_prefers_no_answer_above_every_threshold():
    windows = windows_of(question(" "))
    logits = np.zeros(windows.input_ids.shape, np.float32)
    (answer,) = reading_answers.decode([question(" ")], windows, logits, logits, with_null=True)
    assert answer.null_score_diff == reading_answers.NO_SPAN
    assert answer.null == ("", 0, 0, 0.0, 1.0, 0.0, 0.0)
    assert answer.is_none(1e6)
