"""The plain tokenizer inside a TensorFlow graph: for tf.data, and for a SavedModel that takes text.

Gives the ids and character offsets of `Tokenizer` with `pre_tokenizer="none"`, by the same steps: normalise, cut into
words, cut words into pieces (with tensorflow-text's FastWordpieceTokenizer). What kind a character is comes from tables
that are filled by asking the Python tokenizer itself. Mecab cannot run in a graph: for a Mecab tokenizer, words that
were cut outside go in through `tokenize_words`.

All is done on flat vectors over the characters of the whole batch. Letters: B texts, W words, P pieces.

Two limits: bytes that are not UTF-8 are read as U+FFFD; and NFC and the class of marks come from the ICU and RE2 that
TensorFlow was built with, which may know a newer Unicode than Python does.
"""

import functools
import unicodedata
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import tensorflow as tf
import tensorflow_text as tf_text

from kobert_tf2.errors import InputError
from kobert_tf2.tokenization.tokenizer import Tokenizer

# BERT's rule: a word of more characters is unknown.
MAX_WORD_LENGTH = 100
# Marks of our own, which no normalised text can hold: they are control characters. Pieces that continue a word begin
# with the first instead of ##, so that text that spells "##" finds none of them; special tokens begin with the second.
_CONTINUES, _SPECIAL = "\x01", "\x02"

# Kinds of characters, bits of a table.
REMOVED, SPACE, JOINS, ALONE, CHANGES = 1, 2, 4, 8, 16


class GraphTokens(NamedTuple):
    """Tokens of a batch of texts: ragged int32 [B, (tokens)]; `starts` and `ends` are characters of the texts given."""

    ids: tf.RaggedTensor
    starts: tf.RaggedTensor
    ends: tf.RaggedTensor


class _Characters(NamedTuple):
    """Vectors over the characters of a whole batch: the code point, the text it is in, what it came from there."""

    code: tf.Tensor
    row: tf.Tensor
    start: tf.Tensor
    end: tf.Tensor


