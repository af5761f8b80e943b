"""Fine-tuning choices beyond the learning rate: frozen parts, LoRA, class weights, label smoothing.

Each is a separate function on a Keras model, dataset or task, for both `loop.train` and `model.fit`::

    tuning.freeze(model, "embeddings,0-5")
    tuning.enable_lora(model, rank=8)
    dataset = dataset.map(tuning.class_weights([1.0, 4.0]))
    task = tuning.with_label_smoothing(task, 0.1)
    optimizer = optimizers.create_optimizer(learning_rate=5e-5, layer_decay=0.9, head_factor=10.0, ...)
    ...
    tuning.merge_lora(model)  # The model is an ordinary one again.

Freeze and enable LoRA before the optimizer is built and the model is compiled. `apply` applies the flags.
"""

import dataclasses
import functools
import inspect
import re
from collections.abc import Callable, Mapping, Sequence

import keras
import numpy as np
import tensorflow as tf

from kobert_tf2.errors import InputError
from kobert_tf2.training.settings import TuningSettings
from kobert_tf2.training.steps import Task

_LAYERS = re.compile(r"(\d+)(?:-(\d+))?")
_PARTS = ("embeddings", "encoder", "pooler")


def apply(model: keras.Model, settings: TuningSettings) -> None:
    """Freezes parts and enables LoRA according to the settings."""
    if settings.freeze:
        freeze(model, settings.freeze)
    if settings.lora_rank:
        enable_lora(model, settings.lora_rank)


# ------------------------------------------------------------------------------------------------ which weights learn


def freeze(model: keras.Model, parts: str) -> None:
    """Freezes parts of a model: "embeddings", "pooler", "encoder" (all layers), or layers by number from the bottom
    ("0-5" or "7"), separated by commas. Raises `InputError` for a part that the model does not have.
    """
    for layer in _chosen_layers(model, parts):
        layer.trainable = False


def _chosen_layers(model: keras.Model, parts: str) -> list[keras.layers.Layer]:
    found = {layer.name: layer for layer in model._flatten_layers(include_self=False)}
    encoder = encoder_layers(model)
    chosen: list[keras.layers.Layer] = []
    for part in filter(None, map(str.strip, parts.split(","))):
        numbers = _LAYERS.fullmatch(part)
        first, last = (int(numbers[1]), int(numbers[2] or numbers[1])) if numbers else (0, -1)
        if numbers and first <= last < len(encoder):
            chosen += encoder[first : last + 1]
        elif part == "encoder":
            chosen += encoder
        elif part in _PARTS and part in found:
            chosen.append(found[part])
        else:
            there = [name for name in _PARTS if name == "encoder" or name in found]
            raise InputError(
                f"--freeze={parts}: expected {', '.join(there)}, or layers from 0 to {len(encoder) - 1} such as "
                f"0-{len(encoder) - 1}, but got {part!r}"
            )
    return chosen


def encoder_layers(model: keras.Model) -> list[keras.layers.Layer]:
    """The encoder layers of a model, the lowest first."""
    named = {layer.name: layer for layer in model._flatten_layers(include_self=False)}
    numbered = ((int(name.rpartition("_")[2]), layer) for name, layer in named.items() if "encoder_layer_" in name)
    return [layer for _, layer in sorted(numbered, key=lambda pair: pair[0])]


def enable_lora(model: keras.Model, rank: int) -> None:
    """Trains the encoder's matrices through Keras' LoRA (Hu et al. 2021): W + A B, with A and B of this rank.

    The rest of the encoder and the embeddings are frozen; the pooler and the head are trained in full.
    """
    layers = encoder_layers(model)
    for layer in layers:
        for dense in _dense_layers(layer):
            dense.enable_lora(rank)
        for variable in layer.trainable_variables:
            variable.trainable = "lora_kernel" in variable.path
    freeze(model, "embeddings")


def merge_lora(model: keras.Model) -> None:
    """Merges the LoRA updates into the matrices and removes LoRA, which leaves an ordinary model."""
    for layer in encoder_layers(model):
        for dense in _dense_layers(layer):
            if not dense.lora_enabled:
                continue
            dense._kernel.assign(dense.kernel)
            dense._tracker.unlock()
            for variable in (dense.lora_kernel_a, dense.lora_kernel_b):
                dense._untrack_variable(variable)
            dense._tracker.lock()
            dense.lora_enabled = False


def _dense_layers(layer: keras.layers.Layer) -> list[keras.layers.Dense]:
    return [inner for inner in layer._flatten_layers() if isinstance(inner, keras.layers.Dense)]


# -------------------------------------------------------------------------------------------------- what they learn


def with_label_smoothing(task: Task, share: float) -> Task:
    """The task with label smoothing (Szegedy et al. 2016): this fraction of the target is spread evenly over all
    labels. Metrics are unchanged.
    """
    if not share:
        return task
    if "label_smoothing" not in inspect.signature(task.sums).parameters:
        raise InputError(f"--label_smoothing={share}: expected a task whose labels exclude each other")
    return dataclasses.replace(task, sums=functools.partial(task.sums, label_smoothing=share))


def class_weights(weights: Sequence[float]) -> Callable[[dict], dict]:
    """A function for `Dataset.map` that weights rows or tokens by their label: `labels` is int32 [batch] or [batch,
    sequence], -1 for none. The loss is the weighted mean.
    """
    table = tf.constant(weights, tf.float32)

    def weighted(batch: dict) -> dict:
        labels = batch["labels"]
        of_labels = tf.gather(table, tf.maximum(labels, 0))
        if labels.shape.rank == 2:
            return {**batch, "token_weight": of_labels}
        before = batch.get("example_weight")
        return {**batch, "example_weight": of_labels if before is None else before * of_labels}

    return weighted


def parse_class_weights(asked: str, labels: Sequence[str], ids: np.ndarray) -> list[float]:
    """Parses `--class_weights`. "balanced": rows / (labels x rows of the label), as in scikit-learn; otherwise
    "good:1,bad:4", where labels not named have weight 1. `ids`: the labels of the training data, -1 for none.
    """
    if asked == "balanced":
        counts = np.bincount(ids[ids >= 0], minlength=len(labels))
        present = max(int((counts > 0).sum()), 1)
        return [float(counts.sum() / (present * count)) if count else 1.0 for count in counts]
    weights = dict.fromkeys(labels, 1.0)
    for pair in filter(None, map(str.strip, asked.split(","))):
        name, _, number = pair.rpartition(":")
        weights[_known(name, weights, asked)] = _weight(number, asked)
    return list(weights.values())


def _known(name: str, weights: Mapping[str, float], asked: str) -> str:
    if name not in weights:
        raise InputError(
            f"--class_weights={asked}: expected balanced, or pairs such as {next(iter(weights))}:2 with labels of the "
            f"data ({', '.join(weights)}), but got {name!r}"
        )
    return name


def _weight(text: str, asked: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not 0 <= number < float("inf"):
        raise InputError(f"--class_weights={asked}: expected a weight of at least 0 after the label, but got {text!r}")
    return number
