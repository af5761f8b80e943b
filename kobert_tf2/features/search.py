"""Cosine search: finds the sentences whose vectors have the highest cosine with a query's."""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from kobert_tf2 import arguments, files
from kobert_tf2.errors import InputError
from kobert_tf2.features.embedder import Embedder
from kobert_tf2.progress import Progress
from kobert_tf2.tokenization.normalization import is_blank

# How many sentences are embedded between two reports of progress.
_BLOCK = 512


class Match(NamedTuple):
    """A search result: `position` is the sentence's index among those searched, `score` the cosine, from -1 to 1."""

    text: str
    position: int
    score: float


class SentenceIndex:
    """Sentences with their vectors, computed once.

    `options` are passed to `Embedder.embed`: `pooling`, `long_texts`, `max_seq_length`, `batch_size`. With
    `show_progress` the number of embedded sentences is reported on stderr.
    """

    def __init__(self, texts: Iterable[str], embedder: Embedder, *, show_progress: bool = False, **options: object):
        self.texts = list(arguments.each_text("texts", texts))
        self._embedder = embedder
        self._options = {**options, "normalize": True}
        self.vectors = self._embed_blocks() if show_progress else self._embed(self.texts)  # float32 [texts, hidden]

    def _embed_blocks(self) -> np.ndarray:
        vectors = np.zeros((len(self.texts), self._embedder.hidden_size), np.float32)
        with Progress(len(self.texts), unit="sentences") as shown:
            for begin in range(0, len(self.texts), _BLOCK):
                block = self.texts[begin : begin + _BLOCK]
                vectors[begin : begin + len(block)] = self._embed(block)
                shown.update(begin + len(block), ["embedding"])
        return vectors

    def _embed(self, texts: list[str]) -> np.ndarray:
        return self._embedder.embed(texts, **self._options)  # type: ignore[arg-type]  # `embed` checks them by name

    def search(self, query: str, top_k: int = 5) -> list[Match]:
        """The `top_k` sentences nearest to a query, nearest first; ties by position."""
        return self.search_batch([query], top_k)[0]

    def search_batch(self, queries: Iterable[str], top_k: int = 5) -> list[list[Match]]:
        """`search` for every query, in order, computed in one batch."""
        top_k = arguments.whole("top_k", top_k, 1)
        found = self._embed(list(arguments.each_text("queries", queries))) @ self.vectors.T  # [queries, texts]
        return [[Match(self.texts[i], i, float(scores[i])) for i in nearest(scores, top_k)] for scores in found]


def nearest(scores: np.ndarray, top_k: int) -> list[int]:
    """The indices of the `top_k` highest of float [n], highest first; ties by index."""
    return np.argsort(-scores, kind="stable")[:top_k].tolist()


def read_sentences(path: str) -> tuple[list[str], list[int], int]:
    """Reads a file with one sentence per line: (sentences, the line number of each, the number of empty lines)."""
    lines = list(files.read_lines(path))
    kept = [(line.strip(), number) for number, line in enumerate(lines, start=1) if not is_blank(line)]
    if not kept:
        raise InputError(f"{path}: expected a sentence on each line, but found none")
    texts, numbers = map(list, zip(*kept, strict=True))
    return texts, numbers, len(lines) - len(kept)
