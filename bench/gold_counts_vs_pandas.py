"""Weighted counts of every item in all strata of two attributes, against pandas groupby on int8 columns."""

from __future__ import annotations

import itertools
import time
from typing import Any

import numpy as np
import pandas as pd
from population import synthetic_survey

from valuestrata.dataset.gold import count_answers
from valuestrata.dataset.subgroups import Cells, make_cells, make_strata
from valuestrata.survey.survey import Survey


def ours(survey: Survey) -> tuple[Cells, np.ndarray]:
    """Return the cells and their weighted counts."""
    pairs = [stratum for stratum in make_strata(survey.attributes) if len(stratum.attributes) == 2]
    cells = make_cells(survey, pairs, min_respondents=1)
    options = max(len(item.codes) for item in survey.items)
    return cells, count_answers(survey.answers, cells.joint_of_respondent, len(cells.joint_n), cells.members, options, survey.weight)


def with_pandas(frame: pd.DataFrame, items: list[str], attributes: list[str]) -> dict[tuple[str, str, str], pd.Series]:
    """Group by two attributes and an item, one item and stratum at a time."""
    return {
        (item, a, b): frame.groupby([a, b, item], observed=True)["weight"].sum()
        for item in items
        for a, b in itertools.combinations(attributes, 2)
    }


def check_equal(survey: Survey, cells: Cells, counts: np.ndarray, peer: dict[tuple[str, str, str], pd.Series]) -> None:
    """Raise an error unless both sides have the same counts."""
    index = {(s.stratum.attributes, s.levels): i for i, s in enumerate(cells.kept)}
    names = [a.name for a in survey.attributes]
    seen = 0
    for (item, a, b), sums in peer.items():
        keys = np.array(sums.index.to_list())
        attributes = (names.index(a), names.index(b))
        rows = np.array([index[attributes, (int(x), int(y))] for x, y in keys[:, :2]])
        np.testing.assert_allclose(counts[int(item[1:]), rows, keys[:, 2] + 5], sums.to_numpy(), rtol=1e-9)
        seen += len(sums)
    if seen != np.count_nonzero(counts):
        raise AssertionError(f"we count {np.count_nonzero(counts)} cells, pandas {seen}")


def run(respondents: int = 97_000, items: int = 250) -> dict[str, Any]:
    """Return the seconds of both sides: our best of five, one run of the slow peer."""
    survey = synthetic_survey(respondents, items)
    names = [item.id for item in survey.items]
    attributes = [a.name for a in survey.attributes]
    columns: dict[str, Any] = {name: survey.answers[:, i].copy() for i, name in enumerate(names)}
    columns |= {name: survey.levels[:, i].astype(np.int8) for i, name in enumerate(attributes)}
    frame = pd.DataFrame({**columns, "weight": survey.weight})
    start = time.perf_counter()
    peer = with_pandas(frame, names, attributes)
    peer_seconds = time.perf_counter() - start
    cells, counts = ours(survey)
    check_equal(survey, cells, counts, peer)
    times = []
    for _ in range(5):
        start = time.perf_counter()
        ours(survey)
        times.append(time.perf_counter() - start)
    return {
        "ours": min(times),
        "peer": peer_seconds,
        "peer_name": f"pandas {pd.__version__}",
        "ratio": peer_seconds / min(times),
        "unit": "seconds",
        "detail": f"{respondents:,} respondents x {items} items x 6 pair strata, {np.count_nonzero(counts):,} equal counts",
    }
