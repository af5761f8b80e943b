"""The training loop for every task and every device.

The loop is independent of the task, which is given as a `Task` of two functions from `losses.py`. It replaces
`model.fit` because `fit` does not support several machines in Keras 3, gradients must be clipped after they are summed
over the replicas, and a killed run must resume bit for bit. The compiled functions are in `steps.py`, the state on disk
in `checkpoints.py`, evaluation and prediction in `evaluate.py`.
"""

import dataclasses
import math
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, Self

import keras
import numpy as np
import tensorflow as tf

from kobert_tf2.errors import InputError
from kobert_tf2.training import checkpoints, failures, steps, unchanging
from kobert_tf2.training import log as training_log
from kobert_tf2.training.early_stopping import BestWeights
from kobert_tf2.training.evaluate import evaluate, predict, predict_batches
from kobert_tf2.training.settings import LoopSettings
from kobert_tf2.training.steps import Task
from kobert_tf2.training.strategies import is_chief, make_strategy, num_workers, require_remote_paths, set_precision

__all__ = [
    "LoopSettings",
    "Stopped",
    "Task",
    "evaluate",
    "make_strategy",
    "predict",
    "predict_batches",
    "require_remote_paths",
    "set_precision",
    "train",
]

# If the number of steps per call is free, a call takes at most about this long: SIGTERM is handled only after it.
_SECONDS_A_CALL = 3.0
_MOST_BYTES_A_CALL = 64 << 20
_DEFAULTS = LoopSettings()
_SIGNALS: dict[int, str] = {signal.SIGTERM: "SIGTERM", signal.SIGINT: "Ctrl-C"}


class Stopped(SystemExit):
    """Raised after SIGTERM or SIGINT (Ctrl-C), once the run is saved at `step`.

    Ends the process with status 143 or 130 (128 + the signal) unless caught.
    """

    def __init__(self, step: int, signal_number: int) -> None:
        super().__init__(128 + signal_number)
        self.step = step


# --------------------------------------------------------------------------------------------------------------------
# Training
# --------------------------------------------------------------------------------------------------------------------


