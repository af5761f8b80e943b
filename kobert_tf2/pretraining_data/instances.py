"""Converts documents to instances for masked LM and next sentence prediction, as the original
create_pretraining_data.py does.

Choosing a sentence pair needs only numbers: which sentences, and which of their tokens. So a block of documents is one
flat array of ids, and an instance is five numbers that refer to it. All documents of the block, and all of their
`dupe_factor` passes, are packed in parallel, and instances are gathered and masked as whole arrays.

As in the original:

- Sentences are added to a chunk until it reaches the target length: `max_seq_length` - 3, or with probability
  `short_seq_prob` a random shorter one.
- The chunk is split into A and B at a random sentence. In half of the cases (always if the chunk has only one
  sentence) B is replaced by text from a random place in another document, and the unused sentences are used again.
- Pairs that are too long lose tokens of the longer half at random ends.
- `round(masked_lm_prob * length)` tokens, at least one and at most `max_predictions_per_seq`, are predicted: 80 % of
  them become [MASK], 10 % stay and 10 % become a random piece.

Differences from the original:

- The other document comes from a bounded pool instead of the whole corpus: the block's own documents and those of
  `PARTNERS` other blocks, drawn from the seed. Over the corpus all blocks are used equally often (`partners` are
  rotations), so every document is equally likely to provide a random next sentence, as in the original. Only the
  documents that can be paired with a given one are limited, to some thousands, which no model can notice after the
  shuffle. A document is never paired with itself: if there is no other, B always follows A (the original gives up
  after ten tries and labels the document's own sentences as random).
- [UNK] is not predicted, and neither [UNK] nor other special tokens are drawn as random pieces; the original does
  both.
- A whole word never extends across [SEP]. If truncation removed the beginning of a word, the original adds the rest of
  it to the last word of A.
"""

import dataclasses
import itertools
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np

from kobert_tf2.errors import InputError
from kobert_tf2.pretraining_data import packing
from kobert_tf2.tokenization.encoding import EOJEOL, WORD, Encodings
from kobert_tf2.tokenization.tokenizer import Tokenizer

MASK_UNITS = ("token", "word", "morpheme", "pieces")
# The number of other blocks from whose documents a block also takes random next sentences.
PARTNERS = 7
_ROWS_AT_ONCE = 2048


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings:
    """Settings for making instances; names and defaults are those of the original's flags."""

    max_seq_length: int = 128
    max_predictions_per_seq: int = 20
    masked_lm_prob: float = 0.15
    short_seq_prob: float = 0.1
    dupe_factor: int = 10
    mask_unit: str = "token"
    pack_sequences: bool = False

    def __post_init__(self) -> None:
        for name, least, most in (
            ("max_seq_length", 5, 1 << 16),
            ("max_predictions_per_seq", 1, 1 << 16),
            ("dupe_factor", 1, 10_000),
        ):
            value = getattr(self, name)
            if type(value) is not int or value > most:
                raise InputError(f"{name}: expected a whole number, at most {most:,}, but got {value!r}")
            if value < least:
                raise InputError(f"{name}: expected at least {least}, but got {value}")
        for name in ("masked_lm_prob", "short_seq_prob"):
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(f"{name}: expected a probability from 0 to 1, but got {getattr(self, name)}")
        if self.mask_unit not in MASK_UNITS:
            raise InputError(f"mask_unit: expected one of {', '.join(MASK_UNITS)}, but got {self.mask_unit!r}")
        if self.max_predictions_per_seq > self.max_seq_length:
            raise InputError(
                f"max_predictions_per_seq: expected at most max_seq_length, {self.max_seq_length}, "
                f"but got {self.max_predictions_per_seq}"
            )


def mask_unit_of(mask_unit: str | None, do_whole_word_mask: bool | None) -> str:
    """The masking unit that two flags select: --do_whole_word_mask groups by ##, whatever the tokenizer's
    `continuation`.
    """
    if not do_whole_word_mask:
        return mask_unit or "token"
    if mask_unit == "token":
        raise InputError("--do_whole_word_mask and --mask_unit=token contradict each other; give one of them")
    return mask_unit or "pieces"


