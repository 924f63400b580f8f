"""Charts of estimates: the estimators side by side for an item, and interviews saved by subgroup."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from valuestrata.dataset.subgroups import EVERYONE
from valuestrata.dataset.tables import Dataset
from valuestrata.estimation.results.advice import EstimatorChoice
from valuestrata.formatting import count, number, percent
from valuestrata.reports.closed.figures import Chart
from valuestrata.reports.core.names import attribute_titles, subgroup_titles
from valuestrata.reports.open.figures import BESIDE, Dot, dot_chart

# Interviews saved are drawn within this range, as a part of those made: intervals of small subgroups reach far beyond.
DRAWN = (-1.0, 2.0)


@dataclass(frozen=True)
class ShownSubgroup:
    """A subgroup in a chart: its id, its label and the attribute above it."""

    id: str
    label: str
    group: str


def shown_subgroups(dataset: Dataset, known: Sequence[str]) -> list[ShownSubgroup]:
    """Return the population and the levels of single attributes that are known; all subgroups if there are none."""
    names, titles = subgroup_titles(dataset), attribute_titles(dataset)
    found: list[ShownSubgroup] = []
    for row in dataset.subgroups.iter_rows(named=True):
        subgroup, used = row["subgroup"], [name for name in titles if row.get(name) is not None]
        if subgroup in known and len(used) < 2:
            group = titles[used[0]] if used else ""
            found.append(ShownSubgroup(subgroup, "Population" if subgroup == EVERYONE else names[subgroup], group))
    return sorted(found, key=lambda one: [EVERYONE, *dataset.subgroups["subgroup"]].index(one.id))


def two_digits(value: float | None) -> str:
    """Write a mean: `1.23`."""
    return number(value, 2)


def item_chart(
    rows: pl.DataFrame, subgroups: Sequence[ShownSubgroup], estimators: Sequence[EstimatorChoice], name: str, what: str, share: bool
) -> Chart | None:
    """Draw the estimates of one number of an item, a row for each subgroup and a dot for each estimator.

    Args:
        rows: ESTIMATES rows of one item and one code (or the mean). subgroups, estimators: to draw, in order. name: unique within the page.
        what: what is estimated, for the axis. share: whether it is a share.
    """
    write = percent if share else two_digits
    found = {(row["subgroup"], row["estimator"], row["run"]): row for row in rows.iter_rows(named=True)}
    dots: list[Dot] = []
    # Series are drawn in the order of their first dots.
    for one in estimators:
        for subgroup in subgroups:
            row = found.get((subgroup.id, one.estimator, one.run))
            if row is None or row["value"] is None:
                continue
            ends = "no interval" if row["low"] is None else f"95 % interval {write(row['low'])} to {write(row['high'])}"
            mark = "" if row["flag"] is None else f", {row['flag']}"
            said = f"{subgroup.label}, {one.name}: {write(row['value'])}, {ends} ({count(row['n'], 'answer')}{mark})"
            label = f"{subgroup.label}  ({row['n']:,})"
            dots.append(Dot(label, subgroup.group, one.name, row["value"], row["low"], row["high"], said))
    caption = "Lines: 95 % intervals; the model alone has none, because its error is unknown. In brackets: people who answered."
    return dot_chart(
        dots, name=name, axis=what, described=f"{what} by subgroup and estimator", caption=caption, form=".0%" if share else ".1f", most=6
    )


def _part(value: float | None, n: float) -> float | None:
    """Return interviews as a part of n, within the range that is drawn."""
    return None if value is None else min(max(value / n, DRAWN[0]), DRAWN[1])


def saved_chart(interviews: pl.DataFrame, subgroups: Sequence[ShownSubgroup], name: str) -> Chart | None:
    """Draw the interviews that each run saves in each subgroup; `interviews` has INTERVIEWS rows over all items."""
    found = {(row["subgroup"], row["estimator"], row["run"]): row for row in interviews.iter_rows(named=True)}
    series = list(interviews.select("estimator", "run").unique(maintain_order=True).iter_rows())
    dots: list[Dot] = []
    for subgroup in subgroups:
        for estimator, run in series:
            row = found.get((subgroup.id, estimator, run))
            if row is None or row["estimated"] is None or not row["n"]:
                continue
            title = EstimatorChoice(estimator, run).name
            saved, low, high = (_part(row[name], row["n"]) for name in ("estimated", "low", "high"))
            said = f"{subgroup.label}, {title}: {number(row['estimated'], 1)} of {number(row['n'], 0)} interviews"
            if row["low"] is not None:
                said += f", 95 % interval {number(row['low'], 1)} to {number(row['high'], 1)}"
            label = f"{subgroup.label}  ({number(row['n'], 0)})"
            dots.append(Dot(label, subgroup.group, title, saved or 0.0, low, high, said))
    caption = (
        "Interviews that the model replaces, as a share of those that were made (in brackets), averaged over items. Lines: 95 % intervals. "
        "A line that reaches 0 means that no saving is shown. Values beyond −100 % and 200 % are drawn there."
    )
    return dot_chart(
        dots,
        name=name,
        axis="Interviews saved, share of those made",
        described="Interviews saved by subgroup",
        caption=caption,
        at=0.0,
        width=BESIDE,
    )
