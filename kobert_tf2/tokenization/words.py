"""Pre-tokenization: the words that WordPiece splits, which are Mecab's morphemes or the words of plain BERT.

A word is first a "key": its text with the spaces before it and, where a setting needs it, a tab and Mecab's feature.
The keys of a text add up to the text, so their cumulative lengths are the offsets. The pieces of a word depend on its
key alone, so they can be cached.
"""

import functools
import re
import unicodedata
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from kobert_tf2.errors import InputError
from kobert_tf2.tokenization.mecab import MorphemeAnalyser, read_feature, spelled_parts
from kobert_tf2.tokenization.normalization import Normalized, Normalizer, character_class, code_points


class Word(NamedTuple):
    """A morpheme, a part of one, or a word of plain BERT, from `start` to `end`.

    `begins`: it begins an eojeol. `continues`: its first piece carries ##. `tag` is empty where tags are off.
    """

    surface: str
    tag: str
    start: int
    end: int
    begins: bool
    continues: bool


class Segmenter:
    """Cuts text into words; the settings are those of `Tokenizer`."""

    def __init__(
        self,
        *,
        pre_tokenizer: str = "mecab",
        continuation: str = "eojeol",
        tags: bool = False,
        decompose_compounds: bool = False,
        do_lower_case: bool = False,
        strip_accents: bool = False,
        dictionary: str | None = None,
        user_dictionary: str | None = None,
    ):
        _one_of("pre_tokenizer", pre_tokenizer, ("mecab", "none"))
        _one_of("continuation", continuation, ("eojeol", "morpheme"))
        if pre_tokenizer == "none" and (tags or decompose_compounds):
            raise InputError(
                "tags and decompose_compounds need morphemes: expected pre_tokenizer='mecab'. Received: 'none'"
            )
        self.settings: dict[str, Any] = {
            "pre_tokenizer": pre_tokenizer,
            "continuation": continuation,
            "tags": bool(tags),
            "decompose_compounds": bool(decompose_compounds),
            "do_lower_case": bool(do_lower_case),
            "strip_accents": bool(strip_accents),
            "dictionary": dictionary,
            "user_dictionary": user_dictionary,
        }
        self.normalize = Normalizer(lower_case=do_lower_case, strip_accents=strip_accents)
        self.analyser = MorphemeAnalyser(dictionary, user_dictionary) if pre_tokenizer == "mecab" else None
        self._eojeol_wise = continuation == "eojeol"
        self._tags = bool(tags)
        self._decompose = bool(decompose_compounds)

    def __reduce__(self) -> tuple:
        return functools.partial(type(self), **self.settings), ()

    def keys(self, text: str) -> tuple[list[str], int]:
        """The keys of a normalised text, and where the first one begins; see `lines_of_texts`."""
        if self.analyser is None:
            keys = _plain_words().findall(text.rstrip(" "))
        else:
            keys = self.analyser.keys(text, features=self._tags or self._decompose)
        if not keys or keys[0].startswith(" "):
            return keys, 0
        keys[0] = " " + keys[0]
        return keys, -1

    def lines_of_texts(self, texts: Sequence[str]) -> tuple[list[str], list[int]]:
        """For each normalised text, its keys as one string (one line per key, an empty line at the end) and the
        character at which its first key begins.

        The start of a text starts an eojeol, so its first key is given the space that it lacks and then begins at -1.
        """
        if self.analyser is None:
            find = _plain_words().findall
            # Without this, trailing spaces would be matched from each of them in turn: quadratic time.
            lines = ["\n".join((*find(text.rstrip(" ")), "", "")) for text in texts]
        else:
            lines = self.analyser.lines_of_texts(texts, features=self._tags or self._decompose)
        shifts = [0 if one[0] in " \n" else -1 for one in lines]
        return [" " + one if shift else one for one, shift in zip(lines, shifts, strict=True)], shifts

    def words(self, text: str) -> list[Word]:
        """The words of any string, with offsets into the string itself."""
        normalized = self.normalize(text)
        found = []
        for word in self.words_of(normalized):
            start, end = normalized.span(word.start, word.end)
            found.append(word._replace(start=start, end=end))
        return found

    def words_of(self, normalized: Normalized) -> Iterator[Word]:
        """The words of a normalised text, with offsets into that."""
        keys, position = self.keys(normalized.text)
        for key in keys:
            for word in self.words_of_key(key):
                yield word._replace(start=position + word.start, end=position + word.end)
            position += length_of_key(key)

    def words_of_key(self, key: str) -> list[Word]:
        """The words of a key (the parts of a compound, where compounds are decomposed), with offsets from the key's
        start.
        """
        spaced, _, feature = key.partition("\t")
        surface = spaced.lstrip(" ")
        if not surface:
            return []
        start = len(spaced) - len(surface)
        if not feature and " " not in surface:
            continues = start == 0 and self._eojeol_wise and self.analyser is not None
            return [Word(surface, "", start, len(spaced), start > 0, continues)]
        tag, kind, expression = read_feature(feature) if feature else ("", "", "")
        parts = spelled_parts(surface, expression) if self._decompose and kind == "Compound" else []
        words: list[Word] = []
        for part, part_tag in parts or [(surface, tag)]:
            words += self._words_of_part(part, part_tag if self._tags else "", start, first=not words)
            start += len(part)
        return words

    def _words_of_part(self, part: str, tag: str, start: int, *, first: bool) -> list[Word]:
        """A part as one word, or as several if its surface contains a space, as an entry of a user dictionary may."""
        words = []
        for match in re.finditer("[^ ]+", part):
            begins = match.start() > 0 or (first and start > 0)
            continues = not begins and (self._eojeol_wise or not first)
            words.append(Word(match.group(), tag, start + match.start(), start + match.end(), begins, continues))
        return words


def length_of_key(key: str) -> int:
    """The number of characters of the text that a key covers, spaces included."""
    tab = key.find("\t")
    return len(key) if tab < 0 else tab


def _one_of(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise InputError(f"{name}: expected one of {', '.join(choices)}. Received: {value!r}")


# --- Words of plain BERT: punctuation and ideographs stand alone, the rest goes up to the next white space ---

_IDEOGRAPHS = (
    (0x3400, 0x4DBF),
    (0x4E00, 0x9FFF),
    (0xF900, 0xFAFF),
    (0x20000, 0x2A6DF),
    (0x2A700, 0x2B73F),
    (0x2B740, 0x2B81F),
    (0x2B820, 0x2CEAF),
    (0x2F800, 0x2FA1F),
)


@functools.cache
def _plain_words() -> re.Pattern:
    """A word with the spaces before it, for `findall`."""
    punctuation = character_class(code for code in code_points() if _is_punctuation(chr(code)))
    single = punctuation + "".join(f"\\U{first:08x}-\\U{last:08x}" for first, last in _IDEOGRAPHS)
    return re.compile(f" *(?:[^ {single}]+|[{single}])")


def _is_punctuation(char: str) -> bool:
    """BERT's: everything of ASCII that is no letter, digit or space, and Unicode's P categories."""
    if char < "\x80":
        return "!" <= char <= "~" and not char.isalnum()
    return unicodedata.category(char).startswith("P")
