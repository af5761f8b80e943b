"""Strips particles and endings off an answer, judged by the sentence around it.

A reader that answers in eojeols returns 세종대왕이라는 where 세종대왕 is meant. Whether the last syllables belong to
the word cannot be decided from the answer alone (나라 is a word; 나라면 is 나 + 라면 or 나라 + 면). So the sentence
around it is analysed, and the rules of josa_rules.py are applied to the morphemes at the end of the span until none
matches. Rules also see the span as it was given: one that ends inside an eojeol was chosen by someone who saw
morphemes, and then only what cannot be meant is removed.

Only the sentence is analysed, however long the context, and its analysis is cached for the next span.

It never looks at the question, never extends a span, and never makes one empty.
"""

import functools
import re
import threading
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from kobert_tf2 import arguments
from kobert_tf2.errors import InputError
from kobert_tf2.reading.josa_rules import RULES, Rule
from kobert_tf2.reading.josa_text import CLOSERS, STRAIGHT, Sentence, Span
from kobert_tf2.tokenization.mecab import MorphemeAnalyser
from kobert_tf2.tokenization.normalization import Normalizer

# The size of the cache of analyses, in characters of text: about 50 MB, the contexts of a reading file.
REMEMBERED_CHARACTERS = 600_000
_SENTENCE_OVERHEAD = 50  # The memory overhead of an analysis, in characters.


class Step(NamedTuple):
    """A rule that applied, and the span after it."""

    rule: str
    start: int
    end: int


class JosaStripper:
    """`strip_josa` for many spans: keeps the analyser and a cache of analysed sentences.

    Thread-safe.
    """

    def __init__(self, analyser: MorphemeAnalyser | None = None, *, rules: Sequence[Rule] = RULES):
        self.analyser = analyser or MorphemeAnalyser()
        self.rules = tuple(rules)
        self._analyses = _Analyses(self.analyser)
        self._rules_by_tag: dict[tuple[str, bool], tuple[Rule, ...]] = {}
        # The last span's context, its sentence's bounds and analysis: the next span is often in the same sentence.
        self._last: tuple[str, int, int, Sentence] = ("", 0, 0, Sentence("", ()))

    def __call__(self, context: str, start: int, end: int) -> tuple[int, int]:
        steps = self.steps(context, start, end)
        return steps[-1][1:] if steps else (start, end)

    def batch(self, spans: Iterable[tuple[str, int, int]]) -> list[tuple[int, int]]:
        """The stripped (start, end) of each (context, start, end). Fastest if spans of one sentence are adjacent."""
        return [self(*span) for span in spans]

    def steps(self, context: str, start: int, end: int) -> list[Step]:
        """The rules that applied to a span, in order."""
        if not 0 <= start <= end <= len(context):
            raise InputError(
                f"strip_josa: expected 0 <= start <= end <= {len(context)}, the length of the context, "
                f"but got start={start} and end={end}"
            )
        offset, sentence = self._sentence(context, start, end)
        bounds = start - offset, end - offset
        span = Span(sentence, *bounds, bounds[1], context, offset, self._analyses.get)
        steps: list[Step] = []
        rules = self._rules_of(span)
        if not rules or span.fills_quotation_marks() or span.is_sentence():
            return steps
        while rules and (applied := _first_that_applies(rules, span)):
            rule, bounds = applied
            span = span.moved(*bounds)
            steps.append(Step(rule.name, span.start + offset, span.end + offset))
            rules = self._rules_of(span)
        return steps

    def _sentence(self, context: str, start: int, end: int) -> tuple[int, Sentence]:
        """The start of the sentence around a span, and its analysis."""
        last_context, begin, stop, sentence = self._last
        if last_context is context and begin < start and end < stop:
            return begin, sentence
        begin, stop = sentence_around(context, start, end)
        sentence = self._analyses.get(context[begin:stop])
        if not _SENTENCE_END.search(context, begin, stop - 1):  # One sentence, not a run of several.
            self._last = (context, begin, stop, sentence)
        return begin, sentence

    def _rules_of(self, span: Span) -> tuple[Rule, ...]:
        """The rules that may apply to a span, by its last tag and by whether it consists of letters and digits
        alone.
        """
        eojeol = span.last_eojeol()
        tag, is_plain = eojeol[-1].tag if eojeol else "", span.text.isalnum()
        rules = self._rules_by_tag.get((tag, is_plain))
        if rules is None:
            tags = tag.split("+")
            rules = tuple(
                rule
                for rule in self.rules
                if (not is_plain if rule.on == "marks" else any(part.startswith(tuple(rule.on)) for part in tags))
            )
            self._rules_by_tag[tag, is_plain] = rules
        return rules


