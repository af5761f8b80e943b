"""Writes what a BERT computes for each token of each line of a file; the flags are those of the original script.

    python tools/extract_features.py --input_file=texts.txt --output_file=features.jsonl \\
        --init_checkpoint=pretrained/model

A line is a text, or a pair with ' ||| ' between. --pooling=mean gives one vector a line instead of one for each token
and layer; from Python, kb.embed(texts, "pretrained/model") does that.
"""

from absl import flags

from kobert_tf2 import command_line
from kobert_tf2.errors import InputError

FLAGS = flags.FLAGS


def define_flags() -> None:
    flags.DEFINE_string("input_file", None, "One text per line, or a pair separated by ' ||| '.")
    flags.DEFINE_string("output_file", None, "File for the features of each line.")
    flags.DEFINE_list("layers", ["-1", "-2", "-3", "-4"], "Layers to write: -1 is the last, 0 the first.")
    flags.DEFINE_string(
        "bert_config_file",
        None,
        "Google's bert_config.json, or a model directory. Not given: the one in --init_checkpoint.",
    )
    flags.DEFINE_string("init_checkpoint", None, "The weights: a model directory, TF1 checkpoint or hub id.")
    flags.DEFINE_string(
        "vocab_file", None, "The tokenizer's folder or a vocab.txt. Not given: the one in --init_checkpoint."
    )
    flags.DEFINE_integer(
        "max_seq_length", 128, "Maximum number of pieces, special tokens included; longer lines are truncated."
    )
    flags.DEFINE_integer("batch_size", 32, "Lines per batch.")
    flags.DEFINE_bool(
        "use_tpu",
        False,
        "Accepted for old command lines, without effect: features are computed on this machine's processor or GPU.",
    )
    flags.DEFINE_string("master", None, "Accepted for old command lines, without effect.")
    flags.DEFINE_integer("num_tpu_cores", 8, "Accepted for old command lines, without effect.")
    flags.DEFINE_bool(
        "use_one_hot_embeddings", False, "Accepted for old command lines, without effect: the results are the same."
    )
    flags.DEFINE_enum(
        "format",
        "jsonl",
        ["jsonl", "npz", "tfrecord"],
        "JSON lines as the original writes them, NumPy arrays, or TFRecords.",
    )
    flags.DEFINE_enum(
        "pooling",
        "tokens",
        ["tokens", "mean", "cls", "pooled"],
        "A vector for each token and layer, or one per line: mean or [CLS] of the last layer, or the pooler's output.",
    )
    flags.DEFINE_bool("output_attentions", False, "Write the attention weights of --layers too.")
    flags.DEFINE_enum("precision", "float32", ["float32", "bfloat16"], "Precision of the computation.")
    flags.DEFINE_bool("overwrite", False, "Replace an existing file of features.")
    command_line.define_tokenizer_flags()


def main() -> dict:
    if FLAGS.use_tpu:
        raise InputError("--use_tpu: features are computed on this machine's processor or GPU; leave the flag out")
    from kobert_tf2.tasks import extract

    return extract.extract(command_line.settings_from_flags(extract.ExtractionSettings))


def ending(result: dict) -> command_line.Ending:
    return command_line.Ending({"features": FLAGS.output_file})


if __name__ == "__main__":
    define_flags()
    flags.mark_flags_as_required(["input_file", "output_file", "init_checkpoint"])
    command_line.run(main, ending)
