"""Valid ranges of the numeric command line flags, by the flag names that all tools share.

A number far outside is a typing error that would otherwise lead to a NumPy error about gigabytes, or run for a year.
The bounds are wide; the limits of a model or a corpus are checked where they are known.
"""

import math
from collections.abc import Mapping

from kobert_tf2.errors import InputError

_STEPS = (1, 2**31 - 1)  # Steps are counted in int32 on the device.
_LENGTH = (1, 2**16)
_ROWS = (1, 2**20)

BOUNDS: dict[str, tuple[float, float]] = {
    **dict.fromkeys(("max_seq_length", "max_predictions_per_seq", "max_query_length", "max_answer_length"), _LENGTH),
    **dict.fromkeys(("doc_stride", "n_best_size"), _LENGTH),
    **dict.fromkeys(("train_batch_size", "eval_batch_size", "predict_batch_size", "micro_batch_size"), _ROWS),
    **dict.fromkeys(("batch_size", "keep_checkpoints", "top_k"), _ROWS),
    **dict.fromkeys(
        (
            "num_train_steps",
            "eval_steps",
            "early_stopping_patience",
            "save_checkpoints_steps",
            "log_steps",
            "iterations_per_loop",
        ),
        _STEPS,
    ),
    **dict.fromkeys(("max_eval_steps", "held_out_steps"), _STEPS),
    "num_warmup_steps": (0, 2**31 - 1),
    "save_checkpoints_minutes": (0, 1e6),
    "layer_decay": (0, 1),
    "head_learning_rate": (0, 1e6),
    "lora_rank": (1, 4096),
    "label_smoothing": (0, 0.999),
    "num_workers": (1, 1024),
    "workers": (1, 256),
    "num_tpu_cores": (1, 2**16),
    "worker_timeout": (1, 7 * 24 * 3600),
    "preflight_timeout": (1, 86_400),
    "num_shards": (1, 99_999),  # The number in a shard's name has five digits.
    "dupe_factor": (1, 10_000),
    "vocab_size": (8, 10_000_000),
    "num_unused": (0, 1_000_000),
    "min_frequency": (1, 2**31 - 1),
    "held_out": (0, 2**31 - 1),
    "version": (1, 2**31 - 1),
    "seed": (0, 2**32 - 1),
    "learning_rate": (0, 1e6),
    "num_train_epochs": (0, 1e6),
    "warmup_proportion": (0, 1),
    "eval_fraction": (0, 1),
    "threshold": (0, 1),
    "masked_lm_prob": (0, 1),
    "short_seq_prob": (0, 1),
    "null_score_diff_threshold": (-math.inf, math.inf),
    **dict.fromkeys(("max_waiting", "max_per_address"), (1, 100_000)),
    **dict.fromkeys(("max_question_length", "max_context_length"), (1, 10_000_000)),
    "max_attention_length": (3, 1024),
    "max_connections": (10, 100_000),
    **dict.fromkeys(("header_seconds", "body_seconds", "total_seconds", "drain_seconds"), (0.1, 86_400)),
}


def check(values: Mapping[str, object]) -> None:
    """Raises `InputError` for the first of these {flag: value} that is out of bounds; NaN counts as out of bounds."""
    for name, value in values.items():
        if name not in BOUNDS or isinstance(value, bool) or not isinstance(value, int | float):
            continue
        low, high = BOUNDS[name]
        if not low <= value <= high:
            raise InputError(f"--{name}: expected a number from {low:,} to {high:,}, but got {value}")
