"""The table of weight names: the name of every weight of BERT in Keras, in TF1 and in Hugging Face files.

Loading, saving and converting all use it. The prefix of each block is written once: the weight "query/kernel" of
"encoder_layer_{i}" is `encoder_layer_0/query/kernel` in `models.py`, `bert/encoder/layer_0/attention/self/query/kernel`
in a TF1 checkpoint, and in a Hugging Face file, transposed, `bert.encoder.layer.0.attention.self.query.weight`.
"""

import re
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np

from kobert_tf2.bert.config import BertConfig


class Row(NamedTuple):
    keras: str
    shape: str  # in Keras: V vocabulary, H hidden, P positions, T segments, I intermediate, L labels
    tf1: str  # "" where TF1 has no place for it
    hf: str
    transposed: str = ""  # the formats that hold its transpose: "hf", or "hf tf1"
    tied_to: str = ""  # the Keras weight that it is tied to, unless a checkpoint has a separate one


class Block(NamedTuple):
    keras: str
    tf1: str
    hf: str
    rows: tuple[Row, ...]


TABLE = (
    Block("embeddings", "bert/embeddings", "bert.embeddings", (
        Row("word_embeddings", "V H", "word_embeddings", "word_embeddings.weight"),
        Row("position_embeddings", "P H", "position_embeddings", "position_embeddings.weight"),
        Row("segment_embeddings", "T H", "token_type_embeddings", "token_type_embeddings.weight"),
        Row("norm/gamma", "H", "LayerNorm/gamma", "LayerNorm.weight"),
        Row("norm/beta", "H", "LayerNorm/beta", "LayerNorm.bias"),
    )),
    Block("encoder_layer_{i}", "bert/encoder/layer_{i}", "bert.encoder.layer.{i}", (
        Row("query/kernel", "H H", "attention/self/query/kernel", "attention.self.query.weight", "hf"),
        Row("query/bias", "H", "attention/self/query/bias", "attention.self.query.bias"),
        Row("key/kernel", "H H", "attention/self/key/kernel", "attention.self.key.weight", "hf"),
        Row("key/bias", "H", "attention/self/key/bias", "attention.self.key.bias"),
        Row("value/kernel", "H H", "attention/self/value/kernel", "attention.self.value.weight", "hf"),
        Row("value/bias", "H", "attention/self/value/bias", "attention.self.value.bias"),
        Row("attention_output/kernel", "H H", "attention/output/dense/kernel", "attention.output.dense.weight", "hf"),
        Row("attention_output/bias", "H", "attention/output/dense/bias", "attention.output.dense.bias"),
        Row("attention_norm/gamma", "H", "attention/output/LayerNorm/gamma", "attention.output.LayerNorm.weight"),
        Row("attention_norm/beta", "H", "attention/output/LayerNorm/beta", "attention.output.LayerNorm.bias"),
        Row("intermediate/kernel", "H I", "intermediate/dense/kernel", "intermediate.dense.weight", "hf"),
        Row("intermediate/bias", "I", "intermediate/dense/bias", "intermediate.dense.bias"),
        Row("output/kernel", "I H", "output/dense/kernel", "output.dense.weight", "hf"),
        Row("output/bias", "H", "output/dense/bias", "output.dense.bias"),
        Row("output_norm/gamma", "H", "output/LayerNorm/gamma", "output.LayerNorm.weight"),
        Row("output_norm/beta", "H", "output/LayerNorm/beta", "output.LayerNorm.bias"),
    )),
    Block("pooler", "bert/pooler", "bert.pooler", (
        Row("dense/kernel", "H H", "dense/kernel", "dense.weight", "hf"),
        Row("dense/bias", "H", "dense/bias", "dense.bias"),
    )),
    Block("masked_lm", "cls/predictions", "cls.predictions", (
        Row("transform/kernel", "H H", "transform/dense/kernel", "transform.dense.weight", "hf"),
        Row("transform/bias", "H", "transform/dense/bias", "transform.dense.bias"),
        Row("norm/gamma", "H", "transform/LayerNorm/gamma", "transform.LayerNorm.weight"),
        Row("norm/beta", "H", "transform/LayerNorm/beta", "transform.LayerNorm.bias"),
        Row("output_bias", "V", "output_bias", "bias"),
        Row("decoder", "V H", "", "decoder.weight", tied_to="embeddings/word_embeddings"),
    )),
    Block("next_sentence", "cls/seq_relationship", "cls.seq_relationship", (
        Row("kernel", "H 2", "output_weights", "weight", "hf tf1"),
        Row("bias", "2", "output_bias", "bias"),
    )),
    Block("span", "cls/squad", "qa_outputs", (
        Row("kernel", "H 2", "output_weights", "weight", "hf tf1"),
        Row("bias", "2", "output_bias", "bias"),
    )),
    Block("classifier", "", "classifier", (
        Row("kernel", "H L", "output_weights", "weight", "hf tf1"),
        Row("bias", "L", "output_bias", "bias"),
    )),
)  # fmt: skip


def table(num_hidden_layers: int) -> list[Row]:
    """Every weight that a model of this depth can have, with its full names."""
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
            row.shape,
            f"{block.tf1}/{row.tf1}".lstrip("/").format(i=i) if row.tf1 else "",
            f"{block.hf}.{row.hf}".format(i=i),
            row.transposed,
            row.tied_to,
        )
        for row in block.rows
    ]


