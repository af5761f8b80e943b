"""Windows for training and prediction: made once and kept in a file, batched by length.

The file of windows is named by a hash of all that decides them (the file of questions, the tokenizer's fingerprint, the
lengths), and says it again inside, so a stale one cannot be taken for a fresh one. Only tokens are stored, no padding.

Batches have one of a handful of widths, so that a compiled model meets a handful of shapes and little padding.
"""

import hashlib
import json
import zipfile
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from kobert_tf2 import files
from kobert_tf2.errors import InputError
from kobert_tf2.reading import windows as mrc

# Raised whenever the same settings would give other windows than before.
_FORMAT = 1
_RAGGED = ("input_ids", "segment_ids", "token_start", "token_end", "max_context")
_PER_WINDOW = ("question_index", "start_positions", "end_positions")


# ---------------------------------------------------------------------------------------------------------------------
# Kept windows
# ---------------------------------------------------------------------------------------------------------------------


def windows_of_file(
    path: str, questions: Sequence[mrc.Question], tokenizer, *, cache_dir: str | None, **settings
) -> mrc.Windows:
    """`windows.make_windows` of the questions of a file, kept under `cache_dir` and found there the next time.

    Args:
      path: where the questions were read; the file's hash is part of the key, and so is which of them are taken.
      settings: keyword arguments of `make_windows`; `num_workers` and `progress` do not change what comes out.
    """
    decisive = {name: value for name, value in settings.items() if name not in ("num_workers", "progress")}
    key = {
        "format": _FORMAT,
        "file": files.sha256(path),
        "questions": hashlib.sha256("\n".join(question.id for question in questions).encode()).hexdigest(),
        "tokenizer": tokenizer.fingerprint(),
        **decisive,
    }
    text = json.dumps(key, sort_keys=True)
    kept = f"{cache_dir}/windows-{hashlib.sha256(text.encode()).hexdigest()[:20]}.npz" if cache_dir else None
    if kept and files.exists(kept):
        windows = _load(kept, text, settings["max_seq_length"], tokenizer.pad_id)
        if windows is not None:
            return windows
    windows = mrc.make_windows(questions, tokenizer, **settings)
    if kept:
        _save(kept, text, windows)
    return windows


def _save(path: str, key: str, windows: mrc.Windows) -> None:
    real = windows.input_mask.astype(bool)
    arrays = {name: getattr(windows, name)[real] for name in _RAGGED}
    arrays |= {name: getattr(windows, name) for name in _PER_WINDOW if getattr(windows, name) is not None}
    with files.whole_file(path, "wb") as file:
        np.savez(file, key=np.array(key), lengths=windows.lengths.astype(np.int32), **arrays)


def _load(path: str, key: str, width: int, pad_id: int) -> mrc.Windows | None:
    """The windows of a kept file; None where it is damaged or of another key, and is to be written again."""
    try:
        with files.open_binary(path) as file, np.load(file, allow_pickle=False) as kept:
            if str(kept["key"]) != key:
                return None
            arrays = {name: kept[name] for name in kept.files}
    except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile):
        return None
    mask = np.arange(width) < arrays["lengths"][:, None]
    padding = {"input_ids": pad_id, "token_start": -1, "token_end": -1}
    ragged = {}
    for name in _RAGGED:
        ragged[name] = np.full(mask.shape, padding.get(name, 0), arrays[name].dtype)
        ragged[name][mask] = arrays[name]
    per_window = {name: arrays[name] for name in _PER_WINDOW if name in arrays}
    return mrc.Windows(input_mask=mask.astype(np.int32), **ragged, **per_window)


# ---------------------------------------------------------------------------------------------------------------------
# Which windows to train on
# ---------------------------------------------------------------------------------------------------------------------


class LeftOut(NamedTuple):
    id: str
    kind: str
    detail: str


def trainable(questions: Sequence[mrc.Question], *, with_negative: bool) -> tuple[list[mrc.Question], list[LeftOut]]:
    """The questions to train on, and those left out with the reason."""
    kept, left_out = [], []
    for question in questions:
        if any(answer.start >= 0 for answer in question.answers) or (question.is_impossible and with_negative):
            kept.append(question)
        elif question.is_impossible:
            left_out.append(LeftOut(question.id, "impossible", "has no answer, and version_2_with_negative is off"))
        elif question.answers:
            left_out.append(LeftOut(question.id, "answer_missing", "no answer of it is in its context"))
        else:
            left_out.append(LeftOut(question.id, "no_answer", "the file gives no answer"))
    return kept, left_out


