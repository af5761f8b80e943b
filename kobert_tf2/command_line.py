"""The common code of every program in `tools/` around its one call into the package.

A program defines its flags with absl (so that `--flagfile=configs/x.flags` works), reads them in its own `main`, and
ends with `run(main)`. No other module of the package imports this one.
"""

import dataclasses
import os
import signal
import sys
import threading
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from absl import app, flags, logging

from kobert_tf2 import command_help, files, flag_bounds, flag_files, language, outputs, quiet_tensorflow, screen
from kobert_tf2.errors import InputError

FLAGS = flags.FLAGS
Settings = TypeVar("Settings")
flags.DEFINE_enum(
    "language", None, list(language.LANGUAGES), "Language of the reports and pages. Not given: the system's (LANG)."
)
flags.DEFINE_bool("verbose", False, "Show the log messages of TensorFlow and its libraries.")


def define_tokenizer_flags(*, learning: bool = False) -> None:
    """Defines the tokenizer's settings. With `learning`, for a program that trains a tokenizer, they have defaults.
    Otherwise, for a program that reads a tokenizer, flags not given follow the rule of `tokenization/pretrained.py`.
    """
    of = (lambda default: default) if learning else (lambda default: None)
    note = "" if learning else " Not given: as saved with the tokenizer; none for a vocab.txt that stands alone."
    kinds = ["mecab", "none", *([] if learning else ["sentencepiece"])]
    flags.DEFINE_enum("pre_tokenizer", of("mecab"), kinds, f"Morphemes first (mecab), or plain BERT (none).{note}")
    flags.DEFINE_enum(
        "continuation",
        of("eojeol"),
        ["eojeol", "morpheme"],
        "Which pieces get ##: all that do not begin an eojeol, or only those inside a morpheme.",
    )
    flags.DEFINE_bool("tags", of(False), "Append its part-of-speech tag to each piece: 사과나무/NNG ##를/JKO.")
    flags.DEFINE_bool("decompose_compounds", of(False), "Split compounds: 사과나무 -> 사과 ##나무.")
    flags.DEFINE_bool(
        "do_lower_case", of(False), "Lower-case the text; Hangul is never decomposed. On by default in the original."
    )
    flags.DEFINE_bool("strip_accents", of(False), "Strip accents from letters; Hangul is never decomposed.")
    flags.DEFINE_string("dictionary", None, "Folder of the mecab-ko dictionary. Not given: the installed one.")
    flags.DEFINE_string("user_dictionary", None, "A compiled Mecab user dictionary.")


TOKENIZER_FLAGS = (
    "pre_tokenizer",
    "continuation",
    "tags",
    "decompose_compounds",
    "do_lower_case",
    "strip_accents",
    "dictionary",
    "user_dictionary",
)


def tokenizer_settings(*, given_only: bool = False) -> dict:
    """The tokenizer flags as keyword arguments of `Tokenizer`; with `given_only`, only those on the command line."""
    return {name: FLAGS[name].value for name in TOKENIZER_FLAGS if not given_only or FLAGS[name].present}


def define_instance_flags() -> None:
    """Defines how pre-training instances are made from raw text; for `create_pretraining_data` and `pretrain`."""
    flags.DEFINE_bool("do_whole_word_mask", False, "Mask all pieces of a word: a piece and the ## pieces after it.")
    flags.DEFINE_enum(
        "mask_unit",
        None,
        ["token", "word", "morpheme"],
        "Unit of masking: a piece (the default), all pieces of a word (an eojeol), or all pieces of a morpheme.",
    )
    flags.DEFINE_integer("random_seed", 12345, "The same seed gives the same bytes, whatever --num_workers.")
    flags.DEFINE_integer(
        "dupe_factor", 10, "Number of times each document is used, each time with different pairs and masks."
    )
    flags.DEFINE_float("masked_lm_prob", 0.15, "Share of the tokens that are predicted.")
    flags.DEFINE_float("short_seq_prob", 0.1, "Probability that an instance has a random shorter length.")
    flags.DEFINE_bool(
        "pack_sequences",
        False,
        "Put several short instances into one row, without attention between them: almost no padding. Only our own "
        "pretrain.py reads such records.",
    )
    flags.DEFINE_enum(
        "input_format",
        "lines",
        ["lines", "paragraphs"],
        "A line is a sentence, or a paragraph, which is split into sentences (pip install 'kobert_tf2[sentences]').",
    )
    flags.DEFINE_integer("num_workers", None, "Number of processes. Not given: all cores.", lower_bound=1)


