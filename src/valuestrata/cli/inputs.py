"""Reading of arguments: lists, data sets, and runs with their baselines."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from valuestrata.cli.output import say, say_unmatched

if TYPE_CHECKING:
    from valuestrata.dataset.tables import Dataset
    from valuestrata.responses.run.folder import Run


def split_list(text: str | None) -> list[str]:
    """Split a list separated by commas."""
    return [entry.strip() for entry in (text or "").split(",") if entry.strip()]


def load_data_and_runs(dataset: Path, runs: Sequence[Path], *, stances: bool = False) -> tuple[Dataset, list[Run]]:
    """Load a data set and closed runs of it.

    Args:
        dataset, runs: folders. stances: also accept folders of `open stance`, whose readings become runs.

    Raises:
        InputDataError: a folder is invalid, or a run belongs to another data set.
    """
    from valuestrata.dataset.tables import load_dataset
    from valuestrata.responses.run.folder import check_same_dataset, load_run

    data = load_dataset(dataset)
    loaded = [found for run in runs for found in (_stance_runs(data, run) if stances and _holds_stances(run) else [load_run(run)])]
    for run in loaded:
        if run.remark is not None:
            say(run.remark)
        check_same_dataset(run, data)
    return data, loaded


def _holds_stances(folder: Path) -> bool:
    from valuestrata.openended.files import READ
    from valuestrata.responses.run.folder import read_meta

    return (read_meta(folder) or {}).get("kind") == READ


def _stance_runs(dataset: Dataset, folder: Path) -> list[Run]:
    from valuestrata.openended.files import load_stances
    from valuestrata.openended.stance.scores import load_stance_runs
    from valuestrata.openended.validity.decision_rule import NOT_USABLE, usable
    from valuestrata.openended.validity.judge_checks import stance_checks

    found = load_stance_runs(folder)
    # These checks are decided by estimates, so no bootstrap is needed.
    judges = usable(stance_checks(dataset, load_stances(folder).stances, bootstrap=1, seed=0))
    for row in judges.iter_rows(named=True):
        if row["verdict"] == NOT_USABLE:
            say(f"Warning: {row['judge']} is not usable for stances ({', '.join(row['failed'])} failed); do not interpret its readings.")
    say(
        f"{folder}: {', '.join(run.name for run in found)}. Their answers were read by a judge; check it with: "
        f"valuestrata open validity DATASET {folder}"
    )
    return found


def load_with_baselines(
    dataset: Path,
    runs: Sequence[Path],
    split: str,
    part: str,
    fold: int | None,
    baselines: str,
    train_on: Path | None,
    *,
    stances: bool = False,
) -> tuple[Dataset, list[Run]]:
    """Load a data set and runs, and add the reference baselines after the runs; `stances` as for `load_data_and_runs`."""
    from valuestrata.dataset.tables import base_of, load_dataset
    from valuestrata.responses.reference_baselines import check_training, kinds_of, reference_baselines
    from valuestrata.responses.run.identity import run_identity

    kinds = kinds_of(baselines)
    data, loaded = load_data_and_runs(dataset, runs, stances=stances)
    # Checked before the baselines are fitted, which may take a minute.
    check_training(data, loaded, split, fold)
    other = load_dataset(train_on) if train_on else None
    if kinds and other is None and base_of(split) == "transfer":
        say("Split transfer has no training pairs; only the baselines uniform and midpoint are added. For others, give --train-on DATASET.")
    if kinds and other is not None:
        say(f"Baselines are fitted to {other.survey_and_place} ({train_on}).")
    found = reference_baselines(data, loaded, kinds=kinds, split=split, part=part, fold=fold, train_on=other)
    for trained_on in (run_identity(run).respondent.trained_on for run in found):
        if trained_on is not None and "data_set" in trained_on.document:
            say_unmatched(trained_on.unmatched)
            break
    return data, loaded + found
