"""A small survey with sampling units, strata and weights: its files, and the data set built from it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from valuestrata.building import BuildSettings, build
from valuestrata.dataset.tables import Dataset, load_dataset, write_dataset
from valuestrata.survey import read_survey

CODEBOOK = """
survey: small
title: Small
weight: wt
respondent_id: id
design: {psu: psu, strata: region}
missing: {dont_know: {codes: [8], labels: [Don't know]}}
items:
  - {id: Q1, topic: Life, block: one, codes: [1, 2, 3], labels: [Low, Middle, High], question: "One?"}
  - {id: Q2, topic: Life, block: one, codes: [1, 2], labels: [Agree, Disagree], level: binary, question: "Two?"}
  - {id: Q3, topic: Work, column: third, codes: [0, 1, 2, 3], labels: [None, Some, Many, All], level: nominal, question: "Three?"}
attributes:
  - {name: sex, column: sex, role: noun, levels: [{label: Male, code: 1}, {label: Female, code: 2}]}
  - {name: age_group, short: age, column: age, levels: [{label: Young, band: [18, 39]}, {label: Old, band: [40, null]}]}
  - {name: faith, column: faith, levels: [{label: None, code: 0}, {label: Christian, code: 1}, {label: Muslim, code: 2}]}
"""
ITEMS = {"Q1": ("Q1", 1, 3), "Q2": ("Q2", 1, 2), "Q3": ("third", 0, 4)}
PEOPLE = 600


@dataclass(frozen=True)
class Surveyed:
    """A folder, its codebook, the survey file, its rows, and the data set."""

    folder: Path
    codebook: Path
    file: Path
    rows: pl.DataFrame
    dataset: Dataset

    def sample(self, name: str = "sample.csv", *, rows: pl.DataFrame | None = None, **columns: object) -> Path:
        """Write people (every fourth) as a survey file, with other values in some columns."""
        frame = self.rows[::4] if rows is None else rows
        path = self.folder / name
        frame.with_columns(**{key: pl.Series(np.broadcast_to(value, len(frame))) for key, value in columns.items()}).write_csv(path)
        return path

    def table(self, name: str = "table.csv", *, rows: pl.DataFrame | None = None, drop: tuple[str, ...] = ()) -> Path:
        """Write people (every fourth) as a table with labels of levels."""
        frame = self.rows[::4] if rows is None else rows
        labels = {"sex": ["", "Male", "Female"], "faith": ["None", "Christian", "Muslim"]}
        shown = frame.with_columns(
            *(pl.Series(column, [labels[column][code] for code in frame[column]]) for column in labels),
            age_group=pl.when(pl.col("age") < 40).then(pl.lit("Young")).otherwise(pl.lit("Old")),
        ).with_columns(pl.col("Q1", "Q2", "third").replace(8, None))
        shown.drop("age", *drop).write_csv(self.folder / name)
        return self.folder / name


def respondents(people: int = PEOPLE, seed: int = 0) -> pl.DataFrame:
    """Return the rows of a survey file."""
    rng = np.random.default_rng(seed)
    sex, age, faith = rng.integers(1, 3, people), rng.integers(18, 70, people), rng.choice(3, people, p=[0.5, 0.35, 0.15])
    columns: dict[str, object] = {
        "id": [f"p{seed}-{i}" for i in range(people)],
        "sex": sex,
        "age": age,
        "faith": faith,
        "wt": rng.uniform(0.5, 2.0, people).round(3),
        "psu": np.arange(people) // 5,
        "region": np.arange(people) // (people // 4),
    }
    for column, first, options in ITEMS.values():
        answers = np.clip(rng.integers(0, options, people) + (sex == 2), 0, options - 1) + first
        columns[column] = np.where(rng.random(people) < 0.1, 8, answers)
    return pl.DataFrame(columns)


def surveyed(folder: Path) -> Surveyed:
    """Write a survey and build its data set."""
    codebook, file, rows = folder / "small.yaml", folder / "survey.csv", respondents()
    codebook.write_text(CODEBOOK)
    rows.write_csv(file)
    write_dataset(build(read_survey(file, codebook), BuildSettings(draws=5, min_respondents=10, min_valid=5)), folder / "data")
    return Surveyed(folder, codebook, file, rows, load_dataset(folder / "data"))
