"""The training kernels against the plain ones: the same values, the same gradients, the same masks."""

import functools

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from kobert_tf2.bert import kernels, layers, models
from kobert_tf2.bert.dropout import Drop, drop_out, dropout_key
from kobert_tf2.bert.kernels import plain, tracing, training_cpu, xla
from kobert_tf2.training import losses, steps

BATCH, LENGTH, HEADS, WIDTH = 3, 6, 2, 8
ROWS = BATCH * LENGTH
# Of bfloat16 eight bits are left after each product, and a gradient goes through several.
TOLERANCE = {"float32": 2e-5, "bfloat16": 0.05}


def numbers(*shape, seed=0, dtype="float32"):
    return tf.cast(np.random.default_rng((seed, *shape)).normal(size=shape), dtype)


def values_and_gradients(function, tensors: list, *, jit: bool = False):
    """What `function` makes of them, and the gradients of a sum in which every output weighs something else."""

    @functools.partial(tf.function, jit_compile=jit, autograph=False)
    def both():
        with tf.GradientTape() as tape:
            tape.watch(tensors)
            outputs = tf.nest.flatten(function(*tensors))
            total = sum(
                tf.reduce_sum(tf.cast(x, "float32") * numbers(*x.shape, seed=i + 1)) for i, x in enumerate(outputs)
            )
        return outputs, [tf.convert_to_tensor(gradient) for gradient in tape.gradient(total, tensors)]

    outputs, gradients = both()
    return [tf.cast(x, "float32").numpy() for x in [*outputs, *gradients]]


def assert_alike(one, other, tensors: list, *, jit: bool = False):
    tolerance = TOLERANCE[tensors[0].dtype.name]
    ours, theirs = values_and_gradients(one, tensors, jit=jit), values_and_gradients(other, tensors)
    assert len(ours) == len(theirs)
    for number, (a, b) in enumerate(zip(ours, theirs, strict=True)):
        np.testing.assert_allclose(a, b, rtol=0, atol=tolerance * max(1.0, np.abs(b).max()), err_msg=str(number))


def drop(rate: float) -> Drop | None:
    return Drop(dropout_key(tf.constant([1, 2]), 3), rate) if rate else None


both_types = pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
both_compilers = pytest.mark.parametrize("jit", [False, True])
with_and_without_dropout = pytest.mark.parametrize("rate", [0.0, 0.3])


@both_types
@both_compilers
def test_products(dtype, jit):
    tensors = [numbers(ROWS, WIDTH, dtype=dtype), numbers(WIDTH, 5, dtype=dtype), numbers(5, dtype=dtype)]
    assert_alike(training_cpu.affine, lambda x, kernel, bias: tf.matmul(x, kernel) + bias, tensors, jit=jit)
    tensors = [numbers(ROWS, WIDTH, dtype=dtype), numbers(11, WIDTH, dtype=dtype), numbers(11, dtype=dtype)]
    assert_alike(
        training_cpu.times_rows, lambda x, table, bias: tf.matmul(x, tf.transpose(table)) + bias, tensors, jit=jit
    )


@both_types
@both_compilers
def test_rows_at_positions(dtype, jit):
    """A position may occur more than once."""
    positions = tf.constant([[0, 3, 3, 5], [5, 4, 0, 0], [1, 1, 1, 1]])
    of_few = [numbers(2, WIDTH, dtype=dtype)]
    assert_alike(
        lambda x: training_cpu.rows_of(x, positions % 2), lambda x: tf.gather(x, positions % 2), of_few, jit=jit
    )
    tensors = [numbers(BATCH, LENGTH, WIDTH, dtype=dtype)]
    assert_alike(lambda x: training_cpu.rows_of(x, positions), lambda x: plain.rows_of(x, positions), tensors, jit=jit)


@both_compilers
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_table_looked_up_and_multiplied(dtype, jit):
    """The gradient of both uses together, words that come twice among them."""
    ids, table = tf.constant([[0, 3, 3], [2, 0, 1]]), numbers(5, WIDTH)
    x = numbers(WIDTH, dtype=dtype)

    def ours(table):
        rows, handed_over = training_cpu.embed_words(table, ids, dtype)
        return rows, tf.linalg.matvec(handed_over, x)

    def by_hand(table):
        return tf.gather(table, ids), tf.linalg.matvec(tf.cast(table, dtype), x)

    assert_alike(ours, by_hand, [table], jit=jit)


@both_types
@pytest.mark.parametrize("name", sorted(plain.ACTIVATIONS))
def test_activation(name, dtype):
    activation = plain.ACTIVATIONS[name]
    assert_alike(
        functools.partial(training_cpu.activate, activation=activation),
        activation,
        [numbers(ROWS, WIDTH, dtype=dtype)],
    )