def define_beam_flags() -> None:
    """Defines where corpus processing runs."""
    flags.DEFINE_enum("runner", "local", ["local", "beam"], "On this machine, or by Apache Beam pipelines.")
    flags.DEFINE_multi_string(
        "beam_option",
        [],
        "With --runner=beam: an option of the pipeline, such as --beam_option=--runner=DaskRunner.",
    )


def is_beam_asked_for() -> bool:
    if FLAGS.beam_option and FLAGS.runner != "beam":
        raise InputError(
            f"--beam_option={FLAGS.beam_option[0]}: expected --runner=beam with it, but got --runner=local"
        )
    return FLAGS.runner == "beam"


def define_running_flags() -> None:
    """Defines where and how a model runs; shared by pre-training and fine-tuning."""
    flags.DEFINE_enum(
        "strategy",
        "auto",
        ["auto", "one_device", "mirrored", "multi_worker", "tpu"],
        "auto: the TPU of --use_tpu, else the workers of TF_CONFIG, else all GPUs, else one device.",
    )
    flags.DEFINE_enum(
        "precision", "float32", ["float32", "bfloat16"], "bfloat16 computes in bfloat16 and keeps weights in float32."
    )
    flags.DEFINE_bool("jit_compile", None, "Compile with XLA. Not given: on GPUs and TPUs, not on CPUs.")
    flags.DEFINE_integer(
        "micro_batch_size", None, "Rows of a replica computed at once; gradients are accumulated. Saves memory."
    )
    flags.DEFINE_bool(
        "recompute", False, "Compute each layer again for its gradient: about half of the memory, a third more time."
    )
    flags.DEFINE_enum("optimizer", "bert_adam", ["bert_adam", "adamw", "lamb"], "bert_adam is the original's.")
    flags.DEFINE_integer(
        "save_checkpoints_steps", 1000, "Steps between checkpoints, from which an interrupted run resumes."
    )
    flags.DEFINE_float(
        "save_checkpoints_minutes",
        10.0,
        "Also write a checkpoint if the last one is older than this; 0: by steps alone.",
    )
    flags.DEFINE_integer("keep_checkpoints", 3, "Number of newest checkpoints to keep.")
    flags.DEFINE_integer("log_steps", 100, "Steps between the records of train_log.jsonl and TensorBoard.")
    flags.DEFINE_integer("iterations_per_loop", 1000, "Maximum number of steps in one call of the compiled program.")
    flags.DEFINE_integer("seed", 0, "Random seed of initial weights, data order and dropout.")
    flags.DEFINE_bool("use_tpu", False, "Train on the TPU of --tpu_name.")
    flags.DEFINE_string("tpu_name", None, "A Cloud TPU's name, grpc://address:8470, or local on a TPU VM.")
    flags.DEFINE_string("tpu_zone", None, "The TPU's zone, if it cannot be determined.")
    flags.DEFINE_string("gcp_project", None, "The TPU's project, if it cannot be determined.")
    flags.DEFINE_string("master", None, "As in the original scripts: the TPU's address, if --tpu_name is not given.")
    flags.DEFINE_integer("num_tpu_cores", 8, "Expected number of TPU cores; checked if given.")
    flags.DEFINE_integer(
        "worker_timeout", 600, "Seconds that the workers of TF_CONFIG wait for each other at the start."
    )


