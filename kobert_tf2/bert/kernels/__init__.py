"""The computations of the layers in three implementations, one of which is chosen for each call of a layer.

- `plain`: `keras.ops` alone, for every backend, device and shape. What XLA compiles whole (GPU, TPU) is this too.
- `training_cpu`: a training step on processors. XLA programs with gradients of their own around oneDNN's products.
- `inference_cpu`: the forward pass alone with TensorFlow, in the forms of which its graph optimizer makes one oneDNN
  operation each.

`KERNELS` lists the functions; each has the same signature in all three. To add a faster version of one, write it in the
module of its device, test it against `plain` (values and gradients, both precisions), and measure it with
tools/benchmark.py; what did not help is recorded in TRIED-*.md.
"""

from collections.abc import Sequence
from types import ModuleType

import keras

from kobert_tf2.bert.kernels import plain, weights

KERNELS = (
    "embed_words",
    "rows_of",
    "norm_and_dropout",
    "attention",
    "dense_activation",
    "dense_residual_norm",
    "vocabulary_logits",
    "cross_entropy",
)


def choose(training: object, *tensors: object, dense: Sequence[keras.layers.Layer] = ()) -> ModuleType:
    """The kernels for a call on these tensors, whose weights are in `dense`.

    `training` is Keras' argument. If it is symbolic, the call may be either training or inference.
    """
    if keras.backend.backend() != "tensorflow" or not weights.are_standard(dense):
        return plain
    # TensorFlow is optional: Keras may run on another backend.
    from kobert_tf2.bert.kernels import inference_cpu, training_cpu

    if training is None or training is False:
        return inference_cpu
    return training_cpu if training_cpu.applies(*tensors) else plain


def choose_for_loss(logits: object) -> ModuleType:
    """The kernels for a loss, which is the same in training and in evaluation."""
    return choose(True, logits)
