"""A study that teaches: each model by each recipe and control in each split, asked and judged beside what it was before.

A study's folder holds `data/`; for every field (a split, or one fold of it) `adapters/FIELD/LESSON` and `asked/FIELD/runs/RUN`;
for every split `splits/SPLIT/` with what `study` writes of one (report, tables, plan, audit); and over all of them
`generalisation.parquet`, `gains.parquet`, both as CSV, and `generalisation.html`. What is there is kept: an adapter that is
whole is not trained again, one that was stopped goes on from its checkpoint, and no prompt is asked twice.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from valuestrata.dataset.tables import Dataset, load_dataset
from valuestrata.errors import RunFailedError, options_as
from valuestrata.fairness import check_mixed
from valuestrata.files import write_parquet, write_text
from valuestrata.report.closed.generalisation import SplitPart, write_generalisation
from valuestrata.respondents.models import check_model_spec
from valuestrata.responses.ask.plan import select_pairs
from valuestrata.responses.reference_baselines import baseline_name, kinds_of
from valuestrata.responses.run.folder import Run, load_run
from valuestrata.scores.plan import Declared, declare, describe
from valuestrata.study.ask import ask_prepared
from valuestrata.study.config import SplitEntry, Study, split_name
from valuestrata.study.data import built, write_resolved
from valuestrata.study.evaluate import Judged, judge
from valuestrata.study.model_cards import write_cards
from valuestrata.study.preflight import prepare
from valuestrata.study.tuning_grid import Field, Lesson, asked_in, fields_of, lessons_of, plan_of, splits_of, study_in, tune_section
from valuestrata.tuning.data.examples import tuning_data
from valuestrata.tuning.evaluate.generalisation import GAINS, GENERALISATION, Pupil, gains_of, gains_wanted, generalisation_table, lessons
from valuestrata.tuning.tune import tune


@dataclass(frozen=True)
class Generalisation:
    """What a study that teaches left behind.

    Attributes:
        dataset: the ground truth.
        table: frame of GENERALISATION, all splits. gains: frame of GAINS.
        lessons: name of the split -> sentences.
        judged: name of the split -> its runs, assessment, audit and page.
        adapters: folders of the adapters. report: the page over all splits.
        problems: what went wrong, a line each.
    """

    dataset: Dataset
    table: pl.DataFrame
    gains: pl.DataFrame
    lessons: Mapping[str, Sequence[str]]
    judged: Mapping[str, Judged]
    adapters: tuple[Path, ...]
    report: Path
    problems: tuple[str, ...]


@dataclass
class _Class:
    """One split while it is worked on: its plan, the runs of its fields, who stands behind them."""

    split: SplitEntry
    study: Study
    fields: list[Field]
    plan: Declared
    pupils: list[Pupil]
    pairs: dict[str, pl.DataFrame] = field(default_factory=dict[str, pl.DataFrame])
    runs: dict[str, list[Run]] = field(default_factory=dict[str, list[Run]])

    @property
    def name(self) -> str:
        return split_name(self.split.scheme, self.split.fold)


@options_as("study")
def run_generalisation(study: Study, *, say: Callable[[str], None] = lambda _line: None) -> Generalisation:
    """Teach, ask and judge all that a study's section `tune` names; `say` is told of every stage in a line.

    A lesson that fails (a loss that is no number, memory) does not end the study: the others go on, and `problems` names it.

    Raises:
        UsageError, InputDataError, MissingExtraError: what any stage refuses; names, recipes, splits and plans are looked at
            before the first lesson.
        RunFailedError: nothing has an answer in some split, or a disk takes no more.
    """
    section = tune_section(study)
    study.folder.mkdir(parents=True, exist_ok=True)
    write_resolved(study)
    for model in study.models:
        check_model_spec(model.model)
    if study.audit is not None:
        check_mixed(study.audit.mixed)
    taught = lessons_of(study)
    dataset = built(study, say)
    classes = [_opened(study, dataset, split, taught, say) for split in splits_of(study)]
    problems: list[str] = []
    adapters: list[Path] = []
    for one in classes:
        for place in one.fields:
            there = _taught(study, dataset, place, taught, say, problems)
            adapters += [study.folder / "adapters" / place.name / lesson.name for lesson in there]
            _asked(study, dataset, one, place, there, say, problems)
    parts = [_judged(study, dataset, one, say) for one in classes]
    for one in classes:
        write_cards(study, dataset, one.fields, taught, one.runs, forgetting=section.forgetting, say=say)
    return _written(study, dataset, parts, adapters, problems)


def _opened(study: Study, dataset: Dataset, split: SplitEntry, taught: Sequence[Lesson], say: Callable[[str], None]) -> _Class:
    """Look at a split before anything is taught: its folds, what would train there, and what is declared."""
    fields = fields_of(dataset, split)
    for place in fields:
        tuning_data(dataset, taught[0].recipe, split=split.scheme, fold=place.fold)
    folder = study.folder / "splits" / split_name(split.scheme, split.fold)
    pupils = [pupil for _, pupil in asked_in(study, folder, list(taught))]
    plan = plan_of(study, pupils, _baselines(study), split)
    answered = any(
        path.stat().st_size for place in fields for path in (study.folder / "asked" / place.name).glob("runs/*/store/responses.jsonl")
    )
    folder.mkdir(parents=True, exist_ok=True)
    declared = declare(folder, plan, answered)
    say(f"{split_name(split.scheme, split.fold)}: {describe(declared)}")
    title = f"{study.report.title or study.name}: {split_name(split.scheme, split.fold)}"
    changed = study_in(study, folder, split.scheme, split.fold, report=study.report.model_copy(update={"title": title}), plan=plan)
    if study.audit is not None and study.audit.against is None:
        changed = changed.model_copy(update={"audit": study.audit.model_copy(update={"against": pupils[0].model})})
    return _Class(split, changed, fields, declared, pupils)


def _baselines(study: Study) -> dict[str, str]:
    return {baseline_name(kind): kind for kind in kinds_of(study.score.baselines)}


def _taught(
    study: Study, dataset: Dataset, place: Field, taught: Sequence[Lesson], say: Callable[[str], None], problems: list[str]
) -> list[Lesson]:
    """Teach every lesson of a field and return those that came to an end."""
    there: list[Lesson] = []
    for lesson in taught:
        say(f"{place.name}: teaching {lesson.name}")
        try:
            tune(
                dataset,
                lesson.model.model,
                study.folder / "adapters" / place.name / lesson.name,
                recipe=lesson.recipe,
                control=lesson.control,
                split=place.split.scheme,
                fold=place.fold,
                device=lesson.model.device,
            )
        except RunFailedError as error:
            if isinstance(error.__cause__, OSError):
                raise
            say(f"{place.name}, {lesson.name}: {error.render('study')}")
            problems.append(f"{place.name}, {lesson.name}: {error.render('study')}")
            continue
        there.append(lesson)
    return there


def _asked(
    study: Study, dataset: Dataset, one: _Class, place: Field, taught: Sequence[Lesson], say: Callable[[str], None], problems: list[str]
) -> None:
    """Ask everybody of a field, and add what they answered to the runs of its split."""
    adapters = study.folder / "adapters" / place.name
    asked = [section for section, _ in asked_in(study, adapters, list(taught))]
    here = study_in(study, study.folder / "asked" / place.name, place.split.scheme, place.fold, models=asked)
    train_on = load_dataset(study.split.train_on) if study.split.train_on else None
    one.pairs[place.name] = _drawn(study, dataset, here)
    for ready in prepare(here, dataset, train_on, say, only=one.pairs[place.name]):
        came = ask_prepared(here, ready, dataset, train_on, lambda line: say(f"{place.name}: {line}"))
        if came.problem:
            problems.append(f"{place.name}: {came.problem}")
        if came.has_results:
            one.runs.setdefault(ready.name, []).append(load_run(ready.run))


def _drawn(study: Study, dataset: Dataset, here: Study) -> pl.DataFrame:
    """Return the pairs that are asked in a field: all of them, or as many as `test_pairs` says, drawn by the seed of splits."""
    pairs = select_pairs(dataset, here.split.scheme, here.split.part, here.split.fold, items=study.ask.items, strata=study.ask.strata)
    most = tune_section(study).test_pairs
    if most is None or most >= pairs.height:
        return pairs
    chosen = np.random.default_rng([study.seeds.split, 1]).choice(pairs.height, size=most, replace=False)
    return pairs[np.sort(chosen).tolist()]


def _judged(study: Study, dataset: Dataset, one: _Class, say: Callable[[str], None]) -> tuple[_Class, Judged]:
    """Judge a split: the runs of its folds as one, beside the baselines."""
    say(f"{one.name}: judging")
    whole = [_pooled(runs) for runs in one.runs.values() if len(runs) == len(one.fields)]
    if not whole:
        raise RunFailedError(
            f"{one.study.folder}: no model has answers in every fold of {one.split.scheme}, so that nothing can be compared."
        )
    names = {run.name for run in whole}
    there = [pupil for pupil in one.pupils if pupil.run in names]
    also = dict.fromkeys((run, against) for _, _, run, against in gains_wanted(there, {}))
    train_on = load_dataset(study.split.train_on) if study.split.train_on else None
    only = None if tune_section(study).test_pairs is None else pl.concat(one.pairs.values()).select("pair_id").unique()
    kept = [pair for pair in also if set(pair) <= names]
    return one, judge(one.study, dataset, whole, one.plan, say, train_on=train_on, also=kept, only=only)


def _pooled(runs: Sequence[Run]) -> Run:
    """Return the runs of all folds as one: in each fold another adapter answered, to questions that it was not taught."""
    if len(runs) == 1:
        return runs[0]
    return replace(runs[0], meta=_of_every_fold(runs[0].meta), responses=pl.concat([run.responses for run in runs]))


def _of_every_fold(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a run says of itself, an adapter's fold left out: there is one for each."""
    return {
        key: {**value, "fold": None} if key == "taught_on" else _of_every_fold(value) if isinstance(value, Mapping) else value
        for key, value in document.items()
    }


