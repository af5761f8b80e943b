"""Text normalisation that maps every character back to the original string.

The result is NFC, without control and format characters (zero-width, bidi), and with a plain space for every
white-space character. This is what BERT's own cleaning does, except that visible characters that BERT drops (U+FFFD,
private use) are kept: no offset can point at a character that is gone. Lower-casing and stripping accents are separate
switches; neither ever decomposes Hangul.

Characters may be composed (a jamo sequence becomes one syllable) or, rarely, expanded (a character that NFC writes as
two): `Normalized` keeps the original span of each of its characters.
"""

import functools
import re
import unicodedata
from collections.abc import Iterable, Sequence
from typing import NamedTuple

_REPLACEMENT = "\ufffd"
# Trying all cuts takes quadratic time; no writing system stacks more marks than this.
_LONGEST_CLUSTER_TO_CUT = 16

# White space as BERT defines it; the other characters of `str.isspace` (vertical tab, NEL ...) are control characters.
_WHITE_SPACE = re.compile("[\t\n\r\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]")


class Normalized(NamedTuple):
    """A normalised text. `starts[i]:ends[i]` is the original span of its character i; both are None if no offset
    changed.
    """

    text: str
    starts: Sequence[int] | None = None
    ends: Sequence[int] | None = None

    def span(self, start: int, end: int) -> tuple[int, int]:
        """The original span of the non-empty span `start:end` of the normalised text."""
        return (start, end) if self.starts is None or self.ends is None else (self.starts[start], self.ends[end - 1])

    def seams(self) -> set[int]:
        """Positions at which the text must not be split, because one original character is on both sides."""
        if self.starts is None or self.ends is None:
            return set()
        return {i for i in range(1, len(self.text)) if self.starts[i] < self.ends[i - 1]}


class Normalizer:
    """Normalises strings. `lower_case` and `strip_accents` are BERT's, except that Hangul is never decomposed."""

    def __init__(self, *, lower_case: bool = False, strip_accents: bool = False):
        self.lower_case = lower_case
        self.strip_accents = strip_accents

    def __call__(self, text: str) -> Normalized:
        if not text.isprintable():
            text = _WHITE_SPACE.sub(" ", text)
        if self._is_plain(text):
            return Normalized(text)
        if self.lower_case and self._is_plain(text, cased=True):
            return Normalized(text.lower())
        return self._rewrite(text)

    def _is_plain(self, text: str, *, cased: bool = False) -> bool:
        """Whether no offset changes; with `cased`, whether only lower-casing in place remains to be done."""
        if text.isascii():
            return text.isprintable() and (cased or not self.lower_case or text.islower() or text == text.lower())
        if not (text.isprintable() and unicodedata.is_normalized("NFC", text)):
            return False
        if self.strip_accents and accented().search(text):
            return False
        if not self.lower_case:
            return True
        # Only U+0130 gets longer in lower case, and only sigma depends on its neighbours.
        return "\u0130" not in text and "\u03a3" not in text if cased else text == text.lower()

    def _rewrite(self, text: str) -> Normalized:
        out: list[str] = []
        starts: list[int] = []
        ends: list[int] = []
        plain_from = 0
        for match in _odd(self.lower_case, self.strip_accents).finditer(text):
            _keep(text, plain_from, match.start(), self.lower_case, out, starts, ends)
            for cluster, positions in _clusters(match):
                self._rewrite_cluster(cluster, positions, out, starts, ends)
            plain_from = match.end()
        _keep(text, plain_from, len(text), self.lower_case, out, starts, ends)
        return Normalized("".join(out), starts, ends)

    def _rewrite_cluster(
        self, cluster: str, positions: list[int], out: list[str], starts: list[int], ends: list[int]
    ) -> None:
        """Normalises a base character with its marks: unchanged characters keep their own offsets, otherwise all share
        the span.
        """
        new = self._of_cluster(cluster)
        if new == cluster:
            starts.extend(positions)
            ends.extend(position + 1 for position in positions)
        elif len(new) > 1 and (cut := self._seam_free_cut(cluster, new)):
            self._rewrite_cluster(cluster[:cut], positions[:cut], out, starts, ends)
            self._rewrite_cluster(cluster[cut:], positions[cut:], out, starts, ends)
            return
        else:
            starts.extend([positions[0]] * len(new))
            ends.extend([positions[-1] + 1] * len(new))
        out.append(new)

    def _seam_free_cut(self, cluster: str, new: str) -> int:
        """Where a cluster splits into two that are normalised independently (a syllable and a loose final consonant),
        or 0.
        """
        if len(cluster) > _LONGEST_CLUSTER_TO_CUT:
            return 0
        cuts = range(1, len(cluster))
        return next((i for i in cuts if self._of_cluster(cluster[:i]) + self._of_cluster(cluster[i:]) == new), 0)

    def _of_cluster(self, cluster: str) -> str:
        new = unicodedata.normalize("NFC", "".join(_REPLACEMENT if _is_surrogate(c) else c for c in cluster))
        if self.strip_accents:
            new = without_accents(new)
        if self.lower_case:
            new = unicodedata.normalize("NFC", "".join(c.lower() for c in new))
        return new


