"""The cached pieces of each key: as flat arrays, from which a whole block of text is looked up at once (`PieceTable`),
and as a dict for one text at a time (`PieceLists`).

Thousands of keys arrive per millisecond; making a string of each and looking it up in a dict would take longer than all
other work on them. So a block stays one string, and each of its lines (a key) is identified by a hash that NumPy
computes for all lines together. Since hashes can collide, every match is compared with the block character by
character, and keys that differ are looked up as strings.
"""

import itertools
import operator
import struct
import threading
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

# Four numbers per token: its id, the characters skipped before it, its length in characters, and what it begins.
NUMBERS = 4
# Up to `_SHORT` characters the dict is faster. Longer blocks are processed in parts of `_LONG`, which bounds the
# memory.
_SHORT = 2_000
_LONG = 1 << 18
_SLOT_BITS = 20
# Odd constants without a pattern: the base of the polynomial, and a multiplier for each of a key's two slots.
_BASE = 0x9E3779B97F4A7C15
_SLOTS = (0xD6E8FEB86659FD93, 0xA0761D6478BD642F)


class PieceTable:
    """Looks up keys. `cut` is called once per distinct key and returns `NUMBERS` numbers for each of its tokens.

    The table is emptied when it holds `limit` keys; frequent keys are back at once. Thread-safe.
    """

    def __init__(self, cut: Callable[[str], Sequence[int]], *, limit: int = 500_000):
        self._cut, self._limit = cut, limit
        self._lock = threading.Lock()
        self._clear()

    def _clear(self) -> None:
        self._rows = _Rows(self._add)
        self._starts, self._tokens = array("q", [0]), array("i")
        self._lines, self._line_starts = array("I"), array("q")
        self._index = _Index.empty()

    def __len__(self) -> int:
        return len(self._rows)

    def _add(self, key: str) -> int:
        self._line_starts.append(len(self._lines))
        self._lines.frombytes(_code_points(key + "\n"))
        self._tokens.extend(self._cut(key))
        self._starts.append(len(self._tokens) // NUMBERS)
        return len(self._starts) - 2

    def look_up(self, lines: str) -> tuple[np.ndarray, np.ndarray]:
        """The tokens of keys, each key followed by a line feed: (int32 [tokens, 4], the numbers of all tokens in order;
        int64 [keys + 1], where the tokens of each key begin).
        """
        # An array cannot grow while another thread holds a view of it.
        with self._lock:
            return self._look_up(lines)

    def _look_up(self, lines: str) -> tuple[np.ndarray, np.ndarray]:
        if len(self._rows) >= self._limit:
            self._clear()
        if len(lines) <= _SHORT:
            keys = lines.split("\n")[:-1]
            rows = np.fromiter(map(self._rows.__getitem__, keys), np.int64, len(keys))
        else:
            rows = np.concatenate([self._rows_of_many(part) for part in _parts(lines)])
        # No view of these may outlive the call: an array with a view of it cannot grow.
        starts, tokens = np.frombuffer(self._starts, np.int64), np.frombuffer(self._tokens, np.int32)
        first = starts[rows]
        counts = starts[rows + 1] - first
        begin = starts_of(counts)
        places = np.arange(begin[-1]) + np.repeat(first - begin[:-1], counts)
        return tokens.reshape(-1, NUMBERS)[places], begin

    def _rows_of_many(self, lines: str) -> np.ndarray:
        block = _Lines.of(lines)
        hashes = block.hashes()
        rows = self._index.find(hashes)
        missing = np.flatnonzero(rows < 0)
        rows[missing] = self._rows_of_keys(lines, block, missing)
        self._index.add(hashes[missing], rows[missing])
        wrong = self._unlike(block, rows)
        rows[wrong] = self._rows_of_keys(lines, block, wrong)
        return rows

    def _rows_of_keys(self, lines: str, block: "_Lines", which: np.ndarray) -> list[int]:
        bounds = zip(block.starts[which].tolist(), block.ends[which].tolist(), strict=True)
        return [self._rows[lines[start:end]] for start, end in bounds]

    def _unlike(self, block: "_Lines", rows: np.ndarray) -> np.ndarray:
        """The keys whose characters differ from those of the row that their hash led to."""
        moved = np.frombuffer(self._line_starts, np.int64)[rows] - block.starts
        places = np.repeat(moved, block.ends - block.starts + 1)
        places += np.arange(len(places))
        # Clipping keeps a comparison with the last, shorter line from reading past its end.
        same = np.frombuffer(self._lines, np.uint32).take(places, mode="clip") == block.code_points
        if same.all():
            return np.empty(0, np.int64)
        return np.unique(np.searchsorted(block.ends, np.flatnonzero(~same)))


class PieceLists(dict):
    """{key: its tokens, packed}, for one text at a time: calling NumPy would cost more than the keys of a short text.

    Packed tokens are bytes: for each token an int32 id, an advance (the distance from the end of the token before to
    its own end) and a length. MeCab evicts our data from the processor's caches, so the cost of a look-up is the number
    of memory locations that it touches: one for bytes, many for a tuple of numbers. Like `PieceTable` it calls `cut`
    once per key and is emptied when full. Thread-safe.
    """

    def __init__(self, cut: Callable[[str], Sequence[int]], *, limit: int = 500_000):
        super().__init__()
        self._cut, self._limit = cut, limit

    def __missing__(self, key: str) -> bytes:
        numbers = self._cut(key)
        found = b"".join(
            _TOKEN.pack(numbers[at], numbers[at + 1] + numbers[at + 2], numbers[at + 2])
            for at in range(0, len(numbers), NUMBERS)
        )
        if len(self) >= self._limit:
            self.clear()
        self[key] = found
        return found

    def tokens(self, keys: Iterable[str]) -> bytes:
        """The packed tokens of keys in order."""
        return b"".join(map(self.__getitem__, keys))


_TOKEN = struct.Struct("3i")


def packed_count(tokens: bytes) -> int:
    """The number of packed tokens."""
    return len(tokens) // _TOKEN.size


def packed_ids(tokens: bytes) -> list[int]:
    """The ids of packed tokens."""
    return memoryview(tokens).cast("i")[0::3].tolist()


def packed_arrays(tokens: bytes, begin: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Ids, starts and ends, int32 [tokens], of packed tokens; the first key of their text begins at `begin`."""
    numbers = np.frombuffer(tokens, np.int32)
    ends = numbers[1::3].cumsum(dtype=np.int32)
    ends += begin
    return numbers[0::3].copy(), ends - numbers[2::3], ends


def packed_lists(tokens: bytes, begin: int) -> tuple[list[int], list[int], list[int]]:
    """`packed_arrays` as lists, which are quicker for a short text."""
    numbers = memoryview(tokens).cast("i").tolist()
    ends = list(itertools.accumulate(numbers[1::3], initial=begin))[1:]
    return numbers[0::3], list(map(operator.sub, ends, numbers[2::3])), ends


class _Rows(dict):
    """{key: its row}; a missing key is added."""

    def __init__(self, add: Callable[[str], int]):
        self._add = add

    def __missing__(self, key: str) -> int:
        row = self[key] = self._add(key)
        return row


class _Lines(NamedTuple):
    """A block: line i is `code_points[starts[i]:ends[i]]`, and its line feed stands at `ends[i]`."""

    code_points: np.ndarray  # uint32
    starts: np.ndarray  # int64
    ends: np.ndarray  # int64

    @classmethod
    def of(cls, lines: str) -> "_Lines":
        code_points = np.frombuffer(_code_points(lines), np.uint32)
        ends = np.flatnonzero(code_points == ord("\n"))
        starts = np.zeros_like(ends)
        starts[1:] = ends[:-1] + 1
        return cls(code_points, starts, ends)

    def hashes(self) -> np.ndarray:
        """uint64 per line: a polynomial hash of its code points and line feed, modulo 2^64."""
        powers, inverses = _powers(len(self.code_points))
        sums = np.cumsum(self.code_points * powers[: len(self.code_points)], dtype=np.uint64)
        of_line = sums[self.ends]
        of_line[1:] -= sums[self.ends[:-1]]
        return of_line * inverses[self.starts]


class _Index(NamedTuple):
    """Hash to row. Each hash has two possible slots; if both are taken, it replaces the one in the second."""

    hashes: np.ndarray  # uint64 [slots]
    rows: np.ndarray  # int32 [slots], -1 where there is none

    @classmethod
    def empty(cls) -> "_Index":
        return cls(np.zeros(1 << _SLOT_BITS, np.uint64), np.full(1 << _SLOT_BITS, -1, np.int32))

    def find(self, hashes: np.ndarray) -> np.ndarray:
        """int64: the row of each, or -1."""
        rows = self._in_slots(_slots(hashes, 0), hashes)
        others = np.flatnonzero(rows < 0)
        rows[others] = self._in_slots(_slots(hashes[others], 1), hashes[others])
        return rows

    def _in_slots(self, slots: np.ndarray, hashes: np.ndarray) -> np.ndarray:
        return np.where(self.hashes[slots] == hashes, self.rows[slots], -1).astype(np.int64)

    def add(self, hashes: np.ndarray, rows: np.ndarray) -> None:
        first, second = _slots(hashes, 0), _slots(hashes, 1)
        slots = np.where(self.rows[first] < 0, first, second)
        self.hashes[slots] = hashes
        self.rows[slots] = rows


def _slots(hashes: np.ndarray, which: int) -> np.ndarray:
    return (hashes * np.uint64(_SLOTS[which])) >> np.uint64(64 - _SLOT_BITS)


def _parts(lines: str) -> Iterator[str]:
    """Whole lines, about `_LONG` characters of them."""
    start = 0
    while start < len(lines):
        end = lines.find("\n", start + _LONG) + 1 or len(lines)
        yield lines[start:end]
        start = end


_POWERS = [np.ones(1, np.uint64), np.ones(1, np.uint64)]


def _powers(length: int) -> list[np.ndarray]:
    """`_BASE` to the powers 0, 1, 2 ... modulo 2^64, and their inverses; at least `length` of each."""
    global _POWERS
    if len(_POWERS[0]) < length:
        powers = []
        for base in (_BASE, pow(_BASE, -1, 1 << 64)):
            factors = np.full(max(length, 2 * _LONG), base, np.uint64)
            factors[0] = 1
            powers.append(np.cumprod(factors))
        _POWERS = powers
    return _POWERS


def _code_points(text: str) -> bytes:
    return text.encode("utf-32-le", "surrogatepass")


def starts_of(lengths: np.ndarray) -> np.ndarray:
    """Where each of these lengths begins, and where the last one ends: int64 [lengths + 1]."""
    starts = np.zeros(len(lengths) + 1, np.int64)
    lengths.cumsum(dtype=np.int64, out=starts[1:])
    return starts
