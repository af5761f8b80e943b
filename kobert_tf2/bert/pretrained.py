"""Loads models from checkpoints and saves them as model directories.

`matching.py` maps a checkpoint's weights to a model's, and reports mismatches.
"""

import dataclasses
import hashlib
import json
import math
import sys
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import keras
import numpy as np

from kobert_tf2 import files, outputs
from kobert_tf2.bert import checkpoint_files, heads, layers, matching, model_card
from kobert_tf2.bert.checkpoint_files import Checkpoint, Source
from kobert_tf2.bert.config import BertConfig
from kobert_tf2.bert.labels import Labels
from kobert_tf2.bert.matching import Contents, Match
from kobert_tf2.bert.weight_names import Row, is_required, keras_shape, names_to_write, part, table, transpose
from kobert_tf2.errors import InputError


def variables(model: keras.Model) -> dict[Row, keras.Variable]:
    """The weights of one of our models, in the order of the table."""
    by_path = {variable.path: variable for variable in model.weights}
    return {row: by_path[row.keras] for row in table(model.config.num_hidden_layers) if row.keras in by_path}


def load(model: keras.Model, path: str, *, allow_pickle: bool = False) -> list[str]:
    """Loads a checkpoint into a model; returns the parts missing from it (`["span"]`), which are left unchanged.

    All mismatches are reported in one `InputError`; in that case no weight of the model has changed.
    """
    with checkpoint_files.open_checkpoint(path, allow_pickle=allow_pickle) as checkpoint:
        return load_checkpoint(model, checkpoint)


def load_checkpoint(model: keras.Model, checkpoint: Checkpoint) -> list[str]:
    """`load` from an open checkpoint."""
    return load_contents(model, matching.scan(checkpoint, model.config))


def load_contents(model: keras.Model, contents: Contents) -> list[str]:
    """`load` from an open, scanned checkpoint."""
    targets, matched = variables(model), match_model(model, contents)
    for row in matched.found:
        targets[row].assign(_placed(read(contents, row), targets[row]))
    announce(contents, matched)
    return matched.new


def match_model(model: keras.Model, contents: Contents) -> Match:
    """`matching.match` for the weights that a model needs."""
    return matching.match(contents, {row: tuple(variable.shape) for row, variable in variables(model).items()})


def read(contents: Contents, row: Row) -> Any:
    """Reads one weight to assign to a variable: a tensor for TensorFlow, which takes over its memory, and a NumPy array
    for the other backends.
    """
    values = contents.read(row)
    return values if keras.backend.backend() == "tensorflow" else np.asarray(values)


def _placed(values: Any, variable: keras.Variable) -> Any:
    """The values, in the memory that worker processes of a service share (TensorFlow only)."""
    if keras.backend.backend() != "tensorflow":
        return values
    from kobert_tf2.bert import shared_memory  # imports TensorFlow

    return shared_memory.placed(values, variable.dtype)


def announce(contents: Contents, matched: Match) -> None:
    """Reports on stderr which parts are initialised at random and which weights were not used."""
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
    require_trained: bool = False,
    **kwargs: Any,
) -> keras.Model:
    """A model of class `cls` with the weights at `path`; `config` overrides the one in the folder of the weights.

    A part missing from the weights is initialised at random; with `require_trained` it raises `InputError`.
    """
    source = checkpoint_files.find_source(path, allow_pickle=allow_pickle, needs_config=config is None)
    config = config or BertConfig.from_source(source)
    with checkpoint_files.open_source(source, allow_pickle=allow_pickle) as checkpoint:
        contents = matching.scan(checkpoint, config)
        config = as_tied(config, contents)
        _refuse_far_larger(config, contents)
        contents, kwargs = _with_labels(cls, source, contents, kwargs)
        model = uninitialized(cls, config, contents, **kwargs)
        if require_trained:
            heads.refuse_untrained(match_model(model, contents).new, checkpoint)
        new = load_contents(model, contents)
    _initialize(model, new)
    mark_new(model, new)
    described = heads.describe(source)
    if described.architecture == architecture(model):  # They belong to this head.
        keep_task_settings(model, described.task_settings.get("task_specific_params"))
    return model


def keep_task_settings(model: keras.Model, settings: Mapping | None) -> None:
    """Stores the `task_specific_params` of a model's files, to be written again when it is saved."""
    # As text, because Keras would convert a dict attribute to its own type.
    model._task_settings = json.dumps(settings, sort_keys=False) if settings else None


def task_settings(model: keras.Model) -> dict | None:
    """The settings that `keep_task_settings` stored; None if there are none."""
    kept = getattr(model, "_task_settings", None)
    return json.loads(kept) if kept else None


_ROOM = 1 << 26


