"""Windows over tokens against the rule of the original run_squad.py."""

import pytest

from kobert_tf2.tokenization.spans import max_context, window_spans


def original_max_context(spans, position):
    """The rule of run_squad.py written out: the smaller side counts, longer windows and then earlier ones first."""
    covering = [(number, begin, end) for number, (begin, end) in enumerate(spans) if begin <= position < end]
    return max(covering, key=lambda s: (min(position - s[1], s[2] - 1 - position) + 0.01 * (s[2] - s[1]), -s[0]))[0]


@pytest.mark.parametrize(
    ("tokens", "room", "stride"), [(40, 12, 4), (41, 12, 5), (13, 12, 12), (100, 30, 7), (12, 12, 3)]
)
def test_windows_and_max_context_are_those_of_the_original(tokens, room, stride):
    spans = window_spans(tokens, room, stride)
    assert spans[0][0] == 0
    assert spans[-1][1] == tokens
    assert all(end == tokens for _, end in spans[-1:])
    assert all(end < tokens for _, end in spans[:-1])
    shown = max_context(spans, tokens)
    for position in range(tokens):
        best = original_max_context(spans, position)
        assert [
            number
            for number, (begin, end) in enumerate(spans)
            if begin <= position < end and shown[number][position - begin]
        ] == [best]
