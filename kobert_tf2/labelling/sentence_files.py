"""Reads files of sentences and pairs: TSV and JSON, recognised by their column names.

    NSMC                id  document  label                              a text and its label
    KorNLI, XNLI-ko     sentence1  sentence2  gold_label                 a pair and its label
    KorSTS              genre ... score  sentence1  sentence2            a pair and its similarity, 0 to 5
    KLUE's YNAT         {"title", "label"}                               a text and its label
    KLUE-NLI            {"premise", "hypothesis", "gold_label"}          a pair and its label
    KLUE-STS            {"sentence1", "sentence2", "labels": {...}}      a pair and its similarity, 0 to 5
    KLUE-RE             {"sentence", "subject_entity", "object_entity", "label"}   two marked entities, their relation

For any other file, `Columns` gives the columns: by name, or by number if there is no header. A JSON file is a list of
objects, an object with such a list as "data", or one object per line; a nested field is named with a dot
(`labels.real-label`). A TSV has no quoting: quotation marks are part of the text, and lines are split at tabs.

Column names, labels and ids that look the same are treated as the same: they are normalized to NFC, and zero-width
characters are removed. All bad lines are counted, and the first ten are listed in one `InputError`.
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

# The default text columns, and for each the column with the second text of a pair.
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
# The similarity scale of KLUE and KorNLU.
SIMILARITY = (0.0, 5.0)

Label = str | tuple[str, ...] | float


class Example(NamedTuple):
    """One entry of a file. `id` is from the id column, or is the line number; `pair` and `label` are None if not given.

    `label` is a string, a tuple of strings (multi-label) or a number, depending on the problem type.
    """

    id: str
    text: str
    pair: str | None
    label: Label | None


class Columns(NamedTuple):
    """The columns to read, by name or, in a file without a header, by number from 1; None: the default columns."""

    text: str | None = None
    pair: str | None = None
    label: str | None = None

    @property
    def are_numbers(self) -> bool:
        """Whether the file has no header."""
        return any(name is not None and name.isdecimal() for name in self)


@dataclasses.dataclass(frozen=True, kw_only=True)
class ReadingOptions:
    """Options for reading files of sentences.

    Attributes:
      columns: the columns to read; see `Columns`.
      problem_type: one of `problems`; None: inferred from the file. Numbers in a `score` column and KLUE-STS'
        similarities mean regression, lists mean several labels, anything else one label.
      label_separator: separates the labels in a cell if there are several.
      score_range: the lowest and the highest value of a regression; None: 0 to 5 for files with this scale.
      markers: the markers around the two entities of a relation.
    """

    columns: Columns = Columns()  # noqa: RUF009 - tuples are immutable
    problem_type: str | None = None
    label_separator: str = ","
    score_range: tuple[float, float] | None = None
    markers: Markers = MARKERS


@dataclasses.dataclass(frozen=True, kw_only=True)
class SentenceFile:
    """The contents of a file: the examples, and the line number of each.

    `problem_type` says what the labels are; `score_range` is known only for similarities.
    """

    path: str
    problem_type: str
    score_range: tuple[float, float] | None
    examples: list[Example]
    lines: list[int]
    has_markers: bool = False  # the texts contain relation markers

    @property
    def has_pairs(self) -> bool:
        return self.examples[0].pair is not None


def read_tsv(path: str, *, labelled: bool = True) -> list[Example]:
    """The examples of a TSV with a header: `document` and `label` and, if present, `id` and `document2`.

    See `read` for other columns and kinds of labels. If `labelled` is false, no label column is required.
    """
    return read(path, ReadingOptions(problem_type=problems.SINGLE_LABEL), labelled=labelled).examples


def read(path: str, options: ReadingOptions = ReadingOptions(), *, labelled: bool = True) -> SentenceFile:
    """Reads a file of sentences or pairs.

    Empty texts are kept, and their number is reported. An empty half of a pair is an error, unless all second texts are
    empty and their column was not named explicitly: then the examples are single texts. Blank lines are skipped, unless
    the text is the only column: then they are empty texts. If `labelled` is false, labels are not read.

    Raises:
        InputError: there is no header, a column is missing or named twice, or there are bad lines: not UTF-8 or JSON, a
            different number of columns than the header, an empty label or half of a pair, a score that is not a number
            or is out of range. All bad lines are counted, and the first ten listed.
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
# Rows: {column: value}, each with its line number
# ----------------------------------------------------------------------------------------------------------------------

