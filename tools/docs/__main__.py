"""Build the documentation site: collect its pages, run Zensical, and check every link. `make docs` calls this."""

from __future__ import annotations

import logging
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from zensical.main import cli

from tools.docs.links import broken_in_markdown, broken_in_site
from tools.docs.stage import stage

ROOT = Path(__file__).resolve().parents[2]


def main() -> int:
    """Build and check the site; returns the exit code."""
    config = tomllib.loads((ROOT / "zensical.toml").read_text())["project"]
    sources, site = ROOT / config["docs_dir"], ROOT / config["site_dir"]
    stage(ROOT, sources)
    problems = wrong_navigation(list(pages_of(config["nav"])), sources)
    logging.getLogger().addHandler(listener := Listener(logging.WARNING))
    cli(["build", "--clean", "--config-file", str(ROOT / "zensical.toml")], standalone_mode=False)
    problems += [f"{warning}. Correct the docstring: one line for each parameter." for warning in listener.warnings]
    problems += broken_in_site(site)
    problems += broken_in_markdown(ROOT, sorted(ROOT.glob("*.md")))
    for problem in problems:
        print(f"docs: {problem}", file=sys.stderr)
    if not problems:
        print(f"Open {site.relative_to(ROOT)}/index.html")
    return 1 if problems else 0


class Listener(logging.Handler):
    """Keeps the warnings of a build, such as those about docstrings that cannot be read.

    Attributes:
        warnings: their texts.
    """

    def __init__(self, level: int) -> None:
        super().__init__(level)
        self.warnings: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a warning."""
        self.warnings.append(record.getMessage())


def pages_of(nav: Any) -> Iterator[str]:
    """Yield the pages of a navigation, in order."""
    if isinstance(nav, str):
        yield nav
    else:
        for entry in nav.values() if isinstance(nav, dict) else nav:
            yield from pages_of(entry)


def wrong_navigation(named: list[str], sources: Path) -> list[str]:
    """Return one message for each page that the navigation lacks, and for each of its pages that does not exist."""
    pages = {str(page.relative_to(sources)) for page in sources.rglob("*.md")}
    missing = [
        f"zensical.toml: nav names {page!r}, which does not exist. Remove it, or add the page." for page in named if page not in pages
    ]
    return missing + [f"{page}: not in the nav of zensical.toml. Add it to its group." for page in sorted(pages - {*named})]


if __name__ == "__main__":
    sys.exit(main())
