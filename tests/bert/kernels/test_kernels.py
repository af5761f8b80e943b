"""The kernels of a layer: the same arguments in every module, chosen by what the call is for."""

import inspect

import keras
import pytest
import tensorflow as tf

from kobert_tf2.bert import kernels
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


class Scaled(keras.layers.Dense):
    """A dense layer of a user's, whose kernel does not say all."""


def test_a_dense_layer_that_is_not_as_made_is_called():
    layer = Scaled(4)
    assert kernels.choose(False, dense=(keras.layers.Dense(4),)) is inference_cpu
    assert kernels.choose(False, dense=(keras.layers.Dense(4), layer)) is plain


def test_contexts_nest_and_end_with_their_block():
    assert not tracing.is_for_cpu()
    with tracing.for_cpu(final_weights=True):
        assert tracing.weights_are_final()
        with tracing.for_cpu():
            assert not tracing.weights_are_final()
        with tracing.for_cpu(False, final_weights=True):
            assert not tracing.is_for_cpu()
            assert not tracing.weights_are_final()
        assert tracing.weights_are_final()
    with pytest.raises(ZeroDivisionError), tracing.for_cpu():
        raise ZeroDivisionError
    assert not tracing.is_for_cpu()
