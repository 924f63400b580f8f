"""Published results with their source, for comparison."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from functools import lru_cache
from importlib import resources
from typing import TYPE_CHECKING, Any

import polars as pl
import yaml

from valuestrata.dataset.tables import Dataset
from valuestrata.frames import Column, Schema

if TYPE_CHECKING:
    from valuestrata.survey.survey import Survey

PUBLISHED = Schema(
    "published",
    {
        "source": Column(pl.String, "publication and setting"),
        "model": Column(pl.String, "model as published"),
        "condition": Column(pl.String, "base or after fine-tuning"),
        "accuracy": Column(pl.Float64, "strict accuracy on unseen pair strata"),
        "nmae": Column(pl.Float64, "normalised mean absolute error, same pairs"),
        "win_rate": Column(pl.Float64, "open-ended answers, win rate against GPT-4.1"),
        "read_in": Column(pl.String, "where the figures were read"),
    },
)


@lru_cache(maxsize=1)
def published_facts() -> dict[str, Any]:
    """Return the document of published figures."""
    return yaml.safe_load(resources.files("valuestrata.reports.closed").joinpath("published.yaml").read_text(encoding="utf-8"))


def read_in(result: dict[str, Any]) -> str:
    """Return where the figures of a published result were read."""
    where = published_facts()["read_in"]
    listed = f"{', '.join(result['abstract'])} {where['abstract']}, the rest " if "abstract" in result else ""
    return listed + where["secondary"]


def published_table() -> pl.DataFrame:
    """Return the published results, one row per model and condition."""
    facts = published_facts()
    rows: list[dict[str, Any]] = []
    for result in facts["results"]:
        for at, condition in enumerate(("base", "fine-tuned")[: len(result["accuracy"])]):
            values = {name: result[name][at] for name in ("accuracy", "nmae", "win_rate")}
            rows.append({"source": facts["label"], "model": result["model"], "condition": condition, **values, "read_in": read_in(result)})
    return PUBLISHED.frame(rows)


def is_published_setting(dataset: Dataset) -> bool:
    """Whether a data set appears to be the published one: wave 7, Singapore, preset of the paper."""
    survey, settings = dataset.meta.get("survey") or {}, dataset.meta.get("settings") or {}
    countries = [list(map(str, country.values())) for country in dataset.meta.get("countries") or []]
    return settings.get("preset") == "paper" and _is_singapore(survey.get("name"), countries, dataset.meta.get("place"))


def is_published_survey(survey: Survey) -> bool:
    """Whether a survey appears to be the published one: wave 7, Singapore."""
    countries = [list(map(str, asdict(country).values())) for country in survey.countries]
    return _is_singapore(survey.codebook.survey, countries, survey.place)


def _is_singapore(name: Any, countries: Sequence[Sequence[str]], place: Any) -> bool:
    alone = len(countries) < 2 and ("Singapore" in str(place) or any("SGP" in country for country in countries))
    return name == "wvs7" and alone


def counts_beside_published(frame: pl.DataFrame, *, same: bool) -> tuple[str, pl.DataFrame]:
    """Return a sentence that says whose the published counts are, and the table to show with it.

    Args:
        frame: from `beside_published_counts` or `beside_published_preview`. same: whether it is of the published survey.
    """
    facts = published_facts()
    of = f"{facts['setting']} ({facts['citation']})"
    named = {"published": f"published ({facts['place']})"}
    if same:
        return f"Published counts: {of}.", frame.rename(named)
    return f"Not comparable: the published counts are of {of}, and these are of another survey.", frame.drop("difference").rename(named)


def beside_published_counts(dataset: Dataset) -> pl.DataFrame:
    """Compare the counts of a data set with the published ones: count, here, published, difference."""
    strata = dict(dataset.subgroups.select("subgroup", "stratum").iter_rows())
    paper = dataset.splits.filter(pl.col("scheme") == "paper")
    sides = {name: paper.filter((pl.col("part") == "test") == (name == "test")) for name in ("train", "test")}
    subgroups = {name: sum(s in strata for s in side["subgroup"].unique()) for name, side in sides.items()}
    pairs = {name: len(side) for name, side in sides.items()}
    return _beside(dataset.meta.get("respondents"), len(dataset.items), subgroups, pairs)


def beside_published_preview(preview: pl.DataFrame, survey: Survey) -> pl.DataFrame:
    """Compare the counts that a build would give (frame of `building.preview`) with the published ones."""
    # The published test part: pair strata without sex, named in section `test`.
    tested = pl.col("stratum").is_in(published_facts()["test"]["strata"])
    sides = {"train": preview.filter(~tested), "test": preview.filter(tested)}
    subgroups = {name: int(side["cells_kept"].sum()) for name, side in sides.items()}
    pairs = {name: int(side["pairs_kept"].sum()) for name, side in sides.items()}
    return _beside(survey.respondents, len(survey.items), subgroups, pairs)


def _beside(respondents: Any, questions: int, subgroups: dict[str, int], pairs: dict[str, int]) -> pl.DataFrame:
    facts = published_facts()
    rows: list[tuple[str, int | None, int]] = [
        ("respondents", respondents, facts["respondents"]),
        ("questions", questions, facts["questions"]),
        ("training subgroups (validation included)", subgroups["train"], facts["train"]["subgroups"]),
        ("unseen subgroups", subgroups["test"], facts["test"]["subgroups"]),
        ("training pairs (validation included)", pairs["train"], facts["train"]["pairs"]),
        ("unseen pairs", pairs["test"], facts["test"]["pairs"]),
    ]
    frame = pl.DataFrame(rows, schema={"count": pl.String, "here": pl.Int64, "published": pl.Int64}, orient="row")
    return frame.with_columns(difference=pl.col("here") - pl.col("published"))
