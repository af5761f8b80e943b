"""The data of the rules in josa_rules.py: a sentence with its morphemes, brackets and quotation marks, and a span.

Most morphemes of a sentence are never needed, so MeCab's lines are kept as text, and a `Morpheme` is created on access.
All offsets count from the start of the sentence.
"""

import bisect
import re
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from kobert_tf2.tokenization.mecab import Morpheme, read_feature

BRACKETS = {"(": ")", "[": "]", "{": "}", "（": "）", "［": "］", "〔": "〕", "【": "】"}
QUOTES = {"《": "》", "〈": "〉", "『": "』", "「": "」", "“": "”", "‘": "’", "<": ">"}
STRAIGHT = "\"'"
OPENERS = BRACKETS | QUOTES | {quote: quote for quote in STRAIGHT}
CLOSERS = {closer: opener for opener, closer in (BRACKETS | QUOTES).items()}
TITLES = "《〈『「"
STOPS = ".,?!;:…·。、，．！？：；"

_WHITE_SPACE = re.compile(r"\s")
_MARK = re.compile("[" + re.escape("".join(OPENERS) + "".join(CLOSERS)) + "]")

# Tags of morphemes that depend on a word before. No eojeol begins with one: if an analysis says so, it attached the
# eojeol to the one before, because MeCab ignores blanks (대부분 도보로 -> 대부분 + 도 + 보로).
_DEPENDENT = ("J", "E", "VCP", "XSN")
# A stem without its ending cannot end an eojeol: 불이/VV for 불 + 이.
_STEMS = ("VV",)


class Sentence:
    """A text with its morphemes, eojeol by eojeol: a run of morphemes without a blank between them."""

    __slots__ = ("_begins", "_eojeols", "_outputs", "text")

    def __init__(self, text: str, morphemes: Sequence[Morpheme] = ()):
        self.text = text
        self._begins: list[int] = []
        self._outputs: list[str] = []
        eojeols: list[list[Morpheme]] = []
        for morpheme in morphemes:
            if not eojeols or eojeols[-1][-1].end != morpheme.start:
                self._begins.append(morpheme.start)
                eojeols.append([])
            eojeols[-1].append(morpheme)
        self._eojeols: list[list[Morpheme] | None] = list(eojeols)

    @classmethod
    def from_output(cls, text: str, normalized: str, output: str) -> "Sentence | None":
        """From MeCab's output (`MorphemeAnalyser.lines_of_texts`) for a text whose normalisation changed no offset.

        None if the blanks in the output differ from those of the text.
        """
        sentence = cls(text)
        sentence._begins = [found.start() for found in _NO_BLANKS.finditer(normalized)]
        sentence._outputs = output.strip("\n ").split("\n ") if sentence._begins else []
        sentence._eojeols = [None] * len(sentence._begins)
        return sentence if len(sentence._outputs) == len(sentence._begins) else None

    def __len__(self) -> int:
        """The number of eojeols."""
        return len(self._eojeols)

    def eojeol(self, place: int) -> list[Morpheme]:
        morphemes = self._eojeols[place]
        if morphemes is None:
            morphemes = self._eojeols[place] = self._read(place)
        return morphemes

    def _read(self, place: int) -> list[Morpheme]:
        morphemes, start = [], self._begins[place]
        for line in self._outputs[place].split("\n"):
            surface, feature = line.split("\t")
            surface = surface.lstrip(" ")
            tag = feature.partition(",")[0]
            # The parts of a morpheme are needed only if one of them is a particle.
            _, kind, expression = read_feature(feature) if "+J" in tag else (tag, "", "")
            end = start + len(surface)
            morphemes.append(_new_morpheme(Morpheme, (surface, tag, start, end, kind, expression)))
            start = end
        return morphemes

    def place_of(self, position: int) -> int:
        """The index of the eojeol that contains or precedes a position, -1 before the first."""
        return bisect.bisect_right(self._begins, position) - 1

    def within(self, start: int, end: int) -> list[Morpheme]:
        """The morphemes within `start:end`."""
        places = range(max(0, self.place_of(start)), self.place_of(end) + 1)
        return [m for place in places for m in self.eojeol(place) if m.start >= start and m.end <= end]

    def behind(self, position: int) -> Iterator[Morpheme]:
        """The morphemes from a position on."""
        places = range(max(0, self.place_of(position)), len(self))
        return (m for place in places for m in self.eojeol(place) if m.start >= position)

    def before(self, position: int) -> Morpheme | None:
        """The last morpheme that ends at or before a position."""
        places = range(self.place_of(position), -1, -1)
        return next((m for place in places for m in reversed(self.eojeol(place)) if m.end <= position), None)


_NO_BLANKS = re.compile("[^ ]+")
_new_morpheme = tuple.__new__  # Three times as fast as Morpheme(...).


