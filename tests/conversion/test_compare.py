"""Two sides of a conversion: who is asked, with which inputs, and when their answers count as different."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_models import config

from kobert_tf2.bert.checkpoint_files import Source
from kobert_tf2.conversion import compare

POOLED = frozenset({"pooler"})


def model(parts: frozenset[str], architecture: str = "BertForPreTraining") -> compare.Model:
    return compare.Model(Source("tf1", "folder", "folder/bert_model.ckpt", "config"), config(), parts, architecture)


@pytest.mark.parametrize(
    ("parts", "architecture", "expected"),
    [
        (frozenset(), "BertModel", ["BertModel"]),
        (POOLED, "BertModel", ["BertModel"]),
        (POOLED | {"masked_lm", "next_sentence"}, "BertForPreTraining", ["BertModel", "BertForPreTraining"]),
        (POOLED | {"masked_lm"}, "BertForMaskedLM", ["BertModel", "BertForMaskedLM"]),
        # Without a pooler there is nothing that a next-sentence head could be computed from.
        (frozenset({"masked_lm", "next_sentence"}), "BertForPreTraining", ["BertModel", "BertForMaskedLM"]),
        (POOLED | {"next_sentence"}, "BertForNextSentencePrediction", ["BertModel", "BertForNextSentencePrediction"]),
        (frozenset({"span"}), "BertForQuestionAnswering", ["BertModel", "BertForQuestionAnswering"]),
        (frozenset({"classifier"}), "BertForTokenClassification", ["BertModel", "BertForTokenClassification"]),
        (POOLED | {"classifier"}, "BertForSequenceClassification", ["BertModel", "BertForSequenceClassification"]),
        (frozenset({"classifier"}), "BertForSequenceClassification", ["BertModel"]),
    ],
)
def test_every_part_is_asked_through_a_class_without_a_new_head(parts, architecture, expected):
    assert model(parts, architecture).classes() == expected


@given(rows=st.integers(1, 6), length=st.integers(2, 40), segments=st.sampled_from([1, 2, 16]))
@settings(max_examples=60, deadline=None)
def test_a_sample_batch_has_words_of_the_whole_vocabulary_and_legal_inputs(rows, length, segments):
    made = compare.sample_batch(config(type_vocab_size=segments), batch=rows, length=length)
    width = min(length, 24)
    assert {made[name].shape for name in ("input_ids", "input_mask", "segment_ids")} == {(rows, width)}
    assert 0 <= made["input_ids"].min() <= made["input_ids"].max() < 40
    lengths = made["input_mask"].sum(axis=1)
    assert np.array_equal(made["input_mask"], np.arange(width) < lengths[:, None])  # ones, then zeros
    assert lengths[0] == width
    assert lengths.min() >= 2
    assert 0 <= made["segment_ids"].min() <= made["segment_ids"].max() < segments
    assert not made["segment_ids"][made["input_mask"] == 0].any()
    assert (made["masked_lm_positions"] < lengths[:, None]).all()


def test_a_sample_batch_shows_both_segments_and_padding():
    made = compare.sample_batch(config())
    assert set(made["segment_ids"][0]) == {0, 1}
    assert len(set(made["input_mask"].sum(axis=1))) == 3


def differences(source: np.ndarray, output: np.ndarray, *, first: str = "source") -> dict[str, bool]:
    answers = {first: {"logits": source, "only_here": source}, "output": {"logits": output}}
    return {found.name: found.is_too_large for found in compare._differences(answers)}


def test_what_both_sides_answer_is_compared_and_nothing_else():
    assert differences(np.zeros(3), np.zeros(3)) == {"logits": False}


@pytest.mark.parametrize("first", ["source", "ours"])
@pytest.mark.parametrize(("by", "is_too_large"), [(9e-5, False), (1.1e-4, True), (np.nan, True), (np.inf, True)])
def test_rounding_passes_and_more_or_a_nan_does_not(first, by, is_too_large):
    assert differences(np.zeros(3), np.array([0, 0, by]), first=first) == {"logits": is_too_large}


def test_large_answers_may_differ_by_more():
    """Float32 rounds relative to the size of a number: logits of 100 cannot agree to 1e-4."""
    large = np.full(3, 100.0)
    assert differences(large, large + 9e-3) == {"logits": False}
    assert differences(large, large + 1.1e-2) == {"logits": True}