@both_types
@both_compilers
def test_gelu_by_a_power(dtype, jit):
    """Far outside as well, where the power is as good as nothing or more than all."""
    for scale in (1.0, 30.0, 1e4):
        assert_alike(training_cpu.gelu_tanh, plain.gelu_tanh, [numbers(ROWS, WIDTH, dtype=dtype) * scale], jit=jit)
    assert np.isnan(training_cpu.gelu_tanh(tf.constant([[np.nan]])).numpy()).all()


@settings(deadline=None, max_examples=50)
@given(st.lists(st.floats(-87, 87, width=32), min_size=1, max_size=8))
def test_the_power_is_as_good_as_float32_allows(numbers):
    """The exponent itself, times log2(e) in float32, has an error that grows with it."""
    powers = training_cpu._power(tf.constant(numbers, tf.float32)).numpy()
    np.testing.assert_array_less(abs(powers / np.exp(numbers) - 1), 2e-7 * (1 + np.abs(numbers)))
    assert (training_cpu._power(tf.constant([0.0, -1e30, 1e30])).numpy() == [1, 2.0**-126, 2.0**126]).all()


@both_types
@both_compilers
@with_and_without_dropout
def test_add_and_norm(dtype, jit, rate):
    tensors = [numbers(ROWS, WIDTH, dtype=dtype)]
    tensors += [numbers(ROWS, WIDTH, seed=1, dtype=dtype), *(numbers(WIDTH, seed=i, dtype=dtype) for i in (2, 3))]

    def by_hand(x, residual, gamma, beta):
        return plain.layer_norm(drop_out(x, drop(rate)) + residual, gamma, beta, 1e-5)

    one = lambda *tensors: training_cpu.residual_norm(*tensors, epsilon=1e-5, drop=drop(rate))  # noqa: E731
    assert_alike(one, by_hand, tensors, jit=jit)


@both_compilers
@with_and_without_dropout
@both_types
def test_norm_and_drop(dtype, jit, rate):
    tensors = [numbers(ROWS, WIDTH, dtype=dtype), *(numbers(WIDTH, seed=i, dtype=dtype) for i in (2, 3))]
    one = lambda *tensors: training_cpu.normed_and_dropped(*tensors, epsilon=1e-5, drop=drop(rate), dtype=dtype)  # noqa: E731
    assert_alike(one, lambda *tensors: drop_out(plain.layer_norm(*tensors, 1e-5), drop(rate)), tensors, jit=jit)


@both_types
@both_compilers
@pytest.mark.parametrize("width", [4, 3])
def test_heads(width, dtype, jit):
    """Of a width that is moved in pieces of 64 bits, and of one that is not."""
    tensors = [numbers(ROWS, 2 * HEADS * width, dtype=dtype)]

    def by_hand(x):
        parts = tf.split(tf.reshape(x, (BATCH, LENGTH, -1)), 2, axis=-1)
        return [plain.split_heads(part, HEADS) for part in parts]

    assert_alike(
        lambda x: training_cpu.split_heads(x, batch=BATCH, num_heads=HEADS, parts=2), by_hand, tensors, jit=jit
    )


@both_types
@both_compilers
@with_and_without_dropout
@pytest.mark.parametrize("queries", [LENGTH, 2])
def test_attention(queries, dtype, jit, rate):
    """With rows of another length each, one of them masked altogether."""
    mask = np.arange(LENGTH) < np.array([LENGTH, 2, 0])[:, None]
    mask_scores = tf.constant((1.0 - mask) * layers.MASKED_SCORE, tf.float32)[:, None, None]

    def by_hand(query, key, value):
        attended = plain.attend(query, key, value, mask_scores, drop=drop(rate))
        return tf.reshape(plain.join_heads(attended), (BATCH * queries, -1))

    def one(query, key, value):
        return training_cpu.attend(query, key, value, mask_scores, drop=drop(rate))

    shapes = [(BATCH, HEADS, length, WIDTH) for length in (queries, LENGTH, LENGTH)]
    assert_alike(one, by_hand, [numbers(*shape, seed=i, dtype=dtype) for i, shape in enumerate(shapes)], jit=jit)


