"""The check of links in the built site and in Markdown files."""

import pytest

from tools.docs.links import broken_in_markdown, broken_in_site


@pytest.fixture
def site(tmp_path):
    (tmp_path / "guide").mkdir()
    (tmp_path / "guide" / "two.html").write_text('<h2 id="a-heading">A heading</h2><a href="../one.html">one</a>')
    (tmp_path / "picture.png").write_bytes(b"")
    return tmp_path


def write(site, body: str) -> None:
    (site / "one.html").write_text(f"<html><body>{body}</body></html>")


@pytest.mark.parametrize(
    "link",
    [
        '<a href="guide/two.html">',
        '<a href="guide/two.html#a-heading">',
        '<a href="#here">link</a><p id="here">',
        '<a href="/guide/two.html">',
        '<a href="https://example.org/page">',
        '<a href="mailto:someone@example.org">',
        '<img src="picture.png">',
        '<img src="data:image/png;base64,AAAA">',
    ],
)
def test_links_that_lead_somewhere(site, link):
    write(site, link)
    assert broken_in_site(site) == []


@pytest.mark.parametrize(
    ("link", "message"),
    [
        ('<a href="three.html">', "one.html: 'three.html' does not exist. Correct the path"),
        ('<img src="guide/picture.png">', "one.html: 'guide/picture.png' does not exist."),
        ('<a href="guide/two.html#a-headin">', "names no heading of two.html. Did you mean '#a-heading'?"),
        ('<a href="#nowhere">', "one.html: '#nowhere' names no heading of one.html. Use the anchor"),
        ('<script src="https://example.org/a.js"></script>', "'https://example.org/a.js' is loaded from another host."),
        ('<link rel="stylesheet" href="//example.org/a.css">', "is loaded from another host."),
    ],
)
def test_broken_links_are_named_with_page_and_remedy(site, link, message):
    write(site, link)
    (found,) = broken_in_site(site)
    assert message in found


def test_links_of_markdown_files(tmp_path):
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "page.md").write_text("# Page\n\n## Some heading\n")
    file = tmp_path / "README.md"
    file.write_text("[a](docs/page.md#some-heading) [b](docs/page.md#other) [c](docs/none.md)\n\n    [code](none.md)\n\n`[d](x.md)`")
    first, second = broken_in_markdown(tmp_path, [file])
    assert first.startswith("README.md: 'docs/page.md#other' names no heading of page.md.")
    assert second.startswith("README.md: 'docs/none.md' does not exist.")
