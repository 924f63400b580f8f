"""Intervals of ten runs x 20,000 pairs: 2,000 two-way replicates of every metric and key (limit: 20 s on 2 cores).

We time `score` as a user calls it: checking and arranging responses, all metrics (including w1, rps, tv and jsd, because every run
has distributions), all groupings, and the resulting table. The peer computes a part of this, the accuracy of one run for every key, on
arrays in memory with the same item weights, redraws and pairing. It is compared with our time for that part.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from population import synthetic_survey
from scipy import stats

from valuestrata.building import BuildSettings, build
from valuestrata.dataset.tables import Dataset
from valuestrata.responses.run.schema import RESPONSES
from valuestrata.scores import score
from valuestrata.scores.layout import BY, Values, lay_out, place
from valuestrata.scores.resampling import Resampler
from valuestrata.scores.schema import OF_ALL_PAIRS
from valuestrata.stats.arrays import Floats, Indices
from valuestrata.stats.bootstrap import SHARED_DRAWS
from valuestrata.stats.intervals import interval

# About 72 cells of the test strata have the required 30 respondents and 30 answers.
RESPONDENTS, ITEMS, RUNS, REPLICATES = 2_000, 278, 10, 2_000
MISSING = 0.02


@dataclass(frozen=True)
class Answered:
    """A run with a name and responses."""

    name: str
    responses: pl.DataFrame


def answered(dataset: Dataset, seed: int) -> Answered:
    """Return a run with a random distribution for each test pair and a few refusals."""
    rng = np.random.default_rng(seed)
    pairs = dataset.part("paper", "test").join(dataset.items.select("item", "codes"), on="item", maintain_order="left")
    probs: list[list[float] | None] = []
    answers: list[int | None] = []
    for codes in pairs["codes"].to_list():
        stated = rng.dirichlet(np.ones(len(codes)))
        refuses = rng.random() < MISSING
        probs.append(None if refuses else stated.tolist())
        answers.append(None if refuses else codes[int(stated.argmax())])
    rows = pairs.select("pair_id", "item", "subgroup").with_columns(
        pl.Series("option_probs", probs, dtype=pl.List(pl.Float64)),
        pl.Series("answer", answers, dtype=pl.Int32),
        pl.lit("logprob").alias("elicitation"),
        pl.lit("default").alias("template"),
        pl.lit("scale").alias("order"),
        pl.lit(0, dtype=pl.Int32).alias("sample"),
        pl.lit(0, dtype=pl.Int32).alias("paraphrase"),
        pl.lit("1").alias("template_version"),
        pl.lit(0.9).alias("option_mass"),
    )
    rows = rows.with_columns(pl.when(pl.col("answer").is_null()).then(pl.lit("refused")).otherwise(pl.lit("answered")).alias("status"))
    absent = [pl.lit(None, dtype=column.dtype).alias(name) for name, column in RESPONSES.columns.items() if name not in rows.columns]
    return Answered(f"run{seed}", rows.with_columns(absent).select(list(RESPONSES.columns)))


@dataclass(frozen=True)
class Work:
    """Input of both sides: the accuracy of one run.

    Attributes:
        items: item of each pair, shape (P,).
        answer, mode: option index, -1 for a refusal, shape (P,).
        draws: redrawn modes, shape (D, P).
        weights: weights of resampled items, shape (B, I).
        order: redraw of each replicate, shape (B,).
        keys: pairs of each key, and whether the key is a single item.
    """

    items: Indices
    answer: Indices
    mode: Indices
    draws: NDArray[np.int8]
    weights: Floats
    order: Indices
    keys: list[tuple[Indices, bool]]


def work_of(resampler: Resampler, run: Answered) -> Work:
    """Return the input as plain arrays with one entry per pair."""
    layout = resampler.layout
    cells = layout.gold["cell"].to_numpy()
    answers = layout.gold.select("pair_id", "codes").join(run.responses.select("pair_id", "answer"), on="pair_id", maintain_order="left")
    place = [-1 if answer is None else codes.index(answer) for codes, answer in answers.select("codes", "answer").iter_rows()]
    group, item = np.divmod(cells, len(layout.items))
    keys = [(np.flatnonzero(member[group] > 0), False) for member in layout.keys.groups]
    keys += [(np.flatnonzero(topic[item] > 0), False) for topic in layout.keys.topics]
    keys += [(np.flatnonzero(item == one), True) for one in layout.keys.items]
    modes = np.ascontiguousarray(resampler.modes[:, cells])
    return Work(item, np.array(place), layout.mode[cells], modes, resampler.weights, resampler.mode_order, keys)


def with_numpy(work: Work) -> Floats:
    """Return the interval of every key, shape (keys, 2), by the formulas in `stats.bootstrap`, one key at a time."""
    hits = work.draws == work.answer
    right = (work.mode == work.answer).astype(float)
    count = work.weights.shape[1]
    ends = np.empty((len(work.keys), 2))
    for number, (pairs, single) in enumerate(work.keys):
        item = work.items[pairs]
        asked = np.bincount(item, minlength=count).astype(float)
        estimate, wider = right[pairs].mean(), 1.0
        replicates = np.full(len(work.weights), estimate)
        of_draw = hits[:, pairs].mean(axis=1)
        of_draw -= of_draw.mean()
        k = 1.0
        if not single:
            used = np.count_nonzero(asked)
            drawn = work.weights @ asked
            of_items = np.divide(
                work.weights @ np.bincount(item, right[pairs], count), drawn, out=np.full(len(drawn), np.nan), where=drawn > 0
            )
            of_items = (of_items - np.nanmean(of_items)) * np.sqrt(used / (used - 1))
            replicates += of_items
            by_item = hits[:SHARED_DRAWS, pairs] @ (item[:, None] == np.arange(count)).astype(float)
            by_item -= by_item.mean(axis=0)
            residual = by_item - by_item.sum(axis=1, keepdims=True) * asked / len(pairs)
            shared = np.square(residual).sum() / (len(by_item) - 1) / len(pairs) ** 2 * used / (used - 1)
            between, people = np.nanvar(of_items, ddof=1), of_draw.var(ddof=1)
            target = max(between, people, between + people - shared)
            k = np.sqrt(np.clip((target - between) / people, 0, 1)) if people > 0 else 1.0
            wider = stats.t.ppf(0.975, (used - 1) * ((between + k**2 * people) / between) ** 2) / stats.norm.ppf(0.975)
        replicates += k * of_draw[work.order]
        low, high = estimate + wider * (np.nanquantile(replicates, (0.025, 0.975)) - estimate)
        ends[number] = min(low, estimate), max(high, estimate)
    return np.clip(ends, 0, 1)


def ours_alone(resampler: Resampler, values: Values) -> Floats:
    """Return the same from the code that `score` uses."""
    found = interval(resampler.replicates(values), 0.95, 0.0, 1.0)
    return np.stack([found.low, found.high], axis=1)


def one_metric(dataset: Dataset, run: Answered) -> dict[str, Any]:
    """Time the accuracy of one run for all keys on both sides, and check that the intervals are equal."""
    layout = lay_out(dataset, "paper", "test", None, BY)
    values = place(layout, run.name, run.responses).metrics["accuracy"]
    resampler = Resampler(layout, REPLICATES, 0)
    work = work_of(resampler, run)
    start = time.perf_counter()
    theirs = with_numpy(work)
    peer = time.perf_counter() - start
    seconds: list[float] = []
    for seed in range(3):
        # A new object each time, because it caches tables of redraws.
        fresh = Resampler(layout, REPLICATES, seed)
        start = time.perf_counter()
        found = ours_alone(fresh, values)
        seconds.append(time.perf_counter() - start)
        if seed == 0:
            # We sum the shared variance in single precision, the peer in double precision.
            np.testing.assert_allclose(found, theirs, atol=1e-5)
    return {
        "name": "bootstrap_one_metric",
        "ours": min(seconds),
        "peer": peer,
        "peer_name": f"numpy {np.__version__}, one key at a time",
        "ratio": peer / min(seconds),
        "unit": "seconds",
        "detail": f"accuracy of one run, {len(work.items):,} pairs, {len(work.keys)} keys, {REPLICATES:,} replicates, equal intervals",
    }


def run() -> list[dict[str, Any]]:
    """Return the seconds of the whole computation and of one metric on both sides."""
    return measured(build(synthetic_survey(RESPONDENTS, ITEMS), BuildSettings(draws=1000)))


def measured(dataset: Dataset) -> list[dict[str, Any]]:
    """Return both rows for a data set."""
    runs = [answered(dataset, seed) for seed in range(RUNS)]
    start, used = time.perf_counter(), time.process_time()
    scores = score(dataset, runs, bootstrap=REPLICATES)
    seconds, used = time.perf_counter() - start, time.process_time() - used
    keys, metrics = (scores.select(columns).n_unique() for columns in (("by", "key"), ("metric",)))
    means = scores.filter(~pl.col("metric").str.starts_with("spread") & pl.col("value").is_not_null())
    lost = means.filter(pl.col("ci_low").is_null() & ~pl.col("metric").str.contains("ceiling|floor"))
    of_all_pairs = scores.filter(pl.col("metric").is_in(OF_ALL_PAIRS)).select("metric").n_unique()
    if len(scores) != RUNS * (keys * (metrics - of_all_pairs) + of_all_pairs) or not lost.is_empty():
        raise AssertionError(f"{len(scores)} rows of {RUNS} runs x {keys} keys x {metrics} metrics, {len(lost)} means without an interval")
    pairs = len(dataset.part("paper", "test"))
    # Processor time is reported too, because other work on the machine does not affect it.
    detail = (
        f"{REPLICATES:,} two-way replicates, {RUNS} runs x {pairs:,} pairs, {metrics} metrics x {keys} keys "
        f"({', '.join(BY)}); {used:.1f} s of processor time"
    )
    whole = {"ours": seconds, "peer": None, "peer_name": None, "ratio": None, "unit": "seconds", "detail": detail}
    return [whole, one_metric(dataset, runs[0])]
