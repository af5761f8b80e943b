"""Converts entities to token labels and back: alignment by characters, windows over long texts, and Viterbi decoding.

An entity labels the tokens that its characters overlap: the first is B-TYPE, the others are I-TYPE:

    text      '세종대왕은 한글을 만들었다'      entity 세종대왕, characters 0 to 4, PS
    tokens    세종 [0, 2)  ##대왕 [2, 4)  ##은 [4, 5) ...
    labels    B-PS         I-PS           O

An entity with an edge inside a token labels the whole token; such entities are counted and listed. The prediction is
the most probable well-formed label sequence (I-X only after B-X or I-X), so each predicted entity maps back to a span
of characters.

Shapes: W windows, S sequence length, L labels, T tokens of a text.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np

from kobert_tf2.errors import InputError
from kobert_tf2.labelling.entity_files import Entity, TaggedText
from kobert_tf2.tokenization.encoding import Encoding
from kobert_tf2.tokenization.spans import max_context, window_spans
from kobert_tf2.tokenization.tokenizer import Tokenizer

OUTSIDE = "O"


def label_list(types: Sequence[str]) -> list[str]:
    """The BIO labels for these types: O, then B and I of each type in the given order."""
    return [OUTSIDE, *(f"{prefix}-{kind}" for kind in types for prefix in "BI")]


def types_of(labels: Sequence[str], source: str) -> list[str]:
    """The types of a model's BIO labels, in order; raises `InputError` naming `source` if the labels are not BIO."""
    if not are_bio(labels):
        raise InputError(
            f"{source}: expected BIO labels (O, and B-X and I-X of each type X), but got {', '.join(labels)}"
        )
    return _types(labels)


def are_bio(labels: Sequence[str]) -> bool:
    """Whether the labels are O and, for each type X, B-X and I-X."""
    return sorted(labels) == sorted(label_list(_types(labels)))


def _types(labels: Sequence[str]) -> list[str]:
    return list(dict.fromkeys(label[2:] for label in labels if label != OUTSIDE))


# ----------------------------------------------------------------------------------------------------------------------
# Alignment
# ----------------------------------------------------------------------------------------------------------------------


@dataclasses.dataclass
class Alignment:
    """The labels of tokens, and the entities that they cannot represent exactly."""

    labels: list[np.ndarray]  # per text, int32 [T]
    entities: int = 0
    edges_inside_a_token: list[str] = dataclasses.field(default_factory=list)
    lost: list[str] = dataclasses.field(default_factory=list)  # entities whose tokens all belong to earlier ones


def align(texts: Sequence[TaggedText], encodings: Sequence[Encoding], labels: Sequence[str]) -> Alignment:
    """Labels every token of every text; raises `InputError` with the text's id for a type that is not in `labels`."""
    place = {label: index for index, label in enumerate(labels)}
    alignment = Alignment([])
    for text, encoding in zip(texts, encodings, strict=True):
        ids = np.full(len(encoding), place[OUTSIDE], np.int32)
        for entity in text.entities:
            if f"B-{entity.type}" not in place:
                known = ", ".join(sorted({label[2:] for label in labels if label != OUTSIDE}))
                raise InputError(f"{text.id}: the type {entity.type!r} is not one of {known}, which the model knows")
            _label(text, entity, encoding, ids, place, alignment)
        alignment.labels.append(ids)
    return alignment


def _label(
    text: TaggedText, entity: Entity, encoding: Encoding, ids: np.ndarray, place: dict[str, int], alignment: Alignment
) -> None:
    """Writes the labels of one entity to those of its tokens that are not labelled yet."""
    touched = np.flatnonzero((encoding.starts < entity.end) & (encoding.ends > entity.start))
    free = touched[ids[touched] == place[OUTSIDE]]
    surface = text.text[entity.start : entity.end]
    named = f"{text.id}: {surface!r} ({entity.type}, characters {entity.start} to {entity.end})"
    alignment.entities += 1
    if not len(free):
        alignment.lost.append(named)
        return
    ids[free] = place[f"I-{entity.type}"]
    ids[free[0]] = place[f"B-{entity.type}"]
    if encoding.starts[touched[0]] < entity.start or encoding.ends[touched[-1]] > entity.end:
        alignment.edges_inside_a_token.append(named)


# ----------------------------------------------------------------------------------------------------------------------
# Windows
# ----------------------------------------------------------------------------------------------------------------------

IGNORED = -1


@dataclasses.dataclass(frozen=True, kw_only=True)
class TokenWindows:
    """`[CLS] part of the text [SEP]`, for every part of every text in order.

    Attributes:
      input_ids, input_mask, segment_ids: int32 [W, S].
      labels: int32 [W, S], the label of each token; -1 at [CLS], [SEP] and padding. None if there are no labels.
      text_index, first_token: int32 [W], the index of a window's text, and of the window's first token in that text.
      counts: bool [W, S], whether this window, of all that contain the token, has the most context around it.
    """

    input_ids: np.ndarray
    input_mask: np.ndarray
    segment_ids: np.ndarray
    labels: np.ndarray | None
    text_index: np.ndarray
    first_token: np.ndarray
    counts: np.ndarray

    def __len__(self) -> int:
        return len(self.text_index)

    def features(self) -> dict[str, np.ndarray]:
        """The model's features: the three inputs, and the labels if there are any."""
        inputs = {"input_ids": self.input_ids, "input_mask": self.input_mask, "segment_ids": self.segment_ids}
        return inputs if self.labels is None else {**inputs, "labels": self.labels}


