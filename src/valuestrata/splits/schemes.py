"""The schemes: what a test pair of each has in common with the pairs that train, and what it has not.

Every scheme is a pure function of the pairs, their subgroups or items, and a seed. What cannot be made of a survey is
returned as a sentence that says why, so that a data set can be built and can tell what it lacks.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from valuestrata.survey.codebook import Attribute

ITEM_FOLDS = 5
# A country has hundreds of levels in some codebooks; a sentence names so many and counts the rest.
NAMED = 5

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Fold:
    """One division of the pairs.

    Attributes:
        label: what it holds out, in words.
        held_out: the same for programs: {"attribute", "level"}, {"topics"}, {"items"} or nothing.
        train, test: shape (pairs,), which pairs are on each side; a pair may be on neither, never on both.
    """

    label: str
    held_out: Mapping[str, Any]
    train: Mask
    test: Mask


@dataclass(frozen=True)
class Scheme:
    """A scheme as far as a survey admits it.

    Attributes:
        name: `paper`, `unseen-level`, ...
        folds: the folds, none where the scheme is refused.
        left_out: label -> why, of folds that the survey does not admit.
        note: what a reader of its scores must know. refused: why there is no fold; None where there are some.
    """

    name: str
    folds: tuple[Fold, ...] = ()
    left_out: Mapping[str, str] = field(default_factory=dict[str, str])
    note: str | None = None
    refused: str | None = None


def paper(pairs: pl.DataFrame, subgroups: pl.DataFrame, attributes: Sequence[Attribute]) -> Scheme:
    """Split as arXiv 2604.12851 does: unseen combinations of seen levels.

    Train: single-attribute strata, and pair strata that contain the anchor (sex; without it the first attribute).
    Test: the other pair strata. Larger strata take no part.

    Args:
        pairs: pair_id, item, subgroup of every gold pair. subgroups: SUBGROUPS schema and a column an attribute.
        attributes: the survey's attributes, in their order.

    Returns:
        One fold; refused with fewer than three attributes, where no pair stratum is without the anchor. A note says it where
        test pairs are no new combination, because one of their attributes has one level only.
    """
    if len(attributes) < 3:
        found = ", ".join(a.name for a in attributes) or "none"
        return Scheme(
            "paper",
            refused="The paper split needs at least three attributes (single ones and pairs with the anchor train, the other pairs "
            f"test); this data set has {len(attributes)}: {found}. Build it with more attributes.",
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
    """Hold out one level of one attribute a fold, and every subgroup that contains it.

    Everything else trains. A pair of two attributes tests in two folds. An attribute of which only one level has pairs is
    no fold: nothing that trains would use the attribute, so that not a level but the attribute would be unseen.

    Args:
        pairs: pair_id, item, subgroup of every gold pair. subgroups: SUBGROUPS schema and a column an attribute.
        attributes: the survey's attributes, in their order; folds come in the order of their levels.
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
                f"no other level of {attribute.name} has pairs, so that nothing that trains would use the attribute"
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


def unseen_item(pairs: pl.DataFrame, items: pl.DataFrame, *, seed: int) -> Scheme:
    """Hold out the items of some topics a fold, whoever is asked: five folds of about as many items each.

    With fewer than five topics single items are dealt instead, so that other items of a test item's topic train.

    Args:
        pairs: pair_id, item, subgroup of every gold pair. items: ITEMS schema. seed: seed of the dealing.
    """
    dealt, note = _deal_items(pairs, items, seed)
    folds = [Fold(label, held_out, ~test, test) for label, held_out, test in dealt]
    return _admitted("unseen-item", folds, "at least two items need pairs; lower min_valid", note=note)


def unseen_both(pairs: pl.DataFrame, subgroups: pl.DataFrame, attributes: Sequence[Attribute], items: pl.DataFrame, *, seed: int) -> Scheme:
    """Hold out items and combinations at once: the test items of `unseen-item` in the test subgroups of `paper`.

    Train: the other items in the paper split's training subgroups. Pairs that share only one of the two take no part.

    Args:
        pairs, subgroups, attributes: as for `paper`. items, seed: as for `unseen_item`.
    """
    of_paper = paper(pairs, subgroups, attributes)
    if of_paper.refused is not None:
        return Scheme("unseen-both", refused=f"It takes its subgroups from the paper split, and there is none. {of_paper.refused}")
    (by_subgroup,) = of_paper.folds
    dealt, note = _deal_items(pairs, items, seed)
    folds = [Fold(label, held_out, by_subgroup.train & ~test, by_subgroup.test & test) for label, held_out, test in dealt]
    notes = " ".join(sentences for sentences in (of_paper.note, note) if sentences) or None
    return _admitted("unseen-both", folds, "at least two items need pairs on both sides of the paper split", note=notes)


