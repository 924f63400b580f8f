"""Data sets and runs from the two collections of model and human answers in `../shared/data`.

Nothing of these files belongs in the repository, so they are read where they are. `twin2k` is a survey of 799 people whose sex,
age, ideology and party are known; three models answered as each of these people. `opinionqa` has counts of the whole population for
298 questions, which one model answered as each of 2,058 people.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import yaml

from valuestrata.building import BuildSettings, build
from valuestrata.building.from_counts import build_counts
from valuestrata.dataset.tables import Dataset, load_dataset, write_dataset
from valuestrata.responses.per_respondent.importing import import_respondents
from valuestrata.responses.run.folder import Run, load_run
from valuestrata.survey.counts.read import read_counts
from valuestrata.survey.read import read_survey

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"
TWIN2K = SHARED / "twin2k"
OPINIONQA = SHARED / "opinionqa"
# What the model wrote instead of an option.
REFUSED = "5"
MODELS = {
    "demographics-gpt": "model_demographics_gpt-4.1-mini.csv",
    "full-persona-gpt": "model_fullpersona_gpt-4.1-mini.csv",
    "full-persona-gemini": "model_fullpersona_gemini-2.5-flash.csv",
}
PERSON = "TWIN_ID"
_AGES = ((18, 34), (35, 49), (50, 64), (65, None))
_ATTRIBUTES: list[dict[str, Any]] = [
    {
        "name": "sex",
        "column": "sex",
        "role": "noun",
        "levels": [
            {"label": "Male", "code": 1, "phrase": "man"},
            {"label": "Female", "code": 2, "phrase": "woman"},
            {"label": "Other", "code": 3, "phrase": "person"},
        ],
    },
    {
        "name": "age_group",
        "short": "age",
        "column": "age",
        "levels": [
            {
                "label": f"{low}-{high} years" if high else f"{low} and over",
                "band": [low, high],
                "phrase": f"aged {low} to {high}" if high else f"aged {low} or over",
            }
            for low, high in _AGES
        ],
    },
    {
        "name": "ideology",
        "column": "ideology",
        "role": "adjective",
        "levels": [
            {"label": "Very liberal", "codes": [1, 2], "phrase": "very liberal"},
            {"label": "Somewhat liberal", "code": 3, "phrase": "somewhat liberal"},
            {"label": "Moderate", "code": 4, "phrase": "politically moderate"},
            {"label": "Somewhat conservative", "code": 5, "phrase": "somewhat conservative"},
            {"label": "Very conservative", "codes": [6, 7], "phrase": "very conservative"},
        ],
    },
    {
        "name": "party",
        "column": "party",
        "levels": [
            {"label": "Democrat", "code": 1, "phrase": "who identifies as a Democrat"},
            {"label": "Independent", "code": 2, "phrase": "who identifies as an Independent"},
            {"label": "Republican", "code": 3, "phrase": "who identifies as a Republican"},
            {"label": "Other", "code": 4, "phrase": "who supports another party"},
        ],
    },
]


@dataclass(frozen=True)
class Study:
    """A data set and its runs."""

    dataset: Dataset
    runs: list[Run]


def twin2k_survey(folder: Path) -> tuple[Path, Path]:
    """Write `twin2k.yaml` (codebook) and `twin2k.csv` (799 people with attributes and answers) to a folder; return their paths.

    Raises:
        FileNotFoundError: the shared data are not there.
    """
    folder.mkdir(parents=True, exist_ok=True)
    items = pl.read_csv(TWIN2K / "items.csv")
    entries = [
        {
            "id": column,
            "topic": block.capitalize(),
            "block": block,
            "level": "binary" if len(labels := options.split("|")) == 2 else "ordinal",
            "codes": list(range(1, len(labels) + 1)),
            "labels": labels,
            "question": question,
        }
        for column, block, question, options in items.iter_rows()
    ]
    document = {
        "survey": "twin2k",
        "title": "Twin-2K-500",
        "citation": "Toubia et al. 2025, arXiv 2505.17479; mega study: arXiv 2509.19088",
        "place": "the United States",
        "respondent_id": PERSON,
        "missing": {"not_asked": {"codes": [-9]}},
        "items": entries,
        "attributes": _ATTRIBUTES,
    }
    codebook, survey = folder / "twin2k.yaml", folder / "twin2k.csv"
    codebook.write_text(yaml.safe_dump(document, sort_keys=False, allow_unicode=True), encoding="utf-8")
    people = pl.read_csv(TWIN2K / "people.csv", infer_schema=False)
    human = pl.read_csv(TWIN2K / "human.csv", infer_schema=False)
    people.join(human.select(PERSON, *items["column"]), on=PERSON, how="inner", maintain_order="left").write_csv(survey)
    return codebook, survey


def twin2k(folder: Path, settings: BuildSettings | None = None) -> Study:
    """Build the data set of twin2k in `folder/twin2k` and import the three models to `folder/runs-twin2k`; reuse what is there.

    The models answered each question once as each person, so a pair has the shares of the people of its subgroup.
    """
    codebook, survey = twin2k_survey(folder)
    place = folder / "twin2k"
    if not place.exists():
        write_dataset(build(read_survey(survey, codebook), settings), place)
    dataset = load_dataset(place)
    runs: list[Run] = []
    for name, file in MODELS.items():
        out = folder / "runs-twin2k" / name
        if not out.exists():
            how: dict[str, Any] = {"people": survey, "survey": codebook, "truth": survey, "trained_on": "none"}
            import_respondents(dataset, TWIN2K / file, out, ids=[PERSON], **how)
        runs.append(load_run(out))
    return Study(dataset, runs)


def opinionqa(folder: Path, settings: BuildSettings | None = None) -> Study:
    """Build the data set of opinionqa in `folder/opinionqa` and import the model to `folder/runs-opinionqa/personas`; reuse both."""
    place, out = folder / "opinionqa", folder / "runs-opinionqa" / "personas"
    if not place.exists():
        write_dataset(build_counts(read_counts(OPINIONQA / "questions.json"), settings), place)
    dataset = load_dataset(place)
    if not out.exists():
        answers = OPINIONQA / "persona_answers.csv"
        import_respondents(dataset, answers, out, ids=["item"], missing=[REFUSED], trained_on="none")
    return Study(dataset, [load_run(out)])


def main() -> None:
    """Write the data sets and the runs to a folder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="where to write")
    folder = parser.parse_args().folder
    for study in (twin2k(folder), opinionqa(folder)):
        print(f"{study.dataset.path}: {study.dataset.meta['counts']}")
        for run in study.runs:
            print(f"{run.path}: {len(run.responses):,} responses")


if __name__ == "__main__":
    main()
