"""The labels of a classifier in `config.json`: a name for each row of the head, and the problem type.

    "id2label": {"0": "negative", "1": "positive"}, "label2id": {...}, "problem_type": "single_label_classification"

Row 0 of the head is `id2label["0"]`, whatever the order of names elsewhere.
"""

import re
from collections.abc import Sequence
from typing import NamedTuple

from kobert_tf2 import arguments
from kobert_tf2.errors import InputError

SINGLE_LABEL, MULTI_LABEL, REGRESSION = "single_label_classification", "multi_label_classification", "regression"
PROBLEM_TYPES = (SINGLE_LABEL, MULTI_LABEL, REGRESSION)


class Labels(NamedTuple):
    """The names in the order of the head's rows. `problem_type` is None if not given; `kind` is then the default."""

    names: tuple[str, ...]
    problem_type: str | None = None

    @property
    def kind(self) -> str:
        """The problem type, one of `PROBLEM_TYPES`. If none is given, a head with one row is a regression and a head
        with several rows a single-label classification, as in `transformers`.
        """
        return self.problem_type or (REGRESSION if len(self.names) == 1 else SINGLE_LABEL)

    def to_config(self) -> dict:
        """The entries of `config.json`."""
        kind = {"problem_type": self.problem_type} if self.problem_type else {}
        return {
            "id2label": {str(place): name for place, name in enumerate(self.names)},
            "label2id": {name: place for place, name in enumerate(self.names)},
            **kind,
        }


_MOST_LABELS = 10_000_000


def placeholders(count: int) -> tuple[str, ...]:
    """The default names of labels in `transformers`."""
    return tuple(f"LABEL_{place}" for place in range(count))


def make(count: int | None, names: Sequence[str] | None, problem_type: str | None) -> Labels:
    """The labels of a new model: `names`, otherwise `count` placeholders, two by default.

    Raises:
        InputError: names that are not strings or not distinct, a number of names other than `count`, or a problem type
        not in `PROBLEM_TYPES`.
    """
    _check_problem_type(problem_type, "problem_type")
    count = None if count is None else arguments.whole("num_labels", count, 1, _MOST_LABELS)
    if names is None:
        return Labels(placeholders(2 if count is None else count), problem_type)
    if isinstance(names, str) or not all(isinstance(name, str) for name in names):
        raise InputError(f"labels: expected a list of names. Received: {names!r}")
    _check_distinct(names, "labels")
    if count not in (None, len(names)):
        raise InputError(f"num_labels is {count}, but labels names {len(names)}: {_listed(names)}")
    return Labels(tuple(names), problem_type)


def read(values: dict, path: str, count: int) -> Labels:
    """The labels in `values`, the contents of `path`, of a head with `count` rows; placeholders if there are no names.

    Raises:
        InputError: names that do not match `count` rows (gaps, keys that are not numbers, a duplicate name, a wrong
        number of names), or an unknown problem type.
    """
    problem_type = values.get("problem_type")
    _check_problem_type(problem_type, f"{path}: problem_type")
    names = _names(values, path)
    if names is None:
        return Labels(placeholders(count), problem_type)
    if len(names) != count:
        raise InputError(
            f"{path}: id2label names {len(names)} label{'s' if len(names) > 1 else ''} ({_listed(names)}), but the "
            f"classification head has {count}"
        )
    return Labels(names, problem_type)


def _names(values: dict, path: str) -> tuple[str, ...] | None:
    """The names in `id2label`, or in `label2id` if there is only that."""
    by_id, by_name = values.get("id2label"), values.get("label2id")
    if by_name is not None and not isinstance(by_name, dict):
        raise InputError(f"{path}: label2id: expected an object, but found {by_name!r:.60}")
    if by_id is None and by_name is not None:
        by_id = {str(place): name for name, place in by_name.items()}
        if len(by_id) < len(by_name):
            raise InputError(f"{path}: label2id: expected an id for each label, but one id has several: {by_name}")
    if by_id is None:
        return None
    if not isinstance(by_id, dict):
        raise InputError(f"{path}: id2label: expected an object of ids and names, but found {by_id!r:.60}")
    named = _by_place(by_id, path)
    names = tuple(named[place] for place in sorted(named))
    _check_distinct(names, f"{path}: id2label")
    _check_same(named, by_name or {}, path)
    return names


def _by_place(by_id: dict, path: str) -> dict[int, str]:
    """{row: name}, for every row from 0."""
    named = {}
    for key, name in by_id.items():
        if not re.fullmatch("[0-9]+", str(key)):
            raise InputError(f"{path}: id2label: expected whole numbers as keys, but found {key!r}")
        if isinstance(name, bool) or not isinstance(name, str | int):
            raise InputError(f"{path}: id2label: expected a name for {key}, but found {name!r:.60}")
        if int(key) in named:
            raise InputError(f"{path}: id2label: expected each id once, but {int(key)} is there twice")
        named[int(key)] = str(name)
    hole = next((place for place in range(len(named)) if place not in named), None)
    if hole is not None:
        raise InputError(
            f"{path}: id2label: expected the ids 0 to {len(named) - 1} for {len(named)} labels, but {hole} is missing"
        )
    if not named:
        raise InputError(f"{path}: id2label: expected at least one label, but it is empty")
    return named


def _check_same(named: dict[int, str], by_name: dict, path: str) -> None:
    """Checks `label2id`: it may have its default values, but must not assign a different row to a name."""
    for place, name in named.items():
        if by_name.get(name, place) not in (place, str(place)):
            raise InputError(f"{path}: id2label says that {name!r} is {place}, but label2id says {by_name[name]!r}")


def _check_distinct(names: Sequence[str], source: str) -> None:
    twice = next((name for name in names if list(names).count(name) > 1), None)
    if twice is not None:
        raise InputError(f"{source}: expected distinct names, but {twice!r} is there {list(names).count(twice)} times")


def _check_problem_type(problem_type: str | None, source: str) -> None:
    if problem_type is not None and problem_type not in PROBLEM_TYPES:
        raise InputError(f"{source}: expected one of {', '.join(PROBLEM_TYPES)}. Received: {problem_type!r}")


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:6]) + (" ..." if len(names) > 6 else "")
