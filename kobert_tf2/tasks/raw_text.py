"""Pre-training from raw text in one go: the records are made in the run's own folder, `output_dir/records/`.

They are those of `tools/create_pretraining_data.py` with the same flags, byte for byte. A finished set is verified and
reused when the run is resumed; one whose creation was killed is completed first, so a part of a set is never read.
"""

import dataclasses
import gzip
import os
import sys
import zlib
from collections.abc import Callable
from typing import Any

from kobert_tf2 import files
from kobert_tf2.errors import InputError
from kobert_tf2.pretraining_data import local_runner, tfrecord
from kobert_tf2.pretraining_data.instances import Settings, mask_unit_of
from kobert_tf2.tokenization.tokenizer import Tokenizer

FOLDER = "records"
_SHARD = "corpus.tfrecord"


@dataclasses.dataclass(frozen=True, kw_only=True)
class RawTextSettings:
    """How records are made from raw text; None: as `create_pretraining_data` does by default.

    Attributes:
      masked_lm_prob, short_seq_prob, dupe_factor, random_seed, do_whole_word_mask, mask_unit, pack_sequences,
        input_format: the flags of `create_pretraining_data`.
      num_workers: processes that make the records; None: one for each core.
    """

    masked_lm_prob: float | None = None
    short_seq_prob: float | None = None
    dupe_factor: int | None = None
    random_seed: int | None = None
    do_whole_word_mask: bool | None = None
    mask_unit: str | None = None
    pack_sequences: bool | None = None
    input_format: str | None = None
    num_workers: int | None = None

    def refuse_without_raw_text(self, input_file: str) -> None:
        """Raises `InputError` if a setting was given that has no effect on finished records."""
        for field in dataclasses.fields(RawTextSettings):
            value = getattr(self, field.name)
            if value is not None and field.name != "num_workers":
                raise InputError(
                    f"--{field.name}={value}: expected raw text as --input_file with it, but {input_file} holds "
                    "finished records; give it to create_pretraining_data.py"
                )


def is_raw_text(paths: list[str]) -> bool:
    """Whether these files are text and not TFRecords, by their content. Raises `InputError` if they are mixed."""
    kinds = {path: not _is_records(path) for path in paths}
    if len(set(kinds.values())) > 1:
        text, records = (next(path for path in paths if kinds[path] is kind) for kind in (True, False))
        raise InputError(f"{text}: expected TFRecords like {records}, or raw text alone, but this one is raw text")
    return all(kinds.values())


def _is_records(path: str) -> bool:
    """Whether a file begins like a TFRecord, damaged or not: its length has four bytes of 0, as no text has. An empty
    file, and one that a side-car describes, are records too: their reader knows what is wrong with them.
    """
    if files.exists(tfrecord.sidecar_path(path)):
        return True
    with files.open_binary(path) as file:
        head = file.read(12)
        if head.startswith(b"\x1f\x8b"):
            file.seek(0)
            try:
                head = gzip.GzipFile(fileobj=file).read(12)
            except (EOFError, OSError, zlib.error):
                return True  # What is broken is reported by the reader of the records.
    return not head or head[4:8] == bytes(4)


# The names that are written into `output_dir`, and what recognises them as ours.
WRITTEN: dict[str, Callable[[str], bool] | None] = {
    f"{FOLDER}/{_SHARD}": None,
    f"{FOLDER}/{_SHARD}.json": lambda path: bool(local_runner.read_own_side_car(path)),
}


def make_records(
    input_file: str,
    output_dir: str,
    tokenizer: Tokenizer,
    settings: RawTextSettings,
    *,
    max_seq_length: int | None,
    max_predictions_per_seq: int | None,
    is_begun: bool,
) -> str:
    """Makes the records of `input_file`, or verifies and reuses those that are there; returns their path.

    `is_begun`: whether there is a checkpoint that was trained on the records in `output_dir`. Other records are then
    refused; otherwise they are made again.
    """
    unit = mask_unit_of(settings.mask_unit, settings.do_whole_word_mask)
    given = {
        "max_seq_length": max_seq_length,
        "max_predictions_per_seq": max_predictions_per_seq,
        "mask_unit": unit,
        "pack_sequences": settings.pack_sequences,
        **{name: getattr(settings, name) for name in ("masked_lm_prob", "short_seq_prob", "dupe_factor")},
    }
    more = {name: getattr(settings, name) for name in ("random_seed", "input_format")}
    folder = f"{output_dir}/{FOLDER}"
    request = local_runner.Request(
        input_file=input_file,
        output_file=f"{folder}/{_SHARD}",
        tokenizer=tokenizer,
        settings=Settings(**_given(given)),
        num_workers=settings.num_workers or len(os.sched_getaffinity(0)),
        **_given(more),
    )
    print(
        f"{input_file}: raw text, not TFRecords: pre-training records of it are made in {folder} ({_shown(request)})",
        file=sys.stderr,
    )
    try:
        local_runner.create(request)
    except local_runner.BegunOtherwiseError as error:
        if is_begun:
            raise InputError(
                f"{output_dir}: the run there was begun with other records ({error.differing}); go on with what it "
                "was begun with, or start a new run in another --output_dir"
            ) from None
        print(f"{folder}: made again, for no checkpoint was trained on it yet ({error.differing})", file=sys.stderr)
        local_runner.create(dataclasses.replace(request, overwrite=True))
    return request.output_file


def _given(values: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def _shown(request: local_runner.Request) -> str:
    values = dataclasses.asdict(request.settings) | {"random_seed": request.random_seed}
    return ", ".join(f"{name} {value}" for name, value in values.items())
