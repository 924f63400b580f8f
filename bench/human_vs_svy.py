"""Design-based shares, means and standard errors of subgroups beside those of the package svy.

    pip install svy
    python bench/human_vs_svy.py            # prints the numbers in tests/estimation/test_agreement_with_svy.py

The sample is simulated: 90 people in 18 sampling units of 3 strata, with weights, missing answers and a finite population. Each subgroup is
estimated with svy's `where`, which keeps units without members in the design. Designs: clusters, strata and a correction of 1 - 0.2;
the same without clusters; and a simple random sample with weights.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import polars as pl

FRACTION = 0.2


def sample() -> pl.DataFrame:
    """Return 90 people: unit, stratum, weight, sex (0, 1), region (0..3), answer (0..2, null if missing) and its code (1, 2, 5)."""
    rng = np.random.default_rng(20)
    unit = np.repeat(np.arange(18), 5)
    region = rng.choice(4, size=90, p=[0.5, 0.3, 0.15, 0.05])
    answer = np.minimum(rng.integers(0, 3, 18)[unit] * (rng.random(90) < 0.4) + rng.integers(0, 2, 90), 2)
    frame = pl.DataFrame(
        {
            "unit": unit,
            "stratum": np.repeat([0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2, 2, 2], 5),
            "weight": np.round(rng.gamma(4.0, 0.25, 90), 3),
            "sex": rng.integers(0, 2, 90),
            "region": region,
            "answer": np.where(rng.random(90) < 0.1, -1, answer),
        }
    )
    return frame.with_columns(code=pl.col("answer").replace_strict({-1: 0.0, 0: 1.0, 1: 2.0, 2: 5.0}))


def domains(frame: pl.DataFrame) -> dict[str, pl.Expr]:
    """Return the subgroups: everybody, two sexes and four regions."""
    found = {"all": pl.lit(True)} | {f"sex_{k}": pl.col("sex") == k for k in range(2)}
    return found | {f"region_{k}": pl.col("region") == k for k in sorted(frame["region"].unique())}


def with_design(frame: pl.DataFrame, clusters: bool, strata: bool) -> pl.DataFrame:
    """Return the columns psu, stratum and units (sampling units of the stratum in the population)."""
    made = frame.with_columns(
        psu=pl.col("unit") if clusters else pl.int_range(pl.len()), layer=pl.col("stratum") if strata else pl.lit(0, pl.Int64)
    )
    return made.with_columns(units=pl.col("psu").n_unique().over("layer") / FRACTION)


def estimates(frame: pl.DataFrame) -> dict[str, dict[str, list[float]]]:
    """Return, for each subgroup, three shares, the mean code, and their four standard errors."""
    import svy

    design = svy.Design(stratum="layer", psu="psu", wgt="weight", pop_size="units")
    found: dict[str, dict[str, list[float]]] = {}
    for name, inside in domains(frame).items():
        data = frame.with_columns(inside=inside & (pl.col("answer") >= 0))
        estimation = svy.Sample(data, design).estimation
        shares: dict[int, Any] = {}
        for k in range(3):
            row = svy.Sample(data.with_columns(hit=(pl.col("answer") == k).cast(pl.Float64)), design).estimation.mean(
                "hit", where=pl.col("inside")
            )
            shares[k] = row.to_polars().row(0, named=True)
        mean = estimation.mean("code", where=pl.col("inside")).to_polars().row(0, named=True)
        rows = [*(shares[k] for k in range(3)), mean]
        found[name] = {part: [round(float(row[part]), 10) for row in rows] for part in ("est", "se")}
    return found


def main() -> None:
    """Print the numbers of all designs as JSON."""
    kinds = {"clusters": (True, True), "strata": (False, True), "random": (False, False)}
    print(json.dumps({name: estimates(with_design(sample(), *kind)) for name, kind in kinds.items()}, indent=1))


if __name__ == "__main__":
    main()
