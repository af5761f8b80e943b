"""From one format to another, array by array: a weight is read, transposed where the table says so, and written.

No Keras model is built, so the memory needed is that of the largest weight (keras-hub's writer alone builds its model).
"""

import contextlib
import math
import shutil
import sys
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from kobert_tf2 import files, outputs
from kobert_tf2.bert import checkpoint_files, heads, matching, pretrained
from kobert_tf2.bert.checkpoint_files import Checkpoint
from kobert_tf2.bert.config import BertConfig
from kobert_tf2.bert.labels import Labels
from kobert_tf2.bert.weight_names import Row, is_required, keras_shape, names_to_write, part, table, transpose
from kobert_tf2.errors import InputError
from kobert_tf2.tokenization.tokenizer import Tokenizer

VOCAB = "vocab.txt"
TOKENIZER_CONFIG = "tokenizer_config.json"
# What a checkpoint of the original scripts was made with, and what its Korean users need: case and jamo left alone.
ORIGINAL_TOKENIZER = {"pre_tokenizer": "none", "do_lower_case": False, "strip_accents": False}


class Opened(NamedTuple):
    """The weights of a checkpoint, each read when it is asked for, and what else is written."""

    config: BertConfig
    shapes: matching.Shapes
    read: Callable[[Row, str], np.ndarray]  # a weight in the layout of a format
    architecture: str
    labels: Labels | None
    folder: str


def rewrite(
    path: str,
    output: str,
    *,
    to: str,
    architecture: str | None = None,
    overwrite: bool = False,
    allow_pickle: bool = False,
    tokenizer_settings: dict | None = None,
) -> dict:
    """Writes the model at `path` as a folder `output`, whole or not at all; see `convert.convert`.

    Returns the number of weights, the parts and the architecture.
    """
    with (
        _open(path, architecture, allow_pickle) as opened,
        files.whole_folder(output, overwrite=overwrite) as unfinished,
    ):
        _WRITERS[to](unfinished, opened)
        if to != "keras_hub":
            _copy_tokenizer(opened.folder, unfinished, opened.config, tokenizer_settings or {})
    return _summary(output, to, opened)


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
    if checkpoint_files.is_keras_hub_preset(path):
        from kobert_tf2.conversion import keras_hub

        config, checkpoint = keras_hub.open_preset(path)
        yield _opened(checkpoint, config, heads.Described(path, None, {}), architecture, path)
        return
    source = checkpoint_files.find_source(path, allow_pickle=allow_pickle)
    with checkpoint_files.open_source(source, allow_pickle=allow_pickle) as checkpoint:
        config = BertConfig.from_source(source)
        yield _opened(checkpoint, config, heads.describe(source), architecture, source.folder)


def _opened(
    checkpoint: Checkpoint, config: BertConfig, described: heads.Described, architecture: str | None, folder: str
) -> Opened:
    contents = matching.scan(checkpoint, config)
    config = pretrained.as_tied(config, contents)
    shapes = {
        row: keras_shape(row, config, contents.num_labels or 2)
        for row in table(config.num_hidden_layers)
        if (row.tied_to and row in contents.found)
        or (not row.tied_to and (is_required(row) or part(row) in contents.parts))
    }
    pretrained.announce(contents, matching.match(contents, shapes))
    architecture = _architecture(contents, described, architecture)
    labels = described.labels(contents.num_labels) if contents.num_labels else None

    def read(row: Row, target: str) -> np.ndarray:
        return np.asarray(contents.read(row, target=target), np.float32)

    return Opened(config, shapes, read, architecture, labels, folder)


def _architecture(contents: matching.Contents, described: heads.Described, asked: str | None) -> str:
    """The Hugging Face class to name: the one asked for, else the configuration's, else the one that the heads have.

    One with a head that the weights do not hold is an `InputError`: whoever loads it would get a random one.
    """
    by_parts = heads.architecture_of(contents.parts)
    named = asked or described.architecture or by_parts
    who = "--architecture" if asked else f"{described.path}: architectures"
    if named not in heads.ARCHITECTURES:
        known = ", ".join(heads.ARCHITECTURES)
        raise InputError(f"{who}: expected one of {known}. Received: {named!r}; --architecture={by_parts} stands in")
    lacking = set(heads.ARCHITECTURES[named]) - contents.parts
    why = f"{who} names {named}; --architecture={by_parts} writes what is there"
    heads.refuse_untrained(lacking, contents.checkpoint, why)
    return named


# ------------------------------------------------------------------------------------------------------------------
# Writing
# ------------------------------------------------------------------------------------------------------------------


def _write_hf(folder: str, opened: Opened) -> None:
    rows = names_to_write(opened.shapes)
    checkpoint_files.write_safetensors(
        f"{folder}/{checkpoint_files.SAFETENSORS}",
        {name: transpose(opened.shapes[row], row, source="keras", target="hf") for name, row in rows.items()},
        lambda name: opened.read(rows[name], "hf"),
    )
    values = pretrained.hf_config(opened.config, opened.architecture, opened.labels)
    files.write_json(f"{folder}/{checkpoint_files.HF_CONFIG}", values)


def _write_tf1(folder: str, opened: Opened) -> None:
    values = opened.config.to_google_dict() | heads.to_google_dict(opened.config, opened.architecture, opened.labels)
    for row in opened.shapes:
        if not row.tf1:
            raise InputError(
                f"{row.hf} differs from the table of the embeddings, and a TF1 checkpoint has no place for it: this "
                "model would answer differently there"
            )
    rows = {row.tf1: row for row in opened.shapes}
    prefix = f"{folder}/{checkpoint_files.TF1_NAME}"
    checkpoint_files.write_tf1(prefix, rows, lambda name: opened.read(rows[name], "tf1"))
    files.write_json(f"{folder}/{checkpoint_files.GOOGLE_CONFIG}", outputs.signed(values, "convert_checkpoint"))


def _write_keras_hub(folder: str, opened: Opened) -> None:
    from kobert_tf2.conversion import keras_hub

    if opened.architecture != "BertModel":
        print("keras-hub's BertBackbone has no heads: they are left behind", file=sys.stderr)
    keras_hub.save_preset(folder, opened.config, opened.shapes, lambda row: opened.read(row, "keras"))
    metadata = f"{folder}/{checkpoint_files.KERAS_HUB_METADATA}"
    files.write_json(metadata, outputs.signed(files.read_json(metadata, dict), "convert_checkpoint"))


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
    if files.exists(f"{source}/{TOKENIZER_CONFIG}") and not settings:
        for name in (VOCAB, TOKENIZER_CONFIG):
            _copy(f"{source}/{name}", f"{target}/{name}")
        return
    settings = {**ORIGINAL_TOKENIZER, **settings}
    tokenizer = Tokenizer(f"{source}/{VOCAB}", **settings)
    if len(tokenizer.vocab) > config.vocab_size:
        raise InputError(
            f"{source}/{VOCAB}: {len(tokenizer.vocab)} pieces, but the model has vocab_size {config.vocab_size}"
        )
    print(f"{target}: tokenizer settings written: {settings}", file=sys.stderr)
    tokenizer.save_pretrained(target)


def _copy(source: str, target: str) -> None:
    with files.open_binary(source) as reader, open(target, "wb") as writer:
        shutil.copyfileobj(reader, writer)
