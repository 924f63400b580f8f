"""Design-based estimates agree with the package svy 0.35.0; `bench/human_vs_svy.py` prints its numbers."""

from __future__ import annotations

import numpy as np
import pytest

from bench.human_vs_svy import FRACTION, domains, sample, with_design
from valuestrata.estimation.estimators.human import human_only
from valuestrata.estimation.inputs import EstimationInput, HumanSample, ItemOptions, PopulationCells

# Design -> subgroup -> three shares and the mean code, and their standard errors.
SVY = {
    "clusters": {
        "all": ([0.3373875439, 0.4574179183, 0.2051945378, 2.2781960693], [0.0517014467, 0.0460724836, 0.0479642657, 0.1786924358]),
        "sex_0": ([0.411184567, 0.5322423323, 0.0565731007, 1.758534735], [0.0724224202, 0.0795720317, 0.0327228912, 0.1217963645]),
        "sex_1": ([0.2706121749, 0.3897129128, 0.3396749124, 2.7484125622], [0.085912343, 0.0861434878, 0.0838422002, 0.3026810132]),
        "region_0": ([0.3431887776, 0.483427129, 0.1733840934, 2.1769635024], [0.0753389326, 0.0679689543, 0.0325301044, 0.1467752539]),
        "region_1": ([0.2467319449, 0.4385406829, 0.3147273721, 2.6974501715], [0.1013856113, 0.1074047366, 0.1089966207, 0.3860984282]),
        "region_2": ([0.4581497797, 0.3775196903, 0.16433053, 2.0348418102], [0.1621866563, 0.1274192975, 0.1303832001, 0.5104001963]),
        "region_3": ([0.7014245014, 0.2985754986, 0.0, 1.2985754986], [0.2649080096, 0.2649080096, 0.0, 0.2649080096]),
    },
    "strata": {
        "all": ([0.3373875439, 0.4574179183, 0.2051945378, 2.2781960693], [0.0533732573, 0.0570491388, 0.0461667416, 0.1649467248]),
        "sex_0": ([0.411184567, 0.5322423323, 0.0565731007, 1.758534735], [0.0801025105, 0.0820619349, 0.030364178, 0.1285572441]),
        "sex_1": ([0.2706121749, 0.3897129128, 0.3396749124, 2.7484125622], [0.0705535683, 0.0747749531, 0.0742810731, 0.2633428887]),
        "region_0": ([0.3431887776, 0.483427129, 0.1733840934, 2.1769635024], [0.067020024, 0.0726061871, 0.0486602327, 0.1748301412]),
        "region_1": ([0.2467319449, 0.4385406829, 0.3147273721, 2.6974501715], [0.0872079151, 0.1094811125, 0.1182215892, 0.4027141289]),
        "region_2": ([0.4581497797, 0.3775196903, 0.16433053, 2.0348418102], [0.1987007248, 0.1766261601, 0.1189859724, 0.4839725722]),
        "region_3": ([0.7014245014, 0.2985754986, 0.0, 1.2985754986], [0.2649080096, 0.2649080096, 0.0, 0.2649080096]),
    },
    "random": {
        "all": ([0.3373875439, 0.4574179183, 0.2051945378, 2.2781960693], [0.0531472565, 0.0566760236, 0.0470559732, 0.1680273307]),
        "sex_0": ([0.411184567, 0.5322423323, 0.0565731007, 1.758534735], [0.0795097473, 0.0814099521, 0.0305164414, 0.128761396]),
        "sex_1": ([0.2706121749, 0.3897129128, 0.3396749124, 2.7484125622], [0.0711649146, 0.0744645271, 0.0767866006, 0.2727215929]),
        "region_0": ([0.3431887776, 0.483427129, 0.1733840934, 2.1769635024], [0.0667087211, 0.0718783306, 0.0493288353, 0.1774844741]),
        "region_1": ([0.2467319449, 0.4385406829, 0.3147273721, 2.6974501715], [0.0864886471, 0.108808551, 0.1179701958, 0.4017547102]),
        "region_2": ([0.4581497797, 0.3775196903, 0.16433053, 2.0348418102], [0.1972675376, 0.176466202, 0.118807057, 0.4812674577]),
        "region_3": ([0.7014245014, 0.2985754986, 0.0, 1.2985754986], [0.2663920997, 0.2663920997, 0.0, 0.2663920997]),
    },
}


@pytest.mark.parametrize("kind", list(SVY))
def test_shares_means_and_standard_errors_of_subgroups(kind):
    frame = with_design(sample(), clusters=kind == "clusters", strata=kind != "random")
    inside = np.array([frame.select(one).to_series().to_numpy() * np.ones(90, dtype=bool) for one in domains(frame).values()])
    # Each person is a cell, and belongs to the subgroups of the cell.
    cells = np.arange(90)
    names = tuple(domains(frame))
    population = PopulationCells((), np.zeros((90, 0), dtype=np.intp), np.full(90, 1 / 90), names, names, inside, ())
    items = ItemOptions(("Q1",), np.array([3]), np.array([[1.0, 2.0, 5.0]]), np.array([True]), np.array(["Q1"]))
    stratum = frame.group_by("psu").agg("layer").sort("psu")
    people = HumanSample(
        frame["answer"].to_numpy().astype(np.int8)[:, None],
        cells,
        frame["weight"].to_numpy(),
        frame["psu"].to_numpy().astype(np.intp),
        stratum["layer"].list.first().to_numpy().astype(np.intp),
        FRACTION,
    )
    found = human_only(EstimationInput(items, population, people))
    for g, name in enumerate(names):
        values, errors = (np.array(part) for part in SVY[kind][name])
        assert found.shares[g, 0] == pytest.approx(values[:3], abs=1e-8)
        assert found.mean[g, 0] == pytest.approx(values[3], abs=1e-8)
        assert found.se[g, 0] == pytest.approx(errors[:3], abs=1e-8)
        assert np.sqrt(found.mean_mse[g, 0]) == pytest.approx(errors[3], abs=1e-8)
