"""The scores of entities against figures that seqeval 1.2.2 (strict IOB2) and scikit-learn gave on the same tags."""

import pytest

from kobert_tf2.labelling.entities import label_list
from kobert_tf2.labelling.entity_files import Entity, TaggedText
from kobert_tf2.labelling.entity_metrics import score


def text(content: str, *entities: tuple) -> TaggedText:
    return TaggedText("1", content, tuple(Entity(*entity) for entity in entities))


TRUTH = [
    text("이순신은 한산도에서 이겼다", (0, 3, "PS"), (5, 8, "LC")),
    text("어제 비가 왔다", (0, 2, "DT")),
    text("서울대 김 모 교수", (0, 3, "OG"), (4, 7, "PS")),
    text("아무것도 없다"),
]
PREDICTED = [
    text(TRUTH[0].text, (0, 4, "PS"), (5, 8, "LC")),
    text(TRUTH[1].text, (0, 2, "TI")),
    text(TRUTH[2].text, (0, 2, "LC"), (4, 7, "PS")),
    text(TRUTH[3].text, (0, 2, "OG")),
]
TYPES = ["DT", "LC", "OG", "PS", "QT", "TI"]
SEQEVAL = {
    "micro": 0.3636363636363636,
    "macro": 0.2333333333333333,
    "character": 0.4773971126912303,
    "types": {"DT": 0.0, "LC": 0.6666666666666666, "OG": 0.0, "PS": 0.5, "TI": 0.0},
}


def test_scores_are_those_of_seqeval_and_of_klue():
    found = score(TRUTH, PREDICTED, label_list(TYPES))
    assert found["entity_f1"] == pytest.approx(SEQEVAL["micro"])
    assert found["entity_macro_f1"] == pytest.approx(SEQEVAL["macro"])
    assert found["character_macro_f1"] == pytest.approx(SEQEVAL["character"])
    assert {kind: scores["f1"] for kind, scores in found["types"].items()} == pytest.approx(SEQEVAL["types"])
    assert found["types"]["PS"] == {"precision": 0.5, "recall": 0.5, "f1": 0.5, "support": 2}
    assert (found["precision"], found["recall"]) == (pytest.approx(2 / 6), pytest.approx(2 / 5))


def test_other_numbers_of_texts_or_characters_cannot_be_scored():
    with pytest.raises(ValueError, match="shorter"):
        score(TRUTH, PREDICTED[:3], label_list(TYPES))


def test_nothing_predicted_and_nothing_to_find_is_zero_and_divides_by_nothing():
    nothing = [one._replace(entities=()) for one in TRUTH]
    found = score(TRUTH, nothing, label_list(TYPES))
    assert (found["entity_f1"], found["precision"], found["recall"]) == (0, 0, 0)
    found = score(nothing, TRUTH, label_list(TYPES))
    assert (found["entity_f1"], found["precision"], found["recall"]) == (0, 0, 0)
    assert score(nothing, nothing, label_list(TYPES))["entity_macro_f1"] == 0
    assert score(TRUTH, TRUTH, label_list(TYPES))["entity_f1"] == 1
