"""Words that a model puts into the mouths of one group more than of others, on the same questions.

The weighted log-odds ratio with an informative Dirichlet prior (Monroe, Colaresi and Quinn 2008, Fightin' words, Political Analysis
16:372-403). With y_w uses of word w in one corpus of n, y'_w of n' in the other, and a prior of a_w, a_0 in all,

    delta_w = log((y_w + a_w) / (n + a_0 - y_w - a_w)) - log((y'_w + a_w) / (n' + a_0 - y'_w - a_w)),
    z_w = delta_w / sqrt(1 / (y_w + a_w) + 1 / (y'_w + a_w)).

The prior has the words of all answers of the run, in their proportions, with a tenth of their uses (`PRIOR_SHARE`): rare words are
drawn to where everybody uses them. A word counts once an answer, however often the answer repeats it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from valuestrata.openended.text.groups import blocks_of
from valuestrata.openended.text.schema import MARKERS
from valuestrata.openended.text.words import STOP_WORDS, words_of
from valuestrata.stats.multiple_testing import benjamini_hochberg

Floats = NDArray[np.float64]
# Uses in the prior, as a share of those in the run: a word has a tenth of its own uses to overcome on either side.
PRIOR_SHARE = 0.1
# Fewer uses than this on both sides together cannot be told from chance, and would only weigh on the adjustment.
FEWEST_USES = 5
# What one question alone brings up is no habit.
FEWEST_ITEMS = 2
LEVEL_OF_CLAIM = 0.05
# Words shown of each level beside its markers.
MOST_SHOWN = 25


def log_odds(uses: Floats, others: Floats, prior: Floats) -> tuple[Floats, Floats]:
    """Return the log-odds ratio of every word and its z.

    Args:
        uses: y, shape (V,). others: y', shape (V,). prior: a, shape (V,), above 0. V is 2 or more.
    """
    first, second = uses + prior, others + prior
    ratio = np.log(first / (first.sum() - first)) - np.log(second / (second.sum() - second))
    return ratio, ratio / np.sqrt(1.0 / first + 1.0 / second)


def markers(
    answers: pl.DataFrame, subgroups: pl.DataFrame, attributes: Sequence[str], own: Mapping[tuple[str, str], frozenset[str]]
) -> pl.DataFrame:
    """Return the words that stand out in a level's answers.

    Compared are answers to the same item by subgroups of one block (`textchecks_groups.blocks_of`), where both the level and
    another one answered. Stop words, words with a figure and the words that name the level itself are left out: who says those restates the
    description, and that is counted as leakage.

    Args:
        answers: run, item, subgroup, text: answers of one or more runs that hold words. subgroups: with a column an attribute.
        attributes: their names. own: (attribute, level) -> the words that name it.

    Returns:
        MARKERS schema: of each level the markers, and of the other words above 0 those with the largest z.
    """
    rows: list[dict[str, Any]] = []
    for (run,), of_run in answers.group_by("run", maintain_order=True):
        corpus = _corpus(of_run)
        for attribute in attributes:
            tested = list(_tested(corpus, blocks_of(subgroups, attributes, attribute), attribute, own))
            adjusted = benjamini_hochberg([row["p"] for row in tested])
            for row, value in zip(tested, adjusted, strict=True):
                assert value is not None
                row |= {"run": run, "p_adjusted": value, "marker": value <= LEVEL_OF_CLAIM and row["items"] >= FEWEST_ITEMS}
            rows += _shown(tested)
    return MARKERS.frame(rows)


@dataclass(frozen=True)
class _Corpus:
    """The answers of a run as words: `present` is a sparse matrix (answers, words) of 0 and 1."""

    answers: pl.DataFrame
    words: Sequence[str]
    present: Any
    prior: Floats


def _corpus(answers: pl.DataFrame) -> _Corpus:
    from scipy.sparse import csr_matrix

    kept = [sorted({word for word in words_of(text) if _speaks(word)}) for text in answers["text"]]
    words = sorted(set().union(*kept))
    place = {word: at for at, word in enumerate(words)}
    columns = [place[word] for some in kept for word in some]
    starts = np.cumsum([0, *(len(some) for some in kept)])
    present = csr_matrix((np.ones(len(columns)), columns, starts), shape=(len(kept), len(words)))
    uses = np.bincount(columns, minlength=len(words)).astype(np.float64)
    return _Corpus(answers.with_row_index("row"), words, present, PRIOR_SHARE * uses)


def _speaks(word: str) -> bool:
    # `40-year-old` and `16-24-years` are ages: who says them restates the description.
    return word not in STOP_WORDS and any(char.isalpha() for char in word) and not any(char.isdigit() for char in word)


def _tested(
    corpus: _Corpus, blocks: pl.DataFrame, attribute: str, own: Mapping[tuple[str, str], frozenset[str]]
) -> Iterator[dict[str, Any]]:
    placed = corpus.answers.join(blocks, on="subgroup", maintain_order="left")
    shared = placed.with_columns(pl.col("level").n_unique().over("item", "block").alias("levels")).filter(pl.col("levels") > 1)
    for level in blocks["level"].unique(maintain_order=True):
        cells = shared.filter(pl.col("level") == level).select("item", "block").unique()
        both = shared.join(cells, on=("item", "block"), how="semi", maintain_order="left")
        ours, theirs = both.filter(pl.col("level") == level), both.filter(pl.col("level") != level)
        if not ours.is_empty():
            yield from _rows(corpus, ours, theirs, attribute, level, own.get((attribute, level), frozenset()))


def _rows(
    corpus: _Corpus, ours: pl.DataFrame, theirs: pl.DataFrame, attribute: str, level: str, own: frozenset[str]
) -> Iterator[dict[str, Any]]:
    from scipy.special import ndtr

    here = corpus.present[ours["row"].to_numpy()]
    uses = np.asarray(here.sum(axis=0)).ravel()
    others = np.asarray(corpus.present[theirs["row"].to_numpy()].sum(axis=0)).ravel()
    foreign = np.array([word not in own for word in corpus.words], dtype=np.bool_)
    if foreign.sum() < 2:
        # Of a single word every answer says as much: its odds are not defined.
        return
    ratio, z = np.zeros_like(uses), np.zeros_like(uses)
    ratio[foreign], z[foreign] = log_odds(uses[foreign], others[foreign], corpus.prior[foreign])
    items = ours["item"].cast(pl.Categorical).to_physical().to_numpy()
    for place in np.flatnonzero(foreign & (uses + others >= FEWEST_USES)).tolist():
        found = here[:, place].nonzero()[0]
        yield {
            "attribute": attribute,
            "level": level,
            "word": corpus.words[place],
            "answers": int(uses[place]),
            "of": ours.height,
            "others": int(others[place]),
            "of_others": theirs.height,
            "items": len(np.unique(items[found])),
            "log_odds": float(ratio[place]),
            "z": float(z[place]),
            "p": float(ndtr(-z[place])),
        }


def _shown(tested: list[dict[str, Any]]) -> list[dict[str, Any]]:
    kept: list[dict[str, Any]] = []
    for level in dict.fromkeys(row["level"] for row in tested):
        above = sorted((row for row in tested if row["level"] == level and row["z"] > 0), key=lambda row: (-row["z"], row["word"]))
        kept += [row for place, row in enumerate(above) if row["marker"] or place < MOST_SHOWN]
    return kept
