"""Every JSON file that is read from outside: whatever stands in it, the answer is a result or one sentence."""

import copy
import json
import pathlib

import numpy as np
import pytest
from bad_json import BAD_JSON

from kobert_tf2.bert import checkpoint_files
from kobert_tf2.bert.config import BertConfig
from kobert_tf2.errors import InputError
from kobert_tf2.pretraining_data import local_runner, stages, tfrecord
from kobert_tf2.reading import evaluation, report, squad_files
from kobert_tf2.tokenization.tokenizer import Tokenizer

QUESTION = {"id": "q1", "question": "어디?", "answers": [{"text": "나루터", "answer_start": 4}]}
SQUAD = {"data": [{"title": "a", "paragraphs": [{"context": "해미는 나루터에서 배를 탔다.", "qas": [QUESTION]}]}]}
SIDE_CAR = {
    "format": local_runner.FORMAT,
    "complete": True,
    "max_seq_length": 8,
    "max_predictions_per_seq": 2,
    "vocab_size": 9,
    "vocab_sha256": "ab",
    "made_with": {"output_file": ["r"], "tokenizer": {"pre_tokenizer": "none"}},
    "shards": [{"name": "r", "instances": 1, "bytes": 3, "sha256": "ab"}],
    "counts": {"instances": 1},
}
CONFIG = {
    **{"vocab_size": 9, "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8},
    **{"hidden_act": "gelu", "hidden_dropout_prob": 0.1, "attention_probs_dropout_prob": 0.1, "pad_token_id": 0},
    **{"max_position_embeddings": 16, "type_vocab_size": 2, "initializer_range": 0.02, "layer_norm_eps": 1e-12},
}
VOCAB = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "가", "##나"]
TOKENIZER = {
    "do_lower_case": False,
    "strip_accents": None,
    "kobert_tf2": {
        "settings": {
            **{"pre_tokenizer": "none", "continuation": "eojeol", "tags": False, "decompose_compounds": False},
            **{"do_lower_case": False, "strip_accents": False, "dictionary": None, "user_dictionary": None},
        },
        "fingerprint": "ab",
        "analyser": None,
    },
}


def questions(path) -> list:
    (path.parent / "squad.json").write_text(json.dumps(SQUAD), "utf-8")
    return squad_files.read_squad(str(path.parent / "squad.json"))


def read_side_cars(path):
    (path.parent / "r").write_bytes(b"abc")
    tfrecord.read_sidecar([str(path.parent / "r")])
    tfrecord.check_sizes([str(path.parent / "r")])
    return local_runner.read_own_side_car(str(path))


def read_tokenizer(path):
    (path.parent / "vocab.txt").write_text("\n".join(VOCAB) + "\n", "utf-8")
    return Tokenizer.from_pretrained(path.parent)


def read_nbest(path):
    asked = questions(path)
    return report.rows(
        asked,
        {"q1": "나루터"},
        report.predicted_spans(asked, {"q1": "나루터"}, evaluation.read_nbest(str(path), asked)),
    )


def read_index(path):
    (path.parent / "model-1.safetensors").write_bytes(b"x")
    return checkpoint_files._shards(str(path))


def read_work_file(path):
    """Not JSON alone: its first line is."""
    stages.save_arrays(str(path.parent / "work"), {"tokens": 3}, {"ids": np.arange(3, dtype=np.int32)})
    _, _, body = (path.parent / "work").read_bytes().partition(b"\n")
    path.write_bytes(path.read_bytes().replace(b"\n", b" ") + b"\n" + body)
    return stages.load_arrays(str(path))


NBEST = {"q1": [{"text": "나루터", "stripped": "나루터", "start": 4, "end": 7, "probability": 1.0}]}
# Each file: its name, something valid in it, and what reads it.
READERS = {
    "questions": ("data.json", SQUAD, lambda path: squad_files.read_squad(str(path))),
    "predictions": ("p.json", {"q1": "나루터"}, lambda path: evaluation.read_predictions(str(path), questions(path))),
    "null odds": ("o.json", {"q1": 1.5}, lambda path: evaluation.read_null_odds(str(path), questions(path))),
    "n-best": ("n.json", NBEST, read_nbest),
    "side-car": ("r.json", SIDE_CAR, read_side_cars),
    "config.json": ("config.json", {**CONFIG, "model_type": "bert"}, lambda path: BertConfig.from_json(str(path))),
    "bert_config.json": ("bert_config.json", CONFIG, lambda path: BertConfig.from_google_json(str(path))),
    "tokenizer_config.json": ("tokenizer_config.json", TOKENIZER, read_tokenizer),
    "index of weights": ("i.json", {"weight_map": {"a": "model-1.safetensors"}}, read_index),
    "work file": ("w", {"info": {}, "layout": [["ids", "int32", 3]], "crc32c": 7}, read_work_file),
}
VALUES = (None, True, -1, 0, 10**18, 1.5, "x", "", "../x", [], {}, [[]], [None], {"a": 1}, [1, 2, 3])


def places(value, way=()) -> list[tuple]:
    """The way to every value inside a JSON value, its own first."""
    below = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [way, *(place for key, inner in below for place in places(inner, (*way, key)))]


def changed(document, way: tuple, value):
    if not way:
        return value
    document = copy.deepcopy(document)
    holder = document
    for key in way[:-1]:
        holder = holder[key]
    holder[way[-1]] = value
    return document


def check(reader, path: pathlib.Path, content: str) -> bool:
    """Whether it was read. What is refused is refused in one short sentence that names the file, and nothing else."""
    path.write_text(content, "utf-8")
    try:
        reader(path)
    except InputError as error:
        said = str(error)
        assert "\n" not in said.strip(), said
        assert len(said) < 1000, said[:2000]
        return False
    return True


@pytest.mark.parametrize("name", READERS)
def test_what_is_valid_is_read(tmp_path, name):
    file, document, reader = READERS[name]
    was_read = check(reader, tmp_path / file, json.dumps(document))
    assert was_read or name == "work file"  # whose checksum is wrong here


@pytest.mark.parametrize("name", READERS)
@pytest.mark.parametrize("bad", BAD_JSON)
def test_bad_json_is_refused(tmp_path, name, bad):
    file, _, reader = READERS[name]
    assert not check(reader, tmp_path / file, BAD_JSON[bad])


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", READERS)
def test_any_value_in_any_place_is_read_or_refused_in_a_sentence(tmp_path, name):
    file, document, reader = READERS[name]
    failures = []
    for way in places(document):
        for value in VALUES:
            try:
                check(reader, tmp_path / file, json.dumps(changed(document, way, value)))
            except Exception as error:
                failures.append(f"{'.'.join(map(str, way))} = {value!r}: {type(error).__name__}: {error}"[:300])
    assert not failures, "\n".join(failures)


@pytest.mark.parametrize("dictionary", ["../x", "/etc/passwd", "a/b", "..", "a\\b", "x\0"])
def test_a_user_dictionary_never_leads_out_of_its_folder(tmp_path, dictionary):
    document = changed(TOKENIZER, ("kobert_tf2", "settings", "user_dictionary"), dictionary)
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(document), "utf-8")
    with pytest.raises(InputError, match="user_dictionary: expected the name of a file in this folder"):
        read_tokenizer(tmp_path / "tokenizer_config.json")
