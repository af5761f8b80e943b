"""Requests of the HTTP service, and the conversion of their texts to windows.

This module must not import TensorFlow: the process that prepares long texts must not load it.
"""

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from kobert_tf2.errors import InputError
from kobert_tf2.features.text_windows import windows_of
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


# The limits for a text, and for each of its masks.
MAX_MASKS, MAX_CANDIDATES = 10, 20


class Fill(NamedTuple):
    """`POST /fill-mask`."""

    text: str
    n_best: int = 5

    def size(self) -> int:
        return len(self.text)


# The maximum number of sentences that a search request may bring along, and of those returned.
MAX_SENTENCES, MAX_TOP_K = 1_000, 100


class Search(NamedTuple):
    """`POST /search`; without `sentences` those of the service's file are searched."""

    query: str
    sentences: list[str] | None = None
    top_k: int = 5

    def size(self) -> int:
        return len(self.query) + sum(map(len, self.sentences or ()))


class Attend(NamedTuple):
    """`POST /attention`; without `head` the weights of all heads are returned."""

    text: str
    text_pair: str | None = None
    layer: int = -1
    head: int | None = None

    def size(self) -> int:
        return len(self.text) + len(self.text_pair or "")


class Mask(NamedTuple):
    """The position of a mask in a text, in characters."""

    start: int
    end: int


def prepare_ask(ask: Ask, *, tokenizer: Tokenizer, lengths: Mapping[str, Any]) -> Prepared:
    """Makes the windows of a question and its context; `source` is the `Question` with its `Windows`."""
    if not ask.question.strip():
        raise InputError("question: the question is empty")
    question = Question(id="0", question=ask.question, context=ask.context)
    found = windows.make_windows([question], tokenizer, **lengths)
    features = {name: getattr(found, name) for name in windows.INPUTS}
    return Prepared(features, found.lengths, (question, found))


def prepare_text(
    request: Text, *, tokenizer: Tokenizer, max_seq_length: int, doc_stride: int | None = None
) -> Prepared:
    """Makes the windows of a text; `source` is its `Encoding` with its `TokenWindows`."""
    encoding = tokenizer.encode(request.text)
    found = entities.make_windows([encoding], tokenizer, max_seq_length=max_seq_length, doc_stride=doc_stride)
    return Prepared(found.features(), found.input_mask.sum(axis=1), (encoding, found))


def prepare_pair(request: TextOrPair, *, tokenizer: Tokenizer, max_seq_length: int) -> Prepared:
    """Makes one row, truncated to `max_seq_length`."""
    example = Example("0", request.text, request.text_pair, None)
    features = sentences.pad(sentences.encode([example], tokenizer), tokenizer, max_seq_length=max_seq_length)
    return Prepared(features, features["input_mask"].sum(axis=1))


def prepare_fill(request: Fill, *, tokenizer: Tokenizer, max_seq_length: int) -> Prepared:
    """Makes one row, with `masked_lm_positions`, int32 [1, MAX_MASKS], padded with 0; `source` is the text's masks."""
    masks = [Mask(*match.span()) for match in re.finditer(re.escape(tokenizer.mask_token), request.text)]
    if not 1 <= len(masks) <= MAX_MASKS:
        raise InputError(f"text: expected 1 to {MAX_MASKS} {tokenizer.mask_token}, but it has {len(masks)}")
    bounds = [0, *(place for mask in masks for place in mask), len(request.text)]
    ids = [tokenizer.cls_id]
    for begin, end in zip(bounds[::2], bounds[1::2], strict=True):
        if begin:
            ids.append(tokenizer.mask_id)
        ids += _ids_behind_mask(request.text[begin:end], tokenizer, is_first=begin == 0)
    ids.append(tokenizer.sep_id)
    if len(ids) > max_seq_length:
        raise InputError(f"text: expected at most {max_seq_length - 2} pieces, but it has {len(ids) - 2}")
    row = np.full((1, max_seq_length), tokenizer.pad_id, np.int32)
    row[0, : len(ids)] = ids
    mask = (np.arange(max_seq_length) < len(ids)).astype(np.int32)[None]
    positions = np.zeros((1, MAX_MASKS), np.int32)
    places = [place for place, i in enumerate(ids) if i == tokenizer.mask_id]
    positions[0, : len(places)] = places
    features = {"input_ids": row, "input_mask": mask, "segment_ids": np.zeros_like(row)}
    return Prepared({**features, "masked_lm_positions": positions}, mask.sum(axis=1), masks)


