"""The rule of offsets, on any string and every setting: each token's slice is what its piece stands for, nothing
is lost.
"""

import functools
import itertools
import json
import unicodedata

import pytest
from hypothesis import example, given, settings
from korean_text import HOSTILE, VOCAB, texts

from kobert_tf2.tokenization.mecab import CHUNK, MorphemeAnalyser
from kobert_tf2.tokenization.tokenizer import Tokenizer

SETTINGS = {
    "mecab": {},
    "morpheme": {"continuation": "morpheme"},
    "tags": {"tags": True},
    "compounds": {"decompose_compounds": True},
    "lower": {"do_lower_case": True},
    "bare": {"strip_accents": True},
    "everything": {"tags": True, "decompose_compounds": True, "do_lower_case": True, "strip_accents": True},
    "plain": {"pre_tokenizer": "none"},
    "plain lower bare": {"pre_tokenizer": "none", "do_lower_case": True, "strip_accents": True},
}


@pytest.fixture(scope="module")
def tokenizers() -> dict[str, Tokenizer]:
    return {name: Tokenizer(VOCAB, **chosen) for name, chosen in SETTINGS.items()}


@functools.cache
def is_seen(tokenizer: Tokenizer, char: str) -> bool:
    """Whether a character is neither white space, control, zero-width nor an accent that is taken off."""
    return bool(tokenizer.normalize(char).strip(" ")) and unicodedata.category(char) not in ("Cc", "Cf")


def check_offsets(tokenizer: Tokenizer, text: str) -> None:
    tokens = tokenizer.encode(text)
    covered = [0] * len(text)
    end = 0
    for token in tokens:
        assert end <= token.start < token.end <= len(text), f"{token} comes before {end} in {text!r}"
        end = token.end
        for position in range(token.start, token.end):
            covered[position] += 1
        assert tokenizer.vocab[token.piece] == token.id
        if token.id != tokenizer.unk_id:
            assert tokenizer.normalize(text[token.start : token.end]) == surface_of(token.piece), (token, text)
    for position, char in enumerate(text):
        if is_seen(tokenizer, char):
            assert covered[position] == 1, (
                f"character {position}, {char!r}, lies in {covered[position]} tokens of {text!r}"
            )
    assert tokenizer.encode_ids(text) == [token.id for token in tokens]
    assert tokenizer.tokenize(text) == [token.piece for token in tokens]


def surface_of(piece: str) -> str:
    """What a piece of these vocabularies, which hold no tags, stands for."""
    return piece.removeprefix("##")


@pytest.mark.parametrize("name", SETTINGS)
@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_strings(tokenizers, kind, name):
    check_offsets(tokenizers[name], HOSTILE[kind])


@settings(deadline=None, max_examples=150)
@given(texts())
@example("́")
@example("e\u200b\u0301")
@example("가\u200b\u11a8")
@example("\u1100\u1161\u11a8\u11a8")
def test_any_string(tokenizers, text):
    for tokenizer in tokenizers.values():
        check_offsets(tokenizer, text)


@settings(deadline=None, max_examples=100)
@given(texts())
def test_words_cover_what_tokens_cover(tokenizers, text):
    for tokenizer in tokenizers.values():
        words, tokens = tokenizer.pre_tokenize(text), tokenizer.encode(text)
        of_words = set(itertools.chain.from_iterable(range(word.start, word.end) for word in words))
        of_tokens = set(itertools.chain.from_iterable(range(token.start, token.end) for token in tokens))
        assert of_tokens <= of_words, text
        assert all(not word.begins or word.start == 0 or not _is_joined(tokenizer, text, word.start) for word in words)


def _is_joined(tokenizer: Tokenizer, text: str, position: int) -> bool:
    """Whether the last character before `position` that is not taken away is no space."""
    before = tokenizer.normalize(text[:position])
    return bool(before) and not before.endswith(" ")


@settings(deadline=None, max_examples=150)
@given(texts())
def test_normalising_twice_changes_nothing(tokenizers, text):
    for tokenizer in tokenizers.values():
        once = tokenizer.normalize(text)
        assert tokenizer.normalize(once) == once


@pytest.mark.parametrize("name", ["mecab", "everything", "plain"])
@pytest.mark.parametrize(
    "unit", ["가나다라마바사", "a", "1", "!", "ㅋ", "아버지가방에들어가신다", "\u1112\u1161\u11ab", "漢"]
)
def test_a_long_run_without_a_space_is_exact(tokenizers, name, unit):
    text = (unit * 100_000)[:100_000] + " 끝"
    check_offsets(tokenizers[name], text)


def test_mecab_sees_a_long_run_once_in_bounded_chunks(monkeypatch):
    """Mecab's own work grows with the square of a run without a space."""
    analyser, lengths = MorphemeAnalyser(), []

    class CountingTagger:
        def __init__(self, tagger):
            self._tagger = tagger

        def parse(self, text):
            lengths.append(len(text))
            return self._tagger.parse(text)

    tagger_of = analyser._tagger
    monkeypatch.setattr(analyser, "_tagger", lambda node_format: CountingTagger(tagger_of(node_format)))
    analyser.keys("1a" * 50_000)
    assert max(lengths) <= CHUNK
    assert sum(lengths) < 1.2 * 100_000


@pytest.mark.parametrize("name", ["mecab", "tags", "plain"])
@pytest.mark.parametrize("space", [" ", "\u3000", "\n", "\u200b \x00"])
def test_a_long_run_of_spaces(tokenizers, name, space):
    text = "사과" + space * 70_000 + "나무를" + space * 70_000
    check_offsets(tokenizers[name], text)
    start = text.index("나무")
    assert [(token.start, token.end) for token in tokenizers[name].encode(text)][1] in (
        (start, start + 2),
        (start, start + 3),
    )
    assert len(tokenizers[name].pre_tokenize(text)) == (2 if name == "plain" else 3)


def test_a_text_longer_than_a_chunk_is_cut_between_sentences(tokenizers):
    sentence = "아버지가 사과나무를 심었다. "
    one = [token.piece for token in tokenizers["mecab"].encode(sentence)]
    assert tokenizers["mecab"].tokenize(sentence * 2000) == one * 2000


@pytest.mark.shared
@pytest.mark.parametrize("name", ["mecab", "everything", "plain"])
def test_real_text(shared, name):
    tokenizer = Tokenizer(shared / "data/vocab/koelectra_wordpiece_vocab.txt", **SETTINGS[name])
    lines = (shared / "data/nsmc/corpus.txt").read_text("utf-8").split("\n")[:5000]
    for text in [*korquad_texts(shared)[:1000], *lines]:
        check_offsets(tokenizer, text)


@pytest.mark.slow
@pytest.mark.shared
@pytest.mark.parametrize("name", SETTINGS)
def test_all_of_the_real_text(shared, name):
    tokenizer = Tokenizer(shared / "data/vocab/koelectra_wordpiece_vocab.txt", **SETTINGS[name])
    lines = (shared / "data/nsmc/corpus.txt").read_text("utf-8").split("\n")[:50_000]
    for text in [*korquad_texts(shared), *lines]:
        check_offsets(tokenizer, text)


def korquad_texts(shared) -> list[str]:
    """Every context and question of KorQuAD's part a."""
    content = json.loads((shared / "data/korquad/KorQuAD_v1.0_dev_part_a.json").read_text("utf-8"))
    paragraphs = [paragraph for article in content["data"] for paragraph in article["paragraphs"]]
    return [text for p in paragraphs for text in (p["context"], *(question["question"] for question in p["qas"]))]