class GraphTokenizer(tf.Module):
    """Text to ids and offsets in a graph. Keep it as an attribute of what is exported.

    Args:
        tokenizer: plain for `__call__`; a Mecab tokenizer without tags serves `tokenize_words`.
    """

    def __init__(self, tokenizer: Tokenizer):
        super().__init__()
        settings = tokenizer.settings()
        if settings["tags"]:
            raise InputError("tags: expected a tokenizer without tags; the graph cannot look pieces up with their tag")
        if settings["pre_tokenizer"] == "sentencepiece" or tokenizer.added_tokens:
            raise InputError("expected a WordPiece tokenizer without added tokens; the graph can find no others")
        self._is_plain = settings["pre_tokenizer"] == "none"
        self._lower_case, self._strip_accents = settings["do_lower_case"], settings["strip_accents"]
        self._unk_id = tokenizer.unk_id
        self._wordpiece = tf_text.FastWordpieceTokenizer(
            vocab=_graph_vocabulary(tokenizer),
            suffix_indicator=_CONTINUES,
            max_bytes_per_word=4 * MAX_WORD_LENGTH + 1,
            token_out_type=tf.int32,
            unknown_token=_SPECIAL + tokenizer.unk_token,
            no_pretokenization=True,
        )
        self._kinds = kinds_of_characters(self._lower_case, self._strip_accents) if self._is_plain else None

    # --- Text ---

    def __call__(self, texts: tf.Tensor) -> GraphTokens:
        """The tokens of texts, string [B], without special tokens, as `Tokenizer.encode` gives them."""
        if not self._is_plain:
            raise InputError("pre_tokenizer: expected 'none', since Mecab cannot run in a graph; see tokenize_words")
        texts = tf.convert_to_tensor(texts, tf.string)
        characters = self._normalize(texts)
        words, first, row_of_word = _words(self._kinds_of(characters.code), characters)
        in_words = _Characters(*(tf.gather(vector, first.flat_values) for vector in characters))
        word, ids, start, end = self._pieces(words, in_words.code)
        row = tf.gather(row_of_word, word)
        tokens = _joined_at_seams(in_words, row, ids, start, end, unk_id=self._unk_id)
        return _ragged(*tokens, rows=tf.size(texts))

    def _kinds_of(self, codes: tf.Tensor) -> tf.Tensor:
        """The kinds of code points; the table leaves out the planes in which nothing has a kind."""
        high = codes >= 0xE0000
        place = tf.where(high, codes - 0xE0000 + 0x40000, codes)
        assert self._kinds is not None  # of a plain tokenizer, which alone has texts normalised here
        known = (place < len(self._kinds)) & (high | (codes < 0x40000))
        return tf.where(known, tf.gather(tf.constant(self._kinds), tf.where(known, place, 0)), 0)

    def _normalize(self, texts: tf.Tensor) -> _Characters:
        decoded = tf.strings.unicode_decode(texts, "UTF-8")
        codes, row = decoded.flat_values, decoded.value_rowids()
        place = tf.cast(tf.ragged.range(decoded.row_lengths()).flat_values, tf.int32)
        kinds = self._kinds_of(codes)
        codes = tf.where(kinds == SPACE, 32, codes)
        kept = tf.where(kinds != REMOVED)[:, 0]
        codes, row, place, kinds = (tf.gather(vector, kept) for vector in (codes, row, place, kinds))

        # A base with its marks, or a syllable in jamo, is normalised together.
        begins = (kinds & JOINS == 0) | _differs_from_before(row)
        clusters = tf.RaggedTensor.from_row_starts(codes, tf.where(begins)[:, 0])
        row = tf.gather(row, clusters.row_starts())
        odd = (clusters.row_lengths() > 1) | (tf.gather(kinds, clusters.row_starts()) & CHANGES != 0)
        odd = tf.where(odd)[:, 0]
        old = tf.strings.unicode_encode(tf.gather(clusters, odd), "UTF-8")
        new = self._normalize_clusters(old)
        changed = tf.where(new != old)[:, 0]
        return self._with_changed(
            clusters, row, place, tf.gather(odd, changed), tf.strings.unicode_decode(tf.gather(new, changed), "UTF-8")
        )

    def _normalize_clusters(self, clusters: tf.Tensor) -> tf.Tensor:
        """Strings [clusters] as `Normalizer` writes them."""
        clusters = tf_text.normalize_utf8(clusters, "NFC")
        if self._strip_accents:
            bare = tf.strings.regex_replace(tf_text.normalize_utf8(clusters, "NFD"), r"\p{Mn}", "")
            clusters = tf_text.normalize_utf8(bare, "NFC")
        if self._lower_case:
            # The one character whose small form is two.
            clusters = tf.strings.regex_replace(clusters, "\u0130", "i\u0307")
            codes = tf.strings.unicode_decode(clusters, "UTF-8")
            lowered = codes.with_flat_values(_lower(codes.flat_values))
            clusters = tf_text.normalize_utf8(tf.strings.unicode_encode(lowered, "UTF-8"), "NFC")
        return clusters

    def _with_changed(
        self, clusters: tf.RaggedTensor, row: tf.Tensor, place: tf.Tensor, changed: tf.Tensor, new: tf.RaggedTensor
    ) -> _Characters:
        """Puts new characters in the place of the changed clusters; they share the span of their cluster."""
        count = tf.tensor_scatter_nd_update(clusters.row_lengths(), changed[:, tf.newaxis], new.row_lengths())
        stays = tf.tensor_scatter_nd_update(
            tf.ones_like(count, tf.bool), changed[:, tf.newaxis], tf.zeros_like(changed, tf.bool)
        )
        cluster = clusters.value_rowids()
        old = tf.where(tf.gather(stays, cluster))[:, 0]
        target = tf.cumsum(count, exclusive=True)  # where each cluster's characters go
        to_old = tf.gather(target - clusters.row_starts(), tf.gather(cluster, old)) + old
        to_new = tf.gather(tf.gather(target, changed) - new.row_starts(), new.value_rowids()) + tf.range(
            tf.size(new.flat_values, tf.int64)
        )
        first = tf.gather(place, tf.gather(clusters.row_starts(), changed))
        last = tf.gather(place, tf.gather(clusters.row_limits(), changed) - 1)
        codes = tf.gather(clusters.flat_values, old)
        of_old = (_lower(codes) if self._lower_case else codes, tf.gather(place, old), tf.gather(place, old) + 1)
        of_new = (new.flat_values, tf.gather(first, new.value_rowids()), tf.gather(last, new.value_rowids()) + 1)
        targets = tf.concat([to_old, to_new], 0)[:, tf.newaxis]
        size = tf.reduce_sum(count)[tf.newaxis]
        code, start, end = (
            tf.scatter_nd(targets, tf.concat([a, b], 0), size) for a, b in zip(of_old, of_new, strict=True)
        )
        return _Characters(code, tf.repeat(row, count), start, end)

    # --- Words that were cut outside ---

    def tokenize_words(self, words: tf.RaggedTensor, continues: tf.RaggedTensor | None = None) -> GraphTokens:
        """The pieces of words that `Tokenizer.pre_tokenize` (or another morpheme analyser) cut, words as `surface`.

        Args:
            words: ragged string [B, (W)], normalised.
            continues: ragged bool [B, (W)]: the first piece of the word carries ##.

        Returns: ids, starts and ends, ragged int32 [B, (W), (P)]; offsets are characters of the word.
        """
        surfaces = tf.strings.unicode_decode(words.flat_values, "UTF-8")
        flags = tf.zeros_like(words.flat_values, tf.bool) if continues is None else continues.flat_values
        word, *tokens = self._pieces(surfaces, surfaces.flat_values, continues=flags)
        base = tf.cast(tf.gather(surfaces.row_starts(), word), tf.int32)
        ids, start, end = tokens
        pieces = _ragged(word, ids, start - base, end - base + 1, rows=tf.size(words.flat_values))
        return GraphTokens(*(words.with_flat_values(column) for column in pieces))

    # --- Words to pieces ---

    def _pieces(self, words: tf.RaggedTensor, codes: tf.Tensor, continues: tf.Tensor | None = None) -> tuple:
        """(word, id, first character, last character) of every piece; characters are places in `codes`, all words'."""
        strings = tf.strings.unicode_encode(words, "UTF-8")
        marks = 0 if continues is None else tf.cast(continues, tf.int32)
        if continues is not None:
            strings = tf.where(continues, _CONTINUES + strings, strings)
        # No piece begins with this, so that the word is unknown.
        strings = tf.where(words.row_lengths() > MAX_WORD_LENGTH, _SPECIAL, strings)
        ids, start, end = self._wordpiece.tokenize_with_offsets(strings)
        word = ids.value_rowids()
        ids, start, end = (tf.cast(column.flat_values, tf.int32) for column in (ids, start, end))

        # From bytes of a word, its mark included, to characters.
        width = 1 + tf.add_n([tf.cast(codes >= limit, tf.int32) for limit in (0x80, 0x800, 0x10000)])
        character_at = tf.repeat(tf.range(tf.size(codes)), width)
        byte_before = tf.concat([[0], tf.cumsum(width)], 0)
        mark = 0 if continues is None else tf.gather(marks, word)
        base = tf.gather(byte_before, tf.gather(words.row_starts(), word)) - mark
        begin = base + tf.maximum(start, mark)
        unknown = ids == self._unk_id  # stands for the whole word
        first = tf.where(unknown, tf.gather(words.row_starts(), word), _gather_cast(character_at, begin, unknown))
        last = tf.where(
            unknown, tf.gather(words.row_limits(), word) - 1, _gather_cast(character_at, base + end - 1, unknown)
        )
        return word, ids, tf.cast(first, tf.int32), tf.cast(last, tf.int32)


