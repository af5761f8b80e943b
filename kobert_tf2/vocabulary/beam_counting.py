"""Counts words on the workers of an Apache Beam pipeline: the same counts as `counting`, with bounded memory.

    byte ranges -> a survey each (lines, possible held-out lines)     gives each range its line numbers
    byte ranges -> a file of counts each, words grouped by part       MeCab runs here
    parts       -> a file of summed counts each                       every word belongs to one part

The files are written to the folder `<output_dir>.work`; input and output must be on a file system that all workers
share. A worker keeps the words of one range or one part in memory. The learner, which runs afterwards on this machine,
keeps in memory the words that occur at least `min_frequency` times and reads the others from disk. An interrupted
pipeline resumes when restarted: a range that was already counted with the same text and settings is skipped.

Needs the extra `beam`, or `dask`.
"""

import collections
import contextlib
import dataclasses
import functools
import itertools
import json
import zlib
from collections.abc import ItemsView, Iterator, Mapping, Sequence, ValuesView
from typing import NamedTuple

import google_crc32c

from kobert_tf2 import files
from kobert_tf2.errors import InputError
from kobert_tf2.tokenization.normalization import is_blank
from kobert_tf2.tokenization.words import Segmenter
from kobert_tf2.vocabulary import counting
from kobert_tf2.vocabulary.counting import CorpusWord
from kobert_tf2.work_folder import WorkFolder

_BLOCK_BYTES = 16 << 20
# The words of this many ranges together fit into a worker's memory, and so do those of one part.
_BLOCKS_PER_PART = 16
_NAMES = r"(?:words|part)-\d{5,}"
_BOM = b"\xef\xbb\xbf"


@contextlib.contextmanager
def counted(
    paths: Sequence[str], settings: dict, held_out: int, *, options: Sequence[str], work: str
) -> Iterator[tuple[Mapping[CorpusWord, int], list[str]]]:
    """Yields the word counts, which stay on disk in the folder `work` until the context exits, and the held-out
    lines.
    """
    from kobert_tf2 import beam_map

    beam_map.check(options)
    work = beam_map.absolute(work)
    folder = WorkFolder(work, "word counts", tool="build_vocab", names=_NAMES)
    run = functools.partial(beam_map.run, options=options, folder=work)
    try:
        ranges = ranges_of(list(map(beam_map.absolute, paths)))
        blocks = blocks_of(ranges, run(Survey(held_out), ranges, what="survey"))
        parts = parts_of(len(blocks))
        kept = run(Count(settings, held_out, work, parts), list(enumerate(blocks)), what="count")
        sizes = run(Sum(work, len(blocks)), list(range(parts)), what="sum")
        yield CountsOnDisk(work, sizes), list(itertools.chain.from_iterable(kept))
    except InputError:
        folder.remove()  # The user will correct wrong input, so the files cannot be reused.
        raise
    finally:
        folder.release()
    folder.remove()


# ------------------------------------------------------------------------------------------------------------ ranges


class _Range(NamedTuple):
    """The lines of a file that begin at a byte offset from `start` up to `end`."""

    path: str
    start: int
    end: int


class _Block(NamedTuple):
    """A range, the number of its first line, the maximum number of its lines to hold out, and the checksum of its
    bytes.
    """

    range: _Range
    first_line: int
    held_out: int
    crc32c: int


def ranges_of(paths: Sequence[str]) -> list[_Range]:
    found = []
    for path in paths:
        size = _size(path)
        starts = range(0, max(size, 1), _BLOCK_BYTES)
        found += [_Range(path, start, min(start + _BLOCK_BYTES, size)) for start in starts]
    return found


def _size(path: str) -> int:
    with files.open_binary(path) as file:
        return file.seek(0, 2) if not files.is_remote(path) else file.size()  # type: ignore[attr-defined]