@both_types
@both_compilers
@pytest.mark.parametrize("entries", [11, 192])
def test_cross_entropy(entries, dtype, jit):
    labels = tf.constant(np.random.default_rng(1).integers(0, entries, ROWS, np.int32))

    def by_hand(scores):
        logits = tf.cast(scores, tf.float32)
        correct = tf.cast(tf.argmax(logits, axis=-1, output_type=tf.int32) == labels, tf.float32)
        return tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits), correct

    tensors = [numbers(ROWS, entries, dtype=dtype) * 3]
    assert_alike(lambda scores: training_cpu.cross_entropy_of_rows(scores, labels), by_hand, tensors, jit=jit)


@settings(deadline=None, max_examples=20)
@given(st.lists(st.lists(st.integers(-1, 1), min_size=4, max_size=4), min_size=1, max_size=1), st.integers(0, 3))
def test_of_equal_logits_the_first_counts(logits, label):
    """As argmax has it: a model that finds all words equal is right about one of them."""
    _, correct = training_cpu.cross_entropy_of_rows(tf.constant(logits, tf.float32), tf.constant([label]))
    assert bool(correct[0]) == (int(np.argmax(logits[0])) == label)


def test_the_loss_of_huge_logits_is_finite():
    loss, _ = training_cpu.cross_entropy_of_rows(tf.constant([[3e4, -3e4, 0.0]]), tf.constant([1]))
    assert float(loss[0]) == pytest.approx(6e4)


@both_types
def test_a_score_that_is_not_a_number_is_seen_in_loss_and_gradient(dtype):
    scores = tf.constant([[1.0, np.nan, 2.0, 0.0], [1.0, 0.0, 2.0, 0.0]], dtype)
    with tf.GradientTape() as tape:
        tape.watch(scores)
        losses, _ = training_cpu.cross_entropy_of_rows(scores, tf.constant([0, 2]))
    gradient = tape.gradient(losses, scores)
    for found in (losses, gradient[:, 0], gradient[:, 3]):
        assert np.isnan(tf.cast(found, "float32").numpy()).tolist() == [True, False]


# --- The whole step -----------------------------------------------------------------------------------------------


def config(rate: float = 0.0, **changes) -> models.BertConfig:
    return models.BertConfig(
        **{
            "vocab_size": 97,
            "hidden_size": 32,
            "num_hidden_layers": 1,
            "num_attention_heads": 4,
            "intermediate_size": 64,
            "max_position_embeddings": 16,
            "initializer_range": 0.1,
            "hidden_dropout_prob": rate,
            "attention_probs_dropout_prob": rate,
            **changes,
        }
    )


def batch(rows: int = 4, length: int = 16) -> dict:
    rng = np.random.default_rng(rows)
    of_vocabulary = functools.partial(rng.integers, 0, 97, dtype=np.int32)
    mask = np.arange(length) < rng.integers(5, length + 1, rows)[:, None]
    return {
        "input_ids": tf.constant(of_vocabulary((rows, length))),
        "input_mask": tf.constant(mask.astype(np.int32)),
        "segment_ids": tf.constant(rng.integers(0, 2, (rows, length), np.int32)),
        "masked_lm_positions": tf.constant(rng.integers(0, 5, (rows, 3), np.int32)),
        "masked_lm_ids": tf.constant(of_vocabulary((rows, 3))),
        "masked_lm_weights": tf.constant(rng.integers(0, 2, (rows, 3)).astype(np.float32)),
        "next_sentence_labels": tf.constant(rng.integers(0, 2, (rows, 1), np.int32)),
    }


def step_of(model, on: bool, *, jit: bool = False):
    """Loss sums, metrics and gradients of a pre-training step, and how many compiled functions its graph calls."""

    @functools.partial(tf.function, jit_compile=jit, autograph=False)
    def step(rows):
        with tf.GradientTape() as tape, tracing.for_cpu(on), models.dropout_seed(tf.constant([1, 2])):
            outputs = model(steps.inputs_of(rows), training=True)
            terms, metrics = losses.pretraining_sums(outputs, rows)
            loss = tf.add_n(list(terms.values()))
        gradients = tape.gradient(loss, [variable.value for variable in model.trainable_variables])
        return [loss, *tf.nest.flatten(metrics)], [tf.convert_to_tensor(x) for x in gradients]

    function = step.get_concrete_function(batch())
    calls = sum("PartitionedCall" in operation.type for operation in function.graph.get_operations())
    return (*function(*tf.nest.flatten(batch(), expand_composites=True)), calls)


