"""Converts a corpus to TFRecord shards on one machine, using all cores and bounded memory. It can be killed at any time
and resumed.

Next to the output there are the side-car `<output>.json` and, until the work is done, the folder `<output>.work`:

1. The side-car records what the records are made with. If it already exists and differs, the run is refused.
2. Every block of the corpus is converted to `tokens-00000` in the folder, then to `records-00000`.
3. Shards are made from the records. Each finished shard is added to the side-car with its size and hash.
4. The side-car gets the counts and "complete": true, and the folder is removed.

With `overwrite`, an earlier set is kept until the new one is complete in `.kobert_tf2-new` next to it, and is then
replaced. A side-car identifies an earlier set written by this module; nothing else is ever replaced.

Every file appears under its name only when it is complete. A run that finds such files resumes from them: files of the
folder are used if their checksum matches, shards if their size and hash match the side-car. Each worker needs memory
for a few blocks and one bucket. The disk needs space for the records twice, plus 2 to 4 bytes per token.
"""

import collections
import concurrent.futures.process
import contextlib
import dataclasses
import functools
import glob
import hashlib
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping

import google_crc32c
import numpy as np

from kobert_tf2 import files, outputs, parallel, progress
from kobert_tf2.errors import InputError
from kobert_tf2.pretraining_data import corpus, tfrecord
from kobert_tf2.pretraining_data.corpus import Block
from kobert_tf2.pretraining_data.instances import DocumentTokenizer, Pieces, Settings
from kobert_tf2.pretraining_data.stages import Plan
from kobert_tf2.pretraining_data.worker import NAMES, Run, Worker
from kobert_tf2.tokenization import unknown
from kobert_tf2.tokenization.tokenizer import Tokenizer
from kobert_tf2.work_folder import WorkFolder

FORMAT = "kobert_tf2 pre-training records, version 1"
STAGING_FOLDER = ".kobert_tf2-new"

# A context manager that yields a function to run methods of a `Worker`, given the number of blocks.
Workers = Callable[["Request", Worker, int], contextlib.AbstractContextManager[Run]]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Request:
    """The arguments of a run.

    The `input_file` is a comma-separated list of globs. `output_file` is a comma-separated list of names, or one name
    for `num_shards` shards. The output bytes do not depend on `num_workers` and `work_dir`.
    """

    input_file: str
    output_file: str
    tokenizer: Tokenizer
    settings: Settings
    random_seed: int = 12345
    num_shards: int = 1
    compression: str = ""
    input_format: str = "lines"
    num_workers: int = 1
    work_dir: str | None = None
    overwrite: bool = False
    block_bytes: int | None = None

    def outputs(self) -> list[str]:
        names = self.names()
        if type(self.num_shards) is not int or not 1 <= self.num_shards <= 99_999:
            raise InputError(f"num_shards: expected a whole number from 1 to 99,999, but got {self.num_shards!r}")
        if len(names) > 1 and self.num_shards not in (1, len(names)):
            raise InputError(
                f"output_file names {len(names)} files, but num_shards is {self.num_shards}; "
                "give one name, or leave num_shards out"
            )
        if not names or len(set(names)) < len(names):
            raise InputError(f"output_file: expected names, each once, but got {self.output_file!r}")
        return names if len(names) > 1 else tfrecord.shard_names(names[0], self.num_shards)

    def names(self) -> list[str]:
        """The names in `output_file`, as given."""
        return [name.strip() for name in self.output_file.split(",") if name.strip()]

    def work_folder(self) -> str:
        """The folder of the intermediate files."""
        return self.work_dir or side_car_paths(self.outputs())[0].removesuffix(".json") + ".work"

    def block_size(self, paths: list[str]) -> int:
        return self.block_bytes or corpus.block_bytes(sum(map(corpus.size_of, paths)))


class BegunOtherwiseError(InputError):
    """The records that are there were begun with other flags or another corpus; `differing` says which."""

    def __init__(self, path: str, differing: str) -> None:
        super().__init__(
            f"{path}: these records were begun with other flags ({differing}); name another output, or --overwrite"
        )
        self.differing = differing


def create(request: Request, *, workers: Workers | None = None) -> dict:
    """Creates the records; returns the summary that the side-car stores under "counts".

    `workers` can replace the processes of this machine; the output bytes are the same.
    """
    return replacing_earlier(request, functools.partial(_create, workers=workers or _processes))


