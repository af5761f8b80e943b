"""One training loop for every task and every machine.

The loop knows no task: a `Task` of two functions from `losses.py` says what is trained. It is used instead of
`model.fit` because several machines do not work through `fit` in Keras 3, gradients must be clipped after their sum
over the replicas, and a run that is killed must go on bit for bit. The compiled functions are in `steps.py`, the state
on disk in `checkpoints.py`, evaluation and prediction in `evaluate.py`.
"""

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

# Where the number of steps in a call is free, a call lasts about this long at most: SIGTERM waits for its end.
_SECONDS_A_CALL = 3.0
_MOST_BYTES_A_CALL = 64 << 20
_DEFAULTS = LoopSettings()
_SIGNALS: dict[int, str] = {signal.SIGTERM: "SIGTERM", signal.SIGINT: "Ctrl-C"}


class Stopped(SystemExit):
    """SIGTERM or SIGINT (Ctrl-C) came and the run is saved at `step`.

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
    """Trains until step `num_steps`, going on from the newest whole checkpoint in `output_dir` if there is one.

    Usage, here for reading::

        from kobert_tf2.bert import models
        from kobert_tf2.training import loop, losses, optimizers

        loop.set_precision("float32")
        strategy = loop.make_strategy("auto")
        with strategy.scope():  # The model and the optimizer must both be made in here.
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
      model, optimizer: made within `strategy.scope()`.
      dataset: dicts of [global batch, ...] that repeat for as long as needed. Shapes may differ from batch to batch
        within a handful (length buckets); where the dataset's `element_spec` is not static, one step is made a call.
        To be resumed it must be one whose iterator TensorFlow can save: no `from_generator`, seeds given. A row with
        `example_weight` 0 does not count.
      num_steps: where the run ends, counted from its very first step.
      output_dir: gets `checkpoints/`, `train_log.jsonl` and TensorBoard `events/`; none of them without it.
      settings: how the loop runs, such as how often it saves.
      must_not_change: what must be the same when a run is resumed, as a JSON-able dict.
      on_record: called with (step, record) for each record of the log.

    Returns: `global_step`, `resumed_from` (a step or None), `steps_per_second`, and the last record's values.

    Raises: `InputError` for what a user can mend; with an `output_dir`, `Stopped` after SIGTERM or Ctrl-C, when the
    checkpoint is written.
    """
    strategy = strategy or tf.distribute.get_strategy()
    _check_made_in_scope(strategy, optimizer)
    with strategy.scope():
        optimizer.build(model.trainable_variables)
    run = _Run(model, optimizer, dataset, output_dir, strategy, settings, must_not_change or {})

    # ---- Restore ----
    # 1. A whole checkpoint in output_dir: everything goes on as if the run had never stopped.
    # 2. None, but the caller has loaded weights (--init_checkpoint): weights only, a new schedule from step 0.
    # 3. Neither: what the initializers made.
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
        task,
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
        number = signals.came or signal.SIGTERM  # None where another worker was told to stop.
        print(f"{_SIGNALS[number]}: saved at step {step}; the same command goes on from there", file=sys.stderr)
        raise Stopped(step, number)

    summary = {"global_step": step, "resumed_from": first or None, "steps_per_second": speed.steps_per_second, **record}
    summary |= best.restore()
    return {name: None if isinstance(value, float) and math.isnan(value) else value for name, value in summary.items()}


def _check_made_in_scope(strategy: tf.distribute.Strategy, optimizer: keras.optimizers.Optimizer) -> None:
    """An optimizer made outside `strategy.scope()` trains wrongly without any error."""
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
    """The first of the flags that the tool of these settings has; the first name where there is no tool."""
    return next((f"--{name}" for name in names if hasattr(settings, name)), names[0])


class _Run:
    """What is saved together: model, optimizer, the position in the data, the sums since the last record."""

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
        """The step to go on from, 0 for a new run."""
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
        """`count` batches stacked: a dict of [count, batch, ...]; fewer where the data ends."""
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
        """`results`: [steps, metrics, 2] with the loss first and the gradients' norm second."""
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
        """Whether any worker got SIGTERM; all of them must stop after the same step."""
        return stop if num_workers(self._strategy) == 1 else self._sum(float(stop)) > 0

    def _sum(self, value: float) -> float:
        """The sum of one number over the workers."""
        per_replica = self._strategy.experimental_distribute_values_from_function(lambda _: tf.constant(float(value)))
        try:
            total = self._strategy.reduce(tf.distribute.ReduceOp.SUM, per_replica, axis=None)
        except failures.WORKER_IS_GONE as error:
            raise failures.lost_worker("between two steps", error) from error
        return float(total) * num_workers(self._strategy) / self._strategy.num_replicas_in_sync


