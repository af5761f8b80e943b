"""Evaluates josa stripping against files of sentences with manually annotated morphemes and tags.

The format is that of KLUE's dependency set: `## id<TAB>sentence`, then a line for each word with its number, the word,
its morphemes with blanks between them and their tags joined by +, further columns, and an empty line at the end.

    ## s1	해미는 나루터에서 배를 탔다.
    1	해미는	해미 는	NNP+JX	4	NP_SBJ

A word is evaluated if its morphemes spell it, it has no quotation marks or brackets, and it ends (before a full stop or
comma) in a noun, a number, a foreign word or a noun suffix, or in particles (J*) after one of these.
"""

import collections
from collections.abc import Iterable
from typing import NamedTuple

from kobert_tf2 import files
from kobert_tf2.errors import InputError
from kobert_tf2.reading.josa import JosaStripper
from kobert_tf2.reading.josa_text import CLOSERS, OPENERS

_HOSTS = ("N", "SL", "SH", "SN", "XSN")
_MARKS = OPENERS.keys() | CLOSERS.keys() | set("`´′″")


class GoldWord(NamedTuple):
    """`sentence[start:end]` is a word with its punctuation, `bare` the word without its `particles`, if any."""

    id: str
    sentence: str
    start: int
    end: int
    bare: str
    particles: str


class GoldWords(NamedTuple):
    """The words that are evaluated, and how many are skipped, by reason."""

    words: list[GoldWord]
    skipped: dict[str, int]


def is_gold_file(path: str) -> bool:
    """Whether a file name is that of annotated sentences, not of questions."""
    return path.endswith(".tsv")


def read_gold_words(path: str) -> GoldWords:
    """Reads the words of such a file. A line that is not a word of its sentence is an `InputError`."""
    words: list[GoldWord] = []
    skipped: collections.Counter[str] = collections.Counter()
    name, sentence, position = "", "", 0
    for number, line in enumerate(files.read_lines(path), 1):
        if line.startswith("##"):
            name, _, sentence = line.removeprefix("##").strip().partition("\t")
            position = 0
        elif line.strip():
            cells = line.split("\t")
            if len(cells) < 4 or not sentence:
                raise InputError(
                    f"{path}, line {number}: expected a word's number, the word, its morphemes and tags behind a line "
                    f"'## id<TAB>sentence', but got {line[:60]!r}"
                )
            start = sentence.find(cells[1], position)
            word = _measured(cells[1], cells[2].split(), cells[3].split("+")) if start >= 0 else "not_in_sentence"
            position = start + len(cells[1]) if start >= 0 else position
            if isinstance(word, str):
                skipped[word] += 1
            else:
                words.append(GoldWord(name, sentence, start, position, *word))
    if not words:
        raise InputError(f"{path}: expected words with their morphemes and tags, but none can be measured")
    return GoldWords(words, dict(skipped.most_common()))


def _measured(word: str, morphemes: list[str], tags: list[str]) -> tuple[str, str] | str:
    """(the word without its particles, the particles), or the reason why it is skipped."""
    if _MARKS & set(word):
        return "quotes_or_brackets"
    if "".join(morphemes) != word or len(morphemes) != len(tags):
        return "morphemes_do_not_spell_it"
    last = len(tags)
    if morphemes[-1] in (".", ","):
        last -= 1
    first = last
    while first > 0 and tags[first - 1].startswith("J"):
        first -= 1
    if first == 0 or not tags[first - 1].startswith(_HOSTS):
        return "no_noun"
    return "".join(morphemes[:first]), "".join(morphemes[first:last])


def josa_gold_report(gold: GoldWords, stripper: JosaStripper | None = None) -> dict:
    """How many words are stripped as in the gold analysis, and all misses by particle ("" for words without one).

    A miss is [id, word, stripped word, gold, rules that applied]. `too_long` and `too_short` count stripped words.

    Returns:
      {"all": {"with_particle", "without_particle", "skipped"}, "by_particle": {particle: {"words", "right", "misses"}}}
    """
    stripper = stripper or JosaStripper()
    counted = ("words", "right", "too_long", "too_short")
    totals: dict[str, dict] = {name: dict.fromkeys(counted, 0) for name in ("with_particle", "without_particle")}
    by_particle: dict[str, dict] = {}
    for word in gold.words:
        steps = stripper.steps(word.sentence, word.start, word.end)
        start, end = steps[-1][1:] if steps else (word.start, word.end)
        left = word.sentence[start:end]
        total = totals["with_particle" if word.particles else "without_particle"]
        entry = by_particle.setdefault(word.particles, {"words": 0, "right": 0, "misses": []})
        for counts in (total, entry):
            counts["words"] += 1
            counts["right"] += left == word.bare
        if left != word.bare:
            total["too_long" if len(left) > len(word.bare) else "too_short"] += 1
            written = word.sentence[word.start : word.end]
            entry["misses"].append([word.id, written, left, word.bare, [step.rule for step in steps]])
    most_missed = sorted(by_particle.items(), key=lambda item: -len(item[1]["misses"]))
    for total in totals.values():
        total["percent"] = 100 * total["right"] / total["words"] if total["words"] else None
    return {"all": totals | {"skipped": gold.skipped}, "by_particle": dict(most_missed)}


def gold_summary(report: dict) -> dict:
    """The figures of a report on one line."""
    scores = report["all"]
    parts = ("with_particle", "without_particle")
    return {name: scores[name]["percent"] for name in parts} | {
        "words": sum(scores[name]["words"] for name in parts),
        "skipped": sum(scores["skipped"].values()),
    }


def report_lines(report: dict, most: int = 12) -> Iterable[str]:
    """The most frequent misses in readable form, one line per particle."""
    for particle, entry in list(report["by_particle"].items())[:most]:
        if entry["misses"]:
            examples = ", ".join(f"{written} -> {left}" for _, written, left, *_ in entry["misses"][:5])
            yield f"{particle or '(none)'}: {len(entry['misses'])} of {entry['words']} missed: {examples}"
