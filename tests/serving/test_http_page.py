"""The page in a real browser: headless Chromium, controlled through its debugging pipe by the standard library."""

import contextlib
import json
import re
import urllib.parse

import pytest

pytest.importorskip("fastapi", reason="the extra 'serve' is not installed")

from chromium import PROGRAM, Browser
from loopback_server import serving
from stand_in_service import StandIn

from kobert_tf2.serving import http, requests, schemas

pytestmark = pytest.mark.skipif(PROGRAM is None, reason="no Chromium here (Debian: apt-get install chromium)")

# The page is filled by its script.
READY = "document.getElementById('ask')?.textContent"
CONTEXT = "😀 대한민국의 수도는 서울이다. <b>서울</b>은 크다."


def seoul(asked):
    """Answers 서울이다, with 이다 as what is taken off, and an evil second candidate."""
    start = asked.context.find("서울이다")
    if start < 0:
        return {"text": "", "start": 0, "end": 0, "score": 0.0, "probability": 0.0, "n_best": []}
    best = {"text": "서울이다", "start": start, "end": start + 4, "score": 3.25, "probability": 0.8}
    best["stripped"] = {"text": "서울", "start": start, "end": start + 2, "removed": ["", "이다"]}
    if start == 0:  # a text that begins with the answer: none is returned, the nearest candidate is shown
        none = {"text": "", "start": 0, "end": 0, "score": 9.0, "probability": 0.9}
        return dict(none, n_best=[none, best], null_score_diff=5.75)
    evil = "<img src=x onerror=document.title='evil'>"
    other = {"text": evil, "start": 0, "end": 1, "score": 1.0, "probability": 0.1}
    return dict(best, n_best=[best, dict(other, stripped={"text": evil, "start": 0, "end": 1, "removed": ["", ""]})])


@contextlib.contextmanager
def page_of(service, **access):
    with serving(service, access=http.Access(**access)) as server:
        yield f"http://127.0.0.1:{server.port}/"


@pytest.fixture(scope="module")
def url():
    with page_of(StandIn(answer=seoul)) as url:
        yield url


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    browser = Browser(str(tmp_path_factory.mktemp("profile")))
    yield browser
    browser.close()


def ask(browser, question: str, context: str) -> None:
    browser.run(f"document.getElementById('context').value = {json.dumps(context)}")
    browser.run(f"document.getElementById('question').value = {json.dumps(question)}")
    browser.run("document.getElementById('ask').click()")
    browser.wait("!document.getElementById('ask').disabled")


def text_of(browser, element: str) -> str:
    return browser.run(f"document.getElementById('{element}').textContent")


def test_the_answer_is_marked_with_its_particle_and_the_other_candidates(browser, url):
    browser.open(url, ready=READY)
    ask(browser, "수도는 어디인가?", CONTEXT)
    assert text_of(browser, "bare") == "서울"
    assert "이다" in text_of(browser, "removed")
    assert text_of(browser, "marked") == CONTEXT
    assert browser.run("document.querySelector('mark').textContent") == "서울이다"
    assert browser.run("document.querySelector('mark .particle:last-child').textContent") == "이다"
    assert "3.25" in text_of(browser, "figures")
    assert "80.0 %" in text_of(browser, "figures")
    assert browser.run("document.querySelectorAll('#others li').length") == 1
    # Clicking a candidate highlights it instead of the answer; a second click highlights the answer again.
    press = "document.querySelector('#others button').click()"
    browser.run(press)
    assert browser.run("document.querySelector('mark').textContent") == "<img src=x onerror=document.title='evil'>"
    assert browser.run("document.querySelector('#others button').ariaPressed") == "true"
    browser.run(press)
    assert browser.run("document.querySelector('mark').textContent") == "서울이다"


