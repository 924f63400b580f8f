"""Score, audit and report the runs of a study: three stages, each with its files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING

from valuestrata.assessment import Assessment, assess
from valuestrata.claims.fairness.rules import metrics_worth_auditing
from valuestrata.fairness import Adjusting, Audit, AuditedPart, Resampling, audit
from valuestrata.fairness.elsewhere import with_elsewhere
from valuestrata.files import write_parquet
from valuestrata.reports import write_audit, write_report
from valuestrata.reports.export.tracking.track import log_scores
from valuestrata.responses.reference_baselines import kinds_of, reference_baselines
from valuestrata.responses.run.folder import Run
from valuestrata.responses.run.identity import Identified
from valuestrata.scores.plan import Declared, DeclaredComparison, declared_rows
from valuestrata.scores.variance.by_model import variation
from valuestrata.scores.variance.seeds import SeededRecipe
from valuestrata.study.config import AuditSection
from valuestrata.study.context import StudyContext

if TYPE_CHECKING:
    import polars as pl

TABLES = ("scores", "relative", "comparisons", "structure", "calibration", "verdicts")


@dataclass(frozen=True)
class Evaluation:
    """Results of the runs of a study, or of one split of a tuning study.

    Attributes:
        runs: the models' runs, then the baselines.
        assessment: scores, comparisons and claims. audit: None without the section `audit`.
        report: file of the report.
    """

    runs: tuple[Run, ...]
    assessment: Assessment
    report: Path
    audit: Audit | None


@dataclass(frozen=True)
class Scored:
    """The scored runs of a study, or of one split of a tuning study.

    Attributes:
        context: the study. models: the models' runs. runs: the same and the baselines.
        assessment: scores, comparisons and claims.
    """

    context: StudyContext
    models: tuple[Run, ...]
    runs: tuple[Run, ...]
    assessment: Assessment


def score_runs(
    context: StudyContext,
    runs: Sequence[Run],
    plan: Declared,
    *,
    also: Sequence[tuple[str, str]] = (),
    only: pl.DataFrame | None = None,
    recipes: Sequence[SeededRecipe] = (),
    vary: Sequence[str] = (),
) -> Scored:
    """Score and compare runs with the study's baselines, and write the tables into the study's folder.

    Args:
        context: the study.
        runs: the models' runs.
        plan: the declared plan.
        also: further comparisons (run, against).
        only: pairs (`pair_id`) to evaluate baselines on, if only a sample of the pairs was asked.
        recipes: recipes trained with several seeds (see `assess`).
        vary: what the intervals of these recipes include (see `assess`).
    """
    study, dataset = context.study, context.dataset
    section = study.score
    baselines = reference_baselines(dataset, runs, kinds=kinds_of(section.baselines), train_on=context.train_on, **context.where)
    if only is not None:
        baselines = [replace(run, responses=run.responses.join(only, on="pair_id", how="semi")) for run in baselines]
    all_runs = [*runs, *baselines]
    context.say("scoring")
    found = assess(
        dataset,
        all_runs,
        against=_existing_run(context, section.against, "score.against", all_runs),
        also=also,
        plan=_plan_of_existing_runs(context, plan, [*all_runs, *recipes]),
        recipes=recipes,
        vary=vary,
        bootstrap=section.bootstrap,
        seed=study.seeds.bootstrap,
        **context.where,
    )
    for name in TABLES:
        write_parquet(context.folder / f"{name}.parquet", getattr(found, name), metadata={"valuestrata_plan": plan.hash})
    if section.track is not None:
        context.say(log_scores(runs, found, section.track, to=section.track_to))
    return Scored(context, tuple(runs), tuple(all_runs), found)


def audit_runs(scored: Scored) -> Audit | None:
    """Audit scored runs and write the folder `audit`; None without the section `audit`."""
    context, section = scored.context, scored.context.study.audit
    if section is None:
        return None
    context.say("auditing")
    return audited_runs(context, scored.runs, _existing_run(context, section.against, "audit.against", scored.runs), scored.assessment.plan)


def report_runs(scored: Scored, audited: Audit | None, *, pages: Sequence[tuple[str, str]] = ()) -> Evaluation:
    """Write the report of scored and audited runs; it links to `pages`, each a title and an address."""
    context, study = scored.context, scored.context.study
    context.say("writing the report")
    report = write_report(
        context.dataset,
        scored.runs,
        scored.assessment.scores,
        context.folder / "report.html",
        title=study.report.title or study.name,
        published=study.report.published,
        explore=study.report.explore,
        assessment=scored.assessment,
        audit=audited,
        variance=variation(context.dataset, scored.models, bootstrap=study.score.bootstrap, seed=study.seeds.bootstrap),
        pages=pages,
    )
    return Evaluation(scored.runs, scored.assessment, report, audited)


@dataclass(frozen=True)
class _PlanOfExistingRuns(Declared):
    """A declared plan without the comparisons of runs that have no answers."""

    def rows(self, runs: Sequence[Identified], scheme: str, part: str, fold: int | None = None) -> list[DeclaredComparison]:
        names = {run.name for run in runs}
        comparisons = [planned for planned in self.plan.comparisons if {planned.run, planned.against} <= names]
        # An empty list would mean the default comparisons, which this plan does not declare.
        if self.status != "declared" or not comparisons:
            return []
        return declared_rows(self.plan.model_copy(update={"comparisons": comparisons}), runs, scheme, part, fold)


def _plan_of_existing_runs(context: StudyContext, plan: Declared, runs: Sequence[Identified]) -> Declared:
    names = {run.name for run in runs}
    missing = [planned for planned in plan.plan.comparisons if not {planned.run, planned.against} <= names]
    if not missing:
        return plan
    for planned in missing:
        context.say(f"the declared comparison of {planned.run} with {planned.against} is left out: one of them has no answers")
    return _PlanOfExistingRuns(**{field.name: getattr(plan, field.name) for field in fields(plan)})


def _existing_run(context: StudyContext, name: str | None, key: str, runs: Sequence[Run]) -> str | None:
    """Return the run that a key of the study names, None if it has no answers."""
    if name is None or any(run.name == name for run in runs):
        return name
    context.say(f"{key}: the run {name} has no answers; nothing is compared with it")
    return None


def audited_runs(
    context: StudyContext, runs: Sequence[Run], against: str | Mapping[str, str] | None, plan: Declared | None = None
) -> Audit:
    """Audit runs as the section `audit` of the study says, and write the folder `audit`; arguments as for `audit` and `write_audit`."""
    study = context.study
    section = study.audit or AuditSection()
    metrics = metrics_worth_auditing(runs, section.metrics)
    found = audit(
        context.dataset,
        runs,
        against=against,
        metrics=metrics,
        margins={metric: study.plan.thresholds.margin(metric) for metric in metrics},
        permutations=section.permutations,
        bootstrap=study.score.bootstrap,
        seed=study.seeds.bootstrap,
        mixed=section.mixed,
        **context.where,
    )
    resampling = Resampling(study.score.bootstrap, section.permutations, study.seeds.bootstrap, margins=found.margins)
    found = with_elsewhere(
        context.dataset,
        runs,
        found,
        AuditedPart(**context.where),
        resampling,
        adjusting=Adjusting(section.mixed),
        metrics=metrics,
        against=against if isinstance(against, str) else None,
        train_on=context.train_on,
    )
    for note in found.notes:
        context.say(note)
    write_audit(context.dataset, runs, found, context.folder / "audit", plan=plan)
    return found
