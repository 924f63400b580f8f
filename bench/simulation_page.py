"""The page of the simulation study: tables from the rows that `planted` makes."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import planted
import polars as pl
from planted import BOUNDS, CONDITIONS, DISTANCES, ITEM_MODE, METRICS, NATIONAL, ORACLE, SCHEMES, SUBGROUP
from scipy.stats import binom

NOMINAL = 0.95

PAGE = """# Planted populations

Surveys whose true subgroup shares are known (`valuestrata simulate` writes one), and what intervals and baselines make of
them. This page is written by

    python bench/simulation_study.py --populations {populations} -o docs/simulation.md

{populations} populations under each condition, {datasets:,} data sets in all, of {respondents} respondents, {items} items of
2 to 10 options and attributes of {levels} levels. Respondents' traits carry {common:.0%} of an item's latent variance;
{missing:.0%} of answers are missing; {draws} redraws; intervals from {bootstrap} replicates. Standard deviations of the planted
main effects and interactions, on a latent scale of standard deviation 1: {sizes}.

## Do intervals cover?

Two models whose answers were decided before anyone was sampled: `{national}` gives the nation's true shares, `{subgroup}` those of
the subgroup, both a random distribution on {error:.0%} of pairs. Each population has its own items and its own people; the target
is the mean score over all populations of the condition. Percent of the 95 % intervals that hold it: of {populations}, a true 95 %
would stay between {low} and {high} with probability .999. In brackets the mean width of the interval over the width
that the scores' own spread calls for: 1 is exact, more is too wide.

{coverage}

