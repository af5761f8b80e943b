"""The models against the original graph's answers, and what Keras users may expect of them."""

import keras
import numpy as np
import pytest
import warm_python
from small_models import MODELS, batch, config, with_large_weights

from kobert_tf2.bert.models import BertBackbone, BertForPreTraining, BertForQuestionAnswering
from kobert_tf2.errors import InputError

TOLERANCE = 1e-5


@pytest.fixture(scope="module")
def golden_folder(shared):
    folder = shared / "golden" / "tf1_tiny_bert"
    if not folder.is_dir():
        pytest.skip(f"no golden checkpoint at {folder}")
    return str(folder)


@pytest.fixture(scope="module")
def golden(golden_folder):
    return dict(np.load(f"{golden_folder}/golden.npz"))


def difference(ours, theirs) -> float:
    ours = keras.ops.convert_to_numpy(ours)
    assert ours.shape == theirs.shape
    return np.abs(ours - theirs).max()


def log_softmax(logits):
    return keras.ops.convert_to_numpy(keras.ops.log_softmax(keras.ops.cast(logits, "float32")))


@pytest.mark.shared
def test_every_layer_answers_as_the_original_graph(golden_folder, golden):
    backbone = BertBackbone.from_pretrained(golden_folder, output_hidden_states=True)
    outputs = backbone(golden)
    for state, name in zip(outputs["hidden_states"], ("embedding_output", "layer_0", "layer_1"), strict=True):
        assert difference(state, golden[name]) <= TOLERANCE, name
    for name in ("sequence_output", "pooled_output"):
        assert difference(outputs[name], golden[name]) <= TOLERANCE, name


@pytest.mark.shared
def test_pre_training_heads_answer_as_the_original_graph(golden_folder, golden):
    outputs = BertForPreTraining.from_pretrained(golden_folder)(golden)
    masked_lm = log_softmax(outputs["masked_lm_logits"]).reshape(golden["mlm_log_probs"].shape)
    assert difference(masked_lm, golden["mlm_log_probs"]) <= TOLERANCE
    assert difference(log_softmax(outputs["next_sentence_logits"]), golden["nsp_log_probs"]) <= TOLERANCE


@pytest.mark.shared
def test_the_span_head_answers_as_the_original_graph(golden_folder, golden):
    outputs = BertForQuestionAnswering.from_pretrained(golden_folder)(golden)
    for name in ("start_logits", "end_logits"):
        assert difference(outputs[name], golden[name]) <= TOLERANCE, name


def losses(outputs, golden) -> dict[str, float]:
    """The original's two losses: the masked LM's is weighted, with 1e-5 under the fraction."""
    masked_lm = log_softmax(outputs["masked_lm_logits"]).reshape(-1, 120)
    picked = -masked_lm[np.arange(len(masked_lm)), golden["masked_lm_ids"].ravel()]
    given = golden["masked_lm_weights"].ravel()
    next_sentence = log_softmax(outputs["next_sentence_logits"])
    return {
        "mlm_loss": (picked * given).sum() / (given.sum() + 1e-5),
        "nsp_loss": -next_sentence[np.arange(len(next_sentence)), golden["next_sentence_labels"].ravel()].mean(),
    }


@pytest.mark.shared
@pytest.mark.parametrize(("policy", "tolerance"), [("float32", 1e-5), ("mixed_bfloat16", 0.02)])
def test_losses_are_the_original_graphs(policy, tolerance, golden_folder, golden):
    """In float32 to 1e-5, under bfloat16 to 2 % of the loss."""
    found = losses(BertForPreTraining.from_pretrained(golden_folder, dtype=policy)(golden), golden)
    for name, loss in found.items():
        assert abs(loss - golden[name]) <= tolerance * max(1.0, abs(golden[name])), (name, loss, golden[name])


@pytest.mark.parametrize("cls", MODELS)
def test_a_model_of_one_segment_takes_single_texts_and_refuses_pairs(cls):
    """Compiled by XLA, a segment that is not there would be read as another."""
    model = cls(config(type_vocab_size=1))
    pairs = batch()
    single = pairs | {"segment_ids": np.zeros_like(pairs["segment_ids"])}
    for inputs in (pairs, {name: keras.ops.convert_to_tensor(value) for name, value in pairs.items()}):
        with pytest.raises(InputError, match="segment_ids: with type_vocab_size 1 this model takes single texts alone"):
            model(inputs)
    model(single)
    model.predict(single, verbose=0)


def test_a_model_takes_what_a_tokenizer_gives():
    """Under the names of transformers, in a call and in `predict`."""
    from kobert_tf2.tokenization.tokenizer import Tokenizer

    tokenizer = Tokenizer(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "가", "나"], pre_tokenizer="none")
    inputs = tokenizer(["가 나", "나"], ["나", "가 나 가"], padding=True, return_tensors="np")
    model = BertForQuestionAnswering(config())
    ours = {
        "input_ids": inputs["input_ids"],
        "input_mask": inputs["attention_mask"],
        "segment_ids": inputs["token_type_ids"],
    }
    expected = keras.ops.convert_to_numpy(model(ours)["start_logits"])
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(model(inputs)["start_logits"]), expected)
    np.testing.assert_allclose(model.predict(inputs, verbose=0)["start_logits"], expected, atol=1e-6)


ATTENTIONS = """
import sys, numpy as np, torch, transformers
batch = {name: torch.tensor(array).long() for name, array in np.load(sys.argv[1] + "/batch.npz").items()}
model = transformers.BertModel.from_pretrained(sys.argv[1] + "/m", attn_implementation="eager").eval()
names = {"input_ids": "input_ids", "attention_mask": "input_mask", "token_type_ids": "segment_ids"}
with torch.no_grad():
    outputs = model(**{theirs: batch[ours] for theirs, ours in names.items()}, output_attentions=True)
np.savez(sys.argv[1] + "/theirs.npz", *[attention.numpy() for attention in outputs.attentions])
"""


def test_attention_weights_are_those_of_transformers(tmp_path):
    pytest.importorskip("transformers")
    model = with_large_weights(BertBackbone(config(hidden_act="gelu"), output_attentions=True))
    model.save_pretrained(tmp_path / "m")
    np.savez(tmp_path / "batch.npz", **batch())
    result = warm_python.run(["-c", ATTENTIONS, tmp_path], imported="transformers")
    assert result.returncode == 0, result.stderr
    theirs = np.load(tmp_path / "theirs.npz")
    outputs = model(batch())
    assert len(outputs["attentions"]) == len(theirs.files) == 2
    for i, ours in enumerate(outputs["attentions"]):
        assert difference(ours, theirs[f"arr_{i}"]) <= TOLERANCE
    without = BertBackbone.from_pretrained(tmp_path / "m")(batch())
    assert "attentions" not in without
    assert difference(outputs["sequence_output"], np.asarray(without["sequence_output"])) <= TOLERANCE
    again = type(model).from_config(model.get_config())
    assert again.output_attentions
