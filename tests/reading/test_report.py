"""The reading report in a real browser, and what it is made of."""

import pytest
from chromium import PROGRAM, Browser

from kobert_tf2 import language
from kobert_tf2.reading import report
from kobert_tf2.reading.squad_files import Answer, Question

EVIL = "</script><img src=x onerror=document.title='evil'>"
CONTEXT = f"해미는 나루터에서 배를 탔다. 누리는 산에 갔다. 😀 {EVIL}"


def question(number: int, text: str, answer: str) -> Question:
    start = CONTEXT.index(answer)
    gold = Answer(answer, start, start + len(answer))
    return Question(f"q{number}", text, CONTEXT, (gold,), title=f"제목 {EVIL}")


QUESTIONS = [question(1, "어디에서?", "나루터"), question(2, "누가?", "누리"), question(3, "무엇을?", "배")]
PREDICTIONS = {"q1": "나루터에서", "q2": "누리", "q3": "산"}
NBEST = {"q3": [{"text": "산", "probability": 0.75}, {"text": EVIL, "probability": 0.25}]}


def written(path) -> str:
    spans = report.predicted_spans(QUESTIONS, PREDICTIONS, NBEST)
    report.write(str(path), QUESTIONS, PREDICTIONS, spans, nbest=NBEST)
    return f"file://{path}"


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    if PROGRAM is None:
        pytest.skip("no Chromium here (Debian: apt-get install chromium)")
    browser = Browser(str(tmp_path_factory.mktemp("profile")))
    yield browser
    browser.close()


@pytest.fixture(scope="module")
def url(tmp_path_factory):
    language.choose("en")
    yield written(tmp_path_factory.mktemp("report") / "report.html")
    language.choose(None)


def shown(browser) -> list[str]:
    return browser.run("[...document.querySelectorAll('article h3')].map(node => node.textContent)")


def test_wrong_ones_come_first_with_their_candidates(browser, url):
    browser.open(url)
    assert shown(browser) == ["무엇을?", "어디에서?", "누가?"]
    assert browser.run("document.querySelector('article details li').textContent") == "산 (75.0 %)"
    assert browser.run("document.querySelectorAll('article mark.g')[0].textContent") == "배"


def test_a_click_filters_and_another_shows_all(browser, url):
    browser.open(url)
    press = "document.querySelector('.filter[data-value=particle]').click()"
    browser.run(press)
    assert shown(browser) == ["어디에서?"]
    assert browser.run("document.querySelector('.filter[data-value=particle]').ariaPressed") == "true"
    browser.run(press)
    assert len(shown(browser)) == 3


def test_filters_are_reached_and_pressed_by_keyboard(browser, url):
    browser.open(url)
    for _ in range(20):
        browser.press("Tab")
        if browser.run("document.activeElement.classList.contains('filter')"):
            break
    assert browser.run("document.activeElement.dataset.value") == "right"
    browser.press(" ")
    assert shown(browser) == ["누가?"]
    browser.press("Enter")
    assert len(shown(browser)) == 3


def test_search_and_order(browser, url):
    browser.open(url)
    browser.run("{ const s = document.getElementById('search'); s.value = '누리'; s.oninput(); }")
    assert "누가?" in shown(browser)
    browser.run("document.getElementById('clear').click()")
    browser.run("{ const s = document.getElementById('sort'); s.value = '-f1'; s.onchange(); }")
    assert shown(browser)[0] == "누가?"


def test_nothing_of_the_data_becomes_markup_and_nothing_leaves(browser, url):
    browser.open(url)
    assert browser.run("document.querySelectorAll('img').length") == 0
    assert browser.run("document.title").startswith("Reading report")
    assert EVIL in browser.run("document.querySelector('.context').textContent")
    assert browser.console == []
    assert browser.requests == [url]


@pytest.mark.parametrize("dark", [False, True])
def test_it_fits_a_phone(browser, url, dark):
    browser.open(url, width=390, dark=dark)
    assert browser.run("document.documentElement.scrollWidth") <= 390
    assert not browser.run("document.getElementById('filters').open"), "the list comes first"
    style = "getComputedStyle(document.body)"
    brightness = "match(/\\d+/g).slice(0, 3).reduce((sum, part) => sum + Number(part), 0)"
    text, paper = (browser.run(f"{style}.{name}.{brightness}") for name in ("color", "backgroundColor"))
    assert (text > paper) == dark


def test_korean_where_that_is_the_language(browser, tmp_path):
    language.choose("ko")
    browser.open(written(tmp_path / "report.html"))
    language.choose("en")
    assert browser.run("document.documentElement.lang") == "ko"
    assert browser.run("document.querySelector('.filter[data-value=particle] span').textContent") == "조사 차이"


def test_the_fifth_of_the_context_in_which_the_answer_begins():
    def place(start: int) -> str:
        return report.place_group(Question("q", "", "가" * 10, (Answer("가", start, start + 1),)))

    assert [place(0), place(1), place(2), place(9)] == ["0–20 %", "0–20 %", "20–40 %", "80–100 %"]
    assert report.place_group(Question("q", "", "가")) == "–"
