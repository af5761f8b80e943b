"""Counts the words of a corpus, segmented as the tokenizer will segment them."""

import collections
import contextlib
import functools
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from kobert_tf2 import files
from kobert_tf2.errors import InputError
from kobert_tf2.parallel import blocks_of, ordered_map
from kobert_tf2.progress import progress
from kobert_tf2.tokenization.normalization import is_blank
from kobert_tf2.tokenization.words import Segmenter

LINES_PER_BLOCK = 4000
# The maximum number of lines held out for evaluation.
MOST_HELD_OUT = 10_000


class CorpusWord(NamedTuple):
    """A word of the corpus as input to WordPiece; `continues` means that its first piece has the prefix ##."""

    surface: str
    tag: str
    continues: bool


def is_held_out(line: str, one_in: int) -> bool:
    """Whether a line is held out. This depends on its content, so that duplicates of a line are on the same side."""
    return one_in > 0 and zlib.crc32(line.encode("utf-8", "surrogatepass")) % one_in == 0


def may_be_held_out(line: str, one_in: int) -> bool:
    return is_held_out(line, one_in) and not is_blank(line)


@contextlib.contextmanager
def counted(
    paths: Sequence[str], settings: dict, held_out: int, *, num_workers: int = 1
) -> Iterator[tuple[Mapping[CorpusWord, int], list[str]]]:
    """Yields the word counts of text files, and the held-out lines (one in `held_out`)."""
    kept: list[str] = []
    yield count_words(_taught(_corpus(paths), kept, held_out), settings, num_workers=num_workers), kept


def count_words(lines: Iterable[str], settings: dict, *, num_workers: int = 1) -> dict[CorpusWord, int]:
    """Counts words, segmented with these tokenizer settings. Their order depends only on the counts."""
    segmenter = Segmenter(**settings)
    keys: collections.Counter[str] = collections.Counter()
    blocks = blocks_of(lines, LINES_PER_BLOCK)
    for counts in ordered_map(functools.partial(count_keys, segmenter), blocks, num_workers=num_workers):
        keys.update(counts)
    return most_frequent_first(words_of_keys(segmenter, keys).items())


def most_frequent_first(counts: Iterable[tuple[CorpusWord, int]]) -> dict[CorpusWord, int]:
    return dict(sorted(counts, key=lambda item: (-item[1], item[0])))


def words_of_keys(segmenter: Segmenter, keys: Mapping[str, int]) -> collections.Counter[CorpusWord]:
    """Converts counts of keys (the segmenter's first step) to counts of words."""
    words: collections.Counter[CorpusWord] = collections.Counter()
    for key, count in keys.items():
        for word in segmenter.words_of_key(key):
            words[CorpusWord(word.surface, word.tag, word.continues)] += count
    return words


def count_keys(segmenter: Segmenter, lines: Sequence[str]) -> collections.Counter[str]:
    of_texts, _ = segmenter.lines_of_texts([segmenter.normalize(line).text for line in lines])
    counts = collections.Counter("".join(of_texts).split("\n"))
    counts.pop("", None)
    return counts


def _corpus(paths: Sequence[str]) -> Iterator[str]:
    for path in paths:
        empty = True
        for line in files.read_lines(path):
            empty = empty and is_blank(line)
            yield line
        if empty:
            raise InputError(f"{path}: expected text, but the file is empty")


def _taught(lines: Iterable[str], kept: list[str], held_out: int) -> Iterator[str]:
    """Yields the lines to learn from; appends the held-out ones to `kept`."""
    for line in progress(lines, "cutting", unit="lines"):
        if len(kept) < MOST_HELD_OUT and may_be_held_out(line, held_out):
            kept.append(line)
        else:
            yield line
