"""Trains a classifier of sentences or pairs: one label, several labels, or a number; the flags are run_classifier's.

Files of NSMC, KorNLI, KorSTS and KLUE (YNAT, NLI, STS, RE) are read as they are; other TSV and JSON files by the names
of their columns. The whole NSMC, a twentieth of it held out; similarities; several labels, from columns of their own:

    python tools/finetune_classifier.py --init_checkpoint=pretrained/model --train_file=ratings.tsv \
        --eval_fraction=0.05 --output_dir=classifier --do_train --do_eval
    python tools/finetune_classifier.py --init_checkpoint=pretrained/model --train_file=sts-train.tsv \
        --eval_file=sts-dev.tsv --output_dir=similarity --do_train --do_eval
    python tools/finetune_classifier.py --init_checkpoint=pretrained/model --problem_type=multi_label \
        --train_file=train.tsv --eval_file=dev.tsv --text_column=comment --label_column=tags --choose_thresholds \
        --output_dir=tagger --do_train --do_eval
"""

from absl import flags

from kobert_tf2 import command_line

FLAGS = flags.FLAGS


def define_flags() -> None:
    flags.DEFINE_string(
        "output_dir", None, "Folder for checkpoints/, model/, eval_results.txt, predictions.tsv and logs."
    )
    flags.DEFINE_string("init_checkpoint", None, "Weights to start from: a model directory, TF1 checkpoint or hub id.")
    flags.DEFINE_string(
        "bert_config_file", None, "Google's bert_config.json, or a model directory. Alone: training from scratch."
    )
    flags.DEFINE_string(
        "vocab_file", None, "The tokenizer's folder, vocab.txt or hub id. Not given: the one in --init_checkpoint."
    )
    flags.DEFINE_string(
        "task_name", None, "Accepted for old command lines, without effect: the files' headers name the columns."
    )
    flags.DEFINE_string("data_dir", None, "A folder with train.tsv, dev.tsv and test.tsv (or .json, .jsonl).")
    flags.DEFINE_string("train_file", None, "Instead of train.tsv in --data_dir.")
    flags.DEFINE_string("eval_file", None, "Instead of dev.tsv in --data_dir.")
    flags.DEFINE_string("predict_file", None, "Instead of test.tsv in --data_dir; needs no labels.")
    flags.DEFINE_float("eval_fraction", 0.0, "Without a file to evaluate on: hold out this part of the training file.")
    flags.DEFINE_bool("do_train", False, "Train.")
    flags.DEFINE_bool("do_eval", False, "Evaluate: accuracy and F1 with a confusion matrix, or correlations.")
    flags.DEFINE_bool("do_predict", False, "Write predictions.tsv with the probability of every label.")
    _define_flags_of_labels()
    flags.DEFINE_integer(
        "max_seq_length",
        128,
        "Maximum number of pieces in a row; longer ones are truncated, and counted. To predict: as trained.",
    )
    flags.DEFINE_integer("train_batch_size", 32, "Global batch size, over all replicas.")
    flags.DEFINE_integer("eval_batch_size", 32, "Global batch size, over all replicas.")
    flags.DEFINE_integer("predict_batch_size", 32, "Global batch size, over all replicas.")
    command_line.define_tokenizer_flags()
    command_line.define_running_flags()
    command_line.define_tuning_flags()
    command_line.define_class_weights_flag()
    command_line.define_preflight_flags()


def _define_flags_of_labels() -> None:
    flags.DEFINE_enum(
        "problem_type",
        None,
        ["single_label", "multi_label", "regression"],
        "One label, any number of labels, or a number to predict. Not given: the trained model's; otherwise by the "
        "training file: similarities are numbers, lists are several labels.",
    )
    flags.DEFINE_string(
        "text_column", None, "Name of the column of the text, or its number in a file without a header."
    )
    flags.DEFINE_string("pair_column", None, "Name or number of the column of the second text of a pair.")
    flags.DEFINE_string(
        "label_column", None, "Name or number of the column of the label, or a JSON path such as labels.real-label."
    )
    flags.DEFINE_string("label_separator", ",", "Separator between several labels in a cell.")
    flags.DEFINE_list("score_range", None, "The lowest and the highest number of a regression, such as 0,5.")
    flags.DEFINE_float(
        "threshold",
        None,
        "With several labels: the probability from which a label is predicted. Not given: the model's.",
    )
    flags.DEFINE_bool(
        "choose_thresholds", False, "Choose a threshold for each label on the dev examples and keep them in the model."
    )
    flags.DEFINE_list(
        "additional_special_tokens", [], "Strings that become one trained piece each, such as [SUBJ],[/SUBJ]."
    )
    flags.DEFINE_list(
        "entity_markers",
        None,
        "Markers around subject and object of KLUE-RE. Not given: the model's, or [SUBJ],[/SUBJ],[OBJ],[/OBJ].",
    )


def main() -> dict:
    from kobert_tf2.tasks import classify, preflight

    settings = command_line.settings_from_flags(classify.FinetuneSettings)
    if FLAGS.preflight:
        return classify.preflight(settings, command_line.settings_from_flags(preflight.PreflightSettings))
    return classify.finetune(settings)


def ending(result: dict) -> command_line.Ending:
    return command_line.ending_of_finetuning("predictions.tsv")


if __name__ == "__main__":
    define_flags()
    command_line.require_output_dir()
    command_line.run(main, ending, if_repeated=command_line.RESUMES_TRAINING)
