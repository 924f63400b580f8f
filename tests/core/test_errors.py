"""Errors name options in the form of the interface that shows them."""

import ast
import pickle
import re
from pathlib import Path

import pytest

import valuestrata
from valuestrata.errors import InputDataError, MissingExtraError, Option, OptionText, UsageError, options_as

SOURCE = Path(valuestrata.__file__).parent
# Whole commands may be quoted; they stay as they are in every interface.
_FLAG = re.compile(r"(?<![\w-])--[a-z]")
# Modules that write for the command line only.
_TERMINAL = ("terminal.py", "errors.py")
_COMMANDS = re.compile(r"valuestrata |pip install|ray start|--array|lm_eval run|inspect eval")


@pytest.mark.parametrize(
    ("option", "cli", "python", "study"),
    [
        (Option("max_cost"), "--max-cost", "`max_cost=`", "`max_cost:`"),
        (Option("max_cost", 2.5), "--max-cost 2.5", "`max_cost=2.5`", "`max_cost: 2.5`"),
        (Option("split", "paper"), "--split paper", "`split='paper'`", "`split: paper`"),
        (Option("prices"), "--price-in and --price-out", "`prices=`", "`prices:`"),
    ],
)
def test_an_option_is_written_as_each_interface_writes_it(option, cli, python, study):
    error = UsageError("m: lower ", option, " or leave it out.")
    assert str(error) == f"m: lower {python} or leave it out."
    assert error.render("cli") == f"m: lower {cli} or leave it out."
    assert error.render("study") == f"m: lower {study} or leave it out."
    with pytest.raises(UsageError) as raised, options_as("cli"):
        raise error
    assert str(raised.value) == f"m: lower {cli} or leave it out."


def test_the_innermost_interface_decides():
    with pytest.raises(UsageError) as raised, options_as("cli"), options_as("study"):
        raise UsageError(Option("base_url"))
    assert str(raised.value) == "`base_url:`"


def test_a_quoted_error_keeps_its_options():
    inner = InputDataError("lower ", Option("min_valid"), ".")
    outer = UsageError("survey.csv: ", inner.message, " Nothing was built.")
    assert outer.render("cli") == "survey.csv: lower --min-valid. Nothing was built."
    assert str(OptionText("a ", outer.message)) == "a survey.csv: lower `min_valid=`. Nothing was built."


def test_text_is_not_searched_for_options():
    assert UsageError("found '--max-cost' in {braces}").render("study") == "found '--max-cost' in {braces}"


def test_errors_keep_kind_message_and_interface_between_processes():
    error = MissingExtraError(Option("address", "ray"), "ray", "grpc")
    error.interface = "cli"
    back = pickle.loads(pickle.dumps(error))
    assert (type(back), str(back), back.exit_code) == (MissingExtraError, str(error), 2)
    assert str(back).startswith("--on ray needs the library 'grpc'")


def test_only_the_command_line_spells_flags():
    """Messages of the library name options with `Option`; text that spells a flag would be wrong in Python and in a study."""
    found = []
    for path in SOURCE.rglob("*.py"):
        source = path.read_text(encoding="utf-8")
        if path.relative_to(SOURCE).parts[0] == "cli" or path.name in _TERMINAL or not _FLAG.search(source):
            continue
        tree = ast.parse(source)
        inside = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
        for node in ast.walk(tree):
            if id(node) in inside:
                continue
            text = ast.unparse(node) if isinstance(node, ast.JoinedStr) else getattr(node, "value", None)
            if isinstance(text, str) and _FLAG.search(text) and not _COMMANDS.search(text):
                found.append(f"{path.relative_to(SOURCE)}:{node.lineno}: {text[:80]}")
    assert found == []
