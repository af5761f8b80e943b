"""`tokenizer(...)` and `decode`: the same as transformers' for the same folder, in a process without this package."""

import itertools
import json
import random

import numpy as np
import pytest
import warm_python
from hypothesis import given
from hypothesis import strategies as st
from korean_text import SPECIAL, VOCAB, texts
from sentencepiece_models import kobert_folder

from kobert_tf2.errors import InputError
from kobert_tf2.tokenization import model_inputs
from kobert_tf2.tokenization.tokenizer import Tokenizer

PIECES = [*SPECIAL, *"사과 나무 ##나무 ##를 를 학교 ##에서 에서 CAFE cafe ##가 . , ? ' s 는".split()]
TAGGED = [*SPECIAL, *"사과 나무 사과/NNG 나무/NNG ##나무/NNG 를/JKO ##를/JKO 학교/NNG 에서/JKB 1/SN ./SF".split()]

# Calls of the tokenizer that is read from each folder, and lists of ids to decode.
SCRIPT = """
import json, sys
sys.modules["kobert_tf2"] = None
from transformers import AutoTokenizer
tasks = json.load(open(sys.argv[1]))
results = []
for folder, calls, ids in tasks:
    tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=True)
    decoded = [tokenizer.decode(one, skip_special_tokens=skip) for one in ids for skip in (False, True)]
    called = []
    for positional, named in calls:
        try:
            called.append(dict(tokenizer(*positional, **named)))
        except Exception as error:
            called.append(type(error).__name__)
    names = {"length": len(tokenizer), "special": tokenizer.all_special_ids, "longest": tokenizer.model_max_length}
    results.append({"called": called, "decoded": decoded, **names})
print(json.dumps(results))
"""
WORDS = "사과 나무 사과나무를 학교에서 CAFE 뷁 . , '".split()


def calls(rng: random.Random, count: int) -> list:
    """Arguments as a user gives them: texts, pairs and lists of both, with every kind of length."""
    made = []
    for _ in range(count):
        some = [" ".join(rng.choices(WORDS, k=rng.randint(1, 9))) for _ in range(4)]
        shapes = [[some[0]], some[:2], [some], [some[:2], some[2:]], [[some[:2], some[2:]]], [[[some[0], some[1]]]]]
        named = {
            "padding": rng.choice([True, False, "max_length", "longest", "do_not_pad"]),
            "truncation": rng.choice([True, False, "only_first", "only_second", "longest_first", "do_not_truncate"]),
            "max_length": rng.choice([None, 4, 5, 8, 9, 12, 16]),
            "pad_to_multiple_of": rng.choice([None, None, 4]),
            "add_special_tokens": rng.random() < 0.8,
            "return_special_tokens_mask": True,
        }
        if rng.random() < 0.2:  # max_length alone
            named = {"max_length": named["max_length"], "return_special_tokens_mask": True}
        made.append([rng.choice(shapes), named])
    return made


def folders(path) -> dict:
    Tokenizer(PIECES, pre_tokenizer="none").save_pretrained(path / "ours plain")
    Tokenizer(PIECES).save_pretrained(path / "mecab")
    Tokenizer(PIECES, continuation="morpheme").save_pretrained(path / "by morpheme")
    Tokenizer(TAGGED, tags=True).save_pretrained(path / "tags")
    foreign = path / "theirs"
    foreign.mkdir()
    (foreign / "vocab.txt").write_text("".join(f"{piece}\n" for piece in PIECES), "utf-8")
    config = {"tokenizer_class": "BertTokenizer", "do_lower_case": True, "strip_accents": False}
    config |= {"model_max_length": 8, "clean_up_tokenization_spaces": True}
    (foreign / "tokenizer_config.json").write_text(json.dumps(config), "utf-8")
    Tokenizer.from_pretrained(kobert_folder(path / "kobert")).save_pretrained(path / "sentencepiece")
    return {
        name: str(path / name) for name in ("ours plain", "mecab", "by morpheme", "tags", "theirs", "sentencepiece")
    }


def ours(tokenizer: Tokenizer, positional, named) -> dict | str:
    try:
        return tokenizer(*positional, **named)
    except InputError:
        return "InputError"