def _gather_cast(character_at: tf.Tensor, place: tf.Tensor, unknown: tf.Tensor) -> tf.Tensor:
    return tf.cast(tf.gather(character_at, tf.where(unknown, 0, place)), tf.int64)


def _differs_from_before(vector: tf.Tensor) -> tf.Tensor:
    """bool: the first element, and each that is not equal to the one before it."""
    return tf.concat([tf.ones_like(vector[:1], tf.bool), vector[1:] != vector[:-1]], 0)


def _words(kinds: tf.Tensor, characters: _Characters) -> tuple[tf.RaggedTensor, tf.RaggedTensor, tf.Tensor]:
    """(code points of each word, places of its characters, the text it is in). White space ends a word."""
    space = characters.code == 32
    alone = kinds & ALONE != 0
    after = _shifted(space | alone)
    begins = (after | alone | _differs_from_before(characters.row)) & ~space
    places = tf.where(~space)[:, 0]
    starts = tf.where(tf.gather(begins, places))[:, 0]
    by_word = tf.RaggedTensor.from_row_starts(places, starts)
    row = tf.gather(characters.row, tf.gather(places, starts))
    return tf.RaggedTensor.from_row_starts(tf.gather(characters.code, places), starts), by_word, row


def _shifted(flags: tf.Tensor) -> tf.Tensor:
    """Each element's predecessor; False for the first."""
    return tf.concat([tf.zeros_like(flags[:1]), flags[:-1]], 0)


