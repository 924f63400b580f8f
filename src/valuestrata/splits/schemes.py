"""Split schemes: pure functions of pairs, subgroups or items, and a seed.

A scheme that cannot be built from a survey is returned with the reason, and the data set is built without it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from valuestrata.dataset.document import ITEM_FOLDS as ITEM_FOLDS
from valuestrata.survey.codebook import Attribute

# Messages list this many labels and count the rest: some codebooks have hundreds of levels.
NAMED = 5

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Fold:
    """One division of the pairs into training and test.

    Attributes:
        label: what is held out, as text.
        held_out: what is held out, as data: {"attribute", "level"}, {"topics"}, {"items"} or empty.
        train, test: masks of shape (pairs,). A pair may be in neither, but not in both.
    """

    label: str
    held_out: Mapping[str, Any]
    train: Mask
    test: Mask


@dataclass(frozen=True)
class Scheme:
    """A scheme, as far as the survey allows it.

    Attributes:
        name: `paper`, `unseen-level`, ...
        folds: the folds; empty if the scheme is not available.
        left_out: label -> reason, for folds that cannot be built.
        note: a caveat for the interpretation of scores, or None.
        refused: why the scheme is not available, or None.
    """

    name: str
    folds: tuple[Fold, ...] = ()
    left_out: Mapping[str, str] = field(default_factory=dict[str, str])
    note: str | None = None
    refused: str | None = None


def paper(pairs: pl.DataFrame, subgroups: pl.DataFrame, attributes: Sequence[Attribute]) -> Scheme:
    """Split as in arXiv 2604.12851: unseen combinations of seen levels.

    Train: single-attribute strata, and pair strata with the anchor (sex, or else the first attribute). Test: the other
    pair strata. Strata of three attributes are not used.

    Args:
        pairs: pair_id, item, subgroup of every gold pair. subgroups: SUBGROUPS schema with one column per attribute.
        attributes: the survey's attributes, in their order.

    Returns:
        One fold. Not available with fewer than three attributes. A note says if test pairs are not new combinations because
        an attribute has a single level.
    """
    if len(attributes) < 3:
        found = ", ".join(a.name for a in attributes) or "none"
        return Scheme(
            "paper",
            refused="The paper split needs at least three attributes (it trains on single attributes and pairs with the anchor, and "
            f"tests on the other pairs); this data set has {len(attributes)}: {found}. Build it with more attributes.",
        )
    names = [a.name for a in attributes]
    anchor = "sex" if "sex" in names else names[0]
    used = _labels(pairs, subgroups, names).select(pl.col(names).is_not_null())
    size = used.sum_horizontal().to_numpy()
    anchored = used[anchor].to_numpy()
    fold = Fold(f"pair strata without {anchor}", {}, (size == 1) | ((size == 2) & anchored), (size == 2) & ~anchored)
    note = _repeated(_labels(pairs, subgroups, names), fold.test)
    return _admitted("paper", [fold], "lower min_respondents or min_valid, or build more strata", note=note)


def unseen_level(pairs: pl.DataFrame, subgroups: pl.DataFrame, attributes: Sequence[Attribute]) -> Scheme:
    """Hold out one level of one attribute per fold, with every subgroup that contains it.

    Everything else is training. A pair of two attributes is a test pair in two folds. An attribute with a single level has no
    fold: no training pair would use the attribute.

    Args:
        pairs: pair_id, item, subgroup of every gold pair. subgroups: SUBGROUPS schema with one column per attribute.
        attributes: the survey's attributes. Folds follow the order of their levels.
    """
    labels = _labels(pairs, subgroups, [a.name for a in attributes])
    folds: list[Fold] = []
    left_out: dict[str, str] = {}
    for attribute in attributes:
        column = labels[attribute.name]
        present = set(column.drop_nulls().unique())
        known = [level.label for level in attribute.levels]
        if len(present) == 1:
            left_out[f"{attribute.name} = {present.pop()}"] = (
                f"no other level of {attribute.name} has pairs, so no training pair would use the attribute"
            )
        elif present:
            for level in known:
                if level in present:
                    test = (column == level).fill_null(value=False).to_numpy()
                    folds.append(Fold(f"{attribute.name} = {level}", {"attribute": attribute.name, "level": level}, ~test, test))
                else:
                    left_out[f"{attribute.name} = {level}"] = "no subgroup of this level has a pair"
        else:
            left_out[attribute.name] = "no subgroup of this attribute has a pair"
    return _admitted("unseen-level", folds, "an attribute needs two levels with pairs; add attributes or lower min_respondents", left_out)


def unseen_item(pairs: pl.DataFrame, items: pl.DataFrame, *, seed: int, folds: int = ITEM_FOLDS) -> Scheme:
    """Hold out items by topic, for all subgroups, in folds of about equal size.

    With at least as many folds as topics, each topic is a fold. With fewer than five topics, and fewer than there are folds, single
    items are assigned to folds, so training includes other items of a test item's topic.

    Args:
        pairs: pair_id, item, subgroup of every gold pair. items: ITEMS schema. seed: seed of the assignment to folds.
        folds: the largest number of folds.
    """
    dealt, note = _deal_items(pairs, items, seed, folds)
    made = [Fold(label, held_out, ~test, test) for label, held_out, test in dealt]
    return _admitted("unseen-item", made, "at least two items need pairs; lower min_valid", note=note)


def unseen_both(
    pairs: pl.DataFrame,
    subgroups: pl.DataFrame,
    attributes: Sequence[Attribute],
    items: pl.DataFrame,
    *,
    seed: int,
    folds: int = ITEM_FOLDS,
) -> Scheme:
    """Hold out items and combinations: the test items of `unseen-item` in the test subgroups of `paper`.

    Train: the other items in the training subgroups of `paper`. The remaining pairs are not used.

    Args:
        pairs, subgroups, attributes: as for `paper`. items, seed, folds: as for `unseen_item`.
    """
    of_paper = paper(pairs, subgroups, attributes)
    if of_paper.refused is not None:
        return Scheme("unseen-both", refused=f"It needs the subgroups of the paper split, which is not available. {of_paper.refused}")
    (by_subgroup,) = of_paper.folds
    dealt, note = _deal_items(pairs, items, seed, folds)
    made = [Fold(label, held_out, by_subgroup.train & ~test, by_subgroup.test & test) for label, held_out, test in dealt]
    notes = " ".join(sentences for sentences in (of_paper.note, note) if sentences) or None
    return _admitted("unseen-both", made, "at least two items need pairs on both sides of the paper split", note=notes)


def transfer(pairs: pl.DataFrame) -> Scheme:
    """Make every pair a test pair. Training uses another data set (another wave or country)."""
    everything = np.ones(len(pairs), dtype=np.bool_)
    return Scheme("transfer", (Fold("every pair; training uses another data set", {}, ~everything, everything),))


def deal(sizes: Mapping[str, int], hands: int, *, seed: int) -> list[list[str]]:
    """Divide named groups into `hands` bins of about equal total size.

    Largest group first, each to the smallest bin so far; groups of equal size in random order. This is the
    longest-processing-time rule (Graham 1969): the largest bin has at most 4/3 of its optimal size. Empty bins are left out.
    """
    names = list(sizes)
    shuffled = [names[i] for i in np.random.default_rng(seed).permutation(len(names))]
    dealt: list[list[str]] = [[] for _ in range(hands)]
    held = [0] * hands
    for name in sorted(shuffled, key=sizes.__getitem__, reverse=True):
        hand = held.index(min(held))
        dealt[hand].append(name)
        held[hand] += sizes[name]
    return [sorted(hand, key=names.index) for hand in dealt if hand]


def by_reason(reasons: Mapping[str, str]) -> str:
    """Return reasons as text, grouped by reason: `a, b: too small; c: no test pairs`.

    Lists the first five labels of each reason and counts the others.
    """
    together: dict[str, list[str]] = {}
    for label, reason in reasons.items():
        together.setdefault(reason, []).append(label)
    return "; ".join(f"{_first(labels)}: {reason}" for reason, labels in together.items())


def _first(labels: Sequence[str]) -> str:
    more = f" and {len(labels) - NAMED:,} more" if len(labels) > NAMED else ""
    return f"{', '.join(labels[:NAMED])}{more}"


def _deal_items(
    pairs: pl.DataFrame, items: pl.DataFrame, seed: int, folds: int
) -> tuple[list[tuple[str, dict[str, Any], Mask]], str | None]:
    """Return label, held_out and test mask of each fold, and a note if folds are by item instead of by topic."""
    asked = items.join(pairs.select("item").unique(), on="item", how="semi", maintain_order="left")
    topics = dict(asked.group_by("topic", maintain_order=True).len().iter_rows())
    by_topic = len(topics) >= min(folds, ITEM_FOLDS)
    sizes: dict[str, int] = topics if by_topic else dict.fromkeys(asked["item"], 1)
    count = "1 topic" if len(topics) == 1 else f"{len(topics)} topics"
    note = (
        None
        if by_topic
        else f"Folds are by item, not by topic: the items with pairs have {count}, and folds by topic need {min(folds, ITEM_FOLDS)}. "
        "Training includes other items of a test item's topic."
    )
    column = pairs.join(asked, on="item", how="left", maintain_order="left")["topic"] if by_topic else pairs["item"]
    dealt = deal(sizes, folds, seed=seed)
    kind = "topics" if by_topic else "items"
    return [("; ".join(hand), {kind: hand}, column.is_in(hand).to_numpy()) for hand in dealt], note


def _labels(pairs: pl.DataFrame, subgroups: pl.DataFrame, attributes: Iterable[str]) -> pl.DataFrame:
    """Return the level of each attribute for every pair; null if its stratum does not use the attribute."""
    return pairs.select("subgroup").join(subgroups.select("subgroup", *attributes), on="subgroup", how="left", maintain_order="left")


def _repeated(labels: pl.DataFrame, test: Mask) -> str | None:
    """Return a note on test pairs that cross an attribute with a single level, or None.

    Such a subgroup has the same respondents as the subgroup of its other attribute.
    """
    tested = labels.filter(pl.Series(test))
    single = {name: found.item() for name in labels.columns if len(found := labels[name].drop_nulls().unique()) == 1}
    crossed = [name for name in single if tested[name].null_count() < len(tested)]
    if not crossed:
        return None
    number = int(tested.select(pl.any_horizontal(pl.col(crossed).is_not_null())).to_series().sum())
    which = " and ".join(f"{name} ({single[name]})" for name in crossed)
    return f"Only one level has pairs in {which}: {number} of {len(tested)} test pairs cross it and are not new combinations of levels."


def _admitted(name: str, folds: Sequence[Fold], needs: str, left_out: Mapping[str, str] | None = None, note: str | None = None) -> Scheme:
    """Return the scheme with the folds that have training and test pairs; not available, with reasons, if there are none."""
    reasons = dict(left_out or {})
    kept: list[Fold] = []
    for fold in folds:
        empty = [side for side, mask in (("training", fold.train), ("test", fold.test)) if not mask.any()]
        if empty:
            reasons[fold.label] = f"no {' and no '.join(empty)} pairs"
        else:
            kept.append(fold)
    if kept:
        return Scheme(name, tuple(kept), reasons, note)
    why = by_reason(reasons) or "no pair was built"
    return Scheme(name, left_out=reasons, refused=f"No fold of {name} has both training and test pairs ({why}); {needs}.")
