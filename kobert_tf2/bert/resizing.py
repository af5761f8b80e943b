"""A vocabulary that grows or shrinks under a trained model: embedding and output bias change together.

A Keras weight cannot change its shape, so both functions give a new model and leave the old one as it was.
"""

import dataclasses
from collections.abc import Iterable

import keras
import numpy as np

from kobert_tf2.bert.pretrained import variables
from kobert_tf2.bert.weight_names import Row
from kobert_tf2.errors import InputError
from kobert_tf2.tokenization.wordpiece import WordPiece


def resize_token_embeddings(model: keras.Model, vocab_size: int) -> keras.Model:
    """The same model with `vocab_size` words: the first ones are kept, new ones start as in a new model."""
    config = dataclasses.replace(model.config, vocab_size=vocab_size)
    resized = type(model).from_config({**model.get_config(), "config": config.to_dict()})
    old = variables(model)
    for row, variable in variables(resized).items():
        values = keras.ops.convert_to_numpy(old[row].value)
        if _has_a_row_per_word(row):
            start = keras.ops.convert_to_numpy(variable.value)
            values = np.concatenate([values[:vocab_size], start[len(values) :]])
        variable.assign(values)
    return resized


def _has_a_row_per_word(row: Row) -> bool:
    return row.shape.startswith("V")


def add_tokens(model: keras.Model, tokenizer, pieces: Iterable[str]) -> tuple[keras.Model, object]:
    """A model and a tokenizer that know `pieces` too, each as the mean of what it was cut into before.

    A piece is a word as `tokenizer.vocab` would hold it, ## included where it continues a word. Pieces that the
    vocabulary has already are passed over. The new ones come after the last entry of the vocabulary; the model grows
    only where it has no spare rows left.
    """
    new = [piece for piece in dict.fromkeys(pieces) if piece not in tokenizer.vocab]
    for piece in new:
        if not piece.removeprefix("##") or any(character.isspace() for character in piece):
            raise InputError(f"a new piece must be a word without white space. Received: {piece!r}")
    cutter = WordPiece(tokenizer.vocab, unk_token=tokenizer.unk_token)
    tagged = tokenizer.settings().get("tags", False)
    replaced = {piece: _ids_before(piece, cutter, tagged) for piece in new}
    vocab = {**tokenizer.vocab, **{piece: len(tokenizer.vocab) + i for i, piece in enumerate(new)}}
    grown = resize_token_embeddings(model, max(model.config.vocab_size, len(vocab)))
    for row, variable in variables(grown).items():
        if _has_a_row_per_word(row):
            values = np.array(keras.ops.convert_to_numpy(variable.value))
            for piece, ids in replaced.items():
                values[vocab[piece]] = values[ids].mean(axis=0)
            variable.assign(values)
    return grown, type(tokenizer)(vocab, **tokenizer.settings())


def _ids_before(piece: str, cutter: WordPiece, tagged: bool) -> list[int]:
    """What the vocabulary cut the text of a new piece into; with tags, 사과나무/NNG is cut as a noun."""
    word, _, tag = piece.rpartition("/") if tagged else (piece, "", "")
    return [cut.id for cut in cutter.cut(word.removeprefix("##"), tag=tag, continues=word.startswith("##"))]