def test_no_answer_is_reported_and_the_nearest_candidate_is_marked_when_pressed(browser, url):
    browser.open(url, ready=READY)
    ask(browser, "수도는 어디인가?", "서울이다.")
    assert text_of(browser, "message") in ("지문에서 답을 찾지 못했습니다.", "The text holds no answer.")
    assert browser.run("[document.getElementById('found').hidden, document.getElementById('place').hidden]") == [
        True,
        True,
    ]
    browser.run("document.querySelector('#others button').click()")
    assert browser.run("document.querySelector('mark').textContent") == "서울이다"
    assert browser.run("document.querySelector('#others .off:last-child').textContent") == "이다"


def test_nothing_that_came_as_text_becomes_markup(browser, url):
    browser.open(url, ready=READY)
    ask(browser, "수도는?", CONTEXT + "<script>document.title='evil'</script>")
    assert "<img" in text_of(browser, "others")
    assert browser.run("document.querySelectorAll('#result img, #result b, #result script').length") == 0
    assert browser.run("document.title") != "evil"


def test_both_languages_and_what_went_wrong(browser, url):
    browser.open(url, ready=READY)
    browser.run("document.querySelector('[data-language=en]').click()")
    assert text_of(browser, "ask") == "Find the answer"
    ask(browser, "?", "아무것도 없다")
    assert text_of(browser, "message") == "The text holds no answer."
    assert browser.run("document.getElementById('result').hidden")
    browser.run("document.querySelector('[data-language=ko]').click()")
    assert text_of(browser, "ask") == "답 찾기"
    ask(browser, "가" * 1001, "나")
    assert "at most 1000 characters" in text_of(browser, "message")


def test_it_fits_a_phone_and_loads_without_a_complaint(browser, url):
    browser.open(url, width=360, ready=READY)
    ask(browser, "수도는 어디인가?", CONTEXT + "가" * 300)
    assert browser.run("document.documentElement.scrollWidth") <= 360
    heights = browser.run(
        "[...document.querySelectorAll('button, input')].filter(e => e.offsetParent).map(e => e.offsetHeight)"
    )
    assert min(heights) >= 44
    assert browser.console == []


def test_a_link_asks_its_question_again(browser, url):
    browser.open(url, ready=READY)
    ask(browser, "수도는 어디인가? & #+%", CONTEXT)
    link = browser.run("location.href")
    assert urllib.parse.urlsplit(link).fragment
    browser.open("about:blank")
    browser.open(link, ready=READY)
    browser.wait("!document.getElementById('result').hidden")
    assert browser.run("document.getElementById('question').value") == "수도는 어디인가? & #+%"
    assert browser.run("document.getElementById('context').value") == CONTEXT
    assert text_of(browser, "bare") == "서울"
    ask(browser, "긴 글은?", CONTEXT + "가" * 3000)
    assert "#" not in browser.run("location.href")


def test_by_keyboard_alone(browser, url):
    browser.open(url, ready=READY)
    browser.run("document.getElementById('context').value = '수도는 서울이다. 크다.'")
    browser.run("document.getElementById('question').focus()")
    browser.press("Enter")
    browser.wait("!document.getElementById('result').hidden")
    assert text_of(browser, "bare") == "서울"
    for _ in range(9):
        browser.press("Tab")
        if browser.run("document.activeElement.closest('#others') !== null"):
            break
    browser.press("Enter")
    browser.wait("document.querySelector('#others button').ariaPressed === 'true'")


def shares(asked):
    """Candidates of which three have next to no share."""
    entries = [
        {"text": text, "start": place, "end": place + 1, "score": 9.0 - place, "probability": share}
        for place, (text, share) in enumerate(zip("가나다라", (0.9995, 0.0004, 0.0001, 0.0), strict=True))
    ]
    return dict(entries[0], n_best=entries)


def test_shares_of_next_to_nothing_are_not_shown(browser):
    with page_of(StandIn(answer=shares)) as url:
        browser.open(url, ready=READY)
        ask(browser, "?", "가나다라")
        assert browser.run("document.getElementById('result').innerText").count("%") == 1
        assert text_of(browser, "figures").count("100.0 %") == 1
        assert "0.0 %" not in text_of(browser, "others")


