"""How far long work has come: what a terminal of a given width shows, and what a file of messages gets."""

import io
import types

import pytest

from kobert_tf2 import progress


class Terminal(io.StringIO):
    encoding = "utf-8"

    def isatty(self):
        return True

    def shown(self) -> list[str]:
        """The screen's lines: a carriage return goes back to the line's begin, ESC[K clears what follows."""
        lines, line, place = [], "", 0
        for character in self.getvalue().replace("\x1b[K", "\x00"):
            if character == "\n":
                lines, line, place = [*lines, line], "", 0
            elif character == "\r":
                place = 0
            elif character == "\x00":
                line = line[:place]
            else:
                line, place = line[:place] + character + line[place + 1 :], place + 1
        return [*lines, line]


def stand_in(monkeypatch, stream):
    """pytest itself changes `sys.stderr` between a fixture and its test."""
    monkeypatch.setattr(progress, "sys", types.SimpleNamespace(stderr=stream))


@pytest.fixture
def terminal(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "80")
    stream = Terminal()
    stand_in(monkeypatch, stream)
    monkeypatch.setattr(progress, "_SECONDS_BETWEEN_DRAWINGS", 0.0)
    return stream


FIGURES = ["loss 2.346", "5,012 tokens/s"]


def test_figures_come_first_and_the_line_fits_80_columns(terminal):
    with progress.Progress(1000, unit="steps") as shown:
        shown.update(430, FIGURES, 133.0, ["accuracy 0.1", "a figure for which there is no more room at all"])
    line = terminal.shown()[0]
    assert line.startswith("loss 2.346  5,012 tokens/s  ━")
    assert "430/1,000 steps  2:13 left" in line
    assert len(line) < 80
    assert "no more room" not in line


def test_a_narrow_terminal_keeps_the_figures(terminal, monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")
    with progress.Progress(1000, unit="steps") as shown:
        shown.update(430, FIGURES, 133.0)
    assert terminal.shown()[0] == "loss 2.346  5,012 tokens/s  430/1,000 steps  2:13 left"


def test_notes_stand_above_the_line(terminal):
    with progress.Progress(10, unit="steps") as shown:
        shown.update(1, FIGURES, 9.0)
        print("warning: a note", file=progress.sys.stderr)
        progress.sys.stderr.write("half of ")
        shown.update(2, FIGURES, 8.0)
        progress.sys.stderr.write("another\n")
        shown.update(10, ["loss 1.000", "5,012 tokens/s"], 0.0)
    lines = terminal.shown()
    assert lines[:2] == ["warning: a note", "half of another"]
    assert lines[2].startswith("loss 1.000")
    assert "10/10 steps" in lines[2]
    assert lines[3:] == [""]
    assert progress.sys.stderr is terminal


def test_standard_error_comes_back_after_an_exception(terminal):
    def fails():
        with progress.Progress(10, unit="steps") as shown:
            shown.update(1, FIGURES)
            raise KeyError

    with pytest.raises(KeyError):
        fails()
    assert progress.sys.stderr is terminal


def test_a_terminal_without_the_characters_gets_plain_ones(terminal):
    terminal.encoding = "ascii"
    with progress.Progress(10, unit="steps") as shown:
        shown.update(5, FIGURES, 1.0)
    assert "#####" in terminal.shown()[0]
    assert terminal.getvalue().isascii()


@pytest.fixture
def clock(monkeypatch):
    """Seconds that only the test moves."""
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    stand_in(monkeypatch, io.StringIO())
    return now


def lines():
    return progress.sys.stderr.getvalue().splitlines()


def test_without_a_terminal_a_line_comes_every_30_seconds(clock):
    with progress.Progress(1000, unit="steps", units_between_lines=100) as shown:
        for step in range(1, 60):
            clock[0] += 1.0
            shown.update(step, FIGURES, 99.0)
    assert lines() == ["loss 2.346  5,012 tokens/s  30/1,000 steps  1:39 left"]


def test_or_every_100_steps_and_at_the_end(clock):
    with progress.Progress(250, unit="steps", units_between_lines=100) as shown:
        for step in range(1, 251):
            shown.update(step, FIGURES, 0.4)
    assert [line.split("  ")[2] for line in lines()] == ["100/250 steps", "200/250 steps", "250/250 steps"]


def test_nothing_is_shown_where_that_is_asked_for(clock):
    with progress.Progress(1, unit="steps", units_between_lines=1, quiet=True) as shown:
        shown.update(1, FIGURES)
    assert lines() == []


def test_items_are_passed_on_and_counted(clock):
    def slow():
        for item in range(70):
            clock[0] += 1.0
            yield item

    assert list(progress.progress(slow(), "cutting", total=70, unit="lines")) == list(range(70))
    assert lines() == [
        "cutting  1/s  30/70 lines  0:40 left",
        "cutting  1/s  60/70 lines  0:10 left",
        "cutting: 70 lines, 1/s, 1:10",
    ]


@pytest.mark.parametrize(
    ("seconds", "shown"), [(0.4, "0:00"), (65, "1:05"), (3845, "1:04:05"), (float("nan"), "?"), (float("inf"), "?")]
)
def test_durations(seconds, shown):
    assert progress.duration(seconds) == shown
