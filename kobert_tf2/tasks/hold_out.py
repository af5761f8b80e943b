"""Holds out a part of a training file for evaluation when there is no evaluation file."""

from collections.abc import Sequence
from typing import TypeVar

import numpy as np

from kobert_tf2.errors import InputError

Example = TypeVar("Example")


def hold_out(examples: Sequence[Example], fraction: float, seed: int) -> tuple[list[Example], list[Example]]:
    """Returns (the rest, a random fraction); the split depends only on the examples and the seed."""
    count = round(len(examples) * fraction)
    if not 0 < count < len(examples):
        raise InputError(f"--eval_fraction={fraction} of {len(examples)} examples leaves nothing on one side")
    held_out = np.zeros(len(examples), bool)
    held_out[np.random.default_rng(seed).permutation(len(examples))[:count]] = True
    return (
        [example for example, out in zip(examples, held_out, strict=True) if not out],
        [example for example, out in zip(examples, held_out, strict=True) if out],
    )
