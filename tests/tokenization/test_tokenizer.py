"""Each setting shown by a sentence and its pieces; a tokenizer saved, loaded and compared."""

import json
import os
import pickle
import warnings

import numpy as np
import pytest

from kobert_tf2.errors import InputError
from kobert_tf2.tokenization.tokenizer import Tokenizer
from kobert_tf2.tokenization.user_dictionary import compile_user_dictionary
from kobert_tf2.tokenization.word_cache import PieceTable

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
ORDINARY = (
    "사과나무 사과 나무 아버지 를 가 심 었 다 . 방 에 İ cafe café istanbul 3 % 숲 NNG / "
    "##사과 ##나무 ##를 ##가 ##었 ##다 ##. ##에 ##숲 ##아 ##é ##% "
    "사과나무/NNG 사과/NNG ##나무/NNG ##를/JKO 를/JKO 심/VV ##었/EP ##다/EF ##./SF"
).split()
SENTENCE = "아버지가  사과나무를 심었다."


def pieces(text=SENTENCE, vocab=(*SPECIAL, *ORDINARY), **settings) -> str:
    return " ".join(Tokenizer(list(vocab), **settings).tokenize(text))


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, "아버지 ##가 사과나무 ##를 심 ##었 ##다 ##."),
        ({"continuation": "morpheme"}, "아버지 가 사과나무 를 심 었 다 ."),
        ({"tags": True}, "아버지 ##가 사과나무/NNG ##를/JKO 심/VV ##었/EP ##다/EF ##./SF"),
        ({"tags": True, "continuation": "morpheme"}, "아버지 가 사과나무/NNG 를/JKO 심/VV 었 다 ."),
        ({"decompose_compounds": True}, "아버지 ##가 사과 ##나무 ##를 심 ##었 ##다 ##."),
        ({"decompose_compounds": True, "continuation": "morpheme"}, "아버지 가 사과 ##나무 를 심 었 다 ."),
        (
            {"decompose_compounds": True, "tags": True},
            "아버지 ##가 사과/NNG ##나무/NNG ##를/JKO 심/VV ##었/EP ##다/EF ##./SF",
        ),
        ({"pre_tokenizer": "none"}, "[UNK] 사과나무 ##를 심 ##었 ##다 ."),
    ],
)
def test_settings_alone_and_together(settings, expected):
    vocab = [piece for piece in (*SPECIAL, *ORDINARY) if not (settings.get("pre_tokenizer") and piece == "##가")]
    assert pieces(vocab=vocab, **settings) == expected


def test_a_word_outside_the_vocabulary_is_cut_longest_first_or_is_one_unknown():
    tokens = Tokenizer([*SPECIAL, "사", "사과", "##나", "##나무"]).encode("사과나무 한국이")
    assert [(token.piece, token.start, token.end) for token in tokens] == [
        ("사과", 0, 2),
        ("##나무", 2, 4),
        ("[UNK]", 5, 7),
        ("[UNK]", 7, 8),
    ]


@pytest.mark.parametrize(
    ("settings", "text", "expected"),
    [
        ({}, "CAFÉ", "[UNK]"),
        ({"do_lower_case": True}, "CAFÉ", "café"),
        ({"strip_accents": True}, "café", "cafe"),
        ({"do_lower_case": True, "strip_accents": True}, "CAFE\u0301", "cafe"),
        ({"do_lower_case": True, "strip_accents": True}, "İSTANBUL", "istanbul"),
    ],
)
@pytest.mark.parametrize("pre_tokenizer", ["mecab", "none"])
def test_case_and_accents_are_two_switches(settings, text, expected, pre_tokenizer):
    assert pieces(text, pre_tokenizer=pre_tokenizer, **settings) == expected


@pytest.mark.parametrize("text", ["사과나무를", "\u1109\u1161\u1100\u116a나무를"])
def test_no_switch_takes_hangul_apart(text):
    tokenizer = Tokenizer([*SPECIAL, *ORDINARY], do_lower_case=True, strip_accents=True)
    tokens = tokenizer.encode(text)
    assert [token.piece for token in tokens] == ["사과나무", "##를"]
    assert [text[token.start : token.end] for token in tokens] == [text[:-1], "를"]


