"""Tokens as arrays: the same as one by one, in any number of texts at once."""

import pickle

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from korean_text import VOCAB, texts

from kobert_tf2.tokenization.encoding import EOJEOL, WORD, Encoding, Token, laid_out
from kobert_tf2.tokenization.mecab import CHUNK
from kobert_tf2.tokenization.tokenizer import Tokenizer

TOKENIZERS = {
    "mecab": Tokenizer(VOCAB),
    "compounds": Tokenizer(VOCAB, decompose_compounds=True, tags=True),
    "lower": Tokenizer(VOCAB, do_lower_case=True),
    "plain": Tokenizer(VOCAB, pre_tokenizer="none"),
}


def test_an_encoding_is_a_sequence_of_tokens():
    tokens = [Token("사과", 5, 0, 2), Token("##나무", 6, 2, 4), Token("가", 7, 5, 6)]
    encoding = Encoding.of(tokens)
    assert list(encoding) == tokens == encoding
    assert (encoding[0], encoding[-1], len(encoding)) == (tokens[0], tokens[-1], 3)
    assert encoding[1:] == tokens[1:]
    assert encoding != tokens[:2]
    assert encoding.pieces == ["사과", "##나무", "가"]
    assert encoding.ids.tolist() == [5, 6, 7]
    assert (encoding.starts.tolist(), encoding.ends.tolist()) == ([0, 2, 5], [2, 4, 6])
    assert {encoding.ids.dtype, encoding.starts.dtype, encoding.ends.dtype} == {np.dtype(np.int32)}
    assert pickle.loads(pickle.dumps(encoding)) == encoding
    assert repr(encoding[:1]) == repr(tokens[:1])
    assert type(encoding[0].id) is int
    with pytest.raises(IndexError):
        encoding[3]


def test_the_tokens_of_one_text_become_arrays_when_asked_for():
    encoding = TOKENIZERS["mecab"].encode("사과나무가")
    part, again = encoding[1:], pickle.loads(pickle.dumps(encoding))
    for one, tokens in ((encoding, list(encoding)), (part, list(encoding)[1:]), (again, list(encoding))):
        assert list(one) == [one[index] for index in range(len(one))] == tokens
        for column, name in ((one.ids, "id"), (one.starts, "start"), (one.ends, "end")):
            assert (column.dtype, column.tolist()) == (np.int32, [getattr(token, name) for token in tokens])
        assert one.ids is one.ids
        assert list(one) == tokens


def test_an_encoding_without_tokens():
    assert len(Encoding.of([])) == 0
    assert Encoding.of([]) == [] == TOKENIZERS["mecab"].encode("  ")


@settings(deadline=None, max_examples=100)
@given(st.lists(texts(), max_size=5))
@example([])
@example(["", " ", "가"])
@example(["사과", "İ\u0958 cafe\u0301", "사과 나무"])
@example(["사과 " * CHUNK, "캘리 를", "나무" * CHUNK])
def test_many_texts_give_what_each_gives(several):
    for tokenizer in TOKENIZERS.values():
        encodings = tokenizer.encode_texts(several)
        assert len(encodings.rows) == len(several) + 1
        assert [list(row) for row in encodings.each_with(list(tokenizer.vocab))] == [
            list(tokenizer.encode(text)) for text in several
        ]
        for index, text in enumerate(several):
            begins = {word.start: EOJEOL if word.begins else WORD for word in tokenizer.pre_tokenize(text)}
            row = encodings.alone(index)
            assert row.begins.tolist() == [begins.get(start, 0) for start in row.starts.tolist()], text


def test_laying_out_counts_from_each_texts_beginning():
    tokens = np.array([[7, 1, 2, 2], [8, 0, 1, 0], [9, 3, 4, 2]], np.int32)
    made = laid_out(tokens, np.array([0, 2, 3]), [0, 1, 1, 2], [-1, 0, 0])
    assert made.ids.tolist() == [7, 8, 9]
    assert (made.starts.tolist(), made.ends.tolist()) == ([0, 2, 3], [2, 3, 7])
    assert made.rows.tolist() == [0, 2, 2, 3]