@pytest.mark.parametrize(("dtype", "rate"), [("float32", 0.0), ("float32", 0.2), ("bfloat16", 0.2)])
def test_a_step_with_and_without(dtype, rate):
    keras.utils.set_random_seed(0)
    model = models.BertForPreTraining(config(rate), dtype="mixed_bfloat16" if dtype == "bfloat16" else "float32")
    plain, plain_gradients, none = step_of(model, False)
    ours, gradients, calls = step_of(model, True)
    assert none == 0
    assert calls > 10
    np.testing.assert_allclose(ours, plain, rtol=1e-5 if dtype == "float32" else 0.02)
    for variable, a, b in zip(model.trainable_variables, gradients, plain_gradients, strict=True):
        bound = TOLERANCE[dtype] * max(1.0, np.abs(b).max())
        np.testing.assert_allclose(a, b, rtol=0, atol=bound, err_msg=variable.path)


@pytest.mark.slow
def test_a_step_that_xla_compiles_whole_may_contain_it():
    keras.utils.set_random_seed(0)
    model = models.BertForPreTraining(config(0.2))
    plain, plain_gradients, _ = step_of(model, True)
    ours, gradients, _ = step_of(model, True, jit=True)
    np.testing.assert_allclose(ours, plain, rtol=1e-5)
    for variable, a, b in zip(model.trainable_variables, gradients, plain_gradients, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=2e-5 * max(1.0, np.abs(b).max()), err_msg=variable.path)


def _kernels_within_a_graph(layer):
    with tf.Graph().as_default(), tracing.for_cpu():
        return kernels.choose(True, tf.zeros([2, 3, 32]), dense=layer._dense_layers())


def test_frozen_layers_and_quantized_ones():
    """A frozen layer has no gradient; a quantized one keeps its own way of multiplying."""
    model = models.BertForPreTraining(config())
    layer = model.backbone.encoder_layers[0]
    layer.trainable = False
    _, gradients, _ = step_of(model, True)
    assert len(gradients) == len(model.trainable_variables) < len(model.variables)
    assert _kernels_within_a_graph(layer) is training_cpu
    layer.query.quantize("int8")
    assert _kernels_within_a_graph(layer) is plain


# --- Where it applies ---------------------------------------------------------------------------------------------


def calls_in(function, *arguments) -> int:
    graph = tf.function(function, autograph=False).get_concrete_function(*arguments).graph
    return sum("PartitionedCall" in operation.type for operation in graph.get_operations())


def test_only_within_the_context_and_only_for_static_shapes():
    model = models.BertForQuestionAnswering(config())
    inputs = {name: batch()[name] for name in ("input_ids", "input_mask", "segment_ids")}
    dynamic = {name: tf.TensorSpec([None, 16], tf.int32) for name in inputs}

    def within(inputs):
        with tracing.for_cpu():
            return model(inputs, training=True)

    assert calls_in(functools.partial(model, training=True), inputs) == 0
    assert calls_in(within, inputs) > 0
    assert calls_in(within, dynamic) == 0
    with tracing.for_cpu():
        assert not training_cpu.applies(inputs["input_ids"])  # Eager


def test_the_context_ends_with_its_block_even_after_an_error():
    with pytest.raises(ZeroDivisionError), tracing.for_cpu():
        raise ZeroDivisionError
    with tf.Graph().as_default():
        x = tf.zeros([2])
        assert not training_cpu.applies(x)
        with tracing.for_cpu():
            assert training_cpu.applies(x)
            with tracing.for_cpu(False):
                assert not training_cpu.applies(x)
            assert training_cpu.applies(x)


@pytest.mark.parametrize(("dtype", "read"), [("bfloat16", tf.bfloat16), ("float32", tf.float32)])
def test_a_loss_starts_from_the_scores_behind_the_logits(dtype, read, monkeypatch):
    """Half of the memory; logits that come from elsewhere are taken as they are."""
    seen = []
    of_rows = training_cpu.cross_entropy_of_rows
    monkeypatch.setattr(
        training_cpu, "cross_entropy_of_rows", lambda scores, ids: seen.append(scores.dtype) or of_rows(scores, ids)
    )
    model = models.BertForPreTraining(config(), dtype="mixed_bfloat16" if dtype == "bfloat16" else "float32")
    step_of(model, True)
    assert seen == [read]
    with tf.Graph().as_default():
        counts = tf.cast(tf.zeros([2, 3], tf.int32), tf.float32)
        assert training_cpu._before_cast(counts) is counts


def test_one_program_for_all_layers_of_a_shape():
    """The last has a shape of its own."""
    xla._compiled.cache_clear()
    model = models.BertForPreTraining(config(num_hidden_layers=2))
    step_of(model, True)
    of_two_layers = xla._compiled.cache_info().misses
    step_of(models.BertForPreTraining(config(num_hidden_layers=4)), True)
    assert xla._compiled.cache_info().misses == of_two_layers
