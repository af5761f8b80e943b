"""Splits text as the `sentencepiece` package does, with offsets into the original text.

The package normalises a text (NFKC with most models), writes ▁ for each space and before the text, and splits the
result. The characters of a piece are found with the package's own alignment: ▁ stands for no character, so it widens no
span; a character that was expanded (㈜ to "(주)") belongs to every piece with a part of it; a removed character
(control characters) is in no piece.

This module needs neither NumPy nor the rest of the package, because `hf_bundle.py` copies it into the file for
transformers.
"""

import functools
from typing import Any, NamedTuple

from kobert_tf2.errors import InputError

SPACE = "\u2581"
_REPLACEMENT = "\ufffd"


class Cut(NamedTuple):
    """A piece that stands for `text[start:end]`; `begins`: it begins with a ▁. A ▁ alone is empty, start == end."""

    piece: str
    start: int
    end: int
    begins: bool


class SentencePieceModel:
    """A `.model` file. With `do_lower_case` texts are lower-cased first, character by character."""

    def __init__(self, path: str, *, do_lower_case: bool = False):
        self.path, self._lower_case = path, do_lower_case
        self._processor = _load(path)
        self._is_ignored = functools.cache(lambda char: not self._processor.normalize(char).strip(SPACE))

    def pieces(self) -> list[str]:
        """Its vocabulary, in the order of its own ids."""
        return [self._processor.id_to_piece(i) for i in range(self._processor.get_piece_size())]

    def prepared(self, text: str) -> str:
        """The text that the package is given; no offset changes."""
        if not text.isascii():
            text = "".join(_REPLACEMENT if "\ud800" <= char <= "\udfff" else char for char in text)
        return "".join(map(_lower, text)) if self._lower_case else text

    def normalize(self, text: str) -> str:
        """The normalised text that is split, with plain spaces."""
        return self._processor.normalize(self.prepared(text)).replace(SPACE, " ").strip(" ")

    def tokenize(self, text: str) -> list[str]:
        """The pieces of a text."""
        return self._processor.encode(self.prepared(text), out_type=str)

    def cut(self, text: str) -> list[Cut]:
        """The pieces of a text with their offsets."""
        text = self.prepared(text)
        pieces = self._processor.encode(text, out_type=str)
        if not pieces:
            return []
        normalized, places = self._processor.normalize(text, with_offsets=True)
        if sum(map(len, pieces)) != len(normalized):
            raise InputError(f"{self.path}: its pieces do not spell the text {text[:50]!r}: this model cannot be used")
        ends = _ends(places)
        cuts, begin = [], 0
        for piece in pieces:
            first, last = begin + len(piece) - len(piece.lstrip(SPACE)), begin + len(piece.rstrip(SPACE))
            begin += len(piece)
            if first < last:
                start, end = places[first], ends[last - 1]
                while end > start + 1 and self._is_ignored(text[end - 1]):
                    end -= 1
            else:
                start = end = places[begin]
            cuts.append(Cut(piece, start, end, piece.startswith(SPACE)))
        return cuts


def _load(path: str) -> Any:
    try:
        import sentencepiece
    except ImportError:
        raise InputError(f"{path}: a SentencePiece model needs sentencepiece: pip install sentencepiece") from None
    try:
        processor = sentencepiece.SentencePieceProcessor(model_file=path)
    except (OSError, RuntimeError, TypeError) as error:
        raise InputError(f"{path}: sentencepiece cannot read it as a model ({str(error).splitlines()[0]})") from None
    if any(processor.is_byte(i) for i in range(processor.get_piece_size())):
        raise InputError(f"{path}: its pieces for single bytes cannot be mirrored: they are no part of a text")
    return processor


def _lower(char: str) -> str:
    lower = char.lower()
    return lower if len(lower) == 1 else char


def _ends(places: list[int]) -> list[int]:
    """The end of the original of each normalised character: the start of the next original that differs."""
    ends, end = [0] * (len(places) - 1), places[-1]
    for i in range(len(ends) - 1, -1, -1):
        if places[i] != places[i + 1]:
            end = places[i + 1]
        ends[i] = end
    return ends
