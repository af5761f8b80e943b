"""The program that times predictions beside transformers: wrong input is a sentence, before it begins."""

import pytest
import warm_python
from paths import ROOT


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ("--data_file=nowhere.json", "nowhere.json: there is no such file"),
        ("--size=huge", "flag --size=huge: value should be one of <4x512|base>"),
    ],
)
def test_wrong_input_is_a_sentence(tmp_path, flags, said):
    result = warm_python.run([ROOT / "tools/benchmark_prediction.py", flags], cwd=tmp_path)
    assert result.returncode == 1, result.stderr
    assert said in result.stderr.splitlines()[-1]
    assert "Traceback" not in result.stderr
    assert result.stdout == ""
