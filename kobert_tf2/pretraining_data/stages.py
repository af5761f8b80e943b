"""The processing of one block of the corpus, and of one shard of the output: functions called by every runner.

    block of text -> token block                              (the analyser runs here, once per line)
    token block + its partners' -> records in columns         (packing, masking, serialisation)
    column of every block -> bucket, some buckets -> a shard  (the shuffle)

Results depend only on the block's number, the seed and the settings, not on the caller or the order of calls. So the
same seed gives the same bytes with any number of workers and any runner.

The shuffle has two stages, since the memory of the original's (one permutation of all instances in memory) grows with
the corpus. First a block's instances, from all passes over its documents, are shuffled and dealt to the buckets in
turn, continuing where the previous block ended. Then each bucket, which fits into memory, is shuffled as a whole. So a
bucket contains the same share of every block to within one instance, which the original leaves to chance, and every
order within a bucket is equally likely.
"""

import dataclasses
import json
import os
from collections.abc import Iterable, Mapping

import google_crc32c
import numpy as np

from kobert_tf2 import files
from kobert_tf2.errors import InputError
from kobert_tf2.pretraining_data import tfrecord
from kobert_tf2.pretraining_data.instances import Documents, Pieces, Settings, make_instances, partners

# Independent random streams derived from one seed.
_PARTNERS, _INSTANCES, _BUCKETS = range(3)
_BUCKET_BYTES = 16 << 20


def _rng(seed: int, stream: int, index: int = 0) -> np.random.Generator:
    return np.random.default_rng([seed % (1 << 64), stream, index])


