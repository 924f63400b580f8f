"""Collect the pages of the site in one folder: docs/, generated reference pages, and pages from the root."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from tools.docs.commands import commands_page
from tools.docs.names import python_page
from tools.docs.notebooks import notebook_page

# Pages of the root of the repository -> their names on the site.
ROOT_PAGES = {"CHANGELOG.md": "changelog.md", "CONTRIBUTING.md": "contributing.md"}


def stage(root: Path, target: Path) -> None:
    """Write the sources of the site.

    Args:
        root: Folder of the repository.
        target: Folder of the sources; replaced.
    """
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(root / "docs", target)
    for notebook in sorted(target.rglob("*.ipynb")):
        notebook_page(notebook)
        notebook.unlink()
    for name, page in ROOT_PAGES.items():
        if (root / name).exists():
            (target / page).write_text(root_links((root / name).read_text()))
    for page in sorted(target.rglob("*.md")):
        page.write_text(site_links(page.read_text(), page.parent))
    (target / "reference").mkdir(exist_ok=True)
    (target / "reference" / "commands.md").write_text(commands_page())
    (target / "reference" / "python.md").write_text(python_page())


def site_links(text: str, folder: Path) -> str:
    """Return the Markdown of a page with its links as the site needs them.

    Links to notebooks lead to their pages, and the name of a file as the text of a link becomes the title of its page.

    Args:
        text: the page.
        folder: folder of the page, which holds the pages it links to.
    """

    def titled(found: re.Match[str]) -> str:
        label, path, anchor = found[1], found[2], found[3] or ""
        page = folder / path.replace(".ipynb", ".md")
        if label == path and page.is_file() and (title := re.search(r"^# (.+)$", page.read_text(), re.MULTILINE)):
            label = title[1]
        return f"[{label}]({path.replace('.ipynb', '.md')}{anchor})"

    return re.sub(r"(?<!!)\[([^\]]+)\]\(([\w./-]+\.(?:md|ipynb))(#[^)\s]+)?\)", titled, text)


def root_links(text: str) -> str:
    """Return the Markdown of a page of the root with its links as the site needs them.

    Links to pages lead to the pages of the site. The site does not contain the other files of the repository, so links to
    those become text.
    """

    def of_site(found: re.Match[str]) -> str:
        label, target = found[1], found[2]
        path, _, anchor = target.partition("#")
        if "://" in target or not path or target.startswith("mailto:"):
            return found[0]
        if path in {"README.md", *ROOT_PAGES}:
            path = ROOT_PAGES.get(path, "index.md")
        elif path.startswith("docs/"):
            path = path.removeprefix("docs/").replace(".ipynb", ".md")
        else:
            return label
        return f"[{label}]({path}{'#' + anchor if anchor else ''})"

    return re.sub(r"(?<!!)\[([^\]]+)\]\(([^)\s]+)\)", of_site, text)
