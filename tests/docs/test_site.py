"""The whole site: built, read from the file system in a browser, and refused with a broken link."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.browser import browser

ROOT = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.slow
# The search dialog is in a shadow tree.
SEARCH = "[...document.querySelectorAll('*')].find((one) => one.shadowRoot)?.shadowRoot"


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


def test_the_site_can_be_read_and_searched_without_a_server(site, tmp_path):
    with browser(tmp_path) as page:
        page.open((site / "index.html").as_uri())
        page.wait("document.querySelector('button.md-search__button')")
        page.click("button.md-search__button")
        page.wait(f"{SEARCH}?.querySelector('input')")
        page.js(f"{SEARCH}.querySelector('input').focus()")
        page.type("calibrate")
        page.wait(f"/\\d+ results.*Reference.*Python/s.test({SEARCH}.textContent)")
        loaded = page.js("performance.getEntriesByType('resource').map((entry) => entry.name)")
        assert [name for name in loaded if not name.startswith("file:")] == []
        assert page.errors == []


def test_the_reference_has_signatures_and_docstrings(site):
    text = (site / "reference" / "python.html").read_text()
    assert 'id="valuestrata.score"' in text
    assert 'id="valuestrata.report"' in text
    assert "Score runs on the pairs of a part." in text


def test_a_broken_link_fails_the_build(site, copied):
    page = copied / "docs" / "index.md"
    kept = page.read_text()
    page.write_text(kept + "\n[broken](surveys.md#no-such-heading)\n")
    outcome = build(copied)
    page.write_text(kept)
    assert outcome.returncode == 1
    assert "docs: index.html: 'surveys.html#no-such-heading' names no heading of surveys.html." in outcome.stderr
