"""Matches the labels of data by name to those of a model that already has some."""

from collections.abc import Sequence

from kobert_tf2.errors import InputError
from kobert_tf2.tokenization.normalization import comparable


def are_placeholders(names: Sequence[str]) -> bool:
    """Whether a model's labels have only the default names of `transformers`: LABEL_0, LABEL_1 ..."""
    return all(name == f"LABEL_{place}" for place, name in enumerate(names))


def places(names: Sequence[str]) -> dict[str, int]:
    """{label as normalized by `comparable`: its index}. If the labels have no names, their numbers are keys too."""
    place: dict[str, int] = {}
    for index, name in enumerate(names):
        if place.setdefault(comparable(name), index) != index:
            raise InputError(f"the labels {names[place[comparable(name)]]!r} and {name!r} look the same; name one")
    return place | {str(index): index for index in range(len(names))} if are_placeholders(names) else place


def choose(of_data: Sequence[str], of_model: Sequence[str] | None) -> list[str]:
    """The labels to train on: the model's, in its order, if they include all of the data's; otherwise the data's.

    >>> choose(["negative", "positive"], ["positive", "negative"])
    ['positive', 'negative']
    >>> choose(["negative", "neutral"], ["positive", "negative"])
    ['negative', 'neutral']
    """
    if of_model is None:
        return list(of_data)
    known = places(of_model)
    return list(of_model if all(comparable(label) in known for label in of_data) else of_data)
