"""The tools work wherever they are: names with blanks, newlines and Hangul, no HOME, no TMPDIR, LANG=C, ASCII alone."""

import ast
import json
import os
import pathlib
import subprocess
import sys

import pytest
from paths import ROOT

CONTEXT = "해미는 나루터에서 배를 탔다."
QUESTION = {"id": "질문 1", "question": "어디?", "answers": [{"text": "나루터", "answer_start": 4}]}
# Of a user of KorQuAD's kind: a folder that is everything at once.
PLACE = "빈 칸\n줄, [1] 'q' \"d\" $HOME %s"
SURROUNDINGS = {
    "LANG=C": {"LANG": "C", "LC_ALL": "C"},
    "ASCII alone": {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    "no HOME and no TMPDIR": {"HOME": None, "TMPDIR": "/nowhere/at/all"},
    "a HOME that is not there": {"HOME": "/nowhere/at/all", "XDG_CACHE_HOME": "/nowhere/at/all"},
    "a long TZ and no USER": {"TZ": "Asia/Seoul", "USER": None, "LOGNAME": None},
}


def fill(folder: pathlib.Path) -> None:
    (folder / "words.csv").write_text("나루터\n", "utf-8")
    (folder / "c.txt").write_text(
        "해미는 배를 탔다.\n누리는 나루터에 갔다.\n\n배는 강을 건넜다.\n해미는 노래했다.\n", "utf-8"
    )
    data = {"data": [{"title": "해미", "paragraphs": [{"context": CONTEXT, "qas": [QUESTION]}]}]}
    (folder / "data.json").write_text(json.dumps(data), "utf-8")
    (folder / "predictions.json").write_text('{"질문 1": "나루터에서"}', "utf-8")


@pytest.fixture(params=SURROUNDINGS)
def run(request, tmp_path):
    """Runs a tool in these surroundings, from the odd folder; returns its result."""
    folder = tmp_path / PLACE
    folder.mkdir()
    fill(folder)
    changed = SURROUNDINGS[request.param]
    environment = {name: value for name, value in {**os.environ, **changed}.items() if value is not None}
    environment["PYTHONDONTWRITEBYTECODE"] = "1"

    def run(tool: str, *flags: str) -> dict:
        command = [
            sys.executable,
            str(ROOT / "tools" / f"{tool}.py"),
            *(flag.replace("@", f"{folder}/") for flag in flags),
        ]
        result = subprocess.run(command, capture_output=True, cwd=folder, env=environment, timeout=240, check=False)
        said = result.stderr.decode("utf-8", "replace")
        assert result.returncode == 0, said
        assert "Traceback" not in said
        return json.loads(result.stdout.decode("utf-8"))  # All of it: whatever else is said goes to standard error.

    return run


def sources() -> dict[str, int]:
    paths = [*(ROOT / "kobert_tf2").rglob("*"), *(ROOT / "tools").rglob("*")]
    return {str(path): path.stat().st_mtime_ns for path in paths if path.is_file() and "__pycache__" not in path.parts}


def test_the_tools_of_text_work_anywhere_and_write_nothing_into_the_installation(run, tmp_path):
    before = sources()
    assert run("build_user_dictionary", "--input_file=@words.csv", "--output_file=@user.dic")["words"] == 1
    corpus = ("--input_file=@c.txt", "--num_workers=2")
    run("create_pretraining_data", *corpus, "--output_file=r", "--vocab_file=" + str(vocabulary(tmp_path)), *PLAIN)
    scores = run(
        "evaluate_mrc",
        *("--data_file=@data.json", "--predictions_file=@predictions.json", "--report=@report.html"),
        *("--per_question_file=@보고.json", "--josa_report=@조사.json", "--user_dictionary=@user.dic"),
    )
    assert (scores["exact_match"], scores["f1"] > 0) == (0.0, True)
    folder = tmp_path / PLACE
    assert json.loads((folder / "보고.json").read_text("utf-8"))["질문 1"]["prediction"] == "나루터에서"
    assert "나루터" in (folder / "report.html").read_text("utf-8")
    made = {"user.dic", "r", "r.json", "report_r.html", "report.html", "보고.json", "조사.json"}
    assert {path.name for path in folder.iterdir()} == {*made, "words.csv", "c.txt", "data.json", "predictions.json"}
    assert sources() == before


PLAIN = ("--max_seq_length=16", "--max_predictions_per_seq=3", "--dupe_factor=1", "--pre_tokenizer=none")


def vocabulary(folder: pathlib.Path) -> pathlib.Path:
    pieces = [
        "[PAD]",
        "[UNK]",
        "[CLS]",
        "[SEP]",
        "[MASK]",
        *dict.fromkeys("해미는배를탔다.누리나루터에갔강을건넜노래했"),
    ]
    path = folder / PLACE / ".." / "어휘 [2].txt"
    path.write_text("\n".join(pieces) + "\n", "utf-8")
    return path


# --- Every tool, in everything odd at once ---

ODD = {"LANG": "C", "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "HOME": None, "TMPDIR": "/nowhere"}
# The project's files cannot be written: what a folder that belongs to somebody else is, for root too.
_MOUNT = f'mount --bind "{ROOT}" "{ROOT}" && mount -o remount,bind,ro "{ROOT}" && exec "$@"'
READ_ONLY = ["unshare", "--mount", "sh", "-c", _MOUNT, "sh"]
LENGTHS = "--max_seq_length=16 --max_predictions_per_seq=3 "
WINDOWS = "--max_seq_length=16 --doc_stride=4 --max_query_length=6 "
FINETUNING = "--do_train --init_checkpoint=@사전/model --train_batch_size=2 --num_train_epochs=1 --num_workers=1 "
# In the order in which they need each other's files. @ is the odd folder, whose comma would part names of outputs.
TOOLS = {
    "build_user_dictionary": "--input_file=@words.csv --output_file=@user.dic",
    "build_vocab": "--input_file=@c.txt --output_dir=@어휘 --vocab_size=60 --min_frequency=1 --held_out=0 "
    "--user_dictionary=@user.dic",
    "create_pretraining_data": LENGTHS + "--input_file=@c.txt --output_file=r --vocab_file=@어휘",
    "pretrain": LENGTHS
    + "--bert_config_file=@bert.json --vocab_file=@어휘 --input_file=@r --output_dir=@사전 --do_train "
    "--do_eval --train_batch_size=4 --num_train_steps=2 --num_warmup_steps=1",
    "finetune_mrc": FINETUNING + WINDOWS + "--output_dir=@독해 --train_file=@data.json --do_predict "
    "--predict_file=@data.json",
    "evaluate_mrc": "--data_file=@data.json --predictions_file=@독해/predictions.json --report=@report.html",
    "finetune_classifier": FINETUNING + "--max_seq_length=16 --output_dir=@분류 --train_file=@train.tsv",
    "finetune_ner": FINETUNING + "--max_seq_length=16 --output_dir=@개체 --train_file=@ner.tsv",
    "extract_features": "--input_file=@lines.txt --output_file=@features.jsonl --init_checkpoint=@사전/model "
    "--layers=-1 --max_seq_length=16",
    "search_sentences": "--input_file=@c.txt --query=배 --init_checkpoint=@사전/model --max_seq_length=16",
    "convert_checkpoint": "--input=@사전/model --output=@변환 --to=tf1",
    "export_model": WINDOWS + "--model_dir=@독해/model --output_dir=@내보냄",
    "doctor": "--model=@독해/model",
    "benchmark_data": LENGTHS + "--input_file=@c.txt --vocab_file=@어휘/vocab.txt --megabytes=0.1 --num_workers=1",
}
# These make all their files from nothing (quickstart, benchmarks) or wait for requests.
NOT_HERE = {
    "quickstart",
    "serve",
    "benchmark",
    "benchmark_text",
    "benchmark_prediction",
    "benchmark_klue",
}
BERT = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}


def test_every_tool_has_its_place_here():
    assert {path.stem for path in (ROOT / "tools").glob("*.py")} - {"__init__"} == {*TOOLS, *NOT_HERE}


@pytest.mark.slow
def test_every_tool_works_where_everything_is_odd_and_the_installation_is_read_only(tmp_path):
    folder = tmp_path / PLACE
    folder.mkdir()
    fill(folder)
    (folder / "bert.json").write_text(json.dumps({**BERT, "vocab_size": 60, "max_position_embeddings": 16}), "utf-8")
    (folder / "train.tsv").write_text("label\ttext\n1\t배를 탔다\n0\t갔다\n" * 2, "utf-8")
    (folder / "ner.tsv").write_text("해미\tB-PS\n는\tO\n\n나루터\tB-LC\n에\tO\n\n", "utf-8")
    (folder / "lines.txt").write_text("해미는 배를 탔다\n나루터 ||| 강\n", "utf-8")
    environment = {name: value for name, value in {**os.environ, **ODD}.items() if value is not None}
    prefix = READ_ONLY if subprocess.run([*READ_ONLY, "true"], capture_output=True, check=False).returncode == 0 else []
    for tool, given in TOOLS.items():
        if tool == "pretrain":  # The size of the vocabulary is known only now.
            pieces = (folder / "어휘" / "vocab.txt").read_text("utf-8").split()
            config = {**BERT, "vocab_size": len(pieces), "max_position_embeddings": 16}
            (folder / "bert.json").write_text(json.dumps(config), "utf-8")
        flags = [flag.replace("@", f"{folder}/") for flag in given.split()]
        command = [*prefix, sys.executable, str(ROOT / "tools" / f"{tool}.py"), *flags]
        done = subprocess.run(command, capture_output=True, cwd=folder, env=environment, timeout=600, check=False)
        said = f"{tool}: {done.stderr.decode('utf-8', 'replace')}"
        assert done.returncode == 0, said
        assert "Traceback" not in said, said
        json.loads(done.stdout.decode("utf-8").splitlines()[-1])
    assert sorted(path.name for path in tmp_path.iterdir()) == [PLACE]  # Nothing beside it.


def test_no_line_of_the_package_reads_the_clock_on_the_wall():
    """A clock that goes back changes nothing: durations are `time.monotonic`, order is that of names and steps."""
    for path in [*(ROOT / "kobert_tf2").rglob("*.py"), *(ROOT / "tools").glob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Attribute):
                read = f"{getattr(node.value, 'id', '')}.{node.attr}"
                assert read not in ("time.time", "datetime.now", "os.path.getmtime", "time.localtime"), (
                    f"{path}: {read}"
                )
                assert node.attr not in ("getmtime", "st_mtime", "st_mtime_ns", "utcnow", "st_ctime"), (
                    f"{path}: {node.attr}"
                )
