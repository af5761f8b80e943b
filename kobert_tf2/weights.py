"""One table of weight names, and what it drives: loading, saving and converting BERT in every format.

The table's four columns say where a weight is in a Keras model of `modeling.py`, in a TF1 checkpoint of the original
scripts, in a Hugging Face file, and how the other two lay it out. Files are opened and written by `weight_files.py`;
nothing here knows a file format.
"""

import re
import sys
from collections.abc import Callable, Iterable
from typing import NamedTuple

import keras
import numpy as np

from kobert_tf2 import files, weight_files
from kobert_tf2.errors import InputError
from kobert_tf2.modeling import BertConfig
from kobert_tf2.weight_files import Checkpoint


class Row(NamedTuple):
    keras: str
    tf1: str
    hf: str
    transposed: str = ""  # the formats that hold it the other way round: "hf", or "hf tf1"


class Block(NamedTuple):
    keras: str
    tf1: str
    hf: str
    rows: tuple[Row, ...]


TABLE = (
    Block("embeddings", "bert/embeddings", "bert.embeddings", (
        Row("word_embeddings", "word_embeddings", "word_embeddings.weight"),
        Row("position_embeddings", "position_embeddings", "position_embeddings.weight"),
        Row("segment_embeddings", "token_type_embeddings", "token_type_embeddings.weight"),
        Row("norm/gamma", "LayerNorm/gamma", "LayerNorm.weight"),
        Row("norm/beta", "LayerNorm/beta", "LayerNorm.bias"),
    )),
    Block("encoder_layer_{i}", "bert/encoder/layer_{i}", "bert.encoder.layer.{i}", (
        Row("query/kernel", "attention/self/query/kernel", "attention.self.query.weight", "hf"),
        Row("query/bias", "attention/self/query/bias", "attention.self.query.bias"),
        Row("key/kernel", "attention/self/key/kernel", "attention.self.key.weight", "hf"),
        Row("key/bias", "attention/self/key/bias", "attention.self.key.bias"),
        Row("value/kernel", "attention/self/value/kernel", "attention.self.value.weight", "hf"),
        Row("value/bias", "attention/self/value/bias", "attention.self.value.bias"),
        Row("attention_output/kernel", "attention/output/dense/kernel", "attention.output.dense.weight", "hf"),
        Row("attention_output/bias", "attention/output/dense/bias", "attention.output.dense.bias"),
        Row("attention_norm/gamma", "attention/output/LayerNorm/gamma", "attention.output.LayerNorm.weight"),
        Row("attention_norm/beta", "attention/output/LayerNorm/beta", "attention.output.LayerNorm.bias"),
        Row("intermediate/kernel", "intermediate/dense/kernel", "intermediate.dense.weight", "hf"),
        Row("intermediate/bias", "intermediate/dense/bias", "intermediate.dense.bias"),
        Row("output/kernel", "output/dense/kernel", "output.dense.weight", "hf"),
        Row("output/bias", "output/dense/bias", "output.dense.bias"),
        Row("output_norm/gamma", "output/LayerNorm/gamma", "output.LayerNorm.weight"),
        Row("output_norm/beta", "output/LayerNorm/beta", "output.LayerNorm.bias"),
    )),
    Block("pooler", "bert/pooler", "bert.pooler", (
        Row("dense/kernel", "dense/kernel", "dense.weight", "hf"),
        Row("dense/bias", "dense/bias", "dense.bias"),
    )),
    Block("masked_lm", "cls/predictions", "cls.predictions", (
        Row("transform/kernel", "transform/dense/kernel", "transform.dense.weight", "hf"),
        Row("transform/bias", "transform/dense/bias", "transform.dense.bias"),
        Row("norm/gamma", "transform/LayerNorm/gamma", "transform.LayerNorm.weight"),
        Row("norm/beta", "transform/LayerNorm/beta", "transform.LayerNorm.bias"),
        Row("output_bias", "output_bias", "bias"),
    )),
    Block("next_sentence", "cls/seq_relationship", "cls.seq_relationship", (
        Row("kernel", "output_weights", "weight", "hf tf1"),
        Row("bias", "output_bias", "bias"),
    )),
    Block("span", "cls/squad", "qa_outputs", (
        Row("kernel", "output_weights", "weight", "hf tf1"),
        Row("bias", "output_bias", "bias"),
    )),
    Block("classifier", "", "classifier", (
        Row("kernel", "output_weights", "weight", "hf tf1"),
        Row("bias", "output_bias", "bias"),
    )),
)  # fmt: skip


def table(num_hidden_layers: int) -> list[Row]:
    """Every weight that any of our models of this depth can have, under its full names."""
    return [
        row
        for block in TABLE
        for i in (range(num_hidden_layers) if "{i}" in block.keras else [0])
        for row in _full_names(block, i)
    ]