def _lines(of: _Range) -> Iterator[bytes]:
    with files.open_binary(of.path) as file:
        if of.start:
            file.seek(of.start - 1)
            file.readline()  # Skips the line that began before the range.
        position = file.tell()
        while position < of.end and (line := file.readline()):
            if position == 0:
                files.check_beginning(line, of.path)
            yield line.removeprefix(_BOM) if position == 0 else line
            position += len(line)


@dataclasses.dataclass(frozen=True)
class Survey:
    """Collects what must be known of a range before the following ones can be counted."""

    held_out: int

    def __call__(self, of: _Range) -> dict:
        lines, candidates, has_text, crc = 0, 0, False, 0
        for line in _lines(of):
            lines += 1
            text = line.rstrip(b"\r\n").decode("utf-8", "replace")
            candidates += counting.may_be_held_out(text, self.held_out)
            has_text = has_text or not is_blank(text)
            crc = google_crc32c.extend(crc, line)
        return {"lines": lines, "candidates": candidates, "has_text": has_text, "crc32c": crc}


def blocks_of(ranges: list[_Range], surveys: list[dict]) -> list[_Block]:
    with_text = {of.path for of, survey in zip(ranges, surveys, strict=True) if survey["has_text"]}
    blocks: list[_Block] = []
    first_line: collections.Counter[str] = collections.Counter()
    room = counting.MOST_HELD_OUT
    for of, survey in zip(ranges, surveys, strict=True):
        if of.path not in with_text:
            raise InputError(f"{of.path}: expected text, but the file is empty")
        blocks.append(_Block(of, first_line[of.path] + 1, min(room, survey["candidates"]), survey["crc32c"]))
        first_line[of.path] += survey["lines"]
        room -= blocks[-1].held_out
    return blocks


