"""The `--help` output: the tool's description, then its flags by subject, those of the original BERT scripts first."""

import shutil
import sys
import textwrap

from absl import flags

# The flags of create_pretraining_data.py, run_pretraining.py, run_squad.py, run_classifier.py and extract_features.py.
ORIGINAL = frozenset(
    """input_file output_file vocab_file do_lower_case do_whole_word_mask max_seq_length max_predictions_per_seq
    random_seed dupe_factor masked_lm_prob short_seq_prob bert_config_file init_checkpoint output_dir do_train do_eval
    train_batch_size eval_batch_size learning_rate num_train_steps num_warmup_steps save_checkpoints_steps
    iterations_per_loop max_eval_steps use_tpu tpu_name tpu_zone gcp_project master num_tpu_cores train_file
    predict_file do_predict predict_batch_size num_train_epochs warmup_proportion doc_stride max_query_length
    n_best_size max_answer_length verbose_logging version_2_with_negative null_score_diff_threshold data_dir task_name
    layers batch_size""".split()
)
_FILES = ("_file", "_dir", "report", "output", "input", "overwrite", "_folder")
_RUNNING = frozenset(
    """strategy precision jit_compile micro_batch_size recompute optimizer keep_checkpoints log_steps seed num_workers
    preflight tpu_topology tpu_compiler preflight_timeout verbose language save_checkpoints_minutes workers host port
    runner beam_option""".split()
)


def text(description: str, keys: list[flags.Flag]) -> str:
    """The help text of a tool: its description unchanged, then each subject with its flags."""
    width = min(shutil.get_terminal_size((100, 24)).columns, 120)
    parts = [textwrap.dedent(description).strip()]
    for subject, members in _by_subject(keys).items():
        parts.append("\n".join([f"{subject}:", *(_entry(flag, width) for flag in members)]))
    return (
        "\n\n".join([*parts, "--flagfile=NAME reads flags from a file; --helpfull lists absl's own flags too."]) + "\n"
    )


def _by_subject(keys: list[flags.Flag]) -> dict[str, list[flags.Flag]]:
    """Groups the flags by subject, sorted by name; subjects without flags are omitted."""
    subjects: dict[str, list[flags.Flag]] = {
        "flags of the original scripts": [],
        "data and model": [],
        "running": [],
        "files": [],
    }
    for flag in sorted(keys, key=lambda flag: flag.name):
        if flag.name in ORIGINAL:
            subjects["flags of the original scripts"].append(flag)
        elif flag.name in _RUNNING:
            subjects["running"].append(flag)
        elif flag.name.endswith(_FILES) or flag.name.startswith("overwrite"):
            subjects["files"].append(flag)
        else:
            subjects["data and model"].append(flag)
    return {subject: members for subject, members in subjects.items() if members}


def _entry(flag: flags.Flag, width: int) -> str:
    name = f"--[no]{flag.name}" if flag.boolean else f"--{flag.name}"
    quiet = flag.default is None or flag.default is False or flag.default in ("", [])
    default = "" if quiet else f" (default: {_shown(flag.default)})"
    help_text = " ".join(f"{flag.help or ''}{default}".split())
    return textwrap.fill(f"  {name}: {help_text}", width, subsequent_indent=" " * 6, break_on_hyphens=False)


def _shown(default: object) -> str:
    if default is True:
        return "on"
    return ",".join(map(str, default)) if isinstance(default, list) else str(default)


def show(keys: list[flags.Flag]) -> None:
    """Prints the help of the running program."""
    sys.stdout.write(text(sys.modules["__main__"].__doc__ or "", keys))
    sys.stdout.flush()