@pytest.mark.filterwarnings("ignore:max_length is not")
def test_calls_and_decoding_equal_those_of_transformers(tmp_path):
    pytest.importorskip("transformers")
    pytest.importorskip("sentencepiece")
    rng, found = random.Random(7), folders(tmp_path)
    tasks = []
    for folder in found.values():
        size = len(Tokenizer.from_pretrained(folder))
        ids = [[rng.randrange(size) for _ in range(rng.randint(1, 12))] for _ in range(30)]
        tasks.append([folder, calls(rng, 150), ids])
    (tmp_path / "tasks.json").write_text(json.dumps(tasks), "utf-8")
    result = warm_python.run(["-c", SCRIPT, tmp_path / "tasks.json"], imported="transformers", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    for (folder, asked, ids), theirs in zip(tasks, json.loads(result.stdout.splitlines()[-1]), strict=True):
        tokenizer = Tokenizer.from_pretrained(folder)
        assert len(tokenizer) == theirs["length"]
        assert tokenizer.all_special_ids == theirs["special"]
        assert (tokenizer.model_max_length or 10**30) == pytest.approx(theirs["longest"])
        refused = 0
        for (positional, named), expected in zip(asked, theirs["called"], strict=True):
            mine = ours(tokenizer, positional, named)
            refused += mine == "InputError"
            if mine != "InputError":
                assert mine == expected, (folder, positional, named)
            elif isinstance(expected, dict):
                # What we refuse, transformers in Python does to a text until nothing of it is left, or more.
                assert "only" in named["truncation"] or (named["max_length"] or 0) < 6, (positional, named)
        assert refused < len(asked) / 3
        pairs = itertools.product(ids, (False, True))
        decoded = [tokenizer.decode(one, skip_special_tokens=skip) for one, skip in pairs]
        assert decoded == theirs["decoded"]


TOKENIZER = Tokenizer(VOCAB, pre_tokenizer="none")


@given(st.lists(texts(20), min_size=1, max_size=4), st.integers(5, 24), st.booleans())
def test_offsets_and_padding_are_those_of_encode(found, max_length, with_pairs):
    pairs = list(reversed(found)) if with_pairs else None
    rows = TOKENIZER(
        found,
        pairs,
        padding="max_length",
        max_length=max_length,
        truncation=True,
        return_offsets_mapping=True,
        return_special_tokens_mask=True,
        return_tensors="np",
    )
    assert {array.shape[:2] for array in rows.values()} == {(len(found), max_length)}
    for i, text in enumerate(found):
        mask, special = rows["attention_mask"][i].astype(bool), rows["special_tokens_mask"][i].astype(bool)
        assert (rows["input_ids"][i][~mask] == TOKENIZER.pad_id).all()
        assert special[~mask].all()
        assert (rows["offset_mapping"][i][special] == 0).all()
        of_first = mask & ~special & (rows["token_type_ids"][i] == 0)
        tokens = [(token.id, token.start, token.end) for token in TOKENIZER.encode(text)][: of_first.sum()]
        columns = rows["input_ids"][i][of_first].tolist(), rows["offset_mapping"][i][of_first].tolist()
        assert [(i, *offset) for i, offset in zip(*columns, strict=True)] == tokens


@given(st.integers(0, 30), st.integers(0, 30), st.integers(0, 40), st.booleans())
def test_longest_first_takes_from_the_longer_text_alone_until_both_are_equal(first, second, room, is_plain):
    if first + second <= room:
        return
    kept = model_inputs._longest_first(first, second, room, is_plain=is_plain)
    assert sum(kept) == room
    assert 0 <= kept[0] <= first
    assert 0 <= kept[1] <= second
    if kept[0] < first and kept[1] < second:
        assert abs(kept[0] - kept[1]) <= 1


def test_a_tensor_of_each_kind():
    tf, torch = pytest.importorskip("tensorflow"), pytest.importorskip("torch")
    batch = ["사과", "사과 나무"]
    arrays = {kind: TOKENIZER(batch, padding=True, return_tensors=kind)["input_ids"] for kind in ("np", "tf", "pt")}
    assert arrays["np"].dtype == np.int32
    assert arrays["tf"].dtype == tf.int32
    assert arrays["pt"].dtype == torch.int64
    assert arrays["np"].tolist() == arrays["tf"].numpy().tolist() == arrays["pt"].tolist()
    assert TOKENIZER("사과", return_tensors="np")["input_ids"].shape == (1, 3)
    assert TOKENIZER.batch_decode(arrays["tf"], skip_special_tokens=True) == batch
    assert TOKENIZER.decode(arrays["pt"][1], skip_special_tokens=True) == "사과 나무"


def test_no_texts_are_no_rows():
    assert TOKENIZER([]) == {"input_ids": [], "token_type_ids": [], "attention_mask": []}
    assert TOKENIZER([], padding=True, return_tensors="np")["input_ids"].shape == (0, 0)
    assert TOKENIZER.batch_decode([]) == []


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: TOKENIZER(["사과", 3]), r"text\[1\]: expected a string. Received: 3 \(int\)"),
        (lambda: TOKENIZER([("가", "나"), "다"]), r"text\[1\]: expected a pair of strings"),
        (lambda: TOKENIZER(["가"], ["나", "다"]), "text_pair: expected as many texts as text has, 1, but got 2"),
        (lambda: TOKENIZER("가", truncation="first"), "truncation: expected True, False or one of longest_first"),
        (lambda: TOKENIZER("가", padding=1), r"padding: expected True, False or one of .* Received: 1 \(int\)"),
        (lambda: TOKENIZER("사과 나무", max_length=1), "max_length: expected at least 2, the number of special tokens"),
        (lambda: TOKENIZER("가", max_length=0), "max_length: expected a whole number of at least 1, but got 0"),
        (lambda: TOKENIZER(["가", "사과 나무"], return_tensors="np"), "return_tensors: expected texts of one length"),
        (lambda: TOKENIZER("가", return_tensors="jax"), "return_tensors: expected None or one of np, tf, pt"),
        (
            lambda: TOKENIZER("사과 나무", "가", max_length=3, truncation="only_second"),
            r"text\[0\]: truncation='only_s",
        ),
        (
            lambda: TOKENIZER("가", padding=True, truncation=True, max_length=6, pad_to_multiple_of=4),
            "pad_to_multiple_of: expected a divisor of max_length, 6",
        ),
        (lambda: TOKENIZER.decode("사과"), "token_ids: expected ids"),
        (lambda: TOKENIZER.decode([10**6]), "ids: expected ids from 0 to"),
        (lambda: TOKENIZER.batch_decode(3), "sequences: expected lists of ids"),
    ],
)
def test_a_wrong_argument_is_a_sentence_with_its_name(call, message):
    with pytest.raises((InputError, TypeError), match=message):
        call()


