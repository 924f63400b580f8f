"""Check of the landscape's null on simulated surveys in which subgroups do not differ.

    python bench/landscape_null.py [SURVEYS]

In every survey, answers depend on a trait of the person that is unrelated to the attributes, so items of a topic are correlated. An
item in four is asked of some age groups more than of others, and half of the surveys are weighted. Printed are the share of p-values
of single items below .05 and .10, a test of their uniformity, how often the mean over items lies in the 95 % range by chance, and the
same with one of six age groups shifted (power).
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from scipy.stats import kstest

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench.population import four_option_survey
from valuestrata.building import BuildSettings, build
from valuestrata.dataset.landscape import averaged
from valuestrata.survey.survey import Survey

ITEMS, PEOPLE = 12, 600
LEVELS = {"sex": 2, "age_group": 6, "religion": 4}


def simulated(seed: int, shift: float = 0.0) -> Survey:
    """Return a survey without differences between subgroups, but for `shift` on the latent scale in one age group."""
    rng = np.random.default_rng(seed)
    levels = np.stack([rng.choice(size, PEOPLE, p=rng.dirichlet(np.full(size, 8.0))) for size in LEVELS.values()], axis=1)
    latent = rng.normal(size=(PEOPLE, 1)) * 0.7 + rng.normal(size=(PEOPLE, ITEMS)) + shift * (levels[:, [1]] == 0)
    cuts = np.sort(rng.normal(size=(ITEMS, 3)), axis=1)
    answers = (latent[:, :, None] > cuts).sum(axis=-1)
    asked = 0.4 + 0.12 * levels[:, 1]
    answers[:, ::4] = np.where(rng.random((PEOPLE, len(range(0, ITEMS, 4)))) < asked[:, None], answers[:, ::4], -3)
    return four_option_survey(answers, levels, LEVELS, rng.uniform(0.4, 2.5, PEOPLE) if seed % 2 else None)


def study(surveys: int, shift: float = 0.0, seed: int = 0) -> dict[str, float]:
    """Return shares over simulated surveys: p-values below .05 and .10, p of uniformity, and means over items in the range by chance."""
    drawn, p_values, inside = [], [], []
    for number in range(surveys):
        made = simulated(seed + number, shift)
        land = build(made, BuildSettings(min_respondents=20, min_valid=15, draws=10, share_draws=10, redraw_seed=number)).landscape
        age = land.filter(stratum="age_group").drop_nulls("wasserstein_p")
        p_values += age["wasserstein_p"].to_list()
        # One item of each survey: the others are correlated with it.
        drawn.append(age["wasserstein_p"][number % len(age)])
        for strata in (["age_group"], land["stratum"].unique().to_list()):
            mean = averaged(land.filter(land["stratum"].is_in(strata)).with_columns(key=1), ["key"]).row(0, named=True)
            inside += [mean[f"{name}_null_low"] <= mean[name] <= mean[f"{name}_null_high"] for name in ("mds", "wasserstein")]
    shares = np.array(inside, dtype=float).reshape(surveys, 4).mean(axis=0)
    return {
        "p below .05": float(np.mean(np.array(p_values) < 0.05)),
        "p below .10": float(np.mean(np.array(p_values) < 0.10)),
        "uniform": float(kstest(np.array(drawn) - np.random.default_rng(seed).random(surveys) / 101, "uniform").pvalue),
        **dict(zip(("age mds inside", "age W1 inside", "all strata mds inside", "all strata W1 inside"), shares.tolist(), strict=True)),
    }


if __name__ == "__main__":
    number = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    for shift in (0.0, 0.4):
        print(f"shift {shift}, {number} surveys:", {name: round(value, 3) for name, value in study(number, shift).items()})
