"""Instances a second: this package's data creation against the original's algorithm, on the same text and tokenizer.

The original's way, written again here as a yardstick: the corpus in memory, one token list a sentence, one Python
object a token, a tf.train.Example a record. Both get the same tokenizer, so the difference is that of everything
after it. Processor seconds are given beside the clock, since they hold on a busy machine; for several workers only
the clock on an idle machine tells.

With --growth=0.1,1: what each stage of the vocabulary and of the records costs at these gigabytes of text (the corpus
repeated, other words in each repetition), how it grows, and what it comes to at --target_gb. A stage runs in one
process, as one worker of a cluster runs it; its hours are therefore those of all workers together.
"""

import collections
import dataclasses
import itertools
import math
import multiprocessing
import os
import random
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterator

from absl import flags

from kobert_tf2 import command_line, files
from kobert_tf2.pretraining_data import corpus, local_runner
from kobert_tf2.pretraining_data.instances import DocumentTokenizer, Pieces, Settings
from kobert_tf2.pretraining_data.stages import Plan
from kobert_tf2.pretraining_data.worker import Worker
from kobert_tf2.tokenization.tokenizer import Tokenizer
from kobert_tf2.vocabulary import beam_counting, learning

FLAGS = flags.FLAGS

flags.DEFINE_string(
    "input_file", None, "A corpus: one sentence a line, an empty line between documents.", required=True
)
flags.DEFINE_string("vocab_file", None, "A vocab.txt.", required=True)
flags.DEFINE_float("megabytes", 4.0, "How much of the corpus is used (whole documents).")
flags.DEFINE_integer("max_seq_length", 128, "Maximum sequence length.")
flags.DEFINE_integer("max_predictions_per_seq", 20, "Maximum number of predictions.")
flags.DEFINE_integer("dupe_factor", 5, "Passes over each document.")
flags.DEFINE_list("num_workers", ["1", "2"], "Measure with so many processes each.")
flags.DEFINE_list("growth", [], "Measure each stage at so many gigabytes of text instead, such as 0.1,1.")
flags.DEFINE_float("target_gb", 100.0, "With --growth: the size that the costs are extrapolated to.")
flags.DEFINE_integer("learned_words", 2_000_000, "With --growth: at most so many distinct words go to the learner.")
command_line.define_tokenizer_flags(learning=True)


def original(lines: list[str], tokenizer: Tokenizer, settings: Settings, output: str, *, seed: int = 12345) -> int:
    """The original algorithm from lines of text to a TFRecord file; returns the number of instances."""
    rng = random.Random(seed)
    documents = [[]]
    for line in lines:
        tokens = tokenizer.tokenize(line)
        if tokens:
            documents[-1].append(tokens)
        elif documents[-1]:
            documents.append([])
    documents = [document for document in documents if document]
    rng.shuffle(documents)
    words = list(tokenizer.vocab)
    instances = []
    for _ in range(settings.dupe_factor):
        for index in range(len(documents)):
            instances += document_instances(documents, index, settings, words, rng)
    rng.shuffle(instances)
    write_examples(instances, tokenizer, settings, output)
    return len(instances)


def document_instances(documents, index: int, settings: Settings, words: list[str], rng: random.Random) -> list:
    """(tokens, segment_ids, positions, labels, is_random) of one pass over one document."""
    longest = settings.max_seq_length - 3
    target = rng.randint(2, longest) if rng.random() < settings.short_seq_prob else longest
    document, made, chunk, i = documents[index], [], [], 0
    while i < len(document):
        chunk.append(document[i])
        if i == len(document) - 1 or sum(map(len, chunk)) >= target:
            cut = rng.randint(1, len(chunk) - 1) if len(chunk) > 1 else 1
            a = [token for sentence in chunk[:cut] for token in sentence]
            is_random = len(chunk) == 1 or rng.random() < 0.5
            if is_random:
                b = elsewhere(documents, index, target - len(a), rng)
                i -= len(chunk) - cut
            else:
                b = [token for sentence in chunk[cut:] for token in sentence]
            truncate(a, b, longest, rng)
            tokens = ["[CLS]", *a, "[SEP]", *b, "[SEP]"]
            segments = [0] * (len(a) + 2) + [1] * (len(b) + 1)
            made.append((*mask(tokens, settings, words, rng), segments, is_random))
            chunk = []
        i += 1
    return made


