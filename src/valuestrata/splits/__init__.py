"""Splits: training, validation and test pairs, and the leakage between them."""

from valuestrata.dataset.tables import SCHEMES
from valuestrata.splits.leakage import leakage_report, measure_leakage
from valuestrata.splits.schemes import Fold, Scheme, paper, transfer, unseen_both, unseen_item, unseen_level
from valuestrata.splits.tables import make_splits

__all__ = [
    "SCHEMES",
    "Fold",
    "Scheme",
    "leakage_report",
    "make_splits",
    "measure_leakage",
    "paper",
    "transfer",
    "unseen_both",
    "unseen_item",
    "unseen_level",
]
