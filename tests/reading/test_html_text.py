"""The text of HTML. The figures for KorQuAD 2 in test_metrics.py are BeautifulSoup's."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kobert_tf2.reading import html_text


@pytest.mark.parametrize(
    ("markup", "text"),
    [
        ("나루", "나루"),
        ("<td>나루</td><td>강</td>", "나루강"),
        ("<a href='x>y'>나루</a>", "나루"),
        ("배&amp;노&#44032;", "배&노가"),
        ("가<br/>나<!-- 다 -->라", "가나라"),
        ("<style>p{}</style><script>if (a < b) x()</script>가", "가"),
        ("3 < 5", "3 < 5"),
        ("</script>가", "가"),
        ("", ""),
    ],
)
def test_tags_go_and_references_become_characters(markup, text):
    assert html_text.text_of(markup) == text


@given(st.text(st.characters(exclude_characters="<&")))
def test_text_without_markup_stays(text):
    assert html_text.text_of(text) == text


@given(st.text(alphabet="<>/&;#!-ab가 =\"'x1", max_size=40))
def test_any_markup_has_some_text(markup):
    assert isinstance(html_text.text_of(markup), str)


def test_a_page_is_reported_from_text():
    assert html_text.is_page("\n<!DOCTYPE html>\n<html>")
    assert html_text.is_page("<HTML lang=ko>")
    assert not html_text.is_page("<p>가</p>")
