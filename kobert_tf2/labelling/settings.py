"""The settings of a classifier or a tagger, stored in its model directory.

Training stores the settings in the model's `config.json`, where Hugging Face keeps task-specific parameters:

    "task_specific_params": {"text-classification": {"max_seq_length": 128, "thresholds": {"폭력": 0.31, ...}}}
    "task_specific_params": {"token-classification": {"max_seq_length": 128, "doc_stride": 64}}

so that prediction uses the settings of training without any flags.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from kobert_tf2 import files
from kobert_tf2.errors import InputError
from kobert_tf2.labelling import problems

CLASSIFIER, TAGGER = "text-classification", "token-classification"


@dataclasses.dataclass(frozen=True, kw_only=True)
class ClassifierSettings:
    """The settings stored with a classifier's weights; None means unknown.

    Attributes:
      max_seq_length: tokens per row; longer rows are truncated.
      takes_pairs: whether it was trained on pairs of texts.
      thresholds: {label: the lowest probability at which it is predicted}, for multi-label problems.
      score_range: the lowest and the highest value of a regression.
      markers: the markers around the subject and the object of a relation.
    """

    max_seq_length: int | None = None
    takes_pairs: bool | None = None
    thresholds: Mapping[str, float] | None = None
    score_range: tuple[float, float] | None = None
    markers: Sequence[str] | None = None

    def to_config(self) -> dict[str, dict]:
        """`task_specific_params` for a model's `config.json`, from which `kept_in` reads them."""
        return _to_config(self, CLASSIFIER)

    @classmethod
    def kept_in(cls, config_file: str, labels: Sequence[str]) -> "ClassifierSettings":
        """The settings stored in a model's `config.json`; `labels` are the model's labels. Unknown entries are ignored.

        Raises:
          InputError: a value has the wrong type, or there are thresholds for labels that the model does not have.
        """
        known, where = _kept_in(cls, config_file, CLASSIFIER)
        problems.check_thresholds(known.get("thresholds", {}), labels, where)
        if "score_range" in known:
            known["score_range"] = tuple(map(float, known["score_range"]))
        return cls(**known)


@dataclasses.dataclass(frozen=True, kw_only=True)
class TaggerSettings:
    """The settings stored with a tagger's weights; None means unknown.

    Attributes:
      max_seq_length, doc_stride: tokens of a window over a long text, and tokens from one window's start to the next.
      strip_josa: whether particles are stripped from predicted entities; None: only if the tokenizer does not use
        Mecab.
    """

    max_seq_length: int | None = None
    doc_stride: int | None = None
    strip_josa: bool | None = None

    def to_config(self) -> dict[str, dict]:
        """See `ClassifierSettings.to_config`."""
        return _to_config(self, TAGGER)

    @classmethod
    def kept_in(cls, config_file: str) -> "TaggerSettings":
        """See `ClassifierSettings.kept_in`."""
        return cls(**_kept_in(cls, config_file, TAGGER)[0])


def _to_config(settings: Any, task: str) -> dict[str, dict]:
    return {task: {name: value for name, value in dataclasses.asdict(settings).items() if value is not None}}


def _kept_in(cls: Any, config_file: str, task: str) -> tuple[dict[str, Any], str]:
    """Reads and checks the fields of a settings class stored for a task; also returns their location for messages."""
    values: Any = files.read_json(config_file, dict) if files.exists(config_file) else {}
    where = config_file
    for name in ("task_specific_params", task):
        values, where = values.get(name) or {}, f"{where}, {name}"
        if not isinstance(values, dict):
            raise InputError(f"{where}: expected an object, but got {files.json_name(values)}")
    names = [field.name for field in dataclasses.fields(cls)]
    known = {name: values[name] for name in names if values.get(name) is not None}
    for name, value in known.items():
        is_right, expected = _CHECKS[name]
        if not is_right(value):
            raise InputError(f"{where}: expected {name} to be {expected}, but got {value!r:.100}")
    return known, where


def _are_strings(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 4 and all(isinstance(each, str) and each for each in value)


def _is_range(value: Any) -> bool:
    numbers = isinstance(value, list) and len(value) == 2 and all(type(each) in (int, float) for each in value)
    return numbers and value[0] < value[1]


# The check for each field's value, and the description of valid values in messages.
_CHECKS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "max_seq_length": (lambda value: type(value) is int and value >= 4, "a whole number of at least 4"),
    "doc_stride": (lambda value: type(value) is int and value >= 1, "a whole number of at least 1"),
    "strip_josa": (lambda value: isinstance(value, bool), "true or false"),
    "takes_pairs": (lambda value: isinstance(value, bool), "true or false"),
    "thresholds": (lambda value: isinstance(value, dict), "an object of labels and numbers"),
    "score_range": (_is_range, "two numbers, the lower first"),
    "markers": (_are_strings, "four strings"),
}
