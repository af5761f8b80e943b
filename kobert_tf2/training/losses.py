"""Losses and metrics of the tasks, as sums that are accumulated over micro-batches, replicas and steps and then divided
once.

Each task has two plain functions:

- `*_weights(batch) -> {term: scalar}`: the denominator of each term of the loss, computed from the labels of
  the *whole* batch so that it is known before any gradient is taken.
- `*_sums(outputs, batch) -> ({term: loss sum}, {metric: (sum, weight)})`: computed from the outputs for a part of that
  batch.

The loss is the sum over the terms of loss sum / weight (0 if the weight is 0). All sums are float32 scalars. A padding
row of a batch has `example_weight` 0 (float32 [batch]; if absent, all rows are real). Nothing here depends on a model.
"""

import keras
from keras import ops

from kobert_tf2.bert import kernels
from kobert_tf2.bert.kernels.plain import cross_entropy


def _example_weight(batch: dict) -> keras.KerasTensor:
    """float32 [batch]."""
    if "example_weight" in batch:
        return ops.cast(batch["example_weight"], "float32")
    return ops.ones([ops.shape(batch["input_ids"])[0]], "float32")


def _smoothed(
    losses: keras.KerasTensor,
    logits: keras.KerasTensor,
    share: float,
    mask: keras.KerasTensor | None = None,
) -> keras.KerasTensor:
    """Cross entropies [...] of logits [..., labels], with this fraction of the target spread evenly over all labels
    (where `mask` is 1).
    """
    if not share:
        return losses
    logits = ops.cast(logits, "float32")
    mask = ops.ones_like(logits) if mask is None else ops.cast(mask, "float32")
    mean = ops.sum(mask * logits, axis=-1) / ops.maximum(ops.sum(mask, axis=-1), 1.0)
    return (1.0 - share) * losses + share * (ops.logsumexp(logits, axis=-1) - mean)


def _masked_lm_weight(batch: dict) -> keras.KerasTensor:
    """float32 [batch, predictions]: 1 for a real prediction of a real row."""
    return ops.cast(batch["masked_lm_weights"], "float32") * _example_weight(batch)[:, None]


def _next_sentence_weight(batch: dict) -> keras.KerasTensor:
    """float32 [batch], or [batch, slots] for rows that hold several sequences: 1 for each real one."""
    rows = _example_weight(batch)
    if "next_sentence_weights" not in batch:
        return rows
    return ops.cast(batch["next_sentence_weights"], "float32") * rows[:, None]


def pretraining_weights(batch: dict) -> dict:
    return {
        "masked_lm": ops.sum(_masked_lm_weight(batch)),
        "next_sentence": ops.sum(_next_sentence_weight(batch)),
    }


def pretraining_sums(outputs: dict, batch: dict) -> tuple:
    """`outputs`: masked_lm_logits [batch, predictions, vocabulary], next_sentence_logits [batch, 2], or [batch, slots,
    2] if the batch has `next_sentence_weights` [batch, slots].
    """
    tokens, rows = _masked_lm_weight(batch), _next_sentence_weight(batch)
    labels = batch["next_sentence_labels"]
    words = outputs["masked_lm_logits"]
    word_losses, word_correct = kernels.choose_for_loss(words).cross_entropy(words, batch["masked_lm_ids"])
    sentence_losses, sentence_correct = cross_entropy(
        outputs["next_sentence_logits"], labels if "next_sentence_weights" in batch else labels[:, 0]
    )
    masked_lm, next_sentence = ops.sum(tokens * word_losses), ops.sum(rows * sentence_losses)
    predictions, examples = ops.sum(tokens), ops.sum(rows)
    return {"masked_lm": masked_lm, "next_sentence": next_sentence}, {
        "masked_lm_loss": (masked_lm, predictions),
        "masked_lm_accuracy": (ops.sum(tokens * word_correct), predictions),
        "next_sentence_loss": (next_sentence, examples),
        "next_sentence_accuracy": (ops.sum(rows * sentence_correct), examples),
    }


def span_weights(batch: dict) -> dict:
    return {"span": ops.sum(_example_weight(batch))}


