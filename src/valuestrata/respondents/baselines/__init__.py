"""Respondent models that need no language model. They see training gold only, and answer like any other.

- `gold`: what a baseline may see. `predictor`: what one is. `kinds`: their names. `respondent`: one as a respondent model.
- `simple`: uniform, midpoint, item mode, nearest parent.
"""

from valuestrata.respondents.baselines.gold import JointCells, TrainingGold, training_gold
from valuestrata.respondents.baselines.kinds import BASELINES, CHEAP, LADDER
from valuestrata.respondents.baselines.predictor import Fit, Predictor
from valuestrata.respondents.baselines.respondent import Baseline, make_baseline
from valuestrata.respondents.baselines.simple import PARENT_PRIOR, nearest_parent, pooled

__all__ = [
    "BASELINES",
    "CHEAP",
    "LADDER",
    "PARENT_PRIOR",
    "Baseline",
    "Fit",
    "JointCells",
    "Predictor",
    "TrainingGold",
    "make_baseline",
    "nearest_parent",
    "pooled",
    "training_gold",
]
