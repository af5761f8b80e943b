"""Converts between our backbone and keras-hub's `BertBackbone`, and keras-hub's preset folders.

keras-hub has a separate axis for attention heads ([H, N, D] where ours is [H, H]) and supports only the tanh form of
gelu and epsilon 1e-12; a model that needs another function is refused rather than changed silently.
"""

from collections.abc import Callable, Container
from typing import Any

import keras
import numpy as np

from kobert_tf2.bert.checkpoint_files import Checkpoint
from kobert_tf2.bert.config import BertConfig
from kobert_tf2.bert.models import BertBackbone
from kobert_tf2.bert.pretrained import load_checkpoint, variables
from kobert_tf2.bert.weight_names import Row, is_required, part, table
from kobert_tf2.errors import InputError

# keras-hub's layer for each of ours; the weights in it have the same names.
_BLOCKS = {
    "embeddings/word_embeddings": "token_embedding/embeddings",
    "embeddings/position_embeddings": "position_embedding/embeddings",
    "embeddings/segment_embeddings": "segment_embedding/embeddings",
    "embeddings/norm": "embeddings_layer_norm",
    "pooler/dense": "pooled_dense",
}
_ENCODER_LAYER = {
    "query": "self_attention_layer/query",
    "key": "self_attention_layer/key",
    "value": "self_attention_layer/value",
    "attention_output": "self_attention_layer/attention_output",
    "attention_norm": "self_attention_layer_norm",
    "intermediate": "feedforward_intermediate_dense",
    "output": "feedforward_output_dense",
    "output_norm": "feedforward_layer_norm",
}


def _path_in_keras_hub(row: Row) -> str:
    if row.keras in _BLOCKS:
        return _BLOCKS[row.keras]
    layer, _, weight = row.keras.rpartition("/")
    if layer in _BLOCKS:
        return f"{_BLOCKS[layer]}/{weight}"
    block, name = layer.split("/")
    return f"{block.replace('encoder', 'transformer')}/{_ENCODER_LAYER[name]}/{weight}"


def _rows(config: BertConfig) -> list[Row]:
    """The weights of keras-hub's backbone: with the pooler, without heads."""
    return [row for row in table(config.num_hidden_layers) if is_required(row) or part(row) == "pooler"]


def config_of(theirs: keras.Model) -> BertConfig:
    """The configuration of a keras-hub `BertBackbone`."""
    return BertConfig(
        vocab_size=theirs.vocabulary_size,
        hidden_size=theirs.hidden_dim,
        num_hidden_layers=theirs.num_layers,
        num_attention_heads=theirs.num_heads,
        intermediate_size=theirs.intermediate_dim,
        hidden_act="gelu_new",
        hidden_dropout_prob=theirs.dropout,
        attention_probs_dropout_prob=theirs.dropout,
        max_position_embeddings=theirs.max_sequence_length,
        type_vocab_size=theirs.num_segments,
    )


def _checkpoint(theirs: keras.Model, name: str) -> Checkpoint:
    """A keras-hub backbone as a checkpoint with our names and shapes."""
    config = config_of(theirs)
    paths = {variable.path: variable for variable in theirs.weights}
    found = {row.keras: paths[_path_in_keras_hub(row)] for row in _rows(config)}
    shapes = {path: _joined(path, tuple(variable.shape)) for path, variable in found.items()}
    return Checkpoint(name, "keras", shapes, lambda path: _to_numpy(found[path]).reshape(shapes[path]))


def _joined(path: str, shape: tuple[int, ...]) -> tuple[int, ...]:
    """A shape with the two axes of the attention heads merged."""
    if path.endswith("attention_output/kernel"):
        return (shape[0] * shape[1], shape[2])
    attention = path.split("/")[-2] in ("query", "key", "value")
    return (*shape[:-2], shape[-2] * shape[-1]) if attention else shape


def _to_numpy(variable: keras.Variable) -> np.ndarray:
    return keras.ops.convert_to_numpy(variable.value)


