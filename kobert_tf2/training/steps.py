"""The compiled functions of a run: N training steps, or one forward pass, on every replica.

Every replica gets the whole global batch and takes its own rows by its number. A batch is only a few integers per
token, and this has three advantages: the local `tf.data` iterator can be checkpointed (a distributed one cannot), the
denominators of the loss are known without a collective, and one replica, two, or two machines process the same rows.
"""

import dataclasses
from collections.abc import Callable, Iterable

import keras
import tensorflow as tf

from kobert_tf2.bert.dropout import dropout_seed
from kobert_tf2.bert.kernels import tracing
from kobert_tf2.errors import InputError

# XLA needs the size of a loop's results before it has seen the loop's body; unused rows stay 0.
_MOST_METRICS = 16
_INPUTS = (
    *("input_ids", "input_mask", "segment_ids", "masked_lm_positions"),
    # Of rows that hold several sequences; see `BertForPreTraining`.
    *("sequence_ids", "position_ids", "next_sentence_positions"),
)


@dataclasses.dataclass(frozen=True)
class Task:
    """A training objective: two functions from `losses.py`, and the names of the batch features that are the model's
    inputs.

    `weights(batch) -> {term: scalar}` returns the denominators for a whole batch, `sums(outputs, batch) -> ({term: loss
    sum}, {metric: (sum, weight)})` the sums for a part of it. `score()` evaluates the current model on held-out data
    for early stopping; higher is better.
    """

    weights: Callable
    sums: Callable
    inputs: tuple[str, ...] = _INPUTS
    score: Callable[[], float] | None = None


def inputs_of(batch: dict, names: Iterable[str] = _INPUTS) -> dict:
    return {name: batch[name] for name in names if name in batch}


# --------------------------------------------------------------------------------------------------------------------
# One replica's part of a step
# --------------------------------------------------------------------------------------------------------------------


def rows_of_replica(batch: dict) -> dict:
    """Replica context. This replica's rows of the global batch, whose size must be static and divisible by the
    replicas.
    """
    context = tf.distribute.get_replica_context()
    count = context.num_replicas_in_sync
    if count == 1:
        return batch
    return _rows(batch, context.replica_id_in_sync_group, count)


def _rows(batch: dict, index: tf.Tensor | int, count: int) -> dict:
    """The `index`-th of `count` equal parts. `index` may be a tensor; the shapes of the parts stay static."""
    size = next(iter(batch.values())).shape[0] // count

    def part(x: tf.Tensor) -> tf.Tensor:
        shape = [size, *x.shape[1:]]
        return tf.ensure_shape(tf.slice(x, [index * size] + [0] * (x.shape.rank - 1), shape), shape)

    return {name: part(x) for name, x in batch.items()}


def dropout_seed_of(
    seed: int, step: tf.Tensor, replica: tf.Tensor, micro_batch: tf.Tensor | int, count: int
) -> tf.Tensor:
    """A seed, int32 [2], different for every step, replica and micro-batch (`count` per step). It wraps around like
    int32.
    """
    odd = tf.constant(-1640531527, tf.int32)  # 2**32 / the golden ratio: spreads consecutive numbers far apart.
    number = tf.cast(replica, tf.int32) * count + tf.cast(micro_batch, tf.int32)
    wrapped = tf.constant((seed + 2**31) % 2**32 - 2**31)
    return tf.stack([wrapped + (number + 1) * odd, tf.cast(step, tf.int32)])