_WORD_EMBEDDINGS = next(row for row in table(0) if row.keras == "embeddings/word_embeddings")

# Entries of a checkpoint that are not weights.
_IGNORED = re.compile(
    "|".join([
        r"/(adam|adamw|lamb)_[mv]$",
        r"/(Adam|Adam_1|Momentum|ExponentialMovingAverage)$",
        r"(^|/)(global_step|beta[12]_power|loss_scale|current_loss_scale|good_steps)$",
        r"^(bert\.)?embeddings\.(position_ids|token_type_ids)$",
    ])
)  # fmt: skip
_IN_THE_ENCODER = re.compile(r"(bert[./])?(embeddings|encoder)[./]")


def is_ignored(name: str) -> bool:
    """Whether a name in a checkpoint is not a weight: optimizer state, a counter, or a constant buffer."""
    return _IGNORED.search(name) is not None


def is_in_the_encoder(name: str) -> bool:
    """Whether a name in a checkpoint belongs to the embeddings or the encoder, for any number of layers."""
    return _IN_THE_ENCODER.match(name) is not None


def prefix_of_all(names: Iterable[str], file_format: str) -> str:
    """The prefix that a wrapper put before BERT's own names (`module.`, `model.`, `bert.bert.`), or "".

    Every BERT has one table of word embeddings, whose name shows where BERT's own names begin.
    """
    known = names_in(_WORD_EMBEDDINGS, file_format)
    separator = "." if file_format == "hf" else "/"
    prefixes = set()
    for name in names:
        if name in known:
            return ""
        ending = next((own for own in known if name.endswith(separator + own)), None)
        if ending:
            prefixes.add(name.removesuffix(ending))
    only = prefixes.pop() if len(prefixes) == 1 else ""
    return "" if _OTHER_FAMILIES.search(only) else only


# Models with BERT's names but another function: positions that start at 2, shared layers, other embeddings.
_OTHER_FAMILIES = re.compile(
    r"(?i)roberta|electra|albert|distil|deberta|xlm|camembert|mpnet|layoutlm|longformer|ernie|funnel|convbert|"
    r"squeezebert|mobilebert|splinter|data2vec|megatron|nezha|roformer|rembert|luke|tapas|bigbird|big_bird|esm|"
    r"markuplm|lilt|visual|vilt|clip|decoder|generator"
)


def is_required(row: Row) -> bool:
    """Whether every BERT checkpoint must have this weight; the pooler and the heads may be new."""
    return part(row) == "embeddings" or part(row).startswith("encoder_layer_")


def part(row: Row) -> str:
    """The part that a weight belongs to (`masked_lm`, `span`, `pooler` ...); a part is loaded entirely or is new."""
    return row.keras.split("/")[0]


def has_vocabulary_axis(row: Row) -> bool:
    """Whether the first axis, in Keras' layout, is the vocabulary."""
    return row.shape.startswith("V")


def has_label_axis(row: Row) -> bool:
    """Whether the last axis, in Keras' layout, is the labels of a classifier."""
    return row.shape.endswith("L")


def names_in(row: Row, file_format: str) -> list[str]:
    """The names that this weight may have in a file, the preferred one first.

    The names that we write are `row.hf` and `row.tf1`.
    """
    if file_format in ("tf1", "keras"):
        return [name] if (name := getattr(row, file_format)) else []
    names = [row.hf, row.hf.removeprefix("bert.")]
    if "LayerNorm" in row.hf:
        names += [re.sub("weight$", "gamma", re.sub("bias$", "beta", name)) for name in names]
    if row.hf == "cls.predictions.bias":  # The decoder's is the one that transformers adds, if there are two.
        names.insert(0, "cls.predictions.decoder.bias")
    return list(dict.fromkeys(names))


def names_to_write(rows: Iterable[Row]) -> dict[str, Row]:
    """The names of a Hugging Face file for these weights.

    The bias of an untied decoder is written twice: `transformers` 5 reads it under the decoder's name, 4 under the
    head's.
    """
    names = {row.hf: row for row in rows}
    if "cls.predictions.decoder.weight" in names:
        names["cls.predictions.decoder.bias"] = names["cls.predictions.bias"]
    return names


def keras_shape(row: Row, config: BertConfig, num_labels: int = 2) -> tuple[int, ...]:
    """The shape of a weight in a Keras model of this configuration."""
    sizes = {
        "V": config.vocab_size,
        "H": config.hidden_size,
        "P": config.max_position_embeddings,
        "T": config.type_vocab_size,
        "I": config.intermediate_size,
        "L": num_labels,
        "2": 2,
    }
    return tuple(sizes[letter] for letter in row.shape.split())


def transpose(values: Any, row: Row, *, source: str, target: str) -> Any:
    """Converts an array, or a shape (a tuple), from the layout of one format to that of another.

    Formats are "keras", "tf1" and "hf". Most weights have the same layout in all three and are returned unchanged.
    """
    if (source in row.transposed.split()) == (target in row.transposed.split()):
        return values
    return values[::-1] if isinstance(values, tuple) else np.ascontiguousarray(np.asarray(values).T)
