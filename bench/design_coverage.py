"""Simulated clustered surveys: coverage of intervals of subgroup shares, and effective answers, with and without the design.

    python bench/design_coverage.py --surveys 400

Each survey draws `units` places of `per_unit` people. In a place the shares of an item are Dirichlet (beta for two options), so
the intraclass correlation is known, as is the share of every subgroup: attributes do not matter. Seeds are the numbers of the
surveys. Redraws use seeds of their own.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import polars as pl

from valuestrata.building import BuildSettings, build
from valuestrata.survey.codebook import Attribute, AttributeLevel, Codebook, Item
from valuestrata.survey.survey import Findings, SampleDesign, Source, Survey

SHARES = ((0.5, 0.5), (0.7, 0.3), (0.4, 0.35, 0.25), (0.3, 0.25, 0.2, 0.15, 0.1))
LEVELS = {"sex": 2, "age": 3, "area": 2}
FIRST_REDRAW = 1_000_000


@dataclass(frozen=True)
class Population:
    """A clustered population: intraclass correlation, units sampled, people per unit, items, and whether weights differ.

    `area` is an attribute of the unit; `sex` and `age` vary within units.
    """

    correlation: float = 0.05
    units: int = 60
    per_unit: int = 20
    items: int = 12
    weighted: bool = False

    def sample(self, seed: int) -> Survey:
        """Draw a survey."""
        rng = np.random.default_rng(seed)
        unit = np.repeat(np.arange(self.units), self.per_unit)
        people = len(unit)
        items, answers = [], np.empty((people, self.items), dtype=np.int8, order="F")
        for i in range(self.items):
            shares = np.array(SHARES[i % len(SHARES)])
            spread = (1.0 - self.correlation) / self.correlation if self.correlation else 1e9
            of_unit = rng.dirichlet(shares * spread, size=self.units)
            answers[:, i] = (rng.random(people)[:, None] > of_unit.cumsum(axis=1)[unit, :-1]).sum(axis=1)
            codes = tuple(range(1, len(shares) + 1))
            level = "binary" if len(shares) == 2 else "ordinal"
            items.append(Item(f"Q{i}", "Topic", level, codes, tuple(map(str, codes)), f"Question {i}?", f"Q{i}"))
        levels = np.empty((people, len(LEVELS)), dtype=np.int16, order="F")
        for a, (name, number) in enumerate(LEVELS.items()):
            levels[:, a] = rng.integers(0, number, self.units)[unit] if name == "area" else rng.integers(0, number, people)
        attributes = [Attribute(n, n, n, n, tuple(AttributeLevel(f"{n} {k}") for k in range(number))) for n, number in LEVELS.items()]
        codebook = Codebook("simulated", "Simulated", "1", tuple(items), tuple(attributes), ())
        weight = rng.gamma(4.0, 0.25, people) if self.weighted else None
        design = SampleDesign(unit, np.zeros(self.units, dtype=np.intp), {"psu": ("unit",)})
        source = Source("simulated", "memory", "0" * 64, people, people)
        return Survey(codebook, tuple(items), tuple(attributes), answers, levels, weight, (), source, Findings(), design)


def rows_of(population: Population, surveys: int, draws: int) -> Iterator[pl.DataFrame]:
    """Yield the pairs of each survey, built without and with the design: covered, deviation, share_se and effective answers."""
    truth = {f"Q{i}": SHARES[i % len(SHARES)][0] for i in range(population.items)}
    for seed in range(surveys):
        survey = population.sample(seed)
        for design, one in (("independent", replace(survey, design=None)), ("units", survey)):
            settings = BuildSettings(min_respondents=1, min_valid=1, draws=draws, share_draws=10, redraw_seed=FIRST_REDRAW + seed)
            made = build(one, settings)
            gold = made.gold.filter(half="all").select(
                "pair_id", "item", "subgroup", "n", "n_eff", pl.col("shares").list.first().alias("share")
            )
            drawn = made.mode_draws.filter(half="all").select("pair_id", pl.col("share_se").list.first())
            strata = made.subgroups.select("subgroup", "stratum")
            frame = gold.join(drawn, on="pair_id").join(strata, on="subgroup")
            true = pl.col("item").replace_strict(truth, return_dtype=pl.Float64)
            yield frame.select(
                "stratum",
                "subgroup",
                "item",
                "n",
                "n_eff",
                "share",
                "share_se",
                pl.lit(design).alias("design"),
                pl.lit(seed).alias("seed"),
                true.alias("true"),
                ((pl.col("share") - true).abs() <= 1.96 * pl.col("share_se")).alias("covered"),
            )


def coverage(rows: pl.DataFrame) -> pl.DataFrame:
    """Return the coverage of 95 % intervals by stratum and design, and the mean standard error over the true one."""
    error = pl.col("share") - pl.col("true")
    by_item = rows.group_by("stratum", "design", "item").agg(
        pl.col("covered").mean(), ratio=(pl.col("share_se") ** 2).mean().sqrt() / (error**2).mean().sqrt(), answers=pl.col("n").mean()
    )
    return by_item.group_by("stratum", "design").agg(pl.col("covered", "ratio", "answers").mean()).sort("stratum", "design")


def effective(rows: pl.DataFrame) -> pl.DataFrame:
    """Return, by stratum, three estimates of the effective answers of a pair against the truth.

    The truth is p (1 - p) over the variance of the share over all surveys, in cells of one stratum and item. `pair` takes the
    variance of each pair's own redraws, `item` is the stored n_eff, `kish` ignores clusters. `bias` is the mean of the log
    ratio to the truth, `error` its root mean square.
    """
    cell = ["stratum", "item"]
    p = pl.col("true")
    known = (
        rows.filter(design="units")
        .group_by(cell)
        .agg(truth=(p * (1 - p)).first() / ((pl.col("share") - p) ** 2).mean() / pl.col("n").mean())
    )
    own = pl.col("share") * (1 - pl.col("share")) / pl.col("share_se") ** 2
    units = rows.filter(design="units").with_columns(pair=own, item_effect=pl.col("n_eff"))
    kish = rows.filter(design="independent").select("seed", "item", "subgroup", kish="n_eff")
    joined = units.join(kish, on=["seed", "item", "subgroup"]).join(known, on=cell).filter(pl.col("share_se") > 0)
    logs = [(pl.col(name) / (pl.col("truth") * pl.col("n"))).log().alias(name) for name in ("kish", "pair", "item_effect")]
    found = joined.select("stratum", *logs).unpivot(index="stratum", variable_name="estimate", value_name="log")
    return (
        found.group_by("stratum", "estimate")
        .agg(bias=pl.col("log").mean(), error=(pl.col("log") ** 2).mean().sqrt())
        .sort("stratum", "estimate")
    )


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--surveys", type=int, default=50)
    parser.add_argument("--draws", type=int, default=200)
    parser.add_argument("--correlation", type=float, default=0.05)
    parser.add_argument("--weighted", action="store_true")
    options = parser.parse_args()
    population = Population(correlation=options.correlation, weighted=options.weighted)
    rows = pl.concat(rows_of(population, options.surveys, options.draws))
    with pl.Config(tbl_rows=60, float_precision=3):
        print(coverage(rows))
        print(effective(rows))


if __name__ == "__main__":
    main()
