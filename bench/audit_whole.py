"""Whole audits of two models with known bias on a survey of the size of the World Values Survey.

A claim about a subgroup, a gap, an intersection or a change is true if the same contrast of the *expected* scores, which are known,
has the claimed sign. Contrasts are linear, so each true value is one number.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from types import SimpleNamespace
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from bench.audit_worlds import Floats
from valuestrata.building import BuildSettings, build
from valuestrata.claims.fairness.rules import audit_claims, metrics_worth_auditing
from valuestrata.claims.table import to_frame
from valuestrata.claims.wording import Names
from valuestrata.dataset.tables import Dataset
from valuestrata.fairness import audit
from valuestrata.fairness.context import AuditContext, context_of
from valuestrata.fairness.options import AuditedPart, Resampling
from valuestrata.fairness.scores import family_weights
from valuestrata.reports.core.names import subgroup_titles
from valuestrata.responses.reference_baselines import reference_baselines
from valuestrata.responses.run.schema import RESPONSES
from valuestrata.survey.simulation.population import SimulationSettings, draw_survey, plant

RESPONDENTS, SEED = 2000, 5
# Probability of the label before and after; loss of one age level after; loss of one cell before and after.
BEFORE, AFTER, WORSE_LEVEL, WORSE_CELL = 0.50, 0.68, 0.15, 0.30
# Refusal rates after: of one religion, and elsewhere.
REFUSED, RARELY = 0.20, 0.02
# Smaller true differences count as 0.
NOTHING = 1e-6
# Rules about a change of spread; rules about a subgroup.
SPREADS = ("spread-narrower", "spread-wider", "opposite-directions")
SIGNED = ("served-worse", "intersection-worse", "intersection-better", "missing-concentrated")


@dataclass(frozen=True)
class Whole:
    """The data set, and the level, religion and cell that are served worse.

    Attributes:
        dataset: the data set.
        level: level of age_group that is served worse after.
        religion: religion that is refused more often after.
        cell: subgroup of ethnicity and religion that is served worse before and after.
    """

    dataset: Dataset
    level: str
    religion: str
    cell: str

    @cached_property
    def context(self) -> AuditContext:
        """Layout of the test part."""
        return context_of(self.dataset, AuditedPart(), Resampling(bootstrap=0))

    @cached_property
    def chances(self) -> tuple[Floats, Floats]:
        """Probability of the label before and after, each of shape (G,)."""
        subgroups = list(self.context.layout.subgroups)
        cell = np.array([name == self.cell for name in subgroups])
        level = self.context.members["age_group"][self.level]
        return BEFORE - WORSE_CELL * cell, AFTER - WORSE_CELL * cell - WORSE_LEVEL * level

    @cached_property
    def refusals(self) -> Floats:
        """Probability of a refusal after, shape (G,)."""
        return np.where(self.context.members["religion"][self.religion], REFUSED, RARELY)

    @cached_property
    def expected(self) -> Mapping[str, tuple[Floats, Floats]]:
        """Expected score before and after by metric, each of shape (G,). A refused answer is wrong."""
        before, after = self.chances
        return {"accuracy": (before, after * (1 - self.refusals)), "refusal_rate": (np.zeros_like(before), self.refusals)}


def make_whole() -> Whole:
    """Simulate and build a weighted survey with the questions, scales and attributes of wave 7."""
    settings = SimulationSettings(survey="wvs7", country="SGP", respondents=RESPONDENTS, weighted=True, missing=0.03, seed=SEED)
    dataset = build(draw_survey(plant(settings), SEED), BuildSettings(draws=500))
    found = Whole(dataset, "", "", "")
    members = found.context.members
    cells = [
        name
        for name, stratum in zip(found.context.layout.subgroups, found.context.stratum, strict=True)
        if stratum == "ethnicity_x_religion"
    ]
    return Whole(dataset, next(iter(members["age_group"])), next(iter(members["religion"])), cells[len(cells) // 2])


def answered(whole: Whole, name: str, chance: Floats, refused: Floats, rng: np.random.Generator) -> SimpleNamespace:
    """Return a run that gives the label, or another option, and refuses with the probabilities of each subgroup."""
    layout = whole.context.layout
    place = {subgroup: row for row, subgroup in enumerate(layout.subgroups)}
    rows: list[dict[str, Any]] = []
    for pair, item, subgroup, codes, mode in layout.gold.select("pair_id", "item", "subgroup", "codes", "mode").iter_rows():
        wrong = [code for code in codes if code != mode]
        answer = mode if rng.random() < chance[place[subgroup]] else wrong[int(rng.integers(len(wrong)))]
        missing = bool(rng.random() < refused[place[subgroup]])
        row = {"pair_id": pair, "item": item, "subgroup": subgroup, "elicitation": "text", "template": "default", "order": "scale"}
        rows.append({**row, "sample": 0, "status": "refused" if missing else "answered", "answer": None if missing else answer})
    return SimpleNamespace(name=name, meta={"respondent": "planted"}, responses=RESPONSES.frame(rows))


def true_value(whole: Whole, line: Mapping[str, Any]) -> float | None:
    """Return the true value of a claim, positive if it has the claimed sign; None for other kinds of claims."""
    context, rule, metric = whole.context, str(line["rule"]), str(line["metric"])
    before, after = whole.expected.get(metric, whole.expected["accuracy"])
    scores = before if line["run"] == "before" else after
    grid = np.where(context.layout.present, scores[:, None], np.nan)
    mask = ~np.isnan(grid)
    if rule in SPREADS:
        return _true_spread(whole, line, mask)
    if rule in ("better", "worse"):
        old, new = whole.expected.get(metric, whole.expected["accuracy"])
        gain = float(((new - old)[:, None] * mask).sum() / mask.sum())
        return gain if rule == "better" else -gain
    if rule in SIGNED:
        weights = family_weights(context, "excess" if rule.startswith("intersection") else "residuals", mask)
        at = list(context.layout.subgroups).index(str(line["key"]))
        value = float((weights.pairs[at] * np.nan_to_num(grid)).sum() / weights.counts[at].sum())
        return -value if rule in ("served-worse", "intersection-worse") else value
    if rule.startswith("gap-") or rule.startswith("missing-un") or rule == "missing-composition":
        attribute, _, level = str(line["key"]).partition("=")
        other = str(line["against"]).partition("=")[2]
        names = [name for name in context.pairs.names if name[0] == attribute and {level, other} == set(name[1:])]
        at = context.pairs.names.index(names[0])
        weights = family_weights(context, "gaps", mask)
        value = float((weights.pairs[at] * np.nan_to_num(grid)).sum() / weights.counts[at].sum())
        return value if names[0][1] == level else -value
    return None


def _true_spread(whole: Whole, line: Mapping[str, Any], mask: NDArray[np.bool_]) -> float:
    """Return the true change of spread in the claimed direction; of the CV if only the relative spread is claimed."""
    context = whole.context
    population = next(one for one in context.populations if (one.by, one.key) == (line["by"], line["key"]))
    members = context.units[population.units]
    pairs = members @ mask.sum(axis=1)
    means = [members @ (scores * mask.sum(axis=1)) / pairs for scores in whole.expected["accuracy"]]
    sd = [float(one.std()) for one in means]
    cv = [one / float(mean.mean()) for one, mean in zip(sd, means, strict=True)]
    if line["rule"] == "opposite-directions":
        return -(sd[1] - sd[0]) * (cv[1] - cv[0])
    before, after = cv if "in relative terms only" in line["verdict"] else sd
    return after - before if line["rule"] == "spread-wider" else before - after


def moved_rows(whole: Whole, changes: pl.DataFrame) -> Iterator[dict[str, Any]]:
    """Yield every level and subgroup reported as improved or worsened (Holm), with its true gain or loss."""
    context = whole.context
    before, after = whole.expected["accuracy"]
    pairs = context.layout.present.sum(axis=1)
    scores = changes.filter(pl.col("by").is_in(["level", "subgroup"]), run="after", measure="score", metric="accuracy")
    for row in scores.filter(pl.col("outcome").is_in(["better", "worse"])).iter_rows(named=True):
        attribute, _, level = str(row["key"]).partition("=")
        inside = context.members[attribute][level] if row["by"] == "level" else np.array(context.layout.subgroups) == row["key"]
        gain = float(((after - before) * pairs)[inside].sum() / pairs[inside].sum())
        rule, sign = ("gained", 1.0) if row["outcome"] == "better" else ("lost", -1.0)
        about = {"run": row["run"], "rule": f"{rule} ({row['by']})", "metric": row["metric"], "claim": f"{row['key']} {rule}"}
        yield {**about, "value": row["change"], "true": sign * gain}


def whole_rows(repetitions: int) -> Iterator[dict[str, Any]]:
    """Yield every claim about the models of each repetition, with its true value and the seconds of the audit."""
    whole = make_whole()
    baselines = reference_baselines(whole.dataset, [], kinds=("item-mode", "nearest-parent"))
    rng = np.random.default_rng(SEED)
    no_refusals = np.zeros(len(whole.refusals))
    for repetition in range(repetitions):
        before, after = whole.chances
        models = [answered(whole, "before", before, no_refusals, rng), answered(whole, "after", after, whole.refusals, rng)]
        runs = [*models, *baselines]
        started = time.process_time()
        found = audit(whole.dataset, runs, against="before", metrics=metrics_worth_auditing(runs, ("accuracy",)), seed=repetition)
        lines = to_frame(audit_claims(found, runs, whole.dataset), Names(keys=subgroup_titles(whole.dataset)))
        seconds = time.process_time() - started
        shared = {"repetition": repetition, "seconds": seconds, "planted": planted(whole)}
        for row in moved_rows(whole, found.changes):
            yield shared | row
        for line in lines.filter(pl.col("run").is_in(["before", "after"])).iter_rows(named=True):
            about = {name: line[name] for name in ("run", "rule", "metric", "value")} | {"claim": line["verdict"]}
            yield shared | about | {"true": true_value(whole, line)}


def planted(whole: Whole) -> str:
    """Describe the simulated biases."""
    layout, cell = whole.context.layout, subgroup_titles(whole.dataset)[whole.cell]
    return (
        f"{RESPONDENTS:,} respondents, {len(layout.items)} items, {len(layout.subgroups)} test subgroups of "
        f"{', '.join(dict.fromkeys(whole.context.stratum))}, {int(layout.present.sum()):,} pairs. The model `before` gives the label with "
        f"probability {BEFORE}, `after` with {AFTER}. `after` serves {whole.level} (age_group) worse by {WORSE_LEVEL}. Both serve one cell "
        f"of ethnicity and religion worse by {WORSE_CELL} ({cell}). `after` refuses {REFUSED:.0%} of the prompts with "
        f"persona {whole.religion} (religion) and {RARELY:.0%} of the others."
    )
