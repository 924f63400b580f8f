"""Baselines: respondent models without a language model. They use training gold only.

- `gold`: the training gold. `predictor`: the interface of a fitted baseline. `kinds`: names and fitting functions.
  `respondent`: a baseline as a respondent model.
- `simple`, `pooling`: uniform, midpoint, item mode, nearest parent and national shares.
- `cell_models`: additive, multilevel and low-rank models and their ensemble, with poststratification.
- `item_models`: item average, and predictions for unseen items from their texts.
"""

from valuestrata.respondents.baselines.gold import GoldByFold, JointCells, TrainingGold, training_gold
from valuestrata.respondents.baselines.kinds import BASELINES, CHEAP, LADDER, TRAINS_ON_NOTHING
from valuestrata.respondents.baselines.pooling import pooled
from valuestrata.respondents.baselines.predictor import Fit, Predictor
from valuestrata.respondents.baselines.respondent import Baseline, make_baseline
from valuestrata.respondents.baselines.simple import PARENT_PRIOR, nearest_parent

__all__ = [
    "BASELINES",
    "CHEAP",
    "LADDER",
    "PARENT_PRIOR",
    "TRAINS_ON_NOTHING",
    "Baseline",
    "Fit",
    "GoldByFold",
    "JointCells",
    "Predictor",
    "TrainingGold",
    "make_baseline",
    "nearest_parent",
    "pooled",
    "training_gold",
]
