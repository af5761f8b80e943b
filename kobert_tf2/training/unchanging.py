"""Settings that must not change when a run is resumed, and how a difference is reported.

The manifest of a checkpoint records, under `settings`, how its run was started: the flags that determine the result and
what was derived from the tool's input files. A run that finds the checkpoint is compared with it, whether the earlier
run was interrupted or finished: with another learning rate, say, training would differ or not happen at all.
"""

import dataclasses
import json
import os
from collections.abc import Mapping, Sequence
from typing import Any

from kobert_tf2 import files
from kobert_tf2.errors import InputError

# Every flag of the training tools is in one of these three tables; a test checks this.

# 1. Flags that determine the result. A resumed run must have the same value.
BY_VALUE = frozenset(
    """
    learning_rate train_batch_size optimizer seed precision init_checkpoint
    num_train_steps num_warmup_steps num_train_epochs warmup_proportion
    max_seq_length max_predictions_per_seq max_query_length doc_stride
    version_2_with_negative unanswerable_windows eval_fraction file_format
    layer_decay head_learning_rate freeze lora_rank label_smoothing class_weights
    eval_steps early_stopping_patience
    text_column pair_column label_column label_separator score_range additional_special_tokens
    entity_markers
    """.split()
)

# 2. Flags that name files that determine the result. The contents are compared, not the location.
BY_CONTENT = frozenset(
    """
    train_file data_dir input_file problem_type bert_config_file vocab_file dictionary user_dictionary pre_tokenizer
    continuation tags decompose_compounds do_lower_case strip_accents
    masked_lm_prob short_seq_prob dupe_factor random_seed do_whole_word_mask mask_unit input_format
    pack_sequences
    """.split()
)

# 3. Flags that may change, with the reason.
FREE = {
    **dict.fromkeys(("output_dir", "do_train"), "they are what finds the run"),
    **dict.fromkeys(
        ("strategy", "use_tpu", "tpu_name", "tpu_zone", "gcp_project", "master", "num_tpu_cores", "worker_timeout"),
        "any number of devices computes the same step up to rounding",
    ),
    **dict.fromkeys(
        ("micro_batch_size", "recompute", "jit_compile", "iterations_per_loop", "num_workers"),
        "how a step is computed: the same up to rounding and the draws of dropout; a smaller machine must be able to "
        "go on",
    ),
    **dict.fromkeys(
        ("save_checkpoints_steps", "save_checkpoints_minutes", "keep_checkpoints", "log_steps", "verbose", "language"),
        "what is written and shown on the way",
    ),
    **dict.fromkeys(
        (
            *("do_eval", "do_predict", "eval_file", "predict_file", "eval_batch_size", "predict_batch_size"),
            *("max_eval_steps", "metric"),
        ),
        "what is evaluated or predicted with the trained weights",
    ),
    **dict.fromkeys(
        (
            *("n_best_size", "max_answer_length", "null_score_diff_threshold", "strip_josa", "threshold"),
            "choose_thresholds",
        ),
        "how answers are chosen; the model directory gets the new value",
    ),
    **dict.fromkeys(("preflight", "tpu_topology", "tpu_compiler", "preflight_timeout"), "nothing is trained"),
    **dict.fromkeys(("verbose_logging", "task_name"), "of the original, without effect"),
}


def flags_of(settings: Any) -> dict[str, Any]:
    """The flags in a settings dataclass that determine the result, {name: value}; paths are made absolute."""
    named = {field.name: getattr(settings, field.name) for field in dataclasses.fields(settings)}
    values = {name: value for name, value in named.items() if name in BY_VALUE}
    begin = values.get("init_checkpoint")
    if begin and not files.is_remote(begin) and (os.path.exists(begin) or os.path.exists(f"{begin}.index")):
        values["init_checkpoint"] = os.path.realpath(begin)
    return values


def file_read(flag: str, path: str) -> dict[str, Any]:
    """The values to compare for a training file: `{flag: SHA-256}`, and its size for the message."""
    size = lines = 0
    with files.open_binary(path) as file:
        while block := file.read(1 << 20):
            size, lines = size + len(block), lines + block.count(b"\n")
    return {flag: files.sha256(path), f"{flag}_found": {"path": path, "bytes": size, "lines": lines}}


