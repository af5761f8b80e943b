"""A checkpoint's names matched with the weights that a model needs; everything that does not fit is one report.

`weight_names.py` knows the names and `checkpoint_files.py` the files; nothing here knows either.
"""

from collections.abc import Iterator
from typing import NamedTuple

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
    table,
    transpose,
)
from kobert_tf2.errors import InputError

Shapes = dict[Row, tuple[int, ...]]  # as Keras has them


class Contents(NamedTuple):
    """What a checkpoint holds, by the table of names: made once, by `scan`, for everything that asks."""

    checkpoint: Checkpoint
    found: dict[Row, str]  # the checkpoint's name of each weight
    unknown: list[str]  # its names that belong to no weight, sorted

    @property
    def parts(self) -> set[str]:
        return {part(row) for row in self.found}

    @property
    def num_labels(self) -> int | None:
        """How many labels the checkpoint's classifier has; `None` where it has none."""
        return next((self.shape(row)[-1] for row in self.found if has_label_axis(row)), None)

    def shape(self, row: Row) -> tuple[int, ...]:
        """The shape of a weight that was found, as Keras has it."""
        shape = tuple(self.checkpoint.shapes[self.found[row]])
        return transpose(shape, row, source=self.checkpoint.format, target="keras")

    def read(self, row: Row, *, target: str = "keras"):
        """The array of a weight that was found, in the layout of a format; NumPy's, or TensorFlow's as it was read."""
        values = self.checkpoint.read(self.found[row])
        return transpose(values, row, source=self.checkpoint.format, target=target)


def scan(checkpoint: Checkpoint, config: BertConfig) -> Contents:
    """Which of a checkpoint's names holds which weight of a model of this depth."""
    found = {}
    for row in table(config.num_hidden_layers):
        name = next((name for name in names_in(row, checkpoint.format) if name in checkpoint.shapes), None)
        if name is not None:
            found[row] = name
    others = sorted(set(checkpoint.shapes) - set(found.values()))
    return Contents(checkpoint, found, [name for name in others if not is_ignored(name)])


class Match(NamedTuple):
    """How a checkpoint and a model fit together."""

    found: list[Row]  # the weights of the model that the checkpoint has
    new: list[str]  # the parts of the model that the checkpoint does not have
    unused: list[str]  # the checkpoint's names that have no place in the model


def match(contents: Contents, expected: Shapes) -> Match:
    """Matches the weights of a model, `expected`, with a checkpoint's.

    A pooler or a head of which the checkpoint has nothing is new. Everything else that does not fit is one
    `InputError` that lists all of it with both shapes and says what to do.
    """
    found = [row for row in expected if row in contents.found]
    absent = [row for row in expected if row not in contents.found]
    new = sorted({part(row) for row in absent if not is_required(row)} - {part(row) for row in found})
    problems = [
        *(Missing(row, expected[row]) for row in absent if part(row) not in new),
        *(OtherShape(row, expected[row], contents.shape(row)) for row in found if contents.shape(row) != expected[row]),
        *(Unexpected(name, contents.checkpoint.shapes[name]) for name in contents.unknown if is_in_the_encoder(name)),
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
    """A name inside the encoder that no weight has: more layers than configured, or another architecture."""

    name: str
    found: tuple[int, ...]


Problem = Missing | OtherShape | Unexpected


def _report(contents: Contents, problems: list[Problem]) -> str:
    count = f"{len(problems)} problem{'s' if len(problems) > 1 else ''}"
    lines = [f"{contents.checkpoint.path}: the weights do not fit the model ({count})"]
    lines += [f"  {_line(problem, contents)}" for problem in problems]
    return "\n".join([*lines, *(f"what to do: {hint}" for hint in _hints(contents, problems))])


def _line(problem: Problem, contents: Contents) -> str:
    """One problem, with the name and the shapes as the file has them."""
    if isinstance(problem, Unexpected):
        return f"unexpected: {problem.name} {list(problem.found)}"
    row, file_format = problem.row, contents.checkpoint.format
    name = contents.found.get(row, names_in(row, file_format)[0])
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
        yield "give num_labels as the checkpoint has it, or load the backbone alone and put a new head on it"
    elif misshapen:
        yield "use the configuration file that belongs to this checkpoint"
    if not any(is_required(row) for row in contents.found):
        some = ", ".join(sorted(contents.checkpoint.shapes)[:3]) or "no names at all"
        yield f"this looks like another model's checkpoint (it holds {some} ...): name a BERT's"
    elif len(misshapen) < len(problems):
        yield "compare num_hidden_layers in the configuration with the checkpoint, and see that all its files are there"
