"""Mask filling by a loaded model: rejected input. test_services.py tests the predictions."""

import pytest
from korean_text import VOCAB
from small_models import config, with_large_weights

import kobert_tf2 as kb
from kobert_tf2.errors import InputError
from kobert_tf2.serving.mask_filler import MaskFiller


def save(folder, cls) -> str:
    tokenizer = kb.Tokenizer(VOCAB)
    # Rows of the embedding table without a piece.
    model = with_large_weights(cls(config(vocab_size=len(tokenizer.vocab) + 9, num_hidden_layers=1)))
    model.save_pretrained(str(folder), tokenizer)
    return str(folder)


@pytest.fixture(scope="module")
def filler(tmp_path_factory):
    return MaskFiller.load(save(tmp_path_factory.mktemp("filler") / "model", kb.BertForPreTraining))


def test_candidates_are_pieces_by_falling_probability(filler):
    (mask,) = filler.fill("사과[MASK] 심었다", n_best=20)
    assert (mask["start"], mask["end"]) == (2, 8)
    scores = [one["score"] for one in mask["candidates"]]
    assert scores == sorted(scores, reverse=True)
    assert 0 < sum(scores) <= 1 + 1e-6
    assert all(one["piece"] in filler.tokenizer.vocab for one in mask["candidates"])


@pytest.mark.parametrize("text", ["", "사과", "[MASK]" * 11])
def test_a_text_has_one_to_ten_masks(filler, text):
    with pytest.raises(InputError, match=rf"text: expected 1 to 10 \[MASK\], but it has {text.count('MASK')}"):
        filler.fill(text)


def test_a_text_that_is_too_long_is_refused(filler):
    with pytest.raises(InputError, match=r"text: expected at most 22 pieces, but it has \d+"):
        filler.fill("[MASK]" + "사과 " * 30)


def test_a_model_without_the_head_is_refused(tmp_path):
    with pytest.raises(InputError, match="the weights hold no masked-LM head"):
        MaskFiller.load(save(tmp_path / "model", kb.BertBackbone))
