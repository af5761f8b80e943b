"""Every output of every tool against what must not be destroyed, in one table made from the tools' own flags."""

import ast
import json
import os
import pathlib
import stat

import pytest
import warm_python
from paths import ROOT

from kobert_tf2 import command_line, outputs

TOOLS = {path.stem: path for path in (ROOT / "tools").glob("*.py") if path.stem != "__init__"}
# Flags that hold text and name no file of the user. (The doctor's --model is read, but the doctor writes nothing, and
# elsewhere a flag of that name is a kind.)
NEITHER = {
    "model",
    *("freeze", "class_weights", "growth"),
    *("beam_option", "gcp_project", "master", "tpu_name", "tpu_topology", "tpu_zone", "task_name", "architecture"),
    *(
        "layers",
        "query",
        "case",
        "contestants",
        "model_garden_python",
        "passes",
        "precisions",
        "shapes",
        "sizes",
        "num_workers",
        "only",
        "host",
        "allowed_hosts",
    ),
    *("text_column", "pair_column", "label_column", "label_separator", "score_range", "additional_special_tokens"),
    *("entity_markers", "tasks", "tool_option"),
}


def text_flags(path: pathlib.Path) -> set[str]:
    """The names of the flags that a program defines and that hold text."""
    calls = (node for node in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(node, ast.Call))
    kinds = {"DEFINE_string", "DEFINE_multi_string", "DEFINE_list", "DEFINE_spaceseplist"}
    return {call.args[0].value for call in calls if isinstance(call.func, ast.Attribute) and call.func.attr in kinds}


DEFINED = {name: text_flags(path) for name, path in TOOLS.items()}


# What each tool needs in order to start, and with each output a name that it writes (None: the output is a file).
# A light tool is run to its end, too. All paths are seen from the sandbox below.
class Tool:
    def __init__(self, flags: str, written: dict[str, str | None], *, light: bool = False, more: dict | None = None):
        self.flags, self.written, self.light, self.more = flags.split(), written, light, more or {}


EVALUATE = "--data_file=data.json --predictions_file=predictions.json"
TRAIN = "--do_train --init_checkpoint=bert --train_file=train.tsv"
TABLE = {
    "build_user_dictionary": Tool("--input_file=words.csv", {"output_file": None}, light=True),
    "build_vocab": Tool(
        "--input_file=corpus.txt --vocab_size=60 --pre_tokenizer=none --num_workers=1 --min_frequency=1 --held_out=0",
        {"output_dir": "vocab.txt"},
        light=True,
    ),
    "create_pretraining_data": Tool(
        "--input_file=corpus.txt --vocab_file=vocab.txt --pre_tokenizer=none --num_workers=1 --max_seq_length=16 "
        "--max_predictions_per_seq=3",
        {"output_file": None, "work_dir": "tokens-00000"},
        light=True,
        more={"work_dir": "--output_file=fresh.tfrecord"},
    ),
    "evaluate_mrc": Tool(
        EVALUATE,
        dict.fromkeys(("report", "per_question_file", "josa_report", "misses_file")),
        light=True,
        more={"misses_file": "--ceiling"},
    ),
    "convert_checkpoint": Tool("--input=bert", {"output": "config.json"}),
    "extract_features": Tool("--input_file=corpus.txt --init_checkpoint=bert", {"output_file": None}),
    "export_model": Tool("--model_dir=bert", {"output_dir": "1/thesis.txt"}),
    "finetune_classifier": Tool(TRAIN, {"output_dir": "eval_results.txt"}),
    "finetune_mrc": Tool(TRAIN.replace("train.tsv", "data.json"), {"output_dir": "predictions.json"}),
    "finetune_ner": Tool(TRAIN, {"output_dir": "predictions.json"}),
    "pretrain": Tool(
        "--do_train --init_checkpoint=bert --input_file=records --max_seq_length=16", {"output_dir": "run_config.json"}
    ),
    "quickstart": Tool("", {"output_dir": "anything.txt"}),
    "benchmark": Tool("--sizes=tiny", {"output": None}),
    "benchmark_klue": Tool("--init_checkpoint=bert --data_dir=bert", {"output_dir": "klue.json"}),
}


