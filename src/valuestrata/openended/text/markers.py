"""Stereotype markers: words that a model uses more for one group than for others, on the same questions.

Weighted log-odds ratio with an informative Dirichlet prior (Monroe, Colaresi and Quinn 2008, Political Analysis 16:372-403). With y_w uses
of word w among n in one corpus, y'_w among n' in the other, and a prior a_w with sum a_0,

    delta_w = log((y_w + a_w) / (n + a_0 - y_w - a_w)) - log((y'_w + a_w) / (n' + a_0 - y'_w - a_w)),
    z_w = delta_w / sqrt(1 / (y_w + a_w) + 1 / (y'_w + a_w)).

The prior has the word frequencies of all answers of the run, multiplied by `PRIOR_SHARE`. A word counts once per answer.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from valuestrata.openended.text.groups import blocks_of
from valuestrata.openended.text.schema import MARKERS
from valuestrata.openended.text.words import STOP_WORDS, words_of
from valuestrata.stats.arrays import Floats
from valuestrata.stats.multiple_testing import benjamini_hochberg

PRIOR_SHARE = 0.1
# Words with fewer uses on both sides together are not tested.
MIN_USES = 5
# A marker must occur on several items.
MIN_ITEMS = 2
SIGNIFICANCE = 0.05
# Words listed for each level in addition to its markers.
MAX_LISTED = 25


def log_odds(uses: Floats, others: Floats, prior: Floats) -> tuple[Floats, Floats]:
    """Return the log-odds ratio of every word and its z.

    Args:
        uses, others: y and y', shape (V,) with V of 2 or more. prior: a, above 0, shape (V,).
    """
    first, second = uses + prior, others + prior
    ratio = np.log(first / (first.sum() - first)) - np.log(second / (second.sum() - second))
    return ratio, ratio / np.sqrt(1.0 / first + 1.0 / second)


def markers(
    answers: pl.DataFrame, subgroups: pl.DataFrame, attributes: Sequence[str], own: Mapping[tuple[str, str], frozenset[str]]
) -> pl.DataFrame:
    """Return the words that are more frequent in a level's answers, a frame of MARKERS.

    Answers to the same item by subgroups of one block (`blocks_of`) are compared, if the level and another one answered it. Stop words,
    words with a digit and the words that name the level are left out. The table lists the markers of each level and its other words with
    the largest z.

    Args:
        answers: run, item, subgroup, text: written answers of one or more runs. subgroups: with one column per attribute.
        attributes: their names. own: (attribute, level) -> words that name it.
    """
    rows: list[dict[str, Any]] = []
    for (run,), of_run in answers.group_by("run", maintain_order=True):
        corpus = _corpus(of_run)
        for attribute in attributes:
            tested = list(_tested(corpus, blocks_of(subgroups, attributes, attribute), attribute, own))
            adjusted = benjamini_hochberg([row["p"] for row in tested])
            for row, value in zip(tested, adjusted, strict=True):
                assert value is not None
                row |= {"run": run, "p_adjusted": value, "marker": value <= SIGNIFICANCE and row["items"] >= MIN_ITEMS}
            rows += _listed(tested)
    return MARKERS.frame(rows)


@dataclass(frozen=True)
class _Corpus:
    """The answers of a run: `present` is a sparse matrix (answers, words) of 0 and 1."""

    answers: pl.DataFrame
    words: Sequence[str]
    present: Any
    prior: Floats


def _corpus(answers: pl.DataFrame) -> _Corpus:
    from scipy.sparse import csr_matrix

    kept = [sorted({word for word in words_of(text) if _is_tested(word)}) for text in answers["text"]]
    words = sorted(set().union(*kept))
    index = {word: at for at, word in enumerate(words)}
    columns = [index[word] for some in kept for word in some]
    starts = np.cumsum([0, *(len(some) for some in kept)])
    present = csr_matrix((np.ones(len(columns)), columns, starts), shape=(len(kept), len(words)))
    uses = np.bincount(columns, minlength=len(words)).astype(np.float64)
    return _Corpus(answers.with_row_index("row"), words, present, PRIOR_SHARE * uses)


def _is_tested(word: str) -> bool:
    # Words with digits are mostly ages (`40-year-old`), which restate the persona.
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
            for row in _rows(corpus, ours, theirs, own.get((attribute, level), frozenset())):
                yield {"attribute": attribute, "level": level, **row}


def _rows(corpus: _Corpus, ours: pl.DataFrame, theirs: pl.DataFrame, own: frozenset[str]) -> Iterator[dict[str, Any]]:
    from scipy.special import ndtr

    here = corpus.present[ours["row"].to_numpy()]
    uses = np.asarray(here.sum(axis=0)).ravel()
    others = np.asarray(corpus.present[theirs["row"].to_numpy()].sum(axis=0)).ravel()
    tested = np.array([word not in own for word in corpus.words], dtype=np.bool_)
    if tested.sum() < 2:
        # The odds of the only word are undefined.
        return
    ratio, z = np.zeros_like(uses), np.zeros_like(uses)
    ratio[tested], z[tested] = log_odds(uses[tested], others[tested], corpus.prior[tested])
    items = ours["item"].cast(pl.Categorical).to_physical().to_numpy()
    for place in np.flatnonzero(tested & (uses + others >= MIN_USES)).tolist():
        yield {
            "word": corpus.words[place],
            "answers": int(uses[place]),
            "of": ours.height,
            "others": int(others[place]),
            "of_others": theirs.height,
            "items": len(np.unique(items[here[:, place].nonzero()[0]])),
            "log_odds": float(ratio[place]),
            "z": float(z[place]),
            "p": float(ndtr(-z[place])),
        }


def _listed(tested: list[dict[str, Any]]) -> list[dict[str, Any]]:
    kept: list[dict[str, Any]] = []
    for level in dict.fromkeys(row["level"] for row in tested):
        above = sorted((row for row in tested if row["level"] == level and row["z"] > 0), key=lambda row: (-row["z"], row["word"]))
        kept += [row for place, row in enumerate(above) if row["marker"] or place < MAX_LISTED]
    return kept
