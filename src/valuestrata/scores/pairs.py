"""Metrics of pairs, each the mean over the responses to the pair.

A pair may be asked several times (orders, templates, samples); every pair has the same weight.

A response is *missing* if its status is not `answered`: refused, unparsed, invalid code, failed. It scores 0 on accuracies and 1
on distances, so a model cannot gain by refusing hard questions. `accuracy_valid`, `nmae_valid`, `bias` and the spread leave it out.

With a the option index of an answer, m that of the gold mode, s the gold shares, K the number of options:

=================== ======================================= ======= ===================================================
metric              of one response                         range   null where
=================== ======================================= ======= ===================================================
accuracy            1[a = m]                                0..1
accuracy_expected   p_mode(a)                               0..1
accuracy_set        1[a among the tied modes]               0..1
accuracy_valid      1[a = m]                                0..1    no valid answer
nmae                abs(a - m) / (K - 1)                    0..1    nominal
nmae_valid          abs(a - m) / (K - 1)                    0..1    nominal; no valid answer
w1, rps             distance of its distribution to s       0..1    nominal; no distribution
tv, jsd             distance of its distribution to s       0..1    no distribution
bias                (a - m) / (K - 1)                       -1..1   nominal; no valid answer
refusal_rate        1[refused]                              0..1
invalid_rate        1[unparsed, invalid code or failed]     0..1
option_mass         probability of all legal answers        0..1    not measured
w1_sampling         how much w1 can be too high, see below  0..1    nominal; its distribution is not of samples
ceiling_*, floor_*  of the gold, see `dataset.GOLD`         0..1    floors: nominal
*_halves            of half A against half B                0..1    a half without answers; floors: nominal
=================== ======================================= ======= ===================================================

The distribution is the response's `option_probs`. A pair without any that was asked at least `ENOUGH_SAMPLES` times has the
empirical distribution of its valid answers, with distance 1 for the missing share. A single text answer has no distribution: as
one, it would be rewarded for giving the median of the gold shares, which is not the question asked.

**Few samples.** Shares of n samples scatter about the model's own distribution F, so that their W1 to the gold is too high on average.
The excess is at least 0 (Jensen's inequality) and at most the expected W1 of the samples to F (triangle inequality); it is this large
for a model whose distribution equals the gold, and near 0 where the two are far apart. `w1_sampling` estimates the upper end by
sum_k sqrt(2 / pi) sqrt(F_k (1 - F_k) / (n - 1)) / (K - 1), with F the observed cumulative shares, times the share of valid answers.
The same holds for shares of n simulated respondents (`respondents`), which are counted without their weights.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl

from valuestrata import measures
from valuestrata.dataset.tables import Dataset
from valuestrata.errors import InputDataError
from valuestrata.responses.run.halves import response_keys
from valuestrata.responses.run.schema import RESPONSES
from valuestrata.scores.distances import GivenDistributions, padded
from valuestrata.stats.arrays import Floats, Indices

ENOUGH_SAMPLES = 10
INVALID = ("unparsed", "invalid_code", "failed")
# The other readouts ask for a distribution: there, a missing response is a missing distribution.
WRITTEN = ("text", "reasoned")

# Pessimistic, because each half has half of the respondents: see `_of_halves`.
OF_HALVES = ("ceiling_halves", "floor_nmae_halves", "floor_w1_halves")
OF_GOLD = ("ceiling_oracle", "ceiling_human", "floor_nmae", "floor_w1", "floor_rps", *OF_HALVES)


@dataclass(frozen=True)
class PairTable:
    """Metrics of the P pairs that a run was asked; NaN where undefined.

    Attributes:
        pairs: pair_id, item, subgroup, responses, valid; in the order of the gold.
        mode: shape (P,), option index of the gold mode.
        fixed: metric -> shape (P,), for metrics that do not depend on the mode.
        by_mode: metric -> shape (P, largest K), the metric if option m were the mode; the bootstrap looks up redrawn modes here.
        position: shape (P,), mean of a / (K - 1) over valid answers; NaN for nominal items and without valid answers.
        distributions: the distributions used for w1, rps, tv and jsd.
    """

    pairs: pl.DataFrame
    mode: Indices
    fixed: Mapping[str, Floats]
    by_mode: Mapping[str, Floats]
    position: Floats
    distributions: GivenDistributions


def pair_scores(dataset: Dataset, responses: pl.DataFrame, *, half: str = "all") -> pl.DataFrame:
    """Score each pair asked, against the gold of all respondents or of half A or B.

    Args:
        dataset: the ground truth. responses: RESPONSES schema, in any order. half: `all`, `A` or `B`.

    Returns:
        One row for each pair that was asked and that the half answered, in the data set's order: pair_id, item, subgroup, responses,
        valid, then the metrics of the table above.

    Raises:
        InputDataError: a pair without gold, or an answer that is not a code of its item.
    """
    gold = gold_of(dataset, dataset.gold.select("pair_id").unique(maintain_order=True), half)
    checked = RESPONSES.check(responses, "responses")
    unknown = checked.join(dataset.gold, on="pair_id", how="anti")
    if not unknown.is_empty():
        raise InputDataError(
            f"responses: {unknown['pair_id'].n_unique()} pairs have no gold in the data set, first "
            f"{unknown['pair_id'][0]!r}. Use the data set that the run was asked from."
        )
    table = tabulate(gold, checked)
    at_mode = {name: values[np.arange(len(table.mode)), table.mode] for name, values in table.by_mode.items()}
    columns = {**at_mode, **table.fixed}
    return table.pairs.with_columns(pl.Series(name, values, nan_to_null=True) for name, values in columns.items())


def gold_of(dataset: Dataset, pairs: pl.DataFrame, half: str | None = None) -> pl.DataFrame:
    """Return the gold of `pairs` (columns pair_id and, unless given, `half`), with level, codes, `options` and `OF_HALVES`.

    Small-area estimates follow, null for data sets of older versions.
    """
    wanted = pairs if half is None else pairs.select("pair_id", pl.lit(half).alias("half"))
    items = dataset.items.select("item", "topic", "level", "codes", pl.col("codes").list.len().cast(pl.Int64).alias("options"))
    gold = wanted.join(dataset.gold, on=("pair_id", "half"), how="inner", maintain_order="left").join(
        items, on="item", how="inner", maintain_order="left"
    )
    gold = gold.join(dataset.small_area, on=("pair_id", "half"), how="left", maintain_order="left")
    return _of_halves(dataset, gold)


def _of_halves(dataset: Dataset, gold: pl.DataFrame) -> pl.DataFrame:
    """Add `OF_HALVES`: halves A and B against each other, null where a half has no answer to the pair.

    ceiling_halves is 1 where their modes (the lowest of tied codes) agree, floor_nmae_halves is the distance of these modes and
    floor_w1_halves that of the shares; both floors are null for nominal items. They are pessimistic: they compare two
    noisy samples of half the size.
    """
    columns = ("pair_id", "mode", "shares")
    of_a, of_b = (dataset.gold.filter(pl.col("half") == half).select(columns) for half in "AB")
    both = (
        gold.select("pair_id", "item", "codes", "options", pl.col("level").ne("nominal").alias("ordered"))
        .with_row_index("row")
        .join(of_a, on="pair_id", how="inner", maintain_order="left")
        .join(of_b, on="pair_id", how="inner", maintain_order="left", suffix="_b")
    )
    values = np.full((len(OF_HALVES), len(gold)), np.nan)
    rows = both["row"].to_numpy()
    first, second = (_code_index(both, both.select("item", pl.col(name).alias("code"))) for name in ("mode", "mode_b"))
    options, ordered = both["options"].to_numpy(), both["ordered"].to_numpy()
    values[0, rows] = first == second
    values[1, rows] = np.where(ordered, measures.nmae(first, second, options), np.nan)
    widest = int(options.max()) if len(both) else 0
    shares, shares_b = padded(both["shares"], widest), padded(both["shares_b"], widest)
    for k in np.unique(options[ordered]):
        these = np.flatnonzero(ordered & (options == k))
        values[2, rows[these]] = measures.w1(shares[these, :k], shares_b[these, :k])
    return gold.with_columns(pl.Series(name, row, nan_to_null=True) for name, row in zip(OF_HALVES, values, strict=True))


def tabulate(gold: pl.DataFrame, responses: pl.DataFrame) -> PairTable:
    """Score the responses to the pairs of `gold` (from `gold_of`); other responses are ignored."""
    # Wide enough for all pairs of the part: the bootstrap also looks up pairs that were not asked.
    widest = int(np.max(gold["options"].to_numpy(), initial=2))
    gold = answered_gold(gold, responses)
    rows = responses.join(gold.select(keys := response_keys(responses)).with_row_index("pair"), on=keys, how="inner", maintain_order="left")
    options = gold["options"].to_numpy().astype(np.intp)
    count = len(gold)
    pair = rows["pair"].to_numpy().astype(np.intp)
    answered = (rows["status"] == "answered").to_numpy()
    asked = np.bincount(pair, minlength=count).astype(np.float64)

    cell = pair[answered] * widest + _answer_index(gold, rows.filter(pl.col("status") == "answered"))
    chosen = np.bincount(cell, minlength=count * widest).reshape(count, widest)
    valid = chosen.sum(axis=1).astype(np.float64)
    share = chosen / asked[:, None]
    share_valid = np.divide(chosen, valid[:, None], out=np.full((count, widest), np.nan), where=valid[:, None] > 0)
    ordered = (gold["level"] != "nominal").to_numpy()
    missing = 1.0 - valid / asked
    distributions = _distributions(gold, rows, share_valid, missing, asked)

    def rate(*statuses: str) -> Floats:
        return np.bincount(pair, weights=rows["status"].is_in(statuses).to_numpy().astype(np.float64), minlength=count) / asked

    fixed: dict[str, Floats] = {
        "accuracy_expected": (share * padded(gold["p_mode"], widest)).sum(axis=1),
        "accuracy_set": (share * _mode_set(gold, widest)).sum(axis=1),
        **distributions.against(padded(gold["shares"], widest), options, ordered),
        **{name: gold[name].cast(pl.Float64).to_numpy().astype(np.float64) for name in OF_GOLD},
        "refusal_rate": rate("refused"),
        "invalid_rate": rate(*INVALID),
        "option_mass": _mean_by(pair, rows["option_mass"].to_numpy().astype(np.float64), count),
        "w1_sampling": np.full(count, np.nan),
    }
    # Answers behind a distribution: sampled ones, or those of simulated respondents.
    drawn_from, observed = _simulated(rows, pair, widest, count)
    sampled = distributions.sampled
    drawn_from[sampled], observed[sampled] = valid[sampled], share_valid[sampled]
    distance = np.full((count, widest), np.nan)
    distance_valid = np.full((count, widest), np.nan)
    position = np.full(count, np.nan)
    signed = np.full((count, widest), np.nan)
    for k in np.unique(options[ordered]):
        these = np.flatnonzero(ordered & (options == k))
        steps = np.arange(k)
        apart = measures.nmae(steps[:, None], steps[None, :], k)
        distance[these, :k] = share[these, :k] @ apart + missing[these, None]
        distance_valid[these, :k] = share_valid[these, :k] @ apart
        position[these] = share_valid[these, :k] @ steps / (k - 1)
        signed[these, :k] = position[these, None] - steps / (k - 1)
        drawn = these[drawn_from[these] > 1]
        at_most = np.clip(np.cumsum(observed[drawn, : k - 1], axis=1), 0.0, 1.0)
        apart = np.sqrt(2 / np.pi * at_most * (1 - at_most) / (drawn_from[drawn, None] - 1)).sum(axis=1)
        fixed["w1_sampling"][drawn] = valid[drawn] / asked[drawn] * apart / (k - 1)
    by_mode = {"accuracy": share, "accuracy_valid": share_valid, "nmae": distance, "nmae_valid": distance_valid, "bias": signed}
    pairs = gold.select("pair_id", "item", "subgroup").with_columns(
        pl.Series("responses", asked.astype(np.int64)), pl.Series("valid", valid.astype(np.int64))
    )
    return PairTable(pairs=pairs, mode=mode_index(gold), fixed=fixed, by_mode=by_mode, position=position, distributions=distributions)


def _simulated(rows: pl.DataFrame, pair: Indices, widest: int, count: int) -> tuple[Floats, Floats]:
    """Return the simulated respondents behind each pair's distribution, shape (count,), 0 without, and the distribution, (count, K).

    Of a pair with several responses, the last one with respondents counts.
    """
    number, shares = np.zeros(count), np.zeros((count, widest))
    if "respondents" in rows.columns and len(rows) > (empty := rows["respondents"].null_count()) and empty < len(rows):
        known = (rows["respondents"].is_not_null() & rows["option_probs"].is_not_null()).to_numpy()
        number[pair[known]] = rows["respondents"].to_numpy()[known]
        shares[pair[known]] = padded(rows.filter(pl.Series(known))["option_probs"], widest)
    return number, shares


def answered_gold(gold: pl.DataFrame, responses: pl.DataFrame) -> pl.DataFrame:
    """Return the rows of `gold` with a response; with a column `half` in the responses, one that is scored against that half."""
    return gold.join(responses.select(keys := response_keys(responses)).unique(), on=keys, how="semi", maintain_order="left")


def mode_index(gold: pl.DataFrame) -> Indices:
    """Return the option index of each pair's gold mode, shape (P,)."""
    return _code_index(gold, gold.select("item", pl.col("mode").alias("code")))


