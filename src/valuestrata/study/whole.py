"""A study from its first stage to its last."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from valuestrata.auditing import Audit, audit, metrics_worth_auditing
from valuestrata.dataset import Dataset, load_dataset
from valuestrata.errors import RunFailedError, UsageError, did_you_mean
from valuestrata.files import write_parquet
from valuestrata.report import write_audit, write_report
from valuestrata.respondents.models import check_word
from valuestrata.responses.beside import baseline_name, baselines_beside, kinds_of
from valuestrata.responses.kinds import Identified
from valuestrata.responses.planning import select_pairs
from valuestrata.responses.run import Run, load_run
from valuestrata.scores.assess import Assessment, assess
from valuestrata.scores.layout import keys_of
from valuestrata.scores.plan import Declared, DeclaredRow, declare, declared_rows, describe
from valuestrata.scores.variation import variation
from valuestrata.study.asked import Asked, ask_prepared
from valuestrata.study.ground import built, write_resolved
from valuestrata.study.preparing import prepare
from valuestrata.studyfile import ModelSection, ReportSection, Study, SurveySection

if TYPE_CHECKING:
    import polars as pl


@dataclass(frozen=True)
class StudyResult:
    """What a study left behind.

    Attributes:
        dataset: the ground truth.
        runs: those of the study's models that have anything to score, then the baselines beside them.
        assessment: scores, comparisons, verdicts and the plan they stand under.
        report: the page.
        asked: what became of each model, in the order of the study.
        audit: who is served worse, None where the study does not ask.
    """

    dataset: Dataset
    runs: tuple[Run, ...]
    assessment: Assessment
    report: Path
    asked: tuple[Asked, ...]
    audit: Audit | None = None

    @property
    def scores(self) -> pl.DataFrame:
        """The plain scores."""
        return self.assessment.scores

    @property
    def model_runs(self) -> tuple[Run, ...]:
        """The runs of the study's own models."""
        return self.runs[: sum(one.has_results for one in self.asked)]

    @property
    def failed(self) -> int:
        """Prompts that were asked and ended failed, over all runs."""
        return sum(one.failed for one in self.asked)

    @property
    def problems(self) -> list[str]:
        """What went wrong, a line for each run that broke off or holds failures; empty where nothing did."""
        return [one.problem for one in self.asked if one.problem]


def run_study(study: Study, *, say: Callable[[str], None] = lambda _line: None) -> StudyResult:
    """Do the whole study and return what it left; `say` is told of every stage in a line.

    A model that cannot be reached does not end the study: the others are asked, what has answers is scored, and the
    result's `problems` name it.

    Raises:
        UsageError, InputDataError, MissingExtraError: what any stage refuses. What can be known of all models beforehand is
            refused before the first of them is called; what was done stays and is not done again.
        RunFailedError: no model has an answer, or the disk does not take the answers.
    """
    folder = study.folder
    folder.mkdir(parents=True, exist_ok=True)
    write_resolved(study)
    for model in study.models:
        check_word(model.model)
    dataset = built(study, say)
    train_on = load_dataset(study.split.train_on) if study.split.train_on else None
    prepared = prepare(study, dataset, train_on, say)
    plan = _declared(study, dataset)
    say(describe(plan))
    asked = [ask_prepared(study, one, dataset, train_on, say) for one in prepared]
    runs = [load_run(one.run) for one, came in zip(prepared, asked, strict=True) if came.has_results]
    _check_any(study, asked, say)
    models = len(runs)
    where: dict[str, Any] = {"split": study.split.scheme, "part": study.split.part, "fold": study.split.fold}
    runs += baselines_beside(dataset, runs, kinds=kinds_of(study.score.baselines), train_on=train_on, **where)
    say("scoring")
    section, seed = study.score, study.seeds.bootstrap
    stands = _of_those_there(plan, runs, say)
    against = _if_there(section.against, "score.against", runs, say)
    found = assess(dataset, runs, against=against, plan=stands, bootstrap=section.bootstrap, seed=seed, **where)
    for name in ("scores", "relative", "comparisons", "structure", "verdicts"):
        write_parquet(folder / f"{name}.parquet", getattr(found, name), metadata={"valuestrata_plan": plan.hash})
    audited = _audited(study, dataset, runs, say)
    say("writing the report")
    report = write_report(
        dataset,
        runs,
        found.scores,
        folder / "report.html",
        title=study.report.title or study.name,
        published=study.report.published,
        assessment=found,
        audit=audited,
        variance=variation(dataset, runs[:models], bootstrap=section.bootstrap, seed=seed),
    )
    return StudyResult(dataset, tuple(runs), found, report, tuple(asked), audited)


