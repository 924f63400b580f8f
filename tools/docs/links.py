"""Find broken links: in the built site, and in the Markdown files of the repository."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

_LINKS = {"a": "href", "area": "href", "iframe": "src", "img": "src", "link": "href", "script": "src", "source": "src"}
_LOADED = {"iframe", "img", "link", "script", "source"}


@dataclass
class PageLinks(HTMLParser):
    """The links and the anchors of an HTML page.

    Attributes:
        links: Tag and target of each link.
        anchors: Ids and names that links can point to.
    """

    links: list[tuple[str, str]] = field(default_factory=list)
    anchors: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        super().__init__()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Record the link and the anchor of a tag."""
        values = dict(attrs)
        self.anchors |= {value for value in (values.get("id"), values.get("name") if tag == "a" else None) if value}
        target = values.get(_LINKS.get(tag, ""))
        if target is not None and (values.get("rel") or "") not in {"preconnect", "canonical"}:
            self.links.append((tag, target))


def broken_in_site(site: Path) -> list[str]:
    """Return one message for each link of a built site that leads nowhere, and for each file that it loads from elsewhere."""
    pages = sorted(site.rglob("*.html"))
    parsed = {page: _parsed(page.read_text()) for page in pages}
    return [message for page in pages for message in _broken(page, site, parsed[page], parsed)]


def broken_in_markdown(root: Path, files: list[Path]) -> list[str]:
    """Return one message for each link of Markdown files to a file, or to a heading of a Markdown file, that does not exist."""
    messages = []
    for file in files:
        parsed = {file: _markdown(file)}
        targets = {(file.parent / unquote(urlsplit(target).path)).resolve() for _, target in parsed[file].links}
        parsed |= {target: _markdown(target) for target in targets if target.suffix == ".md" and target.is_file()}
        messages += _broken(file, root, parsed[file], parsed)
    return messages


def _broken(page: Path, root: Path, found: PageLinks, parsed: dict[Path, PageLinks]) -> list[str]:
    messages = []
    for tag, link in found.links:
        parts = urlsplit(link)
        where = f"{page.relative_to(root)}: {link!r}"
        if parts.scheme or parts.netloc:
            if tag in _LOADED and parts.scheme != "data":
                messages.append(f"{where} is loaded from another host. Put the file into docs/assets and link to that.")
            continue
        path = unquote(parts.path)
        target = page
        if path:
            target = (root / path[1:] if path.startswith("/") else page.parent / path).resolve()
        if target.is_dir() and page.suffix == ".html":
            target /= "index.html"
        if not target.exists():
            messages.append(f"{where} does not exist. Correct the path of the link, or add the file.")
        elif parts.fragment and target in parsed and unquote(parts.fragment) not in parsed[target].anchors:
            near = _closest(unquote(parts.fragment), parsed[target].anchors)
            hint = f" Did you mean '#{near}'?" if near else " Use the anchor of a heading of that page."
            messages.append(f"{where} names no heading of {target.name}.{hint}")
    return messages


def _closest(anchor: str, anchors: set[str]) -> str | None:
    from difflib import get_close_matches

    return next(iter(get_close_matches(anchor, sorted(anchors), n=1)), None)


def _parsed(text: str) -> PageLinks:
    page = PageLinks()
    page.feed(text)
    return page


@cache
def _markdown(file: Path) -> PageLinks:
    """Return the links and headings of a Markdown file."""
    from markdown import markdown

    return _parsed(markdown(file.read_text(), extensions=["attr_list", "fenced_code", "tables", "toc"]))
