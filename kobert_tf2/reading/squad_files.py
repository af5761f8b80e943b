"""Reads files of questions: questions, contexts, and the position of each answer in its context.

KorQuAD 1.0, SQuAD 1.1 and SQuAD 2.0 share one JSON structure, of which KLUE-MRC and KorQuAD 2 are variants; Hugging
Face `datasets` writes flat rows (JSON Lines, a JSON list, columns, parquet). The format is recognised by its structure.
Answers are character offsets into the context as it is in the file. An answer that is not at the position given is
searched for, and every repair is listed with the question's id. This module does not depend on tokens.
"""

import codecs
import collections
import functools
import re
import sys
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from kobert_tf2 import files
from kobert_tf2.errors import InputError
from kobert_tf2.reading import html_text, tables
from kobert_tf2.tokenization.normalization import comparable, is_blank

_DOUBLED = re.compile(r"\s(?=\s)")
_SURROGATE = re.compile("[\ud800-\udfff]")


class Answer(NamedTuple):
    """A gold answer: `text` as the file spells it, for scoring, and its position, `context[start:end]`.

    `start` is -1 if the context does not contain it. `context[start:end]` and `text` may differ if a repair was made.
    """

    text: str
    start: int
    end: int


class Question(NamedTuple):
    id: str
    question: str
    context: str
    answers: tuple[Answer, ...] = ()
    is_impossible: bool = False
    title: str = ""
    question_type: int | None = None  # KLUE's: 1 paraphrased, 2 over several sentences, 3 without an answer
    is_html: bool = False  # KorQuAD 2: the context is an HTML page, and answers may contain tags


class Repair(NamedTuple):
    """An irregularity of a question (or of the file, if `id` is empty) that would trip a naive parser.

    Kinds about answers: `answer_start` (moved to the nearest exact occurrence), `answer_spaces` (white space at its
    ends was stripped), `answer_spelling` (found only after normalizing white space or Unicode composition),
    `answer_missing` (not in the context: left out of training), `answer_number` (the text is a number that the context
    has at this position).

    Kinds about the structure of the file, each with only one possible reading: `file_bom`, `file_lines` (JSON Lines),
    `file_list` and `file_article` (a list, or a single article or row, without the enclosing object), `file_columns`
    (one list per column), `file_parquet`, `article_is_paragraph`, `article_is_question` (one flat row per question),
    `guid` (KLUE's name for the id), `raw_html` (a page without `context`: its answers are read from
    `html_answer_start`), `answer_for_answers`, `answers_shape` (null, a single answer without a list, or lists by
    column), `answer_start_float`, `flag` (`is_impossible` as a string, a number or null), `impossible_with_answers`
    (the answers are left out), `impossible_without_flag` (a flat row with empty lists of answers), `lone_surrogate`
    (read as U+FFFD).

    Kinds that are only noted, since character offsets need no repair: `context_double_spaces`, `context_outer_spaces`,
    `context_not_nfc`, `context_bom`.
    """

    id: str
    kind: str
    detail: str


def read_squad(path: str) -> list[Question]:
    """The questions of a KorQuAD 1.0 or 2, SQuAD 1.1 or 2.0 or KLUE-MRC file, or of `datasets` rows, in file order.

    Repairs (every kind of `Repair` except those of the context) are counted on standard error.
    """
    questions, repairs = read_squad_and_repairs(path)
    kinds = collections.Counter(repair.kind for repair in repairs if not repair.kind.startswith("context_"))
    if kinds:
        said = ", ".join(f"{kind} ({count:,})" for kind, count in sorted(kinds.items()))
        print(f"{path}: read otherwise than it stands: {said}", file=sys.stderr)
    return questions


