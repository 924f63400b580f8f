"""The page of the commands, from the command line itself."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import typer.main

from valuestrata.cli import make_app

_INTRODUCTION = """# Commands

This page lists every command with its arguments and options, as `valuestrata COMMAND --help` prints them. Results go to
stdout (with `--json`, one JSON document), progress to stderr. Exit codes: 0 success, 2 wrong usage, 3 invalid input data,
4 failed responses.

"""


def commands_page() -> str:
    """Return the Markdown of all commands: an overview by group, then a section for each command."""
    root = typer.main.get_command(make_app())
    groups: dict[str, list[tuple[str, Any]]] = {}
    for path, command in _leaves(root, "valuestrata"):
        groups.setdefault(_panel(root, path, command), []).append((path, command))
    text = _INTRODUCTION
    for panel, commands in groups.items():
        text += f"**{panel}**\n\n| command | |\n| --- | --- |\n"
        for path, command in commands:
            text += f"| [`{path.removeprefix('valuestrata ')}`](#{_anchor(path)}) | {escaped(_short(command))} |\n"
        text += "\n"
    for panel, commands in groups.items():
        text += f"## {panel}\n\n" + "".join(_section(path, command) for path, command in commands)
    return text


def escaped(text: str) -> str:
    """Return text with the signs of Markdown and HTML outside of `code` as character references."""
    parts = re.split(r"(`[^`]+`)", text)
    return "".join(part if place % 2 else re.sub(r"[\\*_\[\]<>|#~^&]", _reference, part) for place, part in enumerate(parts))


def _reference(sign: re.Match[str]) -> str:
    return f"&#{ord(sign[0])};"


def _leaves(command: Any, path: str) -> Iterator[tuple[str, Any]]:
    if not hasattr(command, "commands"):
        yield path, command
        return
    for name, inner in command.commands.items():
        if not inner.hidden:
            yield from _leaves(inner, f"{path} {name}")


def _panel(root: Any, path: str, command: Any) -> str:
    """Return the group of the help in which a command, or the group of commands it belongs to, is listed."""
    top = root.commands[path.split()[1]]
    for candidate in (top, command):
        if isinstance(panel := getattr(candidate, "rich_help_panel", None), str):
            return panel
    return "Commands"


def _short(command: Any) -> str:
    return (command.short_help or command.help or "").split("\n")[0]


def _anchor(path: str) -> str:
    return path.removeprefix("valuestrata ").replace(" ", "-")


def _section(path: str, command: Any) -> str:
    """Return the usage, the help and the options of a command, by group of options."""
    context = command.context_class(command, info_name=path)
    usage = " ".join([path, *command.collect_usage_pieces(context)])
    text = f"### {path.removeprefix('valuestrata ')} {{ #{_anchor(path)} }}\n\n"
    text += "".join(f"{escaped(paragraph)}\n\n" for paragraph in (command.help or "").split("\n\n"))
    text += f"```text\n{usage}\n```\n\n"
    panels: dict[str, list[tuple[str, str]]] = {}
    for parameter in command.get_params(context):
        record = parameter.get_help_record(context)
        if record is not None and record[0] != "--help":
            default = "Arguments" if parameter.param_type_name == "argument" else "Options"
            panel = getattr(parameter, "rich_help_panel", None)
            panels.setdefault(panel if isinstance(panel, str) else default, []).append(record)
    for panel, records in panels.items():
        text += f"**{panel}**\n\n" + "".join(f"`{names.strip()}`\n:   {_meaning(text_)}\n\n" for names, text_ in records)
    return text


def _meaning(text: str) -> str:
    """Return the help of an option, with the default and the range at its end set off."""
    found = re.fullmatch(r"(.*?)\s*\[([^\[\]]*)\]", " ".join(text.split()))
    if found is None:
        return escaped(text) or "No description."
    return f"{escaped(found[1])} *({escaped(found[2])})*"
