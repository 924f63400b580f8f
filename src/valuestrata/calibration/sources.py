"""Checks of a run that is to be calibrated: what answered, and whether it answered the training pairs."""

from __future__ import annotations

import polars as pl

from valuestrata.calibration.model_answers import ModelAnswers
from valuestrata.dataset.tables import Dataset
from valuestrata.errors import InputDataError, Option, OptionText
from valuestrata.formatting import percent
from valuestrata.responses.run.folder import Run
from valuestrata.responses.run.identity import run_identity


def check_source(run: Run) -> None:
    """Refuse runs whose answers to training pairs are not like their answers to test pairs.

    Raises:
        InputDataError: a baseline, a calibrated run, or a run with one model or context for each fold.
    """
    identity = run_identity(run)
    if identity.is_baseline:
        raise InputDataError(
            f"{run.path}: the run {run.name!r} is a baseline. It was fitted to the gold of the training pairs, so its answers to them do "
            "not show how it answers pairs that it has not seen. Calibrate the run of a model or a control."
        )
    if identity.method is not None:
        of = None if identity.respondent.of is None else identity.respondent.of.name
        raise InputDataError(
            f"{run.path}: the run {run.name!r} is calibrated, and its answers depend on gold that another fold or split tests. Calibrate "
            f"the run it was made from ({of or 'the model itself'})."
        )
    if any(source.by_fold and source.halves != () for source in identity.sources):
        raise InputDataError(
            f"{run.path}: in the run {run.name!r} each fold has a model or a context of its own, so its answers to training pairs depend "
            "on gold that is tested. Ask each fold in a run of its own, and calibrate it, with ",
            Option("fold"),
            ".",
        )


def missing_from_training(dataset: Dataset, run: Run, pairs: pl.DataFrame, answers: ModelAnswers, split: str) -> list[OptionText]:
    """Return a message if the run did not answer some training pairs.

    Args:
        dataset, run: as for `calibrate`. pairs: rows of `Dataset.part` with every part. answers: of the run. split: named in messages.

    Raises:
        InputDataError: it answered no training pair, or none of the pairs to answer, of some fold.
    """
    there = [pair in answers.shares for pair in pairs.select("item", "subgroup").iter_rows()]
    marked = pairs.with_columns(pl.Series("there", there, dtype=pl.Boolean), trains=pl.col("part") == "train")
    counted = marked.group_by("fold", "trains", maintain_order=True).agg(pl.len(), pl.col("there").sum()).sort("fold", "trains")
    several = pairs["fold"].n_unique() > 1
    for fold, trains, number, answered in counted.iter_rows():
        if answered:
            continue
        first = marked.filter((pl.col("fold") == fold) & (pl.col("trains") == trains))["pair_id"][0]
        what = "training" if trains else "test or validation"
        use = "Calibration learns from these" if trains else "These are to be answered"
        where = f"split {split!r}, fold {fold}" if several else f"split {split!r}"
        raise InputDataError(
            f"{run.path}: the run {run.name!r} answered none of the {number:,} {what} pairs of the {where} (the first is {first!r}). "
            f"{use}: ask the rest with `valuestrata ask {dataset.path or 'DATASET'} --model {_model(run)} -o {run.path}` and ",
            Option("part", "all"),
            ".",
        )
    left = marked.filter("trains", ~pl.col("there"))
    if left.is_empty():
        return []
    trained = marked.filter("trains")["pair_id"].n_unique()
    return [
        OptionText(
            f"{left['pair_id'].n_unique():,} of {trained:,} training pairs have no answer in the run {run.name!r} and are not used "
            f"(the first is {left['pair_id'][0]!r}). Ask them with ",
            Option("part", "all"),
            ".",
        )
    ]


def training_remarks(dataset: Dataset, run: Run, pairs: pl.DataFrame) -> list[OptionText]:
    """Return a message if the model itself was trained on the training pairs: it knows them better than others."""
    from valuestrata.dataset.training_source import overlap_of

    train = pairs.filter(pl.col("part") == "train").select("pair_id", "item", "subgroup", half=pl.lit("all")).unique()
    sources = [source for source in run_identity(run).sources if not source.in_prompts]
    seen = max((overlap_of(source, dataset, train, "").tested for source in sources), default=0.0)
    if not seen:
        return []
    return [
        OptionText(
            f"The model of the run {run.name!r} was itself trained on {percent(seen)} of the training pairs. It knows their answers better "
            "than those of other pairs, so its calibrated answers may be too confident."
        )
    ]


def _model(run: Run) -> str:
    return run_identity(run).respondent.name or "MODEL"
