"""The real server, driven by a real browser: the list, a report on chosen runs, and a run that grows while the page is open."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from importlib import resources

import pytest

from tests.browser import browser
from tests.responses.asked import Writes
from valuestrata.dataset.tables import load_dataset
from valuestrata.responses.ask.loop import ask

pytestmark = pytest.mark.slow


@contextmanager
def served(folder):
    """Run the command on any free port, and yield the address that it prints."""
    command = [sys.executable, "-m", "valuestrata", "view", str(folder), "--port", "0", "--no-browser"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env={**os.environ, "PYTHONUNBUFFERED": "1"}) as process:
        try:
            yield re.search(r"http://127\.0\.0\.1:\d+/", process.stderr.readline())[0]
        finally:
            process.terminate()
            process.wait(timeout=20)


@contextmanager
def growing(folder, name):
    """Ask a run in a thread that answers as many prompts as are allowed, and yield a function that allows more."""
    allowed = threading.Semaphore(0)

    def text(_prompt):
        allowed.acquire()
        return "Answer: 1"

    dataset = load_dataset(folder / "data")
    work = threading.Thread(target=ask, args=(dataset, Writes(text, name="slow"), folder / "runs" / name), kwargs={"elicitation": "text"})
    work.start()
    while not (folder / "runs" / name / "run.json").is_file():
        assert work.is_alive()
        time.sleep(0.02)

    def allow(number):
        for _ in range(number):
            allowed.release()

    try:
        yield allow
    finally:
        allow(1000)
        work.join(timeout=60)


def violations(page):
    """Return what axe-core finds that is serious or critical."""
    page.js(resources.files("axe_playwright_python").joinpath("axe.min.js").read_text(encoding="utf-8") + "; 0")
    found = page.js("axe.run({resultTypes: ['violations']}).then(found => JSON.stringify(found.violations))")
    return [(one["id"], one["nodes"][0]["html"]) for one in json.loads(found) if one["impact"] in ("serious", "critical")]


def test_a_run_is_followed_and_compared(folder, tmp_path):
    with served(folder) as address, browser(tmp_path) as page:
        with growing(folder, "grows") as allow:
            allow(3)
            page.open(address)
            row = "tr[data-run='runs/grows'] [data-cell=answered]"
            page.wait(f'document.querySelector("{row}")')
            assert page.js('document.querySelector("tbody tr").dataset.run') == "runs/grows"
            page.wait(f"""document.querySelector("{row}").textContent === "3 of 12" """)
            page.click("tr[data-run='runs/twos'] input")
            allow(4)
            page.wait(f"""document.querySelector("{row}").textContent === "7 of 12" """)
            assert page.js("""document.querySelector("tr[data-run='runs/grows'] progress").value""") == 7
            assert violations(page) == []
            allow(5)
            page.wait("document.getElementById('live').innerText.includes('have ended')")
            assert page.text("tr[data-run='runs/grows'] [data-cell=state]") == "finished"
        # What was marked before the row changed is still marked.
        page.click("tr[data-run='runs/grows'] input")
        page.click("button.main")
        page.wait("location.pathname === '/compare'")
        page.wait("document.body.innerText.includes('Ceiling')", seconds=120)
        text = page.js("document.body.innerText")
        assert "twos" in text
        assert "grows" in text
        assert page.js("document.querySelectorAll('figure svg').length") > 2
        page.js("[...document.links].find(link => link.textContent === 'All runs').click()")
        page.wait("document.querySelector('table.runs')")
        page.click("#text")
        page.type("baseline")
        page.js("document.activeElement.form.requestSubmit()")
        page.wait("document.querySelectorAll('table.runs tbody tr').length === 1")
        assert page.errors == []


@pytest.mark.parametrize("width", [1280, 380])
def test_the_list_fits_on_the_screen(folder, tmp_path, width):
    document = json.loads((folder / "runs" / "ones" / "run.json").read_text())
    long = {"name": "a-run-with-a-very-long-name-" * 6, "respondent": {"name": "organisation/" + "model" * 30, "provider": "fake"}}
    (folder / "runs" / "ones" / "run.json").write_text(json.dumps(document | long))
    with served(folder) as address, browser(tmp_path) as page:
        page.ask("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=False)
        page.open(address)
        page.wait("document.querySelectorAll('table.runs tbody tr').length === 3")
        assert page.js("document.documentElement.scrollWidth") <= width
        assert violations(page) == []
        assert page.errors == []
