"""Layout of the programs' output on stderr: aligned tables, and commands that can be copied."""

import os
import pathlib
import shlex
import shutil
import sys
from collections.abc import Mapping

_FEWEST_COLUMNS, _MOST_COLUMNS = 40, 120


def columns() -> int:
    """The width of the screen, 80 without a terminal; the layout leaves the last column free."""
    try:
        found = os.get_terminal_size(sys.stderr.fileno()).columns
    except (AttributeError, OSError, ValueError):
        found = shutil.get_terminal_size((80, 24)).columns
    return max(_FEWEST_COLUMNS, min(found or 80, _MOST_COLUMNS))


def number(value: float) -> str:
    """Formats a measured value with four significant digits: 0.1235, 12.35, 1,235."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    if value != value or isinstance(value, int) or abs(value) >= 1e15:
        return f"{value:,}"
    if value and abs(value) < 1e-3:
        return f"{value:.3g}"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def table(rows: Mapping[str, object], *, indent: str = "  ") -> str:
    """A two-column table of names and values, each row on one line of the screen."""
    width = max(map(len, rows), default=0)
    return "\n".join(_fit(f"{indent}{name:{width}}  {number(value)}") for name, value in rows.items())  # type: ignore[arg-type]


def _fit(line: str) -> str:
    line = " ".join(line.splitlines())
    most = columns() - 1
    return line if len(line) <= most else f"{line[: most - 1]}…"


def results(summary: Mapping[str, object]) -> str:
    """The numbers of a summary as a table; values that are not scalars appear only in its JSON. "" if there are
    none.
    """
    figures = {
        name: value for name, value in _flat(summary) if isinstance(value, int | float) and not isinstance(value, bool)
    }
    return table(figures) if figures else ""


def _flat(summary: Mapping[str, object]) -> list[tuple[str, object]]:
    flat: list[tuple[str, object]] = []
    for name, value in summary.items():
        if isinstance(value, Mapping):
            flat += [(f"{name} {inner}", inner_value) for inner, inner_value in value.items()]
        else:
            flat.append((name, value))
    return flat


def command(tool: str, flags: Mapping[str, object]) -> str:
    """The command line of one of our tools, as it would be typed in this program's working directory; None flags are
    omitted.

    `tool` is a file of tools/, such as "export_model.py".
    """
    words = [*_program(tool), *(shlex.quote(_flag(name, value)) for name, value in flags.items() if value is not None)]
    lines, most = [words[0]], columns() - 3
    for word in words[1:]:
        if len(lines[-1]) + 1 + len(word) <= most:
            lines[-1] += f" {word}"
        else:
            lines.append(f"    {word}")
    return " \\\n".join(lines)


def _flag(name: str, value: object) -> str:
    if isinstance(value, bool):
        return f"--{'' if value else 'no'}{name}"
    return f"--{name}={','.join(map(str, value)) if isinstance(value, list | tuple) else value}"


def _program(tool: str) -> list[str]:
    if "kobert_tf2.kobert" in sys.modules and shutil.which("kobert"):
        return ["kobert", tool.removesuffix(".py").replace("_", "-")]
    beside = pathlib.Path(sys.argv[0]).parent / tool
    if not beside.exists():  # The user's own program.
        beside = pathlib.Path(__file__).resolve().parent.parent / "tools" / tool
    return [shlex.quote(_interpreter()), shlex.quote(str(beside))]


def _interpreter() -> str:
    """`python` if that is the running interpreter, otherwise its path."""
    found = shutil.which("python")
    return "python" if found and os.path.realpath(found) == os.path.realpath(sys.executable) else sys.executable