def transfer(pairs: pl.DataFrame) -> Scheme:
    """Let every pair test; what trains is another data set (another wave or country), and never this one."""
    everything = np.ones(len(pairs), dtype=np.bool_)
    return Scheme("transfer", (Fold("every pair; another data set trains", {}, ~everything, everything),))


def deal(sizes: Mapping[str, int], hands: int, *, seed: int) -> list[list[str]]:
    """Deal named heaps to hands so that the hands hold about as much: largest first, each to the lightest hand so far.

    Equal heaps come in an order drawn by `seed`. (Longest-processing-time rule: Graham 1969, the fullest hand holds at
    most 4/3 of what the best dealing would give it.) Hands that got nothing are left out.
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
    """Return label -> reason as one phrase, labels of the same reason together: `a, b: too small; c: nothing tests`.

    Of the labels of one reason the first five are named and the others counted.
    """
    together: dict[str, list[str]] = {}
    for label, reason in reasons.items():
        together.setdefault(reason, []).append(label)
    return "; ".join(f"{_first(labels)}: {reason}" for reason, labels in together.items())


def _first(labels: Sequence[str]) -> str:
    more = f" and {len(labels) - NAMED:,} more" if len(labels) > NAMED else ""
    return f"{', '.join(labels[:NAMED])}{more}"


def _deal_items(pairs: pl.DataFrame, items: pl.DataFrame, seed: int) -> tuple[list[tuple[str, dict[str, Any], Mask]], str | None]:
    """Return label, held_out and test mask of each fold, and the note where items were dealt instead of topics."""
    asked = items.join(pairs.select("item").unique(), on="item", how="semi", maintain_order="left")
    topics = dict(asked.group_by("topic", maintain_order=True).len().iter_rows())
    by_topic = len(topics) >= ITEM_FOLDS
    sizes: dict[str, int] = topics if by_topic else dict.fromkeys(asked["item"], 1)
    count = "1 topic" if len(topics) == 1 else f"{len(topics)} topics"
    note = (
        None
        if by_topic
        else f"Folds by item, not by topic: the items with pairs have {count}, and five folds need as many. "
        "Other items of a test item's topic train."
    )
    column = pairs.join(asked, on="item", how="left", maintain_order="left")["topic"] if by_topic else pairs["item"]
    dealt = deal(sizes, ITEM_FOLDS, seed=seed)
    kind = "topics" if by_topic else "items"
    return [("; ".join(hand), {kind: hand}, column.is_in(hand).to_numpy()) for hand in dealt], note


def _labels(pairs: pl.DataFrame, subgroups: pl.DataFrame, attributes: Iterable[str]) -> pl.DataFrame:
    """Return for every pair the level of each attribute, null where its stratum does not use it."""
    return pairs.select("subgroup").join(subgroups.select("subgroup", *attributes), on="subgroup", how="left", maintain_order="left")


def _repeated(labels: pl.DataFrame, test: Mask) -> str | None:
    """Return a note on test pairs that cross an attribute of one level, from the levels of all pairs (columns: attributes).

    Such a cell holds the people of its other attribute's cell over again, as far as they are known to have that level.
    """
    tested = labels.filter(pl.Series(test))
    single = {name: found.item() for name in labels.columns if len(found := labels[name].drop_nulls().unique()) == 1}
    crossed = [name for name in single if tested[name].null_count() < len(tested)]
    if not crossed:
        return None
    number = int(tested.select(pl.any_horizontal(pl.col(crossed).is_not_null())).to_series().sum())
    which = " and ".join(f"{name} ({single[name]})" for name in crossed)
    return f"Only one level has pairs in {which}: {number} of {len(tested)} test pairs cross it, and are no new combination of levels."


def _admitted(name: str, folds: Sequence[Fold], needs: str, left_out: Mapping[str, str] | None = None, note: str | None = None) -> Scheme:
    """Return the scheme of the folds with two sides; refused, with the reasons, where none has."""
    reasons = dict(left_out or {})
    kept: list[Fold] = []
    for fold in folds:
        empty = [side for side, mask in (("trains", fold.train), ("tests", fold.test)) if not mask.any()]
        if empty:
            reasons[fold.label] = f"nothing {' and nothing '.join(empty)}"
        else:
            kept.append(fold)
    if kept:
        return Scheme(name, tuple(kept), reasons, note)
    why = by_reason(reasons) or "no pair was built"
    return Scheme(name, left_out=reasons, refused=f"No fold of {name} has both a training and a test side ({why}); {needs}.")
