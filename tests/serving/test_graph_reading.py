"""Compares reading in a graph with the same rules written in plain Python, and with the NumPy implementation."""

import hypothesis.strategies as st
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from reading_windows import PairTokenizer
from reading_windows import question as question_about

from kobert_tf2.reading.answers import decode, with_probabilities
from kobert_tf2.reading.windows import make_windows
from kobert_tf2.serving import graph_reading, signatures

CLS, SEP, PAD = 101, 102, 0


def all_spans(start, end, may_start, may_end, max_answer_length):
    """Every allowed span of one row with its score, best first, the first of equals first."""
    found = [
        (float(np.float32(start[i]) + np.float32(end[j])), i, j)
        for i in range(len(start))
        for j in range(i, min(i + max_answer_length, len(start)))
        if may_start[i] and may_end[j]
    ]
    return sorted(found, key=lambda span: (-span[0], span[1], span[2]))


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 2**32 - 1), st.integers(1, 9), st.integers(1, 12), st.integers(1, 6))
def test_the_best_spans_are_those_of_a_search_through_all(seed, length, n_best_size, max_answer_length):
    rng = np.random.default_rng(seed)
    start, end = rng.integers(-5, 6, (2, 3, length)).astype(np.float32)
    may_start, may_end = rng.random((2, 3, length)) < 0.7
    spans = graph_reading.best_spans(
        start, end, may_start, may_end, n_best_size=n_best_size, max_answer_length=max_answer_length
    )
    for row in range(3):
        expected = all_spans(start[row], end[row], may_start[row], may_end[row], max_answer_length)[:n_best_size]
        count = len(expected)
        assert spans.score[row].numpy().tolist()[:count] == [score for score, _, _ in expected]
        assert spans.start[row].numpy().tolist() == [i for _, i, _ in expected] + [-1] * (n_best_size - count)
        assert spans.end[row].numpy().tolist() == [j for _, _, j in expected] + [-1] * (n_best_size - count)
        assert (spans.score[row].numpy()[count:] == graph_reading.IMPOSSIBLE).all()
        assert spans.probability[row].numpy().sum() == pytest.approx(1.0 if count else 0.0)


def plain_windows(question, context, *, max_seq_length, doc_stride, max_query_length):
    """The original run_squad's windows of one question: the first token and the number of tokens of each."""
    room = max_seq_length - min(len(question), max_query_length) - 3
    spans, first = [], 0
    while True:
        count = min(len(context) - first, room)
        spans.append((first, count))
        if first + count == len(context):
            return spans
        first += min(count, doc_stride)


def shows_most(spans, window, token):
    scores = [
        (min(token - first, first + count - 1 - token) + 0.01 * count, -index)
        for index, (first, count) in enumerate(spans)
        if first <= token < first + count
    ]
    return max(scores)[1] == -window


TEXTS = st.lists(
    st.tuples(st.lists(st.integers(1, 99), max_size=6), st.lists(st.integers(1, 99), max_size=40)),
    min_size=1,
    max_size=4,
)


@settings(deadline=None, max_examples=60)
@given(TEXTS, st.integers(1, 5), st.integers(0, 6))
def test_windows_are_laid_out_as_the_original_does(texts, doc_stride, spare):
    sizes = {"max_query_length": 4, "doc_stride": doc_stride, "max_seq_length": 4 + 3 + doc_stride + spare}
    windows = graph_reading.make_windows(
        tf.ragged.constant([q for q, _ in texts], tf.int32, ragged_rank=1),
        tf.ragged.constant([c for _, c in texts], tf.int32, ragged_rank=1),
        cls_id=CLS, sep_id=SEP, pad_id=PAD, **sizes,
    )  # fmt: skip
    rows = [
        (q[:4], c, plain_windows(q, c, **sizes), n) for q, c in texts for n in range(len(plain_windows(q, c, **sizes)))
    ]
    assert windows.inputs["input_ids"].shape[0] == len(rows)
    for w, (question, context, spans, n) in enumerate(rows):
        first, count = spans[n]
        expected = [CLS, *question, SEP, *context[first : first + count], SEP]
        ids, mask, segment = (windows.inputs[name][w].numpy() for name in ("input_ids", "input_mask", "segment_ids"))
        assert ids[: len(expected)].tolist() == expected
        assert not ids[len(expected) :].any()
        assert mask.tolist() == [1] * len(expected) + [0] * (len(ids) - len(expected))
        assert segment.tolist() == [0] * (len(question) + 2) + [1] * (count + 1) + [0] * (len(ids) - len(expected))
        places = np.flatnonzero(windows.in_context[w])
        assert windows.token[w].numpy()[places].tolist() == list(range(first, first + count))
        most = [shows_most(spans, n, token) for token in range(first, first + count)]
        assert windows.max_context[w].numpy()[places].tolist() == most
        assert not windows.max_context[w].numpy()[~windows.in_context[w].numpy()].any()
        in_context = graph_reading.context_positions(ids, mask, segment, sep_id=SEP)
        assert np.flatnonzero(in_context).tolist() == places.tolist()


