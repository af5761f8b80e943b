"""Long lists of cases: the first few in the default run, the others only in that of the slow tests."""

from collections.abc import Iterable

import pytest


def rest_slow(cases: Iterable, *, first: int = 1) -> list:
    """Returns cases for `pytest.mark.parametrize`: all but the first ones are marked `slow`.

    A case of several parameters is a tuple.
    """
    cases = list(cases)
    rest = [case if isinstance(case, tuple) else (case,) for case in cases[first:]]
    return [*cases[:first], *(pytest.param(*case, marks=pytest.mark.slow) for case in rest)]
