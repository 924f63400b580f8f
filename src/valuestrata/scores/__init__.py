"""Scores of runs against the gold: by pair, by key, with intervals, and compared with one another."""

from valuestrata.scores.aggregate import RunLike, score
from valuestrata.scores.compare import adjust, compare
from valuestrata.scores.pairs import pair_scores
from valuestrata.scores.relative import relative
from valuestrata.scores.schema import COMPARISONS, METRICS, RELATIVE, SCORES

__all__ = ["COMPARISONS", "METRICS", "RELATIVE", "SCORES", "RunLike", "adjust", "compare", "pair_scores", "relative", "score"]
