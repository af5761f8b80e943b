"""Reading exports: which folders are exports, and that for a damaged one the error names the damage in one sentence."""

import json
import pathlib
import random
import re
import shutil

import pytest
from korean_text import VOCAB
from small_models import config, with_large_weights

import kobert_tf2 as kb
from kobert_tf2.errors import InputError
from kobert_tf2.serving import export
from kobert_tf2.serving.predictor import Predictor
from kobert_tf2.serving.saved_export import find_export
from kobert_tf2.serving.tagger import Tagger

LABELS = ["O", "B-LC", "I-LC", "B-PS", "I-PS"]


def exported(folder: pathlib.Path, cls, **given) -> str:
    tokenizer = kb.Tokenizer(VOCAB)
    model = with_large_weights(cls(config(vocab_size=len(tokenizer.vocab), num_hidden_layers=1), **given))
    model.save_pretrained(str(folder / "model"), tokenizer)
    export.export_model(model, tokenizer, str(folder / "export"))
    return str(folder / "export")


@pytest.fixture(scope="module")
def reader(tmp_path_factory):
    return exported(tmp_path_factory.mktemp("reader"), kb.BertForQuestionAnswering)


@pytest.fixture
def copy(reader, tmp_path):
    """A copy of the folder `export/1`, to be damaged."""
    shutil.copytree(f"{reader}/1", tmp_path / "1")
    return tmp_path / "1"


def test_the_highest_number_is_taken(reader, tmp_path):
    for name in ("2", "10", "9", "notes"):
        shutil.copytree(f"{reader}/1", tmp_path / "many" / name)
    assert find_export(str(tmp_path / "many")) == f"{tmp_path}/many/10"
    assert find_export(f"{reader}/1") == f"{reader}/1"
    assert find_export(str(tmp_path)) is None
    assert find_export(f"{reader}/nowhere") is None


def test_an_exported_tagger_finds_as_its_model_directory(tmp_path):
    path = exported(tmp_path, kb.BertForTokenClassification, labels=LABELS)
    from_model, from_export = Tagger.load(str(tmp_path / "model")), Tagger.load(path)
    for text in ("사과나무를 심었다. 나무가 자랐다.", "학교에서 사과나무를 " * 12):
        ours, theirs = from_export.tag(text), from_model.tag(text)
        assert [{**entity, "score": 0} for entity in ours] == [{**entity, "score": 0} for entity in theirs]
        assert [e["score"] for e in ours] == pytest.approx([e["score"] for e in theirs], abs=1e-5)
    with pytest.raises(InputError, match="expected a reader, but this export's head is tokens"):
        Predictor.load(path)


def change(path: pathlib.Path, key: str, value: object) -> None:
    """Another value of a key of a JSON file; without the key where the value is ... ."""
    content = json.loads(path.read_text("utf-8"))
    content[key] = value
    path.write_text(json.dumps({name: one for name, one in content.items() if one is not ...}), "utf-8")


@pytest.mark.parametrize(
    ("file", "key", "value", "sentence"),
    [
        *(
            ("serving.json", "head", value, "expected head to be one of reading, ")
            for value in (..., None, 3, ["x"], {})
        ),
        *(("serving.json", "signatures", value, "expected signatures to be a list") for value in (..., 3, "x", [3])),
        *(("serving.json", "reading", value, "expected an object of max_seq_length") for value in (..., 3, [], "x")),
        ("serving.json", "reading", {"max_seq_length": "a"}, "expected max_seq_length to be a whole number"),
        ("serving.json", "vocab_sha256", "0", "expected the vocabulary that was exported"),
        ("config.json", "vocab_size", 3, "expected a vocabulary of at most 3 pieces"),
        ("config.json", "max_position_embeddings", "x", "max_position_embeddings must be a positive whole number"),
        ("config.json", "max_position_embeddings", 8, "max_seq_length: expected at most"),
    ],
)
def test_settings_of_other_types_are_a_sentence(copy, file, key, value, sentence):
    change(copy / "assets" / file, key, value)
    with pytest.raises(InputError, match=re.escape(sentence)):
        Predictor.load(str(copy))


PARTS = ("saved_model.pb", "variables/variables.index", "variables/variables.data-00000-of-00001")
ASSETS = tuple(f"assets/{name}" for name in ("vocab.txt", "config.json", "tokenizer_config.json", "serving.json"))


@pytest.mark.parametrize("file", [*PARTS, *ASSETS])
@pytest.mark.parametrize("kept", [None, 0.0, 0.5])
def test_a_file_that_is_missing_or_cut_off_is_a_sentence(copy, file, kept):
    path = copy / file
    content = path.read_bytes()
    path.unlink() if kept is None else path.write_bytes(content[: int(len(content) * kept)])
    with pytest.raises(InputError) as caught:
        Predictor.load(str(copy))
    assert str(copy) in str(caught.value) or "neither config.json" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("file", PARTS[1:])
def test_weights_with_turned_bits_are_a_sentence(copy, file):
    rng, content = random.Random(1), bytearray((copy / file).read_bytes())
    for _ in range(20):
        content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    (copy / file).write_bytes(content)
    with pytest.raises(InputError, match="expected a whole SavedModel, but it cannot be loaded: "):
        Predictor.load(str(copy))
