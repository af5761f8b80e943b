"""Early stopping: keeps the weights with the best score so far and restores them at the end of training.

    output_dir/best/step-00000240/    the weights alone, as a checkpoint

The score is the task's (`Task.score`). The scores so far are part of every checkpoint of the run, so that a resumed run
makes the same decisions as an uninterrupted one.
"""

import math
import sys
from typing import Any

from kobert_tf2.errors import InputError
from kobert_tf2.training.checkpoints import Checkpoints
from kobert_tf2.training.settings import LoopSettings
from kobert_tf2.training.steps import Task

_KEPT = 2  # Also keeps the one before the best: a run resumed from before the last evaluation may repeat it.


class BestWeights:
    """Evaluates the score every `settings.eval_steps` and decides when to stop training."""

    def __init__(
        self, task: Task, settings: LoopSettings, model: Any, output_dir: str | None, *, state: dict, writes: bool
    ) -> None:
        self.state = dict(state)
        self._every, self._patience, self._score = settings.eval_steps, settings.early_stopping_patience, task.score
        self._writes = writes
        if not self._every:
            if self._patience:
                raise InputError("early_stopping_patience: expected eval_steps with it, but it is not given")
            return
        if task.score is None or output_dir is None:
            missing = "a task with a score" if task.score is None else "an output_dir"
            raise InputError(f"eval_steps={self._every}: expected {missing}, but there is none")
        self._checkpoints = Checkpoints(f"{output_dir}/best", model=model, keep=_KEPT)

    @property
    def is_over(self) -> bool:
        return bool(self._every and self._patience and self.state.get("without_better", 0) >= self._patience)

    def look(self, step: int) -> None:
        """Called after a step: evaluates the score if it is due, and saves the weights if it is the best so far."""
        if not self._every or step % self._every or self._score is None:
            return
        score = float(self._score())
        best = self.state.get("score")
        if not math.isnan(score) and (best is None or score > best):
            self.state = {"score": score, "step": step, "without_better": 0}
            if self._writes:
                self._checkpoints.save(step, {"score": score})
        else:
            self.state = {**self.state, "without_better": self.state.get("without_better", 0) + 1}
        known = f"the best, {self.state['score']:.4f}, at step {self.state['step']}" if "step" in self.state else "none"
        print(f"\nstep {step}: dev score {score:.4f} ({known})", file=sys.stderr)

    def restore(self) -> dict:
        """Restores the best weights into the model. Returns the entries for the summary; {} if the score was never
        evaluated.
        """
        if "step" not in self.state:
            return {}
        self._checkpoints.restore_model(self._checkpoints.manifest_of(self.state["step"]))
        return {"best_step": self.state["step"], "best_score": self.state["score"], "stopped_early": self.is_over}