def _refuse_far_larger(config: BertConfig, contents: Contents) -> None:
    """Reports an encoder with far more parameters than the checkpoint before memory for it is allocated."""
    needed = {row: keras_shape(row, config) for row in table(config.num_hidden_layers) if is_required(row)}
    held = sum(math.prod(shape) for shape in contents.checkpoint.shapes.values())
    if sum(map(math.prod, needed.values())) > 2 * held + _ROOM:
        matching.match(contents, {row: shape for row, shape in needed.items() if not row.tied_to})


def as_tied(config: BertConfig, contents: Contents) -> BertConfig:
    """The configuration of a model with a variable for each weight that is untied in a checkpoint; reports the
    change.
    """
    if not contents.untied or not config.tie_word_embeddings:
        return config
    names = ", ".join(contents.found[row] for row in contents.untied)
    print(
        f"{contents.checkpoint.path}: {names} differs from the table of the embeddings: the model gets a decoder of "
        "its own (tie_word_embeddings: false)",
        file=sys.stderr,
    )
    return dataclasses.replace(config, tie_word_embeddings=False)


def config_as_tied(config: BertConfig, path: str) -> BertConfig:
    """`as_tied` for the weights at `path`: the configuration that `from_pretrained(path, config=config)` uses."""
    if not config.tie_word_embeddings:
        return config
    with checkpoint_files.open_source(checkpoint_files.find_source(path, needs_config=False)) as checkpoint:
        return as_tied(config, matching.scan(checkpoint, config))


def uninitialized(
    cls: Callable[..., keras.Model], config: BertConfig, contents: Contents, **kwargs: Any
) -> keras.Model:
    """A model for a checkpoint's weights. The weights of its backbone are uninitialised until they are loaded."""
    if _has_labels(cls) and kwargs.get("labels") is None and contents.num_labels:
        kwargs = {"num_labels": contents.num_labels, **kwargs}
    with layers.uninitialized_weights():
        return cls(config, **kwargs)


def _initialize(model: keras.Model, new: list[str]) -> None:
    """Initialises the parts missing from the checkpoint at random."""
    for row, variable in variables(model).items():
        if part(row) in new and len(variable.shape) == 2:
            variable.assign(layers.initial_values(model.config)(variable.shape))


# ------------------------------------------------------------------------------------------------------------------
# Newly initialised parts
# ------------------------------------------------------------------------------------------------------------------


def mark_new(model: keras.Model, parts: Iterable[str]) -> None:
    """Records hashes of the random initial values of these parts: a part counts as new until its values change, by
    whatever training.
    """
    model._start_of_new_parts = tuple((name, _digest(model, name)) for name in parts)


def new_parts(model: keras.Model) -> tuple[str, ...]:
    """The marked parts that have not changed since."""
    marked = getattr(model, "_start_of_new_parts", ())
    return tuple(name for name, start in marked if _digest(model, name) == start)


def _digest(model: keras.Model, name: str) -> str:
    digest = hashlib.sha256()
    for row, variable in variables(model).items():
        if part(row) == name:
            digest.update(np.asarray(keras.ops.convert_to_numpy(variable.value), np.float32).tobytes())
    return digest.hexdigest()


def parts_not_in(model: keras.Model, path: str | None) -> list[str]:
    """The parts of a model missing from the weights at `path`, judged by names only; all parts if `path` is None."""
    held = []
    if path is not None:
        source = checkpoint_files.find_source(path)
        with checkpoint_files.open_source(source) as checkpoint:
            contents = matching.scan(checkpoint, model.config)
        held = heads.parts_of(contents.found)
        labels = labels_of(model)
        if labels and contents.num_labels and _why_not_used(source, contents, type(model), labels):
            held.remove("classifier")
    return [name for name in heads.parts_of(variables(model)) if name not in held]


# ------------------------------------------------------------------------------------------------------------------
# Labels
# ------------------------------------------------------------------------------------------------------------------


def _has_labels(cls: Callable[..., keras.Model]) -> bool:
    return "num_labels" in (cls.__init__.__kwdefaults__ or {})


def held_labels(cls: Callable[..., keras.Model], path: str, config: BertConfig) -> Labels | None:
    """The labels of the classification head for `cls` in the weights at `path`; None if there is none."""
    source = checkpoint_files.find_source(path)
    with checkpoint_files.open_source(source) as checkpoint:
        contents = matching.scan(checkpoint, config)
    described = heads.describe(source)
    if contents.num_labels is None or described.has_other_classifier(cls.__name__):
        return None
    return described.labels(contents.num_labels)