def test_offsets_where_lower_casing_changes_the_length():
    text = "aİb 나무"
    tokens = Tokenizer([*SPECIAL, "ai\u0307b", "나무"], do_lower_case=True, pre_tokenizer="none").encode(text)
    assert [(token.piece, token.start, token.end) for token in tokens] == [("ai\u0307b", 0, 3), ("나무", 4, 6)]


def test_what_one_character_became_is_not_torn():
    tokens = Tokenizer([*SPECIAL, "i", "##\u0307", "x"], do_lower_case=True, pre_tokenizer="none").encode("İ x")
    assert [(token.piece, token.start, token.end) for token in tokens] == [("[UNK]", 0, 1), ("x", 2, 3)]


@pytest.mark.parametrize("style", ["[{}]", "<{}>"])
def test_special_tokens_are_found_in_the_vocabulary(style):
    names = [style.format(name) for name in ("PAD", "UNK", "CLS", "SEP", "MASK")]
    tokenizer = Tokenizer(["사과", *names])
    assert [tokenizer.pad_id, tokenizer.unk_id, tokenizer.cls_id, tokenizer.sep_id, tokenizer.mask_id] == [
        1,
        2,
        3,
        4,
        5,
    ]
    assert tokenizer.special_ids == {1, 2, 3, 4, 5}
    assert tokenizer.tokenize("바나나") == [names[1]]


@pytest.mark.parametrize("text", ["[MASK]", "[SEP]", "[PAD]", "<CLS>", "##나무"])
@pytest.mark.parametrize("pre_tokenizer", ["mecab", "none"])
def test_a_text_cannot_spell_a_special_token_or_a_continuation(text, pre_tokenizer):
    tokenizer = Tokenizer([*SPECIAL, "##나무", "나무"], pre_tokenizer=pre_tokenizer)
    assert not set(tokenizer.encode_ids(text)) & (tokenizer.special_ids - {tokenizer.unk_id})
    assert tokenizer.encode(text)[0].piece == "[UNK]"


def test_a_user_dictionary_and_its_compounds(tmp_path):
    (tmp_path / "words.csv").write_text("사과나무숲,NNG,0,사과/NNG/*+나무/NNG/*+숲/NNG/*\n", encoding="utf-8")
    compile_user_dictionary(str(tmp_path / "words.csv"), str(tmp_path / "mine.dic"))
    chosen = {"user_dictionary": str(tmp_path / "mine.dic")}
    vocab = [*SPECIAL, "사과나무숲", *ORDINARY]
    assert pieces("사과나무숲에", vocab) == "사과나무 ##숲 ##에"
    assert pieces("사과나무숲에", vocab, **chosen) == "사과나무숲 ##에"
    assert pieces("사과나무숲에", vocab, **chosen, decompose_compounds=True) == "사과 ##나무 ##숲 ##에"
    Tokenizer(vocab, **chosen).save_pretrained(tmp_path / "saved")
    (tmp_path / "mine.dic").unlink()
    assert Tokenizer.from_pretrained(tmp_path / "saved").tokenize("사과나무숲에") == ["사과나무숲", "##에"]


def test_is_continuation_and_conversions():
    tokenizer = Tokenizer([*SPECIAL, "사과", "##나무", "##"])
    assert tokenizer.is_continuation.dtype == np.bool_
    assert tokenizer.is_continuation.tolist() == [False] * 6 + [True, False]
    assert tokenizer.convert_tokens_to_ids(["사과", "없음"]) == [5, 1]
    assert tokenizer.convert_ids_to_tokens([5, np.int32(6)]) == ["사과", "##나무"]
    for wrong in (-1, 8):
        with pytest.raises(InputError, match=f"from 0 to 7. Received: {wrong}"):
            tokenizer.convert_ids_to_tokens([wrong])