def prepare_search(request: Search, *, tokenizer: Tokenizer, max_seq_length: int, pooling: str) -> Prepared:
    """Makes the windows of the query and of the request's sentences, with `counts`, which is 1 for the tokens whose
    states belong to the text's vector; `source` is the text of each window, 0 for the query.
    """
    encodings = tokenizer.encode_batch([request.query, *(request.sentences or ())])
    each = [windows_of(i, encoding, max_seq_length - 2, "windows") for i, encoding in enumerate(encodings)]
    found = [window for of_text in each for window in of_text]
    rows = [[tokenizer.cls_id, *window.ids, tokenizer.sep_id] for window in found]
    counts = np.zeros((len(rows), max_seq_length), np.int32)
    for row, window in zip(counts, found, strict=True):
        row[: len(window.counts)] = window.counts if pooling == "mean" else np.arange(len(window.counts)) == 0
    features, lengths = _rows_of(rows, tokenizer, max_seq_length)
    return Prepared({**features, "counts": counts}, lengths, np.array([window.text for window in found]))


def prepare_attend(request: Attend, *, tokenizer: Tokenizer, max_seq_length: int, layers: int) -> Prepared:
    """Makes one row, with `layer`, int32 [1, 1]; `source` are its tokens."""
    texts = [request.text, *([] if request.text_pair is None else [request.text_pair])]
    tokens, segments = [_special(tokenizer.cls_token, 0)], [0]
    ids = [tokenizer.cls_id]
    for segment, encoding in enumerate(tokenizer.encode_batch(texts)):
        tokens += [
            {"piece": token.piece, "start": token.start, "end": token.end, "segment": segment} for token in encoding
        ]
        tokens.append(_special(tokenizer.sep_token, segment))
        ids += [*encoding.ids.tolist(), tokenizer.sep_id]
        segments += [segment] * (len(encoding) + 1)
    if len(ids) > max_seq_length:
        raise InputError(f"text: expected at most {max_seq_length} tokens, special tokens included, but got {len(ids)}")
    features, lengths = _rows_of([ids], tokenizer, max_seq_length)
    features["segment_ids"][0, : len(segments)] = segments
    return Prepared({**features, "layer": np.array([[request.layer % layers]], np.int32)}, lengths, tokens)


def _special(piece: str, segment: int) -> dict[str, Any]:
    """A token that stands for no characters of the text."""
    return {"piece": piece, "segment": segment}


def _rows_of(rows: list[list[int]], tokenizer: Tokenizer, width: int) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """(the model's inputs, int32 [rows, width]; the number of tokens in each row)"""
    lengths = np.array([len(row) for row in rows])
    input_ids = np.full((len(rows), width), tokenizer.pad_id, np.int32)
    for padded, row in zip(input_ids, rows, strict=True):
        padded[: len(row)] = row
    input_mask = (np.arange(width) < lengths[:, None]).astype(np.int32)
    return {"input_ids": input_ids, "input_mask": input_mask, "segment_ids": np.zeros_like(input_ids)}, lengths


def _ids_behind_mask(part: str, tokenizer: Tokenizer, *, is_first: bool) -> list[int]:
    """The ids of a part of the text. Text directly after a mask continues the mask's word, as in training: in
    "[MASK]이다", 이다 becomes ##이다 if the vocabulary has it.
    """
    pieces = tokenizer.tokenize(part)
    settings = tokenizer.settings()
    goes_on = not is_first and part[:1].strip() and settings["pre_tokenizer"] == "mecab"
    if goes_on and pieces and settings["continuation"] == "eojeol" and f"##{pieces[0]}" in tokenizer.vocab:
        pieces[0] = f"##{pieces[0]}"
    return tokenizer.convert_tokens_to_ids(pieces)


def stacked(rows: list[dict[str, np.ndarray]], name: str, width: int, fill: float) -> np.ndarray:
    """Stacks one output of all windows, float32 [windows, width, ...]; pads shorter windows with `fill`."""
    values = [row[name] for row in rows]
    array = np.full((len(rows), width, *values[0].shape[1:]) if rows else (0, width), fill, np.float32)
    for place, value in enumerate(values):
        array[place, : len(value)] = value
    return array
