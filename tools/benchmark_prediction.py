"""Questions answered per second, one at a time and in bulk, beside transformers on the same weights and questions.

    python tools/benchmark_prediction.py --size=4x512 --vocab_file=vocab.txt --data_file=KorQuAD_v1.0_dev.json

Weights are random: speed does not depend on them. Both sides do the whole work, strings in and answers out, by turns,
and the ratio of the medians is what to look at. Each has a process of its own: TensorFlow and torch's triton bring an
LLVM each, and the second to be loaded ends the process. transformers runs as its own question-answering examples do:
fast tokenizer, overflowing windows, batches padded to their longest row, argmax over valid spans.
"""

import importlib.util
import multiprocessing
import statistics
import sys
import tempfile
import time
from typing import NamedTuple

import numpy as np
from absl import flags

from kobert_tf2 import command_line

FLAGS = flags.FLAGS
flags.DEFINE_enum("size", "4x512", ["4x512", "base"], "Layers x width of the model; base is 12x768.")
flags.DEFINE_enum("precision", "float32", ["float32", "bfloat16"], "Of both sides.")
flags.DEFINE_string("vocab_file", None, "A vocab.txt for the plain tokenizer; without one, syllables of the questions.")
flags.DEFINE_string("data_file", None, "A KorQuAD file; without one, questions that the package makes.")
flags.DEFINE_integer("questions", 128, "How many in bulk.")
flags.DEFINE_integer("alone", 20, "How many one at a time.")
flags.DEFINE_integer("rounds", 3, "How often each side measures.")
flags.DEFINE_integer("max_seq_length", 384, "Tokens in a window.")
flags.DEFINE_integer("doc_stride", 128, "How many tokens further the next window begins.")
flags.DEFINE_integer("batch_size", 32, "Windows in a batch of transformers.")