class Pieces(NamedTuple):
    """The parts of a vocabulary that are needed to make instances."""

    pad: int
    cls: int
    sep: int
    mask: int
    special: np.ndarray  # bool [vocabulary]

    @classmethod
    def of(cls, tokenizer: Tokenizer) -> "Pieces":
        special = np.zeros(len(tokenizer.vocab), bool)
        special[list(tokenizer.special_ids)] = True
        return cls(tokenizer.pad_id, tokenizer.cls_id, tokenizer.sep_id, tokenizer.mask_id, special)


# ----------------------------------------------------------------------------------------------------------- documents


@dataclasses.dataclass(frozen=True)
class Documents:
    """Tokenized documents as flat arrays.

    Sentence i consists of the tokens from `sentence_starts[i]` up to `sentence_starts[i + 1]`, at least one; document i
    of the sentences from `document_starts[i]` up to `document_starts[i + 1]`, at least one. `begins` marks the tokens
    that begin a masking unit.
    """

    ids: np.ndarray  # int32 [tokens]
    begins: np.ndarray  # bool [tokens]
    sentence_starts: np.ndarray  # int64 [sentences + 1]
    document_starts: np.ndarray  # int64 [documents + 1]

    def __len__(self) -> int:
        return len(self.document_starts) - 1

    @classmethod
    def join(cls, several: list["Documents"]) -> "Documents":
        return cls(
            np.concatenate([one.ids for one in several]),
            np.concatenate([one.begins for one in several]),
            _starts(np.concatenate([np.diff(one.sentence_starts) for one in several])),
            _starts(np.concatenate([np.diff(one.document_starts) for one in several])),
        )


def _starts(lengths: np.ndarray) -> np.ndarray:
    return np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])


class DocumentTokenizer:
    """Converts sentences to ids and marks the beginnings of masking units; each sentence is analysed once.

    A "word" is a piece with the ## pieces after it: an eojeol, or a word of plain BERT. With `continuation="morpheme"`,
    where ## is used only inside a morpheme, words are determined by white space instead. Likewise a "morpheme" is
    determined by ## if possible, otherwise by the analyser. "pieces" always groups by ##, as the original's
    --do_whole_word_mask does, whatever the tokenizer's setting.
    """

    def __init__(self, tokenizer: Tokenizer, *, mask_unit: str):
        settings = tokenizer.settings()
        if mask_unit == "morpheme" and settings["pre_tokenizer"] != "mecab":
            raise InputError(
                "mask_unit: expected token or word, for this tokenizer knows no morphemes, but got 'morpheme'"
            )
        by_morpheme = settings["pre_tokenizer"] == "mecab" and settings["continuation"] == "morpheme"
        told_by_pieces = mask_unit == "pieces" or (mask_unit == "morpheme") == by_morpheme
        self._tokenizer = tokenizer
        self._unit = "pieces" if mask_unit != "token" and told_by_pieces else mask_unit

    def documents(self, documents: list[list[str]]) -> Documents:
        """Tokenizes documents, given as lists of sentences. Sentences without tokens, and documents without sentences,
        are left out.
        """
        encodings = self._tokenizer.encode_texts(list(itertools.chain.from_iterable(documents)))
        lengths = np.diff(encodings.rows)
        document_of = np.repeat(np.arange(len(documents)), list(map(len, documents)))
        kept = np.bincount(document_of[lengths > 0], minlength=len(documents))
        sentence_starts = _starts(lengths[lengths > 0])
        begins = self._begins(encodings, sentence_starts)
        return Documents(encodings.ids, begins, sentence_starts, _starts(kept[kept > 0]))

    def _begins(self, encodings: Encodings, sentence_starts: np.ndarray) -> np.ndarray:
        if self._unit == "token":
            return np.ones(len(encodings.ids), bool)
        if self._unit != "pieces":
            return encodings.begins >= (WORD if self._unit == "morpheme" else EOJEOL)
        begins = ~self._tokenizer.is_continuation[encodings.ids]
        begins[sentence_starts[:-1]] = True
        return begins


