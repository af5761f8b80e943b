"""Tokens as arrays: what a tokenizer gives back.

A token as a Python object costs more than finding it. So the tokens of a block of texts are flat arrays from the
table (`word_cache.py`) on; `Encoding`, one text's share of them, is a sequence of `Token` that makes each when it is
asked for.
"""

import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from kobert_tf2.tokenization.word_cache import starts_of


class Token(NamedTuple):
    """A piece of the vocabulary that stands for `text[start:end]`."""

    piece: str
    id: int
    start: int
    end: int


Column = np.ndarray | list[int]


def _as_array(column: Column) -> np.ndarray:
    return np.array(column, np.int32) if isinstance(column, list) else column


def _as_list(column: Column) -> list[int]:
    return column if isinstance(column, list) else column.tolist()


class Encoding(Sequence):
    """The tokens of one text, without special tokens: a sequence of `Token`, and arrays.

    `ids`, `starts`, `ends`: int32 [tokens]; token i stands for `text[starts[i]:ends[i]]`. A list that is given becomes
    an array when it is first asked for: for one short text that takes longer than the rest of its encoding.
    """

    __slots__ = ("_ends", "_ids", "_starts", "_vocabulary")

    def __init__(self, ids: Column, starts: Column, ends: Column, vocabulary: Sequence[str] | dict[int, str]):
        self._ids, self._starts, self._ends, self._vocabulary = ids, starts, ends, vocabulary

    @property
    def ids(self) -> np.ndarray:
        self._ids = _as_array(self._ids)
        return self._ids

    @property
    def starts(self) -> np.ndarray:
        self._starts = _as_array(self._starts)
        return self._starts

    @property
    def ends(self) -> np.ndarray:
        self._ends = _as_array(self._ends)
        return self._ends

    @classmethod
    def of(cls, tokens: Iterable[Token]) -> "Encoding":
        """From tokens one by one."""
        tokens = list(tokens)
        columns = np.array([token[1:] for token in tokens], np.int32).reshape(-1, 3).T
        return cls(*np.ascontiguousarray(columns), {token.id: token.piece for token in tokens})

    @property
    def pieces(self) -> list[str]:
        return [self._vocabulary[i] for i in _as_list(self._ids)]

    def __len__(self) -> int:
        return len(self._ids)

    def __getitem__(self, index):
        if isinstance(index, slice):
            return Encoding(self._ids[index], self._starts[index], self._ends[index], self._vocabulary)
        i = int(self._ids[index])
        return Token(self._vocabulary[i], i, int(self._starts[index]), int(self._ends[index]))

    def __iter__(self) -> Iterator[Token]:
        columns = (self.pieces, *map(_as_list, (self._ids, self._starts, self._ends)))
        return itertools.starmap(Token, zip(*columns, strict=True))

    def __eq__(self, other) -> bool:
        if not isinstance(other, Encoding | list | tuple):
            return NotImplemented
        return len(self) == len(other) and all(mine == theirs for mine, theirs in zip(self, other, strict=True))

    __hash__ = None

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
        """One after the other."""
        if len(several) == 1:
            return several[0]
        columns = zip(_NO_TOKENS, *(one[:4] for one in several), strict=True)
        lengths = np.concatenate([np.empty(0, np.int64), *(one.rows[1:] - one.rows[:-1] for one in several)])
        return cls(*map(np.concatenate, columns), starts_of(lengths))

    def each_with(self, vocabulary: Sequence[str]) -> Iterator[Encoding]:
        """An `Encoding` for each text."""
        for begin, end in itertools.pairwise(self.rows.tolist()):
            yield Encoding(self.ids[begin:end], self.starts[begin:end], self.ends[begin:end], vocabulary)

    def each_ids(self) -> Iterator[list[int]]:
        """The ids of each text."""
        ids = self.ids.tolist()
        return (ids[begin:end] for begin, end in itertools.pairwise(self.rows.tolist()))

    def with_rows(self, others: dict[int, "Encodings"]) -> "Encodings":
        """The same with the tokens of some texts, each alone in its `Encodings`, put in the place of theirs."""
        if not others:
            return self
        return Encodings.join([others.get(i) or self.alone(i) for i in range(len(self.rows) - 1)])

    def texts_of(self, tokens: np.ndarray) -> np.ndarray:
        """The numbers of the texts that these tokens belong to."""
        return np.searchsorted(self.rows, tokens, side="right") - 1

    def alone(self, i: int) -> "Encodings":
        """Text i; views."""
        begin, end = self.rows[i : i + 2]
        return Encodings(*(column[begin:end] for column in self[:4]), np.array([0, end - begin]))


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
