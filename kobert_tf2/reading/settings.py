"""The settings of a reader: the lengths of its windows, and which answers it keeps.

Training stores the settings in the model's `config.json`, where Hugging Face keeps task-specific parameters:

    "task_specific_params": {"question-answering": {"max_seq_length": 384, "doc_stride": 128, ...}}

so that a predictor and an export use the settings of training without any flags.
"""

import contextlib
import dataclasses
import math
import numbers
import sys
from collections.abc import Mapping
from typing import Any

import numpy as np

from kobert_tf2 import files, outputs
from kobert_tf2.errors import InputError
from kobert_tf2.reading import windows
from kobert_tf2.tokenization.tokenizer import Tokenizer

_TASK = "question-answering"


@dataclasses.dataclass(frozen=True, kw_only=True)
class ReadingSettings:
    """run_squad's lengths and answer limits, shared by training, prediction, predictor and export.

    Attributes:
      max_seq_length, doc_stride, max_query_length: tokens; see `windows.make_windows`.
      max_answer_length: maximum number of tokens of an answer.
      n_best_size: number of spans kept per question.
      null_score_diff_threshold: None: every question has an answer. Otherwise "no answer" is given if its score exceeds
        the best span's by more than this (SQuAD 2.0; the original's default is 0).
      strip_josa: whether particles are stripped from answers; None: depends on the tokenizer, see `strips_josa`.
    """

    max_seq_length: int = 384
    doc_stride: int = 128
    max_query_length: int = 64
    max_answer_length: int = 30
    n_best_size: int = 20
    null_score_diff_threshold: float | int | None = None
    strip_josa: bool | None = None

    @classmethod
    def fitting(
        cls, max_position_embeddings: int, *, kept: Mapping[str, Any] | None = None, **given: Any
    ) -> "ReadingSettings":
        """The given values (if not None), else the kept ones, else the defaults, limited to the model's positions. All
        are checked; a value that does not fit raises `InputError`.

        If `max_seq_length` differs from the kept one, the kept stride and query length are ignored: they belong to the
        kept length.
        """
        given = {name: value for name, value in given.items() if value is not None}
        kept = dict(kept or {})
        if given.get("max_seq_length", kept.get("max_seq_length")) != kept.get("max_seq_length"):
            kept = {name: value for name, value in kept.items() if name not in ("doc_stride", "max_query_length")}
        given = {name: value for name, value in kept.items() if value is not None} | given
        cls.checked_fields(given, "reading settings")
        given = {name: value.item() if isinstance(value, np.generic) else value for name, value in given.items()}
        longest = given.setdefault("max_seq_length", min(384, max_position_embeddings))
        query = given.setdefault("max_query_length", min(64, longest // 4))
        given.setdefault("doc_stride", min(128, max(1, (longest - query - 3) // 2)))
        settings = cls(**given)
        if settings.max_seq_length > max_position_embeddings:
            raise InputError(
                f"max_seq_length: expected at most the model's max_position_embeddings, {max_position_embeddings}, "
                f"but got {settings.max_seq_length}"
            )
        settings.check()
        return settings

    @classmethod
    def kept_in(cls, config_file: str) -> dict[str, Any]:
        """The fields stored in a model's `config.json`; {} if there are none.

        In a file that this package did not write, "question-answering" may contain anything: entries with the name and
        type of a field that fit the model are used, and the others are reported on standard error.

        Raises:
          InputError: a file written by this package has a field of another name or type.
        """
        values: Any = files.read_json(config_file, dict)
        content, is_ours, where = values, outputs.SIGN in values, config_file
        for name in ("task_specific_params", _TASK):
            values, where = values.get(name), f"{where}, {name}"
            if values is None:
                return {}
            if not isinstance(values, dict):
                if not is_ours:
                    return {}
                raise InputError(f"{where}: expected an object, but got {files.json_name(values)}")
        return cls.checked_fields(values, where) if is_ours else cls._usable(values, content, where)

    @classmethod
    def _usable(cls, values: dict[str, Any], config: Mapping[str, Any], where: str) -> dict[str, Any]:
        """The usable ones of fields that another program wrote; the others are reported."""
        kept: dict[str, Any] = {}
        for name, value in values.items():
            with contextlib.suppress(InputError):
                kept |= cls.checked_fields({name: value}, where)
        positions = config.get("max_position_embeddings")
        with contextlib.suppress(InputError):
            cls.fitting(positions if isinstance(positions, int) else 512, kept=kept)
            passed_over = [name for name in values if name not in kept]
            if passed_over:
                print(
                    f"{where}: not used, because they are no settings of ours: {', '.join(passed_over)}",
                    file=sys.stderr,
                )
            return kept
        print(f"{where}: not used, because they do not fit this model: {', '.join(values)}", file=sys.stderr)
        return {}

    @classmethod
    def checked_fields(cls, values: Any, where: str) -> dict[str, Any]:
        """The fields read from `where`, after checking that each has a name and type of this class."""
        types: dict[str, Any] = {field.name: field.type for field in dataclasses.fields(cls)}
        if not isinstance(values, dict) or not values.keys() <= types.keys():
            raise InputError(f"{where}: expected an object of {', '.join(types)}, but got {values!r:.100}")
        for name, value in values.items():
            kinds, described = _EXPECTED[types[name]]
            if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
                raise InputError(f"{where}: expected {name} to be {described}, but got {value!r:.100}")
        return values

    def to_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    def to_config(self) -> dict[str, dict]:
        """`task_specific_params` for a model's `config.json`, from which `kept_in` reads them."""
        return {_TASK: self.to_dict()}

    @property
    def lengths(self) -> dict[str, int]:
        """The window lengths, as keyword arguments of `windows.make_windows`."""
        return {name: getattr(self, name) for name in ("max_seq_length", "doc_stride", "max_query_length")}

    @property
    def best(self) -> dict[str, int]:
        """Which spans are kept, as keyword arguments of `answers.decode`."""
        return {name: getattr(self, name) for name in ("n_best_size", "max_answer_length")}

    def check(self) -> None:
        """Raises `InputError` for lengths that leave no room or lose tokens, and for counts below 1."""
        windows.check_lengths(**self.lengths)
        for name, value in self.best.items():
            if value < 1:
                raise InputError(f"{name}: expected at least 1, but got {value}")
        if self.null_score_diff_threshold is not None and math.isnan(self.null_score_diff_threshold):
            raise InputError("null_score_diff_threshold: expected a number, but got nan")


# For each field type: the accepted value types (including NumPy's numbers) and their description in messages.
_EXPECTED: dict[Any, tuple[tuple[type, ...], str]] = {
    int: ((numbers.Integral,), "a whole number"),
    float | int | None: ((numbers.Real, type(None)), "a number or null"),
    bool | None: ((bool, type(None)), "true, false or null"),
}


def strips_josa(asked: bool | None, tokenizer: Tokenizer) -> bool:
    """Whether to strip particles from answers: as asked, or by default if the `Tokenizer` does not use Mecab, since
    then no token boundary separates a particle.
    """
    return tokenizer.settings()["pre_tokenizer"] != "mecab" if asked is None else asked
