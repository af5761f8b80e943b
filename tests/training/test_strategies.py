"""The creation of a strategy, and the messages before the first step."""

import json

import keras
import pytest

from kobert_tf2 import processor
from kobert_tf2.errors import InputError
from kobert_tf2.training import rendezvous, strategies


@pytest.fixture
def without_bfloat16(monkeypatch):
    """A processor that emulates bfloat16, and the float32 policy back at the end."""
    found = processor.Processor("An old processor", frozenset({"avx2"}))
    monkeypatch.setattr(processor, "this_processor", lambda: found)
    processor._warn_once.cache_clear()
    yield
    strategies.set_precision("float32")


@pytest.mark.parametrize(("precision", "warned"), [("bfloat16", True), ("float32", False)])
def test_emulated_bfloat16_is_reported_before_training(precision, warned, without_bfloat16, capsys):
    strategies.set_precision(precision)
    strategies.make_strategy("one_device")
    assert ("An old processor" in capsys.readouterr().err) is warned


@pytest.mark.parametrize(("precision", "policy"), [("float32", "float32"), ("bfloat16", "mixed_bfloat16")])
def test_precision_is_keras_policy(precision, policy):
    try:
        strategies.set_precision(precision)
        assert keras.config.dtype_policy().name == policy
    finally:
        strategies.set_precision("float32")


def test_an_unknown_precision_or_strategy_is_an_error_that_lists_the_known():
    with pytest.raises(InputError, match="float32, bfloat16, but got 'float16'"):
        strategies.set_precision("float16")
    with pytest.raises(InputError, match=r"one_device.*but got 'two_devices'"):
        strategies.make_strategy("two_devices")


CLUSTER = {"worker": ["host0:2222", "host1:2222"]}


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ("", r"^--strategy=multi_worker: expected the environment variable TF_CONFIG to name the workers"),
        ('{"cluster": {', r"^TF_CONFIG, line 1, column \d+: not JSON"),
        ('["cluster"]', r"^TF_CONFIG: expected a JSON object, but found a JSON list"),
        ({"cluster": [], "task": {}}, r"^TF_CONFIG: expected addresses with ports in the cluster, as in .*got"),
        ({"cluster": {"worker": ["host0"]}}, r"^TF_CONFIG: expected addresses with ports in the cluster"),
        ({"cluster": {"worker": "host0:1"}}, r"^TF_CONFIG: expected addresses with ports in the cluster"),
        ({"cluster": {"ps": ["host0:1"]}}, r"^TF_CONFIG: expected addresses with ports in the cluster"),
        ({"cluster": CLUSTER}, r"^TF_CONFIG: expected the task to be one of the cluster's, as in .*got None"),
        ({"cluster": CLUSTER, "task": {"type": "worker", "index": 2}}, r"^TF_CONFIG: expected the task to be one"),
        ({"cluster": CLUSTER, "task": {"type": "worker", "index": "0"}}, r"^TF_CONFIG: expected the task to be one"),
        ({"cluster": CLUSTER, "task": {"type": "chief", "index": 0}}, r"^TF_CONFIG: expected the task to be one"),
        ({"cluster": CLUSTER, "task": "worker"}, r"^TF_CONFIG: expected the task to be one"),
    ],
)
def test_a_tf_config_that_is_wrong_is_a_sentence_with_an_example(monkeypatch, config, said):
    monkeypatch.setenv("TF_CONFIG", config if isinstance(config, str) else json.dumps(config))
    with pytest.raises(InputError, match=said):
        strategies.make_strategy("multi_worker")


def test_workers_meet_before_tensorflow_starts(monkeypatch, capsys):
    """The chief is the first of them, whatever the order in the cluster."""
    cluster = {"worker": ["host1:1", "host2:2"], "chief": ["host0:3"], "evaluator": ["host3:4"]}
    met: list[tuple] = []
    monkeypatch.setattr(rendezvous, "meet", lambda at, index, timeout: met.append((list(at), index, timeout)))
    monkeypatch.setattr(strategies.tf.distribute, "MultiWorkerMirroredStrategy", lambda: "made")
    for job, index in (("chief", 0), ("worker", 1), ("evaluator", 0)):
        monkeypatch.setenv("TF_CONFIG", json.dumps({"cluster": cluster, "task": {"type": job, "index": index}}))
        assert strategies.make_strategy("auto", worker_timeout=7) == "made"
    addresses = ["host0:3", "host1:1", "host2:2"]
    assert met == [(addresses, 0, 7), (addresses, 2, 7)]
    assert "worker 1 waits up to 7 seconds for 3 workers: host0:3, host1:1, host2:2" in capsys.readouterr().err