def _distributions(gold: pl.DataFrame, rows: pl.DataFrame, share_valid: Floats, missing: Floats, asked: Floats) -> GivenDistributions:
    """Return the distributions of the P pairs of `gold`; the module's docstring says which pairs have none.

    Args:
        gold: P pairs. rows: their responses, with the column `pair`.
        share_valid: shape (P, largest K), the valid answers as a distribution, NaN without any.
        missing: shape (P,), share of responses that are missing. asked: shape (P,), responses.
    """
    count, widest = share_valid.shape
    options = gold["options"].to_numpy()
    is_answered = pl.col("status") == "answered"
    given = rows.filter(is_answered & pl.col("option_probs").is_not_null()).select("pair", "option_probs")
    absent = rows.filter(~is_answered & (~pl.col("elicitation").is_in(WRITTEN) | pl.col("option_probs").is_not_null()))
    pair = given["pair"].to_numpy().astype(np.intp)
    wrong = np.flatnonzero(given["option_probs"].list.len().to_numpy() != options[pair])
    if len(wrong):
        first = gold.row(int(pair[wrong[0]]), named=True)
        raise InputDataError(
            f"responses: {first['pair_id']!r}: option_probs holds {len(given['option_probs'][int(wrong[0])])} probabilities, "
            f"the item has {first['options']} options. Give one for each code, in scale order."
        )
    missing_here = np.bincount(absent["pair"].to_numpy().astype(np.intp), minlength=count).astype(np.float64)
    number = np.bincount(pair, minlength=count) + missing_here
    empirical = (number == 0) & (asked >= ENOUGH_SAMPLES)
    sampled = np.flatnonzero(empirical & (missing < 1))
    constant = np.divide(missing_here, number, out=np.full(count, np.nan), where=number > 0)
    constant[empirical] = missing[empirical]
    return GivenDistributions(
        pair=np.concatenate([pair, sampled]),
        probs=np.concatenate([padded(given["option_probs"], widest), share_valid[sampled]]),
        weight=np.concatenate([1.0 / number[pair], 1.0 - missing[sampled]]),
        constant=constant,
        sampled=sampled,
    )