def test_pre_tokenize_shows_morphemes_and_eojeols():
    words = Tokenizer([*SPECIAL, *ORDINARY], tags=True).pre_tokenize(" 사과나무를  심었다")
    assert [(word.surface, word.tag, word.start, word.end, word.begins) for word in words] == [
        ("사과나무", "NNG", 1, 5, True),
        ("를", "JKO", 5, 6, False),
        ("심", "VV", 8, 9, True),
        ("었", "EP", 9, 10, False),
        ("다", "EC", 10, 11, False),
    ]


@pytest.mark.parametrize("num_workers", [1, 2])
def test_batches_are_the_same_with_any_number_of_workers(num_workers):
    tokenizer = Tokenizer([*SPECIAL, *ORDINARY], decompose_compounds=True)
    texts = [SENTENCE, "", "İ\u0958 cafe\u0301", "사과\ud800", *[f"사과나무 {i}를" for i in range(50)]]
    assert tokenizer.encode_batch(texts, num_workers=num_workers) == list(map(tokenizer.encode, texts))
    assert tokenizer.encode_ids_batch(texts, num_workers=num_workers) == list(map(tokenizer.encode_ids, texts))


def test_a_full_cache_changes_nothing(monkeypatch):
    monkeypatch.setattr(PieceTable.__init__, "__kwdefaults__", {"limit": 3})
    tokenizer = Tokenizer([*SPECIAL, *ORDINARY])
    assert tokenizer.encode_ids_batch([SENTENCE] * 5) == [tokenizer.encode_ids(SENTENCE)] * 5
    assert 3 < len(tokenizer._table) < 12
    assert pieces(" ".join([SENTENCE] * 5)) == " ".join(["아버지 ##가 사과나무 ##를 심 ##었 ##다 ##."] * 5)


SAVED = [
    {},
    {"pre_tokenizer": "none"},
    {
        "continuation": "morpheme",
        "tags": True,
        "decompose_compounds": True,
        "do_lower_case": True,
        "strip_accents": True,
    },
]


@pytest.mark.parametrize("settings", SAVED)
def test_a_saved_tokenizer_is_the_same_one(tmp_path, settings):
    tokenizer = Tokenizer([*SPECIAL, *ORDINARY], **settings)
    tokenizer.save_pretrained(tmp_path / "folder")
    with warnings.catch_warnings(action="error"):
        again = Tokenizer.from_pretrained(tmp_path / "folder")
    assert again.settings() == tokenizer.settings()
    assert again.fingerprint() == tokenizer.fingerprint() == pickle.loads(pickle.dumps(tokenizer)).fingerprint()
    assert again.encode(SENTENCE) == tokenizer.encode(SENTENCE)
    assert Tokenizer.from_pretrained(tmp_path / "folder" / "vocab.txt").settings() == tokenizer.settings()


def test_saving_over_another_tokenizer_leaves_nothing_of_it(tmp_path):
    (tmp_path / "words.csv").write_text("사과나무숲,NNG,0,사과/NNG/*+나무/NNG/*+숲/NNG/*\n", encoding="utf-8")
    compile_user_dictionary(str(tmp_path / "words.csv"), str(tmp_path / "mine.dic"))
    folder = tmp_path / "folder"
    Tokenizer([*SPECIAL, *ORDINARY], user_dictionary=str(tmp_path / "mine.dic")).save_pretrained(folder)
    for name in ("tokenizer.json", "config.json"):
        (folder / name).write_text("{}", "utf-8")
    Tokenizer([*SPECIAL, *ORDINARY], pre_tokenizer="none").save_pretrained(folder)
    assert sorted(os.listdir(folder)) == ["config.json", "tokenizer_config.json", "vocab.txt"]


@pytest.mark.parametrize("name", ["vocab.txt", "tokenizer_config.json", "user.dic", "tokenizer.json"])
def test_a_tokenizer_of_someone_else_is_not_saved_over(tmp_path, name):
    (tmp_path / name).write_text('{"theirs": 1}')
    with pytest.raises(InputError, match=f"{name}: already there"):
        Tokenizer([*SPECIAL, *ORDINARY], pre_tokenizer="none").save_pretrained(tmp_path)
    assert (tmp_path / name).read_text() == '{"theirs": 1}'
    assert os.listdir(tmp_path) == [name]