def partners(block: int, *, blocks: int, rng: np.random.Generator) -> list[int]:
    """The blocks whose documents `block` also uses. If `rng` is in the same state for all blocks, each is used by
    `PARTNERS` others.
    """
    shifts: Iterable[int] = 1 + rng.permutation(blocks - 1)[:PARTNERS] if blocks > 1 else []
    return [int(block + shift) % blocks for shift in shifts]


# ------------------------------------------------------------------------------------------------------------- packing


class Spans(NamedTuple):
    """Instances as ranges of a flat array of ids: the start and end of A and of B, int64 [instances]."""

    a_start: np.ndarray
    a_end: np.ndarray
    b_start: np.ndarray
    b_end: np.ndarray
    is_random: np.ndarray  # bool [instances]

    def take(self, rows: np.ndarray) -> "Spans":
        return Spans(*(array[rows] for array in self))


def pack(pool: Documents, own: int, settings: Settings, rng: np.random.Generator) -> Spans:
    """The sentence pairs of the first `own` documents of `pool`, `dupe_factor` times, with random next sentences from
    the whole pool. A pool of one document has no random next sentences.

    Each row is one pass over one document. In each round, every row with sentences left makes one pair, so a round
    takes a few array operations for any number of documents. `first` is the row's next sentence.
    """
    alone = len(pool) == 1
    if alone and len(pool.sentence_starts) == 2:
        return _halves_of_a_sentence(pool, settings, rng)
    document = np.tile(np.arange(own), settings.dupe_factor)
    first, last = pool.document_starts[document], pool.document_starts[document + 1]
    target = _target_lengths(len(document), settings, rng)
    rounds = []
    while len(document):
        end = _reach(pool, first, target, last)
        if alone:
            end = _in_pairs(first, end, last)
        middle = first + _cut_points(end - first, rng)
        is_random = (middle == end) | (rng.random(len(first)) < 0.5)
        if alone:
            is_random = np.zeros(len(first), bool)
            b_first, b_end = middle, end
        else:
            a_length = pool.sentence_starts[middle] - pool.sentence_starts[first]
            other_first, other_end = _elsewhere(pool, document, target - a_length, rng)
            b_first, b_end = np.where(is_random, other_first, middle), np.where(is_random, other_end, end)
        starts = pool.sentence_starts
        rounds.append(Spans(starts[first], starts[middle], starts[b_first], starts[b_end], is_random))
        first = np.where(is_random, middle, end)  # sentences replaced by a random next sentence are used again
        going_on = first < last
        document, first, last, target = (row[going_on] for row in (document, first, last, target))
    return _truncated(Spans(*map(np.concatenate, zip(*rounds, strict=True))), settings.max_seq_length - 3, rng)


def _halves_of_a_sentence(pool: Documents, settings: Settings, rng: np.random.Generator) -> Spans:
    """The pairs for a corpus of one sentence: its first part followed by the rest; none if it has only one token."""
    length = len(pool.ids)
    middle = rng.integers(1, length, settings.dupe_factor) if length > 1 else np.empty(0, np.int64)
    begin, end = np.zeros_like(middle), np.full_like(middle, length)
    return _truncated(Spans(begin, middle, middle, end, np.zeros(len(middle), bool)), settings.max_seq_length - 3, rng)


def _in_pairs(first: np.ndarray, end: np.ndarray, last: np.ndarray) -> np.ndarray:
    """Adjusts the ends of chunks so that each has at least two sentences and never leaves exactly one, which would have
    no next sentence.
    """
    end = np.minimum(np.maximum(end, first + 2), last)
    return end + np.where(last - end == 1, np.where(end - first >= 3, -1, 1), 0)


def _target_lengths(rows: int, settings: Settings, rng: np.random.Generator) -> np.ndarray:
    longest = settings.max_seq_length - 3
    short = rng.random(rows) < settings.short_seq_prob
    return np.where(short, rng.integers(2, longest + 1, rows), longest)