def _create(request: Request, *, workers: Workers) -> dict:
    outputs = request.outputs()
    tokenizer = DocumentTokenizer(request.tokenizer, mask_unit=request.settings.mask_unit)
    blocks = list(_cut(files.match(request.input_file), request))
    if not any(block.documents for block in blocks):
        raise InputError(f"{request.input_file}: expected sentences, but there is none")
    with Ledger(request, outputs, made_with(request, blocks)) as ledger:
        todo = [index for index, name in enumerate(outputs) if not ledger.holds(name)]
        if not todo and ledger.car["complete"]:
            _say("all shards are there already, and are what the side-car says")
            return ledger.finish(ledger.car["counts"])
        plan = plan_of(request, blocks=len(blocks), shards=len(outputs))
        worker = Worker(
            tokenizer=tokenizer,
            unk_id=request.tokenizer.unk_id,
            input_format=request.input_format,
            work=ledger.work.path,
        )
        with ledger.withdrawn_after_a_mistake(), workers(request, worker, len(blocks)) as run:
            counts = _tokenize(run, request, blocks)
            plan = plan.for_corpus(counts)
            before = _make_records(run, request, plan, blocks, counts)
            _write_shards(run, request, plan, before, counts, outputs, todo, ledger)
        say_what_cannot_teach(counts)
        unknown.report(request.input_file, unknown=counts["unknown_tokens"], pieces=counts["tokens"])
        return ledger.finish(summary(counts))


def plan_of(request: Request, *, blocks: int, shards: int) -> Plan:
    return Plan(
        settings=request.settings,
        pieces=Pieces.of(request.tokenizer),
        seed=request.random_seed,
        blocks=blocks,
        shards=shards,
    )


def _cut(paths: list[str], request: Request) -> Iterator[Block]:
    size = request.block_size(paths)
    with Progress("reading", sum(map(corpus.size_of, paths)), "B") as stage:
        for path in paths:
            for block in corpus.blocks(path, size):
                stage.advance(block.end - block.start)
                yield block


# --------------------------------------------------------------------------------------------------------- the stages


@contextlib.contextmanager
def _processes(request: Request, worker: Worker, blocks: int) -> Iterator[Run]:
    """Runs the work in processes on this machine, or in this process if only one would be used."""
    num_workers = min(request.num_workers, blocks)
    if num_workers == 1:
        yield lambda name, common, items: map(worker, ((name, *common, *item) for item in items))
        return
    try:
        with parallel.Workers(worker, num_workers=num_workers) as workers:
            yield lambda name, common, items: workers.map((name, *common, *item) for item in items)
    except concurrent.futures.process.BrokenProcessPool:
        raise ChildProcessError(
            "a worker process died (killed, or out of memory?); start the same command again to go on, with fewer "
            "--num_workers where memory is short"
        ) from None


def _tokenize(run: Run, request: Request, blocks: list[Block]) -> collections.Counter:
    """Stage 1: converts every block to ids, once; returns the counts of the corpus."""
    counts = collections.Counter(documents_cut=sum(block.is_cut for block in blocks))
    results = run("tokenize", (), enumerate(blocks))
    with Progress("tokenizing", sum(block.documents for block in blocks), "documents") as stage:
        for block, made in zip(blocks, results, strict=True):
            counts.update(made)
            stage.advance(block.documents, sentences=counts["sentences"])
    if not counts["sentences"]:
        raise InputError(f"{request.input_file}: expected sentences, but there is none")
    return counts


def _make_records(
    run: Run, request: Request, plan: Plan, blocks: list[Block], counts: collections.Counter
) -> list[int]:
    """Stage 2: converts every block to shuffled records; returns the number of instances before each block."""
    before = [0]
    results = run("make_records", (plan,), ((number,) for number in range(len(blocks))))
    with Progress("making instances", sum(block.documents for block in blocks), "documents") as stage:
        for block, made in zip(blocks, results, strict=True):
            counts.update(made)
            before.append(counts["instances"])
            stage.advance(block.documents, instances=counts["instances"])
    if counts["instances"] < plan.shards:
        raise InputError(
            f"{request.input_file}: gives {counts['instances']} instances, too few for {plan.shards} output files"
        )
    return before[:-1]


