"""How similar new questions are to the survey's own, compared with the questions that the backtest held out.

The similarity of a question is the largest cosine between its text and that of a question it was predicted from, with what all
questions of the survey have in common removed. The backtest says nothing about questions that are less similar than nearly all it held
out: below the 5 % quantile of theirs a question is outside the validated range, and so is one on a scale of a length that the survey
does not have.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl

from valuestrata.dataset.tables import Dataset
from valuestrata.prediction.questions import NewQuestion
from valuestrata.respondents.baselines.item_models.embeddings import embed_texts
from valuestrata.stats.arrays import Floats

LEAST_QUANTILE = 0.05


def similarity_of(dataset: Dataset, questions: Sequence[NewQuestion], folds: Sequence[Sequence[str]]) -> pl.DataFrame:
    """Compare new questions with those of the survey.

    Args:
        dataset: the survey. questions: new ones. folds: items that the backtest held out together.

    Returns:
        question, similarity (in [-1, 1]), nearest (item), least (the 5 % quantile of the held-out questions), same_options (items with as
        many options and the same kind of scale), outside (outside the validated range), reason (text, null inside).
    """
    items = [item for fold in folds for item in fold]
    text = dict(dataset.items.select("item", "question").iter_rows())
    embedded = embed_texts([*(text[item] for item in items), *(one.text for one in questions)]).vectors
    vectors = embedded - embedded[: len(items)].mean(axis=0)
    size = np.linalg.norm(vectors, axis=1, keepdims=True)
    vectors = np.divide(vectors, size, out=np.zeros_like(vectors), where=size > 1e-9)
    own, new = vectors[: len(items)], vectors[len(items) :]
    fold = np.repeat(np.arange(len(folds)), [len(one) for one in folds])
    least = held_out_quantile(own, fold)
    kinds = [(len(codes), level == "nominal") for codes, level in _scales(dataset, items)]
    rows: list[dict[str, object]] = []
    for one, cosines in zip(questions, new @ own.T, strict=True):
        same = kinds.count((len(one.options), one.scale == "nominal"))
        near = float(cosines.max())
        reasons: list[str] = []
        if not same:
            kind = "nominal" if one.scale == "nominal" else "ordered"
            reasons.append(f"no question of the survey has {len(one.options)} {kind} options")
        if near < least:
            reasons.append(f"it is less similar to the survey's questions ({near:.2f}) than 95 % of those held out (at least {least:.2f})")
        rows.append(
            {
                "question": one.id,
                "similarity": near,
                "nearest": items[int(cosines.argmax())],
                "least": least,
                "same_options": same,
                "outside": bool(reasons),
                "reason": "; ".join(reasons) or None,
            }
        )
    names = {"question": pl.String, "similarity": pl.Float64, "nearest": pl.String, "least": pl.Float64, "same_options": pl.Int64}
    return pl.DataFrame(rows, schema={**names, "outside": pl.Boolean, "reason": pl.String})


def held_out_quantile(vectors: Floats, fold: np.ndarray) -> float:  # pyright: ignore[reportMissingTypeArgument]
    """Return the 5 % quantile, over questions, of the largest cosine with a question of another fold.

    Args:
        vectors: unit vectors, shape (questions, dimensions). fold: of each question, shape (questions,).
    """
    cosines = np.where(np.equal.outer(fold, fold), -np.inf, vectors @ vectors.T)
    return float(np.quantile(cosines.max(axis=1), LEAST_QUANTILE))


def _scales(dataset: Dataset, items: Sequence[str]) -> list[tuple[tuple[int, ...], str]]:
    level = dict(dataset.items.select("item", "level").iter_rows())
    return [(dataset.codes_of[item], level[item]) for item in items]
