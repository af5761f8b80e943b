"""Entities on tokens: aligned by characters, cut into windows without loss, decoded into well-formed sequences."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from korean_text import VOCAB, texts

from kobert_tf2.errors import InputError
from kobert_tf2.labelling import entities
from kobert_tf2.labelling.entity_files import Entity, TaggedText
from kobert_tf2.tokenization.tokenizer import Tokenizer

LABELS = entities.label_list(["LC", "PS"])


@pytest.fixture(scope="module")
def tokenizer():
    return Tokenizer(VOCAB)


def certain(windows: entities.TokenWindows, labels: int = len(LABELS)) -> np.ndarray:
    """Logits of a model that is sure of the right label, and wrong wherever another window has the say."""
    logits = np.zeros((*windows.labels.shape, labels), np.float32)
    row, column = np.nonzero(windows.labels >= 0)
    logits[row, column, windows.labels[row, column]] = 9
    logits[~windows.counts] = -logits[~windows.counts]
    return logits


@settings(deadline=None)
@given(st.lists(texts(), min_size=1, max_size=3), st.integers(3, 12), st.data())
def test_an_entity_of_whole_tokens_comes_back_from_any_windows(tokenizer, given_texts, max_seq_length, data):
    encodings = tokenizer.encode_batch(given_texts)
    tagged = []
    for index, (text, encoding) in enumerate(zip(given_texts, encodings, strict=True)):
        found = []
        for first, last in _pairs(data.draw(st.sets(st.integers(0, max(len(encoding) - 1, 0))))):
            if len(encoding):
                found.append(Entity(int(encoding.starts[first]), int(encoding.ends[last]), "PS" if first % 2 else "LC"))
        tagged.append(TaggedText(str(index), text, tuple(found)))
    alignment = entities.align(tagged, encodings, LABELS)
    assert not alignment.edges_inside_a_token
    stride = data.draw(st.integers(1, max_seq_length - 2))
    windows = entities.make_windows(
        encodings, tokenizer, max_seq_length=max_seq_length, doc_stride=stride, labels=alignment.labels
    )
    assert windows.counts.sum() == sum(map(len, encodings))
    logits = entities.token_logits(windows, certain(windows), encodings)
    for text, encoding, one in zip(tagged, encodings, logits, strict=True):
        decoded = entities.decode(one, encoding, LABELS)
        assert [entity[:3] for entity in decoded] == [entity[:3] for entity in text.entities]


def _pairs(numbers: set[int]) -> list[tuple[int, int]]:
    """Ranges that do not overlap."""
    ordered = sorted(numbers)
    return list(zip(ordered[::2], ordered[1::2], strict=False))


class _Spans:
    """What `align` reads of an `Encoding`."""

    def __init__(self, spans):
        self.starts, self.ends = (np.array(column) for column in zip(*spans, strict=True))

    def __len__(self):
        return len(self.starts)


def test_an_edge_inside_a_token_takes_the_token_and_is_listed():
    text = TaggedText("7", "서울대에서", (Entity(0, 2, "LC"), Entity(2, 3, "PS")))
    alignment = entities.align([text], [_Spans([(0, 3), (3, 5)])], LABELS)
    assert alignment.labels[0].tolist() == [LABELS.index("B-LC"), 0]
    assert alignment.edges_inside_a_token == ["7: '서울' (LC, characters 0 to 2)"]
    assert alignment.lost == ["7: '대' (PS, characters 2 to 3)"]
    assert alignment.entities == 2


def test_a_type_that_the_model_does_not_know_is_reported():
    text = TaggedText("id-3", "가", (Entity(0, 1, "XX"),))
    with pytest.raises(InputError, match="id-3: the type 'XX' is not one of LC, PS"):
        entities.align([text], [_Spans([(0, 1)])], LABELS)


def well_formed(labels: list[int]) -> bool:
    names = ["O", *(LABELS[label] for label in labels)]
    return all(not b.startswith("I-") or a[1:] == b[1:] for a, b in itertools.pairwise(names))


@given(st.lists(st.lists(st.floats(-5, 5, width=32), min_size=5, max_size=5), min_size=1, max_size=4))
def test_viterbi_finds_the_best_of_all_well_formed_sequences(rows):
    scores = np.array(rows, np.float64)
    best = entities.viterbi(scores, LABELS)
    assert well_formed(best.tolist())
    value = scores[np.arange(len(best)), best].sum()
    for other in itertools.product(range(len(LABELS)), repeat=len(scores)):
        if well_formed(list(other)):
            assert value >= scores[np.arange(len(best)), list(other)].sum() - 1e-9


def test_a_score_is_the_mean_probability_of_the_labels():
    logits = np.full((2, len(LABELS)), -30, np.float32)
    logits[0, [LABELS.index("B-PS"), 0]] = 0
    logits[1, LABELS.index("I-PS")] = 0
    logits[0, 0] = -1
    (entity,) = entities.decode(logits, _Spans([(0, 2), (2, 4)]), LABELS)
    assert entity[:3] == (0, 4, "PS")
    assert entity.score == pytest.approx((1 / (1 + np.exp(-1)) + 1) / 2)


@pytest.mark.parametrize("labels", [["O", "B-PS"], ["B-PS", "I-PS"], ["O", "PS"], ["O", "B-PS", "I-PS", "I-LC"]])
def test_labels_that_are_not_bio_are_refused(labels):
    with pytest.raises(InputError, match=r"model/config\.json: expected BIO labels"):
        entities.types_of(labels, "model/config.json")


def test_lengths_without_room_are_refused(tokenizer):
    for lengths in (
        {"max_seq_length": 2},
        {"max_seq_length": 10, "doc_stride": 9},
        {"max_seq_length": 10, "doc_stride": 0},
    ):
        with pytest.raises(InputError, match="max_seq_length"):
            entities.make_windows([], tokenizer, **lengths)


def test_the_types_of_labels_stand_once_each_in_their_order():
    assert entities.types_of(["O", "B-PS", "I-PS", "B-LC", "I-LC"], "here") == ["PS", "LC"]


def test_windows_are_half_apart_where_no_stride_is_given_and_are_what_a_model_reads(tokenizer):
    encodings = tokenizer.encode_batch(["가 나 다 라 마 바 사"])
    assert len(encodings[0]) == 7
    windows = entities.make_windows(encodings, tokenizer, max_seq_length=7)
    assert windows.first_token.tolist() == [0, 2]
    assert entities.make_windows(encodings, tokenizer, max_seq_length=3).first_token.tolist() == [*range(7)]
    assert windows.features().keys() == {"input_ids", "input_mask", "segment_ids"}
    labelled = entities.make_windows(encodings, tokenizer, max_seq_length=7, labels=[np.arange(7)])
    features = labelled.features()
    assert features.keys() == {"input_ids", "input_mask", "segment_ids", "labels"}
    assert all(np.array_equal(features[name], getattr(labelled, name)) for name in features)
    logits = entities.token_logits(windows, np.ones((2, 7, 5), np.float32), encodings)
    assert (logits[0].dtype, logits[0].shape) == (np.float32, (7, 5))
