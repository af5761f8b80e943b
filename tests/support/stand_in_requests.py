"""The part of `stand_in_service.py` that also runs in the process for long texts, so it must not import TensorFlow."""

import time

import numpy as np

from kobert_tf2.errors import InputError
from kobert_tf2.serving.scheduling import Prepared


def prepare(ask, *, characters: int) -> Prepared:
    """Makes one window of 16 tokens for each fixed number of characters of the context."""
    if not ask.question.strip():
        raise InputError("question: the question is empty")
    if ask.question == "sleep":
        time.sleep(60)
    windows = max(1, -(-len(ask.context) // characters))
    # The ids identify the request of a window: they are the length of the question.
    ids = np.full((windows, 16), len(ask.question), np.int32)
    return Prepared({"input_ids": ids}, np.full(windows, 16))
