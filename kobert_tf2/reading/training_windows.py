"""Selects the questions and windows to train a reader on; questions left out are reported with their ids."""

import collections
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from kobert_tf2.reading.squad_files import Question, Repair
from kobert_tf2.reading.windows import Windows


class LeftOut(NamedTuple):
    id: str
    kind: str
    detail: str


def trainable(questions: Sequence[Question], *, with_negative: bool) -> tuple[list[Question], list[LeftOut]]:
    """Splits questions into those to train on and those left out, with the reason."""
    kept, left_out = [], []
    for question in questions:
        if any(answer.start >= 0 for answer in question.answers) or (question.is_impossible and with_negative):
            kept.append(question)
        elif question.is_impossible:
            left_out.append(LeftOut(question.id, "impossible", "has no answer, and version_2_with_negative is off"))
        elif question.answers:
            left_out.append(LeftOut(question.id, "answer_missing", "no answer of it is in its context"))
        else:
            left_out.append(LeftOut(question.id, "no_answer", "the file gives no answer"))
    return kept, left_out


def choose_windows(windows: Windows, questions: Sequence[Question], how: str, seed: int) -> Windows:
    """Keeps, drops or samples windows that do not contain the answer although their question has one.

    `sample` keeps at most as many of them as there are other windows. Windows of unanswerable questions are always
    kept: they teach the model to predict "no answer".
    """
    impossible = np.array([question.is_impossible for question in questions], bool)[windows.question_index]
    lacks = ~windows.has_answer & ~impossible
    if how == "keep":
        return windows
    chosen = np.zeros(len(windows), bool)
    if how == "sample":
        candidates = np.flatnonzero(lacks)
        count = min(len(candidates), int((~lacks).sum()))
        chosen[np.random.default_rng(seed).choice(candidates, count, replace=False)] = True
    return windows.select(np.flatnonzero(~lacks | chosen))


def without_answer(windows: Windows, questions: Sequence[Question]) -> list[LeftOut]:
    """Questions that have an answer, but no window that contains all of it."""
    reached = set(windows.question_index[windows.has_answer].tolist())
    return [
        LeftOut(question.id, "in_no_window", "its answer is longer than a window, or touches no token")
        for index, question in enumerate(questions)
        if index not in reached and not question.is_impossible
    ]


def alignment_report(
    questions: Sequence[Question],
    repairs: Sequence[Repair],
    left_out: Sequence[LeftOut],
    windows: Windows,
    chosen: Windows,
) -> dict:
    """Counts of questions and windows, and every question that was repaired or left out, with its id."""
    kinds = collections.Counter(repair.kind for repair in repairs)
    gone = collections.Counter(item.kind for item in left_out)
    return {
        "counts": {
            "questions": len(questions),
            "left_out": sum(gone.values()),
            **{f"left_out_{kind}": count for kind, count in sorted(gone.items())},
            **{f"repaired_or_noted_{kind}": count for kind, count in sorted(kinds.items())},
            "windows": len(windows),
            "windows_trained_on": len(chosen),
            "windows_with_answer": int(chosen.has_answer.sum()),
        },
        "left_out": [item._asdict() for item in left_out],
        "repaired_or_noted": [repair._asdict() for repair in repairs],
    }
