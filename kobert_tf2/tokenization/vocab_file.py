"""`vocab.txt`, a piece a line: read and checked, and written."""

from collections.abc import Iterable

from kobert_tf2 import files
from kobert_tf2.errors import InputError


def load(path: str) -> dict[str, int]:
    """Reads `vocab.txt`, a piece a line, into {piece: id}, ids in the order of the lines.

    CRLF and a BOM are read over; blank lines at the end are not entries. A hole or a duplicate is an `InputError` with
    its lines.
    """
    return check(files.read_lines(path), path)


def check(pieces: Iterable[str], source: str = "vocabulary") -> dict[str, int]:
    """{piece: id} of pieces in order; `source` names them in the errors."""
    vocab: dict[str, int] = {}
    blank = None
    for line, piece in enumerate(pieces, start=1):
        if not piece.strip(" \t"):
            blank = blank or line
            continue
        if blank:
            raise InputError(f"{source}, line {blank}: expected a piece, but the line is empty; every line is one id")
        if piece in vocab:
            raise InputError(
                f"{source}, line {line}: {piece!r} is there already, at line {vocab[piece] + 1}; every piece has one id"
            )
        vocab[piece] = line - 1
    if not vocab:
        raise InputError(f"{source}: expected a piece a line, but it is empty")
    return vocab


def save(path: str, vocab: Iterable[str]) -> None:
    """Writes the pieces in the order given, whole or not at all."""
    with files.whole_file(path) as file:
        file.writelines(f"{piece}\n" for piece in vocab)
