"""Added tokens: strings that are one piece wherever they occur in a text, as in Hugging Face's tokenizers.

A text is split at them first; each stretch between is tokenized on its own. Of several matches at a position the
longest wins. A token with `normalized` is matched in the normalised text (ignoring case if the tokenizer lower-cases),
others in the original text. White space consumed by `lstrip` and `rstrip` is not part of the token's span, so offsets
stay exact.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from kobert_tf2.errors import InputError
from kobert_tf2.tokenization.encoding import EOJEOL, WORD, Encodings
from kobert_tf2.tokenization.normalization import Normalized
from kobert_tf2.tokenization.words import Word


class AddedToken(NamedTuple):
    """An added token, under Hugging Face's names.

    `is_piece`: the token is also an ordinary piece of the vocabulary, which WordPiece may match inside a word.
    """

    content: str
    single_word: bool = False
    lstrip: bool = False
    rstrip: bool = False
    normalized: bool = True
    special: bool = False
    is_piece: bool = False

    def switches(self) -> dict:
        """Hugging Face's fields without the content."""
        return {name: value for name, value in self._asdict().items() if name not in ("content", "is_piece")}


def added_token(value: "str | dict | AddedToken") -> AddedToken:
    """An `AddedToken` from a string or from its fields."""
    if isinstance(value, dict) and not value.keys() <= set(AddedToken._fields):
        raise InputError(f"added_tokens: expected fields of {', '.join(AddedToken._fields)}. Received: {value!r:.200}")
    fields = value if isinstance(value, dict) else {"content": value}
    token = value if isinstance(value, AddedToken) else AddedToken(**{"content": "", **fields})
    if not isinstance(token.content, str) or not all(isinstance(switch, bool) for switch in token[1:]):
        raise InputError(
            f"added_tokens: expected a string and switches that are true or false. Received: {value!r:.200}"
        )
    if not token.content:
        raise InputError("added_tokens: expected a string with characters, but one is empty")
    return token


def with_special_tokens(tokenizer: Any, contents: Iterable[str]) -> Any:
    """A tokenizer in which each of these strings is one token wherever it stands: never cut, never normalised.

    Those that are no pieces of the vocabulary come after its last entry; a token that is added already is passed over.

    Raises:
        InputError: a string that is empty or has white space, or a token of BERT's own, which no text can spell.
    """
    vocab, added = dict(tokenizer.vocab), list(tokenizer.added_tokens)
    of_bert = {piece for piece, i in vocab.items() if i in tokenizer.special_ids}
    for content in dict.fromkeys(contents):
        if not content or any(character.isspace() for character in content):
            raise InputError(f"special tokens: expected strings without white space, but got {content!r}")
        if content in of_bert:
            raise InputError(
                f"special tokens: {content!r} is one of BERT's own, which no text can spell; choose another"
            )
        if all(token.content != content for token in added):
            added.append(AddedToken(content, normalized=False, special=True, is_piece=content in vocab))
            vocab.setdefault(content, len(vocab))
    if len(added) == len(tokenizer.added_tokens):
        return tokenizer
    settings = {**tokenizer.settings(), "added_tokens": [token._asdict() for token in added]}
    larger = type(tokenizer)(vocab, **settings)
    larger.has_tokenizer_file = tokenizer.has_tokenizer_file
    return larger


class Place(NamedTuple):
    """`text[start:end]` is an added token."""

    content: str
    start: int
    end: int


class AddedTokens:
    """Finds added tokens. `normalize` is the tokenizer's own normalisation."""

    def __init__(self, tokens: Sequence[AddedToken], normalize: Callable[[str], Normalized]):
        self._normalize = normalize
        self._as_is = _Finder((token.content, token) for token in tokens if not token.normalized)
        self._normalized = _Finder((normalize(token.content).text, token) for token in tokens if token.normalized)

    def find(self, text: str) -> list[Place]:
        """The added tokens of a text, in order."""
        places, position = [], 0
        for content, start, end in self._as_is.find(text):
            places += [*self._find_normalized(text, position, start), Place(content, start, end)]
            position = end
        return [*places, *self._find_normalized(text, position, len(text))]

    def _find_normalized(self, text: str, begin: int, end: int) -> list[Place]:
        if self._normalized.is_empty or begin == end:
            return []
        normalized = self._normalize(text[begin:end])
        seams, places = normalized.seams(), []
        for content, start, stop in self._normalized.find(normalized.text):
            if start not in seams and stop not in seams:
                first, last = normalized.span(start, stop)
                places.append(Place(content, begin + first, begin + last))
        return places


