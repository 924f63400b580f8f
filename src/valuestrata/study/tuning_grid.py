"""The training jobs and runs of a study with a section `tune`: models by recipes, controls, splits and folds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from valuestrata.dataset.tables import Dataset
from valuestrata.errors import UsageError, did_you_mean
from valuestrata.files import name_problem
from valuestrata.respondents.local.load import parse_spec
from valuestrata.scores.plan import Plan, PlannedComparison
from valuestrata.study.config import ModelSection, SplitEntry, SplitSection, Study, TuneSection, split_name
from valuestrata.study.model_spec import is_baseline
from valuestrata.tuning.evaluate.generalisation import (
    DECLARED_BASELINES,
    PERSONA,
    SWAPPED,
    TunedVariant,
    possible_gains,
    seeded_recipes,
)
from valuestrata.tuning.recipe import Recipe, load_recipe, merged_fields, recipe_of

# A model tuned under one of these controls is asked under the same control.
_ASKED_AS_TUNED = ("no-persona", "country-only")


@dataclass(frozen=True)
class TrainingJob:
    """One model to be tuned by one recipe, without or under a control.

    Attributes:
        model: section of the base model. recipe: the recipe. recipe_name: its name in the study.
        control: no-persona, country-only, shuffled-persona or None.
        seed: training seed, None if the study names none: the recipe then has its own.
    """

    model: ModelSection
    recipe: Recipe
    recipe_name: str
    control: str | None
    seed: int | None = None

    @property
    def name(self) -> str:
        """Name of the adapter's folder and of its run."""
        return self.over_seeds if self.seed is None else f"{self.over_seeds}-seed-{self.seed}"

    @property
    def over_seeds(self) -> str:
        """Name of the mean over seeds."""
        return f"{self.model.run_name}-{self.recipe_name}" + (f"-{self.control}" if self.control else "")


@dataclass(frozen=True)
class SplitFold:
    """One fold of one split, in which every job is trained and tested."""

    split: SplitEntry
    fold: int | None

    @property
    def name(self) -> str:
        """Name of its folders."""
        return split_name(self.split.scheme, self.fold)


def tune_section(study: Study) -> TuneSection:
    """Return the section `tune` of a study; UsageError if it has none."""
    if study.tune is None:
        raise UsageError(f"{study.name}: the study has no section `tune`; there is nothing to train.")
    return study.tune


def splits_of(study: Study) -> list[SplitEntry]:
    """Return the splits to train and test in; the study's own if `tune` names none."""
    return tune_section(study).splits or [SplitEntry(scheme=study.split.scheme, fold=study.split.fold)]


def folds_of(dataset: Dataset, split: SplitEntry) -> list[SplitFold]:
    """Return the folds of a split, each trained separately; one with fold None if the split has no folds."""
    folds = sorted(dataset.part(split.scheme, "test")["fold"].unique().to_list())
    if split.fold is not None or len(folds) < 2:
        return [SplitFold(split, split.fold)]
    return [SplitFold(split, fold) for fold in folds]


def tunable_models(study: Study) -> list[ModelSection]:
    """Return the models to tune.

    Raises:
        UsageError: an unknown name, a model that cannot be tuned, no model that can be, or a baseline among the models.
    """
    if fitted := [model.model for model in study.models if is_baseline(model.model)]:
        raise UsageError(
            f"{fitted[0]}: remove this baseline from `models`. With `tune`, every split has the baselines that score.baselines names."
        )
    names = [model.run_name for model in study.models]
    wanted = tune_section(study).models
    for name in wanted:
        if name not in names:
            raise UsageError(f"tune.models: {name!r} is not a model of this study.{did_you_mean(name, names)}")
    chosen = [model for model in study.models if not wanted or model.run_name in wanted]
    able = [model for model in chosen if _can_be_tuned(model.model)]
    if wanted and (other := next((model for model in chosen if model not in able), None)):
        raise UsageError(
            f"tune.models: {other.run_name!r} ({other.model}) cannot be tuned. Only hf:, gguf: and embedded models without +ADAPTER can."
        )
    if not able:
        raise UsageError("The study has no model that can be tuned. Only hf:, gguf: and embedded models without +ADAPTER can.")
    return able


