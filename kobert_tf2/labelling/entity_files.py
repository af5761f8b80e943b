"""Reads and writes texts with entities: KLUE's format (by character), CoNLL (by eojeol or morpheme), and marked text.

    klue     one character and its tag per line, including spaces; `##` begins a comment
    conll    one token and its tag per line, an empty line between sentences; `; ` or `# text = ` may give the original
    marked   one text per line with its entities marked: <세종대왕:PS>은 <1418년:DT>에 즉위했다.

In every format an entity is converted to a span of characters of the text. Tags may be BIO, BIOES (BILOU) or plain,
with the prefix before or after the type (B-PS, PS_B). Tag sequences that are not well-formed (I after O) are
interpreted as by CoNLL's scorer and seqeval, and counted.
"""

import dataclasses
import itertools
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

from kobert_tf2 import files
from kobert_tf2.errors import InputError
from kobert_tf2.tokenization.normalization import comparable, is_blank

FORMATS = ("klue", "conll", "marked")


class Entity(NamedTuple):
    """An entity of a text: `text[start:end]` is its surface, `type` its type (PS, LC, ...), `score` a probability."""

    start: int
    end: int
    type: str
    score: float = 1.0


class TaggedText(NamedTuple):
    """A text and its entities, sorted and non-overlapping."""

    id: str
    text: str
    entities: tuple[Entity, ...]


@dataclasses.dataclass
class EntityFile:
    """The contents of a file: the format detected, the texts, and where tags were not well-formed."""

    path: str
    format: str
    texts: list[TaggedText]
    irregular: list[str] = dataclasses.field(default_factory=list)
    by_eojeol: bool = False  # whole eojeols are tagged, so entities include particles

    def types(self) -> list[str]:
        """The entity types that occur, sorted."""
        return sorted({entity.type for text in self.texts for entity in text.entities})


def read(path: str, file_format: str | None = None) -> EntityFile:
    """Reads a file of entities. The format is detected from the first lines if not given.

    Raises:
        InputError: the file has no texts, or has lines without a tag, or nested or empty marks; all bad lines are
            counted and the first ten listed.
    """
    file_format = file_format or recognise(path)
    if file_format is None:
        raise InputError(
            f"{path}: expected entities as characters and tags (KLUE), tokens and tags (CoNLL), or marked text "
            "(<세종대왕:PS>), but the first lines are none of these"
        )
    lines = list(enumerate(files.read_lines(path), start=1))
    bad_lines = files.BadLines(path)
    read_format = {"klue": _read_klue, "conll": _read_conll, "marked": _read_marked}[file_format]
    found = EntityFile(path, file_format, [])
    read_format(lines, found, bad_lines)
    bad_lines.raise_if_any()
    if not found.texts:
        raise InputError(f"{path}: expected texts with entities, but there are none")
    return found


def recognise(path: str) -> str | None:
    """Detects the format of a file of entities from its first thousand lines; None if it is none of them.

    Tags after a tab or a space indicate klue or conll; marks indicate marked text.
    """
    lines = itertools.islice(files.read_lines(path), 1000)
    content = [line for line in lines if not is_blank(line) and not _COMMENT.match(line)]
    rows = [line.split("\t") if "\t" in line else line.split() for line in content]
    tagged = [row for row in rows if len(row) > 1 and _looks_like_a_tag(row[-1].strip())]
    if content and len(tagged) >= len(content) * 0.9:
        return "klue" if all(len(row) == 2 and len(row[0]) == 1 for row in tagged) else "conll"
    return "marked" if any(_MARK.search(line) for line in content) else None


# ----------------------------------------------------------------------------------------------------------------------
# Tags
# ----------------------------------------------------------------------------------------------------------------------

_OUTSIDE = {"O", "-", "_"}
_PREFIXED = re.compile(r"([BIESLUM])[-_](.+)")
_SUFFIXED = re.compile(r"(.+)[-_]([BIESLUM])")


def _looks_like_a_tag(tag: str) -> bool:
    return tag in _OUTSIDE or re.fullmatch(r"[A-Z][A-Za-z]{0,15}([-_][A-Za-z_]{1,30})?", tag) is not None


class _Unit(NamedTuple):
    """A character or token of a text with its tag and line number."""

    start: int
    end: int
    tag: str
    line: int


