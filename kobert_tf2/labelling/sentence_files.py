"""Files of sentences and pairs: tab-separated files and JSON, recognised by the names of their columns.

    NSMC                id  document  label                              a text and its label
    KorNLI, XNLI-ko     sentence1  sentence2  gold_label                 a pair and its label
    KorSTS              genre ... score  sentence1  sentence2            a pair and its similarity, 0 to 5
    KLUE's YNAT         {"title", "label"}                               a text and its label
    KLUE-NLI            {"premise", "hypothesis", "gold_label"}          a pair and its label
    KLUE-STS            {"sentence1", "sentence2", "labels": {...}}      a pair and its similarity, 0 to 5
    KLUE-RE             {"sentence", "subject_entity", "object_entity", "label"}   two marked entities, their relation

Any other file names its columns by `Columns`: by name, or by number where it has no header. A JSON file is a list of
objects, an object whose "data" is one, or an object a line; a field within a field is named with a dot
(`labels.real-label`). A TSV has no quoting: a quotation mark is a character of the text, and a line is cut at its tabs.

Names of columns, labels and ids are the same where they look the same: they are composed (NFC) and lose zero-width
characters. All bad lines are counted, the first ten listed in one `InputError`.
"""

import dataclasses
import itertools
import json
import math
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from kobert_tf2 import files
from kobert_tf2.errors import InputError
from kobert_tf2.labelling import problems
from kobert_tf2.labelling.relations import MARKERS, Markers, overlaps, span_of, with_markers
from kobert_tf2.tokenization.normalization import comparable, is_blank

# The columns that hold a text where none is named, and with each the one that makes it a pair.
_PAIRS = {
    "document": "document2",
    "sentence1": "sentence2",
    "premise": "hypothesis",
    "question1": "question2",
    "text": "text_pair",
    "sentence": None,
    "title": None,
}
_LABELS = ("label", "gold_label", "labels.real-label", "labels", "score")
_IDS = ("id", "guid")
_ENTITIES = ("subject_entity", "object_entity")
# KLUE's and KorNLU's scale of similarity.
SIMILARITY = (0.0, 5.0)

Label = str | tuple[str, ...] | float


class Example(NamedTuple):
    """One entry of a file. `id` is its column, or the number of its line; `pair` and `label` are None where not given.

    `label` is a string, a tuple of strings (several labels) or a number, by the kind of problem.
    """

    id: str
    text: str
    pair: str | None
    label: Label | None


class Columns(NamedTuple):
    """The columns to read, by name or, in a file without a header, by number from 1 on; None: found by their names."""

    text: str | None = None
    pair: str | None = None
    label: str | None = None

    @property
    def are_numbers(self) -> bool:
        """Whether the file has no header."""
        return any(name is not None and name.isdecimal() for name in self)


@dataclasses.dataclass(frozen=True, kw_only=True)
class ReadingOptions:
    """How files of sentences are read.

    Attributes:
      columns: which columns; see `Columns`.
      problem_type: one of `problems`; None: what the file shows. Numbers of a column `score` and KLUE-STS' similarities
        are a regression, lists are several labels, everything else is one label.
      label_separator: between the labels of a cell, where there are several.
      score_range: the lowest and the highest number of a regression; None: 0 to 5 for files that have this scale.
      markers: what stands around the two entities of a relation.
    """

    columns: Columns = Columns()  # noqa: RUF009 - a tuple cannot change
    problem_type: str | None = None
    label_separator: str = ","
    score_range: tuple[float, float] | None = None
    markers: Markers = MARKERS


@dataclasses.dataclass(frozen=True, kw_only=True)
class SentenceFile:
    """What was read: the examples, and with each the number of its line.

    `problem_type` is what the labels are; `score_range` is known of similarities alone.
    """

    path: str
    problem_type: str
    score_range: tuple[float, float] | None
    examples: list[Example]
    lines: list[int]
    has_markers: bool = False  # the texts have the markers of a relation

    @property
    def has_pairs(self) -> bool:
        return self.examples[0].pair is not None


