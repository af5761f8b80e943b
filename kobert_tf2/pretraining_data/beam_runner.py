"""The same records as `local_runner` makes, byte for byte, by an Apache Beam pipeline: for a corpus that one machine is
too small for.

    files -> blocks -> token blocks -> records -> shards -> side-car

Each step calls the function that the local runner calls; what stands in the folder `<output>.work` there is a
collection here. A token block goes to itself and to the blocks that borrow its documents; a block's records go to
their shards when all blocks have been counted. A worker must hold one shard in memory, twice: make them 100 to 200
MB.

Needs the extra `beam`. Beam restarts what fails by itself; a pipeline that was stopped is started from the beginning.
"""

import bisect
import itertools
import re
from collections.abc import Iterator

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions, SetupOptions

from kobert_tf2 import files
from kobert_tf2.errors import InputError
from kobert_tf2.pretraining_data import corpus, local_runner, stages, tfrecord, worker
from kobert_tf2.pretraining_data.instances import DocumentTokenizer
from kobert_tf2.pretraining_data.stages import Plan


def create(request: local_runner.Request, options: list[str]) -> dict:
    """Runs the pipeline with these options (such as `--runner=FlinkRunner`) and waits; returns the side-car's
    counts."""
    return local_runner.replacing_earlier(request, lambda request: _create(request, options))


def _create(request: local_runner.Request, options: list[str]) -> dict:
    outputs = request.outputs()
    paths = files.match(request.input_file)
    _refuse_what_is_there(outputs)
    DocumentTokenizer(request.tokenizer, mask_unit=request.settings.mask_unit)  # tells a mistake here, not on a worker
    pipeline_options = PipelineOptions(options)
    pipeline_options.view_as(SetupOptions).save_main_session = False
    try:
        with beam.Pipeline(options=pipeline_options) as pipeline:
            build(pipeline, request, paths, outputs)
    except Exception as error:
        raise (_mistake_on_a_worker(error) or error) from None
    counts = files.read_json(tfrecord.sidecar_path(outputs[0]), dict)["counts"]
    local_runner.say_what_cannot_teach(counts)
    return counts


def _mistake_on_a_worker(error: Exception) -> InputError | None:
    """Runners pass an exception of a worker on as text, "... InputError: the sentence [while running 'a step'] ..."."""
    said = re.search(r"InputError: (.*?)(?: \[while running|\\n|\n|$)", f"{type(error).__name__}: {error}")
    return said and InputError(said[1])


def _refuse_what_is_there(outputs: list[str]) -> None:
    there = next(filter(files.exists, [tfrecord.sidecar_path(outputs[0]), *outputs]), None)
    if there is not None:
        raise InputError(f"{there}: already there; name another output, or --overwrite")


def build(pipeline: beam.Pipeline, request: local_runner.Request, paths: list[str], outputs: list[str]) -> None:
    """Adds the steps to a pipeline."""
    size = request.block_size(paths)
    blocks = (
        pipeline
        | "files" >> beam.Create(list(enumerate(paths)))
        | "spread files" >> beam.Reshuffle()
        | "cut" >> beam.FlatMap(_cut, size=size)
    )
    keys = beam.pvalue.AsSingleton(blocks | beam.Keys() | beam.combiners.ToList() | "sort" >> beam.Map(sorted))
    tokenized = (
        blocks
        | "spread blocks" >> beam.Reshuffle()
        | "tokenize" >> beam.ParDo(_Tokenize(request), keys).with_outputs("counts", main="tokens")
    )
    corpus_counts = tokenized.counts | "sum corpus" >> beam.CombineGlobally(_summed)
    plan = beam.pvalue.AsSingleton(
        corpus_counts | "plan" >> beam.Map(_plan, keys, request=request, shards=len(outputs))
    )
    made = (
        tokenized.tokens
        | "lend" >> beam.FlatMap(_lend, plan)
        | "borrow" >> beam.GroupByKey()
        | "make instances" >> beam.ParDo(_MakeRecords(), plan).with_outputs("counts", main="records")
    )
    instances = beam.pvalue.AsDict(
        made.counts | "instances" >> beam.MapTuple(lambda block, counts: (block, counts["instances"]))
    )
    shards = (
        made.records
        | "deal" >> beam.FlatMap(_deal, plan, instances)
        | "gather shards" >> beam.GroupByKey()
        | "write" >> beam.Map(_write, plan, outputs=outputs, compression=request.compression)
    )
    counts = (
        (tokenized.counts, made.counts | "counts" >> beam.Values())
        | beam.Flatten()
        | "sum" >> beam.CombineGlobally(_summed)
    )
    _ = (
        shards
        | "list shards" >> beam.combiners.ToList()
        | "side-car" >> beam.Map(
            _write_side_cars,
            beam.pvalue.AsSingleton(counts),
            beam.pvalue.AsDict(blocks),
            request=request,
            outputs=outputs,
        )
    )  # fmt: skip


