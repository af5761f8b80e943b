"""The problem types of a classifier, as named in `config.json`, and the conversion of its logits to answers.

single_label_classification    exactly one label: softmax, the most probable is the answer
multi_label_classification     any number of labels: sigmoid, those that reach their thresholds
regression                     one number: the unchanged logit, trained with mean squared error
"""

from collections.abc import Mapping, Sequence

import numpy as np

from kobert_tf2.errors import InputError

SINGLE_LABEL = "single_label_classification"
MULTI_LABEL = "multi_label_classification"
REGRESSION = "regression"
# The values of --problem_type.
OF_FLAG = {"single_label": SINGLE_LABEL, "multi_label": MULTI_LABEL, "regression": REGRESSION}

DEFAULT_THRESHOLD = 0.5


def scores(logits: np.ndarray, problem_type: str) -> np.ndarray:
    """float32 [examples, labels]: the labels' probabilities, or for a regression the predicted numbers."""
    if problem_type == REGRESSION:
        return logits.astype(np.float32)
    if problem_type == MULTI_LABEL:
        # Both branches are finite, since the exponent is never positive.
        small = np.exp(-np.abs(logits))
        return np.where(logits >= 0, 1 / (1 + small), small / (1 + small)).astype(np.float32)
    weights = np.exp(logits - logits.max(axis=1, keepdims=True))
    return (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)


def check_head(problem_type: str, names: Sequence[str], source: str) -> None:
    """Raises `InputError` for a regression with several outputs, since it is undefined which one is the answer."""
    if problem_type == REGRESSION and len(names) != 1:
        raise InputError(f"{source}: expected a regression of one number, but this head gives {len(names)}")


def check_thresholds(thresholds: Mapping[str, float], names: Sequence[str], source: str) -> None:
    """Raises `InputError` for an unknown label, or a threshold that is not a number from 0 to 1."""
    for name, value in thresholds.items():
        if name not in names:
            raise InputError(f"{source}: thresholds: expected labels of {', '.join(names)}, but got {name!r}")
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
            raise InputError(f"{source}: thresholds: expected a number from 0 to 1 for {name!r}, but got {value!r}")


def threshold_row(thresholds: Mapping[str, float] | None, names: Sequence[str]) -> np.ndarray:
    """float32 [labels]: the threshold of each label; `DEFAULT_THRESHOLD` if it has none."""
    return np.array([(thresholds or {}).get(name, DEFAULT_THRESHOLD) for name in names], np.float32)


def chosen_labels(probabilities: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    """bool [examples, labels]: whether each label's probability reaches its threshold."""
    return probabilities >= thresholds


def choose_thresholds(probabilities: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """float32 [labels]: for each label, the threshold with the highest F1 on these examples.

    Thresholds are midpoints of adjacent probabilities, so that no example lies on one. Ties in F1 are broken by the
    distance to `DEFAULT_THRESHOLD`; a label without positive examples gets `DEFAULT_THRESHOLD`.
    """
    columns = zip(probabilities.T, targets.T, strict=True)
    return np.array([_best_threshold(column, target > 0) for column, target in columns], np.float32)


def _best_threshold(probabilities: np.ndarray, targets: np.ndarray) -> float:
    if not targets.any():
        return DEFAULT_THRESHOLD
    order = np.argsort(-probabilities, kind="stable")
    ranked, found = probabilities[order].astype(np.float64), np.cumsum(targets[order])
    f1 = 2 * found / (np.arange(1, len(order) + 1) + targets.sum())
    is_cut = np.append(ranked[:-1] > ranked[1:], True)  # only after a run of equal probabilities
    below = np.append(ranked[1:], 0.0)
    cuts = np.clip((ranked + below) / 2, 0, 1)[is_cut]
    # All thresholds between two adjacent probabilities are equivalent; the default is used if it lies between them.
    between = (below[is_cut] < DEFAULT_THRESHOLD) & (ranked[is_cut] >= DEFAULT_THRESHOLD)
    cuts = np.where(between, DEFAULT_THRESHOLD, cuts)
    best = cuts[f1[is_cut] >= f1[is_cut].max() - 1e-12]
    return float(best[np.argmin(np.abs(best - DEFAULT_THRESHOLD))])
