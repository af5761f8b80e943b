"""The reading report: one self-contained HTML file that shows a reader's answers, filtered and sorted in the browser.

The questions are embedded as JSON, and rows are built as they scroll into view, so a page with thousands opens at once.
The browser computes only counts and means; kinds of miss, groups and scores are computed here.
"""

import json
import re
from collections.abc import Mapping, Sequence

from kobert_tf2 import pages
from kobert_tf2.language import say
from kobert_tf2.pages import Section
from kobert_tf2.reading import metrics, report_page
from kobert_tf2.reading.josa import JosaStripper, sentence_around
from kobert_tf2.reading.squad_files import Question

# The first pattern that matches a question decides; 몇 comes before 무엇 because 몇 무엇 asks for a number.
_QUESTION_WORDS = (
    ("몇", r"몇|얼마"),
    ("누구", r"누구|누가"),
    ("언제", r"언제|며칠|[몇날]\s*(년|월|일)|(년도|연도|날짜|시기|날)[는은]?\??$"),
    ("어디", r"어디|(장소|지역|도시|나라|국가|곳)[는은]?\??$"),
    ("왜", r"왜|이유|까닭"),
    ("어떻게", r"어떻게|방법"),
    ("누구", r"(사람|인물|이름)[는은]?\??$"),
    ("어느·어떤", r"어느|어떤|무슨"),
    ("무엇", r"무엇|뭐|무었"),
)
_LENGTHS = ((2, "1–2"), (4, "3–4"), (8, "5–8"), (16, "9–16"), (10**9, "17+"))
_PLACES = ("0–20 %", "20–40 %", "40–60 %", "60–80 %", "80–100 %")
_CANDIDATES = 5
KINDS = ("right", "particle", "boundary", "same sentence", "wrong sentence", "other")


def question_word(question: str) -> str:
    """The kind of thing that a question asks for, by its question word; 기타 if it has none."""
    text = question.strip()
    return next((name for name, pattern in _QUESTION_WORDS if re.search(pattern, text)), "기타")


def length_group(text: str) -> str:
    """The length group of an answer, in characters without white space."""
    length = len("".join(text.split()))
    return next(name for longest, name in _LENGTHS if length <= longest)