def test_a_key_is_asked_for_and_sent(browser):
    key = "a-key-of-our-own-tests"
    with page_of(StandIn(answer=seoul), keys=(key,)) as url:
        browser.open(url, ready=READY)
        ask(browser, "?", CONTEXT)
        assert text_of(browser, "message") in ("이 서버는 API 키가 필요합니다.", "This server needs an API key.")
        browser.run(f"document.getElementById('key').value = '{key}'")
        ask(browser, "?", CONTEXT)
        assert text_of(browser, "bare") == "서울"
        assert key not in browser.run("location.href")


class Names(StandIn):
    """Finds 서울 and every letter as entities, an evil type among them."""

    kind, path, response_model = "entities", "/entities", schemas.Entities

    def request_model(self, limits):
        return schemas.text_model(limits)

    def request(self, fields):
        return requests.Ask("?", fields["text"])

    def finish(self, ask, prepared, rows):
        found = [(match.start(), match.group()) for match in re.finditer("서울|[a-z]", ask.context)]
        kinds = {"서울": "LC", "b": "<b>evil</b>"}
        return {
            "entities": [
                {"text": text, "type": kinds.get(text, "PS"), "start": start, "end": start + len(text), "score": 0.75}
                for start, text in found
            ]
        }


def test_entities_are_marked_in_colour_and_named(browser):
    text = "😀 서울에서 a와 b가 서울로"
    with page_of(Names()) as url:
        browser.open(url, width=360, ready=READY)
        browser.run(f"document.getElementById('text').value = {json.dumps(text)}")
        browser.run("document.getElementById('ask').click()")
        browser.wait("!document.getElementById('result').hidden")
        marks = "[...document.querySelectorAll('#marked mark')]"
        assert browser.run(f"{marks}.map(e => e.firstChild.textContent)") == ["서울", "a", "b", "서울"]
        assert browser.run(f"{marks}.map(e => e.querySelector('small').textContent)") == [
            "LC",
            "PS",
            "<b>evil</b>",
            "LC",
        ]
        colours = browser.run(f"{marks}.map(e => getComputedStyle(e).borderBottomColor)")
        assert len(set(colours)) == 3
        assert colours[0] == colours[3]
        assert browser.run("document.querySelectorAll('#legend > span').length") == 3
        assert "LC 2" in text_of(browser, "legend")
        assert browser.run("document.querySelectorAll('#result b').length") == 0
        rest = (
            "[...document.getElementById('marked').childNodes].filter(e => e.nodeType === 3).map(e => e.data).join('|')"
        )
        assert browser.run(rest) == "😀 |에서 |와 |가 |로"
        assert browser.run("document.documentElement.scrollWidth") <= 360
        browser.run("document.getElementById('text').value = '없다'; document.getElementById('ask').click()")
        browser.wait("!document.getElementById('ask').disabled")
        assert text_of(browser, "message") in ("개체명을 찾지 못했습니다.", "The text holds no entity.")
        assert browser.console == []


class Labels(StandIn):
    """Gives the labels of the answer that it was made with; remembers what was sent."""

    path, response_model = "/classify", schemas.Classification

    def request_model(self, limits):
        return schemas.pair_model(limits)

    def request(self, fields):
        self.sent = fields
        return requests.Ask("?", fields["text"])

    def finish(self, ask, prepared, rows):
        return self.answer


@pytest.mark.parametrize(
    ("kind", "answer", "shown", "shares"),
    [
        (
            "sentence",
            {"label": "나쁨", "score": 0.9, "scores": {"좋음": 0.0999, "나쁨": 0.9, "<b>": 0.0001}},
            "나쁨",
            3,
        ),
        ("pair", {"labels": [], "scores": {"좋음": 0.2}}, "", 1),
        ("pair", {"labels": [{"label": "가", "score": 0.9}], "scores": {"가": 0.9, "나": 0.1}}, "가", 2),
        ("pair", {"score": 3.714}, "3.71", 0),
    ],
)
def test_labels_and_numbers_are_shown(browser, kind, answer, shown, shares):
    service = Labels(answer=answer)
    service.kind = kind
    with page_of(service) as url:
        browser.open(url, width=360, ready=READY)
        browser.run("document.getElementById('text').value = '재미있다'")
        browser.run("document.getElementById('ask').click()")
        browser.wait("!document.getElementById('result').hidden")
        assert service.sent == {"text": "재미있다", "text_pair": None}
        assert text_of(browser, "bare") == shown
        assert browser.run("document.querySelectorAll('#shares li').length") == shares
        assert browser.run("document.querySelectorAll('#shares b').length") == 0
        assert not re.search(r"\D0\.0 %", text_of(browser, "result"))
        assert bool(text_of(browser, "message")) == (answer.get("labels") == [])
        assert browser.console == []