def _full_names(block: Block, i: int) -> list[Row]:
    return [
        Row(
            f"{block.keras}/{row.keras}".format(i=i),
            f"{block.tf1}/{row.tf1}".lstrip("/").format(i=i),
            f"{block.hf}.{row.hf}".format(i=i),
            row.transposed,
        )
        for row in block.rows
    ]


# What a checkpoint holds beside weights, or twice: passed over in silence.
_PASSED_OVER = re.compile(
    "|".join([
        r"/(adam|adamw|lamb)_[mv]$",
        r"/(Adam|Adam_1|Momentum|ExponentialMovingAverage)$",
        r"(^|/)(global_step|beta[12]_power|loss_scale|current_loss_scale|good_steps)$",
        r"position_ids$",
        r"^cls\.predictions\.decoder\.(weight|bias)$",
    ])
)  # fmt: skip


def _is_backbone(row: Row) -> bool:
    return row.tf1.startswith("bert/") and not row.keras.startswith("pooler/")


def _part(row: Row) -> str:
    """The part of a model that is either all there or new: `masked_lm`, `span`, `pooler` ..."""
    return row.keras.split("/")[0]


def names_in(row: Row, file_format: str) -> list[str]:
    """The names under which a file may hold this weight; the first is the one that we write."""
    if file_format == "tf1":
        return [row.tf1]
    names = [row.hf, row.hf.removeprefix("bert.")]
    if "LayerNorm" in row.hf:
        names += [re.sub("weight$", "gamma", re.sub("bias$", "beta", name)) for name in names]
    if row.hf == "cls.predictions.bias":
        names.append("cls.predictions.decoder.bias")
    return list(dict.fromkeys(names))


def is_transposed(row: Row, file_format: str) -> bool:
    return file_format in row.transposed.split()


# ------------------------------------------------------------------------------------------------------------------
# Matching a checkpoint with what a model needs
# ------------------------------------------------------------------------------------------------------------------


class Match(NamedTuple):
    found: dict[Row, str]  # the name in the checkpoint
    new: list[str]  # parts of the model that the checkpoint does not have
    unused: list[str]  # names in the checkpoint that the model has no place for


def shape_in_keras(checkpoint: Checkpoint, row: Row, name: str) -> tuple[int, ...]:
    shape = tuple(checkpoint.shapes[name])
    return shape[::-1] if is_transposed(row, checkpoint.format) else shape


def find(checkpoint: Checkpoint, rows: Iterable[Row]) -> dict[Row, str]:
    """Which of the checkpoint's names holds which weight."""
    found = {}
    for row in rows:
        name = next((name for name in names_in(row, checkpoint.format) if name in checkpoint.shapes), None)
        if name is not None:
            found[row] = name
    return found


def match(checkpoint: Checkpoint, expected: dict[Row, tuple[int, ...]], num_hidden_layers: int) -> Match:
    """Pairs the weights of a model, `expected` with their shapes, with the checkpoint's.

    All problems together are one `InputError`.
    """
    found = find(checkpoint, expected)
    absent = [row for row in expected if row not in found]
    new = sorted({_part(row) for row in absent if not _is_backbone(row)} - {_part(row) for row in found})
    missing = [row for row in absent if _part(row) not in new]
    misshapen = {
        row: shape_in_keras(checkpoint, row, name)
        for row, name in found.items()
        if shape_in_keras(checkpoint, row, name) != expected[row]
    }
    surplus = _surplus(checkpoint, set(found.values()))
    foreign = _foreign_encoder_names(checkpoint, surplus, num_hidden_layers)
    if missing or misshapen or foreign:
        raise InputError(_report(checkpoint, expected, missing, misshapen, foreign))
    return Match(found, new, surplus)


def _surplus(checkpoint: Checkpoint, used: set[str]) -> list[str]:
    return sorted(name for name in checkpoint.shapes if name not in used and not _PASSED_OVER.search(name))


def _foreign_encoder_names(checkpoint: Checkpoint, names: list[str], num_hidden_layers: int) -> list[str]:
    """Names of the encoder that no row has: more layers than the configuration says, or another architecture."""
    known = {name for row in table(num_hidden_layers) for name in names_in(row, checkpoint.format)}
    inside = re.compile(r"^(bert[./])?(embeddings|encoder)[./]")
    return [name for name in names if inside.search(name) and name not in known]


def _report(checkpoint: Checkpoint, expected, missing, misshapen, foreign) -> str:
    count = len(missing) + len(misshapen) + len(foreign)
    lines = [f"{checkpoint.path}: the weights do not fit the model ({count} problem{'s' * (count > 1)})"]
    for row in missing:
        name = names_in(row, checkpoint.format)[0]
        lines.append(f"  missing: {name}, expected with the shape {_in_file(row, expected[row], checkpoint)}")
    for row, shape in misshapen.items():
        name = names_in(row, checkpoint.format)[0]
        expectation = f"expected {_in_file(row, expected[row], checkpoint)}"
        lines.append(f"  other shape: {name}, {expectation}, but found {_in_file(row, shape, checkpoint)}")
    for name in foreign:
        lines.append(f"  unexpected: {name}, shape {list(checkpoint.shapes[name])}")
    return "\n".join([*lines, *(f"what to do: {hint}" for hint in _hints(checkpoint, missing, misshapen, foreign))])


