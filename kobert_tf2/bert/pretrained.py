"""Weights into models and out of them, by the table of names; what does not fit is one report.

`weight_names.py` knows the names, `checkpoint_files.py` the files; nothing here knows either.
"""

import re
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import keras
import numpy as np

from kobert_tf2 import files
from kobert_tf2.bert import checkpoint_files, layers
from kobert_tf2.bert.checkpoint_files import Checkpoint
from kobert_tf2.bert.config import BertConfig
from kobert_tf2.bert.weight_names import PASSED_OVER, Row, is_required, names_in, part, table, turned
from kobert_tf2.errors import InputError

# ------------------------------------------------------------------------------------------------------------------
# Matching a checkpoint with what a model needs
# ------------------------------------------------------------------------------------------------------------------


class Match(NamedTuple):
    """How a checkpoint and a model meet."""

    found: dict[Row, str]  # the checkpoint's name of each weight
    new: list[str]  # parts of the model that the checkpoint does not have
    unused: list[str]  # the checkpoint's names that have no place in the model


def find(checkpoint: Checkpoint, rows: Iterable[Row]) -> dict[Row, str]:
    """Which of the checkpoint's names holds which weight."""
    found = {}
    for row in rows:
        name = next((name for name in names_in(row, checkpoint.format) if name in checkpoint.shapes), None)
        if name is not None:
            found[row] = name
    return found


def match(checkpoint: Checkpoint, expected: dict[Row, tuple[int, ...]], config: BertConfig) -> Match:
    """Pairs the weights of a model, `expected` with their shapes in Keras, with the checkpoint's.

    A pooler or a head of which nothing is there is new. Everything else that does not fit is one `InputError`, which
    lists all of it with both shapes and says what to do.
    """
    found = find(checkpoint, expected)
    absent = [row for row in expected if row not in found]
    new = sorted({part(row) for row in absent if not is_required(row)} - {part(row) for row in found})
    unused = sorted(set(checkpoint.shapes) - set(found.values()))
    unused = [name for name in unused if not PASSED_OVER.search(name)]
    problems = [
        *(Missing(row, expected[row]) for row in absent if part(row) not in new),
        *(OtherShape(row, expected[row], shape) for row, shape in _other_shapes(checkpoint, expected, found)),
        *(Unexpected(name, checkpoint.shapes[name]) for name in _of_another_encoder(checkpoint, unused, config)),
    ]
    if problems:
        raise InputError(_report(checkpoint, problems))
    return Match(found, new, unused)


class Missing(NamedTuple):
    row: Row
    expected: tuple[int, ...]


class OtherShape(NamedTuple):
    row: Row
    expected: tuple[int, ...]
    found: tuple[int, ...]


class Unexpected(NamedTuple):
    name: str
    found: tuple[int, ...]


def _other_shapes(checkpoint: Checkpoint, expected, found: dict[Row, str]) -> Iterator[tuple[Row, tuple[int, ...]]]:
    for row, name in found.items():
        shape = turned(tuple(checkpoint.shapes[name]), row, checkpoint.format)
        if shape != expected[row]:
            yield row, shape


def _of_another_encoder(checkpoint: Checkpoint, names: list[str], config: BertConfig) -> list[str]:
    """Names inside the encoder that no row has: more layers than the configuration says, or another architecture."""
    known = {name for row in table(config.num_hidden_layers) for name in names_in(row, checkpoint.format)}
    return [name for name in names if _IN_THE_ENCODER.match(name) and name not in known]


_IN_THE_ENCODER = re.compile(r"(bert[./])?(embeddings|encoder)[./]")


def _report(checkpoint: Checkpoint, problems: list) -> str:
    count = f"{len(problems)} problem{'s' if len(problems) > 1 else ''}"
    lines = [f"{checkpoint.path}: the weights do not fit the model ({count})"]
    lines += [f"  {_problem(problem, checkpoint.format)}" for problem in problems]
    return "\n".join([*lines, *(f"what to do: {hint}" for hint in _hints(checkpoint, problems))])


def _problem(problem, file_format: str) -> str:
    """One line, with names and shapes as the file has them."""
    if isinstance(problem, Unexpected):
        return f"unexpected: {problem.name} {list(problem.found)}"
    name = names_in(problem.row, file_format)[0]
    expected = list(turned(problem.expected, problem.row, file_format))
    if isinstance(problem, Missing):
        return f"missing: {name} {expected}"
    found = list(turned(problem.found, problem.row, file_format))
    return f"other shape: {name}: the model needs {expected}, the checkpoint has {found}"