def define_tuning_flags() -> None:
    """Defines how a pretrained model is trained further: which weights, how fast and how long; for the fine-tuning
    tools. The schedule's defaults are the original's.
    """
    flags.DEFINE_float("learning_rate", 5e-5, "Peak learning rate, at the end of the warm-up.")
    flags.DEFINE_float("num_train_epochs", 3.0, "Number of epochs.")
    flags.DEFINE_float("warmup_proportion", 0.1, "Fraction of the steps used for linear warm-up.")
    flags.DEFINE_integer("num_workers", 1, "Number of processes that tokenize.", lower_bound=1)
    flags.DEFINE_float(
        "layer_decay", 1.0, "Multiplier of the learning rate from each encoder layer to the one below it, such as 0.9."
    )
    flags.DEFINE_float(
        "head_learning_rate", None, "Learning rate of the weights outside the encoder. Not given: --learning_rate."
    )
    flags.DEFINE_string(
        "freeze",
        None,
        "Parts that are not trained: embeddings, pooler, encoder, or layer numbers, such as embeddings,0-5.",
    )
    flags.DEFINE_integer(
        "lora_rank",
        None,
        "Train the encoder's matrices through LoRA of this rank, such as 8; merged into them at the end.",
    )
    flags.DEFINE_integer(
        "early_stopping_patience",
        None,
        "Stop after this many evaluations on the dev set without improvement; the model gets the best weights.",
    )
    flags.DEFINE_integer("eval_steps", None, "Steps between evaluations on the dev set. Not given: one epoch.")
    flags.DEFINE_float(
        "label_smoothing", 0.0, "Label smoothing: the probability that is spread over all labels, such as 0.1."
    )


def define_class_weights_flag() -> None:
    """For the tools whose model predicts labels."""
    flags.DEFINE_string(
        "class_weights",
        None,
        "Weights of the labels in the loss: balanced, or label:weight pairs such as good:1,bad:4.",
    )


def define_preflight_flags() -> None:
    """Defines the flags of a TPU preflight, with the values of `preflight.PreflightSettings`."""
    flags.DEFINE_bool(
        "preflight", False, "Compile this run's program as for a TPU, and report memory and operations; needs no TPU."
    )
    flags.DEFINE_string(
        "tpu_topology",
        "v3-8",
        "For --preflight: v2-8, v3-8, v3-32, v4-8, v5e-8, v5p-8, v6e-8 ...; several make a table.",
    )
    flags.DEFINE_bool(
        "tpu_compiler",
        False,
        "For --preflight: compile with the TPU's own compiler, for all cores (extra tpu_compiler, no TPU, no network): "
        "whether it compiles, memory of a core, all-reduces, an upper bound of the speed.",
    )
    flags.DEFINE_integer("preflight_timeout", 1800, "Seconds that one compilation by the TPU compiler may take.")


def require_output_dir() -> None:
    """Makes --output_dir mandatory, except for a preflight, which writes nothing."""
    flags.register_multi_flags_validator(
        ["output_dir", "preflight"],
        lambda values: bool(values["output_dir"] or values["preflight"]),
        "Flag --output_dir must have a value other than None.",
    )


def settings_from_flags(cls: type[Settings]) -> Settings:
    """Fills a settings dataclass from the flags: each field with a flag of the same name takes that flag's value.

    If the field's default is None and the flag was not given, the field stays None whatever the flag's default is; the
    rest of the program determines the value. `tokenizer_settings` are the tokenizer flags that were given.
    """
    values: dict[str, Any] = {}
    for field in dataclasses.fields(cls):  # type: ignore[arg-type]
        if field.name == "tokenizer_settings":
            values[field.name] = tokenizer_settings(given_only=True)
        elif field.name in FLAGS and (FLAGS[field.name].present or field.default is not None):
            values[field.name] = FLAGS[field.name].value
    return cls(**values)


# Optional packages, and the extra of ours that installs each.
EXTRAS = {
    "apache_beam": "beam",
    **dict.fromkeys(("dask", "distributed"), "dask"),
    "kiwipiepy": "sentences",
    "pyarrow": "parquet",
    **dict.fromkeys(("fastapi", "fastapi_offline", "prometheus_client", "uvicorn"), "serve"),
    **dict.fromkeys(("onnx", "onnxruntime", "tf2onnx"), "onnx"),
    "tensorboard": "tensorboard",
    **dict.fromkeys(("torch", "transformers"), "torch"),
}

