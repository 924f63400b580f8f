"""Analysis plans: the comparisons declared before a study is run.

A plan names the primary metric, the comparisons and the thresholds. `declare` writes it to `plan.json` with its hash, the time and
a status:

declared   given before the first answer. Its comparisons are the declared family.
amended    replaced another plan after answers existed. It declares nothing.
late       the first plan, given after answers existed. It declares nothing.

Returning to a declared plan restores its status. A comparison is `declared` if a declared plan names its run, against, metric, by
and key on its split and part; all others are `exploratory`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, ValidationError, field_validator, model_validator

from valuestrata.errors import InputDataError, UsageError, did_you_mean
from valuestrata.files import canonical_hash, write_json
from valuestrata.formatting import DIRECTED
from valuestrata.responses.run.folder import now
from valuestrata.responses.run.identity import Identified, run_identity
from valuestrata.scores.schema import METRICS, OF_ALL_PAIRS
from valuestrata.yaml_files import Record, StrictModel, checked, read_document

PLAN = "plan.json"
_ONLY_RECORD = "Restore the file; it is the only record of the plan."
FORMAT = "valuestrata-plan-1"
# The baselines a model is compared with if the plan names no comparison.
MEASURED_AGAINST = ("item-mode", "nearest-parent")
PERSONA_CONTROL = "shuffled-persona"

By = Literal["all", "stratum", "attribute", "level", "subgroup", "topic", "item"]
PlanStatus = Literal["declared", "amended", "late"]


# Margins of distances: each is the same part of its usual spread as .02 is of accuracy's. From uniform answers to the best baseline,
# accuracy rises by .57 on GSS 2012; NMAE falls by .39, W1 by .16, TV by .21, JSD by .077 and RPS by .048 (docs/verdicts.md).
MARGINS: Mapping[str, float] = {"nmae": 0.01, "nmae_valid": 0.01, "w1": 0.005, "tv": 0.008, "jsd": 0.003, "rps": 0.002}


class Thresholds(StrictModel):
    """Thresholds fixed before results are known.

    Attributes:
        coverage: runs with a smaller share of the pairs are reported as incomplete.
        smallest_gap: margin of accuracies and rates, a share: the smallest relevant difference.
        margins: metric -> margin, in the metric's unit; others are `smallest_gap` for shares and `MARGINS` for distances.
        confidence: of all intervals.
    """

    coverage: float = Field(default=0.95, gt=0, le=1, description="coverage below which a run is incomplete")
    smallest_gap: float = Field(default=0.02, gt=0, description="margin of accuracies and rates: the smallest relevant difference")
    margins: dict[str, float] = Field(
        default_factory=dict[str, float], description="margins of single metrics, such as `{nmae: 0.02}`; the defaults suit each metric"
    )
    confidence: float = Field(default=0.95, gt=0, lt=1, description="of all intervals")

    @field_validator("margins")
    @classmethod
    def _margins_are_of_metrics(cls, value: dict[str, float]) -> dict[str, float]:
        for metric, margin in value.items():
            if metric not in DIRECTED:
                raise ValueError(f"{metric!r} has no better direction, so it has no margin.{did_you_mean(metric, DIRECTED)}")
            if not 0 < margin < 1:
                raise ValueError(f"the margin of {metric!r} is {margin}; expected a number above 0 and below 1, such as 0.02")
        return value

    def margin(self, metric: str) -> float:
        """Return the margin of a metric: smaller differences do not matter, and equivalence is tested against it."""
        return self.margins.get(metric, MARGINS.get(metric, self.smallest_gap))


def thresholds_with(margins: Mapping[str, float]) -> Thresholds:
    """Return the default thresholds with some margins.

    Raises:
        UsageError: a margin of a metric without a better direction, or one that is not between 0 and 1.
    """
    try:
        return Thresholds(margins=dict(margins))
    except ValidationError as error:
        raise UsageError(f"margins: {error.errors()[0]['msg'].removeprefix('Value error, ')}.") from error


def _comparable(metric: str) -> str:
    known = [name for name in METRICS if not name.startswith(("ceiling_", "floor_")) and name not in OF_ALL_PAIRS]
    if metric not in known:
        raise ValueError(f"{metric!r} is not a metric for comparing runs.{did_you_mean(metric, known)}")
    return metric


class PlannedComparison(StrictModel):
    """One comparison of two runs; by default by the plan's metric and over all pairs."""

    run: str
    against: str
    metric: str | None = None
    by: By = "all"
    key: str = "all"

    @field_validator("metric")
    @classmethod
    def _metric_is_known(cls, value: str | None) -> str | None:
        return None if value is None else _comparable(value)

    @model_validator(mode="after")
    def _is_one_comparison(self) -> Self:
        if self.run == self.against:
            raise ValueError(f"the run {self.run!r} is compared with itself")
        if (self.by == "all") != (self.key == "all"):
            raise ValueError(f"by {self.by!r} with key {self.key!r}: a comparison within {self.by!r} needs the `key` to compare in")
        return self


