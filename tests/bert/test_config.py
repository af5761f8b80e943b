"""Configurations as they are found, taken as transformers takes them. What is refused is in test_other_models.py."""

import pytest
from small_models import config, write_config

from kobert_tf2.bert.config import BertConfig
from kobert_tf2.errors import InputError

SIZES = ("vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size")
# Shaped as the published configurations are: their keys, in our sizes.
KORBERT = {  # Google's keys under the name config.json, beside PyTorch's weights
    "directionality": "bidi",
    "hidden_act": "gelu",
    "pooler_fc_size": 768,
    "pooler_num_attention_heads": 12,
    "pooler_num_fc_layers": 3,
    "pooler_size_per_head": 128,
    "pooler_type": "first_token_transform",
}
KOBERT = {
    "architectures": ["BertModel"],
    "gradient_checkpointing": False,
    "hidden_act": "gelu",
    "model_type": "bert",
    "output_past": True,
    "pad_token_id": 1,
}
KLUE = {
    "architectures": ["BertForMaskedLM"],
    "classifier_dropout": None,
    "hidden_act": "gelu",
    "model_type": "bert",
    "position_embedding_type": "absolute",
    "tokenizer_class": "BertTokenizer",
    "torch_dtype": "float32",
    "transformers_version": "4.34.1",
    "use_cache": True,
}


@pytest.mark.parametrize("values", [KORBERT, KOBERT, KLUE])
def test_published_configurations_are_read_without_a_word(values, tmp_path, capsys):
    drop = ("layer_norm_eps", "pad_token_id", "tie_word_embeddings")
    found = BertConfig.from_json(write_config(tmp_path, values, drop=drop))
    assert found == config(hidden_act="gelu", pad_token_id=values.get("pad_token_id", 0))
    assert capsys.readouterr().err == ""


def test_what_transformers_fills_in_is_filled_in(tmp_path):
    optional = [name for name in config().to_dict() if name not in SIZES]
    found = BertConfig.from_json(write_config(tmp_path, {}, drop=tuple(optional)))
    assert found == config(hidden_act="gelu", max_position_embeddings=512)


@pytest.mark.parametrize("size", SIZES)
def test_a_size_that_makes_a_model_must_be_there(size, tmp_path):
    with pytest.raises(InputError, match=f"{size} is missing"):
        BertConfig.from_json(write_config(tmp_path, {}, drop=(size,)))


@pytest.mark.parametrize(
    ("values", "act"),
    [("gelu_python", "gelu"), ("gelu_fast", "gelu_new"), ("gelu_accurate", "gelu_new"), ("gelu_new", "gelu_new")],
)
def test_other_names_of_an_activation_are_its_function(values, act, tmp_path):
    assert BertConfig.from_json(write_config(tmp_path, {"hidden_act": values})).hidden_act == act


@pytest.mark.parametrize("content", ["[]", "3", "null", '"bert"', "[1, 2]"])
def test_json_that_is_no_object_is_reported(content, tmp_path):
    (tmp_path / "config.json").write_text(content)
    for read in (BertConfig.from_json, BertConfig.from_google_json, BertConfig.from_pretrained):
        with pytest.raises(InputError, match="expected a JSON object"):
            read(str(tmp_path / "config.json" if read != BertConfig.from_pretrained else tmp_path))