def test_every_flag_that_holds_text_is_an_input_an_output_or_neither():
    known = {*command_line.INPUT_FLAGS, *command_line.OUTPUT_FLAGS, *NEITHER}
    shared = text_flags(ROOT / "kobert_tf2" / "command_line.py")
    for name, defined in {**DEFINED, "command_line": shared}.items():
        assert defined <= known, f"{name}: put these flags into command_line.INPUT_FLAGS or OUTPUT_FLAGS, or NEITHER"
    assert not set(command_line.INPUT_FLAGS) & set(command_line.OUTPUT_FLAGS)


def test_every_output_of_every_tool_has_its_row():
    # The doctor's --output_dir is where another run will write; the doctor writes nothing.
    writers = {name: flags for name, flags in DEFINED.items() if name != "doctor"}
    written = {name: flags & set(command_line.OUTPUT_FLAGS) for name, flags in writers.items()}
    assert {name: flags for name, flags in written.items() if flags} == {
        name: set(tool.written) for name, tool in TABLE.items()
    }


# --- Running ---

CONTEXT = "해미는 나루터에서 배를 탔다."
FILES = {
    "words.csv": "나루터\n",
    "corpus.txt": "해미는 배를 탔다.\n누리는 나루터에 갔다.\n\n배는 강을 건넜다.\n해미는 노래했다.\n" * 3,
    "vocab.txt": "\n".join(
        ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"해미는배를탔다.누리나루터에갔강을건넜노래했"]
    ),
    "data.json": json.dumps(
        {
            "data": [
                {
                    "title": "해미",
                    "paragraphs": [
                        {
                            "context": CONTEXT,
                            "qas": [
                                {"id": "q1", "question": "어디?", "answers": [{"text": "나루터", "answer_start": 4}]}
                            ],
                        }
                    ],
                }
            ]
        }
    ),
    "predictions.json": '{"q1": "나루터"}',
    "train.tsv": "label\ttext\n1\t배를 탔다\n0\t갔다\n",
    "records": "records",
    "bert/config.json": "{}",
    "bert/vocab.txt": "[PAD]",
}
FILES["vocab.txt"] = "\n".join(dict.fromkeys(FILES["vocab.txt"].split("\n"))) + "\n"
OTHERS = "somebody else's work"


def sandbox(folder: pathlib.Path) -> pathlib.Path:
    for name, content in FILES.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, "utf-8")
    return folder


def snapshot(folder: pathlib.Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in outputs.files_in(str(folder)) if (folder / name).is_file()}


def refusals(tool: Tool, flag: str) -> dict[str, tuple]:
    """{case: (what makes the sandbox ready, the value of the flag)}; every one must be refused."""
    name = tool.written[flag]

    def foreign_file(folder):
        (folder / "theirs").write_text(OTHERS)

    def foreign_folder(folder):
        path = folder / "theirs" / (name or "notes.txt")
        path.parent.mkdir(parents=True)
        path.write_text(OTHERS)

    def linked(make):
        def ready(folder):
            make(folder)
            (folder / "link").symlink_to("theirs")

        return ready

    cases = {
        "a foreign file": (foreign_file, "theirs"),
        "a link to a foreign file": (linked(foreign_file), "link"),
        "a foreign folder": (foreign_folder, "theirs"),
        "a link to a foreign folder": (linked(foreign_folder), "link"),
        "a folder that nobody can write": (lambda folder: None, "/proc/nowhere"),
    }
    if name is not None:
        cases["a device"] = (lambda folder: None, "/dev/null")
    given = dict(each.lstrip("-").partition("=")[::2] for each in [*tool.flags, *tool.more.get(flag, "").split()])
    for source in (value for other, value in given.items() if other in command_line.INPUT_FLAGS):
        cases |= {
            f"its input {source}": (lambda folder: None, source),
            f"its input {source}, spelled otherwise": (lambda folder: None, f"./bert/../{source}"),
            f"a link to its input {source}": (lambda folder, s=source: (folder / "link").symlink_to(s), "link"),
        }
        if not (ROOT / source).is_dir() and source != "bert":
            cases[f"a hard link to its input {source}"] = (
                lambda folder, s=source: os.link(folder / s, folder / "hard"),
                "hard",
            )
    return cases


