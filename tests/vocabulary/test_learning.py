"""Vocabularies: read with a sentence for what is wrong, learned to the exact size, measured."""

import json
import subprocess
import sys

import pytest
from paths import ROOT
from vocabulary_corpus import CORPUS

from kobert_tf2.errors import InputError
from kobert_tf2.tokenization.tokenizer import Tokenizer
from kobert_tf2.vocabulary import coverage, learning
from kobert_tf2.vocabulary.counting import count_words
from kobert_tf2.vocabulary.learning import learn

SPECIAL = list(learning.SPECIAL_TOKENS)


@pytest.fixture(scope="module")
def counts():
    return count_words(CORPUS, {})


def write(path, content: bytes) -> str:
    path.write_bytes(content)
    return str(path)


SETTINGS = [{}, {"continuation": "morpheme"}, {"tags": True}, {"pre_tokenizer": "none"}, {"decompose_compounds": True}]


@pytest.mark.parametrize("model", ["wordpiece", "morpheme"])
@pytest.mark.parametrize("settings", SETTINGS)
def test_the_exact_size_and_every_syllable(model, settings):
    counts = count_words(CORPUS, settings)
    pieces = learn(counts, vocab_size=230, model=model, num_unused=3)
    assert pieces[:8] == [*SPECIAL, "[unused0]", "[unused1]", "[unused2]"]
    assert len(pieces) == len(set(pieces)) == 230
    syllables = {char for line in CORPUS for char in line if "가" <= char <= "힣"}
    assert syllables | {f"##{char}" for char in syllables} <= set(pieces)
    tokenizer = Tokenizer(pieces, **settings)
    assert coverage.measure(tokenizer, CORPUS)["unk_pieces"] == 0


def test_learning_is_deterministic_whatever_the_order_of_the_counts(counts):
    backwards = dict(reversed(counts.items()))
    assert learn(counts, vocab_size=220) == learn(backwards, vocab_size=220)


def test_pieces_never_cross_a_morpheme_and_continue_where_the_tokenizer_looks(counts):
    pieces = set(learn(counts, vocab_size=300))
    assert {"사과나무", "##에서", "##를", "도서관"} <= pieces
    assert not {"서울에서", "에서", "사과나무를", "##사과나무"} & pieces


def test_tagged_pieces_carry_the_tag_of_their_morpheme():
    pieces = learn(count_words(CORPUS, {"tags": True}), vocab_size=300)
    assert {"사과나무/NNG", "##에서/JKB", "##를/JKO"} <= set(pieces)
    assert "사과나무" not in pieces


def test_the_least_used_pieces_go_first(counts):
    small, large = (coverage.measure(Tokenizer(learn(counts, vocab_size=size)), CORPUS) for size in (190, 240))
    assert small["pieces"] > large["pieces"]
    assert large["whole_word_rate"] > small["whole_word_rate"] > 0


def test_a_corpus_that_has_no_more_gives_fewer():
    pieces = learn(count_words(["사과 사과", "나무 나무"], {}), vocab_size=1000)
    assert {"사과", "나무"} <= set(pieces)
    assert len(pieces) < 30


@pytest.mark.parametrize(
    ("chosen", "told"), [({"vocab_size": 6}, "Received: 6"), ({"vocab_size": 99, "model": "bpe"}, "Received: 'bpe'")]
)
def test_wrong_wishes_are_reported(counts, chosen, told):
    with pytest.raises(InputError, match=told):
        learn(counts, **chosen)


def run_tool(*flags):
    command = [sys.executable, str(ROOT / "tools/build_vocab.py"), *flags]
    return subprocess.run(command, capture_output=True, text=True, timeout=600)


def test_the_tool_writes_a_tokenizer_and_says_how_good_it_is(tmp_path):
    corpus = tmp_path / "corpus.txt"
    corpus.write_text("\n".join([*CORPUS, *(f"뷁{line}" for line in CORPUS[:3])]), encoding="utf-8")
    flags = [
        "--vocab_size=280",
        "--model=morpheme",
        "--held_out=10",
        "--special_tokens=<CLS>",
        "--tags",
        "--num_workers=2",
    ]
    result = run_tool(f"--input_file={corpus}", f"--output_dir={tmp_path}/out", *flags)
    assert result.returncode == 0, result.stderr
    summary = json.loads(result.stdout.splitlines()[-1])
    assert summary["vocab_size"] == 280
    assert summary["held_out"]["lines"] > 5
    assert summary == json.loads((tmp_path / "out/coverage.json").read_text("utf-8"))
    assert json.loads((tmp_path / "out/bert_config.json").read_text("utf-8"))["vocab_size"] == 280
    tokenizer = Tokenizer.from_pretrained(tmp_path / "out")
    assert tokenizer.cls_token == "<CLS>"
    assert tokenizer.settings()["tags"]
    assert coverage.measure(tokenizer, corpus.read_text("utf-8").split("\n"))["unk_pieces"] == 0


@pytest.mark.parametrize(
    ("content", "told"),
    [(b"", "is empty"), (b"\n \n", "is empty"), ("가\n나".encode("cp949"), "line 1: expected UTF-8")],
)
def test_the_tool_reports_what_is_wrong_and_writes_nothing(tmp_path, content, told):
    result = run_tool(f"--input_file={write(tmp_path / 'c.txt', content)}", f"--output_dir={tmp_path}/out")
    assert result.returncode == 1
    assert told in result.stderr
    assert "Traceback" not in result.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["c.txt"]
