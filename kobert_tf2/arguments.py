"""Argument checks of public functions: a wrong type raises a `TypeError` that names the argument and the value
received.
"""

import operator
import os
from collections.abc import Iterable, Iterator
from typing import Any

from kobert_tf2.errors import InputError


def wrong_type(name: str, expected: str, value: object) -> TypeError:
    return TypeError(f"{name}: expected {expected}. Received: {value!r:.60} ({type(value).__name__})")


def check_text(name: str, value: object) -> None:
    if not isinstance(value, str):
        raise wrong_type(name, "a string", value)


def each_text(name: str, values: Iterable[str]) -> Iterator[str]:
    """Yields the texts of an iterable, checking each in turn. A single string is rejected."""
    if isinstance(values, str | bytes) or not isinstance(values, Iterable):
        raise wrong_type(name, "strings", values)
    for place, value in enumerate(values):
        if not isinstance(value, str):
            raise wrong_type(f"{name}[{place}]", "a string", value)
        yield value


def each_whole(name: str, values: Iterable[int]) -> list[int]:
    """The integers of an iterable, including NumPy integers."""
    if isinstance(values, str | bytes) or not isinstance(values, Iterable):
        raise wrong_type(name, "whole numbers", values)
    return [whole(f"{name}[{place}]", value) for place, value in enumerate(values)]


def whole(name: str, value: Any, low: int | None = None, high: int | None = None) -> int:
    """Converts an integer, including a NumPy integer, to `int`. Raises `InputError` if it is out of range."""
    try:
        if isinstance(value, bool):
            raise TypeError
        number = operator.index(value)
    except TypeError:
        raise wrong_type(name, "a whole number", value) from None
    if (low is not None and number < low) or (high is not None and number > high):
        between = f"from {low} to {high}" if high is not None else f"of at least {low}"
        raise InputError(f"{name}: expected a whole number {between}, but got {number}")
    return number


def path(name: str, value: object) -> str:
    """A path as a string."""
    if isinstance(value, os.PathLike):
        value = os.fspath(value)
    if not isinstance(value, str):
        raise wrong_type(name, "a path", value)
    if not value or "\0" in value:
        raise InputError(f"{name}: expected a path, but got {value!r}")
    return value
