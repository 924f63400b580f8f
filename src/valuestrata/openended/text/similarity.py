"""How much alike are the answers of different subgroups? A model that writes the same whoever speaks flattens them.

Cosine similarity of answers to one item by subgroups of one stratum, as vectors (`embed`). Across levels of an attribute it is held
against three things: what it would be if the levels were shuffled among answers that are alike in everything else (the same item,
stratum and other levels), samples of one pair, and answers to other items. Under the shuffle whoever speaks makes no difference, so
that `shuffled - across` is what the attribute does to the wording, in units of the similarity.

Names of the persona's own levels and numbers are taken out of the texts beforehand (`textchecks_names.unnamed`): that a Catholic says
Catholic is leakage, and no other thing said.

A stratum of the attribute alone, with one answer a subgroup, has nothing to shuffle: each level has one answer however they are
dealt. It counts for the similarities and leaves the gap at 0, so that it has no part in the gap.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from importlib.util import find_spec
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from valuestrata.openended.text.groups import blocks_of
from valuestrata.openended.text.schema import SIMILARITY
from valuestrata.respondents.baselines.item_models.embeddings import WORD, embed_texts
from valuestrata.stats.cluster_bootstrap import ENOUGH_ITEMS

Floats = NDArray[np.float64]
Indices = NDArray[np.intp]
ALL = "all"
# Answers of one item and stratum beyond this are sampled: what a hundred thousand pairs say, a million say too.
MOST_ANSWERS = 400


@dataclass(frozen=True)
class Vectors:
    """Texts as unit vectors, one row a text, dense or sparse, and what made them."""

    method: str
    rows: Any

    def alike(self, which: Indices) -> Floats:
        """Return the cosine similarities of some texts, shape (n, n)."""
        some = self.rows[which]
        found = some @ some.T
        return np.asarray(found.toarray() if hasattr(found, "toarray") else found, dtype=np.float64)

    def total(self, which: Indices) -> Floats:
        """Return the sum of some rows, shape (d,)."""
        return np.asarray(self.rows[which].sum(axis=0), dtype=np.float64).ravel()


def vectors_of(texts: Sequence[str]) -> Vectors:
    """Return texts as unit vectors: WordLlama with the extra `text`, else TF-IDF over words and word pairs of these texts.

    Equal texts are computed once. TF-IDF stays sparse: ten thousand answers have a hundred thousand word pairs.
    """
    distinct = list(dict.fromkeys(texts))
    place = {text: at for at, text in enumerate(distinct)}
    which = np.array([place[text] for text in texts], dtype=np.intp)
    if find_spec("wordllama") is not None:
        embedded = embed_texts(distinct)
        return Vectors(embedded.method, embedded.vectors[which])
    from sklearn.feature_extraction.text import TfidfVectorizer

    words = TfidfVectorizer(ngram_range=(1, 2), token_pattern=WORD, sublinear_tf=True)
    return Vectors(f"tf-idf (scikit-learn {version('scikit-learn')})", words.fit_transform(distinct).tocsr()[which])


def similarity(
    answers: pl.DataFrame,
    vectors: Vectors,
    subgroups: pl.DataFrame,
    attributes: Sequence[str],
    *,
    permutations: int = 500,
    seed: int = 0,
) -> pl.DataFrame:
    """Return how much alike answers are across levels of each attribute, and across all subgroups, of one run.

    Args:
        answers: run, item, subgroup, of one run, in the order of `vectors`. subgroups: with a column an attribute.
        attributes: their names. permutations: shuffles. seed: of the shuffles.

    Returns:
        SIMILARITY schema: a row an attribute with two levels to compare, then `all`, where every subgroup is a level.
    """
    indexed = answers.with_row_index("row")
    whole = subgroups.filter(pl.col("stratum") != ALL).select(
        "subgroup", "stratum", pl.col("subgroup").alias("level"), pl.col("stratum").alias("block")
    )
    kinds = [("attribute", name, blocks_of(subgroups, attributes, name)) for name in attributes] + [(ALL, ALL, whole)]
    rows: list[dict[str, Any]] = []
    for by, key, blocks in kinds:
        placed = indexed.join(blocks, on="subgroup", maintain_order="left")
        found = _compared(placed, vectors, permutations, np.random.default_rng(seed))
        if found is not None:
            rows.append(
                {"run": answers["run"][0], "by": by, "key": key, "method": vectors.method, "elsewhere": _elsewhere(placed, vectors)} | found
            )
    return SIMILARITY.frame(rows)


class Alike(NamedTuple):
    """Similarities within one item and stratum; None where there is no such pair of answers.

    Attributes:
        across: mean over pairs of answers of different levels. dealt: the same in each shuffle, shape (P,); None where nothing moves.
        within: over different subgroups of one level. same: over samples of one subgroup.
    """

    across: float
    dealt: Floats | None
    within: float | None
    same: float | None


def alike(
    alikeness: Floats, level: Indices, block: Indices, subgroup: Indices, permutations: int, rng: np.random.Generator
) -> Alike | None:
    """Compare the answers to one item in one stratum; None where they are of one level.

    Args:
        alikeness: similarities, shape (n, n). level, block, subgroup: of each answer, shape (n,).
        permutations: P. rng: deals the levels within blocks.
    """
    upper = np.triu(np.ones_like(alikeness, dtype=np.bool_), 1)
    equal = level[:, None] == level
    apart = upper & ~equal
    if not apart.any():
        return None
    own = subgroup[:, None] == subgroup

    def mean(mask: NDArray[np.bool_]) -> float | None:
        return float(alikeness[mask].mean()) if mask.any() else None

    dealt = _dealt(alikeness, level, block, permutations, rng) if permutations else None
    return Alike(float(alikeness[apart].mean()), dealt, mean(upper & equal & ~own), mean(upper & own))


def _dealt(alikeness: Floats, level: Indices, block: Indices, permutations: int, rng: np.random.Generator) -> Floats | None:
    """Return the mean similarity across levels in every shuffle, shape (P,)."""
    levels = np.tile(level, (permutations, 1))
    moves = False
    for name in np.unique(block):
        members = np.flatnonzero(block == name)
        distinct = len(np.unique(level[members]))
        # Where every answer has a level of its own, dealing them only renames them.
        if distinct > 1 and not distinct == len(members) == len(level):
            levels[:, members] = rng.permuted(levels[:, members], axis=1)
            moves = True
    if not moves:
        return None
    off = alikeness - np.diag(np.diag(alikeness))
    inside = np.zeros(permutations)
    pairs = len(level) * (len(level) - 1)
    for name in np.unique(level):
        there = (levels == name).astype(np.float64)
        inside += ((there @ off) * there).sum(axis=1)
        size = int((level == name).sum())
        pairs -= size * (size - 1)
    return (off.sum() - inside) / pairs


@dataclass
class _Sums:
    """Means by item and stratum, gathered."""

    across: list[float] = field(default_factory=list[float])
    within: list[float] = field(default_factory=list[float])
    same: list[float] = field(default_factory=list[float])
    moved: list[float] = field(default_factory=list[float])
    dealt: list[Floats] = field(default_factory=list[Floats])
    of_item: list[str] = field(default_factory=list[str])
    items: set[str] = field(default_factory=set[str])
    answers: int = 0


def _compared(placed: pl.DataFrame, vectors: Vectors, permutations: int, rng: np.random.Generator) -> dict[str, Any] | None:
    sums = _Sums()
    for (item, _), cell in placed.group_by("item", "stratum", maintain_order=True):
        some = cell.sample(MOST_ANSWERS, seed=0) if cell.height > MOST_ANSWERS else cell
        level, block, subgroup = (some[name].rank("dense").to_numpy().astype(np.intp) for name in ("level", "block", "subgroup"))
        found = alike(vectors.alike(some["row"].to_numpy().astype(np.intp)), level, block, subgroup, permutations, rng)
        if found is None:
            continue
        sums.across.append(found.across)
        sums.items.add(str(item))
        sums.answers += some.height
        sums.within += [] if found.within is None else [found.within]
        sums.same += [] if found.same is None else [found.same]
        if found.dealt is not None:
            sums.moved.append(found.across)
            sums.dealt.append(found.dealt)
            sums.of_item.append(str(item))
    return _row(sums) if sums.across else None


def _row(sums: _Sums) -> dict[str, Any]:
    def mean(values: list[float]) -> float | None:
        return float(np.mean(values)) if values else None

    row: dict[str, Any] = {"across": mean(sums.across), "within": mean(sums.within), "same": mean(sums.same)}
    row |= {"answers": sums.answers, "items": len(sums.items), "items_shuffled": len(set(sums.of_item))}
    if not sums.dealt:
        return row
    dealt, moved = np.array(sums.dealt), np.array(sums.moved)
    gaps = dealt.mean(axis=1) - moved
    replicates = dealt.mean(axis=0)
    low, high = _clustered(gaps, sums.of_item)
    row |= {"shuffled": float(np.mean(sums.across) + gaps.mean()), "gap": float(gaps.mean()), "gap_low": low, "gap_high": high}
    return row | {"p": float((1 + (replicates <= moved.mean() + 1e-12).sum()) / (len(replicates) + 1))}


def _clustered(gaps: Floats, items: list[str]) -> tuple[float | None, float | None]:
    """Return the ends of the interval of a mean over cells, clustered by item (as in `textchecks_rates`); None under 5 items."""
    from scipy.special import stdtrit

    _, which = np.unique(items, return_inverse=True)
    clusters = int(which.max()) + 1
    if clusters < ENOUGH_ITEMS:
        return None, None
    sums = np.bincount(which, gaps - gaps.mean())
    reach = stdtrit(clusters - 1, 0.975) * np.sqrt(clusters / (clusters - 1) * (sums**2).sum()) / len(gaps)
    return float(gaps.mean() - reach), float(gaps.mean() + reach)


def _elsewhere(placed: pl.DataFrame, vectors: Vectors) -> float | None:
    """Return the mean similarity of a subgroup's answers to different items, every pair of answers counted once."""
    total, pairs = 0.0, 0
    for _, rows in placed.group_by("subgroup", maintain_order=True):
        by_item = [cell["row"].to_numpy().astype(np.intp) for _, cell in rows.group_by("item", maintain_order=True)]
        sums = np.array([vectors.total(which) for which in by_item])
        counts = np.array([len(which) for which in by_item])
        total += float((sums.sum(axis=0) ** 2).sum() - (sums**2).sum())
        pairs += int(counts.sum() ** 2 - (counts**2).sum())
    return total / pairs if pairs else None
