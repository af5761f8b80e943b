"""What a strategy is made of, and what is said before the first step."""

import keras
import pytest

from kobert_tf2 import processor
from kobert_tf2.errors import InputError
from kobert_tf2.training import strategies


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
