"""Exact match and F1 of answers, number for number those of the official scorers.

    korquad1   evaluate-v1.0.py of korquad.github.io: F1 by character, brackets and quotation marks cut words apart
    squad1     evaluate-v1.1.py of SQuAD: F1 by word, English articles taken out
    squad2     evaluate-v2.0.py of SQuAD: as squad1, and a question may have no answer, which the empty string says
    korquad2   KorQuAD 2: tags of HTML and all white space are taken off first, F1 by character
    klue_mrc   KLUE-baseline: EM and, in the place of F1, ROUGE-W by character (the longest run that both have); a
               question may have no answer

Sums run over the questions in the order of the file, as theirs do, so that the last bit agrees too. Nothing here reads
a file or knows a token: gold answers come as `{id: texts}`, predictions as `{id: text}`.
"""

import difflib
import functools
import operator
import re
import string
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from kobert_tf2.errors import InputError
from kobert_tf2.reading import html_text
from kobert_tf2.reading.answers import prefers_no_answer

METRICS = ("korquad1", "squad1", "squad2", "korquad2", "klue_mrc")
# Those that know questions without an answer.
WITH_NO_ANSWER = ("squad2", "klue_mrc")

# The official KorQuAD script puts a blank where these stand, before it deletes ASCII punctuation: 'A(B)' has two words.
_KORQUAD_BLANKS = str.maketrans(dict.fromkeys("'\"《》<>〈〉()‘’", " "))
_DELETED = str.maketrans(dict.fromkeys(string.punctuation))
_ARTICLES = re.compile(r"\b(a|an|the)\b")


# What KLUE-baseline means to take for a blank. As it is written there it wants all of the last four characters behind
# one of the first, so that it hardly ever applies; the scores are those of the script, not of its intention.
_KLUE_BLANKS = re.compile(r"['\"《》<>〈〉]\(\)‘’")


def overlap_name(metric: str) -> str:
    """What the second score of a metric is called: "rouge_w" for KLUE's, else "f1"."""
    return "rouge_w" if metric == "klue_mrc" else "f1"


class Score(NamedTuple):
    """What one question scores, each from 0 to 1; `f1` is ROUGE-W where the metric is KLUE's."""

    exact: float
    f1: float


def normalize_korquad(text: str) -> str:
    return " ".join(text.translate(_KORQUAD_BLANKS).lower().translate(_DELETED).split())


def normalize_squad(text: str) -> str:
    return " ".join(_ARTICLES.sub(" ", text.lower().translate(_DELETED)).split())


def normalize_korquad2(text: str) -> str:
    return normalize_korquad(html_text.text_of(text)).replace(" ", "")


def normalize_klue(text: str) -> str:
    return " ".join(_KLUE_BLANKS.sub(" ", text.lower()).translate(_DELETED).split())


def normalize(metric: str, text: str) -> str:
    """The form in which two answers are the same to this metric."""
    forms = {"korquad1": normalize_korquad, "korquad2": normalize_korquad2, "klue_mrc": normalize_klue}
    return forms.get(_known(metric), normalize_squad)(text)


def _known(metric: str) -> str:
    if metric not in METRICS:
        raise InputError(f"expected a metric out of {', '.join(METRICS)}, but got {metric!r}")
    return metric


def score_pair(metric: str, prediction: str, gold: str) -> Score:
    """One prediction against one gold answer."""
    predicted, expected = normalize(metric, prediction), normalize(metric, gold)
    if metric == "klue_mrc":
        return Score(float(predicted == expected), _rouge_w(predicted, expected))
    if metric in ("korquad1", "korquad2"):
        units: tuple[Sequence[str], Sequence[str]] = predicted.replace(" ", ""), expected.replace(" ", "")
    else:
        units = predicted.split(), expected.split()
    return Score(float(predicted == expected), _f1(*units, empty_agrees=metric == "squad2"))


