"""Text embeddings: BERT's outputs for each token of a text, and one vector per text.

A text longer than a row of the model is read in overlapping windows or truncated, as requested; truncated texts are
counted.

Shapes: K requested layers, T tokens of one text, H hidden size, N attention heads.
"""

import functools
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from kobert_tf2 import arguments, files
from kobert_tf2.bert import checkpoint_files, heads, matching
from kobert_tf2.bert.config import BertConfig
from kobert_tf2.bert.inference import compiled, dtype_policy
from kobert_tf2.bert.models import BertBackbone
from kobert_tf2.errors import InputError
from kobert_tf2.features.text_windows import LONG_TEXTS, POOLINGS, windows_of
from kobert_tf2.tokenization.batches import prediction_batches
from kobert_tf2.tokenization.tokenizer import Tokenizer

# Rows are padded to a multiple of this, so that the model sees few shapes.
_MULTIPLE = 16
# Batches whose outputs are in memory at the same time; among them, rows of similar length are batched together.
_BATCHES_AT_ONCE = 4


class Row(NamedTuple):
    """Token ids including special tokens, as the model's input; `segment_ids` is 1 for the second text."""

    input_ids: list[int]
    segment_ids: list[int]


class Output(NamedTuple):
    """The model's outputs for one row, float32."""

    states: np.ndarray  # [K, T, H], the output of each requested layer
    pooled: np.ndarray | None  # [H]; None if the model has no pooler
    attentions: np.ndarray | None  # [K, N, T, T]; None if not requested


