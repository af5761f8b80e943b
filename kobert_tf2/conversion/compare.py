"""Compares the outputs of both sides of a conversion on one batch.

The outputs of the source are computed by its own library, not by what this package read of it: `transformers` for a
Hugging Face folder, the original's graph in NumPy for a TF1 checkpoint, keras-hub for a preset. The same holds for the
result of the conversion, and our own model computes the outputs of the source too.

TensorFlow and PyTorch take half a gigabyte each before they hold any weight. So this module imports neither, and
whatever needs one of them runs in a subprocess (`parallel.in_subprocess`).
"""

import importlib.metadata
import sys
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from kobert_tf2 import parallel
from kobert_tf2.bert import checkpoint_files
from kobert_tf2.bert.checkpoint_files import Source
from kobert_tf2.bert.config import BertConfig
from kobert_tf2.conversion import hf_forward, tf1_forward

Answers = dict[str, np.ndarray]

# Relative to the root mean square of the outputs if that is above 1. Two libraries in float32 differ by less than a
# tenth of this, the two forms of gelu by five times as much.
TOLERANCE = 1e-4


class Model(NamedTuple):
    """A model on disk, as its own library should load it."""

    source: Source
    config: BertConfig
    parts: frozenset[str]  # beside the encoder: pooler, masked_lm, next_sentence, span, classifier
    architecture: str
    num_labels: int | None = None
    prefix: str = ""  # the prefix of the names of its weights
    allow_pickle: bool = False

    def classes(self) -> list[str]:
        """The classes of `transformers` that together cover all parts of the model, none with a newly initialised
        head.
        """
        pooled, parts = "pooler" in self.parts, self.parts
        classes = ["BertModel"]
        if "masked_lm" in parts:
            classes.append("BertForPreTraining" if pooled and "next_sentence" in parts else "BertForMaskedLM")
        elif pooled and "next_sentence" in parts:
            classes.append("BertForNextSentencePrediction")
        if "span" in parts:
            classes.append("BertForQuestionAnswering")
        if "classifier" in parts and self.classifies_tokens:
            classes.append("BertForTokenClassification")
        elif "classifier" in parts and pooled:
            classes.append("BertForSequenceClassification")
        return classes

    @property
    def classifies_tokens(self) -> bool:
        return "TokenClassification" in self.architecture


class Comparison(NamedTuple):
    """The libraries of both sides (None if not installed) and the largest difference between their outputs."""

    source_library: str | None
    output_library: str | None
    largest_difference: float | None
    too_different: list[str]  # the outputs that differ by more than rounding


def compare(model: Model, output: str, *, to: str) -> Comparison:
    """Compares the outputs of the model, of its conversion in the folder `output`, and of ours, on `sample_batch`."""
    written = _written(model, output, to)
    batch = sample_batch(model.config)
    libraries = {"source": _library(model), "output": _library(written)}
    torch = {name: side for name, side in (("source", model), ("output", written)) if side.source.format == "hf"}
    answers: dict[str, Answers] = {}
    if torch and hf_forward.is_installed():
        answers |= parallel.in_subprocess(_ask_each, torch, batch)
    elif torch:
        print(f"transformers and torch are not installed: the {' and the '.join(torch)} was not asked", file=sys.stderr)
    others = {name: side for name, side in (("source", model), ("output", written)) if name not in torch}
    answers |= parallel.in_subprocess(_ask_each, {"ours": model, **others}, batch)
    differences = list(_differences(answers))
    if not differences:
        return Comparison(None, None, None, [])
    largest = max(difference.largest for difference in differences)
    compared = ", ".join(sorted({difference.name for difference in differences}))
    asked = ", ".join(filter(None, (*libraries.values(), "kobert_tf2")))
    print(f"largest difference between the answers of {asked}: {largest:.3g} in {compared}", file=sys.stderr)
    too_different = sorted({difference.name for difference in differences if difference.is_too_large})
    return Comparison(libraries["source"], libraries["output"], largest, too_different)


def _written(model: Model, output: str, to: str) -> Model:
    if to == "tf1":
        source = Source(
            "tf1", output, *(f"{output}/{name}" for name in (checkpoint_files.TF1_NAME, "bert_config.json"))
        )
    else:
        source = Source(to, output, "", f"{output}/{checkpoint_files.HF_CONFIG}")
    return model._replace(source=source, prefix="")