def _f1(predicted: Sequence[str], expected: Sequence[str], *, empty_agrees: bool) -> float:
    """F1 of two bags. That two empty ones agree is said by SQuAD 2.0 alone; the older scripts give them 0."""
    if empty_agrees and not (predicted and expected):
        return float(not predicted and not expected)
    same = sum((Counter(predicted) & Counter(expected)).values())
    if same == 0:
        return 0.0
    precision, recall = same / len(predicted), same / len(expected)
    return (2 * precision * recall) / (precision + recall)


def _rouge_w(predicted: str, expected: str) -> float:
    """The F-measure of the longest run of characters that both have. `SequenceMatcher` as it is asked there: from 200
    characters on it passes over those that are frequent."""
    if not expected:
        return float(predicted == expected)
    matcher = difflib.SequenceMatcher(None, predicted, expected)
    same = matcher.find_longest_match(0, len(predicted), 0, len(expected)).size
    precision, recall = same / len(predicted) if predicted else 0.0, same / len(expected)
    return 2 * (precision * recall) / (precision + recall) if precision + recall else 0.0


def score_question(metric: str, prediction: str | None, golds: Sequence[str]) -> Score:
    """The best score over the gold answers; no prediction (None) scores 0.

    With squad2, no gold answer (or only such as normalise to nothing) means that the empty string is right; with
    klue_mrc no gold answer does.
    """
    if metric == "squad2":
        golds = [gold for gold in golds if normalize(metric, gold)] or [""]
    if metric == "klue_mrc":
        golds = golds or [""]
    if prediction is None:
        return Score(0.0, 0.0)
    exact, f1 = zip(*(score_pair(metric, prediction, gold) for gold in golds), strict=True)
    return Score(max(exact), max(f1))


def score(metric: str, answers: Mapping[str, Sequence[str]], predictions: Mapping[str, str | None]) -> dict[str, Score]:
    """The score of every question, in the order of `answers`.

    Raises:
      InputError: a question without a gold answer where the metric knows no unanswerable question.
    """
    if _known(metric) not in WITH_NO_ANSWER:
        for name, golds in answers.items():
            if not golds:
                raise InputError(f"question {name}: expected a gold answer for the metric {metric}, but it has none")
    return {name: score_question(metric, predictions.get(name), golds) for name, golds in answers.items()}


def evaluate(
    metric: str,
    answers: Mapping[str, Sequence[str]],
    predictions: Mapping[str, str | None],
    *,
    null_odds: Mapping[str, float] | None = None,
    null_threshold: float = 1.0,
    question_types: Mapping[str, int | None] | None = None,
) -> dict:
    """Scores predictions as the official script of `metric` does.

    Args:
      metric: one of `METRICS`.
      answers: `{id: gold texts}`, all questions of the file.
      predictions: `{id: text}`. A question that is missing scores 0 and is counted under `missing`.
      null_odds: squad2 only: `{id: how much the model prefers no answer}`, null_odds.json of a prediction run. With it
        come the best thresholds.
      question_types: klue_mrc only: `{id: 1, 2 or 3}`; one that is missing is 1, as there.
      null_threshold: squad2 with `null_odds`: above it, the answer is taken to be none (the script's --na-prob-thresh).

    Returns:
      `exact_match` and `f1` (for klue_mrc `rouge_w`) in percent, `total` and `missing`. For klue_mrc also
      `by_question_type`. For squad2 also the script's own keys: `exact`,
      `HasAns_*`, `NoAns_*`, `best_exact`, `best_exact_thresh`, `best_f1`, `best_f1_thresh`.
    """
    if not answers:
        raise InputError("expected at least one question to score, but there is none")
    scores = score(metric, answers, predictions)
    missing = sum(predictions.get(name) is None for name in answers)
    if metric == "squad2":
        return _evaluate_squad2(answers, predictions, scores, null_odds, null_threshold) | {"missing": missing}
    if metric == "klue_mrc":
        return {**_evaluate_klue(scores, question_types or {}), "missing": missing}
    return {**_means(scores, "exact_match", add=_add_in_turn), "missing": missing}