def test_lengths_that_cannot_be_used_are_a_warning():
    with pytest.warns(UserWarning, match="max_length is not given and this tokenizer names no model_max_length"):
        assert len(TOKENIZER("사과 나무 사과", truncation=True)["input_ids"]) == 5
    with pytest.warns(UserWarning, match="max_length is not used"):
        assert len(TOKENIZER(["사과 나무 사과"], padding=True, max_length=4)["input_ids"][0]) == 5


def test_one_id_and_one_piece(tmp_path):
    assert TOKENIZER.convert_tokens_to_ids("사과") == TOKENIZER.vocab["사과"]
    assert TOKENIZER.convert_ids_to_tokens(TOKENIZER.vocab["사과"]) == "사과"
    assert TOKENIZER.convert_ids_to_tokens([2, 5, 3, 1], skip_special_tokens=True) == [VOCAB[5]]
    assert TOKENIZER.pad_token_id == TOKENIZER.vocab["[PAD]"]
    assert TOKENIZER.mask_token_id == TOKENIZER.vocab["[MASK]"]


def test_the_longest_row_is_saved_with_the_tokenizer(tmp_path):
    tokenizer = Tokenizer(VOCAB, pre_tokenizer="none")
    tokenizer.model_max_length = 4
    tokenizer.save_pretrained(tmp_path / "a")
    again = Tokenizer.from_pretrained(tmp_path / "a")
    assert len(again("사과 나무 사과", truncation=True)["input_ids"]) == 4
    (tmp_path / "a/tokenizer_config.json").write_text(
        (tmp_path / "a/tokenizer_config.json")
        .read_text("utf-8")
        .replace('"model_max_length": 4', '"model_max_length": "x"')
    )
    with pytest.raises(InputError, match="model_max_length: expected a whole number, but found 'x'"):
        Tokenizer.from_pretrained(tmp_path / "a")
