"""A folder with a small data set and runs of it, all made by the package."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.cli.conftest import write_survey
from tests.responses.asked import Writes
from valuestrata.building import BuildSettings, build
from valuestrata.dataset.tables import load_dataset, write_dataset
from valuestrata.respondents.baselines import make_baseline
from valuestrata.responses.ask.loop import ask
from valuestrata.survey.read import read_survey


@pytest.fixture(scope="session")
def made(tmp_path_factory) -> Path:
    """The folder, made once. Use `folder`, a copy."""
    root = tmp_path_factory.mktemp("view")
    write_survey(root)
    survey = read_survey(root / "tiny.csv", root / "tiny.yaml")
    shown = root / "shown"
    write_dataset(build(survey, BuildSettings(draws=20)), shown / "data")
    dataset = load_dataset(shown / "data")
    ask(dataset, Writes("Answer: 2", name="writer"), shown / "runs" / "twos", elicitation="text")
    ask(dataset, Writes("Answer: 1", name="writer"), shown / "runs" / "ones", elicitation="text", max_calls=5)
    ask(dataset, make_baseline("item-mode", dataset), shown / "runs" / "mode")
    return shown


@pytest.fixture
def folder(made, tmp_path) -> Path:
    """A folder `shown` with the data set `data` and the runs `runs/twos`, `runs/ones` (partial) and `runs/mode`."""
    return Path(shutil.copytree(made, tmp_path / "shown"))
