"""Arguments of another type or out of range: an error that names the argument, never one from the depths."""

import numpy as np
import pytest

import kobert_tf2 as kb
from kobert_tf2 import arguments
from kobert_tf2.bert import labels
from kobert_tf2.errors import InputError

VOCAB = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "가", "##나"]
BAD = (None, True, -1, 10**12, 1.5, float("nan"), b"x", [None], {1.5: 2}, object())
TOKENIZER = kb.Tokenizer(VOCAB, pre_tokenizer="none")
# The argument's name, and a call with it.
CALLS = {
    "strip_josa context": lambda value: kb.strip_josa(value, 0, 1),
    "strip_josa start": lambda value: kb.strip_josa("나무가", value, 2),
    "strip_josa end": lambda value: kb.strip_josa("나무가", 0, value),
    "tokenize text": TOKENIZER.tokenize,
    "encode text": TOKENIZER.encode,
    "encode_ids text": TOKENIZER.encode_ids,
    "encode_batch texts": TOKENIZER.encode_batch,
    "encode_batch texts[0]": lambda value: TOKENIZER.encode_batch([value]),
    "encode_ids_batch texts[1]": lambda value: TOKENIZER.encode_ids_batch(["가", value]),
    "encode_batch num_workers": lambda value: TOKENIZER.encode_batch(["가"], num_workers=value),
    "convert_tokens_to_ids pieces": TOKENIZER.convert_tokens_to_ids,
    "convert_ids_to_tokens ids": TOKENIZER.convert_ids_to_tokens,
    "convert_ids_to_tokens ids[0]": lambda value: TOKENIZER.convert_ids_to_tokens([value]),
    "save_pretrained path": TOKENIZER.save_pretrained,
    "from_pretrained path": kb.Tokenizer.from_pretrained,
}


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("value", BAD, ids=lambda value: repr(value).partition(" at 0x")[0])
def test_a_wrong_argument_is_named(name, value, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    argument = name.split()[1].partition("[")[0]
    with pytest.raises((TypeError, InputError)) as caught:
        CALLS[name](value)
    said = str(caught.value)
    # Out of range the sentence names what the number is of.
    assert said.startswith(argument) or "expected" in said, said
    assert len(said) < 200
    assert list(tmp_path.iterdir()) == []


OPTIONAL = {
    "special_tokens": lambda value: kb.Tokenizer(VOCAB, pre_tokenizer="none", special_tokens=value),
    "dictionary": lambda value: kb.Tokenizer(VOCAB, dictionary=value),
    "user_dictionary": lambda value: kb.Tokenizer(VOCAB, user_dictionary=value),
    "num_labels": lambda value: labels.make(value, None, None),
}


@pytest.mark.parametrize("name", OPTIONAL)
@pytest.mark.parametrize("value", BAD[1:], ids=lambda value: repr(value).partition(" at 0x")[0])
def test_a_wrong_optional_argument_is_named(name, value):
    with pytest.raises((TypeError, InputError), match=name):
        OPTIONAL[name](value)


def test_numbers_of_numpy_and_paths_of_any_kind_are_taken(tmp_path):
    assert TOKENIZER.convert_ids_to_tokens(np.array([5, 6], np.int32)) == ["가", "##나"]
    assert kb.strip_josa("나무가", np.int64(0), np.int32(3)) == (0, 2)
    TOKENIZER.save_pretrained(tmp_path / "a")
    assert kb.Tokenizer.from_pretrained(tmp_path / "a").vocab == TOKENIZER.vocab


def test_whole_numbers_have_ranges():
    assert arguments.whole("n", 3, 1, 3) == 3
    with pytest.raises(InputError, match="n: expected a whole number from 1 to 3, but got 4"):
        arguments.whole("n", 4, 1, 3)
    with pytest.raises(InputError, match="n: expected a whole number of at least 1, but got 0"):
        arguments.whole("n", 0, 1)
    with pytest.raises(TypeError, match=r"n: expected a whole number. Received: True \(bool\)"):
        arguments.whole("n", True)
