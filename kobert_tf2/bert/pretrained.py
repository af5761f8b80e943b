"""Models from checkpoints and model directories from models.

`matching.py` finds what of a checkpoint belongs where, and reports what does not fit.
"""

import dataclasses
import sys
from collections.abc import Callable

import keras
import numpy as np

from kobert_tf2 import files
from kobert_tf2.bert import checkpoint_files, layers, matching
from kobert_tf2.bert.checkpoint_files import Checkpoint
from kobert_tf2.bert.config import BertConfig
from kobert_tf2.bert.matching import Contents, Match
from kobert_tf2.bert.weight_names import Row, names_to_write, part, table, transpose


def variables(model: keras.Model) -> dict[Row, keras.Variable]:
    """The weights of one of our models, in the table's order."""
    by_path = {variable.path: variable for variable in model.weights}
    return {row: by_path[row.keras] for row in table(model.config.num_hidden_layers) if row.keras in by_path}


def load(model: keras.Model, path: str, *, allow_pickle: bool = False) -> list[str]:
    """Loads a checkpoint into a model; returns the parts that it did not have (`["span"]`), which stay as they are.

    Everything that does not fit is one `InputError`, and then no weight of the model has changed.
    """
    with checkpoint_files.open_checkpoint(path, allow_pickle=allow_pickle) as checkpoint:
        return load_checkpoint(model, checkpoint)


def load_checkpoint(model: keras.Model, checkpoint: Checkpoint) -> list[str]:
    """`load`, from a checkpoint that is open."""
    return load_contents(model, matching.scan(checkpoint, model.config))


def load_contents(model: keras.Model, contents: Contents) -> list[str]:
    """`load`, from a checkpoint that is open and was scanned."""
    targets, matched = variables(model), match_model(model, contents)
    for row in matched.found:
        targets[row].assign(read(contents, row))
    announce(contents, matched)
    return matched.new


def match_model(model: keras.Model, contents: Contents) -> Match:
    """`matching.match`, with what a model needs."""
    return matching.match(contents, {row: tuple(variable.shape) for row, variable in variables(model).items()})


def read(contents: Contents, row: Row):
    """One weight to assign to a variable: TensorFlow takes over a tensor's memory, the others want NumPy's."""
    values = contents.read(row)
    return values if keras.backend.backend() == "tensorflow" else np.asarray(values)


def announce(contents: Contents, matched: Match) -> None:
    """Reports on standard error what starts new and what was not used: neither is dropped in silence."""
    checkpoint = contents.checkpoint
    if contents.prefix:
        print(f"{checkpoint.path}: {contents.prefix!r} was taken off the names of its weights", file=sys.stderr)
    for new in matched.new:
        print(f"{checkpoint.path} has no weights for {new!r}: it starts new and needs training", file=sys.stderr)
    if matched.unused:
        shown = ", ".join(matched.unused[:8]) + (" ..." if len(matched.unused) > 8 else "")
        print(f"{checkpoint.path}: {len(matched.unused)} weights were not used: {shown}", file=sys.stderr)


def from_pretrained(
    cls: Callable[..., keras.Model],
    path: str,
    *,
    config: BertConfig | None = None,
    allow_pickle: bool = False,
    **kwargs,
) -> keras.Model:
    """A model of class `cls` with the weights at `path`; `config` stands in for the one beside the weights."""
    source = checkpoint_files.find_source(path, allow_pickle=allow_pickle)
    config = config or BertConfig.from_source(source)
    with checkpoint_files.open_source(source, allow_pickle=allow_pickle) as checkpoint:
        contents = matching.scan(checkpoint, config)
        config = as_tied(config, contents)
        model = uninitialized(cls, config, contents, **kwargs)
        _initialize(model, load_contents(model, contents))
    return model


def as_tied(config: BertConfig, contents: Contents) -> BertConfig:
    """The configuration of a model with a place for each weight that a checkpoint holds apart; reports the change."""
    if not contents.untied or not config.tie_word_embeddings:
        return config
    names = ", ".join(contents.found[row] for row in contents.untied)
    print(
        f"{contents.checkpoint.path}: {names} differs from the table of the embeddings: the model gets a decoder of "
        "its own (tie_word_embeddings: false)",
        file=sys.stderr,
    )
    return dataclasses.replace(config, tie_word_embeddings=False)


def uninitialized(cls: Callable[..., keras.Model], config: BertConfig, contents: Contents, **kwargs) -> keras.Model:
    """A model for a checkpoint's weights. Those of its backbone hold nothing until they are loaded."""
    if "num_labels" in cls.__init__.__kwdefaults__ and contents.num_labels:
        kwargs = {"num_labels": contents.num_labels, **kwargs}
    with layers.uninitialized_weights():
        return cls(config, **kwargs)


def _initialize(model: keras.Model, new: list[str]) -> None:
    """Gives the parts that the checkpoint did not have their random start."""
    for row, variable in variables(model).items():
        if part(row) in new and len(variable.shape) == 2:
            variable.assign(layers.initial_values(model.config)(variable.shape))


_ARCHITECTURES = {"BertBackbone": "BertModel"}


def hf_config(config: BertConfig, architecture: str, num_labels: int | None = None) -> dict:
    """The contents of a Hugging Face `config.json`."""
    values = {"architectures": [architecture], "model_type": "bert", **config.to_dict()}
    values["position_embedding_type"] = "absolute"
    if num_labels is not None:
        values["id2label"] = {str(i): f"LABEL_{i}" for i in range(num_labels)}
        values["label2id"] = {f"LABEL_{i}": i for i in range(num_labels)}
    return values


def save_pretrained(model: keras.Model, folder: str, tokenizer=None) -> None:
    """Writes the model's directory (and the tokenizer's files where one is given), whole or not at all."""
    saved = variables(model)
    names = names_to_write(saved)

    def read(name: str) -> np.ndarray:
        row = names[name]
        return transpose(keras.ops.convert_to_numpy(saved[row].value), row, source="keras", target="hf")

    shapes = {name: transpose(tuple(saved[row].shape), row, source="keras", target="hf") for name, row in names.items()}
    name = type(model).__name__
    config = hf_config(model.config, _ARCHITECTURES.get(name, name), getattr(model, "num_labels", None))
    with files.whole_folder(folder, overwrite=True) as unfinished:
        checkpoint_files.write_safetensors(f"{unfinished}/{checkpoint_files.SAFETENSORS}", shapes, read)
        files.write_json(f"{unfinished}/{checkpoint_files.HF_CONFIG}", config)
        if tokenizer is not None:
            tokenizer.save_pretrained(unfinished)
