"""The kernels of a layer: the same arguments in every module, chosen by what the call is for."""

import inspect

import keras
import numpy as np
import pytest
import tensorflow as tf

from kobert_tf2.bert import kernels, layers
from kobert_tf2.bert.config import BertConfig
from kobert_tf2.bert.kernels import inference_cpu, plain, tracing, training_cpu


@pytest.mark.parametrize("name", kernels.KERNELS)
def test_every_module_takes_the_same_arguments(name):
    expected = inspect.signature(getattr(plain, name)).parameters
    for module in (training_cpu, inference_cpu):
        found = inspect.signature(getattr(module, name)).parameters
        assert [(p.name, p.kind) for p in found.values()] == [(p.name, p.kind) for p in expected.values()], module


def test_the_choice_by_what_a_call_is_for():
    with tf.Graph().as_default():
        x, of_any_batch = tf.zeros([2, 3]), tf.raw_ops.Placeholder(dtype=tf.float32, shape=[None, 3])
        assert kernels.choose(False, x) is inference_cpu
        assert kernels.choose(None, of_any_batch) is inference_cpu
        assert kernels.choose(True, x) is plain
        with tracing.for_cpu():
            assert kernels.choose(True, x) is training_cpu
            assert kernels.choose(False, x) is inference_cpu
            assert kernels.choose(True, of_any_batch) is plain
            assert kernels.choose(True, x, keras.KerasTensor((2, 3))) is plain
            assert kernels.choose(tf.constant(True), x) is training_cpu
            assert kernels.choose_for_loss(x) is training_cpu
        assert kernels.choose_for_loss(x) is plain


@pytest.mark.parametrize("module", [training_cpu, inference_cpu])
@pytest.mark.parametrize("with_positions", [False, True])
def test_an_encoder_layer_is_the_same_with_all_of_them(monkeypatch, module, with_positions):
    config = BertConfig(vocab_size=7, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=12)
    layer, rng = layers.EncoderLayer(config=config), np.random.default_rng(0)
    hidden = tf.constant(rng.normal(size=(3, 6, 8)), tf.float32)
    mask_scores = layers.AttentionMask()(tf.constant(np.arange(6) < [[6], [4], [1]], tf.int32))
    positions = tf.constant([[0, 5], [3, 3], [1, 0]]) if with_positions else None

    def states(kernel):
        monkeypatch.setattr(kernels, "choose", lambda *arguments, **named: kernel)
        return tf.function(lambda: layer(hidden, mask_scores, positions), autograph=False)().numpy()

    np.testing.assert_allclose(states(module), states(plain), atol=2e-6)
