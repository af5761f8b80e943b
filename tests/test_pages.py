"""Pages: one file, text escaped, written over an earlier page alone."""

import pytest

from kobert_tf2 import pages
from kobert_tf2.errors import InputError
from kobert_tf2.pages import Cell, Section

EVIL = "</td><script>alert(1)</script>"


def test_whatever_a_user_wrote_is_text():
    html = pages.page(
        EVIL,
        [
            Section(EVIL, pages.table([EVIL], [[EVIL], [Cell(EVIL, 0.5)]], caption=EVIL), EVIL),
            Section("b", pages.figures([(EVIL, EVIL, EVIL)]) + pages.terms([(EVIL, EVIL)])),
        ],
    )
    assert "<script" not in html
    assert html.count("&lt;script&gt;") == 13


def test_a_section_without_content_is_left_out():
    html = pages.page("t", [Section("empty", ""), Section("full", "<p>x</p>")])
    assert "empty" not in html
    assert "<h2>full</h2>" in html


def test_numbers_stand_at_the_right_in_four_figures():
    html = pages.table(["a"], [[1234567], [0.123456], [True], [Cell(3, 0.25)]])
    assert "<td class=n>1,234,567</td>" in html
    assert "<td class=n>0.1235</td>" in html
    assert "<td>True</td>" in html
    assert "--shade:25%" in html


def test_an_earlier_page_is_replaced_and_another_file_is_not(tmp_path):
    path = tmp_path / "report.html"
    pages.check_output(str(path), "a page")
    pages.write(str(path), pages.page("t", []))
    pages.check_output(str(path), "a page")
    path.write_text('<meta name="generator" content="kobert_tf2 evaluate_mrc">')
    pages.check_output(str(path), "a page")
    path.write_text("<html>mine</html>")
    with pytest.raises(InputError, match="already there, and it is not a page"):
        pages.check_output(str(path), "a page")
