"""Write the model card of every tested adapter, with scores and forgetting."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import polars as pl

from valuestrata.dataset.tables import Dataset
from valuestrata.responses.run.folder import Run
from valuestrata.scores import score
from valuestrata.study.config import Study
from valuestrata.study.tuning_grid import SplitFold, TrainingJob, tune_section
from valuestrata.tuning.evaluate.forgetting import compared, measured_of, read_forgetting, write_forgetting
from valuestrata.tuning.evaluate.general_questions import general_version
from valuestrata.tuning.model_card import write_card

Measured = tuple[dict[str, float], dict[str, int]]


def write_cards(
    study: Study,
    dataset: Dataset,
    folds: Sequence[SplitFold],
    jobs: Sequence[TrainingJob],
    runs: Mapping[str, Sequence[Run]],
    *,
    forgetting: bool,
    say: Callable[[str], None],
) -> None:
    """Write the cards of a split.

    Args:
        study: the study. dataset: the ground truth. folds: folds of the split. jobs: trained in each fold.
        runs: name of a run -> its runs in the folds, in order.
        forgetting: whether to check each adapter for forgetting. say: takes a line about every check.
    """
    base: dict[str, Measured] = {}
    for place, fold in enumerate(folds):
        for job in jobs:
            adapter = study.folder / "adapters" / fold.name / job.name
            own = runs.get(job.name, ())
            if not adapter.is_dir() or len(own) != len(folds):
                continue
            scores = score(
                dataset,
                [own[place]],
                split=fold.split.scheme,
                part=study.split.part,
                fold=fold.fold,
                bootstrap=study.score.bootstrap,
                seed=study.seeds.bootstrap,
            )
            found = _forgetting(adapter, job, base, say) if forgetting else None
            write_card(adapter, scores=scores, forgetting=found, seeds=tune_section(study).seeds)


def _forgetting(adapter: Path, job: TrainingJob, base: dict[str, Measured], say: Callable[[str], None]) -> pl.DataFrame:
    """Return the forgetting of an adapter, measured once and kept in its folder; `base` holds measures of base models."""
    kept = read_forgetting(adapter)
    if kept is not None and set(kept["version"]) == {general_version()}:
        return kept
    say(f"checking {job.name} for forgetting")
    model, device = job.model.model, job.model.device
    if model not in base:
        base[model] = measured_of(model, device)
    before, counts = base[model]
    after, _ = measured_of(f"{model}+{adapter}", device)
    frame = compared(before, after, counts)
    write_forgetting(adapter, frame)
    return frame
