"""Which open questions are asked, of which pairs, and in which words where nobody has worded them."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import polars as pl

from valuestrata.dataset.tables import Dataset
from valuestrata.errors import UsageError, did_you_mean

# A sentence that speaks of the form of reply, and not of the matter.
_FORM = re.compile(
    r"\bscale\b|\bfrom \d+ to \d+|\b\d+ ?(?:means|stands for|being|is|=)|\(\d+ ?(?:-|–|to) ?\d+\)|\boptions?\b"
    r"|\bcard\b|\bof the following\b"
    r"|\b(?:tick|select|choose one|check (?:one|all)|mark)\b",
    re.IGNORECASE,
)
_SENTENCE = re.compile(r"(?<=[.!?])\s+")
_ASKS_OPENLY = "Say in your own words what you think, and why."

# A sentence that names so many of the item's options reads them out; two are often the matter itself (favor or oppose).
_READS_OUT = 3


def drafted_open_question(question: str, labels: Sequence[str] = ()) -> str:
    """Return an open form of a closed question, by rule: its sentences about the matter, then a request to speak freely.

    Sentences about the form of reply (a scale, a card, numbers, three or more of the item's options) are left out; where nothing else
    is there, all of them stay. It is a draft: a survey's own open wording is better.

    Args:
        question: the closed question. labels: its options.
    """
    said = " ".join(question.split())
    sentences = [sentence for sentence in _SENTENCE.split(said) if sentence]
    kept = " ".join(one for one in sentences if not _FORM.search(one) and _named(one, labels) < _READS_OUT) or said
    kept = kept.rstrip(" :;,-")
    return f"{kept}{'' if kept.endswith(('.', '!', '?')) else '.'} {_ASKS_OPENLY}".strip()


def _named(sentence: str, labels: Sequence[str]) -> int:
    """Return how many options a sentence names, the longest first, so that `not happy` is not `happy`, too."""
    rest, found = sentence.casefold(), 0
    for label in sorted({" ".join(label.split()).casefold() for label in labels if label.strip()}, key=len, reverse=True):
        pattern = rf"(?<!\w){re.escape(label)}(?!\w)"
        found += re.search(pattern, rest) is not None
        rest = re.sub(pattern, " ", rest)
    return found


def with_open_questions(dataset: Dataset) -> tuple[Dataset, tuple[str, ...]]:
    """Return the data set with an open question for every item, and the items whose question was drafted here."""
    items = dataset.items
    lacking = items.filter(pl.col("open_question").fill_null("").str.strip_chars() == "")["item"].to_list()
    if not lacking:
        return dataset, ()
    closed = items.filter(pl.col("item").is_in(lacking)).select("item", "question", "labels")
    drafts = {item: drafted_open_question(text, labels) for item, text, labels in closed.iter_rows()}
    drafted = [drafts.get(item, asked) for item, asked in items.select("item", "open_question").iter_rows()]
    return replace(dataset, items=items.with_columns(pl.Series("open_question", drafted, pl.String))), tuple(lacking)


def chosen_items(
    dataset: Dataset,
    *,
    items: Sequence[str] = (),
    topics: Sequence[str] = (),
    most_divided: int | None = None,
    strata: Sequence[str] = (),
) -> list[str]:
    """Return the items to ask about, in the data set's order.

    Args:
        items, topics: only these, where given.
        most_divided: of what is left, so many on which subgroups differ most: by the mean Modal Diversity Score over strata,
            then by the mean pairwise Wasserstein distance, then in the data set's order; an item without either comes last.
        strata: the strata that the landscape is taken over; all where none is given.

    Raises:
        UsageError: an item, topic or stratum that does not exist, or a number below 1.
    """
    topic_of = dict(dataset.items.select("item", "topic").iter_rows())
    known = {"item": list(topic_of), "topic": list(dict.fromkeys(topic for topic in topic_of.values() if topic)), "stratum": dataset.strata}
    for what, given in (("item", items), ("topic", topics), ("stratum", strata)):
        for word in given:
            if word not in known[what]:
                raise UsageError(f"{dataset.path or 'The data set'} has no {what} {word!r}.{did_you_mean(word, known[what])}")
    if most_divided is not None and most_divided < 1:
        raise UsageError(f"most_divided is {most_divided}; it must be at least 1.")
    left = [item for item, topic in topic_of.items() if (not items or item in items) and (not topics or topic in topics)]
    if most_divided is None:
        return left
    landscape = dataset.landscape.filter(pl.col("stratum").is_in(list(strata))) if strata else dataset.landscape
    # Rounded, so that equal means of other sums are a tie.
    means = landscape.group_by("item").agg(pl.col("mds").mean().round(12), pl.col("wasserstein").mean().round(12))
    divided = {item: (-1.0 if mds is None else mds, -1.0 if w1 is None else w1) for item, mds, w1 in means.iter_rows()}
    ranked = sorted(left, key=lambda item: divided.get(item, (-1.0, -1.0)), reverse=True)
    first = set(ranked[:most_divided])
    return [item for item in left if item in first]


def subsampled(dataset: Dataset, pairs: pl.DataFrame, per_item: int, seed: int) -> pl.DataFrame:
    """Return at most `per_item` pairs of every item, spread over strata, in the order they came in.

    For each item, strata and the subgroups within each are put into a random order, seeded by `seed` and the item alone; then one
    subgroup of each stratum is taken in turn until there are enough. Which other items are asked changes nothing, and a larger
    `per_item` only adds pairs.

    Args:
        dataset: says which stratum a subgroup is of. pairs: pair_id, item, subgroup.

    Raises:
        UsageError: a number below 1.
    """
    if per_item < 1:
        raise UsageError(f"pairs_per_item is {per_item}; it must be at least 1.")
    stratum_of = dict(dataset.subgroups.select("subgroup", "stratum").iter_rows())
    of_item: dict[str, dict[str, list[tuple[str, str]]]] = {}
    for pair_id, item, subgroup in pairs.select("pair_id", "item", "subgroup").iter_rows():
        of_item.setdefault(item, {}).setdefault(stratum_of[subgroup], []).append((subgroup, pair_id))
    kept: set[str] = set()
    for item, strata in of_item.items():
        kept.update(_in_turn(strata, per_item, _chance(seed, item)))
    return pairs.filter(pl.col("pair_id").is_in(list(kept)))


def _in_turn(strata: dict[str, list[tuple[str, str]]], number: int, chance: np.random.Generator) -> list[str]:
    """Return pair ids: one of each stratum in turn."""
    names = sorted(strata)
    queues: list[list[str]] = []
    for place in chance.permutation(len(names)):
        members = sorted(strata[names[place]])
        queues.append([members[at][1] for at in chance.permutation(len(members))])
    longest = max(map(len, queues))
    return [queue[turn] for turn in range(longest) for queue in queues if turn < len(queue)][:number]


def _chance(seed: int, item: str) -> np.random.Generator:
    return np.random.default_rng(int.from_bytes(hashlib.sha256(f"{seed}:{item}".encode()).digest()[:8]))
