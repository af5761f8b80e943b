"""Report sections on what a classifier or a tagger got right and wrong. `pages` escapes user texts."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from kobert_tf2 import charts, pages
from kobert_tf2.labelling.entity_files import TaggedText
from kobert_tf2.language import say
from kobert_tf2.pages import Cell, Section

_MOST_WRONG = 30
_LONGEST_TEXT = 300
_LARGEST_CONFUSION = 40  # Maximum number of labels of a confusion matrix; a larger one would be unreadable.


# ---- Texts with one label, several or a number -----------------------------------------------------------------------


def sentences(
    scores: Mapping[str, Any], answers: np.ndarray, targets: np.ndarray, names: Sequence[str], texts: Sequence[str]
) -> list[Section]:
    """The report sections for an evaluated classifier or regression.

    Args:
        scores: as returned by `sentence_metrics.score`; the problem type is inferred from them.
        answers: float [examples, labels], probabilities or predicted numbers.
        targets: int [examples], float [examples, labels] of 0 and 1, or float [examples].
        names: names of the labels.
        texts: texts of the examples.
    """
    if targets.ndim == 2:
        parts = [
            _per_class(scores, names, (targets > 0).sum(axis=0)),
            _most_wrong_labels(answers, targets, names, texts),
        ]
    elif "confusion" in scores:
        confusion = np.asarray(scores["confusion"])
        parts = [
            _per_class(scores, names, confusion.sum(axis=1), confusion),
            _confusion(confusion, names),
            _most_wrong(answers, targets, names, texts),
        ]
    else:
        order = np.argsort(-np.abs(answers[:, 0] - targets), kind="stable")[:_MOST_WRONG]
        rows = ([_cut(texts[i]), float(targets[i]), float(answers[i, 0])] for i in map(int, order))
        header = [say("text", "문장"), say("true", "실제"), say("predicted", "예측")]
        parts = [Section(say("Most wrong", "가장 크게 틀린 문장"), pages.table(header, rows) if len(order) else "")]
    return [_results(scores, targets), *parts]


def _results(scores: Mapping[str, Any], targets: np.ndarray) -> Section:
    figures = [
        (name.replace("_", " "), f"{value:.4f}", "")
        for name, value in scores.items()
        if isinstance(value, float) and name != "accuracy"
    ]
    if "accuracy" in scores:
        note = ""
        if "confusion" in scores:
            baseline = np.asarray(scores["confusion"]).sum(axis=1).max() / max(len(targets), 1)
            note = say(
                f"always the most frequent label: {baseline:.1%}", f"항상 가장 많은 라벨로 답하면: {baseline:.1%}"
            )
        figures.insert(0, (say("accuracy", "정확도"), f"{scores['accuracy']:.1%}", note))
    count = say(f"{len(targets):,} examples were evaluated.", f"평가한 예: {len(targets):,}개")
    return Section(say("Results", "결과"), pages.figures(figures), count)


def _per_class(
    scores: Mapping[str, Any], names: Sequence[str], support: np.ndarray, confusion: np.ndarray | None = None
) -> Section:
    header = [say("label", "라벨"), say("examples", "예의 수"), "F1"]
    columns: list[Sequence[object]] = [list(names), support.tolist(), [Cell(f, f) for f in scores["f1_of_each"]]]
    if confusion is not None:
        right = np.diag(confusion)
        header += [say("precision", "정밀도"), say("recall", "재현율")]
        columns += [_shares(right, confusion.sum(axis=0)), _shares(right, confusion.sum(axis=1))]
    table = pages.table(header, zip(*columns, strict=True))
    chart = charts.bar_chart(
        dict(zip(names, scores["f1_of_each"], strict=True)), label=say("F1 of each label", "라벨별 F1"), highest=1.0
    )
    explained = say(
        "Precision: how many of those given this label have it. Recall: how many of those that have it were found. "
        "F1 is their harmonic mean.",
        "정밀도: 이 라벨로 답한 것 가운데 맞은 비율. 재현율: 이 라벨인 것 가운데 찾아낸 비율. "
        "F1은 둘의 조화 평균입니다.",
    )
    return Section(say("Labels", "라벨별 점수"), chart + table, explained)


def _shares(part: np.ndarray, whole: np.ndarray) -> list[object]:
    return [Cell(float(p / w), float(p / w)) if w else "–" for p, w in zip(part, whole, strict=True)]


def _confusion(confusion: np.ndarray, names: Sequence[str]) -> Section:
    if len(names) > _LARGEST_CONFUSION:
        return Section("", "")
    rows = (
        [name, *(Cell(int(count), count / max(row.sum(), 1)) for count in row)]
        for name, row in zip(names, confusion, strict=True)
    )
    explained = say(
        "A row for each true label, a column for each predicted one; what is right stands on the diagonal.",
        "행은 실제 라벨, 열은 예측한 라벨입니다. 맞은 것은 대각선에 있습니다.",
    )
    return Section(
        say("Confusion matrix", "혼동 행렬"),
        pages.table([say("true \\ predicted", "실제 \\ 예측"), *names], rows),
        explained,
    )


def _most_wrong(probabilities: np.ndarray, targets: np.ndarray, names: Sequence[str], texts: Sequence[str]) -> Section:
    predicted = probabilities.argmax(axis=1)
    of_true = probabilities[np.arange(len(targets)), targets]
    wrong = [int(i) for i in np.argsort(of_true, kind="stable") if predicted[i] != targets[i]][:_MOST_WRONG]
    rows = (
        [_cut(texts[i]), names[targets[i]], names[predicted[i]], f"{probabilities[i, predicted[i]]:.1%}"] for i in wrong
    )
    header = [say("text", "문장"), say("true", "실제"), say("predicted", "예측"), say("probability", "확률")]
    explained = say(
        "The sentences on which the model was most sure of a wrong label; often the label in the file is the mistake.",
        "모델이 틀린 라벨을 가장 확신한 문장입니다. 파일의 라벨이 잘못된 경우도 많습니다.",
    )
    return Section(say("Most wrong", "가장 크게 틀린 문장"), pages.table(header, rows) if wrong else "", explained)


def _most_wrong_labels(
    probabilities: np.ndarray, targets: np.ndarray, names: Sequence[str], texts: Sequence[str]
) -> Section:
    """For multi-label problems: the examples in which one label's probability is furthest from its target."""
    distance = np.abs(probabilities - targets)
    order = np.argsort(-distance.max(axis=1), kind="stable")[:_MOST_WRONG]
    rows = (
        [
            _cut(texts[i]),
            ", ".join(name for name, is_so in zip(names, targets[i], strict=True) if is_so) or "–",
            names[distance[i].argmax()],
            f"{probabilities[i, distance[i].argmax()]:.1%}",
        ]
        for i in map(int, order)
    )
    header = [
        say("text", "문장"),
        say("true", "실제"),
        say("worst label", "가장 틀린 라벨"),
        say("probability", "확률"),
    ]
    return Section(say("Most wrong", "가장 크게 틀린 문장"), pages.table(header, rows) if len(order) else "")


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST_TEXT else f"{text[: _LONGEST_TEXT - 1]}…"


