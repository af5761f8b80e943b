"""Learns a WordPiece vocabulary from Korean text.

    python tools/build_vocab.py --input_file='corpus/*.txt' --output_dir=vocab --vocab_size=32000

The corpus is UTF-8 text, a sentence or a document a line. Written into --output_dir: `vocab.txt`;
`tokenizer_config.json`, so that `Tokenizer.from_pretrained` makes the very tokenizer that the vocabulary was
learned for; `coverage.json`, measured on lines that were kept from learning; and `bert_config.json`, a BERT-base
of this vocabulary's size, to be changed at will.

With --runner=beam the words are counted by an Apache Beam pipeline, which gives the same vocabulary; its intermediate
files are in <output_dir>.work as long as it runs.
"""

import functools
import os

from absl import flags

from kobert_tf2 import command_line, files, screen
from kobert_tf2.vocabulary import learning

FLAGS = flags.FLAGS

flags.DEFINE_string("input_file", None, "Text files: comma-separated globs.", required=True)
flags.DEFINE_string("output_dir", None, "Folder to write into.", required=True)
flags.DEFINE_integer("vocab_size", 32000, "Entries of vocab.txt, special tokens included.", lower_bound=8)
flags.DEFINE_enum(
    "model",
    "wordpiece",
    ["wordpiece", "morpheme"],
    "Subwords learned inside morphemes, or the most frequent whole morphemes and single syllables.",
)
flags.DEFINE_integer(
    "min_frequency", 2, "Minimum frequency of a word that the vocabulary is learned from.", lower_bound=1
)
flags.DEFINE_integer("num_unused", 0, "Number of [unusedN] entries to reserve.", lower_bound=0)
flags.DEFINE_enum("special_tokens", "[CLS]", ["[CLS]", "<CLS>"], "The five special tokens.")
flags.DEFINE_integer(
    "held_out", 100, "Hold out every Nth line to measure coverage instead of learning from it; 0: none.", lower_bound=0
)
flags.DEFINE_integer("num_workers", os.cpu_count() or 1, "Number of processes that tokenize the text.", lower_bound=1)
command_line.define_tokenizer_flags(learning=True)
command_line.define_beam_flags()


def main() -> dict:
    paths = files.match(FLAGS.input_file)
    return learning.build(
        paths,
        FLAGS.output_dir,
        settings=command_line.tokenizer_settings(),
        vocab_size=FLAGS.vocab_size,
        model=FLAGS.model,
        min_frequency=FLAGS.min_frequency,
        num_unused=FLAGS.num_unused,
        special_style=FLAGS.special_tokens,
        held_out=FLAGS.held_out,
        num_workers=FLAGS.num_workers,
        counter=counter(),
    )


def counter() -> learning.Counter | None:
    """Counts the words on the workers of a pipeline; None for this machine."""
    if not command_line.is_beam_asked_for():
        return None
    from kobert_tf2.vocabulary import beam_counting  # needs the extra `beam`

    work = FLAGS.output_dir.rstrip("/") + ".work"
    return functools.partial(beam_counting.counted, options=FLAGS.beam_option, work=work)


def ending(result: dict) -> command_line.Ending:
    folder = os.path.abspath(FLAGS.output_dir)
    create = {
        "input_file": FLAGS.input_file,
        "vocab_file": folder,
        "output_file": f"{os.path.dirname(folder)}/records/corpus.tfrecord",
        "max_seq_length": 128,
        "max_predictions_per_seq": 20,
        "dupe_factor": 5,
    }
    return command_line.Ending(
        {"vocabulary": f"{folder}/vocab.txt", "tokenizer": folder, "report": f"{folder}/report.html"},
        screen.command("create_pretraining_data.py", create),
    )


if __name__ == "__main__":
    command_line.run(main, ending)
