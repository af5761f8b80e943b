"""Losses and metrics of the tasks, as sums that can be added over micro-batches, replicas and steps and divided once.

For each task two plain functions:

- `*_weights(batch) -> {term: scalar}`: what each term of the loss is divided by, from the labels of the *whole*
  batch, so that it is known before any gradient is taken.
- `*_sums(outputs, batch) -> ({term: loss sum}, {metric: (sum, weight)})`: from the outputs for a part of that batch.

The loss is the sum over the terms of loss sum / weight, 0 where the weight is 0. All sums are float32 scalars. A row
of a batch that only pads it has `example_weight` 0 (float32 [batch]; absent means that all rows are real). Nothing
here knows a model.
"""

import keras
from keras import ops


def _example_weight(batch):
    """float32 [batch]."""
    if "example_weight" in batch:
        return ops.cast(batch["example_weight"], "float32")
    return ops.ones([ops.shape(batch["input_ids"])[0]], "float32")


def _cross_entropy(labels, logits):
    """labels int32 [...], logits [..., classes] -> float32 [...]."""
    return ops.sparse_categorical_crossentropy(labels, ops.cast(logits, "float32"), from_logits=True)


def _correct(labels, logits):
    """1.0 where the highest logit is the label's; float32 [...]."""
    return ops.cast(ops.equal(ops.argmax(logits, axis=-1), ops.cast(labels, "int32")), "float32")


def _cross_entropy_and_correct(labels, logits):
    """Both of the above, labels [...] -> float32 [...] twice; over a vocabulary it pays to compute them together."""
    scores = _scores_of(logits)
    if scores is None:
        return _cross_entropy(labels, logits), _correct(labels, logits)
    from kobert_tf2.bert.kernels import training_cpu

    shape = ops.shape(labels)
    return [ops.reshape(x, shape) for x in training_cpu.cross_entropy(scores, ops.reshape(labels, (-1,)))]


def _scores_of(logits):
    """What is behind logits of a step that `training_cpu.py` is part of, else None."""
    if keras.backend.backend() != "tensorflow":
        return None
    from kobert_tf2.bert.kernels import training_cpu

    return training_cpu.scores_of(logits)


def _masked_lm_weight(batch):
    """float32 [batch, predictions]: 1 for a real prediction of a real row."""
    return ops.cast(batch["masked_lm_weights"], "float32") * _example_weight(batch)[:, None]


def pretraining_weights(batch) -> dict:
    return {
        "masked_lm": ops.sum(_masked_lm_weight(batch)),
        "next_sentence": ops.sum(_example_weight(batch)),
    }


def pretraining_sums(outputs, batch):
    """`outputs`: masked_lm_logits [batch, predictions, vocabulary], next_sentence_logits [batch, 2]."""
    tokens, rows = _masked_lm_weight(batch), _example_weight(batch)
    ids, sentence = batch["masked_lm_ids"], batch["next_sentence_labels"][:, 0]
    losses, correct = _cross_entropy_and_correct(ids, outputs["masked_lm_logits"])
    masked_lm = ops.sum(tokens * losses)
    next_sentence = ops.sum(rows * _cross_entropy(sentence, outputs["next_sentence_logits"]))
    predictions, examples = ops.sum(tokens), ops.sum(rows)
    return {"masked_lm": masked_lm, "next_sentence": next_sentence}, {
        "masked_lm_loss": (masked_lm, predictions),
        "masked_lm_accuracy": (ops.sum(tokens * correct), predictions),
        "next_sentence_loss": (next_sentence, examples),
        "next_sentence_accuracy": (ops.sum(rows * _correct(sentence, outputs["next_sentence_logits"])), examples),
    }


def span_weights(batch) -> dict:
    return {"span": ops.sum(_example_weight(batch))}


def span_sums(outputs, batch):
    """`outputs`: start_logits and end_logits [batch, sequence]. A row's loss is the mean of its two cross entropies."""
    rows = _example_weight(batch)
    start, end = batch["start_positions"], batch["end_positions"]
    loss = ops.sum(
        rows * (_cross_entropy(start, outputs["start_logits"]) + _cross_entropy(end, outputs["end_logits"])) / 2.0
    )
    start_right, end_right = _correct(start, outputs["start_logits"]), _correct(end, outputs["end_logits"])
    examples = ops.sum(rows)
    return {"span": loss}, {
        "span_loss": (loss, examples),
        "start_accuracy": (ops.sum(rows * start_right), examples),
        "end_accuracy": (ops.sum(rows * end_right), examples),
        "span_accuracy": (ops.sum(rows * start_right * end_right), examples),
    }


def label_weights(batch) -> dict:
    return {"label": ops.sum(_example_weight(batch))}


def label_sums(outputs, batch):
    """`outputs`: logits [batch, labels]; `batch["labels"]` int32 [batch]."""
    rows, labels = _example_weight(batch), batch["labels"]
    loss = ops.sum(rows * _cross_entropy(labels, outputs["logits"]))
    examples = ops.sum(rows)
    return {"label": loss}, {
        "label_loss": (loss, examples),
        "label_accuracy": (ops.sum(rows * _correct(labels, outputs["logits"])), examples),
    }


def _token_weight(batch):
    """1 at the tokens of real rows that have a label; labels are -1 at [CLS], [SEP] and padding."""
    labelled = ops.cast(batch["labels"] >= 0, "float32")
    return labelled * _example_weight(batch)[:, None]


def token_weights(batch) -> dict:
    return {"token": ops.sum(_token_weight(batch))}


def token_sums(outputs, batch):
    """`outputs`: logits [batch, sequence, labels]; `batch["labels"]` int32 [batch, sequence], -1 for none."""
    tokens, labels = _token_weight(batch), ops.maximum(batch["labels"], 0)
    losses, correct = _cross_entropy_and_correct(labels, outputs["logits"])
    loss, count = ops.sum(tokens * losses), ops.sum(tokens)
    return {"token": loss}, {"token_loss": (loss, count), "token_accuracy": (ops.sum(tokens * correct), count)}
