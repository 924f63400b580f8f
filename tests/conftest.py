"""A data set written by hand, small enough to know by heart: three items, seven subgroups, Singapore."""

from __future__ import annotations

import copy
from pathlib import Path

import polars as pl
import pytest
from hypothesis import HealthCheck, settings

from valuestrata.dataset.tables import GOLD, ITEMS, LANDSCAPE, LEAKAGE, MODE_DRAWS, SPLITS, SUBGROUPS, Dataset

# No test depends on the speed of the machine.
settings.register_profile("valuestrata", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("valuestrata")

META = {
    "format": "valuestrata-dataset-2",
    "survey": {"name": "handmade", "title": "Handmade", "version": "1", "citation": ""},
    "fingerprint": "f" * 64,
    "place": "Singapore",
    "shareable": True,
    "attributes": [
        {
            "name": "sex",
            "short": "sex",
            "title": "Sex",
            "role": "noun",
            "levels": [{"label": "Male", "phrase": "man", "role": None}, {"label": "Female", "phrase": "woman", "role": None}],
        },
        {
            "name": "age_group",
            "short": "age",
            "title": "Age",
            "role": "clause",
            "levels": [
                {"label": "16-24 years", "phrase": "aged 16 to 24", "role": None},
                {"label": "35-44 years", "phrase": "aged 35 to 44", "role": None},
            ],
        },
        {
            "name": "ethnicity",
            "short": "ethnicity",
            "title": "Ethnic group",
            "role": "adjective",
            "levels": [{"label": "SG: Malay", "phrase": "Malay", "role": None}, {"label": "SG: Others", "phrase": None, "role": None}],
        },
        {
            "name": "religion",
            "short": "religion",
            "title": "Religion",
            "role": "adjective",
            "levels": [
                {"label": "Muslim", "phrase": "Muslim", "role": None},
                {"label": "Do not belong to a denomination", "phrase": "without a religion", "role": "clause"},
            ],
        },
    ],
}
ITEM_ROWS = [
    {
        "item": "Q1",
        "topic": "Social values",
        "level": "ordinal",
        "codes": [1, 2, 3, 4],
        "labels": ["Very important", "Rather important", "Not very important", "Not at all important"],
        "question": "How much does your family matter in your life?",
    },
    {
        "item": "Q182",
        "topic": "Ethical values",
        "level": "ordinal",
        "codes": list(range(1, 11)),
        "labels": ["Never justifiable", *map(str, range(2, 10)), "Always justifiable"],
        "question": "Where would you place divorce, from never to always justifiable?",
    },
    {
        "item": "spend",
        "topic": "Economy",
        "level": "ordinal",
        "codes": [-1, 0, 1],
        "labels": ["Too much", "About right", "Too little"],
        "question": "Does the country spend too much, about right, or too little on schools?",
    },
]
# subgroup, stratum, sex, age_group, ethnicity, religion, part
SUBGROUP_ROWS = [
    ("all", "all", None, None, None, None, None),
    ("sex_Male", "sex", "Male", None, None, None, "train"),
    ("sex_Female", "sex", "Female", None, None, None, "train"),
    ("sex_x_age_Female_16-24-years", "sex_x_age", "Female", "16-24 years", None, None, "train"),
    ("age_x_ethnicity_16-24-years_SG:-Malay", "age_x_ethnicity", None, "16-24 years", "SG: Malay", None, "test"),
    ("age_x_ethnicity_35-44-years_SG:-Others", "age_x_ethnicity", None, "35-44 years", "SG: Others", None, "test"),
    (
        "ethnicity_x_religion_SG:-Malay_Do-not-belong-to-a-denomination",
        "ethnicity_x_religion",
        None,
        None,
        "SG: Malay",
        "Do not belong to a denomination",
        "test",
    ),
]


def build_handmade(place: str | None = "Singapore", fingerprint: str = "f" * 64) -> Dataset:
    meta = {**copy.deepcopy(META), "place": place, "fingerprint": fingerprint}
    names = [attribute["name"] for attribute in META["attributes"]]
    subgroups = pl.DataFrame(
        [dict(zip(["subgroup", "stratum", *names], row[:6], strict=True)) | {"n": 60, "n_eff": 60.0} for row in SUBGROUP_ROWS],
        schema={**{name: column.dtype for name, column in SUBGROUPS.columns.items()}, **dict.fromkeys(names, pl.String)},
    )
    gold, splits = [], []
    for subgroup, *_, part in SUBGROUP_ROWS:
        for row in ITEM_ROWS:
            item, codes = row["item"], row["codes"]
            pair = {"pair_id": f"{item}_{subgroup}", "item": item, "subgroup": subgroup}
            counts = [40] + [20] + [0] * (len(codes) - 2)
            gold.append(
                pair
                | {"half": "all", "n": 60, "n_eff": 60.0, "counts_raw": counts, "counts_weighted": counts}
                | {"shares": [c / 60 for c in counts], "mode": codes[0], "modes": [codes[0]], "mode_share": 2 / 3}
                | {
                    "p_mode": [1.0] + [0.0] * (len(codes) - 1),
                    "margin": 1 / 3,
                    "entropy": 0.918,
                    "ceiling_oracle": 1.0,
                    "ceiling_human": 1.0,
                }
            )
            if part is not None:
                splits.append(pair | {"scheme": "paper", "fold": 0, "seed": 42, "part": part})
    joint = pl.DataFrame({name: ["x"] for name in names} | {"n": [60], "weight": [60.0]})
    return Dataset(
        meta=meta,
        items=ITEMS.frame(ITEM_ROWS),
        subgroups=subgroups,
        joint=joint,
        gold=GOLD.frame(gold),
        mode_draws=MODE_DRAWS.empty(),
        splits=SPLITS.frame(splits),
        leakage=LEAKAGE.empty(),
        landscape=LANDSCAPE.empty(),
        path=Path("data/handmade"),
    )


@pytest.fixture(scope="session")
def handmade() -> Dataset:
    return build_handmade()


@pytest.fixture(scope="session")
def make_handmade():
    """The function that builds it, for another place or fingerprint."""
    return build_handmade
