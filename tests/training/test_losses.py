"""Losses as sums: parts add up to the whole, padding rows add nothing, and values equal those computed by hand."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kobert_tf2.training import losses

ROWS, SEQUENCE, PREDICTIONS, VOCAB = 6, 7, 3, 11
TASKS = {
    "pretraining": (losses.pretraining_weights, losses.pretraining_sums),
    "span": (losses.span_weights, losses.span_sums),
    "label": (losses.label_weights, losses.label_sums),
    "token": (losses.token_weights, losses.token_sums),
}


def example(seed: int, task: str = "") -> tuple[dict, dict]:
    """Outputs and a batch that serve every task; those of "token" have labels and logits for each token."""
    rng = np.random.default_rng(seed)
    numbers = lambda *shape: rng.normal(size=shape).astype(np.float32)  # noqa: E731
    outputs = {
        "masked_lm_logits": numbers(ROWS, PREDICTIONS, VOCAB),
        "next_sentence_logits": numbers(ROWS, 2),
        "start_logits": numbers(ROWS, SEQUENCE),
        "end_logits": numbers(ROWS, SEQUENCE),
        "logits": numbers(ROWS, 4),
    }
    batch = {
        "input_ids": np.zeros((ROWS, SEQUENCE), np.int32),
        "masked_lm_ids": rng.integers(0, VOCAB, (ROWS, PREDICTIONS), np.int32),
        "masked_lm_weights": rng.integers(0, 2, (ROWS, PREDICTIONS)).astype(np.float32),
        "next_sentence_labels": rng.integers(0, 2, (ROWS, 1), np.int32),
        "start_positions": rng.integers(0, SEQUENCE, ROWS, np.int32),
        "end_positions": rng.integers(0, SEQUENCE, ROWS, np.int32),
        "labels": rng.integers(0, 4, ROWS, np.int32),
        "example_weight": rng.integers(0, 2, ROWS).astype(np.float32),
    }
    if task == "token":
        outputs["logits"] = numbers(ROWS, SEQUENCE, 4)
        batch["labels"] = rng.integers(-1, 4, (ROWS, SEQUENCE), np.int32)
    return outputs, batch


def cross_entropy(label: int, logits) -> float:
    shifted = np.asarray(logits, np.float64) - np.max(logits)
    return float(np.log(np.exp(shifted).sum()) - shifted[label])


def as_numbers(sums) -> dict:
    terms, metrics = sums
    return {name: float(x) for name, x in terms.items()} | {
        name: tuple(float(x) for x in pair) for name, pair in metrics.items()
    }


def rows(tree: dict, part: slice) -> dict:
    return {name: x[part] for name, x in tree.items()}


@pytest.mark.parametrize("task", TASKS)
@settings(deadline=None, max_examples=10)
@given(seed=st.integers(0, 2**31), cut=st.integers(1, ROWS - 1))
def test_the_parts_of_a_batch_add_up_to_it(task, seed, cut):
    weights, sums = TASKS[task]
    outputs, batch = example(seed, task)
    parts = [(rows(outputs, part), rows(batch, part)) for part in (slice(None, cut), slice(cut, None))]
    whole, first, second = as_numbers(sums(outputs, batch)), *(as_numbers(sums(*part)) for part in parts)
    for name in whole:
        np.testing.assert_allclose(np.add(first[name], second[name]), whole[name], rtol=1e-5, atol=1e-5)
    for name, weight in weights(batch).items():
        assert sum(float(weights(part)[name]) for _, part in parts) == pytest.approx(float(weight))


@pytest.mark.parametrize("task", TASKS)
@settings(deadline=None, max_examples=10)
@given(seed=st.integers(0, 2**31))
def test_a_row_without_weight_is_as_if_it_were_not_there(task, seed):
    _, sums = TASKS[task]
    outputs, batch = example(seed, task)
    real = batch["example_weight"] > 0
    kept = as_numbers(
        sums(rows(outputs, real), {**rows(batch, real), "example_weight": np.ones(real.sum(), np.float32)})
    )
    for name, value in as_numbers(sums(outputs, batch)).items():
        np.testing.assert_allclose(value, kept[name], rtol=1e-5, atol=1e-5)


@settings(deadline=None, max_examples=10)
@given(st.integers(0, 2**31))
def test_pretraining_by_hand(seed):
    outputs, batch = example(seed)
    del batch["example_weight"]
    terms, metrics = losses.pretraining_sums(outputs, batch)
    expected = sum(
        batch["masked_lm_weights"][i, j]
        * cross_entropy(batch["masked_lm_ids"][i, j], outputs["masked_lm_logits"][i, j])
        for i in range(ROWS)
        for j in range(PREDICTIONS)
    )
    assert float(terms["masked_lm"]) == pytest.approx(expected, rel=1e-4, abs=1e-4)
    assert float(metrics["masked_lm_loss"][1]) == batch["masked_lm_weights"].sum()
    right = (outputs["masked_lm_logits"].argmax(-1) == batch["masked_lm_ids"]) * batch["masked_lm_weights"]
    assert float(metrics["masked_lm_accuracy"][0]) == right.sum()
    sentence = [
        cross_entropy(*pair)
        for pair in zip(batch["next_sentence_labels"][:, 0], outputs["next_sentence_logits"], strict=True)
    ]
    assert float(terms["next_sentence"]) == pytest.approx(sum(sentence), rel=1e-4)
    assert float(losses.pretraining_weights(batch)["next_sentence"]) == ROWS


@settings(deadline=None, max_examples=10)
@given(st.integers(0, 2**31))
def test_a_span_loses_the_mean_of_its_two_ends(seed):
    outputs, batch = example(seed)
    terms, metrics = losses.span_sums(outputs, batch)
    expected = 0.0
    for i, weight in enumerate(batch["example_weight"]):
        start = cross_entropy(batch["start_positions"][i], outputs["start_logits"][i])
        expected += weight * (start + cross_entropy(batch["end_positions"][i], outputs["end_logits"][i])) / 2
    assert float(terms["span"]) == pytest.approx(expected, rel=1e-4, abs=1e-4)
    assert float(metrics["span_accuracy"][0]) <= min(float(metrics[f"{x}_accuracy"][0]) for x in ("start", "end"))


@settings(deadline=None, max_examples=10)
@given(st.integers(0, 2**31))
def test_a_token_without_a_label_costs_nothing(seed):
    outputs, batch = example(seed, "token")
    terms, metrics = losses.token_sums(outputs, batch)
    counted = [(i, j) for i, j in np.argwhere(batch["labels"] >= 0) if batch["example_weight"][i]]
    expected = sum(cross_entropy(batch["labels"][i, j], outputs["logits"][i, j]) for i, j in counted)
    right = sum(batch["labels"][i, j] == outputs["logits"][i, j].argmax() for i, j in counted)
    assert float(terms["token"]) == pytest.approx(expected, rel=1e-4, abs=1e-4)
    assert float(metrics["token_accuracy"][0]) == right
    assert float(losses.token_weights(batch)["token"]) == len(counted)
