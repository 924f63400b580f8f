"""Checks of a judge from its own verdicts: invalid calls, order, position, ties, length, and constant readings."""

from __future__ import annotations

from collections.abc import Iterator

import polars as pl

from valuestrata.dataset.tables import Dataset
from valuestrata.openended.pairwise.diagnostics import diagnostics
from valuestrata.openended.validity.decision_rule import VALIDITY, check_row
from valuestrata.openended.validity.units import grouped, judged_pairs, judged_stances
from valuestrata.stats.cluster_bootstrap import clustered_mean

# Texts whose lengths differ by less than this share of the longer one count as equally long.
EQUAL_LENGTH = 0.10
_CHECKS = {
    "invalid": "invalid_share",
    "refused": "refused_share",
    "consistency": "order_consistency",
    "position_bias": "position_bias",
    "ties": "tie_share",
}
_COLUMNS = ("run", "reference", "item", "subgroup", "value")


def pairwise_checks(dataset: Dataset, verdicts: pl.DataFrame, answers: pl.DataFrame | None, *, bootstrap: int, seed: int) -> pl.DataFrame:
    """Return the checks of every judge and criterion, a frame of VALIDITY.

    The checks are those of `pairwise.diagnostics`, and longer_preferred: pairs won by the longer text among pairs won, by the mean of
    both orders, with lengths in characters.

    Args:
        dataset: describes strata, levels and topics. verdicts: a frame of VERDICTS.
        answers: run, pair_id, sample, text; None to leave out the check of length.
        bootstrap, seed: number of replicates and their seed.
    """
    rows: list[dict[str, object]] = []
    asked = verdicts.filter(pl.col("status") != "by_rule")
    for (judge, criterion), part in asked.group_by("judge", "criterion", maintain_order=True):
        for check, values in _pairwise_values(part, answers):
            low, high = (-0.5, 0.5) if check == "position_bias" else (0.0, 1.0)
            numbers, items = values["value"].to_numpy(), values["item"].to_numpy()
            blocks = dataset.blocks_of(items)
            for by, key, mask in grouped(dataset, values):
                found = clustered_mean(numbers[mask], items[mask], blocks[mask], bootstrap=bootstrap, seed=seed, low=low, high=high)
                rows.append(check_row(str(judge), str(criterion), by, key, check, found, "judge"))
    return VALIDITY.frame(rows)


def _pairwise_values(part: pl.DataFrame, answers: pl.DataFrame | None) -> Iterator[tuple[str, pl.DataFrame]]:
    """Yield each check with the rows it is the mean of."""
    for name, values in diagnostics(part):
        yield _CHECKS[name], values.select(_COLUMNS)
    if answers is not None:
        yield "longer_preferred", longer_won(judged_pairs(part), answers).select(_COLUMNS)


def stance_checks(dataset: Dataset, stances: pl.DataFrame, *, bootstrap: int, seed: int) -> pl.DataFrame:
    """Return the checks of every judge of stances, a frame of VALIDITY with the criterion `stance`.

    - invalid_share: readings that gave neither an option nor `no stance`; answers that were not sent to the judge are left out.
    - refused_share: readings that the judge refused, or whose reply the service withheld; a part of invalid_share.
    - same_reading: the largest share of readings at one position of the scale; `no stance` counts as a position.
    """
    rows: list[dict[str, object]] = []
    asked = stances.filter(pl.col("attempts").fill_null(1) > 0)
    for (judge,), part in asked.group_by("judge", maintain_order=True):
        where = ("run", pl.lit(None, pl.String).alias("reference"), "item", "subgroup")
        invalid = part.select(*where, (~pl.col("status").is_in(["answered", "no_stance"])).cast(pl.Float64).alias("value"))
        refused = part.select(*where, (pl.col("status") == "refused").cast(pl.Float64).alias("value"))
        places = judged_stances(part, dataset.codes_of).with_columns(pl.col("place").fill_null(-1.0).alias("value"))
        for check, values in (("invalid_share", invalid), ("refused_share", refused), ("same_reading", places)):
            for by, key, mask in grouped(dataset, values):
                some = values.filter(pl.Series(mask))
                numbers = some["value"]
                # A judge without any valid reading has no most common one.
                if check == "same_reading" and len(numbers):
                    numbers = (numbers == numbers.mode().sort().first()).cast(pl.Float64)
                items = some["item"].to_numpy()
                found = clustered_mean(numbers.to_numpy(), items, dataset.blocks_of(items), bootstrap=bootstrap, seed=seed)
                rows.append(check_row(str(judge), "stance", by, key, check, found, "judge"))
    return VALIDITY.frame(rows)


def longer_won(judged: pl.DataFrame, answers: pl.DataFrame) -> pl.DataFrame:
    """Return the decided units whose texts differ in length, with `value` 1 if the longer text won, else 0.

    Args:
        judged: units with the columns `IDENTITY` and `place`. answers: run, pair_id, sample, text.
    """
    length = answers.select("run", "pair_id", "sample", pl.col("text").str.len_chars().cast(pl.Float64).alias("_length"))
    own = judged.join(length, on=["run", "pair_id", "sample"], how="inner", maintain_order="left")
    other = length.rename({"run": "reference", "_length": "_other"})
    two = own.join(other, on=["reference", "pair_id", "sample"], how="inner", maintain_order="left")
    differ = (pl.col("_length") - pl.col("_other")).abs() >= EQUAL_LENGTH * pl.max_horizontal("_length", "_other")
    won = two.filter(pl.col("place") != 0.5, differ, pl.col("_length") != pl.col("_other"))
    return won.with_columns(((pl.col("place") == 1.0) == (pl.col("_length") > pl.col("_other"))).cast(pl.Float64).alias("value"))
