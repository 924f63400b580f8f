"""What estimates say first: which estimator to use, what a model saves and for whom it saves nothing, in sentences."""

from __future__ import annotations

import polars as pl

from valuestrata.dataset.subgroups import EVERYONE
from valuestrata.estimation.estimate import EstimateResult
from valuestrata.estimation.estimates import MODEL, RECTIFIED
from valuestrata.estimation.results.advice import (
    ALONE,
    EstimatorChoice,
    RunWorth,
    choice_of,
    half_width,
    side_by_side,
    synthetic_pairs,
    worth_of_runs,
)
from valuestrata.estimation.results.table import half_widths
from valuestrata.formatting import MINUS, NONE, count, points

# Subgroups in the table on the terminal, and named in a sentence.
MOST_SUBGROUPS = 8
MOST_NAMED = 3
# Adjusted p-values below this are shown changes.
CHANGED = 0.05


def opening(result: EstimateResult) -> list[str]:
    """Return at most five sentences, the answer first."""
    return list(titled(result).values())


def titled(result: EstimateResult) -> dict[str, str]:
    """Return the sentences of `opening`, each under a title."""
    found = {"What to use": use_sentence(result)}
    if result.has_change:
        found["Change"] = change_sentence(result)
    found["The model"] = saving_sentence(result) if result.runs else _NO_MODEL
    if result.runs:
        found["Where it saves nothing"] = nothing_sentence(result)
    found["Synthetic estimates"] = synthetic_sentence(result)
    return {title: sentence for title, sentence in found.items() if sentence}


_NO_MODEL = "No model was given, so the estimates rest on the interviews alone."


def use_sentence(result: EstimateResult) -> str:
    """Write which estimator to use for the population and for subgroups, with the half-widths of their intervals."""
    chosen = choice_of(result)
    people = count(result.document["people"]["interviewed"], "interview")
    said = f"From {people}: use {chosen.population.name} for the population ({_width(result, chosen.population, population=True)})"
    small = _width(result, chosen.subgroups)
    if chosen.subgroups == ALONE:
        return f"{said} and for subgroups ({small}): no other estimate has shorter intervals."
    return f"{said} and {chosen.subgroups.name} for subgroups ({small}; {ALONE.name}: {_width(result, ALONE)})."


def _width(result: EstimateResult, choice: EstimatorChoice, *, population: bool = False) -> str:
    found = half_width(result, choice, population=population)
    return "no interval" if found is None else f"± {points(found)} points"


def saving_sentence(result: EstimateResult) -> str:
    """Write how many interviews the best model saves in the population, and in how many subgroups it is shown to save some."""
    one = best_run(result)
    row, small = one.rectified.population, one.small_area
    low, high, saved, n = (row[name] for name in ("low", "high", "estimated", "n"))
    ends = "" if low is None or high is None else f" [{_interviews(low)} to {_interviews(high)}]"
    found = f"{_interviews(saved)}{ends} of {_interviews(n, 0)}"
    whole = f"{one.run} saves {found} interviews" if row["shown"] else f"{one.run} is not shown to save interviews ({found})"
    groups = f"{len(small.shown):,} of {count(len(small.shown) + len(small.other), 'subgroup')}"
    return f"{whole} in the population; with small-area estimates it is shown to save some in {groups}."


def _interviews(value: float | None, digits: int = 1) -> str:
    return NONE if value is None else f"{value:.{digits}f}".replace("-", MINUS)


def nothing_sentence(result: EstimateResult) -> str:
    """Write for whom the model saves nothing."""
    one = best_run(result).small_area
    if not one.other:
        return ""
    sizes = _sizes(result)
    named = sorted(one.other, key=lambda name: -sizes.get(name, 0))[:MOST_NAMED]
    listed = ", ".join(named) + (", ..." if len(one.other) > len(named) else "")
    more = f" In {count(len(one.costs), 'subgroup')} it makes estimates worse." if one.costs else ""
    return f"No saving is shown in {count(len(one.other), 'subgroup')} (the largest: {listed}); do not use the model there.{more}"


