"""A headless Chromium driven through its own protocol: real keys, real clicks, real pictures."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import time
import urllib.request
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import pytest

FLAGS = (
    "--headless=new --disable-gpu --disable-quic --no-first-run --disable-background-networking --disable-component-update "
    "--no-sandbox --disable-sync --disable-dev-shm-usage --remote-debugging-port=0 --window-size=1200,900"
)
KEYS = {"ArrowLeft": 37, "ArrowRight": 39, "Escape": 27, "Tab": 9, "Enter": 13}


class Browser:
    """One page of a browser."""

    def __init__(self, socket):
        self._socket, self._numbers, self.errors = socket, count(1), []

    def ask(self, method, *, lenient=False, **params):
        number = next(self._numbers)
        self._socket.send(json.dumps({"id": number, "method": method, "params": params}))
        while True:
            told = json.loads(self._socket.recv(timeout=120))
            if told.get("method") == "Runtime.exceptionThrown":
                self.errors.append(told["params"]["exceptionDetails"])
            elif told.get("method") == "Log.entryAdded" and told["params"]["entry"]["level"] == "error":
                self.errors.append(told["params"]["entry"])
            if told.get("id") == number:
                assert lenient or "error" not in told, told
                return told.get("result", {})

    def open(self, url):
        self.ask("Page.navigate", url=url)

    def js(self, expression):
        found = self.ask("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def wait(self, expression, seconds=20):
        end = time.monotonic() + seconds
        while not self._holds(expression):
            assert time.monotonic() < end, f"{expression} did not come true; the page says: {self.js('document.body.innerText')}"
            time.sleep(0.02)

    def _holds(self, expression):
        """Whether it is true now; a page that is just being left has nothing to ask."""
        told = self.ask("Runtime.evaluate", expression=f"Boolean({expression})", returnByValue=True, lenient=True)
        return "exceptionDetails" not in told and told.get("result", {}).get("value", False)

    def text(self, selector):
        return self.js(f"document.querySelector({json.dumps(selector)}).innerText")

    def key(self, key):
        more = {"text": key} if len(key) == 1 else {}
        code = KEYS.get(key, ord(key[0].upper()))
        self.ask("Input.dispatchKeyEvent", type="keyDown", key=key, windowsVirtualKeyCode=code, **more)
        self.ask("Input.dispatchKeyEvent", type="keyUp", key=key, windowsVirtualKeyCode=code)

    def type(self, text):
        self.ask("Input.insertText", text=text)

    def click(self, selector):
        self.js(f"document.querySelector({json.dumps(selector)}).scrollIntoView({{block: 'center'}})")
        box = self.js(
            f"(r => [r.x + r.width / 2, r.y + r.height / 2])(document.querySelector({json.dumps(selector)}).getBoundingClientRect())"
        )
        for kind in ("mousePressed", "mouseReleased"):
            self.ask("Input.dispatchMouseEvent", type=kind, x=box[0], y=box[1], button="left", clickCount=1)

    def picture(self, file: Path):
        file.write_bytes(base64.b64decode(self.ask("Page.captureScreenshot", format="png")["data"]))


@contextmanager
def browser(folder: Path):
    """Start Chromium with a profile in `folder`; skip the test where there is none."""
    from websockets.sync.client import connect

    program = next((found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), None)
    if program is None:
        pytest.skip("no Chromium on this machine (apt-get install chromium): the page was not driven")
    profile = folder / "profile"
    command = [
        program,
        *FLAGS.split(),
        "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
        f"--user-data-dir={profile}",
        "about:blank",
    ]
    environment = {**os.environ, "HOME": str(folder)}
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment) as process:
        try:
            address = _page_of(profile / "DevToolsActivePort", process)
            with connect(address, max_size=None, proxy=None) as socket:
                page = Browser(socket)
                for domain in ("Page", "Runtime", "Log"):
                    page.ask(f"{domain}.enable")
                yield page
        finally:
            process.terminate()


def _page_of(file: Path, process) -> str:
    end = time.monotonic() + 60
    while time.monotonic() < end:
        assert process.poll() is None, "Chromium ended"
        if file.is_file() and len(lines := file.read_text().splitlines()) == 2:
            with urllib.request.urlopen(f"http://127.0.0.1:{lines[0]}/json/list", timeout=30) as reply:
                pages = [one for one in json.load(reply) if one["type"] == "page"]
            if pages:
                return pages[0]["webSocketDebuggerUrl"]
        time.sleep(0.05)
    raise AssertionError("Chromium did not open its port")
