"""From one format to another, array by array, and a forward pass on both sides to show that the model is the same.

No Keras model is built to convert: a weight is read, turned where the table says so, and written, so the memory needed
is that of the weights. Only the comparison at the end builds the model.
"""

import contextlib
import importlib.metadata
import math
import shutil
import sys
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from kobert_tf2 import files, transformers_forward, weight_files, weights
from kobert_tf2.bert_config import BertConfig
from kobert_tf2.errors import InputError
from kobert_tf2.weight_files import Checkpoint
from kobert_tf2.weight_table import Row, is_required, keras_shape, part, table, turned

VOCAB = "vocab.txt"
TOKENIZER_CONFIG = "tokenizer_config.json"
# What a checkpoint of the original scripts was made with, and what its Korean users need: case and jamo left alone.
ORIGINAL_TOKENIZER = {"pre_tokenizer": "none", "do_lower_case": False, "strip_accents": False}


class Opened(NamedTuple):
    """The weights of a checkpoint as Keras has them, each read when it is asked for, and what else is written."""

    config: BertConfig
    shapes: dict[Row, tuple[int, ...]]
    read: Callable[[Row], np.ndarray]
    architecture: str
    num_labels: int | None
    folder: str


def convert(
    path: str,
    output: str,
    *,
    to: str,
    architecture: str | None = None,
    overwrite: bool = False,
    allow_pickle: bool = False,
    compare: bool = True,
    tokenizer_settings: dict | None = None,
) -> dict:
    """Writes the model at `path` as a folder `output` in the format `to`: "hf", "tf1" or "keras_hub".

    `path` is whatever `from_pretrained` takes, or a keras-hub preset folder. `architecture` is the Hugging Face class
    to name in `config.json`; by default the one that the heads in the checkpoint belong to. A `vocab.txt` beside the
    input goes along; where no tokenizer settings lie beside it, `tokenizer_settings` and otherwise plain BERT's are
    written.

    Returns the number of weights, the parts, and the largest difference between the answers of both sides.
    """
    if to not in _WRITERS:
        raise InputError(f"to must be one of {', '.join(_WRITERS)}. Received: {to!r}")
    if files.exists(output) and not overwrite:
        raise InputError(f"{output}: already there; name another folder, or ask for it to be overwritten")
    with (
        _open(path, architecture, allow_pickle) as opened,
        files.whole_folder(output, overwrite=overwrite) as unfinished,
    ):
        _WRITERS[to](unfinished, opened)
        if to != "keras_hub":
            _copy_tokenizer(opened.folder, unfinished, opened.config, tokenizer_settings or {})
    return _summary(output, to, opened) | (_compare(path, output, to, opened, allow_pickle) if compare else {})


def _summary(output: str, to: str, opened: Opened) -> dict:
    return {
        "output": output,
        "format": to,
        "architecture": opened.architecture,
        "weights": len(opened.shapes),
        "parameters": sum(math.prod(shape) for shape in opened.shapes.values()),
        "parts": sorted({part(row) for row in opened.shapes if not is_required(row)}),
    }


# ------------------------------------------------------------------------------------------------------------------
# Reading
# ------------------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _open(path: str, architecture: str | None, allow_pickle: bool) -> Iterator[Opened]:
    """The weights of any format."""
    if is_keras_hub_preset(path):
        from kobert_tf2 import keras_hub_models

        config, checkpoint = keras_hub_models.open_preset(path)
        yield _opened(checkpoint, config, architecture, path)
        return
    source = weight_files.find_source(path, allow_pickle=allow_pickle)
    with weight_files.open_source(source, allow_pickle=allow_pickle) as checkpoint:
        yield _opened(checkpoint, weights.config_in(source), architecture, source.folder)


def is_keras_hub_preset(path: str) -> bool:
    config = f"{path}/{weight_files.HF_CONFIG}"
    return files.is_folder(path) and files.exists(config) and "registered_name" in files.read_json(config)


def _opened(checkpoint: Checkpoint, config: BertConfig, architecture: str | None, folder: str) -> Opened:
    rows = table(config.num_hidden_layers)
    parts = {part(row) for row in weights.find(checkpoint, rows)}
    num_labels = weights.num_labels_in(checkpoint)
    shapes = {row: keras_shape(row, config, num_labels or 2) for row in rows if is_required(row) or part(row) in parts}
    matched = weights.match(checkpoint, shapes, config)
    weights.announce(checkpoint, matched)

    def read(row: Row) -> np.ndarray:
        return turned(np.asarray(checkpoint.read(matched.found[row]), np.float32), row, checkpoint.format)

    return Opened(config, shapes, read, architecture or _architecture(parts), num_labels, folder)


def _architecture(parts: set[str]) -> str:
    """The Hugging Face class that has a place for the heads of a checkpoint."""
    if "masked_lm" in parts:
        return "BertForPreTraining" if "next_sentence" in parts else "BertForMaskedLM"
    if "span" in parts:
        return "BertForQuestionAnswering"
    return "BertForSequenceClassification" if "classifier" in parts else "BertModel"


# ------------------------------------------------------------------------------------------------------------------
# Writing
# ------------------------------------------------------------------------------------------------------------------


