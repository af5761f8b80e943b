"""Measures text to ids against its floors, in one run on the same text.

    python tools/benchmark_text.py --input_file=corpus.txt --vocab_file=vocab.txt

Two floors: Mecab mode against MeCab's own `Tagger.parse` (which only writes its analysis), plain mode against a
straight Python port of what the original BERT does (clean, split, cut: character by character, no offsets).
Everything is timed in turns, in the CPU time of this process, and the best turn of each counts, so that a busy
machine changes the ratios little. Several processes are timed by the clock: that figure means something only on
a machine that is otherwise idle.

Josa stripping is timed on words (eojeols) of the same text, by a stripper that knows no sentence yet, once on words
spread over all of it and once on as many in a row, against what Mecab needs for all of the text once: `Tagger.parse`,
and `MorphemeAnalyser.analyse`, which also gives the morphemes and their offsets.
"""

import os
import pickle
import re
import time
import unicodedata
from collections.abc import Callable

from absl import flags

from kobert_tf2 import command_line, files
from kobert_tf2.errors import InputError
from kobert_tf2.reading.josa import JosaStripper
from kobert_tf2.tokenization.tokenizer import Tokenizer

FLAGS = flags.FLAGS

flags.DEFINE_string(
    "input_file", None, "Text, a line each, or a KorQuAD/SQuAD file (.json): its contexts.", required=True
)
flags.DEFINE_string("vocab_file", None, "A vocab.txt.", required=True)
flags.DEFINE_integer("megabytes", 2, "So much of the text is timed in one process.", lower_bound=1)
flags.DEFINE_integer("josa_words", 10_000, "So many words have their particles taken off.", lower_bound=1)
flags.DEFINE_integer("turns", 7, "How often each is timed.", lower_bound=1)
flags.DEFINE_integer("num_workers", 2, "Processes of the scaling measurement; 1 leaves it out.", lower_bound=1)
flags.DEFINE_integer("scaling_megabytes", 60, "At most so much of the text is timed in processes.", lower_bound=1)


def main() -> dict:
    every_text = read_texts(FLAGS.input_file)
    texts = head_of(every_text, FLAGS.megabytes)
    megabytes = size_of(texts)
    mecab = Tokenizer(FLAGS.vocab_file)
    plain = Tokenizer(FLAGS.vocab_file, pre_tokenizer="none")
    tagger, original = raw_tagger(mecab), OriginalTokenizer(plain.vocab, plain.unk_token)
    seconds = best_of_turns(
        {
            "tagger_parse": lambda texts: [tagger.parse(text) for text in texts],
            "mecab_ids": mecab.encode_ids_batch,
            "mecab_tokens": mecab.encode_batch,
            "mecab_ids_one_by_one": lambda texts: [mecab.encode_ids(text) for text in texts],
            # The offsets of one text are made when they are asked for.
            "mecab_tokens_one_by_one": lambda texts: [mecab.encode(text).ends for text in texts],
            "original_port": lambda texts: [original.tokenize(text) for text in texts],
            "plain_ids": plain.encode_ids_batch,
            "plain_tokens": plain.encode_batch,
        },
        texts,
        FLAGS.turns,
    )
    rates = {name: round(megabytes / taken, 3) for name, taken in seconds.items()}
    ratios = {
        "mecab_ids_to_tagger_parse": rates["mecab_ids"] / rates["tagger_parse"],
        "mecab_tokens_to_tagger_parse": rates["mecab_tokens"] / rates["tagger_parse"],
        "mecab_ids_one_by_one_to_tagger_parse": rates["mecab_ids_one_by_one"] / rates["tagger_parse"],
        "mecab_tokens_one_by_one_to_tagger_parse": rates["mecab_tokens_one_by_one"] / rates["tagger_parse"],
        "plain_ids_to_original_port": rates["plain_ids"] / rates["original_port"],
        "plain_tokens_to_original_port": rates["plain_tokens"] / rates["original_port"],
    }
    summary = {"megabytes": round(megabytes, 3), "megabytes_per_second": rates}
    summary["ratios"] = {name: round(ratio, 3) for name, ratio in ratios.items()}
    summary["josa"] = josa_ratios(mecab.analyser, tagger, texts)
    if FLAGS.num_workers > 1:
        summary["scaling"] = scaling(Tokenizer(FLAGS.vocab_file), tagger, head_of(every_text, FLAGS.scaling_megabytes))
    return summary