class ReplicaStep:
    """One training step on one replica: `step(global_batch, number) -> float32 [_MOST_METRICS, 2]`.

    The metrics are (sum, weight) pairs summed over the replicas; "loss", "gradient_norm" and "learning_rate" come first
    and have weight 1 per step.
    """

    def __init__(
        self,
        model: keras.Model,
        optimizer: keras.optimizers.Optimizer,
        task: Task,
        *,
        seed: int,
        micro_batch_size: int | None,
        recompute: bool = False,
        jit_gradients: bool,
        for_cpu: bool,
    ) -> None:
        self._model, self._optimizer, self._task = model, optimizer, task
        self._seed, self._micro_batch_size = seed, micro_batch_size
        self._recompute, self._for_cpu = recompute, for_cpu
        self._gradients = self._gradients_of_part
        if jit_gradients:
            self._gradients = tf.function(self._gradients_of_part, jit_compile=True)
        self.metric_names: list[str] = []

    def __call__(self, batch: dict, number: tf.Tensor) -> tf.Tensor:
        context = tf.distribute.get_replica_context()
        weights = self._task.weights(batch)
        rows = rows_of_replica(batch)
        gradients, sums = self._accumulated(rows, weights, number, context.replica_id_in_sync_group)
        learning_rate = tf.cast(self._optimizer.learning_rate, tf.float32)
        norm = self._optimizer.step(gradients, self._model.trainable_variables)
        sums = context.all_reduce(tf.distribute.ReduceOp.SUM, sums)
        metrics = tf.concat([[[sums[0, 0], 1.0], [norm, 1.0], [learning_rate, 1.0]], sums[1:]], axis=0)
        return tf.pad(metrics, [[0, _MOST_METRICS - metrics.shape[0]], [0, 0]])

    def _accumulated(self, rows: dict, weights: dict, number: tf.Tensor, replica: tf.Tensor) -> tuple:
        """Gradients and sums of this replica's rows, accumulated over micro-batches."""
        size = next(iter(rows.values())).shape[0]
        count = micro_batches(size, self._micro_batch_size)
        if count == 1:
            return self._gradients(rows, weights, dropout_seed_of(self._seed, number, replica, 0, 1))

        def add(index: tf.Tensor, gradients: list, sums: tf.Tensor) -> tuple:
            seed = dropout_seed_of(self._seed, number, replica, index, count)
            more, more_sums = self._gradients(_rows(rows, index, count), weights, seed)
            return index + 1, [a + b for a, b in zip(gradients, more, strict=True)], sums + more_sums

        seed = dropout_seed_of(self._seed, number, replica, 0, count)
        state = (tf.constant(1), *self._gradients(_rows(rows, 0, count), weights, seed))
        _, gradients, sums = tf.while_loop(lambda index, *_: index < count, add, state, parallel_iterations=1)
        return gradients, sums

    def _gradients_of_part(self, rows: dict, weights: dict, seed: tf.Tensor) -> tuple:
        """Dense gradients of the loss sum divided by the weight of the whole batch, and [loss, *metrics] as float32 [1
        + metrics, 2].
        """
        variables = self._model.trainable_variables
        # The gradient is also computed within the contexts, because it may recompute layers.
        with tracing.for_cpu(self._for_cpu), tracing.recomputing(self._recompute), dropout_seed(seed):
            with tf.GradientTape() as tape:
                outputs = self._model(inputs_of(rows, self._task.inputs), training=True)
                terms, metrics = self._task.sums(outputs, rows)
                loss = tf.add_n([tf.math.divide_no_nan(terms[name], weights[name]) for name in terms])
            gradients = tape.gradient(loss, [variable.value for variable in variables], unconnected_gradients="zero")
        self.metric_names = ["loss", "gradient_norm", "learning_rate", *metrics]
        return [tf.convert_to_tensor(g) for g in gradients], tf.stack([(loss, 0.0), *metrics.values()])


def micro_batches(rows: int, micro_batch_size: int | None) -> int:
    """The number of micro-batches in a replica's `rows`. Raises `InputError` if the micro-batch size does not divide
    them.
    """
    if not micro_batch_size:
        return 1
    if rows % micro_batch_size:
        raise InputError(
            f"--micro_batch_size={micro_batch_size} does not divide the {rows} rows that each replica has of a batch"
        )
    return rows // micro_batch_size


# --------------------------------------------------------------------------------------------------------------------
# N steps in one call
# --------------------------------------------------------------------------------------------------------------------


def over_steps(one: Callable) -> Callable:
    """Applies `one(batch, number) -> [metrics, 2]` to each stacked batch: (batches, first number) -> [steps, metrics,
    2].
    """

    def many(batches: dict, first: tf.Tensor) -> tf.Tensor:
        count = tf.shape(next(iter(batches.values())))[0]

        def body(index: tf.Tensor, results: tf.TensorArray) -> tuple:
            batch = {name: x[index] for name, x in batches.items()}
            return index + 1, results.write(index, one(batch, first + index))

        results = tf.TensorArray(tf.float32, size=count, element_shape=[_MOST_METRICS, 2])
        _, results = tf.while_loop(
            lambda index, _: index < count, body, (tf.constant(0), results), parallel_iterations=1
        )
        return results.stack()

    return many


def compiles_by_default() -> bool:
    """XLA is faster on GPUs and required on TPUs. On a CPU it does not use oneDNN's fast bfloat16 kernels."""
    return bool(tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("TPU"))


def is_for_cpu(jit_compile: bool) -> bool:
    """Whether the CPU kernels are used: only on a CPU, and only if XLA does not compile the whole step."""
    return not jit_compile and not compiles_by_default()