def _reach(pool: Documents, first: np.ndarray, tokens: np.ndarray, last: np.ndarray) -> np.ndarray:
    """The end of the shortest run of sentences from `first`, at least one, with this many tokens; at most `last`."""
    goal = pool.sentence_starts[first] + np.maximum(tokens, 1)
    return np.minimum(np.searchsorted(pool.sentence_starts, goal), last)


def _cut_points(sentences: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The number of a chunk's sentences that form A: from 1 up to all but one, or 1 if there is only one."""
    return rng.integers(1, np.maximum(sentences, 2))


def _elsewhere(
    pool: Documents, document: np.ndarray, tokens: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Sentences of another document, from a random one on, up to this many tokens or the end of the document."""
    other = rng.integers(0, len(pool) - 1, len(document))
    other = other + (other >= document)
    last = pool.document_starts[other + 1]
    first = rng.integers(pool.document_starts[other], last)
    return first, _reach(pool, first, tokens, last)


def _truncated(spans: Spans, longest: int, rng: np.random.Generator) -> Spans:
    """Removes tokens one at a time from the longer half (from B if both are equal), each at a random end.

    This is equivalent to removing the surplus of the longer half, then tokens from both in turn, B first. Of k tokens
    removed at random ends, the number removed at the front is binomial.
    """
    a, b = spans.a_end - spans.a_start, spans.b_end - spans.b_start
    excess = np.maximum(a + b - longest, 0)
    surplus = np.minimum(np.abs(a - b), excess)
    in_turn = excess - surplus
    from_a = np.where(a > b, surplus, 0) + in_turn // 2
    from_b = np.where(b > a, surplus, 0) + (in_turn + 1) // 2
    a_front, b_front = rng.binomial(from_a, 0.5), rng.binomial(from_b, 0.5)
    return spans._replace(
        a_start=spans.a_start + a_front,
        a_end=spans.a_end - (from_a - a_front),
        b_start=spans.b_start + b_front,
        b_end=spans.b_end - (from_b - b_front),
    )


# ------------------------------------------------------------------------------------------------------------- masking


def make_instances(
    own: Documents, others: list[Documents], pieces: Pieces, settings: Settings, rng: np.random.Generator
) -> Iterator[dict[str, np.ndarray]]:
    """Yields feature tables of all instances of a block's documents, shuffled, `_ROWS_AT_ONCE` rows at a time.

    Each contains `input_ids input_mask segment_ids` [rows, max_seq_length], `masked_lm_positions masked_lm_ids
    masked_lm_weights` [rows, max_predictions_per_seq] and `next_sentence_labels` [rows, 1] (1: random), padded with 0
    as in the original. With `pack_sequences` the rows hold several instances each, see `packing`.
    """
    if not len(own):
        return
    pool = Documents.join([own, *others])
    spans = pack(pool, len(own), settings, rng)
    order = rng.permutation(len(spans.is_random))
    for start in range(0, len(order), _ROWS_AT_ONCE):
        table = _instances(pool, spans.take(order[start : start + _ROWS_AT_ONCE]), pieces, settings, rng)
        yield packing.pack_rows(table) if settings.pack_sequences else table


def _instances(
    pool: Documents, spans: Spans, pieces: Pieces, settings: Settings, rng: np.random.Generator
) -> dict[str, np.ndarray]:
    ids, begins, text = _gathered(pool, spans, pieces, settings.max_seq_length)
    length = text.sum(axis=1) + 3
    column = np.arange(settings.max_seq_length)
    second = (column >= (spans.a_end - spans.a_start + 2)[:, None]) & (column < length[:, None])
    wanted = np.clip(np.rint(length * settings.masked_lm_prob), 1, settings.max_predictions_per_seq).astype(np.int64)
    candidates = text & ~pieces.special[ids]
    if settings.mask_unit == "token":
        chosen = choose_tokens(candidates, wanted, rng)
    else:
        chosen = choose_units(candidates, begins, wanted, rng)
    return {
        **_masked(ids, chosen, pieces, settings, rng),
        "input_mask": (column < length[:, None]).astype(np.uint8),
        "segment_ids": second.astype(np.uint8),
        "next_sentence_labels": spans.is_random[:, None].astype(np.uint8),
    }


def _gathered(pool: Documents, spans: Spans, pieces: Pieces, width: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """[CLS] A [SEP] B [SEP] and padding: ids, beginnings of masking units, and the mask of A and B: [rows, width]."""
    column = np.arange(width)
    a_end = (spans.a_end - spans.a_start + 1)[:, None]  # the column of the first [SEP]
    b_end = a_end + (spans.b_end - spans.b_start + 1)[:, None]  # the column of the second [SEP]
    in_b = column > a_end
    text = (column > 0) & (column != a_end) & (column < b_end)
    source = np.where(in_b, spans.b_start[:, None] - a_end, spans.a_start[:, None]) + (column - 1)
    source[~text] = 0
    ids, begins = pool.ids[source], pool.begins[source]
    begins[(column == 1) | (column == a_end + 1)] = True
    ids[~text] = pieces.pad
    ids[:, 0] = pieces.cls
    rows = np.arange(len(ids))
    ids[rows, a_end[:, 0]] = ids[rows, b_end[:, 0]] = pieces.sep
    return ids, begins, text


def choose_tokens(candidates: np.ndarray, wanted: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Chooses `wanted[i]` random candidates of row i, or all if there are fewer; bool [rows, width]."""
    key = _random_keys(candidates.shape, rng)
    key[~candidates] = np.iinfo(key.dtype).max
    last = np.take_along_axis(np.sort(key, axis=1), wanted[:, None] - 1, axis=1)
    return (key <= last) & candidates


def _random_keys(shape: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """Random numbers that are distinct within a row, since their low bits are the column."""
    bits = int(shape[1]).bit_length()
    random = rng.integers(0, 1 << (32 - bits), shape, np.uint32)
    return (random << np.uint32(bits)) | np.arange(shape[1], dtype=np.uint32)


def choose_units(
    candidates: np.ndarray, begins: np.ndarray, wanted: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """Chooses whole units in random order, up to `wanted` tokens; a unit that would exceed it is skipped.

    `begins` marks where units begin; the candidates of a unit are chosen together. Returns bool [rows, width].
    """
    rows, width = candidates.shape
    unit = np.cumsum(begins, axis=1) - begins[:, :1]
    flat = unit + np.arange(rows)[:, None] * width
    size = np.bincount(flat[candidates], minlength=rows * width).reshape(rows, width)
    order = np.argsort(_random_keys((rows, width), rng), axis=1)
    taken = np.zeros((rows, width), bool)
    left = wanted.copy()
    every_row = np.arange(rows)
    for column in order[:, :width].T:
        fits = (size[every_row, column] > 0) & (size[every_row, column] <= left)
        taken[every_row, column] = fits
        left -= np.where(fits, size[every_row, column], 0)
    return np.take_along_axis(taken, unit, axis=1) & candidates


def _masked(
    ids: np.ndarray, chosen: np.ndarray, pieces: Pieces, settings: Settings, rng: np.random.Generator
) -> dict[str, np.ndarray]:
    """The ids with 80 % of the chosen tokens masked and 10 % replaced, and the labels with the original tokens."""
    rows, column = np.nonzero(chosen)
    labels = ids[rows, column]
    draw = rng.random(len(rows))
    ordinary = np.flatnonzero(~pieces.special).astype(ids.dtype)
    random = ordinary[rng.integers(0, len(ordinary), len(rows))]
    ids[rows, column] = np.where(draw < 0.8, pieces.mask, np.where(draw < 0.9, labels, random))
    predictions = np.bincount(rows, minlength=len(ids))
    place = np.arange(len(rows)) - np.repeat(_starts(predictions)[:-1], predictions)
    shape = (len(ids), settings.max_predictions_per_seq)
    table = {"input_ids": ids}
    for name, values, dtype in (
        ("masked_lm_positions", column, np.int32),
        ("masked_lm_ids", labels, np.int32),
        ("masked_lm_weights", 1.0, np.float32),
    ):
        table[name] = np.zeros(shape, dtype)
        table[name][rows, place] = values
    return table
