"""Configurations as they are found: taken as transformers takes them, or refused by the name of the key."""

import json

import pytest
from small_models import config

from kobert_tf2.bert import other_models
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


def written(tmp_path, values: dict, *, drop: tuple[str, ...] = ()) -> str:
    sizes = {name: value for name, value in config().to_dict().items() if name not in drop}
    path = tmp_path / "config.json"
    path.write_text(json.dumps({**sizes, **values}))
    return str(path)


@pytest.mark.parametrize("values", [KORBERT, KOBERT, KLUE])
def test_published_configurations_are_read_without_a_word(values, tmp_path, capsys):
    drop = ("layer_norm_eps", "pad_token_id", "tie_word_embeddings")
    found = BertConfig.from_json(written(tmp_path, values, drop=drop))
    assert found == config(hidden_act="gelu", pad_token_id=values.get("pad_token_id", 0))
    assert capsys.readouterr().err == ""


def test_what_transformers_fills_in_is_filled_in(tmp_path):
    optional = [name for name in config().to_dict() if name not in SIZES]
    found = BertConfig.from_json(written(tmp_path, {}, drop=tuple(optional)))
    assert found == config(hidden_act="gelu", max_position_embeddings=512)


@pytest.mark.parametrize("size", SIZES)
def test_a_size_that_makes_a_model_must_be_there(size, tmp_path):
    with pytest.raises(InputError, match=f"{size} is missing"):
        BertConfig.from_json(written(tmp_path, {}, drop=(size,)))


@pytest.mark.parametrize(
    ("values", "act"),
    [("gelu_python", "gelu"), ("gelu_fast", "gelu_new"), ("gelu_accurate", "gelu_new"), ("gelu_new", "gelu_new")],
)
def test_other_names_of_an_activation_are_its_function(values, act, tmp_path):
    assert BertConfig.from_json(written(tmp_path, {"hidden_act": values})).hidden_act == act


@pytest.mark.parametrize(
    "values",
    [
        {"model_type": "roberta"},
        {"model_type": "electra"},
        {"model_type": "albert"},
        {"model_type": "distilbert"},
        {"model_type": "bert-generation"},
        {"position_embedding_type": "relative_key"},
        {"position_embedding_type": "relative_key_query"},
        {"position_embedding_type": "alibi"},
        {"position_embedding_type": None},
        {"is_decoder": True},
        {"is_decoder": "false"},
        {"add_cross_attention": True},
        {"is_encoder_decoder": True},
        {"pruned_heads": {"0": [1, 2]}},
        {"quantization_config": {"quant_method": "bitsandbytes", "load_in_8bit": True}},
        {"embedding_size": 8},
        {"num_key_value_heads": 2},
        {"attention_head_size": 8},
        {"directionality": "uni"},
        {"pooler_type": "mean"},
        {"num_hidden_groups": 1},
        {"inner_group_num": 1},
        {"share_parameter_across_layers": True},
        {"head_ratio": 2},
        {"relative_attention": True},
        {"feed_forward_type": "geglu"},
        {"auto_map": {"AutoModel": "modeling_own.OwnModel"}},
        {"model_type": None, "architectures": ["RobertaForMaskedLM"]},
        {"model_type": None, "architectures": ["ElectraModel"]},
        {"hidden_act": "quick_gelu"},
        {"hidden_act": None},
        {"hidden_act": ["gelu"]},
        {"hidden_dropout_prob": None},
        {"hidden_dropout_prob": "0.1"},
        {"hidden_dropout_prob": True},
        {"attention_probs_dropout_prob": -0.1},
        {"layer_norm_eps": "1e-12"},
        {"layer_norm_eps": None},
        {"layer_norm_eps": 0},
        {"initializer_range": -0.02},
        {"initializer_range": "0.02"},
        {"hidden_size": "16"},
        {"hidden_size": 16.0},
        {"vocab_size": None},
        {"type_vocab_size": [2]},
        {"max_position_embeddings": True},
        {"pad_token_id": "0"},
        {"tie_word_embeddings": None},
        {"tie_word_embeddings": 0},
        {"tie_word_embeddings": "false"},
    ],
    ids=json.dumps,
)
@pytest.mark.parametrize("read", [BertConfig.from_json, BertConfig.from_google_json])
def test_a_key_of_another_function_or_another_type_is_refused_by_name(read, values, tmp_path):
    if read == BertConfig.from_google_json and values == {"hidden_act": None}:
        pytest.skip("the original's null is the linear function")
    path = written(tmp_path, values)
    key = "architectures" if values.get("architectures") else next(iter(values))
    with pytest.raises(InputError) as caught:
        read(path)
    assert str(caught.value).startswith(f"{path}: {key}")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "values",
    [
        {"model_type": None},
        {"pad_token_id": None},
        {"chunk_size_feed_forward": 3},
        {"is_decoder": None},
        {"pruned_heads": {}},
        {"quantization_config": None},
        {"embedding_size": 16},
        {"num_key_value_heads": 4},
        {"use_cache": False},
        {"output_hidden_states": True},
        {"auto_map": {"AutoTokenizer": ["tokenization_own.OwnTokenizer", None]}},
        {"model_type": None, "architectures": ["BertForPreTraining"]},
        {"hidden_dropout_prob": 0},
    ],
    ids=json.dumps,
)
def test_a_key_that_changes_no_number_is_passed_over(values, tmp_path, capsys):
    found = BertConfig.from_json(written(tmp_path, values))
    assert found == config(**{name: 0 for name in values if name in ("hidden_dropout_prob",)})
    assert capsys.readouterr().err == ""


def test_keys_that_nobody_knows_are_named_once(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(other_models, "_reported", set())
    path = written(tmp_path, {"kobert_version": 1.0, "author": "somebody", "sparse_attention": False})
    for _ in range(2):
        BertConfig.from_json(path)
    assert capsys.readouterr().err == f"{path}: not used, because BERT has no such keys: kobert_version, author\n"


@pytest.mark.parametrize("content", ["[]", "3", "null", '"bert"', "[1, 2]"])
def test_json_that_is_no_object_is_told(content, tmp_path):
    (tmp_path / "config.json").write_text(content)
    for read in (BertConfig.from_json, BertConfig.from_google_json, BertConfig.from_pretrained):
        with pytest.raises(InputError, match="expected a JSON object"):
            read(str(tmp_path / "config.json" if read != BertConfig.from_pretrained else tmp_path))
