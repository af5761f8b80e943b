"""The part of `stand_in_service.py` that also runs in the process for long texts: it must load without TensorFlow."""

import numpy as np

from kobert_tf2.errors import InputError
from kobert_tf2.serving.scheduling import Prepared


def prepare(ask, *, characters: int) -> Prepared:
    """A window for every so many characters of the context, 16 tokens each."""
    if not ask.question.strip():
        raise InputError("question: the question is empty")
    windows = max(1, -(-len(ask.context) // characters))
    # What a window belongs to is told by its ids: the length of the question.
    ids = np.full((windows, 16), len(ask.question), np.int32)
    return Prepared({"input_ids": ids}, np.full(windows, 16))