def elsewhere(documents, index: int, length: int, rng: random.Random) -> list[str]:
    for _ in range(10):
        other = rng.randint(0, len(documents) - 1)
        if other != index:
            break
    found: list[str] = []
    for sentence in documents[other][rng.randint(0, len(documents[other]) - 1) :]:
        found += sentence
        if len(found) >= length:
            break
    return found


def truncate(a: list[str], b: list[str], longest: int, rng: random.Random) -> None:
    while len(a) + len(b) > longest:
        longer = a if len(a) > len(b) else b
        if rng.random() < 0.5:
            del longer[0]
        else:
            longer.pop()


def mask(tokens: list[str], settings: Settings, words: list[str], rng: random.Random):
    candidates = [i for i, token in enumerate(tokens) if token not in ("[CLS]", "[SEP]")]
    rng.shuffle(candidates)
    wanted = min(settings.max_predictions_per_seq, max(1, round(len(tokens) * settings.masked_lm_prob)))
    positions = sorted(candidates[:wanted])
    masked = list(tokens)
    for position in positions:
        if rng.random() < 0.8:
            masked[position] = "[MASK]"
        elif rng.random() >= 0.5:
            masked[position] = words[rng.randint(0, len(words) - 1)]
    return masked, positions, [tokens[position] for position in positions]


def write_examples(instances: list, tokenizer: Tokenizer, settings: Settings, output: str) -> None:
    import tensorflow as tf

    def integers(values, length: int):
        padded = list(values) + [0] * (length - len(values))
        return tf.train.Feature(int64_list=tf.train.Int64List(value=padded))

    width, places = settings.max_seq_length, settings.max_predictions_per_seq
    with tf.io.TFRecordWriter(output) as writer:
        for tokens, positions, labels, segments, is_random in instances:
            weights = [1.0] * len(labels) + [0.0] * (places - len(labels))
            features = {
                "input_ids": integers(tokenizer.convert_tokens_to_ids(tokens), width),
                "input_mask": integers([1] * len(tokens), width),
                "segment_ids": integers(segments, width),
                "masked_lm_positions": integers(positions, places),
                "masked_lm_ids": integers(tokenizer.convert_tokens_to_ids(labels), places),
                "masked_lm_weights": tf.train.Feature(float_list=tf.train.FloatList(value=weights)),
                "next_sentence_labels": integers([int(is_random)], 1),
            }
            example = tf.train.Example(features=tf.train.Features(feature=features))
            writer.write(example.SerializeToString())


def head_of(path: str, size: int) -> list[str]:
    """Lines of the corpus up to the first document end after `size` bytes."""
    lines, total = [], 0
    for line in files.read_lines(path):
        total += len(line.encode()) + 1
        if total > size and not line.strip():
            break
        lines.append(line)
    return lines


def processor_seconds() -> float:
    usages = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def timed(work) -> dict:
    """`work()` returns the number of instances."""
    clock, processor = time.perf_counter(), processor_seconds()
    instances = work()
    clock, processor = time.perf_counter() - clock, processor_seconds() - processor
    return {
        "instances": instances,
        "seconds": round(clock, 2),
        "processor_seconds": round(processor, 2),
        "instances_per_second": round(instances / clock),
        "instances_per_processor_second": round(instances / processor),
    }


# --- Growth ---


def repeated(path: str, size: int) -> Iterator[str]:
    """So many bytes of text, in documents: the corpus again and again, each time with some syllables exchanged for
    others, so that new words keep coming as they do in a growing corpus."""
    text = files.read_text(path).rstrip() + "\n\n"
    syllables = [chr(code) for code in range(0xAC00, 0xD7A4)]
    left = size
    for repetition in itertools.count():
        rng = random.Random(repetition)
        old, new = rng.sample(syllables, 600), rng.sample(syllables, 600)
        changed = text.translate(str.maketrans("".join(old), "".join(new))) if repetition else text
        length = len(changed.encode())
        if length > left:
            cut = changed.rfind("\n", 0, int(len(changed) * left / length)) + 1
            yield changed[:cut]
            return
        yield changed
        left -= length