# The input and output flags of all tools: no output may be an input.
INPUT_FLAGS = (
    *("bert_config_file", "data_dir", "data_file", "dictionary", "eval_file", "init_checkpoint", "input", "input_file"),
    *("model_dir", "nbest_file", "null_odds_file", "predict_file", "predictions_file", "train_file"),
    *("user_dictionary", "vocab_file", "api_key_file", "encoder_dir", "sentences_file"),
)
OUTPUT_FLAGS = (
    *("josa_report", "misses_file", "output", "output_dir", "output_file", "per_question_file", "report", "work_dir"),
)


def _refuse_inputs_as_outputs() -> None:
    """Raises `InputError` if an output is an input, before the tool starts and loads TensorFlow for some seconds."""

    def given(names: tuple[str, ...]) -> dict:
        return {name: FLAGS[name].value for name in names if name in FLAGS and FLAGS[name].value}

    paths = given(OUTPUT_FLAGS)
    if isinstance(several := paths.get("output_file"), str) and not os.path.exists(several):
        paths["output_file"] = [name.strip() for name in several.split(",")]
    outputs.refuse_inputs(paths, given(INPUT_FLAGS))


# Set in the environment of a tool whose ending is shown by another program.
WITHOUT_ENDING = "KOBERT_TF2_WITHOUT_ENDING"


@dataclasses.dataclass(frozen=True)
class Ending:
    """The closing summary that a program shows to the user.

    Attributes:
      made: {description: path}; paths that are None or do not exist are omitted.
      next_command: a command that works unchanged, from `screen.command`.
      then: other commands, with placeholders in capital letters.
    """

    made: Mapping[str, str | None] = dataclasses.field(default_factory=dict)
    next_command: str | None = None
    then: tuple[str, ...] = ()


def ending_of_finetuning(predictions: str) -> Ending:
    """The files that a fine-tuning run wrote into `--output_dir`; the next step is to export the model. Empty for a
    preflight.
    """
    if FLAGS.preflight:
        return Ending()
    folder = FLAGS.output_dir
    export = {"model_dir": os.path.abspath(f"{folder}/model"), "output_dir": os.path.abspath(f"{folder}/export")}
    made = {
        "model": f"{folder}/model",
        "predictions": f"{folder}/{predictions}",
        "scores": f"{folder}/eval_results.txt",
        "report": f"{folder}/report.html",
    }
    return Ending(made, screen.command("export_model.py", export) if FLAGS.do_train else None)


# What running the same command again does, for the line printed after Ctrl-C.
BEGINS_AGAIN = "nothing was written; the same command begins again"
RESUMES_TRAINING = (
    "the same command goes on from the newest checkpoint in --output_dir, and begins an evaluation or prediction again"
)


class Interrupted(KeyboardInterrupt):
    """Ctrl-C, with a sentence that says what running the same command again does."""


def run(
    main: Callable[[], dict | None],
    ending: Callable[[dict], Ending] | None = None,
    *,
    if_repeated: str = BEGINS_AGAIN,
) -> None:
    """Parses the flags, calls `main()` and ends the process.

    The result of `main` is printed as one JSON object on the last line of standard output. Everything else goes to
    standard error: the result's numbers as a table, and the output of `ending`. An `InputError`, or an `OSError` such
    as a full disk, is printed as a sentence, with exit status 1; any other exception is a bug of ours and keeps its
    traceback. Ctrl-C gives exit status 130 and one line, `if_repeated`, that says what the same command would do.
    """
    _restart_in_utf_8()
    if sys.stderr is None:  # Closed by the shell: `print` would write to standard output instead.
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):  # A terminal without Hangul must not abort a run.
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    logging.set_verbosity(logging.WARNING)  # At INFO, TensorFlow logs every checkpoint.
    # Registers the flags defined here as key flags of the main program; absl counts only those that it defines itself.
    for flag in FLAGS.flags_by_module_dict().get(__name__, []):
        FLAGS.register_key_flag_for_module(sys.argv[0], flag)
    if {"--help", "-h", "-help", "--h"} & set(sys.argv[1:]):
        command_help.show(FLAGS.get_key_flags_for_module(sys.argv[0]))
        sys.exit(0)
    try:
        app.run(lambda argv: sys.exit(_call(main, argv, ending, if_repeated)), flags_parser=_parse)
    except KeyboardInterrupt:  # Before the tool started or while it ended.
        sys.exit(_interrupted(if_repeated))


