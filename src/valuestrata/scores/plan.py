"""What is going to be compared, said before anything is answered; everything else is exploratory.

A plan names the primary metric, the comparisons and the thresholds. `declare` writes it to `plan.json` with its hash and
the time, and says what it is worth:

declared   it stood before the first answer. The comparisons it names are the declared family.
amended    it took the place of a declared plan after answers existed. It declares nothing.
late       it is the first plan, and answers existed already. It declares nothing.

Who goes back to a plan that was declared has a declared plan again. A comparison is `declared` if a declared plan names
exactly its run, against, metric, by and key on its split and part; all others are `exploratory`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self, cast

from pydantic import Field, field_validator, model_validator

from valuestrata.errors import InputDataError, UsageError, did_you_mean
from valuestrata.files import canonical_hash, read_json, write_json
from valuestrata.formatting import DIRECTED
from valuestrata.responses.run.folder import now
from valuestrata.responses.run.identity import Identified, run_identity
from valuestrata.scores.schema import METRICS
from valuestrata.yaml_files import StrictModel, checked

PLAN = "plan.json"
FORMAT = "valuestrata-plan-1"
# Beside these a model is judged where a plan names no comparison.
MEASURED_AGAINST = ("item-mode", "nearest-parent")
PERSONA_CONTROL = "shuffled-persona"

By = Literal["all", "stratum", "attribute", "level", "subgroup", "topic", "item"]
Standing = Literal["declared", "amended", "late"]


class Thresholds(StrictModel):
    """Fixed before results are seen.

    Attributes:
        coverage: share of the pairs under which a headline says that it is incomplete.
        smallest_gap: smallest difference worth knowing of, in the metric's unit; a comparison that can't see it is underpowered.
        confidence: of all intervals.
    """

    coverage: float = Field(default=0.95, gt=0, le=1)
    smallest_gap: float = Field(default=0.02, gt=0)
    confidence: float = Field(default=0.95, gt=0, lt=1)


def _comparable(metric: str) -> str:
    known = [name for name in METRICS if not name.startswith(("ceiling_", "floor_"))]
    if metric not in known:
        raise ValueError(f"{metric!r} is no metric that runs can be compared by.{did_you_mean(metric, known)}")
    return metric


class PlannedComparison(StrictModel):
    """One comparison of two runs; without `metric` by the plan's, without `by` and `key` over all pairs."""

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
            raise ValueError(f"by {self.by!r} with key {self.key!r}: a comparison within {self.by!r} needs the `key` that says which one")
        return self


class Plan(StrictModel):
    """What is declared.

    Attributes:
        metric: the primary metric.
        split, part, fold: of the declared comparisons; those of the study where they are None (see `resolved`).
        comparisons: the declared family. Empty: every model against each item-mode and nearest-parent baseline and each of
            its shuffled-persona controls, whatever runs the study holds.
        thresholds: for verdicts and intervals.
    """

    metric: str = "accuracy_expected"
    split: str | None = None
    part: Literal["train", "validation", "test", "all"] | None = None
    fold: int | None = Field(default=None, ge=0)
    comparisons: list[PlannedComparison] = Field(default_factory=list[PlannedComparison])
    thresholds: Thresholds = Field(default_factory=Thresholds)

    @field_validator("metric")
    @classmethod
    def _metric_has_a_direction(cls, value: str) -> str:
        if value not in DIRECTED:
            raise ValueError(f"{value!r} cannot be the primary metric: a run must be better or worse by it.{did_you_mean(value, DIRECTED)}")
        if value.endswith("_valid"):
            raise ValueError(f"{value!r} cannot be the primary metric: a run could raise it by refusing what is hard; use {value[:-6]!r}")
        return value

    def resolved(self, split: str, part: Literal["train", "validation", "test", "all"], fold: int | None = None) -> Plan:
        """Return the plan with the study's split, part and fold where it names none, so that its hash covers them."""
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
    """A plan with what it is worth.

    Attributes:
        plan: the plan in force. hash: its `plan_hash`.
        declared: when it was first given, UTC. status: see the module's docstring.
        history: plans that were in force before, oldest first: plan, hash, declared, status.
    """

    plan: Plan
    hash: str
    declared: str
    status: Standing
    history: Sequence[dict[str, Any]] = ()

    def rows(self, runs: Sequence[Identified], scheme: str, part: str, fold: int | None = None) -> list[DeclaredComparison]:
        """Return the declared family; empty unless the plan was declared before the answers (see `declared_rows`)."""
        return declared_rows(self.plan, runs, scheme, part, fold) if self.status == "declared" else []


def plan_hash(plan: Plan) -> str:
    """Return the SHA-256 of all that the plan says."""
    return canonical_hash(plan.model_dump())


def declare(folder: Path, plan: Plan, answered: bool) -> Declared:
    """Declare a plan in a study's folder, before its models are asked.

    The first plan is written to `plan.json`. The same plan again changes nothing. Another plan replaces it as long as
    nothing is answered; afterwards it is kept beside the old one.

    Args:
        folder: the study's folder. plan: see `Plan.resolved`.
        answered: whether the study holds any answer.

    Raises:
        InputDataError: `plan.json` is broken, or was changed by hand.
    """
    file, hash_ = folder / PLAN, plan_hash(plan)
    entries = _read(file) if file.is_file() else []
    if entries and entries[-1]["hash"] == hash_:
        return _declared(entries)
    before = [entry for entry in entries if entry["hash"] == hash_]
    if before:
        # Back to an earlier plan: it is worth what it was worth then.
        entries = [entry for entry in entries if entry["hash"] != hash_] + before
    else:
        status: Standing = "declared" if not answered else "amended" if entries else "late"
        kept = entries if answered else entries[:-1]
        entries = [*kept, {"plan": plan.model_dump(), "hash": hash_, "declared": now(), "status": status}]
    write_json(file, {"format": FORMAT, **entries[-1], "history": entries[:-1]})
    return _declared(entries)


