"""Similarity of the answers of different subgroups: does a model write the same text whoever speaks?

The cosine similarity of answers to one item by subgroups of different levels of an attribute is compared with its value after shuffling
the levels among answers that are equal in everything else (item, stratum and other levels). `shuffled - across` is the effect of the
attribute on the wording, in units of the similarity. The similarities of samples of one pair and of answers to other items are given
for comparison.

Names of the persona's levels and numbers are removed from the texts first (`without_names`): they are counted as leakage.

In a stratum of the attribute alone with one answer per subgroup there is nothing to shuffle. It counts in the similarities, not in the gap.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from importlib.util import find_spec
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from valuestrata.openended.text.groups import blocks_of
from valuestrata.openended.text.schema import SIMILARITY
from valuestrata.respondents.baselines.item_models.embeddings import WORD, embed_texts
from valuestrata.stats.arrays import Floats, Indices, generator
from valuestrata.stats.cluster_bootstrap import MIN_ITEMS, clusters_of
from valuestrata.stats.cluster_intervals import clustered_intervals

ALL = "all"
# More answers of one item and stratum are sampled.
MAX_ANSWERS = 400


@dataclass(frozen=True)
class Vectors:
    """Texts as unit vectors, one row per text, dense or sparse, and their method."""

    method: str
    rows: Any

    def similarities(self, which: Indices) -> Floats:
        """Return the cosine similarities of some texts, shape (n, n)."""
        some = self.rows[which]
        found = some @ some.T
        return np.asarray(found.toarray() if hasattr(found, "toarray") else found, dtype=np.float64)

    def total(self, which: Indices) -> Floats:
        """Return the sum of some rows, shape (d,)."""
        return np.asarray(self.rows[which].sum(axis=0), dtype=np.float64).ravel()


def vectors_of(texts: Sequence[str]) -> Vectors:
    """Return texts as unit vectors: WordLlama with the extra `text`, else TF-IDF over words and word pairs of these texts.

    Equal texts are computed once. TF-IDF stays sparse.
    """
    distinct = list(dict.fromkeys(texts))
    index = {text: at for at, text in enumerate(distinct)}
    which = np.array([index[text] for text in texts], dtype=np.intp)
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
    block_names: Mapping[str, str],
    *,
    permutations: int = 500,
    seed: int = 0,
) -> pl.DataFrame:
    """Return the similarity of one run's answers across levels of each attribute, and across all subgroups, a frame of SIMILARITY.

    Args:
        answers: run, item, subgroup, of one run, in the order of `vectors`. subgroups: with one column per attribute.
        attributes: their names. block_names: item -> name of its block. permutations, seed: number of shuffles and their seed.
    """
    indexed = answers.with_row_index("row")
    whole = subgroups.filter(pl.col("stratum") != ALL).select(
        "subgroup", "stratum", pl.col("subgroup").alias("level"), pl.col("stratum").alias("block")
    )
    kinds = [("attribute", name, blocks_of(subgroups, attributes, name)) for name in attributes] + [(ALL, ALL, whole)]
    rows: list[dict[str, Any]] = []
    for by, key, blocks in kinds:
        placed = indexed.join(blocks, on="subgroup", maintain_order="left")
        found = _compared(placed, vectors, block_names, permutations, generator(seed))
        if found is not None:
            head = {"run": answers["run"][0], "by": by, "key": key, "method": vectors.method, "elsewhere": _elsewhere(placed, vectors)}
            rows.append(head | found)
    return SIMILARITY.frame(rows)


@dataclass(frozen=True)
class LevelSimilarity:
    """Mean similarities within one item and stratum; None without such pairs of answers.

    Attributes:
        across: between different levels. shuffled: the same in each shuffle, shape (P,); None if nothing can be shuffled.
        within: between different subgroups of one level. same: between samples of one subgroup.
    """

    across: float
    shuffled: Floats | None
    within: float | None
    same: float | None


def level_similarity(
    similarities: Floats, level: Indices, block: Indices, subgroup: Indices, permutations: int, rng: np.random.Generator
) -> LevelSimilarity | None:
    """Compare the answers to one item in one stratum; None if all are of one level.

    Args:
        similarities: shape (n, n). level, block, subgroup: of each answer, shape (n,).
        permutations: P. rng: shuffles the levels within blocks.
    """
    upper = np.triu(np.ones_like(similarities, dtype=np.bool_), 1)
    equal = level[:, None] == level
    across = upper & ~equal
    if not across.any():
        return None
    own = subgroup[:, None] == subgroup

    def mean(mask: NDArray[np.bool_]) -> float | None:
        return float(similarities[mask].mean()) if mask.any() else None

    shuffled = _shuffled(similarities, level, block, permutations, rng) if permutations else None
    return LevelSimilarity(float(similarities[across].mean()), shuffled, mean(upper & equal & ~own), mean(upper & own))


def _shuffled(similarities: Floats, level: Indices, block: Indices, permutations: int, rng: np.random.Generator) -> Floats | None:
    """Return the mean similarity across levels in every shuffle, shape (P,)."""
    levels = np.tile(level, (permutations, 1))
    changes = False
    for name in np.unique(block):
        members = np.flatnonzero(block == name)
        distinct = len(np.unique(level[members]))
        # If every answer has its own level, shuffling only renames the levels.
        if distinct > 1 and not distinct == len(members) == len(level):
            levels[:, members] = rng.permuted(levels[:, members], axis=1)
            changes = True
    if not changes:
        return None
    off_diagonal = similarities - np.diag(np.diag(similarities))
    within = np.zeros(permutations)
    pairs = len(level) * (len(level) - 1)
    for name in np.unique(level):
        members = (levels == name).astype(np.float64)
        within += ((members @ off_diagonal) * members).sum(axis=1)
        size = int((level == name).sum())
        pairs -= size * (size - 1)
    return (off_diagonal.sum() - within) / pairs


@dataclass
class _Collected:
    """Means by item and stratum."""

    across: list[float] = field(default_factory=list[float])
    within: list[float] = field(default_factory=list[float])
    same: list[float] = field(default_factory=list[float])
    across_shuffled: list[float] = field(default_factory=list[float])
    shuffled: list[Floats] = field(default_factory=list[Floats])
    items_shuffled: list[str] = field(default_factory=list[str])
    items: set[str] = field(default_factory=set[str])
    answers: int = 0


def _compared(
    placed: pl.DataFrame, vectors: Vectors, block_names: Mapping[str, str], permutations: int, rng: np.random.Generator
) -> dict[str, Any] | None:
    means = _Collected()
    for (item, _), cell in placed.group_by("item", "stratum", maintain_order=True):
        some = cell.sample(MAX_ANSWERS, seed=0) if cell.height > MAX_ANSWERS else cell
        level, block, subgroup = (some[name].rank("dense").to_numpy().astype(np.intp) for name in ("level", "block", "subgroup"))
        similarities = vectors.similarities(some["row"].to_numpy().astype(np.intp))
        found = level_similarity(similarities, level, block, subgroup, permutations, rng)
        if found is None:
            continue
        means.across.append(found.across)
        means.items.add(str(item))
        means.answers += some.height
        means.within += [] if found.within is None else [found.within]
        means.same += [] if found.same is None else [found.same]
        if found.shuffled is not None:
            means.across_shuffled.append(found.across)
            means.shuffled.append(found.shuffled)
            means.items_shuffled.append(str(item))
    return _row(means, block_names) if means.across else None


def _row(means: _Collected, block_names: Mapping[str, str]) -> dict[str, Any]:
    def mean(values: list[float]) -> float | None:
        return float(np.mean(values)) if values else None

    row: dict[str, Any] = {"across": mean(means.across), "within": mean(means.within), "same": mean(means.same)}
    row |= {"answers": means.answers, "items": len(means.items), "items_shuffled": len(set(means.items_shuffled))}
    if not means.shuffled:
        return row
    shuffled, observed = np.array(means.shuffled), np.array(means.across_shuffled)
    gaps = shuffled.mean(axis=1) - observed
    replicates = shuffled.mean(axis=0)
    low, high = _gap_interval(gaps, means.items_shuffled, block_names)
    row |= {"shuffled": float(np.mean(means.across) + gaps.mean()), "gap": float(gaps.mean()), "gap_low": low, "gap_high": high}
    return row | {"p": float((1 + (replicates <= observed.mean() + 1e-12).sum()) / (len(replicates) + 1))}


def _gap_interval(gaps: Floats, items: list[str], block_names: Mapping[str, str]) -> tuple[float | None, float | None]:
    """Return the interval of the mean gap, clustered by block of items; None under 5 items."""
    clusters = clusters_of(items, [block_names[item] for item in items])
    if clusters.items < MIN_ITEMS:
        return None, None
    squares = (np.bincount(clusters.of, gaps - gaps.mean()) ** 2).sum()
    one = (np.array([value], dtype=np.float64) for value in (gaps.mean(), squares, len(gaps), clusters.number))
    low, high = clustered_intervals(*one, share=np.array([False]))
    return float(low[0]), float(high[0])


def _elsewhere(placed: pl.DataFrame, vectors: Vectors) -> float | None:
    """Return the mean similarity of a subgroup's answers to different items, over all pairs of answers."""
    total, pairs = 0.0, 0
    for _, rows in placed.group_by("subgroup", maintain_order=True):
        by_item = [cell["row"].to_numpy().astype(np.intp) for _, cell in rows.group_by("item", maintain_order=True)]
        sums = np.array([vectors.total(which) for which in by_item])
        counts = np.array([len(which) for which in by_item])
        total += float((sums.sum(axis=0) ** 2).sum() - (sums**2).sum())
        pairs += int(counts.sum() ** 2 - (counts**2).sum())
    return total / pairs if pairs else None