def _write_hf(folder: str, opened: Opened) -> None:
    rows = {row.hf: row for row in opened.shapes}
    weight_files.write_safetensors(
        f"{folder}/{weight_files.SAFETENSORS}",
        {name: turned(opened.shapes[row], row, "hf") for name, row in rows.items()},
        lambda name: turned(opened.read(rows[name]), rows[name], "hf"),
    )
    values = weights.hf_config(opened.config, opened.architecture, opened.num_labels)
    files.write_json(f"{folder}/{weight_files.HF_CONFIG}", values)


def _write_tf1(folder: str, opened: Opened) -> None:
    values = opened.config.to_google_dict()
    arrays = {row.tf1: turned(opened.read(row), row, "tf1") for row in opened.shapes}
    weight_files.write_tf1(f"{folder}/{weight_files.TF1_NAME}", arrays)
    files.write_json(f"{folder}/{weight_files.GOOGLE_CONFIG}", values)


def _write_keras_hub(folder: str, opened: Opened) -> None:
    from kobert_tf2 import keras_hub_models

    if opened.architecture != "BertModel":
        print("keras-hub's BertBackbone has no heads: they are left behind", file=sys.stderr)
    keras_hub_models.save_preset(folder, opened.config, {row: opened.read(row) for row in opened.shapes})


_WRITERS: dict[str, Callable[[str, Opened], None]] = {
    "hf": _write_hf,
    "tf1": _write_tf1,
    "keras_hub": _write_keras_hub,
}


def _copy_tokenizer(source: str, target: str, config: BertConfig, settings: dict) -> None:
    """Takes the vocabulary and the tokenizer's settings along."""
    if not files.exists(f"{source}/{VOCAB}"):
        print(f"{source} has no {VOCAB}: the converted model has no tokenizer", file=sys.stderr)
        return
    _copy(f"{source}/{VOCAB}", f"{target}/{VOCAB}")
    if files.exists(f"{source}/{TOKENIZER_CONFIG}") and not settings:
        _copy(f"{source}/{TOKENIZER_CONFIG}", f"{target}/{TOKENIZER_CONFIG}")
        return
    from kobert_tf2.tokenization import Tokenizer

    settings = {**ORIGINAL_TOKENIZER, **settings}
    tokenizer = Tokenizer(f"{target}/{VOCAB}", **settings)
    if len(tokenizer.vocab) > config.vocab_size:
        raise InputError(
            f"{source}/{VOCAB}: {len(tokenizer.vocab)} pieces, but the model has vocab_size {config.vocab_size}"
        )
    print(f"{target}: tokenizer settings written: {settings}", file=sys.stderr)
    tokenizer.save_pretrained(target)


def _copy(source: str, target: str) -> None:
    with files.open_binary(source) as reader, open(target, "wb") as writer:
        shutil.copyfileobj(reader, writer)


# ------------------------------------------------------------------------------------------------------------------
# Comparing
# ------------------------------------------------------------------------------------------------------------------


def sample_batch(config: BertConfig, *, batch: int = 3, length: int = 24, predictions: int = 5) -> dict:
    """Inputs with words from the whole vocabulary, both segments, and rows that end in padding."""
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


def _compare(path: str, output: str, to: str, opened: Opened, allow_pickle: bool) -> dict:
    """The answers of the model at `path` in Keras against those of the other side, on `sample_batch`."""
    if to == "hf" and not transformers_forward.is_installed():
        print("transformers and torch are not installed: the converted model was not compared", file=sys.stderr)
        return {"compared_with": None, "largest_difference": None}
    batch = sample_batch(opened.config)
    if to == "keras_hub":
        opened = opened._replace(architecture="BertModel")
    ours = _answers(path, opened, batch, allow_pickle)
    other, theirs = _OTHER_SIDES[to](output, opened, batch)
    largest = max(float(np.abs(ours[name] - theirs[name]).max()) for name in ours)
    print(f"largest difference from {other}: {largest:.3g} in {', '.join(ours)}", file=sys.stderr)
    return {"compared_with": other, "largest_difference": largest}


def _answers(path: str, opened: Opened, batch: dict, allow_pickle: bool = False) -> dict[str, np.ndarray]:
    """What our own model answers with the weights at `path`, as NumPy arrays."""
    from kobert_tf2 import modeling

    if is_keras_hub_preset(path):
        from kobert_tf2 import keras_hub_models

        return _run(keras_hub_models.from_preset(path), batch)
    name = {"BertModel": "BertBackbone", "BertForMaskedLM": "BertForPreTraining"}.get(
        opened.architecture, opened.architecture
    )
    model = weights.from_pretrained(getattr(modeling, name), path, config=opened.config, allow_pickle=allow_pickle)
    outputs = _run(model, batch)
    if opened.architecture == "BertForMaskedLM":
        del outputs["next_sentence_logits"]
    return outputs


def _run(model, batch: dict) -> dict[str, np.ndarray]:
    return {name: np.asarray(values) for name, values in model(batch).items()}


def _ask_transformers(output: str, opened: Opened, batch: dict):
    return f"transformers {importlib.metadata.version('transformers')}", transformers_forward.forward(output, batch)


def _ask_keras_hub(output: str, opened: Opened, batch: dict):
    from kobert_tf2 import keras_hub_models

    return f"keras-hub {keras_hub_models.version()}", keras_hub_models.answers(output, batch)


def _read_back(output: str, opened: Opened, batch: dict):
    return "the TF1 checkpoint read back", _answers(output, opened, batch)


_OTHER_SIDES = {"hf": _ask_transformers, "keras_hub": _ask_keras_hub, "tf1": _read_back}
