"""SentencePiece models: ids of the package itself, offsets into any string, files, and what goes wrong."""

import json
import sys
import unicodedata

import numpy as np
import pytest
from hypothesis import example, given, settings
from korean_text import HOSTILE, texts
from sentencepiece_models import kobert_folder, made_text, train

from kobert_tf2.errors import InputError
from kobert_tf2.tokenization import pretrained
from kobert_tf2.tokenization.tokenizer import Tokenizer

sentencepiece = pytest.importorskip("sentencepiece")

SPACE = "▁"
SOME = "대한민국의  수도는 서울이다. "


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return kobert_folder(tmp_path_factory.mktemp("kobert"))


@pytest.fixture(scope="module")
def tokenizer(folder) -> Tokenizer:
    return Tokenizer.from_pretrained(folder)


def reference(tokenizer: Tokenizer, text: str) -> list[int]:
    """The package itself, a piece at a time through the vocabulary; a lone surrogate is no text to it.

    Unknown characters come back as they are, so that "[MASK]" would be found in the vocabulary: it is unknown.
    """
    processor = sentencepiece.SentencePieceProcessor(model_file=tokenizer.settings()["sentencepiece_model"])
    clean = "".join("\ufffd" if unicodedata.category(char) == "Cs" else char for char in text)
    ids = [tokenizer.vocab.get(piece, tokenizer.unk_id) for piece in processor.encode(clean, out_type=str)]
    return [tokenizer.unk_id if i in tokenizer.special_ids else i for i in ids]


def part_of_one_character(tokenizer: Tokenizer, text: str, before, token) -> bool:
    """Whether two tokens that overlap begin and end within one character: ½ is 1, ⁄ and 2."""
    in_both = text[max(before.start, token.start) : min(before.end, token.end)]
    return len(in_both) == 1 < len(tokenizer.normalize(in_both)) or (token.start, token.end) == (
        before.start,
        before.end,
    )


def check_offsets(tokenizer: Tokenizer, text: str) -> None:
    tokens = tokenizer.encode(text)
    assert tokens.ids.tolist() == tokenizer.encode_ids(text)
    covered = [0] * len(text)
    for before, token in zip([None, *tokens], tokens, strict=False):
        assert 0 <= token.start <= token.end <= len(text)
        if before is not None:
            assert (before.start, before.end) <= (token.start, token.end)
            assert token.start >= before.end or part_of_one_character(tokenizer, text, before, token)
        for position in range(token.start, token.end):
            covered[position] += 1
        spelt = tokenizer.normalize(text[token.start : token.end])
        if token.id != tokenizer.unk_id:
            assert token.piece.strip(SPACE) in spelt, (token, text)
            shared = [other for other in tokens if other.start < token.end and token.start < other.end]
            assert len(shared) > 1 or token.piece.strip(SPACE) == spelt, (token, text)
    for position, char in enumerate(text):
        if tokenizer.normalize(char) and unicodedata.category(char) not in ("Cc", "Cf", "Mn"):
            assert covered[position], f"character {position}, {char!r}, lies in no token of {text!r}"


@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_strings(tokenizer, kind):
    check_offsets(tokenizer, HOSTILE[kind])
    assert tokenizer.encode_ids(HOSTILE[kind]) == reference(tokenizer, HOSTILE[kind])


@settings(deadline=None, max_examples=150)
@given(texts())
@example("㈜한국 ㎏")
@example("\u1112\u1161\u11ab국")
@example("가\x07 \x07나")
@example("1½ 가½나")
def test_any_string(tokenizer, text):
    check_offsets(tokenizer, text)
    assert tokenizer.encode_ids(text) == reference(tokenizer, text)


def test_offsets_by_hand(tokenizer):
    text = "  서울  😀는 ㈜ "
    found = [(text[t.start : t.end], t.start, t.end) for t in tokenizer.encode(text) if t.piece != SPACE]
    assert found[0][1:] == (2, 4) or found[0][0] in ("서", "서울")
    assert ("😀", 6, 7) in found or any(slice_.startswith("😀") for slice_, *_ in found)
    assert {(start, end) for slice_, start, end in found if slice_ == "㈜"} == {(9, 10)}
    (only_space,) = [t for t in tokenizer.encode("😀") if t.piece == SPACE]
    assert (only_space.start, only_space.end) == (0, 0)


@pytest.mark.parametrize("text", ["서울\x07 수도", "서울\x07\x08", "서\x07울", "\x07서울", "서울 \u200b \x07"])
def test_what_the_model_removes_lies_at_no_end_of_a_piece(tokenizer, text):
    ends = [text[place] for t in tokenizer.encode(text) if t.start < t.end for place in (t.start, t.end - 1)]
    assert not set(ends) & set("\x07\x08 \u200b")


def test_nfd_is_the_same_text(tokenizer):
    for text in ("한국어", SOME):
        nfd = unicodedata.normalize("NFD", text)
        assert tokenizer.encode_ids(nfd) == tokenizer.encode_ids(text)
        assert "".join(nfd[t.start : t.end] for t in tokenizer.encode(nfd)) == nfd.replace(" ", "")


def test_made_text_has_the_ids_of_the_package(tokenizer):
    lines = list(made_text())
    assert tokenizer.encode_ids_batch(lines) == [reference(tokenizer, line) for line in lines]
    assert tokenizer.encode_batch(lines, num_workers=2) == list(map(tokenizer.encode, lines))


