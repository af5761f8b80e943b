"""The tokenizer in a graph gives exactly the same ids and character offsets as the tokenizer in Python."""

import json
import unicodedata

import hypothesis.strategies as st
import pytest
import tensorflow as tf
from hypothesis import example, given, settings

import kobert_tf2 as kb
from kobert_tf2.errors import InputError
from kobert_tf2.serving import graph_tokenizer
from kobert_tf2.serving.graph_tokenizer import GraphTokenizer

LETTERS = "가각나다라abAé漢#[]<.,?1σİ"
VOCAB = [
    "[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *LETTERS, *(f"##{letter}" for letter in LETTERS), "##", "##가나",
    "가나", "나다라", "MASK", "क", "##़", "e", "i", "##i", "##\u0307", "ss", "ja", "ﬁ",
]  # fmt: skip

# Difficult cases for normalisation, splitting and offsets: composed and decomposed Hangul, single jamo, marks without a
# base, characters that NFC lengthens or reorders, removed characters, every kind of white space, ideographs, emoji,
# other planes.
ODD = (
    "가각나다라abAÉéĀσΣςİıẞß漢字㐀﨑豈\u0301\u0307\u0323\u0327ᄀ\u1161\u11a8ㄱㅏ\u0958\u0915\u093c\u09dc\ufb1d\u2126\u212b"
    "\u200b\u200d\u200e\u202e\ufeff\u00ad\x00\x01\x02\x07\x1f\x7f\u0085 \u00a0\u3000\u2028\t\n\r\u1680"
    "#[]<>.,?!「」…–$+=^`~|1٣👍🏽👨‍👩‍👧\ufffd\ue000\U000f0000\U0002f800\U00020000\U000e0041\U0001e900ǰJ\u030cK\ufdfa"
)
TEXT = st.text(st.sampled_from(ODD) | st.characters(exclude_categories=["Cs", "Cn"]), max_size=30)


SLOW = [pytest.param(switches, marks=pytest.mark.slow) for switches in ((True, False), (False, True))]


@pytest.fixture(scope="module", params=[(False, False), (True, True), *SLOW], ids=str)
def both(request):
    """The tokenizer and its graph, for each of the two switches."""
    lower_case, strip_accents = request.param
    tokenizer = kb.Tokenizer(VOCAB, pre_tokenizer="none", do_lower_case=lower_case, strip_accents=strip_accents)
    graph = GraphTokenizer(tokenizer)
    return tokenizer, tf.function(graph.__call__, input_signature=[tf.TensorSpec([None], tf.string)])


def rows(tokens) -> list[list[tuple[int, int, int]]]:
    return [list(zip(*row, strict=True)) for row in zip(*(column.to_list() for column in tokens), strict=True)]


def expected(tokenizer, texts):
    return [[(token.id, token.start, token.end) for token in row] for row in tokenizer.encode_batch(texts)]


@settings(deadline=None, max_examples=60)
@given(st.lists(TEXT, min_size=1, max_size=4))
@example(["", " ", "\u200b", "가"])
@example(["가" * 100, "가" * 101 + " 가나", "👍" * 101])
@example(["[MASK] ##가나 <MASK> [UNK]", "##", "\x01가나 \x02MASK"])
@example(["가나" * 5000])
@example(["\u0301가", "가\u0301\u200b\u0327나", " \u0301", "e\u200b\u0301", "\u0915\u093c\u0301"])
def test_ids_and_offsets_equal_those_of_the_tokenizer(both, texts):
    tokenizer, graph = both
    if any(unicodedata.category(character) == "Cn" for text in texts for character in text):
        return
    assert rows(graph(texts)) == expected(tokenizer, texts)


def test_every_assigned_character_is_treated_alike(both):
    tokenizer, graph = both
    alike = {*range(0x3500, 0xA400), *range(0xAC00, 0xD700), *range(0xE100, 0xF800), *range(0x20100, 0x31000)}
    codes = [code for code in [*range(0x32000), *range(0xE0000, 0xE0200)] if code not in alike or code % 101 == 0]
    characters = [chr(code) for code in codes if not 0xD800 <= code < 0xE000]
    assigned = [character for character in characters if unicodedata.category(character) != "Cn"]
    texts = [f"가{character}나 a{character}" for character in assigned]
    got, wanted = rows(graph(texts)), expected(tokenizer, texts)
    different = [hex(ord(c)) for c, a, b in zip(assigned, got, wanted, strict=True) if a != b]
    assert not different


