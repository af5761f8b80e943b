"""The windows in which a text longer than a row of the model is embedded.

This module must not import TensorFlow: the service prepares long texts in a process without it.
"""

from typing import NamedTuple

import numpy as np

from kobert_tf2.tokenization.encoding import Encoding
from kobert_tf2.tokenization.spans import max_context, window_spans

POOLINGS = ("mean", "cls", "pooled")
LONG_TEXTS = ("windows", "truncate")


class Window(NamedTuple):
    """A row of the model: part of a text, without special tokens."""

    text: int  # index of the text
    ids: list[int]
    counts: np.ndarray  # bool, one per token of its row: whether "mean" takes the token from this window


def windows_of(text: int, encoding: Encoding, room: int, long_texts: str) -> list[Window]:
    """Windows of at most `room` tokens that overlap by half, or with "truncate" the first one alone."""
    ids = encoding.ids.tolist()
    if len(ids) <= room or long_texts == "truncate":
        ids = ids[:room]
        return [Window(text, ids, np.ones(len(ids) + 2, bool))]
    spans = window_spans(len(ids), room, max(1, room // 2))
    masks = max_context(spans, len(ids))
    return [
        Window(text, ids[begin:end], np.concatenate([[True], mask, [True]]))
        for (begin, end), mask in zip(spans, masks, strict=True)
    ]
