"""Scores of sentences and pairs, from 0 to 1, numerically identical to scikit-learn, SciPy and KLUE's baseline.

KLUE's task scores under the names used here: YNAT `f1_macro`; NLI `accuracy`; STS `pearson` and `f1_at_3`; RE
`f1_micro_without_no_relation` and `auprc`.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from kobert_tf2.labelling import problems

# The KLUE-RE label for two entities without a relation, which its F1 excludes.
NO_RELATION = "no_relation"
# The lowest similarity at which KLUE-STS counts two sentences as paraphrases.
PARAPHRASE_FROM = 3.0


def score(
    problem_type: str,
    scores: np.ndarray,
    targets: np.ndarray,
    names: Sequence[str],
    thresholds: Mapping[str, float] | None = None,
    score_range: tuple[float, float] | None = None,
) -> dict[str, Any]:
    """The scores for a problem type.

    Args:
        scores: float32 [examples, labels], as returned by `problems.scores`.
        targets: int [examples], float [examples, labels] of 0 and 1, or float [examples].
        names: names of the labels.
        thresholds: for `multi_label_classification`; labels without one use `problems.DEFAULT_THRESHOLD`.
        score_range: for `regression`; `f1_at_3` is computed on KLUE's scale, 0 to 5.
    """
    if problem_type == problems.REGRESSION:
        return regression(scores[:, 0], targets, score_range)
    if problem_type == problems.MULTI_LABEL:
        return multi_label(scores, targets, problems.threshold_row(thresholds, names))
    return {**single_label(scores, targets), **_of_relations(scores, targets, names)}


# ----------------------------------------------------------------------------------------------------------------------
# One label
# ----------------------------------------------------------------------------------------------------------------------


def single_label(probabilities: np.ndarray, labels: np.ndarray) -> dict[str, Any]:
    """`accuracy`, `f1` (the mean over the labels, or the F1 of label 1 if there are two), `f1_macro`, `f1_micro`,
    `f1_of_each`, `loss`, `confusion`.

    A label that neither occurs nor is predicted has no F1 and is left out of the means. `f1_micro` equals the accuracy,
    as always if every example has one label.
    """
    count = probabilities.shape[1]
    confusion = np.zeros((count, count), np.int64)
    np.add.at(confusion, (labels, probabilities.argmax(axis=1)), 1)
    relevant = confusion.sum(axis=0) + confusion.sum(axis=1)
    f1 = 2 * np.diag(confusion) / np.maximum(relevant, 1)
    chosen = probabilities[np.arange(len(labels)), labels]
    accuracy, macro = float(np.trace(confusion) / confusion.sum()), float(f1[relevant > 0].mean())
    return {
        "accuracy": accuracy,
        "f1": float(f1[1]) if count == 2 else macro,
        "f1_macro": macro,
        "f1_micro": accuracy,
        "f1_of_each": [float(value) for value in f1],
        "loss": float(-np.log(np.maximum(chosen, np.finfo(np.float32).tiny)).mean()),
        "confusion": confusion.tolist(),
    }


def _of_relations(probabilities: np.ndarray, labels: np.ndarray, names: Sequence[str]) -> dict[str, float]:
    """KLUE-RE's scores if one of the labels is `no_relation`."""
    if NO_RELATION not in names:
        return {}
    without = list(names).index(NO_RELATION)
    return {
        "f1_micro_without_no_relation": f1_micro_without(probabilities.argmax(axis=1), labels, without),
        "auprc": auprc(probabilities, labels),
    }


def f1_micro_without(predicted: np.ndarray, labels: np.ndarray, without: int) -> float:
    """Micro F1 over all labels except one: their true and false positives are summed."""
    right = int(((predicted == labels) & (labels != without)).sum())
    both = int((predicted != without).sum() + (labels != without).sum())
    return 2 * right / both if both else 0.0