def train(
    model: keras.Model,
    optimizer: keras.optimizers.Optimizer,
    dataset: tf.data.Dataset,
    task: Task,
    *,
    num_steps: int,
    output_dir: str | None = None,
    strategy: tf.distribute.Strategy | None = None,
    settings: LoopSettings = _DEFAULTS,
    must_not_change: dict | None = None,
    on_record: Callable[[int, dict], None] | None = None,
) -> dict:
    """Trains until step `num_steps`, resuming from the newest intact checkpoint in `output_dir` if there is one.

    Usage (illustration only)::

        from kobert_tf2.bert import models
        from kobert_tf2.training import loop, losses, optimizers

        loop.set_precision("float32")
        strategy = loop.make_strategy("auto")
        with strategy.scope():  # The model and the optimizer must both be created in here.
            model = models.BertForQuestionAnswering.from_pretrained(path)
            optimizer = optimizers.create_optimizer(
                "bert_adam", learning_rate=5e-5, num_train_steps=1000, num_warmup_steps=100
            )
        task = loop.Task(weights=losses.span_weights, sums=losses.span_sums)
        dataset = tf.data.Dataset.from_tensor_slices(features).shuffle(10_000, seed=0).repeat()
        dataset = dataset.batch(32, drop_remainder=True)
        settings = loop.LoopSettings(save_checkpoints_steps=200, log_steps=20)
        summary = loop.train(
            model,
            optimizer,
            dataset,
            task,
            num_steps=1000,
            output_dir=output_dir,
            strategy=strategy,
            settings=settings,
        )
        metrics = loop.evaluate(model, dev_dataset, task, strategy=strategy)  # {"loss": ..., "span_accuracy": ...}
        logits = loop.predict(model, dev_dataset, strategy=strategy, keep=("unique_ids",))

    Args:
      model, optimizer: created within `strategy.scope()`.
      dataset: dicts of [global batch, ...], repeated for as long as needed. Batches may have a few different shapes
        (length buckets); if the dataset's `element_spec` is not static, each call executes one step. To be resumable,
        its iterator must be one that TensorFlow can save: no `from_generator`, and explicit seeds. A row with
        `example_weight` 0 is ignored.
      num_steps: the last step, counted from the very first step of the run.
      output_dir: the folder for `checkpoints/`, `train_log.jsonl` and TensorBoard `events/`. If not given, none of them
        is written.
      settings: how the loop runs, such as how often it saves.
      must_not_change: values that must be the same when a run is resumed, as a JSON-serialisable dict.
      on_record: called with (step, record) for each record of the log.

    Returns: `global_step`, `resumed_from` (a step or None), `steps_per_second`, and the last record's values.

    Raises: `InputError` for errors that the user can fix; with an `output_dir`, `Stopped` after SIGTERM or Ctrl-C, once
    the checkpoint is written.
    """
    strategy = strategy or tf.distribute.get_strategy()
    _check_made_in_scope(strategy, optimizer)
    with strategy.scope():
        optimizer.build(model.trainable_variables)
    run = _Run(model, optimizer, dataset, output_dir, strategy, settings, must_not_change or {})

    # ---- Restore ----
    # 1. An intact checkpoint in output_dir: everything continues as if the run had never stopped.
    # 2. No checkpoint, but the caller has loaded weights (--init_checkpoint): weights only, a new schedule from step 0.
    # 3. Neither: the initializers' values.
    first = step = run.restore()
    best = BestWeights(task, settings, model, output_dir, state=run.early_stopping, writes=run.is_chief)
    if step >= num_steps or best.is_over:
        print(_already_done(output_dir, step, num_steps, settings), file=sys.stderr)
        return {"global_step": step, "resumed_from": step or None, **best.restore()}

    # ---- Compile ----
    train_steps = steps.TrainSteps(
        strategy,
        model,
        optimizer,
        dataclasses.replace(task, score=None),  # What is compiled must not keep alive whatever `score` holds.
        seed=settings.seed,
        micro_batch_size=settings.micro_batch_size,
        recompute=settings.recompute,
        jit_compile=settings.jit_compile,
    )
    calls = _Calls(dataset, train_steps, settings.iterations_per_loop, free=num_workers(strategy) == 1)
    window, record, speed, stopping = run.window, {}, training_log.Speed(), False
    intervals = _Intervals(settings.save_checkpoints_steps, settings.save_checkpoints_minutes)
    log_dir = output_dir if run.is_chief else None

    log = training_log.TrainingLog(log_dir, start=step, num_steps=num_steps, quiet=not run.is_chief)

    with log, _StopSignals(noted=output_dir is not None) as signals:
        while step < num_steps:
            # ---- N steps ----
            count = calls.count(step, num_steps, settings.save_checkpoints_steps, settings.eval_steps)
            batches = run.next_batches(count, step)
            count = len(next(iter(batches.values())))
            check_batch(batches, strategy, settings.micro_batch_size)
            results = calls.run(batches, step)
            run.check_finite(results, step)
            step += count

            # ---- Log ----
            tokens_per_second = speed.after(count) * _tokens(batches)
            for number, metrics in enumerate(_metrics(train_steps.metric_names, results, batches), step - count + 1):
                window.add(metrics)
                if number in (1, num_steps) or number % settings.log_steps == 0:
                    record = window.means() | {"tokens_per_second": tokens_per_second}
                    log.record(number, record)
                    if on_record:
                        on_record(number, record)
                    window = training_log.Window()
            log.progress(step, (window.means() or record) | {"tokens_per_second": tokens_per_second}, speed.recent)

            # ---- Judge, save ----
            best.look(step)
            stopping = run.agree(signals.came is not None)
            if intervals.are_over(step) or step == num_steps or stopping or best.is_over:
                run.save(step, window, best.state)
                intervals.begin()
            if stopping or best.is_over:
                break

    if stopping:
        number = signals.came or signal.SIGTERM  # None if another worker received the signal.
        print(f"{_SIGNALS[number]}: saved at step {step}; the same command goes on from there", file=sys.stderr)
        raise Stopped(step, number)

    summary = {"global_step": step, "resumed_from": first or None, "steps_per_second": speed.steps_per_second, **record}
    summary |= best.restore()
    return {name: None if isinstance(value, float) and math.isnan(value) else value for name, value in summary.items()}


def _check_made_in_scope(strategy: tf.distribute.Strategy, optimizer: keras.optimizers.Optimizer) -> None:
    """Raises `ValueError` for an optimizer created outside `strategy.scope()`: it would train incorrectly."""
    made_in = optimizer._distribution_strategy
    if made_in is not strategy and (strategy.num_replicas_in_sync > 1 or made_in.num_replicas_in_sync > 1):
        raise ValueError(
            f"{optimizer.name}: expected an optimizer made within strategy.scope() of {type(strategy).__name__}"
        )


def _already_done(output_dir: str | None, step: int, num_steps: int, settings: LoopSettings) -> str:
    longer = getattr(settings, "may_grow", None)
    said = f"{output_dir}: training is already at step {step} and {num_steps} are asked for: nothing is left to train"
    if longer:
        said += f". To go on, raise --{longer} (this stretches the learning rate's decay)"
    if hasattr(settings, "init_checkpoint"):
        said += f". For a new run, start in a new --output_dir with --init_checkpoint={output_dir}/model"
    return said


