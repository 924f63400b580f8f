"""How well runs answer as the subgroups do: per pair, per key, with intervals, and against one another."""

from valuestrata.scores.aggregate import RunLike, score
from valuestrata.scores.compare import compare
from valuestrata.scores.pairs import pair_scores
from valuestrata.scores.schema import METRICS, SCORES

__all__ = ["METRICS", "SCORES", "RunLike", "compare", "pair_scores", "score"]
