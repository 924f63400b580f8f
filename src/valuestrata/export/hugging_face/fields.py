"""The columns of the exported tables. Their meanings are those of the data set's own schemas."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import polars as pl

from valuestrata.dataset.tables import GOLD, ITEMS, SPLITS, SUBGROUPS
from valuestrata.errors import InputDataError
from valuestrata.frames import Column, Schema
from valuestrata.responses.run.schema import RESPONSES

CLASSES: Mapping[str, str] = {
    "dont_know": "the respondent did not know",
    "no_answer": "the respondent refused or gave no answer",
    "not_applicable": "the question did not apply to the respondent",
    "not_asked": "the respondent was not asked, for example in another form of the questionnaire",
    "other_missing": "missing for another or an unknown reason",
}
# Struct of the gold whose fields become columns of their own.
MISSING = "missing"
# Not published: with the sums of weights, the weights of single respondents could be worked out.
NOT_PUBLISHED = ("counts_raw", "counts_weighted")
_IDS = ("pair_id", "item", "subgroup", "half")
# Of a response: calls, costs and times are not part of the answer, and errors of providers may hold private addresses.
_OF_ANSWERS = (
    "pair_id",
    "item",
    "subgroup",
    "elicitation",
    "template",
    "paraphrase",
    "order",
    "shown",
    "sample",
    "answer",
    "status",
    "option_probs",
    "option_mass",
    "respondents",
)
RAW_TEXTS = ("text", "reasoning")


def attribute_columns(attributes: list[Mapping[str, Any]]) -> dict[str, Column]:
    """Return a column for each attribute of `dataset.json`."""
    return {
        one["name"]: Column(pl.String, f"{one.get('title') or one['name']}: label of the level, null if the subgroup does not use it")
        for one in attributes
    }


def gold_fields(attributes: list[Mapping[str, Any]]) -> Schema:
    """Return the columns of the configuration `gold`, one row per pair.

    Raises:
        InputDataError: an attribute has the name of another column.
    """
    numbers = {name: column for name, column in GOLD.columns.items() if name not in (*_IDS, *NOT_PUBLISHED, MISSING)}
    texts = {name: ITEMS.columns[name] for name in ("topic", "level", "question", "codes", "labels")}
    own = attribute_columns(attributes)
    if taken := own.keys() & {*GOLD.columns, *SUBGROUPS.columns, *texts, "scheme", "fold", "mode_label"}:
        raise InputDataError(f"The attribute {min(taken)!r} has the name of another column; rename it in the codebook and build again.")
    structure = GOLD.columns[MISSING]
    classes = structure.dtype.fields if isinstance(structure.dtype, pl.Struct) else []
    return Schema(
        "gold",
        {
            **{name: GOLD.columns[name] for name in _IDS},
            "scheme": Column(pl.String, "split that the parts belong to"),
            "fold": SPLITS.columns["fold"],
            **texts,
            "stratum": SUBGROUPS.columns["stratum"],
            **own,
            **numbers,
            "mode_label": Column(pl.String, "label of the mode"),
            **{f"missing_{one.name}": Column(pl.Int64, f"{structure.meaning}: {CLASSES[one.name]}") for one in classes},
        },
    )


def subgroup_fields(attributes: list[Mapping[str, Any]]) -> Schema:
    """Return the columns of the configuration `subgroups`."""
    return Schema("subgroups", {**SUBGROUPS.columns, **attribute_columns(attributes)})


def chat_fields() -> Schema:
    """Return the columns of the configuration `chat`."""
    message = pl.Struct({"role": pl.String, "content": pl.String})
    return Schema(
        "chat",
        {
            **{name: SPLITS.columns[name] for name in ("pair_id", "item", "subgroup")},
            "messages": Column(pl.List(message), "persona and question as `ask` sends them, and the mode as the answer"),
        },
    )


def answer_fields(*, raw_texts: bool) -> Schema:
    """Return the columns of the configuration `answers`, one row per response of a run."""
    names = (*_OF_ANSWERS, *(RAW_TEXTS if raw_texts else ()))
    return Schema("answers", {"run": Column(pl.String, "name of the run"), **{name: RESPONSES.columns[name] for name in names}})