def _joined_at_seams(
    characters: _Characters, row: tf.Tensor, ids: tf.Tensor, first: tf.Tensor, last: tf.Tensor, *, unk_id: int
) -> tuple:
    """(row, id, start, end): tokens that share an original character (one that NFC writes as two) become one [UNK]."""
    start, end = tf.gather(characters.start, first), tf.gather(characters.end, last)
    same_row = ~_differs_from_before(row)
    joins = same_row & (start < tf.concat([end[:1], end[:-1]], 0))
    token = tf.cumsum(tf.cast(~joins, tf.int32)) - 1
    count = tf.reduce_max(tf.concat([[-1], token], 0)) + 1
    size = tf.math.unsorted_segment_sum(tf.ones_like(ids), token, count)
    return (
        tf.boolean_mask(row, ~joins),
        tf.where(size > 1, unk_id, tf.boolean_mask(ids, ~joins)),
        tf.boolean_mask(start, ~joins),
        tf.math.unsorted_segment_max(end, token, count),
    )


def _ragged(row: tf.Tensor, ids: tf.Tensor, start: tf.Tensor, end: tf.Tensor, *, rows: tf.Tensor) -> GraphTokens:
    rows = tf.cast(rows, tf.int64)
    return GraphTokens(*(tf.RaggedTensor.from_value_rowids(column, row, rows) for column in (ids, start, end)))


# ----------------------------------------------------------------------------------------------------------------------
# Tables
# ----------------------------------------------------------------------------------------------------------------------


def _graph_vocabulary(tokenizer: Tokenizer) -> list[str]:
    """The pieces in the order of their ids, spelled so that only what `WordPiece` would find can be found."""

    def spelled(piece: str, place: int) -> str:
        if place in tokenizer.special_ids:
            return _SPECIAL + piece
        if piece.startswith("##"):
            return _CONTINUES + piece[2:] if len(piece) > 2 else _SPECIAL + piece
        return piece

    return [
        spelled(piece, place) for place, piece in enumerate(sorted(tokenizer.vocab, key=tokenizer.vocab.__getitem__))
    ]


def _lower(codes: tf.Tensor) -> tf.Tensor:
    table = tf.constant(_lower_table())
    known = codes < tf.size(table)
    return tf.where(known, tf.gather(table, tf.where(known, codes, 0)), codes)


@functools.cache
def _lower_table() -> np.ndarray:
    """Small forms that are one character, up to the last character that has one."""
    codes = list(range(0x1F000))
    return np.array([ord(low) if len(low := chr(code).lower()) == 1 else code for code in codes], np.int32)


@functools.cache
def kinds_of_characters(lower_case: bool, strip_accents: bool) -> np.ndarray:
    """int32 bits for U+0000 to U+3FFFF, and behind them U+E0000 to U+E0FFF; asked of the tokenizer itself."""
    plain = Tokenizer(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"], pre_tokenizer="none", strip_accents=strip_accents)
    codes = [*range(0x40000), *range(0xE0000, 0xE1000)]
    kinds = np.array([_kind(chr(code), plain.normalize) for code in codes], np.int32)
    kinds[0x130] |= CHANGES * lower_case
    ordinary = np.flatnonzero(kinds == 0)
    kinds[ordinary[_stand_alone(plain, [chr(codes[place]) for place in ordinary])]] |= ALONE
    return kinds


def _kind(character: str, normalize: Callable[[str], str]) -> int:
    category = unicodedata.category(character)
    if category in ("Cn", "Cs") or character == " ":  # without properties, or never decoded
        return 0
    if category[0] in "LNPS" and unicodedata.is_normalized("NFD", character):  # most: nothing can change them
        return JOINS * (character in _joining())
    normal = normalize(character)
    if normal == " ":
        return SPACE
    if not normal and not category.startswith("M"):
        return REMOVED
    return JOINS * (character in _joining()) | CHANGES * (normal != character)


def _stand_alone(plain: Tokenizer, characters: list[str]) -> np.ndarray:
    """bool: which characters are cut off from a letter on both sides."""
    words = plain.pre_tokenize(" ".join(f"a{character}a" for character in characters))
    return np.bincount([word.start // 4 for word in words], minlength=len(characters)) == 3


@functools.cache
def _joining() -> frozenset[str]:
    """Characters that NFC may join to the one before: jamo after the first, marks, and ends of what it takes apart."""
    jamo = {chr(code) for first, last in ((0x1161, 0x1175), (0x11A8, 0x11C2)) for code in range(first, last + 1)}
    every = [chr(code) for code in [*range(0x40000), *range(0xE0000, 0xE1000)]]
    marks = {character for character in every if unicodedata.combining(character)}
    tails = {mark for character in every for mark in unicodedata.normalize("NFD", character)[1:]}
    return frozenset(jamo | marks | tails)