def read_squad_and_repairs(path: str) -> tuple[list[Question], list[Repair]]:
    """Like `read_squad`, but also returns everything that was repaired or left out.

    Also accepts unambiguous variants: articles that are one paragraph, as in KorQuAD 2; flat rows of one question each,
    as Hugging Face `datasets` writes them, also as JSON Lines, columns or a parquet file; and KLUE's `guid`.

    Raises:
      InputError: the file does not have the format; the message says what is missing and where, with title and id.
    """
    repairs: list[Repair] = []
    questions: list[Question] = []
    for where, article in _load(path, repairs):
        title = _SURROGATE.sub("\ufffd", str(article.get("title") or "")) if isinstance(article, dict) else ""
        article = _with_context(article, where, repairs)
        has = article.keys() if isinstance(article, dict) else set()
        if "paragraphs" not in has and {"context", "question"} <= has:
            _note_once(repairs, "article_is_question", f"{where} has context and question, and no paragraphs")
            questions.append(_read_row(article, title, where, repairs))
        elif "paragraphs" not in has and {"context", "qas"} <= has:
            _note_once(repairs, "article_is_paragraph", f"{where} has context and qas, and no paragraphs")
            questions += _read_paragraph(article, title, where, repairs)
        else:
            for index, paragraph in enumerate(_field(article, "paragraphs", list, where)):
                place = f"{where}.paragraphs[{index}]" + (f" (title {title!r:.200})" if title else "")
                questions += _read_paragraph(paragraph, title, place, repairs)
    _check_ids(questions, path)
    return questions, repairs


def _load(path: str, repairs: list[Repair]) -> Iterable[tuple[str, Any]]:
    """The articles or rows, each with its location for messages."""
    if tables.is_parquet(path):
        _note_once(repairs, "file_parquet", "a parquet file")
        return ((f"{path}: row {number}", row) for number, row in enumerate(tables.parquet_rows(path)))
    with files.open_binary(path) as file:
        if file.read(3) == codecs.BOM_UTF8:
            _note_once(repairs, "file_bom", "the file begins with a byte order mark")
    text = files.read_text(path)
    lines = [(number, line) for number, line in enumerate(text.split("\n"), start=1) if line.strip()]
    if len(lines) > 1 and all(line.strip().startswith("{") and line.strip().endswith("}") for _, line in lines):
        _note_once(repairs, "file_lines", f"{len(lines)} lines of JSON")
        return [(f"{path}, line {i}", files.parse_json(line, path, first_line=i, strict=True)) for i, line in lines]
    content = files.parse_json(text, path, strict=True)
    return [(f"{path}: data[{number}]", article) for number, article in enumerate(_articles(content, path, repairs))]


def _articles(content: Any, path: str, repairs: list[Repair]) -> list:
    if isinstance(content, list) and content:
        _note_once(repairs, "file_list", "a list, without the object with 'data' around it")
        return content
    is_object = isinstance(content, dict) and "data" not in content
    if is_object and (isinstance(content.get("context"), str) or isinstance(content.get("paragraphs"), list)):
        _note_once(repairs, "file_article", "one article or row, without the object with 'data' around it")
        return [content]
    columns = content if is_object else content.get("data") if isinstance(content, dict) else None
    if isinstance(columns, dict) and tables.is_columns(columns):
        _note_once(repairs, "file_columns", "a list for each column")
        return tables.rows_of_columns(columns, path)
    return _field(content, "data", list, path)


def _with_context(article: Any, where: str, repairs: list[Repair]) -> Any:
    """The article; if a KorQuAD 2 article has no `context`, then with `raw_html` as the context, and answer positions
    in that.
    """
    if not isinstance(article, dict) or article.get("context") is not None:
        return article
    if not isinstance(article.get("raw_html"), str):
        return article
    _note_once(repairs, "raw_html", f"{where} has raw_html and no context")
    article = {**article, "context": article["raw_html"]}
    if isinstance(article.get("qas"), list):
        return {**article, "qas": [_with_places_in_html(entry) for entry in article["qas"]]}
    return _with_places_in_html(article)


def _with_places_in_html(entry: Any) -> Any:
    answer = entry.get("answer") if isinstance(entry, dict) else None
    if not isinstance(answer, dict) or "html_answer_start" not in answer:
        return entry
    text = answer.get("html_answer_text", answer.get("text"))
    return {**entry, "answer": {"text": text, "answer_start": answer["html_answer_start"]}}


