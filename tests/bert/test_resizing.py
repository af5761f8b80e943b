"""Vocabularies that grow and shrink under a model: embedding and output bias together, everything else as it was."""

import numpy as np
import pytest
from small_models import assert_close, batch, config, numpy, values, with_a_value_for_every_weight

from kobert_tf2.bert import models
from kobert_tf2.errors import InputError
from kobert_tf2.tokenization.tokenizer import Tokenizer


@pytest.mark.parametrize("size", [25, 40, 60])
def test_resizing_changes_embedding_and_bias_together_and_nothing_else(size):
    model = with_a_value_for_every_weight(models.BertForPreTraining(config()))
    resized = model.resize_token_embeddings(size)
    assert resized.config.vocab_size == size
    kept = min(size, 40)
    for path, value in values(resized).items():
        if path in ("embeddings/word_embeddings", "masked_lm/output_bias"):
            assert len(value) == size
            assert np.array_equal(value[:kept], values(model)[path][:kept])
            assert np.abs(value[kept:]).max(initial=0) < 0.1
        else:
            assert np.array_equal(value, values(model)[path]), path


def test_resizing_keeps_the_number_of_labels():
    model = models.BertForSequenceClassification(config(), num_labels=5)
    assert model.resize_token_embeddings(50).num_labels == 5


PIECES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "사과", "##나무", "##를", "##과", "사"]


def test_added_tokens_are_the_mean_of_what_they_replace():
    tokenizer = Tokenizer(PIECES, pre_tokenizer="none")
    model = with_a_value_for_every_weight(models.BertForPreTraining(config(vocab_size=11)))
    grown, new = model.add_tokens(tokenizer, ["사과나무", "##나무를", "사과", "귤"])
    assert new.tokenize("사과나무를") == ["사과나무", "##를"]
    assert grown.config.vocab_size == 13
    assert tokenizer.tokenize("사과나무를") == ["사과", "##나무", "##를"]
    for path in ("embeddings/word_embeddings", "masked_lm/output_bias"):
        before, after = values(model)[path], values(grown)[path]
        assert np.array_equal(before[:10], after[:10])
        assert np.allclose(after[new.vocab["사과나무"]], before[[5, 6]].mean(axis=0))
        assert np.allclose(after[new.vocab["##나무를"]], before[[6, 7]].mean(axis=0))
        assert np.allclose(after[new.vocab["귤"]], before[1])
    inputs = dict(batch(), input_ids=batch()["input_ids"] % 10)
    assert_close(numpy(grown.backbone(inputs)), numpy(model.backbone(inputs)), 0)


def test_a_new_piece_must_be_a_word():
    tokenizer = Tokenizer(PIECES, pre_tokenizer="none")
    for piece in ("", "##", "두 낱말"):
        with pytest.raises(InputError, match="a new piece"):
            models.BertBackbone(config()).add_tokens(tokenizer, [piece])
