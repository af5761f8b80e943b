"""Tokens as a model's inputs, under the names of Hugging Face `transformers`: truncated, with special tokens, padded.

`Tokenizer.__call__` gives what `transformers` gives for the same folder. Two of its classes read the folders that we
write, and they differ in small things; `is_plain` says which of them is followed:

- plain BERT is read by its BertTokenizer (the `tokenizers` library)
- Mecab and SentencePiece bring their own code, which is a `PreTrainedTokenizer` in Python
"""

import itertools
import warnings
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from kobert_tf2 import arguments
from kobert_tf2.errors import InputError
from kobert_tf2.tokenization.encoding import Encoding

PADDINGS = ("longest", "max_length", "do_not_pad")
TRUNCATIONS = ("longest_first", "only_first", "only_second", "do_not_truncate")
_TENSORS = ("np", "tf", "pt")


class SpecialIds(NamedTuple):
    cls: int
    sep: int
    pad: int


class RowFormat(NamedTuple):
    """How rows are made; see `Tokenizer.__call__`. A `max_length` of None: rows are neither cut nor padded to one."""

    padding: str
    truncation: str
    max_length: int | None
    pad_to_multiple_of: int | None
    add_special_tokens: bool
    is_plain: bool

    @property
    def pads(self) -> bool:
        return self.padding != "do_not_pad"

    @property
    def truncates(self) -> bool:
        return self.truncation != "do_not_truncate"


class Row(NamedTuple):
    """One text or pair as a model reads it; all lists have the same length."""

    input_ids: list[int]
    token_type_ids: list[int]
    attention_mask: list[int]
    special_tokens_mask: list[int]
    offset_mapping: list[tuple[int, int]]  # (0, 0) where a token stands for no text


# ----------------------------------------------------------------------------------------------------------------------
# Arguments
# ----------------------------------------------------------------------------------------------------------------------


def row_format(
    *,
    padding: bool | str,
    truncation: bool | str | None,
    max_length: int | None,
    pad_to_multiple_of: int | None,
    add_special_tokens: bool,
    model_max_length: int | None,
    is_plain: bool,
) -> RowFormat:
    """The arguments of a call, checked. As in `transformers`, a `max_length` alone truncates, and where a length is
    needed and none is known, nothing is truncated or padded: that is a warning."""
    if truncation is None:
        truncation = max_length is not None and padding is False
    pad = _choice("padding", padding, PADDINGS, true="longest", false="do_not_pad")
    cut = _choice("truncation", truncation, TRUNCATIONS, true="longest_first", false="do_not_truncate")
    if max_length is not None:
        max_length = arguments.whole("max_length", max_length, 1)
    if pad_to_multiple_of is not None:
        pad_to_multiple_of = arguments.whole("pad_to_multiple_of", pad_to_multiple_of, 1)
    if max_length is not None and pad == "longest" and cut == "do_not_truncate":
        warnings.warn("max_length is not used: padding=True pads to the longest text and truncates none", stacklevel=3)
    if max_length is None and (pad == "max_length" or cut != "do_not_truncate"):
        max_length = model_max_length
        if max_length is None:
            warnings.warn(
                "max_length is not given and this tokenizer names no model_max_length: nothing is truncated, and "
                "nothing is padded to it",
                stacklevel=3,
            )
            pad, cut = "do_not_pad" if pad == "max_length" else pad, "do_not_truncate"
    multiple = pad_to_multiple_of or 1
    if cut != "do_not_truncate" and pad != "do_not_pad" and max_length is not None and max_length % multiple:
        raise InputError(
            f"pad_to_multiple_of: expected a divisor of max_length, {max_length}, where rows are truncated and padded, "
            f"but got {multiple}"
        )
    return RowFormat(pad, cut, max_length, pad_to_multiple_of, bool(add_special_tokens), is_plain)


def _choice(name: str, value: Any, choices: Sequence[str], *, true: str, false: str) -> str:
    if isinstance(value, bool):
        return true if value else false
    if not isinstance(value, str):
        raise arguments.wrong_type(name, f"True, False or one of {', '.join(choices)}", value)
    if value not in choices:
        raise InputError(f"{name}: expected True, False or one of {', '.join(choices)}, but got {value!r}")
    return value


def check_tensors(return_tensors: object) -> None:
    """Raises `InputError` for a kind of tensors that is not known."""
    if return_tensors is not None and return_tensors not in _TENSORS:
        raise InputError(f"return_tensors: expected None or one of {', '.join(_TENSORS)}, but got {return_tensors!r}")


def texts_and_pairs(text: Any, text_pair: Any) -> tuple[list[str], list[str] | None, bool]:
    """(the texts, the second texts or None, whether they came as a batch) of the first two arguments of a call."""
    if isinstance(text, str):
        if text_pair is not None:
            arguments.check_text("text_pair", text_pair)
        return [text], None if text_pair is None else [text_pair], False
    if isinstance(text, bytes) or not isinstance(text, Iterable):
        raise arguments.wrong_type("text", "a string, or a list of strings or of pairs of strings", text)
    texts = list(text)
    if text_pair is not None:
        seconds = list(arguments.each_text("text_pair", text_pair))
        texts = list(arguments.each_text("text", texts))
        if len(seconds) != len(texts):
            raise InputError(f"text_pair: expected as many texts as text has, {len(texts)}, but got {len(seconds)}")
        return texts, seconds, True
    if not any(isinstance(one, list | tuple) for one in texts):
        return list(arguments.each_text("text", texts)), None, True
    for place, one in enumerate(texts):
        if not isinstance(one, list | tuple) or len(one) != 2 or not all(isinstance(part, str) for part in one):
            raise arguments.wrong_type(f"text[{place}]", "a pair of strings, as another of these texts is", one)
    return [first for first, _ in texts], [second for _, second in texts], True


