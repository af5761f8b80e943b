"""The figures of speed, time and memory that README.md and configs/ state, each with the command that makes it again.

`tools/benchmark.py --all` runs them. A figure that this machine cannot give, because a package, a file or a device is
missing or its command fails, is reported as missing with the reason. Commands run one after another, each in a process
of its own; figures of the same command share one run.
"""

import dataclasses
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from typing import Any

from kobert_tf2 import files
from kobert_tf2.processor import Processor

Command = tuple[str, ...]  # A tool of tools/ and its flags.


@dataclasses.dataclass(frozen=True, kw_only=True)
class Figure:
    """A figure and how it is measured.

    Attributes:
      name: what it is.
      place: the file that states it.
      unit: its unit.
      command: the tool that measures it, whose last line of standard output is JSON. "{shared}" stands for the folder
        of real data ($KOBERT_SHARED), "{work}" for a temporary folder. Empty: no command gives it, see `why`.
      before: commands whose files in "{work}" it needs.
      value: the figure, from that JSON.
      why: why it has no command.
    """

    name: str
    place: str
    unit: str
    command: Command = ()
    before: tuple[Command, ...] = ()
    value: Callable[[Any], float] = float
    why: str = ""


# ---- The figures -----------------------------------------------------------------------------------------------------

_ALONE = ("--contestants=ours", "--rounds=3")
_RECOMPUTE = (
    "benchmark.py",
    *("--passes=train", "--sizes=base", "--shapes=8x512", "--precisions=float32", "--rounds=3"),
    "--contestants=ours,ours_recompute",
)
_CORPUS = "{shared}/data/nsmc/corpus.txt"
_VOCAB = ("build_vocab.py", f"--input_file={_CORPUS}", "--output_dir={work}/tokenizer", "--vocab_size=8000")
_GROWTH = (
    "benchmark_data.py",
    *(f"--input_file={_CORPUS}", "--vocab_file={work}/tokenizer/vocab.txt"),
    *("--growth=0.03,0.1", "--dupe_factor=2"),
)
_STAGES = {
    "learn": "learning the vocabulary",
    "count": "counting words",
    "tokenize": "tokenizing",
    "make_records": "making records",
    "write_shards": "writing shards",
    "survey": "surveying the corpus",
    "cut": "cutting the corpus",
}


def _row(result: dict, contestant: str) -> dict:
    return next(row for row in result["results"] if row["contestant"] == contestant)


def _of_ours(name: str) -> Callable[[dict], float]:
    return lambda result: _row(result, "ours")[name]


def _of_recompute(name: str) -> Callable[[dict], float]:
    return lambda result: _row(result, "ours_recompute")[name] / _row(result, "ours")[name]


def _step(size: str, shape: str, precision: str, vocab_size: int) -> Command:
    flags = (f"--sizes={size}", f"--shapes={shape}", f"--precisions={precision}", f"--vocab_size={vocab_size}")
    return ("benchmark.py", "--passes=train", *flags, *_ALONE)


def _answering(precision: str) -> Command:
    return ("benchmark_prediction.py", "--size=base", f"--precision={precision}", "--questions=32")


def _questions_per_second(result: dict) -> float:
    ours = next(value for value in result.values() if isinstance(value, dict) and "questions_per_second" in value)
    return ours["questions_per_second"]


def _stage(name: str) -> Callable[[dict], float]:
    return lambda result: result["at"]["stages"][name]["seconds_per_gb"]


FIGURES = (
    *(
        Figure(
            name=f"{what}, of 1 GB of text",
            place="README.md",
            unit="processor s",
            command=_GROWTH,
            before=(_VOCAB,),
            value=_stage(stage),
        )
        for stage, what in _STAGES.items()
    ),
    Figure(
        name="100 GB of text to records, all workers together",
        place="README.md",
        unit="processor h",
        command=_GROWTH,
        before=(_VOCAB,),
        value=lambda result: result["at"]["worker_hours"],
    ),
    Figure(
        name="peak memory of a step, base 8x512 float32",
        place="README.md",
        unit="MiB",
        command=_RECOMPUTE,
        value=_of_ours("peak_mib"),
    ),
    Figure(
        name="the same with --recompute, memory",
        place="README.md",
        unit="times",
        command=_RECOMPUTE,
        value=_of_recompute("peak_mib"),
    ),
    Figure(
        name="the same with --recompute, time",
        place="README.md",
        unit="times",
        command=_RECOMPUTE,
        value=_of_recompute("seconds"),
    ),
    *(
        Figure(
            name=f"questions answered in bulk, base {precision}",
            place="README.md",
            unit="questions/s",
            command=_answering(precision),
            value=_questions_per_second,
        )
        for precision in ("float32", "bfloat16")
    ),
    Figure(
        name="training step, 2x64, 32x64 float32, vocabulary 1,000",
        place="configs/tiny.flags",
        unit="tokens/s",
        command=_step("smoke", "32x64", "float32", 1000),
        value=_of_ours("tokens_per_second"),
    ),
    Figure(
        name="training step, 4x512, 32x128 float32, vocabulary 8,000",
        place="configs/small.flags",
        unit="tokens/s",
        command=_step("small", "32x128", "float32", 8000),
        value=_of_ours("tokens_per_second"),
    ),
    Figure(
        name="training step, 4x256, 32x64 bfloat16, vocabulary 8,000",
        place="configs/nsmc_pretrain.flags",
        unit="steps/s",
        command=_step("nsmc", "32x64", "bfloat16", 8000),
        value=lambda result: 1 / _row(result, "ours")["seconds"],
    ),
    *(
        Figure(
            name=f"upper bound on {topology}, {config}",
            place=f"README.md, configs/{config}.flags",
            unit="steps/s",
            why=(
                f"pretrain.py --flagfile=configs/{config}.flags --preflight --tpu_compiler --tpu_topology={topology} "
                "computes it from the compiler and measures nothing here"
            ),
        )
        for config, topologies in (
            ("base_tpu_128", ("v2-8", "v3-8", "v4-8", "v5e-8", "v5p-8", "v6e-8")),
            ("base_tpu_512", ("v3-8",)),
        )
        for topology in topologies
    ),
    Figure(
        name="training of the reader",
        place="configs/korquad.flags",
        unit="minutes",
        why="it starts from the model of configs/nsmc_pretrain.flags, which trains for half an hour",
    ),
)


