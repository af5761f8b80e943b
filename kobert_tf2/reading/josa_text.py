"""What the rules of josa_rules.py look at: a sentence with its morphemes, its brackets and quotation marks, and a span.

Most morphemes of a sentence are never asked for, so MeCab's lines are kept as they came, and a `Morpheme` is built
where a rule looks. All places count from the beginning of the sentence.
"""

import bisect
import functools
import itertools
import re
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from kobert_tf2.tokenization.mecab import Morpheme, read_feature
from kobert_tf2.tokenization.normalization import Normalized

BRACKETS = {"(": ")", "[": "]", "{": "}", "（": "）", "［": "］", "〔": "〕", "【": "】"}
QUOTES = {"《": "》", "〈": "〉", "『": "』", "「": "」", "“": "”", "‘": "’", "<": ">"}
STRAIGHT = "\"'"
OPENERS = BRACKETS | QUOTES | {quote: quote for quote in STRAIGHT}
CLOSERS = {closer: opener for opener, closer in (BRACKETS | QUOTES).items()}
TITLES = "《〈『「"
STOPS = ".,?!;:…·。、，．！？：；"

_WHITE_SPACE = re.compile(r"\s")
_MARK = re.compile("[" + re.escape("".join(OPENERS) + "".join(CLOSERS)) + "]")

# Tags of what hangs on a word. An eojeol does not begin with one: where the analysis says so, it took the eojeol for
# the end of the one before, because MeCab does not look at blanks (대부분 도보로 -> 대부분 + 도 + 보로).
_DEPENDENT = ("J", "E", "VCP", "XSN")
# A stem without its ending cannot end an eojeol: 불이/VV for 불 + 이.
_STEMS = ("VV",)


class Sentence:
    """A text with its morphemes in order: `ends` of all of them, and each as a `Morpheme` by its place."""

    __slots__ = ("_features", "_morphemes", "_spaced", "_starts", "ends", "text")

    def __init__(self, text: str, morphemes: Sequence[Morpheme]):
        self.text = text
        self.ends = [morpheme.end for morpheme in morphemes]
        self._morphemes: list[Morpheme | None] = list(morphemes)
        self._starts: list[int] | None = [morpheme.start for morpheme in morphemes]
        self._spaced: list[str] = []
        self._features: list[str] = []

    @classmethod
    def from_keys(cls, text: str, normalized: Normalized, keys: Sequence[str]) -> "Sentence":
        """From what `MorphemeAnalyser.keys(normalized.text, features=True)` says of a text."""
        sentence = cls(text, ())
        cells = "\t".join(keys).split("\t") if keys else []
        sentence._spaced, sentence._features = cells[::2], cells[1::2]
        sentence.ends = list(itertools.accumulate(map(len, sentence._spaced)))
        sentence._morphemes = [None] * len(sentence.ends)
        sentence._starts = None
        if normalized.starts is not None and normalized.ends is not None:
            sentence._starts = [normalized.starts[sentence.start(place)] for place in range(len(sentence))]
            sentence.ends = [normalized.ends[end - 1] for end in sentence.ends]
        return sentence

    def __len__(self) -> int:
        return len(self.ends)

    def __getitem__(self, place: int) -> Morpheme:
        morpheme = self._morphemes[place]
        if morpheme is None:
            tag, kind, expression = _read_feature(self._features[place])
            surface = self._spaced[place].lstrip(" ")
            morpheme = Morpheme(surface, tag, self.start(place), self.ends[place], kind, expression)
            self._morphemes[place] = morpheme
        return morpheme

    def start(self, place: int) -> int:
        """Where a morpheme begins."""
        if self._starts is None:
            return self.ends[place] - len(self._spaced[place].lstrip(" "))
        return self._starts[place]

    def first_from(self, position: int) -> int:
        """The place of the first morpheme that begins at a position or behind it."""
        place = bisect.bisect_right(self.ends, position)
        return place + (place < len(self.ends) and self.start(place) < position)

    def first_of_eojeol(self, place: int, start: int) -> int:
        """The place of the first morpheme, from `start` on, of the eojeol that a morpheme ends."""
        first, ends = place, self.ends
        while first > 0 and ends[first - 1] > start and self.start(first) == ends[first - 1]:
            first -= 1
        return first + (self.start(first) < start)

    def within(self, start: int, end: int) -> list[Morpheme]:
        """The morphemes that lie in `start:end`."""
        return [self[place] for place in range(self.first_from(start), bisect.bisect_right(self.ends, end))]

    def behind(self, position: int) -> Iterator[Morpheme]:
        """The morphemes from a position on."""
        return map(self.__getitem__, range(self.first_from(position), len(self.ends)))

    def before(self, position: int) -> Morpheme | None:
        """The last morpheme that ends at a position or before it."""
        place = bisect.bisect_right(self.ends, position) - 1
        return self[place] if place >= 0 else None


_read_feature = functools.lru_cache(maxsize=20_000)(read_feature)