Row = Mapping[str, Any]


def _is_json(path: str) -> bool:
    """Whether a file begins like a JSON list or object. A TSV does so only if its first column's name does."""
    if path.endswith((".json", ".jsonl")):
        return True
    first = next((line for line in files.read_lines(path) if not is_blank(line)), "").lstrip()
    return first[:1] in ("[", "{") and "\t" not in first


def _tsv_rows(path: str, columns: Columns, bad_lines: files.BadLines) -> tuple[Row, Iterator[tuple[int, Row]]]:
    """A row with only the column names, and the rows of a TSV. Columns are named by the header or by number."""
    lines = enumerate(files.read_lines(path, bad_lines), start=1)
    first = next(lines, (1, ""))
    if columns.are_numbers:
        names = _numbered(path, first[1], columns)
        rows = _lines_as_rows(itertools.chain([first], lines), names, "in line 1", bad_lines)
    else:
        names = [comparable(name).lower() for name in first[1].split("\t")]
        repeated = next((name for name in names if name and names.count(name) > 1), None)
        if repeated is not None:
            raise InputError(f"{path}, line 1: the header names {repeated!r} twice")
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


def _numbered(path: str, line: str, columns: Columns) -> list[str]:
    """The column numbers as names; raises `InputError` if the first line turns out to be a header."""
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
    """The first object of a JSON file, and all objects, each with the number of the line in which it begins."""
    entries = list(_json_entries(path))
    for line, entry in entries:
        if not isinstance(entry, dict):
            raise InputError(f"{path}, line {line}: expected a JSON object, but found {files.json_name(entry)}")
    if not entries:
        raise InputError(f"{path}: expected JSON objects, but there is none")
    return entries[0][1], iter(entries)


def _json_entries(path: str) -> Iterator[tuple[int, Any]]:
    """The entries of a JSON list, of an object whose "data" is a list, or of a file with one object per line."""
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
    """The line numbers at which the entries of a JSON list begin; `begin` is the position after its opening bracket."""
    decoder, line, counted, position = json.JSONDecoder(), 1, 0, begin
    while True:
        position = _BETWEEN_ENTRIES.match(text, position).end()  # type: ignore[union-attr]  # "" matches too
        if text[position] == "]":
            return
        line, counted = line + text.count("\n", counted, position), position
        yield line
        position = decoder.raw_decode(text, position)[1]


# ----------------------------------------------------------------------------------------------------------------------
# Column layout
# ----------------------------------------------------------------------------------------------------------------------


class _Layout(NamedTuple):
    """The columns of a file (`label` is None if labels are not read) and the kind of its labels."""

    text: str
    pair: str | None
    label: str | None
    id: str | None
    problem_type: str
    score_range: tuple[float, float] | None
    has_entities: bool


class _Missing:
    """The value of a column that does not exist."""


def _field(row: Row, name: str) -> Any:
    """The value of a column; `labels.real-label` names a nested field. `_Missing` if there is none."""
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
    """The given name as the row spells it: normalized and, for a TSV header, in lower case."""
    if column is None:
        return None
    names = (str(int(column)),) if column.isdecimal() else (column, comparable(column), comparable(column).lower())
    return _first_there(row, names) or column


def _layout(path: str, row: Row, options: ReadingOptions, *, labelled: bool) -> _Layout:
    """Finds the requested columns in the first row."""
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
    """The problem type, and the range of a regression."""
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
    """Converts rows to examples. Errors in a row go to `bad_lines`; values that were changed when read are counted."""

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
        """The examples. An empty half of a pair is an error in its line, unless no line has a second text."""
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
        """The distinct labels in file order; none for an empty cell or list."""
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

    # --- Values changed when read ---

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