class Stages:
    """The stages of `build_vocab` and `create_pretraining_data` in order, each as one worker runs it.

    A stage returns what it counted; `found` holds what those before it returned.
    """

    ORDER = ("survey", "count", "sum", "learn", "cut", "tokenize", "make_records", "write_shards")

    def __init__(self, text: str, folder: str, settings: Settings) -> None:
        self.found: dict = {}
        self._text, self._folder, self._settings = text, folder, settings
        self._tokenizer = Tokenizer(FLAGS.vocab_file, **command_line.tokenizer_settings())
        self._worker = Worker(
            tokenizer=DocumentTokenizer(self._tokenizer, mask_unit="token"),
            unk_id=self._tokenizer.unk_id,
            input_format="lines",
            work=folder,
        )

    def survey(self) -> dict:
        ranges = beam_counting.ranges_of([self._text])
        blocks = beam_counting.blocks_of(ranges, list(map(beam_counting.Survey(100), ranges)))
        return {"ranges": blocks, "parts": beam_counting.parts_of(len(blocks))}

    def count(self) -> dict:
        count = beam_counting.Count(command_line.tokenizer_settings(), 100, self._folder, self.found["parts"])
        return {"held_out": sum(len(count(numbered)) for numbered in enumerate(self.found["ranges"]))}

    def sum(self) -> dict:
        add = beam_counting.Sum(self._folder, len(self.found["ranges"]))
        sizes = list(map(add, range(self.found["parts"])))
        return {"sizes": sizes, "distinct_words": sum(sizes)}

    def learn(self) -> dict:
        counts = beam_counting.CountsOnDisk(self._folder, self.found["sizes"])
        ranked = sorted(counts.values(), reverse=True)
        least = max(2, ranked[FLAGS.learned_words] + 1 if len(ranked) > FLAGS.learned_words else 0)
        pieces = learning.learn(counts, vocab_size=32_000, min_frequency=least)
        return {"min_frequency": least, "vocab_size": len(pieces)}

    def cut(self) -> dict:
        return {"blocks": list(corpus.blocks(self._text, corpus.block_bytes(corpus.size_of(self._text))))}

    def tokenize(self) -> dict:
        counts = collections.Counter(documents_cut=0)
        for number, block in enumerate(self.found["blocks"]):
            counts.update(self._worker.tokenize(number, block))
        return {"counts": counts, "tokens": counts["tokens"]}

    def _plan(self) -> Plan:
        counts, settings = self.found["counts"], self._settings
        records = counts["tokens"] * settings.dupe_factor * _BYTES_A_TOKEN
        return Plan(
            settings=settings,
            pieces=Pieces.of(self._tokenizer),
            seed=0,
            blocks=len(self.found["blocks"]),
            shards=max(1, round(records / _SHARD_BYTES)),
        ).for_corpus(counts)

    def make_records(self) -> dict:
        plan = self._plan()
        made = [self._worker.make_records(plan, block)["instances"] for block in range(plan.blocks)]
        return {"before": list(itertools.accumulate(made[:-1], initial=0)), "instances": sum(made)}

    def write_shards(self) -> dict:
        plan, size = self._plan(), 0
        for shard in range(plan.shards):
            output = f"{self._folder}/shard"
            size += self._worker.write_shard(plan, self.found["before"], "", shard, output)["bytes"]
            os.remove(output)
        return {"shards": plan.shards, "record_bytes": size, "column_reads": plan.buckets * plan.blocks}


# Of records at 128 tokens and 20 predictions, about; and of a shard, as the README recommends.
_BYTES_A_TOKEN = 9
_SHARD_BYTES = 150e6
_SHOWN = ("distinct_words", "min_frequency", "tokens", "instances", "shards", "record_bytes", "column_reads")


def growth(settings: Settings) -> dict:
    sizes = [float(size) for size in FLAGS.growth]
    measured = {size: costs_at(size, settings) for size in sizes}
    return {"settings": dataclasses.asdict(settings), "measured": measured, "at": extrapolated(measured)}


def costs_at(gigabytes: float, settings: Settings) -> dict:
    """{stage: its cost} at so much text, and what was counted."""
    with tempfile.TemporaryDirectory() as folder:
        text = f"{folder}/text"
        with open(text, "w", encoding="utf-8") as file:
            file.writelines(repeated(FLAGS.input_file, int(gigabytes * 1e9)))
        stages = Stages(text, folder, settings)
        costs: dict = {}
        for name in Stages.ORDER:
            result, costs[name] = in_a_fork(getattr(stages, name))
            stages.found |= result
            costs[name]["disk_mib"] = round(sum(os.stat(each.path).st_size for each in os.scandir(folder)) / 2**20)
            print(f"{gigabytes} GB, {name}: {costs[name]}", file=sys.stderr, flush=True)
    return {**costs, **{name: stages.found[name] for name in _SHOWN}}


