"""Small data sets and responses, written out by hand or drawn at random, and intervals by plain loops."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import numpy as np
import polars as pl
import pytest
from scipy import stats

from valuestrata.dataset.tables import GOLD, ITEMS, LANDSCAPE, LEAKAGE, MODE_DRAWS, SPLITS, SUBGROUPS, Dataset
from valuestrata.responses.run.schema import RESPONSES


@dataclass
class World:
    """What a test says about its data set; everything not said is plain.

    items: name -> (topic, level, codes). subgroups: name -> (stratum, {attribute: level}).
    counts: (item, subgroup) -> answers by code. draws: the same pairs -> redrawn modes (option indices).
    p_mode: the same pairs -> chances; without it ties are shared equally.
    parts: pair -> part (default test), scheme -> the same for further schemes. folds: pair -> fold.
    half_b: counts of half B where they differ.
    share_steps: pair -> redraws of its shares, each a step for every code; a step is .01 (see `redrawn_shares`).
    """

    items: Mapping[str, tuple[str, str, Sequence[int]]]
    subgroups: Mapping[str, tuple[str, Mapping[str, str]]]
    counts: Mapping[tuple[str, str], Sequence[float]]
    draws: Mapping[tuple[str, str], Sequence[int]] | None = None
    p_mode: Mapping[tuple[str, str], Sequence[float]] = field(default_factory=dict)
    parts: Mapping[tuple[str, str], str] = field(default_factory=dict)
    schemes: Sequence[str] = ("paper",)
    folds: Mapping[tuple[str, str], Sequence[int]] = field(default_factory=dict)
    half_b: Mapping[tuple[str, str], Sequence[float]] = field(default_factory=dict)
    share_steps: Mapping[tuple[str, str], Sequence[Sequence[int]]] = field(default_factory=dict)


def gold_row(world: World, pair: tuple[str, str], half: str) -> dict[str, Any]:
    item, subgroup = pair
    _, level, codes = world.items[item]
    counts = world.half_b.get(pair, world.counts[pair]) if half == "B" else world.counts[pair]
    largest = max(counts)
    modes = [code for code, count in zip(codes, counts, strict=True) if count == largest]
    p_mode = world.p_mode.get(pair, [1 / len(modes) if code in modes else 0.0 for code in codes])
    total = sum(counts)
    place = codes.index(min(modes, key=codes.index))
    floor = sum(p * abs(k - place) for k, p in enumerate(p_mode)) / (len(codes) - 1)
    return {
        "pair_id": f"{item}_{subgroup}",
        "item": item,
        "subgroup": subgroup,
        "half": half,
        "n": int(total),
        "n_eff": float(total),
        "shares": [count / total for count in counts],
        "mode": codes[place],
        "modes": modes,
        "mode_share": largest / total,
        "p_mode": p_mode,
        "ceiling_oracle": max(p_mode),
        "ceiling_human": sum(p * p for p in p_mode),
        "floor_nmae": None if level == "nominal" else floor,
        "floor_w1": None if level == "nominal" else 0.05,
        "floor_rps": None if level == "nominal" else 0.02,
    }


def build(world: World) -> Dataset:
    attributes = list(dict.fromkeys(name for _, levels in world.subgroups.values() for name in levels))
    items = [
        {"item": item, "topic": topic, "level": level, "codes": list(codes), "labels": [str(c) for c in codes], "question": item}
        for item, (topic, level, codes) in world.items.items()
    ]
    subgroups = pl.DataFrame(
        [
            {"subgroup": name, "stratum": stratum, "n": 100, "n_eff": 100.0, **{a: levels.get(a) for a in attributes}}
            for name, (stratum, levels) in world.subgroups.items()
        ],
        schema={name: column.dtype for name, column in SUBGROUPS.columns.items()} | dict.fromkeys(attributes, pl.String),
    )
    splits = [
        {
            "pair_id": f"{i}_{s}",
            "item": i,
            "subgroup": s,
            "scheme": scheme,
            "fold": fold,
            "seed": 0,
            "part": world.parts.get((i, s), "test"),
        }
        for scheme in world.schemes
        for i, s in world.counts
        for fold in world.folds.get((i, s), [0])
    ]
    draws: list[dict[str, Any]] = []
    for (i, s), drawn in (world.draws or {}).items():
        steps = world.share_steps.get((i, s), [])
        # Steps are 1/32 of a standard error: .01 each.
        packed = {"share_se": [0.32] * len(steps[0]), "share_draws": [one for draw in steps for one in draw]} if steps else {}
        draws.append({"pair_id": f"{i}_{s}", "half": "all", "draws": list(drawn), **packed})
    return Dataset(
        meta={"attributes": [{"name": name} for name in attributes], "fingerprint": "x"},
        items=ITEMS.frame(items),
        subgroups=subgroups,
        joint=pl.DataFrame(),
        gold=GOLD.frame([gold_row(world, pair, half) for pair in world.counts for half in ("all", "A", "B")]),
        mode_draws=MODE_DRAWS.frame(draws),
        splits=SPLITS.frame(splits),
        leakage=LEAKAGE.empty(),
        landscape=LANDSCAPE.empty(),
    )


def respond(rows: Sequence[Mapping[str, Any]]) -> pl.DataFrame:
    """Responses: each row names item, subgroup and what is not plain; an answer of None is a refusal unless said otherwise."""
    plain = {"elicitation": "text", "template": "default", "template_version": "1", "paraphrase": 0, "order": "scale", "sample": 0}
    return RESPONSES.frame(
        [
            {
                **plain,
                "pair_id": f"{row['item']}_{row['subgroup']}",
                "status": "refused" if row.get("answer") is None else "answered",
                **row,
            }
            for row in rows
        ]
    )


def run_of(name: str, rows: Sequence[Mapping[str, Any]] | pl.DataFrame) -> SimpleNamespace:
    return SimpleNamespace(name=name, responses=rows if isinstance(rows, pl.DataFrame) else respond(rows))


def value_of(scores: pl.DataFrame, metric: str, by: str = "all", key: str = "all", column: str = "value", run: str | None = None) -> Any:
    rows = scores.filter((pl.col("metric") == metric) & (pl.col("by") == by) & (pl.col("key") == key))
    if run is not None:
        rows = rows.filter(pl.col("run") == run)
    assert len(rows) == 1, f"{len(rows)} rows for {metric} {by} {key}"
    return rows[column][0]


def redrawn_shares(world: World, pair: tuple[str, str], draw: int) -> list[float]:
    """Shares of a redraw: gold shares and steps of .01, none below 0, made to sum to 1."""
    counts = world.counts[pair]
    moved = [max(count / sum(counts) + 0.01 * step, 0.0) for count, step in zip(counts, world.share_steps[pair][draw], strict=True)]
    return [share / sum(moved) for share in moved]


def random_world(seed: int, *, items: int = 6, levels: int = 3, drop: float = 0.15, draws: int = 7, shares: int = 0) -> World:
    """Two attributes, their singles and their crossing; items of all three levels of measurement, some pairs absent."""
    rng = np.random.default_rng(seed)
    kinds = [("ordinal", [-1, 0, 1]), ("nominal", [1, 2, 3, 4]), ("binary", [0, 1]), ("ordinal", [1, 2, 3, 4, 5])]
    questions = {f"Q{i}": (f"topic{i % 3}", *kinds[i % len(kinds)]) for i in range(items)}
    first, second = ([f"{name}{i}" for i in range(levels)] for name in ("A", "B"))
    subgroups = {f"one_{a}": ("one", {"one": a}) for a in first} | {f"two_{b}": ("two", {"two": b}) for b in second}
    subgroups |= {f"one_x_two_{a}_{b}": ("one_x_two", {"one": a, "two": b}) for a in first for b in second}
    pairs = [(i, s) for i in questions for s in subgroups if rng.random() > drop]
    counts = {(i, s): [int(c) for c in rng.integers(1, 12, len(questions[i][2]))] for i, s in pairs}
    redrawn = {(i, s): [int(d) for d in rng.integers(0, len(questions[i][2]), draws)] for i, s in pairs}
    p_mode = {(i, s): [float(p) for p in rng.dirichlet(np.ones(len(questions[i][2])))] for i, s in pairs}
    steps = {(i, s): rng.integers(-20, 21, (shares, len(questions[i][2]))).tolist() for i, s in pairs}
    return World(questions, subgroups, counts, redrawn, p_mode, share_steps=steps)


def random_rows(world: World, seed: int, *, missing: float = 0.2, asked: float = 0.9, samples: int = 3) -> list[dict[str, Any]]:
    """Responses to most pairs, a varying number each, some missing in every way there is, some with a distribution."""
    rng = np.random.default_rng(seed)
    rows: list[dict[str, Any]] = []
    for item, subgroup in world.counts:
        if rng.random() > asked:
            continue
        codes = world.items[item][2]
        stated = bool(rng.random() < 0.5)
        for sample in range(int(rng.integers(1, samples + 1))):
            row: dict[str, Any] = {"item": item, "subgroup": subgroup, "sample": sample}
            if stated:
                row |= {"elicitation": "logprob", "option_mass": float(rng.random())}
            if rng.random() < missing:
                rows.append(row | {"answer": None, "status": str(rng.choice(["refused", "unparsed", "invalid_code", "failed"]))})
                continue
            if stated:
                row["option_probs"] = [float(p) for p in rng.dirichlet(np.ones(len(codes)))]
            rows.append(row | {"answer": int(rng.choice(codes))})
    return rows


def sample_variance(values: Sequence[float | None]) -> float:
    known = [v for v in values if v is not None]
    mean = sum(known) / max(len(known), 1)
    return sum((v - mean) ** 2 for v in known) / (len(known) - 1) if len(known) > 1 else 0.0


def centre(values: Sequence[float | None]) -> list[float | None]:
    known = [v for v in values if v is not None]
    return [None if v is None else v - sum(known) / len(known) for v in values]


@dataclass
class Resamples:
    """Item weights and the pairing with redraws of modes and of shares, drawn in this order."""

    weights: list[list[int]]
    order: list[int]
    share_order: list[int]


def resamples(seed: int, items: int, bootstrap: int, draws: int, shares: int = 1) -> Resamples:
    rng = np.random.default_rng(seed)
    weights = rng.multinomial(items, [1 / items] * items, size=bootstrap).tolist()
    order, share_order = (rng.permutation([b % number for b in range(bootstrap)]).tolist() for number in (draws, shares))
    return Resamples(weights, order, share_order)


def by_items(drawn: Resamples, top: Sequence[float], bottom: Sequence[float] | None, used: Sequence[int]) -> list[float | None]:
    """Deviations of sum(top) / sum(bottom), or of sum(top) alone, under resampled items; None where no used item was drawn."""
    values: list[float | None] = []
    for weights in drawn.weights:
        if not any(weights[i] for i in used):
            values.append(None)
            continue
        total = sum(weights[i] * top[i] for i in used)
        values.append(total if bottom is None else total / sum(weights[i] * bottom[i] for i in used))
    scale = math.sqrt(len(used) / (len(used) - 1)) if len(used) > 1 else 0.0
    return [None if v is None else v * scale for v in centre(values)]


def counted_twice(noise: Sequence[Sequence[float]], part: Sequence[float], used: Sequence[int]) -> float:
    """S: the variance that resampling items finds in the redraws. `noise`: centred sums by draw and item; `part`: sums to 1."""
    if len(noise) < 2 or len(used) < 2:
        return 0.0
    total = 0.0
    for row in noise:
        whole = sum(row[i] for i in used)
        total += sum((row[i] - part[i] * whole) ** 2 for i in used)
    return total / (len(noise) - 1) * len(used) / (len(used) - 1)


def shrunk(items: float, people: float, shared: float) -> float:
    """k, such that items + k^2 people is the largest of items, people, and their sum without what is counted twice."""
    target = max(items, people, items + people - shared)
    return math.sqrt(min(max((target - items) / people, 0.0), 1.0)) if people > 1e-20 else 1.0


def centred_by_item(redrawn: Sequence[Sequence[float]]) -> list[list[float]]:
    columns = [[float(v or 0) for v in centre([row[i] for row in redrawn])] for i in range(len(redrawn[0]))]
    return [list(row) for row in zip(*columns, strict=True)]


def additive(
    drawn: Resamples,
    top: Sequence[float],
    bottom: Sequence[float],
    redrawn: Sequence[Sequence[float]] | None,
    *,
    single: bool = False,
    order: Sequence[int] | None = None,
) -> list[float | None]:
    """Two-way replicates of a mean over pairs, one key, in plain loops.

    top, bottom: sums of the metric and pairs, item by item. redrawn: draw -> sums item by item. single: the key is one item.
    order: the pairing with redraws, that of modes unless given.
    """
    items, people = both_ways(drawn, top, bottom, redrawn, single=single)
    estimate = sum(top) / sum(bottom)
    pairing = drawn.order if order is None else order
    return [None if v is None else estimate + v + people[d % len(people)] for v, d in zip(items, pairing, strict=True)]


def both_ways(
    drawn: Resamples, top: Sequence[float], bottom: Sequence[float], redrawn: Sequence[Sequence[float]] | None, *, single: bool = False
) -> tuple[list[float | None], list[float]]:
    """Deviations of resampled items, and of redraws times k; a single 0 without redraws."""
    used = [i for i in range(len(top)) if bottom[i] > 0]
    pairs = sum(bottom)
    items: list[float | None] = [0.0] * len(drawn.weights) if single else by_items(drawn, top, bottom, used)
    if redrawn is None:
        return items, [0.0]
    noise = centred_by_item(redrawn)
    people = [sum(row) / pairs for row in noise]
    shared = 0.0 if single else counted_twice(noise, [b / pairs for b in bottom], used) / pairs**2
    k = shrunk(sample_variance(items), sample_variance(people), shared)
    return items, [k * value for value in people]


def stretched(
    ends: Sequence[float],
    confidence: float,
    drawn: Resamples,
    top: Sequence[float],
    bottom: Sequence[float],
    redrawn: Sequence[Sequence[float]] | None,
    *,
    single: bool = False,
) -> list[float]:
    """Values moved from the estimate as Student's t stands to the normal at a confidence; arguments as for `additive`."""
    degrees = freedom(drawn, top, bottom, redrawn, single=single)
    wider = 1.0 if math.isinf(degrees) else stats.t.ppf((1 + confidence) / 2, degrees) / stats.norm.ppf((1 + confidence) / 2)
    estimate = sum(top) / sum(bottom)
    return [estimate + wider * (value - estimate) for value in ends]


