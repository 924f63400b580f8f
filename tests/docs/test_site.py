"""The whole site: built, read from the file system in a browser, and refused with a broken link."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.slow


def build(folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "tools.docs"], cwd=folder, capture_output=True, text=True, timeout=300, check=False)


@pytest.fixture(scope="module")
def copied(tmp_path_factory) -> Path:
    """What the site is built from, copied, so that no file of the repository changes."""
    folder = tmp_path_factory.mktemp("repository")
    for name in ("docs", "tools"):
        shutil.copytree(ROOT / name, folder / name)
    (folder / "src").symlink_to(ROOT / "src")
    for file in [*ROOT.glob("*.md"), ROOT / "zensical.toml"]:
        shutil.copy(file, folder)
    return folder


@pytest.fixture(scope="module")
def site(copied) -> Path:
    outcome = build(copied)
    assert outcome.returncode == 0, outcome.stderr
    return copied / "site"


def test_the_site_can_be_read_and_searched_without_a_server(site):
    from playwright.sync_api import sync_playwright

    problems: list[str] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page()
        page.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("request", lambda request: problems.append(request.url) if request.url.startswith("http") else None)
        page.goto((site / "index.html").as_uri())
        page.click("button.md-search__button")
        page.get_by_placeholder("Search").type("calibrate")
        page.get_by_text(re.compile(r"^\d+ results$")).wait_for()
        page.keyboard.press("Enter")
        page.wait_for_url("**/reference/python.html*")
        browser.close()
    assert problems == []


def test_the_reference_has_signatures_and_docstrings(site):
    text = (site / "reference" / "python.html").read_text()
    assert 'id="valuestrata.score"' in text
    assert 'id="valuestrata.report.report"' in text
    assert "Score runs on the pairs of a part." in text


def test_a_broken_link_fails_the_build(site, copied):
    page = copied / "docs" / "index.md"
    kept = page.read_text()
    page.write_text(kept + "\n[broken](surveys.md#no-such-heading)\n")
    outcome = build(copied)
    page.write_text(kept)
    assert outcome.returncode == 1
    assert "docs: index.html: 'surveys.html#no-such-heading' names no heading of surveys.html." in outcome.stderr
