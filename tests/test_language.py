"""The language of pages: the flag's, or else the system's in POSIX' order, or else English."""

import pytest

from kobert_tf2 import language


@pytest.fixture(autouse=True)
def no_language(monkeypatch):
    for name in ("LC_ALL", "LC_MESSAGES", "LANG"):
        monkeypatch.delenv(name, raising=False)
    yield
    language.choose(None)


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, "en"),
        ({"LANG": "ko_KR.UTF-8"}, "ko"),
        ({"LANG": "C.UTF-8"}, "en"),
        ({"LANG": "en_US.UTF-8", "LC_MESSAGES": "ko_KR"}, "ko"),
        ({"LANG": "ko_KR.UTF-8", "LC_ALL": "C"}, "en"),
        ({"LANG": "ko_KR.UTF-8", "LC_ALL": ""}, "ko"),
    ],
)
def test_the_systems_language(monkeypatch, environment, expected):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert language.current() == expected
    assert language.say("a", "가") == {"en": "a", "ko": "가"}[expected]


def test_what_is_chosen_wins(monkeypatch):
    monkeypatch.setenv("LANG", "ko_KR.UTF-8")
    language.choose("en")
    assert language.current() == "en"
