"""A disk cache for the windows of a file of questions.

A cache file is named by a hash of everything that determines the windows (the file of questions, the tokenizer's
fingerprint, the lengths). It also stores that key, so a stale file cannot be mistaken for a fresh one. Padding is not
stored.
"""

import hashlib
import json
import zipfile
import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from kobert_tf2 import files
from kobert_tf2.reading import windows as reading_windows
from kobert_tf2.reading.squad_files import Question
from kobert_tf2.reading.windows import Windows
from kobert_tf2.tokenization.tokenizer import Tokenizer

# Increment this when the same settings would give different windows than before.
_FORMAT = 1
_RAGGED = ("input_ids", "segment_ids", "token_start", "token_end", "max_context")
_PER_WINDOW = ("question_index", "start_positions", "end_positions")


def windows_of_file(
    path: str, questions: Sequence[Question], tokenizer: Tokenizer, *, cache_dir: str | None, **settings: Any
) -> Windows:
    """`windows.make_windows` for the questions of a file, cached in `cache_dir`.

    Args:
      path: the file that the questions were read from; the key includes its hash and the ids of the questions.
      settings: keyword arguments of `make_windows`; `num_workers` and `progress` do not affect the result or the key.
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
    windows = reading_windows.make_windows(questions, tokenizer, **settings)
    if kept:
        _save(kept, text, windows)
    return windows


def _save(path: str, key: str, windows: Windows) -> None:
    real = windows.input_mask.astype(bool)
    arrays = {name: getattr(windows, name)[real] for name in _RAGGED}
    arrays |= {name: getattr(windows, name) for name in _PER_WINDOW if getattr(windows, name) is not None}
    with files.whole_file(path, "wb") as file:
        np.savez(file, key=np.array(key), lengths=windows.lengths.astype(np.int32), **arrays)


def _load(path: str, key: str, width: int, pad_id: int) -> Windows | None:
    """The windows of a cache file; None if it is damaged or has another key, so that it is written again."""
    try:
        with files.open_binary(path) as file, np.load(file, allow_pickle=False) as kept:
            if str(kept["key"]) != key:
                return None
            arrays = {name: kept[name] for name in kept.files}
    except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError):
        return None
    mask = np.arange(width) < arrays["lengths"][:, None]
    padding = {"input_ids": pad_id, "token_start": -1, "token_end": -1}
    ragged = {}
    for name in _RAGGED:
        ragged[name] = np.full(mask.shape, padding.get(name, 0), arrays[name].dtype)
        ragged[name][mask] = arrays[name]
    per_window = {name: arrays[name] for name in _PER_WINDOW if name in arrays}
    return Windows(input_mask=mask.astype(np.int32), **ragged, **per_window)
