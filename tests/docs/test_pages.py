"""The pages that are generated or collected for the site."""

import inspect
import re
import tomllib
from pathlib import Path

import nbformat
import pytest

import valuestrata
from tools.docs.__main__ import pages_of, wrong_navigation
from tools.docs.commands import commands_page, escaped
from tools.docs.names import grouped, path_of, python_page
from tools.docs.notebooks import notebook_page
from tools.docs.stage import root_links, site_links

ROOT = Path(__file__).resolve().parents[2]


def test_every_command_is_described():
    text = commands_page()
    for heading in ("### ask { #ask }", "### open judge { #open-judge }", "### codebook draft { #codebook-draft }"):
        assert heading in text
    ask = text.split("### ask ")[1].split("\n### ")[0]
    assert "valuestrata ask [OPTIONS] {DATASET}" in ask
    assert "`--split <str>`\n:   paper, unseen-level," in ask
    assert "*(default: paper)*" in ask
    assert "`--help`" not in text


def test_signs_of_markdown_are_escaped_outside_of_code():
    assert escaped("a_b made by `x_y` [+A] <b>") == "a&#95;b made by `x_y` &#91;+A&#93; &#60;b&#62;"


def test_every_public_name_is_in_one_group():
    names = [name for group in grouped().values() for name in group]
    assert sorted(names) == sorted(valuestrata.__all__)
    assert grouped()["Errors"][0] == "InputDataError"
    assert all(f"::: {path_of(name)}\n" in python_page() for name in names)


@pytest.mark.parametrize("name", valuestrata.__all__)
def test_docstrings_describe_every_parameter_on_its_own_line(name):
    found = getattr(valuestrata, name)
    assert inspect.getdoc(found)
    if inspect.isfunction(found):
        text = inspect.getdoc(found) or ""
        section = re.search(r"^Args:\n((?:    .*\n?)+)", text, re.MULTILINE)
        described = re.findall(r"^    \*{0,2}(\w+):", section[1] if section else "", re.MULTILINE)
        assert sorted(described) == sorted(inspect.signature(found).parameters)


def test_links_of_root_pages_fit_the_site():
    text = "[guide](docs/tuning.md#recipes), [readme](README.md), [code](src/valuestrata/building), [web](https://example.org)"
    assert root_links(text) == "[guide](tuning.md#recipes), [readme](index.md), code, [web](https://example.org)"


def test_links_to_pages_show_their_titles(tmp_path):
    (tmp_path / "tuning.md").write_text("# Tuning\n\n# not this")
    text = "[tuning.md](tuning.md#recipes), [how to](tuning.md), [cases/a.ipynb](cases/a.ipynb)"
    assert site_links(text, tmp_path) == "[Tuning](tuning.md#recipes), [how to](tuning.md), [cases/a.ipynb](cases/a.md)"


def test_every_page_is_in_the_navigation():
    """Also without building: a new page must be added to the nav."""
    nav = list(pages_of(tomllib.loads((ROOT / "zensical.toml").read_text())["project"]["nav"]))
    assert len(nav) == len(set(nav))
    generated = {"reference/commands.md", "reference/python.md", "changelog.md", "contributing.md"}
    written = {
        str(page.relative_to(ROOT / "docs").with_suffix(".md")) for kind in ("*.md", "*.ipynb") for page in (ROOT / "docs").rglob(kind)
    }
    assert written - set(nav) == set()
    assert set(nav) - written - generated == set()


def test_wrong_navigation_is_named(tmp_path):
    (tmp_path / "there.md").touch()
    missing, extra = wrong_navigation(["gone.md"], tmp_path)
    assert "nav names 'gone.md', which does not exist" in missing
    assert extra == "there.md: not in the nav of zensical.toml. Add it to its group."


def notebook(tmp_path, count: int | None) -> Path:
    picture = nbformat.v4.new_output("display_data", data={"image/png": "iVBORw0KGgo="})
    table = nbformat.v4.new_output("display_data", data={"text/html": "<table><tr><td>1</td></tr></table>", "text/plain": "1"})
    shell = nbformat.v4.new_code_cell("%%bash\necho 1", execution_count=count)
    cells = [
        nbformat.v4.new_markdown_cell("# A case"),
        shell,
        nbformat.v4.new_code_cell("1", execution_count=count, outputs=[picture, table]),
    ]
    path = tmp_path / "case.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=cells), path)
    return path


def test_a_notebook_becomes_a_page_with_its_outputs(tmp_path):
    page = notebook_page(notebook(tmp_path, 1))
    text = page.read_text()
    assert page.name == "case.md"
    assert text.startswith("# A case")
    assert "```bash\necho 1\n```" in text
    assert "<table><tr><td>1</td></tr></table>" in text
    (picture,) = tmp_path.glob("case_files/*.png")
    assert f"({picture.relative_to(tmp_path)})" in text
    assert picture.read_bytes() == b"\x89PNG\r\n\x1a\n"


def test_a_notebook_that_was_not_executed_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"case\.ipynb: code cell 2 was not executed\. Execute the notebook"):
        notebook_page(notebook(tmp_path, None))