def steps_in_a_call(iterations_per_loop: int, element_spec: object) -> int:
    """How many batches of these specs are stacked for one call: one alone where their shapes vary."""
    specs = tf.nest.flatten(element_spec)
    if not all(spec.shape.is_fully_defined() for spec in specs):
        return 1
    bytes_a_step = sum(spec.shape.num_elements() * spec.dtype.size for spec in specs)
    return max(1, min(iterations_per_loop, _MOST_BYTES_A_CALL // max(bytes_a_step, 1)))


class _Calls:
    """How many steps the next call makes, and the call."""

    def __init__(
        self, dataset: tf.data.Dataset, train_steps: steps.TrainSteps, iterations_per_loop: int, *, free: bool
    ) -> None:
        self._steps, self._most = train_steps, steps_in_a_call(iterations_per_loop, dataset.element_spec)
        # The number of steps in a call changes no result where the loop is around the compiled step. Where it is part
        # of what XLA compiles, or other machines must make the same calls, it depends on the step alone.
        self._free = free and not train_steps.loops_on_device
        self._seconds_a_step = math.inf

    def count(self, step: int, num_steps: int, *intervals: int | None) -> int:
        """Up to the end or the next multiple of one of the intervals, and not for too long."""
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
    """A global batch must be divisible by the replicas, and a replica's rows by the micro-batch."""
    rows, replicas = next(iter(batches.values())).shape[1], strategy.num_replicas_in_sync
    if rows % replicas:
        raise InputError(
            f"a batch of {rows} rows cannot be divided among {replicas} replicas; choose a multiple of {replicas}"
        )
    steps.micro_batches(rows // replicas, micro_batch_size)


def _metrics(names: list[str], results: np.ndarray, batches: dict) -> Iterator[dict]:
    """For each step of a call: {metric: (sum, weight)}, and the share of padding."""
    masks = batches["input_mask"].numpy() if "input_mask" in batches else None
    for index, pairs in enumerate(results):
        metrics = {name: (float(total), float(weight)) for name, (total, weight) in zip(names, pairs, strict=False)}
        if masks is not None:
            metrics["padding"] = (float(masks[index].size - masks[index].sum()), float(masks[index].size))
        yield metrics


def _tokens(batches: dict) -> int:
    """Positions in one global batch, padding included."""
    shape = batches["input_ids"].shape
    return int(shape[1] * shape[2])


class _Intervals:
    """When to save: at multiples of `steps`, and where `minutes` have gone by since the last checkpoint.

    No other worker need know: one worker alone writes, and the others wait for it in their next step.
    """

    def __init__(self, steps: int, minutes: float) -> None:
        self._steps, self._seconds = steps, minutes * 60 or math.inf
        self.begin()

    def begin(self) -> None:
        self._began = time.monotonic()

    def are_over(self, step: int) -> bool:
        return step % self._steps == 0 or time.monotonic() - self._began >= self._seconds


class _StopSignals:
    """Within it the first SIGTERM or SIGINT is noted rather than obeyed, and a second SIGINT ends the process at once.

    Nothing changes where nothing is to be `noted`, where a signal is ignored (as in a script's background jobs), and in
    other threads than the main one, whose signals they are.
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
            # The system's own action: Python would not come to an exception before the end of the compiled call.
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            os.write(2, b"\nCtrl-C: stopping as soon as the checkpoint is written; again: at once, without one\n")

    def __exit__(self, *exception: object) -> None:
        for number, before in self._before.items():
            signal.signal(number, before)
