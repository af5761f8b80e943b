"""Rewriting keeps every bit of the weights and brings a whole tokenizer along, which transformers loads."""

import json
import shutil

import numpy as np
import pytest
import warm_python
from safetensors.numpy import load_file
from small_models import assert_same_weights, config, save_tf1, with_a_value_for_every_weight

from kobert_tf2 import files
from kobert_tf2.bert import models
from kobert_tf2.conversion import rewriting
from kobert_tf2.tokenization import pretrained
from kobert_tf2.tokenization.tokenizer import Tokenizer

PIECES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "사과나무", "##를", "심", "##었", "##다", "##."]
TEXT = "사과나무를 심었다."


IN_TRANSFORMERS = """
import json, sys
from transformers import AutoTokenizer
print(json.dumps(AutoTokenizer.from_pretrained(sys.argv[1], trust_remote_code=True).tokenize(sys.argv[2])))
"""


@pytest.fixture
def tf1(tmp_path):
    """A TF1 checkpoint with a Mecab tokenizer beside it, as --to=tf1 writes it."""
    folder = tmp_path / "tf1"
    save_tf1(models.BertForPreTraining(config(num_hidden_layers=1)), folder)
    Tokenizer(PIECES, pre_tokenizer="mecab").save_pretrained(folder)
    return folder


@pytest.mark.parametrize("has_code", [pytest.param(True, marks=pytest.mark.slow), False])
def test_the_code_of_a_mecab_tokenizer_comes_along_or_is_written(tf1, tmp_path, has_code):
    pytest.importorskip("transformers")
    if not has_code:
        (tf1 / pretrained.CODE_FILE).unlink()
    rewriting.rewrite(str(tf1), str(tmp_path / "hf"), to="hf")
    assert pretrained.missing_code(str(tmp_path / "hf")) is None
    result = warm_python.run(["-c", IN_TRANSFORMERS, tmp_path / "hf", TEXT], imported="transformers")
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout.splitlines()[-1]) == Tokenizer.from_pretrained(tf1).tokenize(TEXT) == PIECES[5:]


def test_what_another_tokenizer_lacks_is_reported(tf1, tmp_path, capsys):
    (tf1 / pretrained.CODE_FILE).unlink()
    (tf1 / "tokenizer_config.json").write_text(json.dumps({"auto_map": {"AutoTokenizer": ["theirs.Theirs", None]}}))
    rewriting.rewrite(str(tf1), str(tmp_path / "hf"), to="hf")
    assert "tokenizer_config.json names theirs.py, which is not there" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("auto_map", "missing"),
    [
        (None, None),
        ({"AutoTokenizer": ["mine.Mine", None]}, "mine.py"),
        ({"AutoTokenizer": "mine.Mine"}, "mine.py"),
        ({"AutoTokenizer": ["there.Mine", None]}, None),
        ({"AutoTokenizer": ["owner/name--mine.Mine", None]}, None),
        ({"AutoModel": "mine.Mine"}, None),
        ("nonsense", None),
    ],
)
def test_the_file_that_a_map_names(tmp_path, auto_map, missing):
    (tmp_path / "there.py").touch()
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"auto_map": auto_map}))
    assert pretrained.missing_code(str(tmp_path)) == missing
    shutil.rmtree(tmp_path)


@pytest.mark.parametrize("cls", [models.BertForPreTraining, models.BertForQuestionAnswering])
def test_round_trips_keep_every_bit(cls, tmp_path):
    model = with_a_value_for_every_weight(cls(config()))
    model.save_pretrained(tmp_path / "hf")
    rewriting.rewrite(tmp_path / "hf", f"{tmp_path}/tf1", to="tf1")
    rewriting.rewrite(f"{tmp_path}/tf1", f"{tmp_path}/hf2", to="hf")
    assert_same_weights(cls.from_pretrained(tmp_path / "tf1"), model)
    first, second = (load_file(tmp_path / name / "model.safetensors") for name in ("hf", "hf2"))
    assert first.keys() == second.keys()
    assert all(np.array_equal(first[name], second[name]) for name in first)
    assert files.read_json(f"{tmp_path}/hf/config.json") == files.read_json(f"{tmp_path}/hf2/config.json")
