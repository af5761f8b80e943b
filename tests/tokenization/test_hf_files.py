"""Tokenizers as Hugging Face writes them, against transformers in a process of its own; and what is refused by name."""

import json
import sys

import pytest
import warm_python
from tokenizer_folders import write_vocab

from kobert_tf2.errors import InputError
from kobert_tf2.tokenization import pretrained
from kobert_tf2.tokenization.tokenizer import Tokenizer

transformers = pytest.importorskip("transformers")
tokenizers = pytest.importorskip("tokenizers")

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
PIECES = [
    *SPECIAL,
    *"사과 나무 ##나무 ##를 를 학교 ##에서 cafe CAFE ##가 . ! [ ] < > emo e ##mo ##1 1 는 漢 字 # @ 이름"
    .split(),
]  # fmt: skip
TEXTS = [
    "사과나무를",
    "사과[EMO]나무를",
    " [EMO]  사과 [EMO][EMO]를",
    "학교에서<e1>사과</e1>를.",
    "학교에서 <E1>사과",
    "cafe #@이름#사과",
    "#@이름#는 새단어를 새단어",
    "사과새단어 CAFE",
    "word1 cafe word 1 words word.",
    "Word <e1><e1>",
    "漢字[EMO]漢",
    "",
    "[EMO]",
    "사과[EMO]!를 [EMO]! [EMO] !",
    "#@이름#이름 #@이름#이",
]
# content, single_word, lstrip, rstrip, normalized, special
ADDED = [
    ("[EMO]", False, False, False, False, True),
    ("<e1>", False, False, False, True, False),
    ("</e1>", False, False, False, False, True),
    ("#@이름#", False, False, False, True, False),
    ("새단어", True, False, False, True, False),
    ("word", True, False, False, True, False),
    ("[EMO]!", False, False, False, False, True),
    ("#@이름#이름", False, False, False, True, False),
]

SCRIPT = """
import json, sys
from transformers import AutoTokenizer
texts, results = json.load(open(sys.argv[1])), {}
for folder in sys.argv[2:]:
    tokenizer = AutoTokenizer.from_pretrained(folder)
    found = tokenizer(texts, add_special_tokens=False, return_offsets_mapping=True)
    results[folder] = {"ids": found["input_ids"], "offsets": found["offset_mapping"], "size": len(tokenizer)}
print(json.dumps(results))
"""


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Folders that transformers wrote, that older versions wrote, and that we wrote of one of them."""
    folder = tmp_path_factory.mktemp("tokenizers")
    theirs(folder / "saved")
    theirs(folder / "lower", lower=True, accents=False)
    theirs(folder / "json alone")
    (folder / "json alone/tokenizer_config.json").unlink()
    Tokenizer.from_pretrained(folder / "json alone").save_pretrained(folder / "again")
    Tokenizer.from_pretrained(folder / "json alone").save_pretrained(folder / "again without json")
    (folder / "again without json/tokenizer.json").unlink()
    write_legacy(folder / "old")
    write_legacy(folder / "old without a map", **{"special_tokens_map.json": None})
    return folder


COMPARED = ["saved", "lower", "again", "again without json", "old", "old without a map"]


@pytest.fixture(scope="module")
def in_transformers(folders) -> dict:
    """What transformers makes of all of them, in one process."""
    (folders / "texts.json").write_text(json.dumps(TEXTS), "utf-8")
    command = ["-c", SCRIPT, folders / "texts.json", *(folders / name for name in COMPARED)]
    result = warm_python.run(command, imported="transformers")
    assert result.returncode == 0, result.stderr[-2000:]
    return json.loads(result.stdout.splitlines()[-1])


@pytest.mark.parametrize("name", COMPARED)
def test_ids_and_offsets_are_those_of_transformers(folders, in_transformers, name):
    theirs, ours = in_transformers[str(folders / name)], Tokenizer.from_pretrained(folders / name)
    assert len(ours.vocab) == theirs["size"]
    for text, ids, offsets in zip(TEXTS, theirs["ids"], theirs["offsets"], strict=True):
        tokens = ours.encode(text)
        assert tokens.ids.tolist() == ids, text
        assert [[token.start, token.end] for token in tokens] == offsets, text


def theirs(folder, *, lower: bool = False, accents: bool | None = None, added=ADDED) -> transformers.BertTokenizer:
    """A tokenizer of transformers', with the tokens added through its own call."""
    made = transformers.BertTokenizer(
        vocab={piece: i for i, piece in enumerate(PIECES)}, do_lower_case=lower, strip_accents=accents
    )
    for content, single_word, lstrip, rstrip, normalized, special in added:
        token = transformers.AddedToken(
            content, single_word=single_word, lstrip=lstrip, rstrip=rstrip, normalized=normalized, special=special
        )
        made.add_tokens([token], special_tokens=special)
    made.save_pretrained(folder)
    return made


