"""The page in a real browser: headless Chromium, driven through its debugging pipe with the standard library alone."""

import contextlib
import json
import os
import shutil
import subprocess
import threading
import time

import pytest

pytest.importorskip("fastapi", reason="the extra 'serve' is not installed")
uvicorn = pytest.importorskip("uvicorn", reason="the extra 'serve' is not installed")

from stand_in_service import StandIn  # noqa: E402

from kobert_tf2.serving import http  # noqa: E402

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here (Debian: apt-get install chromium)")

CONTEXT = "😀 대한민국의 수도는 서울이다. <b>서울</b>은 크다."


def seoul(asked):
    """Answers 서울이다, with 이다 as what is taken off, and an evil second candidate."""
    start = asked.context.find("서울이다")
    if start < 0:
        return {"text": "", "start": 0, "end": 0, "score": 0.0, "probability": 0.0, "n_best": []}
    best = {"text": "서울이다", "start": start, "end": start + 4, "score": 3.25, "probability": 0.8}
    best["stripped"] = {"text": "서울", "start": start, "end": start + 2, "removed": ["", "이다"]}
    if start == 0:  # a text that begins with the answer: none is given, the nearest candidate is shown
        none = {"text": "", "start": 0, "end": 0, "score": 9.0, "probability": 0.9}
        return dict(none, n_best=[none, best], null_score_diff=5.75)
    evil = "<img src=x onerror=document.title='evil'>"
    other = {"text": evil, "start": 0, "end": 1, "score": 1.0, "probability": 0.1}
    return dict(best, n_best=[best, dict(other, stripped={"text": evil, "start": 0, "end": 1, "removed": ["", ""]})])


@pytest.fixture(scope="module")
def url():
    server = uvicorn.Server(uvicorn.Config(http.make_app(StandIn(answer=seoul)), port=0, log_level="warning"))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.02)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}/"
    server.should_exit = True
    thread.join()


class Browser:
    """Chrome's DevTools protocol over two pipes: JSON messages that end with a zero byte."""

    def __init__(self, profile: str):
        to_browser, self._write = os.pipe()
        self._read, from_browser = os.pipe()

        def as_3_and_4():
            # Through high numbers first: the pipes themselves may be 3 or 4.
            os.dup2(to_browser, 103), os.dup2(from_browser, 104)
            os.dup2(103, 3), os.dup2(104, 4)

        self._process = subprocess.Popen(
            [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
             "--remote-debugging-pipe", f"--user-data-dir={profile}", "--lang=ko"],
            close_fds=False, preexec_fn=as_3_and_4, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
        )  # fmt: skip
        os.close(to_browser), os.close(from_browser)
        self._pending, self._number, self.console = b"", 0, []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            self.call(f"{domain}.enable")

    _session = None

    def call(self, method: str, **parameters) -> dict:
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        while (reply := self._next()).get("id") != self._number:
            if reply.get("method") in ("Log.entryAdded", "Runtime.exceptionThrown"):
                self.console.append(json.dumps(reply["params"]))
        assert "error" not in reply, reply["error"]
        return reply["result"]

    def _next(self) -> dict:
        while b"\0" not in self._pending:
            block = os.read(self._read, 1 << 16)
            assert block, "the browser has ended"
            self._pending += block
        message, _, self._pending = self._pending.partition(b"\0")
        return json.loads(message)

    def run(self, script: str):
        result = self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in result, result["exceptionDetails"]
        return result["result"].get("value")

    def wait(self, condition: str) -> None:
        for _ in range(200):
            if self.run(condition):
                return
            time.sleep(0.05)
        raise AssertionError(f"{condition} never came true: {self.run('document.body.innerText')}")

    def open(self, url: str, width: int = 1000) -> None:
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=700, deviceScaleFactor=1, mobile=width < 500
        )
        self.call("Page.navigate", url=url)
        self.wait("document.readyState === 'complete' && document.getElementById('ask')?.textContent !== ''")

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self.call("Browser.close")
        self._process.kill()
        self._process.wait()


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
    browser.open(url)
    ask(browser, "수도는 어디인가?", CONTEXT)
    assert text_of(browser, "bare") == "서울"
    assert "이다" in text_of(browser, "removed")
    assert text_of(browser, "marked") == CONTEXT
    assert browser.run("document.querySelector('mark').textContent") == "서울이다"
    assert browser.run("document.querySelector('mark .particle:last-child').textContent") == "이다"
    assert "3.25" in text_of(browser, "figures")
    assert "80.0 %" in text_of(browser, "figures")
    assert browser.run("document.querySelectorAll('#others li').length") == 1
    # Pressed, a candidate is marked instead of the answer; pressed again, the answer is.
    press = "document.querySelector('#others button').click()"
    browser.run(press)
    assert browser.run("document.querySelector('mark').textContent") == "<img src=x onerror=document.title='evil'>"
    assert browser.run("document.querySelector('#others button').ariaPressed") == "true"
    browser.run(press)
    assert browser.run("document.querySelector('mark').textContent") == "서울이다"


def test_no_answer_is_told_and_the_nearest_candidate_is_marked_when_pressed(browser, url):
    browser.open(url)
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
    browser.open(url)
    ask(browser, "수도는?", CONTEXT + "<script>document.title='evil'</script>")
    assert "<img" in text_of(browser, "others")
    assert browser.run("document.querySelectorAll('#result img, #result b, #result script').length") == 0
    assert browser.run("document.title") != "evil"


def test_both_languages_and_what_went_wrong(browser, url):
    browser.open(url)
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
    browser.console.clear()
    browser.open(url, width=360)
    ask(browser, "수도는 어디인가?", CONTEXT + "가" * 300)
    assert browser.run("document.documentElement.scrollWidth") <= 360
    heights = browser.run("[...document.querySelectorAll('button, input')].map(e => e.offsetHeight)")
    assert min(heights) >= 44
    assert browser.console == []
