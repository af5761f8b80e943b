"""Converts examples of sentences and pairs to features of fixed length. This module neither trains nor scores.

`sentence_files.py` reads the files; `Example` and `read_tsv` are re-exported here.
"""

import re
from collections.abc import Iterable, Sequence

import numpy as np

from kobert_tf2.errors import InputError
from kobert_tf2.labelling import labels as label_names
from kobert_tf2.labelling import problems
from kobert_tf2.labelling.sentence_files import Example, SentenceFile, read_tsv
from kobert_tf2.tokenization.normalization import comparable
from kobert_tf2.tokenization.tokenizer import Tokenizer

__all__ = ["Example", "encode", "label_ids", "label_list", "length", "make_features", "pad", "read_tsv", "targets"]


def label_list(examples: Iterable[Example]) -> list[str]:
    """The labels that occur, sorted; numerically if all are whole numbers, so that "10" does not come before "2"."""
    labels = {comparable(label) for example in examples for label in _labels_of(example)}
    if all(re.fullmatch(r"-?\d+", label) for label in labels):
        return sorted(labels, key=int)
    return sorted(labels)


def _labels_of(example: Example) -> tuple[str, ...]:
    """The names of an example's labels; none if the label is a number."""
    if isinstance(example.label, tuple):
        return example.label
    return (example.label,) if isinstance(example.label, str) else ()


def encode(
    examples: Sequence[Example], tokenizer: Tokenizer, *, num_workers: int = 1
) -> list[tuple[list[int], list[int]]]:
    """The token ids of each example's first and second sentence, without special tokens and not truncated."""
    first = tokenizer.encode_ids_batch([example.text for example in examples], num_workers=num_workers)
    if all(example.pair is None for example in examples):
        return [(list(ids), []) for ids in first]
    second = tokenizer.encode_ids_batch([example.pair or "" for example in examples], num_workers=num_workers)
    return [(list(a), list(b)) for a, b in zip(first, second, strict=True)]


def length(ids: tuple[list[int], list[int]]) -> int:
    """The number of positions that a pair from `encode` needs: [CLS] a [SEP], and b [SEP] if there is a b."""
    first, second = ids
    return len(first) + 2 + (len(second) + 1 if second else 0)


def make_features(
    examples: Sequence[Example],
    tokenizer: Tokenizer,
    *,
    max_seq_length: int,
    labels: Sequence[str] | None = None,
    num_workers: int = 1,
) -> dict[str, np.ndarray]:
    """Converts examples to the model's inputs, in the layout of the original run_classifier: [CLS] a [SEP] b [SEP].

    Returns:
        `input_ids input_mask segment_ids` int32 [examples, max_seq_length] and, if every example has a label, `labels`
        int32 [examples], the index of each label in `labels` (by default in `label_list(examples)`).

    Raises:
        InputError: a label is not in `labels`, or `max_seq_length` leaves no room for text.
    """
    arrays = pad(encode(examples, tokenizer, num_workers=num_workers), tokenizer, max_seq_length=max_seq_length)
    if all(example.label is not None for example in examples):
        arrays["labels"] = label_ids(examples, label_list(examples) if labels is None else labels)
    return arrays


def label_ids(examples: Sequence[Example], labels: Sequence[str]) -> np.ndarray:
    """int32 [examples]: the index of each example's label in `labels`, as found by `label_names.places`."""
    place = label_names.places(labels)
    return np.array([_place(place, example.label, labels, f"example {example.id}") for example in examples], np.int32)


def _place(place: dict[str, int], label: object, labels: Sequence[str], where: str) -> int:
    name = str(label if label is not None else "")
    if comparable(name) not in place:
        raise InputError(f"{where}: the label {name!r} is not one of {', '.join(labels)}")
    return place[comparable(name)]


def targets(file: SentenceFile, labels: Sequence[str]) -> np.ndarray:
    """The training targets: int32 [examples], label indices; float32 [examples, labels], 1 for each label that an
    example has; or float32 [examples], the numbers of a regression.

    A label that is not in `labels` raises `InputError` with the file and the line.
    """
    if file.problem_type == problems.REGRESSION:
        return np.array([example.label for example in file.examples], np.float32)
    place, size = label_names.places(labels), (len(file.examples), len(labels))
    several = np.zeros(size, np.float32)
    for row, line, example in zip(several, file.lines, file.examples, strict=True):
        where = f"{file.path}, line {line}"
        row[[_place(place, label, labels, where) for label in _labels_of(example)]] = 1
    return several if file.problem_type == problems.MULTI_LABEL else several.argmax(axis=1).astype(np.int32)


def pad(
    encoded: Sequence[tuple[list[int], list[int]]], tokenizer: Tokenizer, *, max_seq_length: int
) -> dict[str, np.ndarray]:
    """Lays out the ids from `encode` in rows of equal length, truncating or padding as needed."""
    if max_seq_length < 4:
        raise InputError(f"max_seq_length: expected at least 4, for [CLS] a [SEP] b, but got {max_seq_length}")
    shape = (len(encoded), max_seq_length)
    input_ids = np.full(shape, tokenizer.pad_id, np.int32)
    input_mask, segment_ids = np.zeros(shape, np.int32), np.zeros(shape, np.int32)
    for row, (first, second) in enumerate(encoded):
        first, second = truncate_pair(first, second, max_seq_length - (3 if second else 2))
        ids = [tokenizer.cls_id, *first, tokenizer.sep_id, *(second and [*second, tokenizer.sep_id])]
        input_ids[row, : len(ids)] = ids
        input_mask[row, : len(ids)] = 1
        segment_ids[row, len(first) + 2 : len(ids)] = 1
    return {"input_ids": input_ids, "input_mask": input_mask, "segment_ids": segment_ids}


def truncate_pair(first: list[int], second: list[int], room: int) -> tuple[list[int], list[int]]:
    """Truncates the longer of the two at its end, token by token, until both fit: the original's heuristic in one step.

    >>> truncate_pair([1, 2, 3, 4, 5], [6, 7], 5)
    ([1, 2, 3], [6, 7])
    """
    surplus = len(first) + len(second) - room
    if surplus <= 0:
        return first, second
    # The original removes a token from the second if both are equally long.
    keep_first = max(room - len(second), -(-room // 2)) if len(first) > room // 2 else len(first)
    keep_first = min(keep_first, len(first), room)
    return first[:keep_first], second[: room - keep_first]