class Difference(NamedTuple):
    name: str
    largest: float
    is_too_large: bool


def _differences(answers: dict[str, Answers]) -> Iterator[Difference]:
    """The differences of all others from the source, or from ours if the source was not computed."""
    first = "source" if "source" in answers else "ours"
    for side in answers.keys() - {first}:
        for name in answers[first].keys() & answers[side].keys():
            expected = answers[first][name]
            largest = float(np.abs(expected - answers[side][name]).max())
            limit = TOLERANCE * max(1.0, float(np.sqrt(np.square(expected).mean())))
            yield Difference(name, largest, not largest <= limit)  # a NaN is too large


def sample_batch(config: BertConfig, *, batch: int = 3, length: int = 24, predictions: int = 5) -> dict:
    """Inputs with ids from the whole vocabulary, both segments, and rows that end in padding."""
    rng = np.random.default_rng(20181011)
    length = min(length, config.max_position_embeddings)
    lengths = [max(2, length - i * length // batch) for i in range(batch)]
    mask = (np.arange(length) < np.array(lengths)[:, None]).astype(np.int32)
    segments = np.arange(length) >= length // 2 if config.type_vocab_size > 1 else np.zeros(length)
    return {
        "input_ids": rng.integers(0, config.vocab_size, mask.shape, dtype=np.int32),
        "input_mask": mask,
        "segment_ids": np.broadcast_to(segments, mask.shape).astype(np.int32) * mask,
        "masked_lm_positions": np.stack([rng.integers(0, n, predictions, dtype=np.int32) for n in lengths]),
    }


# ------------------------------------------------------------------------------------------------------------------
# The libraries
# ------------------------------------------------------------------------------------------------------------------


def _library(model: Model) -> str | None:
    if model.source.format == "tf1":
        return "the original's graph in NumPy"
    package = {"hf": "transformers", "keras_hub": "keras-hub"}[model.source.format]
    if model.source.format == "hf" and not hf_forward.is_installed():
        return None
    return f"{package} {importlib.metadata.version(package)}"


def _ask_each(models: dict[str, Model], batch: dict) -> dict[str, Answers]:
    """The outputs of each model by its name; the one named "ours" is computed by this package."""
    return {name: _ask(model, batch, ours=name == "ours") for name, model in models.items()}


def _ask(model: Model, batch: dict, *, ours: bool) -> Answers:
    if ours:
        return _ask_us(model, batch)
    if model.source.format == "hf":
        return _ask_transformers(model, batch)
    if model.source.format == "tf1":
        return _ask_the_original(model, batch)
    from kobert_tf2.conversion import keras_hub

    return keras_hub.answers(model.source.folder, batch)


def _ask_transformers(model: Model, batch: dict) -> Answers:
    return hf_forward.answer_as(
        model.classes(),
        model.source.folder,
        batch,
        config_file=model.source.config,
        num_labels=model.num_labels,
        prefix=model.prefix,
        has_pooler="pooler" in model.parts,
    )


def _ask_the_original(model: Model, batch: dict) -> Answers:
    return tf1_forward.forward(
        model.source.prefix,
        model.source.config,
        batch,
        model.parts,
        scope=model.prefix,
        of_tokens=model.classifies_tokens,
    )


# Our classes where they are named differently from transformers'.
_OUR_CLASSES = {
    "BertModel": "BertBackbone",
    "BertForMaskedLM": "BertForPreTraining",
    "BertForNextSentencePrediction": "BertForPreTraining",
}


def _ask_us(model: Model, batch: dict) -> Answers:
    """The outputs of our own model."""
    from kobert_tf2.bert import models
    from kobert_tf2.conversion import keras_hub, layer_by_layer

    if model.source.format == "keras_hub":
        return {name: np.asarray(values) for name, values in keras_hub.from_preset(model.source.folder)(batch).items()}
    answers: Answers = {}
    for name in model.classes():
        cls = getattr(models, _OUR_CLASSES.get(name, name))
        answers |= layer_by_layer.forward(cls, model.source, batch, allow_pickle=model.allow_pickle)
    return answers
