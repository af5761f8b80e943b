"""Cosine search."""

import json

import numpy as np
import pytest
import warm_python
from paths import ROOT
from small_models import config, with_large_weights

import kobert_tf2 as kb
from kobert_tf2.bert import models
from kobert_tf2.errors import InputError
from kobert_tf2.features import search

PIECES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"가나다라마바사아자차", "##가"]
SENTENCES = ["가 나", "다 라 마", "사 아", "가 나", "자"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("search")
    model = with_large_weights(models.BertBackbone(config(vocab_size=len(PIECES), num_hidden_layers=1)))
    model.save_pretrained(str(path / "m"), kb.Tokenizer(PIECES, pre_tokenizer="none"))
    (path / "in.txt").write_text("\n".join([*SENTENCES[:2], "", *SENTENCES[2:]]), "utf-8")
    return path


@pytest.fixture(scope="module")
def index(folder):
    return kb.SentenceIndex(SENTENCES, kb.Embedder.load(folder / "m"))


def test_a_sentence_finds_itself_first_and_equal_ones_in_their_order(index):
    found = index.search("가 나", top_k=3)
    assert [match.position for match in found[:2]] == [0, 3]
    assert found[0].score == pytest.approx(1, abs=1e-5)
    assert found[2].score < found[1].score


def test_scores_are_cosines_of_the_vectors_of_embed(index, folder):
    vectors = kb.embed([*SENTENCES, "다 라"], folder / "m")
    expected = vectors[:-1] @ vectors[-1] / np.linalg.norm(vectors[:-1], axis=1) / np.linalg.norm(vectors[-1])
    found = index.search("다 라", top_k=99)
    assert len(found) == len(SENTENCES)
    for match in found:
        assert match.score == pytest.approx(expected[match.position], abs=1e-5)


def test_wrong_arguments_are_named(index):
    with pytest.raises(InputError, match="top_k: expected a whole number of at least 1"):
        index.search("가", top_k=0)
    with pytest.raises(TypeError, match=r"queries\[0\]: expected a string"):
        index.search(3)


def test_empty_lines_keep_the_numbers_of_the_others(folder, tmp_path):
    assert search.read_sentences(str(folder / "in.txt")) == (SENTENCES, [1, 2, 4, 5, 6], 1)
    (tmp_path / "empty.txt").write_text("\n \n")
    with pytest.raises(InputError, match=r"empty.txt: expected a sentence on each line, but found none"):
        search.read_sentences(str(tmp_path / "empty.txt"))


def test_the_tool_says_line_and_score(folder):
    flags = ["--input_file=in.txt", "--init_checkpoint=m", "--query=사 아", "--query=자", "--top_k=2"]
    result = warm_python.run([ROOT / "tools/search_sentences.py", *flags], cwd=folder)
    assert result.returncode == 0, result.stderr
    found = json.loads(result.stdout.splitlines()[-1])
    assert [query["matches"][0]["line"] for query in found["results"]] == [4, 6]
    assert "in.txt: 1 empty lines are passed over" in result.stderr