class _Finder:
    """Matches strings, each standing for a token, with one regular expression, the longest first."""

    def __init__(self, strings: Iterable[tuple[str, AddedToken]]):
        by_length = sorted(strings, key=lambda pair: -len(pair[0]))
        self._tokens = {string: token.content for string, token in by_length if string}
        self.is_empty = not self._tokens
        alternatives = [
            rf"(?<!\w){re.escape(string)}(?!\w)" if token.single_word else re.escape(string)
            for string, token in by_length
            if string
        ]
        self._pattern = re.compile("|".join(alternatives))

    def find(self, text: str) -> list[tuple[str, int, int]]:
        """(content of the token, start, end) of each match."""
        if self.is_empty:
            return []
        return [(self._tokens[match.group()], *match.span()) for match in self._pattern.finditer(text)]


# --- What stands around them ---


def encode_around(
    texts: Sequence[str],
    added: AddedTokens,
    vocab: dict[str, int],
    encode: Callable[[Sequence[str]], Encodings],
) -> Encodings:
    """The tokens of texts: added tokens, and what `encode` returns for each stretch between them."""
    found = [added.find(text) for text in texts]
    if not any(found):
        return encode(texts)
    stretches = [_between(text, places) for text, places in zip(texts, found, strict=True)]
    encoded = encode([text[a:b] for text, bounds in zip(texts, stretches, strict=True) for a, b in bounds])
    rows, number = [], 0
    for text, places, bounds in zip(texts, found, stretches, strict=True):
        parts = []
        for place, (begin, _) in zip([None, *places], bounds, strict=True):
            if place is not None:
                begins = EOJEOL if _begins_eojeol(text, place.start) else WORD
                values = (vocab[place.content], place.start, place.end)
                ids, starts, ends = (np.array([value], np.int32) for value in values)
                parts.append(Encodings(ids, starts, ends, np.array([begins], np.int8), np.array([0, 1])))
            parts.append(_moved(encoded.alone(number), text, begin))
            number += 1
        joined = Encodings.join(parts)
        rows.append(joined._replace(rows=np.array([0, len(joined.ids)])))
    return Encodings.join(rows)


def _between(text: str, places: list[Place]) -> list[tuple[int, int]]:
    """The stretches before, between and after added tokens; some are empty."""
    begins = [0, *(place.end for place in places)]
    return list(zip(begins, [*(place.start for place in places), len(text)], strict=True))


def _begins_eojeol(text: str, position: int) -> bool:
    return position == 0 or text[position - 1].isspace()


def _moved(one: Encodings, text: str, begin: int) -> Encodings:
    """Shifts the tokens of `text[begin:...]`. What follows an added token without a space does not begin an eojeol."""
    if not begin or not len(one.ids):
        return one
    starts, begins = one.starts + np.int32(begin), one.begins.copy()
    if starts[0] == begin and begins[0] == EOJEOL:
        begins[0] = WORD
    return one._replace(starts=starts, ends=one.ends + np.int32(begin), begins=begins)


def words_around(text: str, added: AddedTokens, words: Callable[[str], list[Word]]) -> list[Word]:
    """The words of a text; an added token is one word."""
    places = added.find(text)
    found: list[Word] = []
    for place, (begin, end) in zip([None, *places], _between(text, places), strict=True):
        if place is not None:
            begins = _begins_eojeol(text, place.start)
            found.append(Word(place.content, "", place.start, place.end, begins, continues=False))
        for word in words(text[begin:end]):
            begins = word.begins and not (begin and word.start == 0)
            found.append(word._replace(start=begin + word.start, end=begin + word.end, begins=begins))
    return found
