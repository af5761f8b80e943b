"""Requests of the HTTP service, and how their texts become windows.

No TensorFlow here: the process that prepares long texts must not load it.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from kobert_tf2.errors import InputError
from kobert_tf2.labelling import entities, sentences
from kobert_tf2.labelling.sentence_files import Example
from kobert_tf2.reading import windows
from kobert_tf2.reading.squad_files import Question
from kobert_tf2.serving.scheduling import Prepared
from kobert_tf2.tokenization.tokenizer import Tokenizer


class Ask(NamedTuple):
    """`POST /answer`."""

    question: str
    context: str
    n_best: int = 1
    strip_josa: bool = True

    def size(self) -> int:
        return len(self.question) + len(self.context)


class Text(NamedTuple):
    """`POST /entities`."""

    text: str

    def size(self) -> int:
        return len(self.text)


class TextOrPair(NamedTuple):
    """`POST /classify`."""

    text: str
    text_pair: str | None = None

    def size(self) -> int:
        return len(self.text) + len(self.text_pair or "")


def prepare_ask(ask: Ask, *, tokenizer: Tokenizer, lengths: Mapping[str, Any]) -> Prepared:
    """The windows of a question and its context; `source` is the `Question` with its `Windows`."""
    if not ask.question.strip():
        raise InputError("question: the question is empty")
    question = Question(id="0", question=ask.question, context=ask.context)
    found = windows.make_windows([question], tokenizer, **lengths)
    features = {name: getattr(found, name) for name in windows.INPUTS}
    return Prepared(features, found.lengths, (question, found))


def prepare_text(request: Text, *, tokenizer: Tokenizer, max_seq_length: int) -> Prepared:
    """The windows of a text; `source` is its `Encoding` with its `TokenWindows`."""
    encoding = tokenizer.encode(request.text)
    found = entities.make_windows([encoding], tokenizer, max_seq_length=max_seq_length)
    return Prepared(found.features(), found.input_mask.sum(axis=1), (encoding, found))


def prepare_pair(request: TextOrPair, *, tokenizer: Tokenizer, max_seq_length: int) -> Prepared:
    """One row, which is cut at `max_seq_length`."""
    example = Example("0", request.text, request.text_pair, None)
    features = sentences.pad(sentences.encode([example], tokenizer), tokenizer, max_seq_length=max_seq_length)
    return Prepared(features, features["input_mask"].sum(axis=1))


def stacked(rows: list[dict[str, np.ndarray]], name: str, width: int, fill: float) -> np.ndarray:
    """One output of all windows, float32 [windows, width, ...]; `fill` behind what a window was cut to."""
    values = [row[name] for row in rows]
    array = np.full((len(rows), width, *values[0].shape[1:]) if rows else (0, width), fill, np.float32)
    for place, value in enumerate(values):
        array[place, : len(value)] = value
    return array
