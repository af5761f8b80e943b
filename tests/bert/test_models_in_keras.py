"""The models as Keras models: shapes, policies, compilers, serialisation, training, other backends."""

import os
import subprocess
import sys
import textwrap

import bert_in_numpy
import keras
import numpy as np
import pytest
import tensorflow as tf
from slow_cases import rest_slow
from small_models import HEADS, MODELS, assert_close, batch, config, numpy, with_large_weights

from kobert_tf2.bert import dropout, models, pretrained, weight_names
from kobert_tf2.bert.kernels import plain
from kobert_tf2.errors import InputError

# --- Numbers ---


@pytest.mark.parametrize("act", ["gelu", "gelu_new"])
@pytest.mark.parametrize("cls", MODELS)
def test_answers_as_bert_in_numpy(cls, act):
    model = with_large_weights(cls(config(hidden_act=act)))
    values = {
        row.tf1: weight_names.transpose(variable.numpy(), row, source="keras", target="tf1")
        for row, variable in pretrained.variables(model).items()
    }
    values.setdefault("bert/pooler/dense/kernel", np.zeros((16, 16)))
    values.setdefault("bert/pooler/dense/bias", np.zeros(16))
    gelu = {"gelu": bert_in_numpy.gelu_erf, "gelu_new": bert_in_numpy.gelu_tanh}[act]
    inputs = batch()
    states, pooled = bert_in_numpy.encode(inputs, values, layers=2, heads=4, gelu=gelu)
    sequence = states[-1]
    expected = {
        "BertBackbone": lambda: {"sequence_output": sequence, "pooled_output": pooled},
        "BertForPreTraining": lambda: {
            "masked_lm_logits": bert_in_numpy.masked_lm(sequence, inputs["masked_lm_positions"], values, gelu),
            "next_sentence_logits": bert_in_numpy.head(pooled, values, "cls/seq_relationship"),
        },
        "BertForQuestionAnswering": lambda: dict(
            zip(
                ("start_logits", "end_logits"),
                np.moveaxis(bert_in_numpy.head(sequence, values, "cls/squad"), -1, 0),
                strict=True,
            )
        ),
        "BertForSequenceClassification": lambda: {"logits": bert_in_numpy.head(pooled, values, "")},
        "BertForTokenClassification": lambda: {"logits": bert_in_numpy.head(sequence, values, "")},
    }[cls.__name__]()
    assert_close(numpy(model(inputs)), expected)


def test_padding_changes_nothing():
    model = with_large_weights(models.BertForQuestionAnswering(config()))
    inputs = batch()
    other = dict(inputs, input_ids=np.where(inputs["input_mask"] == 1, inputs["input_ids"], 7))
    first, second = (numpy(model(each))["start_logits"] for each in (inputs, other))
    assert np.array_equal(first[inputs["input_mask"] == 1], second[inputs["input_mask"] == 1])


def test_a_row_that_is_masked_altogether_stays_finite():
    outputs = models.BertBackbone(config())(dict(batch(), input_mask=np.zeros((3, 12), "int32")))
    assert all(np.isfinite(values).all() for values in numpy(outputs).values())


@pytest.mark.parametrize("cls", HEADS)
def test_logits_are_float32_under_mixed_bfloat16_and_near_those_of_float32(cls):
    exact = with_large_weights(cls(config()))
    mixed = cls(config(), dtype="mixed_bfloat16")
    mixed.set_weights(exact.get_weights())
    for name, values in mixed(batch()).items():
        assert values.dtype == tf.float32
        theirs = exact(batch())[name].numpy()
        assert np.abs(values.numpy() - theirs).max() < 0.1 * np.abs(theirs).max()
    assert {variable.dtype for variable in mixed.weights} == {"float32"}


def test_the_global_policy_is_followed():
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        backbone = models.BertBackbone(config())
    finally:
        keras.config.set_dtype_policy("float32")
    assert backbone(batch())["sequence_output"].dtype == tf.bfloat16


# --- Shapes and compilers ---


@pytest.mark.parametrize("jit", [False, True])
@pytest.mark.parametrize("shape", [(3, 12), (None, None), (None, 12)])
def test_static_and_dynamic_shapes_and_xla(shape, jit):
    model = with_large_weights(models.BertForPreTraining(config()))
    signature = {name: tf.TensorSpec(shape, tf.int32) for name in batch()}
    signature["masked_lm_positions"] = tf.TensorSpec((shape[0], None), tf.int32)
    compiled = tf.function(model, input_signature=[signature], jit_compile=jit)
    assert_close(numpy(compiled(batch())), numpy(model(batch())))


