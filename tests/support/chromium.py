"""A real browser: headless Chromium, controlled through its debugging pipe (Chrome's DevTools protocol: JSON messages
terminated by a zero byte) using only the standard library.
"""

import base64
import contextlib
import json
import os
import shutil
import subprocess
import time

PROGRAM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
KEYS = {"Tab": 9, "Enter": 13, " ": 32}


class Browser:
    """`console` collects the pages' errors and warnings, `requests` the URLs that they requested."""

    _session = None

    def __init__(self, profile: str):
        to_browser, self._write = os.pipe()
        self._read, from_browser = os.pipe()

        def as_3_and_4():
            # Duplicates to high numbers first, since the pipes themselves may be 3 or 4.
            os.dup2(to_browser, 103), os.dup2(from_browser, 104)
            os.dup2(103, 3), os.dup2(104, 4)

        self._process = subprocess.Popen(
            [PROGRAM, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
             "--remote-debugging-pipe", f"--user-data-dir={profile}", "--lang=ko"],
            close_fds=False, preexec_fn=as_3_and_4, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
        )  # fmt: skip
        os.close(to_browser), os.close(from_browser)
        self._pending, self._number, self.console, self.requests = b"", 0, [], []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters) -> dict:
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        while (reply := self._next()).get("id") != self._number:
            if reply.get("method") in ("Log.entryAdded", "Runtime.exceptionThrown"):
                self.console.append(json.dumps(reply["params"]))
            if reply.get("method") == "Network.requestWillBeSent":
                self.requests.append(reply["params"]["request"]["url"])
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

    def open(self, url: str, width: int = 1000, *, dark: bool = False, ready: str = "true") -> None:
        """Waits for the page, and for the condition `ready` in it. What was collected before is forgotten."""
        self.console.clear(), self.requests.clear()
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=800, deviceScaleFactor=1, mobile=width < 500
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])
        self.call("Page.navigate", url=url)
        self.wait(f"document.readyState === 'complete' && location.href.startsWith({json.dumps(url[:20])})")
        self.wait(f"Boolean({ready})")

    def press(self, key: str) -> None:
        """Sends a key press to the focused element."""
        more = {"key": key, "code": {" ": "Space"}.get(key, key), "windowsVirtualKeyCode": KEYS[key]}
        if key != "Tab":
            more["text"] = "\r" if key == "Enter" else key
        self.call("Input.dispatchKeyEvent", type="keyDown", **more)
        self.call("Input.dispatchKeyEvent", type="keyUp", **more)

    def screenshot(self, path: str) -> None:
        """Takes a screenshot of the whole page."""
        shot = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=True)
        with open(path, "wb") as file:
            file.write(base64.b64decode(shot["data"]))

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self.call("Browser.close")
        self._process.kill()
        self._process.wait()
