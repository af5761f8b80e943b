"""The kernels of the forward pass: the mathematics of `plain.py`, and what TensorFlow makes of them on a processor."""

import collections
import contextlib

import keras
import numpy as np
import pytest
import tensorflow as tf

from kobert_tf2.bert import kernels, layers, models
from kobert_tf2.bert.kernels import inference_cpu, plain, tracing

# Of bfloat16 eight bits are left after each product.
TOLERANCE = {"float32": 2e-6, "bfloat16": 0.05}
both_types = pytest.mark.parametrize("dtype", ["float32", "bfloat16"])


def numbers(*shape, seed=0, dtype="float32"):
    return tf.cast(np.random.default_rng((seed, *shape)).normal(size=shape), dtype)


def assert_close(ours, theirs, dtype):
    np.testing.assert_allclose(tf.cast(ours, "float32"), tf.cast(theirs, "float32"), rtol=0, atol=TOLERANCE[dtype])


@both_types
@pytest.mark.parametrize("together", [False, True])
@pytest.mark.parametrize(("batch", "length", "heads"), [(1, 2, 1), (2, 5, 3), (3, 16, 2)])
def test_attention(batch, length, heads, together, dtype):
    width = 8
    mask = np.random.default_rng(0).integers(0, 2, (batch, length))
    mask[0] = 0  # nothing but padding
    scores = layers.AttentionMask()(tf.constant(mask))
    parts = [numbers(batch, length, heads * width, seed=seed, dtype=dtype) for seed in range(3)]
    expected = plain.join_heads(plain.attend(*(plain.split_heads(part, heads) for part in parts), scores, drop=None))
    flat = [tf.reshape(part, (-1, heads * width)) for part in parts]
    if together:
        split = inference_cpu.heads(tf.concat(flat, axis=1), batch=batch, num_heads=heads, parts=3)
    else:
        split = [inference_cpu.heads(part, batch=batch, num_heads=heads)[0] for part in flat]
    found = inference_cpu.attend(*split, scores)
    assert found.dtype == dtype
    # Of a row of nothing but padding bfloat16 cannot tell the scores behind -10,000 apart.
    real = slice(1 if dtype == "bfloat16" else 0, None)
    assert_close(tf.reshape(found, expected.shape)[real], expected[real], dtype)


@both_types
def test_a_dense_layer(dtype):
    x, kernel, bias = numbers(6, 4, dtype=dtype), numbers(4, 5, dtype=dtype), numbers(5, dtype=dtype)
    assert_close(inference_cpu.affine(x, kernel, bias), tf.matmul(x, kernel) + bias, dtype)


@both_types
def test_a_norm(dtype):
    x, gamma, beta = numbers(6, 8, dtype=dtype), numbers(8, dtype=dtype), numbers(8, seed=1, dtype=dtype)
    found = inference_cpu.batch_norm_form(x * 3 + 1, gamma, beta, epsilon=1e-12)
    assert found.dtype == dtype
    assert_close(found, plain.layer_norm(x * 3 + 1, gamma, beta, 1e-12), dtype)


def config(hidden_act="gelu_new"):
    return models.BertConfig(
        vocab_size=50,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
        hidden_act=hidden_act,
        max_position_embeddings=16,
    )


def inputs(rows=3, length=9):
    rng = np.random.default_rng(0)
    mask = (np.arange(length) < rng.integers(1, length + 1, (rows, 1))).astype(np.int32)
    return {
        "input_ids": tf.constant(rng.integers(1, 50, (rows, length), np.int32)),
        "input_mask": tf.constant(mask),
        "segment_ids": tf.constant(rng.integers(0, 2, (rows, length), np.int32)),
    }


@both_types
@pytest.mark.parametrize("here", [False, True])
@pytest.mark.parametrize("hidden_act", ["gelu_new", "gelu", "relu"])
def test_a_model_with_and_without(monkeypatch, hidden_act, here, dtype):
    keras.utils.set_random_seed(0)
    model = models.BertBackbone(config(hidden_act), dtype=dtype)
    ours = traced(model, here)(**inputs())
    monkeypatch.setattr(kernels, "choose", lambda *arguments, **named: plain)
    theirs = traced(model, False)(**inputs())
    for name in theirs:
        assert_close(ours[name], theirs[name], dtype)


def test_weights_may_change_where_they_are_not_final():
    model = models.BertBackbone(config(), dtype="float32")
    with tracing.for_cpu():
        function = traced(model, False)
    before = function(**inputs())["pooled_output"].numpy()
    for layer in model.weights:
        layer.assign(layer * 1.5)
    after = function(**inputs())["pooled_output"].numpy()
    assert np.abs(after - before).max() > 0.01
    assert_close(after, model(inputs())["pooled_output"], "float32")


def traced(model, here):
    function = tf.function(lambda **rows: model(rows, training=False))
    shapes = {name: tf.TensorSpec([None, None], x.dtype) for name, x in inputs().items()}
    with tracing.for_cpu(final_weights=True) if here else contextlib.nullcontext():
        return function.get_concrete_function(**shapes)


def test_only_the_forward_pass_alone_has_these_forms(monkeypatch):
    calls = []
    affine = inference_cpu.affine
    monkeypatch.setattr(inference_cpu, "affine", lambda *tensors: calls.append(True) or affine(*tensors))
    model = models.BertBackbone(config(), dtype="float32")
    model(inputs(), training=True)
    assert not calls
    model(inputs(), training=False)
    assert calls


@both_types
@pytest.mark.parametrize(("here", "dense", "norms"), [(False, 6, 0), (True, 4, 5)])
def test_tensorflow_makes_one_operation_of_each(here, dense, norms, dtype):
    """The reason for these forms: a change in TensorFlow, or here, that loses a fusion must show."""
    from tensorflow.python.eager import context

    function = traced(models.BertBackbone(config(), dtype=dtype), here)
    context.enable_run_metadata()
    try:
        function(**inputs())
        graphs = context.export_run_metadata().function_graphs
    finally:
        context.disable_run_metadata()
    kinds = [node.op for graph in graphs for node in graph.post_optimization_graph.node]
    if not any("Mkl" in kind for kind in kinds):
        pytest.skip("this TensorFlow has no oneDNN")
    count = collections.Counter(kinds)
    assert count["_MklFusedBatchMatMulV2"] == 2
    # The pooler is a layer more, and its tanh the only one left.
    assert sum(number for kind, number in count.items() if "FusedMatMul" in kind) in (2 * dense, 2 * dense + 1)
    assert count["_MklLayerNorm"] == norms
    assert count["Tanh"] <= 1
