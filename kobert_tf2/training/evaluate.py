"""Evaluation and prediction: a forward pass over a whole dataset, on every replica of a strategy."""

import contextlib
from collections.abc import Iterable, Iterator

import keras
import numpy as np
import tensorflow as tf

from kobert_tf2.errors import InputError
from kobert_tf2.training import failures, steps
from kobert_tf2.training import log as training_log
from kobert_tf2.training.steps import Task


def evaluate(
    model: keras.Model,
    dataset: Iterable[dict],
    task: Task,
    *,
    strategy: tf.distribute.Strategy | None = None,
    max_steps: int | None = None,
    jit_compile: bool | None = None,
) -> dict[str, float]:
    """Means over the whole dataset (at most `max_steps` batches): the task's metrics, and `loss`, the sum of the means
    of its terms.

    Sums and weights are accumulated and divided once. A partial last batch is included: it is padded with rows of
    `example_weight` 0.
    """
    strategy = strategy or tf.distribute.get_strategy()
    forward = steps.ForwardPass(strategy, model, task, jit_compile=jit_compile)
    window = training_log.Window()
    for batch, _ in _padded_batches(dataset, strategy, max_steps):
        with failures.evaluating():
            sums = forward.metrics(batch).numpy().tolist()  # The first call traces and sets the metrics' names.
        window.add(dict(zip(forward.metric_names, sums, strict=True)))
    if not window.sums:
        raise InputError("expected at least one example to evaluate, but the data is empty")
    means = window.means()
    loss = sum(value for name, value in means.items() if name.startswith("term/"))
    return {"loss": loss} | {name: value for name, value in means.items() if not name.startswith("term/")}


def predict(
    model: keras.Model,
    dataset: Iterable[dict],
    *,
    strategy: tf.distribute.Strategy | None = None,
    keep: tuple[str, ...] = (),
    padding_value: float = 0.0,
    jit_compile: bool | None = None,
) -> dict[str, np.ndarray]:
    """The model's outputs for every row of the dataset, in order: a dict of arrays [rows, ...].

    Features named in `keep` (for example a window's number) are returned with the outputs. If lengths differ between
    batches, shorter ones are padded with `padding_value`. Rows that only pad the last batch are omitted.
    """
    parts: dict[str, list[np.ndarray]] = {}
    for outputs in predict_batches(model, dataset, strategy=strategy, keep=keep, jit_compile=jit_compile):
        for name, value in outputs.items():
            parts.setdefault(name, []).append(value)
    return {name: _joined(arrays, padding_value) for name, arrays in parts.items()}


def predict_batches(
    model: keras.Model,
    dataset: Iterable[dict],
    *,
    strategy: tf.distribute.Strategy | None = None,
    keep: tuple[str, ...] = (),
    jit_compile: bool | None = None,
) -> Iterator[dict[str, np.ndarray]]:
    """Yields the model's outputs [rows, ...] batch by batch; see `predict`."""
    strategy = strategy or tf.distribute.get_strategy()
    forward = steps.ForwardPass(strategy, model, None, jit_compile=jit_compile)
    for batch, rows in _padded_batches(dataset, strategy, None):
        with failures.evaluating():
            outputs = {name: value.numpy() for name, value in forward.outputs(steps.inputs_of(batch)).items()}
        outputs |= {name: np.asarray(batch[name]) for name in keep}
        yield {name: value[:rows] for name, value in outputs.items()}


def _joined(arrays: list[np.ndarray], padding_value: float) -> np.ndarray:
    """Concatenates arrays [rows, ...], each padded to the width of the widest."""
    if arrays[0].ndim == 1:
        return np.concatenate(arrays)
    widest = np.max([array.shape[1:] for array in arrays], axis=0)
    result = np.full([sum(map(len, arrays)), *widest], padding_value, arrays[0].dtype)
    first = 0
    for array in arrays:
        result[(slice(first, first + len(array)), *map(slice, array.shape[1:]))] = array
        first += len(array)
    return result


def _padded_batches(
    dataset: Iterable[dict], strategy: tf.distribute.Strategy, max_steps: int | None
) -> Iterator[tuple[dict, int]]:
    """Yields (batch, real rows). Batches are padded with rows of weight 0 to the largest size, a multiple of the number
    of replicas.
    """
    replicas, size = strategy.num_replicas_in_sync, 0
    for number, batch in enumerate(_read(dataset)):
        if number == max_steps:
            return
        rows = next(iter(batch.values())).shape[0]
        if rows > size:
            size = -(-rows // replicas) * replicas
        weights = batch.get("example_weight", np.ones(rows, np.float32))
        batch = {**batch, "example_weight": weights}
        more = size - rows
        padded = {name: np.pad(value, [(0, more)] + [(0, 0)] * (np.ndim(value) - 1)) for name, value in batch.items()}
        yield {name: tf.constant(value) for name, value in padded.items()}, rows


def _read(dataset: Iterable[dict]) -> Iterator[dict]:
    iterator = iter(dataset)
    with contextlib.suppress(StopIteration):
        while True:
            try:
                yield next(iterator)
            except tf.errors.OpError as error:
                raise InputError(f"reading the data failed: {failures.reason(error)}") from error
