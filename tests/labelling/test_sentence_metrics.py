"""Scores of sentences: scikit-learn, SciPy and KLUE's own formulas are the oracle, and figures counted by hand."""

import warnings

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import assume, given, settings

from kobert_tf2.labelling import problems, sentence_metrics

NAMES = ["no_relation", "per:title", "org:founded", "per:origin"]
PROBABILITIES = st.lists(st.integers(0, 9), min_size=4, max_size=4)
ROWS = st.lists(st.tuples(PROBABILITIES, st.integers(0, 3)), min_size=1, max_size=30)


def single(rows):
    logits = np.array([values for values, _ in rows], np.float32)
    return problems.scores(logits, problems.SINGLE_LABEL), np.array([label for _, label in rows])


# ----------------------------------------------------------------------------------------------------------------------
# By hand
# ----------------------------------------------------------------------------------------------------------------------


def test_one_label_as_counted_by_hand():
    probabilities = np.array([[0.7, 0.2, 0.1], [0.1, 0.8, 0.1], [0.6, 0.3, 0.1], [0.2, 0.5, 0.3]], np.float32)
    scores = sentence_metrics.score(problems.SINGLE_LABEL, probabilities, np.array([0, 1, 1, 1]), ["a", "b", "c"])
    assert (scores["accuracy"], scores["f1_micro"]) == (0.75, 0.75)
    assert scores["f1_macro"] == scores["f1"] == pytest.approx((2 / 3 + 4 / 5) / 2)
    assert "auprc" not in scores


def test_relations_as_counted_by_hand():
    """Right: one of three given relations; of the two true ones one was found."""
    probabilities = np.eye(4, dtype=np.float32)[[1, 2, 3, 0]]
    labels = np.array([1, 0, 0, 3])
    scores = sentence_metrics.score(problems.SINGLE_LABEL, probabilities, labels, NAMES)
    assert scores["f1_micro_without_no_relation"] == pytest.approx(2 * 1 / (3 + 2))
    # no_relation: found last, with all others; per:title: first; org:founded: no example, which counts 0.5; per:origin.
    assert scores["auprc"] == pytest.approx((0.25 + 1 + 0.5 + 0.125) / 4)


def test_several_labels_as_counted_by_hand():
    probabilities = np.array([[0.9, 0.4, 0.1], [0.6, 0.6, 0.2], [0.2, 0.1, 0.3]], np.float32)
    targets = np.array([[1, 1, 0], [1, 1, 0], [0, 0, 0]], np.float32)
    half = sentence_metrics.score(problems.MULTI_LABEL, probabilities, targets, "abc")
    assert (half["precision"], half["recall"]) == (1, 0.75)
    assert half["accuracy"] == pytest.approx(2 / 3)
    assert half["f1_of_each"] == pytest.approx([1, 2 / 3, 0])
    lower = sentence_metrics.score(problems.MULTI_LABEL, probabilities, targets, "abc", {"b": 0.3})
    assert (lower["accuracy"], lower["f1_micro"], lower["f1_macro"]) == (1, 1, pytest.approx(2 / 3))


def test_similarities_as_counted_by_hand():
    predicted = np.array([[1.0], [2.0], [4.0], [3.0]], np.float32)
    scores = sentence_metrics.score(
        problems.REGRESSION, predicted, np.array([0.0, 3.0, 5.0, 4.0]), ["LABEL_0"], score_range=(0.0, 5.0)
    )
    assert scores["spearman"] == pytest.approx(1)
    assert scores["f1_at_3"] == pytest.approx(2 * 2 / (2 + 3))
    assert (scores["mse"], scores["mae"]) == (1, 1)
    assert "f1_at_3" not in sentence_metrics.regression(predicted[:, 0], predicted[:, 0], (0.0, 1.0))