def parts_of(blocks: int) -> int:
    return -(-blocks // _BLOCKS_PER_PART)


# ---------------------------------------------------------------------------------------------------------- counting


@dataclasses.dataclass(frozen=True)
class Count:
    """Counts the words of a block: (number, block) -> the file `words-<number>`; returns the block's held-out lines.

    The file has a line of JSON metadata, then one section per part of the words, with one word per line.
    """

    settings: dict
    held_out: int
    work: str
    parts: int

    def __call__(self, numbered: tuple[int, _Block]) -> list[str]:
        number, block = numbered
        path = _words_path(self.work, number)
        segmenter = Segmenter(**self.settings)
        analyser = segmenter.analyser.fingerprint() if segmenter.analyser else None
        said = {"made_with": [list(block[1:]), self.settings, analyser, self.held_out, self.parts]}
        if (head := _kept(path, said)) is not None:
            return head["kept"]
        kept: list[str] = []
        keys: collections.Counter[str] = collections.Counter()
        for lines in counting.blocks_of(self._taught(block, kept), counting.LINES_PER_BLOCK):
            keys.update(counting.count_keys(segmenter, lines))
        _write_sections(path, {**said, "kept": kept}, self._sections(counting.words_of_keys(segmenter, keys)))
        return kept

    def _taught(self, block: _Block, kept: list[str]) -> Iterator[str]:
        """Yields the lines to learn from; appends the held-out ones to `kept`."""
        crc = 0
        for number, line in enumerate(_lines(block.range), start=block.first_line):
            crc = google_crc32c.extend(crc, line)
            text = files.decode_line(line, block.range.path, number)
            if len(kept) < block.held_out and counting.may_be_held_out(text, self.held_out):
                kept.append(text)
            else:
                yield text
        if crc != block.crc32c:
            raise InputError(f"{block.range.path}: the file has changed while it was being read")

    def _sections(self, words: Mapping[CorpusWord, int]) -> list[bytes]:
        sections: list[list[str]] = [[] for _ in range(self.parts)]
        for word, count in sorted(words.items()):
            sections[_part(word, self.parts)].append(_line(json.dumps(word, ensure_ascii=True), count))
        return ["".join(section).encode() for section in sections]


def _part(word: CorpusWord, parts: int) -> int:
    return zlib.crc32(word.surface.encode("utf-8", "surrogatepass")) % parts


def _line(word: str, count: int) -> str:
    return f"{count}\t{word}\n"


def _words_path(work: str, number: int) -> str:
    return f"{work}/words-{number:05d}"


def _write_sections(path: str, head: dict, sections: list[bytes]) -> None:
    content = b"".join(sections)
    ends = list(itertools.accumulate(map(len, sections), initial=0))
    head = {**head, "offsets": ends, "crc32c": google_crc32c.value(content)}
    with files.whole_file(path, "wb") as file:
        file.write(json.dumps(head).encode() + b"\n" + content)


def _kept(path: str, said: dict) -> dict | None:
    """The header of a file written by an earlier run, if the file is complete and has the same text and settings."""
    if not files.exists(path):
        return None
    with files.open_binary(path) as file:
        line, content = file.readline(), file.read()
    with contextlib.suppress(InputError, UnicodeDecodeError):
        head = files.parse_json(line.decode(), path, dict)
        same = head.get("made_with") == json.loads(json.dumps(said["made_with"]))
        if same and head.get("crc32c") == google_crc32c.value(content):
            return head
    return None


@dataclasses.dataclass(frozen=True)
class Sum:
    """Sums the counts of a part: its number -> the file `part-<number>`; returns the number of distinct words."""

    work: str
    blocks: int

    def __call__(self, part: int) -> int:
        counts: collections.Counter[str] = collections.Counter()
        for number in range(self.blocks):
            for line in _section(_words_path(self.work, number), part).splitlines():
                count, _, word = line.decode().partition("\t")
                counts[word] += int(count)
        with files.whole_file(_part_path(self.work, part), "wb") as file:
            file.writelines(_line(word, counts[word]).encode() for word in sorted(counts))
        return len(counts)


def _section(path: str, part: int) -> bytes:
    with files.open_binary(path) as file:
        head = files.parse_json(file.readline().decode(), path, dict)
        start, end = head["offsets"][part : part + 2]
        file.seek(file.tell() + start)
        return file.read(end - start)


def _part_path(work: str, part: int) -> str:
    return f"{work}/part-{part:05d}"


class CountsOnDisk(Mapping[CorpusWord, int]):
    """Word counts, read from the files of the parts at every iteration."""

    def __init__(self, work: str, sizes: Sequence[int]) -> None:
        self._paths, self._size = [_part_path(work, part) for part in range(len(sizes))], sum(sizes)

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> Iterator[CorpusWord]:
        return (word for word, _ in self._pairs(self._paths))

    def __getitem__(self, word: CorpusWord) -> int:
        found = (count for other, count in self._pairs([self._paths[_part(word, len(self._paths))]]) if other == word)
        if (count := next(found, None)) is None:
            raise KeyError(word)
        return count

    def items(self) -> "_Items":
        return _Items(self)

    def values(self) -> "_Values":
        return _Values(self)

    def pairs(self) -> Iterator[tuple[CorpusWord, int]]:
        return self._pairs(self._paths)

    @staticmethod
    def _pairs(paths: Sequence[str]) -> Iterator[tuple[CorpusWord, int]]:
        for path in paths:
            with files.open_binary(path) as file:
                for line in file:
                    count, _, word = line.decode().partition("\t")
                    yield CorpusWord(*json.loads(word)), int(count)


class _Items(ItemsView[CorpusWord, int]):
    """A view that iterates over the files once; the views of `Mapping` look up every word separately."""

    _mapping: CountsOnDisk

    def __iter__(self) -> Iterator[tuple[CorpusWord, int]]:
        return self._mapping.pairs()


class _Values(ValuesView[int]):
    _mapping: CountsOnDisk

    def __iter__(self) -> Iterator[int]:
        return (count for _, count in self._mapping.pairs())