def run(name: str, cases: list[dict], tmp_path) -> list[dict]:
    (tmp_path / "cases.json").write_text(json.dumps(cases))
    result = warm_python.run([ROOT / "tests/support/run_tool.py", TOOLS[name], tmp_path / "cases.json"], timeout=600)
    assert result.returncode == 0, result.stderr[-3000:]
    return json.loads(result.stdout.splitlines()[-1])


def assert_sentence(result: dict, case: str) -> str:
    assert result["status"] == 1, f"{case}: {result}"
    said = [line for line in result["stderr"].splitlines() if line.startswith("error: ")]
    assert len(said) == 1, f"{case}: {result['stderr']}"
    assert "Traceback" not in result["stderr"], f"{case}: {result['stderr']}"
    return said[0]


@pytest.mark.parametrize("name", TABLE)
def test_no_output_destroys_what_the_tool_did_not_make(name, tmp_path):
    tool, cases, named = TABLE[name], [], []
    overwrite = ["--overwrite"] if 'DEFINE_bool("overwrite"' in TOOLS[name].read_text("utf-8") else []
    for flag in tool.written:
        for case, (ready, value) in refusals(tool, flag).items():
            for asked in ([], overwrite) if overwrite else ([],):
                folder = sandbox(tmp_path / str(len(cases)))
                ready(folder)
                more = tool.more.get(flag, "").split()
                flags = [*tool.flags, *more, *asked, f"--{flag}={value}"]
                cases.append({"cwd": str(folder), "flags": flags})
                named.append((f"{name} --{flag}: {case} {asked}", value, folder, snapshot(folder)))
    for result, (case, value, folder, before) in zip(run(name, cases, tmp_path), named, strict=True):
        assert pathlib.Path(value).name in assert_sentence(result, case), f"{case}: {result}"
        assert snapshot(folder) == before, case
        assert stat.S_ISCHR(os.stat("/dev/null").st_mode), case


LIGHT = [(name, flag) for name, tool in TABLE.items() if tool.light for flag in tool.written]


@pytest.mark.parametrize(("name", "flag"), LIGHT)
def test_what_may_be_written_is_and_goes_where_a_link_leads(name, flag, tmp_path):
    """New, through a link, over its own, over its own that is read-only, to a device, onto a full disk."""
    tool = TABLE[name]
    is_file = tool.written[flag] is None
    folder = sandbox(tmp_path / "sandbox")
    (folder / "link").symlink_to("target")
    flags = [*tool.flags, *tool.more.get(flag, "").split()]
    case = lambda value, **how: {"cwd": str(folder), "flags": [*flags, f"--{flag}={value}"], **how}  # noqa: E731
    before = snapshot(folder)
    full, new, device = run(name, [case("full", fsize=16), case("link"), case("/dev/null")], tmp_path)
    said = assert_sentence(full, "a full disk")
    assert "File too large" in said
    assert not any(path.startswith("full") and ".work" not in path and ".json" not in path for path in snapshot(folder))
    assert new["status"] == 0, new
    assert (folder / "link").is_symlink()
    if flag != "work_dir" and name != "create_pretraining_data":
        assert (folder / "target").is_file() if is_file else (folder / "target" / tool.written[flag]).is_file()
    if is_file and name != "create_pretraining_data":
        assert device["status"] == 0, device
    else:
        assert_sentence(device, "a device")
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)
    after = snapshot(folder)
    assert {path: after[path] for path in before} == before
    assert not [path for path in after if ".tmp" in path or ".lock" in path]


@pytest.mark.parametrize("flag", ["report", "per_question_file", "josa_report", "misses_file"])
def test_an_earlier_report_is_replaced_unless_it_is_read_only(flag, tmp_path):
    tool, folder = TABLE["evaluate_mrc"], sandbox(tmp_path / "sandbox")
    flags = [*tool.flags, *tool.more.get(flag, "").split(), f"--{flag}=out"]
    case = {"cwd": str(folder), "flags": flags}
    assert [result["status"] for result in run("evaluate_mrc", [case, case], tmp_path)] == [0, 0]
    content = (folder / "out").read_bytes()
    (folder / "out").chmod(0o444)
    assert "read-only" in assert_sentence(run("evaluate_mrc", [case], tmp_path)[0], flag)
    assert (folder / "out").read_bytes() == content
