"""Respondent models that need no language model. They see training gold only, and answer like any other.

- `gold`: what a baseline may see. `predictor`: what one is. `kinds`: their names. `respondent`: one as a respondent model.
- `simple`: uniform, midpoint, item mode, nearest parent. `itemaverage`, `pooling`: what items, and the nation, answer on the whole.
- `cells`: training cells as mixtures of joint cells, and back (poststratification); on it stand `additive`, `multilevel`,
  `lowrank` and `ensemble`. `validation`: penalties chosen inside the training pairs.
- `itemtext`: unseen items, from their texts (`embed`, `itemkernels`, `components`).
"""

from valuestrata.respondents.baselines.gold import JointCells, TrainingGold, training_gold
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
    "JointCells",
    "Predictor",
    "TrainingGold",
    "make_baseline",
    "nearest_parent",
    "pooled",
    "training_gold",
]
