"""Calibrate the runs of a study's models, with the controls of calibration."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from valuestrata.calibration.controls import CalibrationControl
from valuestrata.errors import InputDataError, UsageError
from valuestrata.responses.run.folder import Run
from valuestrata.study.config import CalibrateSection, ModelSection, Study
from valuestrata.study.context import StudyContext
from valuestrata.study.model_spec import is_baseline


@dataclass(frozen=True)
class PlannedCalibration:
    """A calibrated run of a study: `of` is the name of the model's run, `control` that of the calibration."""

    of: str
    method: str
    control: CalibrationControl | None = None

    @property
    def name(self) -> str:
        """Name of the run and its folder."""
        return "-".join(part for part in (self.of, self.method, self.control) if part)

    @property
    def document(self) -> dict[str, Any]:
        """The calibration as JSON."""
        return {"run": self.name, "of": self.of, "method": self.method, "control": self.control}


def planned_calibrations(study: Study) -> list[PlannedCalibration]:
    """Return the calibrated runs of a study, in the order in which they are scored. Controls of personas get no further control."""
    return [] if study.calibrate is None else [one for model in study.models for one in _of_model(model, study.calibrate)]


def _of_model(model: ModelSection, section: CalibrateSection) -> Iterator[PlannedCalibration]:
    if is_baseline(model.model):
        return
    controls = () if model.model.startswith("control:") else section.controls
    for method in section.methods:
        yield from (PlannedCalibration(model.run_name, method, control) for control in (None, *controls))


def check_calibrations(context: StudyContext) -> None:
    """Refuse calibration where nothing can be calibrated, before a model is asked.

    Raises:
        UsageError: the study has no model to calibrate, the names of two runs are equal, or the split has no training pairs.
    """
    if context.study.calibrate is None:
        return
    planned, split = planned_calibrations(context.study), context.study.split
    if not planned:
        raise UsageError("calibrate: all models are baselines, which are fitted to the training pairs already. Add a language model.")
    names = [model.run_name for model in context.study.models] + [one.name for one in planned]
    if repeated := sorted({name for name in names if names.count(name) > 1}):
        raise UsageError(f"calibrate: two runs would both be called {repeated[0]!r}; give one of the models a `name`.")
    if context.dataset.part(split.scheme, "train", split.fold).is_empty():
        raise UsageError(f"calibrate: the split {split.scheme!r} has no training pairs to learn from. Choose another `split.scheme`.")


def calibrate_runs(context: StudyContext, runs: Sequence[Run]) -> list[Run]:
    """Return the calibrated runs of a study's runs; those that are complete are kept.

    A run that cannot be calibrated, such as one that was stopped before it answered the training pairs, is named and left out.
    """
    from valuestrata.calibration.calibrated import calibrate

    found: list[Run] = []
    by_name = {run.name: run for run in runs}
    split = context.study.split
    for planned in planned_calibrations(context.study):
        if planned.of not in by_name:
            continue
        out = context.folder / "runs" / planned.name
        fields: dict[str, Any] = {"split": split.scheme, "fold": split.fold, "method": planned.method, "control": planned.control}
        try:
            result = calibrate(context.dataset, by_name[planned.of], out, seed=context.study.seeds.persona, overwrite=True, **fields)
        except InputDataError as error:
            context.say(f"{planned.name}: not calibrated: {error.render('study')}")
            continue
        context.say(f"{planned.name}: {'already calibrated, kept' if result.kept else f'{result.pairs:,} pairs calibrated'}")
        for remark in result.remarks:
            context.say(f"{planned.name}: {remark.render('study')}")
        found.append(result.run)
    return found
