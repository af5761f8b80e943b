"""Learns sub-words from word counts with tensorflow_text's WordPiece learner, extended to words that continue an
eojeol.

TensorFlow is imported only when pieces are requested.
"""

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

# The maximum length of a learned piece, and of the words it is learned from (Mecab groups up to 24 unknown characters).
LONGEST_PIECE = 24
_MARKER = "\U0010ffff"
_FIRST_SYMBOL = 0xF0000
_SYMBOLS = 0x1FFFE
_ITERATIONS = 4
# The learner may return up to this many times the number of pieces wanted.
_SURPLUS = 1.15

Found = TypeVar("Found", bound=set)


class WordPieceLearner:
    """Adapts the learner, which knows only words and ##, by encoding everything else in its words.

    A word that continues an eojeol is prefixed with a marker, so that "marker + 를", and ##를 after the marker, both
    stand for our ##를. With tags, each (character, tag) becomes one symbol, a private-use character. The learner's own
    search for the size never tries a threshold below 10 and may overshoot, so the threshold is searched for here.

    `words` are (surface, tag, continues) with their counts.
    """

    def __init__(self, words: Mapping[Any, int]):
        self._symbols: dict[tuple[str, str], str] = {}
        encoded = ((self._encode(*word), count) for word, count in sorted(words.items()) if _fits(word[0]))
        self._words = [(word, count) for word, count in encoded if word]
        self._spelled = {symbol: spelled for spelled, symbol in self._symbols.items()}

    def pieces(self, wanted: int) -> list[tuple[str, str, bool]]:
        """At least `wanted` pieces (surface, tag, continues), if the words have as many, and not many more; sorted."""
        if not self._words:
            return []
        return sorted(_search(self._with_threshold, wanted, max(count for _, count in self._words)))

    def _with_threshold(self, threshold: int) -> set[tuple[str, str, bool]]:
        from tensorflow_text.tools.wordpiece_vocab import wordpiece_tokenizer_learner_lib as learner

        parameters = learner.Params(
            upper_thresh=None,
            lower_thresh=None,
            num_iterations=_ITERATIONS,
            max_input_tokens=-1,
            max_token_length=LONGEST_PIECE + 1,
            max_unique_chars=0,
            vocab_size=0,
            slack_ratio=0,
            include_joiner_token=True,
            joiner="##",
            reserved_tokens=[],
        )
        pieces = map(self._decode, learner.learn_with_thresh(self._words, threshold, parameters))
        return {piece for piece in pieces if piece[0]}

    def _encode(self, surface: str, tag: str, continues: bool) -> str:
        """A word encoded for the learner; empty if the symbols are used up (131,070 characters with tags)."""
        symbols = [self._symbol(char, tag) for char in surface] if tag else list(surface)
        return (_MARKER if continues else "") + "".join(symbols) if all(symbols) else ""

    def _symbol(self, char: str, tag: str) -> str:
        if (char, tag) not in self._symbols and len(self._symbols) < _SYMBOLS:
            self._symbols[char, tag] = chr(_FIRST_SYMBOL + len(self._symbols))
        return self._symbols.get((char, tag), "")

    def _decode(self, piece: str) -> tuple[str, str, bool]:
        """Decodes a piece of the learner to (surface, tag, continues); the surface of the marker itself is empty."""
        continues = piece.startswith(("##", _MARKER))
        symbols = piece.removeprefix("##").removeprefix(_MARKER)
        spelled = [self._spelled.get(symbol, (symbol, "")) for symbol in symbols]
        return "".join(char for char, _ in spelled), spelled[0][1] if spelled else "", continues


def _fits(surface: str) -> bool:
    """Whether the learner can process a word; "#" and private-use characters have a special meaning in the encoding."""
    return len(surface) <= LONGEST_PIECE and "#" not in surface and max(surface) < chr(_FIRST_SYMBOL)


def _search(find: Callable[[int], Found], wanted: int, highest: int) -> Found:
    """The pieces for approximately the highest threshold that gives at least `wanted`; for threshold 1 if none does.

    The number of pieces depends on the logarithm of the threshold, so the search bisects at the geometric mean.
    """
    low, high, best = 1, highest, None
    threshold = min(10, highest)
    while low <= high:
        found = find(threshold)
        if len(found) >= wanted or threshold == 1:
            best, low = found, threshold + 1
            if len(found) <= _SURPLUS * wanted:
                break
        else:
            high = threshold - 1
        threshold = max(low, min(high, int((low * high) ** 0.5)))
    return best if best is not None else find(1)
