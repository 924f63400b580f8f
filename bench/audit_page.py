"""Page on the error rates of the audit, made from the rows of `audit_study`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl
from scipy.stats import beta

from bench.audit_claims import FAMILIES
from bench.audit_whole import NOTHING
from bench.audit_worlds import ALPHA, DESIGNS

CONFIDENCE = 0.99
# Columns of false claims without a true gap; models with gaps that are due to difficulty; the gap and number of pairs of the power target.
FALSE = ("worst", "any_gap", "any_adjusted", "remains", "hidden")
DIFFICULT = ("nation", "person", "labels")
LARGE = (0.10, 1000)

PAGE = """# Error rates of the audit on simulated data

An audit is useful only if it seldom claims a bias that does not exist and finds one that does. This page measures both.
Models with known accuracy answer surveys that are sampled from simulated populations; the claims of the audit are then
compared with the truth. [auditing.md](auditing.md) describes the audit, and the [glossary](glossary.md) its terms.

The page is written by

    python bench/audit_study.py --repetitions {repetitions} -o docs/auditing-proven.md

in {minutes:.0f} minutes on one core (`--processes 2` halves this without changing any figure). It uses {repetitions:,}
repetitions of each condition, {permutations:,} permutations, 1,000 bootstrap replicates for intervals (500 where claims are
counted) and 200 joint redraws of the respondents. {worlds} data sets are built as usual, with joint redraws and the paper
split. Each is used in several repetitions, and the model's answers are drawn again in each repetition. Claims use the
{alpha:.0%} level. Figures in brackets are one-sided {confidence:.0%} lower bounds of a rate (Clopper and Pearson). A rate is
accepted if this bound is at most {alpha:.2f}.

## The five targets

| target | result | n | met |
| --- | --- | --- | --- |
{targets}

Rates of false claims are the largest of their tables, by lower bound. Margins are two standard errors over repetitions.

Designs, by number of test subgroups:

{designs}

## False claims when all subgroups are served alike

The model gives the label of every pair with probability .6, so every claim is false. Columns:

- `worst`: a subgroup is claimed to be served worse than the rest (max-T over all subgroups);
- `gap`: a gap between two levels is claimed (Holm over all attributes);
- `adjusted`: the same for gaps at equal difficulty;
- `remains`: a gap is claimed to remain relative to the baseline and at equal difficulty;
- `hidden`: a gap is claimed to appear only then.

{false}

## False claims of each family

Here the whole audit is run as a user runs it. For each family of claims, the table gives the share of runs, or of
comparisons of two runs, with at least one false claim. A dash means that the family was not tested or that its claims are
true. `any` is the share of runs with a false claim in at least one family.

{claims}

| run | simulated |
| --- | --- |
| fair | two models that give the label with probability .6 everywhere, compared with each other (one model with 60 subgroups) |
| half | the same, but the second model was asked about half of the pairs, some items and subgroups much more often than others |
| near | misses the label by one step with probability .4, so all subgroups have the same expected distance; NMAE |
| refusing | as fair, and refuses one answer in ten, on some items much more often; refusal rate |
| lifted | correct with probability .5 before and .65 after, everywhere: all subgroups gained, the spread did not change |
| unequal | correct with a probability that differs between subgroups (standard deviation .08), the same before and after |

| family | rules |
| --- | --- |
{families}

{blocks}

## Gaps that are due to another attribute

One religion is served worse by 40 points and refused with probability .5 instead of .05. There are 30 subgroups. One age
level has subgroups in only two religions, and the badly served religion is one of them. This level therefore has lower
scores and more refusals, although the model does not treat age groups differently. Columns:

- `claimed`: a gap of this level is claimed, with or without an explanation;
- `attributed`: the gap is claimed and said to remain (`gap-remains`, `missing-uneven`), which would be false;
- `hidden`: a `gap-hidden` claim.

{company}

## Power

One level, or one subgroup, is served worse than all others by `gap`. `found` is the share of the level's gaps that are
claimed with the right sign, or of the repetitions in which the subgroup is claimed. `predicted` is what `valuestrata power`
computes from the gold alone for an accuracy of .6.

{power}

The audit should not explain true gaps away. With one level served worse by .15 (30 subgroups, 170 items), {waved} of its
claimed gaps are attributed to the baseline, to difficulty or to other attributes, or are reversed. In {remains} of the
repetitions at least one gap is claimed to remain.

## A survey of the size of the World Values Survey

{planted}

The audit should find the biases of each model and nothing else: subgroups served worse, gaps, intersections, refusals, who
gained and lost, and changes of the spread. The whole audit of `after` against `before`, with two cheap baselines, was run
{audits} times; each took {seconds:.0f} seconds on one core (2,000 permutations, 1,000 replicates). Every claim about a
subgroup, two levels, an intersection or a change, and every subgroup and level that is reported as improved or worsened, is
compared with the same contrast of the true expected scores. A claim is *true* if that contrast has the claimed sign. At the
5 % level, a few false claims are expected.

