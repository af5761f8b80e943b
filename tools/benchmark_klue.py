"""Fine-tunes a model on every KLUE task whose files are there, by KLUE's recipes, and prints KLUE's table.

    python tools/benchmark_klue.py --init_checkpoint=klue/bert-base --data_dir=klue_benchmark --output_dir=klue

The tasks are topics (ynat), similarity (sts), inference (nli), entities (ner), relations (re) and reading (mrc). Their
files are found in the folders of KLUE's repository (klue-nli-v1.1/klue-nli-v1.1_train.json) or all in one folder; a
task without them is listed as missing. Each runs in a process of its own with configs/klue_TASK.flags, is trained on
KLUE's training file and scored on its dev file. Stopped, the same command goes on with the task that it was at.
--tool_option changes a recipe: --tool_option=--precision=bfloat16 --tool_option=--num_train_epochs=1.
"""

import dataclasses
import json
import os
import pathlib
import re
import subprocess
import sys
import time
from collections.abc import Mapping

from absl import flags

from kobert_tf2 import command_line, files, outputs
from kobert_tf2.errors import InputError

FLAGS = flags.FLAGS
TOOLS = pathlib.Path(__file__).resolve().parent
RESULT_FILE = "klue_result.json"


@dataclasses.dataclass(frozen=True)
class Task:
    """A task: its tool, the flag of the file that it is scored on, KLUE's scores as (name, key of the summary)."""

    name: str
    tool: str
    files: str  # how KLUE's files of it begin
    scored_by: str
    scores: tuple[tuple[str, str], ...]


TASKS = (
    Task("ynat", "finetune_classifier.py", "ynat", "eval_file", (("macro F1", "f1_macro"),)),
    Task("sts", "finetune_classifier.py", "klue-sts", "eval_file", (("Pearson", "pearson"), ("F1 at 3.0", "f1_at_3"))),
    Task("nli", "finetune_classifier.py", "klue-nli", "eval_file", (("accuracy", "accuracy"),)),
    Task(
        "ner",
        "finetune_ner.py",
        "klue-ner",
        "eval_file",
        (("entity F1", "entity_macro_f1"), ("character F1", "character_macro_f1")),
    ),
    Task(
        "re",
        "finetune_classifier.py",
        "klue-re",
        "eval_file",
        (("micro F1", "f1_micro_without_no_relation"), ("AUPRC", "auprc")),
    ),
    Task("mrc", "finetune_mrc.py", "klue-mrc", "predict_file", (("EM", "exact_match"), ("ROUGE-W", "rouge_w"))),
)


def define_flags() -> None:
    flags.DEFINE_string("init_checkpoint", None, "The model to fine-tune: a model directory, TF1 checkpoint or hub id.")
    flags.DEFINE_string("vocab_file", None, "Its tokenizer. Not given: the one in --init_checkpoint.")
    flags.DEFINE_string("data_dir", None, "Folder of KLUE's files, which may be in subfolders.")
    flags.DEFINE_string(
        "output_dir", None, "Folder for the results: a subfolder for each task, and klue.json with all scores."
    )
    flags.DEFINE_list("tasks", [task.name for task in TASKS], "The tasks to run.")
    flags.DEFINE_multi_string(
        "tool_option", [], "A flag for every task's tool, such as --tool_option=--precision=bfloat16."
    )


# ---- Files -----------------------------------------------------------------------------------------------------------
def find_files(folder: str, task: Task) -> dict[str, str | None]:
    """{"train", "dev": the newest version of the file}; None for one that is not there."""
    names = [(folder, name) for name in files.names_in(folder)]
    for inner in files.names_in(folder):
        if re.fullmatch(rf"{task.files}(-v[\d.]+)?", inner):
            names += [(f"{folder}/{inner}", name) for name in files.names_in(f"{folder}/{inner}")]
    found: dict[str, str | None] = {}
    for part in ("train", "dev"):
        pattern = rf"{task.files}-v(?P<version>[\d.]+)_{part}\.(json|tsv)"
        matches = [(match["version"], path, name) for path, name in names if (match := re.fullmatch(pattern, name))]
        _, path, name = max(matches, default=(None, None, None))
        found[part] = path and f"{path}/{name}"
    return found


