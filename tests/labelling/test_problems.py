"""Kinds of problem: probabilities of logits, and thresholds, chosen as if every one were tried."""

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis.extra import numpy as arrays

from kobert_tf2.bert import labels as head_labels
from kobert_tf2.errors import InputError
from kobert_tf2.labelling import problems

LOGITS = arrays.arrays(np.float32, (5, 3), elements=st.floats(-200, 200, width=32))


def test_the_kinds_are_called_as_config_json_calls_them():
    assert tuple(problems.OF_FLAG.values()) == head_labels.PROBLEM_TYPES


@settings(deadline=None)
@given(LOGITS)
def test_one_label_is_a_softmax_and_several_are_a_sigmoid_each(logits):
    one, each = (problems.scores(logits, kind) for kind in (problems.SINGLE_LABEL, problems.MULTI_LABEL))
    assert np.isfinite(one).all()
    assert np.isfinite(each).all()
    np.testing.assert_allclose(one.sum(axis=1), 1, rtol=1e-5)
    alone = [problems.scores(logits[:, [label]], problems.MULTI_LABEL)[:, 0] for label in range(3)]
    assert np.array_equal(each.T, alone)
    with np.errstate(over="ignore"):
        np.testing.assert_allclose(each, 1 / (1 + np.exp(-logits.astype(np.float64))), rtol=1e-5, atol=1e-30)
    assert np.array_equal(problems.scores(logits, problems.REGRESSION), logits)


def f1(probabilities, targets, threshold):
    chosen = probabilities >= np.float32(threshold)
    both = chosen.sum() + targets.sum()
    return 2 * (chosen & (targets > 0)).sum() / both if both else 0.0


@settings(deadline=None, max_examples=200)
@given(st.lists(st.tuples(st.integers(0, 20), st.booleans()), min_size=1, max_size=12))
def test_a_chosen_threshold_is_as_good_as_any_that_can_be_tried(rows):
    probabilities = np.array([[value / 20] for value, _ in rows], np.float32)
    targets = np.array([[float(label)] for _, label in rows], np.float32)
    (chosen,) = problems.choose_thresholds(probabilities, targets)
    every = np.unique([0.0, 1.0, *probabilities[:, 0], *(probabilities[:, 0] + 1e-4), 0.5])
    best = max(f1(probabilities[:, 0], targets[:, 0], threshold) for threshold in every)
    if targets.any():
        assert f1(probabilities[:, 0], targets[:, 0], chosen) == pytest.approx(best)
        assert 0 <= chosen <= 1
    else:
        assert chosen == problems.DEFAULT_THRESHOLD


def test_the_default_is_chosen_where_it_is_as_good_as_others():
    probabilities = np.array([[0.1, 0.1], [0.9, 0.2], [0.2, 0.3]], np.float32)
    targets = np.array([[0, 0], [1, 0], [0, 1]], np.float32)
    assert problems.choose_thresholds(probabilities, targets).tolist() == [0.5, 0.25]


def test_labels_without_a_threshold_have_the_default():
    row = problems.threshold_row({"b": 0.2}, ["a", "b"])
    assert row.tolist() == pytest.approx([0.5, 0.2])
    assert problems.chosen_labels(np.array([[0.5, 0.1]], np.float32), row).tolist() == [[True, False]]


@pytest.mark.parametrize(
    ("thresholds", "reported"),
    [
        ({"c": 0.5}, "expected labels of a, b, but got 'c'"),
        ({"a": 1.5}, "from 0 to 1 for 'a', but got 1.5"),
        ({"a": "0.5"}, "but got '0.5'"),
        ({"a": True}, "but got True"),
        ({"a": float("nan")}, "but got nan"),
    ],
)
def test_wrong_thresholds_are_reported(thresholds, reported):
    with pytest.raises(InputError, match=f"config.json: thresholds: .*{reported}"):
        problems.check_thresholds(thresholds, ["a", "b"], "config.json")
