"""Labels of data and of a model, matched by how they look."""

import unicodedata

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from kobert_tf2.errors import InputError
from kobert_tf2.labelling import labels


@pytest.mark.parametrize(
    ("of_data", "of_model", "chosen"),
    [
        (["a", "b"], None, ["a", "b"]),
        (["a", "b"], ["b", "a"], ["b", "a"]),
        (["a"], ["b", "a"], ["b", "a"]),
        (["a", "c"], ["b", "a"], ["a", "c"]),
        (["0", "1"], ["LABEL_0", "LABEL_1", "LABEL_2"], ["LABEL_0", "LABEL_1", "LABEL_2"]),
        (["0", "3"], ["LABEL_0", "LABEL_1", "LABEL_2"], ["0", "3"]),
        (["0", "1"], ["LABEL_1", "LABEL_0"], ["0", "1"]),
        (["긍정"], ["\u1100\u1173\u11bc\u110c\u1165\u11bc"], ["\u1100\u1173\u11bc\u110c\u1165\u11bc"]),
    ],
)
def test_labels_are_chosen_by_name(of_data, of_model, chosen):
    assert labels.choose(of_data, of_model) == chosen


@settings(deadline=None)
@given(st.lists(st.text("긍정부가나ab12", min_size=1, max_size=3), min_size=1, max_size=6, unique=True), st.data())
def test_a_model_keeps_its_order_if_and_only_if_it_knows_all(of_model, data):
    of_data = data.draw(st.lists(st.sampled_from(of_model), min_size=1, unique=True))
    assert labels.choose(of_data, of_model) == of_model
    assert labels.choose([unicodedata.normalize("NFD", name) for name in of_data], of_model) == of_model
    assert labels.choose([*of_data, "없는 이름"], of_model) == [*of_data, "없는 이름"]


def test_placeholders_are_known_by_their_numbers_too():
    assert labels.are_placeholders(["LABEL_0", "LABEL_1"])
    assert not labels.are_placeholders(["LABEL_1", "LABEL_0"])
    assert labels.places(["LABEL_0", "LABEL_1"]) == {"LABEL_0": 0, "LABEL_1": 1, "0": 0, "1": 1}
    assert labels.places(["부정", "긍정"]) == {"부정": 0, "긍정": 1}


def test_labels_that_look_the_same_are_refused():
    with pytest.raises(InputError, match="look the same; name one"):
        labels.places(["긍정", unicodedata.normalize("NFD", "긍정")])