def test_a_tokenizer_json_alone_is_read_and_written_again(folders, tmp_path):
    assert not (folders / "saved/vocab.txt").exists()  # transformers 5 writes none
    ours = Tokenizer.from_pretrained(folders / "json alone")
    assert {path.name for path in (folders / "again").iterdir()} == {
        *("tokenizer.json", "tokenizer_config.json", "vocab.txt")
    }
    alone = tokenizers.Tokenizer.from_file(str(folders / "again/tokenizer.json"))
    for text in TEXTS:
        assert alone.encode(text, add_special_tokens=False).ids == ours.encode_ids(text)
    assert alone.encode("사과", "나무").type_ids == [0, 0, 0, 1, 1]
    Tokenizer.from_pretrained(folders / "again").save_pretrained(tmp_path / "third")
    again, third = (
        (folder / "tokenizer.json").read_text("utf-8") for folder in (folders / "again", tmp_path / "third")
    )
    assert again == third


def test_added_tokens_are_found_beside_morphemes_too(folders, tmp_path):
    ours = Tokenizer.from_pretrained(folders / "saved")
    mecab = Tokenizer(ours.vocab, **{**ours.settings(), "pre_tokenizer": "mecab"})
    mecab.save_pretrained(tmp_path / "mecab")
    again = Tokenizer.from_pretrained(tmp_path / "mecab")
    for text in TEXTS:
        assert again.encode(text) == mecab.encode(text)
        added = [token for token in mecab.encode(text) if token.piece in {content for content, *_ in ADDED}]
        assert all(text[token.start : token.end] == token.piece for token in added)
    assert mecab.tokenize("사과[EMO]를  [EMO]") == ["사과", "[EMO]", "를", "[EMO]"]
    words = mecab.pre_tokenize("사과[EMO]를 [EMO]")
    assert [(w.surface, w.start, w.begins) for w in words] == [
        *(("사과", 0, True), ("[EMO]", 2, False), ("를", 7, False), ("[EMO]", 9, True))
    ]
    assert again.fingerprint() == mecab.fingerprint() != ours.fingerprint()


def test_added_tokens_are_found_in_a_batch_with_what_they_begin(folders):
    tokenizer = Tokenizer.from_pretrained(folders / "saved")
    encodings = tokenizer.encode_texts(TEXTS)
    for i, text in enumerate(TEXTS):
        alone = encodings.alone(i)
        assert alone.ids.tolist() == tokenizer.encode_ids(text)
        for start, begins in zip(alone.starts, alone.begins, strict=True):
            assert (begins == 2) == (start == 0 or text[start - 1] == " "), text
    assert tokenizer.encode_batch(TEXTS, num_workers=2) == list(map(tokenizer.encode, TEXTS))


def write_legacy(folder, **more) -> None:
    """A folder of transformers 3: vocab.txt, added_tokens.json, special_tokens_map.json."""
    write_vocab(folder, PIECES)
    size = len(PIECES)
    values = {
        "tokenizer_config.json": {"tokenizer_class": "BertTokenizer", "do_lower_case": False},
        "added_tokens.json": {"[EMO]": size, "새단어": size + 1, "<e1>": size + 2},
        "special_tokens_map.json": {"cls_token": "[CLS]", "additional_special_tokens": ["[EMO]"]},
        **more,
    }
    for name, value in values.items():
        if value is not None:
            (folder / name).write_text(json.dumps(value, ensure_ascii=False), "utf-8")


def test_special_tokens_of_any_name_are_found_through_the_config(tmp_path):
    names = ["<blank>", "<?>", "<s>", "</s>", "<hole>"]
    write_vocab(tmp_path, [*names, *PIECES[5:]])
    keys = ("pad_token", "unk_token", "cls_token", "sep_token", "mask_token")
    config = {**dict(zip(keys, names, strict=True)), "do_lower_case": False}
    config["mask_token"] = {"content": "<hole>", "lstrip": True}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config), "utf-8")
    tokenizer = Tokenizer.from_pretrained(tmp_path)
    assert [tokenizer.pad_id, tokenizer.unk_id, tokenizer.cls_id, tokenizer.sep_id, tokenizer.mask_id] == [
        0,
        1,
        2,
        3,
        4,
    ]
    tokenizer.save_pretrained(tmp_path / "again")
    assert Tokenizer.from_pretrained(tmp_path / "again").cls_token == "<s>"
    assert tokenizer.encode_ids("사과 <hole>")[1:] != [tokenizer.mask_id]


def json_of(folder) -> dict:
    theirs(folder)
    return json.loads((folder / "tokenizer.json").read_text("utf-8"))


def changed(parts: dict, path: str, value) -> dict:
    *outer, last = path.split("/")
    inner = parts
    for name in outer:
        inner = inner[name]
    inner[last] = value
    return parts