def auprc(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """The area under the precision-recall curve by the trapezoidal rule, averaged over all labels.

    A label without examples counts 0.5: scikit-learn sets its recall to 1 everywhere, and KLUE averages over all 30
    labels.
    """
    areas = [_area(column, labels == label) for label, column in enumerate(probabilities.T)]
    return float(np.mean(areas))


def _area(probabilities: np.ndarray, is_positive: np.ndarray) -> float:
    order = np.argsort(-probabilities, kind="stable")
    ranked, positives = probabilities[order], np.cumsum(is_positive[order])
    last_of_equals = np.append(ranked[:-1] != ranked[1:], True)
    found, taken = positives[last_of_equals], np.flatnonzero(last_of_equals) + 1
    precision = np.concatenate([[1.0], found / taken])
    recall = np.concatenate([[0.0], found / positives[-1] if positives[-1] else np.ones(len(found))])
    return float(np.sum(np.diff(recall) * (precision[1:] + precision[:-1]) / 2))


# ----------------------------------------------------------------------------------------------------------------------
# Several labels
# ----------------------------------------------------------------------------------------------------------------------


def multi_label(probabilities: np.ndarray, targets: np.ndarray, thresholds: np.ndarray) -> dict[str, Any]:
    """`accuracy` (the share of examples with exactly the right labels), `f1_macro`, `f1_micro`, `precision`, `recall`
    (micro, over all labels), `f1_of_each`, `loss`.

    As in scikit-learn, a label that neither occurs nor is predicted has an F1 of 0 and is included in the mean.
    """
    predicted, true = problems.chosen_labels(probabilities, thresholds), targets > 0
    right, both = (predicted & true).sum(axis=0), predicted.sum(axis=0) + true.sum(axis=0)
    f1 = np.where(both > 0, 2 * right / np.maximum(both, 1), 0.0)
    tiny = np.finfo(np.float32).tiny
    chosen = np.where(true, probabilities, 1 - probabilities)
    return {
        "accuracy": float((predicted == true).all(axis=1).mean()),
        "f1_macro": float(f1.mean()),
        "f1_micro": float(2 * right.sum() / max(both.sum(), 1)),
        "precision": float(right.sum() / max(predicted.sum(), 1)),
        "recall": float(right.sum() / max(true.sum(), 1)),
        "f1_of_each": [float(value) for value in f1],
        "loss": float(-np.log(np.maximum(chosen, tiny)).mean()),
    }


# ----------------------------------------------------------------------------------------------------------------------
# Numbers
# ----------------------------------------------------------------------------------------------------------------------


def regression(
    predicted: np.ndarray, targets: np.ndarray, score_range: tuple[float, float] | None = None
) -> dict[str, float | None]:
    """`pearson`, `spearman`, `mse`, `mae` and, for scores from 0 to 5, KLUE-STS' `f1_at_3`.

    A correlation is None (undefined) if either side is constant or there is only one example.
    """
    predicted, targets = predicted.astype(np.float64), targets.astype(np.float64)
    paraphrases = {"f1_at_3": f1_from(predicted, targets, PARAPHRASE_FROM)} if score_range == (0.0, 5.0) else {}
    return {
        "pearson": _correlation(predicted, targets),
        "spearman": _correlation(_ranks(predicted), _ranks(targets)),
        "mse": float(np.mean((predicted - targets) ** 2)),
        "mae": float(np.mean(np.abs(predicted - targets))),
        **paraphrases,
    }


def f1_from(predicted: np.ndarray, targets: np.ndarray, threshold: float) -> float:
    """The F1 of "at least `threshold`"; 0 if no value on either side is."""
    ours, true = predicted >= threshold, targets >= threshold
    both = int(ours.sum() + true.sum())
    return 2 * int((ours & true).sum()) / both if both else 0.0


def _correlation(a: np.ndarray, b: np.ndarray) -> float | None:
    if np.ptp(a) == 0 or np.ptp(b) == 0:
        return None
    a, b = a - a.mean(), b - b.mean()
    return float(np.clip(a @ b / (np.linalg.norm(a) * np.linalg.norm(b)), -1, 1))


def _ranks(values: np.ndarray) -> np.ndarray:
    """Ranks from 1 for the lowest value; equal values share their mean rank."""
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return (last - (counts - 1) / 2)[place]
