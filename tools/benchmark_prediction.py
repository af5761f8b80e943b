"""Questions answered per second, one at a time and in bulk, beside transformers on the same weights and questions.

    python tools/benchmark_prediction.py --size=4x512 --vocab_file=vocab.txt --data_file=KorQuAD_v1.0_dev.json

Weights are random: speed does not depend on them. All sides do the whole work, strings in and answers out, by turns,
with the same windows and the same rules for an answer, so that in float32 they must answer the same: `same_answers` is
the part that did. What to look at is the ratio of the medians. Each side has a process of its own: TensorFlow and
torch's triton bring an LLVM each, and the second to be loaded ends the process.

transformers runs as its own question-answering examples do, fast tokenizer, overflowing windows, batches padded to
their longest row; `transformers_sorted` puts windows of like length together before that, as its users can. Its spans
are found with NumPy for a whole batch at once. Both sides use every core that they are given.
"""

import collections
import importlib.util
import multiprocessing
import os
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
    from kobert_tf2 import sample_data
    from kobert_tf2.reading.squad_files import read_squad

    if FLAGS.data_file:
        pairs = [(question.question, question.context) for question in read_squad(FLAGS.data_file)]
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
    # With wider weights the layers of base make all positions alike, and bfloat16 answers by its rounding.
    config = kb.BertConfig(vocab_size=len(tokenizer.vocab), initializer_range=0.02, **SIZES[FLAGS.size])
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


class Rows(NamedTuple):
    """Windows as transformers makes them, one list entry each."""

    inputs: dict[str, list]
    offsets: list
    first: list[int]  # the place of the context's first token
    place: list[int]  # which of the questions it belongs to
    may_start: list[np.ndarray]  # bool [context tokens]: this window shows most around the token


class Transformers:
    name = "transformers"
    longest_answer = 30

    def __init__(self, settings: Settings):
        import torch
        import transformers

        torch.set_num_threads(len(os.sched_getaffinity(0)))
        self._torch, self._settings = torch, settings
        dtype = getattr(torch, settings.precision)
        self._tokenizer = transformers.AutoTokenizer.from_pretrained(settings.folder)
        self._model = transformers.BertForQuestionAnswering.from_pretrained(settings.folder, dtype=dtype).eval()

    def answer(self, pairs: list[tuple[str, str]]) -> list[str]:
        rows = self._windows(pairs)
        best = [(-np.inf, "")] * len(pairs)
        order = self._order(rows)
        for first in range(0, len(order), self._settings.batch_size):
            batch = order[first : first + self._settings.batch_size]
            for row, (score, start, end) in zip(batch, self._spans(rows, batch), strict=True):
                place = rows.place[row]
                if score > best[place][0]:
                    best[place] = (score, pairs[place][1][start:end])
        return [text for _, text in best]

    def _order(self, rows: Rows) -> list[int]:
        return list(range(len(rows.place)))

    def _windows(self, pairs: list[tuple[str, str]]) -> Rows:
        """transformers counts what two windows share, run_squad how far the next begins: a call for each length."""
        lengths = [len(ids) for ids in self._tokenizer([q for q, _ in pairs], add_special_tokens=False)["input_ids"]]
        of_length = collections.defaultdict(list)
        for place, length in enumerate(lengths):
            of_length[length].append(place)
        rows = Rows({name: [] for name in _INPUTS}, [], [], [], [])
        for length, places in of_length.items():
            self._add(rows, pairs, length, places)
        return rows

    def _add(self, rows: Rows, pairs, length: int, places: list[int]) -> None:
        from kobert_tf2.reading import windows

        room = self._settings.max_seq_length - length - 3
        made = self._tokenizer(
            [pairs[place][0] for place in places],
            [pairs[place][1] for place in places],
            truncation="only_second",
            max_length=self._settings.max_seq_length,
            stride=max(0, room - self._settings.doc_stride),
            return_overflowing_tokens=True,
            return_offsets_mapping=True,
        )
        samples = made["overflow_to_sample_mapping"]
        counts = [len(ids) - length - 3 for ids in made["input_ids"]]
        for name in _INPUTS:
            rows.inputs[name].extend(made[name])
        rows.offsets.extend(made["offset_mapping"])
        rows.first.extend([length + 2] * len(samples))
        rows.place.extend(places[sample] for sample in samples)
        for sample in range(len(places)):
            mine = [count for count, owner in zip(counts, samples, strict=True) if owner == sample]
            spans = [(n * self._settings.doc_stride, n * self._settings.doc_stride + c) for n, c in enumerate(mine)]
            rows.may_start.extend(windows.max_context(spans, spans[-1][1]))

    def _spans(self, rows: Rows, batch: list[int]):
        """(score, start, end) of the best span of each window."""
        picked = {name: [rows.inputs[name][row] for row in batch] for name in _INPUTS}
        inputs = self._tokenizer.pad(picked, return_tensors="pt")
        with self._torch.inference_mode():
            outputs = self._model(**inputs)
        start, end = (logits.float().numpy() for logits in (outputs.start_logits, outputs.end_logits))
        may_start, may_end = np.zeros((2, *start.shape), bool)
        for number, row in enumerate(batch):
            first, shown = rows.first[row], rows.may_start[row]
            may_start[number, first : first + len(shown)] = shown
            may_end[number, first : first + len(shown)] = True
        width = start.shape[1]
        valid = np.triu(np.ones((width, width), bool)) & np.tri(width, width, self.longest_answer - 1, dtype=bool)
        starts, ends = np.where(may_start, start, -np.inf), np.where(may_end, end, -np.inf)
        scores = np.where(valid, starts[:, :, None] + ends[:, None, :], -np.inf).reshape(len(batch), -1)
        for number, place in enumerate(scores.argmax(axis=1)):
            first, last = divmod(int(place), width)
            offsets = rows.offsets[batch[number]]
            yield scores[number, place], offsets[first][0], offsets[last][1]


class TransformersSorted(Transformers):
    name = "transformers_sorted"

    def _order(self, rows: Rows) -> list[int]:
        return sorted(range(len(rows.place)), key=lambda row: len(rows.inputs["input_ids"][row]))


_INPUTS = ("input_ids", "token_type_ids", "attention_mask")
PEERS = (Transformers, TransformersSorted)


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
        classes = [Ours, *(PEERS if importlib.util.find_spec("transformers") else [])]
        sides = [Process(side, settings) for side in classes]
        warm = [side.answer(pairs)[0] for side in sides]
        result = {"size": FLAGS.size, "precision": FLAGS.precision, "questions": len(pairs), **measure(sides, pairs)}
        for side in sides:
            side.end()
    return result | _compared(result, dict(zip((side.name for side in sides), warm, strict=True)), len(pairs))


def _compared(result: dict, answers: dict[str, list[str]], count: int) -> dict:
    """How many times as fast in bulk, how many times as long alone, and the part of equal answers, for each peer."""
    ours, compared = result[Ours.name], {}
    for peer in PEERS if len(answers) > 1 else ():
        theirs = result[peer.name]
        compared[f"against_{peer.name}"] = {
            "bulk_ratio": ours["questions_per_second"] / theirs["questions_per_second"],
            "latency_ratio": ours["milliseconds_alone"] / theirs["milliseconds_alone"],
            "same_answers": sum(a == b for a, b in zip(answers[Ours.name], answers[peer.name], strict=True)) / count,
        }
    return compared


if __name__ == "__main__":
    command_line.run(main)
