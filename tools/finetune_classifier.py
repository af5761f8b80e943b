"""Trains a classifier of sentences or pairs of sentences; the flags are those of the original run_classifier.py.

The files are TSVs with a header: `document` and `label`, where there are such `id` and `document2`. The whole NSMC, a
twentieth of it held out:

    python tools/finetune_classifier.py --init_checkpoint=pretrained/model --train_file=ratings.tsv \
        --eval_fraction=0.05 --output_dir=classifier --do_train --do_eval
"""

from absl import flags

from kobert_tf2 import command_line

FLAGS = flags.FLAGS


def define_flags() -> None:
    flags.DEFINE_string("output_dir", None, "Gets checkpoints/, model/, eval_results.txt, predictions.tsv, logs.")
    flags.DEFINE_string("init_checkpoint", None, "A model directory, TF1 checkpoint or hub id to begin with.")
    flags.DEFINE_string(
        "bert_config_file", None, "Google's bert_config.json, or a model directory. Alone: training from scratch."
    )
    flags.DEFINE_string(
        "vocab_file", None, "The tokenizer's folder, vocab.txt or hub id; that beside --init_checkpoint if not given."
    )
    flags.DEFINE_string(
        "task_name", None, "Of the original; without effect: a file's header says what its columns hold."
    )
    flags.DEFINE_string("data_dir", None, "A folder with train.tsv, dev.tsv and test.tsv.")
    flags.DEFINE_string("train_file", None, "Instead of train.tsv in --data_dir.")
    flags.DEFINE_string("eval_file", None, "Instead of dev.tsv in --data_dir.")
    flags.DEFINE_string("predict_file", None, "Instead of test.tsv in --data_dir; needs no labels.")
    flags.DEFINE_float("eval_fraction", 0.0, "Without a file to evaluate on: hold out this part of the training file.")
    flags.DEFINE_bool("do_train", False, "Train.")
    flags.DEFINE_bool("do_eval", False, "Evaluate: accuracy, F1, the table of confusions.")
    flags.DEFINE_bool("do_predict", False, "Write predictions.tsv with the probability of every label.")
    flags.DEFINE_integer("max_seq_length", 128, "Pieces a row at most; longer ones are cut, and counted.")
    flags.DEFINE_integer("train_batch_size", 32, "Global: of all replicas together.")
    flags.DEFINE_integer("eval_batch_size", 32, "Global: of all replicas together.")
    flags.DEFINE_integer("predict_batch_size", 32, "Global: of all replicas together.")
    flags.DEFINE_float("learning_rate", 5e-5, "The peak, at the end of the warm-up.")
    flags.DEFINE_float("num_train_epochs", 3.0, "How often every sentence is seen.")
    flags.DEFINE_float("warmup_proportion", 0.1, "The part of all steps in which the learning rate rises.")
    flags.DEFINE_integer("num_workers", 1, "Processes that tokenize.")
    command_line.define_tokenizer_flags()
    command_line.define_running_flags()
    command_line.define_preflight_flags()


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
    command_line.run(main, ending)
