"""How often each word of a corpus occurs, cut as the tokenizer will cut it."""

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
# At most so many lines are kept from learning, to be measured.
MOST_HELD_OUT = 10_000


class CorpusWord(NamedTuple):
    """A word of the corpus as WordPiece will meet it: `continues` says that its first piece carries ##."""

    surface: str
    tag: str
    continues: bool


def is_held_out(line: str, one_in: int) -> bool:
    """Whether a line is kept from learning: by its content, so that copies of a line stay on one side."""
    return one_in > 0 and zlib.crc32(line.encode("utf-8", "surrogatepass")) % one_in == 0


def may_be_held_out(line: str, one_in: int) -> bool:
    return is_held_out(line, one_in) and not is_blank(line)


@contextlib.contextmanager
def counted(
    paths: Sequence[str], settings: dict, held_out: int, *, num_workers: int = 1
) -> Iterator[tuple[Mapping[CorpusWord, int], list[str]]]:
    """The words of text files with their counts, and the lines that were kept from learning (one in `held_out`)."""
    kept: list[str] = []
    yield count_words(_taught(_corpus(paths), kept, held_out), settings, num_workers=num_workers), kept


def count_words(lines: Iterable[str], settings: dict, *, num_workers: int = 1) -> dict[CorpusWord, int]:
    """How often each word occurs, cut by these tokenizer settings; in an order that only the counts decide."""
    segmenter = Segmenter(**settings)
    keys: collections.Counter[str] = collections.Counter()
    blocks = blocks_of(lines, LINES_PER_BLOCK)
    for counts in ordered_map(functools.partial(count_keys, segmenter), blocks, num_workers=num_workers):
        keys.update(counts)
    return most_frequent_first(words_of_keys(segmenter, keys).items())


def most_frequent_first(counts: Iterable[tuple[CorpusWord, int]]) -> dict[CorpusWord, int]:
    return dict(sorted(counts, key=lambda item: (-item[1], item[0])))


def words_of_keys(segmenter: Segmenter, keys: Mapping[str, int]) -> collections.Counter[CorpusWord]:
    """The counts of words in the counts of keys, which are what the segmenter cuts first."""
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
    """The lines to learn from; the others go into `kept`."""
    for line in progress(lines, "cutting", unit="lines"):
        if len(kept) < MOST_HELD_OUT and may_be_held_out(line, held_out):
            kept.append(line)
        else:
            yield line
