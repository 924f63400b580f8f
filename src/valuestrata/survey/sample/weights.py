"""The survey weight, and weights that combine several countries."""

from __future__ import annotations

from typing import Literal, cast, get_args

import numpy as np
import polars as pl
from numpy.typing import NDArray

from valuestrata.errors import InputDataError, Option, OptionText, UsageError, one_of
from valuestrata.survey.decode import distinct
from valuestrata.survey.labels import NULL_WORDS, normalise, number

# The largest weight; its inverse is the smallest but 0. Squares and their sums stay finite and above 0.
MOST_WEIGHT = 1e100
Pooling = Literal["equal-per-country", "equal-per-respondent", "weight"]
POOLINGS: tuple[Pooling, ...] = get_args(Pooling)


def read_weight(series: pl.Series) -> tuple[NDArray[np.float64] | None, str | None]:
    """Return the weight and None, or None and the reason why the survey is unweighted.

    A column of text only is not used as a weight. Text among numbers is a missing weight, except labels such as "No
    weighting", which cross-national files use for unweighted countries and which count as 1.

    Raises:
        InputDataError: a missing, negative or infinite weight, one so small or large that sums of squares overflow, or all
            weights zero.
    """
    name = series.name
    if series.dtype == pl.String:
        values = distinct(series)
        numbers = {value: number(value) for value, _ in values if isinstance(value, str)}
        texts = [value for value, parsed in numbers.items() if parsed is None and value.strip() not in NULL_WORDS]
        if texts and all(parsed is None for parsed in numbers.values()):
            return None, f"The weight column {name!r} holds text ({texts[0]!r}), so the answers are unweighted."
        unweighted = {value: 1.0 for value in texts if normalise(value).startswith(("no weight", "not weighted", "unweighted"))}
        table = {value: parsed for value, parsed in numbers.items() if parsed is not None} | unweighted
        old, new = pl.Series(list(table), dtype=pl.String), pl.Series(list(table.values()), dtype=pl.Float64)
        series = series.replace_strict(old, new, default=None, return_dtype=pl.Float64)
    weight = series.cast(pl.Float64).fill_null(float("nan")).to_numpy().astype(np.float64)
    beyond = (weight > 0) & ((weight < 1 / MOST_WEIGHT) | (weight > MOST_WEIGHT))
    for bad, problem in (
        (np.isnan(weight), "missing"),
        (np.isinf(weight), "infinite"),
        (weight < 0, "negative"),
        (beyond, f"not between {1 / MOST_WEIGHT:g} and {MOST_WEIGHT:g}"),
    ):
        if bad.any():
            raise InputDataError(
                f"column {name!r}: the weight is {problem} for {int(bad.sum())} of {len(weight)} respondents. Correct or remove these rows."
            )
    if not weight.any():
        raise InputDataError(f"column {name!r}: the weight is 0 for all {len(weight)} respondents. Correct or remove the column.")
    if weight.min() == weight.max():
        return None, f"The weight column {name!r} is {weight[0]:g} for all respondents, so the answers are unweighted."
    return weight, None


def read_pooling_weight(series: pl.Series) -> NDArray[np.float64] | None:
    """Return a pooling weight; None if it is equal for all. InputDataError as for `read_weight`, and for a column of text."""
    if series.dtype == pl.String and all(number(str(value)) is None for value, _ in distinct(series)):
        raise InputDataError(
            f"column {series.name!r}: the pooling weight holds text. Correct the column, or choose ",
            Option("pooling", "equal-per-country"),
            " or ",
            Option("pooling", "equal-per-respondent"),
            ".",
        )
    return read_weight(series)[0]


def check_pooling(pooling: str | None) -> Pooling | None:
    """Return a way of pooling; UsageError if there is no such way."""
    return None if pooling is None else one_of(pooling, POOLINGS, "There is no way of pooling countries called")


def pool_countries(
    pooling: Pooling, weight: NDArray[np.float64] | None, country: NDArray[np.int32], pooling_weight: NDArray[np.float64] | None
) -> NDArray[np.float64] | None:
    """Return the weights of the respondents of several countries.

    Args:
        pooling: `equal-per-country`: the weights of each country have the same sum. `equal-per-respondent`: they have mean 1,
            so that a country counts by its number of respondents. `weight`: weights times the pooling weight.
        weight: the survey weight, shape (respondents,); None for 1.
        country: the country of each respondent. pooling_weight: shape (respondents,), needed for `weight`.

    Returns:
        Weights with sum n, except for `weight`; None if all are equal.

    Raises:
        InputDataError: a country whose weights are all zero.
    """
    base = np.ones(len(country)) if weight is None else weight
    if pooling == "weight":
        pooled = base if pooling_weight is None else base * pooling_weight
    else:
        _, of = np.unique(country, return_inverse=True)
        people, sums = np.bincount(of), np.bincount(of, weights=base)
        if not (sums > 0).all():
            raise InputDataError("the weights of a country are all zero, so it cannot be combined with others. Leave that country out.")
        target = people if pooling == "equal-per-respondent" else np.full(len(people), len(country) / len(people))
        # Equal weights stay exactly equal.
        pooled = np.where(target[of] == sums[of], base, base * (target / sums)[of])
    return None if pooled.min() == pooled.max() else pooled


def choose_pooling(
    pooling: str | None, countries: int, *, weighted: bool, pooling_weight: str | None, named: tuple[str, ...]
) -> tuple[Pooling | None, str | None]:
    """Return how countries are combined, and a message for the user; None for one country, or if the user must choose.

    Args:
        pooling: what the user chose, or None. countries: number of countries of the respondents.
        weighted: False if the user wants unweighted answers, which count each respondent once.
        pooling_weight: column of the pooling weight in the file, or None. named: its columns in the codebook.

    Raises:
        UsageError: an unknown choice, or one that contradicts unweighted answers.
        InputDataError: `weight` without a pooling weight.
    """
    chosen = check_pooling(pooling)
    if countries < 2:
        return None, None
    if not weighted:
        if chosen not in (None, "equal-per-respondent"):
            raise UsageError(Option("pooling", chosen), " weights the respondents, but unweighted answers were asked for. Choose one.")
        return "equal-per-respondent", None
    if chosen == "weight" and pooling_weight is None:
        what = f"the file has no column {' or '.join(map(repr, named))}" if named else "the codebook names none (key `pooling_weight`)"
        others = cast("tuple[object, ...]", (Option("pooling", "equal-per-country"), " or ", Option("pooling", "equal-per-respondent")))
        raise InputDataError(Option("pooling", "weight"), f" needs a pooling weight, but {what}. Choose ", *others, ".")
    if chosen is None and pooling_weight is not None:
        return "weight", f"The {countries} countries are combined with the pooling weight {pooling_weight!r}."
    return chosen, None


def pooling_needed(countries: int) -> OptionText:
    """Return what to do if several countries are used without a pooling weight or a choice."""
    return OptionText(
        f"the respondents come from {countries} countries, and there is no pooling weight to combine them. Select one country, name a "
        "column under `pooling_weight` in the codebook, or choose ",
        Option("pooling", "equal-per-country"),
        " (each country counts the same) or ",
        Option("pooling", "equal-per-respondent"),
        " (each country counts by its number of respondents).",
    )