def read_tsv(path: str, *, labelled: bool = True) -> list[Example]:
    """The examples of a TSV with a header: `document` and `label` and, where there are such, `id` and `document2`.

    See `read` for other columns and kinds of labels. Without `labelled` no column of labels need be there.
    """
    return read(path, ReadingOptions(problem_type=problems.SINGLE_LABEL), labelled=labelled).examples


def read(path: str, options: ReadingOptions = ReadingOptions(), *, labelled: bool = True) -> SentenceFile:
    """Reads a file of sentences or pairs.

    An empty text is kept, and their number is reported; an empty half of a pair is an error, unless all second texts
    are empty and nobody named their column: then they are single texts. Blank lines are passed over, except where the
    text is the only column: there they are empty texts. Without `labelled` labels are not read.

    Raises:
        InputError: no header, a column missing or named twice; lines that are not UTF-8 or JSON, with another number of
            columns than the header, with an empty label or half of a pair, with a score that is no number or out of its
            range: all are counted, the first ten listed.
    """
    bad_lines = files.BadLines(path)
    head, rows = _json_rows(path) if _is_json(path) else _tsv_rows(path, options.columns, bad_lines)
    layout = _layout(path, head, options, labelled=labelled)
    reader = _Reader(path, layout, options, bad_lines)
    read_rows = [(line, example) for line, row in rows if (example := reader.example(line, row))]
    examples = reader.without_empty_pairs(read_rows)
    bad_lines.raise_if_any()
    if not examples:
        raise InputError(f"{path}: expected lines below the header, but there is none")
    lines = [line for line, _ in read_rows]
    reader.report(examples, lines)
    return SentenceFile(
        path=path,
        problem_type=layout.problem_type,
        score_range=layout.score_range,
        examples=examples,
        lines=lines,
        has_markers=layout.has_entities,
    )


# ----------------------------------------------------------------------------------------------------------------------
# Rows: {column: value} with the number of the line
# ----------------------------------------------------------------------------------------------------------------------

Row = Mapping[str, Any]


def _is_json(path: str) -> bool:
    """Whether a file begins as a JSON list or object. A TSV's header can begin with [ or { only by such a name."""
    if path.endswith((".json", ".jsonl")):
        return True
    first = next((line for line in files.read_lines(path) if not is_blank(line)), "").lstrip()
    return first[:1] in ("[", "{") and "\t" not in first


def _tsv_rows(path: str, columns: Columns, bad_lines: files.BadLines) -> tuple[Row, Iterator[tuple[int, Row]]]:
    """A row that has the names alone, and the lines of a TSV; columns have the header's names, or their numbers."""
    lines = enumerate(files.read_lines(path, bad_lines), start=1)
    first = next(lines, (1, ""))
    if columns.are_numbers:
        names = _numbered(path, first[1], columns)
        rows = _lines_as_rows(itertools.chain([first], lines), names, "in line 1", bad_lines)
    else:
        names = _header(path, first[1])
        rows = _lines_as_rows(lines, names, "in the header", bad_lines)
    return dict.fromkeys(names, ""), rows


def _lines_as_rows(
    lines: Iterable[tuple[int, str]], names: list[str], where: str, bad_lines: files.BadLines
) -> Iterator[tuple[int, Row]]:
    for number, line in lines:
        if len(names) > 1 and "\t" not in line and is_blank(line):
            continue
        values = line.split("\t")
        if len(values) != len(names):
            bad_lines.add(number, f"expected {len(names)} columns as {where}, but there are {len(values)}")
        else:
            yield number, dict(zip(names, values, strict=True))


def _header(path: str, line: str) -> list[str]:
    names = [comparable(name).lower() for name in line.split("\t")]
    repeated = next((name for name in names if name and names.count(name) > 1), None)
    if repeated is not None:
        raise InputError(f"{path}, line 1: the header names {repeated!r} twice")
    return names