def _note_once(repairs: list[Repair], kind: str, detail: str) -> None:
    """Records a property of the whole file once, with its first location."""
    if not any(repair.kind == kind for repair in repairs):
        repairs.append(Repair("", kind, detail))


_KINDS = {list: "a list", str: "a string", int: "a whole number", (str, int): "a string or a whole number"}


def _field(value: Any, name: str, kind: type | tuple[type, ...], where: str) -> Any:
    """`value[name]`, after checking that it exists and has the right type."""
    if not isinstance(value, dict):
        raise InputError(f"{where}: expected an object with {name!r}, but got {_shown(value)}")
    if name not in value:
        raise InputError(f"{where}: expected the field {name!r}, but there are only {sorted(value)}")
    if not isinstance(value[name], kind) or isinstance(value[name], bool):
        raise InputError(f"{where}: expected {name!r} to be {_KINDS[kind]}, but got {_shown(value[name])}")
    return value[name]


def _shown(value: Any) -> str:
    if value is None:
        return "null"
    text = repr(value)
    return f"{type(value).__name__} {text if len(text) <= 40 else text[:37] + '...'}"


def _read_paragraph(paragraph: Any, title: str, where: str, repairs: list[Repair]) -> list[Question]:
    context = _context(paragraph, where)
    return [
        _read_question(entry, context, title, f"{where}.qas[{index}]", repairs)
        for index, entry in enumerate(_field(paragraph, "qas", list, where))
    ]


def _read_row(row: dict, title: str, where: str, repairs: list[Repair]) -> Question:
    """Reads a flat row. With empty lists of answers and no flag it is an unanswerable question, as in SQuAD 2.0."""
    question = _read_question(row, _context(row, where), title, where, repairs)
    if isinstance(row.get("answers"), dict) and not question.answers and row.get("is_impossible") is None:
        _note_once(repairs, "impossible_without_flag", f"{where} has lists of no answers, and no is_impossible")
        return question._replace(is_impossible=True)
    return question


def _context(paragraph: Any, where: str) -> str:
    context = _field(paragraph, "context", str, where)
    if is_blank(context):
        raise InputError(f"{where}: expected a context to read, but it is empty")
    return context


@functools.lru_cache(maxsize=2)  # the questions of a paragraph are read consecutively
def _context_kinds(context: str) -> list[tuple[str, str]]:
    """Irregularities of a context that break word-based alignment but not character offsets, and lone surrogates."""
    kinds = []
    if context != context.strip():
        kinds.append(("context_outer_spaces", "white space at the beginning or end"))
    if doubled := len(_DOUBLED.findall(context)):
        kinds.append(("context_double_spaces", f"{doubled} white space characters follow another"))
    if not unicodedata.is_normalized("NFC", context):
        kinds.append(("context_not_nfc", "not in Unicode's composed form (NFC)"))
    if "\ufeff" in context:
        kinds.append(("context_bom", f"{context.count(chr(0xFEFF))} byte order marks in the text"))
    if _SURROGATE.search(context):
        kinds.append(("lone_surrogate", "half of a UTF-16 pair in the context, read as U+FFFD"))
    return kinds


def _read_question(entry: Any, context: str, title: str, where: str, repairs: list[Repair]) -> Question:
    name = _id(entry, where, repairs)
    where = f"{where} (id {name:.200})"

    def note(kind: str, detail: str) -> None:
        repairs.append(Repair(name, kind, detail))

    question = _field(entry, "question", str, where)
    impossible = _flag(entry, where, note)
    given = _answer_list(entry, where, note)
    if impossible and given:
        note("impossible_with_answers", f"is_impossible, but there are answers ({len(given)}): they are left out")
        given = []
    if _SURROGATE.search(question):
        note("lone_surrogate", "half of a UTF-16 pair in the question, read as U+FFFD")
        question = _SURROGATE.sub("\ufffd", question)
    for kind, detail in _context_kinds(context):
        note(kind, detail)
    context = _SURROGATE.sub("\ufffd", context)
    answers = []
    for index, answer in enumerate(given):
        text, start = _text_and_start(answer, context, f"{where}.answers[{index}]", note)
        found, repair = locate_answer(context, text, start)
        if repair:
            note(*repair)
        answers.append(found)
    question_type, is_html = _question_type(entry, where), html_text.is_page(context)
    return Question(name, question, context, tuple(answers), impossible, title, question_type, is_html)


