"""Tokens as arrays: what a tokenizer returns.

Creating a Python object for a token costs more than finding the token. So the tokens of a block of texts stay flat
arrays from `word_cache.py` on; `Encoding`, the share of one text, is a sequence that creates a `Token` only when it is
accessed.
"""

import functools
import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple, overload

import numpy as np

from kobert_tf2.tokenization.word_cache import packed_arrays, packed_count, packed_ids, packed_lists, starts_of


class Token(NamedTuple):
    """A piece of the vocabulary that stands for `text[start:end]`."""

    piece: str
    id: int
    start: int
    end: int


# `Token._make` without a Python-level call per token.
_token = functools.partial(tuple.__new__, Token)


class Encoding(Sequence):
    """The tokens of one text, without special tokens: a sequence of `Token`, and arrays.

    `ids`, `starts`, `ends`: int32 [tokens]; token i stands for `text[starts[i]:ends[i]]`. An `Encoding` of packed
      tokens (`word_cache.py`) creates its arrays on first access.
    """

    __slots__ = ("_arrays", "_begin", "_packed", "_vocabulary")

    def __init__(
        self, ids: np.ndarray, starts: np.ndarray, ends: np.ndarray, vocabulary: Sequence[str] | dict[int, str]
    ):
        self._arrays: tuple[np.ndarray, np.ndarray, np.ndarray] | None = (ids, starts, ends)
        self._vocabulary = vocabulary
        self._packed: Any = None  # or bytes: then the arrays may still have to be made of them
        self._begin = 0

    @classmethod
    def packed(cls, tokens: bytes, begin: int, vocabulary: Sequence[str]) -> "Encoding":
        """From packed tokens; the text's first key begins at character `begin`."""
        made = cls.__new__(cls)
        made._arrays, made._vocabulary, made._packed, made._begin = None, vocabulary, tokens, begin
        return made

    def _columns(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        if self._arrays is None:
            self._arrays = packed_arrays(self._packed, self._begin)
        return self._arrays

    @property
    def ids(self) -> np.ndarray:
        return self._columns()[0]

    @property
    def starts(self) -> np.ndarray:
        return self._columns()[1]

    @property
    def ends(self) -> np.ndarray:
        return self._columns()[2]

    @classmethod
    def of(cls, tokens: Iterable[Token]) -> "Encoding":
        """From tokens one by one."""
        tokens = list(tokens)
        columns = np.array([token[1:] for token in tokens], np.int32).reshape(-1, 3).T
        ids, starts, ends = np.ascontiguousarray(columns)
        return cls(ids, starts, ends, {token.id: token.piece for token in tokens})

    @property
    def pieces(self) -> list[str]:
        ids = self.ids.tolist() if self._packed is None else packed_ids(self._packed)
        return [self._vocabulary[i] for i in ids]

    def __len__(self) -> int:
        return len(self.ids) if self._packed is None else packed_count(self._packed)

    @overload
    def __getitem__(self, index: int) -> Token: ...

    @overload
    def __getitem__(self, index: slice) -> "Encoding": ...

    def __getitem__(self, index: int | slice) -> "Token | Encoding":
        if isinstance(index, slice):
            return Encoding(self.ids[index], self.starts[index], self.ends[index], self._vocabulary)
        i = int(self.ids[index])
        return Token(self._vocabulary[i], i, int(self.starts[index]), int(self.ends[index]))

    def __iter__(self) -> Iterator[Token]:
        if self._packed is None:
            ids, starts, ends = (column.tolist() for column in self._columns())
        else:
            ids, starts, ends = packed_lists(self._packed, self._begin)
        pieces = map(self._vocabulary.__getitem__, ids)
        return map(_token, zip(pieces, ids, starts, ends, strict=True))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Encoding | list | tuple):
            return NotImplemented
        return len(self) == len(other) and all(mine == theirs for mine, theirs in zip(self, other, strict=True))

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return repr(list(self))


class Encodings(NamedTuple):
    """The tokens of many texts, one after the other; text i has the tokens `rows[i]` up to `rows[i + 1]`.

    `begins` says of each token whether it begins a word (`WORD`) that begins an eojeol (`EOJEOL`), or neither (0).
    """

    ids: np.ndarray  # int32 [tokens]
    starts: np.ndarray  # int32 [tokens], characters of the text
    ends: np.ndarray  # int32 [tokens]
    begins: np.ndarray  # int8 [tokens]
    rows: np.ndarray  # int64 [texts + 1]

    @classmethod
    def join(cls, several: Sequence["Encodings"]) -> "Encodings":
        """All of them in one, in order."""
        if len(several) == 1:
            return several[0]
        columns = zip(_NO_TOKENS, *(one[:4] for one in several), strict=True)
        lengths = np.concatenate([np.empty(0, np.int64), *(one.rows[1:] - one.rows[:-1] for one in several)])
        ids, starts, ends, begins = map(np.concatenate, columns)
        return cls(ids, starts, ends, begins, starts_of(lengths))

    def each_with(self, vocabulary: Sequence[str]) -> Iterator[Encoding]:
        """An `Encoding` for each text."""
        for begin, end in itertools.pairwise(self.rows.tolist()):
            yield Encoding(self.ids[begin:end], self.starts[begin:end], self.ends[begin:end], vocabulary)

    def each_ids(self) -> Iterator[list[int]]:
        """The ids of each text."""
        ids = self.ids.tolist()
        return (ids[begin:end] for begin, end in itertools.pairwise(self.rows.tolist()))

    def with_rows(self, others: dict[int, "Encodings"]) -> "Encodings":
        """The same with the tokens of some texts replaced; each replacement is an `Encodings` of one text."""
        if not others:
            return self
        return Encodings.join([others.get(i) or self.alone(i) for i in range(len(self.rows) - 1)])

    def texts_of(self, tokens: np.ndarray) -> np.ndarray:
        """The numbers of the texts that these tokens belong to."""
        return np.searchsorted(self.rows, tokens, side="right") - 1

    def alone(self, i: int) -> "Encodings":
        """Text i alone, as views."""
        begin, end = self.rows[i : i + 2]
        ids, starts, ends, begins = (column[begin:end] for column in self[:4])
        return Encodings(ids, starts, ends, begins, np.array([0, end - begin]))


WORD, EOJEOL = 1, 2
_NO_TOKENS = (*(np.empty(0, np.int32) for _ in range(3)), np.empty(0, np.int8))


def laid_out(tokens: np.ndarray, begin: np.ndarray, keys: Sequence[int], shifts: Sequence[int]) -> Encodings:
    """The tokens of a `PieceTable` with offsets into their texts.

    Text i has the keys `keys[i]` up to `keys[i + 1]`, and its first one begins at character `shifts[i]`.
    """
    rows = begin[keys]
    ids, gaps, lengths, begins = tokens.T
    after = starts_of(gaps + lengths)
    moved = shifts - after[rows[:-1]]
    ends = (after[1:] + np.repeat(moved, rows[1:] - rows[:-1])).astype(np.int32)
    return Encodings(np.ascontiguousarray(ids), ends - lengths, ends, begins.astype(np.int8), rows)
