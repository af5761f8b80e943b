"""One word to pieces of the vocabulary: greedily, the longest piece first, as in BERT."""

from collections.abc import Iterable
from typing import NamedTuple

# BERT's rule: a longer word is unknown.
MAX_WORD_LENGTH = 100


class Piece(NamedTuple):
    """A piece that stands for `word[start:end]`."""

    piece: str
    id: int
    start: int
    end: int


class WordPiece:
    """Cuts words. Special tokens are never found in a text, whatever it spells."""

    def __init__(self, vocab: dict[str, int], *, unk_token: str, special_tokens: Iterable[str] = ()):
        self._unknown = unk_token, vocab[unk_token]
        special = {unk_token, *special_tokens}
        # What begins a word and what goes on with one. A text that begins with "##" must not look up a continuation.
        self._initial = {p: i for p, i in vocab.items() if not p.startswith("##") and p not in special}
        self._inner = {p[2:]: i for p, i in vocab.items() if p.startswith("##") and len(p) > 2}
        self._longest_initial = _longest_by_first(self._initial)
        self._longest_inner = _longest_by_first(self._inner)
        self._pieces = {i: p for p, i in vocab.items()}

    def cut(self, word: str, *, tag: str = "", continues: bool = False) -> list[Piece]:
        """The pieces of a word, or one unknown token for all of it.

        With `continues` the first piece carries ## as well. With a `tag` each piece is looked up with it
        (사과/NNG), and without it only where the vocabulary has none.
        """
        pieces, start = [], 0
        lookup, longest = (self._inner, self._longest_inner) if continues else (self._initial, self._longest_initial)
        while start < len(word) <= MAX_WORD_LENGTH:
            found = _longest_at(word, start, tag, lookup, longest)
            if found is None:
                break
            i, end = found
            pieces.append(Piece(self._pieces[i], i, start, end))
            start, lookup, longest = end, self._inner, self._longest_inner
        return pieces if start == len(word) else [Piece(*self._unknown, 0, len(word))]

    def cut_text(self, segmenter, text: str) -> list[Piece]:
        """The pieces of a text, with offsets into the text itself.

        Pieces that share an original character (one that NFC or lower-casing writes as two) become one unknown token.
        """
        normalized = segmenter.normalize(text)
        pieces: list[Piece] = []
        for word in segmenter.words_of(normalized):
            for piece, i, start, end in self.cut(word.surface, tag=word.tag, continues=word.continues):
                start, end = normalized.span(word.start + start, word.start + end)
                if pieces and start < pieces[-1].end:
                    pieces[-1] = Piece(*self._unknown, pieces[-1].start, end)
                else:
                    pieces.append(Piece(piece, i, start, end))
        return pieces


def _longest_by_first(lookup: dict[str, int]) -> dict[str, int]:
    """The length of the longest piece that begins with each character: nothing longer need be tried."""
    longest: dict[str, int] = {}
    for piece in lookup:
        longest[piece[:1]] = max(longest.get(piece[:1], 0), len(piece))
    return longest


def _longest_at(
    word: str, start: int, tag: str, lookup: dict[str, int], longest: dict[str, int]
) -> tuple[int, int] | None:
    """(id, end) of the longest piece of `lookup` that the word has at `start`."""
    limit = min(len(word), start + longest.get(word[start], 0))
    for suffix in (f"/{tag}", "") if tag else ("",):
        for end in range(limit, start, -1):
            i = lookup.get(word[start:end] + suffix)
            if i is not None:
                return i, end
    return None
