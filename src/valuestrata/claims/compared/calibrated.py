"""Claims about calibrated runs: how much the model adds to the best method without a model.

A calibrated run has learned from the survey as well as from the model. What the model adds is its gain over *every* method that does
without the model: the baselines of the split, and the same calibration with the model's answers shuffled among items or replaced by
equal shares. Naming the best of them by its test score and testing only that one would favour neither side fairly, so all are tested:

adds      the gain over each is above 0 (intersection-union test: the largest p-value counts; Berger 1982, Technometrics 24:295).
below     the gain over the best is below 0, its p-value multiplied by the number of methods.
within    the gain over each is above -margin, and that over some method below margin, this p-value multiplied by their number.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import polars as pl

from valuestrata.calibration.controls import NO_MODEL, SHUFFLED_ANSWERS
from valuestrata.claims.claim import Claim, Figure, Strength
from valuestrata.claims.compared.first_screen import two_sided
from valuestrata.claims.compared.part_tables import PartTables, closed_claim, detectable_difference
from valuestrata.claims.compared.personas import WITH
from valuestrata.formatting import LOWER_IS_BETTER
from valuestrata.responses.run.identity import Answered, RunIdentity
from valuestrata.scores.plan import PERSONA_CONTROL
from valuestrata.stats.intervals import MarginTest, margin_test

ADDS, LEVEL, BELOW = "model-adds", "model-level", "model-below"
# Metrics of these claims beside the primary one: the whole distribution, and the most common answer.
METRICS = ("w1", "accuracy_expected")
# Note: the control `no-model` of the method was not scored.
NO_CONTROL = "no-control"
# Controls without the right persona, whose gains the details state.
PERSONAS = (PERSONA_CONTROL, *WITH)


@dataclass(frozen=True)
class Rival:
    """A method without the model, and the gain over it.

    Attributes:
        name: of its run. rule: of a baseline its kind, of a control its name.
        gain: the gain, with interval and p-value. test: of the gain against the margin.
    """

    name: str
    rule: str
    gain: Figure
    test: MarginTest


def added_claims(tables: PartTables, run: Answered) -> list[Claim]:
    """Return, for each metric, what the model of a calibrated run adds to the methods without a model; none for other runs.

    `against` is the best of these methods; the figures of role `rival` have the gain over each. p-values are not yet corrected over the
    first screen.
    """
    mine = tables.identities[run.name]
    if mine.method is None or mine.kind != "model" or tables.overlap(run.name).voids:
        return []
    others = {name: rule for name, one in tables.identities.items() if (rule := _rule_without_model(mine, one)) and name in tables.names}
    others = {name: rule for name, rule in others.items() if not tables.overlap(name).voids}
    found: list[Claim] = []
    for metric in dict.fromkeys((tables.metric, *METRICS)):
        rivals = list(_rivals(tables, run, metric, others))
        if rivals:
            found.append(_added(tables, run, metric, rivals))
    return found


def _rule_without_model(mine: RunIdentity, other: RunIdentity) -> str:
    """Return the rule or control by which another run is a method without the model of a calibrated run; empty if it is none."""
    if other.is_baseline:
        return other.rule
    return other.control or "" if other.control in (NO_MODEL, SHUFFLED_ANSWERS) and mine.same_model(other) else ""


def gains(comparisons: pl.DataFrame, run: str, metric: str) -> dict[str, Figure]:
    """Return other run -> gain of a run over it, over all pairs, from the comparisons in either direction that have an interval.

    Args:
        comparisons: COMPARISONS, of one part of a split. run: name of the run. metric: a metric with a better direction.
    """
    found: dict[str, Figure] = {}
    whole = comparisons.filter((pl.col("by") == "all") & (pl.col("metric") == metric) & pl.col("ci_low").is_not_null())
    for row in whole.filter((pl.col("run") == run) | (pl.col("against") == run)).iter_rows(named=True):
        sign = -1.0 if (row["run"] != run) != (metric in LOWER_IS_BETTER) else 1.0
        value, low, high = (sign * row[name] for name in ("difference", "ci_low", "ci_high"))
        ends = {"low": min(low, high), "high": max(low, high)}
        figure = Figure(metric=metric, value=value, **ends, se=row["se"], p=row["p"], pairs=row["pairs"] or 0)
        found[row["against"] if row["run"] == run else row["run"]] = figure
    return found


def _rivals(tables: PartTables, run: Answered, metric: str, others: dict[str, str]) -> Iterator[Rival]:
    confidence, margin = tables.thresholds.confidence, tables.thresholds.margin(metric)
    for name, gain in gains(tables.comparisons, run.name, metric).items():
        if name in others and gain.value is not None and gain.low is not None and gain.high is not None:
            test = margin_test(gain.value, gain.low, gain.high, confidence, margin, gain.pairs or 0)
            yield Rival(name, others[name], replace(gain, p=two_sided(gain, confidence)), test)


def _added(tables: PartTables, run: Answered, metric: str, rivals: Sequence[Rival]) -> Claim:
    alpha, margin = 1 - tables.thresholds.confidence, tables.thresholds.margin(metric)
    best = min(rivals, key=lambda rival: (rival.gain.value or 0.0, rival.name))
    estimate, low, high = best.gain, best.gain.low or 0.0, best.gain.high or 0.0
    within = max(*(rival.test.above for rival in rivals), min(1.0, len(rivals) * min(rival.test.below for rival in rivals)))
    below = min(1.0, len(rivals) * (estimate.p or 0.0))
    fields: dict[str, Any] = {"against": best.name}
    figures = [Figure(role="margin", metric=metric, value=margin, low=best.test.low, high=best.test.high, p=within)]
    if all((rival.gain.low or 0.0) > 0 for rival in rivals):
        kind, strength, fields["direction"] = ADDS, Strength.SHOWN, "better"
        estimate = replace(estimate, p=max(rival.gain.p or 0.0 for rival in rivals))
        if NO_MODEL not in [rival.rule for rival in rivals]:
            # The method may be as good without the model.
            strength, fields["notes"] = Strength.UNDETERMINED, (NO_CONTROL,)
    elif high < 0 and below <= alpha:
        kind, strength, fields["direction"] = BELOW, Strength.SHOWN, "worse"
        estimate = replace(estimate, p=below)
    else:
        kind, detectable = LEVEL, detectable_difference(low, high, tables.thresholds.confidence)
        figures.append(Figure(role="detectable", metric=metric, value=detectable))
        strength = Strength.UNDERPOWERED if detectable > margin else Strength.NOT_SHOWN
        strength = Strength.WITHIN_MARGIN if within <= alpha else strength
    figures += [Figure(role="method", label=tables.identities[run.name].method), Figure(role="model", label=_model_name(tables, run))]
    figures += [replace(rival.gain, role="rival", label=f"{rival.rule}={rival.name}") for rival in rivals]
    figures += _persona_gains(tables, run, metric)
    return closed_claim(kind, run, estimate, strength=strength, figures=tuple(figures), status="exploratory", **fields)


def _model_name(tables: PartTables, run: Answered) -> str:
    """Name the run that was calibrated, or else its model."""
    mine = tables.identities[run.name]
    return next((name for name, one in tables.identities.items() if mine.is_calibrated_from(one)), mine.model.name or run.name)


def _persona_gains(tables: PartTables, run: Answered, metric: str) -> Iterator[Figure]:
    """Yield the gain over the same method with each control of personas; the label is the control."""
    mine = tables.identities[run.name]
    for name, gain in gains(tables.comparisons, run.name, metric).items():
        other = tables.identities[name]
        if other.control in PERSONAS and mine.same_model(other):
            yield replace(gain, role="persona", label=other.control)
