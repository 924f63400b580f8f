"""Imports go leftward: each room imports only from rooms before it, and the package itself imports in no time."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parents[1] / "src" / "valuestrata"
TOOLS = ["errors", "files", "frames", "progress", "yamlfile"]
DATA = ["measures", "survey", "subgroups", "gold", "dataset", "goldtables", "landscape", "splits", "building"]
MODELS = ["prompts", "respondents", "responses", "scores", "auditing", "tuning", "openended", "report", "studyfile", "study", "cli"]
ROOMS = TOOLS + DATA + MODELS


def room_of(module: str) -> str:
    return module.split(".")[1]


def imports_of(file: Path):
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file.name} line {node.lineno}: write imports from the root"
            yield node.module or "", node.lineno, [alias.name for alias in node.names]
        elif isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno, []) for alias in node.names)


@pytest.mark.parametrize("file", sorted(SOURCE.rglob("*.py")), ids=lambda f: str(f.relative_to(SOURCE)))
def test_imports_go_leftward(file):
    parts = file.relative_to(SOURCE).with_suffix("").parts
    if parts in (("__init__",), ("__main__",)):
        return
    room = parts[0]
    assert room in ROOMS, f"{file.name} stands in no room; add it to the order on purpose"
    for module, line, names in imports_of(file):
        assert "*" not in names, f"{file.name} line {line}: star import"
        if module.split(".")[0] == "valuestrata" and "." in module:
            assert ROOMS.index(room_of(module)) <= ROOMS.index(room), f"{file.name} line {line} imports {module}, to its right"


def test_nothing_is_evaluated_or_unpickled():
    for file in SOURCE.rglob("*.py"):
        tree = ast.parse(file.read_text())
        called = {node.func.id for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)}
        assert not called & {"eval", "exec", "breakpoint", "__import__"}, file.name
        assert "pickle" not in {module.split(".")[0] for module, _, _ in imports_of(file)}, file.name


def test_importing_the_package_loads_nothing_heavy():
    code = "import sys, valuestrata; print([m for m in ('polars', 'numpy', 'torch', 'altair', 'pydantic') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"


def test_every_public_name_is_where_the_package_says():
    import valuestrata

    for name in valuestrata.__all__:
        assert getattr(valuestrata, name).__module__.startswith("valuestrata.")
        # Asked again: a module of the same name must not have taken the place of the function.
        assert getattr(valuestrata, name).__module__.startswith("valuestrata.")