def _check_any(study: Study, asked: Sequence[Asked], say: Callable[[str], None]) -> None:
    """Tell which models have nothing to score; refuse to go on where none has."""
    without = [one for one in asked if not one.has_results]
    if len(without) < len(asked):
        for one in without:
            say(f"{one.run}: no answer, so that it is not scored")
        return
    why = "; ".join(f"{one.run}: {one.error or one.stopped or one.problem or 'nothing was asked'}" for one in without)
    error = RunFailedError if any(one.error or one.failed for one in without) else UsageError
    raise error(f"{study.folder}: no model has an answer, so that there is nothing to score. {why}")


@dataclass(frozen=True)
class _OfThoseThere(Declared):
    """A declared plan of a study in which some run has no answers: it declares what it did, of the runs that are there."""

    def rows(self, runs: Sequence[Identified], scheme: str, part: str, fold: int | None = None) -> list[DeclaredRow]:
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
    )
    write_audit(dataset, runs, found, study.folder / "audit")
    return found


def _declared(study: Study, dataset: Dataset) -> Declared:
    """Declare the study's plan, before anything is asked.

    A split, a run or a key that will not be there is refused now: mended later, it would be another plan.
    """
    pairs = select_pairs(dataset, study.split.scheme, study.split.part, study.split.fold, items=study.ask.items, strata=study.ask.strata)
    keys = {by: set(names) for by, names in keys_of(dataset, pairs).items()}
    for planned in study.plan.comparisons:
        if planned.by != "all" and planned.key not in keys[planned.by]:
            guess = did_you_mean(planned.key, sorted(keys[planned.by]))
            raise UsageError(f"plan.comparisons names the {planned.by} {planned.key!r}, of which no pair is asked.{guess}")
    names = [model.run_name for model in study.models] + [baseline_name(kind) for kind in kinds_of(study.score.baselines)]
    for planned in study.plan.comparisons:
        for name in (planned.run, planned.against):
            if name not in names:
                raise UsageError(f"plan.comparisons names the run {name!r}, which this study does not make.{did_you_mean(name, names)}")
    for key, name in (("audit.against", study.audit.against if study.audit else None), ("score.against", study.score.against)):
        if name is not None and name not in names:
            raise UsageError(f"{key} names the run {name!r}, which this study does not make.{did_you_mean(name, names)}")
    answered = any(path.stat().st_size for path in (study.folder / "runs").glob("*/store/responses.jsonl"))
    return declare(study.folder, study.plan.resolved(study.split.scheme, study.split.part, study.split.fold), answered)


def demo_study(folder: Path, *, models: Sequence[str] = ()) -> Study:
    """Return the study behind `valuestrata demo`: the embedded survey, the embedded model, with and without a persona."""
    # The shuffled persona would ask as many prompts again; without a persona one prompt an item is enough.
    words = models or ("embedded", "control:no-persona@embedded")
    return Study(
        name="demo",
        output=str(folder),
        survey=SurveySection(file="embedded", codebook="gss2018"),
        models=[ModelSection(model=word) for word in words],
        report=ReportSection(title="Demonstration: General Social Survey 2018", published=True),
    )