def test_it_runs_inside_tf_data(both):
    tokenizer, graph = both
    texts = ["가나 다라.", "", "漢字 a", "가\u200b나"]
    dataset = tf.data.Dataset.from_tensor_slices(texts).batch(3).map(graph)
    assert [row for batch in dataset for row in rows(batch)] == expected(tokenizer, texts)


def test_it_is_saved_and_answers_after_loading(tmp_path):
    tokenizer = kb.Tokenizer(VOCAB, pre_tokenizer="none")
    module = tf.Module()
    module.tokenizer = GraphTokenizer(tokenizer)
    module.encode = tf.function(module.tokenizer.__call__, input_signature=[tf.TensorSpec([None], tf.string)])
    tf.saved_model.save(module, str(tmp_path))
    texts = ["가나 다라.", "e\u0301 漢"]
    assert rows(tf.saved_model.load(str(tmp_path)).encode(tf.constant(texts))) == expected(tokenizer, texts)


def test_no_text_at_all(both):
    _, graph = both
    assert rows(graph(tf.constant([], tf.string))) == []


SENTENCES = [
    "아버지가 방에 들어가신다.",
    "##나는 [MASK] 학교에 갔다",
    "대한민국의 수도는 서울이다!",
    "",
    "가나다라마바사" * 20,
]


@pytest.mark.parametrize("continuation", ["eojeol", "morpheme"])
@pytest.mark.parametrize("decompose", [False, True])
def test_words_that_mecab_cut_get_the_ids_of_the_tokenizer(continuation, decompose):
    syllables = sorted(set("".join(SENTENCES)) - set(" "))
    vocab = [*VOCAB[:5], *syllables, *(f"##{syllable}" for syllable in syllables[::2]), "##에", "방", "서울", "##이다"]
    tokenizer = kb.Tokenizer(list(dict.fromkeys(vocab)), continuation=continuation, decompose_compounds=decompose)
    words = [tokenizer.pre_tokenize(sentence) for sentence in SENTENCES]
    surfaces = tf.ragged.constant([[word.surface for word in row] for row in words], tf.string, ragged_rank=1)
    flags = tf.ragged.constant([[word.continues for word in row] for row in words], tf.bool, ragged_rank=1)
    graph = GraphTokenizer(tokenizer)
    tokens = tf.function(graph.tokenize_words)(surfaces, flags)
    for row, sentence in enumerate(SENTENCES):
        found = [
            (i, word.start + start, word.start + end)
            for word, *columns in zip(words[row], *(column[row].to_list() for column in tokens), strict=True)
            for i, start, end in zip(*columns, strict=True)
        ]
        assert found == [(token.id, token.start, token.end) for token in tokenizer.encode(sentence)]
    with pytest.raises(InputError, match="Mecab cannot run in a graph"):
        graph(["가"])


def test_tags_are_refused():
    with pytest.raises(InputError, match="without tags"):
        GraphTokenizer(kb.Tokenizer(VOCAB, tags=True))


def test_the_kinds_of_characters_are_those_that_bert_knows():
    kinds = graph_tokenizer.kinds_of_characters(False, False)
    assert all(kinds[ord(c)] == graph_tokenizer.ALONE for c in "!~$.漢「")
    assert all(kinds[ord(c)] == graph_tokenizer.SPACE for c in "\t\n\u00a0\u3000\u2028")
    assert all(kinds[ord(c)] == graph_tokenizer.REMOVED for c in "\x00\u200b\u200e\ufeff")
    assert all(kinds[ord(c)] == graph_tokenizer.JOINS for c in "\u0301\u1161\u11a8")
    assert all(kinds[ord(c)] == 0 for c in "가aé1👍 ")


@pytest.mark.shared
def test_korquad_and_nsmc_are_cut_as_the_tokenizer_cuts_them(shared):
    tokenizer = kb.Tokenizer(str(shared / "data/vocab/koelectra_wordpiece_vocab.txt"), pre_tokenizer="none")
    graph = tf.function(GraphTokenizer(tokenizer).__call__, input_signature=[tf.TensorSpec([None], tf.string)])
    with open(shared / "data/korquad/KorQuAD_v1.0_dev_part_a.json", encoding="utf-8") as file:
        paragraphs = [p for article in json.load(file)["data"] for p in article["paragraphs"]]
    texts = [p["context"] for p in paragraphs] + [qa["question"] for p in paragraphs for qa in p["qas"]]
    with open(shared / "data/nsmc/corpus.txt", encoding="utf-8") as file:
        texts += [next(file).rstrip("\n") for _ in range(50_000)]
    for first in range(0, len(texts), 512):
        batch = texts[first : first + 512]
        assert rows(graph(batch)) == expected(tokenizer, batch)