def read_texts(path: str) -> list[str]:
    """Lines, or the contexts of a reading file."""
    if not path.endswith(".json"):
        return [line for line in files.read_lines(path) if line.strip()]
    content = files.read_json(path, dict)
    try:
        return [paragraph["context"] for article in content["data"] for paragraph in article["paragraphs"]]
    except (KeyError, TypeError) as error:
        raise InputError(
            f"{path}: expected data, paragraphs and context as in KorQuAD, but {error} is missing"
        ) from None


def size_of(texts: list[str]) -> float:
    return sum(len(text.encode("utf-8")) for text in texts) / 1e6


def head_of(texts: list[str], megabytes: int) -> list[str]:
    """The first texts up to a size."""
    head, size = [], 0.0
    for text in texts:
        if size >= megabytes:
            break
        head.append(text)
        size += len(text.encode("utf-8")) / 1e6
    if not head:
        raise InputError(f"{FLAGS.input_file}: expected text to measure with, but there is none")
    return head


def best_of_turns(measured: dict[str, Callable[[list[str]], object]], texts: list[str], turns: int) -> dict[str, float]:
    """Seconds of CPU time: the text goes in slices of some milliseconds, and of each slice the best turn counts.

    A first turn, which fills the caches, does not count.
    """
    total = dict.fromkeys(measured, 0.0)
    for texts_of_slice in slices_of(texts):
        best = dict.fromkeys(measured, float("inf"))
        for turn in range(turns + 1):
            for name, call in measured.items():
                began = time.process_time()
                call(texts_of_slice)
                if turn:
                    best[name] = min(best[name], time.process_time() - began)
        total = {name: total[name] + best[name] for name in measured}
    return total


def slices_of(texts: list[str]) -> list[list[str]]:
    slices, size = [[]], 0
    for text in texts:
        if size > 20_000:
            slices.append([])
            size = 0
        slices[-1].append(text)
        size += len(text)
    return slices