def _evaluate_klue(scores: Mapping[str, Score], question_types: Mapping[str, int | None]) -> dict:
    """Over all questions, those of each type together, as NumPy adds them there; and of each type alone."""
    by_type: dict[int, list[Score]] = {1: [], 2: [], 3: []}
    for name, one in scores.items():
        by_type[question_types.get(name) or 1].append(one)
    of_all = _klue_means([one for of_type in by_type.values() for one in of_type])
    return {**of_all, "by_question_type": {str(kind): _klue_means(part) for kind, part in by_type.items() if part}}


def _klue_means(scores: Sequence[Score]) -> dict:
    exact, rouge = (float(np.mean(values)) * 100.0 for values in zip(*scores, strict=True))
    return {"exact_match": exact, "rouge_w": rouge, "total": len(scores)}


def _add_in_turn(values: Iterable[float]) -> float:
    """The older scripts' `total += value`, whose last bit the compensated `sum` of Python 3.12 does not give."""
    return functools.reduce(operator.add, values, 0)


def _means(
    scores: Mapping[str, Score], exact_name: str, prefix: str = "", *, add: Callable[[Iterable[float]], float] = sum
) -> dict:
    total = len(scores)
    return {
        prefix + exact_name: 100.0 * add(score.exact for score in scores.values()) / total,
        prefix + "f1": 100.0 * add(score.f1 for score in scores.values()) / total,
        prefix + "total": total,
    }


def _evaluate_squad2(
    answers: Mapping[str, Sequence[str]],
    predictions: Mapping[str, str | None],
    scores: Mapping[str, Score],
    null_odds: Mapping[str, float] | None,
    null_threshold: float,
) -> dict:
    odds = _checked_odds(null_odds, answers) if null_odds is not None else dict.fromkeys(answers, 0.0)
    final = {
        name: Score(*(2 * [float(not answers[name])])) if prefers_no_answer(odds[name], null_threshold) else score
        for name, score in scores.items()
    }
    result = _means(final, "exact")
    result["exact_match"] = result["exact"]
    for prefix, wanted in (("HasAns_", True), ("NoAns_", False)):
        part = {name: score for name, score in final.items() if bool(answers[name]) is wanted}
        if part:
            result.update(_means(part, "exact", prefix))
    if null_odds is not None:
        for kind in ("exact", "f1"):
            best, threshold = best_null_threshold(answers, predictions, scores, odds, kind)
            result |= {f"best_{kind}": best, f"best_{kind}_thresh": threshold}
    return result


def _checked_odds(null_odds: Mapping[str, float], answers: Mapping[str, Sequence[str]]) -> Mapping[str, float]:
    lost = [name for name in answers if name not in null_odds]
    if lost:
        raise InputError(f"null odds: {len(lost)} of {len(answers)} questions have none, the first is {lost[0]}")
    # The order of the file of odds decides ties, as in the script.
    return {name: value for name, value in null_odds.items() if name in answers}


def best_null_threshold(
    answers: Mapping[str, Sequence[str]],
    predictions: Mapping[str, str | None],
    scores: Mapping[str, Score],
    null_odds: Mapping[str, float],
    kind: str = "f1",
) -> tuple[float, float]:
    """The highest score in percent that any threshold on the null odds gives, and that threshold.

    At first every question is taken as "no answer"; in the order of their odds each then gets its prediction: one that
    has an answer gains its score, one that has none loses its point if something was predicted.
    """
    current = best = float(sum(not golds for golds in answers.values()))
    threshold = 0.0
    for name in sorted(null_odds, key=null_odds.__getitem__):
        if answers[name]:
            current += getattr(scores[name], kind)
        else:
            current -= bool(predictions.get(name))
        if current > best:
            best, threshold = current, null_odds[name]
    return 100.0 * best / len(scores), threshold