def _question_type(entry: dict, where: str) -> int | None:
    """KLUE's question type, by which its scores are grouped."""
    value = entry.get("question_type")
    if value is None:
        return None
    if isinstance(value, float) and value.is_integer():  # a column with missing values holds floats
        value = int(value)
    if isinstance(value, bool) or value not in (1, 2, 3):
        raise InputError(f"{where}: expected 'question_type' to be 1, 2 or 3, but got {_shown(value)}")
    return int(value)


def _id(entry: Any, where: str, repairs: list[Repair]) -> str:
    key = "guid" if isinstance(entry, dict) and "id" not in entry and "guid" in entry else "id"
    name = str(_field(entry, key, (str, int), where))
    if is_blank(name) or _SURROGATE.search(name):
        raise InputError(f"{where}: expected {key!r} to name the question, but got {_shown(entry[key])}")
    if key == "guid":
        _note_once(repairs, "guid", f"{where} is named by guid, and has no id")
    return name


def _flag(entry: dict, where: str, note: Callable[[str, str], None]) -> bool:
    """Parses `is_impossible`: false if missing; strings and numbers are converted by `_FLAGS`."""
    value = entry.get("is_impossible", False)
    if isinstance(value, bool):
        return value
    word = comparable(value).lower() if isinstance(value, str) else value
    read = _FLAGS.get(word) if word is None or isinstance(word, str | int | float) else None
    if read is None:
        raise InputError(f"{where}: expected 'is_impossible' to be true or false, but got {_shown(value)}")
    note("flag", f"is_impossible is {_shown(value)}, read as {str(read).lower()}")
    return read


# null is how a table writes a missing column. 1.0 and 0.0 are the same dict keys as 1 and 0.
_FLAGS = {"true": True, "false": False, "yes": True, "no": False, "1": True, "0": False, 1: True, 0: False, None: False}


def _answer_list(entry: dict, where: str, note: Callable[[str, str], None]) -> list:
    """The answers of a question as a list of objects, whatever their structure in the file; empty if it has none."""
    key = "answers"
    if entry.get("answers") is None and entry.get("answer") is not None:
        key = "answer"
        note("answer_for_answers", "the answers stand under 'answer'")
    if key not in entry:
        return []
    value = entry[key]
    if value is None:
        note("answers_shape", "'answers' is null: no answers")
        return []
    if not isinstance(value, dict):
        return _field(entry, key, list, where)
    texts, starts = value.get("text"), value.get("answer_start")
    if not isinstance(texts, list) and not isinstance(starts, list):
        note("answers_shape", f"{key!r} is one answer, not a list")
        return [value]
    if not isinstance(texts, list) or not isinstance(starts, list) or len(texts) != len(starts):
        raise InputError(
            f"{where}: expected {key!r} to be a list of answers, or lists 'text' and 'answer_start' of equal length, "
            f"but got {_shown(value)}"
        )
    if texts:
        note("answers_shape", f"{key!r} has lists 'text' and 'answer_start'")
    return [{"text": text, "answer_start": start} for text, start in zip(texts, starts, strict=True)]


