"""What the answers of a study come to: baselines beside them, scores and comparisons, the audit, and the page."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from valuestrata.assessment import Assessment, assess
from valuestrata.claims.fairness.rules import metrics_worth_auditing
from valuestrata.dataset.tables import Dataset
from valuestrata.fairness import Audit, audit
from valuestrata.files import write_parquet
from valuestrata.report import write_audit, write_report
from valuestrata.responses.reference_baselines import kinds_of, reference_baselines
from valuestrata.responses.run.folder import Run
from valuestrata.responses.run.identity import Identified
from valuestrata.scores.plan import Declared, DeclaredComparison, declared_rows
from valuestrata.scores.variance.by_model import variation
from valuestrata.study.config import Study

if TYPE_CHECKING:
    import polars as pl

TABLES = ("scores", "relative", "comparisons", "structure", "verdicts")


@dataclass(frozen=True)
class Judged:
    """What the runs of a study, or of one split of it, came to.

    Attributes:
        runs: those given, then the baselines beside them.
        assessment: scores, comparisons, verdicts. audit: None where the study asks for none.
        report: the page.
    """

    runs: tuple[Run, ...]
    assessment: Assessment
    report: Path
    audit: Audit | None


def judge(
    study: Study,
    dataset: Dataset,
    runs: Sequence[Run],
    plan: Declared,
    say: Callable[[str], None],
    *,
    train_on: Dataset | None = None,
    also: Sequence[tuple[str, str]] = (),
    only: pl.DataFrame | None = None,
    pages: Sequence[tuple[str, str]] = (),
) -> Judged:
    """Score runs beside the baselines, compare, audit where asked for, and write tables and page into the study's folder.

    Args:
        study: its split, seeds, score, audit and report sections say how. dataset: the ground truth.
        runs: the models' runs. plan: what was declared. train_on: what baselines learn from under `transfer`.
        also: (run, against) that are compared besides the usual ones.
        only: the pairs (`pair_id`) that were asked, where they were drawn; the baselines are then judged on the same.
        pages: (title, address) of pages that the report leads to.
    """
    folder, models = study.folder, len(runs)
    where: dict[str, Any] = {"split": study.split.scheme, "part": study.split.part, "fold": study.split.fold}
    beside = reference_baselines(dataset, runs, kinds=kinds_of(study.score.baselines), train_on=train_on, **where)
    if only is not None:
        beside = [replace(run, responses=run.responses.join(only, on="pair_id", how="semi")) for run in beside]
    everyone = [*runs, *beside]
    say("scoring")
    section, seed = study.score, study.seeds.bootstrap
    found = assess(
        dataset,
        everyone,
        against=_if_there(section.against, "score.against", everyone, say),
        also=also,
        plan=_of_those_there(plan, everyone, say),
        bootstrap=section.bootstrap,
        seed=seed,
        **where,
    )
    for name in TABLES:
        write_parquet(folder / f"{name}.parquet", getattr(found, name), metadata={"valuestrata_plan": plan.hash})
    audited = _audited(study, dataset, everyone, say)
    say("writing the report")
    report = write_report(
        dataset,
        everyone,
        found.scores,
        folder / "report.html",
        title=study.report.title or study.name,
        published=study.report.published,
        assessment=found,
        audit=audited,
        variance=variation(dataset, everyone[:models], bootstrap=section.bootstrap, seed=seed),
        pages=pages,
    )
    return Judged(tuple(everyone), found, report, audited)


@dataclass(frozen=True)
class _OfThoseThere(Declared):
    """A declared plan of a study in which some run has no answers: it declares what it did, of the runs that are there."""

    def rows(self, runs: Sequence[Identified], scheme: str, part: str, fold: int | None = None) -> list[DeclaredComparison]:
        names = {run.name for run in runs}
        there = [planned for planned in self.plan.comparisons if {planned.run, planned.against} <= names]
        # An empty list would stand for the usual comparisons, which this plan does not declare.
        if self.status != "declared" or not there:
            return []
        return declared_rows(self.plan.model_copy(update={"comparisons": there}), runs, scheme, part, fold)


def _of_those_there(plan: Declared, runs: Sequence[Run], say: Callable[[str], None]) -> Declared:
    names = {run.name for run in runs}
    lost = [planned for planned in plan.plan.comparisons if not {planned.run, planned.against} <= names]
    if not lost:
        return plan
    for planned in lost:
        say(f"the declared comparison of {planned.run} with {planned.against} is not made: one of them has no answers")
    return _OfThoseThere(**{field.name: getattr(plan, field.name) for field in fields(plan)})


def _if_there(name: str | None, key: str, runs: Sequence[Run], say: Callable[[str], None]) -> str | None:
    """Return the run that `key` names, None where it has no answers this time."""
    if name is None or any(run.name == name for run in runs):
        return name
    say(f"{key} names {name}, which has no answers; nothing is compared with it")
    return None


def _audited(study: Study, dataset: Dataset, runs: list[Run], say: Callable[[str], None]) -> Audit | None:
    """Audit the runs and write the audit's own folder; None where the study does not ask for it."""
    if study.audit is None:
        return None
    say("auditing")
    found = audit(
        dataset,
        runs,
        split=study.split.scheme,
        part=study.split.part,
        fold=study.split.fold,
        against=_if_there(study.audit.against, "audit.against", runs, say),
        metrics=metrics_worth_auditing(runs, study.audit.metrics),
        permutations=study.audit.permutations,
        bootstrap=study.score.bootstrap,
        seed=study.seeds.bootstrap,
        mixed=study.audit.mixed,
    )
    write_audit(dataset, runs, found, study.folder / "audit")
    return found
