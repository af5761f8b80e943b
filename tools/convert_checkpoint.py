"""Moves a BERT between TF1 checkpoints, model directories (Hugging Face) and keras-hub, and shows that it is the same.

    python tools/convert_checkpoint.py --input=multi_cased_L-12_H-768_A-12 --output=bert --to=hf
    python tools/convert_checkpoint.py --input=bert --output=for_tf1 --to=tf1

The input is a TF1 checkpoint (its prefix, its .index, or its folder, with bert_config.json and vocab.txt beside it), a
model directory, a hub id such as klue/bert-base, or a keras-hub preset folder. It ends with one forward pass on both
sides, each by its own library where that is installed (pip install 'kobert_tf2[torch]'), and prints the largest
difference; answers that differ by more than rounding end it with status 1, and nothing is written.
"""

import os

from absl import flags

from kobert_tf2 import command_line, screen

FLAGS = flags.FLAGS
flags.DEFINE_string("input", None, "TF1 checkpoint, model directory, hub id or keras-hub preset.", required=True)
flags.DEFINE_string("output", None, "The folder to write.", required=True)
flags.DEFINE_enum("to", "hf", ["hf", "tf1", "keras_hub"], "The format to write.")
flags.DEFINE_string(
    "architecture", None, "The architecture in config.json. Not given: the one that the heads belong to."
)
flags.DEFINE_bool("overwrite", False, "Write into an existing output folder.")
flags.DEFINE_bool("allow_pickle", False, "Read pytorch_model.bin, a pickle, if there is no safetensors file.")
flags.DEFINE_string("bert_config_file", None, "The configuration, if it is not in the weights' folder.")
flags.DEFINE_string("vocab_file", None, "The vocabulary, if it is not in the weights' folder.")
flags.DEFINE_bool("compare", True, "Compare the outputs of both models at the end.")
command_line.define_tokenizer_flags()


def main() -> dict:
    from kobert_tf2.conversion import convert

    return convert.convert(
        FLAGS.input,
        FLAGS.output,
        to=FLAGS.to,
        architecture=FLAGS.architecture,
        overwrite=FLAGS.overwrite,
        allow_pickle=FLAGS.allow_pickle,
        compare=FLAGS.compare,
        config_file=FLAGS.bert_config_file,
        vocab_file=FLAGS.vocab_file,
        tokenizer_settings=command_line.tokenizer_settings(given_only=True),
    )


def ending(result: dict) -> command_line.Ending:
    look = {"model": os.path.abspath(FLAGS.output)}
    return command_line.Ending(
        {"model": FLAGS.output}, screen.command("doctor.py", look) if FLAGS.to != "keras_hub" else None
    )


if __name__ == "__main__":
    command_line.run(main, ending)
