"""Small data sets and responses, written out by hand or drawn at random."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import numpy as np
import polars as pl
import pytest

from valuestrata.dataset import GOLD, ITEMS, LANDSCAPE, LEAKAGE, MODE_DRAWS, SPLITS, SUBGROUPS, Dataset
from valuestrata.responses.schema import RESPONSES


@dataclass
class World:
    """What a test says about its data set; everything not said is plain.

    items: name -> (topic, level, codes). subgroups: name -> (stratum, {attribute: level}).
    counts: (item, subgroup) -> answers by code. draws: the same pairs -> redrawn modes (option indices).
    p_mode: the same pairs -> chances; without it ties are shared equally.
    parts: pair -> part (default test), scheme -> the same for further schemes. folds: pair -> fold.
    half_b: counts of half B where they differ.
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
    draws = [{"pair_id": f"{i}_{s}", "half": "all", "draws": list(d)} for (i, s), d in (world.draws or {}).items()]
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


def random_world(seed: int, *, items: int = 6, levels: int = 3, drop: float = 0.15, draws: int = 7) -> World:
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
    return World(questions, subgroups, counts, redrawn, p_mode)


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


@pytest.fixture(scope="session")
def kit() -> SimpleNamespace:
    """The functions above, under one name."""
    functions: dict[str, Callable[..., Any]] = {f.__name__: f for f in (build, respond, run_of, value_of, random_world, random_rows)}
    return SimpleNamespace(World=World, **functions)
