"""The optimizers of BERT pre-training and fine-tuning.

`BertAdam` is the optimizer of the original scripts (google-research/bert, `optimization.py`): Adam without bias
correction, with decoupled weight decay that excludes LayerNorm and biases. `adamw` and `lamb` are those of Keras. All
three clip by the global norm of the gradients *after* they are summed over the replicas. Keras' `global_clipnorm` clips
on each replica before the sum, which is a different algorithm and depends on the number of replicas.
"""

import functools
import math
import re
from collections.abc import Sequence

import keras
import tensorflow as tf
from keras import ops

from kobert_tf2.bert.kernels import xla
from kobert_tf2.errors import InputError

NAMES = ("bert_adam", "adamw", "lamb")
# Variables without weight decay: LayerNorm and biases, by their names in the original graph, in Keras and in this
# package.
_WITHOUT_DECAY = re.compile(r"layer_?norm|bias|gamma|beta", re.IGNORECASE)


def decays(path: str) -> bool:
    """Whether weight decay applies to the variable of this path."""
    return not _WITHOUT_DECAY.search(path)


_LAYER = re.compile(r"(?:^|/)encoder_layer_(\d+)/")
_EMBEDDINGS = re.compile(r"(?:^|/)embeddings/")
_POOLER = re.compile(r"(?:^|/)pooler/")


def learning_rate_factors(paths: Sequence[str], *, layer_decay: float, head_factor: float) -> list[float]:
    """The learning rate factor of each variable, with layers counted as in BEiT and timm.

    The topmost of L encoder layers has the factor `layer_decay`, the one below it `layer_decay` squared, the embeddings
    `layer_decay` to the power L + 1, and the pooler 1. Everything outside the encoder is the head, with the factor
    `head_factor`.
    """
    numbers = [int(found[1]) if (found := _LAYER.search(path)) else None for path in paths]
    layers = 1 + max((number for number in numbers if number is not None), default=-1)

    def factor(path: str, number: int | None) -> float:
        if number is not None:
            return layer_decay ** (layers - number)
        if _EMBEDDINGS.search(path):
            return layer_decay ** (layers + 1)
        return 1.0 if _POOLER.search(path) else head_factor

    return [factor(path, number) for path, number in zip(paths, numbers, strict=True)]


def adam_update(
    parameter: tf.Tensor,
    m: tf.Tensor,
    v: tf.Tensor,
    gradient: tf.Tensor,
    scale: tf.Tensor,
    learning_rate: tf.Tensor,
    *,
    beta_1: float,
    beta_2: float,
    epsilon: float,
    weight_decay: float,
) -> tuple:
    """One step of BERT's Adam for one parameter: no bias correction, and decay added to the update, not to the
    gradient.

    Returns the next `(parameter, m, v)`. `parameter m v gradient` have one shape; `learning_rate` and `scale`, the
    clipping factor of the gradient, are scalars.
    """
    gradient = gradient * scale
    m = beta_1 * m + (1.0 - beta_1) * gradient
    v = beta_2 * v + (1.0 - beta_2) * ops.square(gradient)
    update = m / (ops.sqrt(v) + epsilon)
    if weight_decay:
        update = update + weight_decay * parameter
    return parameter - learning_rate * update, m, v


# As separate operations, the update reads and writes a parameter's memory about twenty times. XLA fuses it into one
# pass, which is worth the compilation from this many elements on.
FUSE_FROM = 1 << 16


@keras.saving.register_keras_serializable("kobert_tf2")
class WarmupLinearDecay(keras.optimizers.schedules.LearningRateSchedule):
    """Rises from 0 to `peak` in `num_warmup_steps`, then decays linearly to 0 at `num_train_steps`.

    The decay line starts at step 0, so as in the original there is a jump: the first step after the warm-up is already
    on the falling line.
    """

    def __init__(self, peak: float, *, num_train_steps: int, num_warmup_steps: int = 0) -> None:
        self.peak, self.num_train_steps, self.num_warmup_steps = (
            float(peak),
            int(num_train_steps),
            int(num_warmup_steps),
        )

    def __call__(self, step: tf.Tensor) -> tf.Tensor:
        step = ops.cast(step, "float32")
        falling = self.peak * (1.0 - ops.minimum(step, self.num_train_steps) / self.num_train_steps)
        if not self.num_warmup_steps:
            return falling
        return ops.where(step < self.num_warmup_steps, self.peak * step / self.num_warmup_steps, falling)

    def get_config(self) -> dict:
        return {
            "peak": self.peak,
            "num_train_steps": self.num_train_steps,
            "num_warmup_steps": self.num_warmup_steps,
        }


