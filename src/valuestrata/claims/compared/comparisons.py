"""Rules on comparisons of runs with baselines, controls and each other: rows of COMPARISONS in, claims out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import polars as pl

from valuestrata.claims.claim import Claim, Figure, Strength
from valuestrata.claims.compared.first_screen import corrected_over_screen
from valuestrata.claims.compared.part_tables import PartTables, closed_claim, detectable_difference
from valuestrata.claims.compared.personas import AGAINST_NONE, PERSONA_KINDS, WITH, persona_claims
from valuestrata.formatting import DIRECTED, LOWER_IS_BETTER
from valuestrata.responses.run.identity import Answered, RunIdentity, run_identity
from valuestrata.scores.plan import PERSONA_CONTROL
from valuestrata.scores.train_test_overlap import reason_of
from valuestrata.stats.intervals import margin_test

# Metrics that may show the same as the primary one.
ALSO = ("accuracy_expected", "nmae")
# The metric of the whole distribution, by which a calibrated run is also compared with its source and with other personas.
OF_DISTRIBUTION = "w1"
# What a run is compared with -> kinds of the outcomes worse, no difference shown, better.
OUTCOMES: Mapping[str, tuple[str, str, str]] = {
    "item-mode": ("below-item-mode", "level-with-item-mode", "above-item-mode"),
    "nearest-parent": ("below-nearest-parent", "level-with-nearest-parent", "above-nearest-parent"),
    "right-persona": ("right-persona-worse", "right-persona-level", "right-persona-better"),
    "with-persona": ("with-persona-worse", "with-persona-level", "with-persona-better"),
    "calibration": ("calibration-worse", "calibration-level", "calibration-better"),
    "": ("below", "level", "above"),
}


def compared_runs(tables: PartTables, run: Answered) -> list[Claim]:
    """Return a claim for each comparison of a run: its own rows, and those a baseline or control was given with it; each once."""
    metrics = (tables.metric, *ALSO, *([OF_DISTRIBUTION] if tables.identities[run.name].method is not None else []))
    rank = {"model": 0, "control": 1, "baseline": 2}
    found: dict[tuple[str | None, ...], Claim] = {}
    for row in tables.comparisons.filter((pl.col("run") == run.name) | (pl.col("against") == run.name)).to_dicts():
        first, second = tables.runs[row["run"]], tables.runs[row["against"]]
        swapped = rank[tables.identities[row["against"]].kind] < rank[tables.identities[row["run"]].kind]
        subject, other = (second, first) if swapped else (first, second)
        declared = row["status"] == "declared"
        wanted = (row["by"] == "all" and row["metric"] in metrics) or declared
        if subject.name != run.name or row["metric"] not in DIRECTED or not wanted:
            continue
        compared = _compared_with(tables.identities[subject.name], tables.identities[other.name])
        if not (compared or declared):
            continue
        if compared == AGAINST_NONE and row["ci_low"] is None and not declared:
            continue
        claim = _comparison(tables, run, other, compared, row, sign=-1.0 if swapped != (row["metric"] in LOWER_IS_BETTER) else 1.0)
        key = (claim.against, claim.metric, claim.by, claim.key)
        # A comparison given in both directions makes one claim, the declared one.
        if key not in found or declared:
            found[key] = claim
    return list(found.values())


def is_main(tables: PartTables, claim: Claim) -> bool:
    """Whether a comparison is by the primary metric or declared; others only add their metric to the same finding.

    Of calibrated runs, W1 counts beside the primary metric in comparisons with the source and with controls of personas: calibration
    changes the distribution more than its most common answer.
    """
    if claim.metric == tables.metric or claim.status == "declared":
        return True
    calibrated = tables.identities[claim.run].method is not None and claim.metric == OF_DISTRIBUTION
    return calibrated and claim.kind in (*OUTCOMES["calibration"], *PERSONA_KINDS)


def comparison_claims(tables: PartTables, compared: Sequence[Claim], tests: int) -> Iterator[Claim]:
    """Yield the comparisons of a run, corrected over its first screen, each with the other metrics that show the same."""
    made = persona_claims([corrected_over_screen(claim, tests, 1 - tables.thresholds.confidence) for claim in compared])
    for claim in made:
        if is_main(tables, claim):
            same = (one for one in made if not is_main(tables, one) and claim.by is None and _alike(one, claim))
            yield replace(
                claim,
                also=tuple(one.estimate for one in same) if claim.metric == tables.metric and claim.estimate.low is not None else (),
            )


def _alike(one: Claim, other: Claim) -> bool:
    """Whether two claims say the same in different metrics."""
    key = (one.kind, one.against, one.by, one.strength, one.notes)
    return key == (other.kind, other.against, other.by, other.strength, other.notes)


def _compared_with(mine: RunIdentity, theirs: RunIdentity) -> str:
    """Return the key of `OUTCOMES` that the other run is for this one; empty for runs compared only where declared."""
    if theirs.is_baseline and theirs.rule in ("item-mode", "nearest-parent"):
        return theirs.rule
    if mine.is_calibrated_from(theirs):
        return "calibration"
    if mine.kind != "model" or theirs.control is None or not mine.same_model(theirs):
        return ""
    return "right-persona" if theirs.control == PERSONA_CONTROL else "with-persona" if theirs.control in WITH else ""


def _comparison(tables: PartTables, run: Answered, other: Answered, compared: str, row: Mapping[str, Any], *, sign: float) -> Claim:
    """Return the claim of a row of COMPARISONS, turned by `sign` so that positive is better for `run`."""
    gain, low, high = (None if row[name] is None else sign * row[name] for name in ("difference", "ci_low", "ci_high"))
    if sign < 0:
        low, high = high, low
    tests: dict[str, Any] = {"p": row["p"], "p_adjusted": row["p_adjusted"], "pairs": row["pairs"] or 0}
    estimate = Figure(metric=row["metric"], value=gain, low=low, high=high, se=row["se"], **tests)
    covered = row["coverage"] or 0.0
    figures = (Figure(role="coverage", value=covered),) if covered < tables.thresholds.coverage else ()
    fields: dict[str, Any] = {
        "against": other.name,
        "status": row["status"],
        "correction": row["adjustment"],
        "tests": _family_size(tables.comparisons, row),
        **({} if row["by"] == "all" else {"by": row["by"], "key": row["key"]}),
    }
    for one in (run.name, other.name):
        if (overlap := tables.overlap(one)).voids:
            estimate, fields["notes"] = Figure(metric=row["metric"], pairs=row["pairs"] or 0), ("trained-on", one, reason_of(overlap))
            gain = None
    if gain is None or low is None or high is None:
        kind = "cannot-be-judged"
        return closed_claim(kind, run, estimate, weight=kind, strength=Strength.UNDETERMINED, figures=figures, **fields)
    outcome = 0 if high < 0 else 2 if low > 0 else 1
    fields["direction"] = ("worse", None, "better")[outcome]
    confidence, margin = tables.thresholds.confidence, tables.thresholds.margin(row["metric"])
    test = margin_test(gain, low, high, confidence, margin, row["pairs"] or 0)
    within = test.within <= 1 - confidence
    figures += (Figure(role="margin", metric=row["metric"], value=margin, low=test.low, high=test.high, p=test.within),)
    strength = Strength.SHOWN
    if outcome == 1:
        detectable = detectable_difference(low, high, confidence)
        figures += (Figure(role="detectable", metric=row["metric"], value=detectable),)
        powerless = row["se"] is not None and detectable > margin
        strength = Strength.WITHIN_MARGIN if within else Strength.UNDERPOWERED if powerless else Strength.NOT_SHOWN
    elif (row["p_adjusted"] or 0.0) > 1 - confidence:
        strength, fields["notes"] = Strength.UNDETERMINED, ("not-after-correction",)
    if compared == "with-persona":
        figures += (Figure(role="control", label=run_identity(other).control),)
    return closed_claim(OUTCOMES[compared][outcome], run, estimate, weight=compared, strength=strength, figures=figures, **fields)


def _family_size(comparisons: pl.DataFrame, row: Mapping[str, Any]) -> int | None:
    """Return the number of tests that a p-value was corrected for (see `scores.multiple.adjust`)."""
    if row["p_adjusted"] is None:
        return None
    tested = comparisons.filter(pl.col("p_adjusted").is_not_null() & (pl.col("status") == row["status"]))
    screened = (pl.col("metric") == row["metric"]) & (pl.col("by") == row["by"])
    return tested.height if row["status"] == "declared" else tested.filter(screened).height