def extrapolated(measured: dict[float, dict]) -> dict:
    """The costs of each stage at the target: by a line through the measured sizes and 0, in which the largest weighs
    most; the learner's, which follows the number of words, by the power of its growth.

    `exponent` is that of the growth from the smallest to the largest size: 1 is linear.
    """
    target, sizes = FLAGS.target_gb, sorted(measured)
    stages: dict = {}
    for name in Stages.ORDER:
        seconds = [measured[size][name]["processor_seconds"] for size in sizes]
        slope = sum(s * t for s, t in zip(sizes, seconds, strict=True)) / sum(s * s for s in sizes)
        exponent = math.log(seconds[-1] / seconds[0]) / math.log(sizes[-1] / sizes[0]) if len(sizes) > 1 else 1.0
        then = seconds[-1] * (target / sizes[-1]) ** exponent if name == "learn" else slope * target
        stages[name] = {
            "seconds_per_gb": round(seconds[-1] / sizes[-1], 1),
            "exponent": round(exponent, 3),
            "processor_hours": round(then / 3600, 2),
            "peak_mib": measured[sizes[-1]][name]["peak_mib"],
        }
    last = measured[sizes[-1]]
    records, tokens = (last[name] / sizes[-1] * target for name in ("record_bytes", "tokens"))
    hours = sum(stage["processor_hours"] for name, stage in stages.items() if name not in _ON_ONE_MACHINE)
    return {
        "gigabytes": target,
        "stages": stages,
        "records_gb": round(records / 1e9),
        "disk_gb": round((2 * records + _TOKEN_FILE_BYTES * tokens) / 1e9),
        "shards_of_150_mb": math.ceil(records / _SHARD_BYTES),
        "hours_on_one_machine_alone": {name: stages[name]["processor_hours"] for name in _ON_ONE_MACHINE},
        "worker_hours": round(hours, 1),
        "hours_with_workers": {str(workers): round(hours / workers, 1) for workers in (16, 64, 256)},
    }


# The machine that starts a pipeline cuts the corpus and learns the vocabulary.
_ON_ONE_MACHINE = ("learn", "cut")
_TOKEN_FILE_BYTES = 2.3  # Of each token: its id, and whether it begins a unit.


def in_a_fork(work: Callable[[], dict]) -> tuple[dict, dict]:
    """(the result of `work`, its cost): in a process of its own, whose largest memory is that of this work."""
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe()

    def run() -> None:
        processor = processor_seconds()
        result = work()
        cost = {
            "processor_seconds": round(processor_seconds() - processor, 2),
            "peak_mib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
        }
        theirs.send((result, cost))

    process = context.Process(target=run)
    process.start()
    theirs.close()
    try:
        return ours.recv()
    finally:
        process.join()


def main() -> dict:
    settings = Settings(
        max_seq_length=FLAGS.max_seq_length,
        max_predictions_per_seq=FLAGS.max_predictions_per_seq,
        dupe_factor=FLAGS.dupe_factor,
    )
    return growth(settings) if FLAGS.growth else comparison(settings)


def comparison(settings: Settings) -> dict:
    import tensorflow  # noqa: F401  (before the clock starts)

    lines = head_of(FLAGS.input_file, int(FLAGS.megabytes * 1e6))
    with tempfile.TemporaryDirectory() as folder:
        text = os.path.join(folder, "corpus.txt")
        with files.whole_file(text) as file:
            file.write("\n".join(lines) + "\n")
        new = lambda: Tokenizer(FLAGS.vocab_file, **command_line.tokenizer_settings())  # noqa: E731
        results = {"original": timed(lambda: original(lines, new(), settings, os.path.join(folder, "original")))}
        for workers in map(int, FLAGS.num_workers):
            request = local_runner.Request(
                input_file=text,
                output_file=os.path.join(folder, f"ours-{workers}"),
                tokenizer=new(),
                settings=settings,
                num_workers=workers,
                num_shards=4,
            )
            results[f"workers_{workers}"] = timed(lambda request=request: local_runner.create(request)["instances"])
    base = results["original"]
    for result in results.values():
        for name in ("instances_per_second", "instances_per_processor_second"):
            result[f"{name}_ratio"] = round(result[name] / base[name], 2)
    return results


if __name__ == "__main__":
    command_line.run(main)