def _write_shards(
    run: Run,
    request: Request,
    plan: Plan,
    before: list[int],
    counts: Mapping[str, int],
    outputs: list[str],
    todo: list[int],
    ledger: "Ledger",
) -> None:
    """Stage 3: writes the missing shards, each from its buckets."""
    there = sum(shard["instances"] for shard in ledger.car["shards"])
    shards = run("write_shard", (plan, before, request.compression), ((shard, outputs[shard]) for shard in todo))
    with Progress("writing", counts["instances"] - there, "instances") as stage:
        for shard in shards:
            ledger.enter(shard)
            stage.advance(shard["instances"], shards=len(ledger.car["shards"]))


_COUNTS = (
    *("documents", "documents_cut", "sentences", "sentences_without_tokens", "tokens", "unknown_tokens"),
    *("instances", "random_next", "real_tokens", "predictions", "without_predictions"),
)


def summary(counts: dict) -> dict:
    """The counts, with shares by which the data can be checked."""
    instances, real = max(_sequences(counts), 1), max(counts["real_tokens"], 1)
    packed = {"sequences": counts["sequences"]} if counts.get("sequences") else {}
    return {
        **{name: counts[name] for name in _COUNTS},
        **packed,
        "average_length": round(counts["real_tokens"] / instances, 2),
        "masked_share": round(counts["predictions"] / real, 4),
        "random_next_share": round(counts["random_next"] / instances, 4),
        "unknown_share": round(counts["unknown_tokens"] / max(counts["tokens"], 1), 6),
    }


def _sequences(counts: Mapping[str, int]) -> int:
    """The instances before they were packed into rows."""
    return counts.get("sequences") or counts["instances"]


# From this share of random next sentences on, nearly every document must be a single sentence.
_MOSTLY_RANDOM = 0.9


def say_what_cannot_teach(counts: Mapping[str, int]) -> None:
    """Warns on standard error if (nearly) all next sentence labels are the same, with the cause and a remedy."""
    documents, sentences = counts["documents"] - counts["documents_cut"], counts["sentences"]
    if sentences == 1:
        what = "the corpus is one sentence, whose two halves became the pairs"
        remedy = "expected many documents, a sentence a line and an empty line between documents"
    elif documents <= 1:
        what = f"the corpus is one document of {sentences:,} sentences, so no random next sentence is from another one"
        remedy = "put an empty line between documents"
    elif counts["random_next"] >= _MOSTLY_RANDOM * _sequences(counts):
        what = (
            f"the corpus has {sentences:,} sentences in {documents:,} documents, so "
            f"{counts['random_next'] / _sequences(counts):.0%} of the next sentences are random ones"
        )
        remedy = (
            "put sentences that follow each other on lines without an empty one between them (where a line is a "
            "paragraph: --input_format=paragraphs)"
        )
    else:
        return
    _say(f"warning: {what}: next sentence prediction learns nothing from it; {remedy}")


# ------------------------------------------------------------------------------------------------------- the side-car


def made_with(request: Request, blocks: list[Block]) -> dict:
    """Everything that determines the output bytes."""
    said = {
        "input_file": _contents(blocks),
        "output_file": [os.path.basename(name) for name in request.outputs()],
        **_settings_made_with(request.settings),
        "random_seed": request.random_seed,
        "compression": request.compression,
        "input_format": request.input_format,
        "tokenizer": request.tokenizer.settings(),
        "tokenizer_fingerprint": request.tokenizer.fingerprint(),
        "numpy": np.__version__,
    }
    if request.input_format == "paragraphs":
        said["sentence_splitter"] = corpus.sentence_splitter_version()
    return said


def _settings_made_with(settings: Settings) -> dict:
    """Without `pack_sequences` where it is off: earlier versions had no such setting."""
    values = dataclasses.asdict(settings)
    return values if settings.pack_sequences else {k: v for k, v in values.items() if k != "pack_sequences"}


def _contents(blocks: list[Block]) -> dict[str, str]:
    """The contents of a corpus's files: {name: size and checksum}, where the checksum is over the blocks' checksums."""
    by_file: dict[str, list[Block]] = {}
    for block in blocks:
        by_file.setdefault(os.path.basename(block.path), []).append(block)
    return {name: _content(held) for name, held in by_file.items()}


def _content(blocks: list[Block]) -> str:
    checksum = google_crc32c.value(np.array([block.crc32c for block in blocks], "<u4").tobytes())
    return f"{sum(block.end - block.start for block in blocks)} bytes, checksum {checksum:08x}"


