"""Rewrites weights from one format to another array by array, transposing where the table says so.

No Keras model is built, so the memory needed is that of the largest weight (only keras-hub's writer builds its model).
"""

import contextlib
import math
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from kobert_tf2 import files, outputs
from kobert_tf2.bert import checkpoint_files, heads, matching, pretrained
from kobert_tf2.bert.checkpoint_files import Checkpoint, Source
from kobert_tf2.bert.config import BertConfig
from kobert_tf2.bert.labels import Labels
from kobert_tf2.bert.weight_names import Row, is_required, keras_shape, names_to_write, part, table, transpose
from kobert_tf2.conversion.compare import Model
from kobert_tf2.errors import InputError
from kobert_tf2.tokenization import pretrained as pretrained_tokenizers
from kobert_tf2.tokenization.tokenizer import Tokenizer


class Opened(NamedTuple):
    """The weights of a checkpoint, read on request, and everything else that is written."""

    model: Model
    shapes: matching.Shapes
    read: Callable[[Row, str], np.ndarray]  # a weight in the layout of a format
    labels: Labels | None
    task_settings: dict  # task settings of config.json other than the labels


class TokenizerFiles(NamedTuple):
    """The tokenizer of the converted model, if it is not the one beside the source."""

    vocab_file: str | None = None
    settings: dict | None = None


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
    source = checkpoint_files.find_source_or_preset(path, allow_pickle=allow_pickle)
    tokenizer = TokenizerFiles(None, tokenizer_settings)
    with files.whole_folder(output, overwrite=overwrite) as unfinished:
        _, summary = write(source, unfinished, to, tokenizer, architecture=architecture, allow_pickle=allow_pickle)
    return {"output": output, **summary}


def write(
    source: Source,
    folder: str,
    to: str,
    tokenizer: TokenizerFiles,
    *,
    architecture: str | None = None,
    allow_pickle: bool = False,
) -> tuple[Model, dict]:
    """Writes a model into an existing folder; returns the source model and a summary."""
    with _open(source, architecture, allow_pickle) as opened:
        _WRITERS[to](folder, opened)
        if to != "keras_hub":
            _copy_tokenizer(source.folder, folder, opened.model.config, tokenizer)
        return opened.model, _summary(to, opened)


def _summary(to: str, opened: Opened) -> dict:
    return {
        "format": to,
        "architecture": opened.model.architecture,
        "weights": len(opened.shapes),
        "parameters": sum(math.prod(shape) for shape in opened.shapes.values()),
        "parts": sorted(opened.model.parts),
    }


# ------------------------------------------------------------------------------------------------------------------
# Reading
# ------------------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _open(source: Source, architecture: str | None, allow_pickle: bool) -> Iterator[Opened]:
    """The weights of any format."""
    if source.format == "keras_hub":
        from kobert_tf2.conversion import keras_hub

        config, checkpoint = keras_hub.open_preset(source.folder)
        described = heads.Described(source.folder, None, {})
        yield _opened(source, checkpoint, config, described, architecture, allow_pickle)
        return
    with checkpoint_files.open_source(source, allow_pickle=allow_pickle) as checkpoint:
        config = BertConfig.from_source(source)
        yield _opened(source, checkpoint, config, heads.describe(source), architecture, allow_pickle)


def _opened(
    source: Source,
    checkpoint: Checkpoint,
    config: BertConfig,
    described: heads.Described,
    architecture: str | None,
    allow_pickle: bool,
) -> Opened:
    contents = matching.scan(checkpoint, config)
    config = pretrained.as_tied(config, contents)
    shapes = {
        row: keras_shape(row, config, contents.num_labels or 2)
        for row in table(config.num_hidden_layers)
        if row in contents.found or (not row.tied_to and (is_required(row) or part(row) in contents.parts))
    }
    pretrained.announce(contents, matching.match(contents, shapes))
    parts = frozenset(part(row) for row in shapes if not is_required(row))
    model = Model(
        source,
        config,
        parts,
        _architecture(contents, described, architecture),
        num_labels=contents.num_labels,
        prefix=contents.prefix,
        allow_pickle=allow_pickle,
    )

    def read(row: Row, target: str) -> np.ndarray:
        return np.asarray(contents.read(row, target=target), np.float32)

    labels = described.labels(contents.num_labels) if contents.num_labels else None
    return Opened(model, shapes, read, labels, described.task_settings)