class ClipAfterTheSum(keras.optimizers.Optimizer):
    """A Keras optimizer that sums the gradients over the replicas, clips them by their global norm, then applies them.

    `loop.train` calls `step`; Keras' `apply`, and therefore `model.fit`, does the same through `_backend_update_step`.
    Clipping multiplies the gradients by one number, `scale`; this is done in the update, which reads the gradients
    anyway. A subclass implements `update_variable`.
    """

    clip_norm: float | None = None
    layer_decay: float = 1.0
    head_factor: float = 1.0

    def build(self, variables: list) -> None:
        if not self.built:
            self._factors = learning_rate_factors(
                [variable.path for variable in variables], layer_decay=self.layer_decay, head_factor=self.head_factor
            )
        super().build(variables)

    def learning_rate_of(self, variable: tf.Variable, learning_rate: tf.Tensor) -> tf.Tensor:
        """The learning rate of one variable: that of its layer or of the head."""
        factor = self._factors[self._get_variable_index(variable)]
        return learning_rate if factor == 1.0 else learning_rate * tf.cast(factor, learning_rate.dtype)

    def step(self, gradients: list, variables: list) -> tf.Tensor:
        """Replica context. One whole training step. Returns the norm of the summed gradients before clipping."""
        gradients, norm = self.sum(gradients)
        self._apply_weight_decay(variables)
        self.apply_summed(gradients, variables, self.learning_rate, self.scale(norm))
        self._iterations.assign_add(1)
        return norm

    def _backend_update_step(self, grads: list, trainable_variables: list, learning_rate: tf.Tensor) -> None:
        """Keras' hook in `apply`, where its TensorFlow backend would sum and update."""
        gradients, norm = self.sum(grads)
        self.apply_summed(gradients, trainable_variables, learning_rate, self.scale(norm))

    def sum(self, gradients: list) -> tuple[list, tf.Tensor]:
        """Replica context. The gradients of the whole batch, equal on all replicas, and their norm."""
        gradients = [tf.convert_to_tensor(gradient) for gradient in gradients]
        gradients = tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, gradients)
        return gradients, tf.linalg.global_norm(gradients)

    def scale(self, norm: tf.Tensor) -> tf.Tensor:
        """The factor for gradients of this norm. A non-finite norm makes every gradient non-finite."""
        if not self.clip_norm:
            return tf.ones_like(norm)
        return self.clip_norm / tf.maximum(norm, self.clip_norm) + (norm - norm)

    def apply_summed(self, gradients: list, variables: list, learning_rate: tf.Tensor, scale: tf.Tensor) -> None:
        """Replica context. Updates the variables with the gradients that `sum` returned, multiplied by `scale`."""

        def on_all_replicas(
            strategy: tf.distribute.Strategy, pairs: list, learning_rate: tf.Tensor, scale: tf.Tensor
        ) -> None:
            """Cross-replica context. Like Keras' `_distributed_tf_update_step`, with one more argument."""
            for gradient, variable in pairs:
                arguments = (gradient, learning_rate, scale)
                strategy.extended.update(variable, self.update_variable, args=arguments, group=False)

        pairs = list(zip(gradients, [variable.value for variable in variables], strict=True))
        tf.__internal__.distribute.interim.maybe_merge_call(
            on_all_replicas, self._distribution_strategy, pairs, learning_rate, scale
        )

    def update_variable(
        self, variable: tf.Variable, gradient: tf.Tensor, learning_rate: tf.Tensor, scale: tf.Tensor
    ) -> None:
        """Updates one variable with `gradient` times `scale`."""
        raise NotImplementedError