def side_car(request: Request, made: dict) -> dict:
    """The side-car before any shard has been written."""
    vocab = request.tokenizer.vocab
    return {
        "format": FORMAT,
        "complete": False,
        "max_seq_length": request.settings.max_seq_length,
        "max_predictions_per_seq": request.settings.max_predictions_per_seq,
        "vocab_size": len(vocab),
        "vocab_sha256": vocabulary_hash(vocab),
        **({"packed": True} if request.settings.pack_sequences else {}),
        "made_with": made,
        "shards": [],
    }


def vocabulary_hash(vocab: dict[str, int]) -> str:
    """The SHA-256 of the vocabulary as a file with one piece per line, in the order of the ids."""
    lines = "".join(f"{piece}\n" for piece in sorted(vocab, key=vocab.__getitem__))
    return hashlib.sha256(lines.encode("utf-8", "surrogatepass")).hexdigest()


class Ledger:
    """A context manager for the side-car and the work folder of a run; locks the folder."""

    def __init__(self, request: Request, outputs: list[str], made: dict):
        self._paths = side_car_paths(outputs)
        self.path = self._paths[0]
        self._read(made, outputs)  # Raises InputError before anything is written.
        run = hashlib.sha256(repr((self.path, made)).encode()).hexdigest()
        self.work = WorkFolder(
            request.work_folder(), run, tool="create_pretraining_data", names=NAMES, afresh=request.overwrite
        )
        car = self._read(made, outputs)
        self._is_new = car is None
        self.car = car or side_car(request, made)
        self._write()
        _remove_unfinished([*outputs, *self._paths])

    def __enter__(self) -> "Ledger":
        return self

    def __exit__(self, *_: object) -> None:
        self.work.release()

    def _read(self, made: dict, outputs: list[str]) -> dict | None:
        if not files.exists(self.path):
            there = next(filter(files.exists, outputs), None)
            if there is not None:
                raise InputError(
                    f"{there}: already there, and no side-car says how it was made; name another output, or move it "
                    "away"
                )
            return None
        car = read_own_side_car(self.path)
        _refuse_other_flags(self.path, car["made_with"], made)
        return car

    def holds(self, name: str) -> bool:
        """Whether a shard exists and matches the side-car; one that does not match is removed from the side-car and
        made again.
        """
        said = next((shard for shard in self.car["shards"] if shard["name"] == os.path.basename(name)), None)
        if said is None:
            return False
        is_same = files.exists(name) and files.sha256(name) == said["sha256"]
        if not is_same:
            _say(f"{name}: not what {self.path} says; it is made again")
            self.car["shards"].remove(said)
        return is_same

    def enter(self, shard: dict) -> None:
        self.car["shards"] = sorted([*self.car["shards"], shard], key=lambda each: each["name"])
        self._write()

    @contextlib.contextmanager
    def withdrawn_after_a_mistake(self) -> Iterator[None]:
        """On an `InputError`, removes the run's files, since the user will correct the input; files begun by an earlier
        run are kept.
        """
        try:
            yield
        except InputError:
            if self._is_new and not self.car["shards"]:
                for path in self._paths:
                    files.remove(path)
                self.work.remove()
            raise

    def finish(self, counts: dict) -> dict:
        self.car |= {"complete": True, "counts": counts}
        for path in self._paths:
            files.write_json(path, self.car)
        self.work.remove()
        return counts

    def _write(self) -> None:
        files.write_json(self.path, self.car)


def side_car_paths(outputs: list[str]) -> list[str]:
    return list(dict.fromkeys(map(tfrecord.sidecar_path, outputs)))


def read_own_side_car(path: str) -> dict:
    """Reads a side-car written by this module; raises `InputError` for anything else."""
    car = files.read_json(path, dict)
    if car.get("format") != FORMAT:
        raise InputError(f"{path}: expected the side-car of an earlier run, but it is something else")
    made, shards = car.get("made_with"), car.get("shards")
    sound = isinstance(made, dict) and isinstance(shards, list) and isinstance(car.get("complete"), bool)
    counted = not car.get("complete") or isinstance(car.get("counts"), dict)
    if not sound or not counted or not all(map(tfrecord.is_shard_entry, shards)):
        raise InputError(f"{path}: this side-car is damaged; move it away, and the shards that it belongs to")
    return car


# ----------------------------------------------------------------------------------------- replacing an earlier set