class Span:
    """A span of a sentence on its way through the rules.

    `start` and `end` are where it is now, `given_end` is where it ended at first. `context[offset:]` begins with the
    sentence. `analyse` gives the `Sentence` of any other text.
    """

    __slots__ = ("_following", "_last_eojeol", "analyse", "context", "end", "given_end", "offset", "sentence", "start")

    def __init__(
        self,
        sentence: Sentence,
        start: int,
        end: int,
        *,
        context: str,
        offset: int,
        analyse: Callable[[str], Sentence],
        given_end: int | None = None,
    ):
        self.sentence, self.start, self.end = sentence, start, end
        self.given_end = end if given_end is None else given_end
        self.context, self.offset, self.analyse = context, offset, analyse
        self._last_eojeol: list[Morpheme] | None = None
        self._following: tuple[Morpheme | None] | None = None

    def moved(self, start: int, end: int) -> "Span":
        return Span(
            self.sentence,
            start,
            end,
            context=self.context,
            offset=self.offset,
            analyse=self.analyse,
            given_end=self.given_end,
        )

    @property
    def text(self) -> str:
        return self.sentence.text[self.start : self.end]

    @property
    def as_given(self) -> bool:
        return self.end == self.given_end

    @property
    def ran_to_eojeol_end(self) -> bool:
        """Whether the span, as given, stopped where an eojeol does, or its last punctuation begins."""
        rest = self.sentence.text[self.given_end : self.given_end + 5].split(maxsplit=1)
        return not rest or self.sentence.text[self.given_end].isspace() or not rest[0].strip(STOPS)

    def is_one_eojeol(self) -> bool:
        return not _WHITE_SPACE.search(self.sentence.text, self.start, self.end)

    def earlier_morphemes(self) -> list[Morpheme]:
        """The morphemes of the span before its last eojeol."""
        return self.sentence.within(self.start, self.end - len(self.text.split()[-1]))

    @property
    def following(self) -> Morpheme | None:
        """The next morpheme behind the span."""
        if self._following is None:
            sentence, place = self.sentence, self.sentence.first_from(self.end)
            self._following = (sentence[place] if place < len(sentence) else None,)
        return self._following[0]

    def hanging(self) -> Morpheme | None:
        """The morpheme that follows the span without a blank."""
        if self.end == len(self.sentence.text) or self.sentence.text[self.end].isspace():
            return None
        following = self.following
        return following if following is not None and following.start == self.end else None

    def last_eojeol(self) -> list[Morpheme]:
        """The morphemes of the span's last eojeol that lie in the span, none if it ends within a morpheme."""
        if self._last_eojeol is None:
            self._last_eojeol = self._find_last_eojeol()
        return self._last_eojeol

    def _find_last_eojeol(self) -> list[Morpheme]:
        sentence, ends = self.sentence, self.sentence.ends
        last = bisect.bisect_left(ends, self.end)
        if last == len(ends) or ends[last] != self.end:
            return []
        first = sentence.first_of_eojeol(last, self.start)
        eojeol = [sentence[place] for place in range(first, last + 1)]
        if not eojeol or eojeol[0].tag.startswith(_DEPENDENT) or (eojeol[-1].tag in _STEMS and not self.hanging()):
            return self._read_again(eojeol) or eojeol
        return eojeol

    def _read_again(self, eojeol: list[Morpheme]) -> list[Morpheme]:
        """An eojeol that cannot be what the sentence made of it, read alone; [] if that is no better."""
        if not eojeol or (eojeol[0].tag.startswith("VCP") and eojeol[0].surface.startswith("이")):
            return []  # 이라는 is written apart now and then.
        start, text = eojeol[0].start, self.sentence.text
        if start > 0 and not text[start - 1].isspace():
            return []
        alone = self.analyse(text[start : self.end])
        if not len(alone) or alone[0].tag.startswith(_DEPENDENT) or alone.ends[-1] != self.end - start:
            return []
        if eojeol[-1].tag.startswith("J") and not alone[len(alone) - 1].tag.startswith("J"):
            return []
        return [m._replace(start=m.start + start, end=m.end + start) for m in map(alone.__getitem__, range(len(alone)))]

    def is_sentence(self) -> bool:
        """Whether the span has a subject or an object of its own and the ending of a sentence; a title is none."""
        if self.text.isalnum() or self.is_one_eojeol() or self.text[0] in OPENERS:
            return False
        words = [m for m in self.sentence.within(self.start, self.end) if m.tag[0] != "S"]
        ends = bool(words) and (words[-1].tag.endswith("EF") or (words[-1].tag == "EC" and words[-1].surface == "다"))
        return ends and any(
            m.tag in ("JKS", "JKO", "JKB") or (m.tag == "JX" and m.surface[-1] in "은는")
            for m in self.earlier_morphemes()
        )

    def fills_quotation_marks(self) -> bool:
        """Whether the span is all that stands between two marks: a title or a saying, which keeps its particle."""
        text, start, end = self.sentence.text, self.start, self.end
        if start == 0 or end >= len(text) or start >= end:
            return start >= end
        before = text[start - 1]
        return before in OPENERS and before not in BRACKETS and text[end] == OPENERS[before]


class Marks(NamedTuple):
    """Places of brackets and quotation marks in a part of a text; `pairs` leads from a closing to its opening one."""

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
    """Screamin', Ra'ad: right behind a Latin letter a straight mark opens nothing."""
    return text[place] in "'<" and place > 0 and text[place - 1].isascii() and text[place - 1].isalnum()