{there}

{lines}

The claims of the first audit, with the estimated and the true difference. For a subgroup against the rest, the true
difference is from the mean of its stratum:

{first}

## Bias of the corrected spread

The corrected variance between subgroups (not cut at 0) minus the variance of the true accuracies: mean over repetitions and
its standard error. The true accuracies are all .6, or normal around .6 with the given standard deviation.

{spread}

## Gaps that are due to difficulty

These models treat all levels alike, but one level is harder or easier to predict. There are 30 subgroups.

- `nation`: gives the nation's true mode with probability .9; the effects of one level are six times as large.
- `person`: answers like one random member of the subgroup. The members of one level, whose effects are four times as large,
  agree more with each other.
- `labels`: gives the true mode with probability .8. One level is 6 % of the respondents, so its labels are often wrong.

Every raw gap is a real difference in accuracy, but a claim of *bias* would be false. The table gives the mean gap of this
level to the others: raw, minus that of `item-mode`, and at equal difficulty. The other columns give the share of repetitions
in which some gap is claimed: raw, at equal difficulty, as remaining, and as hidden.

{difficulty}

The baseline accounts for distance from the nation and for wrong labels, since both affect it too. It cannot account for
agreement within a level; the adjustment for difficulty does. The adjustment alone leaves a small part of a large gap,
because its terms are linear and the true shares of a cell are unknown. A claim that a gap remains therefore needs both.
"""


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table."""
    return "\n".join("| " + " | ".join(line) + " |" for line in [head, ["---"] * len(head), *rows])


def lower_bound(hits: int, trials: int) -> float:
    """Return the one-sided lower bound of a rate (Clopper and Pearson 1934)."""
    return float(beta.ppf(1 - CONFIDENCE, hits, trials - hits + 1)) if hits else 0.0


