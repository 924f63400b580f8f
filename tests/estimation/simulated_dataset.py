"""The data set of a simulated survey, and estimates from a sample of it."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl

from tests.estimation.simulated import World
from valuestrata.dataset.tables import GOLD, ITEMS, LANDSCAPE, LEAKAGE, MODE_DRAWS, SPLITS, SUBGROUPS, Dataset
from valuestrata.estimation.estimate import EstimateResult, estimate_from_input, request_of
from valuestrata.estimation.inputs import EstimationInput

TITLES = {"sex": "Sex", "age": "Age", "region": "Region"}
NASTY = "<script>alert(1)</script> & more"


def dataset_of(world: World, *, gold: bool = False, n: int = 500, fingerprint: str = "e" * 64) -> Dataset:
    """Return a data set with the items and subgroups of a world; its gold is the truth, as if `n` people had answered each pair."""
    population = world.population
    names = population.attributes
    items = [
        {
            "item": item,
            "topic": f"Topic {place % 3}",
            "level": "ordinal" if world.items.ordered[place] else "nominal",
            "codes": list(range(1, k + 1)),
            "labels": [f"{'Answer' if code else NASTY} {code + 1}" for code in range(k)],
            "question": f"Question {place + 1}? {NASTY}",
        }
        for place, (item, k) in enumerate(zip(world.items.ids, world.items.options.tolist(), strict=True))
    ]
    subgroups = []
    for subgroup, stratum, inside in zip(population.subgroups, population.strata, population.inside, strict=True):
        first = population.levels[np.flatnonzero(inside)[0]]
        used = stratum.split("_x_")
        row = {name: population.labels[a][first[a]] if name in used else None for a, name in enumerate(names)}
        subgroups.append({"subgroup": subgroup, "stratum": stratum, "n": n, "n_eff": float(n), **row})
    joint = {name: [population.labels[a][level] for level in population.levels[:, a]] for a, name in enumerate(names)}
    levels = [
        {"name": name, "short": name, "title": TITLES[name], "role": "noun", "levels": [{"label": label} for label in population.labels[a]]}
        for a, name in enumerate(names)
    ]
    pairs = [
        {
            "pair_id": f"{item}_{subgroup}",
            "item": item,
            "subgroup": subgroup,
            "half": "all",
            "n": n,
            "n_eff": float(n),
            "shares": world.truth[g, i, : world.items.options[i]].tolist(),
        }
        for g, subgroup in enumerate(population.subgroups)
        for i, item in enumerate(world.items.ids)
        if gold
    ]
    meta = {
        "format": "valuestrata-dataset-2",
        "survey": {"name": "simulated", "title": "Simulated"},
        "fingerprint": fingerprint,
        "place": "Nowhere",
        "attributes": levels,
    }
    return Dataset(
        meta=meta,
        items=ITEMS.frame(items),
        subgroups=pl.DataFrame(
            subgroups, schema={**{n_: c.dtype for n_, c in SUBGROUPS.columns.items()}, **dict.fromkeys(names, pl.String)}
        ),
        joint=pl.DataFrame(joint).with_columns(n=pl.lit(1), weight=pl.Series(population.share)),
        gold=GOLD.frame(pairs),
        mode_draws=MODE_DRAWS.empty(),
        splits=SPLITS.empty(),
        leakage=LEAKAGE.empty(),
        landscape=LANDSCAPE.empty(),
    )


def estimated(world: World, data: EstimationInput, *, first_wave: Dataset | None = None, **options: Any) -> EstimateResult:
    """Return estimates from people in memory; `options` as for `estimate`."""
    dataset = dataset_of(world)
    return estimate_from_input(dataset, data, request_of(dataset, "embedded", first_wave=first_wave, **options), first_wave=first_wave)
