"""TFRecord shards of `tf.train.Example`: written with NumPy only, read with `tf.data`.

A feature table is a dict from a feature's name to an array [rows, length]. All rows have the same lengths; integers
become an int64 list and floats a float list. This fixed layout makes writing fast: the protocol-buffer bytes of a
thousand rows are assembled as one byte matrix instead of building a Python object per number. The bytes are those of
`tf.train.Example.SerializeToString(deterministic=True)`, so any TensorFlow and the original run_pretraining.py can read
them.

Only `dataset` and `check` import TensorFlow: a process that writes data starts without it.

The side-car, a JSON file next to the shards, records their lengths, counts and origin. Its name is the shards' name
without their number: both `train.tfrecord-00000-of-00016` and `train.tfrecord` have `train.tfrecord.json`.
"""

import contextlib
import functools
import gzip
import os
import re
import struct
import zlib
from collections.abc import Callable, Iterable, Iterator
from typing import IO, Any, NamedTuple

import google_crc32c
import numpy as np

from kobert_tf2 import files
from kobert_tf2.errors import InputError
from kobert_tf2.pretraining_data import packing, record_check

_ROWS_AT_ONCE = 1024
_GZIP_MAGIC = b"\x1f\x8b"
_SHARD_NAME = re.compile(r"^(?P<name>.*)-\d{5}-of-\d{5}$")
_MAX_RECORD = 1 << 28


class Feature(NamedTuple):
    """The contents of one feature of a record: `length` numbers, `int32` or `float32` (int64 or float in the file)."""

    dtype: str
    length: int


def pretraining_features(
    *, max_seq_length: int, max_predictions_per_seq: int, packed: bool = False
) -> dict[str, Feature]:
    """The features that the original create_pretraining_data.py writes and run_pretraining.py reads; with `packed`,
    those of rows that hold several instances, see `packing`.
    """
    slots, more = 1, {}
    if packed:
        slots, max_predictions_per_seq = packing.slots(max_seq_length), packing.predictions(max_predictions_per_seq)
        more = {
            "sequence_ids": Feature("int32", max_seq_length),
            "position_ids": Feature("int32", max_seq_length),
            "next_sentence_positions": Feature("int32", slots),
            "next_sentence_weights": Feature("float32", slots),
        }
    return {
        "input_ids": Feature("int32", max_seq_length),
        "input_mask": Feature("int32", max_seq_length),
        "segment_ids": Feature("int32", max_seq_length),
        "masked_lm_positions": Feature("int32", max_predictions_per_seq),
        "masked_lm_ids": Feature("int32", max_predictions_per_seq),
        "masked_lm_weights": Feature("float32", max_predictions_per_seq),
        "next_sentence_labels": Feature("int32", slots),
        **more,
    }


# -------------------------------------------------------------------------------------------------------------- writing


def shard_names(name: str, count: int) -> list[str]:
    """[`name`] for one shard, otherwise name-00000-of-00016 and so on."""
    return [name] if count == 1 else [f"{name}-{index:05d}-of-{count:05d}" for index in range(count)]


def write(path: str, table: dict[str, np.ndarray], *, compression: str = "") -> None:
    """Writes a feature table as one TFRecord file, atomically. `compression` is "" or "GZIP"."""
    with files.whole_file(path, "wb") as file, compressed(file, compression) as stream:
        for record in framed(serialize(table)):
            stream.write(record)


@contextlib.contextmanager
def compressed(file: IO[bytes], compression: str) -> Iterator[IO[bytes] | gzip.GzipFile]:
    """The stream to write records to: `file` itself, or a GZIP stream without time and name, so that equal data give
    equal bytes.
    """
    if compression not in ("", "GZIP"):
        raise InputError(f'expected the compression "" or "GZIP", but got {compression!r}')
    if not compression:
        yield file
        return
    with gzip.GzipFile(filename="", mode="wb", fileobj=file, compresslevel=6, mtime=0) as stream:
        yield stream