def _first_that_applies(rules: Sequence[Rule], span: Span) -> tuple[Rule, tuple[int, int]] | None:
    """The rule and the new bounds. At least one letter or digit always remains."""
    titled = span.fills_quotation_marks()
    for rule in rules:
        bounds = None if titled and not rule.in_title else rule.apply(span)
        if bounds is not None and any(map(str.isalnum, span.sentence.text[bounds[0] : bounds[1]])):
            return rule, bounds
    return None


class _Analyses:
    """A cache of analysed sentences, of `REMEMBERED_CHARACTERS` in total; the oldest are evicted first."""

    def __init__(self, analyser: MorphemeAnalyser):
        self._analyser = analyser
        self._normalizer = Normalizer()
        self._sentences: dict[str, Sentence] = {}
        self._size = 0
        self._lock = threading.Lock()

    def get(self, text: str) -> Sentence:
        sentence = self._sentences.get(text)
        if sentence is None:
            sentence = self._analyse(text)
            with self._lock:
                self._keep(text, sentence)
        return sentence

    def _analyse(self, text: str) -> Sentence:
        sentence, normalized = None, self._normalizer(text)
        is_ours = type(self._analyser).analyse is MorphemeAnalyser.analyse  # A subclass may analyse otherwise.
        if is_ours and normalized.starts is None:
            output = self._analyser.lines_of_texts([normalized.text], features=True)[0]
            sentence = Sentence.from_output(text, normalized.text, output)
        return sentence or Sentence(text, self._analyser.analyse(text))

    def _keep(self, text: str, sentence: Sentence) -> None:
        size = len(text) + _SENTENCE_OVERHEAD
        if text in self._sentences or size > REMEMBERED_CHARACTERS:
            return
        self._sentences[text] = sentence
        self._size += size
        while self._size > REMEMBERED_CHARACTERS:
            oldest = next(iter(self._sentences))
            del self._sentences[oldest]
            self._size -= len(oldest) + _SENTENCE_OVERHEAD


def strip_josa(context: str, start: int, end: int, analyser: MorphemeAnalyser | None = None) -> tuple[int, int]:
    """Takes particles, copula, endings, loose brackets and punctuation off a span of a context.

    A call costs the analysis of the sentence around the span, or next to nothing if that is cached.

    Args:
      start, end: characters of `context`, `end` past the last.
      analyser: by default a `MorphemeAnalyser()` that is created at the first call and kept. For many spans with
        another analyser, keep a `JosaStripper(analyser)`.

    Returns:
      (start, end) of the stripped answer: within the given bounds, and empty only if those are.

    Raises:
      InputError: bounds outside the context.
    """
    arguments.check_text("context", context)
    start, end = arguments.whole("start", start), arguments.whole("end", end)
    return _stripper(analyser)(context, start, end)


def strip_josa_batch(
    spans: Iterable[tuple[str, int, int]], analyser: MorphemeAnalyser | None = None
) -> list[tuple[int, int]]:
    """`strip_josa` of every (context, start, end), in order."""
    return _stripper(analyser).batch(spans)


@functools.lru_cache(maxsize=4)
def _stripper(analyser: MorphemeAnalyser | None) -> JosaStripper:
    return JosaStripper(analyser)


# ---------------------------------------------------------------------------------------------------------------------
# Sentences
# ---------------------------------------------------------------------------------------------------------------------

_CLOSING_MARKS = "".join(CLOSERS) + STRAIGHT
_SENTENCE_END = re.compile("\\n|[.?!。][" + re.escape(_CLOSING_MARKS) + "]*(?=\\s)")


def sentence_around(context: str, start: int, end: int) -> tuple[int, int]:
    """The bounds of the sentence, or of the run of sentences, around a span.

    A sentence ends at a line break, or after . ? ! and closing marks if white space follows. The search goes outwards
    from the span, so the rest of a long context is not read.
    """
    begin = max(0, end - 1)
    while begin > 0 and context[begin] in _CLOSING_MARKS:
        begin -= 1
    ends = (found.end() for found in _SENTENCE_END.finditer(context, begin) if found.end() >= end)
    return _last_end_before(context, start), next(ends, len(context))


def _last_end_before(context: str, start: int) -> int:
    length = 200
    while True:
        begin = max(0, start - length)
        ends = [found.end() for found in _SENTENCE_END.finditer(context, begin, start + 1) if found.end() <= start]
        if ends or begin == 0:
            return ends[-1] if ends else 0
        length *= 4
