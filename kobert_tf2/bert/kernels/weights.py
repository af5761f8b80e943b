"""Reads the weights of Keras layers for the TensorFlow kernels, in the caller's compute type."""

from collections.abc import Sequence

import keras
from keras import ops


def are_standard(layers: Sequence[keras.layers.Layer]) -> bool:
    """Whether these are plain `Dense` layers, defined by kernel and bias alone: not subclassed, quantized or LoRA."""
    return all(
        type(layer) is keras.layers.Dense and layer.quantization_mode is None and not layer.lora_enabled
        for layer in layers
    )


def kernel_and_bias(*layers: keras.layers.Dense) -> tuple:
    """Kernel [from, to] and bias [to] of one dense layer, or of several concatenated."""
    kernels = [_as_computed(layer.kernel, layer) for layer in layers]
    biases = [_as_computed(layer.bias, layer) for layer in layers]
    if len(layers) == 1:
        return kernels[0], biases[0]
    return ops.concatenate(kernels, axis=1), ops.concatenate(biases, axis=0)


def gamma_and_beta(norm: keras.layers.Layer) -> tuple:
    return _as_computed(norm.gamma, norm), _as_computed(norm.beta, norm)


def _as_computed(weight: keras.Variable, layer: keras.layers.Layer) -> keras.KerasTensor:
    """In the layer's compute type. Keras casts weights within its call alone, but what is recomputed for a gradient is
    computed after the call has ended.
    """
    return ops.cast(ops.convert_to_tensor(weight), layer.compute_dtype)


def shared_products(query_states: keras.KerasTensor, states: keras.KerasTensor, projections: Sequence) -> list[tuple]:
    """The matrix products of query, key and value: (input, dense layers), layers with the same input together."""
    if query_states is states:
        return [(states, projections)]
    return [(query_states, projections[:1]), (states, projections[1:])]
