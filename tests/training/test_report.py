"""The report of a run: its curves from train_log.jsonl."""

import json

import pytest
from chromium import PROGRAM, Browser

from kobert_tf2 import pages
from kobert_tf2.errors import InputError
from kobert_tf2.pages import Section
from kobert_tf2.training import report


def write_log(folder, records):
    (folder / "train_log.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))


def test_each_kind_of_value_has_its_curve(tmp_path):
    write_log(
        tmp_path,
        [
            {"step": step, "loss": 3 / step, "masked_lm_loss": 2 / step, "next_sentence_loss": 1 / step}
            | {"masked_lm_accuracy": step / 9}
            | {"learning_rate": 0.1, "gradient_norm": 1.0, "tokens_per_second": 100.0}
            for step in range(1, 9)
        ],
    )
    sections = report.curves(str(tmp_path))
    assert all(section.html for section in sections)
    assert "masked lm loss" in sections[0].html
    report.write(str(tmp_path), [report.scores({"loss": 0.5, "labels": ["a"], "masked_lm_accuracy": 0.25})])
    page = (tmp_path / "report.html").read_text("utf-8")
    assert page.count('<svg class="chart"') == 5
    assert "<b>0.25</b><span>masked lm accuracy</span>" in page
    assert "labels" not in page


def test_without_a_log_there_are_no_curves(tmp_path):
    assert not any(section.html for section in report.curves(str(tmp_path)))


def test_a_line_that_is_being_written_does_not_count(tmp_path):
    (tmp_path / "train_log.jsonl").write_text('{"step": 1, "loss": 2.0}\n{"step": 2, "lo')
    assert report.read_log(str(tmp_path / "train_log.jsonl")) == [{"step": 1, "loss": 2.0}]


def test_a_file_that_is_no_log_is_an_error(tmp_path):
    write_log(tmp_path, [{"loss": 1.0}])
    with pytest.raises(InputError, match=r"train_log\.jsonl, line 1: expected a record with its step"):
        report.curves(str(tmp_path))


@pytest.mark.parametrize("dark", [False, True])
def test_it_fits_a_phone_without_a_complaint_or_a_request(tmp_path, dark):
    if PROGRAM is None:
        pytest.skip("no Chromium here (Debian: apt-get install chromium)")
    records = [{"step": step, "loss": 1 / step, "learning_rate": 1e-4, "tokens_per_second": 1e6} for step in (1, 2, 9)]
    write_log(tmp_path, records)
    cells = [[f"{'긴이름' * 9} {number}", *range(30)] for number in range(3)]
    report.write(str(tmp_path), [Section("표", pages.table(["a", *range(30)], cells))])
    browser = Browser(str(tmp_path / "profile"))
    try:
        browser.open(f"file://{tmp_path}/report.html", width=390, dark=dark)
        assert browser.run("document.documentElement.scrollWidth") <= 390, "a wide table scrolls by itself"
        assert browser.run("document.querySelectorAll('svg.chart path').length") == 3
        assert browser.console == []
        assert browser.requests == [f"file://{tmp_path}/report.html"]
    finally:
        browser.close()