def _restart_in_utf_8() -> None:
    """Restarts Python in UTF-8 mode: in an ASCII locale, file names would contain surrogates, which TensorFlow
    rejects.
    """
    if sys.getfilesystemencoding().lower() == "utf-8" or os.environ.get("PYTHONUTF8") == "1":
        return
    terminal = (sys.stdout and sys.stdout.encoding) or "ascii"
    os.environ |= {"PYTHONUTF8": "1", "PYTHONIOENCODING": f"{terminal}:backslashreplace"}
    os.execv(sys.executable, sys.orig_argv)


def _is_of_remote_files(error: Exception) -> bool:
    """Whether the error is TensorFlow's for a failed read or write under gs://; it names the path."""
    return type(error).__module__.startswith("tensorflow.python.framework.errors") and "://" in str(error)


def _interrupted(sentence: str) -> int:
    """Prints the sentence and returns the exit status for SIGINT; another Ctrl-C kills the process at once."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    print(f"\ninterrupted: {sentence}", file=sys.stderr)
    return 128 + signal.SIGINT


def _parse(argv: list[str]) -> list[str]:
    """Runs absl's parser after expanding our flag files; an error is printed as one line, with exit status 1."""
    try:
        return FLAGS([argv[0], *flag_files.expand(argv[1:])])
    except (flags.Error, InputError) as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        sys.exit(1)


def _call(
    main: Callable[[], dict | None],
    argv: list[str],
    ending: Callable[[dict], Ending] | None = None,
    if_repeated: str = BEGINS_AGAIN,
) -> int:
    if len(argv) > 1:
        print(f"error: expected flags alone, but got {' '.join(argv[1:])!r}; see --help", file=sys.stderr)
        return 1
    try:
        # No path or text has NUL characters, but a flag file may.
        for name in FLAGS:
            if isinstance(value := FLAGS[name].value, str) and "\0" in value:
                raise InputError(f"--{name}: expected text without NUL, but got {value!r:.100}")
        flag_bounds.check({name: FLAGS[name].value for name in FLAGS})
        _refuse_inputs_as_outputs()
        language.choose(FLAGS.language)
        if FLAGS.verbose:
            os.environ[quiet_tensorflow.LEVEL] = "0"
        os.environ.setdefault(quiet_tensorflow.LEVEL, "2")
        result = main()
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        named = f"{error.filename}: " if error.filename else ""
        print(f"error: {named}{error.strerror or error}", file=sys.stderr)
        return 1
    except ModuleNotFoundError as error:
        extra = EXTRAS.get((error.name or "").partition(".")[0])
        if extra is None:
            raise
        install = f"pip install 'kobert_tf2[{extra}]'"
        print(f"error: this needs {error.name}, which is not installed: {install}", file=sys.stderr)
        return 1
    except KeyboardInterrupt as error:
        return _interrupted(str(error) or if_repeated)
    except Exception as error:
        # Ctrl-C while `threading.Condition` takes its lock again: "cannot release un-acquired lock".
        if isinstance(error, RuntimeError) and isinstance(error.__context__, KeyboardInterrupt):
            return _interrupted(if_repeated)
        if not _is_of_remote_files(error):
            raise
        print(f"error: {files.first_line(error)}", file=sys.stderr)
        return 1
    if result is not None:
        _show_end(result, ending(result) if ending else Ending())
        print(files.json_text(result, encoding=sys.stdout.encoding or "utf-8"), flush=True)
    return 0


def _show_end(result: dict, ending: Ending) -> None:
    if os.environ.get(WITHOUT_ENDING):
        return
    there = {what: path for what, path in ending.made.items() if path and files.exists(path)}
    made = {what: path if files.is_remote(path) else os.path.abspath(path) for what, path in there.items()}
    width = max(map(len, made), default=0)
    lines = [f"  {what:{width}}  {path}" for what, path in made.items()]  # Not shortened: users copy them.
    parts = [("results", screen.results(result)), ("made", "\n".join(lines))]
    if ending.next_command:
        parts.append(("next", ending.next_command))
    parts += [("then, with your own files", command) for command in ending.then]
    for title, text in parts:
        if text:
            print(f"\n{title}\n{text}", file=sys.stderr)
    sys.stderr.flush()