def holding(ends: Sequence[float], estimate: float) -> tuple[float, float]:
    """An interval holds its estimate, where need be by reaching up to it."""
    low, high = ends
    return min(low, estimate), max(high, estimate)


def freedom(
    drawn: Resamples, top: Sequence[float], bottom: Sequence[float], redrawn: Sequence[Sequence[float]] | None, *, single: bool = False
) -> float:
    """Satterthwaite's degrees of freedom where the variance of redraws is taken as known."""
    items, people = both_ways(drawn, top, bottom, redrawn, single=single)
    of_items, of_people = sample_variance(items), sample_variance(people) if len(people) > 1 else 0.0
    return (sum(b > 0 for b in bottom) - 1) * ((of_items + of_people) / of_items) ** 2 if of_items > 1e-24 else math.inf


def ratio_replicates(
    drawn: Resamples,
    above: Sequence[float],
    below: Sequence[float],
    redrawn: tuple[Sequence[Sequence[float]] | None, Sequence[Sequence[float]]],
    bottom: Sequence[float] | None = None,
) -> list[float | None]:
    """Two-way replicates of sum(above) / sum(below), or of two means over the same pairs (`bottom`, by item); in plain loops.

    above, below: sums by item. redrawn: draw -> sums by item of both, None where the numerator is not redrawn.
    """
    used = [i for i in range(len(above)) if bottom is None or bottom[i] > 0]
    unit = 1.0 if bottom is None else sum(bottom)
    rho = sum(above) / sum(below)
    top, base = (by_items(drawn, values, bottom, used) for values in (above, below))
    noise = [[[0.0] * len(above) for _ in redrawn[1]] if one is None else centred_by_item(one) for one in redrawn]
    # u = n - rho m, what moves the ratio; S is found in it.
    moved = [[n - rho * m for n, m in zip(*rows, strict=True)] for rows in zip(*noise, strict=True)]
    shared = counted_twice(moved, [value / sum(below) for value in below], used) / unit**2
    of_items = sample_variance([None if n is None or m is None else n - rho * m for n, m in zip(top, base, strict=True)])
    k = shrunk(of_items, sample_variance([sum(row) / unit for row in moved]), shared)
    people = [[sum(row) / unit for row in part] for part in noise]
    replicates: list[float | None] = []
    for n, m, d in zip(top, base, drawn.order, strict=True):
        denominator = None if m is None else sum(below) / unit + m + k * people[1][d]
        if n is None or denominator is None:
            replicates.append(None)
        else:
            numerator = sum(above) / unit + n + k * people[0][d]
            replicates.append(numerator / denominator if denominator > 1e-12 else math.inf)
    return replicates


@pytest.fixture(scope="session")
def kit() -> SimpleNamespace:
    """The functions above, under one name."""
    made = (build, respond, run_of, value_of, random_world, random_rows)
    loops = (sample_variance, resamples, shrunk, additive, stretched, holding, freedom, ratio_replicates, redrawn_shares)
    functions: dict[str, Callable[..., Any]] = {f.__name__: f for f in (*made, *loops)}
    return SimpleNamespace(World=World, **functions)