def choose_windows(windows: mrc.Windows, questions: Sequence[mrc.Question], how: str, seed: int) -> mrc.Windows:
    """Keeps, drops or samples the windows that lack the answer that their question has.

    `sample` keeps as many of them as there are windows with an answer, at most. Those of a question that has no answer
    stay: what they teach is that there is none.
    """
    impossible = np.array([question.is_impossible for question in questions], bool)[windows.question_index]
    lacks = (windows.start_positions == 0) & ~impossible
    if how == "keep":
        return windows
    chosen = np.zeros(len(windows), bool)
    if how == "sample":
        candidates = np.flatnonzero(lacks)
        count = min(len(candidates), int((~lacks).sum()))
        chosen[np.random.default_rng(seed).choice(candidates, count, replace=False)] = True
    return windows.select(np.flatnonzero(~lacks | chosen))


def without_answer(windows: mrc.Windows, questions: Sequence[mrc.Question]) -> list[LeftOut]:
    """Questions that have an answer, but no window that holds all of it."""
    reached = set(windows.question_index[windows.start_positions > 0].tolist())
    return [
        LeftOut(question.id, "in_no_window", "its answer is longer than a window, or touches no token")
        for index, question in enumerate(questions)
        if index not in reached and not question.is_impossible
    ]


# ---------------------------------------------------------------------------------------------------------------------
# Batches by length
# ---------------------------------------------------------------------------------------------------------------------


def bucket_widths(
    lengths: np.ndarray, *, buckets: int = 6, multiple: int = 16, longest: int | None = None
) -> list[int]:
    """The `buckets` widths, at most, that pad rows of these lengths the least; each a multiple of `multiple`.

    Widths are chosen by dynamic programming over all multiples up to the longest row. The last one is at most
    `longest`, the width of the arrays that the rows are cut from.
    """
    steps = -(-np.asarray(lengths) // multiple)
    top = int(steps.max())
    below = np.concatenate([[0], np.cumsum(np.bincount(steps, minlength=top + 1)[1:])])
    cost = np.where(np.arange(top + 1) == 0, 0.0, np.inf)
    choices = []
    for _ in range(min(buckets, top)):
        # cost of all rows up to `end` if the last bucket holds those longer than `begin`
        table = cost[:, None] + (below[None, :] - below[:, None]) * np.arange(top + 1)[None, :]
        table[np.tril_indices(top + 1, -1)] = np.inf
        choices.append(table.argmin(axis=0))
        cost = table.min(axis=0)
    widths, end = set(), top
    for choice in reversed(choices):
        if end:
            widths.add(end * multiple)
            end = int(choice[end])
    return sorted(min(width, longest or width) for width in widths)


class Batch(NamedTuple):
    """Rows of the windows, -1 for a row that only fills the batch up, and the width that they are cut to."""

    rows: np.ndarray
    width: int


def epoch_batches(lengths: np.ndarray, widths: Sequence[int], batch_size: int, rng: np.random.Generator) -> list[Batch]:
    """All rows once in random order, in batches of one size; rows that share a batch have the same width.

    What is left over of each width is put together at the end, and only the last of these batches is filled up.
    """
    bucket = np.searchsorted(widths, lengths)
    order = rng.permutation(len(lengths))
    batches, left = [], []
    for number, width in enumerate(widths):
        rows = order[bucket[order] == number]
        whole = len(rows) - len(rows) % batch_size
        batches += [Batch(part, width) for part in rows[:whole].reshape(-1, batch_size)]
        left.append(rows[whole:])
    rest = np.concatenate(left)
    for begin in range(0, len(rest), batch_size):
        part = rest[begin : begin + batch_size]
        filled = np.pad(part, (0, batch_size - len(part)), constant_values=-1)
        batches.append(Batch(filled, widths[int(bucket[part].max())]))
    return [batches[place] for place in rng.permutation(len(batches))]


def prediction_batches(lengths: np.ndarray, widths: Sequence[int], batch_size: int) -> list[Batch]:
    """All rows once, the shortest first, so that each batch is as narrow as can be; the last of a width is short."""
    bucket = np.searchsorted(widths, lengths)
    batches = []
    for number, width in enumerate(widths):
        rows = np.flatnonzero(bucket == number)
        batches += [Batch(rows[begin : begin + batch_size], width) for begin in range(0, len(rows), batch_size)]
    return batches


def padding_share(batches: Sequence[Batch], lengths: np.ndarray) -> float:
    """How much of what the model reads is padding, from 0 to 1."""
    tokens = sum(int(lengths[batch.rows[batch.rows >= 0]].sum()) for batch in batches)
    return 1 - tokens / sum(len(batch.rows) * batch.width for batch in batches)


def check_choice(name: str, value: str, choices: Sequence[str]) -> None:
    if value not in choices:
        raise InputError(f"expected --{name} to be one of {', '.join(choices)}, but got {value!r}")