def test_a_span_is_found_once_in_the_window_that_shows_most_around_it():
    context = list(range(1, 31))
    windows = graph_reading.make_windows(
        tf.ragged.constant([[50, 51], [60]], tf.int32), tf.ragged.constant([context, []], tf.int32, ragged_rank=1),
        cls_id=CLS, sep_id=SEP, pad_id=PAD, max_seq_length=16, doc_stride=5, max_query_length=8,
    )  # fmt: skip
    ids = windows.inputs["input_ids"]
    # A reader that gives high logits to tokens 13 to 15 everywhere, and the highest to the question.
    start = tf.cast(ids == 13, tf.float32) * 4 + tf.cast(ids == 50, tf.float32) * 9
    end = tf.cast(ids == 15, tf.float32) * 3 + tf.cast(ids == 51, tf.float32) * 9
    spans = graph_reading.merge_spans(windows, start, end, n_best_size=3, max_answer_length=4)
    assert (int(spans.start[0, 0]), int(spans.end[0, 0]), float(spans.score[0, 0])) == (12, 14, 7.0)
    assert float(spans.score[0, 1]) == 4.0
    assert spans.start[1].numpy().tolist() == [-1, -1, -1]


SYLLABLES = [chr(0xAC00 + number) for number in range(100)]


@settings(deadline=None, max_examples=30)
@given(
    st.lists(st.integers(0, 60), min_size=1, max_size=3),
    st.integers(0, 2**32 - 1),
    st.sampled_from([-2.0, -0.5, 0.0, 0.5, 2.0]),
)
def test_windows_answers_and_the_rule_for_no_answer_are_those_of_numpy(tokens, seed, threshold):
    """The graph's road from ids to the answer beside `windows` and `answers`, which all other ways take. No text stands
    twice in a context: equal texts are listed once by NumPy and more often by the graph."""
    questions = [question_about(" ".join(SYLLABLES[:count]), name=str(number)) for number, count in enumerate(tokens)]
    sizes = {"max_seq_length": 16, "doc_stride": 4, "max_query_length": 6}
    best = {"n_best_size": 5, "max_answer_length": 4}
    tokenizer = PairTokenizer()
    windows = make_windows(questions, tokenizer, **sizes)
    contexts = tokenizer.encode_batch([each.context for each in questions])
    in_graph = graph_reading.make_windows(
        tf.ragged.constant(tokenizer.encode_ids_batch([each.question for each in questions]), tf.int32, ragged_rank=1),
        tf.ragged.constant([encoding.ids.tolist() for encoding in contexts], tf.int32, ragged_rank=1),
        cls_id=tokenizer.cls_id, sep_id=tokenizer.sep_id, pad_id=tokenizer.pad_id, **sizes,
    )  # fmt: skip
    longest = windows.lengths.max()
    for name, values in in_graph.inputs.items():
        np.testing.assert_array_equal(values, getattr(windows, name)[:, :longest], err_msg=name)
    np.testing.assert_array_equal(in_graph.max_context, windows.max_context[:, :longest])

    start, end = np.random.default_rng(seed).normal(size=(2, *windows.input_ids.shape)).astype(np.float32)
    answers = decode(questions, windows, start, end, **best, with_null=True)
    logits = start[:, :longest], end[:, :longest]
    spans = graph_reading.merge_spans(in_graph, *logits, **best)
    null_score = graph_reading.null_scores(in_graph, *logits)
    first = {"answer": tf.fill(len(questions), "something")} | {
        name: getattr(spans, name)[:, 0] for name in ("start", "end", "score", "probability")
    }
    given = signatures._or_none(first, spans.score, null_score, threshold)
    for row, (answer, encoding) in enumerate(zip(answers, contexts, strict=True)):
        count = len(answer.spans)
        np.testing.assert_array_equal(encoding.starts[spans.start[row, :count]], [span.start for span in answer.spans])
        np.testing.assert_array_equal(encoding.ends[spans.end[row, :count]], [span.end for span in answer.spans])
        np.testing.assert_allclose(spans.score[row, :count], [span.score for span in answer.spans], rtol=1e-6)
        assert (spans.start[row, count:].numpy() == -1).all()
        np.testing.assert_allclose(
            spans.probability[row, :count], [span.probability for span in answer.spans], rtol=1e-5
        )
        assert float(null_score[row]) == np.float32(answer.null.start_logit) + np.float32(answer.null.end_logit)
        assert (given["answer"][row].numpy() == b"") == answer.is_none(threshold)
        chosen = with_probabilities(answer.ranked(threshold))[0]
        assert float(given["score"][row]) == pytest.approx(chosen.score, rel=1e-5)
        assert float(given["probability"][row]) == pytest.approx(chosen.probability, rel=1e-5)


@pytest.mark.parametrize("rows", [0, 1, 4, 7])
def test_chunks_give_what_one_call_gives(rows):
    inputs = {name: tf.random.uniform([rows, 5], 0, 9, tf.int32) for name in ("input_ids", "input_mask", "segment_ids")}

    def forward(chunk):
        assert chunk["input_ids"].shape[0] is None or chunk["input_ids"].shape[0] <= 3
        return tf.cast(chunk["input_ids"], tf.float32), tf.cast(chunk["input_mask"] + chunk["segment_ids"], tf.float32)

    chunked = tf.function(lambda: graph_reading.logits_in_chunks(forward, inputs, size=3))()
    for got, expected in zip(chunked, (inputs["input_ids"], inputs["input_mask"] + inputs["segment_ids"]), strict=True):
        np.testing.assert_array_equal(got, tf.cast(expected, tf.float32))
