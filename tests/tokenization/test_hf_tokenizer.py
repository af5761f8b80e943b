"""In Hugging Face transformers: the same ids, for plain mode the same offsets, and with Mecab without this package."""

import json

import pytest
import warm_python
from korean_text import HOSTILE, SPECIAL, VOCAB

from kobert_tf2.tokenization.tokenizer import Tokenizer

transformers = pytest.importorskip("transformers")

SENTENCES = [text for kind, text in HOSTILE.items() if kind not in ("surrogates", "literal markers")]
EVERYTHING = {"tags": True, "decompose_compounds": True, "do_lower_case": True, "strip_accents": True}

# Run where kobert_tf2 cannot be imported: what comes out must not depend on it.
SCRIPT = """
import json, sys
sys.modules["kobert_tf2"] = None
from transformers import AutoTokenizer
tokenizer = AutoTokenizer.from_pretrained(sys.argv[1], trust_remote_code=True)
texts = json.load(open(sys.argv[2]))
pair = dict(tokenizer(texts[0], texts[1], max_length=12, padding="max_length"))
print(json.dumps({"ids": tokenizer(texts)["input_ids"], "pair": pair}))
"""


def ids_without_us(folder, texts, tmp_path) -> dict:
    (tmp_path / "texts.json").write_text(json.dumps(texts), "utf-8")
    command = ["-c", SCRIPT, folder, tmp_path / "texts.json"]
    result = warm_python.run(command, imported="transformers", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout.splitlines()[-1])


def with_special(tokenizer: Tokenizer, texts) -> list[list[int]]:
    return [[tokenizer.cls_id, *ids, tokenizer.sep_id] for ids in tokenizer.encode_ids_batch(texts)]


@pytest.mark.parametrize(
    "settings", [{}, {"continuation": "morpheme"}, EVERYTHING], ids=["eojeol", "morpheme", "everything"]
)
def test_a_mecab_tokenizer_brings_itself_along(tmp_path, settings):
    tokenizer = Tokenizer(VOCAB, **settings)
    tokenizer.save_pretrained(tmp_path / "saved")
    texts = ["사과 나무", "방에", *SENTENCES]
    result = ids_without_us(tmp_path / "saved", texts, tmp_path)
    assert result["ids"] == with_special(tokenizer, texts)
    assert result["pair"]["token_type_ids"] == [0] * 4 + [1] * 3 + [0] * 5
    assert result["pair"]["attention_mask"] == [1] * 7 + [0] * 5


def test_without_trust_nothing_is_loaded_in_silence(tmp_path):
    Tokenizer(VOCAB).save_pretrained(tmp_path / "saved")
    (tmp_path / "saved/config.json").write_text('{"model_type": "bert"}', "utf-8")
    with pytest.raises((OSError, ValueError)):
        transformers.AutoTokenizer.from_pretrained(tmp_path / "saved", trust_remote_code=False)


def test_a_plain_tokenizer_needs_nothing_along(tmp_path):
    tokenizer = Tokenizer(VOCAB, pre_tokenizer="none")
    tokenizer.save_pretrained(tmp_path / "saved")
    assert sorted(path.name for path in (tmp_path / "saved").iterdir()) == ["tokenizer_config.json", "vocab.txt"]
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path / "saved")
    assert theirs.cls_token == "[CLS]"
    texts = [
        "아버지가 방에 들어가신다.",
        "漢字와 CAFÉ, 1945년",
        HOSTILE["bidi"],
        HOSTILE["white space"],
        HOSTILE["control"],
    ]
    assert theirs(texts)["input_ids"] == with_special(tokenizer, texts)


def test_the_other_style_of_special_tokens_is_known_there(tmp_path):
    vocab = [*(piece.replace("[", "<").replace("]", ">") for piece in SPECIAL), *VOCAB[5:]]
    Tokenizer(vocab, pre_tokenizer="none").save_pretrained(tmp_path / "saved")
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path / "saved")
    assert [theirs.pad_token, theirs.cls_token, theirs.mask_token] == ["<PAD>", "<CLS>", "<MASK>"]
    assert theirs("뷁")["input_ids"] == [2, 1, 3]


def same_tokens(tokenizer: Tokenizer, theirs, texts) -> None:
    encoded = theirs(texts, add_special_tokens=False, return_offsets_mapping=True)
    for text, ids, offsets in zip(texts, encoded["input_ids"], encoded["offset_mapping"], strict=True):
        expected = [(i, *offset) for i, offset in zip(ids, offsets, strict=True)]
        assert [(token.id, token.start, token.end) for token in tokenizer.encode(text)] == expected, text


@pytest.mark.shared
def test_plain_mode_equals_bert_tokenizer_fast_on_real_text(shared):
    """Piece for piece and offset for offset: all of KorQuAD's part a and 50,000 lines of the NSMC corpus."""
    vocab = shared / "data/vocab/koelectra_wordpiece_vocab.txt"
    theirs = transformers.BertTokenizerFast(str(vocab), do_lower_case=False, strip_accents=False)
    same_tokens(Tokenizer(vocab, pre_tokenizer="none"), theirs, real_texts(shared))


def real_texts(shared) -> list[str]:
    content = json.loads((shared / "data/korquad/KorQuAD_v1.0_dev_part_a.json").read_text("utf-8"))
    paragraphs = [paragraph for article in content["data"] for paragraph in article["paragraphs"]]
    texts = [text for p in paragraphs for text in (p["context"], *(question["question"] for question in p["qas"]))]
    return [*texts, *(shared / "data/nsmc/corpus.txt").read_text("utf-8").split("\n")[:50_000]]


@pytest.mark.shared
def test_equal_ids_on_a_thousand_real_sentences_without_this_package(shared, tmp_path):
    tokenizer = Tokenizer(shared / "data/vocab/koelectra_wordpiece_vocab.txt")
    tokenizer.save_pretrained(tmp_path / "saved")
    texts = [text for text in real_texts(shared)[-1100:] if text][:1000]
    assert len(texts) == 1000
    assert ids_without_us(tmp_path / "saved", texts, tmp_path)["ids"] == with_special(tokenizer, texts)