def test_gradients_under_xla_equal_those_without():
    model = with_large_weights(models.BertForPreTraining(config()))

    def gradients(inputs):
        with tf.GradientTape() as tape, models.dropout_seed(tf.constant([1, 2])):
            outputs = model(inputs, training=True)
            loss = sum(tf.reduce_mean(tf.square(values)) for values in outputs.values())
        return [tf.convert_to_tensor(gradient) for gradient in tape.gradient(loss, model.trainable_variables)]

    inputs = {name: tf.constant(values) for name, values in batch().items()}
    plain, jitted = (tf.function(gradients, jit_compile=jit)(inputs) for jit in (False, True))
    for variable, a, b in zip(model.trainable_variables, plain, jitted, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4, err_msg=variable.path)


def test_more_keys_than_inputs_are_fine_and_a_missing_one_is_reported():
    """Keras pairs the sorted keys with the inputs by order alone, so a surplus key would shift them all."""
    model = models.BertForQuestionAnswering(config())
    inputs = batch()
    more = dict(inputs, a_first_key=np.ones((3, 12)), labels=np.zeros(3))
    assert_close(numpy(model(more)), numpy(model(inputs)), 0)
    with pytest.raises(InputError, match=r"expected the inputs.*segment_ids"):
        model({"input_ids": inputs["input_ids"], "input_mask": inputs["input_mask"]})


def test_a_sequence_longer_than_the_positions_is_reported():
    with pytest.raises(InputError, match=r"at most 24 tokens.*has 30"):
        models.BertBackbone(config())(batch(length=30))


def test_every_layers_output_on_request():
    backbone = models.BertBackbone(config(num_hidden_layers=3), output_hidden_states=True)
    outputs = backbone(batch())
    assert [tuple(state.shape) for state in outputs["hidden_states"]] == [(3, 12, 16)] * 4
    assert np.array_equal(outputs["hidden_states"][-1], outputs["sequence_output"])


# --- Outputs at some positions alone ---


@pytest.mark.parametrize("pooled", [True, False])
@pytest.mark.parametrize("chosen", [[[3, 0, 3], [11, 5, 0], [1, 2, 2]], [[], [], []]])
def test_the_outputs_at_chosen_positions_are_those_of_all(chosen, pooled):
    backbone = with_large_weights(models.BertBackbone(config(), add_pooling_layer=pooled))
    positions = np.array(chosen, np.int32)
    every = numpy(backbone(batch()))
    every["sequence_output"] = np.take_along_axis(every["sequence_output"], positions[:, :, None], axis=1)
    assert_close(numpy(backbone(batch(), output_positions=positions)), every)
    compiled = tf.function(lambda inputs, positions: backbone(inputs, output_positions=positions))
    assert_close(numpy(compiled(batch(), positions)), every)


def test_a_users_head_on_chosen_positions_in_a_keras_model(tmp_path):
    """As the README has it."""
    backbone = with_large_weights(models.BertBackbone(config()))
    positions = keras.Input(shape=(2,), dtype="int32", name="positions")
    states = backbone(backbone.input, output_positions=positions)["sequence_output"]
    assert states.shape == (None, 2, 16)
    model = keras.Model({**backbone.input, "positions": positions}, keras.layers.Dense(3)(states))
    inputs = {name: batch()[name] for name in ("input_ids", "input_mask", "segment_ids")}
    inputs["positions"] = np.array([[3, 0], [11, 5], [1, 2]], np.int32)
    expected = model.predict(inputs, verbose=0)
    assert expected.shape == (3, 2, 3)
    model.compile("sgd", "mse")
    model.fit(inputs, np.zeros_like(expected), epochs=2, verbose=0)
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(again.predict(inputs, verbose=0), model.predict(inputs, verbose=0), atol=1e-6)


def test_the_gradients_at_chosen_positions_are_those_of_all():
    backbone = with_large_weights(models.BertBackbone(config()))
    positions = np.array([[3, 0, 3], [11, 5, 0], [1, 2, 2]], np.int32)

    def gradients(outputs_of):
        with tf.GradientTape() as tape:
            sequence, pooled = outputs_of()
            loss = tf.reduce_sum(tf.square(sequence)) + tf.reduce_sum(pooled)
        return [tf.convert_to_tensor(gradient) for gradient in tape.gradient(loss, backbone.trainable_variables)]

    def of_all():
        outputs = backbone(batch())
        return tf.gather(outputs["sequence_output"], positions, batch_dims=1), outputs["pooled_output"]

    def of_chosen():
        outputs = backbone(batch(), output_positions=positions)
        return outputs["sequence_output"], outputs["pooled_output"]

    for variable, a, b in zip(backbone.trainable_variables, gradients(of_chosen), gradients(of_all), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4, err_msg=variable.path)