def _written(
    study: Study, dataset: Dataset, parts: Sequence[tuple[_Class, Judged]], adapters: Sequence[Path], problems: Sequence[str]
) -> Generalisation:
    """Write the tables and the page over all splits."""
    tables: list[pl.DataFrame] = []
    gains: list[pl.DataFrame] = []
    pages: list[SplitPart] = []
    baselines, metric = _baselines(study), study.plan.metric
    for one, found in parts:
        table = generalisation_table(found.assessment.scores, one.pupils, found.runs)
        gain = gains_of(found.assessment.comparisons, one.pupils, baselines)
        said = lessons(table, gain, metric, study.plan.thresholds.confidence)
        tables.append(table)
        gains.append(gain)
        pages.append(SplitPart(one.name, found.runs, found.assessment.scores, table, gain, said, found.report, found.audit is not None))
    whole = {
        "generalisation": pl.concat(tables) if tables else GENERALISATION.empty(),
        "gains": pl.concat(gains) if gains else GAINS.empty(),
    }
    for name, frame in whole.items():
        write_parquet(study.folder / f"{name}.parquet", frame)
        write_text(study.folder / f"{name}.csv", frame.write_csv())
    page = study.folder / "generalisation.html"
    write_generalisation(dataset, pages, page, title=study.report.title or study.name, metric=metric)
    said_of = {part.name: part.sentences for part in pages}
    judged = {one.name: found for one, found in parts}
    return Generalisation(dataset, whole["generalisation"], whole["gains"], said_of, judged, tuple(adapters), page, tuple(problems))
