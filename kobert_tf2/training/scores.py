"""Writes the scores of an evaluation to a file, in the same format for every task."""

from collections.abc import Mapping

from kobert_tf2 import files
from kobert_tf2.bert import model_card


def write_eval_results(output_dir: str, results: Mapping[str, object]) -> None:
    """Writes `output_dir/eval_results.txt` like the original scripts (`key = value` lines sorted by name), and adds the
    scores to the model card there.
    """
    with files.whole_file(f"{output_dir}/eval_results.txt") as file:
        for name in sorted(results):
            file.write(f"{name} = {results[name]}\n")
    model_card.add_scores(f"{output_dir}/model", results)
