"""Writes a model directory as a SavedModel that answers in any TensorFlow process, without this package.

    python tools/export_model.py --model_dir=reader/model --output_dir=export

makes `export/1` with the signatures `serving_default` (ids in, logits out) and, for a reader, `answer_span` (the best
spans, found in the graph): it loads with TensorFlow alone. Where the reader's tokenizer is plain, `export/text/1` is
the same model with `answer_text` besides (strings in, answers out): whoever loads it needs tensorflow-text. A tagger's
has `tag_text` (strings in, entities out, with their particles).
"""

import os

from absl import flags

from kobert_tf2 import command_line, screen

FLAGS = flags.FLAGS
flags.DEFINE_string("model_dir", None, "The model directory (or TF1 checkpoint) to export.", required=True)
flags.DEFINE_string(
    "output_dir", None, "Folder for the export, which gets a subfolder named by --version.", required=True
)
flags.DEFINE_integer("version", 1, "The numbered folder, as TensorFlow Serving expects it.")
flags.DEFINE_bool("overwrite", False, "Replace an existing export of this version.")
flags.DEFINE_bool(
    "with_text", None, "Also export text/VERSION, which takes strings. Not given: if the tokenizer is plain BERT."
)
flags.DEFINE_enum(
    "format", "saved_model", ["saved_model", "onnx", "tflite"], "onnx, tflite: one file, checked with its runtime."
)
flags.DEFINE_enum(
    "weights",
    "float32",
    ["float32", "float16", "int8"],
    "Weights of a TFLite file; with int8 the share of equal answers is reported.",
)
flags.DEFINE_enum(
    "head",
    None,
    ["reading", "classification", "tokens", "embedding", "pretraining"],
    "What to export; by default the head that config.json names. Every model has an embedding.",
)
flags.DEFINE_integer("max_seq_length", None, "Reader: tokens in a window. Not given: as trained, or 384.")
flags.DEFINE_integer("doc_stride", None, "Reader: tokens between the starts of consecutive windows.")
flags.DEFINE_integer(
    "max_query_length", None, "Reader: maximum number of tokens in a question; longer ones are truncated."
)
flags.DEFINE_integer(
    "max_answer_length", None, "Reader: maximum number of tokens in an answer. Not given: as trained, or 30."
)
flags.DEFINE_integer(
    "n_best_size", None, "Reader: number of spans that answer_span returns. Not given: as trained, or 20."
)
flags.DEFINE_float(
    "null_score_diff_threshold",
    None,
    "Reader: no answer is returned if its score exceeds that of the best span by more than this. Not given: as "
    "trained.",
)

READING = (
    "max_seq_length",
    "doc_stride",
    "max_query_length",
    "max_answer_length",
    "n_best_size",
    "null_score_diff_threshold",
)


def main() -> dict:
    from kobert_tf2.serving import export

    return export.export(
        FLAGS.model_dir,
        FLAGS.output_dir,
        head=FLAGS.head,
        version=FLAGS.version,
        overwrite=FLAGS.overwrite,
        file_format=FLAGS.format,
        with_text=FLAGS.with_text,
        weights=FLAGS.weights,
        **{name: FLAGS[name].value for name in READING},
    )


def ending(result: dict) -> command_line.Ending:
    serve = {"model_dir": os.path.abspath(FLAGS.output_dir)}
    is_served = result["head"] == "reading" and FLAGS.format == "saved_model"
    return command_line.Ending({"export": result["path"]}, screen.command("serve.py", serve) if is_served else None)


if __name__ == "__main__":
    command_line.run(main, ending)
