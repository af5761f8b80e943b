"""The rule for finding a tokenizer, by what lies in a folder; each choice is told on standard error."""

import json

import pytest
import tokenizer_folders
from tokenizer_folders import PIECES, write_vocab

from kobert_tf2.errors import InputError
from kobert_tf2.tokenization import pretrained
from kobert_tf2.tokenization.tokenizer import Tokenizer


def ours(folder, **settings):
    Tokenizer(PIECES, **settings).save_pretrained(folder)
    return folder


def chosen(*args, **kwargs) -> dict:
    return pretrained.from_flags(Tokenizer, *args, **kwargs).settings()


def test_a_file_of_another_name_is_not_what_the_config_beside_it_describes(tmp_path):
    ours(tmp_path)
    write_vocab(tmp_path, [*PIECES, "하나"], name="other.txt")
    tokenizer = pretrained.from_flags(Tokenizer, str(tmp_path / "other.txt"))
    assert (tokenizer.settings()["pre_tokenizer"], len(tokenizer.vocab)) == ("none", len(PIECES) + 1)


def test_what_is_named_goes_before_what_lies_beside_the_weights(tmp_path):
    ours(tmp_path / "named", continuation="morpheme")
    ours(tmp_path / "beside", tags=True)
    assert chosen(str(tmp_path / "named"), str(tmp_path / "beside"))["continuation"] == "morpheme"
    assert chosen(None, str(tmp_path / "beside"))["tags"]


@pytest.mark.parametrize(
    ("given", "told"),
    [({"tags": True}, "--tags is True, but .* says False"), ({"pre_tokenizer": "none"}, "says 'mecab'")],
)
def test_a_flag_that_contradicts_the_folder_is_refused(tmp_path, given, told):
    with pytest.raises(InputError, match=told):
        chosen(str(ours(tmp_path)), given=given)


def test_a_flag_that_agrees_with_the_folder_is_fine(tmp_path):
    assert chosen(str(ours(tmp_path, do_lower_case=True)), given={"do_lower_case": True})["do_lower_case"]


@pytest.mark.parametrize(
    ("given", "accents"),
    [({"do_lower_case": True}, True), ({"do_lower_case": True, "strip_accents": False}, False), ({}, False)],
)
def test_in_a_vocabulary_alone_accents_go_with_the_case_unless_said_otherwise(tmp_path, given, accents):
    assert chosen(str(write_vocab(tmp_path)), given=given)["strip_accents"] is accents


def test_with_morphemes_the_two_are_apart(tmp_path):
    given = {"do_lower_case": True, "pre_tokenizer": "mecab"}
    assert chosen(str(write_vocab(tmp_path)), given=given)["strip_accents"] is False


def test_records_say_how_a_vocabulary_alone_was_used(tmp_path):
    vocab, made_with = str(write_vocab(tmp_path)), {"pre_tokenizer": "mecab", "tags": True}
    assert chosen(vocab, made_with=made_with)["tags"]
    with pytest.raises(InputError, match="--tags is False, but the records were made with True"):
        chosen(vocab, given={"tags": False}, made_with=made_with)


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("nothing/here", "nothing/here"),
        ("empty", "empty: expected a tokenizer there"),
        ("wrong", "expected a JSON object, but found a JSON list"),
    ],
)
def test_what_is_not_there_or_no_tokenizer_is_refused(tmp_path, path, told):
    (tmp_path / "empty").mkdir()
    write_vocab(tmp_path / "wrong")
    (tmp_path / "wrong" / "tokenizer_config.json").write_text("[]")
    with pytest.raises(InputError, match=told):
        pretrained.from_flags(Tokenizer, str(tmp_path / path))


def test_without_a_tokenizer_beside_the_weights_it_says_so_or_is_none(tmp_path):
    folder = tokenizer_folders.tf1(tmp_path / "tf1")
    (folder / "vocab.txt").unlink()
    with pytest.raises(InputError, match=r"expected vocab.txt beside it, or --vocab_file"):
        pretrained.from_flags(Tokenizer, None, str(folder / "bert_model.ckpt"))
    assert pretrained.from_flags(Tokenizer, None, str(folder), required=False) is None


@pytest.mark.parametrize("config", [None, {"do_lower_case": False}])
def test_one_line_says_which_tokenizer_and_why(tmp_path, capsys, config):
    vocab = write_vocab(tmp_path)
    if config:
        (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    pretrained.from_flags(Tokenizer, str(tmp_path))
    (line,) = capsys.readouterr().err.splitlines()
    assert f"{vocab}, {len(PIECES)} pieces, pre_tokenizer=none, do_lower_case=False, strip_accents=False" in line
    assert ("the original scripts have on by default" in line) == (config is None)
    assert ("tokenizer_config.json says" in line) == (config is not None)