@dataclasses.dataclass(frozen=True, kw_only=True)
class Plan:
    """Everything that the instances of a block depend on, besides the block."""

    settings: Settings
    pieces: Pieces
    seed: int
    blocks: int
    shards: int
    buckets_per_shard: int = 1
    # All blocks are parts of one document, so none may provide random next sentences for another.
    one_document: bool = False

    @property
    def buckets(self) -> int:
        return self.shards * self.buckets_per_shard

    def partners(self, block: int) -> list[int]:
        return partners(block, blocks=self.blocks, rng=_rng(self.seed, _PARTNERS))

    def for_corpus(self, counts: Mapping[str, int]) -> "Plan":
        """The plan for a corpus with these counts of documents and tokens. Buckets fit into memory: 16 MiB, or more
        from 32 GiB of records on, so that the columns of a block do not become ever smaller; at most 64 MiB.
        """
        settings = self.settings
        instances = 1.5 * counts["tokens"] * settings.dupe_factor / (settings.max_seq_length - 3)
        record = 200 + 5 * settings.max_seq_length + 9 * settings.max_predictions_per_seq
        size = min(max(_BUCKET_BYTES, instances * record / 2048), 4 * _BUCKET_BYTES)
        per_shard = -int(-instances * record // (size * self.shards))
        one_document = counts["documents"] - counts["documents_cut"] <= 1
        return dataclasses.replace(self, buckets_per_shard=max(1, per_shard), one_document=one_document)


# --------------------------------------------------------------------------------------------------------- token blocks


def token_arrays(documents: Documents) -> dict[str, np.ndarray]:
    """`Documents` as compact arrays for storing or sending."""
    return {
        "ids": documents.ids.astype(np.uint16 if documents.ids.max(initial=0) < 1 << 16 else np.int32),
        "begins": np.packbits(documents.begins),
        "sentence_lengths": np.diff(documents.sentence_starts).astype(np.uint32),
        "document_lengths": np.diff(documents.document_starts).astype(np.uint32),
    }


def documents_of(arrays: dict[str, np.ndarray]) -> Documents:
    ids = arrays["ids"].astype(np.int32)
    lengths = (arrays["sentence_lengths"], arrays["document_lengths"])
    starts = (np.concatenate([[0], np.cumsum(length.astype(np.int64))]) for length in lengths)
    return Documents(ids, np.unpackbits(arrays["begins"], count=len(ids)).astype(bool), *starts)


# ------------------------------------------------------------------------------------------------------------- records


def block_records(plan: Plan, block: int, documents: list[Documents]) -> tuple[list[bytes], dict[str, int]]:
    """The serialised instances of a block, shuffled, and their counts; `documents` are the block's own, then its
    partners'.
    """
    counts = dict.fromkeys(("instances", "real_tokens", "predictions", "random_next", "without_predictions"), 0)
    examples: list[bytes] = []
    rng = _rng(plan.seed, _INSTANCES, block)
    others = [] if plan.one_document else documents[1:]
    for table in make_instances(documents[0], others, plan.pieces, plan.settings, rng):
        examples += tfrecord.serialize(table)
        predictions = table["masked_lm_weights"].sum(axis=1)
        counts["instances"] += len(predictions)
        counts["real_tokens"] += int(table["input_mask"].sum(dtype=np.int64))
        counts["predictions"] += int(predictions.sum())
        counts["random_next"] += int(table["next_sentence_labels"].sum())
        counts["without_predictions"] += int((predictions == 0).sum())
        if plan.settings.pack_sequences:
            counts["sequences"] = counts.get("sequences", 0) + int(table["next_sentence_weights"].sum())
    return examples, counts


def column_of(bucket: int, *, instances_before: int, buckets: int) -> int:
    """The column of a block that belongs to a bucket: dealing continues where the previous blocks ended."""
    return (bucket - instances_before) % buckets


def shuffled(plan: Plan, bucket: int, examples: list[bytes]) -> list[bytes]:
    """A bucket's records in their final order, given in the order of the blocks."""
    return [examples[i] for i in _rng(plan.seed, _BUCKETS, bucket).permutation(len(examples)).tolist()]


# -------------------------------------------------------------------------------------------- arrays between stages


def save_arrays(path: str, info: dict, arrays: dict[str, np.ndarray]) -> None:
    """Writes a line of JSON with `info` and the layout, then the arrays' bytes."""
    contents = [np.ascontiguousarray(array).view(np.uint8).reshape(-1) for array in arrays.values()]
    layout = [[name, str(array.dtype), len(array)] for name, array in arrays.items()]
    crc = _checksum(info, layout)
    for content in contents:
        crc = google_crc32c.extend(crc, content.tobytes())
    with files.whole_file(path, "wb") as file:
        file.write(json.dumps({"info": info, "layout": layout, "crc32c": crc}).encode() + b"\n")
        for content in contents:
            file.write(content.tobytes())


def load_arrays(path: str) -> tuple[dict, dict[str, np.ndarray]]:
    """Reads what `save_arrays` wrote; raises `InputError` if the file is damaged."""
    with files.open_binary(path) as file:
        head, content = file.readline(), file.read()
    said = _read_head(head, path)
    if google_crc32c.extend(_checksum(said["info"], said["layout"]), content) != said["crc32c"]:
        raise _damaged(path)
    arrays, start = {}, 0
    for name, dtype, length in said["layout"]:
        arrays[name] = np.frombuffer(content, dtype, length, start)
        start += arrays[name].nbytes
    return said["info"], arrays


def _checksum(info: dict, layout: list) -> int:
    return google_crc32c.value(json.dumps([info, layout]).encode())


def _read_head(line: bytes, path: str) -> dict:
    """Parses the first line of an intermediate file. The caller must verify the checksum in it, which covers this line
    too.
    """
    try:
        said = files.parse_json(line.decode(), path, dict)
    except (InputError, UnicodeDecodeError):
        raise _damaged(path) from None
    layout = said.get("layout")
    is_sound = isinstance(said.get("info"), dict) and isinstance(layout, list)
    if not is_sound or not all(isinstance(entry, list) and len(entry) == 3 for entry in layout):
        raise _damaged(path)
    return {"crc32c": None, **said}


def _damaged(path: str) -> InputError:
    return InputError(f"{path}: this intermediate file is damaged; delete it and start again")


def save_records(path: str, counts: dict, examples: list[bytes], buckets: int) -> None:
    """Writes a block's records as TFRecords, ordered by column, for `read_column`."""
    framed = tfrecord.framed(examples)
    columns = [framed[column::buckets] for column in range(buckets)]
    data = b"".join(record for column in columns for record in column)
    offsets = np.cumsum([0, *(sum(map(len, column)) for column in columns)], dtype=np.int64)
    save_arrays(path, counts, {"offsets": offsets, "data": np.frombuffer(data, np.uint8)})


def read_column(path: str, column: int) -> list[bytes]:
    """Reads the framed records of one column."""
    with files.open_binary(path) as file:
        layout = {name: length for name, _, length in _read_head(file.readline(), path)["layout"]}
        body = file.tell()
        file.seek(body + 8 * column)
        start, end = np.frombuffer(file.read(16), np.int64).tolist()
        file.seek(body + 8 * layout["offsets"] + start)
        data = file.read(end - start)
    return list(_framed_records(data))


def _framed_records(data: bytes) -> Iterable[bytes]:
    start = 0
    while start < len(data):
        end = start + 16 + int.from_bytes(data[start : start + 8], "little")
        yield data[start:end]
        start = end


def write_shard(path: str, buckets: Iterable[list[bytes]], *, compression: str) -> dict:
    """Writes the framed records of the buckets to one file, atomically; returns the shard's entry for the side-car."""
    count = 0
    with files.whole_file(path, "wb") as file, tfrecord.compressed(file, compression) as stream:
        for bucket in buckets:
            count += len(bucket)
            stream.write(b"".join(bucket))
    with files.open_binary(path) as file:
        size = file.seek(0, os.SEEK_END) if not files.is_remote(path) else file.size()  # type: ignore[attr-defined]
    return {"name": os.path.basename(path), "instances": count, "bytes": size, "sha256": files.sha256(path)}
