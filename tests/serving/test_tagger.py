"""Entities from a loaded model: they are slices of the text and independent of batching; rejected input."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from korean_text import VOCAB, texts
from small_models import config, with_large_weights

import kobert_tf2 as kb
from kobert_tf2.errors import InputError

LABELS = ["O", "B-LC", "I-LC", "B-PS", "I-PS"]


def save(folder, labels=LABELS, cls=kb.BertForTokenClassification) -> str:
    tokenizer = kb.Tokenizer(VOCAB)
    given = {} if cls is kb.BertBackbone else {"labels": labels}
    model = with_large_weights(cls(config(vocab_size=len(tokenizer.vocab)), **given))
    model.save_pretrained(str(folder), tokenizer)
    return str(folder)


@pytest.fixture(scope="module")
def tagger(tmp_path_factory):
    return kb.Tagger.load(save(tmp_path_factory.mktemp("tagger") / "model"), max_seq_length=9)


@settings(deadline=None, max_examples=30)
@given(st.lists(texts(), max_size=5))
def test_entities_are_slices_in_order_and_a_batch_changes_nothing(tagger, given_texts):
    together = tagger.tag_batch(given_texts)
    assert len(together) == len(given_texts)
    for text, found in zip(given_texts, together, strict=True):
        end = 0
        for entity in found:
            assert entity["start"] >= end or entity["start"] >= end - 1
            assert text[entity["start"] : entity["end"]] == entity["text"]
            assert entity["type"] in ("LC", "PS")
            assert 0 < entity["score"] <= 1
            end = entity["end"]
        alone = tagger.tag(text)
        assert [{**entity, "score": None} for entity in alone] == [{**entity, "score": None} for entity in found]
        assert np.allclose([e["score"] for e in alone], [e["score"] for e in found], atol=1e-5)


def test_a_long_text_is_read_to_its_end(tagger):
    text = "사과나무를 심었다 " * 30
    assert max(entity["end"] for entity in tagger.tag(text)) > len(text) - 20


@pytest.mark.parametrize("labels", [["O", "PS"], ["긍정", "부정"]])
def test_labels_that_are_not_bio_are_refused(labels, tmp_path):
    with pytest.raises(InputError, match="expected BIO labels"):
        kb.Tagger.load(save(tmp_path / "model", labels))


def test_a_head_that_was_never_trained_is_refused(tmp_path):
    with pytest.raises(InputError, match="model"):
        kb.Tagger.load(save(tmp_path / "model", cls=kb.BertBackbone))


def test_wrong_arguments_are_reported(tagger, tmp_path):
    with pytest.raises(InputError, match="text 1: expected a string, but got NoneType"):
        tagger.tag_batch(["가", None])
    with pytest.raises(InputError, match="max_seq_length"):
        kb.Tagger.load(save(tmp_path / "model"), max_seq_length=1000)


def test_the_precision_asked_for_is_the_one_computed_in(tmp_path):
    path = save(tmp_path / "model")
    taggers = [kb.Tagger.load(path, max_seq_length=9, precision=precision) for precision in ("float32", "bfloat16")]
    scores = [[entity["score"] for entity in one.tag("사과나무를 한국에")] for one in taggers]
    assert scores[0] != scores[1]
