"""The scores of an evaluation as a file, the same for every task."""

import sys
from collections.abc import Mapping

from kobert_tf2 import files


def write_eval_results(output_dir: str, results: Mapping[str, object]) -> None:
    """Writes `output_dir/eval_results.txt` as the original scripts do, `key = value` lines by name, and reports them on
    standard error."""
    with files.whole_file(f"{output_dir}/eval_results.txt") as file:
        for name in sorted(results):
            print(f"  {name} = {results[name]}", file=sys.stderr)
            file.write(f"{name} = {results[name]}\n")
