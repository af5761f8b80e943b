"""Matches the names in a checkpoint with the weights of a model, and reports all that does not fit at once.

The names themselves are in `weight_names.py`, the files in `checkpoint_files.py`.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from kobert_tf2.bert.checkpoint_files import Checkpoint
from kobert_tf2.bert.config import BertConfig
from kobert_tf2.bert.weight_names import (
    Row,
    has_label_axis,
    has_vocabulary_axis,
    is_ignored,
    is_in_the_encoder,
    is_required,
    names_in,
    part,
    prefix_of_all,
    table,
    transpose,
)
from kobert_tf2.errors import InputError

Shapes = dict[Row, tuple[int, ...]]  # as Keras has them


class Contents(NamedTuple):
    """The contents of a checkpoint by the table of names; `scan` makes it once for all uses."""

    checkpoint: Checkpoint
    found: dict[Row, str]  # the checkpoint's name of each weight
    unknown: list[str]  # its names that belong to no weight, sorted
    prefix: str = ""  # what stands before BERT's own names in all of `found`

    @property
    def parts(self) -> set[str]:
        return {part(row) for row in self.found}

    @property
    def untied(self) -> list[Row]:
        """The weights that are usually tied to another weight, but are separate in this checkpoint."""
        return [row for row in self.found if row.tied_to]

    @property
    def num_labels(self) -> int | None:
        """The number of labels of the checkpoint's classifier; None if it has no classifier."""
        return next((self.shape(row)[-1] for row in self.found if has_label_axis(row)), None)

    def without(self, name: str) -> "Contents":
        """The same contents without one part."""
        return self._replace(found={row: held for row, held in self.found.items() if part(row) != name})

    def shape(self, row: Row) -> tuple[int, ...]:
        """The shape of a weight in the checkpoint, in Keras' layout."""
        shape = tuple(self.checkpoint.shapes[self.found[row]])
        return transpose(shape, row, source=self.checkpoint.format, target="keras")

    def read(self, row: Row, *, target: str = "keras") -> Any:
        """The array of a weight in the checkpoint, in the layout of a format: NumPy's, or TensorFlow's as it was
        read.
        """
        values = self.checkpoint.read(self.found[row])
        if (kind := _name_of_type(values)) not in _FLOATING:
            raise InputError(
                f"{self.checkpoint.path}: {self.found[row]}: expected floating-point numbers, but it holds {kind}, as "
                "the weights of a quantized model do"
            )
        return transpose(values, row, source=self.checkpoint.format, target=target)


_FLOATING = {"float16", "bfloat16", "float32", "float64"}


def _name_of_type(values: Any) -> str:
    return values.dtype.name if hasattr(values, "dtype") else np.asarray(values).dtype.name


def scan(checkpoint: Checkpoint, config: BertConfig) -> Contents:
    """Finds the weights of a model of this depth among the names of a checkpoint."""
    prefix = prefix_of_all(checkpoint.shapes, checkpoint.format)
    names = {name.removeprefix(prefix): name for name in checkpoint.shapes if name.startswith(prefix)}
    found, passed_over = {}, {name for own, name in names.items() if is_ignored(own)}
    for row in table(config.num_hidden_layers):
        present = [names[name] for name in names_in(row, checkpoint.format) if name in names]
        if present:
            found[row] = present[0]
            passed_over |= {name for name in present[1:] if _are_equal(checkpoint, name, present[0])}
    unknown = sorted(set(checkpoint.shapes) - set(found.values()) - passed_over)
    contents = Contents(checkpoint, found, unknown, prefix)
    return _without_copies(contents) if config.tie_word_embeddings else contents


def _without_copies(contents: Contents) -> Contents:
    """Drops a weight that is a copy of the one it is tied to, as `transformers` 5 does.

    If they differ, both are kept; if only the copy exists, it is used for both.
    """
    found, by_keras = dict(contents.found), {row.keras: row for row in table(0)}
    for copy in contents.untied:
        original = by_keras[copy.tied_to]
        if original not in found:
            found[original] = found.pop(copy)
        elif _are_equal(contents.checkpoint, found[copy], found[original]):
            del found[copy]
    return contents._replace(found=found)


def _are_equal(checkpoint: Checkpoint, name: str, other: str) -> bool:
    return np.array_equal(checkpoint.read(name), checkpoint.read(other))


class Match(NamedTuple):
    """The result of matching a checkpoint with a model."""

    found: list[Row]  # the weights of the model that the checkpoint has
    new: list[str]  # the parts of the model that the checkpoint does not have
    unused: list[str]  # the checkpoint's names that have no place in the model


