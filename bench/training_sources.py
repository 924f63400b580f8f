"""Claims about a model that was trained on the respondents it is judged on, in simulated surveys without effects of subgroups.

    python bench/training_sources.py --surveys 40

In each survey the `ensemble` baseline stands for a model whose outputs were imported. It is fitted to the training pairs of `paper`
(all respondents) or of `paper+disjoint` (half A), and judged under `paper+disjoint` (half B). Subgroups do not differ, so
`above-item-mode` is false. `before` does not record what the model was trained on, `after` does. With `--effects` subgroups differ,
and the claims of the second model are true.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass, replace
from typing import Any

import polars as pl
from planted import CONDITIONS, EFFECTS, NONE, answered

from valuestrata.assessment import assess
from valuestrata.building import BuildSettings, build
from valuestrata.dataset.training_source import stated_source
from valuestrata.respondents.baselines import make_baseline
from valuestrata.responses.reference_baselines import reference_baselines
from valuestrata.survey.simulation.population import SimulationSettings, draw_survey, plant

JUDGED = "paper+disjoint"
SETTINGS = SimulationSettings(respondents=1200, items=48, nominal=0.1, levels=(2, 5, 4))
ABOVE, FLAG = "above-item-mode", "halves-not-disjoint"


@dataclass(frozen=True)
class ImportedRun:
    """Outputs of a model, with its metadata."""

    name: str
    meta: dict[str, Any]
    responses: pl.DataFrame


def kinds_of(seed: int, condition: str = NONE, draws: int = 100, bootstrap: int = 400) -> dict[tuple[str, str], set[str]]:
    """Return (split it was trained on, before or after) -> kinds of claims about the model, in the survey of a seed."""
    population = plant(replace(SETTINGS, **CONDITIONS[condition], seed=seed))
    dataset = build(draw_survey(population, seed), BuildSettings(draws=draws, half_seed=seed, redraw_seed=seed))
    found: dict[tuple[str, str], set[str]] = {}
    for split in ("paper", JUDGED):
        outputs = answered(dataset, "model", make_baseline("ensemble", dataset, split=split).predictor.shares).responses
        for when, taught in (("before", {}), ("after", {"taught_on": stated_source(split, dataset)})):
            meta = {"dataset": {"fingerprint": dataset.fingerprint}, "respondent": {"name": "model", "provider": "imported", **taught}}
            model = ImportedRun("model", meta, outputs)
            runs = [model, *reference_baselines(dataset, [model], kinds=("item-mode",), split=JUDGED)]
            claims = assess(dataset, runs, split=JUDGED, bootstrap=bootstrap, seed=seed).claims
            found[split, when] = {claim.kind for claim in claims if claim.run == "model"}
    return found


def main() -> int:
    """Print how often each model was claimed to be above item mode, and flagged."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--surveys", type=int, default=40)
    parser.add_argument("--effects", action="store_true", help="plant effects of subgroups")
    given = parser.parse_args()
    found = [kinds_of(seed, EFFECTS if given.effects else NONE) for seed in range(given.surveys)]
    for key in found[0]:
        above, flagged = (sum(kind in one[key] for one in found) for kind in (ABOVE, FLAG))
        print(f"trained on {key[0]}, {key[1]}: {ABOVE} in {above} of {given.surveys}, {FLAG} in {flagged}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
