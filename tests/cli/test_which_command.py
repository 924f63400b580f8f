"""docs/which-command.md names every command."""

import re
from collections.abc import Iterator
from pathlib import Path

import typer
from typer.core import TyperGroup

from valuestrata.cli import make_app

PAGE = Path(__file__).resolve().parents[2] / "docs" / "which-command.md"


def commands(group: TyperGroup, before: str = "") -> Iterator[str]:
    """Yield the commands of a group, with those of its own groups: `open ask`."""
    for name, command in group.commands.items():
        if isinstance(command, TyperGroup):
            yield from commands(command, f"{before}{name} ")
        else:
            yield before + name


def test_every_command_is_on_the_page():
    group = typer.main.get_command(make_app())
    assert isinstance(group, TyperGroup)
    named = re.findall(r"`valuestrata ([a-z -]+)", PAGE.read_text())
    missing = [command for command in commands(group) if not any(f"{words} ".startswith(f"{command} ") for words in named)]
    assert missing == [], f"add to docs/which-command.md: {missing}"
