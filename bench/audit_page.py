"""The page of the audit's study: tables from the rows that `audit_study` makes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl
from scipy.stats import beta

from bench.audit_claims import FAMILIES
from bench.audit_whole import NOTHING
from bench.audit_worlds import ALPHA, DESIGNS

CONFIDENCE = 0.99
# Columns of false claims where nothing is planted; models whose gaps are only difficulty; the gap and pairs that must be found.
FALSE = ("worst", "any_gap", "any_adjusted", "remains", "hidden")
DIFFICULT = ("nation", "person", "labels")
LARGE = (0.10, 1000)

PAGE = """# The audit on planted bias

Respondent models of known accuracy, over surveys sampled from simulated populations, and what the audit claims of them. This
page is written by

    python bench/audit_study.py --repetitions {repetitions} -o docs/auditing-proven.md

in {minutes:.0f} minutes of one core (`--processes 2` halves them and changes no figure). {repetitions:,} repetitions of each condition;
{permutations:,} permutations, 1,000 replicates behind intervals (500 where lines are counted), 200 redraws of the respondents. Data
sets are built as any other (joint redraws, the paper's split), {worlds} in all, each serving several repetitions; the model answers
anew in every one. Claims are made at the {alpha:.0%} level. In brackets stands the one-sided {confidence:.0%} lower bound of a rate
(Clopper and Pearson): a level is kept where it is at most {alpha:.2f}.

## The five targets

| target | found | of | met |
| --- | --- | --- | --- |
{targets}

Rates of false claims are the largest of their tables, by lower bound. Margins hold two standard errors of the repetitions.

Designs, in test subgroups:

{designs}

## Nothing is there

A model that gives the label of every pair with chance .6. Any claim is false. `worst`: some subgroup is claimed to be served
worse than the rest (max-T over all). `gap`: some gap between two levels is claimed (Holm over all attributes). `adjusted`: the
same of gaps at equal difficulty. `remains`: a gap is said to remain beside the baseline and at equal difficulty. `hidden`: one is said to
come to light there only.

{false}

## What verdict lines claim where it is not there

The whole audit, called as a user calls it, and its lines counted. Of each family: in what share of the runs, or of the comparisons
of two runs, some line of it claims something that is not there. A dash: not looked at, or what is claimed is there. Several families
stand on one page: `any` is the share of runs of which at least one false line stood there.

{claims}

| run | what is planted |
| --- | --- |
| fair | two models that give the label with chance .6 everywhere, one against the other (at 60 subgroups one model) |
| half | the same; the second one was asked about half of the pairs, some items and subgroups much more often than others |
| near | misses the label by one step with chance .4, so that all subgroups have the same expected distance; NMAE |
| refusing | fair, and refuses one answer in ten, on some items much more often; the rate of refusals |
| lifted | right with chance .5, then .65, everywhere: all gained, the spread did not change |
| unequal | right by a chance that differs between subgroups (standard deviation .08), the same before and after |

| family | rules |
| --- | --- |
{families}

## A level is not blamed for the company it keeps

One religion is served worse by 40 points, and refused with chance .5 instead of .05; 30 subgroups, of which those of one level of age
are left in two religions only, that one among them. That level is served worse, and refused more often, for no doing of its own. `said`:
some gap of it to another level is claimed, with or without its reason. `blamed`: one is claimed and said to remain (`gap-remains`,
`missing-uneven`). `hidden`: `gap-hidden`.

{company}

## A gap is there

One level, or one subgroup, is served worse than all others by `gap`. `found`: the share of its gaps to the other levels that
are claimed with the right sign, or of repetitions that claim the subgroup. `predicted`: what `valuestrata power` says from the
gold alone, told an accuracy of .6.

{power}

Is a true gap waved away? A level is served worse by .15 (30 subgroups, 170 items), by the model's own doing. Of its gaps that are
claimed, {waved} are said to be explained without the model, to go with other attributes, or to be turned round; in {remains} of
the repetitions one at least is said to remain.

## A survey of the size of the World Values Survey

{planted}

It is asked whether an audit finds bias that one model has and the other has not, and says nothing else: subgroups served worse, gaps,
intersections, refusals, who gained and who lost, and what became of the spread. The whole audit of both models, `after` against
`before`, with two cheap baselines beside them, {audits} times over; each took
{seconds:.0f} seconds of a core (2,000 permutations, 1,000 replicates). Every line that claims something of a subgroup, of two levels, of an
intersection or of a change, and every subgroup and level said to have gained or lost, is held against the same contrast of the planted
scores: *there* where that lies on the side which the line names. At the 5 % level a few of the families that are looked at claim
something that is not there.

{there}

{lines}

The lines of the first audit, as an auditor reads them, the difference that stands with them, and the true one (of a subgroup
against the rest: against the mean of its stratum):

{first}

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
difficulty. Then in how many repetitions some gap was claimed: raw, at equal difficulty, as what remains, and as hidden.

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


def document(
    arrays: pl.DataFrame, claims: pl.DataFrame, whole: pl.DataFrame, *, repetitions: int, permutations: int, minutes: float
) -> str:
    """Return the page from the rows of `audit_study`."""
    bias = arrays.filter(pl.col("condition") == "bias")
    return PAGE.format(
        repetitions=repetitions,
        permutations=permutations,
        minutes=minutes,
        alpha=ALPHA,
        confidence=CONFIDENCE,
        worlds=arrays.select("condition", "subgroups", "items", "effect", "world").n_unique()
        + claims.select("condition", "subgroups", "world").n_unique(),
        targets=_targets(arrays, claims),
        designs="\n".join(
            f"- {subgroups}: attributes of {', '.join(map(str, levels))} levels, {people:,} respondents"
            for subgroups, (levels, people) in DESIGNS.items()
        ),
        false=_false(arrays.filter(pl.col("condition") == "fair")),
        claims=_claims(claims.filter(pl.col("condition") != "company")),
        families="\n".join(f"| {family} | {', '.join(f'`{rule}`' for rule in rules)} |" for family, rules in FAMILIES.items()),
        company=_company(claims.filter(pl.col("condition") == "company")),
        power=_power(_of_power(arrays)),
        planted=whole["planted"][0] if len(whole) else "",
        audits=whole["repetition"].n_unique(),
        seconds=whole["seconds"].mean() or 0.0,
        there=_there(whole),
        lines=_lines(whole),
        first=_first(whole),
        waved=_share(bias["waved"].mean()),
        remains=_share(bias["remains"].mean()),
        spread=_spread(arrays.filter(pl.col("condition") == "spread")),
        difficulty=_difficulty(arrays.filter(pl.col("condition").is_in(DIFFICULT))),
    )


def _targets(arrays: pl.DataFrame, claims: pl.DataFrame) -> str:
    """Return what was asked of the audit beside what was found, the worst case of each; a target of which no rows are there is left out."""
    made: list[tuple[str, str, str, bool]] = []

    def false(target: str, rows: pl.DataFrame, columns: Sequence[str]) -> None:
        cases = [(part[column].drop_nulls(), column) for part in rows.partition_by("condition", "subgroups") for column in columns]
        known = [
            (lower_bound(int(hits.sum()), len(hits)), int(hits.sum()) / len(hits), len(hits), name) for hits, name in cases if len(hits)
        ]
        if known:
            bound, rate, trials, name = max(known)
            found = f"at most {rate:.3f}, lower bound {bound:.3f} (`{name.removeprefix('any_')}`)"
            made.append((f"{target}: lower bound at most {ALPHA:.2f}", found, f"{trials:,}", bound <= ALPHA))

    fair = arrays.filter(pl.col("condition") == "fair")
    for (subgroups,), part in fair.group_by("subgroups", maintain_order=True):
        false(f"False claims, no gap planted, {subgroups} subgroups", part, FALSE)
    false("False lines of each family, wherever nothing of it is planted", claims.filter(pl.col("condition") != "company"), list(FAMILIES))
    powers = [_found(part) for part in _of_power(arrays).partition_by("condition", "subgroups", "items", "effect", maintain_order=True)]
    planted = [one for one in powers if one.level and one.effect == LARGE[0] and one.pairs >= LARGE[1]]
    if planted:
        least = min(planted, key=lambda one: one.found)
        text = f"{least.found:.3f} ± {2 * least.error:.3f} at the least ({len(planted)} designs)"
        made.append(
            (f"A gap of {LARGE[0]:.2f}, {LARGE[1]:,} pairs a side, found: at least 0.80", text, f"{least.trials:,}", least.found >= 0.8)
        )
    if powers:
        worst = max(powers, key=lambda one: abs(one.found - one.predicted))
        text = f"{worst.found - worst.predicted:+.3f} ± {2 * worst.error:.3f} at the most ({len(powers)} designs)"
        met = abs(worst.found - worst.predicted) <= 0.05
        made.append(("Power less what `valuestrata power` predicts: within 0.05", text, f"{worst.trials:,}", met))
    spread = arrays.filter(pl.col("condition") == "spread")
    if len(spread):
        parts = [part["variance"] - part["planted"] for part in spread.partition_by("subgroups", "effect")]
        off = max(parts, key=lambda one: abs(float(one.mean())))
        text = f"{off.mean():+.6f} ± {2 * off.std() / len(off) ** 0.5:.6f} at the most ({len(parts)} designs)"
        made.append(("Bias of the corrected variance: within 0.0002", text, f"{len(off):,}", abs(float(off.mean())) <= 0.0002))
    false("A gap that is only difficulty, said to remain", arrays.filter(pl.col("condition").is_in(DIFFICULT)), ["remains"])
    return "\n".join(f"| {target} | {found} | {of} | {'yes' if met else '**no**'} |" for target, found, of, met in made)


@dataclass(frozen=True)
class _Found:
    """How often what is planted was found in one design, and the standard error of that over the repetitions."""

    level: bool
    effect: float
    pairs: float
    found: float
    error: float
    predicted: float
    trials: int


def _of_power(arrays: pl.DataFrame) -> pl.DataFrame:
    return arrays.filter(pl.col("predicted").is_not_null() & (pl.col("condition") != "bias"))


def _found(part: pl.DataFrame) -> _Found:
    level = part["condition"][0] == "level"
    found = part["found" if level else "first"].cast(pl.Float64)
    pairs = part["pairs"].mean() if level else part["items"][0]
    error = float(found.std() or 0.0) / len(found) ** 0.5
    return _Found(level, part["effect"][0], float(pairs), float(found.mean()), error, float(part["predicted"].mean()), len(part))


def _share(value: object) -> str:
    return "none" if value is None else f"{float(str(value)):.1%}"


def _claims(rows: pl.DataFrame) -> str:
    lines = []
    for (condition, subgroups, metric), part in rows.group_by("condition", "subgroups", "metric", maintain_order=True):
        rates = ["–" if part[family].is_null().all() else _rate(part[family].drop_nulls()) for family in (*FAMILIES, "any")]
        lines.append([str(condition), str(subgroups), str(metric), f"{len(part):,}", *rates])
    return table(["run", "subgroups", "metric", "runs", *FAMILIES, "any"], lines)


def _there(rows: pl.DataFrame) -> str:
    known = rows.filter(pl.col("true").is_not_null())
    if known.is_empty():
        return ""
    false = int((known["true"] <= NOTHING).sum())
    return f"Of {len(known):,} claims {false:,} ({false / len(known):.1%}) were of something that is not there."


def _lines(rows: pl.DataFrame) -> str:
    known = rows.filter(pl.col("true").is_not_null())
    lines = []
    for (run, rule), part in known.group_by("run", "rule", maintain_order=True):
        there = int((part["true"] > NOTHING).sum())
        lines.append([str(run), f"`{rule}`", str(len(part)), str(there), str(len(part) - there)])
    return table(["run", "rule", "lines", "there", "not there"], sorted(lines))


def _first(rows: pl.DataFrame) -> str:
    # Who gained and who lost is a list in one line; the table above counts it.
    known = rows.filter(pl.col("true").is_not_null(), ~pl.col("rule").str.contains("gained|lost"), repetition=0)
    found = known.select("run", "claim", "metric", "rule", "value", "true").rows()
    return table(
        ["run", "line", "metric", "figure", "true"],
        [
            # A line on a subgroup holds its score, and the truth is its distance to the rest.
            [run, claim, metric, "" if rule in ("served-worse", "missing-concentrated") else f"{abs(value):.3f}", f"{true:.3f}"]
            for run, claim, metric, rule, value, true in found
        ],
    )


def _company(rows: pl.DataFrame) -> str:
    lines = []
    for (metric,), part in rows.group_by("metric", maintain_order=True):
        lines.append([str(metric), *(_rate(part[family]) for family in ("gap", "remains", "hidden"))])
    return table(["metric", "said", "blamed", "hidden"], lines)


def _rate(column: pl.Series) -> str:
    hits = int(column.sum())
    return f"{hits / len(column):.3f} ({lower_bound(hits, len(column)):.3f})"


def _false(rows: pl.DataFrame) -> str:
    lines = []
    for (subgroups, items), part in rows.group_by("subgroups", "items", maintain_order=True):
        lines.append([str(subgroups), str(items), *(_rate(part[name]) for name in FALSE)])
    return table(["subgroups", "items", "worst", "gap", "adjusted", "remains", "hidden"], lines)


def _power(rows: pl.DataFrame) -> str:
    lines = []
    for part in rows.partition_by("condition", "subgroups", "items", "effect", maintain_order=True):
        one = _found(part)
        design = [part["condition"][0], str(part["subgroups"][0]), str(part["items"][0]), f"{one.pairs:,.0f}", f"{one.effect:.2f}"]
        figures = [f"{one.found:.3f} ± {2 * one.error:.3f}", f"{one.predicted:.3f}", f"{one.found - one.predicted:+.3f}", f"{one.trials:,}"]
        lines.append(design + figures)
    head = ["served worse", "subgroups", "items", "pairs on a side", "gap", "found", "predicted", "difference", "repetitions"]
    return table(head, lines)


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
        lines.append([str(condition), *means, *(_rate(part[name]) for name in ("any_gap", "any_adjusted", "remains", "hidden"))])
    head = ["model", "raw gap", "less baseline", "adjusted", "raw claimed", "adjusted claimed", "remains claimed", "hidden claimed"]
    return table(head, lines)
