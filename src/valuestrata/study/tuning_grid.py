"""What a study that teaches has to do: which models by which recipes under which controls, in which splits and folds."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from valuestrata.dataset.tables import Dataset
from valuestrata.errors import UsageError, did_you_mean
from valuestrata.respondents.local.load import parse_spec
from valuestrata.scores.plan import Plan, PlannedComparison
from valuestrata.study.config import ModelSection, SplitEntry, SplitSection, Study, TuneSection, split_name
from valuestrata.study.model_spec import is_fitted
from valuestrata.tuning.evaluate.generalisation import PERSONA, SWAPPED, Pupil, gains_wanted
from valuestrata.tuning.recipe import Recipe, load_recipe

# A model that was taught without a persona, or with the place alone, is asked the same way.
_ASKED_AS_TAUGHT = ("no-persona", "country-only")
# Of the baselines these are declared; the others stand beside them.
_DECLARED = ("item-mode", "nearest-parent")


@dataclass(frozen=True)
class Lesson:
    """One model to be taught by one recipe, as it stands or under a control.

    Attributes:
        model: section of the model as it is. recipe: what it is taught by. called: name of the recipe in the study.
        control: no-persona, country-only, shuffled-persona or None.
    """

    model: ModelSection
    recipe: Recipe
    called: str
    control: str | None

    @property
    def name(self) -> str:
        """Name of the adapter's folder and of the run in which it is asked as it was taught."""
        return f"{self.model.run_name}-{self.called}" + (f"-{self.control}" if self.control else "")


@dataclass(frozen=True)
class Field:
    """One fold of one split: where a model is taught, and where it is tested."""

    split: SplitEntry
    fold: int | None

    @property
    def name(self) -> str:
        """Name of its folders."""
        return split_name(self.split.scheme, self.fold)


def tune_section(study: Study) -> TuneSection:
    """Return the section `tune` of a study that has one; UsageError where it has none."""
    if study.tune is None:
        raise UsageError(f"{study.name}: the study has no section `tune`, so that there is nothing to teach.")
    return study.tune


def splits_of(study: Study) -> list[SplitEntry]:
    """Return the splits to teach and test in; the study's own where `tune` names none."""
    return tune_section(study).splits or [SplitEntry(scheme=study.split.scheme, fold=study.split.fold)]


def fields_of(dataset: Dataset, split: SplitEntry) -> list[Field]:
    """Return the folds of a split that are taught apart; one of fold None where the split has no several folds."""
    folds = sorted(dataset.part(split.scheme, "test")["fold"].unique().to_list())
    if split.fold is not None or len(folds) < 2:
        return [Field(split, split.fold)]
    return [Field(split, fold) for fold in folds]


def pupils_models(study: Study) -> list[ModelSection]:
    """Return the models to be taught.

    Raises:
        UsageError: a name that no model of the study has, a model that cannot be tuned here, no model that can be, or a
            baseline, which would be fitted anew in every fold.
    """
    if fitted := [model.model for model in study.models if is_fitted(model.model)]:
        raise UsageError(
            f"{fitted[0]} needs no place among the models: under `tune` every split has the baselines that score.baselines names."
        )
    names = [model.run_name for model in study.models]
    wanted = tune_section(study).models
    for name in wanted:
        if name not in names:
            raise UsageError(f"tune.models names {name!r}, which is no model of this study.{did_you_mean(name, names)}")
    chosen = [model for model in study.models if model.run_name in wanted] if wanted else study.models
    able = [model for model in chosen if _can_be_tuned(model.model)]
    if wanted and len(able) < len(chosen):
        other = next(model for model in chosen if model not in able)
        raise UsageError(
            f"tune.models names {other.run_name!r}: {other.model} cannot be tuned. hf:, gguf: and embedded models without +ADAPTER can."
        )
    if not able:
        raise UsageError("The study has no model that can be tuned: hf:, gguf: and embedded models without +ADAPTER can.")
    return able


def lessons_of(study: Study) -> list[Lesson]:
    """Return all that is to be taught in each split, models first.

    Raises:
        UsageError, InputDataError: as `pupils_models` and `load_recipe`; two runs would have one name.
    """
    section = tune_section(study)
    recipes = [(entry, load_recipe(entry.recipe, **entry.change)) for entry in section.recipes]
    found = [
        Lesson(model, recipe, entry.known_as, control)
        for model in pupils_models(study)
        for entry, recipe in recipes
        for control in (None, *dict.fromkeys(section.controls if entry.controls is None else entry.controls))
    ]
    names = [lesson.name for lesson in found]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise UsageError(f"tune: two adapters would both be called {twice[0]!r}; give one of the recipes another `name`.")
    return found


def asked_in(study: Study, adapters: Path, lessons: list[Lesson]) -> Iterator[tuple[ModelSection, Pupil]]:
    """Yield everything that is asked in a field, with who stands behind it: each model as it is, then what it was taught.

    Args:
        study: the study. adapters: folder of the field's adapters. lessons: those that were taught.
    """
    section = tune_section(study)
    for model in study.models:
        yield model, Pupil(model.run_name, model.run_name)
        for lesson in (lesson for lesson in lessons if lesson.model is model):
            word = f"{model.model}+{adapters / lesson.name}"
            asked_as = lesson.control if lesson.control in _ASKED_AS_TAUGHT else None
            asked = _as(model, word if asked_as is None else f"control:{asked_as}@{word}", lesson.name)
            yield asked, Pupil(lesson.name, model.run_name, lesson.called, lesson.control, asked_as or PERSONA)
            if section.swapped and lesson.control is None:
                name = f"{lesson.name}@{SWAPPED}"
                yield _as(model, f"control:{SWAPPED}@{word}", name), Pupil(name, model.run_name, lesson.called, None, SWAPPED)


def _as(model: ModelSection, word: str, name: str) -> ModelSection:
    return model.model_copy(update={"model": word, "name": name})


def study_in(study: Study, folder: Path, scheme: str, fold: int | None, **changes: Any) -> Study:
    """Return the study in one split or one fold of it, with a folder of its own."""
    split = SplitSection(scheme=scheme, part=study.split.part, fold=fold, train_on=study.split.train_on)
    return study.model_copy(update={"output": str(folder), "split": split, "tune": None, **changes})


def plan_of(study: Study, pupils: list[Pupil], baselines: dict[str, str], split: SplitEntry) -> Plan:
    """Return what is declared in a split: the study's own comparisons, or every gain and the two baselines that matter most."""
    plan = study.plan
    if not plan.comparisons:
        declared = {run: kind for run, kind in baselines.items() if kind in _DECLARED}
        wanted = dict.fromkeys((run, against) for _, _, run, against in gains_wanted(pupils, declared))
        plan = plan.model_copy(update={"comparisons": [PlannedComparison(run=run, against=against) for run, against in wanted]})
    return plan.model_copy(update={"split": None, "fold": None}).resolved(split.scheme, study.split.part, split.fold)


def _can_be_tuned(word: str) -> bool:
    if word.partition(":")[0] not in ("hf", "gguf") and word.partition("+")[0] != "embedded":
        return False
    return parse_spec(word).adapter is None
