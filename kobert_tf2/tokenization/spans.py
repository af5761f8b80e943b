"""Sliding windows over the tokens of a long text, and the window that gives each token the most context."""

from collections.abc import Sequence

import numpy as np


def window_spans(tokens: int, room: int, doc_stride: int) -> list[tuple[int, int]]:
    """(first token, last token + 1) of each window of at most `room` tokens. A text without tokens has one empty
    window.
    """
    begins = range(0, max(tokens - room, 0) + doc_stride, doc_stride)
    return [(begin, min(begin + room, tokens)) for begin in begins]


def max_context(spans: Sequence[tuple[int, int]], tokens: int) -> list[np.ndarray]:
    """For each window, a bool per token: is this the window that gives the token the most context?

    That is the window in which the smaller of its left and right context is largest; ties go to the longer window, then
    to the earlier one (the original's formula).
    """
    if len(spans) == 1:
        return [np.ones(spans[0][1] - spans[0][0], bool)]
    # Window by window, so that memory does not grow with windows times tokens: 780 times 100,000 took 2 GB.
    best, window = np.full(tokens, -np.inf), np.zeros(tokens, np.int32)
    for number, (begin, end) in enumerate(spans):
        place = np.arange(end - begin)
        context = np.minimum(place, place[::-1]) + 0.01 * (end - begin)
        better = begin + np.flatnonzero(context > best[begin:end])
        best[better], window[better] = context[better - begin], number
    return [window[begin:end] == number for number, (begin, end) in enumerate(spans)]
