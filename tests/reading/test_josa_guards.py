"""Tables and guards of josa_guards.py: a sentence misses each entry, as tests/support/josa_mutants.py proves.

Nothing here needs more than Mecab.
"""

import josa_cases
import pytest

from kobert_tf2.reading import josa_guards
from kobert_tf2.reading.josa import JosaStripper


@pytest.fixture(scope="module")
def stripper():
    return JosaStripper()


def test_a_form_fits_its_finals_alone():
    """All 28 finals, none among them; 로 and its kind take ㄹ for a vowel. Numbers are read aloud."""
    assert josa_cases.failures_of_finals() == []


def test_what_has_one_form_or_no_known_sound_fits_everything():
    assert all(
        josa_guards.fits(form, final) for form in ("의", "에", "도", "에서", "만") for final in josa_cases.FINALS
    )
    assert josa_guards.fits("는", None)
    assert [josa_guards.final_consonant(text) for text in ("WSJ", "%", ")", "")] == [None] * 4


@pytest.mark.parametrize("guard", josa_guards.GUARDS, ids=lambda guard: guard.name)
def test_a_guard_keeps_its_example_and_alone_does(guard, stripper, monkeypatch):
    start = guard.sentence.index(guard.given)
    span = guard.sentence, start, start + len(guard.given)
    kept = stripper(*span)
    others = tuple(other for other in josa_guards.GUARDS if other is not guard)
    monkeypatch.setattr(josa_guards, "GUARDS", others)
    josa_guards.guards_of.cache_clear()
    try:
        assert stripper(*span)[1] < kept[1]
    finally:
        josa_guards.guards_of.cache_clear()


def test_every_case_is_left_as_written(stripper):
    assert josa_cases.failures(stripper) == []


def test_surnames_and_ends_of_names():
    assert josa_cases.failures_of_names() == []