def serialize(table: dict[str, np.ndarray]) -> list[bytes]:
    """One serialised `tf.train.Example` per row of a feature table {name: [rows, length]}."""
    arrays = {name: np.asarray(table[name]) for name in sorted(table)}
    _check_table(arrays)
    rows = len(next(iter(arrays.values())))
    examples: list[bytes] = []
    for start in range(0, rows, _ROWS_AT_ONCE):
        examples += _serialize_rows({name: array[start : start + _ROWS_AT_ONCE] for name, array in arrays.items()})
    return examples


def _check_table(arrays: dict[str, np.ndarray]) -> None:
    shapes = {name: array.shape for name, array in arrays.items()}
    if not shapes or any(len(shape) != 2 or not shape[1] for shape in shapes.values()):
        raise InputError(f"expected features of the shape [rows, length], but got {shapes}")
    if len({shape[0] for shape in shapes.values()}) > 1:
        raise InputError(f"expected as many rows in every feature, but got {shapes}")


class _Bytes(NamedTuple):
    """A part of each row's bytes: the bytes of `value`, uint8 [rows, width], where `kept` is true (None: all)."""

    value: np.ndarray
    kept: np.ndarray | None
    length: np.ndarray  # int64 [rows]


def _serialize_rows(arrays: dict[str, np.ndarray]) -> list[bytes]:
    """Example{1: Features{1: entry{1: name, 2: Feature{2: FloatList | 3: Int64List}}, ...}}, names in sorted order."""
    features: list[_Bytes] = []
    for name, array in arrays.items():
        tag, numbers = (0x12, _floats(array)) if array.dtype.kind == "f" else (0x1A, _varints(array))
        packed = _message(0x0A, [numbers])
        key = _message(0x0A, [_constant(name.encode(), rows=len(array))])
        features += _message(0x0A, [*key, *_message(0x12, _message(tag, packed))])
    return _split(_message(0x0A, features))


def _message(tag: int, parts: list[_Bytes]) -> list[_Bytes]:
    """A length-delimited protocol-buffer field: the tag, the length of the content, the content."""
    length: Any = sum(part.length for part in parts)
    return [_constant(bytes([tag]), rows=len(length)), _varints(length[:, None]), *parts]


def _constant(value: bytes, *, rows: int) -> _Bytes:
    array = np.broadcast_to(np.frombuffer(value, np.uint8), (rows, len(value)))
    return _Bytes(array, None, np.full(rows, len(value)))


def _floats(array: np.ndarray) -> _Bytes:
    value = np.ascontiguousarray(array, dtype="<f4").view(np.uint8)
    return _Bytes(value, None, np.full(len(array), value.shape[1]))


