"""Evaluates answers: scores of a predictions file, ceilings of a tokenizer, and the effect of each josa rule.

A ceiling is the score of a perfect reader that can answer only with whole units of its tokenizer. It can be computed
before any training: with eojeols as units, no reader can exceed an exact match of about 24 on KorQuAD.
"""

import collections
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from kobert_tf2 import files, outputs
from kobert_tf2.errors import InputError
from kobert_tf2.reading import metrics
from kobert_tf2.reading.josa import JosaStripper
from kobert_tf2.reading.squad_files import Question, gold_answers
from kobert_tf2.reading.windows import span_tokens
from kobert_tf2.tokenization import unknown
from kobert_tf2.tokenization.normalization import comparable
from kobert_tf2.tokenization.tokenizer import Tokenizer

# ---------------------------------------------------------------------------------------------------------------------
# Scores
# ---------------------------------------------------------------------------------------------------------------------


def metric_of(questions: Iterable[Question]) -> str:
    """The metric for these questions: KLUE's if they have question types, KorQuAD 2's if contexts are HTML pages, SQuAD
    2.0's if any question is marked as having no answer, otherwise KorQuAD 1's.
    """
    metric = "korquad1"
    for question in questions:
        if question.question_type is not None:
            return "klue_mrc"
        if question.is_html:
            return "korquad2"
        metric = "squad2" if question.is_impossible else metric
    return metric


def scores_of(
    metric: str, questions: Sequence[Question], predictions: Mapping[str, str | None], **null: Any
) -> dict[str, Any]:
    """`metrics.evaluate` for these questions; `null` passes its `null_odds` and `null_threshold`."""
    types = {question.id: question.question_type for question in questions}
    return metrics.evaluate(metric, gold_answers(questions), predictions, question_types=types, **null)


# ---------------------------------------------------------------------------------------------------------------------
# Ceilings
# ---------------------------------------------------------------------------------------------------------------------


class Miss(NamedTuple):
    """An answer that no span of units matches: `kind` says which end lies inside a unit, `nearest` is the span of units
    around it.
    """

    id: str
    kind: str
    gold: str
    nearest: str


class Ceiling(NamedTuple):
    """`scores` as returned by `scores_of`, `spans` by question id, `misses` in file order."""

    scores: dict
    spans: dict[str, tuple[int, int]]
    misses: list[Miss]

    def summary(self) -> dict:
        kinds = collections.Counter(miss.kind for miss in self.misses)
        scores = {name: self.scores[name] for name in ("exact_match", "f1", "rouge_w") if name in self.scores}
        return {**scores, "misses": dict(kinds.most_common())}


def eojeols_around(context: str, start: int, end: int) -> tuple[int, int]:
    """The bounds of the eojeols (runs of non-whitespace characters) that a span overlaps."""
    while start > 0 and not context[start - 1].isspace():
        start -= 1
    while end < len(context) and not context[end].isspace():
        end += 1
    return start, end


def eojeol_ceiling(
    questions: Sequence[Question], metric: str = "korquad1", *, stripper: JosaStripper | None = None
) -> Ceiling:
    """The ceiling with eojeols as units; with a `JosaStripper`, after stripping particles from them."""

    def nearest(context: str, start: int, end: int) -> tuple[int, int]:
        bounds = eojeols_around(context, start, end)
        return stripper(context, *bounds) if stripper else bounds

    return _ceiling(questions, nearest, metric)


def tokenizer_ceiling(
    questions: Sequence[Question], tokenizer: Tokenizer, metric: str = "korquad1", *, num_workers: int = 1
) -> Ceiling:
    """The ceiling with the tokens of a `Tokenizer` as units."""
    contexts = list(dict.fromkeys(question.context for question in questions))
    encodings = dict(zip(contexts, tokenizer.encode_batch(contexts, num_workers=num_workers), strict=True))
    unknown.report_encodings("contexts", encodings.values(), tokenizer.unk_id)

    def nearest(context: str, start: int, end: int) -> tuple[int, int]:
        tokens = span_tokens(start, end, encodings[context])
        return (encodings[context][tokens[0]].start, encodings[context][tokens[1]].end) if tokens else (start, start)

    return _ceiling(questions, nearest, metric)


