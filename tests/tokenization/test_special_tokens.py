"""Special tokens that are added to a tokenizer: one piece each, never cut nor normalised, here and in transformers."""

import pytest
import sentencepiece_models
from hypothesis import given, settings
from hypothesis import strategies as st
from korean_text import VOCAB, texts

from kobert_tf2.errors import InputError
from kobert_tf2.tokenization.added_tokens import with_special_tokens
from kobert_tf2.tokenization.tokenizer import Tokenizer

MARKERS = ["[SUBJ]", "[/SUBJ]", "<나라:LC>"]
SETTINGS = {
    "plain": {"pre_tokenizer": "none"},
    "lower case": {"pre_tokenizer": "none", "do_lower_case": True, "strip_accents": True},
    "morphemes": {"pre_tokenizer": "mecab"},
}


@pytest.fixture(scope="module", params=[*SETTINGS, "SentencePiece"])
def tokenizers(request, tmp_path_factory):
    """(without, with) the markers."""
    if request.param == "SentencePiece":
        folder = sentencepiece_models.kobert_folder(tmp_path_factory.mktemp("sentencepiece") / "model")
        before = Tokenizer.from_pretrained(folder)
    else:
        before = Tokenizer(VOCAB, **SETTINGS[request.param])
    return before, with_special_tokens(before, MARKERS)


@settings(deadline=None, max_examples=40)
@given(st.lists(st.tuples(texts(), st.sampled_from(MARKERS)), max_size=3), texts())
def test_each_marker_is_one_piece_and_what_lies_between_is_cut_as_before(tokenizers, parts, last):
    before, tokenizer = tokenizers
    if any(marker in text for text in (last, *(text for text, _ in parts)) for marker in MARKERS):
        return
    whole = "".join(text + marker for text, marker in parts) + last
    expected = [i for text, marker in parts for i in (*before.encode_ids(text), tokenizer.vocab[marker])]
    assert tokenizer.encode_ids(whole) == [*expected, *before.encode_ids(last)]
    found = [token for token in tokenizer.encode(whole) if token.piece in MARKERS]
    assert [whole[token.start : token.end] for token in found] == [marker for _, marker in parts]


def test_new_ids_come_last_and_the_old_ones_stay(tokenizers):
    before, tokenizer = tokenizers
    size = len(before.vocab)
    assert tokenizer.convert_tokens_to_ids(MARKERS) == [size, size + 1, size + 2]
    assert {piece: i for piece, i in tokenizer.vocab.items() if piece not in MARKERS} == before.vocab
    assert with_special_tokens(tokenizer, MARKERS[:2]) is tokenizer
    assert all(token.special and not token.normalized for token in tokenizer.added_tokens)


def test_they_are_saved_and_transformers_sees_the_same(tokenizers, tmp_path):
    transformers = pytest.importorskip("transformers")
    _, tokenizer = tokenizers
    tokenizer.save_pretrained(str(tmp_path))
    text = "[SUBJ]사과나무[/SUBJ]를  <나라:LC> 심었다"
    assert Tokenizer.from_pretrained(str(tmp_path)).encode_ids(text) == tokenizer.encode_ids(text)
    theirs = transformers.AutoTokenizer.from_pretrained(str(tmp_path), trust_remote_code=True)
    assert theirs.convert_tokens_to_ids(MARKERS) == tokenizer.convert_tokens_to_ids(MARKERS)
    assert theirs(text, add_special_tokens=False)["input_ids"] == tokenizer.encode_ids(text)


def test_a_piece_of_the_vocabulary_can_be_made_a_special_token():
    before = Tokenizer([*VOCAB, "[unused0]"], pre_tokenizer="none")
    tokenizer = with_special_tokens(before, ["[unused0]"])
    assert (tokenizer.vocab, tokenizer.tokenize("[unused0]")) == (before.vocab, ["[unused0]"])
    assert before.tokenize("[unused0]") != ["[unused0]"]


@pytest.mark.parametrize("content", ["", "두 낱말", "탭\t", "[CLS]", "[MASK]"])
def test_what_cannot_be_one_is_refused(content):
    with pytest.raises(InputError, match="special tokens: "):
        with_special_tokens(Tokenizer(VOCAB, pre_tokenizer="none"), [content])