def _mode_set(gold: pl.DataFrame, width: int) -> Floats:
    """Return 1 for options among the tied modes of a pair, shape (P, width)."""
    modes = gold.select("item", pl.col("modes").alias("code")).with_row_index("pair").explode("code")
    indicator = np.zeros((len(gold), width))
    indicator[modes["pair"].to_numpy(), _code_index(gold, modes)] = 1.0
    return indicator


def _answer_index(gold: pl.DataFrame, answered: pl.DataFrame) -> Indices:
    return _code_index(gold, answered.select("pair_id", "item", pl.col("answer").alias("code")))


def _code_index(gold: pl.DataFrame, coded: pl.DataFrame) -> Indices:
    """Return the index of each row's `code` on the scale of its item."""
    scale = (
        gold.select("item", "codes")
        .unique("item")
        .select("item", pl.col("codes").alias("code"), pl.int_ranges(0, pl.col("codes").list.len()).alias("place"))
        .explode("code", "place")
    )
    found = coded.join(scale, on=("item", "code"), how="left", maintain_order="left")
    lost = found.filter(pl.col("place").is_null())
    if not lost.is_empty():
        first = lost.row(0, named=True)
        raise InputDataError(
            f"{first.get('pair_id', first['item'])!r}: {first['code']} is not a code of the item {first['item']!r} "
            f"({len(lost)} such rows). Give responses without a valid code another status than `answered`."
        )
    return found["place"].to_numpy().astype(np.intp)


def _mean_by(pair: Indices, values: Floats, count: int) -> Floats:
    """Return the mean over each pair's values, NaN left out, shape (count,); NaN without values."""
    known = ~np.isnan(values)
    number = np.bincount(pair[known], minlength=count)
    total = np.bincount(pair[known], weights=values[known], minlength=count)
    return np.divide(total, number, out=np.full(count, np.nan), where=number > 0)