def _numbered(path: str, line: str, columns: Columns) -> list[str]:
    """The numbers of the columns as their names, after a look at whether the first line is a header all the same."""
    values = line.split("\t")
    given = {field: name for field, name in columns._asdict().items() if name is not None}
    for field, name in given.items():
        if not name.isdecimal() or not 1 <= int(name) <= len(values):
            raise InputError(
                f"{path}, line 1: --{field}_column: expected the number of one of its {len(values)} columns, as the "
                f"other is one, but got {name!r}"
            )
    known = {*_PAIRS, *filter(None, _PAIRS.values()), *_LABELS}
    headings = [value for value in map(comparable, values) if value.lower() in known]
    if len(headings) >= 2:
        raise InputError(
            f"{path}, line 1: columns are given by number, which is for files without a header, but this is one: name "
            f"the columns ({', '.join(headings)})"
        )
    return [str(int(place)) for place in range(1, len(values) + 1)]


def _json_rows(path: str) -> tuple[Row, Iterator[tuple[int, Row]]]:
    """The first object of a JSON file, and all of them, each with the line that it begins in."""
    entries = list(_json_entries(path))
    for line, entry in entries:
        if not isinstance(entry, dict):
            raise InputError(f"{path}, line {line}: expected a JSON object, but found {files.json_name(entry)}")
    if not entries:
        raise InputError(f"{path}: expected JSON objects, but there is none")
    return entries[0][1], iter(entries)


def _json_entries(path: str) -> Iterator[tuple[int, Any]]:
    """The entries of a file with a list, with an object whose "data" is a list, or with an object a line."""
    text = files.read_text(path)
    if _is_object_a_line(text):
        for number, line in enumerate(text.split("\n"), start=1):
            if line.strip():
                yield number, files.parse_json(line, path, first_line=number)
        return
    value, begin = files.parse_json(text, path), text.find("[") + 1
    if isinstance(value, dict):
        data = re.search(r'"data"\s*:\s*\[', text)
        if data is None or not isinstance(value.get("data"), list):
            raise InputError(f'{path}: expected a JSON list, an object a line, or an object with a list as "data"')
        value, begin = value["data"], data.end()
    if not isinstance(value, list):
        raise InputError(f"{path}: expected a JSON list, but found {files.json_name(value)}")
    yield from zip(_lines_of_entries(text, begin), value, strict=True)


def _is_object_a_line(text: str) -> bool:
    first, _, rest = text.strip().partition("\n")
    try:
        value = json.loads(first)
    except (ValueError, RecursionError):
        return False
    return isinstance(value, dict) and (bool(rest) or not isinstance(value.get("data"), list))


_BETWEEN_ENTRIES = re.compile(r"[\s,]*")


def _lines_of_entries(text: str, begin: int) -> Iterator[int]:
    """The numbers of the lines in which the entries of a JSON list begin; `begin` is behind its bracket."""
    decoder, line, counted, position = json.JSONDecoder(), 1, 0, begin
    while True:
        position = _BETWEEN_ENTRIES.match(text, position).end()  # type: ignore[union-attr]  # matches no character too
        if text[position] == "]":
            return
        line, counted = line + text.count("\n", counted, position), position
        yield line
        position = decoder.raw_decode(text, position)[1]


# ----------------------------------------------------------------------------------------------------------------------
# Which columns hold what
# ----------------------------------------------------------------------------------------------------------------------


class _Layout(NamedTuple):
    """The columns of a file, `label` None where labels are not read, and what its labels are."""

    text: str
    pair: str | None
    label: str | None
    id: str | None
    problem_type: str
    score_range: tuple[float, float] | None
    has_entities: bool


class _Missing:
    """The value of a column that there is not."""


def _field(row: Row, name: str) -> Any:
    """The value of a column; `labels.real-label` is that of a field within a field. `_Missing`: there is none."""
    if name in row:
        return row[name]
    value: Any = row
    for part in name.split("."):
        if not isinstance(value, dict) or part not in value:
            return _Missing
        value = value[part]
    return value


def _has(row: Row, name: str | None) -> bool:
    return name is not None and _field(row, name) is not _Missing


def _first_there(row: Row, names: Iterable[str]) -> str | None:
    return next((name for name in names if _has(row, name)), None)


