"""The forward pass of a checkpoint with the weights of one layer at a time in memory.

A comparison needs the outputs of a model once; loading all of a BERT-base would take twice the memory. Each weight is
read when the layer that uses it is called, and released afterwards.
"""

import functools
from collections.abc import Callable, Iterable
from typing import Any

import keras
import numpy as np

from kobert_tf2.bert import checkpoint_files, heads, matching, pretrained
from kobert_tf2.bert.checkpoint_files import Source
from kobert_tf2.bert.config import BertConfig
from kobert_tf2.bert.matching import Contents
from kobert_tf2.bert.weight_names import Row, part


def forward(
    cls: Callable[..., keras.Model], source: Source, batch: dict, *, allow_pickle: bool = False
) -> dict[str, np.ndarray]:
    """The outputs of a model of class `cls` with the weights of `source`, equal to `from_pretrained(path)(batch)`.

    Outputs of parts that the checkpoint does not have are omitted.
    """
    with checkpoint_files.open_source(source, allow_pickle=allow_pickle) as checkpoint:
        config = BertConfig.from_source(source)
        contents = matching.scan(checkpoint, config)
        model = pretrained.uninitialized(cls, pretrained.as_tied(config, contents), contents)
        _load_when_called(model, contents)
        return {
            name: np.asarray(values)
            for name, values in model(batch).items()
            if contents.parts.issuperset(heads.OUTPUTS.get(name, ()))
        }


def _load_when_called(model: keras.Model, contents: Contents) -> None:
    found = pretrained.match_model(model, contents).found
    variables = pretrained.variables(model)
    _give_back(variables[row] for row in found)
    for layer in _layers(model):
        uses = {row: variables[row] for row in found if _uses(layer.name, row)}
        _around_call(
            layer,
            before=functools.partial(_load, uses, contents),
            after=functools.partial(_give_back, uses.values()),
        )


def _layers(model: keras.Model) -> list[keras.layers.Layer]:
    """The layers of the backbone and of the heads: their names are the parts of the table of weights."""
    parts = (model, getattr(model, "backbone", model))
    return list({id(layer): layer for owner in parts for layer in owner.layers}.values())


def _uses(layer: str, row: Row) -> bool:
    """The masked-LM head uses the word embeddings, unless it has a decoder of its own."""
    return part(row) == layer or (layer == "masked_lm" and row.keras == "embeddings/word_embeddings")


def _around_call(layer: keras.layers.Layer, *, before: Callable[[], None], after: Callable[[], None]) -> None:
    call = layer.call

    @functools.wraps(call)
    def with_weights(*args: Any, **kwargs: Any) -> Any:
        before()
        try:
            return call(*args, **kwargs)
        finally:
            after()

    layer.call = with_weights


def _load(uses: dict[Row, keras.Variable], contents: Contents) -> None:
    for row, variable in uses.items():
        _put(variable, pretrained.read(contents, row))


def _give_back(variables: Iterable[keras.Variable]) -> None:
    """Only TensorFlow's variables can be emptied; elsewhere the weights stay in memory."""
    if keras.backend.backend() == "tensorflow":
        for variable in variables:
            _put(variable, np.zeros(0, variable.dtype))


def _put(variable: keras.Variable, values: Any) -> None:
    """Assigns values of any shape, an empty one to release memory; `match_model` has checked the others."""
    if keras.backend.backend() != "tensorflow":
        variable.assign(values)
        return
    import tensorflow as tf

    tensor = keras.ops.convert_to_tensor(values, variable.dtype)
    tf.raw_ops.AssignVariableOp(resource=variable.value.handle, value=tensor)
