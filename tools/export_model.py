"""Writes a model directory as a SavedModel that answers in any TensorFlow process, without this package.

    python tools/export_model.py --model_dir=reader/model --output_dir=export

makes `export/1` with the signatures `serving_default` (ids in, logits out) and, for a reader, `answer_span` (the best
spans, found in the graph). --with_text adds `answer_text` (strings in, answers out) where the tokenizer is plain.
"""

from absl import flags

from kobert_tf2 import command_line

FLAGS = flags.FLAGS
flags.DEFINE_string("model_dir", None, "The model directory (or TF1 checkpoint) to export.", required=True)
flags.DEFINE_string("output_dir", None, "Gets the export in a folder named by --version.", required=True)
flags.DEFINE_integer("version", 1, "The numbered folder, as TensorFlow Serving expects it.")
flags.DEFINE_bool("overwrite", False, "Replace an export that is already there under this version.")
flags.DEFINE_bool("with_text", False, "Plain reader: add answer_text. Loading the export then needs tensorflow-text.")
flags.DEFINE_enum("format", "saved_model", ["saved_model", "onnx"], "onnx: one file, checked with onnxruntime.")
flags.DEFINE_enum(
    "head",
    None,
    ["reading", "classification", "tokens", "embedding", "pretraining"],
    "What to export; by default the head that config.json names. Every model has an embedding.",
)
flags.DEFINE_integer("max_seq_length", None, "Reader: tokens in a window; by default 384 or what the model can take.")
flags.DEFINE_integer("doc_stride", None, "Reader: how many tokens further the next window begins.")
flags.DEFINE_integer("max_query_length", None, "Reader: a longer question is cut.")
flags.DEFINE_integer("max_answer_length", 30, "Reader: tokens in an answer at most.")
flags.DEFINE_integer("n_best_size", 20, "Reader: how many spans answer_span gives.")

READING = ("max_seq_length", "doc_stride", "max_query_length", "max_answer_length", "n_best_size")


def main() -> dict:
    from kobert_tf2 import serving

    return serving.export(
        FLAGS.model_dir,
        FLAGS.output_dir,
        head=FLAGS.head,
        version=FLAGS.version,
        overwrite=FLAGS.overwrite,
        file_format=FLAGS.format,
        with_text=FLAGS.with_text,
        **{name: FLAGS[name].value for name in READING},
    )


if __name__ == "__main__":
    command_line.run(main)