def _in_file(row: Row, shape: tuple[int, ...], checkpoint: Checkpoint) -> list[int]:
    return list(shape[::-1] if is_transposed(row, checkpoint.format) else shape)


def _hints(checkpoint: Checkpoint, missing, misshapen, foreign) -> Iterable[str]:
    if misshapen and {row.keras for row in misshapen} <= {"embeddings/word_embeddings", "masked_lm/output_bias"}:
        rows = next(iter(misshapen.values()))[0]
        yield f"load it with vocab_size {rows}, then call resize_token_embeddings or add_tokens"
    elif any(_part(row) == "classifier" for row in misshapen):
        yield "give num_labels as the checkpoint has it, or load the backbone alone and put a new head on it"
    elif misshapen:
        yield f"use the configuration file that belongs to {checkpoint.path}"
    if len(missing) > 5 and not any(_is_backbone(row) for row in find(checkpoint, table(1))):
        some = ", ".join(sorted(checkpoint.shapes)[:3])
        yield f"this looks like another model's checkpoint (it begins with {some}): a BERT is needed"
    elif missing or foreign:
        yield "check num_hidden_layers in the configuration, and that every file of the checkpoint is there"


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
    with weight_files.open_checkpoint(path, allow_pickle=allow_pickle) as checkpoint:
        return _load(model, checkpoint)


def _load(model: keras.Model, checkpoint: Checkpoint) -> list[str]:
    targets = variables(model)
    matched = match(
        checkpoint, {row: tuple(target.shape) for row, target in targets.items()}, model.config.num_hidden_layers
    )
    for row, name in matched.found.items():
        targets[row].assign(_oriented(checkpoint.read(name), row, checkpoint.format))
    _announce(checkpoint, matched)
    return matched.new


def _oriented(array: np.ndarray, row: Row, file_format: str) -> np.ndarray:
    """An array from Keras' layout to a file's, or back: the same turn both ways."""
    return np.ascontiguousarray(array.T) if is_transposed(row, file_format) else array


def _announce(checkpoint: Checkpoint, matched: Match) -> None:
    for part in matched.new:
        print(f"{checkpoint.path} has no weights for {part!r}: it starts new and needs training", file=sys.stderr)
    if matched.unused:
        shown = ", ".join(matched.unused[:8]) + (" ..." if len(matched.unused) > 8 else "")
        print(f"{checkpoint.path}: {len(matched.unused)} weights were not used: {shown}", file=sys.stderr)


def read_config(path: str) -> BertConfig:
    """The configuration of a model directory, a TF1 checkpoint or a hub id."""
    return _config_in(weight_files.find_source(path))


def _config_in(source: weight_files.Source) -> BertConfig:
    read = BertConfig.from_google_json if source.format == "tf1" else BertConfig.from_json
    return read(source.config)


def from_pretrained(
    cls: Callable[..., keras.Model],
    path: str,
    *,
    config: BertConfig | None = None,
    allow_pickle: bool = False,
    **kwargs,
) -> keras.Model:
    """A model of class `cls` with the weights at `path`; `config` stands in for the one beside the weights."""
    source = weight_files.find_source(path)
    config = config or _config_in(source)
    with weight_files.open_source(source, allow_pickle=allow_pickle) as checkpoint:
        if "num_labels" in cls.__init__.__kwdefaults__ and "num_labels" not in kwargs:
            kwargs.update(_num_labels(checkpoint))
        model = cls(config, **kwargs)
        _load(model, checkpoint)
    return model


def _num_labels(checkpoint: Checkpoint) -> dict[str, int]:
    bias = next(row for row in table(0) if row.keras == "classifier/bias")
    found = find(checkpoint, [bias])
    return {"num_labels": checkpoint.shapes[found[bias]][0]} if found else {}


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
    arrays = {
        row.hf: _oriented(keras.ops.convert_to_numpy(variable.value), row, "hf")
        for row, variable in variables(model).items()
    }
    name = type(model).__name__
    config = hf_config(model.config, _ARCHITECTURES.get(name, name), getattr(model, "num_labels", None))
    with files.whole_folder(folder, overwrite=True) as unfinished:
        weight_files.write_safetensors(f"{unfinished}/{weight_files.SAFETENSORS}", arrays)
        files.write_json(f"{unfinished}/{weight_files.HF_CONFIG}", config)
        if tokenizer is not None:
            tokenizer.save_pretrained(unfinished)