@keras.saving.register_keras_serializable("kobert_tf2")
class BertAdam(ClipAfterTheSum):
    """The AdamWeightDecayOptimizer of the original BERT, with gradients clipped to `clip_norm` as in the original.

    Works in `model.fit` and in `loop.train`; under a strategy it must be created within `strategy.scope()`.
    `layer_decay` lowers the learning rate of lower layers, and `head_factor` raises that of the head: see
    `learning_rate_factors`.
    """

    def __init__(
        self,
        learning_rate: tf.Tensor = 5e-5,
        *,
        weight_decay_rate: float = 0.01,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-6,
        clip_norm: float | None = 1.0,
        layer_decay: float = 1.0,
        head_factor: float = 1.0,
        name: str = "bert_adam",
        **kwargs: object,
    ) -> None:
        super().__init__(learning_rate=learning_rate, name=name, **kwargs)
        self.weight_decay_rate = weight_decay_rate
        self.beta_1, self.beta_2, self.epsilon = beta_1, beta_2, epsilon
        self.clip_norm, self.layer_decay, self.head_factor = clip_norm, layer_decay, head_factor

    def build(self, variables: list) -> None:
        if self.built:
            return
        super().build(variables)
        self._adam_m, self._adam_v = self.add_optimizer_variables(variables, ["adam_m", "adam_v"])
        self._decay = [self.weight_decay_rate if decays(variable.path) else 0.0 for variable in variables]

    def update_variable(
        self, variable: tf.Variable, gradient: tf.Tensor, learning_rate: tf.Tensor, scale: tf.Tensor
    ) -> None:
        index = self._get_variable_index(variable)
        learning_rate = self.learning_rate_of(variable, learning_rate)
        state = [variable, self._adam_m[index].value, self._adam_v[index].value]
        tensors = [tf.cast(x, variable.dtype) for x in (gradient, scale, learning_rate)]
        settings = {
            "beta_1": self.beta_1,
            "beta_2": self.beta_2,
            "epsilon": self.epsilon,
            "weight_decay": self._decay[index],
        }
        mirrored = any(isinstance(x, tf.distribute.DistributedValues) for x in state)
        if _is_large(variable) and not mirrored:
            xla.update_in_place(adam_update, state, *tensors, **settings)
            return
        update = functools.partial(xla.compiled, adam_update) if _is_large(variable) else adam_update
        values = update(*map(tf.convert_to_tensor, state), *tensors, **settings)
        for target, value in zip((variable, self._adam_m[index], self._adam_v[index]), values, strict=True):
            self.assign(target, value)

    def update_step(self, gradient: tf.Tensor, variable: tf.Variable, learning_rate: tf.Tensor) -> None:
        """Keras' name for the update of one variable with an unclipped gradient."""
        self.update_variable(variable, gradient, learning_rate, 1.0)

    def get_config(self) -> dict:
        return super().get_config() | {
            "weight_decay_rate": self.weight_decay_rate,
            "beta_1": self.beta_1,
            "beta_2": self.beta_2,
            "epsilon": self.epsilon,
            "clip_norm": self.clip_norm,
            "layer_decay": self.layer_decay,
            "head_factor": self.head_factor,
        }


def _is_large(variable: tf.Variable) -> bool:
    return None not in tuple(variable.shape) and math.prod(variable.shape) >= FUSE_FROM


class _OfKeras(ClipAfterTheSum):
    """A Keras optimizer with its own `update_step`, without weight decay on the variables that BERT excludes."""

    def build(self, variables: list) -> None:
        if not self.built:
            self.exclude_from_weight_decay(var_list=[v for v in variables if not decays(v.path)])
        super().build(variables)

    def update_variable(
        self, variable: tf.Variable, gradient: tf.Tensor, learning_rate: tf.Tensor, scale: tf.Tensor
    ) -> None:
        learning_rate = self.learning_rate_of(variable, learning_rate)
        self.update_step(gradient * tf.cast(scale, gradient.dtype), variable, learning_rate)

    def _apply_weight_decay(self, variables: list) -> None:
        """As in Keras, but with the learning rate of each variable."""
        for variable in variables if self.weight_decay else ():
            if self._use_weight_decay(variable):
                rate = self.learning_rate_of(variable, ops.cast(self.learning_rate, variable.dtype))
                variable.assign(variable - variable * ops.cast(self.weight_decay, variable.dtype) * rate)


class AdamW(_OfKeras, keras.optimizers.AdamW):
    """Keras' AdamW (with bias correction), clipped after the sum, no decay on LayerNorm and biases."""


class Lamb(_OfKeras, keras.optimizers.Lamb):
    """Keras' LAMB, for very large batches, clipped after the sum, no decay on LayerNorm and biases."""


def create_optimizer(
    name: str = "bert_adam",
    *,
    learning_rate: float,
    num_train_steps: int,
    num_warmup_steps: int = 0,
    weight_decay_rate: float = 0.01,
    clip_norm: float | None = 1.0,
    layer_decay: float = 1.0,
    head_factor: float = 1.0,
) -> keras.optimizers.Optimizer:
    """Creates the optimizer `name` with linear warm-up and decay, as in the original. Call it in `strategy.scope()`."""
    if name not in NAMES:
        raise InputError(f"expected an optimizer among {', '.join(NAMES)}, but got {name!r}")
    schedule = WarmupLinearDecay(learning_rate, num_train_steps=num_train_steps, num_warmup_steps=num_warmup_steps)
    if name == "bert_adam":
        return BertAdam(
            schedule,
            weight_decay_rate=weight_decay_rate,
            clip_norm=clip_norm,
            layer_decay=layer_decay,
            head_factor=head_factor,
        )
    optimizer = {"adamw": AdamW, "lamb": Lamb}[name](schedule, weight_decay=weight_decay_rate, epsilon=1e-6, name=name)
    optimizer.clip_norm, optimizer.layer_decay, optimizer.head_factor = clip_norm, layer_decay, head_factor
    return optimizer
