"""How a reader reads: the lengths of its windows, and which answers are kept."""

import dataclasses
import math

from kobert_tf2.errors import InputError
from kobert_tf2.reading import windows


@dataclasses.dataclass(frozen=True, kw_only=True)
class ReadingSettings:
    """run_squad's lengths, and how many answers are kept; the same in training, prediction, predictor and export.

    Attributes:
      max_seq_length, doc_stride, max_query_length: tokens; see `windows.make_windows`.
      max_answer_length: tokens of an answer at most.
      n_best_size: how many spans of a question are kept.
      null_score_diff_threshold: None: every question has an answer. Otherwise none is given where the score of "no
        answer" is higher than the best span's by more than this (SQuAD 2.0; the original's default is 0).
    """

    max_seq_length: int = 384
    doc_stride: int = 128
    max_query_length: int = 64
    max_answer_length: int = 30
    n_best_size: int = 20
    null_score_diff_threshold: float | None = None

    @classmethod
    def fitting(cls, max_position_embeddings: int, **given: object) -> "ReadingSettings":
        """The defaults, no longer than the model's positions; what is given (and not None) stands, and is checked."""
        given = {name: value for name, value in given.items() if value is not None}
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

    @property
    def lengths(self) -> dict[str, int]:
        """How texts are cut into windows, as `windows.make_windows` takes it."""
        return {name: getattr(self, name) for name in ("max_seq_length", "doc_stride", "max_query_length")}

    @property
    def best(self) -> dict[str, int]:
        """Which spans are kept, as `answers.decode` takes it."""
        return {name: getattr(self, name) for name in ("n_best_size", "max_answer_length")}

    def check(self) -> None:
        """Raises InputError for lengths that leave no room or lose tokens, and for counts below 1."""
        windows.check_lengths(**self.lengths)
        for name, value in self.best.items():
            if value < 1:
                raise InputError(f"{name}: expected at least 1, but got {value}")
        if self.null_score_diff_threshold is not None and math.isnan(self.null_score_diff_threshold):
            raise InputError("null_score_diff_threshold: expected a number, but got nan")