@pytest.mark.parametrize(
    ("cls", "rows"),
    [
        (models.BertForPreTraining, 1 + batch()["masked_lm_positions"].shape[1]),
        (models.BertForSequenceClassification, 1),
        (models.BertForQuestionAnswering, 12),
    ],
)
def test_the_last_layer_computes_no_more_than_the_head_reads(cls, rows, monkeypatch):
    model = cls(config())
    computed = []
    last, kernel = model.backbone.encoder_layers[-1].feed_forward_output, plain.dense_residual_norm

    def noting(x, dense, *rest, **named):
        if dense is last:
            computed.append(x.shape[1])
        return kernel(x, dense, *rest, **named)

    monkeypatch.setattr(plain, "dense_residual_norm", noting)
    model(batch(), training=True)
    assert computed == [rows]


# --- Keras' own ways ---


@pytest.mark.parametrize("cls", MODELS)
def test_a_model_survives_saving_cloning_and_its_config(cls, tmp_path):
    model = with_large_weights(cls(config(), name="given"))
    expected = numpy(model(batch()))
    model.save(tmp_path / "model.keras")
    assert_close(numpy(keras.models.load_model(tmp_path / "model.keras")(batch())), expected, 0)
    copy = cls.from_config(model.get_config())
    assert copy.name == "given"
    assert [variable.path for variable in copy.weights] == [variable.path for variable in model.weights]
    copy.set_weights(model.get_weights())
    assert_close(numpy(copy(batch())), expected, 0)
    model.save_weights(tmp_path / "model.weights.h5")
    other = cls(config())
    other.load_weights(tmp_path / "model.weights.h5")
    assert_close(numpy(other(batch())), expected, 0)


@pytest.mark.parametrize("cls", [cls for cls in MODELS if cls is not models.BertForPreTraining])
def test_keras_clone_gives_a_functional_model_with_weights_of_its_own(cls):
    model = with_large_weights(cls(config()))
    clone = keras.models.clone_model(model)
    inputs = {name: batch()[name] for name in model.input}
    assert not {id(variable) for variable in clone.weights} & {id(variable) for variable in model.weights}
    clone.set_weights(model.get_weights())
    assert_close(numpy(clone(inputs)), numpy(model(inputs)), 0)


def test_keras_clone_would_untie_the_masked_lm_head_and_is_refused():
    with pytest.raises(InputError, match="from_config"):
        keras.models.clone_model(models.BertForPreTraining(config()))


def test_num_labels_and_policy_survive_the_config():
    model = models.BertForSequenceClassification(config(), num_labels=5, dtype="mixed_bfloat16")
    copy = models.BertForSequenceClassification.from_config(model.get_config())
    assert copy.num_labels == 5
    assert copy.backbone.encoder_layers[0].compute_dtype == "bfloat16"


def test_constructors_take_keywords_alone():
    with pytest.raises(TypeError):
        models.BertConfig(40)
    with pytest.raises(TypeError):
        models.BertForSequenceClassification(config(), 3)


def test_the_summary_names_the_parts(capsys):
    models.BertForPreTraining(config()).summary()
    printed = capsys.readouterr().out
    for name in ("backbone", "masked_lm", "next_sentence"):
        assert name in printed


def test_no_weight_is_counted_twice():
    model = models.BertForPreTraining(config())
    assert len({id(variable) for variable in model.weights}) == len(model.weights)
    assert len({variable.path for variable in model.weights}) == len(model.weights)


def test_frozen_layers_keep_their_weights():
    model = models.BertForSequenceClassification(config())
    model.backbone.embeddings.trainable = False
    model.backbone.encoder_layers[0].trainable = False
    before = {variable.path: variable.numpy() for variable in model.weights}
    model.compile(optimizer=keras.optimizers.SGD(0.5), loss={"logits": "mse"})
    model.fit({k: v for k, v in batch().items() if k != "masked_lm_positions"}, {"logits": np.ones((3, 2))}, verbose=0)
    for variable in model.weights:
        frozen = variable.path.startswith(("embeddings/", "encoder_layer_0/"))
        assert np.array_equal(variable.numpy(), before[variable.path]) == frozen, variable.path


TARGETS = {
    "BertForPreTraining": {"masked_lm_logits": (3, 4), "next_sentence_logits": (3,)},
    "BertForQuestionAnswering": {"start_logits": (3,), "end_logits": (3,)},
    "BertForSequenceClassification": {"logits": (3,)},
    "BertForTokenClassification": {"logits": (3, 12)},
}


