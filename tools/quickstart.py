"""The whole pipeline on small Korean data that it makes itself: from text to a served reader, in minutes on two cores.

    python tools/quickstart.py --output_dir quickstart_output

Runs the real tools one after another, each in a process of its own, and shows each command, so that the same commands
with other files are a real project: vocabulary, pre-training data, pre-training, fine-tuning on questions, scores on
questions about names and numbers that were never seen, export, and questions to the exported model. Ends with a table.
A stage that fails stops it with that stage's own message, and held-out EM under the floor is a failure too. After a
Ctrl-C the same command goes on with the stage that it had reached.
"""

import dataclasses
import json
import os
import pathlib
import shlex
import subprocess
import sys
import time
from collections.abc import Callable

from absl import flags

from kobert_tf2 import command_line, files, outputs, sample_data, screen
from kobert_tf2.errors import InputError

FLAGS = flags.FLAGS
flags.DEFINE_string(
    "output_dir",
    "quickstart_output",
    "Folder for all results: new, empty, or of an interrupted quickstart, which is continued.",
)
flags.DEFINE_enum(
    "size", "full", ["small", "full"], "small: to see that everything runs. full: to see that the model learns."
)
flags.DEFINE_integer("seed", 12345, "Seed of the data, the pre-training and the fine-tuning.")

TOOLS = pathlib.Path(__file__).resolve().parent


@dataclasses.dataclass(frozen=True)
class Size:
    """How much of everything; `exact_match_floor` is what held-out questions must reach, in percent."""

    documents: int
    training_paragraphs: int
    pretraining_steps: int
    epochs: float
    exact_match_floor: float


SIZES = {
    "small": Size(2_000, 1_000, 200, 4.0, 30.0),
    "full": Size(6_000, 3_000, 1_000, 4.0, 70.0),
}
HELD_OUT_PARAGRAPHS = 100
ASKED_AT_THE_END = 3

# A few minutes of training underfit: dropout would only slow it down.
BERT_CONFIG = {
    "attention_probs_dropout_prob": 0.0,
    "hidden_act": "gelu",
    "hidden_dropout_prob": 0.0,
    "hidden_size": 128,
    "initializer_range": 0.02,
    "intermediate_size": 512,
    "max_position_embeddings": 192,
    "num_attention_heads": 4,
    "num_hidden_layers": 2,
    "type_vocab_size": 2,
}


# ---- Data ------------------------------------------------------------------------------------------------------------
def make_data(folder: str, size: Size, seed: int) -> None:
    """Writes corpus.txt, train.json and held_out.json; held-out names and numbers occur in neither of the others."""
    with files.whole_file(f"{folder}/corpus.txt") as corpus:
        for document in sample_data.documents(size.documents, seed=seed):
            corpus.write("\n".join(document) + "\n\n")
    train = sample_data.korquad(size.training_paragraphs, seed=seed)
    files.write_json(f"{folder}/train.json", train)
    files.write_json(f"{folder}/held_out.json", sample_data.korquad(HELD_OUT_PARAGRAPHS, seed=seed + 1, held_out=True))


