"""A text corpus to TFRecords for pre-training: masked LM and next sentence prediction.

The corpus has one sentence a line and an empty line between documents. Killed and started again with the same flags,
it goes on.
"""

import os

from absl import flags

from kobert_tf2 import command_line, files, screen
from kobert_tf2.pretraining_data import local_runner, report
from kobert_tf2.pretraining_data.instances import Settings, mask_unit_of
from kobert_tf2.tokenization import pretrained
from kobert_tf2.tokenization.tokenizer import Tokenizer

FLAGS = flags.FLAGS

flags.DEFINE_string("input_file", None, "Raw text: comma-separated files or globs.", required=True)
flags.DEFINE_string(
    "output_file",
    None,
    "TFRecords: comma-separated files, or one name, of which --num_shards become name-00000-of-00016 and so on.",
    required=True,
)
flags.DEFINE_string(
    "vocab_file",
    None,
    "A vocab.txt, or the folder of a tokenizer or model; the settings in a tokenizer_config.json beside it hold.",
    required=True,
)
command_line.define_tokenizer_flags()
command_line.define_instance_flags()
flags.DEFINE_integer("max_seq_length", 128, "Maximum sequence length.")
flags.DEFINE_integer("max_predictions_per_seq", 20, "Maximum number of masked LM predictions per sequence.")
flags.DEFINE_integer(
    "num_shards", 1, "Number of output files, of even size, if --output_file is one name.", lower_bound=1
)
flags.DEFINE_enum(
    "compression", "", ["", "GZIP"], "Compress the records. The original run_pretraining.py reads no GZIP."
)
command_line.define_beam_flags()
flags.DEFINE_string("work_dir", None, "Folder for intermediate files. Not given: <output>.work.")
flags.DEFINE_bool("overwrite", False, "Replace the files of an earlier run under the same name.")


def main() -> dict:
    request = local_runner.Request(
        input_file=FLAGS.input_file,
        output_file=FLAGS.output_file,
        tokenizer=pretrained.from_flags(
            Tokenizer, FLAGS.vocab_file, given=command_line.tokenizer_settings(given_only=True)
        ),
        settings=Settings(
            mask_unit=mask_unit_of(FLAGS.mask_unit, FLAGS.do_whole_word_mask),
            **{name: FLAGS[name].value for name in _SETTINGS},
        ),
        random_seed=FLAGS.random_seed,
        num_shards=FLAGS.num_shards,
        compression=FLAGS.compression,
        input_format=FLAGS.input_format,
        num_workers=FLAGS.num_workers or len(os.sched_getaffinity(0)),
        work_dir=FLAGS.work_dir,
        overwrite=FLAGS.overwrite,
    )
    shard = request.outputs()[0]
    if files.is_stream(shard):
        return create(request)
    page = report.path_of(shard)
    report.check_output(page)
    counts = create(request)
    report.write(page, shard, request.tokenizer, counts)
    return counts


def create(request: local_runner.Request) -> dict:
    if not command_line.is_beam_asked_for():
        return local_runner.create(request)
    from kobert_tf2.pretraining_data import beam_runner  # needs the extra `beam`

    return beam_runner.create(request, FLAGS.beam_option)


_SETTINGS = (
    "max_seq_length",
    "max_predictions_per_seq",
    "masked_lm_prob",
    "short_seq_prob",
    "dupe_factor",
    "pack_sequences",
)


def ending(result: dict) -> command_line.Ending:
    output = os.path.abspath(FLAGS.output_file.split(",")[0])
    pretrain = {
        "flagfile": "tiny",  # To see it run; `small` and `base` are for real.
        "input_file": f"{output}*",
        "vocab_file": os.path.abspath(FLAGS.vocab_file),
        "output_dir": f"{os.path.dirname(output)}/pretrained",
    }
    made = {"manifest": f"{output}.json", "report": report.path_of(output)}
    return command_line.Ending(made, screen.command("pretrain.py", pretrain))


if __name__ == "__main__":
    command_line.run(main, ending, if_repeated="the same command goes on with what is finished in its .work folder")
