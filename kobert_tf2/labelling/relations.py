"""Marks the two entities of a relation in their text: [SUBJ]비틀즈[/SUBJ]가 [OBJ]1960년[/OBJ] ..."""

from collections.abc import Mapping
from typing import Any, NamedTuple


class Markers(NamedTuple):
    """The markers before and after the subject and the object; each should be a single token of the vocabulary."""

    subject_begin: str = "[SUBJ]"
    subject_end: str = "[/SUBJ]"
    object_begin: str = "[OBJ]"
    object_end: str = "[/OBJ]"


MARKERS = Markers()


class Span(NamedTuple):
    """`text[start:end]`"""

    start: int
    end: int


def span_of(text: str, entity: Mapping[str, Any], name: str) -> Span:
    """The span of KLUE-RE's {"word", "start_idx", "end_idx"}, where `end_idx` is inclusive.

    Raises:
        ValueError: the indices are outside the text, or the text has another word there.
    """
    start, last = entity.get("start_idx"), entity.get("end_idx")
    if isinstance(start, bool) or not isinstance(start, int) or isinstance(last, bool) or not isinstance(last, int):
        raise ValueError(f"{name}: expected whole numbers as start_idx and end_idx, but found {start!r} and {last!r}")
    if not 0 <= start <= last < len(text):
        raise ValueError(
            f"{name}: expected start_idx and end_idx within the {len(text)} characters of the text, but found {start} "
            f"and {last}"
        )
    word, found = entity.get("word"), text[start : last + 1]
    if word is not None and word != found:
        raise ValueError(f"{name}: expected {word!r} at {start} to {last}, but found {found!r}")
    return Span(start, last + 1)


def overlaps(a: Span, b: Span) -> bool:
    return a.start < b.end and b.start < a.end


def with_markers(text: str, subject: Span, object_: Span, markers: Markers = MARKERS) -> str:
    """The text with markers around both spans; nothing else changes.

    >>> with_markers("비틀즈가 1960년", Span(0, 3), Span(5, 10))
    '[SUBJ]비틀즈[/SUBJ]가 [OBJ]1960년[/OBJ]'
    """
    inserted = [
        (subject.start, 1, -subject.end, markers.subject_begin),
        (subject.end, 0, -subject.start, markers.subject_end),
        (object_.start, 1, -object_.end, markers.object_begin),
        (object_.end, 0, -object_.start, markers.object_end),
    ]
    # At the same position, end markers come before begin markers, and of two spans that begin there the longer one
    # comes first.
    position, parts = 0, []
    for place, _, _, marker in sorted(inserted):
        parts += [text[position:place], marker]
        position = place
    return "".join([*parts, text[position:]])