def _varints(array: np.ndarray) -> _Bytes:
    """Base-128 integers, low groups first; negative ones take ten bytes, as in any protocol buffer."""
    number = array.astype(np.int64).view(np.uint64)
    largest = int(number.max(initial=0))
    width = max(1, -(-largest.bit_length() // 7))
    if width == 1:
        return _Bytes(number.astype(np.uint8), None, np.full(len(array), array.shape[1]))
    number = number.astype(np.uint32) if width <= 4 else number
    groups = np.empty((*array.shape, width), np.uint8)
    kept = np.ones((*array.shape, width), bool)
    for index in range(width):
        rest = number >> number.dtype.type(7 * index)
        if index:
            kept[..., index] = rest != 0
        groups[..., index] = (rest & 0x7F) | ((rest >= 0x80).astype(np.uint8) << 7)
    length = kept.sum(axis=(1, 2))
    return _Bytes(groups.reshape(len(array), -1), kept.reshape(len(array), -1), length)


def _split(parts: list[_Bytes]) -> list[bytes]:
    """Concatenates the parts of each row and returns the rows."""
    rows, width = len(parts[0].length), sum(part.value.shape[1] for part in parts)
    value, kept = np.empty((rows, width), np.uint8), np.ones((rows, width), bool)
    start = 0
    for part in parts:
        end = start + part.value.shape[1]
        value[:, start:end] = part.value
        if part.kept is not None:
            kept[:, start:end] = part.kept
        start = end
    joined = value[kept].tobytes()
    ends = np.cumsum(sum(part.length for part in parts)).tolist()
    return [joined[start:end] for start, end in zip([0, *ends[:-1]], ends, strict=True)]


def framed(examples: list[bytes]) -> list[bytes]:
    """Each example as a TFRecord: length, masked CRC32C of the length, data, masked CRC32C of the data."""
    checksums = np.fromiter(map(google_crc32c.value, examples), np.uint32, len(examples))
    tails = _masked(checksums).astype("<u4").tobytes()
    return [_head(len(example)) + example + tails[4 * i : 4 * i + 4] for i, example in enumerate(examples)]


def _masked(checksum: int | np.ndarray) -> np.ndarray:
    """TFRecord stores a rotated checksum, for data that contains checksums (tensorflow/core/lib/hash/crc32c.h)."""
    checksum = np.asarray(checksum, np.uint64)
    rotated = (checksum >> np.uint64(15)) | (checksum << np.uint64(17) & np.uint64(0xFFFFFFFF))
    return ((rotated + np.uint64(0xA282EAD8)) & np.uint64(0xFFFFFFFF)).astype(np.uint32)


@functools.lru_cache(maxsize=4096)
def _head(length: int) -> bytes:
    packed = struct.pack("<Q", length)
    return packed + int(_masked(google_crc32c.value(packed))).to_bytes(4, "little")


# ------------------------------------------------------------------------------------------------------------- checking


def read_examples(path: str) -> Iterator[bytes]:
    """Yields the serialised examples of one TFRecord file, GZIP or not; raises `InputError` with the location of any
    damage.
    """
    with files.open_binary(path) as raw:
        stream: IO[bytes] | gzip.GzipFile = gzip.GzipFile(fileobj=raw) if _is_gzip(path) else raw
        number = 0
        try:
            while head := stream.read(12):
                number += 1
                yield _read_record(stream, head, f"{path}, record {number}")
        except (EOFError, zlib.error, OSError) as error:  # gzip.BadGzipFile is an OSError.
            if isinstance(error, OSError) and not isinstance(error, gzip.BadGzipFile):
                raise
            raise InputError(f"{path}, after record {number}: the GZIP stream is broken ({error})") from None


def _read_record(stream: IO[bytes] | gzip.GzipFile, head: bytes, place: str) -> bytes:
    if len(head) < 12:
        raise InputError(f"{place}: the file ends within a record (truncated?)")
    length = int.from_bytes(head[:8], "little")
    if head != _head(length) or length > _MAX_RECORD:
        raise InputError(f"{place}: its length field does not match its checksum (not a TFRecord file, or damaged)")
    body = stream.read(length + 4)
    if len(body) < length + 4:
        raise InputError(f"{place}: expected {length + 4} bytes more, but the file ends after {len(body)} (truncated?)")
    example = body[:length]
    if int(_masked(google_crc32c.value(example))).to_bytes(4, "little") != body[length:]:
        raise InputError(f"{place}: its data does not match its checksum (damaged)")
    return example


def _is_gzip(path: str) -> bool:
    with files.open_binary(path) as file:
        return file.read(2) == _GZIP_MAGIC


def check(
    patterns: str | Iterable[str],
    features: dict[str, Feature],
    *,
    first_only: bool = False,
    limits: record_check.Limits | None = None,
) -> None:
    """Reads all records (or each file's first); raises `InputError` for the first that does not have `features`.

    With `limits`, also for the first with invalid values; see `record_check`.
    """
    for path in files.match(patterns):
        example = None
        for number, example in enumerate(read_examples(path), start=1):
            _check_example(example, features, f"{path}, record {number}", limits)
            if first_only:
                break
        if example is None and not first_only:
            raise InputError(f"{path}: expected records, but the file is empty")


def _check_example(
    example: bytes, features: dict[str, Feature], place: str, limits: record_check.Limits | None = None
) -> None:
    import tensorflow as tf

    try:
        held = tf.train.Example.FromString(example).features.feature
    except Exception:
        raise InputError(f"{place}: expected a tf.train.Example, but its data is something else") from None
    for name, feature in features.items():
        if name not in held:
            raise InputError(f"{place}: expected the feature {name}, but it holds {sorted(held) or 'none'}")
        length = len(_numbers(held[name], feature).value)
        if length != feature.length:
            raise InputError(
                f"{place}: {name} has {length} numbers, but {feature.length} were asked for; the lengths given here "
                "must be those that the records were made with (max_seq_length, max_predictions_per_seq)"
            )

    if limits is not None and record_check.applies_to(features):
        kinds = {
            name: np.float32 if feature.dtype.startswith("float") else np.int64 for name, feature in features.items()
        }
        table = {name: np.array([_numbers(held[name], features[name]).value], kind) for name, kind in kinds.items()}
        if (found := record_check.find(table, limits)) is not None:
            raise InputError(f"{place}: {found[1]}")


def _numbers(held: Any, feature: Feature) -> Any:
    return held.float_list if feature.dtype.startswith("float") else held.int64_list


def check_sizes(patterns: str | Iterable[str]) -> None:
    """Checks each file's size against its side-car, if there is one; raises `InputError` if they differ.

    TensorFlow reports no error for a file truncated within the twelve bytes before a record; only its size reveals it.
    """
    sizes: dict[str, int] = {}
    for path in files.match(patterns):
        car = sidecar_path(path)
        if files.exists(car):
            shards = _read_one_sidecar(car).get("shards", ())
            sizes |= {f"{os.path.dirname(car)}/{shard['name']}": shard["bytes"] for shard in shards}
        expected = sizes.get(f"{os.path.dirname(path)}/{os.path.basename(path)}")
        came = _size(path) if expected is not None else None
        if came != expected:
            raise InputError(f"{path}: expected {expected} bytes, as {car} says, but it has {came} (truncated?)")


def _size(path: str) -> int:
    with files.open_binary(path) as file:
        file.seek(0, os.SEEK_END)
        return file.tell()


# -------------------------------------------------------------------------------------------------------------- reading


def dataset(
    patterns: str | Iterable[str],
    features: dict[str, Feature],
    *,
    batch_size: int,
    shuffle_buffer: int = 0,
    seed: int | None = None,
    repeat: bool = False,
    drop_remainder: bool = False,
    shard: tuple[int, int] = (0, 1),
    parallel_files: int = 8,
    limits: record_check.Limits | None = None,
) -> Any:
    """A `tf.data.Dataset` of batches {name: int32 or float32 [batch, length]} from TFRecord files.

    Args:
        patterns: comma-separated globs or a list of them; GZIP is detected per file.
        features: the features of each record; the first record of every file is checked immediately.
        batch_size: rows per batch. With `drop_remainder` (or `repeat`) the size is static, as a TPU requires.
        shuffle_buffer: 0 reads the files in order. Otherwise files are reshuffled each epoch, and records are shuffled
            within a window of this size; with a `seed` every run has the same order.
        shard: (index, count): the share of this worker, every count-th record.
        parallel_files: number of files read in parallel, interleaved record by record in a fixed order.
        limits: if given, a batch with invalid values fails; `check` with the same limits then identifies the record.

    The iterator can be checkpointed (`tf.train.Checkpoint(iterator=...)`) and resumes exactly where it was.
    """
    import tensorflow as tf

    paths = files.match(patterns)
    check(paths, features, first_only=True, limits=limits)
    check_sizes(paths)
    kinds = {path: "GZIP" if _is_gzip(path) else "" for path in paths}
    kind = tf.lookup.StaticHashTable(
        tf.lookup.KeyValueTensorInitializer(list(kinds), list(kinds.values())), default_value=""
    )
    records = tf.data.Dataset.from_tensor_slices(paths)
    if shuffle_buffer:
        records = records.shuffle(len(paths), seed=seed, reshuffle_each_iteration=True)
    records = records.interleave(
        lambda path: tf.data.TFRecordDataset(path, compression_type=kind.lookup(path)),
        cycle_length=min(parallel_files, len(paths)),
        num_parallel_calls=min(parallel_files, len(paths)),
        deterministic=True,
    )
    if shard[1] > 1:
        records = records.shard(shard[1], shard[0])
    if shuffle_buffer:
        records = records.shuffle(shuffle_buffer, seed=seed, reshuffle_each_iteration=True)
    if repeat:
        records = records.repeat()
    records = records.batch(batch_size, drop_remainder=drop_remainder or repeat)
    return records.map(_parser(features, limits), num_parallel_calls=tf.data.AUTOTUNE, deterministic=True).prefetch(2)


def _parser(features: dict[str, Feature], limits: record_check.Limits | None) -> Callable[[Any], dict[str, Any]]:
    import tensorflow as tf

    def stored(feature: Feature) -> Any:
        return tf.float32 if feature.dtype.startswith("float") else tf.int64

    layout = {name: tf.io.FixedLenFeature([feature.length], stored(feature)) for name, feature in features.items()}

    def parse(examples: Any) -> dict[str, Any]:
        parsed = tf.io.parse_example(examples, layout)
        if limits is not None and record_check.applies_to(features):
            parsed["input_ids"] += record_check.refuse(parsed, limits)
        return {name: tf.cast(parsed[name], feature.dtype) for name, feature in features.items()}

    return parse


# ------------------------------------------------------------------------------------------------------------- side-car


def sidecar_path(path: str) -> str:
    """The path of a shard's side-car: next to the shard, without the shard's number."""
    path = os.fspath(path)
    named = _SHARD_NAME.match(path)
    return (named["name"] if named else path) + ".json"


def is_shard_entry(entry: object) -> bool:
    """Whether a value is a valid entry for a shard in a side-car."""
    return (
        isinstance(entry, dict)
        and isinstance(entry.get("name"), str)
        and type(entry.get("bytes")) is int
        and type(entry.get("instances")) is int
        and isinstance(entry.get("sha256"), str)
    )


_SIDECAR_KINDS = {
    **dict.fromkeys(("max_seq_length", "max_predictions_per_seq", "vocab_size"), int),
    **dict.fromkeys(("made_with", "counts"), dict),
    **dict.fromkeys(("format", "vocab_sha256"), str),
    **{"shards": list, "complete": bool, "packed": bool},
}


def _read_one_sidecar(path: str) -> dict:
    car = files.read_json(path, dict)
    for name, kind in _SIDECAR_KINDS.items():
        if name in car and type(car[name]) is not kind:
            raise InputError(f"{path}: expected the side-car of TFRecords, but {name} is {files.json_name(car[name])}")
    if not all(map(is_shard_entry, car.get("shards", ()))):
        raise InputError(f"{path}: expected the side-car of TFRecords, but its shards are not described as in one")
    if type(car.get("counts", {}).get("instances", 0)) is not int:
        raise InputError(f"{path}: expected the side-car of TFRecords, but its counts are not numbers")
    if not isinstance(car.get("made_with", {}).get("tokenizer", {}), dict):
        raise InputError(f"{path}: expected the side-car of TFRecords, but its tokenizer is not described as in one")
    return car


def read_sidecar(patterns: str | Iterable[str]) -> dict | None:
    """The contents of these files' side-cars, or None if there are none (records of the original script have none).

    Sets that are read together must have the same lengths and vocabulary; their instances are summed under "counts".
    """
    found = dict.fromkeys(sidecar_path(path) for path in files.match(patterns))
    cars = {path: _read_one_sidecar(path) for path in found if files.exists(path)}
    if not cars:
        return None
    first, car = next(iter(cars.items()))
    for path, other in cars.items():
        if other.get("format") != car.get("format"):
            raise InputError(f"{path}: expected the side-car of TFRecords, but its format differs or is missing")
        if not other.get("complete", True):
            raise InputError(f"{path}: these records are not complete; run create_pretraining_data.py again")
        for name in ("max_seq_length", "max_predictions_per_seq", "vocab_sha256", "packed"):
            if other.get(name) != car.get(name):
                raise InputError(f"{path}: {name} is {other.get(name)}, but {car.get(name)} in {first}")
    if len(cars) > 1:
        instances = sum(other.get("counts", {}).get("instances", 0) for other in cars.values())
        car = {**car, "counts": {"instances": instances}}
    return car