def test_a_tokenizer_saved_over_itself_keeps_its_dictionary(tmp_path):
    (tmp_path / "words.csv").write_text("사과나무숲,NNG,0,사과/NNG/*+나무/NNG/*+숲/NNG/*\n", encoding="utf-8")
    compile_user_dictionary(str(tmp_path / "words.csv"), str(tmp_path / "mine.dic"))
    Tokenizer([*SPECIAL, *ORDINARY], user_dictionary=str(tmp_path / "mine.dic")).save_pretrained(tmp_path / "folder")
    Tokenizer.from_pretrained(tmp_path / "folder").save_pretrained(tmp_path / "folder")
    assert "user.dic" in os.listdir(tmp_path / "folder")
    assert Tokenizer.from_pretrained(tmp_path / "folder").tokenize("사과나무숲") == ["사과나무", "##숲"]


def test_the_fingerprint_reports_settings_and_vocabularies_apart():
    vocab = [*SPECIAL, *ORDINARY]
    made = [Tokenizer(vocab, **settings).fingerprint() for settings in SAVED]
    made.append(Tokenizer(vocab[:-1]).fingerprint())
    assert len(set(made)) == len(made)


def test_another_analyser_is_a_warning_that_says_in_what(tmp_path):
    Tokenizer([*SPECIAL, *ORDINARY]).save_pretrained(tmp_path / "folder")
    path = tmp_path / "folder" / "tokenizer_config.json"
    config = json.loads(path.read_text("utf-8"))
    config["kobert_tf2"]["analyser"]["dictionary_entries"] = 7
    config["kobert_tf2"]["analyser"]["sentences"][3] = "나/NP 는/JX"
    path.write_text(json.dumps(config), "utf-8")
    with pytest.warns(UserWarning, match=r"dictionary_entries was 7.*1 of 20 fixed sentences.*'나/NP 는/JX'"):
        Tokenizer.from_pretrained(tmp_path / "folder")


@pytest.mark.parametrize(
    ("config", "lower", "accents"),
    [
        (None, False, False),
        ({}, True, True),
        ({"do_lower_case": False}, False, False),
        ({"do_lower_case": True, "strip_accents": False}, True, False),
    ],
)
def test_the_folder_of_another_is_read_as_transformers_would(tmp_path, config, lower, accents):
    (tmp_path / "vocab.txt").write_text("\n".join([*SPECIAL, "사과"]), "utf-8")
    if config is not None:
        (tmp_path / "tokenizer_config.json").write_text(json.dumps(config), "utf-8")
    settings = Tokenizer.from_pretrained(tmp_path).settings()
    assert (settings["pre_tokenizer"], settings["do_lower_case"], settings["strip_accents"]) == ("none", lower, accents)


@pytest.mark.parametrize(
    ("vocab", "told"),
    [
        (["[PAD]", "[CLS]", "[SEP]", "[MASK]", "사과"], r"\[UNK\] is missing"),
        ([*SPECIAL, "사과", "사과"], "line 7: '사과' is there already, at line 6"),
        ({**{p: i for i, p in enumerate(SPECIAL)}, "사과": 9}, "ids 0 to 5, each once, but '사과' has 9"),
    ],
)
def test_a_wrong_vocabulary_is_reported(vocab, told):
    with pytest.raises(InputError, match=told):
        Tokenizer(vocab)


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"pre_tokenizer": "okt"}, "mecab, none. Received: 'okt'"),
        ({"continuation": "word"}, "eojeol, morpheme. Received: 'word'"),
        ({"pre_tokenizer": "none", "tags": True}, "need morphemes"),
        ({"user_dictionary": "/no/such.dic"}, "/no/such.dic"),
    ],
)
def test_wrong_settings_are_reported(settings, told):
    with pytest.raises(InputError, match=told):
        Tokenizer(SPECIAL, **settings)


def test_a_folder_that_is_not_there_is_reported(tmp_path):
    with pytest.raises(InputError, match="no_such_folder"):
        Tokenizer.from_pretrained(f"{tmp_path}/no_such_folder")