# ---- Stages ----------------------------------------------------------------------------------------------------------
@dataclasses.dataclass(frozen=True)
class Stage:
    """One run of one tool, and what of its summary belongs in the table."""

    name: str
    tool: str
    flags: dict[str, object]
    figures: Callable[[dict], str]


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What a stage gave: its summary, seconds of wall clock, peak resident memory in MiB."""

    stage: Stage
    summary: dict
    seconds: float
    peak_mib: float


# Lengths of questions, windows and answers, as the reader is trained and exported.
READING = {"max_seq_length": 160, "doc_stride": 64, "max_query_length": 32, "max_answer_length": 16}


def stages(folder: str, size: Size, seed: int) -> list[Stage]:
    """The pipeline in its order. Each stage reads what the ones before it wrote under `folder`."""
    return [
        _vocabulary(folder),
        _pretraining_data(folder, seed),
        _pretraining(folder, size, seed),
        _ceiling(folder),
        _reader(folder, size, seed),
        _evaluation(folder, "reading: evaluation", "predictions.json", report=f"{folder}/report.html"),
        _evaluation(folder, "reading: particles stripped", "predictions_stripped.json"),
        _export(folder),
    ]


def _vocabulary(folder: str) -> Stage:
    return Stage(
        "vocabulary",
        "build_vocab.py",
        {"input_file": f"{folder}/data/corpus.txt", "output_dir": f"{folder}/tokenizer", "vocab_size": 2000},
        lambda summary: f"{summary['vocab_size']} pieces, {summary['unk_rate']:.3%} unknown",
    )


def _pretraining_data(folder: str, seed: int) -> Stage:
    flag_values = {
        "input_file": f"{folder}/data/corpus.txt",
        "output_file": f"{folder}/records/corpus.tfrecord",
        "vocab_file": f"{folder}/tokenizer",
        "max_seq_length": 96,
        "max_predictions_per_seq": 15,
        "dupe_factor": 2,
        "num_workers": 2,
        "random_seed": seed,
    }
    return Stage(
        "pre-training data",
        "create_pretraining_data.py",
        flag_values,
        lambda summary: f"{summary['instances']:,} instances",
    )


def _pretraining(folder: str, size: Size, seed: int) -> Stage:
    flag_values = {
        "bert_config_file": f"{folder}/data/bert_config.json",
        "input_file": f"{folder}/records/corpus.tfrecord*",
        "vocab_file": f"{folder}/tokenizer",
        "output_dir": f"{folder}/pretrain",
        "do_train": True,
        "do_eval": True,
        "max_eval_steps": 20,
        "train_batch_size": 32,
        "learning_rate": 1e-3,
        "num_train_steps": size.pretraining_steps,
        "num_warmup_steps": size.pretraining_steps // 10,
        "save_checkpoints_steps": size.pretraining_steps,
        "seed": seed,
    }
    return Stage(
        "pre-training",
        "pretrain.py",
        flag_values,
        lambda summary: f"masked LM accuracy {summary['masked_lm_accuracy']:.1%}, loss {summary['loss']:.2f}",
    )


def _ceiling(folder: str) -> Stage:
    flag_values = {
        "data_file": f"{folder}/data/held_out.json",
        "ceiling": True,
        "vocab_file": f"{folder}/tokenizer",
    }
    return Stage("reading: ceiling", "evaluate_mrc.py", flag_values, _scores)


def _reader(folder: str, size: Size, seed: int) -> Stage:
    flag_values = {
        "init_checkpoint": f"{folder}/pretrain/model",
        "train_file": f"{folder}/data/train.json",
        "predict_file": f"{folder}/data/held_out.json",
        "output_dir": f"{folder}/reader",
        "do_train": True,
        "do_predict": True,
        "train_batch_size": 32,
        "predict_batch_size": 32,
        "learning_rate": 1e-3,
        "num_train_epochs": size.epochs,
        "seed": seed,
        **READING,
    }
    return Stage(
        "reading: training, prediction",
        "finetune_mrc.py",
        flag_values,
        lambda summary: f"{summary['predictions']:,} answers",
    )


def _evaluation(folder: str, name: str, predictions: str, **more: str) -> Stage:
    flag_values = {
        "data_file": f"{folder}/data/held_out.json",
        "predictions_file": f"{folder}/reader/{predictions}",
        **more,
    }
    return Stage(name, "evaluate_mrc.py", flag_values, _scores)


def _export(folder: str) -> Stage:
    return Stage(
        "export",
        "export_model.py",
        {"model_dir": f"{folder}/reader/model", "output_dir": f"{folder}/export", **READING},
        lambda summary: ", ".join(summary["signatures"]),
    )


def _scores(summary: dict) -> str:
    return f"EM {summary['exact_match']:.1f}, F1 {summary['f1']:.1f}"


# ---- Running ---------------------------------------------------------------------------------------------------------
def show(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def command_of(stage: Stage) -> list[str]:
    return [
        sys.executable,
        str(TOOLS / stage.tool),
        *(
            f"--{name}={str(value).lower() if isinstance(value, bool) else value}"
            for name, value in stage.flags.items()
        ),
    ]


def as_typed(stage: Stage) -> str:
    """The command as a user would type it, a flag a line."""
    words = ["python", f"tools/{stage.tool}", *map(shlex.quote, command_of(stage)[2:])]
    return " \\\n    ".join([" ".join(words[:2]), *words[2:]])


def run_command(command: list[str]) -> tuple[str, int, float, float]:
    """Runs a command with its standard error left on the screen; returns its output, status, seconds and peak MiB."""
    started = time.monotonic()
    # What each tool would suggest next is what the quickstart does next.
    environment = {**os.environ, command_line.WITHOUT_ENDING: "1"}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, encoding="utf-8", env=environment)
    try:
        output = process.stdout.read()
    except KeyboardInterrupt:  # The terminal's Ctrl-C has come to the tool too: it may be saving.
        process.wait()
        raise
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return output, process.returncode, time.monotonic() - started, usage.ru_maxrss / 1024


def run_stage(stage: Stage) -> Outcome:
    show(f"\n$ {as_typed(stage)}")
    try:
        output, status, seconds, peak_mib = run_command(command_of(stage))
    except KeyboardInterrupt:
        raise command_line.Interrupted(f"the same command goes on with the stage {stage.name!r}") from None
    if status != 0:
        raise InputError(
            f"stage {stage.name!r} failed: tools/{stage.tool} ended with status {status} (its message is above)"
        )
    summary = json.loads(output.splitlines()[-1])
    show(f"-> {stage.figures(summary)}  ({seconds:.0f} s)")
    return Outcome(stage, summary, seconds, peak_mib)


# ---- Questions to the exported model ---------------------------------------------------------------------------------
# A process of its own, as a service would be: it loads the export and prints one JSON list of answers.
ASK = """
import json, sys
import kobert_tf2 as kb
predictor = kb.Predictor.load(sys.argv[1])
pairs = json.load(sys.stdin)
print(json.dumps([predictor.answer(pair["question"], pair["context"])["text"] for pair in pairs], ensure_ascii=False))
"""


def held_out_questions(folder: str) -> list[dict]:
    data = files.read_json(f"{folder}/data/held_out.json")["data"]
    paragraphs = [paragraph for article in data for paragraph in article["paragraphs"]]
    return [{"context": paragraph["context"], **question} for paragraph in paragraphs for question in paragraph["qas"]]


def ask_exported_model(folder: str) -> tuple[int, int]:
    """Asks the export held-out questions; returns how many answers equal predictions.json, and how many were asked."""
    pairs = held_out_questions(folder)[:: max(1, HELD_OUT_PARAGRAPHS // 10)]
    predictions = files.read_json(f"{folder}/reader/predictions.json")
    command = [sys.executable, "-c", ASK, f"{folder}/export"]
    result = subprocess.run(command, input=json.dumps(pairs), stdout=subprocess.PIPE, text=True, check=False)
    if result.returncode != 0:
        raise InputError(f"the exported model at {folder}/export did not answer (its message is above)")
    answers = json.loads(result.stdout.splitlines()[-1])
    for pair, answer in list(zip(pairs, answers, strict=True))[:ASKED_AT_THE_END]:
        show(f"\n   {pair['context']}\n   ? {pair['question']}\n   > {answer}   (right: {pair['answers'][0]['text']})")
    agreeing = sum(predictions[pair["id"]] == answer for pair, answer in zip(pairs, answers, strict=True))
    return agreeing, len(pairs)


# ---- The whole -------------------------------------------------------------------------------------------------------
def table(outcomes: list[Outcome]) -> str:
    rows = [
        (o.stage.name, f"{o.seconds:6.0f} s", f"{o.peak_mib:6.0f} MiB", o.stage.figures(o.summary)) for o in outcomes
    ]
    name_width = max(len(row[0]) for row in rows)
    return "\n".join(f"{name:<{name_width}}  {seconds}  {peak}  {figures}" for name, seconds, peak, figures in rows)


class Progress:
    """`quickstart.json` in the folder: the flags, and of each finished stage what its tool returned."""

    def __init__(self, folder: str, flag_values: dict[str, object]):
        self._path, self._values = f"{folder}/quickstart.json", {"flags": flag_values, "stages": {}}
        if outputs.is_signed(self._path):
            self._go_on(folder, flag_values)
        elif files.exists(folder) and (not files.is_folder(folder) or os.listdir(folder)):
            raise InputError(
                f"{folder}: expected a new or empty folder, but something is there; name another --output_dir"
            )

    def _go_on(self, folder: str, flag_values: dict[str, object]) -> None:
        found = files.read_json(self._path, dict)
        for name, value in flag_values.items():
            if (before := found.get("flags", {}).get(name)) != value:
                raise InputError(
                    f"{folder}: the quickstart there has --{name}={before}, but now came {value}; give the same "
                    "flags to go on with it, or name another --output_dir"
                )
        self._values = {name: found[name] for name in ("flags", "stages")}

    def finished(self, stage: Stage) -> Outcome | None:
        held = self._values["stages"].get(stage.name)
        return Outcome(stage, **held) if held else None

    def finish(self, outcome: Outcome) -> None:
        held = {"summary": outcome.summary, "seconds": outcome.seconds, "peak_mib": outcome.peak_mib}
        self._values["stages"][outcome.stage.name] = held
        self.write()

    def write(self) -> None:
        files.write_json(self._path, outputs.signed(self._values, "quickstart"))


def main() -> dict:
    folder, size = FLAGS.output_dir, SIZES[FLAGS.size]
    progress = Progress(folder, {"size": FLAGS.size, "seed": FLAGS.seed})
    started = time.monotonic()
    show(f"Making Korean documents and questions in {folder}/data")
    progress.write()
    make_data(f"{folder}/data", size, FLAGS.seed)
    outcomes = []
    for stage in stages(folder, size, FLAGS.seed):
        if outcome := progress.finished(stage):
            show(f"\n{stage.name}: already done")
        else:
            outcome = run_stage(stage)
            progress.finish(outcome)
        outcomes.append(outcome)
        if stage.name == "vocabulary":
            config = {**BERT_CONFIG, "vocab_size": outcomes[-1].summary["vocab_size"]}
            files.write_json(f"{folder}/data/bert_config.json", config)
    agreeing, asked = ask_exported_model(folder)
    show(f"\n{table(outcomes)}\nThe exported model gives the fine-tuned model's answer to {agreeing} of {asked}.")
    return _verdict(outcomes, size, agreeing, asked, time.monotonic() - started)


def _verdict(outcomes: list[Outcome], size: Size, agreeing: int, asked: int, seconds: float) -> dict:
    evaluation = next(outcome.summary for outcome in outcomes if outcome.stage.name == "reading: evaluation")
    if evaluation["exact_match"] < size.exact_match_floor:
        raise InputError(
            f"held-out EM is {evaluation['exact_match']:.1f}, expected at least {size.exact_match_floor:.0f}: "
            "some stage learned nothing; the table above shows which"
        )
    if agreeing != asked:
        raise InputError(f"the exported model answers {asked - agreeing} of {asked} questions differently")
    return {
        "exact_match": evaluation["exact_match"],
        "f1": evaluation["f1"],
        "seconds": round(seconds, 1),
        "peak_mib": round(max(outcome.peak_mib for outcome in outcomes)),
    }


def ending(result: dict) -> command_line.Ending:
    folder = os.path.abspath(FLAGS.output_dir)
    made = {
        "tokenizer": f"{folder}/tokenizer",
        "pre-trained model": f"{folder}/pretrain/model",
        "reader": f"{folder}/reader/model",
        "reader's report": f"{folder}/reader/report.html",
        "export": f"{folder}/export",
    }
    return command_line.Ending(made, screen.command("serve.py", {"model_dir": f"{folder}/export"}))


if __name__ == "__main__":
    command_line.run(main, ending)