SIZES = {
    "4x512": {"hidden_size": 512, "num_hidden_layers": 4, "num_attention_heads": 8, "intermediate_size": 2048},
    "base": {"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12, "intermediate_size": 3072},
}


def read_pairs() -> list[tuple[str, str]]:
    """(question, context), spread over the file so that lengths are those of the whole."""
    from kobert_tf2 import mrc, sample_data

    if FLAGS.data_file:
        pairs = [(question.question, question.context) for question in mrc.read_squad(FLAGS.data_file)]
    else:
        articles = sample_data.korquad(FLAGS.questions, seed=0)["data"]
        pairs = [(qa["question"], p["context"]) for a in articles for p in a["paragraphs"] for qa in p["qas"]]
    return pairs[:: max(1, len(pairs) // FLAGS.questions)][: FLAGS.questions]


def make_model(folder: str, pairs: list[tuple[str, str]]) -> None:
    """Writes a model directory with random weights, which both sides load."""
    import kobert_tf2 as kb

    syllables = sorted({character for pair in pairs for text in pair for character in text if not character.isspace()})
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    vocab = FLAGS.vocab_file or [*special, *syllables, *(f"##{syllable}" for syllable in syllables)]
    tokenizer = kb.Tokenizer(vocab, pre_tokenizer="none")
    config = kb.BertConfig(vocab_size=len(tokenizer.vocab), initializer_range=0.05, **SIZES[FLAGS.size])
    kb.BertForQuestionAnswering(config).save_pretrained(folder, tokenizer)


class Settings(NamedTuple):
    """What a side needs to know of the flags, which its process has not parsed."""

    folder: str
    precision: str
    max_seq_length: int
    doc_stride: int
    batch_size: int


class Ours:
    name = "kobert_tf2"

    def __init__(self, settings: Settings):
        import kobert_tf2 as kb

        lengths = {"max_seq_length": settings.max_seq_length, "doc_stride": settings.doc_stride}
        self._predictor = kb.Predictor.load(settings.folder, precision=settings.precision, **lengths)

    def answer(self, pairs: list[tuple[str, str]]) -> list[str]:
        return [answer["text"] for answer in self._predictor.answer_batch(pairs, strip_josa=False)]


class Transformers:
    name = "transformers"

    def __init__(self, settings: Settings):
        import torch
        import transformers

        self._torch, self._settings = torch, settings
        dtype = getattr(torch, settings.precision)
        self._tokenizer = transformers.AutoTokenizer.from_pretrained(settings.folder)
        self._model = transformers.BertForQuestionAnswering.from_pretrained(settings.folder, dtype=dtype).eval()

    def answer(self, pairs: list[tuple[str, str]]) -> list[str]:
        windows = self._tokenizer(
            [question for question, _ in pairs],
            [context for _, context in pairs],
            truncation="only_second",
            max_length=self._settings.max_seq_length,
            # transformers counts what two windows share, run_squad how far the next one begins.
            stride=max(0, self._settings.max_seq_length - 64 - 3 - self._settings.doc_stride),
            return_overflowing_tokens=True,
            return_offsets_mapping=True,
        )
        best = [(-np.inf, "")] * len(pairs)
        for first in range(0, len(windows["input_ids"]), self._settings.batch_size):
            rows = range(first, min(first + self._settings.batch_size, len(windows["input_ids"])))
            for row, (score, start, end) in zip(rows, self._spans(windows, rows), strict=True):
                place = windows["overflow_to_sample_mapping"][row]
                if score > best[place][0]:
                    best[place] = (score, pairs[place][1][start:end])
        return [text for _, text in best]

    def _spans(self, windows, rows):
        """(score, start, end) of the best span of each window."""
        names = ("input_ids", "attention_mask", "token_type_ids")
        batch = self._tokenizer.pad({name: [windows[name][row] for row in rows] for name in names}, return_tensors="pt")
        with self._torch.inference_mode():
            outputs = self._model(**batch)
        for row, start, end in zip(
            rows, outputs.start_logits.float().numpy(), outputs.end_logits.float().numpy(), strict=True
        ):
            context = np.array([place == 1 for place in windows.sequence_ids(row)])
            start, end = (np.where(context, logits[: len(context)], -np.inf) for logits in (start, end))
            scores = start[:, None] + end[None, :]
            scores = np.where(np.triu(np.tril(np.ones_like(scores), 29)) > 0, scores, -np.inf)
            first, last = np.unravel_index(scores.argmax(), scores.shape)
            offsets = windows["offset_mapping"][row]
            yield scores[first, last], offsets[first][0], offsets[last][1]


class Process:
    """One side in a process of its own: it is sent pairs, and sends back its answers and how long they took."""

    def __init__(self, side: type, settings: Settings):
        self.name = side.name
        context = multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe()
        self._process = context.Process(target=_work, args=(side, settings, theirs), daemon=True)
        self._process.start()

    def answer(self, pairs: list[tuple[str, str]]) -> tuple[list[str], float]:
        self._connection.send(pairs)
        return self._connection.recv()

    def end(self) -> None:
        self._connection.send(None)
        self._process.join()


def _work(side: type, settings: Settings, connection) -> None:
    made = side(settings)
    while (pairs := connection.recv()) is not None:
        began = time.perf_counter()
        answers = made.answer(pairs)
        connection.send((answers, time.perf_counter() - began))


def measure(sides: list[Process], pairs: list[tuple[str, str]]) -> dict:
    """Medians over the rounds, the sides by turns."""
    seconds = {(side.name, kind): [] for side in sides for kind in ("alone", "bulk")}
    for number in range(FLAGS.rounds):
        for side in sides:
            seconds[side.name, "bulk"].append(side.answer(pairs)[1])
            seconds[side.name, "alone"] += [side.answer([pair])[1] for pair in pairs[: FLAGS.alone]]
            print(f"round {number + 1} of {FLAGS.rounds}: {side.name} {_shown(side, seconds, pairs)}", file=sys.stderr)
    return {
        side.name: {
            "questions_per_second": len(pairs) / statistics.median(seconds[side.name, "bulk"]),
            "milliseconds_alone": 1000 * statistics.median(seconds[side.name, "alone"]),
        }
        for side in sides
    }


def _shown(side, seconds: dict, pairs: list) -> str:
    bulk, alone = seconds[side.name, "bulk"][-1], seconds[side.name, "alone"][-1]
    return f"{len(pairs) / bulk:.1f} questions/s in bulk, {1000 * alone:.0f} ms alone"


def main() -> dict:
    pairs = read_pairs()
    with tempfile.TemporaryDirectory() as folder:
        make_model(folder, pairs)
        settings = Settings(folder, FLAGS.precision, FLAGS.max_seq_length, FLAGS.doc_stride, FLAGS.batch_size)
        classes = [Ours, *([Transformers] if importlib.util.find_spec("transformers") else [])]
        sides = [Process(side, settings) for side in classes]
        warm = [(side.answer(pairs[:1]), side.answer(pairs)[0])[1] for side in sides]
        result = {"size": FLAGS.size, "precision": FLAGS.precision, "questions": len(pairs), **measure(sides, pairs)}
        for side in sides:
            side.end()
    if len(sides) == 2:
        ours, theirs = result["kobert_tf2"], result["transformers"]
        result["bulk_ratio"] = ours["questions_per_second"] / theirs["questions_per_second"]
        result["latency_ratio"] = ours["milliseconds_alone"] / theirs["milliseconds_alone"]
        result["same_answers"] = sum(a == b for a, b in zip(*warm, strict=True)) / len(pairs)
    return result


if __name__ == "__main__":
    command_line.run(main)
