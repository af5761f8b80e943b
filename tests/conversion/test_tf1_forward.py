"""The original's graph in NumPy: against the graph's own golden answers, and against BERT in NumPy from the paper."""

import bert_in_numpy
import numpy as np
import pytest
import tensorflow as tf
from small_models import batch, config, save_tf1, with_large_weights

from kobert_tf2 import files
from kobert_tf2.bert import models
from kobert_tf2.conversion import tf1_forward

ALL = {"pooler", "masked_lm", "next_sentence", "span"}


@pytest.mark.shared
def test_it_answers_as_the_original_graph_did(shared):
    folder = shared / "golden" / "tf1_tiny_bert"
    if not folder.is_dir():
        pytest.skip(f"no golden checkpoint at {folder}")
    golden = dict(np.load(folder / "golden.npz"))
    prefix = next(str(path).removesuffix(".index") for path in folder.glob("*.index"))
    answers = tf1_forward.forward(prefix, f"{folder}/bert_config.json", golden, ALL)
    for name in ("sequence_output", "pooled_output", "start_logits", "end_logits"):
        assert np.abs(answers[name] - golden[name]).max() <= 1e-5, name
    logits = tf.nn.log_softmax(answers["masked_lm_logits"]).numpy()
    assert np.abs(logits.reshape(golden["mlm_log_probs"].shape) - golden["mlm_log_probs"]).max() <= 1e-5
    assert np.abs(tf.nn.log_softmax(answers["next_sentence_logits"]).numpy() - golden["nsp_log_probs"]).max() <= 1e-5


@pytest.mark.parametrize("scope", ["", "module/"])
def test_heads_and_a_scope(scope, tmp_path):
    model = with_large_weights(models.BertForPreTraining(config()))
    folder = save_tf1(model, tmp_path / "tf1", output_weights=np.full((3, 16), 0.1, "float32"), output_bias=np.ones(3))
    reader = tf.train.load_checkpoint(f"{folder}/bert_model.ckpt")
    variables = {name: reader.get_tensor(name) for name in reader.get_variable_to_shape_map()}
    prefix = f"{folder}/scoped.ckpt"
    tf.raw_ops.SaveV2(
        prefix=prefix,
        tensor_names=[scope + name for name in variables],
        shape_and_slices=[""] * len(variables),
        tensors=list(variables.values()),
    )
    inputs, heads = batch(), ALL - {"span"} | {"classifier"}
    (*_, sequence), pooled = bert_in_numpy.encode(inputs, variables, layers=2, heads=4)
    for of_tokens, expected in ((False, pooled), (True, sequence)):
        answers = tf1_forward.forward(
            prefix, f"{folder}/bert_config.json", inputs, heads, scope=scope, of_tokens=of_tokens
        )
        assert np.abs(answers["sequence_output"] - sequence).max() <= 1e-4
        assert np.abs(answers["logits"] - bert_in_numpy.head(expected, variables, "")).max() <= 1e-4
    scores = bert_in_numpy.masked_lm(sequence, inputs["masked_lm_positions"], variables)
    assert np.abs(answers["masked_lm_logits"] - scores).max() <= 1e-3


@pytest.mark.parametrize("act", ["relu", "tanh", "", "linear"])
def test_the_other_activations_of_the_original(act, tmp_path):
    model = with_large_weights(models.BertBackbone(config()))
    folder = save_tf1(model, tmp_path / "tf1")
    files.write_json(
        f"{folder}/bert_config.json", {**files.read_json(f"{folder}/bert_config.json"), "hidden_act": act or None}
    )
    answers = tf1_forward.forward(f"{folder}/bert_model.ckpt", f"{folder}/bert_config.json", batch(), {"pooler"})
    ours = models.BertBackbone.from_pretrained(folder)(batch())
    assert np.abs(answers["pooled_output"] - ours["pooled_output"]).max() <= 1e-5
