"""A small survey with its codebook, data set and study, and a function that calls the command line."""

from __future__ import annotations

import contextlib
import csv
import random
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from valuestrata import cli
from valuestrata.reports.closed.figures import Chart

CODEBOOK = """
survey: tiny
title: A tiny survey
place: Utopia
weight: wt
respondent_id: id
missing:
  dont_know: {codes: [-1], labels: [Don't know]}
items:
  - {id: Q1, topic: Work, codes: [1, 2, 3, 4], labels: [Very good, Good, Bad, Very bad], question: How is work?}
  - {id: Q2, topic: Trust, codes: [1, 2], labels: [Yes, No], question: Can people be trusted?}
  - {id: Q3, topic: Ethics, range: [1, 10], ends: [Never, Always], question: "Is it right, from never to always?"}
attributes:
  - {name: sex, column: sex, role: noun, levels: [{label: Male, code: 1, phrase: man}, {label: Female, code: 2, phrase: woman}]}
  - {name: age_group, short: age, column: age, levels: [{label: under 40, band: [0, 39]}, {label: 40 and over, band: [40, null]}]}
  - {name: area, column: area, levels: [{label: Town, code: 1}, {label: Country, code: 2}]}
"""


@dataclass(frozen=True)
class Outcome:
    """Exit code and output streams of a command."""

    code: int
    out: str
    err: str


Call = Callable[..., Outcome]


@pytest.fixture
def call(monkeypatch, capsys) -> Call:
    def run(*words: object) -> Outcome:
        monkeypatch.setattr(sys, "argv", ["valuestrata", *map(str, words)])
        try:
            cli.main()
            code = 0
        except SystemExit as stop:
            code = int(stop.code or 0)
        streams = capsys.readouterr()
        return Outcome(code, streams.out, streams.err)

    return run


CHARTS = {
    "closed.figures": ("score_charts", "overview_chart", "bias_chart"),
    "closed.calibrated": ("reliability_chart",),
    "closed.calibration": ("reliability_chart",),
    "closed.heatmaps": ("landscape_chart", "confusion_chart"),
    "fairness.section": ("subgroup_chart",),
    "fairness.figures": ("gap_chart", "slope_chart", "intersection_chart"),
    "estimation.page": ("item_chart", "saved_chart"),
    "open.win_rates": ("dot_chart",),
    "open.texts": ("dot_chart",),
    "open.stances": ("dot_chart",),
}


@pytest.fixture
def with_charts() -> None:
    """Draw the charts of reports in this test."""


@pytest.fixture(autouse=True)
def _no_charts(request, monkeypatch):
    """Leave out charts, which take most of the time of a report; tests/report tests them."""
    if "with_charts" in request.fixturenames:
        return
    for module, names in CHARTS.items():
        for name in names:
            chart = Chart("<svg></svg>", "A chart.")
            drawn = [("", chart)] if name == "score_charts" else chart
            monkeypatch.setattr(f"valuestrata.reports.{module}.{name}", lambda *_args, drawn=drawn, **_options: drawn)


def write_survey(folder: Path, **columns: Callable[[int], object]) -> Path:
    """Write 400 respondents as tiny.csv; each of `columns` replaces a column by a function of the respondent."""
    draw = random.Random(7)
    rows = []
    for person in range(400):
        sex, age, area = draw.choice([1, 2]), draw.randint(18, 80), draw.choice([1, 2])
        rows.append(
            {
                "id": person,
                "sex": sex,
                "age": age,
                "area": area,
                "wt": round(draw.uniform(0.5, 2), 3),
                "Q1": draw.choice([1, 1, 2, 3, 4, -1]) if sex == 1 else draw.choice([2, 3, 3, 3, 4]),
                "Q2": draw.choice([1, 2, 2]),
                "Q3": draw.randint(1, 10) if age < 40 else 10,
                **{name: value(person) for name, value in columns.items()},
            }
        )
    path = folder / "tiny.csv"
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    (folder / "tiny.yaml").write_text(CODEBOOK)
    return path


@pytest.fixture(scope="session")
def built_tiny(tmp_path_factory) -> Path:
    """The data set of the tiny survey, built once. Use `data`, a copy."""
    folder = tmp_path_factory.mktemp("built")
    write_survey(folder)
    with pytest.MonkeyPatch.context() as patch, contextlib.suppress(SystemExit):
        words = ("build", folder / "tiny.csv", "--survey", folder / "tiny.yaml", "-o", folder / "data", "--draws", 20)
        patch.setattr(sys, "argv", ["valuestrata", *map(str, words)])
        cli.main()
    return folder / "data"


@pytest.fixture
def tiny(tmp_path) -> Path:
    """A folder with tiny.csv and tiny.yaml."""
    write_survey(tmp_path)
    return tmp_path


@pytest.fixture
def data(built_tiny, tiny) -> Path:
    """The data set of the tiny survey, in the folder `tiny`."""
    return Path(shutil.copytree(built_tiny, tiny / "data"))


@pytest.fixture
def built(data) -> Path:
    """A folder with tiny.csv, tiny.yaml and the data set `data`."""
    return data.parent