# ----------------------------------------------------------------------------------------------------------------------
# Rows
# ----------------------------------------------------------------------------------------------------------------------


def make_rows(
    firsts: Sequence[Encoding], seconds: Sequence[Encoding] | None, made: RowFormat, special: SpecialIds
) -> list[Row]:
    """A row for each text or pair, padded as `made` says."""
    pairs: Sequence[Encoding | None] = [None] * len(firsts) if seconds is None else seconds
    rows = [_row(i, first, pairs[i], made, special) for i, first in enumerate(firsts)]
    if not made.pads or not rows:
        return rows
    width = max(len(row.input_ids) for row in rows)
    if made.padding == "max_length" and made.max_length is not None:
        width = made.max_length
    multiple = made.pad_to_multiple_of or 1
    return [_padded(row, -(-width // multiple) * multiple, special.pad) for row in rows]


def _row(place: int, first: Encoding, second: Encoding | None, made: RowFormat, special: SpecialIds) -> Row:
    marks = 0 if not made.add_special_tokens else 2 if second is None else 3
    kept = [len(first), 0 if second is None else len(second)]
    if made.truncates and made.max_length is not None:
        if made.max_length < marks:
            raise InputError(
                f"max_length: expected at least {marks}, the number of special tokens, but got {made.max_length}"
            )
        kept = _kept_lengths(place, kept, made.max_length - marks, made, is_pair=second is not None)
    # Of two texts without special tokens, only the `tokenizers` library says which token is of which.
    type_of_second = 1 if made.add_special_tokens or made.is_plain else 0
    parts = [_part(first[: kept[0]], 0, made, special)]
    if second is not None:
        parts.append(_part(second[: kept[1]], type_of_second, made, special))
    if made.add_special_tokens:
        parts.insert(0, Row([special.cls], [0], [1], [1], [(0, 0)]))
    return Row(*(list(itertools.chain.from_iterable(column)) for column in zip(*parts, strict=True)))


def _part(encoding: Encoding, token_type: int, made: RowFormat, special: SpecialIds) -> Row:
    """One text, with [SEP] behind it where there are special tokens."""
    end = [special.sep] if made.add_special_tokens else []
    size = len(encoding)
    return Row(
        encoding.ids.tolist() + end,
        [token_type] * (size + len(end)),
        [1] * (size + len(end)),
        [0] * size + [1] * len(end),
        [*zip(encoding.starts.tolist(), encoding.ends.tolist(), strict=True), *((0, 0) for _ in end)],
    )


def _kept_lengths(place: int, lengths: list[int], room: int, made: RowFormat, *, is_pair: bool) -> list[int]:
    """How many tokens of each of two texts stay where there is room for so many."""
    surplus = sum(lengths) - room
    if surplus <= 0:
        return lengths
    if made.truncation == "longest_first":
        return _longest_first(lengths[0], lengths[1], room, is_plain=made.is_plain) if is_pair else [room, 0]
    which = 0 if made.truncation == "only_first" else 1
    if lengths[which] <= surplus and (is_pair or which):
        raise InputError(
            f"text[{place}]: truncation={made.truncation!r} would have to take {surplus} tokens off a text that has "
            f"{lengths[which]}; expected a greater max_length than {made.max_length}, or truncation='longest_first'"
        )
    return [length - surplus if i == which else length for i, length in enumerate(lengths)]


def _longest_first(first: int, second: int, room: int, *, is_plain: bool) -> list[int]:
    """The longer text is cut until both are equal, then both; where the room is odd, one keeps one token more: the
    second unless it was the shorter (`tokenizers`), or always the first (Python)."""
    short = min(first, second)
    if short <= room // 2:
        return [short, room - short] if first <= second else [room - short, short]
    first_keeps_more = first > second if is_plain else True
    less, more = room // 2, room - room // 2
    return [more, less] if first_keeps_more else [less, more]


def _padded(row: Row, width: int, pad_id: int) -> Row:
    missing = width - len(row.input_ids)
    if missing <= 0:
        return row
    return Row(
        row.input_ids + [pad_id] * missing,
        row.token_type_ids + [0] * missing,
        row.attention_mask + [0] * missing,
        row.special_tokens_mask + [1] * missing,
        row.offset_mapping + [(0, 0)] * missing,
    )


def as_tensors(values: list, name: str, return_tensors: str) -> Any:
    """int32 [rows, tokens] of NumPy or TensorFlow, int64 of torch (whose embeddings want it)."""
    if len({len(row) for row in values}) > 1:
        raise InputError(
            f"return_tensors: expected texts of one length for {name}, but they have "
            f"{min(map(len, values))} to {max(map(len, values))} tokens: give padding=True, or truncation=True with a "
            "max_length"
        )
    depth = (2,) if name == "offset_mapping" else ()
    array = np.array(values, np.int32).reshape(len(values), len(values[0]) if values else 0, *depth)
    if return_tensors == "np":
        return array
    if return_tensors == "tf":
        import tensorflow as tf

        return tf.constant(array)
    import torch

    return torch.from_numpy(array.astype(np.int64))
