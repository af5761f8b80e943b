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
def test_a_missing_dictionary_is_reported_with_what_to_type(tmp_path, how):
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

from kobert_tf2.tpu import host

problems = []
print(doctor.check_tpu(problems, host.VERSIONS), problems)
wrong = []
print(doctor.check_tpu(wrong, {"tensorflow": "2.21.0", "libtpu": "0.0.52"}), wrong)
"""


def test_the_versions_for_a_tpu_are_named_and_a_tpu_that_is_not_there_is_reported():
    """With a resolver in place of TensorFlow's, as no test may start a TPU library, in a process with its own flags."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "tools")}
    result = warm_python.run(["-c", TPU_THAT_IS_NOT_THERE], env=environment)
    assert "tensorflow-tpu==2.20.0 libtpu==0.0.21" in result.stderr
    assert "--no-deps 'tensorflow-text==2.20.*'" in result.stderr
    assert result.stdout.startswith("[] [")
    assert "TPU 'local' cannot be used: no TPU here" in result.stdout
    assert "hundred" not in result.stdout
    last = result.stdout.splitlines()[-1]
    assert "needs tensorflow-tpu==2.20.0, here is none" in last
    assert "needs libtpu==0.0.21, here is 0.0.52" in last
    assert "cannot be used" not in last
    assert "what stays unproved without the hardware" in result.stderr


def test_a_run_on_a_tpu_is_looked_at_before_the_tpu_is(tmp_path):
    """The versions for a TPU are not here, so that none is started."""
    result = run_doctor("--tpu", "--tpu_name=my_tpu", "--tpu_zone=us-central1", f"--output_dir={tmp_path}")
    assert result.returncode == 1
    problems = " ".join(json.loads(result.stdout.splitlines()[-1])["problems"])
    assert "--tpu_name=my_tpu: expected a name" in problems
    assert "--tpu_zone=us-central1: expected a zone such as us-central1-b, us-central1 is a region" in problems
    assert f"--output_dir={tmp_path}: TPU 'my_tpu' is another machine" in problems
    assert "The TPU is not started" in result.stderr
