"""The outputs of an export's signatures for each head, without writing an export."""

import numpy as np
import pytest
from korean_text import VOCAB
from small_models import HEADS as MODELS
from small_models import batch, config, with_large_weights

import kobert_tf2 as kb
from kobert_tf2.bert import models
from kobert_tf2.reading.settings import ReadingSettings
from kobert_tf2.serving.signatures import HEADS, TEXT_SIGNATURES, Servable

TOKENIZER = kb.Tokenizer(VOCAB, pre_tokenizer="none")


def servable(head: str, **given) -> Servable:
    cls = getattr(models, HEADS[head].model)
    model = with_large_weights(cls(config(vocab_size=len(VOCAB), num_hidden_layers=1), **given))
    settings = ReadingSettings.fitting(24) if head == "reading" else None
    return Servable(model, HEADS[head], tokenizer=TOKENIZER, settings=settings)


def inputs_of(one: Servable) -> dict:
    return {name: np.minimum(batch()[name], len(VOCAB) - 1) for name in one.inputs}


def test_every_model_has_a_head():
    assert {entry.model for entry in HEADS.values()} == {cls.__name__ for cls in (*MODELS, kb.BertBackbone)}
    assert TEXT_SIGNATURES.keys() <= HEADS.keys()


@pytest.mark.parametrize(
    ("problem_type", "total"),
    [("single_label_classification", 1.0), ("multi_label_classification", None), ("regression", None)],
)
def test_probabilities_follow_the_kind_of_problem(problem_type, total):
    one = servable("classification", labels=["가", "나", "다"], problem_type=problem_type)
    outputs = one.serve(**inputs_of(one))
    if problem_type == "regression":
        assert outputs.keys() == {"logits"}
        return
    probabilities, logits = outputs["probabilities"].numpy(), outputs["logits"].numpy()
    assert ((probabilities > 0) & (probabilities < 1)).all()
    if total:
        assert probabilities.sum(axis=1) == pytest.approx(total, abs=1e-5)
    else:
        assert probabilities == pytest.approx(1 / (1 + np.exp(-logits)), abs=1e-5)


def test_a_mean_of_tokens_leaves_padding_out():
    one = servable("embedding")
    inputs = inputs_of(one)
    outputs = {name: value.numpy() for name, value in one.serve(**inputs).items()}
    for row, length in enumerate(inputs["input_mask"].sum(axis=1)):
        expected = outputs["sequence_output"][row, :length].mean(axis=0)
        assert outputs["mean_output"][row] == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("head", HEADS)
def test_outputs_are_float32_and_strings_have_their_signature(head):
    one = servable(head)
    assert {value.dtype.name for value in one.serve(**inputs_of(one)).values()} == {"float32"}
    assert one.plain_signatures == (("serving_default", "answer_span") if head == "reading" else ("serving_default",))
    if head in TEXT_SIGNATURES:
        assert one.text_signature == TEXT_SIGNATURES[head]