With the items kept and only the people drawn anew ({held} populations, {samples} samples each; the target is the mean of the
population's samples) the interval is meant to be too wide: it allows for other items, which do not come.

{coverage_held}

## Do shares carry the right error?

Percent of shares of all pairs for which gold +- 1.96 `share_se` holds the planted share, by the expected number of answers of
the option (or of all others, where these are fewer). Options that hardly anyone chooses have lopsided errors that no
symmetric interval covers.

{share}

## Do baselines find what was planted, and nothing else?

Percent of populations in which the paired 95 % interval of a baseline lies wholly on the better side of `{item_mode}`; in brackets
the mean gain in points, positive is better. `{strongest}` was named before the study as the baseline whose gain is the claim.
Where nothing is planted 2.5 % is nominal, and {most} % of {populations} is exceeded with probability .0005. Under `paper` the
respondents of a test cell also stand behind the training gold, and a baseline that follows their noise is rewarded for it;
only `paper+disjoint` can show that nothing is there.

{gains}

Root mean square distance of predicted to planted shares over the test pairs, in points. Under `paper+disjoint` baselines learn from
one half of the people, and the observed shares are those of the other half.

{recovery}

## Are ceilings reachable?

Mean score of a model that gives the true shares and the true mode of every subgroup, and the mean ceiling or floor printed
for the same pairs. Ceilings are plug-in values: the mode that redraws show most often is not always the true one. In brackets
what part of the way from `{item_mode}` to the ceiling the truth goes: more than that no model can reach but by luck.

{bounds}
"""


def covered(rows: pl.DataFrame, target: Sequence[str]) -> pl.DataFrame:
    """Return rows with the mean value over data sets of the same `target` columns, and whether the interval holds it."""
    aim = pl.col("value").mean().over(target)
    return rows.with_columns(aim.alias("aim"), ((pl.col("low") <= aim) & (aim <= pl.col("high"))).alias("covers"))


def better() -> pl.Expr:
    """Return whether the interval of a difference lies wholly on the better side."""
    return pl.when(pl.col("metric").is_in(DISTANCES)).then(pl.col("high") < 0).otherwise(pl.col("low") > 0)


def limits(number: int, share: float, level: float = 0.999) -> tuple[float, float]:
    """Return between which shares of `number` trials a share `share` stays with probability `level`."""
    low, high = binom.interval(level, number, share)
    return low / number, high / number


def percent(value: float) -> str:
    """Return 95.2 for .952."""
    return f"{100 * value:.1f}"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def coverage_table(rows: pl.DataFrame, target: Sequence[str], groups: Sequence[tuple[str, str | None]]) -> str:
    """Return coverage in percent, with the mean width of the interval over 3.92 standard deviations of the values."""
    found = covered(rows, target)
    lines: list[list[str]] = []
    for (condition, scheme), part in found.group_by("condition", "scheme", maintain_order=True):
        for run, against in groups:
            mine = part.filter(pl.col("run") == run, pl.col("against").eq_missing(against))
            cells = []
            for metric in METRICS:
                one = mine.filter(pl.col("metric") == metric)
                spread = float(one.select((pl.col("value") - pl.col("aim")).pow(2).mean().sqrt()).item())
                width = float((one["high"] - one["low"]).mean()) / (2 * 1.96 * spread)
                cells.append(f"{percent(float(one['covers'].mean()))} ({width:.2f})")
            lines.append([str(condition), str(scheme), run if against is None else f"{run} - {against}", *cells])
    return table(["planted", "split", "score of", *METRICS], lines)


def gains_table(rows: pl.DataFrame) -> str:
    """Return how often each baseline's interval lies above item mode, and the mean gain in points."""
    found = rows.filter(pl.col("against") == ITEM_MODE).with_columns(better().alias("beats"))
    lines: list[list[str]] = []
    for (condition, scheme, run), part in found.group_by("condition", "scheme", "run", maintain_order=True):
        cells = []
        for metric in METRICS:
            one = part.filter(pl.col("metric") == metric)
            gain = float(one["value"].mean()) * (-1 if metric in DISTANCES else 1)
            cells.append(f"{percent(float(one['beats'].mean()))} ({100 * gain:+.2f})")
        lines.append([str(condition), str(scheme), str(run), *cells])
    return table(["planted", "split", "baseline", *METRICS], lines)


def recovery_table(rows: pl.DataFrame, names: Sequence[str]) -> str:
    """Return the distance to the planted shares of test pairs, in points."""
    found = rows.group_by("condition", "scheme", "run", maintain_order=True).agg(pl.col("value").mean())
    lines = []
    for (condition, scheme), part in found.group_by("condition", "scheme", maintain_order=True):
        value = dict(part.select("run", "value").iter_rows())
        lines.append([str(condition), str(scheme), *(f"{100 * value[name]:.2f}" for name in names)])
    return table(["planted", "split", *names], lines)


def bounds_table(rows: pl.DataFrame) -> str:
    """Return what a model that knows the truth scores, beside the ceiling or floor printed for it."""
    means = rows.group_by("condition", "scheme", "what", "metric").agg(pl.col("value").mean())
    mean = {tuple(key): value for *key, value in means.iter_rows()}
    lines: list[list[str]] = []
    for condition, scheme in itertools.product(CONDITIONS, SCHEMES):
        cells: list[str] = []
        for metric, bound in BOUNDS.items():
            score, limit = (mean[condition, scheme, "score" if name == metric else "bound", name] for name in (metric, bound))
            gain = mean[condition, scheme, "difference", metric]
            cells.append(f"{score:.3f} / {limit:.3f} ({gain / (limit - score + gain):.2f})")
        lines.append([condition, scheme, *cells])
    return table(["planted", "split", *(f"{metric} / {bound}" for metric, bound in BOUNDS.items())], lines)


def share_table(rows: pl.DataFrame) -> str:
    """Return coverage of gold +- 1.96 share_se by expected answers of the rarer side."""
    found = rows.with_columns(pl.col("metric").cast(pl.Int64).alias("from"), (pl.col("value") * pl.col("number")).alias("hits"))
    sums = found.group_by("condition", "from").agg(pl.col("hits").sum(), pl.col("number").sum()).sort("from")
    lines = []
    for condition in CONDITIONS:
        part = sums.filter(pl.col("condition") == condition)
        lines.append([condition, *(f"{percent(h / n)} of {n:,}" for h, n in part.select("hits", "number").iter_rows())])
    edges = list(planted.SHARE_BINS)
    heads = [f"{low} to {high}" for low, high in itertools.pairwise(edges)] + [f"{edges[-1]} and more"]
    return table(["planted", *heads], lines)


def document(rows: pl.DataFrame, populations: int, held: int, strongest: str, ladder: Sequence[str], bootstrap: int) -> str:
    """Return the page.

    Args:
        rows: planted.COLUMNS, of both designs.
        populations: under each condition. held: populations of the design that keeps the items.
        strongest: the baseline whose gain is the claim. ladder: all baselines run. bootstrap: replicates.
    """
    by_design = dict(rows.partition_by("design", as_dict=True).items())
    redrawn, kept = by_design["redrawn",], by_design["held",]
    groups = [(NATIONAL, None), (SUBGROUP, None), (SUBGROUP, NATIONAL)]
    target = ["condition", "scheme", "run", "against", "metric"]
    fixed = pl.col("what").is_in(["score", "difference"]) & pl.col("run").is_in([NATIONAL, SUBGROUP])
    low, high = limits(populations, NOMINAL)
    settings = planted.SETTINGS
    return PAGE.format(
        populations=populations,
        datasets=rows.select("condition", "design", "population", "sample").n_unique(),
        respondents=settings.respondents,
        items=settings.items,
        levels=", ".join(map(str, settings.levels)),
        common=settings.common,
        missing=settings.missing,
        draws=planted.DRAWS,
        bootstrap=bootstrap,
        sizes="; ".join(f"{name}: {main:g} and {pairs:g}" for name, (main, pairs) in CONDITIONS.items()),
        national=NATIONAL,
        subgroup=SUBGROUP,
        error=planted.ERROR,
        low=percent(low),
        high=percent(high),
        held=held,
        samples=populations // held,
        item_mode=ITEM_MODE,
        strongest=strongest,
        most=percent(limits(populations, 0.025)[1]),
        coverage=coverage_table(redrawn.filter(fixed), target, groups),
        coverage_held=coverage_table(kept.filter(fixed), [*target, "population"], groups),
        share=share_table(redrawn.filter(pl.col("what") == "share interval")),
        gains=gains_table(redrawn.filter(pl.col("what") == "difference")),
        recovery=recovery_table(redrawn.filter(pl.col("what") == "recovery"), ["observed", *ladder]),
        bounds=bounds_table(redrawn.filter((pl.col("what") == "bound") | (pl.col("run") == ORACLE))),
    )