class TrainSteps:
    """`steps(batches, first) -> float32 [steps, metrics, 2]`, compiled once for each static shape of a batch.

    `batches`: a dict of [steps, batch, ...]. On one device with XLA, and on a TPU, the loop over the steps is part of
      the compiled program (each number of steps is compiled separately). Elsewhere the loop is outside `strategy.run`,
      because an optimizer cannot update mirrored variables inside a replica's loop, and XLA compiles each replica's
      computation.
    """

    def __init__(
        self,
        strategy: tf.distribute.Strategy,
        model: keras.Model,
        optimizer: keras.optimizers.Optimizer,
        task: Task,
        *,
        seed: int = 0,
        micro_batch_size: int | None = None,
        recompute: bool = False,
        jit_compile: bool | None = None,
    ) -> None:
        jit_compile = compiles_by_default() if jit_compile is None else jit_compile
        one_device = strategy.num_replicas_in_sync == 1 and not isinstance(
            strategy, tf.distribute.MultiWorkerMirroredStrategy
        )
        tpu = isinstance(strategy, tf.distribute.TPUStrategy)
        self.loops_on_device = tpu or (one_device and jit_compile)
        self._jit = one_device and jit_compile
        self._strategy = strategy
        self._one = ReplicaStep(
            model,
            optimizer,
            task,
            seed=seed,
            micro_batch_size=micro_batch_size,
            recompute=recompute,
            jit_gradients=jit_compile and not self.loops_on_device,
            for_cpu=is_for_cpu(jit_compile),
        )
        self._compiled: dict = {}

    @property
    def metric_names(self) -> list[str]:
        return self._one.metric_names

    def __call__(self, batches: dict, first: int) -> tf.Tensor:
        return self.compiled(batches)(batches, tf.constant(first, tf.int32))

    def compiled(self, batches: dict) -> Callable:
        """The concrete function for batches of these shapes; accepts anything with shapes and dtypes."""
        steps = None if not self.loops_on_device else next(iter(batches.values())).shape[0]
        shapes = {name: tf.TensorSpec([steps, *x.shape[1:]], x.dtype, name=name) for name, x in batches.items()}
        key = tuple(sorted((name, *spec.shape.as_list()) for name, spec in shapes.items()))
        if key not in self._compiled:
            function, specs = self.program(shapes)
            self._compiled[key] = function.get_concrete_function(*specs)
        return self._compiled[key]

    def program(self, shapes: dict) -> tuple:
        """The N-step program for these `TensorSpec`s, not traced yet, and its arguments."""
        if self.loops_on_device:
            many = over_steps(self._one)
            program = lambda batches, first: self._first_replica(self._strategy.run(many, (batches, first)))  # noqa: E731
        else:
            program = over_steps(lambda batch, n: self._first_replica(self._strategy.run(self._one, (batch, n))))
        function = tf.function(program, jit_compile=self._jit or None, autograph=False)
        return function, (shapes, tf.TensorSpec([], tf.int32, name="first"))

    def _first_replica(self, values: object) -> tf.Tensor:
        """The first replica's value; the metrics are already summed, so every replica has the same."""
        return self._strategy.experimental_local_results(values)[0]


# --------------------------------------------------------------------------------------------------------------------
# One forward pass
# --------------------------------------------------------------------------------------------------------------------


class ForwardPass:
    """`metrics(batch) -> float32 [metrics, 2]`, `outputs(batch) -> {name: [batch, ...]}`, traced once per shape."""

    def __init__(
        self,
        strategy: tf.distribute.Strategy,
        model: keras.Model,
        task: Task | None,
        *,
        inputs: tuple[str, ...] = _INPUTS,
        jit_compile: bool | None = None,
    ) -> None:
        jit_compile = compiles_by_default() if jit_compile is None else jit_compile
        self._strategy, self._model, self._task = strategy, model, task
        self._inputs = task.inputs if task else inputs
        self._for_cpu = is_for_cpu(jit_compile)
        jit = jit_compile and strategy.num_replicas_in_sync == 1
        self.metrics = tf.function(self._metrics, jit_compile=jit or None, autograph=False)
        self.outputs = tf.function(self._outputs, jit_compile=jit or None, autograph=False)
        self.metric_names: list[str] = []

    def _metrics(self, batch: dict) -> tf.Tensor:
        return self._strategy.experimental_local_results(self._strategy.run(self._replica_metrics, (batch,)))[0]

    def _replica_metrics(self, batch: dict) -> tf.Tensor:
        assert self._task is not None, "metrics are those of a task"
        rows = rows_of_replica(batch)
        with tracing.for_cpu(self._for_cpu):
            terms, metrics = self._task.sums(self._model(inputs_of(rows, self._inputs), training=False), rows)
        weights = self._task.weights(rows)
        pairs = {f"term/{name}": (terms[name], weights[name]) for name in terms} | metrics
        self.metric_names = list(pairs)
        sums = tf.stack([tf.stack(pair) for pair in pairs.values()])
        return tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, sums)

    def _outputs(self, batch: dict) -> dict:
        outputs = self._strategy.run(self._replica_outputs, (batch,))
        if self._strategy.num_replicas_in_sync == 1:
            return outputs
        return {name: self._strategy.gather(values, axis=0) for name, values in outputs.items()}

    def _replica_outputs(self, batch: dict) -> dict:
        with tracing.for_cpu(self._for_cpu):
            return self._model(inputs_of(rows_of_replica(batch), self._inputs), training=False)
