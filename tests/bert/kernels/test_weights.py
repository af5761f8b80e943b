"""What the kernels take out of Keras layers, and which layers they may take it out of."""

import keras
import numpy as np

from kobert_tf2.bert import kernels
from kobert_tf2.bert.kernels import inference_cpu, plain, weights
from kobert_tf2.bert.layers import LayerNorm


class Scaled(keras.layers.Dense):
    """A subclass, which may compute something else than kernel and bias."""


def dense(units: int) -> keras.layers.Dense:
    layer = keras.layers.Dense(units, bias_initializer="random_normal")
    layer.build((None, 3))
    return layer


def test_a_dense_layer_that_is_not_as_made_is_called():
    assert kernels.choose(False, dense=(dense(4),)) is inference_cpu
    assert kernels.choose(False, dense=(dense(4), Scaled(4))) is plain


def test_a_quantized_layer_is_not_standard():
    layer = dense(4)
    assert weights.are_standard([layer])
    layer.quantize("int8")
    assert not weights.are_standard([dense(4), layer])


def test_layers_stand_side_by_side_in_their_order():
    first, second = dense(2), dense(5)
    kernel, bias = weights.kernel_and_bias(first, second)
    assert (tuple(kernel.shape), tuple(bias.shape)) == ((3, 7), (7,))
    x = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)
    together = keras.ops.convert_to_numpy(keras.ops.matmul(x, kernel) + bias)
    apart = np.concatenate([keras.ops.convert_to_numpy(layer(x)) for layer in (first, second)], axis=1)
    np.testing.assert_allclose(together, apart, atol=1e-6)


def test_one_layer_alone_is_its_own_weights():
    layer = dense(2)
    kernel, bias = weights.kernel_and_bias(layer)
    assert np.array_equal(kernel, layer.kernel)
    assert np.array_equal(bias, layer.bias)


def test_gamma_and_beta_are_those_of_the_norm():
    norm = LayerNorm(epsilon=1e-12)
    norm.build((None, 3))
    norm.gamma.assign([1.0, 2.0, 3.0])
    norm.beta.assign([4.0, 5.0, 6.0])
    gamma, beta = weights.gamma_and_beta(norm)
    assert np.array_equal(gamma, [1, 2, 3])
    assert np.array_equal(beta, [4, 5, 6])


def test_projections_of_the_same_states_are_one_product():
    """Query, key and value of all positions are one product; of chosen positions the query is one of its own."""
    states, chosen, projections = object(), object(), ("query", "key", "value")
    assert weights.shared_products(states, states, projections) == [(states, projections)]
    assert weights.shared_products(chosen, states, projections) == [(chosen, ("query",)), (states, ("key", "value"))]


def test_weights_have_the_compute_type_outside_of_a_call_too():
    """As in a gradient that recomputes a layer: Keras casts within the layer's call alone."""
    dense = keras.layers.Dense(3, dtype="mixed_bfloat16")
    dense.build((None, 2))
    assert [x.dtype for x in weights.kernel_and_bias(dense)] == ["bfloat16", "bfloat16"]
