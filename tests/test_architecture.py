"""The layout of the code: import order, size of folders, one class per name, and a fast import."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parents[1] / "src" / "valuestrata"
# The order of packages: each imports only from those before it.
TOOLS = ["errors", "files", "frames", "progress", "yaml_files", "formatting", "markdown", "overview"]
DATA = ["measures", "stats", "survey", "dataset", "splits", "building"]
MODELS = ["prompts", "respondents", "responses", "scores", "fairness", "tuning", "openended", "calibration", "prediction", "estimation"]
RESULTS = ["claims", "assessment", "reports", "export", "view", "study", "cli"]
PACKAGES = TOOLS + DATA + MODELS + RESULTS
# A folder with more modules than this is hard to navigate: make a sub-package.
MOST_MODULES = 14


def package_of(module: str) -> str:
    return module.split(".")[1]


def imports_of(file: Path):
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file.name} line {node.lineno}: write imports from the root"
            yield node.module or "", node.lineno, [alias.name for alias in node.names]
        elif isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno, []) for alias in node.names)


@pytest.mark.parametrize("file", sorted(SOURCE.rglob("*.py")), ids=lambda f: str(f.relative_to(SOURCE)))
def test_packages_import_only_from_earlier_packages(file):
    parts = file.relative_to(SOURCE).with_suffix("").parts
    if parts in (("__init__",), ("__main__",)):
        return
    package = parts[0]
    assert package in PACKAGES, f"{file.name} is in no listed package; add it to the order deliberately"
    for module, line, names in imports_of(file):
        assert "*" not in names, f"{file.name} line {line}: star import"
        if module.split(".")[0] == "valuestrata" and "." in module:
            assert PACKAGES.index(package_of(module)) <= PACKAGES.index(package), f"{file.name} line {line} imports the later {module}"


def test_folders_are_small():
    for folder in {file.parent for file in SOURCE.rglob("*.py")}:
        modules = [file.name for file in folder.glob("*.py") if not file.name.startswith("__")]
        assert len(modules) <= MOST_MODULES, f"{folder.relative_to(SOURCE)} has {len(modules)} modules"


def test_class_names_are_unique():
    homes: dict[str, list[str]] = {}
    for file in sorted(SOURCE.rglob("*.py")):
        for node in ast.parse(file.read_text()).body:
            if isinstance(node, ast.ClassDef):
                homes.setdefault(node.name, []).append(str(file.relative_to(SOURCE)))
    twice = {name: files for name, files in homes.items() if len(files) > 1}
    assert not twice, twice


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
