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


@pytest.fixture(params=SURROUNDINGS)
def run(request, tmp_path):
    """Runs a tool in these surroundings, from the odd folder; returns its result."""
    folder = tmp_path / PLACE
    folder.mkdir()
    (folder / "words.csv").write_text("나루터\n", "utf-8")
    (folder / "c.txt").write_text(
        "해미는 배를 탔다.\n누리는 나루터에 갔다.\n\n배는 강을 건넜다.\n해미는 노래했다.\n", "utf-8"
    )
    data = {"data": [{"title": "해미", "paragraphs": [{"context": CONTEXT, "qas": [QUESTION]}]}]}
    (folder / "data.json").write_text(json.dumps(data), "utf-8")
    (folder / "predictions.json").write_text('{"질문 1": "나루터에서"}', "utf-8")
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
        return json.loads(result.stdout.decode("utf-8").splitlines()[-1])

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