def _text_and_start(answer: Any, context: str, where: str, note: Callable[[str, str], None]) -> tuple[str, int]:
    if isinstance(answer, dict) and isinstance(start := answer.get("answer_start"), float) and start.is_integer():
        answer = {**answer, "answer_start": int(start)}
        note("answer_start_float", f"answer_start is {start}")
    number = answer.get("text") if isinstance(answer, dict) else None
    if isinstance(number, int | float) and not isinstance(number, bool):
        start = answer.get("answer_start")
        spellings = [str(number), str(int(number))]  # a column with missing values turns 1945 into 1945.0
        if isinstance(start, int) and start >= 0 and context.startswith(tuple(spellings), start):
            spelled = next(spelling for spelling in spellings if context.startswith(spelling, start))
            answer = {**answer, "text": spelled}
            note("answer_number", f"the text is the number {number}, which the context has as {spelled}")
    text, start = _field(answer, "text", str, where), _field(answer, "answer_start", int, where)
    if is_blank(text):
        raise InputError(f"{where}: expected the text of an answer, but it is empty")
    return _SURROGATE.sub("\ufffd", text), start


def _check_ids(questions: Sequence[Question], path: str) -> None:
    if not questions:
        raise InputError(f"{path}: expected at least one question, but there is none")
    seen: set[str] = set()
    for question in questions:
        name = comparable(question.id)
        if name in seen:
            raise InputError(f"{path}: expected each id once, but {question.id} stands twice")
        seen.add(name)


def gold_answers(questions: Iterable[Question]) -> dict[str, list[str]]:
    """`{id: gold texts}` as the file spells them, for scoring with `metrics`."""
    return {question.id: [answer.text for answer in question.answers] for question in questions}


def locate_answer(context: str, text: str, start: int) -> tuple[Answer, tuple[str, str] | None]:
    """Finds an answer in its context; also returns the repair needed as (kind, detail), or None.

    Tries in this order: the text at `start`, with white space stripped from its ends; the nearest exact occurrence; the
    nearest occurrence after normalizing white space and Unicode composition.
    """
    bare = text.strip()
    if start >= 0 and context.startswith(text, start):
        begin = start + len(text) - len(text.lstrip())
        repair = None if bare == text else ("answer_spaces", f"{text!r} has white space at its ends")
        return Answer(text, begin, begin + len(bare)), repair
    places = _occurrences(context, bare)
    if places:
        begin = _nearest(places, start)
        repair = ("answer_start", f"{bare!r} is at {begin}, not at {start}")
        return Answer(text, begin, begin + len(bare)), repair
    level, spans = _levelled(context)
    wanted = _levelled(bare)[0]
    begins = [spans[place][0] for place in _occurrences(level, wanted)]
    if begins:
        begin = _nearest(begins, start)
        end = spans[_occurrences(level, wanted)[begins.index(begin)] + len(wanted) - 1][1]
        return Answer(text, begin, end), ("answer_spelling", f"{text!r} is spelled {context[begin:end]!r} at {begin}")
    return Answer(text, -1, -1), ("answer_missing", f"{text!r} is nowhere in the context: left out of training")


def _occurrences(text: str, part: str) -> list[int]:
    places, place = [], text.find(part) if part else -1
    while place >= 0:
        places.append(place)
        place = text.find(part, place + 1)
    return places


def _nearest(places: Sequence[int], start: int) -> int:
    return min(places, key=lambda place: (abs(place - start), place))


def _levelled(text: str) -> tuple[str, list[tuple[int, int]]]:
    """The text in NFC with each run of white space as one space, and for each of its characters the span in `text`."""
    level: list[str] = []
    spans: list[tuple[int, int]] = []
    for begin, end in _composed_runs(text):
        piece = text[begin:end]
        if piece.isspace():
            if not level or level[-1] != " ":
                level.append(" ")
                spans.append((begin, end))
            continue
        composed = unicodedata.normalize("NFC", piece)
        level += composed
        spans += [(begin, end)] * len(composed)
    return "".join(level), spans


def _composed_runs(text: str) -> Iterable[tuple[int, int]]:
    """Splits text at points that no NFC composition crosses: before each character that starts a composition."""
    begin = 0
    for place in range(1, len(text) + 1):
        # Conjoining vowels and final consonants (jamo) also have combining class 0, but compose with the consonant
        # before them.
        composes = place < len(text) and (unicodedata.combining(text[place]) or "\u1160" <= text[place] <= "\u11ff")
        if not composes:
            yield begin, place
            begin = place
