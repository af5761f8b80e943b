"""The browser side of the reading report: what the script looks up is there, in both languages."""

import re

import pytest

from kobert_tf2 import language
from kobert_tf2.reading import report_page


@pytest.fixture(params=language.LANGUAGES, autouse=True)
def spoken(request):
    language.choose(request.param)
    yield request.param
    language.choose(None)


def test_every_label_that_the_script_writes_is_given():
    written = set(re.findall(r"\bwords\.(\w+)", report_page.SCRIPT))
    assert written
    assert written <= set(report_page.words("F1"))


def test_every_element_that_the_script_looks_up_is_on_the_page():
    looked_up = set(re.findall(r'byId\("(\w+)"\)', report_page.SCRIPT)) - {"data"}  # `report.py` embeds the data
    assert looked_up
    assert looked_up <= set(re.findall(r'id="(\w+)"', report_page.body()))


def test_the_score_beside_exact_match_has_the_name_of_the_metric():
    assert report_page.words("ROUGE-W")["overlap"] == "ROUGE-W"
    assert "ROUGE-W" in [term for term, _ in report_page.terms("ROUGE-W")]


def test_labels_and_terms_are_in_one_language(spoken):
    labels = [text for name, text in report_page.words("F1").items() if name not in ("overlap", "of")]
    texts = [*labels, *(text for term in report_page.terms("F1") for text in term if text not in ("EM", "F1"))]
    assert all(texts)
    assert [bool(re.search("[가-힣]", text)) for text in texts] == [spoken == "ko"] * len(texts)


def test_a_term_is_explained_for_every_kind_of_result():
    words = report_page.words("F1")
    kinds = [words[kind] for kind in ("particle", "boundary", "same sentence", "wrong sentence", "other")]
    assert set(kinds) <= {term for term, _ in report_page.terms("F1")}


def test_script_and_style_do_not_end_their_own_element():
    assert "</script" not in report_page.SCRIPT.lower()
    assert "</style" not in report_page.STYLE.lower()
