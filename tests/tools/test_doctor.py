"""The doctor finds what is missing and says in both languages what to type."""

import json
import os

import pytest
import warm_python
from paths import ROOT


def run_doctor(*flags, **environment):
    return warm_python.run([ROOT / "tools/doctor.py", *flags], env={**os.environ, **environment})


def test_a_sound_installation_is_in_order():
    result = run_doctor()
    assert result.returncode == 0, result.stderr
    summary = json.loads(result.stdout.splitlines()[-1])
    assert summary["ok"]
    assert summary["dictionary_source"] == "pip"
    assert "사과나무/NNG 를/JKO" in summary["analysis"]
    assert "모두 정상입니다" in result.stderr
    assert "Everything is in order" in result.stderr
    assert "816,283 entries" in result.stderr


@pytest.mark.parametrize("how", ["flag", "environment"])
def test_a_missing_dictionary_is_told_with_what_to_type(tmp_path, how):
    wrong = str(tmp_path / "nowhere")
    result = run_doctor(f"--dictionary={wrong}") if how == "flag" else run_doctor(MECAB_KO_DIC=wrong)
    assert result.returncode == 1
    summary = json.loads(result.stdout.splitlines()[-1])
    assert not summary["ok"]
    assert len(summary["problems"]) == 1
    assert wrong in summary["problems"][0]
    assert "pip install python-mecab-ko-dic" in result.stderr
    assert "Mecab을 쓸 수 없습니다" in result.stderr
    assert "Traceback" not in result.stderr


TPU_THAT_IS_NOT_THERE = """
import tensorflow as tf

def refuse(**_):
    raise ValueError("no TPU here\\nand a hundred lines more")

tf.distribute.cluster_resolver.TPUClusterResolver = refuse
import doctor

problems = []
print(doctor.check_tpu(problems), problems)
"""


def test_the_versions_for_a_tpu_are_named_and_a_tpu_that_is_not_there_is_told():
    """With a resolver in place of TensorFlow's, as no test may start a TPU library, in a process with its own flags."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "tools")}
    result = warm_python.run(["-c", TPU_THAT_IS_NOT_THERE], env=environment)
    assert "tensorflow-tpu==2.20.0 libtpu==0.0.21" in result.stderr
    assert "--no-deps 'tensorflow-text==2.20.*'" in result.stderr
    assert result.stdout.startswith("[] [")
    assert "TPU 'local' cannot be used: no TPU here" in result.stdout
    assert "hundred" not in result.stdout
