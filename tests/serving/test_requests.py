"""Conversion of request texts to windows: equal to those of the packages that define them, without TensorFlow."""

import pickle
import subprocess
import sys

import numpy as np
import pytest
from korean_text import VOCAB

import kobert_tf2 as kb
from kobert_tf2.errors import InputError
from kobert_tf2.labelling import entities
from kobert_tf2.reading.squad_files import Question
from kobert_tf2.reading.windows import make_windows
from kobert_tf2.serving import requests

LENGTHS = {"max_seq_length": 16, "doc_stride": 4, "max_query_length": 5}


@pytest.fixture(scope="module")
def tokenizer():
    return kb.Tokenizer(VOCAB)


def test_the_process_for_long_texts_needs_no_tensorflow():
    program = "import sys, kobert_tf2.serving.requests; assert not {'tensorflow', 'keras'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", program], check=True)


@pytest.mark.parametrize("context", ["사과나무를 심었다 " * 20, "", "사과"])
def test_a_question_becomes_the_windows_of_reading(tokenizer, context):
    ask = requests.Ask("무엇을 심었나?", context)
    prepared = requests.prepare_ask(ask, tokenizer=tokenizer, lengths=LENGTHS)
    expected = make_windows([Question("0", ask.question, context)], tokenizer, **LENGTHS)
    for name, array in prepared.features.items():
        assert np.array_equal(array, getattr(expected, name))
    assert np.array_equal(prepared.lengths, expected.lengths)
    question, windows = pickle.loads(pickle.dumps(prepared)).source
    assert question.context == context
    assert np.array_equal(windows.token_start, expected.token_start)
    assert ask.size() == len(context) + 8


@pytest.mark.parametrize("question", ["", " ", "\u3000\n"])
def test_an_empty_question_is_refused(tokenizer, question):
    with pytest.raises(InputError, match="question: the question is empty"):
        requests.prepare_ask(requests.Ask(question, "사과"), tokenizer=tokenizer, lengths=LENGTHS)


def test_a_text_becomes_the_windows_of_labelling(tokenizer):
    text = "사과나무를 심었다 " * 20
    prepared = requests.prepare_text(requests.Text(text), tokenizer=tokenizer, max_seq_length=16)
    expected = entities.make_windows([tokenizer.encode(text)], tokenizer, max_seq_length=16)
    assert len(expected) > 3
    assert np.array_equal(prepared.features["input_ids"], expected.input_ids)
    encoding, windows = pickle.loads(pickle.dumps(prepared)).source
    assert encoding == tokenizer.encode(text)
    assert np.array_equal(windows.counts, expected.counts)
    assert len(requests.prepare_text(requests.Text(""), tokenizer=tokenizer, max_seq_length=16).lengths) <= 1


def test_what_stands_behind_a_mask_goes_on_with_its_word():
    vocab = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "수도", "##는", "이다", "##이다", "는"]
    tokenizer = kb.Tokenizer(vocab)
    prepared = requests.prepare_fill(requests.Fill("[MASK]는 [MASK] 는"), tokenizer=tokenizer, max_seq_length=9)
    pieces = tokenizer.convert_ids_to_tokens(prepared.features["input_ids"][0].tolist())
    assert pieces == ["[CLS]", "[MASK]", "##는", "[MASK]", "는", "[SEP]", "[PAD]", "[PAD]", "[PAD]"]
    assert prepared.features["masked_lm_positions"].tolist() == [[1, 3] + [0] * 8]
    assert prepared.lengths.tolist() == [6]
    assert prepared.source == [(0, 6), (8, 14)]


def test_outputs_of_windows_of_several_widths_are_stacked():
    rows = [{"logits": np.ones((2, 3))}, {"logits": np.full((4, 3), 2.0)}]
    stacked = requests.stacked(rows, "logits", 5, -np.inf)
    assert stacked.shape == (2, 5, 3)
    assert np.isinf(stacked).sum() == 3 * 3 + 1 * 3
    assert stacked[1, 3, 2] == 2
    assert requests.stacked([], "logits", 5, 0.0).shape == (0, 5)
