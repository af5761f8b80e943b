"""Splits a text corpus into blocks of whole documents, which any number of processes can read in any order.

The format is the original's: one sentence per line, and an empty line between documents (a line with only invisible
characters counts as empty). The end of a file ends its last document (the original joins it to the first document of
the next file). With `input_format="paragraphs"` each line is a paragraph, which is split into sentences here.

A block is a byte range that ends at the end of a document, so it can be read and tokenized on its own. A document
longer than `_LONGEST` blocks is split, and the splits are counted.
"""

import functools
import os
from collections.abc import Callable, Iterator
from typing import NamedTuple

import google_crc32c

from kobert_tf2 import files
from kobert_tf2.errors import InputError
from kobert_tf2.tokenization.normalization import is_blank

INPUT_FORMATS = ("lines", "paragraphs")
_MIB = 1 << 20
_LONGEST = 4
_LONGEST_LINE = 16 * _MIB
_BOM = b"\xef\xbb\xbf"


class Block(NamedTuple):
    """The bytes `start` to `end` of a file. They contain `documents` documents and begin at line `first_line`.

    With `is_cut` its last document continues in the next block. `crc32c` is the checksum of its bytes.
    """

    path: str
    start: int
    end: int
    first_line: int
    documents: int
    is_cut: bool
    crc32c: int


def block_bytes(corpus_bytes: int) -> int:
    """The block size: 1 MiB, or from a corpus of 1 GiB on as much as gives about a thousand blocks, at most 16 MiB."""
    return min(max(corpus_bytes // 1024, _MIB), 16 * _MIB)


def size_of(path: str) -> int:
    with files.open_binary(path) as file:
        file.seek(0, os.SEEK_END)
        return file.tell()


def blocks(path: str, size: int) -> Iterator[Block]:
    """Reads a file once and splits it at the first empty line after every `size` bytes."""
    start = end = crc = documents = 0
    first_line, number, in_document = 1, 0, False
    for number, line in enumerate(_lines(path), start=1):
        is_empty = _is_blank(line)
        documents += in_document and is_empty
        in_document = not is_empty
        end += len(line)
        crc = google_crc32c.extend(crc, line)
        is_cut = in_document and end - start >= _LONGEST * size
        if is_cut or (is_empty and end - start >= size):
            yield Block(path, start, end, first_line, documents + in_document, is_cut, crc)
            start, crc, documents, first_line, in_document = end, 0, 0, number + 1, False
    if end > start:
        yield Block(path, start, end, first_line, documents + in_document, False, crc)


def _is_blank(line: bytes) -> bool:
    """`is_blank` for the line's text. For most lines the first byte decides: visible ASCII, or part of Hanja or
    Hangul.
    """
    first = line.lstrip()[:1]
    if b"!" <= first <= b"~" or b"\xe4" <= first <= b"\xed":
        return False
    return is_blank(line.decode("utf-8", "replace"))


def _lines(path: str) -> Iterator[bytes]:
    with files.open_binary(path) as file:
        number = 0
        while line := file.readline(_LONGEST_LINE):
            number += 1
            if number == 1:
                files.check_beginning(line, path)
            if len(line) == _LONGEST_LINE and not line.endswith(b"\n"):
                raise InputError(
                    f"{path}, line {number}: expected a sentence or a paragraph a line, but this one is longer than "
                    f"{_LONGEST_LINE // _MIB} MiB"
                )
            yield line


def read_documents(block: Block, *, input_format: str = "lines") -> list[list[str]]:
    """The documents of a block, each a list of sentences; raises `InputError` with the line for bytes that are not
    UTF-8.
    """
    with files.open_binary(block.path) as file:
        file.seek(block.start)
        content = file.read(block.end - block.start)
    if google_crc32c.value(content) != block.crc32c:
        raise InputError(f"{block.path}: the file has changed while it was being read")
    split = _sentence_splitter() if input_format == "paragraphs" else lambda line: [line]
    documents: list[list[str]] = [[]]
    lines = content.removeprefix(_BOM if block.start == 0 else b"").split(b"\n")
    for number, line in enumerate(lines, start=block.first_line):
        text = files.decode_line(line, block.path, number)
        if not is_blank(text):
            documents[-1] += split(text.strip())
        elif documents[-1]:
            documents.append([])
    return documents if documents[-1] else documents[:-1]


@functools.cache
def _sentence_splitter() -> Callable[[str], list[str]]:
    """Kiwi's sentence splitter: it processes 60 KB/s per core, a hundred times as much as kss, and is available as a
    wheel.
    """
    try:
        import kiwipiepy
    except ImportError:
        raise InputError(
            "input_format=paragraphs needs the sentence splitter kiwipiepy: pip install 'kobert_tf2[sentences]'"
        ) from None
    kiwi = kiwipiepy.Kiwi(num_workers=1)
    return lambda text: [sentence.text for sentence in kiwi.split_into_sents(text)]


def sentence_splitter_version() -> str:
    """The splitter's version, for the side-car: it determines the sentences."""
    _sentence_splitter()
    import kiwipiepy

    return f"kiwipiepy {kiwipiepy.__version__}"