def replacing_earlier(request: Request, create: Callable[[Request], dict]) -> dict:
    """Calls `create(request)`; with `overwrite`, replaces an earlier set when the new one is complete."""
    names = request.outputs()
    _refuse_wrong_outputs(request, names)
    earlier = _earlier_files(names) if request.overwrite else []
    if not earlier:
        return create(request)
    _remove_staged(names)
    staged = dataclasses.replace(
        request, output_file=",".join(_staged(name) for name in request.names()), work_dir=request.work_folder()
    )
    try:
        counts = create(staged)
        # Side-cars are moved first: they tell a reader, or the next run, that the set is incomplete.
        for path in [*side_car_paths(names), *names]:
            files.move(_staged(path), path)
        for path in set(earlier) - {*names, *side_car_paths(names)}:
            files.remove(path)
    finally:
        _remove_staged(names)
    return counts


def _refuse_wrong_outputs(request: Request, names: list[str]) -> None:
    outputs.refuse_inputs(
        {"output_file": [*names, *side_car_paths(names)]},
        {"input_file": request.input_file},
        replaced={"work_dir": request.work_folder()},
    )
    for path in [*names, *side_car_paths(names)]:
        if files.is_stream(path) or files.is_folder(path):
            raise InputError(f"{path}: expected a name for a file of records, but this is a folder or a device")
    work = request.work_folder()
    if files.exists(work) and not files.is_folder(work):
        raise InputError(f"{work}: expected a folder for the intermediate files, but this is a file")


def _earlier_files(names: list[str]) -> list[str]:
    """The shards and side-cars of an earlier set under these names; raises `InputError` for other files."""
    found: list[str] = []
    for path in filter(files.exists, side_car_paths(names)):
        held = read_own_side_car(path)["made_with"].get("output_file", [])
        folder = os.path.dirname(path)
        found += [path, *(os.path.join(folder, os.path.basename(str(name))) for name in held)]
    for name in filter(files.exists, names):
        if name not in found:
            raise InputError(
                f"{name}: already there, and no side-car says that create_pretraining_data made it; name another "
                "output, or move it away"
            )
    return found


def _staged(path: str) -> str:
    """The staging path of a file until all are complete: in a folder next to it, under its own name."""
    return os.path.join(os.path.dirname(path), STAGING_FOLDER, os.path.basename(path))


def _remove_staged(names: list[str]) -> None:
    """Removes what an earlier run or this one left in the staging folder; only files that such a run writes."""
    for path in [*side_car_paths(names), *names]:
        files.remove(_staged(path))
    for folder in {os.path.dirname(_staged(name)) for name in names}:
        files.remove_empty_folder(folder)


def _refuse_other_flags(path: str, old: dict, new: dict) -> None:
    differing = [name for name in {**old, **new} if old.get(name) != new.get(name)]
    if not differing:
        return
    raise BegunOtherwiseError(path, "; ".join(f"{name} was {old.get(name)}, is {new.get(name)}" for name in differing))


def _remove_unfinished(paths: list[str]) -> None:
    """Removes the unfinished files of a killed run, which have temporary names, `<name>.tmp-<process>`."""
    for path in paths:
        if not files.is_remote(path):
            for unfinished in glob.glob(f"{glob.escape(path)}.tmp-*"):
                if unfinished.rpartition(".tmp-")[2].isdigit():
                    os.remove(unfinished)


# ------------------------------------------------------------------------------------------------------------ progress


class Progress:
    """Shows the progress of a stage, with rates; if there is no terminal, reports its duration at the end."""

    def __init__(self, what: str, total: int, unit: str):
        self._what, self._total, self._unit = what, total, unit
        self._done, self._began = 0, time.monotonic()
        self._shown = progress.Progress(total, unit=unit)

    def advance(self, done: int, **also: int) -> None:
        self._done += done
        seconds = max(time.monotonic() - self._began, 1e-9)
        left = (self._total - self._done) * seconds / max(self._done, 1)
        more = [f"{count:,} {name} ({count / seconds:,.0f}/s)" for name, count in also.items()]
        self._shown.update(self._done, [self._what, f"{self._done / seconds:,.0f}/s"], left, more)

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._shown.__exit__()
        if kind is None and not self._shown.is_drawn:
            took = progress.duration(time.monotonic() - self._began)
            _say(f"{self._what}: {self._done:,} {self._unit} in {took}")


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
