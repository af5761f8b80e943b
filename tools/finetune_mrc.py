"""Trains a reader on KorQuAD or SQuAD and predicts answers; the flags are those of the original run_squad.py.

A run that was stopped or killed goes on with the same command. Answers are tied to characters of the context: none is
lost, and every answer given is a slice of its context.
"""

from absl import flags

from kobert_tf2 import command_line

FLAGS = flags.FLAGS


def define_flags() -> None:
    flags.DEFINE_string("output_dir", None, "Folder for checkpoints/, model/, predictions, reports and logs.")
    flags.DEFINE_string("init_checkpoint", None, "Weights to start from: a model directory, TF1 checkpoint or hub id.")
    flags.DEFINE_string(
        "bert_config_file", None, "Google's bert_config.json, or a model directory. Alone: training from scratch."
    )
    flags.DEFINE_string(
        "vocab_file", None, "The tokenizer's folder or a vocab.txt. Not given: the one in --init_checkpoint."
    )
    flags.DEFINE_string(
        "train_file", None, "Questions to train on: KorQuAD, SQuAD, KLUE-MRC, or rows of Hugging Face datasets."
    )
    flags.DEFINE_string("predict_file", None, "Questions to answer, in any of these forms.")
    flags.DEFINE_bool("do_train", False, "Train.")
    flags.DEFINE_bool("do_predict", False, "Answer the questions of --predict_file.")
    flags.DEFINE_integer(
        "max_seq_length", 384, "Pieces of a window: question, part of the context and three special tokens."
    )
    flags.DEFINE_integer("doc_stride", 128, "Pieces between the starts of consecutive windows.")
    flags.DEFINE_integer("max_query_length", 64, "Maximum number of pieces of a question; longer ones are truncated.")
    flags.DEFINE_integer("train_batch_size", 32, "Windows per step, over all replicas.")
    flags.DEFINE_integer("predict_batch_size", 8, "Windows per batch, over all replicas.")
    flags.DEFINE_integer("n_best_size", 20, "Number of answers to each question in nbest_predictions.json.")
    flags.DEFINE_integer("max_answer_length", 30, "Maximum number of pieces in an answer.")
    flags.DEFINE_bool("version_2_with_negative", False, "SQuAD 2.0: some questions have no answer.")
    flags.DEFINE_float(
        "null_score_diff_threshold",
        0.0,
        "SQuAD 2.0: no answer is predicted if its score exceeds that of the best span by more than this.",
    )
    flags.DEFINE_enum(
        "unanswerable_windows",
        "keep",
        ["keep", "drop", "sample"],
        "Windows of a training question that lack its answer: keep them (as the original), drop them, or sample as "
        "many as there are with an answer.",
    )
    flags.DEFINE_bool(
        "strip_josa",
        None,
        "Write answers without their particles to predictions.json. Not given: if the tokenizer has no morpheme "
        "boundaries (--pre_tokenizer=none). Raw and stripped answers are always written to files of their own too.",
    )
    flags.DEFINE_enum(
        "metric",
        None,
        ["korquad1", "squad1", "squad2", "korquad2", "klue_mrc"],
        "The official metric to compute. Not given: determined from --predict_file, as evaluate_mrc does.",
    )
    flags.DEFINE_bool("verbose_logging", False, "Accepted for old command lines, without effect.")
    command_line.define_tokenizer_flags()
    command_line.define_running_flags()
    command_line.define_tuning_flags()
    command_line.define_preflight_flags()


def main() -> dict:
    from kobert_tf2.tasks import preflight, read

    settings = command_line.settings_from_flags(read.FinetuneSettings)
    if FLAGS.preflight:
        return read.preflight(settings, command_line.settings_from_flags(preflight.PreflightSettings))
    return read.finetune(settings)


def ending(result: dict) -> command_line.Ending:
    return command_line.ending_of_finetuning("predictions.json")


if __name__ == "__main__":
    define_flags()
    command_line.require_output_dir()
    command_line.run(main, ending, if_repeated=command_line.RESUMES_TRAINING)