def _spelled(row: Row, column: str | None) -> str | None:
    """The name that was given as the row spells it: composed and, of a TSV's header, in lower case."""
    if column is None:
        return None
    names = (str(int(column)),) if column.isdecimal() else (column, comparable(column), comparable(column).lower())
    return _first_there(row, names) or column


def _layout(path: str, row: Row, options: ReadingOptions, *, labelled: bool) -> _Layout:
    """Where the first row has what is asked for."""
    columns = options.columns
    text = _spelled(row, columns.text) or _first_there(row, _PAIRS)
    pair = _spelled(row, columns.pair)
    if pair is None and columns.text is None and _has(row, _PAIRS.get(text or "")):
        pair = _PAIRS[text or ""]
    label = _label_column(row, options) if labelled else None
    wanted = {"text": text or "document", "pair": pair, "label": (label or "label") if labelled else None}
    _check_there(path, row, wanted)
    problem_type, score_range = _kind(row, label, options)
    return _Layout(
        text=wanted["text"] or "",
        pair=pair,
        label=label,
        id=None if columns.are_numbers else _first_there(row, _IDS),
        problem_type=problem_type,
        score_range=score_range,
        has_entities=all(isinstance(row.get(name), dict) for name in _ENTITIES),
    )


def _label_column(row: Row, options: ReadingOptions) -> str | None:
    if options.columns.label is not None:
        return _spelled(row, options.columns.label)
    if options.problem_type == problems.SINGLE_LABEL and _has(row, "labels.binary-label"):
        return "labels.binary-label"
    return _first_there(row, _LABELS)


def _check_there(path: str, row: Row, wanted: Mapping[str, str | None]) -> None:
    needed = {field: name for field, name in wanted.items() if name is not None}
    missing = {field: name for field, name in needed.items() if not _has(row, name)}
    if missing:
        flags = " and ".join(f"--{field}_column" for field in missing)
        raise InputError(
            f"{path}, line 1: expected a header, tabs between its names, with {' and '.join(needed.values())}, "
            f"but {' and '.join(missing.values())} is missing in {' '.join(row)[:80]!r}; {flags} can name other columns"
        )


def _kind(row: Row, label: str | None, options: ReadingOptions) -> tuple[str, tuple[float, float] | None]:
    """What the labels are, and between which numbers they lie."""
    is_similarity = label in ("score", "labels.real-label")
    problem_type = options.problem_type or (problems.REGRESSION if is_similarity else None)
    if problem_type is None:
        several = label is not None and isinstance(_field(row, label), list)
        problem_type = problems.MULTI_LABEL if several else problems.SINGLE_LABEL
    if problem_type != problems.REGRESSION:
        return problem_type, None
    return problem_type, options.score_range or (SIMILARITY if is_similarity else None)


# ----------------------------------------------------------------------------------------------------------------------
# Rows to examples
# ----------------------------------------------------------------------------------------------------------------------


