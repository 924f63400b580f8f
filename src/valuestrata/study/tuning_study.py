"""Run a study with a section `tune`: train, ask and evaluate every model by recipe and control in each split.

Folders of a study: `data/`; for every fold `adapters/FOLD/JOB`, `asked/FOLD/runs/RUN` and, with open questions, `asked/FOLD/open/`; for
every split `splits/SPLIT/` with the report, tables, plan and audit of a plain study; and over all splits `generalisation.parquet` and
`gains.parquet` (also as CSV) and `generalisation.html`. Finished adapters and answered prompts are kept; interrupted trainings continue.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from valuestrata.claims.claim import Claim
from valuestrata.claims.tuning import tuning_claims
from valuestrata.dataset.tables import Dataset
from valuestrata.dataset.training_source import pooled_source
from valuestrata.errors import RunFailedError, options_as
from valuestrata.files import write_parquet, write_text
from valuestrata.formatting import count
from valuestrata.frames import csv_text
from valuestrata.reports.closed.generalisation import SplitPart, claim_sentences, write_generalisation
from valuestrata.responses.ask.plan import select_pairs
from valuestrata.responses.reference_baselines import baseline_name, kinds_of
from valuestrata.responses.run.folder import Run, load_run
from valuestrata.responses.run.halves import with_half
from valuestrata.scores.plan import Declared, declare, describe
from valuestrata.study.ask import ask_model
from valuestrata.study.config import OpenSection, SplitEntry, Study, split_name
from valuestrata.study.context import StudyContext
from valuestrata.study.data import create_folder, open_study
from valuestrata.study.evaluate import Evaluation, Scored, audit_runs, report_runs, score_runs
from valuestrata.study.model_cards import write_cards
from valuestrata.study.open_questions.answers import OpenResult, check_open, prepare_open, run_open
from valuestrata.study.preflight import prepare_models
from valuestrata.study.stages import Reached, StudyProgress, check_stage, finished, stopped_after
from valuestrata.study.tuning_grid import (
    SplitFold,
    TrainingJob,
    folds_of,
    plan_of,
    runs_of,
    splits_of,
    study_in,
    training_jobs,
    tune_section,
)
from valuestrata.tuning.data.examples import tuning_data
from valuestrata.tuning.evaluate.generalisation import (
    GAINS,
    GENERALISATION,
    TunedVariant,
    corrected_gains,
    family_size,
    gains_of,
    generalisation_table,
    possible_gains,
    seeded_recipes,
)
from valuestrata.tuning.tune import tune


@dataclass(frozen=True)
class Generalisation:
    """Results of a tuning study.

    Attributes:
        dataset: the ground truth.
        table: frame of GENERALISATION, all splits. gains: frame of GAINS.
        claims: name of the split -> claims about its tuned models.
        evaluations: name of the split -> its runs, assessment, audit and report.
        adapters: folders of the adapters. report: the page over all splits.
        problems: errors of single trainings and runs, one line each.
        open: name of the fold -> its open questions; empty without the section `open`.
    """

    dataset: Dataset
    table: pl.DataFrame
    gains: pl.DataFrame
    claims: Mapping[str, Sequence[Claim]]
    evaluations: Mapping[str, Evaluation]
    adapters: tuple[Path, ...]
    report: Path
    problems: tuple[str, ...]
    open: Mapping[str, OpenResult] = field(default_factory=dict[str, OpenResult])

    @property
    def sentences(self) -> dict[str, list[str]]:
        """Name of the split -> sentences of its claims, at most five per tuned model."""
        return {name: claim_sentences(claims) for name, claims in self.claims.items()}


@dataclass
class _SplitWork:
    """One split in progress: its study, folds, plan and variants; the pairs of its folds; and the runs by name and by fold."""

    split: SplitEntry
    study: Study
    folds: list[SplitFold]
    plan: Declared
    variants: list[TunedVariant]
    pairs: dict[str, pl.DataFrame] = field(default_factory=dict[str, pl.DataFrame])
    runs: dict[str, list[Run]] = field(default_factory=dict[str, list[Run]])
    closed: dict[str, list[Run]] = field(default_factory=dict[str, list[Run]])

    @property
    def name(self) -> str:
        return split_name(self.split.scheme, self.split.fold)


@options_as("study")
def run_generalisation(study: Study, *, say: Callable[[str], None] = lambda _line: None) -> Generalisation:
    """Train, ask and evaluate everything in a study's section `tune`; `say` takes a line about every stage.

    If a training fails (its loss is not finite, or memory does not suffice), the others continue and `problems` names it.

    Args:
        study: a study with a section `tune`.
        say: takes a line about every stage.

    Raises:
        UsageError: an invalid setting or a missing key, found before the first training.
        InputDataError: a file that cannot be read or does not fit, found before the first training.
        MissingExtraError: a library is not installed, found before the first training.
        RunFailedError: no answers in some split, or a file cannot be written.
    """
    return finished(_steps(study, say))


@options_as("study")
def run_generalisation_until(study: Study, stage: str, *, say: Callable[[str], None] = lambda _line: None) -> StudyProgress:
    """Run a tuning study until a stage has ended; the next call of this function or of `run_generalisation` continues.

    Args:
        study: the study.
        stage: one of `stages_of(study)`.
        say: takes a line about every stage.

    Raises:
        UsageError: the study has no such stage; and the errors of `run_generalisation`.
    """
    check_stage(study, stage)
    return stopped_after(study, _steps(study, say), stage)


def _steps(study: Study, say: Callable[[str], None]) -> Generator[Reached, None, Generalisation]:
    """Run the stages of a tuning study one after the other, each in all splits and folds."""
    section = tune_section(study)
    create_folder(study)
    jobs = training_jobs(study)
    work = _TuningStudy(open_study(study, say), jobs)
    yield Reached("build")
    splits = [work.declared(split) for split in splits_of(study)]
    folds = sum(len(split.folds) for split in splits)
    say(f"to train: {folds * len(jobs)} adapters ({len(jobs)} in each of {count(folds, 'fold')}; {count(len(section.seeds) or 1, 'seed')})")
    yield Reached("plan")
    trained = [(split, fold, work.train(fold)) for split in splits for fold in split.folds]
    yield work.reached("tune")
    for split, fold, done in trained:
        work.ask(split, fold, done)
    yield work.reached("ask")
    opened: dict[str, OpenResult] = {}
    if study.open is not None:
        every = ((fold, work.ask_open(split, fold, done, study.open)) for split, fold, done in trained)
        opened = {fold.name: found for fold, found in every if found is not None}
        yield work.reached("open")
    scored = [(split, work.score(split)) for split in splits]
    yield work.reached("score")
    audits = [audit_runs(found) for _, found in scored]
    if study.audit is not None:
        yield work.reached("audit")
    evaluated = [
        (split, report_runs(found, audit, pages=_pages(split, opened))) for (split, found), audit in zip(scored, audits, strict=True)
    ]
    for split in splits:
        write_cards(study, work.dataset, split.folds, jobs, split.runs, forgetting=section.forgetting, say=say)
    adapters = [study.folder / "adapters" / fold.name / job.name for _, fold, done in trained for job in done]
    result = work.write(evaluated, adapters, opened)
    yield work.reached("report")
    return result


class _TuningStudy:
    """The stages of a tuning study."""

    def __init__(self, context: StudyContext, jobs: Sequence[TrainingJob]) -> None:
        self.context, self.jobs = context, jobs
        self.study, self.dataset, self.say = context.study, context.dataset, context.say
        self.problems: list[str] = []
        self.left = 0
        self.baselines = {baseline_name(kind): kind for kind in kinds_of(self.study.score.baselines)}

    def reached(self, stage: str) -> Reached:
        """Return that a stage has ended."""
        return Reached(stage, tuple(self.problems), self.left)

    def declared(self, split: SplitEntry) -> _SplitWork:
        """Check a split before any training: its folds, its training pairs, its plan and its open questions."""
        study = self.study
        folds = folds_of(self.dataset, split)
        for fold in folds:
            tuning_data(self.dataset, self.jobs[0].recipe, split=split.scheme, fold=fold.fold)
        name = split_name(split.scheme, split.fold)
        folder = study.folder / "splits" / name
        variants = [variant for _, variant in runs_of(study, folder, self.jobs)]
        plan = plan_of(study, variants, self.baselines, split)
        stores = (path for fold in folds for path in (study.folder / "asked" / fold.name).glob("runs/*/store/responses.jsonl"))
        answered = any(path.stat().st_size for path in stores)
        folder.mkdir(parents=True, exist_ok=True)
        declared = declare(folder, plan, answered)
        self.say(f"{name}: {describe(declared)}")
        report = study.report.model_copy(update={"title": f"{study.report.title or study.name}: {name}"})
        changed = study_in(study, folder, split.scheme, split.fold, report=report, plan=plan)
        if study.audit is not None and study.audit.against is None:
            changed = changed.model_copy(update={"audit": study.audit.model_copy(update={"against": variants[0].model})})
        work = _SplitWork(split, changed, folds, declared, variants)
        if study.open is not None:
            for fold in folds:
                check_open(self._of_fold(work, fold, self.jobs), study.open)
        return work

    def train(self, fold: SplitFold) -> list[TrainingJob]:
        """Train every job of a fold and return those that finished."""
        trained: list[TrainingJob] = []
        for job in self.jobs:
            self.say(f"{fold.name}: training {job.name}")
            try:
                tune(
                    self.dataset,
                    job.model.model,
                    self.study.folder / "adapters" / fold.name / job.name,
                    recipe=job.recipe,
                    control=job.control,
                    split=fold.split.scheme,
                    fold=fold.fold,
                    device=job.model.device,
                )
            except RunFailedError as error:
                if isinstance(error.__cause__, OSError):
                    raise
                self.say(f"{fold.name}, {job.name}: {error.render('study')}")
                self.problems.append(f"{fold.name}, {job.name}: {error.render('study')}")
            else:
                trained.append(job)
        return trained

    def ask(self, split: _SplitWork, fold: SplitFold, trained: Sequence[TrainingJob]) -> None:
        """Ask every model of a fold and add the answers to the runs of its split."""
        context = self._of_fold(split, fold, trained)
        pairs = split.pairs[fold.name] = self._sampled_pairs(context.study)
        for prepared in prepare_models(context, only=pairs):
            result = ask_model(context.prefixed(fold.name), prepared)
            self.left += result.left
            if result.problem:
                self.problems.append(f"{fold.name}: {result.problem}")
            if result.has_results:
                run = load_run(prepared.run)
                split.runs.setdefault(prepared.name, []).append(run)
                split.closed.setdefault(fold.name, []).append(run)

    def ask_open(self, split: _SplitWork, fold: SplitFold, trained: Sequence[TrainingJob], section: OpenSection) -> OpenResult | None:
        """Ask the base and tuned models of a fold open questions, judge and report them; None if no model is left to ask.

        A run whose training failed is left out. Without the reference, nothing is judged.
        """
        context = self._of_fold(split, fold, trained).prefixed(fold.name)
        names = [model.run_name for model in context.study.models]
        models = [name for name in section.models if name in names]
        if section.models and not models:
            self.problems.append(f"{fold.name}: no model of open.models was trained; no open question was asked")
            return None
        here = section.model_copy(update={"models": models})
        if section.reference is not None and section.reference not in names:
            self.problems.append(f"{fold.name}: the open answers were not judged, because {section.reference} was not trained")
            here = here.model_copy(update={"reference": None, "judges": []})
        found = run_open(prepare_open(context, here), split.closed.get(fold.name, []), split.plan)
        self.left += sum(result.left for result in found.asked)
        self.problems += [f"{fold.name}: {problem}" for problem in found.problems]
        return found

    def _of_fold(self, split: _SplitWork, fold: SplitFold, jobs: Sequence[TrainingJob]) -> StudyContext:
        """Return the study in a fold, with its own folder; its models are the base models and those tuned in `jobs`."""
        study = self.study
        models = [model for model, _ in runs_of(study, study.folder / "adapters" / fold.name, jobs)]
        report = study.report.model_copy(update={"title": f"{study.report.title or study.name}: {fold.name}"})
        changes: dict[str, Any] = {"models": models, "report": report, "audit": split.study.audit}
        return replace(self.context, study=study_in(study, study.folder / "asked" / fold.name, fold.split.scheme, fold.fold, **changes))

    def _sampled_pairs(self, here: Study) -> pl.DataFrame:
        """Return the pairs to ask in a fold: all, or `test_pairs` of them, drawn by `seeds.split`."""
        ask, split, most = self.study.ask, here.split, tune_section(self.study).test_pairs
        pairs = select_pairs(self.dataset, split.scheme, split.part, split.fold, items=ask.items, strata=ask.strata)
        if most is None or most >= pairs.height:
            return pairs
        chosen = np.random.default_rng([self.study.seeds.split, 1]).choice(pairs.height, size=most, replace=False)
        return pairs[np.sort(chosen).tolist()]

    def score(self, split: _SplitWork) -> Scored:
        """Score a split: the pooled runs of its folds, and the baselines."""
        self.say(f"{split.name}: evaluating")
        pooled = [_pooled(runs, split.folds) for runs in split.runs.values() if len(runs) == len(split.folds)]
        if not pooled:
            raise RunFailedError(
                f"{split.study.folder}: no model has answers in every fold of {split.split.scheme}; nothing can be compared."
            )
        names, section = {run.name for run in pooled}, tune_section(self.study)
        variants, recipes = seeded_recipes([variant for variant in split.variants if variant.run in names])
        for recipe in recipes:
            if len(recipe.runs) < len(section.seeds):
                self.say(f"{split.name}: {recipe.name} has answers of {len(recipe.runs)} of {len(section.seeds)} seeds")
        known = {variant.run for variant in variants}
        also = [pair for pair in dict.fromkeys((gain.run, gain.against) for gain in possible_gains(variants, {})) if set(pair) <= known]
        only = None if tune_section(self.study).test_pairs is None else pl.concat(split.pairs.values()).select("pair_id").unique()
        context = replace(self.context, study=split.study)
        return score_runs(context, pooled, split.plan, also=also, only=only, recipes=recipes, vary=section.vary)

    def write(
        self, evaluated: Sequence[tuple[_SplitWork, Evaluation]], adapters: Sequence[Path], opened: Mapping[str, OpenResult]
    ) -> Generalisation:
        """Write the tables and the page over all splits."""
        study, metric = self.study, self.study.plan.metric
        pages: list[SplitPart] = []
        gains = corrected_gains([self._gains(split, found) for split, found in evaluated])
        for (split, found), own in zip(evaluated, gains, strict=True):
            scores = found.assessment.scores
            table = generalisation_table(scores, split.variants, found.runs, found.assessment.seeded)
            claims = tuning_claims(table, own, metric, study.plan.thresholds.confidence, tests=family_size(gains, metric))
            pages.append(
                SplitPart(split.name, found.runs, scores, table, own, claims, found.report, found.audit is not None, found.assessment.plan)
            )
        tables = {
            "generalisation": pl.concat([GENERALISATION.empty(), *(part.table for part in pages)]),
            "gains": pl.concat([GAINS.empty(), *gains]),
        }
        for name, frame in tables.items():
            write_parquet(study.folder / f"{name}.parquet", frame)
            write_text(study.folder / f"{name}.csv", csv_text(frame))
        page = study.folder / "generalisation.html"
        write_generalisation(self.dataset, pages, page, title=study.report.title or study.name, metric=metric)
        return Generalisation(
            dataset=self.dataset,
            table=tables["generalisation"],
            gains=tables["gains"],
            claims={part.name: part.claims for part in pages},
            evaluations={split.name: found for split, found in evaluated},
            adapters=tuple(adapters),
            report=page,
            problems=tuple(self.problems),
            open=opened,
        )

    def _gains(self, split: _SplitWork, found: Evaluation) -> pl.DataFrame:
        compared = pl.concat([found.assessment.comparisons, found.assessment.seeded], how="diagonal")
        return gains_of(compared, split.variants, self.baselines)


def _pages(split: _SplitWork, opened: Mapping[str, OpenResult]) -> list[tuple[str, str]]:
    """Return title and address of the pages on the open answers of a split, for its report."""
    several = len(split.folds) > 1
    found: list[tuple[str, str]] = []
    for fold in split.folds:
        result, which = opened.get(fold.name), f" ({fold.name})" if several else ""
        pages = [
            (f"Open answers, judged and read{which}", result.report if result else None),
            (f"Audit of the stances read from open answers{which}", result.audit if result else None),
        ]
        found += [(title, os.path.relpath(page, split.study.folder)) for title, page in pages if page is not None]
    return found


def _pooled(runs: Sequence[Run], folds: Sequence[SplitFold]) -> Run:
    """Return the runs of all folds as one; each fold's adapter answered the questions of its own test part."""
    if len(runs) == 1:
        return runs[0]
    responses = [with_half(run, fold.split.scheme, fold.fold) for run, fold in zip(runs, folds, strict=True)]
    return replace(runs[0], meta=_pooled_meta([run.meta for run in runs]), responses=pl.concat(responses))


def _pooled_meta(documents: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the metadata of the first run, with the training data of the adapters of all folds."""
    pooled: dict[str, Any] = {}
    for key, value in documents[0].items():
        found = [document[key] for document in documents if isinstance(document.get(key), Mapping)]
        inside = isinstance(value, Mapping)
        pooled[key] = pooled_source(found) if inside and key == "taught_on" else _pooled_meta(found) if inside else value
    return pooled
