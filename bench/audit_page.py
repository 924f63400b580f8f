"""The page of the audit's study: tables from the rows that `audit_study` makes."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl
from audit_worlds import ALPHA, DESIGNS
from scipy.stats import beta

CONFIDENCE = 0.99

PAGE = """# The audit on planted bias

Respondent models of known accuracy, over surveys sampled from simulated populations, and what the audit claims of them. This
page is written by

    python bench/audit_study.py --repetitions {repetitions} -o docs/auditing-proven.md

in {minutes:.0f} minutes of one core. {repetitions:,} repetitions of each condition; {permutations:,} permutations, 1,000 replicates
behind intervals, 200 redraws of the respondents. Data sets are built as any other (joint redraws, the paper's split),
{worlds} in all, each serving several repetitions; the model answers anew in every one. Claims are made at the {alpha:.0%} level.

Designs, in test subgroups:

{designs}

## Nothing is there

A model that gives the label of every pair with chance .6. Any claim is false. `worst`: some subgroup is claimed to be served
worse than the rest (max-T over all). `gap`: some gap between two levels is claimed (Holm over all attributes). `adjusted`: the
same of gaps at equal difficulty. `remains`: a gap is left, in words, that neither the baseline nor difficulty takes back. In
brackets the one-sided {confidence:.0%} lower bound of the rate (Clopper and Pearson): the level is kept where it is at most {alpha:.2f}.

{false}

## A gap is there

One level, or one subgroup, is served worse than all others by `gap`. `found`: the share of its gaps to the other levels that
are claimed with the right sign, or of repetitions that claim the subgroup. `predicted`: what `valuestrata power` says from the
gold alone, told an accuracy of .6.

{power}

## Is the corrected spread unbiased?

Unfloored corrected variance between subgroups less the variance of the planted accuracies, mean over the repetitions, and its
standard error. Accuracies are all .6, or normal about it with the standard deviation planted.

{spread}

## A gap that is only difficulty

Models that treat all levels alike, where one level is harder or easier than the others; 30 subgroups. `nation`: gives the
nation's true mode with chance .9, and the effects of one level are six times as large. `person`: answers as one random member of the
subgroup would, and that level, its effects four times as large, is more at one with itself. `labels`: gives the true mode with
chance .8, and one level is 6 % of the people, so that its labels are often wrong. A real difference of accuracies stands behind
every raw gap; a claim of *bias* would be false. Mean gap of that level to the others: raw, less that of `item-mode`, and at equal
difficulty. Then in how many repetitions some gap was claimed: raw, at equal difficulty, and as what remains.

{difficulty}

The baseline takes back what comes from distance to the nation and from wrong labels, since both hurt it too. It can't take back
that people of one level are more at one: that is what the adjustment is for. The adjustment by itself leaves a little of a large gap
(its terms are linear, and a cell's true shares are not known), which is why a claim needs both.
"""


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table."""
    return "\n".join("| " + " | ".join(line) + " |" for line in [head, ["---"] * len(head), *rows])


def lower_bound(hits: int, trials: int) -> float:
    """Return the one-sided lower bound of a rate (Clopper and Pearson 1934)."""
    return float(beta.ppf(1 - CONFIDENCE, hits, trials - hits + 1)) if hits else 0.0


def document(rows: pl.DataFrame, repetitions: int, permutations: int, minutes: float) -> str:
    """Return the page from the rows of `audit_study`."""
    return PAGE.format(
        repetitions=repetitions,
        permutations=permutations,
        minutes=minutes,
        alpha=ALPHA,
        confidence=CONFIDENCE,
        worlds=rows.select("condition", "subgroups", "items", "effect", "world").n_unique(),
        designs="\n".join(
            f"- {subgroups}: attributes of {', '.join(map(str, levels))} levels, {people:,} respondents"
            for subgroups, (levels, people) in DESIGNS.items()
        ),
        false=_false(rows.filter(pl.col("condition") == "fair")),
        power=_power(rows.filter(pl.col("predicted").is_not_null())),
        spread=_spread(rows.filter(pl.col("condition") == "spread")),
        difficulty=_difficulty(rows.filter(pl.col("condition").is_in(["nation", "person", "labels"]))),
    )


def _rate(column: pl.Series) -> str:
    hits = int(column.sum())
    return f"{hits / len(column):.3f} ({lower_bound(hits, len(column)):.3f})"


def _false(rows: pl.DataFrame) -> str:
    lines = []
    for (subgroups, items), part in rows.group_by("subgroups", "items", maintain_order=True):
        lines.append([str(subgroups), str(items), *(_rate(part[name]) for name in ("worst", "any_gap", "any_adjusted", "bias"))])
    return table(["subgroups", "items", "worst", "gap", "adjusted", "remains"], lines)


def _power(rows: pl.DataFrame) -> str:
    lines = []
    for (condition, subgroups, items, effect), part in rows.group_by("condition", "subgroups", "items", "effect", maintain_order=True):
        found = part["found" if condition == "level" else "first"].cast(pl.Float64)
        pairs = part["pairs"].mean() if condition == "level" else float(str(items))
        predicted = float(part["predicted"].mean())
        lines.append(
            [
                str(condition),
                str(subgroups),
                str(items),
                f"{pairs:,.0f}",
                f"{effect:.2f}",
                f"{found.mean():.3f}",
                f"{predicted:.3f}",
                f"{found.mean() - predicted:+.3f}",
            ]
        )
    return table(["served worse", "subgroups", "items", "pairs on a side", "gap", "found", "predicted", "difference"], lines)


def _spread(rows: pl.DataFrame) -> str:
    lines = []
    for (subgroups, spread), part in rows.group_by("subgroups", "effect", maintain_order=True):
        off = part["variance"] - part["planted"]
        lines.append(
            [str(subgroups), f"{spread:.2f}", f"{part['planted'].mean():.5f}", f"{off.mean():+.6f}", f"{off.std() / len(off) ** 0.5:.6f}"]
        )
    return table(["subgroups", "planted sd", "planted variance", "bias", "standard error"], lines)


def _difficulty(rows: pl.DataFrame) -> str:
    lines = []
    for (condition,), part in rows.group_by("condition", maintain_order=True):
        means = [f"{part[name].mean():+.3f}" for name in ("gap", "excess", "adjusted")]
        lines.append([str(condition), *means, *(_rate(part[name]) for name in ("any_gap", "any_adjusted", "bias"))])
    head = ["model", "raw gap", "less baseline", "adjusted", "raw claimed", "adjusted claimed", "remains claimed"]
    return table(head, lines)