def document(
    arrays: pl.DataFrame,
    claims: pl.DataFrame,
    whole: pl.DataFrame,
    *,
    repetitions: int,
    permutations: int,
    minutes: float,
    by_block: pl.DataFrame | None = None,
    blocks: str = "",
) -> str:
    """Return the page from the rows of `audit_study`.

    Args:
        arrays, claims, whole: rows. by_block: rows of false claims of audits by blocks. blocks: text on blocks of items (`audit_blocks`).
    """
    bias = arrays.filter(pl.col("condition") == "bias")
    return PAGE.format(
        repetitions=repetitions,
        permutations=permutations,
        minutes=minutes,
        alpha=ALPHA,
        confidence=CONFIDENCE,
        worlds=arrays.select("condition", "subgroups", "items", "effect", "world").n_unique()
        + claims.select("condition", "subgroups", "world").n_unique(),
        targets=_targets(arrays, claims, by_block),
        blocks=blocks,
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


def _targets(arrays: pl.DataFrame, claims: pl.DataFrame, by_block: pl.DataFrame | None) -> str:
    """Return each target with its worst result. A target without rows is left out."""
    made: list[tuple[str, str, str, bool]] = []

    def false(target: str, rows: pl.DataFrame, columns: Sequence[str]) -> None:
        cases = [(part[column].drop_nulls(), column) for part in rows.partition_by("condition", "subgroups") for column in columns]
        known = [
            (lower_bound(int(hits.sum()), len(hits)), int(hits.sum()) / len(hits), len(hits), name) for hits, name in cases if len(hits)
        ]
        if known:
            bound, share, trials, name = max(known)
            found = f"at most {share:.3f}, lower bound {bound:.3f} (`{name.removeprefix('any_')}`)"
            made.append((f"{target}: lower bound at most {ALPHA:.2f}", found, f"{trials:,}", bound <= ALPHA))

    fair = arrays.filter(pl.col("condition") == "fair")
    for (subgroups,), part in fair.group_by("subgroups", maintain_order=True):
        false(f"False claims without a true gap, {subgroups} subgroups", part, FALSE)
    false("False claims of each family", claims.filter(pl.col("condition") != "company"), list(FAMILIES))
    if by_block is not None:
        for (spread,), part in by_block.group_by("sd", maintain_order=True):
            false(f"False claims of each family, blocks differ by {spread:.2f}", part, list(FAMILIES))
    powers = [_found(part) for part in _of_power(arrays).partition_by("condition", "subgroups", "items", "effect", maintain_order=True)]
    planted = [one for one in powers if one.level and one.effect == LARGE[0] and one.pairs >= LARGE[1]]
    if planted:
        least = min(planted, key=lambda one: one.found)
        text = f"{least.found:.3f} ± {2 * least.error:.3f} in the worst of {len(planted)} designs"
        made.append(
            (f"A gap of {LARGE[0]:.2f}, {LARGE[1]:,} pairs a side, found: at least 0.80", text, f"{least.trials:,}", least.found >= 0.8)
        )
    if powers:
        worst = max(powers, key=lambda one: abs(one.found - one.predicted))
        text = f"{worst.found - worst.predicted:+.3f} ± {2 * worst.error:.3f} in the worst of {len(powers)} designs"
        met = abs(worst.found - worst.predicted) <= 0.05
        made.append(("Power minus the prediction of `valuestrata power`: within 0.05", text, f"{worst.trials:,}", met))
    spread = arrays.filter(pl.col("condition") == "spread")
    if len(spread):
        parts = [part["variance"] - part["planted"] for part in spread.partition_by("subgroups", "effect")]
        off = max(parts, key=lambda one: abs(float(one.mean())))
        text = f"{off.mean():+.6f} ± {2 * off.std() / len(off) ** 0.5:.6f} in the worst of {len(parts)} designs"
        made.append(("Bias of the corrected variance: within 0.0002", text, f"{len(off):,}", abs(float(off.mean())) <= 0.0002))
    false("A gap due to difficulty, claimed to remain", arrays.filter(pl.col("condition").is_in(DIFFICULT)), ["remains"])
    return "\n".join(f"| {target} | {found} | {of} | {'yes' if met else '**no**'} |" for target, found, of, met in made)


@dataclass(frozen=True)
class _Found:
    """Share of true gaps found in one design, with its standard error over repetitions."""

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
        rates = ["–" if part[family].is_null().all() else rate(part[family].drop_nulls()) for family in (*FAMILIES, "any")]
        lines.append([str(condition), str(subgroups), str(metric), f"{len(part):,}", *rates])
    return table(["run", "subgroups", "metric", "runs", *FAMILIES, "any"], lines)


def _there(rows: pl.DataFrame) -> str:
    known = rows.filter(pl.col("true").is_not_null())
    if known.is_empty():
        return ""
    false = int((known["true"] <= NOTHING).sum())
    return f"Of {len(known):,} claims, {false:,} ({false / len(known):.1%}) were false."


def _lines(rows: pl.DataFrame) -> str:
    known = rows.filter(pl.col("true").is_not_null())
    lines = []
    for (run, rule), part in known.group_by("run", "rule", maintain_order=True):
        there = int((part["true"] > NOTHING).sum())
        lines.append([str(run), f"`{rule}`", str(len(part)), str(there), str(len(part) - there)])
    return table(["run", "rule", "claims", "true", "false"], sorted(lines))


def _first(rows: pl.DataFrame) -> str:
    # Improved and worsened units are counted in the table above.
    known = rows.filter(pl.col("true").is_not_null(), ~pl.col("rule").str.contains("gained|lost"), repetition=0)
    found = known.select("run", "claim", "metric", "rule", "value", "true").rows()
    return table(
        ["run", "claim", "metric", "estimate", "true"],
        [
            # The estimate of a subgroup claim is its score, not its difference from the rest.
            [run, claim, metric, "" if rule in ("served-worse", "missing-concentrated") else f"{abs(value):.3f}", f"{true:.3f}"]
            for run, claim, metric, rule, value, true in found
        ],
    )


def _company(rows: pl.DataFrame) -> str:
    lines = []
    for (metric,), part in rows.group_by("metric", maintain_order=True):
        lines.append([str(metric), *(rate(part[family]) for family in ("gap", "remains", "hidden"))])
    return table(["metric", "claimed", "attributed", "hidden"], lines)


def rate(column: pl.Series) -> str:
    """Return a rate with its lower bound."""
    hits = int(column.sum())
    return f"{hits / len(column):.3f} ({lower_bound(hits, len(column)):.3f})"


def _false(rows: pl.DataFrame) -> str:
    lines = []
    for (subgroups, items), part in rows.group_by("subgroups", "items", maintain_order=True):
        lines.append([str(subgroups), str(items), *(rate(part[name]) for name in FALSE)])
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
    return table(["subgroups", "true sd", "true variance", "bias", "standard error"], lines)


def _difficulty(rows: pl.DataFrame) -> str:
    lines = []
    for (condition,), part in rows.group_by("condition", maintain_order=True):
        means = [f"{part[name].mean():+.3f}" for name in ("gap", "excess", "adjusted")]
        lines.append([str(condition), *means, *(rate(part[name]) for name in ("any_gap", "any_adjusted", "remains", "hidden"))])
    head = ["model", "raw gap", "minus baseline", "adjusted", "raw claimed", "adjusted claimed", "remains claimed", "hidden claimed"]
    return table(head, lines)
