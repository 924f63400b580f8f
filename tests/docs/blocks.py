"""The code blocks of a Markdown page, and how they are run.

Shell and Python blocks of a page run in order, in one folder and one Python namespace. A block is fenced with its language
(`sh`, `python`, `yaml`, `text`), or indented; an indented block is of the shell if it begins with a command, and text
otherwise. Benchmarks (`python bench/...`) take hours and are not run. HTML comments, which readers do not see, say what differs:

    <!-- not run: needs an API key -->     the next block is not run, for this reason
    <!-- file: study.yaml -->              the next block is written to this file before anything is run
    <!-- starts with: data/gss, runs/a --> the folder of the page starts with these examples (see `examples.py`)
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from markdown_it import MarkdownIt

_COMMENT = re.compile(r"<!-- (not run|file|starts with): (.+?) -->")
_LANGUAGES = {"sh": "shell", "bash": "shell", "python": "python", "yaml": "yaml"}
# First words of a command. Installing and activating are done before the tests; the others need a comment "not run".
PREPARED = re.compile(r"(\.venv/bin/)?pip install |\. \.venv/bin/activate|python3 -m venv ")
COMMAND = re.compile(r"(\.venv/bin/)?valuestrata ")
_SHELL = re.compile(rf"{COMMAND.pattern}|{PREPARED.pattern}|make |git |export |time |python |accelerate ")


@dataclass(frozen=True)
class Block:
    """A code block.

    Attributes:
        kind: shell, python, yaml or text.
        text: its lines.
        line: number of its first line on the page, from 1.
        reason: why it is not run; empty if it is.
        file: the file it is written to; empty for none.
        output: for Python, what it prints, if the page shows it.
    """

    kind: str
    text: str
    line: int
    reason: str = ""
    file: str = ""
    output: str | None = None

    @property
    def commands(self) -> list[str]:
        """The commands of a shell block: one line each, without comments."""
        joined = self.text.replace("\\\n", " ")
        return [line for line in (re.sub(r"(^|\s)#.*", "", line).strip() for line in joined.splitlines()) if line]


@dataclass(frozen=True)
class Page:
    """The blocks of a page, and the examples that its folder starts with."""

    path: Path
    blocks: list[Block] = field(default_factory=list)
    examples: tuple[str, ...] = ()

    @property
    def runs(self) -> bool:
        """Whether a block of the page is run."""
        return any(block.kind in {"shell", "python"} and not block.reason for block in self.blocks)


def read_page(path: Path) -> Page:
    """Return the code blocks of a page."""
    blocks: list[Block] = []
    examples: tuple[str, ...] = ()
    said: dict[str, str] = {}
    for token in MarkdownIt("commonmark").parse(path.read_text()):
        if token.type == "html_block":
            said |= dict(_COMMENT.findall(token.content))
            if "starts with" in said:
                examples = tuple(said.pop("starts with").split(", "))
        elif token.type in {"fence", "code_block"}:
            kind = _LANGUAGES.get(token.info, "text") if token.type == "fence" else _kind_of(token.content)
            line = (token.map or [0])[0] + 1
            if (
                kind == "text"
                and token.info == "text"
                and blocks
                and blocks[-1].kind == "python"
                and blocks[-1].output is None
                and not said
            ):
                last = blocks.pop()
                blocks.append(Block("python", last.text, last.line, last.reason, last.file, token.content))
            reason = said.pop("not run", "a benchmark" if token.content.startswith("python bench/") else "")
            blocks.append(Block(kind, token.content, line, reason, said.pop("file", "")))
    assert not said, f"{path.name}: a comment {said} stands before no block"
    return Page(path, blocks, examples)


def words_of(command: str) -> list[str]:
    """Return the words of a `valuestrata` command after its name."""
    return shlex.split(command)[1:]


def _kind_of(indented: str) -> str:
    return "shell" if _SHELL.match(indented.lstrip("# ")) and not indented.startswith("#") else "text"


def pages_with_code(root: Path) -> Iterator[Page]:
    """Yield the README and the pages of docs/ that have code blocks."""
    for path in [root / "README.md", *sorted((root / "docs").glob("*.md"))]:
        page = read_page(path)
        if page.blocks:
            yield page
