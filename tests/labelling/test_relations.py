"""The markers of a relation: nothing else of the text changes."""

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from kobert_tf2.labelling.relations import MARKERS, Span, overlaps, span_of, with_markers

SPANS = st.tuples(st.integers(0, 7), st.integers(1, 5)).map(lambda pair: Span(pair[0], pair[0] + pair[1]))


@settings(deadline=None)
@given(SPANS, SPANS)
def test_without_the_markers_the_text_is_as_it_was_and_each_pair_holds_its_span(subject, object_):
    text = "해미는 배를 타고 섬에 갔다"
    marked = with_markers(text, subject, object_)
    bare = marked
    for marker in MARKERS:
        assert marked.count(marker) == 1
        bare = bare.replace(marker, "")
    assert bare == text
    for span, (begin, end) in zip((subject, object_), (MARKERS[:2], MARKERS[2:]), strict=True):
        inside = marked.partition(begin)[2].partition(end)[0]
        for marker in MARKERS:
            inside = inside.replace(marker, "")
        assert inside == text[span.start : span.end]


def test_entities_side_by_side_do_not_cross():
    assert with_markers("가나", Span(0, 1), Span(1, 2)) == "[SUBJ]가[/SUBJ][OBJ]나[/OBJ]"
    assert with_markers("가나", Span(1, 2), Span(0, 1)) == "[OBJ]가[/OBJ][SUBJ]나[/SUBJ]"
    assert with_markers("가나다", Span(0, 3), Span(0, 1)) == "[SUBJ][OBJ]가[/OBJ]나다[/SUBJ]"
    assert not overlaps(Span(0, 1), Span(1, 2))
    assert overlaps(Span(0, 2), Span(1, 3))


def test_a_span_is_klues_whose_last_index_is_inside():
    assert span_of("해미는 갔다", {"word": "해미", "start_idx": 0, "end_idx": 1}, "subject_entity") == (0, 2)
    with pytest.raises(ValueError, match="subject_entity: expected whole numbers"):
        span_of("해미", {"start_idx": True, "end_idx": 1}, "subject_entity")
