"""What a judge's own verdicts say of it, without people: invalid calls, order, position, ties, length."""

from __future__ import annotations

from collections.abc import Iterator

import polars as pl

from valuestrata.dataset.tables import Dataset
from valuestrata.openended.validity.decision_rule import VALIDITY, check_row
from valuestrata.openended.validity.units import IDENTITY, judged_pairs, judged_stances, keyed
from valuestrata.stats.cluster_bootstrap import Estimate, mean

# Texts whose lengths differ by less than this share of the longer one are of one length.
ONE_LENGTH = 0.10
_PLACED = ["run", "reference", "item", "subgroup"]


def pairwise_checks(dataset: Dataset, verdicts: pl.DataFrame, answers: pl.DataFrame | None, *, bootstrap: int, seed: int) -> pl.DataFrame:
    """Return the checks of every judge and criterion, a frame of VALIDITY.

    - invalid_share: calls that gave no verdict (refused, unparsed, failed) over all calls that were to be made.
    - order_consistency: pairs with the same verdict in both orders over pairs with a verdict in both.
    - position_bias: of the decided verdicts (no ties) of such pairs, the share for the answer shown first, less .5.
    - tie_share: ties over the verdicts of such pairs.
    - longer_preferred: pairs won by the longer text over pairs won, by the mean of both orders, lengths in characters.

    Verdicts given by rule are no word of the judge and left out.

    Args:
        dataset: for strata, levels and topics. verdicts: a frame of VERDICTS.
        answers: what the runs wrote (run, pair_id, sample, text); None leaves the check of length out.
        bootstrap, seed: of the intervals, clustered by item.
    """
    rows: list[dict[str, object]] = []
    asked = verdicts.filter(pl.col("status") != "by_rule")
    for (judge, criterion), part in asked.group_by("judge", "criterion", maintain_order=True):
        for check, values in _pairwise_values(part, answers):
            for by, key, mask in keyed(values, dataset):
                found = _mean(values.filter(pl.Series(mask)), check, bootstrap, seed)
                rows.append(check_row(str(judge), str(criterion), by, key, check, found, "judge"))
    return VALIDITY.frame(rows)


def stance_checks(dataset: Dataset, stances: pl.DataFrame, *, bootstrap: int, seed: int) -> pl.DataFrame:
    """Return the checks of every judge that read stances, a frame of VALIDITY with the criterion `stance`.

    - invalid_share: readings that gave neither an option nor `no stance`; answers that were not put to the judge are left out.
    - same_reading: the largest share of readings at one place of the scale, `no stance` being a place, too.
    """
    rows: list[dict[str, object]] = []
    asked = stances.filter(pl.col("attempts").fill_null(1) > 0)
    for (judge,), part in asked.group_by("judge", maintain_order=True):
        invalid = _placed_stances(part).with_columns((~part["status"].is_in(["answered", "no_stance"])).cast(pl.Float64).alias("value"))
        read = judged_stances(part, dataset.codes_of)
        places = read.with_columns(pl.col("place").fill_null(-1.0))
        for check, values in (("invalid_share", invalid), ("same_reading", places)):
            for by, key, mask in keyed(values, dataset):
                some = values.filter(pl.Series(mask))
                if check == "same_reading":
                    some = some.with_columns((pl.col("place") == some["place"].mode().sort().first()).cast(pl.Float64).alias("value"))
                rows.append(check_row(str(judge), "stance", by, key, check, _mean(some, check, bootstrap, seed), "judge"))
    return VALIDITY.frame(rows)


def _placed_stances(stances: pl.DataFrame) -> pl.DataFrame:
    return stances.select("run", pl.lit(None, pl.String).alias("reference"), "item", "subgroup")


def _pairwise_values(part: pl.DataFrame, answers: pl.DataFrame | None) -> Iterator[tuple[str, pl.DataFrame]]:
    """Yield each check with the 0 and 1 it is the mean of."""
    yield "invalid_share", part.select(*_PLACED, (pl.col("status") != "answered").cast(pl.Float64).alias("value"))
    both = part.filter(pl.col("status") == "answered").filter(pl.col("order").n_unique().over(IDENTITY) == 2)
    pairs = both.group_by(IDENTITY, maintain_order=True).agg((pl.col("verdict").n_unique() == 1).cast(pl.Float64).alias("value"))
    yield "order_consistency", pairs.select(*_PLACED, "value")
    first = pl.when(pl.col("order") == "run-first").then(pl.lit("run")).otherwise(pl.lit("reference"))
    decided = both.filter(pl.col("verdict") != "tie")
    yield "position_bias", decided.select(*_PLACED, (pl.col("verdict") == first).cast(pl.Float64).alias("value"))
    yield "tie_share", both.select(*_PLACED, (pl.col("verdict") == "tie").cast(pl.Float64).alias("value"))
    if answers is not None:
        yield "longer_preferred", longer_won(judged_pairs(part), answers).select(*_PLACED, "value")


def longer_won(judged: pl.DataFrame, answers: pl.DataFrame) -> pl.DataFrame:
    """Return the units won by either side whose texts differ in length, with `value` 1 where the longer one won.

    Args:
        judged: units with the columns of `places.IDENTITY` and `place`. answers: run, pair_id, sample, text.
    """
    length = answers.select("run", "pair_id", "sample", pl.col("text").str.len_chars().cast(pl.Float64).alias("_length"))
    own = judged.join(length, on=["run", "pair_id", "sample"], how="inner", maintain_order="left")
    other = length.rename({"run": "reference", "_length": "_other"})
    two = own.join(other, on=["reference", "pair_id", "sample"], how="inner", maintain_order="left")
    apart = (pl.col("_length") - pl.col("_other")).abs() >= ONE_LENGTH * pl.max_horizontal("_length", "_other")
    won = two.filter(pl.col("place") != 0.5, apart, pl.col("_length") != pl.col("_other"))
    return won.with_columns(((pl.col("place") == 1.0) == (pl.col("_length") > pl.col("_other"))).cast(pl.Float64).alias("value"))


def _mean(values: pl.DataFrame, check: str, bootstrap: int, seed: int) -> Estimate:
    found = mean(values["value"].to_numpy(), values["item"].to_numpy(), bootstrap=bootstrap, seed=seed)
    if check != "position_bias":
        return found
    return Estimate(found.value - 0.5, found.low - 0.5, found.high - 0.5, found.n, found.items)
