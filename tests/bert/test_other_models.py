"""Keys that make another model than BERT are refused by name, keys that change no number are passed over."""

import json

import pytest
from small_models import config, write_config

from kobert_tf2.bert import other_models
from kobert_tf2.bert.config import BertConfig
from kobert_tf2.errors import InputError


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
    path = write_config(tmp_path, values)
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
    found = BertConfig.from_json(write_config(tmp_path, values))
    assert found == config(**{name: 0 for name in values if name in ("hidden_dropout_prob",)})
    assert capsys.readouterr().err == ""


def test_keys_that_nobody_knows_are_named_once(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(other_models, "_reported", set())
    path = write_config(tmp_path, {"kobert_version": 1.0, "author": "somebody", "sparse_attention": False})
    for _ in range(2):
        BertConfig.from_json(path)
    assert capsys.readouterr().err == f"{path}: not used, because BERT has no such keys: kobert_version, author\n"
