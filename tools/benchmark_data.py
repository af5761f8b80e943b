"""Instances a second: this package's data creation against the original's algorithm, on the same text and tokenizer.

The original's way, written again here as a yardstick: the corpus in memory, one token list a sentence, one Python
object a token, a tf.train.Example a record. Both get the same tokenizer, so the difference is that of everything
after it. Processor seconds are given beside the clock, since they hold on a busy machine; for several workers only
the clock on an idle machine tells.
"""

import os
import random
import resource
import tempfile
import time

from absl import flags

from kobert_tf2 import command_line, files
from kobert_tf2.pretraining_data import local_runner
from kobert_tf2.pretraining_data.instances import Settings
from kobert_tf2.tokenization.tokenizer import Tokenizer

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


def main() -> dict:
    import tensorflow  # noqa: F401  (before the clock starts)

    settings = Settings(
        max_seq_length=FLAGS.max_seq_length,
        max_predictions_per_seq=FLAGS.max_predictions_per_seq,
        dupe_factor=FLAGS.dupe_factor,
    )
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