def josa_ratios(analyser, tagger, texts: list[str]) -> dict:
    """Times of josa stripping on some words of the texts, in times of one analysis of all of them."""
    words = [(text, word.start(), word.end()) for text in texts for word in re.finditer(r"\S+", text)]
    step = max(1, len(words) // FLAGS.josa_words)
    measured = {
        "tagger_parse": lambda: [tagger.parse(text) for text in texts],
        "analyse": lambda: [analyser.analyse(text) for text in texts],
        "words_spread": lambda: JosaStripper(analyser).batch(words[::step][: FLAGS.josa_words]),
        "words_in_a_row": lambda: JosaStripper(analyser).batch(words[: FLAGS.josa_words]),
    }
    seconds = dict.fromkeys(measured, float("inf"))
    for _ in range(FLAGS.turns):
        for name, call in measured.items():
            began = time.process_time()
            call()
            seconds[name] = min(seconds[name], time.process_time() - began)
    ratios = {
        f"{name}_to_{floor}": seconds[name] / seconds[floor]
        for name in ("words_spread", "words_in_a_row")
        for floor in ("tagger_parse", "analyse")
    }
    return {
        "words": min(len(words), FLAGS.josa_words),
        "of_words": len(words),
        "seconds": {name: round(taken, 3) for name, taken in seconds.items()},
        "ratios": {name: round(ratio, 3) for name, ratio in ratios.items()},
    }


def scaling(tokenizer: Tokenizer, tagger, texts: list[str]) -> dict:
    """Seconds by the clock in one process and in several, from the first text on: the starting of the processes and
    what every table must learn anew included."""
    began = time.perf_counter()
    for text in texts:
        tagger.parse(text)
    seconds = {"tagger_parse": time.perf_counter() - began}
    for workers in (1, FLAGS.num_workers):
        fresh = pickle.loads(pickle.dumps(tokenizer))
        began = time.perf_counter()
        fresh.encode_batch(texts, num_workers=workers)
        seconds[f"workers_{workers}"] = time.perf_counter() - began
    return {
        "megabytes": round(size_of(texts), 3),
        "cpu_count": os.cpu_count(),
        "load_before": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        "seconds": {name: round(taken, 2) for name, taken in seconds.items()},
        "tokens_to_tagger_parse": round(seconds["tagger_parse"] / seconds["workers_1"], 3),
        "times_as_fast": round(seconds["workers_1"] / seconds[f"workers_{FLAGS.num_workers}"], 3),
    }


def raw_tagger(tokenizer: Tokenizer):
    """MeCab as anyone would open it."""
    import MeCab

    folder = tokenizer.analyser.dictionary
    return MeCab.Tagger(f'-r "{folder}/dicrc" -d "{folder}"')


class OriginalTokenizer:
    """What the original BERT's Python does for a cased vocabulary, step by step, written for this measurement."""

    def __init__(self, vocab: dict[str, int], unk_token: str):
        self.vocab, self.unk_token = vocab, unk_token

    def tokenize(self, text: str) -> list[str]:
        pieces = []
        for word in self.spaced(self.cleaned(text)).split():
            for part in self.split_at_punctuation(word):
                pieces.extend(self.cut(part))
        return pieces

    def cleaned(self, text: str) -> str:
        kept = []
        for char in text:
            if ord(char) in (0, 0xFFFD) or self.is_control(char):
                continue
            kept.append(" " if self.is_space(char) else char)
        return "".join(kept)

    def spaced(self, text: str) -> str:
        """Ideographs stand alone."""
        return "".join(f" {char} " if self.is_ideograph(ord(char)) else char for char in text)

    def split_at_punctuation(self, word: str) -> list[str]:
        parts, fresh = [], True
        for char in word:
            if self.is_punctuation(char):
                parts.append(char)
                fresh = True
            elif fresh:
                parts.append(char)
                fresh = False
            else:
                parts[-1] += char
        return parts

    def cut(self, word: str) -> list[str]:
        if len(word) > 100:
            return [self.unk_token]
        pieces, start = [], 0
        while start < len(word):
            end = len(word)
            while start < end and ("##" if start else "") + word[start:end] not in self.vocab:
                end -= 1
            if start == end:
                return [self.unk_token]
            pieces.append(("##" if start else "") + word[start:end])
            start = end
        return pieces

    def is_space(self, char: str) -> bool:
        return char in " \t\n\r" or unicodedata.category(char) == "Zs"

    def is_control(self, char: str) -> bool:
        return char not in "\t\n\r" and unicodedata.category(char) in ("Cc", "Cf")

    def is_punctuation(self, char: str) -> bool:
        code = ord(char)
        if 33 <= code <= 47 or 58 <= code <= 64 or 91 <= code <= 96 or 123 <= code <= 126:
            return True
        return unicodedata.category(char).startswith("P")

    def is_ideograph(self, code: int) -> bool:
        blocks = (
            (0x4E00, 0x9FFF),
            (0x3400, 0x4DBF),
            (0x20000, 0x2A6DF),
            (0x2A700, 0x2B73F),
            (0x2B740, 0x2B81F),
            (0x2B820, 0x2CEAF),
            (0xF900, 0xFAFF),
            (0x2F800, 0x2FA1F),
        )
        return any(first <= code <= last for first, last in blocks)


if __name__ == "__main__":
    command_line.run(main)
