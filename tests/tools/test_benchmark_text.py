"""The program that times text: it runs, and says what its ratios are ratios of."""

import json
import pathlib
import subprocess
import sys

TOOL = pathlib.Path(__file__).resolve().parents[2] / "tools" / "benchmark_text.py"


def test_it_times_every_way_and_josa_stripping(tmp_path):
    (tmp_path / "corpus.txt").write_text("해미는 나루터에서 배를 탔다. 강바람이 불었다.\n" * 20)
    (tmp_path / "vocab.txt").write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "해미", "##는"]))
    command = [sys.executable, str(TOOL), "--input_file=corpus.txt", "--vocab_file=vocab.txt"]
    command += ["--turns=1", "--num_workers=1", "--josa_words=50"]
    result = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path)
    summary = json.loads(result.stdout.splitlines()[-1])
    assert summary["josa"]["words"] == 50
    assert summary["josa"]["of_words"] == 120
    assert all(ratio > 0 for ratio in [*summary["ratios"].values(), *summary["josa"]["ratios"].values()])
    assert set(summary["josa"]["ratios"]) == {
        f"{words}_to_{floor}" for words in ("words_spread", "words_in_a_row") for floor in ("tagger_parse", "analyse")
    }
