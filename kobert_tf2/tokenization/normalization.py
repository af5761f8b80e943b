"""Text made uniform, with every character's way back to the original string.

What comes out is NFC, without control, format (zero-width, bidi) characters and with a plain space for every white-
space character. What goes is what BERT's own cleaning takes away; what BERT would drop although a reader can see it
(U+FFFD, private use) stays, because a character that vanishes cannot be pointed at. Lower-casing and the taking off
of accents are separate switches; neither ever takes Hangul apart.

The text may be combined anew (a jamo sequence becomes one syllable) or, rarely, become longer (a character that NFC
writes as two): `Normalized` keeps, for each of its characters, the span of the original that it came from.
"""

import functools
import re
import unicodedata
from collections.abc import Iterable, Sequence
from typing import NamedTuple

_REPLACEMENT = "\ufffd"
# Trying all cuts costs the square: no writing system stacks more marks than this.
_LONGEST_CLUSTER_TO_CUT = 16

# White space is what BERT counts as such; the rest of what `str.isspace` knows (vertical tab, NEL ...) are control
# characters.
_WHITE_SPACE = re.compile("[\t\n\r\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]")


class Normalized(NamedTuple):
    """A normalised text; `starts[i]:ends[i]` is the original of its character i (both None: nothing has moved)."""

    text: str
    starts: Sequence[int] | None = None
    ends: Sequence[int] | None = None

    def span(self, start: int, end: int) -> tuple[int, int]:
        """The original span of the non-empty normalised span `start:end`."""
        return (start, end) if self.starts is None or self.ends is None else (self.starts[start], self.ends[end - 1])

    def seams(self) -> set[int]:
        """Positions at which the text must not be cut: one original character stands on both sides."""
        if self.starts is None or self.ends is None:
            return set()
        return {i for i in range(1, len(self.text)) if self.starts[i] < self.ends[i - 1]}


class Normalizer:
    """Normalises strings. `lower_case` and `strip_accents` as in BERT, except that Hangul stays whole."""

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
        """Whether nothing moves; with `cased`, whether nothing but lower-casing in place is left to do."""
        if text.isascii():
            return text.isprintable() and (cased or not self.lower_case or text.islower() or text == text.lower())
        if not (text.isprintable() and unicodedata.is_normalized("NFC", text)):
            return False
        if self.strip_accents and accented().search(text):
            return False
        if not self.lower_case:
            return True
        # Only U+0130 grows in lower case, and only the sigma looks at its neighbours.
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
        """A base with its marks: each character keeps its own place if it stays itself, otherwise all share the
        span.
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
        """Where a cluster falls into two that are normalised apart (a syllable and a loose final); 0: nowhere."""
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
    """Non-spacing marks taken off, the rest composed again."""
    bare = (c for c in unicodedata.normalize("NFD", text) if unicodedata.category(c) != "Mn")
    return unicodedata.normalize("NFC", "".join(bare))


def _keep(
    text: str, start: int, end: int, lower_case: bool, out: list[str], starts: list[int], ends: list[int]
) -> None:
    """Copies a stretch in which nothing moves."""
    if start < end:
        stretch = text[start:end]
        out.append(stretch.lower() if lower_case else stretch)
        starts.extend(range(start, end))
        ends.extend(range(start + 1, end + 1))


def _clusters(match: re.Match) -> Iterable[tuple[str, list[int]]]:
    """Splits an odd stretch into (base and marks, where each was), what is removed taken out.

    A character removed between a base and its mark lies inside the span: e, zero-width space, acute is one é.
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
    """A label, a column's name or an id as it is compared with another: in NFC, without control and zero-width
    characters, every run of white space one space, none at the ends.
    """
    return " ".join(_plain_normalizer(text).text.split())


_plain_normalizer = Normalizer()

# Letters and symbols that are drawn as nothing: Hangul fillers, braille's blank.
_FILLERS = frozenset("\u115f\u1160\u3164\uffa0\u2800")
_INVISIBLE = frozenset(("Cc", "Cf", "Zs", "Zl", "Zp"))


def is_blank(text: str) -> bool:
    """Whether a reader sees nothing: white space, control and zero-width characters and fillers alone, or no character.

    What of a file counts as an empty line is decided here, for everyone.
    """
    return all(char in _FILLERS or unicodedata.category(char) in _INVISIBLE for char in text)


# --- Classes of characters, each found once by asking unicodedata about all of them ---


def character_class(characters: Iterable[int]) -> str:
    """A regular expression's class, as ranges, for code points in rising order."""
    ranges: list[list[int]] = []
    for code in characters:
        if ranges and ranges[-1][1] == code - 1:
            ranges[-1][1] = code
        else:
            ranges.append([code, code])
    return "".join(f"\\U{first:08x}-\\U{last:08x}" for first, last in ranges)


# Nothing there is punctuation, control, a mark, or changed by normalising to NFC or by taking accents off (a test goes
# through them): ideographs, Hangul syllables, surrogates and private use, and planes without characters. Asking about
# these 250,000 would take each process a quarter of a second.
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
    """All code points but the `UNREMARKABLE`, in rising order."""
    start = 0
    for passed_over in UNREMARKABLE:
        yield from range(start, passed_over.start)
        start = passed_over.stop


@functools.cache
def _removed() -> re.Pattern:
    """Control and format characters. What is white space has become a plain space before."""
    return re.compile(f"[{character_class(_removed_codes())}]")


def _removed_codes() -> list[int]:
    return [code for code in code_points() if unicodedata.category(chr(code)) in ("Cc", "Cf")]


@functools.cache
def _joining() -> re.Pattern:
    """Characters that NFC may join to, or move about with, the one before them."""
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
    """Characters that `without_accents` changes."""
    changed = (
        code for code in code_points() if without_accents(chr(code)) != chr(code) and not _is_surrogate(chr(code))
    )
    return re.compile(f"[{character_class(changed)}]")


@functools.cache
def _odd(lower_case: bool, strip_accents: bool) -> re.Pattern:
    """Stretches in which something moves, with the character before them, which a mark may join."""
    codes = set(_removed_codes()) | set(_joining_codes()) | set(range(0xD800, 0xE000))
    codes.update(code for code in code_points() if unicodedata.normalize("NFC", chr(code)) != chr(code))
    if lower_case:
        codes.update((0x130, 0x3A3))
    if strip_accents:
        codes.update(code for code in code_points() if accented().match(chr(code)))
    odd = character_class(sorted(codes))
    return re.compile(f"[^{odd}]?[{odd}]+", re.DOTALL)