def read_declared(folder: Path) -> Declared | None:
    """Return the plan in force in a study's folder, None where none was declared; InputDataError as for `declare`."""
    file = folder / PLAN
    return _declared(_read(file)) if file.is_file() else None


def declared_rows(plan: Plan, runs: Sequence[Identified], scheme: str, part: str, fold: int | None = None) -> list[DeclaredComparison]:
    """Return the rows of COMPARISONS that the plan names on a split and part, each once.

    Args:
        plan: what is declared. runs: all runs of the study. scheme, part, fold: where the comparisons are made; another
            split, part or fold (or all folds pooled) than the plan's has no declared row.

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
        found = [(run, against, plan.metric, "all", "all") for run, against in _usual(runs)]
    return list(dict.fromkeys(DeclaredComparison(*row) for row in found))


def standard_comparisons(runs: Sequence[Identified]) -> list[tuple[str, str]]:
    """Return the (run, against) pairs that are made whatever was declared, each pair of runs once.

    Each model against every baseline and each of its controls, controls against item-mode, baselines against
    nearest-parent and item-mode. A control belongs to a model if that model answered in it under the same readout and template.
    """
    baselines = [(run, run_identity(run).rule) for run in _of_kind(runs, "baseline")]
    item_modes = [run for run, rule in baselines if rule == "item-mode"]
    parents = [run for run, rule in baselines if rule == "nearest-parent"]
    found: list[tuple[Identified, Identified]] = []
    for model in _of_kind(runs, "model"):
        found += [(model, baseline) for baseline, _ in baselines]
        found += [(model, control) for control in controls_of(model, runs)]
    found += [(control, item_mode) for control in _of_kind(runs, "control") for item_mode in item_modes]
    for baseline, _ in baselines:
        found += [(baseline, other) for other in (*parents, *item_modes)]
    pairs: dict[frozenset[str], tuple[str, str]] = {}
    # Nearest-parent against item-mode comes before its mirror image, which says nothing more.
    for run, against in sorted(found, key=lambda pair: _is_baseline(pair[0], "item-mode")):
        if run.name != against.name:
            pairs.setdefault(frozenset((run.name, against.name)), (run.name, against.name))
    return list(pairs.values())


def controls_of(model: Identified, runs: Iterable[Identified], control: str | None = None) -> list[Identified]:
    """Return the controls around a model, asked as it was asked; only those named `control` where that is given."""
    inside, found = run_identity(model), list[Identified]()
    for run in _of_kind(runs, "control"):
        identity = run_identity(run)
        if control in (None, identity.control) and identity.same_model(inside) and identity.same_readout(inside):
            found.append(run)
    return found


def describe(declared: Declared | None) -> str:
    """Say in a sentence or two what was declared and what that makes of the comparisons, for reports and tables."""
    if declared is None:
        return "No plan was declared: every comparison is exploratory."
    named = f"The plan {declared.hash[:12]}"
    if declared.status == "declared":
        when = f"{named} was declared at {declared.declared}, before any answer."
        return f"{when} The comparisons it names are declared; all others are exploratory."
    if declared.status == "late":
        return f"{named} was first given at {declared.declared}, when answers existed already: every comparison is exploratory."
    first = next((entry for entry in declared.history if entry["status"] == "declared"), None)
    stands = f" The plan declared at {first['declared']} is kept in {PLAN}." if first else ""
    return f"{named} was changed at {declared.declared}, after answers existed: every comparison is exploratory.{stands}"


def _usual(runs: Sequence[Identified]) -> list[tuple[str, str]]:
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


def _read(file: Path) -> list[dict[str, Any]]:
    """Return all plans of a `plan.json`, the one in force last."""
    document = read_json(file)
    if not isinstance(document, dict) or cast("dict[str, Any]", document).get("format") != FORMAT:
        raise InputDataError(f"{file}: not a plan of the format {FORMAT!r}. Restore it: what was declared is known from it alone.")
    whole = cast("dict[str, Any]", document)
    entries = [*cast("list[dict[str, Any]]", whole.get("history", [])), whole]
    keys = ("plan", "hash", "declared", "status")
    made: list[dict[str, Any]] = []
    for entry in entries:
        if missing := [key for key in keys if key not in entry]:
            raise InputDataError(f"{file}: the key {missing[0]!r} is missing. Restore the file: what was declared is known from it alone.")
        if canonical_hash(entry["plan"]) != entry["hash"]:
            raise InputDataError(f"{file}: the plan does not match its hash {str(entry['hash'])[:12]}: it was changed by hand. Restore it.")
        checked(Plan, entry["plan"], f"{file}: plan")
        made.append({key: entry[key] for key in keys})
    return made


def _declared(entries: Sequence[dict[str, Any]]) -> Declared:
    current = entries[-1]
    plan = Plan.model_validate(current["plan"])
    return Declared(plan, current["hash"], current["declared"], current["status"], tuple(entries[:-1]))
