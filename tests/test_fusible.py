"""The forms of the forward pass: the mathematics of `layers.py`, and what TensorFlow makes of them on a processor."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from kobert_tf2 import fusible, layers, modeling

# Of bfloat16 eight bits are left after each product.
TOLERANCE = {"float32": 2e-6, "bfloat16": 0.05}
both_types = pytest.mark.parametrize("dtype", ["float32", "bfloat16"])


def numbers(*shape, seed=0, dtype="float32"):
    return tf.cast(np.random.default_rng((seed, *shape)).normal(size=shape), dtype)


def assert_close(ours, theirs, dtype):
    np.testing.assert_allclose(tf.cast(ours, "float32"), tf.cast(theirs, "float32"), rtol=0, atol=TOLERANCE[dtype])


@both_types
@pytest.mark.parametrize(("batch", "length", "heads"), [(1, 1, 1), (2, 5, 3), (3, 16, 2)])
def test_attention(batch, length, heads, dtype):
    width = 8
    mask = np.random.default_rng(0).integers(0, 2, (batch, length))
    mask[0] = 0  # nothing but padding
    scores = layers.AttentionMask()(tf.constant(mask))
    parts = [numbers(batch, length, heads * width, seed=seed, dtype=dtype) for seed in range(3)]
    expected = layers.join_heads(layers.attend(*(layers.split_heads(part, heads) for part in parts), scores, drop=None))
    flat = [tf.reshape(part, (-1, heads * width)) for part in parts]
    found = fusible.attend(*flat, scores, num_heads=heads)
    assert found.dtype == dtype
    # Of a row of nothing but padding bfloat16 cannot tell the scores behind -10,000 apart.
    real = slice(1 if dtype == "bfloat16" else 0, None)
    assert_close(tf.reshape(found, expected.shape)[real], expected[real], dtype)


@both_types
def test_a_dense_layer(dtype):
    x, kernel, bias = numbers(6, 4, dtype=dtype), numbers(4, 5, dtype=dtype), numbers(5, dtype=dtype)
    assert_close(fusible.dense(x, kernel, bias), tf.matmul(x, kernel) + bias, dtype)


def config(hidden_act="gelu_new"):
    return modeling.BertConfig(
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
@pytest.mark.parametrize("hidden_act", ["gelu_new", "gelu", "relu"])
def test_a_model_with_and_without(monkeypatch, hidden_act, dtype):
    keras.utils.set_random_seed(0)
    model = modeling.BertBackbone(config(hidden_act), dtype=dtype)
    ours = model(inputs())
    monkeypatch.setattr(layers, "_fusible", lambda training: None)
    theirs = model(inputs())
    for name in theirs:
        assert_close(ours[name], theirs[name], dtype)


def test_only_the_forward_pass_alone_has_these_forms(monkeypatch):
    asked = []
    dense = fusible.dense
    monkeypatch.setattr(fusible, "dense", lambda *tensors: asked.append(True) or dense(*tensors))
    model = modeling.BertBackbone(config(), dtype="float32")
    model(inputs(), training=True)
    assert not asked
    model(inputs(), training=False)
    assert asked


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_tensorflow_makes_one_operation_of_each(dtype):
    """The reason why the forms are there: a change of TensorFlow's, or of ours, that loses it is to be seen."""
    from tensorflow.python.eager import context

    model = modeling.BertBackbone(config(), dtype=dtype)
    context.enable_run_metadata()
    try:
        tf.function(lambda **rows: model(rows, training=False)["pooled_output"])(**inputs())
        graphs = context.export_run_metadata().function_graphs
    finally:
        context.disable_run_metadata()
    kinds = [node.op for graph in graphs for node in graph.post_optimization_graph.node]
    if not any("Mkl" in kind for kind in kinds):
        pytest.skip("this TensorFlow has no oneDNN")
    fused = [kind for kind in kinds if "Fused" in kind]
    # Six dense layers and the scores of attention, in each of two layers.
    assert len([kind for kind in fused if "BatchMatMul" not in kind]) >= 2 * 6, kinds
    assert len([kind for kind in fused if "BatchMatMul" in kind]) == 2, kinds
    assert kinds.count("Tanh") <= 1  # the pooler's