def best_run(result: EstimateResult) -> RunWorth:
    """Return the run with the largest saving in the population; runs for which one is shown come first."""

    def rank(one: RunWorth) -> tuple[bool, float]:
        row = one.rectified.population
        return bool(row["shown"]), row["estimated"] or 0.0

    return max(worth_of_runs(result), key=rank)


def synthetic_sentence(result: EstimateResult) -> str:
    """Write how many estimates are synthetic."""
    synthetic = synthetic_pairs(result)
    total = result.table.select("subgroup", "item").n_unique()
    if not synthetic:
        return ""
    return (
        f"{synthetic:,} of {count(total, 'pair')} of a subgroup and an item have no answer of that subgroup: their estimates are "
        "synthetic, from other people and the model."
    )


def change_sentence(result: EstimateResult) -> str:
    """Write which subgroups are shown to have changed since the first wave."""
    chosen = change_choice(result)
    pairs = result.table.filter(
        pl.col("estimator") == chosen.estimator, pl.col("run").eq_missing(chosen.run), pl.col("p_change").is_not_null()
    ).unique(["subgroup", "item"], maintain_order=True)
    changed = pairs.filter(pl.col("p_change") < CHANGED)
    total = count(pairs.height, "pair")
    if changed.is_empty():
        return f"No change since the first wave is shown in {total} of a subgroup and an item (by {chosen.name}; false discovery rate 5 %)."
    whole = changed.filter(subgroup=EVERYONE)["item"].to_list()
    groups = changed.filter(pl.col("subgroup") != EVERYONE)["subgroup"].value_counts(sort=True)
    top = ", ".join(
        f"{name} ({number_} items)" if number_ > 1 else f"{name} (1 item)" for name, number_ in groups.head(MOST_NAMED).iter_rows()
    )
    population = f"{count(len(whole), 'item')} of the population" if whole else "none of the population"
    among = f"; subgroups with most: {top}" if groups.height else ""
    return (
        f"Changes since the first wave are shown in {changed.height:,} of {total} of a subgroup and an item (by {chosen.name}; false "
        f"discovery rate 5 %), {population}{among}."
    )


def change_choice(result: EstimateResult) -> EstimatorChoice:
    """Return the estimator that changes are reported by: the rectified one of the chosen run, or the sample alone.

    Its intervals cover in each subgroup; those of small-area estimates only on average over subgroups.
    """
    chosen = choice_of(result).population
    return chosen if chosen.estimator == RECTIFIED else ALONE


def width_table(result: EstimateResult) -> pl.DataFrame:
    """Return the average half-widths in points: the population and the largest levels of single attributes, a column by estimator."""
    rows = half_widths(result.table)
    shown = [EVERYONE, *_largest(result)]
    made: dict[str, list[str]] = {"subgroup": shown, "answers": [f"{_sizes(result).get(name, 0):,}" for name in shown]}
    for one in side_by_side(result):
        if one.estimator == MODEL:
            continue
        mine = dict(
            rows.filter(estimator=one.estimator).filter(pl.col("run").eq_missing(one.run)).select("subgroup", "half_width").iter_rows()
        )
        made[one.name] = [points(mine[name]) if name in mine else NONE for name in shown]
    return pl.DataFrame(made)


def _sizes(result: EstimateResult) -> dict[str, int]:
    """Return the largest number of answers of each subgroup to an item."""
    return dict(result.table.group_by("subgroup").agg(pl.col("n").max()).iter_rows())


def _largest(result: EstimateResult) -> list[str]:
    """Return the largest subgroups of single attributes, largest first; of any attributes if there are none."""
    subgroups, sizes = result.dataset.subgroups, _sizes(result)
    used = pl.sum_horizontal(pl.col(name).is_not_null().cast(pl.Int32) for name in result.dataset.attributes)
    single = subgroups.filter(used == 1)["subgroup"].to_list() if result.dataset.attributes else []
    known = [name for name in single if name in sizes] or [name for name in sizes if name != EVERYONE]
    return sorted(known, key=lambda name: (-sizes[name], name))[:MOST_SUBGROUPS]