def span_sums(outputs: dict, batch: dict, *, label_smoothing: float = 0.0) -> tuple:
    """`outputs`: start_logits and end_logits [batch, sequence]. A row's loss is the mean of its two cross entropies.

    Label smoothing excludes padding positions.
    """
    rows = _example_weight(batch)
    start_losses, start_correct = cross_entropy(outputs["start_logits"], batch["start_positions"])
    end_losses, end_correct = cross_entropy(outputs["end_logits"], batch["end_positions"])
    loss, examples = ops.sum(rows * (start_losses + end_losses) / 2.0), ops.sum(rows)
    smoothed = loss
    if label_smoothing:
        start_losses = _smoothed(start_losses, outputs["start_logits"], label_smoothing, batch["input_mask"])
        end_losses = _smoothed(end_losses, outputs["end_logits"], label_smoothing, batch["input_mask"])
        smoothed = ops.sum(rows * (start_losses + end_losses) / 2.0)
    return {"span": smoothed}, {
        "span_loss": (loss, examples),
        "start_accuracy": (ops.sum(rows * start_correct), examples),
        "end_accuracy": (ops.sum(rows * end_correct), examples),
        "span_accuracy": (ops.sum(rows * start_correct * end_correct), examples),
    }


def label_weights(batch: dict) -> dict:
    return {"label": ops.sum(_example_weight(batch))}


def label_sums(outputs: dict, batch: dict, *, label_smoothing: float = 0.0) -> tuple:
    """`outputs`: logits [batch, labels]; `batch["labels"]` int32 [batch]."""
    rows = _example_weight(batch)
    losses, correct = cross_entropy(outputs["logits"], batch["labels"])
    loss, examples = ops.sum(rows * losses), ops.sum(rows)
    smoothed = ops.sum(rows * _smoothed(losses, outputs["logits"], label_smoothing)) if label_smoothing else loss
    return {"label": smoothed}, {
        "label_loss": (loss, examples),
        "label_accuracy": (ops.sum(rows * correct), examples),
    }


def multi_label_sums(outputs: dict, batch: dict) -> tuple:
    """`outputs`: logits [batch, labels]; `batch["labels"]` float32 [batch, labels], 1 for each label that a row has.

    A row's loss is the mean of its labels' binary cross entropies, as in `transformers`. `label_accuracy` counts the
    rows with all labels right.
    """
    rows, logits, labels = _example_weight(batch), outputs["logits"], ops.cast(batch["labels"], "float32")
    losses = ops.mean(ops.maximum(logits, 0.0) - logits * labels + ops.log1p(ops.exp(-ops.absolute(logits))), axis=-1)
    correct = ops.all((logits > 0.0) == (labels > 0.0), axis=-1)
    loss, examples = ops.sum(rows * losses), ops.sum(rows)
    return {"label": loss}, {
        "label_loss": (loss, examples),
        "label_accuracy": (ops.sum(rows * ops.cast(correct, "float32")), examples),
    }


def regression_sums(outputs: dict, batch: dict) -> tuple:
    """`outputs`: logits [batch, 1]; `batch["labels"]` float32 [batch]. A row's loss is its squared error."""
    rows = _example_weight(batch)
    errors = outputs["logits"][:, 0] - ops.cast(batch["labels"], "float32")
    loss, examples = ops.sum(rows * ops.square(errors)), ops.sum(rows)
    return {"label": loss}, {
        "label_loss": (loss, examples),
        "mean_absolute_error": (ops.sum(rows * ops.absolute(errors)), examples),
    }


def _token_weight(batch: dict) -> keras.KerasTensor:
    """1 at the labelled tokens of real rows (labels are -1 at [CLS], [SEP] and padding), multiplied by `token_weight`
    (float32 [batch, sequence]) if the batch has it.
    """
    labelled = ops.cast(batch["labels"] >= 0, "float32")
    weight = labelled * _example_weight(batch)[:, None]
    return weight * batch["token_weight"] if "token_weight" in batch else weight


def token_weights(batch: dict) -> dict:
    return {"token": ops.sum(_token_weight(batch))}


def token_sums(outputs: dict, batch: dict, *, label_smoothing: float = 0.0) -> tuple:
    """`outputs`: logits [batch, sequence, labels]; `batch["labels"]` int32 [batch, sequence], -1 for none."""
    tokens, labels = _token_weight(batch), ops.maximum(batch["labels"], 0)
    losses, correct = cross_entropy(outputs["logits"], labels)
    loss, count = ops.sum(tokens * losses), ops.sum(tokens)
    smoothed = ops.sum(tokens * _smoothed(losses, outputs["logits"], label_smoothing)) if label_smoothing else loss
    return {"token": smoothed}, {"token_loss": (loss, count), "token_accuracy": (ops.sum(tokens * correct), count)}