def _ceiling(
    questions: Sequence[Question], nearest: Callable[[str, int, int], tuple[int, int]], metric: str
) -> Ceiling:
    spans, predictions, misses = {}, {}, []
    for question in questions:
        golds = [answer.text for answer in question.answers]
        found = [(a, nearest(question.context, a.start, a.end)) for a in question.answers if a.start >= 0]
        if not found:
            predictions[question.id] = ""
            if golds:
                misses.append(Miss(question.id, "not_in_context", golds[0], ""))
            continue
        scored = [(metrics.score_question(metric, question.context[slice(*s)], golds), a, s) for a, s in found]
        best, answer, span = max(scored, key=lambda item: item[0])
        spans[question.id], predictions[question.id] = span, question.context[slice(*span)]
        if not best.exact:
            kind = _kind_of_miss(span[0] - answer.start, span[1] - answer.end)
            misses.append(Miss(question.id, kind, answer.text, predictions[question.id]))
    return Ceiling(scores_of(metric, questions, predictions), spans, misses)


def _kind_of_miss(before: int, after: int) -> str:
    """The kind of a miss, given how many characters after the answer the nearest span begins and ends (negative: before
    it).
    """
    names = {-1: "begins_before", 1: "begins_inside"}, {-1: "ends_inside", 1: "ends_after"}
    parts = [side[int(np.sign(shift))] for side, shift in zip(names, (before, after), strict=True) if shift]
    return "_and_".join(parts) or "spelling"


# ---------------------------------------------------------------------------------------------------------------------
# Effect of each josa rule on a file
# ---------------------------------------------------------------------------------------------------------------------

_EXAMPLES = 20


def josa_report(
    questions: Iterable[Question],
    spans: Mapping[str, tuple[int, int]],
    metric: str = "korquad1",
    *,
    stripper: JosaStripper | None = None,
) -> dict:
    """The effect of stripping on spans `{id: (start, end)}`: for each rule, how often it made an answer right or wrong.

    An answer to which several rules applied is counted for each of them. `examples` are [id, span, stripped, gold].
    """
    stripper = stripper or JosaStripper()
    rules = {rule.name: _no_effect() for rule in stripper.rules}
    total = _no_effect()
    for question in questions:
        if question.id not in spans:
            continue
        start, end = spans[question.id]
        steps = stripper.steps(question.context, start, end)
        golds = [answer.text for answer in question.answers]
        before, after = (
            question.context[start:end],
            question.context[slice(*(steps[-1][1:] if steps else (start, end)))],
        )
        was, now = (metrics.score_question(metric, text, golds).exact for text in (before, after))
        effect = "fixed" if now > was else "broken" if now < was else "right_still" if now else "wrong_still"
        for entry in [total, *(rules[name] for name in {step.rule for step in steps})]:
            entry[effect] += 1
            if effect in entry["examples"] and len(entry["examples"][effect]) < _EXAMPLES:
                entry["examples"][effect].append([question.id, before, after, *golds[:1]])
    examples = {rule.name: rule.sentence for rule in stripper.rules}
    return {"all": total, "rules": {name: {"sentence": examples[name], **entry} for name, entry in rules.items()}}


def _no_effect() -> dict:
    counts = dict.fromkeys(("fixed", "broken", "right_still", "wrong_still"), 0)
    return counts | {"examples": {"fixed": [], "broken": []}}


# ---------------------------------------------------------------------------------------------------------------------
# Files of predictions
# ---------------------------------------------------------------------------------------------------------------------


def read_predictions(path: str, questions: Sequence[Question]) -> dict[str, str]:
    """Reads a predictions.json as `{id: text}`. Ids are matched by `comparable` and returned as the data spell them.

    Raises `InputError` if a value is not a string, or if no id of the file is in the data.
    """
    values = files.read_json(path)
    if not isinstance(values, dict):
        raise InputError(f"{path}: expected an object of ids and answers, but got {type(values).__name__}")
    for name, value in values.items():
        if not isinstance(value, str):
            raise InputError(f"{path}: expected the answer to {name} to be a string, but got {type(value).__name__}")
    predictions = _with_ids_of(questions, values, path)
    if values and not any(question.id in predictions for question in questions):
        raise InputError(f"{path}: none of its {len(values)} ids is in the data; the first is {next(iter(values))}")
    return predictions


