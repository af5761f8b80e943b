"""The log of a run: `train_log.jsonl`, TensorBoard events, and progress as one updating line on a terminal or as plain
lines.

The log file of a resumed run is the same as without the interruption: records after the checkpoint are removed.
"""

import collections
import json
import math
import statistics
import time
from typing import Self

import tensorflow as tf

from kobert_tf2 import files, screen
from kobert_tf2.errors import InputError
from kobert_tf2.progress import Progress

_STEPS_BETWEEN_LINES = 100
_RECENT_CALLS = 20
# Shown if the terminal is wide enough, in this order, followed by all others.
_SHOWN_FIRST = ("masked_lm_accuracy", "next_sentence_accuracy", "accuracy", "learning_rate")

# The record that tf.summary.scalar writes. That function would need the tensorboard package on the training machine.
_SCALAR = tf.compat.v1.SummaryMetadata(
    plugin_data=tf.compat.v1.SummaryMetadata.PluginData(plugin_name="scalars"), data_class="DATA_CLASS_SCALAR"
)
# These are not averaged over the steps of a record.
_LAST_VALUE_COUNTS = ("learning_rate",)


class Window:
    """Sums of the metrics over the steps since the last record. Its state is saved in checkpoints."""

    def __init__(self, sums: dict[str, list[float]] | None = None):
        self.sums = {name: list(pair) for name, pair in (sums or {}).items()}

    def add(self, metrics: dict[str, tuple[float, float]]) -> None:
        for name, (total, weight) in metrics.items():
            before = (0.0, 0.0) if name in _LAST_VALUE_COUNTS else self.sums.get(name, (0.0, 0.0))
            self.sums[name] = [before[0] + total, before[1] + weight]

    def means(self) -> dict[str, float]:
        return {name: total / weight if weight else float("nan") for name, (total, weight) in self.sums.items()}


class Speed:
    """Steps per second without compilation: the first call is excluded, and `recent` is the median over calls."""

    def __init__(self) -> None:
        self._began = self._last = math.nan
        self._steps = 0
        self._seconds_a_step: collections.deque[float] = collections.deque(maxlen=_RECENT_CALLS)
        self.steps_per_second = math.nan
        self.recent = math.nan

    def after(self, steps: int) -> float:
        """Must be called after each call of this many steps; returns `recent`."""
        now = time.monotonic()
        if math.isnan(self._began):
            self._began = now
        else:
            self._steps += steps
            self.steps_per_second = self._steps / max(now - self._began, 1e-9)
            self._seconds_a_step.append((now - self._last) / steps)
            self.recent = 1 / max(statistics.median(self._seconds_a_step), 1e-9)
        self._last = now
        return self.recent


class TrainingLog:
    """Writes the records; only the chief's instance writes. A context manager."""

    def __init__(self, output_dir: str | None, *, start: int, num_steps: int, quiet: bool = False):
        self._path = f"{output_dir}/train_log.jsonl" if output_dir else None
        self._events = tf.summary.create_file_writer(f"{output_dir}/events") if output_dir else None
        self._num_steps = num_steps
        self._progress = Progress(
            num_steps, unit="steps", start=start, units_between_lines=_STEPS_BETWEEN_LINES, quiet=quiet
        )
        self._progress.update(start, ["compiling"])
        if self._path:
            _keep_records_up_to(self._path, start)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._progress.__exit__(*exception)
        if self._events:
            self._events.close()

    def record(self, step: int, values: dict[str, float]) -> None:
        """Writes one line of `train_log.jsonl` and one point of each curve."""
        values = {name: value for name, value in values.items() if not math.isnan(value)}  # JSON has no NaN.
        if self._path and self._events:
            with tf.io.gfile.GFile(self._path, "a") as file:
                file.write(json.dumps({"step": step, **values}) + "\n")
            with self._events.as_default(step):
                for name, value in values.items():
                    tf.summary.write(name, tf.constant(value, tf.float32), metadata=_SCALAR)
            self._events.flush()

    def progress(self, step: int, values: dict[str, float], steps_per_second: float) -> None:
        """Shows the values of the last steps, loss and speed first, and the remaining time without compilation."""
        shown = {name: value for name, value in values.items() if not math.isnan(value)}
        loss, speed = shown.pop("loss", math.nan), shown.pop("tokens_per_second", math.nan)
        first = [f"loss {screen.number(loss)}", f"{screen.number(speed)} tokens/s" if speed == speed else "compiled"]
        names = sorted(shown, key=lambda name: (*(name != first for first in _SHOWN_FIRST), name))
        left = (self._num_steps - step) / steps_per_second if steps_per_second > 0 else math.nan
        self._progress.update(step, first, left, [f"{name} {screen.number(shown[name])}" for name in names])


def _step(line: bytes, path: str, number: int) -> int:
    record = files.parse_json(files.decode_line(line, path, number), path, dict, first_line=number)
    if type(record.get("step")) is not int:
        raise InputError(f"{path}, line {number}: expected a record with its step, as a run writes it")
    return record["step"]


def is_ours(path: str) -> bool:
    """Whether a file is the log of a run, judged by its first line."""
    with files.open_binary(path) as file:
        return _step(file.readline(), path, 1) >= 0


def _keep_records_up_to(path: str, step: int) -> None:
    if not files.exists(path):
        return
    with files.open_binary(path) as file:
        lines = [
            line for number, line in enumerate(file, 1) if line.endswith(b"\n") and _step(line, path, number) <= step
        ]
    with files.whole_file(path, "wb") as file:
        file.writelines(lines)