class Fills(StandIn):
    """Fills every mask with 서울, else ##은."""

    kind, path, response_model = "fill_mask", "/fill-mask", schemas.FilledMasks

    def request_model(self, limits):
        return schemas.masked_text_model(limits)

    def request(self, fields):
        return requests.Ask("?", fields["text"])

    def finish(self, ask, prepared, rows):
        candidates = [{"piece": "서울", "score": 0.9}, {"piece": "##은", "score": 0.0}]
        places = [match.span() for match in re.finditer(r"\[MASK\]", ask.context)]
        return {"masks": [{"start": start, "end": end, "candidates": candidates} for start, end in places]}


def test_masks_are_filled_in(browser):
    with page_of(Fills()) as url:
        browser.open(url, width=360, ready=READY)
        browser.run("document.getElementById('text').value = '😀 수도는 [MASK]이다. [MASK]!'")
        browser.run("document.getElementById('ask').click()")
        browser.wait("!document.getElementById('result').hidden")
        assert text_of(browser, "marked") == "😀 수도는 서울이다. 서울!"
        assert browser.run("[...document.querySelectorAll('#masks li')].length") == 4
        assert text_of(browser, "masks").count("%") == 2
        assert browser.console == []


def test_the_interface_page_runs_without_a_request_that_leaves_the_machine(browser, url):
    browser.open(url + "docs", ready="document.querySelector('.opblock-summary-path')")
    assert "/answer" in browser.run("document.body.innerText")
    browser.run("document.querySelector('.opblock-summary-control').click()")
    browser.wait("document.querySelector('.try-out') !== null")
    assert browser.console == []
    asked_for = list(browser.requests)
    browser.open(url, ready=READY)
    ask(browser, "수도는?", CONTEXT)
    asked_for += browser.requests
    assert {url, url + "docs"} <= set(asked_for)
    assert [one for one in asked_for if not one.startswith((url, "data:"))] == []


class Seeks(StandIn):
    """Finds every sentence in the order given; remembers what was sent."""

    kind, path, response_model = "search", "/search", schemas.SearchResult

    def request_model(self, limits):
        return schemas.search_model(limits, has_file=self.kind == "search_file")

    def request(self, fields):
        self.sent = fields
        return requests.Ask("?", fields["query"])

    def finish(self, ask, prepared, rows):
        texts = self.sent["sentences"] or ["<b>evil</b>"]
        matches = [{"text": text, "line": i, "score": 0.5 - i} for i, text in enumerate(texts, 1)]
        return {"matches": matches, "sentences": len(texts)}


class Attends(StandIn):
    """Every token attends to itself with 0.8 in head 1, and to all alike in head 2."""

    kind, path, response_model = "attention_pair", "/attention", schemas.Attentions

    def request_model(self, limits):
        return schemas.attention_model(limits, layers=3, heads=2)

    def request(self, fields):
        self.sent = fields
        return requests.Ask("?", fields["text"])

    def finish(self, ask, prepared, rows):
        pieces = ["[CLS]", *ask.context.split(), "[SEP]"]
        size = len(pieces)
        own = [[0.8 if i == j else 0.2 / (size - 1) for j in range(size)] for i in range(size)]
        return {
            "tokens": [{"piece": piece, "segment": 0} for piece in pieces], "layer": self.sent["layer"] % 3,
            "layers": 3, "heads": [0, 1], "attentions": [own, [[1 / size] * size] * size],
        }  # fmt: skip


