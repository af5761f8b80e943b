"""Trains a tagger of entities (people, places, dates ...) and predicts with it.

Files are KLUE's (a character and its tag a line), CoNLL's (an eojeol or morpheme and its tag a line) or marked text
(<세종대왕:PS>은 ...); which it is, is recognised. Entities are spans of characters of the text, aligned to tokens:

    python tools/finetune_ner.py --init_checkpoint=pretrained/model --train_file=klue-ner-v1.1_train.tsv \
        --eval_file=klue-ner-v1.1_dev.tsv --output_dir=tagger --do_train --do_eval
"""

from absl import flags

from kobert_tf2 import command_line

FLAGS = flags.FLAGS


def define_flags() -> None:
    flags.DEFINE_string("output_dir", None, "Folder for checkpoints/, model/, eval_results.txt, predictions and logs.")
    flags.DEFINE_string("init_checkpoint", None, "Weights to start from: a model directory, TF1 checkpoint or hub id.")
    flags.DEFINE_string("bert_config_file", None, "Google's bert_config.json, or a model directory.")
    flags.DEFINE_string("vocab_file", None, "The tokenizer's folder or vocab.txt; by default the model's own.")
    flags.DEFINE_string("train_file", None, "Entities to train on.")
    flags.DEFINE_string("eval_file", None, "Entities to evaluate on.")
    flags.DEFINE_string("predict_file", None, "Texts to find entities in: a file of entities, or one text per line.")
    flags.DEFINE_enum("file_format", None, ["klue", "conll", "marked"], "Format of all files. Not given: recognised.")
    flags.DEFINE_float("eval_fraction", 0.0, "Without --eval_file: hold out this part of the training file.")
    flags.DEFINE_bool("do_train", False, "Train.")
    flags.DEFINE_bool("do_eval", False, "Evaluate: entity F1 as seqeval, character F1 as KLUE, for each type.")
    flags.DEFINE_bool("do_predict", False, "Write predictions.json and predictions.tsv (KLUE's format).")
    flags.DEFINE_integer(
        "max_seq_length",
        128,
        "Pieces of a window of a long text. To predict: as trained.",
        lower_bound=3,
    )
    flags.DEFINE_integer(
        "doc_stride", None, "Pieces between the starts of consecutive windows. Not given: half a window."
    )
    flags.DEFINE_integer("train_batch_size", 32, "Windows per step, over all replicas.", lower_bound=1)
    flags.DEFINE_integer("predict_batch_size", 32, "Windows per batch, over all replicas.", lower_bound=1)
    flags.DEFINE_bool(
        "strip_josa",
        None,
        "Strip particles from predicted entities. Not given: if the tokenizer has no morpheme boundaries.",
    )
    command_line.define_tokenizer_flags()
    command_line.define_running_flags()
    command_line.define_tuning_flags()
    command_line.define_class_weights_flag()
    command_line.define_preflight_flags()


def main() -> dict:
    from kobert_tf2.tasks import preflight, tag

    settings = command_line.settings_from_flags(tag.FinetuneSettings)
    if FLAGS.preflight:
        return tag.preflight(settings, command_line.settings_from_flags(preflight.PreflightSettings))
    return tag.finetune(settings)


def ending(result: dict) -> command_line.Ending:
    return command_line.ending_of_finetuning("predictions.json")


if __name__ == "__main__":
    define_flags()
    command_line.require_output_dir()
    command_line.run(main, ending, if_repeated=command_line.RESUMES_TRAINING)
