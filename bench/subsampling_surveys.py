"""The surveys of the study of repeated samples, as data whose sample is everyone, with the models' values."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl

import valuestrata as vs
from bench.shared_surveys import MODELS, PERSON, SHARED, TWIN2K, twin2k_survey
from bench.subsampling_models import perfect_people, shuffled
from tests.estimation.simulated import world
from valuestrata.building import BuildSettings, build
from valuestrata.estimation.inputs import EstimationInput, ModelValues
from valuestrata.estimation.model_values import SimulatedPeople, pair_values, respondent_values, values_of_pairs
from valuestrata.estimation.reading import input_of_survey
from valuestrata.survey.survey import Survey

SURVEYS = ("gss2012", "gss2018", "twin2k", "simulated")
FEWEST_PEOPLE = 10


def full_data(survey: str, runs: Mapping[str, str], strata: Sequence[str], items: Sequence[str], seed: int) -> EstimationInput:
    """Return everyone in a survey as the sample, with models.

    Args:
        survey: one of `SURVEYS`. runs: name -> folder of a run with answers by pair. strata, items: what to study; empty for all.
        seed: of the useless and of the perfect model.

    Raises:
        SystemExit: an unknown item, or a survey without a model.
    """
    if survey == "simulated":
        made = world(seed)
        data = made.draw(len(made.cell), seed)
        return replace(data, models={**data.models, **_known(data, "model", seed, perfect=perfect_people(data, seed))})
    with tempfile.TemporaryDirectory() as folder:
        codebook, file = twin2k_survey(Path(folder)) if survey == "twin2k" else (survey, SHARED / f"{survey}.rda")
        read = vs.read_survey("embedded") if survey == "gss2018" else vs.read_survey(file, codebook)
    # The sample is drawn from the file as it is, so its own design does not count.
    people = _of_items(replace(read, design=None), items)
    settings = BuildSettings(strata=tuple(strata), min_respondents=FEWEST_PEOPLE, min_valid=FEWEST_PEOPLE, draws=20, share_draws=20)
    dataset = build(people, settings)
    data = input_of_survey(dataset, people)
    if survey == "twin2k":
        data = replace(data, models={name: _of_people(name, TWIN2K / file, data, people) for name, file in MODELS.items()})
        return replace(data, models={**data.models, **_known(data, next(iter(MODELS)), seed, perfect=perfect_people(data, seed))})
    if not runs:
        raise SystemExit(f"Name a model for {survey}: NAME=RUN, the folder of a run.")
    models = {name: _of_pairs(name, vs.load_run(folder), dataset, data) for name, folder in runs.items()}
    data = replace(data, models=models)
    return replace(data, models=models | _known(data, next(iter(runs)), seed, perfect=values_of_pairs("perfect", shares_of(data), data)))


def shares_of(data: EstimationInput) -> np.ndarray:
    """Return the weighted shares of each subgroup among the people of the sample, shape (G, I, K); NaN without answers."""
    weights = data.members.T * data.sample.weight
    totals = np.stack([weights @ (data.sample.answers == k).astype(np.float64) for k in range(data.items.codes.shape[1])], axis=2)
    whole = totals.sum(axis=2, keepdims=True)
    return np.divide(totals, whole, out=np.full(totals.shape, np.nan), where=whole > 0)


def _known(data: EstimationInput, useless: str, seed: int, *, perfect: ModelValues) -> dict[str, ModelValues]:
    return {"shuffled": shuffled(data, data.models[useless], seed), "perfect": perfect}


def _of_items(survey: Survey, items: Sequence[str]) -> Survey:
    if not items:
        return survey
    ids = [item.id for item in survey.items]
    if unknown := [item for item in items if item not in ids]:
        raise SystemExit(f"The survey has no item {unknown[0]!r}.")
    kept = [at for at, item in enumerate(ids) if item in items]
    return replace(survey, items=tuple(survey.items[at] for at in kept), answers=np.asfortranarray(survey.answers[:, kept]))


def _of_pairs(name: str, run: vs.Run, dataset: vs.Dataset, data: EstimationInput) -> ModelValues:
    """Return the values of a run, which may have more items than are studied."""
    studied = run.responses.filter(pl.col("item").is_in(list(data.items.ids)))
    return replace(pair_values(dataset, replace(run, responses=studied), data), name=name)


def _of_people(name: str, file: Path, data: EstimationInput, survey: Survey) -> ModelValues:
    """Return the values of a model that answered as every person: codes from 1 in a column per item, in a row per person."""
    columns = {item.id: item.column for item in survey.items}
    table = pl.read_csv(file, infer_schema=False)
    assert survey.ids is not None
    order = pl.DataFrame({PERSON: survey.ids.cast(pl.String)})
    rows = order.join(table, on=PERSON, how="left", maintain_order="left").select(columns[item] for item in data.items.ids)
    codes = rows.select(pl.all().cast(pl.Float64, strict=False).fill_null(0.0)).to_numpy()
    own = np.where((codes >= 1) & (codes <= data.items.options), codes - 1, -1).astype(np.int8)
    everyone = SimulatedPeople(own, data.sample.cell, everyone=True)
    return respondent_values(name, data, own, everyone)