class Embedder:
    """Computes vectors of texts. Create one with `Embedder.load`. Thread-safe."""

    def __init__(self, model: BertBackbone, tokenizer: Tokenizer, *, path: str = "the model"):
        """`model` must have been created with `output_hidden_states`, and with `output_attentions` if `run` is to
        return attentions.
        """
        if len(tokenizer) > model.config.vocab_size:
            raise InputError(
                f"{path}: its tokenizer has {len(tokenizer):,} pieces, but the model's vocab_size is "
                f"{model.config.vocab_size:,}"
            )
        self.model, self.tokenizer, self._path = model, tokenizer, path
        self._forward = functools.lru_cache(maxsize=4)(self._traced)

    @classmethod
    def load(cls, path: str | os.PathLike, *, precision: str = "float32") -> "Embedder":
        """Loads a model directory, a TF1 checkpoint or a hub id, whatever its heads.

        Args:
            precision: "float32" or "bfloat16".

        Raises:
            InputError: there is nothing to load, or no tokenizer next to it.
        """
        path = arguments.path("path", path)
        model = load_backbone(path, precision=precision)
        return cls(model, Tokenizer.from_pretrained(checkpoint_files.find_source(path).folder), path=path)

    @property
    def hidden_size(self) -> int:
        return self.model.config.hidden_size

    @property
    def num_layers(self) -> int:
        return self.model.config.num_hidden_layers

    @property
    def has_pooler(self) -> bool:
        """Whether the weights contain a trained pooler, which "pooled" needs."""
        return self.model.pooler is not None and "pooler" not in self.model.new_parts

    # --- One vector per text ---

    def embed(
        self,
        texts: Iterable[str],
        *,
        pooling: str = "mean",
        long_texts: str = "windows",
        max_seq_length: int | None = None,
        batch_size: int = 32,
        normalize: bool = False,
    ) -> np.ndarray:
        """One vector per text, float32 [texts, hidden], in order; [0, hidden] if there are no texts.

        Args:
            pooling: "mean": the mean of the last layer over all tokens including [CLS] and [SEP], as in
                sentence-transformers; "cls": the last layer at [CLS]; "pooled": the output of the pooler, which was
                trained for next sentence prediction.
            long_texts: how to handle texts longer than `max_seq_length`. "windows": reads windows that overlap by half;
                "mean" then counts each token once, in the window with the most context around it, and the other
                poolings average the windows. "truncate": truncates them and reports their number on standard error.
            max_seq_length: tokens per row including [CLS] and [SEP]; by default the model's number of positions.
            batch_size: rows per batch.
            normalize: scales the vectors to length 1, so that their dot product is the cosine.

        Raises:
            InputError, TypeError: an argument has the wrong type or range, or "pooled" was given and the weights have
                no pooler.
        """
        if pooling not in POOLINGS:
            raise InputError(f"pooling: expected one of {', '.join(POOLINGS)}, but got {pooling!r}")
        if long_texts not in LONG_TEXTS:
            raise InputError(f"long_texts: expected one of {', '.join(LONG_TEXTS)}, but got {long_texts!r}")
        if pooling == "pooled":
            self.check_pooler()
        length = self.row_length(max_seq_length)
        batch_size = arguments.whole("batch_size", batch_size, 1)
        encodings = self.tokenizer.encode_batch(texts)
        long = sum(len(encoding) > length - 2 for encoding in encodings)
        if long and long_texts == "truncate":
            print(f"{long:,} of {len(encodings):,} texts are longer than {length} tokens and were cut", file=sys.stderr)
        windows = [windows_of(i, encoding, length - 2, long_texts) for i, encoding in enumerate(encodings)]
        rows = [self.row(window.ids) for of_text in windows for window in of_text]
        sums = np.zeros((len(encodings), self.hidden_size), np.float64)
        counts = np.zeros(len(encodings))
        for window, output in zip(
            (window for of_text in windows for window in of_text), self.run(rows, batch_size=batch_size), strict=True
        ):
            values, weights = _pooled(pooling, output, window.counts)
            sums[window.text] += values
            counts[window.text] += weights
        vectors = (sums / np.maximum(counts, 1)[:, None]).astype(np.float32)
        return unit_vectors(vectors) if normalize else vectors

    def check_pooler(self) -> None:
        """Raises `InputError` if the weights contain no pooler."""
        if not self.has_pooler:
            raise InputError(
                f"{self._path}: pooling='pooled' needs a pooler, but the weights hold none; take mean or cls"
            )

    def row_length(self, max_seq_length: int | None) -> int:
        """The number of tokens per row: the given one, or by default the model's number of positions."""
        longest = self.model.config.max_position_embeddings
        return longest if max_seq_length is None else arguments.whole("max_seq_length", max_seq_length, 3, longest)

    # --- Model outputs ---

    def row(self, first: Sequence[int], second: Sequence[int] | None = None) -> Row:
        """`[CLS] first [SEP]`, followed by `second [SEP]` if given."""
        ids = [self.tokenizer.cls_id, *first, self.tokenizer.sep_id]
        if second is None:
            return Row(ids, [0] * len(ids))
        self.model.config.check_takes_pairs(self._path, "a pair of texts was given")
        return Row([*ids, *second, self.tokenizer.sep_id], [0] * len(ids) + [1] * (len(second) + 1))

    def run(
        self, rows: Sequence[Row], *, layers: Sequence[int] = (-1,), attentions: bool = False, batch_size: int = 32
    ) -> Iterator[Output]:
        """Yields the outputs of every row, in order.

        Args:
            layers: layer indices as in Python: 0 is the first, -1 the last.
            attentions: whether to return the attentions of these layers; the model must have been created with
                `output_attentions`.
        """
        numbers = tuple(layer_numbers(layers, self.num_layers))
        forward = self._forward(numbers, attentions)
        for begin in range(0, len(rows), batch_size * _BATCHES_AT_ONCE):
            yield from self._run_block(rows[begin : begin + batch_size * _BATCHES_AT_ONCE], forward, batch_size)

    def _run_block(self, rows: Sequence[Row], forward: Callable[..., dict], batch_size: int) -> list[Output]:
        lengths = np.array([len(row.input_ids) for row in rows])
        longest = self.model.config.max_position_embeddings
        top = min(-(-int(lengths.max()) // _MULTIPLE) * _MULTIPLE, longest)
        widths = [*range(_MULTIPLE, top, _MULTIPLE), top]
        found: list[Output | None] = [None] * len(rows)
        for batch in prediction_batches(lengths, widths, batch_size):
            inputs = _padded([rows[i] for i in batch.rows], batch.width, self.tokenizer.pad_id)
            outputs = {name: value.numpy() for name, value in forward(**inputs).items()}
            for place, i in enumerate(batch.rows):
                # Without padding, and copied, so that the batch can be freed.
                real = slice(int(lengths[i]))
                attentions = outputs["attentions"][place, :, :, real, real].copy() if "attentions" in outputs else None
                pooled = outputs["pooled"][place].copy() if "pooled" in outputs else None
                found[i] = Output(outputs["states"][place, :, real].copy(), pooled, attentions)
        return [output for output in found if output is not None]

    def _traced(self, layers: tuple[int, ...], attentions: bool) -> Callable[..., dict]:
        def chosen(outputs: dict) -> dict:
            states = [tf.cast(outputs["hidden_states"][layer + 1], tf.float32) for layer in layers]
            found = {"states": tf.stack(states, axis=1)}
            if "pooled_output" in outputs:
                found["pooled"] = tf.cast(outputs["pooled_output"], tf.float32)
            if attentions:
                found["attentions"] = tf.stack([outputs["attentions"][layer] for layer in layers], axis=1)
            return found

        return compiled(self.model, chosen)


def load_backbone(
    path: str, *, precision: str = "float32", config: BertConfig | None = None, attentions: bool = False
) -> BertBackbone:
    """The encoder of a checkpoint with all hidden states as outputs, and with the pooler if the weights contain one."""
    source = checkpoint_files.find_source(path, needs_config=config is None)
    config = config or BertConfig.from_source(source)
    with checkpoint_files.open_source(source) as checkpoint:
        held = heads.parts_of(matching.scan(checkpoint, config).found)
    return BertBackbone.from_pretrained(
        path,
        config=config,
        add_pooling_layer="pooler" in held,
        output_hidden_states=True,
        output_attentions=attentions,
        dtype=dtype_policy(precision),
    )


def layer_numbers(layers: Sequence[int], count: int) -> list[int]:
    """Converts layer indices to non-negative ones; an index out of range raises `InputError`."""
    found = []
    for place, layer in enumerate(layers):
        number = arguments.whole(f"layers[{place}]", layer)
        if not -count <= number < count:
            raise InputError(
                f"layers: expected numbers from {-count} to {count - 1} (-1 is the last), but got {number}"
            )
        found.append(number % count)
    return found


def _pooled(pooling: str, output: Output, counts: np.ndarray) -> tuple[np.ndarray, int]:
    """(sum of vectors [H], number of vectors) for one window."""
    if pooling == "mean":
        return output.states[-1][counts].sum(axis=0), int(counts.sum())
    if pooling == "cls":
        return output.states[-1][0], 1
    assert output.pooled is not None  # ensured by `check_pooler`
    return output.pooled, 1


def _padded(rows: Sequence[Row], width: int, pad_id: int) -> dict[str, tf.Tensor]:
    input_ids = np.full((len(rows), width), pad_id, np.int32)
    input_mask, segment_ids = np.zeros_like(input_ids), np.zeros_like(input_ids)
    for i, row in enumerate(rows):
        size = len(row.input_ids)
        input_ids[i, :size], segment_ids[i, :size], input_mask[i, :size] = row.input_ids, row.segment_ids, 1
    arrays = {"input_ids": input_ids, "input_mask": input_mask, "segment_ids": segment_ids}
    return {name: tf.constant(array) for name, array in arrays.items()}


def unit_vectors(vectors: np.ndarray) -> np.ndarray:
    """Scales vectors [n, H] to length 1; zero vectors stay zero."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / np.where(lengths > 0, lengths, 1)


# ---------------------------------------------------------------------------------------------------------------------
# kb.embed
# ---------------------------------------------------------------------------------------------------------------------


def embed(
    texts: Iterable[str], model: str | os.PathLike | Embedder, *, precision: str = "float32", **options: Any
) -> np.ndarray:
    """One vector per text, float32 [texts, hidden]: `Embedder.load(model).embed(texts, **options)`.

    Args:
        model: an `Embedder`, or a model directory, TF1 checkpoint or hub id; the model last loaded is cached for the
            next call.
        options: `pooling`, `long_texts`, `max_seq_length`, `batch_size`, `normalize` of `Embedder.embed`.
    """
    if isinstance(model, Embedder):
        return model.embed(texts, **options)
    path = arguments.path("model", model)
    return _loaded(path, precision, _stamp(path)).embed(texts, **options)


@functools.lru_cache(maxsize=1)
def _loaded(path: str, precision: str, stamp: tuple) -> Embedder:
    return Embedder.load(path, precision=precision)


def _stamp(path: str) -> tuple:
    """A key that changes when the folder's files change, so that a model trained further is reloaded."""
    folder = path if os.path.isdir(path) else os.path.dirname(path)
    if files.is_remote(path) or not os.path.isdir(folder or "."):
        return ()
    return tuple(sorted((entry.name, entry.inode(), entry.stat().st_size) for entry in os.scandir(folder or ".")))