# ---- Running ---------------------------------------------------------------------------------------------------------
def command_of(task: Task, found: Mapping[str, str | None]) -> list[str]:
    given = {
        "init_checkpoint": FLAGS.init_checkpoint,
        "vocab_file": FLAGS.vocab_file,
        "train_file": found["train"],
        task.scored_by: found["dev"],
        "output_dir": folder_of(task),
    }
    own = [f"--{name}={value}" for name, value in given.items() if value is not None]
    return [str(TOOLS / task.tool), f"--flagfile=klue_{task.name}", *own, *FLAGS.tool_option]


def folder_of(task: Task) -> str:
    return f"{FLAGS.output_dir}/{task.name}"


def run_tool(command: list[str]) -> dict:
    """Runs a tool with its standard error left on the screen; its last line of output is its summary."""
    show(f"\n$ python {' '.join(command)}")
    process = subprocess.run([sys.executable, *command], stdout=subprocess.PIPE, text=True, encoding="utf-8")
    if process.returncode:
        raise InputError(
            f"{os.path.basename(command[0])} ended with status {process.returncode} (its message is above)"
        )
    return json.loads(process.stdout.splitlines()[-1])


def run_task(task: Task, found: Mapping[str, str | None]) -> dict[str, float | None]:
    """KLUE's scores of a task in percent, those of an earlier call where that has finished it."""
    command, path = command_of(task, found), f"{folder_of(task)}/{RESULT_FILE}"
    if files.exists(path):
        earlier = files.read_json(path, dict)
        if earlier.get("command") != command[1:]:
            raise InputError(f"{path}: this task was run with other flags; name another --output_dir")
        show(f"{task.name}: finished before, see {path}")
        return earlier["scores"]
    began = time.monotonic()
    summary = run_tool(command)
    if task.name == "mrc":
        predictions = f"--predictions_file={folder_of(task)}/predictions.json"
        summary |= run_tool([str(TOOLS / "evaluate_mrc.py"), f"--data_file={found['dev']}", predictions])
    scores = {name: _percent(task, summary.get(key)) for name, key in task.scores}
    result = {"command": command[1:], "scores": scores, "seconds": round(time.monotonic() - began), "summary": summary}
    files.write_json(path, outputs.signed(result, "benchmark_klue"))
    return scores


def _percent(task: Task, value: float | None) -> float | None:
    """Reading's scores come in percent already."""
    return value if value is None else round(value if task.name == "mrc" else 100 * value, 2)


def show(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def table(scores: Mapping[str, Mapping[str, float | None]], missing: Mapping[str, list[str]]) -> str:
    rows = [
        (task, name, "not defined" if value is None else f"{value:6.2f}")
        for task, of in scores.items()
        for name, value in of.items()
    ]
    rows += [(task, "missing", ", ".join(names)) for task, names in missing.items()]
    return "\n".join(f"{task:6}{name:14}{value}" for task, name, value in rows)


def _chosen_tasks() -> list[Task]:
    unknown = [name for name in FLAGS.tasks if name not in {task.name for task in TASKS}]
    if unknown or not FLAGS.tasks:
        known = ", ".join(task.name for task in TASKS)
        raise InputError(f"--tasks: expected names of {known}, but got {', '.join(unknown) or 'none'}")
    return [task for task in TASKS if task.name in FLAGS.tasks]


def main() -> dict:
    chosen = _chosen_tasks()
    if not files.is_folder(FLAGS.data_dir):
        raise InputError(f"{FLAGS.data_dir}: expected a folder with KLUE's files, but there is none")
    summary_file = f"{FLAGS.output_dir}/klue.json"
    outputs.check_file(summary_file, what="a table of benchmark_klue", is_ours=outputs.is_signed)
    found = {task: find_files(FLAGS.data_dir, task) for task in chosen}
    missing = {
        task.name: [f"{task.files}-v1.1_{part}" for part, path in of.items() if path is None]
        for task, of in found.items()
        if None in of.values()
    }
    if len(missing) == len(chosen):
        raise InputError(f"{FLAGS.data_dir}: expected the train and dev files of a task, but none has both")
    scores = {task.name: run_task(task, of) for task, of in found.items() if task.name not in missing}
    result = {"scores": scores, "missing": missing}
    files.write_json(summary_file, outputs.signed(result, "benchmark_klue"))
    show(f"\n{table(scores, missing)}")
    return result


if __name__ == "__main__":
    define_flags()
    flags.mark_flags_as_required(["init_checkpoint", "data_dir", "output_dir"])
    command_line.run(main)