def _hints(checkpoint: Checkpoint, problems: list) -> Iterator[str]:
    misshapen = {problem.row.keras: problem.found for problem in problems if isinstance(problem, OtherShape)}
    if misshapen and set(misshapen) <= _BY_VOCABULARY:
        size = next(iter(misshapen.values()))[0]
        yield f"load it with vocab_size {size}, then call resize_token_embeddings(n) or add_tokens(...)"
    elif misshapen and all(name.startswith("classifier/") for name in misshapen):
        yield "give num_labels as the checkpoint has it, or load the backbone alone and put a new head on it"
    elif misshapen:
        yield "use the configuration file that belongs to this checkpoint"
    if not find(checkpoint, [row for row in table(1) if is_required(row)]):
        some = ", ".join(sorted(checkpoint.shapes)[:3]) or "no names at all"
        yield f"this looks like another model's checkpoint (it holds {some} ...): name a BERT's"
    elif any(not isinstance(problem, OtherShape) for problem in problems):
        yield "compare num_hidden_layers in the configuration with the checkpoint, and see that all its files are there"


_BY_VOCABULARY = {"embeddings/word_embeddings", "masked_lm/output_bias"}


# ------------------------------------------------------------------------------------------------------------------
# Models
# ------------------------------------------------------------------------------------------------------------------


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
    targets, matched = variables(model), match_model(model, checkpoint)
    for row, name in matched.found.items():
        targets[row].assign(read(checkpoint, name, row))
    announce(checkpoint, matched)
    return matched.new


def match_model(model: keras.Model, checkpoint: Checkpoint) -> Match:
    """`match`, with what a model needs."""
    shapes = {row: tuple(variable.shape) for row, variable in variables(model).items()}
    return match(checkpoint, shapes, model.config)


def read(checkpoint: Checkpoint, name: str, row: Row):
    """One weight as Keras has it, to assign: TensorFlow takes over a tensor's memory, the others want NumPy's."""
    values = turned(checkpoint.read(name), row, checkpoint.format)
    return values if keras.backend.backend() == "tensorflow" else np.asarray(values)


def announce(checkpoint: Checkpoint, matched: Match) -> None:
    """Tells on standard error what starts new and what was not used: neither is dropped in silence."""
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
        model = unloaded(cls, config, checkpoint, **kwargs)
        _initialize(model, load_checkpoint(model, checkpoint))
    return model


def unloaded(cls: Callable[..., keras.Model], config: BertConfig, checkpoint: Checkpoint, **kwargs) -> keras.Model:
    """A model for this checkpoint's weights. Those of its backbone hold nothing until they are loaded."""
    if "num_labels" in cls.__init__.__kwdefaults__ and num_labels_in(checkpoint):
        kwargs = {"num_labels": num_labels_in(checkpoint), **kwargs}
    with layers.to_load_over():
        return cls(config, **kwargs)


def _initialize(model: keras.Model, new: list[str]) -> None:
    """Gives the parts that the checkpoint did not have their random start."""
    for row, variable in variables(model).items():
        if part(row) in new and len(variable.shape) == 2:
            variable.assign(layers.initial_values(model.config)(variable.shape))


def num_labels_in(checkpoint: Checkpoint) -> int | None:
    """How many labels the checkpoint's classifier has; `None` where it has none."""
    found = find(checkpoint, [row for row in table(0) if row.keras == "classifier/bias"])
    return next((checkpoint.shapes[name][0] for name in found.values()), None)


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
    found = {row.hf: (row, variable) for row, variable in variables(model).items()}

    def read(name: str):
        row, variable = found[name]
        return turned(keras.ops.convert_to_numpy(variable.value), row, "hf")

    shapes = {hf: turned(tuple(variable.shape), row, "hf") for hf, (row, variable) in found.items()}
    name = type(model).__name__
    config = hf_config(model.config, _ARCHITECTURES.get(name, name), getattr(model, "num_labels", None))
    with files.whole_folder(folder, overwrite=True) as unfinished:
        checkpoint_files.write_safetensors(f"{unfinished}/{checkpoint_files.SAFETENSORS}", shapes, read)
        files.write_json(f"{unfinished}/{checkpoint_files.HF_CONFIG}", config)
        if tokenizer is not None:
            tokenizer.save_pretrained(unfinished)
