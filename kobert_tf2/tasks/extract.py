"""Extracts feature vectors of the lines of a file, in the format of extract_features.py of the original BERT.

A line is a text, or a pair separated by ` ||| `. The features are written in one of these formats (`--format`):

    jsonl     a line of JSON for each input, in the original's form: {"linex_index": 0, "features": [{"token": "[CLS]",
              "layers": [{"index": -1, "values": [0.123456, ...]}, ...]}, ...]}; numbers are rounded to 6 digits
    npz       for NumPy: `layers` [K], and for input i `tokens_i` [T] and `values_i` float32 [T, K, H]
    tfrecord  `tf.train.Example`s: `linex_index`, `tokens`, `layers`, `values` (flat) and its `shape` [T, K, H]

With `pooling`, each input has one vector: `{"linex_index": 0, "values": [...]}`; `embeddings` float32 [inputs, H]; or
`values` alone. `output_attentions` adds "attentions", [K, N, T, T]: the weight with which each token attends to each
other.

`tools/extract_features.py` makes one call to this module.
"""

import dataclasses
import re
import sys
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from kobert_tf2 import files, outputs
from kobert_tf2.errors import InputError
from kobert_tf2.features import embedder
from kobert_tf2.features.embedder import Embedder, Output, Row
from kobert_tf2.progress import progress
from kobert_tf2.tasks import feature_files, start
from kobert_tf2.tokenization import pretrained, unknown
from kobert_tf2.tokenization.tokenizer import Tokenizer

_PAIR = re.compile(r"^(.*) \|\|\| (.*)$")


@dataclasses.dataclass(frozen=True, kw_only=True)
class ExtractionSettings:
    """The settings; the fields are the flags of `tools/extract_features.py`.

    Attributes:
      input_file: UTF-8 text, one text or pair per line. An empty line is a text without tokens, so that line numbers
        are kept.
      output_file: the file of features, in the `format` "jsonl", "npz" or "tfrecord".
      init_checkpoint: a model directory, TF1 checkpoint or hub id, with any heads.
      bert_config_file, vocab_file: None: those in the folder of the weights.
      tokenizer_settings: the tokenizer flags on the command line.
      layers: comma-separated layer numbers; -1 is the last and 0 the first.
      max_seq_length: maximum tokens of a row; a longer text is truncated (in a pair, the longer text first) and
        counted.
      pooling: "tokens", or one vector per input: "mean", "cls" or "pooled", as in `Embedder.embed`.
      output_attentions: also writes the attention weights of `layers`.
      overwrite: replaces an existing file of features; any other file is never replaced.
    """

    input_file: str
    output_file: str
    init_checkpoint: str
    bert_config_file: str | None = None
    vocab_file: str | None = None
    tokenizer_settings: dict | None = None
    layers: Sequence[str] = ("-1", "-2", "-3", "-4")
    max_seq_length: int = 128
    batch_size: int = 32
    pooling: str = "tokens"
    format: str = "jsonl"
    output_attentions: bool = False
    precision: str = "float32"
    overwrite: bool = False


class _Line(NamedTuple):
    tokens: list[str]
    row: Row


def extract(settings: ExtractionSettings) -> dict:
    """Writes the file of features. Returns a summary: the numbers of inputs, pairs and tokens, and how many were
    truncated.
    """
    outputs.refuse_inputs({"output_file": settings.output_file}, {"input_file": settings.input_file})
    feature_files.check_output(settings.output_file, overwrite=settings.overwrite)
    pooled = settings.pooling != "tokens"
    if pooled and settings.output_attentions:
        raise InputError("--output_attentions goes with --pooling=tokens: a pooled vector has no tokens")
    layers = [] if pooled else _layers(settings.layers)
    maker = _embedder(settings)
    if settings.pooling == "pooled":
        maker.check_pooler()
    embedder.layer_numbers(layers, maker.num_layers)
    texts = _read_lines(settings.input_file)
    lines, cut = _rows(texts, maker, settings.max_seq_length)
    ids = [line.row.input_ids[1:-1] for line in lines]
    share = unknown.report_ids(settings.input_file, ids, maker.tokenizer.unk_id)
    if cut:
        longer = f"{cut:,} of {len(lines):,} inputs are longer than {settings.max_seq_length} tokens, and were cut"
        print(f"{settings.input_file}: {longer}", file=sys.stderr)
    found = maker.run(
        [line.row for line in lines],
        layers=layers or (-1,),
        attentions=settings.output_attentions,
        batch_size=settings.batch_size,
    )
    reported = progress(found, "features", total=len(lines), unit="inputs")
    entries = _pooled(reported, settings.pooling) if pooled else _of_tokens(lines, reported)
    feature_files.write(settings.output_file, settings.format, entries, layers=layers)
    return {
        "output_file": settings.output_file,
        "inputs": len(lines),
        "pairs": sum(second is not None for _, second in texts),
        "empty": sum(len(line.tokens) == 2 for line in lines),
        "truncated": cut,
        "tokens": sum(len(line.tokens) for line in lines),
        "unknown_share": share,
        "layers": layers or [-1],
        "hidden_size": maker.hidden_size,
    }