def training_jobs(study: Study) -> list[TrainingJob]:
    """Return the training jobs of each split and fold, models first.

    Raises:
        UsageError, InputDataError: as `tunable_models` and `load_recipe`; or two adapters would have the same name.
    """
    section = tune_section(study)
    recipes = [(entry, load_recipe(entry.recipe, **merged_fields(section.change, entry.change))) for entry in section.recipes]
    jobs = [
        TrainingJob(model, recipe if seed is None else recipe_of(recipe, seed=seed), entry.known_as, control, seed)
        for model in tunable_models(study)
        for entry, recipe in recipes
        for control in (None, *dict.fromkeys(section.controls if entry.controls is None else entry.controls))
        for seed in section.seeds or (None,)
    ]
    names = [job.name for job in jobs]
    if long := next((name for name in names if name_problem(name)), None):
        raise UsageError(f"tune: {long[:60]!r} ... cannot name an adapter: {name_problem(long)}. Give model and recipe a `name`.")
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise UsageError(f"tune: two adapters would have the name {twice[0]!r}. Give one of the recipes another `name`.")
    return jobs


def runs_of(study: Study, adapters: Path, jobs: Sequence[TrainingJob]) -> Iterator[tuple[ModelSection, TunedVariant]]:
    """Yield every run of a fold: each base model, then its tuned variants.

    Args:
        study: the study. adapters: folder of the fold's adapters. jobs: the jobs that were trained.
    """
    section = tune_section(study)
    for model in study.models:
        yield model, TunedVariant(model.run_name, model.run_name)
        for job in (job for job in jobs if job.model is model):
            tuned = f"{model.model}+{adapters / job.name}"
            control = job.control if job.control in _ASKED_AS_TUNED else None
            asked = _renamed(model, tuned if control is None else f"control:{control}@{tuned}", job.name)
            over_seeds = None if job.seed is None else job.over_seeds
            trained = (model.run_name, job.recipe_name, job.control)
            yield asked, TunedVariant(job.name, *trained, control or PERSONA, job.seed, over_seeds)
            if section.swapped and job.control is None:
                name = f"{job.name}@{SWAPPED}"
                swapped = _renamed(model, f"control:{SWAPPED}@{tuned}", name)
                yield swapped, TunedVariant(name, *trained, SWAPPED, job.seed, over_seeds and f"{over_seeds}@{SWAPPED}")


def _renamed(model: ModelSection, specification: str, name: str) -> ModelSection:
    return model.model_copy(update={"model": specification, "name": name})


def study_in(study: Study, folder: Path, scheme: str, fold: int | None, **changes: Any) -> Study:
    """Return the study in one split or fold, with a folder of its own."""
    split = SplitSection(scheme=scheme, part=study.split.part, fold=fold, train_on=study.split.train_on)
    return study.model_copy(update={"output": str(folder), "split": split, "tune": None, **changes})


def plan_of(study: Study, variants: Sequence[TunedVariant], baselines: dict[str, str], split: SplitEntry) -> Plan:
    """Return the plan of a split: the study's comparisons, or by default every gain and the two main baselines."""
    plan = study.plan
    if not plan.comparisons:
        declared = {run: kind for run, kind in baselines.items() if kind in DECLARED_BASELINES}
        wanted = dict.fromkeys((gain.run, gain.against) for gain in possible_gains(seeded_recipes(variants)[0], declared))
        plan = plan.model_copy(update={"comparisons": [PlannedComparison(run=run, against=against) for run, against in wanted]})
    return plan.model_copy(update={"split": None, "fold": None}).resolved(split.scheme, study.split.part, split.fold)


def _can_be_tuned(specification: str) -> bool:
    if specification.partition(":")[0] not in ("hf", "gguf") and specification.partition("+")[0] != "embedded":
        return False
    return parse_spec(specification).adapter is None