def _cut(file: tuple[int, str], *, size: int) -> Iterator[tuple[tuple[int, int], corpus.Block]]:
    index, path = file
    for number, block in enumerate(corpus.blocks(path, size)):
        yield (index, number), block


class _Tokenize(beam.DoFn):
    """((file, number), Block) -> (block's number in the corpus, token arrays); and the counts."""

    def __init__(self, request: local_runner.Request):
        self._request = request

    def setup(self) -> None:
        request = self._request
        self._tokenizer = DocumentTokenizer(request.tokenizer, mask_unit=request.settings.mask_unit)

    def process(self, keyed, keys):
        key, block = keyed
        texts = corpus.read_documents(block, input_format=self._request.input_format)
        documents = self._tokenizer.documents(texts)
        counts = worker.token_counts(texts, documents, self._request.tokenizer.unk_id)
        yield beam.pvalue.TaggedOutput("counts", {**counts, "documents_cut": int(block.is_cut)})
        yield bisect.bisect_left(keys, key), stages.token_arrays(documents)


def _plan(counts: dict[str, int], keys, *, request: local_runner.Request, shards: int) -> Plan:
    if not counts.get("tokens"):
        raise InputError(f"{request.input_file}: expected sentences, but there is none")
    return local_runner.plan_of(request, blocks=len(keys), shards=shards).for_corpus(counts)


def _lend(tokenized, plan: Plan):
    """A block to itself, and to those whose partner it is: partners are rotations, so those of block 0 are the
    shifts."""
    block, arrays = tokenized
    yield block, (0, arrays)
    for order, shift in enumerate(plan.partners(0), start=1):
        yield (block - shift) % plan.blocks, (order, arrays)


class _MakeRecords(beam.DoFn):
    """(block, its token arrays and its partners') -> (block, serialised instances); and the counts by block."""

    def process(self, grouped, plan: Plan):
        block, ordered = grouped
        arrays = [arrays for _, arrays in sorted(ordered, key=lambda pair: pair[0])]
        examples, counts = stages.block_records(plan, block, list(map(stages.documents_of, arrays)))
        yield beam.pvalue.TaggedOutput("counts", (block, counts))
        yield block, examples


def _deal(made, plan: Plan, instances):
    """The columns of a block to the shards of their buckets."""
    block, examples = made
    before = sum(instances[each] for each in range(block))
    for column in range(min(plan.buckets, len(examples))):
        bucket = (before + column) % plan.buckets
        yield bucket % plan.shards, (bucket, block, examples[column :: plan.buckets])


def _write(dealt, plan: Plan, *, outputs: list[str], compression: str) -> dict:
    """The columns of a shard, in the order of bucket and block, as the file of the local runner."""
    shard, columns = dealt
    columns = sorted(columns, key=lambda column: column[:2])
    buckets = (
        tfrecord.framed(stages.shuffled(plan, bucket, [example for each in group for example in each[2]]))
        for bucket, group in itertools.groupby(columns, key=lambda column: column[0])
    )
    return stages.write_shard(outputs[shard], buckets, compression=compression)


def _summed(several) -> dict[str, int]:
    total: dict[str, int] = {}
    for counts in several:
        for name, count in counts.items():
            total[name] = total.get(name, 0) + count
    return total


def _write_side_cars(
    shards: list[dict], counts: dict, blocks: dict, *, request: local_runner.Request, outputs: list[str]
):
    if len(shards) < len(outputs):
        raise InputError(
            f"{request.input_file}: gives {counts['instances']} instances, too few for {len(outputs)} output files"
        )
    car = local_runner.side_car(request, local_runner.made_with(request, [blocks[key] for key in sorted(blocks)]))
    car["shards"] = sorted(shards, key=lambda shard: shard["name"])
    car |= {"complete": True, "counts": local_runner.summary(counts)}
    for path in dict.fromkeys(map(tfrecord.sidecar_path, outputs)):
        files.write_json(path, car)