def _architecture(contents: matching.Contents, described: heads.Described, asked: str | None) -> str:
    """The Hugging Face class: the requested one, else the configuration's, else the one that the heads belong to.

    A class with a head that is not in the weights is an `InputError`: loading it would give a random head.
    """
    by_parts = heads.architecture_of(contents.parts)
    named = asked or described.architecture or by_parts
    who = "--architecture" if asked else f"{described.path}: architectures"
    if named not in heads.ARCHITECTURES:
        known = ", ".join(heads.ARCHITECTURES)
        raise InputError(f"{who}: expected one of {known}. Received: {named!r}; --architecture={by_parts} stands in")
    lacking = set(heads.ARCHITECTURES[named]) - contents.parts
    why = f"{who} names {named}; --architecture={by_parts} writes what is there"
    if "classifier" in heads.ARCHITECTURES[named] and described.has_other_classifier(named):
        lacking, why = {"classifier"}, f"{who} names {named}, but the head there is that of a {described.architecture}"
    heads.refuse_untrained(lacking, contents.checkpoint, why)
    if named == "BertModel" and "pooler" not in contents.parts:
        print(
            f"{contents.checkpoint.path}: the weights hold no pooler: pooler_output will be random in transformers",
            file=sys.stderr,
        )
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
    model = opened.model
    values = pretrained.hf_config(model.config, model.architecture, opened.labels)
    files.write_json(f"{folder}/{checkpoint_files.HF_CONFIG}", values | opened.task_settings)


def _write_tf1(folder: str, opened: Opened) -> None:
    model = opened.model
    values = model.config.to_google_dict() | opened.task_settings
    values |= heads.to_google_dict(model.config, model.architecture, opened.labels)
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

    if opened.model.architecture != "BertModel":
        print("keras-hub's BertBackbone has no heads: they are left behind", file=sys.stderr)
    keras_hub.save_preset(folder, opened.model.config, opened.shapes, lambda row: opened.read(row, "keras"))
    metadata = f"{folder}/{checkpoint_files.KERAS_HUB_METADATA}"
    files.write_json(metadata, outputs.signed(files.read_json(metadata, dict), "convert_checkpoint"))


_WRITERS: dict[str, Callable[[str, Opened], None]] = {
    "hf": _write_hf,
    "tf1": _write_tf1,
    "keras_hub": _write_keras_hub,
}


def _copy_tokenizer(source: str, target: str, config: BertConfig, tokenizer: TokenizerFiles) -> None:
    """Copies the tokenizer's files, or writes them anew if they are ambiguous."""
    named, settings = tokenizer.vocab_file, tokenizer.settings or {}
    found = pretrained_tokenizers.find(named) if named else pretrained_tokenizers.find_beside(source)
    if found is None:
        missing = pretrained_tokenizers.VOCAB_FILE
        print(f"{source} has no {missing}: the converted model has no tokenizer", file=sys.stderr)
        return
    has_vocab = files.exists(f"{source}/{pretrained_tokenizers.VOCAB_FILE}")
    code = pretrained_tokenizers.missing_code(source)
    is_whole = code is None or code != pretrained_tokenizers.CODE_FILE
    if has_vocab and not named and not settings and not found.is_bare and is_whole:
        for path in pretrained_tokenizers.files_in(source):
            _copy(path, f"{target}/{os.path.basename(path)}")
        if code:
            print(
                f"{source}: tokenizer_config.json names {code}, which is not there and was not copied", file=sys.stderr
            )
        return
    made = Tokenizer.from_pretrained(named or source, **settings)
    if len(made.vocab) > config.vocab_size:
        raise InputError(f"{found.place}: {len(made.vocab)} pieces, but the model has vocab_size {config.vocab_size}")
    print(f"{found.place}: a tokenizer is written with these settings: {made.settings()}", file=sys.stderr)
    made.save_pretrained(target)


def _copy(source: str, target: str) -> None:
    with files.open_binary(source) as reader, open(target, "wb") as writer:
        shutil.copyfileobj(reader, writer)