def from_keras_hub(theirs: keras.Model, **kwargs: Any) -> BertBackbone:
    """Our backbone with the weights of a keras-hub `BertBackbone`; `kwargs` go to the constructor."""
    ours = BertBackbone(config_of(theirs), **kwargs)
    load_checkpoint(ours, _checkpoint(theirs, theirs.name))
    return ours


def to_keras_hub(model: keras.Model) -> keras.Model:
    """A keras-hub `BertBackbone` with the weights of one of our models, without its head."""
    ours = variables(model)
    return _built(model.config, ours, lambda row: _to_numpy(ours[row]))


def _built(config: BertConfig, ours: Container[Row], read: Callable[[Row], np.ndarray]) -> keras.Model:
    """A keras-hub model with the weights named in `ours`, each read when it is assigned."""
    from keras_hub.models import BertBackbone as Theirs

    _refuse_other_functions(config)
    theirs = Theirs(
        vocabulary_size=config.vocab_size,
        num_layers=config.num_hidden_layers,
        num_heads=config.num_attention_heads,
        hidden_dim=config.hidden_size,
        intermediate_dim=config.intermediate_size,
        dropout=config.hidden_dropout_prob,
        max_sequence_length=config.max_position_embeddings,
        num_segments=config.type_vocab_size,
    )
    paths = {variable.path: variable for variable in theirs.weights}
    for row in _rows(config):
        if row not in ours:
            raise InputError(f"keras-hub's BertBackbone has a pooler, but this model lacks {row.keras}")
        variable = paths[_path_in_keras_hub(row)]
        variable.assign(np.reshape(read(row), variable.shape))
    return theirs


def _refuse_other_functions(config: BertConfig) -> None:
    if config.hidden_act not in ("gelu_new", "gelu_pytorch_tanh"):
        raise InputError(
            f"keras-hub's BertBackbone computes the tanh form of gelu alone, but this model has hidden_act="
            f"{config.hidden_act!r}: it would answer differently there"
        )
    if config.layer_norm_eps != 1e-12:
        raise InputError(
            f"keras-hub's BertBackbone has layer_norm_eps 1e-12, but this model {config.layer_norm_eps}: it would "
            "answer differently there"
        )
    if config.hidden_dropout_prob != config.attention_probs_dropout_prob:
        raise InputError(
            "keras-hub's BertBackbone has one dropout rate, but this model has hidden_dropout_prob="
            f"{config.hidden_dropout_prob} and attention_probs_dropout_prob={config.attention_probs_dropout_prob}"
        )


# ------------------------------------------------------------------------------------------------------------------
# Preset folders
# ------------------------------------------------------------------------------------------------------------------


def _load_preset(folder: str) -> keras.Model:
    from keras_hub.models import BertBackbone as Theirs

    try:
        return Theirs.from_preset(folder)
    except Exception as error:
        first = (str(error).splitlines() or [type(error).__name__])[0]
        raise InputError(f"{folder}: keras-hub cannot load it as a BertBackbone ({first})") from None


def open_preset(folder: str) -> tuple[BertConfig, Checkpoint]:
    """The configuration and the weights of a preset folder."""
    theirs = _load_preset(folder)
    return config_of(theirs), _checkpoint(theirs, folder)


def from_preset(folder: str, **kwargs: Any) -> BertBackbone:
    return from_keras_hub(_load_preset(folder), **kwargs)


def save_preset(folder: str, config: BertConfig, ours: Container[Row], read: Callable[[Row], np.ndarray]) -> None:
    """Writes keras-hub's preset files into `folder`, for `keras_hub.models.BertBackbone.from_preset(folder)`."""
    _built(config, ours, read).save_to_preset(folder)


def answers(folder: str, batch: dict) -> dict[str, np.ndarray]:
    """The outputs of the keras-hub backbone in a preset folder for one of our batches."""
    inputs = {
        "token_ids": batch["input_ids"],
        "segment_ids": batch["segment_ids"],
        "padding_mask": batch["input_mask"],
    }
    return {name: keras.ops.convert_to_numpy(values) for name, values in _load_preset(folder)(inputs).items()}


def version() -> str:
    import keras_hub

    return keras_hub.__version__