def _layers(names: Sequence[str]) -> list[int]:
    try:
        found = [int(name) for name in names]
    except ValueError:
        raise InputError(f"--layers: expected whole numbers with commas between, but got {','.join(names)!r}") from None
    if not found or len(set(found)) < len(found):
        raise InputError(f"--layers: expected layers, each once, but got {','.join(names)!r}")
    return found


def _embedder(settings: ExtractionSettings) -> Embedder:
    tokenizer = pretrained.from_flags(
        Tokenizer, settings.vocab_file, settings.init_checkpoint, settings.tokenizer_settings
    )
    config = start.find_config(settings.bert_config_file, settings.init_checkpoint, vocab_size=len(tokenizer))
    start.check_fits(
        config,
        settings.bert_config_file or settings.init_checkpoint,
        vocab_size=len(tokenizer),
        max_seq_length=settings.max_seq_length,
    )
    model = embedder.load_backbone(
        settings.init_checkpoint, config=config, precision=settings.precision, attentions=settings.output_attentions
    )
    return Embedder(model, tokenizer, path=settings.init_checkpoint)


def _read_lines(path: str) -> list[tuple[str, str | None]]:
    """Yields (text, second text or None) of each line, split as in the original at the last ` ||| `."""
    found: list[tuple[str, str | None]] = []
    for line in files.read_lines(path):
        pair = _PAIR.match(line.strip())
        found.append((pair[1], pair[2] or None) if pair else (line.strip(), None))
    if not found:
        raise InputError(f"{path}: expected a text on each line, but the file is empty")
    return found


def _rows(texts: Sequence[tuple[str, str | None]], maker: Embedder, max_seq_length: int) -> tuple[list[_Line], int]:
    """The rows, and how many of them were truncated to `max_seq_length`."""
    tokenizer, cut = maker.tokenizer, 0
    firsts = tokenizer.encode_ids_batch([first for first, _ in texts])
    seconds = iter(tokenizer.encode_ids_batch([second for _, second in texts if second is not None]))
    lines = []
    for (_, text), first in zip(texts, firsts, strict=True):
        second = next(seconds) if text is not None else []
        room = max_seq_length - (3 if second else 2)
        if room < 1:
            raise InputError(f"--max_seq_length: expected room for a token, but {max_seq_length} holds none")
        cut += len(first) + len(second) > room
        first, second = _cut_pair(first, second, room)
        row = maker.row(first, second or None)
        lines.append(_Line(tokenizer.convert_ids_to_tokens(row.input_ids), row))
    return lines, cut


def _cut_pair(first: list[int], second: list[int], room: int) -> tuple[list[int], list[int]]:
    """The original's `_truncate_seq_pair`: removes tokens from the end of the longer text, or of the second if both are
    equally long.
    """
    surplus = max(0, len(first) + len(second) - room)
    from_longer = min(surplus, abs(len(first) - len(second)))
    of_both = surplus - from_longer
    first_loses = of_both // 2 + (from_longer if len(first) > len(second) else 0)
    second_loses = surplus - first_loses
    return first[: len(first) - first_loses], second[: len(second) - second_loses]


def _of_tokens(lines: Sequence[_Line], found: Iterator[Output]) -> Iterator[feature_files.Entry]:
    for line, output in zip(lines, found, strict=True):
        yield feature_files.Entry(line.tokens, output.states.transpose(1, 0, 2), output.attentions)


def _pooled(found: Iterator[Output], pooling: str) -> Iterator[feature_files.Entry]:
    for output in found:
        if pooling == "mean":
            vector = output.states[-1].mean(axis=0)
        else:
            vector = output.states[-1][0] if pooling == "cls" else output.pooled
        yield feature_files.Entry(None, np.asarray(vector, np.float32), None)
