"""The program that scores: what it prints, what it writes, what it says about wrong input."""

import json
import pathlib
import subprocess
import sys

import pytest

TOOL = pathlib.Path(__file__).resolve().parents[2] / "tools" / "evaluate_mrc.py"
CONTEXT = "해미는 나루터에서 배를 탔다."
DATA = {
    "data": [
        {
            "title": "해미",
            "paragraphs": [
                {
                    "context": CONTEXT,
                    "qas": [
                        {"id": "q1", "question": "어디?", "answers": [{"text": "나루터", "answer_start": 4}]},
                        {"id": "q2", "question": "누구?", "answers": [{"text": "해미", "answer_start": 0}]},
                    ],
                }
            ],
        }
    ]
}


@pytest.fixture
def run(tmp_path):
    (tmp_path / "data.json").write_text(json.dumps(DATA))
    (tmp_path / "predictions.json").write_text(json.dumps({"q1": "나루터에서", "q2": "해미"}))

    def run_tool(*flags, data="data.json"):
        command = [sys.executable, str(TOOL), f"--data_file={tmp_path / data}", *flags]
        return subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)

    return run_tool


def test_it_scores_and_writes_what_is_asked_for(run, tmp_path):
    result = run(
        "--predictions_file=predictions.json",
        "--report=out.html",
        "--josa_report=josa.json",
        "--per_question_file=scores.json",
    )
    summary = json.loads(result.stdout.splitlines()[-1])
    assert summary == {"exact_match": 50.0, "f1": pytest.approx(87.5), "total": 2, "missing": 0}
    assert (tmp_path / "out.html").read_text().startswith("<!doctype html>")
    assert json.loads((tmp_path / "josa.json").read_text())["predictions"]["rules"]["particle"]["fixed"] == 1
    assert json.loads((tmp_path / "scores.json").read_text())["q1"]["gold"] == ["나루터"]


def test_a_ceiling_needs_no_predictions(run, tmp_path):
    result = run("--ceiling", "--misses_file=misses.json", "--josa_report=josa.json")
    summary = json.loads(result.stdout.splitlines()[-1])
    assert (summary["exact_match"], summary["eojeol_stripped"]["exact_match"]) == (0, 100)
    assert summary["misses"] == {"ends_after": 2}
    assert [miss["id"] for miss in json.loads((tmp_path / "misses.json").read_text())["eojeol"]] == ["q1", "q2"]
    assert json.loads((tmp_path / "josa.json").read_text())["gold"]["all"]["broken"] == 0


@pytest.mark.parametrize(
    ("flags", "data", "message"),
    [
        ((), "data.json", "expected --predictions_file, or --ceiling, but got neither"),
        (("--predictions_file=none.json",), "data.json", "none.json: there is no such file"),
        (("--ceiling",), "predictions.json", "expected the field 'data'"),
        (("--predictions_file=data.json",), "data.json", "expected the answer to data to be a string"),
    ],
)
def test_wrong_input_is_a_sentence_and_status_one(run, flags, data, message):
    result = run(*flags, data=data)
    assert result.returncode == 1
    assert message in result.stderr
    assert "Traceback" not in result.stderr
    assert result.stdout == ""


def test_a_file_of_analysed_sentences_is_a_measure_of_josa_stripping(run, tmp_path):
    (tmp_path / "gold.tsv").write_text("## s1\t해미는 간다.\n1\t해미는\t해미 는\tNNP+JX\t2\tNP_SBJ\n")
    result = run("--josa_report=josa.json", data="gold.tsv")
    assert json.loads(result.stdout.splitlines()[-1]) == {
        "with_particle": 100,
        "without_particle": None,
        "words": 1,
        "skipped": 0,
    }
    assert json.loads((tmp_path / "josa.json").read_text())["gold_words"]["by_particle"]["는"]["right"] == 1
    assert run("--josa_report=josa.json", data="gold.tsv").returncode == 0  # Over a report of its own.
    result = run(data="gold.tsv")
    assert (result.returncode, "expected --josa_report beside" in result.stderr) == (1, True)
