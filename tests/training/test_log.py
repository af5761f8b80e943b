"""The log of a run: sums over the steps of a record, and a file that continues from the checkpoint's step."""

import json

import pytest
from bad_json import BAD_JSON
from hypothesis import given
from hypothesis import strategies as st

from kobert_tf2.errors import InputError
from kobert_tf2.training import log as training_log

PAIRS = st.lists(st.tuples(st.integers(-50, 50), st.integers(0, 9)), min_size=1, max_size=8)


@given(PAIRS, st.integers(0, 8))
def test_a_window_that_goes_through_a_checkpoint_has_the_same_means(pairs, cut):
    """`cut`: where the run was interrupted; the sums pass through JSON."""
    whole, parts = training_log.Window(), training_log.Window()
    for number, (total, weight) in enumerate(pairs):
        if number == cut:
            parts = training_log.Window(json.loads(json.dumps(parts.sums)))
        for window in (whole, parts):
            window.add({"loss": (float(total), float(weight)), "learning_rate": (float(number), 1.0)})
    assert whole.sums == parts.sums
    weights = sum(weight for _, weight in pairs)
    means = parts.means()
    assert means["learning_rate"] == len(pairs) - 1, "its last value counts"
    if weights:
        assert means["loss"] == pytest.approx(sum(total for total, _ in pairs) / weights)
    else:
        assert means["loss"] != means["loss"]


@pytest.mark.parametrize("name", BAD_JSON)
def test_a_log_that_is_none_is_a_sentence_and_stays(tmp_path, name):
    path = tmp_path / "train_log.jsonl"
    content = '{"step": 1}\n' + BAD_JSON[name].replace("\n", "") + "\n"
    path.write_text(content)
    with pytest.raises(InputError, match=r"train_log\.jsonl"):
        training_log._keep_records_up_to(str(path), 10)
    assert path.read_text() == content


@pytest.mark.parametrize("line", ["[]", "3", "{}", '{"step": "1"}', '{"step": true}', '{"step": null}'])
def test_a_record_of_a_log_has_its_step(tmp_path, line):
    path = tmp_path / "train_log.jsonl"
    path.write_text(f'{{"step": 1}}\n{line}\n')
    with pytest.raises(InputError, match=r"train_log\.jsonl.*(line 2: expected a record|expected a JSON object)"):
        training_log._keep_records_up_to(str(path), 10)


def test_records_past_the_checkpoint_and_half_lines_go(tmp_path):
    path = tmp_path / "train_log.jsonl"
    path.write_text('{"step": 1}\n{"step": 5}\n{"step": 9}\n{"step": 1')
    training_log._keep_records_up_to(str(path), 5)
    assert path.read_text() == '{"step": 1}\n{"step": 5}\n'
