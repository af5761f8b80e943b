"""Learns a WordPiece vocabulary from a corpus.

The pieces learned are those that the tokenizer will look up: words are segmented with the tokenizer's own settings, so
a piece never crosses a morpheme boundary, and in "eojeol" mode 를 after a noun is learned as ##를.

`learn` has four steps: collect the floor (every syllable and character, so that every word can be composed); add
candidates (from tensorflow_text's WordPiece learner, or the most frequent whole morphemes); remove the least used
until the size is right; and, if there are too few, add more words and sub-words of the corpus.
"""

import collections
import functools
import itertools
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager

from kobert_tf2 import files, outputs
from kobert_tf2.errors import InputError
from kobert_tf2.progress import progress
from kobert_tf2.tokenization import unknown
from kobert_tf2.tokenization.pretrained import CONFIG_FILE, VOCAB_FILE
from kobert_tf2.tokenization.tokenizer import Tokenizer
from kobert_tf2.tokenization.wordpiece import MAX_WORD_LENGTH, WordPiece
from kobert_tf2.tokenization.words import Segmenter
from kobert_tf2.vocabulary import counting, coverage, report
from kobert_tf2.vocabulary.counting import CorpusWord, most_frequent_first
from kobert_tf2.vocabulary.wordpiece_learner import WordPieceLearner

SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
_LONGEST_WORD_FOR_MORE = 12
_UNKNOWN = "[UNK]"
_BERT_BASE = {
    "attention_probs_dropout_prob": 0.1,
    "hidden_act": "gelu",
    "hidden_dropout_prob": 0.1,
    "hidden_size": 768,
    "initializer_range": 0.02,
    "intermediate_size": 3072,
    "max_position_embeddings": 512,
    "num_attention_heads": 12,
    "num_hidden_layers": 12,
    "type_vocab_size": 2,
}
# The learner is asked for this many times the pieces wanted; the least used ones are then removed.
_CANDIDATES = 1.25


# --- Learning ---


