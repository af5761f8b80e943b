"""KorQuAD and SQuAD files: questions, contexts, and where in its context each answer stands.

KorQuAD 1.0, SQuAD 1.1 and SQuAD 2.0 share one shape of JSON. Answers are tied to characters of the context as the file
has it; an answer that is not where the file says is looked for, and every repair is listed with the question's id.
Nothing here knows a token.
"""

import re
import unicodedata
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from kobert_tf2 import files
from kobert_tf2.errors import InputError

_DOUBLED = re.compile(r"\s(?=\s)")


class Answer(NamedTuple):
    """A gold answer: `text` as the file spells it, for scoring, and where it stands, `context[start:end]`.

    `start` is -1 where the context does not hold it. `context[start:end]` and `text` differ where a repair was made.
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


class Repair(NamedTuple):
    """Something about a question that the file has otherwise than a plain reader would expect.

    kind: `answer_start` (moved to the nearest exact occurrence), `answer_spaces` (white space at its ends taken off),
    `answer_spelling` (found only when white space or Unicode composition is levelled), `answer_missing` (nowhere in the
    context: left out of training), or, with nothing to mend since all is by characters, `context_double_spaces`,
    `context_outer_spaces`, `context_not_nfc`, `context_bom`, `file_bom`.
    """

    id: str
    kind: str
    detail: str


def read_squad(path: str) -> list[Question]:
    """The questions of a KorQuAD 1.0, SQuAD 1.1 or SQuAD 2.0 file, in its order."""
    return read_squad_and_repairs(path)[0]


def read_squad_and_repairs(path: str) -> tuple[list[Question], list[Repair]]:
    """As `read_squad`, with all that was repaired or left out on the way.

    Raises:
      InputError: the file is not of the format; the sentence says what is missing and where, with title and id.
    """
    data = _field(files.read_json(path), "data", list, path)
    repairs = [Repair("", "file_bom", "the file begins with a byte order mark")] if _begins_with_bom(path) else []
    questions: list[Question] = []
    for number, article in enumerate(data):
        where = f"{path}: data[{number}]"
        title = article.get("title", "") if isinstance(article, dict) else ""
        for index, paragraph in enumerate(_field(article, "paragraphs", list, where)):
            place = f"{where}.paragraphs[{index}]" + (f" (title {title!r})" if title else "")
            questions += _read_paragraph(paragraph, str(title), place, repairs)
    _check_ids(questions, path)
    return questions, repairs


def _begins_with_bom(path: str) -> bool:
    with files.open_binary(path) as file:
        return file.read(3) == b"\xef\xbb\xbf"


def _field(value, name: str, kind: type, where: str):
    """`value[name]`, checked to be there and of its kind."""
    if not isinstance(value, dict):
        raise InputError(f"{where}: expected an object with {name!r}, but got {_shown(value)}")
    if name not in value:
        raise InputError(f"{where}: expected the field {name!r}, but there are only {sorted(value)}")
    if not isinstance(value[name], kind) or isinstance(value[name], bool):
        names = {list: "a list", str: "a string", int: "a whole number"}
        raise InputError(f"{where}: expected {name!r} to be {names[kind]}, but got {_shown(value[name])}")
    return value[name]


def _shown(value) -> str:
    text = repr(value)
    return f"{type(value).__name__} {text if len(text) <= 40 else text[:37] + '...'}"


def _read_paragraph(paragraph, title: str, where: str, repairs: list[Repair]) -> list[Question]:
    context = _field(paragraph, "context", str, where)
    if not context.strip():
        raise InputError(f"{where}: expected a context to read, but it is empty")
    about_context = list(_context_kinds(context))
    questions = []
    for index, entry in enumerate(_field(paragraph, "qas", list, where)):
        name = str(_field(entry, "id", str | int, f"{where}.qas[{index}]"))
        question = _read_question(entry, name, context, title, f"{where}.qas[{index}] (id {name})", repairs)
        repairs += [Repair(name, kind, detail) for kind, detail in about_context]
        questions.append(question)
    return questions


def _context_kinds(context: str) -> Iterable[tuple[str, str]]:
    """What offsets get past that lines of words would stumble over."""
    if context != context.strip():
        yield "context_outer_spaces", "white space at the beginning or end"
    doubled = len(_DOUBLED.findall(context))
    if doubled:
        yield "context_double_spaces", f"{doubled} white space characters follow another"
    if not unicodedata.is_normalized("NFC", context):
        yield "context_not_nfc", "not in Unicode's composed form (NFC)"
    if "\ufeff" in context:
        yield "context_bom", f"{context.count(chr(0xFEFF))} byte order marks in the text"


def _read_question(entry, name: str, context: str, title: str, where: str, repairs: list[Repair]) -> Question:
    question = _field(entry, "question", str, where)
    impossible = bool(entry.get("is_impossible", False))
    given = _field(entry, "answers", list, where) if "answers" in entry else []
    answers = []
    for index, answer in enumerate([] if impossible else given):
        place = f"{where}.answers[{index}]"
        text, start = _field(answer, "text", str, place), _field(answer, "answer_start", int, place)
        if not text.strip():
            raise InputError(f"{place}: expected the text of an answer, but it is empty")
        found, repair = locate_answer(context, text, start)
        if repair:
            repairs.append(Repair(name, *repair))
        answers.append(found)
    return Question(name, question, context, tuple(answers), impossible, title)


def _check_ids(questions: Sequence[Question], path: str) -> None:
    if not questions:
        raise InputError(f"{path}: expected at least one question, but there is none")
    seen: set[str] = set()
    for question in questions:
        if question.id in seen:
            raise InputError(f"{path}: expected each id once, but {question.id} stands twice")
        seen.add(question.id)


def gold_answers(questions: Iterable[Question]) -> dict[str, list[str]]:
    """`{id: gold texts}` as the file spells them: what `metrics` scores against."""
    return {question.id: [answer.text for answer in question.answers] for question in questions}


def locate_answer(context: str, text: str, start: int) -> tuple[Answer, tuple[str, str] | None]:
    """Where an answer stands in its context, and what had to be repaired: (kind, detail), or None.

    Tried in this order: the text at `start`; without white space at its ends; the nearest place where it stands
    exactly; the nearest place where it stands when white space and Unicode composition are levelled.
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
    """Text in NFC with each run of white space as one blank, and the characters of `text` behind each of its own."""
    level, spans = [], []
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
    """Cuts text where no composition can reach across: before a character that begins one in NFC."""
    begin = 0
    for place in range(1, len(text) + 1):
        if place == len(text) or _begins_a_composition(text[place]):
            yield begin, place
            begin = place


def _begins_a_composition(character: str) -> bool:
    # Vowels and final consonants of conjoining jamo have class 0 too, and join the consonant before them.
    jamo = "\u1160" <= character <= "\u11ff"
    return unicodedata.combining(character) == 0 and not jamo