class Span:
    """A span of a sentence while the rules are applied.

    `start` and `end` are its current bounds, `given_end` the end as given. `context[offset:]` begins with the sentence.
    `analyse` returns the `Sentence` of any other text.
    """

    __slots__ = ("_following", "_last_eojeol", "analyse", "context", "end", "given_end", "offset", "sentence", "start")

    def __init__(
        self,
        sentence: Sentence,
        start: int,
        end: int,
        given_end: int,
        context: str,
        offset: int,
        analyse: Callable[[str], Sentence],
    ):
        self.sentence, self.start, self.end, self.given_end = sentence, start, end, given_end
        self.context, self.offset, self.analyse = context, offset, analyse
        self._last_eojeol: list[Morpheme] | None = None
        self._following: tuple[Morpheme | None] | None = None

    def moved(self, start: int, end: int) -> "Span":
        return Span(self.sentence, start, end, self.given_end, self.context, self.offset, self.analyse)

    @property
    def text(self) -> str:
        return self.sentence.text[self.start : self.end]

    @property
    def as_given(self) -> bool:
        return self.end == self.given_end

    @property
    def ran_to_eojeol_end(self) -> bool:
        """Whether the span, as given, ended at the end of an eojeol, or where its final punctuation begins."""
        rest = self.sentence.text[self.given_end : self.given_end + 5].split(maxsplit=1)
        return not rest or self.sentence.text[self.given_end].isspace() or not rest[0].strip(STOPS)

    def is_one_eojeol(self) -> bool:
        return not _WHITE_SPACE.search(self.sentence.text, self.start, self.end)

    def earlier_morphemes(self) -> list[Morpheme]:
        """The morphemes of the span before its last eojeol."""
        return self.sentence.within(self.start, self.end - len(self.text.split()[-1]))

    @property
    def following(self) -> Morpheme | None:
        """The next morpheme after the span."""
        if self._following is None:
            self._following = (next(self.sentence.behind(self.end), None),)
        return self._following[0]

    def hanging(self) -> Morpheme | None:
        """The morpheme directly after the span, without a blank."""
        if self.end == len(self.sentence.text) or self.sentence.text[self.end].isspace():
            return None
        following = self.following
        return following if following is not None and following.start == self.end else None

    def last_eojeol(self) -> list[Morpheme]:
        """The morphemes of the span's last eojeol that are in the span; none if the span ends within a morpheme."""
        if self._last_eojeol is None:
            self._last_eojeol = self._find_last_eojeol()
        return self._last_eojeol

    def _find_last_eojeol(self) -> list[Morpheme]:
        place = self.sentence.place_of(self.end - 1)
        eojeol = self.sentence.eojeol(place) if place >= 0 else []
        if eojeol and (eojeol[-1].end > self.end or eojeol[0].start < self.start):
            eojeol = [m for m in eojeol if m.start >= self.start and m.end <= self.end]
        if not eojeol or eojeol[-1].end != self.end:
            return []
        if eojeol[0].tag.startswith(_DEPENDENT) or (eojeol[-1].tag in _STEMS and not self.hanging()):
            return self._read_again(eojeol) or eojeol
        return eojeol

    def _read_again(self, eojeol: list[Morpheme]) -> list[Morpheme]:
        """Analyses an eojeol on its own if its analysis in the sentence is impossible; [] if that is no better."""
        start, text = eojeol[0].start, self.sentence.text
        is_copula = eojeol[0].tag.startswith("VCP") and eojeol[0].surface.startswith("이")  # 이라는, written apart
        if is_copula or (start > 0 and not text[start - 1].isspace()):
            return []
        alone = self.analyse(text[start : self.end])
        read = alone.eojeol(0) if len(alone) == 1 else []
        if not read or read[0].tag.startswith(_DEPENDENT) or read[-1].end != self.end - start:
            return []
        if eojeol[-1].tag.startswith("J") and not read[-1].tag.startswith("J"):
            return []
        return [m._replace(start=m.start + start, end=m.end + start) for m in read]

    def is_sentence(self) -> bool:
        """Whether the span has its own subject or object and a sentence ending. A title is no sentence."""
        if self.text.isalnum() or self.is_one_eojeol() or self.text[0] in OPENERS:
            return False
        words = [m for m in self.sentence.within(self.start, self.end) if m.tag[0] != "S"]
        ends = bool(words) and (words[-1].tag.endswith("EF") or (words[-1].tag == "EC" and words[-1].surface == "다"))
        return ends and any(
            m.tag in ("JKS", "JKO", "JKB") or (m.tag == "JX" and m.surface[-1] in "은는")
            for m in self.earlier_morphemes()
        )

    def fills_quotation_marks(self) -> bool:
        """Whether the span is all of a quotation: a title or an utterance, which keeps its particle."""
        text, start, end = self.sentence.text, self.start, self.end
        if start == 0 or end >= len(text) or start >= end:
            return start >= end
        before = text[start - 1]
        return before in OPENERS and before not in BRACKETS and text[end] == OPENERS[before]


class Marks(NamedTuple):
    """Offsets of brackets and quotation marks in a part of a text; `pairs` maps a closing mark to its opening one."""

    pairs: dict[int, int]
    unclosed: list[int]
    unopened: list[int]


def find_marks(text: str, start: int, end: int) -> Marks:
    pairs: dict[int, int] = {}
    unclosed: list[int] = []
    unopened: list[int] = []
    for found in _MARK.finditer(text, start, end):
        place, character = found.start(), found[0]
        if character in STRAIGHT:
            is_closer, opener = any(text[other] == character for other in unclosed), character
        else:
            is_closer, opener = character in CLOSERS, CLOSERS.get(character, "")
        if is_closer:
            match = next((other for other in reversed(unclosed) if text[other] == opener), None)
            if match is not None:
                pairs[place] = match
                unclosed = [other for other in unclosed if other < match]
            elif character not in "’>":
                unopened.append(place)
        elif character in OPENERS and not _is_apostrophe(text, place):
            unclosed.append(place)
    return Marks(pairs, unclosed, unopened)


def _is_apostrophe(text: str, place: int) -> bool:
    """Screamin', Ra'ad: directly after a Latin letter, a straight mark does not open a quotation."""
    return text[place] in "'<" and place > 0 and text[place - 1].isascii() and text[place - 1].isalnum()
