"""Pre-trains a BERT on masked LM and next sentence prediction; the flags are those of the original run_pretraining.py.

A run that was stopped or killed goes on with the same command. `--preflight` compiles the program and counts, without
a TPU.
"""

import os

from absl import flags

from kobert_tf2 import command_line, screen

FLAGS = flags.FLAGS


def define_flags() -> None:
    flags.DEFINE_string(
        "bert_config_file",
        None,
        "Google's bert_config.json, or a model directory. Not needed with --init_checkpoint; may lack vocab_size.",
    )
    flags.DEFINE_string(
        "input_file",
        None,
        "TFRecords of create_pretraining_data.py, or raw text, from which they are made first: comma-separated globs.",
    )
    flags.DEFINE_string("output_dir", "", "Folder for checkpoints/, model/, eval_results.txt and logs.")
    flags.DEFINE_string(
        "init_checkpoint",
        None,
        "Weights to start from, with a new schedule: a model directory, TF1 checkpoint or hub id.",
    )
    flags.DEFINE_string(
        "vocab_file", None, "The tokenizer's folder or a vocab.txt. Not given: the one that the records were made with."
    )
    flags.DEFINE_string("eval_file", None, "TFRecords for --do_eval. Not given: those of --input_file.")
    flags.DEFINE_integer("max_seq_length", 128, "Pieces in a sequence. Not given: as in the records.")
    flags.DEFINE_integer("max_predictions_per_seq", 20, "Masked pieces in a sequence. Not given: as in the records.")
    flags.DEFINE_bool("do_train", False, "Train.")
    flags.DEFINE_bool("do_eval", False, "Evaluate the newest checkpoint, or the weights just trained.")
    flags.DEFINE_integer("train_batch_size", 32, "Global batch size, over all replicas.")
    flags.DEFINE_integer("eval_batch_size", 8, "Global batch size, over all replicas.")
    flags.DEFINE_integer("max_eval_steps", 100, "Maximum number of batches to evaluate.")
    flags.DEFINE_float("learning_rate", 5e-5, "Peak learning rate, at the end of the warm-up.")
    flags.DEFINE_integer(
        "num_train_steps", 100000, "Number of training steps; the learning rate decays to 0 by the last."
    )
    flags.DEFINE_integer("num_warmup_steps", 10000, "Steps of linear warm-up.")
    command_line.define_tokenizer_flags()
    command_line.define_instance_flags()
    command_line.define_running_flags()
    command_line.define_preflight_flags()


def main() -> dict:
    from kobert_tf2.tasks import preflight, pretrain

    settings = command_line.settings_from_flags(pretrain.PretrainSettings)
    if FLAGS.preflight:
        return pretrain.preflight(settings, command_line.settings_from_flags(preflight.PreflightSettings))
    return pretrain.pretrain(settings)


def ending(result: dict) -> command_line.Ending:
    if FLAGS.preflight:
        return command_line.Ending()
    folder = FLAGS.output_dir
    model = f"{folder}/model"
    read = {"init_checkpoint": os.path.abspath(model), "output_dir": "reader", "do_train": True, "do_predict": True}
    classify = {"init_checkpoint": os.path.abspath(model), "output_dir": "classifier", "do_train": True}
    return command_line.Ending(
        {"model": model, "log": f"{folder}/train_log.jsonl", "report": f"{folder}/report.html"},
        screen.command("doctor.py", {"model": os.path.abspath(model)}) if FLAGS.do_train else None,
        then=(
            screen.command("finetune_mrc.py", {**read, "train_file": "TRAIN.json", "predict_file": "DEV.json"}),
            screen.command("finetune_classifier.py", {**classify, "train_file": "TRAIN.tsv"}),
        ),
    )


if __name__ == "__main__":
    define_flags()
    command_line.run(main, ending, if_repeated=command_line.RESUMES_TRAINING)
