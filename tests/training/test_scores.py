"""eval_results.txt in the format of the original scripts."""

from kobert_tf2.training.scores import write_eval_results


def test_scores_are_lines_by_name(tmp_path, capfd):
    write_eval_results(str(tmp_path), {"loss": 0.5, "eval_accuracy": 0.25, "global_step": 3})
    lines = (tmp_path / "eval_results.txt").read_text().splitlines()
    assert lines == ["eval_accuracy = 0.25", "global_step = 3", "loss = 0.5"]
    assert capfd.readouterr().out == "", "standard output belongs to the tool's result"


def test_an_earlier_file_is_replaced_whole(tmp_path):
    for value in (1, 2):
        write_eval_results(str(tmp_path), {"loss": value})
    assert (tmp_path / "eval_results.txt").read_text() == "loss = 2\n"
    assert [path.name for path in tmp_path.iterdir()] == ["eval_results.txt"]
