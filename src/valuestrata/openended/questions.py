"""Open questions: wording by rule, choice of items, and stratified subsamples of pairs."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import polars as pl

from valuestrata.dataset.landscape import MEASURES
from valuestrata.dataset.tables import Dataset
from valuestrata.errors import UsageError, did_you_mean

# Sentences about the form of the reply, not about the subject.
_REPLY_FORM = re.compile(
    r"\bscale\b|\bfrom \d+ to \d+|\b\d+ ?(?:means|stands for|being|is|=)|\(\d+ ?(?:-|–|to) ?\d+\)|\boptions?\b"
    r"|\bcard\b|\bof the following\b"
    r"|\b(?:tick|select|choose one|check (?:one|all)|mark)\b",
    re.IGNORECASE,
)
_SENTENCE = re.compile(r"(?<=[.!?])\s+")
_OPEN_REQUEST = "Say in your own words what you think, and why."
# A sentence that names this many options lists them; two are often the subject itself (favor or oppose).
_OPTIONS_LISTED = 3
# Below every excess, which is -1 to 1.
_LAST = -2.0


def drafted_open_question(question: str, labels: Sequence[str] = ()) -> str:
    """Return an open form of a closed question: its sentences about the subject, then a request to speak freely.

    Sentences about the form of the reply (a scale, a card, numbers, three or more of the options) are dropped, unless nothing else is
    left. The wording of a survey's authors is better.

    Args:
        question: the closed question. labels: its options.
    """
    text = " ".join(question.split())
    sentences = [sentence for sentence in _SENTENCE.split(text) if sentence]
    kept = " ".join(one for one in sentences if not _REPLY_FORM.search(one) and _options_in(one, labels) < _OPTIONS_LISTED) or text
    kept = kept.rstrip(" :;,-")
    return f"{kept}{'' if kept.endswith(('.', '!', '?')) else '.'} {_OPEN_REQUEST}".strip()


def _options_in(sentence: str, labels: Sequence[str]) -> int:
    """Return how many options a sentence names, the longest first: `not happy` does not count as `happy`."""
    rest, found = sentence.casefold(), 0
    for label in sorted({" ".join(label.split()).casefold() for label in labels if label.strip()}, key=len, reverse=True):
        pattern = rf"(?<!\w){re.escape(label)}(?!\w)"
        found += re.search(pattern, rest) is not None
        rest = re.sub(pattern, " ", rest)
    return found


def with_open_questions(dataset: Dataset) -> tuple[Dataset, tuple[str, ...]]:
    """Return the data set with an open question for every item, and the items whose question was drafted by rule."""
    items = dataset.items
    missing = items.filter(pl.col("open_question").fill_null("").str.strip_chars() == "").select("item", "question", "labels")
    if missing.is_empty():
        return dataset, ()
    drafts = {item: drafted_open_question(text, labels) for item, text, labels in missing.iter_rows()}
    worded = [drafts.get(item, question) for item, question in items.select("item", "open_question").iter_rows()]
    return replace(dataset, items=items.with_columns(pl.Series("open_question", worded, pl.String))), tuple(drafts)


def chosen_items(
    dataset: Dataset, *, items: Sequence[str] = (), topics: Sequence[str] = (), most_divided: int | None = None, strata: Sequence[str] = ()
) -> list[str]:
    """Return the items to ask, in the order of the data set.

    Args:
        items, topics: only these, if given.
        most_divided: of the remaining items, this many on which subgroups differ most beyond chance: by the mean over strata of the
            Modal Diversity Score minus its value under no difference, then of the mean pairwise Wasserstein distance minus its own,
            then in the order of the data set; items without either come last. In a data set of an older version, without values
            under no difference, by the values themselves.
        strata: strata of these means; all if empty.

    Raises:
        UsageError: an unknown item, topic or stratum, or a number below 1.
    """
    topic_of = dict(dataset.items.select("item", "topic").iter_rows())
    known = {"item": list(topic_of), "topic": list(dict.fromkeys(topic for topic in topic_of.values() if topic)), "stratum": dataset.strata}
    for kind, given in (("item", items), ("topic", topics), ("stratum", strata)):
        for name in given:
            if name not in known[kind]:
                raise UsageError(f"{dataset.path or 'The data set'} has no {kind} {name!r}.{did_you_mean(name, known[kind])}")
    if most_divided is not None and most_divided < 1:
        raise UsageError(f"most_divided is {most_divided}; it must be at least 1.")
    left = [item for item, topic in topic_of.items() if (not items or item in items) and (not topics or topic in topics)]
    if most_divided is None:
        return left
    landscape = dataset.landscape.filter(pl.col("stratum").is_in(list(strata))) if strata else dataset.landscape
    # The excess is a size of difference. A p-value would rank large samples first, and 100 permutations cannot tell p-values apart
    # after a correction for hundreds of items. Rounded so that equal means computed from different sums tie.
    excess = [(pl.col(name) - pl.col(f"{name}_null").fill_null(0.0)).mean().round(12).alias(name) for name in MEASURES]
    means = landscape.group_by("item").agg(excess)
    divided = {item: (_LAST if mds is None else mds, _LAST if w1 is None else w1) for item, mds, w1 in means.iter_rows()}
    ranked = sorted(left, key=lambda item: divided.get(item, (_LAST, _LAST)), reverse=True)
    first = set(ranked[:most_divided])
    return [item for item in left if item in first]


def subsampled(dataset: Dataset, pairs: pl.DataFrame, per_item: int, seed: int) -> pl.DataFrame:
    """Return at most `per_item` pairs of every item, spread over strata, in their original order.

    For each item, strata and the subgroups within each are shuffled with a seed from `seed` and the item; then one subgroup per stratum
    is taken in turn. Other items do not affect the result, and a larger `per_item` only adds pairs.

    Args:
        dataset: gives the stratum of each subgroup. pairs: pair_id, item, subgroup.

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
        rng = np.random.default_rng(int.from_bytes(hashlib.sha256(f"{seed}:{item}".encode()).digest()[:8]))
        kept.update(_in_turn(strata, per_item, rng))
    return pairs.filter(pl.col("pair_id").is_in(list(kept)))


def _in_turn(strata: dict[str, list[tuple[str, str]]], number: int, rng: np.random.Generator) -> list[str]:
    """Return pair ids, taking one of each stratum in turn."""
    names = sorted(strata)
    queues: list[list[str]] = []
    for place in rng.permutation(len(names)):
        members = sorted(strata[names[place]])
        queues.append([members[at][1] for at in rng.permutation(len(members))])
    longest = max(map(len, queues))
    return [queue[turn] for turn in range(longest) for queue in queues if turn < len(queue)][:number]
