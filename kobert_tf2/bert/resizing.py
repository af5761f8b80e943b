"""Resizes the vocabulary of a trained model: embeddings and output bias change together.

The shape of a Keras weight is fixed, so both functions return a new model and do not change the old one.
"""

import dataclasses
from collections.abc import Iterable
from typing import Any

import keras
import numpy as np

from kobert_tf2.bert.pretrained import keep_task_settings, mark_new, new_parts, task_settings, variables
from kobert_tf2.bert.weight_names import has_vocabulary_axis


def resize_token_embeddings(model: keras.Model, vocab_size: int) -> keras.Model:
    """The same model with `vocab_size` words: the first ones are kept, additional ones are initialised as in a new
    model.
    """
    config = dataclasses.replace(model.config, vocab_size=vocab_size)
    resized = type(model).from_config({**model.get_config(), "config": config.to_dict()})
    old = variables(model)
    for row, variable in variables(resized).items():
        values = keras.ops.convert_to_numpy(old[row].value)
        if has_vocabulary_axis(row):
            start = keras.ops.convert_to_numpy(variable.value)
            values = np.concatenate([values[:vocab_size], start[len(values) :]])
        variable.assign(values)
    mark_new(resized, new_parts(model))
    keep_task_settings(resized, task_settings(model))
    return resized


def add_tokens(model: keras.Model, tokenizer: Any, pieces: Iterable[str]) -> tuple[keras.Model, object]:
    """A model and a tokenizer with additional `pieces`; each starts as the mean of the pieces that it was split into
    before.

    See `Tokenizer.with_pieces` for what a piece is. The model grows only if it has no spare rows.
    """
    larger, replaced = tokenizer.with_pieces(pieces)
    grown = resize_token_embeddings(model, max(model.config.vocab_size, len(larger.vocab)))
    for row, variable in variables(grown).items():
        if has_vocabulary_axis(row):
            values = np.array(keras.ops.convert_to_numpy(variable.value))
            for new, ids in replaced.items():
                values[new] = values[ids].mean(axis=0)
            variable.assign(values)
    mark_new(grown, new_parts(model))
    return grown, larger
