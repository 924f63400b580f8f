"""How well runs answer as the subgroups do: per pair, per key, with intervals, and against one another."""

from valuestrata.scores.aggregate import RunLike, score
from valuestrata.scores.compare import compare
from valuestrata.scores.multiple import Declared, adjust, benjamini_hochberg, holm
from valuestrata.scores.pairs import pair_scores
from valuestrata.scores.relative import relative
from valuestrata.scores.schema import COMPARISONS, METRICS, RELATIVE, SCORES

__all__ = [
    "COMPARISONS",
    "METRICS",
    "RELATIVE",
    "SCORES",
    "Declared",
    "RunLike",
    "adjust",
    "benjamini_hochberg",
    "compare",
    "holm",
    "pair_scores",
    "relative",
    "score",
]
