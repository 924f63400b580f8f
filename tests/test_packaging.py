"""The distributions: built, complete, and usable in an environment that holds nothing else."""

import json
import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from importlib.metadata import PackageNotFoundError, metadata
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def run(*command, **more):
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=600, check=False, **more)
    assert done.returncode == 0, f"{' '.join(map(str, command))}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
    return done.stdout


def package_files():
    """Files of the package as git knows them, or as they lie in the folder if this is no git checkout."""
    if (ROOT / ".git").exists():
        return {Path(line).relative_to("src").as_posix() for line in run("git", "ls-files", "src/valuestrata", cwd=ROOT).splitlines()}
    found = (ROOT / "src" / "valuestrata").rglob("*")
    return {path.relative_to(ROOT / "src").as_posix() for path in found if path.is_file() and "__pycache__" not in path.parts}


@pytest.fixture(scope="module")
def distributions(tmp_path_factory):
    """The wheel, which is built from the sdist, and the sdist."""
    folder = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--outdir", folder, ROOT)
    return next(folder.glob("*.whl")), next(folder.glob("*.tar.gz"))


@pytest.mark.slow
def test_the_wheel_holds_every_file_of_the_package(distributions):
    wheel, _ = distributions
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    assert package_files() <= names
    assert not {name for name in names if not name.startswith(("valuestrata/", f"valuestrata-{PROJECT['version']}.dist-info/"))}
    assert f"valuestrata-{PROJECT['version']}.dist-info/licenses/LICENSE" in names
    assert wheel.stat().st_size < 5_000_000


@pytest.mark.slow
def test_the_source_distribution_holds_sources_tests_and_texts_but_no_results(distributions):
    with tarfile.open(distributions[1]) as archive:
        names = {name.split("/", 1)[1] for name in archive.getnames() if "/" in name}
    assert {"pyproject.toml", "README.md", "LICENSE", "CHANGELOG.md", "CONTRIBUTING.md", "CITATION.cff", "tests/test_packaging.py"} <= names
    assert not {name for name in names if name.startswith(("runs/", "data/", ".venv/", "site/"))}


@pytest.mark.slow
def test_the_wheel_works_in_an_environment_that_holds_nothing_else(distributions, tmp_path):
    """From a simulated survey file to a report, with the dependencies that pip resolves today: the newest ones."""
    run(sys.executable, "-m", "venv", tmp_path / "venv")
    program = tmp_path / "venv" / "bin"
    run(program / "python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check", distributions[0])
    run(program / "python", "-m", "pip", "check")
    valuestrata = program / "valuestrata"
    assert PROJECT["version"] in run(valuestrata, "--version")
    run(valuestrata, "simulate", "-o", "survey.sav", "--respondents", "400", "--items", "6", "--seed", "1", cwd=tmp_path)
    run(valuestrata, "build", "survey.sav", "--survey", "wvs7", "-o", "data", cwd=tmp_path)
    run(valuestrata, "ask", "data", "--model", "baseline:item-mode", "-o", "runs/mode", cwd=tmp_path)
    found = json.loads(run(valuestrata, "score", "data", "runs/mode", "--baselines", "none", "--json", cwd=tmp_path))
    assert found
    run(valuestrata, "report", "data", "runs/mode", "--baselines", "none", "-o", "report.html", cwd=tmp_path)
    assert "</html>" in (tmp_path / "report.html").read_text(encoding="utf-8")


def required():
    """Name of each direct dependency -> the first extra that asks for it."""
    found = dict.fromkeys(PROJECT["dependencies"], "")
    for extra, wanted in PROJECT["optional-dependencies"].items():
        found |= {one: extra for one in wanted if not one.startswith("valuestrata")}
    names: dict[str, str] = {}
    for requirement, extra in found.items():
        names.setdefault(re.match(r"[\w.-]+", requirement)[0], extra)
    return names


def test_the_list_of_licences_has_every_direct_dependency():
    text = (ROOT / "docs" / "licences.md").read_text(encoding="utf-8")
    rows = [line.strip("| ").split("|") for line in text.splitlines() if line.startswith("| ")]
    listed = {cells[0].strip() for cells in rows if len(cells) == 3} - {"library", "---"}
    assert listed == set(required())


def test_no_core_dependency_is_under_the_gpl():
    for name, extra in required().items():
        try:
            said = metadata(name)
        except PackageNotFoundError:
            continue
        licences = " ".join([said.get("License-Expression") or "", (said.get("License") or "")[:200], *said.get_all("Classifier", [])])
        assert extra == "demo" or not re.search(r"\b(?:A?GPL|GNU (?:Affero )?General Public)", licences), f"{name}: {licences}"


def test_every_dependency_states_the_oldest_version_that_works():
    for requirement in PROJECT["dependencies"]:
        assert re.fullmatch(r"[\w.-]+>=[\d.]+", requirement), requirement