def _split(tag: str) -> tuple[str, str]:
    """Splits a tag into (prefix, type). The prefix of a plain tag is empty; so is the type of "O"."""
    if tag in _OUTSIDE:
        return "O", ""
    if match := _PREFIXED.fullmatch(tag):
        return match[1], comparable(match[2])
    if match := _SUFFIXED.fullmatch(tag):
        return match[2], comparable(match[1])
    return "", comparable(tag)


def entities_of(units: Iterable[_Unit], irregular: Callable[[int, str], None]) -> list[Entity]:
    """The entities of a sequence of tagged units. Calls `irregular` with the line and how a bad tag was interpreted."""
    found: list[Entity] = []
    current: Entity | None = None  # the previous unit's entity if it may continue
    for unit in units:
        prefix, kind = _split(unit.tag)
        goes_on = current is not None and current.type == kind and prefix in ("I", "M", "E", "L", "")
        if goes_on:
            assert current is not None
            current = found[-1] = current._replace(end=unit.end)
        elif kind:
            if prefix in ("I", "M", "E", "L"):
                irregular(unit.line, f"{unit.tag} continues no {kind}: read as the beginning of one")
            current = Entity(unit.start, unit.end, kind)
            found.append(current)
        if not kind or prefix in ("E", "L", "S", "U"):
            current = None
    return found


# ----------------------------------------------------------------------------------------------------------------------
# The formats
# ----------------------------------------------------------------------------------------------------------------------

_Lines = Sequence[tuple[int, str]]


def _read_klue(lines: _Lines, found: EntityFile, bad_lines: files.BadLines) -> None:
    for block in _blocks(lines):
        name, text, units = "", "", []
        for number, line in block:
            if line.startswith("##") and "\t" not in line[2:3]:
                name = line[2:].partition("\t")[0].strip() or name
                continue
            char, tab, tag = line.rpartition("\t")
            if not tab or not char or not tag.strip():
                bad_lines.add(number, f"expected a character, a tab and a tag, but found {line[:40]!r}")
                continue
            units.append(_Unit(len(text), len(text) + len(char), tag.strip(), number))
            text += char
        if units:
            _add(found, name, text, units)


def _read_conll(lines: _Lines, found: EntityFile, bad_lines: files.BadLines) -> None:
    sentences = [_Sentence.of(block) for block in _blocks(lines)]
    numbered = all(sentence.is_numbered() for sentence in sentences)
    inside_eojeols = 0
    for sentence in sentences:
        rows: list[tuple[str, str, int]] = []
        for number, columns in sentence.rows:
            row = _columns(columns[1:] if numbered else columns)
            if row is None:
                line = " ".join(columns)
                bad_lines.add(number, f"expected a token and its tag, but found {line[:40]!r}")
            elif row[0] != "-DOCSTART-":
                rows.append((*row, number))
        if rows:
            text = " ".join(token for token, _, _ in rows) if sentence.text is None else sentence.text
            units = list(_placed(text, rows, bad_lines))
            inside_eojeols += sum(unit.end < len(text) and not text[unit.end].isspace() for unit in units)
            _add(found, "", text, units)
    # Without a comment that gives the text, morphemes are joined with spaces, so this check takes them for eojeols.
    # That is harmless: their particles are separate tokens without an entity's tag.
    found.by_eojeol = not inside_eojeols


class _Sentence(NamedTuple):
    """The lines of a sentence in CoNLL format: its text if a comment gives it, and its rows split into columns."""

    text: str | None
    rows: list[tuple[int, list[str]]]

    @classmethod
    def of(cls, block: _Lines) -> "_Sentence":
        text: str | None = None
        rows: list[tuple[int, list[str]]] = []
        for number, line in block:
            comment = None if rows else _COMMENT.match(line)
            if comment is None:
                rows.append((number, line.split("\t") if "\t" in line else line.split()))
            elif comment["text"]:
                text = comment["text"].strip()
        return cls(text, rows)

    def is_numbered(self) -> bool:
        """Whether the first column numbers the rows, with token and tag after it."""
        return all(len(row) > 2 and row[0].strip() == str(place) for place, (_, row) in enumerate(self.rows, start=1))


# `; 원문` and `$marked` in the Exobrain corpora, `# text = ` in Universal Dependencies, and other comments.
_COMMENT = re.compile(r"(?:;\s?|#\s*text\s*=\s*)(?P<text>.+)|[$#](?!\t)(?P<other>.*)")


