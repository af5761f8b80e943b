"""A page that shows some instances of pre-training data as text with their masks, for checking by eye."""

import itertools
import os
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from kobert_tf2 import charts, pages
from kobert_tf2.language import say
from kobert_tf2.pages import Section
from kobert_tf2.pretraining_data import tfrecord
from kobert_tf2.tokenization.tokenizer import Tokenizer

_SHOWN = 10
_MEASURED = 1_000  # The number of instances of the first shard whose lengths are counted.
_BINS = 16


def path_of(output: str) -> str:
    """The page next to a shard: report_corpus.html for corpus.tfrecord or corpus-00000-of-00016, a name that no pattern
    for records matches.
    """
    folder, name = os.path.split(tfrecord.sidecar_path(output).removesuffix(".json"))
    return os.path.join(folder, f"report_{name.removesuffix('.tfrecord')}.html")


def check_output(path: str) -> None:
    """Raises `InputError` if the page may not be written to `path`."""
    pages.check_output(path, "a report of create_pretraining_data")


def write(path: str, shard: str, tokenizer: Tokenizer, counts: Mapping[str, object]) -> None:
    """Writes the page for the records in `shard`; `counts` are those of the side-car."""
    instances = [_decode(example) for example in itertools.islice(tfrecord.read_examples(shard), _MEASURED)]
    pieces = {number: piece for piece, number in tokenizer.vocab.items()}
    sections = [
        Section(say("Counts", "개수"), _counts(counts)),
        Section(
            say("Instances", "학습 예"),
            "".join(_instance(instance, pieces) for instance in instances[:_SHOWN]),
            say(
                "Coloured pieces are to be predicted: the text has them masked, replaced or left as they are; what was "
                "there stands in brackets.",
                "색칠한 조각이 맞혀야 할 것입니다. 가려졌거나 바뀌었거나 그대로 있으며, "
                "원래 조각은 괄호 안에 있습니다.",
            ),
        ),
        Section(say("Lengths", "길이"), _lengths(instances), say("pieces of an instance", "예마다의 조각 수")),
    ]
    pages.write(path, pages.page(say("Pre-training data", "사전 학습 데이터"), sections))


def _counts(counts: Mapping[str, object]) -> str:
    rows = [[name.replace("_", " "), value] for name, value in counts.items() if isinstance(value, int | float)]
    return pages.table([say("what", "항목"), say("count", "개수")], rows)


def _instance(instance: Mapping[str, np.ndarray], pieces: Mapping[int, str]) -> str:
    """The pieces of an instance, each followed by its label if it is to be predicted; the second segment is on its own
    line.
    """
    length = int(instance["input_mask"].sum())
    ids, segments = instance["input_ids"][:length], instance["segment_ids"][:length]
    labels = {
        int(place): int(label)
        for place, label, weight in zip(
            instance["masked_lm_positions"], instance["masked_lm_ids"], instance["masked_lm_weights"], strict=True
        )
        if weight > 0
    }
    parts: list[str] = []
    for place, number in enumerate(ids):
        if place and segments[place] != segments[place - 1]:
            parts.append("<br>")
        shown = pages.text(pieces.get(int(number), f"#{number}"))
        if place in labels:
            right = pages.text(pieces.get(labels[place], f"#{labels[place]}"))
            parts.append(f'<span class="m">{shown} <small>({right})</small></span>')
        else:
            parts.append(f"<span>{shown}</span>")
    is_random = bool(instance["next_sentence_labels"][0])
    note = say(
        "the second part is from elsewhere" if is_random else "the second part follows the first",
        "둘째 부분은 다른 곳에서 왔습니다" if is_random else "둘째 부분이 첫째 부분에 이어집니다",
    )
    return f'<div class="pieces"><p class="note">{note if segments.any() else ""}</p><p>{" ".join(parts)}</p></div><hr>'


def _lengths(instances: Sequence[Mapping[str, np.ndarray]]) -> str:
    lengths = [int(instance["input_mask"].sum()) for instance in instances]
    if not lengths:
        return ""
    longest = len(instances[0]["input_mask"])
    edges = np.linspace(0, longest, min(_BINS, longest) + 1)
    counted, _ = np.histogram(lengths, edges)
    bins = {f"≤{int(edge)}": int(count) for edge, count in zip(edges[1:], counted, strict=True)}
    return charts.histogram(bins, label=say("lengths of instances", "학습 예의 길이"))


# ---- tf.train.Example without TensorFlow, whose import takes longer than the page ------------------------------------


def _decode(example: bytes) -> dict[str, np.ndarray]:
    """Decodes the features of a serialized tf.train.Example: int64 and float lists, packed or not."""
    table = {}
    ((_, features),) = _fields(example)
    for _, entry in _fields(features):
        (_, name), (_, feature) = _fields(entry)
        ((kind, values),) = _fields(feature)
        table[name.decode()] = _floats(values) if kind == 2 else _integers(values)
    return table


def _integers(values: bytes) -> np.ndarray:
    numbers: list[int] = []
    for _, packed in _fields(values):
        place = 0
        while place < len(packed):
            number, place = _varint(packed, place)
            numbers.append(number)
    return np.array(numbers, np.uint64).astype(np.int64)


def _floats(values: bytes) -> np.ndarray:
    return np.frombuffer(b"".join(packed for _, packed in _fields(values)), "<f4")


def _fields(message: bytes) -> Iterator[tuple[int, bytes]]:
    """Yields (number, content) for each field; the content of a varint field is its bytes."""
    place = 0
    while place < len(message):
        tag, place = _varint(message, place)
        if tag & 7 == 2:
            size, place = _varint(message, place)
        elif tag & 7 == 5:
            size = 4
        else:
            _, end = _varint(message, place)
            size = end - place
        yield tag >> 3, message[place : place + size]
        place += size


def _varint(message: bytes, place: int) -> tuple[int, int]:
    """Decodes a varint: (its value, the offset after it)."""
    number = shift = 0
    while True:
        byte = message[place]
        place += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number, place
        shift += 7
