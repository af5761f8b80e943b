"""What stands in the report of a classifier, a regression and a tagger."""

import numpy as np

from kobert_tf2 import pages
from kobert_tf2.labelling import report
from kobert_tf2.labelling.entity_files import Entity, TaggedText

EVIL = "<script>alert(1)</script>"


def page(sections) -> str:
    return pages.page("t", sections)


def test_a_classifier_has_baseline_matrix_scores_and_its_worst_sentences():
    probabilities = np.array([[0.9, 0.1], [0.2, 0.8], [0.3, 0.7], [0.99, 0.01]], np.float32)
    labels = np.array([0, 1, 0, 1])
    scores = {"accuracy": 0.5, "f1": 0.5, "f1_of_each": [0.5, 0.5], "loss": 1.0, "confusion": [[1, 1], [1, 1]]}
    texts = ["가", "나", "조금 틀린 문장", EVIL]
    html = page(report.sentences(scores, probabilities, labels, ["좋음", "나쁨"], texts))
    assert "always the most frequent label: 50.0%" in html
    assert "<b>50.0%</b>" in html
    assert "Confusion matrix" in html
    assert html.index("&lt;script&gt;") < html.index("조금 틀린 문장"), "the most wrong comes first"
    assert "<script" not in html
    assert ">가<" not in html, "right answers are not among the wrong"


def test_several_labels_and_numbers_have_their_worst_examples_too():
    scores = {"accuracy": 0.0, "f1_macro": 0.5, "f1_of_each": [1.0, 0.0]}
    answers, targets = np.array([[0.9, 0.2], [0.6, 0.9]]), np.array([[1.0, 0.0], [1.0, 0.0]])
    html = page(report.sentences(scores, answers, targets, ["a", "b"], ["첫째", "둘째"]))
    assert html.index("둘째") < html.index("첫째")
    assert "most frequent" not in html
    html = page(
        report.sentences({"pearson": 0.5}, np.array([[1.0], [5.0]]), np.array([1.5, 0.0]), ["x"], ["첫째", "둘째"])
    )
    assert html.index("둘째") < html.index("첫째")


def test_many_labels_have_no_matrix():
    count = 60
    scores = {"accuracy": 1.0, "f1_of_each": [1.0] * count, "confusion": np.eye(count, dtype=int).tolist()}
    names = [f"label {number}" for number in range(count)]
    html = page(report.sentences(scores, np.eye(count), np.arange(count), names, [""] * count))
    assert "Confusion matrix" not in html
    assert "Most wrong" not in html


def test_a_tagger_has_its_types_and_its_worst_texts():
    truth = [TaggedText("1", "해미는 배를 탔다", (Entity(0, 2, "PS"),)), TaggedText("2", "배", ())]
    found = [TaggedText("1", "해미는 배를 탔다", (Entity(0, 3, "PS"),)), TaggedText("2", "배", ())]
    kind = {"f1": 0.0, "precision": 0.0, "recall": 0.0, "support": 1}
    means = dict.fromkeys(("entity_f1", "entity_macro_f1", "character_macro_f1", "precision", "recall"), 0.0)
    html = page(report.entities({**means, "types": {"PS": kind}}, truth, found))
    assert "해미 (PS)" in html
    assert "해미는 (PS)" in html
    assert html.count("배를 탔다") == 1
