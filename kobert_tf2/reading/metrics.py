"""Exact match and F1 of answers, numerically identical to the official scorers.

    korquad1   evaluate-v1.0.py of korquad.github.io: F1 by character, brackets and quotation marks separate words
    squad1     evaluate-v1.1.py of SQuAD: F1 by word, without English articles
    squad2     evaluate-v2.0.py of SQuAD: as squad1; the empty string is the answer of an unanswerable question
    korquad2   KorQuAD 2: HTML tags and all white space are removed first, F1 by character
    klue_mrc   KLUE-baseline: EM and, instead of F1, ROUGE-W by character (the longest common substring);
               questions may be unanswerable

Scores are summed over the questions in file order, as the official scorers do, so that results agree to the last bit.
This module reads no files and does not depend on tokens: gold answers are `{id: texts}`, predictions `{id: text}`.
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
# Metrics for data in which a question may have no answer.
WITH_NO_ANSWER = ("squad2", "klue_mrc")

# The official KorQuAD script replaces these with a space before it deletes ASCII punctuation: 'A(B)' becomes two words.
_KORQUAD_BLANKS = str.maketrans(dict.fromkeys("'\"《》<>〈〉()‘’", " "))
_DELETED = str.maketrans(dict.fromkeys(string.punctuation))
_ARTICLES = re.compile(r"\b(a|an|the)\b")


# The characters that KLUE-baseline intends to replace with a space. Its pattern, copied here, matches only if all of
# the last four characters follow one of the first group, which is very rare; the scores here are those that the script
# computes, not those that it intends.
_KLUE_BLANKS = re.compile(r"['\"《》<>〈〉]\(\)‘’")


def overlap_name(metric: str) -> str:
    """The name of a metric's second score: "rouge_w" for KLUE's metric, otherwise "f1"."""
    return "rouge_w" if metric == "klue_mrc" else "f1"


class Score(NamedTuple):
    """The scores of one question, from 0 to 1; for KLUE's metric `f1` is ROUGE-W."""

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
    """The normalized text, in which this metric compares answers."""
    forms = {"korquad1": normalize_korquad, "korquad2": normalize_korquad2, "klue_mrc": normalize_klue}
    return forms.get(_known(metric), normalize_squad)(text)


def _known(metric: str) -> str:
    if metric not in METRICS:
        raise InputError(f"expected a metric out of {', '.join(METRICS)}, but got {metric!r}")
    return metric


def score_pair(metric: str, prediction: str, gold: str) -> Score:
    """Scores one prediction against one gold answer."""
    predicted, expected = normalize(metric, prediction), normalize(metric, gold)
    if metric == "klue_mrc":
        return Score(float(predicted == expected), _rouge_w(predicted, expected))
    if metric in ("korquad1", "korquad2"):
        units: tuple[Sequence[str], Sequence[str]] = predicted.replace(" ", ""), expected.replace(" ", "")
    else:
        units = predicted.split(), expected.split()
    return Score(float(predicted == expected), _f1(*units, empty_agrees=metric == "squad2"))


def _f1(predicted: Sequence[str], expected: Sequence[str], *, empty_agrees: bool) -> float:
    """F1 of two multisets. Only the SQuAD 2.0 script scores two empty ones 1; the older scripts score them 0."""
    if empty_agrees and not (predicted and expected):
        return float(not predicted and not expected)
    same = sum((Counter(predicted) & Counter(expected)).values())
    if same == 0:
        return 0.0
    precision, recall = same / len(predicted), same / len(expected)
    return (2 * precision * recall) / (precision + recall)


def _rouge_w(predicted: str, expected: str) -> float:
    """The F-measure of the longest common substring. Calls `SequenceMatcher` as KLUE-baseline does: from 200 characters
    on it ignores the frequent ones.
    """
    if not expected:
        return float(predicted == expected)
    matcher = difflib.SequenceMatcher(None, predicted, expected)
    same = matcher.find_longest_match(0, len(predicted), 0, len(expected)).size
    precision, recall = same / len(predicted) if predicted else 0.0, same / len(expected)
    return 2 * (precision * recall) / (precision + recall) if precision + recall else 0.0


def score_question(metric: str, prediction: str | None, golds: Sequence[str]) -> Score:
    """The best score over the gold answers; a missing prediction (None) scores 0.

    With squad2, if there are no gold answers, or only ones that normalize to the empty string, the empty string is
    right; with klue_mrc, if there are no gold answers.
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
      InputError: a question has no gold answer and the metric does not allow unanswerable questions.
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
      predictions: `{id: text}`. A missing question scores 0 and is counted in `missing`.
      null_odds: squad2 only: `{id: how much the model prefers "no answer"}`, from the null_odds.json of a prediction
        run. If given, the best thresholds are computed too.
      question_types: klue_mrc only: `{id: 1, 2 or 3}`; a missing one counts as 1, as in KLUE-baseline.
      null_threshold: squad2 with `null_odds`: above it, the prediction counts as "no answer" (the script's
        --na-prob-thresh).

    Returns:
      `exact_match` and `f1` (for klue_mrc `rouge_w`) in percent, `total` and `missing`. For klue_mrc also
      `by_question_type`. For squad2 also the script's own keys: `exact`, `HasAns_*`, `NoAns_*`, `best_exact`,
      `best_exact_thresh`, `best_f1`, `best_f1_thresh`.
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
    """Scores over all questions (grouped by type, and averaged with NumPy, as in KLUE-baseline) and for each type."""
    by_type: dict[int, list[Score]] = {1: [], 2: [], 3: []}
    for name, one in scores.items():
        by_type[question_types.get(name) or 1].append(one)
    of_all = _klue_means([one for of_type in by_type.values() for one in of_type])
    return {**of_all, "by_question_type": {str(kind): _klue_means(part) for kind, part in by_type.items() if part}}


def _klue_means(scores: Sequence[Score]) -> dict:
    exact, rouge = (float(np.mean(values)) * 100.0 for values in zip(*scores, strict=True))
    return {"exact_match": exact, "rouge_w": rouge, "total": len(scores)}


def _add_in_turn(values: Iterable[float]) -> float:
    """Adds as the older scripts' `total += value` does; Python 3.12's compensated `sum` can differ in the last bit."""
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
    odds: Mapping[str, float] = dict.fromkeys(answers, 0.0)
    if null_odds is not None:
        lost = [name for name in answers if name not in null_odds]
        if lost:
            raise InputError(f"null odds: {len(lost)} of {len(answers)} questions have none, the first is {lost[0]}")
        # Ties are broken by the order of the null odds file, as in the script.
        odds = {name: value for name, value in null_odds.items() if name in answers}
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


def best_null_threshold(
    answers: Mapping[str, Sequence[str]],
    predictions: Mapping[str, str | None],
    scores: Mapping[str, Score],
    null_odds: Mapping[str, float],
    kind: str = "f1",
) -> tuple[float, float]:
    """The highest score, in percent, over all thresholds on the null odds, and the threshold that gives it.

    Starts with "no answer" for every question, then switches questions to their predictions in the order of their odds:
    a question with an answer gains its score; one without loses its point if the prediction is not empty.
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