class Plan(StrictModel):
    """An analysis plan.

    Attributes:
        metric: the primary metric.
        split, part, fold: of the declared comparisons; those of the study if None (see `resolved`).
        comparisons: the declared family. If empty: every model against each item-mode and nearest-parent baseline and each of
            its shuffled-persona controls.
        thresholds: for verdicts and intervals.
    """

    metric: str = Field(default="accuracy_expected", description="the primary metric")
    split: str | None = Field(default=None, description="split of the declared comparisons")
    part: Literal["train", "validation", "test", "all"] | None = Field(default=None, description="part of the declared comparisons")
    fold: int | None = Field(default=None, ge=0, description="fold of the declared comparisons")
    comparisons: list[PlannedComparison] = Field(
        default_factory=list[PlannedComparison],
        description="list of `{run, against, metric, by, key}`; if empty, each model against item-mode, nearest-parent and its "
        "shuffled-persona control",
    )
    thresholds: Thresholds = Field(default_factory=Thresholds, description="thresholds of claims")

    @field_validator("metric")
    @classmethod
    def _metric_has_a_direction(cls, value: str) -> str:
        if value not in DIRECTED:
            raise ValueError(f"{value!r} cannot be the primary metric: neither higher nor lower is better.{did_you_mean(value, DIRECTED)}")
        if value.endswith("_valid"):
            raise ValueError(f"{value!r} cannot be the primary metric: refusing hard questions improves it; use {value[:-6]!r}")
        return value

    def resolved(self, split: str, part: Literal["train", "validation", "test", "all"], fold: int | None = None) -> Plan:
        """Return the plan with split, part and fold filled in from the study, so its hash covers them."""
        return self.model_copy(
            update={"split": self.split or split, "part": self.part or part, "fold": fold if self.fold is None else self.fold}
        )


@dataclass(frozen=True)
class DeclaredComparison:
    """A comparison that a plan named before the run; its fields are columns of COMPARISONS."""

    run: str
    against: str
    metric: str
    by: str = "all"
    key: str = "all"

    def __str__(self) -> str:
        return f"{self.metric} of {self.run!r} against {self.against!r} ({self.by} {self.key!r})"


@dataclass(frozen=True)
class Declared:
    """A plan with its status.

    Attributes:
        plan: the current plan. hash: its `plan_hash`.
        declared: when it was first given, UTC. status: see the module's docstring.
        history: earlier plans, oldest first: plan, hash, declared, status.
    """

    plan: Plan
    hash: str
    declared: str
    status: PlanStatus
    history: Sequence[dict[str, Any]] = ()

    def rows(self, runs: Sequence[Identified], scheme: str, part: str, fold: int | None = None) -> list[DeclaredComparison]:
        """Return the declared family (see `declared_rows`); empty unless the status is `declared`."""
        return declared_rows(self.plan, runs, scheme, part, fold) if self.status == "declared" else []


def plan_hash(plan: Plan) -> str:
    """Return the SHA-256 of the plan."""
    return canonical_hash(_document(plan))


def _document(plan: Plan) -> dict[str, Any]:
    """Return the plan as stored. Margins are left out where none is set, so plans made before they existed keep their hash."""
    document = plan.model_dump()
    if not document["thresholds"]["margins"]:
        del document["thresholds"]["margins"]
    return document


def declare(folder: Path, plan: Plan, answered: bool) -> Declared:
    """Write a plan to `plan.json` in a study's folder.

    Declaring the same plan again changes nothing. Another plan replaces it before the first answer; afterwards both are kept.

    Args:
        folder: the study's folder. plan: see `Plan.resolved`. answered: whether the study has any answer.

    Raises:
        InputDataError: `plan.json` is invalid, or was edited by hand.
    """
    file, hash_ = folder / PLAN, plan_hash(plan)
    entries = _read(file) if file.is_file() else []
    if entries and entries[-1]["hash"] == hash_:
        return _declared(entries)
    before = [entry for entry in entries if entry["hash"] == hash_]
    if before:
        # An earlier plan again: its status is restored.
        entries = [entry for entry in entries if entry["hash"] != hash_] + before
    else:
        status: PlanStatus = "declared" if not answered else "amended" if entries else "late"
        kept = entries if answered else entries[:-1]
        entries = [*kept, {"plan": _document(plan), "hash": hash_, "declared": now(), "status": status}]
    write_json(file, {"format": FORMAT, **entries[-1], "history": entries[:-1]})
    return _declared(entries)


def declared_rows(plan: Plan, runs: Sequence[Identified], scheme: str, part: str, fold: int | None = None) -> list[DeclaredComparison]:
    """Return the comparisons that the plan names, each once.

    Args:
        plan: the plan. runs: all runs of the study.
        scheme, part, fold: where comparisons are made; nothing is declared if they differ from the plan's.

    Raises:
        UsageError: the plan names a run that is not among `runs`.
    """
    if (plan.split or scheme, plan.part or part, plan.fold) != (scheme, part, fold):
        return []
    if plan.comparisons:
        names = [run.name for run in runs]
        for name in (name for planned in plan.comparisons for name in (planned.run, planned.against)):
            if name not in names:
                raise UsageError(f"The plan compares the run {name!r}, which does not exist.{did_you_mean(name, names)}")
        found = [(c.run, c.against, c.metric or plan.metric, c.by, c.key) for c in plan.comparisons]
    else:
        found = [(run, against, plan.metric, "all", "all") for run, against in _default_comparisons(runs)]
    return list(dict.fromkeys(DeclaredComparison(*row) for row in found))


