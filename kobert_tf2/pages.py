"""Self-contained HTML pages: no network access, with dark mode, readable on a phone and in print.

User data is escaped here, by `text`, `table` and `Section`; the page's content security policy forbids loading
anything.
"""

from collections.abc import Iterable, Sequence
from html import escape
from typing import NamedTuple

from kobert_tf2 import files, language, outputs


class Section(NamedTuple):
    """A part of a page: a heading with HTML below it. A section without HTML is omitted."""

    title: str
    html: str
    explanation: str = ""


class Cell(NamedTuple):
    """A table cell with a background shade from 0 to 1."""

    value: object
    shade: float


def text(value: object) -> str:
    """Text escaped as HTML."""
    return escape(str(value))


def table(header: Sequence[object], rows: Iterable[Sequence[object]], *, caption: str = "") -> str:
    """A table that scrolls horizontally on a narrow screen. Numbers are right-aligned."""
    head = "".join(f'<th scope="col">{text(name)}</th>' for name in header)
    body = "".join(f"<tr>{''.join(map(_cell, row))}</tr>" for row in rows)
    title = f"<caption>{text(caption)}</caption>" if caption else ""
    # A scrolling region must be reachable by keyboard.
    return (
        f'<div class="scroll" tabindex="0" role="group"><table>{title}<thead><tr>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def _cell(value: object) -> str:
    attributes = ""
    if isinstance(value, Cell):
        attributes = f' class="n shaded" style="--shade:{100 * value.shade:.0f}%"'
        value = value.value
    if isinstance(value, bool) or not isinstance(value, int | float):
        return f"<td{attributes}>{text(value)}</td>"
    shown = f"{value:,}" if isinstance(value, int) else f"{value:,.4g}"
    return f"<td{attributes or ' class=n'}>{shown}</td>"


def figures(values: Iterable[tuple[str, str, str]]) -> str:
    """Large numbers side by side: (name, value, explanation)."""
    boxes = "".join(
        f'<div class="figure"><b>{text(value)}</b><span>{text(name)}</span><small>{text(note)}</small></div>'
        for name, value, note in values
    )
    return f'<div class="figures">{boxes}</div>' if boxes else ""


def terms(pairs: Iterable[tuple[str, str]]) -> str:
    """A list of terms and their definitions."""
    return f"<dl>{''.join(f'<dt>{text(word)}</dt><dd>{text(meaning)}</dd>' for word, meaning in pairs)}</dl>"


def page(title: str, sections: Iterable[Section], *, script: str = "", style: str = "") -> str:
    """The complete HTML page; `script` and `style` must be ours, not user data."""
    parts = "".join(
        f"<section><h2>{text(section.title)}</h2>"
        f"{f'<p class=note>{text(section.explanation)}</p>' if section.explanation else ''}{section.html}</section>"
        for section in sections
        if section.html
    )
    return f"""<!doctype html>
<html lang="{language.current()}">
<head>
<meta charset="utf-8">
{_SIGN}
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; \
script-src 'unsafe-inline'; img-src data:">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{text(title)}</title>
<style>{_STYLE}{style}</style>
</head>
<body>
<h1>{text(title)}</h1>
<main>{parts}</main>
{f"<script>{script}</script>" if script else ""}
</body>
</html>
"""


# Identifies our pages; those of evaluate_mrc in version 0.1 begin in the same way.
_SIGN = '<meta name="generator" content="kobert_tf2">'


def check_output(path: str, what: str) -> None:
    """Raises `InputError` if a page may not be written to `path`; an earlier page of ours may be replaced."""
    outputs.check_file(path, what=what, is_ours=is_ours)


def is_ours(path: str) -> bool:
    """Whether a file is a page written by this package."""
    with files.open_binary(path) as file:
        return _SIGN.removesuffix('">').encode() in file.read(1000)


def write(path: str, html: str) -> None:
    with files.whole_file(path) as file:
        file.write(html)


_STYLE = """
:root { color-scheme: light dark; --ink: #1c2024; --dim: #5c6470; --line: #d5dae0; --paper: #fff; --box: #f4f6f8;
  --accent: #1d5fd0; --c0: #1d6fd8; --c1: #c8501e; --c2: #2a8a43; --c3: #8a3fc0; --c4: #b8860b; --c5: #0e8a8a; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e4e7eb; --dim: #9aa4b0; --line: #3a424c; --paper: #14171b; --box: #1e2329; --accent: #7db0ff;
    --c0: #6aa8ff; --c1: #ff9a66; --c2: #6fd08a; --c3: #cf9bff; --c4: #e8c260; --c5: #5fd3d3; } }
* { box-sizing: border-box; }
body { font: 15px/1.6 system-ui, "Noto Sans KR", "Apple SD Gothic Neo", "Malgun Gothic", NanumGothic, sans-serif;
  color: var(--ink); background: var(--paper); max-width: 62rem; margin: 0 auto; padding: 1rem;
  overflow-wrap: anywhere; }
h1 { font-size: 1.35rem; margin: 0 0 .5rem; } h2 { font-size: 1.1rem; margin: 1.6rem 0 .3rem; }
.note, small { color: var(--dim); font-size: .87rem; margin: 0 0 .5rem; }
.scroll { overflow-x: auto; max-width: 100%; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
caption { text-align: left; font-weight: 600; padding: .3rem 0; }
th, td { padding: .2rem .7rem; border-bottom: 1px solid var(--line); text-align: left; vertical-align: top; }
td { min-width: 2.5rem; } td.n { text-align: right; }
td.shaded { background: color-mix(in srgb, var(--c0) calc(var(--shade) * .5), transparent); }
th { color: var(--dim); font-weight: 600; }
th, td.n, .figure b { white-space: nowrap; overflow-wrap: normal; }
hr { border: 0; border-top: 1px solid var(--line); }
.figures { display: flex; flex-wrap: wrap; gap: .7rem; margin: .5rem 0; }
.figure { background: var(--box); border-radius: .5rem; padding: .6rem .9rem; flex: 1 1 9rem; max-width: 20rem; }
.figure b { display: block; font-size: 1.4rem; font-variant-numeric: tabular-nums; }
.figure small { display: block; margin: 0; }
.chart { width: 100%; max-width: 46rem; height: auto; display: block; margin: .3rem 0; }
.chart text { font: 12px system-ui, sans-serif; fill: var(--dim); }
.chart .name { text-anchor: end; } .chart .x { text-anchor: middle; }
.chart .grid { stroke: var(--line); stroke-width: 1; }
.chart .line { fill: none; stroke-width: 2; stroke-linejoin: round; }
.legend { display: flex; flex-wrap: wrap; gap: .3rem 1rem; margin: 0; font-size: .87rem; }
.legend i { display: inline-block; width: 1em; height: .25em; vertical-align: middle; margin-right: .35em; }
.line.c0 { stroke: var(--c0); } .line.c1 { stroke: var(--c1); } .line.c2 { stroke: var(--c2); }
.line.c3 { stroke: var(--c3); } .line.c4 { stroke: var(--c4); } .line.c5 { stroke: var(--c5); }
i.c0 { background: var(--c0); } i.c1 { background: var(--c1); } i.c2 { background: var(--c2); }
i.c3 { background: var(--c3); } i.c4 { background: var(--c4); } i.c5 { background: var(--c5); }
rect.c0, circle.c0 { fill: var(--c0); } rect.c1, circle.c1 { fill: var(--c1); } circle.c2 { fill: var(--c2); }
circle.c3 { fill: var(--c3); } circle.c4 { fill: var(--c4); } circle.c5 { fill: var(--c5); }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .1rem .9rem; margin: .3rem 0; } dd { margin: 0; }
dt { font-weight: 600; }
.pieces span { display: inline-block; background: var(--box); border-radius: .25rem; padding: 0 .35em; margin: .1em; }
.pieces .u { outline: 2px solid var(--c1); }
.pieces .m { background: color-mix(in srgb, var(--c0) 30%, transparent); }
:focus-visible { outline: 3px solid var(--accent); outline-offset: 2px; }
@media (max-width: 30rem) { body { padding: .7rem; } .figure { flex-basis: 7rem; } dl { grid-template-columns: 1fr; }
  dd { margin-left: 1rem; } .figure b { font-size: 1.15rem; } .chart text { font-size: 18px; } }
"""
