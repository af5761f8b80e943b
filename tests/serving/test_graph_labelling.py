"""Entity recognition in a graph gives the same entities as the NumPy functions, for any text and any logits."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from korean_text import VOCAB
from small_models import config, with_large_weights

import kobert_tf2 as kb
from kobert_tf2.errors import InputError
from kobert_tf2.labelling import entities
from kobert_tf2.labelling.settings import TaggerSettings
from kobert_tf2.serving import export, graph_labelling
from kobert_tf2.tokenization.encoding import Encoding

LABELS = ["O", "B-LC", "I-LC", "B-PS", "I-PS"]
TOKENIZER = kb.Tokenizer(VOCAB, pre_tokenizer="none")
TEXTS = ["사과나무를 심었다. 나무가 자랐다.", "", "  ", "😀 학교에서 사과나무를 " * 12, "사과"]


def ragged(rows, inner=()):
    values = np.array([value for row in rows for value in row], np.int32).reshape(-1, *inner)
    return tf.RaggedTensor.from_row_lengths(values, [len(row) for row in rows])


@settings(deadline=None, max_examples=25)
@given(st.lists(st.integers(0, 40), min_size=1, max_size=4), st.integers(3, 12))
def test_windows_are_those_of_the_labelling_room(lengths, max_seq_length):
    ids = [[10 + place for place in range(length)] for length in lengths]
    encodings = [kb_encoding(row) for row in ids]
    expected = entities.make_windows(encodings, TOKENIZER, max_seq_length=max_seq_length)
    special = {"cls_id": TOKENIZER.cls_id, "sep_id": TOKENIZER.sep_id, "pad_id": TOKENIZER.pad_id}
    found = graph_labelling.make_windows(ragged(ids), **special, max_seq_length=max_seq_length)
    width = found.inputs["input_ids"].shape[1]
    for name, values in found.inputs.items():
        assert np.array_equal(values, getattr(expected, name)[:, :width]), name
    assert np.array_equal(found.max_context, expected.counts[:, :width])
    assert not expected.input_mask[:, width:].any()


def kb_encoding(ids):
    places = np.arange(len(ids), dtype=np.int32)
    return Encoding(np.array(ids, np.int32), places, places + 1, {})


@settings(deadline=None, max_examples=40)
@given(st.lists(st.integers(0, 9), min_size=1, max_size=4), st.integers(0, 2**32 - 1))
def test_entities_are_those_of_the_labelling_room(lengths, seed):
    logits = [
        np.random.default_rng([seed, n]).normal(0, 3, (size, len(LABELS))).astype(np.float32)
        for n, size in enumerate(lengths)
    ]
    encodings = [kb_encoding(range(size)) for size in lengths]
    flat = tf.RaggedTensor.from_row_lengths(np.concatenate(logits), lengths)
    starts, ends = (ragged([getattr(one, name) for one in encodings]) for name in ("starts", "ends"))
    found = graph_labelling.decode(flat, starts, ends, LABELS)
    for row, (one, encoding) in enumerate(zip(logits, encodings, strict=True)):
        expected = entities.decode(one, encoding, LABELS)
        count = int(found.count[row])
        columns = [column[row, :count].numpy().tolist() for column in found[:3]]
        assert list(zip(*columns, strict=True)) == [(e.start, e.end, e.type.encode()) for e in expected]
        assert found.score[row, :count].numpy() == pytest.approx([e.score for e in expected], abs=1e-5)
        assert (found.start[row, count:].numpy() == -1).all()
        assert (found.score[row, count:].numpy() == 0).all()


@pytest.fixture(scope="module")
def model():
    return with_large_weights(
        kb.BertForTokenClassification(config(vocab_size=len(TOKENIZER.vocab), num_hidden_layers=1), labels=LABELS)
    )


def test_an_export_finds_in_strings_what_the_tagger_finds(model, tmp_path):
    kept = TaggerSettings(max_seq_length=9, doc_stride=2).to_config()
    written = export.export_model(model, TOKENIZER, str(tmp_path / "export"), task_specific_params=kept)
    assert written["text_signatures"] == ["serving_default", "tag_text"]
    loaded = tf.saved_model.load(written["text_path"])
    found = loaded.signatures["tag_text"](text=tf.constant(TEXTS))
    tagger = kb.Tagger.load(written["text_path"], strip_josa=False)
    expected = tagger.tag_batch(TEXTS)
    assert (tagger.max_seq_length, tagger.doc_stride) == (9, 2)
    assert sum(map(len, expected)) > 5
    for row, one in enumerate(expected):
        count = int(found["count"][row])
        texts = [text.decode() for text in found["text"][row, :count].numpy()]
        places = list(zip(found["start"][row, :count].numpy(), found["end"][row, :count].numpy(), strict=True))
        assert texts == [entity["text"] for entity in one]
        assert places == [(entity["start"], entity["end"]) for entity in one]
        assert [kind.decode() for kind in found["type"][row, :count].numpy()] == [entity["type"] for entity in one]
        assert found["score"][row, :count].numpy() == pytest.approx([entity["score"] for entity in one], abs=1e-4)


def test_labels_that_are_not_bio_have_no_signature_with_strings(tmp_path):
    model = kb.BertForTokenClassification(config(vocab_size=len(TOKENIZER.vocab), num_hidden_layers=1), num_labels=3)
    with pytest.raises(InputError, match=r"the labels are LABEL_0, LABEL_1, LABEL_2, not BIO"):
        export.export_model(model, TOKENIZER, str(tmp_path / "export"), with_text=True)
