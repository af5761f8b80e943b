"""Labelled sentences: a TSV with a header to features of fixed length.

The file has a header that names its columns: `document` and `label`, as NSMC has them, and, where there are such, `id`
and `document2` (the second sentence of a pair). There is no quoting: a quotation mark is a character of the text, and a
line is cut at its tabs. Names of columns, labels and ids are the same where they look the same: they are composed (NFC)
and lose zero-width characters. Nothing here trains or scores.
"""

import re
import sys
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from kobert_tf2 import files
from kobert_tf2.errors import InputError
from kobert_tf2.labelling import labels as label_names
from kobert_tf2.tokenization.normalization import comparable, is_blank
from kobert_tf2.tokenization.tokenizer import Tokenizer

COLUMNS = ("id", "document", "document2", "label")


class Example(NamedTuple):
    """One line of the file. `id` is its column, or the line's number; `pair` and `label` are None where not given."""

    id: str
    text: str
    pair: str | None
    label: str | None


def read_tsv(path: str, *, labelled: bool = True) -> list[Example]:
    """Reads a TSV whose header has `document` and `label` (and perhaps `id`, `document2`), in any order, among others.

    An empty document is kept: it is a sentence of no tokens. Without `labelled` the column `label` need not be there.
    Blank lines are passed over, except where `document` is the only column: there they are empty documents. Labels that
    are not in NFC or have zero-width characters are read without, and their number is said on standard error.

    Raises:
        InputError: no header, or a column missing; lines that are not UTF-8, with another number of columns than the
            header or with an empty label: all are counted, the first ten listed.
    """
    bad_lines = files.BadLines(path)
    lines = enumerate(files.read_lines(path, bad_lines), start=1)
    columns = _header(path, next(lines, (1, ""))[1], labelled=labelled)
    alone = len(columns) == 1
    examples, respelled = [], []
    for number, line in lines:
        if not alone and "\t" not in line and is_blank(line):
            continue
        row = dict(zip(columns, values := line.split("\t"), strict=False))
        label = comparable(row.get("label", "")) or None
        if len(values) != len(columns):
            bad_lines.add(number, f"expected {len(columns)} columns as in the header, but there are {len(values)}")
        elif labelled and label is None:
            bad_lines.add(number, "the label is empty")
        else:
            respelled += [number] if label and label != row["label"].strip() else []
            name = comparable(row.get("id", "")) or str(number)
            examples.append(Example(name, row["document"], row.get("document2"), label))
    bad_lines.raise_if_any()
    if not examples:
        raise InputError(f"{path}: expected lines below the header, but there is none")
    if respelled:
        print(
            f"{path}: {len(respelled):,} labels were not in NFC or had zero-width characters or other white space, and "
            f"were read without (the first in line {respelled[0]})",
            file=sys.stderr,
        )
    return examples


def _header(path: str, line: str, *, labelled: bool) -> list[str]:
    columns = [comparable(name).lower() for name in line.split("\t")]
    needed = ["document", "label"] if labelled else ["document"]
    missing = [name for name in needed if name not in columns]
    if missing:
        raise InputError(
            f"{path}, line 1: expected a header, tabs between its names, with {' and '.join(needed)}, "
            f"but {' and '.join(missing)} is missing in {line[:80]!r}"
        )
    repeated = sorted({name for name in columns if name in COLUMNS and columns.count(name) > 1})
    if repeated:
        raise InputError(f"{path}, line 1: the header names {repeated[0]!r} twice")
    return columns


def label_list(examples: Iterable[Example]) -> list[str]:
    """The labels that occur, sorted: as numbers where all are whole numbers, so that "10" does not come before "2"."""
    labels = {comparable(example.label) for example in examples if example.label is not None}
    if all(re.fullmatch(r"-?\d+", label) for label in labels):
        return sorted(labels, key=int)
    return sorted(labels)


def encode(
    examples: Sequence[Example], tokenizer: Tokenizer, *, num_workers: int = 1
) -> list[tuple[list[int], list[int]]]:
    """Each example's ids, first and second sentence, without special tokens and uncut."""
    first = tokenizer.encode_ids_batch([example.text for example in examples], num_workers=num_workers)
    if all(example.pair is None for example in examples):
        return [(list(ids), []) for ids in first]
    second = tokenizer.encode_ids_batch([example.pair or "" for example in examples], num_workers=num_workers)
    return [(list(a), list(b)) for a, b in zip(first, second, strict=True)]


def length(ids: tuple[list[int], list[int]]) -> int:
    """How many positions a pair of `encode` needs: [CLS] a [SEP], and b [SEP] where there is a b."""
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
    """Examples to the model's inputs, as the original run_classifier lays them out: [CLS] a [SEP] b [SEP].

    Returns:
        `input_ids input_mask segment_ids` int32 [examples, max_seq_length] and, where every example has a label,
        `labels` int32 [examples], each the place of its label in `labels` (by default in `label_list(examples)`).

    Raises:
        InputError: a label that is not in `labels`; a `max_seq_length` without room for text.
    """
    arrays = pad(encode(examples, tokenizer, num_workers=num_workers), tokenizer, max_seq_length=max_seq_length)
    if all(example.label is not None for example in examples):
        arrays["labels"] = label_ids(examples, label_list(examples) if labels is None else labels)
    return arrays


def label_ids(examples: Sequence[Example], labels: Sequence[str]) -> np.ndarray:
    """int32 [examples]: the place of each example's label in `labels`, as `label_names.places` finds it."""
    place = label_names.places(labels)
    for example in examples:
        if comparable(example.label or "") not in place:
            raise InputError(f"example {example.id}: the label {example.label!r} is not one of {', '.join(labels)}")
    return np.array([place[comparable(example.label or "")] for example in examples], np.int32)


def pad(
    encoded: Sequence[tuple[list[int], list[int]]], tokenizer: Tokenizer, *, max_seq_length: int
) -> dict[str, np.ndarray]:
    """Lays ids of `encode` out in rows of one length: cut where too long, padded where too short."""
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
    """Cuts the longer of the two from its end, token by token, until both fit: the original's heuristic in one step.

    >>> truncate_pair([1, 2, 3, 4, 5], [6, 7], 5)
    ([1, 2, 3], [6, 7])
    """
    surplus = len(first) + len(second) - room
    if surplus <= 0:
        return first, second
    # The original takes a token off the second where both are equally long.
    keep_first = max(room - len(second), -(-room // 2)) if len(first) > room // 2 else len(first)
    keep_first = min(keep_first, len(first), room)
    return first[:keep_first], second[: room - keep_first]