def _columns(columns: Sequence[str]) -> tuple[str, str] | None:
    """(token, tag): the first and the last column; None if there are fewer than two."""
    if len(columns) < 2 or not columns[0] or not columns[-1].strip():
        return None
    return columns[0].strip() or " ", columns[-1].strip()


def _placed(text: str, rows: Iterable[tuple[str, str, int]], bad_lines: files.BadLines) -> Iterator[_Unit]:
    """Locates the tokens in the text, each after the previous one."""
    position = 0
    for token, tag, number in rows:
        start = text.find(token, position)
        if start < 0:
            bad_lines.add(number, f"the token {token!r} does not stand in the text behind the ones before it")
            continue
        position = start + len(token)
        yield _Unit(start, position, tag, number)


_TYPE = r"[A-Z][A-Za-z0-9_-]*"
_MARK = re.compile(rf"<(?P<surface>[^<>]*):(?P<type>{_TYPE})>")
_NESTED = re.compile(rf"<[^<>]*<[^<>]*:{_TYPE}>[^<>]*:{_TYPE}>")


def _read_marked(lines: _Lines, found: EntityFile, bad_lines: files.BadLines) -> None:
    for number, line in lines:
        if is_blank(line) or line.startswith("##"):
            continue
        if nested := _NESTED.search(line):
            bad_lines.add(number, f"an entity overlaps another: {nested[0][:40]!r}")
            continue
        text, position, entities = "", 0, []
        for mark in _MARK.finditer(line):
            text += line[position : mark.start()]
            if not mark["surface"].strip():
                bad_lines.add(number, f"an entity without text: {mark[0]!r}")
            entities.append(
                _trimmed(text + mark["surface"], Entity(len(text), len(text) + len(mark["surface"]), mark["type"]))
            )
            text += mark["surface"]
            position = mark.end()
        found.texts.append(TaggedText(str(number), text + line[position:], tuple(entities)))


def _blocks(lines: _Lines) -> Iterator[list[tuple[int, str]]]:
    """Groups of lines separated by blank lines. A line with a space character and its tag is not blank."""
    for blank, block in itertools.groupby(lines, lambda item: is_blank(item[1])):
        if not blank:
            yield list(block)


def _add(found: EntityFile, name: str, text: str, units: Sequence[_Unit]) -> None:
    def irregular(line: int, what: str) -> None:
        found.irregular.append(f"line {line}: {what}")

    entities = [_trimmed(text, entity) for entity in entities_of(units, irregular)]
    name = name or f"line {units[0].line}"
    found.texts.append(TaggedText(name, text, tuple(entity for entity in entities if entity.start < entity.end)))


def _trimmed(text: str, entity: Entity) -> Entity:
    """The entity without white space at its ends: a tagged space is not part of an entity's surface."""
    surface = text[entity.start : entity.end]
    start = entity.start + len(surface) - len(surface.lstrip())
    return entity._replace(start=start, end=max(start, entity.end - len(surface) + len(surface.rstrip())))


# ----------------------------------------------------------------------------------------------------------------------
# Writing
# ----------------------------------------------------------------------------------------------------------------------


def character_tags(text: str, entities: Iterable[Entity]) -> list[str]:
    """The BIO tag of each character of a text."""
    tags = ["O"] * len(text)
    for entity in entities:
        tags[entity.start : entity.end] = [f"I-{entity.type}"] * (entity.end - entity.start)
        tags[entity.start] = f"B-{entity.type}"
    return tags


def write_klue(path: str, texts: Iterable[TaggedText]) -> None:
    """Writes texts in KLUE's format: a comment with the marked text, then one character and its tag per line."""
    with files.whole_file(path) as file:
        for text in texts:
            file.write(f"## {text.id}\t{marked(text.text, text.entities)}\n")
            tags = character_tags(text.text, text.entities)
            file.writelines(f"{char}\t{tag}\n" for char, tag in zip(text.text, tags, strict=True))
            file.write("\n")


def marked(text: str, entities: Iterable[Entity]) -> str:
    """The text with its entities marked, as in <세종대왕:PS>은 ..."""
    parts, position = [], 0
    for entity in entities:
        parts += [text[position : entity.start], f"<{text[entity.start : entity.end]}:{entity.type}>"]
        position = entity.end
    return "".join([*parts, text[position:]])