def place_group(question: Question) -> str:
    """The fifth of the context in which the first gold answer begins; "–" if there is none."""
    start = next((answer.start for answer in question.answers if answer.start >= 0), None)
    if start is None or not question.context:
        return "–"
    return _PLACES[min(len(_PLACES) - 1, len(_PLACES) * start // len(question.context))]


def kind_of_miss(
    question: Question, prediction: str, span: tuple[int, int] | None, metric: str, stripper: JosaStripper
) -> str:
    """One of `KINDS`: how a prediction differs from the nearest gold answer.

    `particle`: right once josa.py has stripped the prediction, or both the prediction and the gold answer.
    `boundary`: the two overlap. `other`: no answer given, none expected, or an answer that is not in the context.
    """
    golds = [answer.text for answer in question.answers]
    if metrics.score_question(metric, prediction, golds).exact:
        return "right"
    places = [(answer.start, answer.end) for answer in question.answers if answer.start >= 0]
    if span is None or not places:
        return "other"
    bare = question.context[slice(*stripper(question.context, *span))]
    bare_golds = [question.context[slice(*stripper(question.context, *place))] for place in places]
    if metrics.score_question(metric, bare, golds + bare_golds).exact:
        return "particle"
    if any(start < span[1] and span[0] < end for start, end in places):
        return "boundary"
    sentences = [sentence_around(question.context, *place) for place in places]
    here = any(start <= span[0] < end for start, end in sentences)
    return "same sentence" if here else "wrong sentence"


def predicted_spans(
    questions: Sequence[Question], predictions: Mapping[str, str], nbest: Mapping[str, list[dict]]
) -> dict[str, tuple[int, int]]:
    """The span of each prediction in its context: from the n-best list, or else the occurrence nearest to the gold
    answer.

    With an n-best list written by this package it is the span as predicted, even if the prediction was stripped.
    """
    spans = {}
    for question in questions:
        text = predictions.get(question.id)
        if not text:
            continue
        entries = [entry for entry in nbest.get(question.id, ()) if text in (entry["text"], entry.get("stripped"))]
        if entries and "start" in entries[0] and entries[0]["start"] <= entries[0]["end"] <= len(question.context):
            spans[question.id] = entries[0]["start"], entries[0]["end"]
        elif text in question.context:
            wanted = question.answers[0].start if question.answers else 0
            start = min(
                (m.start() for m in re.finditer(re.escape(text), question.context)), key=lambda p: abs(p - wanted)
            )
            spans[question.id] = start, start + len(text)
    return spans


def rows(
    questions: Sequence[Question],
    predictions: Mapping[str, str],
    spans: Mapping[str, tuple[int, int]],
    metric: str = "korquad1",
    nbest: Mapping[str, list[dict]] | None = None,
) -> dict:
    """The data of the page: `{"contexts": texts, "questions": a list of objects, ...}`, each context once."""
    stripper = JosaStripper()
    contexts: dict[str, int] = {}
    shown = []
    for question in questions:
        prediction, span = predictions.get(question.id) or "", spans.get(question.id)
        golds = [answer.text for answer in question.answers]
        score = metrics.score_question(metric, prediction, golds)
        stripped = stripper(question.context, *span) if span else None
        bare = question.context[slice(*stripped)] if stripped else prediction
        shown.append(
            {
                "id": question.id,
                "title": question.title,
                "question": question.question,
                "context": contexts.setdefault(question.context, len(contexts)),
                "golds": golds,
                "gold_spans": [[a.start, a.end] for a in question.answers if a.start >= 0],
                "prediction": prediction,
                "span": span,
                "stripped": bare,
                "stripped_span": stripped,
                "em": score.exact,
                "f1": round(score.f1, 4),
                "stripped_em": metrics.score_question(metric, bare, golds).exact,
                "kind": kind_of_miss(question, prediction, span, metric, stripper),
                "word": question_word(question.question),
                "length": length_group(golds[0]) if golds else "–",
                "position": place_group(question),
                "nbest": [
                    (entry["text"], round(float(entry.get("probability", 0.0)), 4))
                    for entry in (nbest or {}).get(question.id, [])[:_CANDIDATES]
                ],
            }
        )
    return {
        "contexts": list(contexts),
        "questions": shown,
        "kinds": KINDS,
        "lengths": [name for _, name in _LENGTHS],
        "positions": _PLACES,
    }


def check_output(path: str) -> None:
    """Raises `InputError` if the page may not be written to `path`."""
    pages.check_output(path, "a report of evaluate_mrc")


def write(
    path: str,
    questions: Sequence[Question],
    predictions: Mapping[str, str],
    spans: Mapping[str, tuple[int, int]],
    metric: str = "korquad1",
    *,
    nbest: Mapping[str, list[dict]] | None = None,
    more: Sequence[Section] = (),
) -> None:
    """Writes the page, with the sections `more` added; replaces only an earlier report."""
    check_output(path)
    overlap = "ROUGE-W" if metrics.overlap_name(metric) == "rouge_w" else "F1"
    data = {**rows(questions, predictions, spans, metric, nbest), "words": report_page.words(overlap)}
    sections = [
        Section(say("Results", "결과"), _figures(data["questions"], overlap)),
        Section(say("Questions", "질문"), report_page.body() + _embedded(data)),
        *more,
        Section(say("Terms", "용어"), pages.terms(report_page.terms(overlap))),
    ]
    title = f"{say('Reading report', '독해 보고서')} · {metric}"
    pages.write(path, pages.page(title, sections, script=report_page.SCRIPT, style=report_page.STYLE))


def _figures(shown: Sequence[dict], overlap: str) -> str:
    def mean(field: str) -> str:
        return f"{100 * sum(row[field] for row in shown) / len(shown):.1f}" if shown else "–"

    return pages.figures(
        [
            (say("questions", "질문"), f"{len(shown):,}", ""),
            ("EM", mean("em"), say("equal to a gold answer, percent", "정답과 완전히 일치, %")),
            (overlap, mean("f1"), say("overlap with a gold answer, percent", "정답과 겹치는 정도, %")),
            (
                say("EM without particles", "조사를 뗀 EM"),
                mean("stripped_em"),
                say("once particles are taken off the predictions", "예측에서 조사를 뗀 뒤"),
            ),
        ]
    )


def _embedded(data: dict) -> str:
    """A script element with the data as JSON. "<" is escaped, since "</" or "<!--" could end or change the element."""
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    text = text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")
    return f'<script id="data" type="application/json">{text}</script>'
