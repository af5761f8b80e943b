"""How far long work has come: a bar on a terminal, plain lines where there is none. On standard error."""

import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

import tqdm

_SECONDS_BETWEEN_LINES = 10.0

Item = TypeVar("Item")


def progress(items: Iterable[Item], what: str, *, total: int | None = None, unit: str = "items") -> Iterator[Item]:
    """Passes the items on, and tells their number, the rate and, with a `total`, the time left."""
    if sys.stderr.isatty():
        yield from tqdm.tqdm(items, what, total=total, unit=unit, dynamic_ncols=True, file=sys.stderr)
        return
    began = told = time.monotonic()
    done = 0
    for done, item in enumerate(items, start=1):
        yield item
        now = time.monotonic()
        if now - told >= _SECONDS_BETWEEN_LINES:
            print(_line(what, done, total, unit, now - began), file=sys.stderr, flush=True)
            told = now
    print(_line(what, done, done, unit, time.monotonic() - began), file=sys.stderr, flush=True)


def _line(what: str, done: int, total: int | None, unit: str, seconds: float) -> str:
    rate = done / max(seconds, 1e-9)
    of = f" of {total:,}" if total else ""
    left = f", {(total - done) / max(rate, 1e-9):,.0f} s left" if total and total > done else ""
    return f"{what}: {done:,}{of} {unit}, {rate:,.0f}/s, {seconds:,.0f} s{left}"