@pytest.mark.parametrize("cls", rest_slow(HEADS))
def test_fit_evaluate_and_predict_with_keras_losses_and_metrics(cls):
    keras.utils.set_random_seed(1)
    model = cls(config(num_hidden_layers=1, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0))
    targets = {name: np.ones(shape, "int32") for name, shape in TARGETS[cls.__name__].items()}
    dataset = tf.data.Dataset.from_tensors((batch(), targets)).repeat(8)
    model.compile(
        optimizer=keras.optimizers.Adam(1e-2),
        loss={name: keras.losses.SparseCategoricalCrossentropy(from_logits=True) for name in targets},
        metrics={name: ["accuracy"] for name in targets},
    )
    history = model.fit(dataset, epochs=3, verbose=0).history
    assert history["loss"][-1] < 0.5 * history["loss"][0]
    results = model.evaluate(dataset, verbose=0, return_dict=True)
    assert results["loss"] < history["loss"][0]
    predictions = model.predict(dataset, verbose=0)
    assert {name: len(values) for name, values in predictions.items()} == dict.fromkeys(targets, 24)


def test_fit_with_the_tensorboard_callback(tmp_path):
    pytest.importorskip("tensorboard", reason="the extra 'tensorboard' is not installed")
    model = models.BertForSequenceClassification(config(num_hidden_layers=1), num_labels=2)
    features = {name: array for name, array in batch(rows=4).items() if name != "masked_lm_positions"}
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    callback = keras.callbacks.TensorBoard(str(tmp_path), histogram_freq=1, update_freq="batch")
    model.fit(features, np.array([0, 1, 0, 1]), epochs=2, batch_size=2, verbose=0, callbacks=[callback])
    assert list(tmp_path.rglob("events.out.tfevents.*"))


def test_fit_with_dropout_and_jit():
    model = models.BertForSequenceClassification(config(num_hidden_layers=1))
    model.compile(optimizer="sgd", loss={"logits": "mse"}, jit_compile=True)
    inputs = {k: v for k, v in batch().items() if k != "masked_lm_positions"}
    history = model.fit(inputs, {"logits": np.ones((3, 2), "float32")}, epochs=2, verbose=0).history
    assert np.isfinite(history["loss"]).all()


BACKEND_SCRIPT = """
    import numpy as np
    import keras
    from kobert_tf2.bert import models as modeling

    assert keras.backend.backend() == {backend!r}
    import sys
    config = modeling.BertConfig(**{config!r})
    model = modeling.BertForPreTraining(config)
    inputs = dict(np.load({inputs!r}))
    arrays = dict(np.load({weights!r}))
    for variable in model.weights:
        variable.assign(arrays[variable.path])
    outputs = {{name: keras.ops.convert_to_numpy(values) for name, values in model(inputs).items()}}
    from kobert_tf2.bert import dropout
    key = dropout.dropout_key(keras.ops.convert_to_tensor([3, -4], dtype="int32"), 11)
    outputs["mask"] = keras.ops.convert_to_numpy(dropout.keep_mask((33, 65), key, 0.1))
    model.compile(
        optimizer=keras.optimizers.SGD(0.1),
        loss={{name: keras.losses.SparseCategoricalCrossentropy(from_logits=True) for name in model.output}},
    )
    targets = {{"masked_lm_logits": np.ones((3, 4)), "next_sentence_logits": np.ones(3)}}
    losses = model.fit(inputs, targets, epochs=4, verbose=0).history["loss"]
    assert np.isfinite(losses).all() and losses[-1] < losses[0], losses
    assert "tensorflow" not in sys.modules or {backend!r} == "tensorflow"
    np.savez({answers!r}, **outputs)
"""


@pytest.mark.parametrize("backend", ["torch", "jax"])
def test_another_backend_gives_the_same_answers_and_masks_and_trains(backend, tmp_path):
    pytest.importorskip(backend, reason=f"{backend} is not installed")
    model = with_large_weights(models.BertForPreTraining(config()))
    np.savez(tmp_path / "inputs.npz", **batch())
    np.savez(tmp_path / "weights.npz", **{variable.path: variable.numpy() for variable in model.weights})
    script = textwrap.dedent(BACKEND_SCRIPT).format(
        backend=backend,
        config=config().to_dict(),
        **{name: str(tmp_path / f"{name}.npz") for name in ("inputs", "weights", "answers")},
    )
    environment = dict(os.environ, KERAS_BACKEND=backend)
    result = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, env=environment, timeout=300
    )
    assert result.returncode == 0, result.stderr
    answers = dict(np.load(tmp_path / "answers.npz"))
    key = dropout.dropout_key(tf.constant([3, -4]), 11)
    assert np.array_equal(answers.pop("mask"), dropout.keep_mask((33, 65), key, 0.1))
    assert_close(answers, numpy(model(batch())))