def _flag(settings: LoopSettings, *names: str) -> str:
    """The first of these flags that the tool of the settings has; the first name if there is no tool."""
    return next((f"--{name}" for name in names if hasattr(settings, name)), names[0])


class _Run:
    """The state that is saved together: model, optimizer, position in the data, and the sums since the last record."""

    def __init__(
        self,
        model: keras.Model,
        optimizer: keras.optimizers.Optimizer,
        dataset: tf.data.Dataset,
        output_dir: str | None,
        strategy: tf.distribute.Strategy,
        settings: LoopSettings,
        must_not_change: dict,
    ) -> None:
        self.is_chief = is_chief(strategy)
        self.window = training_log.Window()
        self.early_stopping: dict[str, Any] = {}
        self._strategy, self._output_dir = strategy, output_dir
        self._settings, self._unchanging = settings, must_not_change
        self._iterator = iter(dataset)
        self._checkpoints = None
        if output_dir:
            self._checkpoints = checkpoints.Checkpoints(
                f"{output_dir}/checkpoints",
                model=model,
                optimizer=optimizer,
                iterator=self._iterator,
                keep=settings.keep_checkpoints,
            )

    def restore(self) -> int:
        """Restores the state and returns the step to resume from, 0 for a new run."""
        manifest = self._checkpoints.newest_whole() if self._checkpoints else None
        step = manifest["step"] if manifest else 0
        if num_workers(self._strategy) > 1 and self._sum(step) != step * num_workers(self._strategy):
            raise InputError(
                f"{self._output_dir}: the workers see different checkpoints; is it a folder that all of them share?"
            )
        if not manifest or not self._checkpoints:
            return 0
        unchanging.check(
            manifest["extra"]["settings"], self._unchanging, place=self._output_dir, settings=self._settings
        )
        self._checkpoints.restore(manifest)
        self.window = training_log.Window(manifest["extra"]["window"])
        self.early_stopping = manifest["extra"].get("early_stopping", {})
        print(f"resuming from {self._checkpoints.path(step)}", file=sys.stderr)
        return step

    def save(self, step: int, window: training_log.Window, early_stopping: dict) -> None:
        if not self._checkpoints or not self.is_chief:
            return
        try:
            extra = {"settings": self._unchanging, "window": window.sums, "early_stopping": early_stopping}
            self._checkpoints.save(step, extra)
        except (OSError, tf.errors.OpError) as error:
            raise failures.disk_error(self._output_dir, step, error) from error

    def next_batches(self, count: int, step: int) -> dict[str, tf.Tensor]:
        """The next `count` batches, stacked: a dict of [count, batch, ...]; fewer at the end of the data."""
        batches: list[dict[str, tf.Tensor]] = []
        try:
            while len(batches) < count:
                batches.append(next(self._iterator))
        except StopIteration:
            if not batches:
                raise InputError(
                    f"the training data ended at step {step}: it must repeat until the last step"
                ) from None
        except tf.errors.OpError as error:
            raise failures.data_error(step, error) from error
        with tf.device("CPU:0"):
            return {name: tf.stack([batch[name] for batch in batches]) for name in batches[0]}

    def check_finite(self, results: np.ndarray, step: int) -> None:
        """`results`: [steps, metrics, 2], the loss first and the gradient norm second."""
        finite = np.isfinite(results[:, :2, 0]).all(axis=1)
        if finite.all():
            return
        wrong = step + int(np.argmin(finite)) + 1
        name = "loss" if not math.isfinite(results[wrong - step - 1, 0, 0]) else "gradients' norm"
        last = self._checkpoints.steps()[:1] if self._checkpoints else []
        warmup = _flag(self._settings, "num_warmup_steps", "warmup_proportion")
        raise InputError(
            f"the {name} is not finite in step {wrong} (steps {step + 1} to {step + len(results)} were one call); "
            f"nothing of it was saved, the last good checkpoint is of {f'step {last[0]}' if last else 'no step'}. "
            f"Lower --learning_rate, lengthen {warmup}, or look at the data of these steps"
        )

    def agree(self, stop: bool) -> bool:
        """Whether any worker received SIGTERM; all workers must stop after the same step."""
        return stop if num_workers(self._strategy) == 1 else self._sum(float(stop)) > 0

    def _sum(self, value: float) -> float:
        """Sums one number over the workers."""
        per_replica = self._strategy.experimental_distribute_values_from_function(lambda _: tf.constant(float(value)))
        try:
            total = self._strategy.reduce(tf.distribute.ReduceOp.SUM, per_replica, axis=None)
        except failures.WORKER_IS_GONE as error:
            raise failures.lost_worker("between two steps", error) from error
        return float(total) * num_workers(self._strategy) / self._strategy.num_replicas_in_sync


