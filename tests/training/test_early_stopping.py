"""Early stopping: when training ends, which weights it ends with, and that a resumed run makes the same decisions."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf
import training_runs
from slow_cases import rest_slow

from kobert_tf2.errors import InputError
from kobert_tf2.training import checkpoints, loop

# The result of each evaluation: better, better, worse, worse, better, ...
SCORES = [0.1, 0.5, 0.4, 0.5, 0.6, 0.2, 0.2, 0.2]


def train(folder, scores=SCORES, *, num_steps: int = 16, crash_at: int | None = None, **settings):
    """The summary, the weights at the end and those after each step that was looked at."""
    model, optimizer = training_runs.model_and_optimizer(tf.distribute.get_strategy(), dropout=0.1, tiny=True)
    seen = {}

    def score() -> float:
        step = int(optimizer.iterations.numpy())
        seen[step] = weights(model)
        if step == crash_at:
            raise KeyboardInterrupt
        return scores[step // 2 - 1]

    task = dataclasses.replace(training_runs.task(tiny=True), score=score)
    summary = loop.train(
        model, optimizer, training_runs.dataset(), task, num_steps=num_steps, output_dir=str(folder),
        settings=loop.LoopSettings(**{"eval_steps": 2, "save_checkpoints_steps": 3, **settings}),
    )  # fmt: skip
    return summary, weights(model), seen


def weights(model) -> dict:
    return {name: variable.numpy() for name, variable in checkpoints.named_variables(model).items()}


def assert_same(a: dict, b: dict) -> None:
    for name in a:
        np.testing.assert_array_equal(a[name], b[name], err_msg=name)


def test_it_ends_after_so_many_looks_without_a_better_score_with_the_best_weights(tmp_path, capfd):
    summary, end, seen = train(tmp_path, early_stopping_patience=2)
    assert (summary["global_step"], summary["best_step"], summary["best_score"]) == (8, 4, 0.5)
    assert summary["stopped_early"]
    assert_same(end, seen[4])
    assert any(np.any(end[name] != seen[8][name]) for name in end)
    assert "step 8: dev score 0.5000 (the best, 0.5000, at step 4)" in capfd.readouterr().err
    again, end, seen = train(tmp_path, early_stopping_patience=2)
    assert seen == {}, "nothing is left to train or to look at"
    assert (again["global_step"], again["best_step"]) == (8, 4)


def test_without_patience_it_trains_to_the_end_and_still_keeps_the_best(tmp_path):
    summary, end, seen = train(tmp_path)
    assert (summary["global_step"], summary["best_step"], summary["stopped_early"]) == (16, 10, False)
    assert_same(end, seen[10])


@pytest.mark.parametrize("crash_at", rest_slow([6, 2, 4, 10]))
def test_a_run_that_goes_on_decides_the_same(crash_at, tmp_path):
    whole = train(tmp_path / "whole", early_stopping_patience=3)
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "parts", early_stopping_patience=3, crash_at=crash_at)
    again = train(tmp_path / "parts", early_stopping_patience=3)
    assert {name: whole[0][name] for name in ("global_step", "best_step", "best_score")} == {
        name: again[0][name] for name in ("global_step", "best_step", "best_score")
    }
    assert_same(whole[1], again[1])


def test_a_score_that_is_nan_is_no_better(tmp_path):
    summary, _, _ = train(tmp_path, [float("nan"), 0.1, float("nan"), float("nan")], early_stopping_patience=2)
    assert (summary["global_step"], summary["best_step"]) == (8, 4)


@pytest.mark.parametrize(
    ("settings", "said"),
    [({"eval_steps": None, "early_stopping_patience": 2}, "expected eval_steps"), ({}, "expected a task with a score")],
)
def test_what_is_missing_is_a_sentence(tmp_path, settings, said):
    model, optimizer = training_runs.model_and_optimizer(tf.distribute.get_strategy(), tiny=True)
    with pytest.raises(InputError, match=said):
        loop.train(
            model, optimizer, training_runs.dataset(), training_runs.task(tiny=True), num_steps=2,
            output_dir=str(tmp_path), settings=loop.LoopSettings(**{"eval_steps": 1, **settings}),
        )  # fmt: skip
