"""docs/common-mistakes.md shows each mistake with code and output, wrong and right. tests/docs runs the code."""

import re
from pathlib import Path

PAGE = Path(__file__).resolve().parents[2] / "docs" / "common-mistakes.md"
# A block of code, and the block of its output if there is one.
BLOCK = re.compile(r"```python\n(?P<code>.*?)```(?:\n\n```text\n(?P<printed>.*?)```)?", re.DOTALL)


def test_every_mistake_has_code_for_both_ways():
    for section in PAGE.read_text().split("\n## ")[1:]:
        wrong, right = section.split("**Right.**")
        assert "**Wrong.**" in wrong, section
        assert all(BLOCK.search(half)["printed"] for half in (wrong, right)), section