def make_windows(
    encodings: Sequence[Encoding],
    tokenizer: Tokenizer,
    *,
    max_seq_length: int,
    doc_stride: int | None = None,
    labels: Sequence[np.ndarray] | None = None,
) -> TokenWindows:
    """Splits texts into windows of `max_seq_length` tokens, `doc_stride` (by default half) apart; no token is lost."""
    room = max_seq_length - 2
    stride = max(room // 2, 1) if doc_stride is None else doc_stride
    if room < 1 or not 1 <= stride <= room:
        raise InputError(
            f"expected max_seq_length of at least 3 and doc_stride between 1 and {max(room, 1)} (max_seq_length - 2), "
            f"but got {max_seq_length} and {stride}"
        )
    spans = [
        (index, span) for index, encoding in enumerate(encodings) for span in window_spans(len(encoding), room, stride)
    ]
    shape = (len(spans), max_seq_length)
    input_ids = np.full(shape, tokenizer.pad_id, np.int32)
    input_mask, counts = np.zeros(shape, np.int32), np.zeros(shape, bool)
    token_labels = None if labels is None else np.full(shape, IGNORED, np.int32)
    shown = [
        mask for encoding in encodings for mask in max_context(window_spans(len(encoding), room, stride), len(encoding))
    ]
    for row, (index, (begin, end)) in enumerate(spans):
        length = end - begin
        input_ids[row, : length + 2] = [tokenizer.cls_id, *encodings[index].ids[begin:end], tokenizer.sep_id]
        input_mask[row, : length + 2] = 1
        counts[row, 1 : length + 1] = shown[row]
        if token_labels is not None and labels is not None:
            token_labels[row, 1 : length + 1] = labels[index][begin:end]
    return TokenWindows(
        input_ids=input_ids,
        input_mask=input_mask,
        segment_ids=np.zeros(shape, np.int32),
        labels=token_labels,
        text_index=np.array([index for index, _ in spans], np.int32),
        first_token=np.array([begin for _, (begin, _) in spans], np.int32),
        counts=counts,
    )


# ----------------------------------------------------------------------------------------------------------------------
# Decoding
# ----------------------------------------------------------------------------------------------------------------------


def token_logits(windows: TokenWindows, logits: np.ndarray, encodings: Sequence[Encoding]) -> list[np.ndarray]:
    """Each text's token logits, float32 [T, L], taken for each token from its best window's, [W, S, L]."""
    found = [np.zeros((len(encoding), logits.shape[-1]), np.float32) for encoding in encodings]
    for row in range(len(windows)):
        positions = np.flatnonzero(windows.counts[row])
        found[windows.text_index[row]][windows.first_token[row] + positions - 1] = logits[row, positions]
    return found


def decode(logits: np.ndarray, encoding: Encoding, labels: Sequence[str]) -> tuple[Entity, ...]:
    """Decodes entities from a text's token logits [T, L]; an entity's score is the mean probability of its labels."""
    if not len(encoding):
        return ()
    shifted = logits - logits.max(axis=-1, keepdims=True)
    log_probabilities = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    best = viterbi(log_probabilities, labels)
    probabilities = np.exp(log_probabilities[np.arange(len(best)), best])
    found: list[Entity] = []
    first = 0
    for token, label in enumerate(best):
        prefix, _, kind = labels[label].partition("-")
        start, end = int(encoding.starts[token]), int(encoding.ends[token])
        if prefix == "B":
            first = token
            found.append(Entity(start, end, kind, float(probabilities[token])))
        elif prefix == "I":
            found[-1] = found[-1]._replace(end=end, score=float(probabilities[first : token + 1].mean()))
    return tuple(found)


def viterbi(log_probabilities: np.ndarray, labels: Sequence[str]) -> np.ndarray:
    """The most probable well-formed label sequence, int [T], given `log_probabilities` [T, L]."""
    allowed = transitions(labels)
    begins = np.array([not label.startswith("I-") for label in labels])
    score = np.where(begins, log_probabilities[0], -np.inf)
    came_from = np.zeros(log_probabilities.shape, np.int32)
    for token in range(1, len(log_probabilities)):
        through = np.where(allowed, score[:, None], -np.inf)  # [from, to]
        came_from[token] = through.argmax(axis=0)
        score = through.max(axis=0) + log_probabilities[token]
    best = np.empty(len(log_probabilities), np.int64)
    best[-1] = score.argmax()
    for token in range(len(best) - 1, 0, -1):
        best[token - 1] = came_from[token, best[token]]
    return best


def transitions(labels: Sequence[str]) -> np.ndarray:
    """bool [L, L]: whether the second label may follow the first. I-X may follow only B-X or I-X."""
    return np.array([[not b.startswith("I-") or a[1:] == b[1:] for b in labels] for a in labels])