def without_accents(text: str) -> str:
    """Removes non-spacing marks and composes the rest again."""
    bare = (c for c in unicodedata.normalize("NFD", text) if unicodedata.category(c) != "Mn")
    return unicodedata.normalize("NFC", "".join(bare))


def _keep(
    text: str, start: int, end: int, lower_case: bool, out: list[str], starts: list[int], ends: list[int]
) -> None:
    """Copies a stretch in which no offset changes."""
    if start < end:
        stretch = text[start:end]
        out.append(stretch.lower() if lower_case else stretch)
        starts.extend(range(start, end))
        ends.extend(range(start + 1, end + 1))


def _clusters(match: re.Match) -> Iterable[tuple[str, list[int]]]:
    """Splits a stretch into clusters (base and marks, their positions), without the characters that are removed.

    A character removed between a base and its mark is inside the span: e, zero-width space, acute become one é.
    """
    removed, joins = _removed(), _joining()
    cluster = ""
    positions: list[int] = []
    for position, char in enumerate(match.group(), start=match.start()):
        if removed.match(char):
            continue
        if cluster and not joins.match(char):
            yield cluster, positions
            cluster, positions = "", []
        cluster += char
        positions.append(position)
    if cluster:
        yield cluster, positions


def _is_surrogate(char: str) -> bool:
    return "\ud800" <= char <= "\udfff"


def comparable(text: str) -> str:
    """The form in which labels, column names and ids are compared: NFC, without control and zero-width characters,
    every run of white space as one space, none at the ends.
    """
    return " ".join(_plain_normalizer(text).text.split())


_plain_normalizer = Normalizer()

# Letters and symbols that are invisible: Hangul fillers, the blank of braille.
_FILLERS = frozenset("\u115f\u1160\u3164\uffa0\u2800")
_INVISIBLE = frozenset(("Cc", "Cf", "Zs", "Zl", "Zp"))


def is_blank(text: str) -> bool:
    """Whether a text is invisible: empty, or white space, control and zero-width characters and fillers alone.

    All readers of files use this to decide what an empty line is.
    """
    return all(char in _FILLERS or unicodedata.category(char) in _INVISIBLE for char in text)


# --- Classes of characters, each found once by asking unicodedata about all of them ---


def character_class(characters: Iterable[int]) -> str:
    """A character class of a regular expression, as ranges, for code points in ascending order."""
    ranges: list[list[int]] = []
    for code in characters:
        if ranges and ranges[-1][1] == code - 1:
            ranges[-1][1] = code
        else:
            ranges.append([code, code])
    return "".join(f"\\U{first:08x}-\\U{last:08x}" for first, last in ranges)


# No character in these ranges is punctuation, control or a mark, or changes by NFC or by stripping accents (a test
# checks all of them): ideographs, Hangul syllables, surrogates, private use, and unassigned planes. Checking these
# 250,000 would cost every process a quarter of a second.
UNREMARKABLE = (
    range(0x3400, 0x4DC0),
    range(0x4E00, 0xA000),
    range(0xAC00, 0xD7A4),
    range(0xD800, 0xF900),
    range(0x17000, 0x18D00),
    range(0x20000, 0x2F800),
    range(0x2FA20, 0xE0000),
    range(0xE1000, 0x110000),
)


def code_points() -> Iterable[int]:
    """All code points outside `UNREMARKABLE`, in ascending order."""
    start = 0
    for passed_over in UNREMARKABLE:
        yield from range(start, passed_over.start)
        start = passed_over.stop


@functools.cache
def _removed() -> re.Pattern:
    """Control and format characters. White space has been replaced by plain spaces before."""
    return re.compile(f"[{character_class(_removed_codes())}]")


def _removed_codes() -> list[int]:
    return [code for code in code_points() if unicodedata.category(chr(code)) in ("Cc", "Cf")]


@functools.cache
def _joining() -> re.Pattern:
    """Characters that NFC may compose with, or reorder with, the one before them."""
    return re.compile(f"[{character_class(_joining_codes())}]")


@functools.cache
def _joining_codes() -> list[int]:
    joining = set(range(0x1161, 0x1176)) | set(range(0x11A8, 0x11C3))
    for code in code_points():
        if unicodedata.combining(chr(code)):
            joining.add(code)
        decomposed = unicodedata.normalize("NFD", chr(code))
        joining.update(map(ord, decomposed[1:]))
    return sorted(joining)


@functools.cache
def accented() -> re.Pattern:
    """The characters that `without_accents` changes."""
    changed = (
        code for code in code_points() if without_accents(chr(code)) != chr(code) and not _is_surrogate(chr(code))
    )
    return re.compile(f"[{character_class(changed)}]")


@functools.cache
def _odd(lower_case: bool, strip_accents: bool) -> re.Pattern:
    """Stretches in which offsets change, with the character before them, which a mark may combine with."""
    codes = set(_removed_codes()) | set(_joining_codes()) | set(range(0xD800, 0xE000))
    codes.update(code for code in code_points() if unicodedata.normalize("NFC", chr(code)) != chr(code))
    if lower_case:
        codes.update((0x130, 0x3A3))
    if strip_accents:
        codes.update(code for code in code_points() if accented().match(chr(code)))
    odd = character_class(sorted(codes))
    return re.compile(f"[^{odd}]?[{odd}]+", re.DOTALL)