def _with_labels(
    cls: Callable[..., keras.Model], source: Source, contents: Contents, kwargs: dict
) -> tuple[Contents, dict]:
    """The checkpoint's contents and the arguments of a classifier's constructor; by default its labels are the
    checkpoint's.

    An unused head is removed from the contents, so that the model's head is initialised at random.
    """
    if not _has_labels(cls) or contents.num_labels is None:
        return contents, kwargs
    described, names = heads.describe(source), kwargs.get("labels")
    held = described.labels(contents.num_labels)
    if names is None and kwargs.get("num_labels") not in (None, contents.num_labels):
        return contents, kwargs  # The shape mismatch report says what to do.
    asked = Labels(held.names if names is None else tuple(names), kwargs.get("problem_type"))
    reason = _why_not_used(source, contents, cls, asked)
    if reason:
        print(f"{contents.checkpoint.path}: {reason}: that head is not used", file=sys.stderr)
        others = described.has_other_classifier(cls.__name__)
        return contents.without("classifier"), kwargs if others else {**kwargs, "labels": asked.names}
    if asked.names != held.names:
        raise InputError(
            f"{source.config}: the labels of this classifier are {', '.join(held.names)}, in this order, but labels "
            f"gives {', '.join(asked.names)}: give them in its order, or leave labels out"
        )
    return contents, {**kwargs, "labels": held.names, "problem_type": asked.problem_type or held.problem_type}


def _why_not_used(source: Source, contents: Contents, cls: Callable[..., keras.Model], asked: Labels) -> str | None:
    """The reason why a checkpoint's classification head cannot be used for these labels; None if it can."""
    described = heads.describe(source)
    held = described.labels(contents.num_labels or 0)
    if described.has_other_classifier(cls.__name__):
        return f"its classification head is that of a {described.architecture}"
    if asked.problem_type and asked.problem_type != held.kind:
        return f"its classification head is for {held.kind}, and {asked.problem_type} is asked for"
    if set(asked.names) != set(held.names):
        return f"its labels are {', '.join(held.names)}, and {', '.join(asked.names)} are asked for"
    return None


# ------------------------------------------------------------------------------------------------------------------
# Model directories
# ------------------------------------------------------------------------------------------------------------------


def architecture(model: keras.Model) -> str:
    """The name of the Hugging Face class that corresponds to one of our models."""
    return {"BertBackbone": "BertModel"}.get(type(model).__name__, type(model).__name__)


def labels_of(model: keras.Model) -> Labels | None:
    """The labels of a classifier; None for other models."""
    return Labels(model.labels, model.problem_type) if hasattr(model, "labels") else None


def hf_config(config: BertConfig, architecture: str, labels: Labels | None = None) -> dict:
    """The contents of a Hugging Face `config.json`."""
    values = {"architectures": [architecture], "model_type": "bert", **config.to_dict()}
    values["position_embedding_type"] = "absolute"
    values = outputs.signed(values, "save_pretrained")
    return values | (labels.to_config() if labels else {})


def check_folder(folder: str, tokenizer: Any = None) -> None:
    """Raises `InputError` if a model (and a tokenizer, if given) may not be saved into this folder."""
    names = (checkpoint_files.SAFETENSORS, checkpoint_files.HF_CONFIG)
    outputs.check_folder(folder, names, what="a model that kobert_tf2 saved", is_ours=_is_own_folder)
    if hasattr(tokenizer, "check_folder"):
        tokenizer.check_folder(folder)


def _is_own_folder(folder: str) -> bool:
    """Whether config.json has our signature, or the keys that version 0.1 wrote."""
    path = f"{folder}/{checkpoint_files.HF_CONFIG}"
    keys = files.read_json(path, dict).keys()
    written_by_0_1 = {"architectures", "layer_norm_eps", "pad_token_id", "position_embedding_type"}
    return outputs.SIGN in keys or (written_by_0_1 <= keys and "transformers_version" not in keys)


def save_pretrained(
    model: keras.Model, folder: str, tokenizer: Any = None, *, task_specific_params: Mapping | None = None
) -> None:
    """Writes the model directory (and the tokenizer's files, if given) atomically.

    The files of an earlier model of ours are replaced and other files are kept. Raises `InputError` if a file of one of
    these names is not ours.
    """
    check_folder(folder, tokenizer)
    untrained = new_parts(model)
    for name in untrained:
        print(f"{folder}: the {heads.DESCRIPTIONS[name]} is not trained yet and is left out", file=sys.stderr)
    saved = {row: variable for row, variable in variables(model).items() if part(row) not in untrained}
    names = names_to_write(saved)

    def read(name: str) -> np.ndarray:
        row = names[name]
        return transpose(keras.ops.convert_to_numpy(saved[row].value), row, source="keras", target="hf")

    shapes = {name: transpose(tuple(saved[row].shape), row, source="keras", target="hf") for name, row in names.items()}
    config = hf_config(model.config, architecture(model), labels_of(model))
    kept = task_settings(model) if task_specific_params is None else dict(task_specific_params)
    if kept:
        config["task_specific_params"] = kept
    with files.whole_folder(folder, overwrite=True) as unfinished:
        checkpoint_files.write_safetensors(f"{unfinished}/{checkpoint_files.SAFETENSORS}", shapes, read)
        files.write_json(f"{unfinished}/{checkpoint_files.HF_CONFIG}", config)
        if tokenizer is not None:
            tokenizer.save_pretrained(unfinished)
        model_card.write(unfinished, folder)