# ---- Entities --------------------------------------------------------------------------------------------------------


def entities(scores: Mapping[str, Any], truth: Sequence[TaggedText], predicted: Sequence[TaggedText]) -> list[Section]:
    """The report sections for an evaluated tagger; `scores` as returned by `entity_metrics.score`."""
    figures = [
        (
            say("entity F1", "개체 F1"),
            f"{scores['entity_f1']:.1%}",
            say("type and both ends right", "유형과 양 끝이 모두 맞음"),
        ),
        (say("macro F1", "매크로 F1"), f"{scores['entity_macro_f1']:.1%}", say("mean over the types", "유형별 평균")),
        (
            say("character F1", "음절 F1"),
            f"{scores['character_macro_f1']:.1%}",
            say("mean over the BIO labels of characters", "음절 BIO 라벨별 평균"),
        ),
        (say("precision", "정밀도"), f"{scores['precision']:.1%}", ""),
        (say("recall", "재현율"), f"{scores['recall']:.1%}", ""),
    ]
    types = scores["types"]
    header = [
        say("type", "유형"),
        say("entities", "개체 수"),
        "F1",
        say("precision", "정밀도"),
        say("recall", "재현율"),
    ]
    rows = (
        [kind, of["support"], *(Cell(of[name], of[name]) for name in ("f1", "precision", "recall"))]
        for kind, of in types.items()
    )
    chart = charts.bar_chart(
        {kind: of["f1"] for kind, of in types.items()}, label=say("F1 of each type", "유형별 F1"), highest=1.0
    )
    return [
        Section(say("Results", "결과"), pages.figures(figures)),
        Section(say("Types", "유형별 점수"), chart + pages.table(header, rows) if types else ""),
        _wrong_texts(truth, predicted),
    ]


def _wrong_texts(truth: Sequence[TaggedText], predicted: Sequence[TaggedText]) -> Section:
    """The texts with the most missing or spurious entities."""
    counted = []
    for gold, ours in zip(truth, predicted, strict=True):
        expected, found = {entity[:3] for entity in gold.entities}, {entity[:3] for entity in ours.entities}
        if expected != found:
            counted.append((len(expected ^ found), gold.text, sorted(expected - found), sorted(found - expected)))
    counted.sort(key=lambda row: -row[0])
    rows = (
        [_cut(text), _named(text, missing), _named(text, surplus)]
        for _, text, missing, surplus in counted[:_MOST_WRONG]
    )
    header = [say("text", "문장"), say("not found", "찾지 못한 개체"), say("wrongly found", "잘못 찾은 개체")]
    return Section(say("Most wrong", "가장 크게 틀린 문장"), pages.table(header, rows) if counted else "")


def _named(text: str, spans: Sequence[tuple[int, int, str]]) -> str:
    return ", ".join(f"{text[start:end]} ({kind})" for start, end, kind in spans) or "–"