def steps_in_a_call(iterations_per_loop: int, element_spec: object) -> int:
    """How many batches of these specs are stacked for one call; 1 if their shapes vary."""
    specs = tf.nest.flatten(element_spec)
    if not all(spec.shape.is_fully_defined() for spec in specs):
        return 1
    bytes_a_step = sum(spec.shape.num_elements() * spec.dtype.size for spec in specs)
    return max(1, min(iterations_per_loop, _MOST_BYTES_A_CALL // max(bytes_a_step, 1)))


class _Calls:
    """Chooses the number of steps of the next call, and runs it."""

    def __init__(
        self, dataset: tf.data.Dataset, train_steps: steps.TrainSteps, iterations_per_loop: int, *, free: bool
    ) -> None:
        self._steps, self._most = train_steps, steps_in_a_call(iterations_per_loop, dataset.element_spec)
        # If the loop is outside the compiled step, the number of steps per call does not affect results. If the loop is
        # compiled by XLA, or other machines must make the same calls, the number depends on the step only.
        self._free = free and not train_steps.loops_on_device
        self._seconds_a_step = math.inf

    def count(self, step: int, num_steps: int, *intervals: int | None) -> int:
        """The number of steps to the end or to the next multiple of an interval, limited by the call's duration."""
        count = min(self._most, num_steps - step, *(steps - step % steps for steps in intervals if steps))
        if self._free and count > 1:
            count = max(1, min(count, int(_SECONDS_A_CALL / self._seconds_a_step)))
        return count

    def run(self, batches: dict, step: int) -> np.ndarray:
        compiled = self._steps.compiled(batches)
        began = time.monotonic()
        try:
            results = compiled(batches, tf.constant(step, tf.int32)).numpy()
        except tf.errors.ResourceExhaustedError as error:
            raise failures.out_of_memory(step + 1, error) from error
        except failures.WORKER_IS_GONE as error:
            raise failures.lost_worker(f"in step {step + 1}", error) from error
        self._seconds_a_step = (time.monotonic() - began) / len(results)
        return results


def check_batch(batches: dict, strategy: tf.distribute.Strategy, micro_batch_size: int | None) -> None:
    """Raises `InputError` unless the replicas divide the global batch and the micro-batch divides a replica's rows."""
    rows, replicas = next(iter(batches.values())).shape[1], strategy.num_replicas_in_sync
    if rows % replicas:
        raise InputError(
            f"a batch of {rows} rows cannot be divided among {replicas} replicas; choose a multiple of {replicas}"
        )
    steps.micro_batches(rows // replicas, micro_batch_size)


def _metrics(names: list[str], results: np.ndarray, batches: dict) -> Iterator[dict]:
    """For each step of a call: {metric: (sum, weight)}, and the fraction of padding."""
    masks = batches["input_mask"].numpy() if "input_mask" in batches else None
    for index, pairs in enumerate(results):
        metrics = {name: (float(total), float(weight)) for name, (total, weight) in zip(names, pairs, strict=False)}
        if masks is not None:
            metrics["padding"] = (float(masks[index].size - masks[index].sum()), float(masks[index].size))
        yield metrics


def _tokens(batches: dict) -> int:
    """The number of positions in one global batch, including padding."""
    shape = batches["input_ids"].shape
    return int(shape[1] * shape[2])


class _Intervals:
    """When to save: at multiples of `steps`, and when `minutes` have passed since the last checkpoint.

    This needs no agreement between workers: one worker writes, and the others wait for it in their next step.
    """

    def __init__(self, steps: int, minutes: float) -> None:
        self._steps, self._seconds = steps, minutes * 60 or math.inf
        self.begin()

    def begin(self) -> None:
        self._began = time.monotonic()

    def are_over(self, step: int) -> bool:
        return step % self._steps == 0 or time.monotonic() - self._began >= self._seconds


class _StopSignals:
    """Context manager that records the first SIGTERM or SIGINT; a second SIGINT ends the process at once.

    It does nothing if `noted` is false, if a signal is ignored (as in a script's background jobs), or outside the main
    thread, which alone can handle signals.
    """

    came: int | None = None

    def __init__(self, *, noted: bool) -> None:
        in_main = threading.current_thread() is threading.main_thread()
        self._numbers = tuple(_SIGNALS) if noted and in_main else ()
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        for number in self._numbers:
            if signal.getsignal(number) is not signal.SIG_IGN:
                self._before[number] = signal.signal(number, self._note)
        return self

    def _note(self, number: int, _: object) -> None:
        self.came = number
        if number == signal.SIGINT:
            # Restores the system's default action: Python cannot raise an exception before the compiled call ends.
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            os.write(2, b"\nCtrl-C: stopping as soon as the checkpoint is written; again: at once, without one\n")

    def __exit__(self, *exception: object) -> None:
        for number, before in self._before.items():
            signal.signal(number, before)
