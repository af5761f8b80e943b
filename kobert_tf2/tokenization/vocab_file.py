"""Reads, checks and writes `vocab.txt`, one piece per line."""

from collections.abc import Callable, Collection, Iterable

from kobert_tf2 import files
from kobert_tf2.errors import InputError


def load(path: str) -> dict[str, int]:
    """Reads `vocab.txt`, a piece a line, into {piece: id}, ids in the order of the lines.

    CRLF line ends and a BOM are accepted; blank lines at the end are not entries. A blank line in between or a
    duplicate is an `InputError` that names the lines.
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


_SPACE = "\u2581"  # what SentencePiece writes for a space


def is_of_sentencepiece(vocab: Iterable[str]) -> bool:
    """Whether the pieces are a SentencePiece model's: more of them begin with a ▁ than continue with ##."""
    marked = [piece[:1] == _SPACE for piece in vocab if len(piece) > 2 and piece.startswith((_SPACE, "##"))]
    return bool(marked) and sum(marked) * 2 > len(marked)


def check_spelling(vocab: Iterable[str], source: str) -> None:
    """Refuses, as an `InputError`, a WordPiece vocabulary whose pieces no text can spell."""
    if is_of_sentencepiece(vocab):
        raise InputError(
            f"{source}: its pieces are a SentencePiece model's (▁ for a space), and cannot be used without it: put the "
            ".model file beside it, for pre_tokenizer='sentencepiece'"
        )
    share = _share_of_conjoining_jamo(vocab)
    if share > 0.25:
        raise InputError(
            f"{source}: spells Hangul in conjoining jamo (NFD), {share:.0%} of its pieces, and has no syllable; text "
            "is NFC here, so no word could be found in it"
        )


# Piece markers of tokenizers that cannot be reproduced here.
_MARKS_OF_OTHERS: tuple[tuple[str, Callable[[str, str], bool], str], ...] = (
    ("~~", str.startswith, "HanBERT's analyser, moran"),
    ("_", str.endswith, "KorBERT's tokenizer"),
)


def doubts(vocab: Collection[str]) -> list[str]:
    """Warnings about a WordPiece vocabulary that can be used nevertheless, one sentence each."""
    found = []
    if not any(piece.startswith("##") for piece in vocab):
        found.append("no piece carries ##, so a word that is no piece as a whole is unknown")
    for mark, has_mark, whose in _MARKS_OF_OTHERS:
        share = sum(len(piece) > len(mark) and has_mark(piece, mark) for piece in vocab) / max(1, len(vocab))
        if share > 0.05:
            found.append(
                f"{share:.0%} of its pieces carry {mark}, the mark of {whose}, which is not here: ids will differ"
            )
    if _share_of_conjoining_jamo(vocab):
        found.append("Hangul is spelt in conjoining jamo (NFD) alone, so every Korean word is unknown")
    return found


def _share_of_conjoining_jamo(vocab: Iterable[str]) -> float:
    """The share of pieces with conjoining jamo; 0 if the vocabulary has syllables."""
    if any("가" <= char <= "힣" for piece in vocab for char in piece):
        return 0.0
    jamo = [any("\u1100" <= char <= "\u11ff" for char in piece) for piece in vocab]
    return sum(jamo) / max(1, len(jamo))


def save(path: str, vocab: Iterable[str]) -> None:
    """Writes the pieces in the order given, whole or not at all."""
    with files.whole_file(path) as file:
        file.writelines(f"{piece}\n" for piece in vocab)
