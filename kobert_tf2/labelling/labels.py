"""The labels of data and those of a model that knows some already, matched by name."""

from collections.abc import Sequence

from kobert_tf2.errors import InputError
from kobert_tf2.tokenization.normalization import comparable


def are_placeholders(names: Sequence[str]) -> bool:
    """Whether a model's labels have no names but the ones that `transformers` makes up: LABEL_0, LABEL_1 ..."""
    return all(name == f"LABEL_{place}" for place, name in enumerate(names))


def places(names: Sequence[str]) -> dict[str, int]:
    """{label as `comparable` spells it: its place}. A model without names knows its labels by their numbers too."""
    place: dict[str, int] = {}
    for index, name in enumerate(names):
        if place.setdefault(comparable(name), index) != index:
            raise InputError(f"the labels {names[place[comparable(name)]]!r} and {name!r} look the same; name one")
    return place | {str(index): index for index in range(len(names))} if are_placeholders(names) else place


def choose(of_data: Sequence[str], of_model: Sequence[str] | None) -> list[str]:
    """The labels to train on: the model's, in its order, where it knows all of the data's; else the data's.

    >>> choose(["negative", "positive"], ["positive", "negative"])
    ['positive', 'negative']
    >>> choose(["negative", "neutral"], ["positive", "negative"])
    ['negative', 'neutral']
    """
    if of_model is None:
        return list(of_data)
    known = places(of_model)
    return list(of_model if all(comparable(label) in known for label in of_data) else of_data)