def _with_ids_of(questions: Sequence[Question], values: dict[str, Any], path: str) -> dict[str, Any]:
    """The values keyed by the ids as the questions spell them, order unchanged. Ids that match no question are kept."""
    names = {comparable(question.id): question.id for question in questions}
    found: dict[str, Any] = {}
    for name, value in values.items():
        name = names.get(comparable(name), name)
        if name in found:
            raise InputError(f"{path}: expected each id once, but {name} stands twice")
        found[name] = value
    return found


def read_null_odds(path: str, questions: Sequence[Question] = ()) -> dict[str, float]:
    """Reads a null_odds.json as `{id: preference for "no answer"}`, with ids as the questions spell them."""
    values = files.read_json(path)
    if not isinstance(values, dict) or not all(type(value) in (int, float) for value in values.values()):
        raise InputError(f"{path}: expected an object of ids and numbers")
    return _with_ids_of(questions, values, path)


def read_nbest(path: str, questions: Sequence[Question] = ()) -> dict[str, list[dict]]:
    """Reads an nbest_predictions.json as `{id: entries}`, with ids as the questions spell them."""
    values = files.read_json(path, dict)
    for name, entries in values.items():
        if not isinstance(entries, list) or not all(map(_is_nbest_entry, entries)):
            raise InputError(
                f"{path}: {name}: expected a list of answers, each with its text and, if it has them, start and end "
                "as whole numbers"
            )
    return _with_ids_of(questions, values, path)


def _is_nbest_entry(entry: object) -> bool:
    """Whether this is a valid entry. `start` and `end` are optional: the original's entries have no offsets."""
    return (
        isinstance(entry, dict)
        and isinstance(entry.get("text"), str)
        and isinstance(entry.get("stripped", ""), str)
        and ("start" in entry) == ("end" in entry)
        and all(type(entry.get(name, 0)) is int and entry.get(name, 0) >= 0 for name in ("start", "end"))
    )


def per_question(metric: str, questions: Sequence[Question], predictions: Mapping[str, str]) -> dict[str, dict]:
    """`{id: {"exact_match", "f1", "prediction", "gold"}}`; with KLUE's metric "rouge_w" instead of "f1"."""
    gold, second = gold_answers(questions), metrics.overlap_name(metric)
    return {
        name: {"exact_match": score.exact, second: score.f1, "prediction": predictions.get(name), "gold": gold[name]}
        for name, score in metrics.score(metric, gold, predictions).items()
    }


# ---------------------------------------------------------------------------------------------------------------------
# Files
# ---------------------------------------------------------------------------------------------------------------------

# The files written here and their descriptions. `_is_of_kind` recognises each by the shape of its JSON.
_FILES = {
    "per_question_file": "the scores of questions that evaluate_mrc writes",
    "misses_file": "the misses that evaluate_mrc writes",
    "josa_report": "the report on particles that evaluate_mrc writes",
}


def _is_of_kind(kind: str, path: str) -> bool:
    values = files.read_json(path, dict).values()
    if kind == "per_question_file":
        kinds = [{"exact_match", second, "prediction", "gold"} for second in ("f1", "rouge_w")]
        return all(isinstance(value, dict) and value.keys() in kinds for value in values)
    if kind == "misses_file":
        return all(
            isinstance(value, list)
            and all(isinstance(miss, dict) and miss.keys() == set(Miss._fields) for miss in value)
            for value in values
        )
    return all(
        isinstance(value, dict) and value.keys() in ({"all", "rules"}, {"all", "by_particle"}) for value in values
    )


def check_output(kind: str, path: str | None) -> None:
    """Raises `InputError` if a file of this kind ("per_question_file" ...) may not be written to `path`."""
    if path:
        outputs.check_file(path, what=_FILES[kind], is_ours=lambda path: _is_of_kind(kind, path))


def write(kind: str, path: str, value: dict) -> None:
    """Writes a file of this kind; replaces only an earlier file of the same kind."""
    check_output(kind, path)
    files.write_json(path, value)