def match(contents: Contents, expected: Shapes) -> Match:
    """Matches the weights that a model needs, `expected`, with those of a checkpoint.

    A pooler or a head that is missing entirely is new. Anything else that does not fit raises one `InputError` that
    lists all of it with both shapes and says what to do.
    """
    found = [row for row in expected if row in contents.found]
    absent = [row for row in expected if row not in contents.found]
    new = sorted({part(row) for row in absent if not is_required(row)} - {part(row) for row in found})
    problems: list[Problem] = [
        *(Missing(row, expected[row]) for row in absent if part(row) not in new),
        *(OtherShape(row, expected[row], contents.shape(row)) for row in found if contents.shape(row) != expected[row]),
        *(Unexpected(name, contents.checkpoint.shapes[name]) for name in _in_the_encoder(contents)),
        *(NoPlace(row) for row in contents.untied if row not in expected and part(row) in map(part, expected)),
    ]
    if problems:
        raise InputError(_report(contents, problems))
    without_a_place = [name for row, name in contents.found.items() if row not in expected]
    return Match(found, new, sorted([*contents.unknown, *without_a_place]))


# ------------------------------------------------------------------------------------------------------------------
# The report
# ------------------------------------------------------------------------------------------------------------------


class Missing(NamedTuple):
    row: Row
    expected: tuple[int, ...]


class OtherShape(NamedTuple):
    row: Row
    expected: tuple[int, ...]
    found: tuple[int, ...]


class Unexpected(NamedTuple):
    """An unknown name inside the encoder: more layers than configured, or another architecture."""

    name: str
    found: tuple[int, ...]


class NoPlace(NamedTuple):
    """A weight that is tied in the model but separate in the checkpoint."""

    row: Row


Problem = Missing | OtherShape | Unexpected | NoPlace


def _in_the_encoder(contents: Contents) -> list[str]:
    return [name for name in contents.unknown if is_in_the_encoder(name.removeprefix(contents.prefix))]


def _report(contents: Contents, problems: list[Problem]) -> str:
    count = f"{len(problems)} problem{'s' if len(problems) > 1 else ''}"
    lines = [f"{contents.checkpoint.path}: the weights do not fit the model ({count})"]
    lines += [f"  {_line(problem, contents)}" for problem in problems]
    return "\n".join([*lines, *(f"what to do: {hint}" for hint in _hints(contents, problems))])


def _line(problem: Problem, contents: Contents) -> str:
    """One line of the report, with the name and the shapes as in the file."""
    if isinstance(problem, Unexpected):
        return f"unexpected: {problem.name} {list(problem.found)}"
    row, file_format = problem.row, contents.checkpoint.format
    name = contents.found.get(row) or getattr(row, file_format) or row.hf
    if isinstance(problem, NoPlace):
        return f"no place: {name} differs from {row.tied_to}, which it is in the model"
    expected = list(transpose(problem.expected, row, source="keras", target=file_format))
    if isinstance(problem, Missing):
        return f"missing: {name} {expected}"
    found = list(contents.checkpoint.shapes[name])
    return f"other shape: {name}: the model needs {expected}, the checkpoint has {found}"


def _hints(contents: Contents, problems: list[Problem]) -> Iterator[str]:
    misshapen = [problem for problem in problems if isinstance(problem, OtherShape)]
    if misshapen and all(has_vocabulary_axis(problem.row) for problem in misshapen):
        size = misshapen[0].found[0]
        yield f"load it with vocab_size {size}, then call resize_token_embeddings(n) or add_tokens(...)"
    elif misshapen and all(has_label_axis(problem.row) for problem in misshapen):
        yield "give num_labels as the checkpoint has it, or the names of other labels as labels=[...] for a new head"
    elif misshapen:
        yield "use the configuration file that belongs to this checkpoint"
    if any(isinstance(problem, NoPlace) for problem in problems):
        yield "make the model with tie_word_embeddings=False, or load it with from_pretrained, which does so"
    if any(isinstance(problem, Missing) and problem.row.tied_to for problem in problems):
        yield "set tie_word_embeddings to true in the configuration, if the decoder is the table of the embeddings"
    if not any(is_required(row) for row in contents.found):
        some = ", ".join(sorted(contents.checkpoint.shapes)[:3]) or "no names at all"
        yield f"this looks like another model's checkpoint (it holds {some} ...): name a BERT's"
    elif any(
        is_required(problem.row) if isinstance(problem, Missing) else isinstance(problem, Unexpected)
        for problem in problems
    ):
        yield "compare num_hidden_layers in the configuration with the checkpoint, and see that all its files are there"
