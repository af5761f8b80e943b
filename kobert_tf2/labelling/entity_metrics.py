"""Entity scores, numerically identical to `seqeval` (strict) and KLUE.

An entity is right if its type and both ends are right. `entity_f1` is seqeval's micro average; `entity_macro_f1`
(KLUE's first score) is the mean over the types that occur in the truth or in the predictions. `character_macro_f1`
(KLUE's second score) is the mean F1 of the BIO labels over the characters that are not white space; as in KLUE's own
program, the label O is included, and a label that occurs on neither side counts as 1.
"""

import collections
from collections.abc import Iterable, Sequence

from kobert_tf2.labelling.entity_files import TaggedText, character_tags


def score(truth: Sequence[TaggedText], predicted: Sequence[TaggedText], labels: Sequence[str]) -> dict:
    """Scores of texts in the same order, from 0 to 1.

    `labels` are the BIO labels that the character score averages over. Returns `entity_f1`, `entity_macro_f1`,
    `character_macro_f1`, `precision`, `recall` and, for each type, `types[type]` with `precision`, `recall`, `f1`,
    `support`.
    """
    right: collections.Counter[str] = collections.Counter()
    in_truth: collections.Counter[str] = collections.Counter()
    in_predictions: collections.Counter[str] = collections.Counter()
    for gold, ours in zip(truth, predicted, strict=True):
        spans = {entity[:3] for entity in gold.entities}, {entity[:3] for entity in ours.entities}
        for counter, of in ((in_truth, spans[0]), (in_predictions, spans[1]), (right, spans[0] & spans[1])):
            counter.update(kind for _, _, kind in of)
    types = {
        kind: {**_prf(right[kind], in_predictions[kind], in_truth[kind]), "support": in_truth[kind]}
        for kind in sorted(in_truth | in_predictions)
    }
    total = _prf(right.total(), in_predictions.total(), in_truth.total())
    return {
        "entity_f1": total["f1"],
        "entity_macro_f1": _mean(scores["f1"] for scores in types.values()),
        "character_macro_f1": _character_macro_f1(truth, predicted, labels),
        "precision": total["precision"],
        "recall": total["recall"],
        "types": types,
    }


def _prf(right: int, predicted: int, true: int) -> dict[str, float]:
    """Precision, recall and F1; 0 instead of a division by zero, as in seqeval."""
    precision, recall = right / predicted if predicted else 0.0, right / true if true else 0.0
    f1 = 2 * precision * recall / (precision + recall) if right else 0.0
    return {"precision": precision, "recall": recall, "f1": f1}


def _character_macro_f1(truth: Sequence[TaggedText], predicted: Sequence[TaggedText], labels: Sequence[str]) -> float:
    both: collections.Counter[str] = collections.Counter()
    either: collections.Counter[str] = collections.Counter()
    for gold, ours in zip(truth, predicted, strict=True):
        tags = zip(
            gold.text, character_tags(gold.text, gold.entities), character_tags(gold.text, ours.entities), strict=True
        )
        for char, true, guess in tags:
            if not char.isspace():
                either.update((true, guess))
                both[true] += true == guess
    return _mean(2 * both[label] / either[label] if either[label] else 1.0 for label in labels)


def _mean(values: Iterable[float]) -> float:
    values = list(values)
    return sum(values) / len(values) if values else 0.0