class _Reader:
    """Makes examples of rows; what is wrong with a row goes to `bad_lines`, what was read otherwise is counted."""

    def __init__(self, path: str, layout: _Layout, options: ReadingOptions, bad_lines: files.BadLines):
        self._path, self._layout, self._options, self._bad_lines = path, layout, options, bad_lines
        parse: dict[str, Callable[[Any], Label]] = {
            problems.SINGLE_LABEL: self._single,
            problems.MULTI_LABEL: self._several,
            problems.REGRESSION: self._number,
        }
        self._label = parse[layout.problem_type]
        self._respelled: list[int] = []
        self._overlapping: list[int] = []
        self._line = 0

    def example(self, line: int, row: Row) -> Example | None:
        self._line, layout = line, self._layout
        try:
            label = None if layout.label is None else self._label(self._value(row, layout.label))
            text = self._text(row, layout.text)
            pair = None if layout.pair is None else self._text(row, layout.pair)
            if layout.has_entities:
                text = self._with_markers(text, row)
        except ValueError as error:
            self._bad_lines.add(line, str(error))
            return None
        name = comparable(str(row[layout.id])) if layout.id and row.get(layout.id) is not None else ""
        return Example(name or str(line), text, pair, label)

    def _value(self, row: Row, name: str) -> Any:
        value = _field(row, name)
        if value is _Missing:
            raise ValueError(f"{name} is missing")
        return value

    def _text(self, row: Row, name: str) -> str:
        value = self._value(row, name)
        if not isinstance(value, str):
            raise ValueError(f"{name}: expected a text, but found {files.json_name(value)}")
        return value

    def without_empty_pairs(self, rows: Sequence[tuple[int, Example]]) -> list[Example]:
        """The examples. Where one half of a pair is empty the line is wrong, unless no line has a second text."""
        if self._options.columns.pair is None and all(is_blank(example.pair or "") for _, example in rows):
            return [example._replace(pair=None) for _, example in rows]
        for line, example in rows:
            for name, text in ((self._layout.text, example.text), (self._layout.pair, example.pair)):
                if example.pair is not None and is_blank(text or ""):
                    self._bad_lines.add(line, f"{name} is empty: expected a pair of texts")
        return [example for _, example in rows]

    def _with_markers(self, text: str, row: Row) -> str:
        marker = next((marker for marker in self._options.markers if marker in text), None)
        if marker is not None:
            raise ValueError(f"the text has {marker!r} in it, which is to mark its entities: choose other markers")
        subject, object_ = (span_of(text, self._value(row, name), name) for name in _ENTITIES)
        if subject == object_:
            raise ValueError("subject_entity and object_entity are the same characters")
        if overlaps(subject, object_):
            self._overlapping.append(self._line)
        return with_markers(text, subject, object_, self._options.markers)

    # --- Labels ---

    def _single(self, value: Any) -> str:
        if isinstance(value, list):
            raise ValueError("expected one label, but found a list: several need --problem_type=multi_label")
        return self._name(value)

    def _name(self, value: Any) -> str:
        if isinstance(value, dict | list):
            raise ValueError(f"expected a label, but found {files.json_name(value)}")
        written = "" if value is None else value if isinstance(value, str) else json.dumps(value)
        name = comparable(written)
        if not name:
            raise ValueError("the label is empty")
        if name != written.strip():
            self._respelled.append(self._line)
        return name

    def _several(self, value: Any) -> tuple[str, ...]:
        """Each label once, in the order of the file; an empty cell or list has none."""
        if isinstance(value, str):
            value = [part for part in value.split(self._options.label_separator) if not is_blank(part)]
        names = value if isinstance(value, list) else [] if value is None else [value]
        return tuple(dict.fromkeys(map(self._name, names)))

    def _number(self, value: Any) -> float:
        try:
            if isinstance(value, bool) or not isinstance(value, str | int | float) or "_" in str(value):
                raise ValueError
            number = float(value)
        except ValueError:
            found = repr(value) if isinstance(value, str) else files.json_name(value)
            raise ValueError(f"expected a number as {self._layout.label}, but found {found:.60}") from None
        if not math.isfinite(number):
            raise ValueError(f"expected a number as {self._layout.label}, but found {value}")
        low, high = self._layout.score_range or (-math.inf, math.inf)
        if not low <= number <= high:
            raise ValueError(f"expected a {self._layout.label} from {low:g} to {high:g}, but found {value}")
        return number

    # --- What was read otherwise than it stands ---

    def report(self, examples: Sequence[Example], lines: Sequence[int]) -> None:
        empty = [line for line, example in zip(lines, examples, strict=True) if is_blank(example.text)]
        if empty and len(empty) == len(examples):
            raise InputError(f"{self._path}: expected texts as {self._layout.text}, but all {len(empty):,} are empty")
        self._say(empty, "texts are empty and are read as such")
        self._say(
            self._respelled,
            "labels were not in NFC or had zero-width characters or other white space, and were read without",
        )
        self._say(self._overlapping, "texts have a subject_entity and an object_entity that overlap; both are marked")

    def _say(self, lines: Sequence[int], what: str) -> None:
        if lines:
            print(f"{self._path}: {len(lines):,} {what} (the first in line {lines[0]})", file=sys.stderr)