def shards_read(paths: Sequence[str], sidecar: Mapping[str, Any]) -> dict[str, Any]:
    """The values to compare for TFRecords, by file name: sizes, and the checksums in their sidecar file."""
    sums = {shard["name"]: shard["sha256"] for shard in sidecar.get("shards", ())}
    found = {}
    for path in paths:
        name = os.path.basename(path)
        found[name] = {"bytes": files.size(path), "sha256": sums.get(name)}
    return {"input_data": found, "input_files": list(found)}


def tokenizer_used(tokenizer: Any) -> dict[str, Any]:
    """The values to compare for a tokenizer: its settings, by flag name, and a hash of everything that determines
    ids.
    """
    settings = {name: value for name, value in tokenizer.settings().items() if name in BY_CONTENT}
    for name in ("dictionary", "user_dictionary"):  # Location is irrelevant: the fingerprint covers the content.
        settings.pop(name, None)
    return {"tokenizer": settings, "tokenizer_fingerprint": tokenizer.fingerprint()}


def config_used(config: Any) -> dict[str, Any]:
    """The values to compare for a configuration. Sizes are omitted, because weights of another size do not fit
    anyway.
    """
    names = ("hidden_act", "hidden_dropout_prob", "attention_probs_dropout_prob", "classifier_dropout")
    return {"bert_config": {name: getattr(config, name) for name in names if hasattr(config, name)}}


def check(saved: Mapping[str, Any], now: Mapping[str, Any], *, place: str | None, settings: Any) -> None:
    """Raises `InputError` for the first value in `now` that differs from `saved`, with its name and both values.

    Values that an earlier version did not save are not compared. `place` is the folder of the run. The flag named
    `may_grow` by the class of `settings` may be raised.
    """
    may_grow = getattr(settings, "may_grow", None)
    for name, value in now.items():
        value = json.loads(json.dumps(value))
        if name not in saved or name.endswith("_found") or saved[name] == value:
            continue
        if name == may_grow and value > saved[name]:
            continue
        if hasattr(settings, "init_checkpoint"):
            other = f"another --output_dir (--init_checkpoint={place}/model takes its weights)"
        else:
            other = "another output_dir"
        raise InputError(
            f"{place}: the run there {_difference(name, saved, {**now, name: value})}; go on with what it was begun "
            f"with, or start a new run in {other}"
        )


def _difference(name: str, saved: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    before, value = saved[name], now[name]
    if f"{name}_found" in now:
        return _other_file(name, saved.get(f"{name}_found"), now[f"{name}_found"])
    if name in ("input_data", "input_files"):
        return _other_shards(before, value)
    if name == "tokenizer_fingerprint":
        return "was begun with a tokenizer that cuts text otherwise (--vocab_file: other pieces or another dictionary)"
    if isinstance(before, dict) and isinstance(value, dict):
        prefix = "--" if name == "tokenizer" else "--bert_config_file with "
        changed = next(key for key in {**before, **value} if before.get(key) != value.get(key))
        return f"has {prefix}{changed}={before.get(changed)}, but now came {value.get(changed)}"
    flag = f"--{name}" if name in BY_VALUE | BY_CONTENT else name
    if before is None:
        return f"has no {flag}, but now came {value!r}"
    return f"has {flag}={before!r}, but now came {'none' if value is None else repr(value)}"


def _other_file(flag: str, before: dict | None, now: dict) -> str:
    said = f"was begun with another --{flag} than {now['path']} is now"
    if not before:
        return said
    for unit in ("lines", "bytes"):
        if before[unit] != now[unit]:
            return f"{said}: it had {before[unit]:,} {unit}, this has {now[unit]:,}"
    return f"{said}: of the same length, but with other content"


def _other_shards(before: Any, now: Any) -> str:
    """`before`, `now`: {file name: {"bytes", "sha256"}}, or names alone."""
    gone, new = ([name for name in a if name not in b] for a, b in ((before, now), (now, before)))
    if gone or new:
        parts = [f"{what} {', '.join(names[:3])}" for what, names in (("without", gone), ("and with", new)) if names]
        return f"was begun with other files of --input_file: these are {' '.join(parts).removeprefix('and ')}"
    if not isinstance(before, dict):
        return "was begun with the files of --input_file in another order"
    name = next(name for name in before if before[name] != now[name])
    sizes = f"{before[name]['bytes']:,} bytes then, {now[name]['bytes']:,} now"
    what = sizes if before[name]["bytes"] != now[name]["bytes"] else "of the same size, but with other content"
    return f"was begun with another {name} of --input_file: {what}"
