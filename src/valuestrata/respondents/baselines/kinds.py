"""Names of the baselines and their fitting functions."""

from __future__ import annotations

from collections.abc import Mapping

from valuestrata.respondents.baselines.cell_models.additive import fit_additive, fit_additive_multinomial
from valuestrata.respondents.baselines.cell_models.ensemble import fit_ensemble
from valuestrata.respondents.baselines.cell_models.low_rank import fit_low_rank
from valuestrata.respondents.baselines.cell_models.multilevel import fit_multilevel
from valuestrata.respondents.baselines.gold import TrainingGold
from valuestrata.respondents.baselines.predictor import Fit, Predictor
from valuestrata.respondents.baselines.simple import fit_item_mode, fit_midpoint, fit_nearest_parent, fit_uniform


def _fit_item_average(gold: TrainingGold) -> Predictor:
    from valuestrata.respondents.baselines.item_models.item_text import fit_item_average

    return fit_item_average(gold)


def _fit_item_text(gold: TrainingGold) -> Predictor:
    from valuestrata.respondents.baselines.item_models.item_text import fit_item_text

    return fit_item_text(gold)


# In order of cost.
BASELINES: Mapping[str, Fit] = {
    "uniform": fit_uniform,
    "midpoint": fit_midpoint,
    "item-average": _fit_item_average,
    "item-mode": fit_item_mode,
    "nearest-parent": fit_nearest_parent,
    "additive": fit_additive,
    "additive-multinomial": fit_additive_multinomial,
    "multilevel": fit_multilevel,
    "low-rank": fit_low_rank,
    "ensemble": fit_ensemble,
    "item-text": _fit_item_text,
}
LADDER: tuple[str, ...] = tuple(BASELINES)
# Baselines without fitting, used as reference for relative scores.
CHEAP = ("uniform", "midpoint", "item-mode", "nearest-parent")
# Baselines that do not depend on training gold.
TRAINS_ON_NOTHING = ("uniform", "midpoint")
# Baselines that answer with every code of positive share, each as a sample; others answer with the mode.
ANSWERS_EACH = ("uniform", "midpoint")