@pytest.mark.parametrize(
    ("path", "value", "told"),
    [
        ("normalizer", None, "normalizer None cannot be mirrored"),
        ("normalizer", {"type": "NFKC"}, "normalizer NFKC cannot be mirrored"),
        ("normalizer/handle_chinese_chars", False, "handle_chinese_chars=False"),
        ("normalizer/clean_text", False, "clean_text=False"),
        ("pre_tokenizer", {"type": "Whitespace"}, "pre_tokenizer 'Whitespace'"),
        ("model/continuing_subword_prefix", "@@", "continuing_subword_prefix='@@'"),
        ("model/max_input_chars_per_word", 50, "max_input_chars_per_word=50"),
        ("model", {"type": "Unigram", "unk_id": 0, "vocab": [["[UNK]", 0.0]]}, "model 'Unigram'"),
        (
            "post_processor",
            {"type": "RobertaProcessing", "sep": ["[SEP]", 3], "cls": ["[CLS]", 2], "trim_offsets": True,
             "add_prefix_space": False},
            "post_processor 'RobertaProcessing'",
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_mirrored_in_a_tokenizer_json_is_refused_by_name(tmp_path, path, value, told):
    parts = changed(json_of(tmp_path), path, value)
    if path == "model":
        parts["added_tokens"] = []
    (tmp_path / "tokenizer.json").write_text(json.dumps(parts), "utf-8")
    (tmp_path / "tokenizer_config.json").unlink()
    with pytest.raises(InputError, match=rf"tokenizer.json: {told}"):
        Tokenizer.from_pretrained(tmp_path)


@pytest.mark.parametrize(
    ("more", "told"),
    [
        (
            {"tokenizer_config.json": {"tokenize_chinese_chars": False}},
            "tokenize_chinese_chars=False cannot be mirrored",
        ),
        ({"tokenizer_config.json": {"tokenizer_class": "BertJapaneseTokenizer"}}, "'BertJapaneseTokenizer' cannot"),
        ({"tokenizer_config.json": {"do_basic_tokenize": False}}, "do_basic_tokenize=False"),
        ({"tokenizer_config.json": {"never_split": ["사과"]}}, "never_split"),
        ({"tokenizer_config.json": {"cls_token": "[START]"}, "special_tokens_map.json": None}, r"'\[START\]'"),
        ({"added_tokens.json": {"[EMO]": len(PIECES) + 1}}, f"no added token has id {len(PIECES)}"),
        ({"added_tokens.json": {"[EMO]": 5}}, "has id 5, but the vocabulary has '사과' there"),
        ({"added_tokens.json": {"사과": len(PIECES)}}, f"'사과' has id {len(PIECES)}, but 5 in the vocabulary"),
        ({"added_tokens.json": {"[EMO]": "x"}}, r"expected an id for '\[EMO\]', but found 'x'"),
        ({"added_tokens.json": ["[EMO]"]}, "expected a JSON object, but found a JSON list"),
        ({"tokenizer_config.json": {"added_tokens_decoder": {"x": 1}}}, "added_tokens_decoder: expected an object"),
        ({"tokenizer_config.json": {"cls_token": 5}, "special_tokens_map.json": None}, "cls_token: expected a string"),
    ],
)
def test_what_a_folder_says_and_cannot_be_done_is_refused_by_name(tmp_path, more, told):
    write_legacy(tmp_path, **more)
    with pytest.raises(InputError, match=told):
        Tokenizer.from_pretrained(tmp_path)


def test_files_that_disagree_are_refused(tmp_path):
    theirs(tmp_path, lower=True)
    config = json.loads((tmp_path / "tokenizer_config.json").read_text("utf-8"))
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config | {"do_lower_case": False}), "utf-8")
    with pytest.raises(InputError, match=r"says do_lower_case=False, but the normalizer of tokenizer.json means True"):
        Tokenizer.from_pretrained(tmp_path)


def test_a_damaged_tokenizer_json_is_a_sentence(tmp_path):
    (tmp_path / "tokenizer.json").write_text('{"model": 3}')
    with pytest.raises(InputError, match=r"tokenizer.json: the tokenizers library cannot read it"):
        Tokenizer.from_pretrained(tmp_path)


def test_without_the_library_there_is_the_line_to_type(tmp_path, monkeypatch):
    theirs(tmp_path)
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(InputError, match="pip install tokenizers"):
        Tokenizer.from_pretrained(tmp_path)


def test_a_token_without_an_id_is_passed_over_and_said(tmp_path, capsys):
    write_legacy(tmp_path, **{"special_tokens_map.json": {"additional_special_tokens": ["<none>"]}})
    tokenizer = pretrained.from_flags(Tokenizer, str(tmp_path))
    assert "<none>" not in tokenizer.vocab
    assert "<none> has no id and is passed over" in capsys.readouterr().err
