"""WordPiece: splits a word into pieces of the vocabulary, longest match first, as BERT does."""

from collections.abc import Iterable
from typing import Any, NamedTuple

# BERT's rule: a longer word is unknown.
MAX_WORD_LENGTH = 100
# How many word endings are cached.
_RESTS = 200_000


class Piece(NamedTuple):
    """A piece that stands for `word[start:end]`."""

    piece: str
    id: int
    start: int
    end: int


# {word-initial or continuing piece: id}, and the length of the longest piece by its first character.
_Lookup = tuple[dict[str, int], dict[str, int]]


class WordPiece:
    """Splits words. A special token is never matched, even where a text spells one."""

    def __init__(self, vocab: dict[str, int], *, unk_token: str, special_tokens: Iterable[str] = ()):
        self._unknown = vocab[unk_token]
        special = {unk_token, *special_tokens}
        # Word-initial and continuing pieces are kept apart: a text that begins with "##" must not match a continuing
        # piece.
        initial = {p: i for p, i in vocab.items() if not p.startswith("##") and p not in special}
        inner = {p[2:]: i for p, i in vocab.items() if p.startswith("##") and len(p) > 2}
        self._initial, self._inner = (initial, _longest_by_first(initial)), (inner, _longest_by_first(inner))
        self._pieces = {i: p for p, i in vocab.items()}
        self._rests: dict[tuple[str, str], tuple[tuple[int, int], ...] | None] = {}

    def lengths(self, word: str, *, tag: str = "", continues: bool = False) -> tuple[tuple[int, int], ...]:
        """(id, number of characters) of each piece of a word, or of one unknown token for all of it.

        With `continues` the first piece carries ## as well. With a `tag` each piece is looked up with it
        (사과/NNG), and without it only where the vocabulary has none.
        """
        lookup = self._inner if continues else self._initial
        found = None
        if len(word) <= MAX_WORD_LENGTH:
            whole = None if tag else lookup[0].get(word)
            found = self._lengths_from(word, tag, lookup) if whole is None else ((whole, len(word)),)
        return ((self._unknown, len(word)),) if found is None else found

    def _lengths_from(self, word: str, tag: str, lookup: _Lookup) -> tuple[tuple[int, int], ...] | None:
        """The pieces after the first do not depend on it, so particles and endings are split once and cached."""
        i, length = _longest(word, tag, *lookup)
        if not length:
            return None
        rest = word[length:]
        if not rest:
            return ((i, length),)
        # Another thread may clear the table at any time.
        found = self._rests.get((rest, tag), ())
        if found == ():
            found = self._lengths_from(rest, tag, self._inner)
            if len(self._rests) >= _RESTS:
                self._rests.clear()
            self._rests[rest, tag] = found
        return None if found is None else ((i, length), *found)

    def cut(self, word: str, *, tag: str = "", continues: bool = False) -> list[Piece]:
        """`lengths` with the pieces themselves and their offsets in the word."""
        pieces, start = [], 0
        for i, length in self.lengths(word, tag=tag, continues=continues):
            pieces.append(Piece(self._pieces[i], i, start, start + length))
            start += length
        return pieces

    def cut_text(self, segmenter: Any, text: str) -> list[Piece]:
        """The pieces of a text, with offsets into the text itself.

        Pieces that share an original character (one that NFC or lower-casing expands to two) become one unknown token.
        """
        normalized = segmenter.normalize(text)
        pieces: list[Piece] = []
        for word in segmenter.words_of(normalized):
            for piece, i, start, end in self.cut(word.surface, tag=word.tag, continues=word.continues):
                start, end = normalized.span(word.start + start, word.start + end)
                if pieces and start < pieces[-1].end:
                    pieces[-1] = Piece(self._pieces[self._unknown], self._unknown, pieces[-1].start, end)
                else:
                    pieces.append(Piece(piece, i, start, end))
        return pieces


def _longest_by_first(lookup: dict[str, int]) -> dict[str, int]:
    """The length of the longest piece by its first character: no longer match needs to be tried."""
    longest: dict[str, int] = {}
    for piece in lookup:
        longest[piece[:1]] = max(longest.get(piece[:1], 0), len(piece))
    return longest


def _longest(word: str, tag: str, lookup: dict[str, int], longest: dict[str, int]) -> tuple[int, int]:
    """(id, length) of the longest piece of `lookup` that the word begins with; the length is 0 where there is none."""
    limit = min(len(word), longest.get(word[:1], 0))
    if tag:
        for end in range(limit, 0, -1):
            if (tagged := f"{word[:end]}/{tag}") in lookup:
                return lookup[tagged], end
    for end in range(limit, 0, -1):
        if (beginning := word[:end]) in lookup:
            return lookup[beginning], end
    return -1, 0