@pytest.fixture
def tabs():
    attends, seeks = Attends(), Seeks()
    with serving(StandIn(answer=seoul), others=(attends, seeks)) as server:
        yield f"http://127.0.0.1:{server.port}/", attends, seeks


def test_the_tabs_are_links_that_the_keyboard_reaches(browser, tabs):
    url = tabs[0]
    browser.open(url, width=360, ready=READY)
    assert browser.run("[...document.querySelectorAll('.tabs a')].map(e => e.textContent)") in (
        ["독해", "어텐션", "문장 검색"],
        ["Reading", "Attention", "Search"],
    )
    browser.run("document.querySelector('.tabs a').focus()")
    browser.press("Tab"), browser.press("Tab"), browser.press("Enter")
    browser.wait("location.pathname === '/search.html' && document.getElementById('ask')?.textContent")
    assert browser.run("document.querySelector('.tabs a[aria-current=page]').dataset.tab") == "search"
    assert browser.run("document.documentElement.scrollWidth") <= 360


def test_sentences_of_the_page_are_searched(browser, tabs):
    url, _, seeks = tabs
    browser.open(url + "search.html", width=360, dark=True, ready=READY)
    browser.run("document.getElementById('sentences').value = ' 첫째 \\n\\n<b>둘째</b>' + '가'.repeat(200)")
    browser.run("document.getElementById('query').value = '찾을 말'; document.getElementById('query').focus()")
    browser.press("Enter")
    browser.wait("!document.getElementById('result').hidden")
    assert seeks.sent["sentences"][0] == "첫째"
    assert len(seeks.sent["sentences"]) == 2
    shown = browser.run("[...document.querySelectorAll('#matches small')].map(e => e.textContent)")
    assert [re.search(r"\d+$", one).group() for one in shown] == ["1", "3"]  # lines as they stand in the text
    assert browser.run("document.querySelectorAll('#matches b').length") == 0
    assert browser.run("document.documentElement.scrollWidth") <= 360
    assert browser.console == []


def test_a_search_of_the_services_own_file_needs_no_sentences(browser):
    seeks = Seeks()
    seeks.kind = "search_file"
    with page_of(seeks) as url:
        browser.open(url, ready=READY)
        browser.run("document.getElementById('ask').click()")
        browser.wait("!document.getElementById('result').hidden")
        assert seeks.sent["sentences"] is None
        assert "<b>evil</b>" in text_of(browser, "matches")


def test_attention_is_shown_for_the_token_in_focus_by_layer_and_head(browser, tabs):
    url, attends, _ = tabs
    browser.open(url + "attention.html", width=360, dark=True, ready=READY)
    browser.run("document.getElementById('text').value = '<b>가</b> 나'; document.getElementById('ask').click()")
    browser.wait("!document.getElementById('result').hidden")
    assert browser.run("[...document.querySelectorAll('#tokens button')].map(e => e.textContent)") == [
        "[CLS]", "<b>가</b>", "나", "[SEP]",
    ]  # fmt: skip
    choose = (
        "((id, value) => { const node = document.getElementById(id); node.value = value; "
        "node.dispatchEvent(new Event('change')) })"
    )
    browser.run(choose + "('head', '0')")
    browser.run("document.querySelector('#tokens button').focus()")
    browser.press("Tab")
    browser.wait("document.querySelectorAll('#tokens button')[1].ariaPressed === 'true'")
    assert browser.run("document.querySelector('#strongest li').innerText").replace("\n", " ").startswith("<b>가</b>")
    assert "80.0 %" in browser.run("document.querySelector('#strongest li').innerText")
    browser.run(choose + "('layer', '1')")
    browser.wait("!document.getElementById('ask').disabled && !document.getElementById('result').hidden")
    assert attends.sent["layer"] == 1
    assert browser.run("document.getElementById('layer').value") == "1"
    assert browser.run("document.getElementById('matrix').width") == 4
    assert browser.run("document.documentElement.scrollWidth") <= 360
    assert browser.console == []