@pytest.mark.parametrize("predicted", [[2.5, 2.5, 2.5], [0.1, 0.1, 0.1]])
def test_a_correlation_with_one_number_is_not_defined(predicted):
    scores = sentence_metrics.regression(np.array(predicted, np.float32), np.array([1.0, 2.0, 3.0], np.float32))
    assert scores["pearson"] is scores["spearman"] is None
    assert sentence_metrics.regression(np.ones(1), np.zeros(1))["pearson"] is None


# ----------------------------------------------------------------------------------------------------------------------
# By the libraries
# ----------------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def sklearn():
    return pytest.importorskip("sklearn.metrics")


@settings(deadline=None, max_examples=100)
@given(ROWS)
def test_one_label_as_scikit_learn_and_klue_have_it(sklearn, rows):
    probabilities, labels = single(rows)
    predicted = probabilities.argmax(axis=1)
    scores = sentence_metrics.score(problems.SINGLE_LABEL, probabilities, labels, NAMES)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert scores["accuracy"] == pytest.approx(sklearn.accuracy_score(labels, predicted))
        assert scores["f1_macro"] == pytest.approx(sklearn.f1_score(labels, predicted, average="macro"))
        assert scores["f1_micro"] == pytest.approx(sklearn.f1_score(labels, predicted, average="micro"))
        without = sklearn.f1_score(labels, predicted, average="micro", labels=[1, 2, 3])
        assert scores["f1_micro_without_no_relation"] == pytest.approx(without)
        areas = []
        for label in range(4):
            precision, recall, _ = sklearn.precision_recall_curve(labels == label, probabilities[:, label])
            areas.append(sklearn.auc(recall, precision))
        assert scores["auprc"] == pytest.approx(np.mean(areas))
        assert scores["loss"] == pytest.approx(sklearn.log_loss(labels, probabilities, labels=range(4)), rel=1e-4)


@settings(deadline=None, max_examples=100)
@given(st.lists(st.tuples(PROBABILITIES, st.lists(st.booleans(), min_size=4, max_size=4)), min_size=1, max_size=20))
def test_several_labels_as_scikit_learn_has_them(sklearn, rows):
    probabilities = np.array([values for values, _ in rows], np.float32) / 9
    targets = np.array([given for _, given in rows], np.float32)
    predicted = probabilities >= np.float32(0.5)
    scores = sentence_metrics.score(problems.MULTI_LABEL, probabilities, targets, "abcd")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert scores["accuracy"] == pytest.approx(sklearn.accuracy_score(targets > 0, predicted))
        for mean in ("macro", "micro"):
            assert scores[f"f1_{mean}"] == pytest.approx(sklearn.f1_score(targets > 0, predicted, average=mean))
        assert scores["precision"] == pytest.approx(sklearn.precision_score(targets > 0, predicted, average="micro"))
        assert scores["recall"] == pytest.approx(sklearn.recall_score(targets > 0, predicted, average="micro"))


@settings(deadline=None, max_examples=100)
@given(st.lists(st.tuples(st.integers(-30, 80), st.integers(0, 50)), min_size=2, max_size=30))
def test_correlations_as_scipy_has_them_and_f1_as_klue(sklearn, pairs):
    stats = pytest.importorskip("scipy.stats")
    predicted, targets = (np.array(side, np.float32) / 10 for side in zip(*pairs, strict=True))
    assume(np.ptp(predicted) > 0 and np.ptp(targets) > 0)
    scores = sentence_metrics.regression(predicted, targets, (0.0, 5.0))
    assert scores["pearson"] == pytest.approx(stats.pearsonr(predicted, targets)[0], abs=1e-5)
    assert scores["spearman"] == pytest.approx(stats.spearmanr(predicted, targets)[0], abs=1e-9)
    expected = sklearn.f1_score(targets >= 3, predicted >= 3, average="binary", zero_division=0)
    assert scores["f1_at_3"] == pytest.approx(expected)
    assert scores["mse"] == pytest.approx(sklearn.mean_squared_error(targets, predicted), rel=1e-5)
