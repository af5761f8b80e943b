"""Files of feature vectors: JSON lines in the original's format, NumPy's .npz, and TFRecords."""

import itertools
import json
import zipfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import IO, Any, NamedTuple

import numpy as np
import tensorflow as tf

from kobert_tf2 import files, outputs
from kobert_tf2.pretraining_data import tfrecord

FORMATS = ("jsonl", "npz", "tfrecord")
_DIGITS = 6


class Entry(NamedTuple):
    """The features of one input.

    `values` is float32 [tokens, layers, hidden], or [hidden] if there are no `tokens`; `attentions` is float32 [layers,
    heads, tokens, tokens] or None.
    """

    tokens: list[str] | None
    values: np.ndarray
    attentions: np.ndarray | None


def write(path: str, file_format: str, entries: Iterable[Entry], *, layers: Sequence[int]) -> None:
    """Writes a file of features atomically, with one entry in memory at a time."""
    writers: dict[str, Callable[[IO[bytes], Iterable[Entry], list[int]], None]] = {
        "jsonl": _write_jsonl,
        "npz": _write_npz,
        "tfrecord": _write_tfrecord,
    }
    with files.whole_file(path, "wb") as file:
        writers[file_format](file, entries, list(layers))


def check_output(path: str, *, overwrite: bool) -> None:
    """Raises `InputError` if features may not be written to `path`."""
    outputs.check_file(path, what="a file of features", is_ours=_is_ours, overwrite=overwrite)


def _is_ours(path: str) -> bool:
    """Recognises our files by their contents: JSON lines with "linex_index", a record with that feature, or an archive
    with our arrays.
    """
    with files.open_binary(path) as file:
        head = file.read(1 << 16)
    if head.startswith(b'{"linex_index"'):
        return True
    if head.startswith(b"PK"):
        with zipfile.ZipFile(path) as archive:
            return {"layers.npy", "inputs.npy"} <= set(archive.namelist())
    return b"linex_index" in head


# ----------------------------------------------------------------------------------------------------------------------
# JSON lines
# ----------------------------------------------------------------------------------------------------------------------


def _write_jsonl(file: IO[bytes], entries: Iterable[Entry], layers: list[int]) -> None:
    for number, entry in enumerate(entries):
        line: dict[str, Any] = {"linex_index": number}
        if entry.tokens is None:
            line["values"] = _rounded(entry.values)
        else:
            line["features"] = [
                {
                    "token": token,
                    "layers": [{"index": i, "values": _rounded(v)} for i, v in zip(layers, of_token, strict=True)],
                }
                for token, of_token in zip(entry.tokens, entry.values, strict=True)
            ]
        if entry.attentions is not None:
            line["attentions"] = _rounded(entry.attentions)
        file.write(json.dumps(line).encode("ascii") + b"\n")


def _rounded(values: np.ndarray) -> list:
    """Rounds like the original: Python's `round` in double precision."""
    if values.ndim > 1:
        return [_rounded(part) for part in values]
    return [round(value, _DIGITS) for value in values.tolist()]


# ----------------------------------------------------------------------------------------------------------------------
# .npz
# ----------------------------------------------------------------------------------------------------------------------


def _write_npz(file: IO[bytes], entries: Iterable[Entry], layers: list[int]) -> None:
    with zipfile.ZipFile(file, "w", allowZip64=True) as archive:
        _add_array(archive, "layers", np.array(layers, np.int64))
        entries = iter(entries)
        first = next(entries, None)
        everything = itertools.chain([] if first is None else [first], entries)
        if first is not None and first.tokens is None:
            vectors = np.stack([entry.values for entry in everything])
            _add_array(archive, "inputs", np.array(len(vectors)))
            _add_array(archive, "embeddings", vectors)
            return
        count = 0
        for count, entry in enumerate(everything, start=1):
            for name, array in _arrays(entry).items():
                _add_array(archive, f"{name}_{count - 1}", array)
        _add_array(archive, "inputs", np.array(count))


def _arrays(entry: Entry) -> dict[str, np.ndarray]:
    found = {"tokens": np.array(entry.tokens), "values": entry.values}
    return found if entry.attentions is None else {**found, "attentions": entry.attentions}


def _add_array(archive: zipfile.ZipFile, name: str, array: np.ndarray) -> None:
    # An explicit ZipInfo avoids timestamps in the archive, so that equal features give equal bytes.
    with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True) as member:
        np.lib.format.write_array(member, np.ascontiguousarray(array), allow_pickle=False)


# ----------------------------------------------------------------------------------------------------------------------
# TFRecords
# ----------------------------------------------------------------------------------------------------------------------


def _write_tfrecord(file: IO[bytes], entries: Iterable[Entry], layers: list[int]) -> None:
    for number, entry in enumerate(entries):
        for record in tfrecord.framed([_example(number, entry, layers).SerializeToString(deterministic=True)]):
            file.write(record)


def _example(number: int, entry: Entry, layers: list[int]) -> tf.train.Example:
    features = {"linex_index": _int64([number]), "values": _floats(entry.values), "shape": _int64(entry.values.shape)}
    if entry.tokens is not None:
        tokens = tf.train.BytesList(value=[token.encode("utf-8") for token in entry.tokens])
        features |= {"tokens": tf.train.Feature(bytes_list=tokens), "layers": _int64(layers)}
    if entry.attentions is not None:
        features |= {
            "attentions": _floats(entry.attentions),
            "attentions_shape": _int64(entry.attentions.shape),
        }
    return tf.train.Example(features=tf.train.Features(feature=features))


def _int64(values: Iterable[int]) -> tf.train.Feature:
    return tf.train.Feature(int64_list=tf.train.Int64List(value=list(values)))


def _floats(values: np.ndarray) -> tf.train.Feature:
    return tf.train.Feature(float_list=tf.train.FloatList(value=values.ravel()))


def read_jsonl(path: str) -> Iterator[dict]:
    """Yields the inputs of a file of JSON lines."""
    for number, line in enumerate(files.read_lines(path), start=1):
        yield files.parse_json(line, path, dict, first_line=number)
