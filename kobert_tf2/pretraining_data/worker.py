"""The work of one process: converts blocks to token files, these to record files, and these to shards.

A file finished by an earlier run is reused if its checksum matches.
"""

import contextlib
import dataclasses
from collections.abc import Iterable, Iterator
from typing import Protocol

from kobert_tf2 import files
from kobert_tf2.errors import InputError
from kobert_tf2.pretraining_data import corpus, stages
from kobert_tf2.pretraining_data.corpus import Block
from kobert_tf2.pretraining_data.instances import Documents, DocumentTokenizer
from kobert_tf2.pretraining_data.stages import Plan

# A regular expression for the names of the intermediate files in `Worker.work`.
NAMES = r"(?:tokens|records)-\d{5,}"


class Run(Protocol):
    """Calls method `name` of a `Worker` with the common arguments and those of each item; yields results in order."""

    def __call__(self, name: str, common: tuple, items: Iterable[tuple]) -> Iterator[dict]: ...


@dataclasses.dataclass(frozen=True, kw_only=True)
class Worker:
    """A callable that takes the name of a method and its arguments, since each process is given a single function."""

    tokenizer: DocumentTokenizer
    unk_id: int
    input_format: str
    work: str

    def __call__(self, call: tuple) -> dict:
        name, *arguments = call
        return getattr(self, name)(*arguments)

    def tokenize(self, number: int, block: Block) -> dict:
        """Converts a block to a token file; returns its counts."""
        path = self._tokens_path(number)
        if (info := _kept(path)) is not None:
            return info
        texts = corpus.read_documents(block, input_format=self.input_format)
        documents = self.tokenizer.documents(texts)
        info = token_counts(texts, documents, self.unk_id)
        stages.save_arrays(path, info, stages.token_arrays(documents))
        return info

    def make_records(self, plan: Plan, block: int) -> dict:
        """Converts the token files of a block and its partners to a record file; returns its counts."""
        path = self._records_path(block)
        if (info := _kept(path)) is not None:
            return info
        paths = [self._tokens_path(each) for each in (block, *plan.partners(block))]
        documents = [stages.documents_of(stages.load_arrays(path)[1]) for path in paths]
        examples, counts = stages.block_records(plan, block, documents)
        stages.save_records(path, counts, examples, plan.buckets)
        return counts

    def write_shard(self, plan: Plan, before: list[int], compression: str, shard: int, output: str) -> dict:
        """Writes a shard from its buckets; `before` is the number of instances before each block."""
        buckets = (self._bucket(plan, before, bucket) for bucket in range(shard, plan.buckets, plan.shards))
        return stages.write_shard(output, buckets, compression=compression)

    def _bucket(self, plan: Plan, before: list[int], bucket: int) -> list[bytes]:
        examples: list[bytes] = []
        for block, instances_before in enumerate(before):
            column = stages.column_of(bucket, instances_before=instances_before, buckets=plan.buckets)
            examples += stages.read_column(self._records_path(block), column)
        return stages.shuffled(plan, bucket, examples)

    def _tokens_path(self, block: int) -> str:
        return f"{self.work}/tokens-{block:05d}"

    def _records_path(self, block: int) -> str:
        return f"{self.work}/records-{block:05d}"


def _kept(path: str) -> dict | None:
    """The `info` in a file finished by an earlier run; None if there is no such file or it is damaged."""
    if not files.exists(path):
        return None
    with contextlib.suppress(InputError):
        return stages.load_arrays(path)[0]
    return None


def token_counts(texts: list[list[str]], documents: Documents, unk_id: int) -> dict:
    """The counts of a block, including what was left out."""
    sentences = len(documents.sentence_starts) - 1
    return {
        "documents": len(documents),
        "sentences": sentences,
        "sentences_without_tokens": sum(map(len, texts)) - sentences,
        "tokens": len(documents.ids),
        "unknown_tokens": int((documents.ids == unk_id).sum()),
    }