def learn(
    counts: Mapping[CorpusWord, int],
    *,
    vocab_size: int,
    model: str = "wordpiece",
    min_frequency: int = 2,
    special_tokens: Sequence[str] = SPECIAL_TOKENS,
    num_unused: int = 0,
) -> list[str]:
    """A vocabulary of exactly `vocab_size` pieces, or fewer if the corpus does not have as many.

    `model` is "wordpiece" (sub-words) or "morpheme" (the most frequent whole words). The order is: special tokens,
    `[unused0]` ..., then the pieces, most used first. Words that occur less than `min_frequency` times contribute no
    pieces of their own, but their Hangul syllables are still included.
    """
    check_num_unused(num_unused, vocab_size)
    head = [*special_tokens, *(f"[unused{i}]" for i in range(num_unused))]
    room = vocab_size - len(head)
    if not counts:
        raise InputError("expected text to learn a vocabulary from, but the corpus has no words")
    if room < 2:
        raise InputError(f"vocab_size: expected more than the {len(head)} special tokens. Received: {vocab_size}")
    if model not in _MODELS:
        raise InputError(f"model: expected one of {', '.join(_MODELS)}. Received: {model!r}")
    frequent = most_frequent_first(item for item in _learnable(counts) if item[1] >= min_frequency)
    floor = _floor(_learnable(counts), min_frequency)[:room]
    pieces = {*floor, *_MODELS[model](frequent, room - len(floor))}
    while len(pieces) > room:
        used = _usage(_learnable(counts), pieces)
        # The least used go; only half of the excess, since their words then use other pieces, whose counts increase.
        ranked = sorted(pieces - set(floor), key=lambda piece: (used[piece], -len(piece), piece))
        excess = len(pieces) - room
        pieces -= set(ranked[: max(excess // 2, min(excess, 200))])
    pieces.update(_more(frequent, pieces, room - len(pieces)))
    used = _usage(_learnable(counts), pieces)
    return head + sorted(pieces, key=lambda piece: (-used[piece], piece))


def spell(surface: str, tag: str, continues: bool) -> str:
    """A piece as spelled in the vocabulary."""
    return ("##" if continues else "") + surface + (f"/{tag}" if tag else "")


def _can_be_found(surface: str, continues: bool) -> bool:
    """Whether the tokenizer can match the piece: a word-initial piece must not look like a continuation or a special
    token.
    """
    return continues or not (surface.startswith("##") or _looks_special(surface))


def _learnable(counts: Mapping[CorpusWord, int]) -> Iterator[tuple[CorpusWord, int]]:
    """The words that are not too long for the tokenizer. Iterated anew for each use, since they may be on disk."""
    return (item for item in counts.items() if len(item[0].surface) <= MAX_WORD_LENGTH)


def _floor(words: Iterable[tuple[CorpusWord, int]], min_frequency: int) -> list[str]:
    """Single characters, most frequent first: all Hangul syllables in both forms, and other characters if frequent.

    They have no tag: in a vocabulary with tags, rare morphemes are composed of them.
    """
    counts: collections.Counter[tuple[str, bool]] = collections.Counter()
    for word, count in words:
        for position, char in enumerate(word.surface):
            counts[char, word.continues or position > 0] += count
    for char in sorted({char for char, _ in counts if _is_syllable(char)}):
        for continues in (False, True):
            counts[char, continues] = max(counts[char, continues], min_frequency)
    kept = [form for form, count in counts.items() if count >= min_frequency]
    return [spell(char, "", continues) for char, continues in sorted(kept, key=lambda form: (-counts[form], form))]


def _whole_words(words: dict[CorpusWord, int], room: int) -> list[str]:
    """The most frequent words longer than one character (of any length if they have tags)."""
    whole = (
        word for word in words if (len(word.surface) > 1 or word.tag) and _can_be_found(word.surface, word.continues)
    )
    return [spell(*word) for word in itertools.islice(whole, room)]


def _subwords(words: dict[CorpusWord, int], room: int) -> list[str]:
    """The learner's pieces, somewhat more than there is room for."""
    found = WordPieceLearner(words).pieces(wanted=int(room * _CANDIDATES))
    found = [piece for piece in found if len(piece[0]) > 1 or piece[1]]
    return [spell(*piece) for piece in found if _can_be_found(piece[0], piece[2])]


_MODELS = {"wordpiece": _subwords, "morpheme": _whole_words}


def _usage(words: Iterable[tuple[CorpusWord, int]], pieces: Iterable[str]) -> collections.Counter[str]:
    """How often the tokenizer would use each piece for these words."""
    vocab = {piece: i for i, piece in enumerate([_UNKNOWN, *pieces])}
    wordpiece = WordPiece(vocab, unk_token=_UNKNOWN)
    used: collections.Counter[str] = collections.Counter()
    for word, count in words:
        for piece in wordpiece.cut(word.surface, tag=word.tag, continues=word.continues):
            used[piece.piece] += count
    return used


def _more(words: dict[CorpusWord, int], pieces: set[str], missing: int) -> list[str]:
    """The most frequent other sub-words of the corpus, used if there were too few candidates."""
    if missing <= 0:
        return []
    counts: collections.Counter[str] = collections.Counter()
    for word, count in words.items():
        surface = word.surface[:_LONGEST_WORD_FOR_MORE]
        for start, end in itertools.combinations(range(len(surface) + 1), 2):
            continues = word.continues or start > 0
            if (end - start > 1 or word.tag) and _can_be_found(surface[start:end], continues):
                counts[spell(surface[start:end], word.tag, continues)] += count
    new = (item for item in counts.items() if item[0] not in pieces)
    return [piece for piece, _ in sorted(new, key=lambda item: (-item[1], -len(item[0]), item[0]))[:missing]]


# --- From text files to a tokenizer folder ---

# Counts words, given (paths, tokenizer settings, `held_out`); see `counting.counted`.
Counter = Callable[[Sequence[str], dict, int], AbstractContextManager[tuple[Mapping[CorpusWord, int], list[str]]]]


def build(
    paths: Sequence[str],
    output_dir: str,
    *,
    settings: dict,
    vocab_size: int = 32000,
    model: str = "wordpiece",
    min_frequency: int = 2,
    num_unused: int = 0,
    special_style: str = "[CLS]",
    held_out: int = 100,
    num_workers: int = 1,
    counter: Counter | None = None,
) -> dict:
    """Learns a vocabulary from text files, evaluates it, and writes a tokenizer folder; returns the coverage.

    One line in `held_out`, chosen by its content, is not learned from but used for evaluation. After the evaluation,
    syllables that occur only in such lines are appended; they replace the least used pieces.

    Replaces a folder written by this function; raises `InputError` if other files have the names of its outputs.
    `counter` counts words by other means than `num_workers` processes on this machine.
    """
    check_num_unused(num_unused, vocab_size)
    _check_output(output_dir, paths)
    special = [token if special_style == "[CLS]" else f"<{token[1:-1]}>" for token in SPECIAL_TOKENS]
    asked = {"vocab_size": vocab_size, "model": model, "min_frequency": min_frequency, "num_unused": num_unused}
    counter = counter or functools.partial(counting.counted, num_workers=num_workers)
    with outputs.only_run(output_dir):
        with counter(paths, settings, held_out) as (counts, kept):
            tokenizer, found = _learned(counts, kept, settings, asked, special)
        with files.whole_folder(output_dir, overwrite=True) as folder:
            tokenizer.save_pretrained(folder)
            files.write_json(f"{folder}/coverage.json", found)
            report.write(f"{folder}/{report.FILE}", tokenizer, found, kept)
            files.write_json(f"{folder}/bert_config.json", {**_BERT_BASE, "vocab_size": len(tokenizer.vocab)})
    return found


def check_num_unused(num_unused: int, vocab_size: int) -> None:
    if not 0 <= num_unused < vocab_size:
        raise InputError(f"num_unused: expected 0 to below vocab_size, {vocab_size}, but got {num_unused}")


def _check_output(output_dir: str, paths: Sequence[str]) -> None:
    """Raises `InputError` if the outputs may not be written. A `bert_config.json` that the user has edited is not
    replaced.
    """
    names = (VOCAB_FILE, CONFIG_FILE, "coverage.json", "bert_config.json", report.FILE)
    outputs.refuse_inputs({"output_dir": [f"{output_dir}/{name}" for name in names]}, {"input_file": paths})
    what = "a folder that build_vocab wrote"
    outputs.check_folder(output_dir, names, what=what, is_ours=lambda path: outputs.is_signed(f"{path}/{CONFIG_FILE}"))
    what = "the bert_config.json as build_vocab writes it"
    outputs.check_file(f"{output_dir}/bert_config.json", what=what, is_ours=_is_bert_base)


def _is_bert_base(path: str) -> bool:
    return {**files.read_json(path, dict), "vocab_size": 0} == {**_BERT_BASE, "vocab_size": 0}


def _learned(
    counts: Mapping[CorpusWord, int], kept: list[str], settings: dict, asked: dict, special: list[str]
) -> tuple[Tokenizer, dict]:
    """Learns the tokenizer of a corpus; returns it and its coverage."""
    vocab_size = asked["vocab_size"]
    pieces = learn(counts, special_tokens=special, **asked)
    measured = coverage.measure(
        Tokenizer(pieces, **settings), progress(kept, "measuring", total=len(kept), unit="lines")
    )
    unknown.report("lines that were kept from learning", unknown=measured["unk_pieces"], pieces=measured["pieces"])
    seen = {char for word in counts for char in word.surface}
    normalize = Segmenter(**settings).normalize
    chars = {char for line in kept for char in normalize(line).text}
    syllables = sorted(char for char in chars - seen if _is_syllable(char))
    tokenizer = Tokenizer(_with_syllables(pieces, syllables, vocab_size), **settings)
    found = {
        "vocab_size": len(tokenizer.vocab),
        "vocab_size_asked": vocab_size,
        **{name: asked[name] for name in ("model", "min_frequency", "num_unused")},
        "corpus_words": sum(counts.values()),
        "distinct_words": len(counts),
        "held_out": measured,
        "unk_rate": measured["unk_rate"],
        "syllables_of_held_out_lines_alone": "".join(syllables),
        "fingerprint": tokenizer.fingerprint(),
    }
    return tokenizer, found


def _with_syllables(pieces: list[str], syllables: list[str], vocab_size: int) -> list[str]:
    """Adds both forms of each syllable, and removes as many of the least used sub-words as needed to fit."""
    new = [spell(char, "", continues) for char in syllables for continues in (False, True)]
    excess = max(len(pieces) + len(new) - vocab_size, 0)
    longer = [piece for piece in pieces if len(piece.removeprefix("##")) > 1 and not _looks_special(piece)]
    out = set(longer[len(longer) - excess :])
    return ([piece for piece in pieces if piece not in out] + new)[:vocab_size]


def _is_syllable(char: str) -> bool:
    return "가" <= char <= "힣"


def _looks_special(surface: str) -> bool:
    return re.fullmatch(r"[\[<]\w+[\]>]", surface) is not None