# ---- Measuring -------------------------------------------------------------------------------------------------------


def chosen(names: Sequence[str]) -> list[Figure]:
    """The figures whose name or place contains one of `names`; all of them if there are none."""
    return [x for x in FIGURES if not names or any(part in x.name or part in x.place for part in names)]


class Measurement:
    """Runs the commands of figures, each once. `shared` is the folder of real data, `tools` that of the tools."""

    def __init__(self, tools: str, shared: str | None, environment: dict[str, str]) -> None:
        self._tools, self._shared, self._environment = tools, shared, environment
        self._done: dict[Command, Any] = {}  # The JSON of a command, or a `_Missing`.

    def rows(self, figures: Sequence[Figure]) -> list[dict]:
        """{name, place, unit, value, missing} of each figure; `missing` is the reason where `value` is None."""
        with tempfile.TemporaryDirectory() as work:
            return [self._row(figure, work) for figure in figures]

    def _row(self, figure: Figure, work: str) -> dict:
        row: dict[str, Any] = {name: getattr(figure, name) for name in ("name", "place", "unit")}
        row |= {"value": None, "missing": figure.why}
        try:
            if figure.command:
                row |= {"command": " ".join(figure.command), "value": self._value(figure, work)}
        except _MissingError as error:
            row["missing"] = str(error)
        shown = row["missing"] if row["value"] is None else f"{row['value']:,.4g} {figure.unit}"
        print(f"{figure.name}: {shown}", file=sys.stderr, flush=True)
        return row

    def _value(self, figure: Figure, work: str) -> float:
        for command in (*figure.before, figure.command):
            result = self._result(command, work)
        return figure.value(result)

    def _result(self, command: Command, work: str) -> Any:
        if command not in self._done:
            try:
                self._done[command] = self._run(command, work)
            except _MissingError as error:
                self._done[command] = error
        if isinstance(self._done[command], _MissingError):
            raise self._done[command]
        return self._done[command]

    def _run(self, command: Command, work: str) -> Any:
        if any("{shared}" in part for part in command) and not self._shared:
            raise _MissingError("needs real data: $KOBERT_SHARED names no folder")
        tool, *flags = (part.replace("{shared}", self._shared or "").replace("{work}", work) for part in command)
        run = [sys.executable, f"{self._tools}/{tool}", *flags]
        done = subprocess.run(run, capture_output=True, text=True, env=self._environment, check=False)
        if done.returncode:
            lines = done.stderr.strip().splitlines() or [f"status {done.returncode}"]
            raise _MissingError(f"{tool}: {lines[-1]}")
        return json.loads(done.stdout.splitlines()[-1])


class _MissingError(Exception):
    """A figure cannot be measured here; the message is the reason."""


# ---- What is written -------------------------------------------------------------------------------------------------


def file_name(date: str, processor: Processor) -> str:
    """benchmarks/<date>-<processor>.json"""
    slug = re.sub(r"[^a-z0-9]+", "-", processor.name.lower()).strip("-") or "processor"
    return f"benchmarks/{date}-{slug}.json"


def write(path: str, head: dict, rows: Sequence[dict]) -> None:
    """Writes the rows as JSON, and as a Markdown table beside it."""
    files.make_folder(os.path.dirname(path) or ".")
    files.write_json(path, head | {"figures": list(rows)})
    with files.whole_file(table_path(path), "wb") as file:
        file.write(table(head, rows).encode())


def table_path(path: str) -> str:
    return f"{path.removesuffix('.json')}.md"


def table(head: dict, rows: Sequence[dict]) -> str:
    """The Markdown table of a processor's figures."""
    described = "".join(f"- {name}: {value}\n" for name, value in head.items() if isinstance(value, str))
    lines = ["| figure | here | unit | stated in |", "|---|---:|---|---|"]
    for row in rows:
        value = f"missing: {row['missing']}" if row["value"] is None else f"{row['value']:,.4g}"
        lines.append(f"| {row['name']} | {value} | {row['unit']} | {row['place']} |")
    return f"# Figures of {head.get('processor', 'this machine')}\n\n{described}\n" + "\n".join(lines) + "\n"
