"""Tests of the page on the error rates of the audit: its targets are the worst cases of the rows."""

from __future__ import annotations

import polars as pl
import pytest
from scipy.stats import binomtest

from bench.audit_page import document, lower_bound
from bench.audit_study import CLAIMS, COLUMNS, LINES

TRIALS = 1000


def arrays(*, false=40, found=0.9, predicted=0.9, bias=0.0, remains=5):
    fair = [
        {"condition": "fair", "subgroups": 8, "items": 90, "effect": 0.0, "world": 0, "any_gap": at < false}
        | dict.fromkeys(("worst", "any_adjusted", "remains", "hidden"), False)
        for at in range(TRIALS)
    ]
    level = {"condition": "level", "subgroups": 30, "items": 170, "effect": 0.1, "world": 0, "predicted": predicted, "pairs": 1020.0}
    power = [{**level, "found": float(at < found * TRIALS)} for at in range(TRIALS)]
    spread = [
        {"condition": "spread", "subgroups": 8, "effect": 0.05, "planted": 0.0025, "variance": 0.0025 + bias + (at % 2 - 0.5) * 1e-5}
        for at in range(TRIALS)
    ]
    hard = [
        {"condition": "nation", "subgroups": 30, "items": 90, "effect": 0.0, "world": 0, "gap": -0.1, "excess": 0.0, "adjusted": 0.0}
        | {"any_gap": True, "any_adjusted": False, "remains": at < remains, "hidden": False}
        for at in range(TRIALS)
    ]
    return pl.DataFrame([*fair, *power, *spread, *hard], schema=COLUMNS)


def targets_of(rows):
    claims = pl.DataFrame(schema=CLAIMS)
    text = document(rows, claims, pl.DataFrame(schema=LINES), repetitions=TRIALS, permutations=10, minutes=1.0)
    table = text.split("## The five targets")[1].split("Rates of false")[0]
    return {cells[1].strip(): cells[-2].strip() for cells in (line.split("|") for line in table.splitlines()) if len(cells) == 6}


@pytest.mark.parametrize(
    ("worse", "target"),
    [
        ({}, None),
        ({"false": 80}, "False claims without a true gap, 8 subgroups"),
        ({"found": 0.79, "predicted": 0.79}, "A gap of 0.10"),
        ({"found": 0.84}, "Power minus"),
        ({"bias": -0.00021}, "Bias of the corrected variance"),
        ({"remains": 80}, "A gap due to difficulty"),
    ],
)
def test_a_missed_target_is_marked(worse, target):
    met = targets_of(arrays(**worse))
    missed = [name for name, word in met.items() if word == "**no**"]
    assert [name for name in missed if not name.startswith(target or "none")] == []
    assert len(missed) == (target is not None)
    assert [word for word in met.values() if word == "yes"] == ["yes"] * (5 - len(missed))


def test_the_lower_bound_is_that_of_clopper_and_pearson():
    for hits in (1, 40, 66, 999):
        exact = binomtest(hits, TRIALS, alternative="greater").proportion_ci(0.99, method="exact").low
        assert lower_bound(hits, TRIALS) == pytest.approx(exact)
    assert lower_bound(0, TRIALS) == 0.0