@pytest.mark.shared
def test_real_text_has_the_ids_of_the_package_and_exact_offsets(shared, tmp_path):
    reviews = (shared / "data/nsmc/corpus.txt").read_text("utf-8").splitlines()[:20_000]
    tokenizer = Tokenizer.from_pretrained(kobert_folder(tmp_path, reviews[:4000], vocab_size=2000))
    data = json.loads((shared / "data/korquad/KorQuAD_v1.0_dev_part_a.json").read_text("utf-8"))
    contexts = [paragraph["context"] for article in data["data"] for paragraph in article["paragraphs"]]
    processor = sentencepiece.SentencePieceProcessor(model_file=tokenizer.settings()["sentencepiece_model"])
    lines = [*reviews, *contexts]
    expected = processor.encode(lines, out_type=str)
    for line, ids, pieces in zip(lines, tokenizer.encode_ids_batch(lines), expected, strict=True):
        assert ids == [tokenizer.vocab.get(piece, tokenizer.unk_id) for piece in pieces], line
    for line in [*reviews[:500], *contexts[:20]]:
        check_offsets(tokenizer, line)


def test_the_ids_are_those_of_the_vocabulary_or_the_models_own(folder, tmp_path):
    alone = Tokenizer.from_pretrained(train(tmp_path / "spiece.model"))
    beside = Tokenizer.from_pretrained(folder)
    processor = sentencepiece.SentencePieceProcessor(model_file=str(tmp_path / "spiece.model"))
    assert alone.encode_ids(SOME) == processor.encode(SOME)
    assert beside.encode_ids(SOME) != alone.encode_ids(SOME)
    assert beside.tokenize(SOME) == alone.tokenize(SOME)
    assert Tokenizer(None, pre_tokenizer="sentencepiece", sentencepiece_model=str(tmp_path / "spiece.model")).vocab == (
        alone.vocab
    )


def test_what_begins_an_eojeol_and_what_continues_one(tokenizer):
    encodings = tokenizer.encode_texts([SOME])
    for i, begins in zip(encodings.ids, encodings.begins, strict=True):
        (piece,) = tokenizer.convert_ids_to_tokens([i])
        assert (begins > 0) == piece.startswith(SPACE)
        assert tokenizer.is_continuation[i] == (i not in tokenizer.special_ids and not piece.startswith(SPACE))
    assert not tokenizer.is_continuation[list(tokenizer.special_ids)].any()
    assert isinstance(tokenizer.is_continuation, np.ndarray)


@pytest.mark.parametrize("text", ["[MASK]", "[SEP] 서울 [CLS]"])
@pytest.mark.parametrize("symbols", ["control_symbols", "user_defined_symbols"])
def test_a_text_cannot_spell_a_special_token(tmp_path, text, symbols):
    options = {"control_symbols": "", symbols: "[CLS],[SEP],[MASK]"}
    tokenizer = Tokenizer.from_pretrained(train(tmp_path / "spiece.model", **options))
    assert not set(tokenizer.encode_ids(text)) & (tokenizer.special_ids - {tokenizer.unk_id})


def test_a_tool_says_what_it_chose(folder, capsys):
    pretrained.from_flags(Tokenizer, folder)
    said = capsys.readouterr().err
    assert "pre_tokenizer=sentencepiece" in said
    assert f"a SentencePiece model with the ids of {folder}/vocab.txt" in said
    assert "original scripts" not in said


def test_a_wordpiece_vocabulary_beside_a_model_file_stays_one(tmp_path):
    train(tmp_path / "left_over.model")
    (tmp_path / "vocab.txt").write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "서울", "##은"]))
    assert Tokenizer.from_pretrained(tmp_path).tokenize("서울은") == ["서울", "##은"]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda folder: (folder / "tokenizer_78b3253a26.model").unlink(), "put the .model file beside it"),
        (lambda folder: (folder / "second.model").write_bytes(b""), "expected one SentencePiece model, but found"),
        (lambda folder: (folder / "tokenizer_78b3253a26.model").write_bytes(b"no"), "sentencepiece cannot read it"),
        (
            lambda folder: (folder / "vocab.txt").write_text(
                "\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "▁가나", "▁다라"])
            ),
            "expected the vocabulary of this model",
        ),
    ],
)
def test_what_is_wrong_in_a_folder_is_a_sentence(tmp_path, change, told):
    kobert_folder(tmp_path)
    change(tmp_path)
    with pytest.raises(InputError, match=told):
        Tokenizer.from_pretrained(tmp_path)


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"pre_tokenizer": "sentencepiece"}, "go together"),
        ({"pre_tokenizer": "mecab", "sentencepiece_model": "x.model"}, "go together"),
        ({"pre_tokenizer": "sentencepiece", "sentencepiece_model": "x.model", "tags": True}, "tags cannot be had"),
    ],
)
def test_settings_that_do_not_go_together_are_a_sentence(settings, told):
    with pytest.raises(InputError, match=told):
        Tokenizer(["[PAD]"], **settings)


def test_pieces_for_bytes_are_refused(tmp_path):
    with pytest.raises(InputError, match="single bytes cannot be mirrored"):
        Tokenizer.from_pretrained(train(tmp_path / "spiece.model", byte_fallback=True))


def test_without_the_package_there_is_the_line_to_type(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "sentencepiece", None)
    with pytest.raises(InputError, match="pip install sentencepiece"):
        Tokenizer.from_pretrained(folder)


def test_no_piece_can_be_added(tokenizer):
    with pytest.raises(InputError, match="would never cut a new piece"):
        tokenizer.with_pieces(["새단어"])