def standard_comparisons(runs: Sequence[Identified]) -> list[tuple[str, str]]:
    """Return the (run, against) pairs that are always compared, each pair of runs once.

    These are: models against all baselines and their own controls (same model, readout and template), calibrated runs against the run
    that was calibrated, controls against item-mode, and baselines against nearest-parent and item-mode.
    """
    baselines = [(run, run_identity(run).rule) for run in _of_kind(runs, "baseline")]
    item_modes = [run for run, rule in baselines if rule == "item-mode"]
    parents = [run for run, rule in baselines if rule == "nearest-parent"]
    found: list[tuple[Identified, Identified]] = []
    for model in _of_kind(runs, "model"):
        found += [(model, baseline) for baseline, _ in baselines]
        found += [(model, control) for control in controls_of(model, runs)]
        found += [(model, source) for source in runs if run_identity(model).is_calibrated_from(run_identity(source))]
    found += [(control, item_mode) for control in _of_kind(runs, "control") for item_mode in item_modes]
    for baseline, _ in baselines:
        found += [(baseline, other) for other in (*parents, *item_modes)]
    pairs: dict[frozenset[str], tuple[str, str]] = {}
    # Keep nearest-parent against item-mode, not the reverse.
    for run, against in sorted(found, key=lambda pair: _is_baseline(pair[0], "item-mode")):
        if run.name != against.name:
            pairs.setdefault(frozenset((run.name, against.name)), (run.name, against.name))
    return list(pairs.values())


def controls_of(model: Identified, runs: Iterable[Identified], control: str | None = None) -> list[Identified]:
    """Return the controls of a model with the same readout and template, optionally only those named `control`."""
    inside, found = run_identity(model), list[Identified]()
    for run in _of_kind(runs, "control"):
        identity = run_identity(run)
        if control in (None, identity.control) and identity.same_model(inside) and identity.same_readout(inside):
            found.append(run)
    return found


def describe(declared: Declared | None) -> str:
    """Return a sentence or two about the plan and the status of the comparisons, for reports and tables."""
    if declared is None:
        return "No plan was declared: every comparison is exploratory."
    named = f"The plan {declared.hash[:12]}"
    if declared.status == "declared":
        when = f"{named} was declared at {declared.declared}, before any answer."
        return f"{when} The comparisons it names are declared; all others are exploratory."
    if declared.status == "late":
        return f"{named} was first given at {declared.declared}, after answers existed: every comparison is exploratory."
    first = next((entry for entry in declared.history if entry["status"] == "declared"), None)
    kept = f" The plan declared at {first['declared']} is kept in {PLAN}." if first else ""
    return f"{named} was changed at {declared.declared}, after answers existed: every comparison is exploratory.{kept}"


def _default_comparisons(runs: Sequence[Identified]) -> list[tuple[str, str]]:
    """Return every model against each item-mode and nearest-parent baseline and each of its shuffled-persona controls."""
    found: list[tuple[str, str]] = []
    for model in _of_kind(runs, "model"):
        found += [(model.name, run.name) for rule in MEASURED_AGAINST for run in runs if _is_baseline(run, rule)]
        found += [(model.name, control.name) for control in controls_of(model, runs, PERSONA_CONTROL)]
    return found


def _of_kind(runs: Iterable[Identified], kind: str) -> list[Identified]:
    return [run for run in runs if run_identity(run).kind == kind]


def _is_baseline(run: Identified, rule: str) -> bool:
    identity = run_identity(run)
    return identity.is_baseline and identity.rule == rule


class PlanEntry(Record):
    """A plan, with its hash, the time it was first given, and its status."""

    plan: dict[str, Any]
    hash: str
    declared: str
    status: PlanStatus


class PlanFile(PlanEntry):
    """The format of `plan.json`: the current plan, and earlier ones."""

    format: Literal["valuestrata-plan-1"]
    history: list[PlanEntry] = Field(default_factory=list[PlanEntry])


def _read(file: Path) -> list[dict[str, Any]]:
    """Return all plans of a `plan.json`, the current one last."""
    document = read_document(file, PlanFile, _ONLY_RECORD)
    keys = tuple(PlanEntry.model_fields)
    made: list[dict[str, Any]] = []
    for entry in [*document.get("history", []), document]:
        if canonical_hash(entry["plan"]) != entry["hash"]:
            raise InputDataError(f"{file}: the plan does not match its hash {str(entry['hash'])[:12]}; the file was edited. Restore it.")
        checked(Plan, entry["plan"], f"{file}: plan")
        made.append({key: entry[key] for key in keys})
    return made


def _declared(entries: Sequence[dict[str, Any]]) -> Declared:
    current = entries[-1]
    plan = Plan.model_validate(current["plan"])
    return Declared(plan, current["hash"], current["declared"], current["status"], tuple(entries[:-1]))
