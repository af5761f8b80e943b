"""Progress of long operations on stderr: a line that is redrawn on a terminal, or plain lines without a terminal.

    loss 2.346  5,012 tokens/s  ━━━━━━━━━━───────────────  430/1,000 step  2:13 left

Numbers come first and the bar takes the remaining width. Other output to standard error appears above the line.
"""

import math
import os
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Self, TextIO, TypeVar

from kobert_tf2 import screen

SECONDS_BETWEEN_LINES = 30.0
_SECONDS_BETWEEN_DRAWINGS = 0.1
_WIDEST_BAR, _NARROWEST_BAR = 30, 6

Item = TypeVar("Item")


def progress(items: Iterable[Item], what: str, *, total: int | None = None, unit: str = "items") -> Iterator[Item]:
    """Yields the items unchanged, and reports their number, the rate and, with a `total`, the time left."""
    began, done = time.monotonic(), 0
    with Progress(total, unit=unit) as shown:
        for done, item in enumerate(items, start=1):
            yield item
            seconds = max(time.monotonic() - began, 1e-9)
            left = (total - done) * seconds / done if total else math.nan
            shown.update(done, [what, f"{_rate(done / seconds)}/s"], left)
    if not shown.is_drawn:
        seconds = max(time.monotonic() - began, 1e-9)
        print(f"{what}: {done:,} {unit}, {_rate(done / seconds)}/s, {duration(seconds)}", file=sys.stderr, flush=True)


def _rate(rate: float) -> str:
    return f"{rate:,.0f}" if rate >= 10 else f"{rate:.2g}"


def duration(seconds: float) -> str:
    """Formats seconds as 4:05 or 1:04:05; ? if unknown."""
    if not math.isfinite(seconds):
        return "?"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


class Progress:
    """A context manager for a long operation of `total` units (None if unknown).

    Without a terminal, a line is printed every 30 seconds or, if `units_between_lines` is given, after that many units,
    whichever is sooner. `quiet` shows nothing.
    """

    def __init__(
        self,
        total: int | None,
        *,
        unit: str,
        start: int = 0,
        units_between_lines: int | None = None,
        quiet: bool = False,
    ):
        self._total, self._unit, self._quiet = total, unit, quiet
        self._units_between_lines = units_between_lines or math.inf
        self._said_at, self._said = time.monotonic(), start
        self._drawn_at = -math.inf
        self.is_drawn = not quiet and has_terminal()
        self._line = _LineBelow(sys.stderr) if self.is_drawn else None

    def update(
        self, done: int, figures: Sequence[str], seconds_left: float = math.nan, more: Sequence[str] = ()
    ) -> None:
        """Shows the numbers; `more` is shown only if the terminal is wide enough."""
        now, at_end = time.monotonic(), done == self._total
        if self._line:
            if at_end or now - self._drawn_at >= _SECONDS_BETWEEN_DRAWINGS:
                self._drawn_at = now
                self._line.draw(self._drawing(done, figures, seconds_left, more))
            return
        is_due = now - self._said_at >= SECONDS_BETWEEN_LINES or done - self._said >= self._units_between_lines
        if self._quiet or not (is_due or (at_end and done > self._said and math.isfinite(self._units_between_lines))):
            return
        self._said_at, self._said = now, done
        left = f"  {duration(seconds_left)} left" if self._total else ""
        print("  ".join([*figures, self._place(done)]) + left, file=sys.stderr, flush=True)

    def _place(self, done: int) -> str:
        return f"{done:,}/{self._total:,} {self._unit}" if self._total else f"{done:,} {self._unit}"

    def _drawing(self, done: int, figures: Sequence[str], seconds_left: float, more: Sequence[str]) -> str:
        most = screen.columns() - 1
        right = self._place(done) + (f"  {duration(seconds_left)} left" if self._total else "")
        left = "  ".join(figures)
        room = most - len(left) - len(right) - 4
        bar = ""
        if self._total and room >= _NARROWEST_BAR:
            bar = _bar(done / self._total, min(room, _WIDEST_BAR)) + "  "
        line = f"{left}  {bar}{right}"
        for figure in more:
            if len(line) + 2 + len(figure) <= most:
                line += f"  {figure}"
        return line[:most]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._line:
            self._line.close()


def has_terminal() -> bool:
    """Whether stderr is a terminal on which a line can be redrawn."""
    try:
        return sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
    except (AttributeError, ValueError):  # Closed.
        return False


def _bar(share: float, width: int) -> str:
    full, empty = "━─" if _can_show("━─") else "#-"
    filled = round(min(max(share, 0.0), 1.0) * width)
    return full * filled + empty * (width - filled)


def _can_show(text: str) -> bool:
    try:
        text.encode(sys.stderr.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True


class _LineBelow:
    """Replaces `sys.stderr` and keeps one line at the bottom of the terminal, below all other output."""

    def __init__(self, stream: TextIO):
        self._stream, self._line, self._at_line_start = stream, "", True
        sys.stderr = self

    def draw(self, line: str) -> None:
        if self._at_line_start:
            self._stream.write(f"\r{line}\x1b[K")
            self._stream.flush()
        self._line = line

    def write(self, text: str) -> int:
        if text:
            clear = "\r\x1b[K" if self._line and self._at_line_start else ""
            self._at_line_start = text.endswith("\n")
            self._stream.write(clear + text + (self._line if self._at_line_start else ""))
            self._stream.flush()
        return len(text)

    def close(self) -> None:
        """Leaves the last line in place and restores `sys.stderr`."""
        if sys.stderr is self:
            sys.stderr = self._stream
        if self._line:
            self._stream.write("\n")
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)
