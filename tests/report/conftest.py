"""A made-up survey with planted subgroup effects, and runs and scores over it, all computed here and not by the package."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import combinations, product
from typing import Any

import numpy as np
import polars as pl
import pytest

from valuestrata.dataset import tables as ds
from valuestrata.responses.run.schema import RESPONSES
from valuestrata.scores.schema import SCORES

LEVELS = {
    "sex": ["Female", "Male"],
    "age_group": ["16-24 years", "25-34 years", "35-44 years", "45-54 years", "55-64 years", "65 and more years"],
    "ethnicity": ["SG: Chinese", "SG: Malay", "SG: Indian", "Other"],
    "religion": ["Do not belong to a denomination", "Buddhist", "Muslim", "Roman Catholic", "Protestant", "Hindu", "Taoist"],
}
TITLES = {"sex": "Sex", "age_group": "Age", "ethnicity": "Ethnicity", "religion": "Religion"}
TOPICS = [
    "Social Values, Attitudes and Stereotypes",
    "Happiness and Well-Being",
    "Social Capital, Trust and Organizational Membership",
    "Economic Values",
    "Corruption",
    "Migration",
    "Security",
    "Postmaterialist Index",
    "Science and Technology",
    "Religious Values",
    "Ethical Values and Norms",
    "Political Interest and Participation",
    "Political Culture and Regimes",
]
SHORT = {"sex": "sex", "age_group": "age", "ethnicity": "ethnicity", "religion": "religion"}


@dataclass
class FakeRun:
    name: str
    meta: dict[str, Any]
    responses: pl.DataFrame


@dataclass
class World:
    dataset: ds.Dataset
    runs: list[FakeRun]
    scores: pl.DataFrame = field(default_factory=SCORES.empty)


def _subgroups(attributes: list[str], cells: int) -> list[dict[str, Any]]:
    rng = np.random.default_rng(1)
    blank = dict.fromkeys(attributes)
    rows = [{"subgroup": "all", "stratum": "all", "n": 2012, "n_eff": 1800.0, **blank}]
    for size in (1, 2):
        for chosen in combinations(attributes, size):
            stratum = chosen[0] if size == 1 else "_x_".join(SHORT[a] for a in chosen)
            for levels in product(*(LEVELS[a] for a in chosen)):
                n = int(rng.integers(31, 400 if size == 2 else 1000))
                name = "_".join(level.replace(" ", "-") for level in levels)
                rows.append(
                    {"subgroup": f"{stratum}_{name}", "stratum": stratum, "n": n, "n_eff": n * 0.8}
                    | blank
                    | dict(zip(chosen, levels, strict=True))
                )
    return rows[: cells + 1]


def make_dataset(items: int = 18, subgroups: int = 50, attributes: int = 3, nominal: bool = False, everywhere: bool = False) -> ds.Dataset:
    """Build the data set: every second item ordinal with 4 or 10 codes, the rest with 3; `nominal` makes all nominal.

    `everywhere` puts every subgroup into the test part, else the pair strata without sex.
    """
    rng = np.random.default_rng(0)
    names = list(LEVELS)[:attributes]
    cells = _subgroups(names, subgroups)
    topics = TOPICS[: max(3, min(len(TOPICS), items // 5))]
    item_rows, gold_rows, landscape = [], [], []
    for i in range(items):
        size = (3, 4, 3, 10)[i % 4]
        codes = list(range(1, size + 1))
        item = {
            "item": f"Q{i + 1}",
            "topic": topics[i * len(topics) // items],
            "level": "nominal" if nominal or i % 9 == 8 else "ordinal",
            "codes": codes,
            "labels": ["Too little", "About right", "Too much"] if size == 3 else [f"Degree {c}" for c in codes],
            "question": f"Thinking of matter number {i + 1}, is this country spending too much on it, too little, or about right?",
            "wording_source": "valuestrata",
        }
        item_rows.append(item)
        base = rng.normal(0, 0.9, size)
        effects = {(a, level): rng.normal(0, 0.45, size) for a in names for level in LEVELS[a]}
        for cell in cells:
            logits = base + sum((effects[a, cell[a]] for a in names if cell[a]), np.zeros(size))
            chance = np.exp(logits) / np.exp(logits).sum()
            counts = rng.multinomial(int(cell["n"] * 0.95), chance)
            gold_rows.append(_gold(item, cell, counts, rng))
        for stratum in dict.fromkeys(c["stratum"] for c in cells[1:]):
            modes = [g["mode"] for g, c in zip(gold_rows[-len(cells) :], cells, strict=True) if c["stratum"] == stratum]
            p = np.unique(modes, return_counts=True)[1] / len(modes)
            mds = float(-(p * np.log2(p)).sum() / np.log2(min(len(modes), size))) if len(modes) > 1 else None
            w1 = None if item["level"] == "nominal" else float(rng.uniform(0.01, 0.2))
            landscape.append({"item": item["item"], "stratum": stratum, "subgroups": len(modes), "mds": mds, "wasserstein": w1})
    gold = ds.GOLD.frame(gold_rows)
    anchored = {c["subgroup"] for c in cells if not everywhere and (c["stratum"].startswith("sex") or c["stratum"] in names)}
    split = [
        {"pair_id": p, "item": i, "subgroup": s, "scheme": "paper", "fold": 0, "seed": 7, "part": "train" if s in anchored else "test"}
        for p, i, s in gold.select("pair_id", "item", "subgroup").iter_rows()
        if s != "all"
    ]
    meta = {
        "format": ds.FORMAT,
        "survey": {"name": "synthetic", "title": "Synthetic Values Survey 2020", "version": "1", "citation": "A made-up survey."},
        "source": {"file": "synthetic.sav", "format": "sav", "sha256": "c0de" * 16, "rows": 2100, "respondents": 2012},
        "countries": [],
        "place": "Singapore",
        "attributes": [
            {
                "name": a,
                "short": SHORT[a],
                "title": TITLES[a],
                "role": a,
                "levels": [{"label": level, "phrase": None, "role": None} for level in LEVELS[a]],
            }
            for a in names
        ],
        "settings": {"min_respondents": 30, "min_valid": 30, "weighted": True, "draws": 1000, "half_seed": 0, "split_seed": 42},
        "weighted": True,
        "respondents": 2012,
        "n_eff": 1800.0,
        "counts": {"items": items, "subgroups": len(cells) - 1, "subgroups_dropped": 3, "pairs": len(split), "pairs_dropped": 12},
        "shareable": True,
        "versions": {"valuestrata": "0.1.0", "numpy": "2.0", "polars": "1.30"},
        "fingerprint": "a1b2c3d4e5f60718" * 4,
    }
    subgroup_frame = pl.DataFrame(cells, schema_overrides=dict.fromkeys(names, pl.String), infer_schema_length=None)
    return ds.Dataset(
        meta=meta,
        items=ds.ITEMS.frame(item_rows),
        subgroups=subgroup_frame,
        joint=pl.DataFrame(),
        gold=gold,
        mode_draws=ds.MODE_DRAWS.empty(),
        splits=ds.SPLITS.frame(split),
        leakage=ds.LEAKAGE.empty(),
        landscape=ds.LANDSCAPE.frame(landscape),
    )


def _gold(item: dict[str, Any], cell: dict[str, Any], counts: np.ndarray, rng: np.random.Generator) -> dict[str, Any]:
    shares = counts / counts.sum()
    draws = rng.multinomial(counts.sum(), shares, 200)
    p_mode = (draws == draws.max(1, keepdims=True)) / (draws == draws.max(1, keepdims=True)).sum(1, keepdims=True)
    p = p_mode.mean(0)
    mode = int(shares.argmax())
    distance = np.abs(np.arange(len(p)) - mode) / (len(p) - 1)
    ordinal = item["level"] != "nominal"
    return {
        "pair_id": f"{item['item']}_{cell['subgroup']}",
        "item": item["item"],
        "subgroup": cell["subgroup"],
        "half": "all",
        "n": int(counts.sum()),
        "n_eff": float(counts.sum() * 0.8),
        "counts_raw": counts.tolist(),
        "counts_weighted": counts.astype(float).tolist(),
        "shares": shares.tolist(),
        "mode": item["codes"][mode],
        "modes": [item["codes"][mode]],
        "mode_share": float(shares[mode]),
        "p_mode": p.tolist(),
        "margin": float(np.sort(shares)[-1] - np.sort(shares)[-2]),
        "entropy": 1.0,
        "ceiling_oracle": float(p.max()),
        "ceiling_human": float((p**2).sum()),
        "floor_nmae": float((p * distance).sum()) if ordinal else None,
        "floor_w1": float(rng.uniform(0.01, 0.04)) if ordinal else None,
        "flag": "small" if counts.sum() < 60 else None,
    }


def make_run(dataset: ds.Dataset, name: str, skill: float, elicitation: str = "text", seed: int = 0) -> FakeRun:
    """Answer every test pair: the gold mode with chance `skill`, else a low code; some texts are refusals or hostile."""
    rng = np.random.default_rng(seed)
    gold = {g["pair_id"]: g for g in dataset.gold.iter_rows(named=True)}
    rows = []
    for pair in dataset.part("paper", "test")["pair_id"]:
        g = gold[pair]
        codes = dataset.codes_of[g["item"]]
        answer = g["mode"] if rng.random() < skill else codes[int(rng.random() ** 2 * len(codes))]
        refused = not name.startswith("baseline:") and rng.random() < 0.03
        probs = rng.dirichlet(np.ones(len(codes))) if elicitation == "logprob" else None
        rows.append(
            {
                "pair_id": pair,
                "item": g["item"],
                "subgroup": g["subgroup"],
                "elicitation": elicitation,
                "template": "direct",
                "template_version": "1",
                "prompt_hash": "0" * 64,
                "order": "scale",
                "shown": list(codes),
                "sample": 0,
                "text": "<script>alert(1)</script> As a language model I cannot hold a view." if refused else f"Answer: {answer}",
                "answer": None if refused else answer,
                "status": "refused" if refused else "answered",
                "option_probs": None if probs is None else probs.tolist(),
            }
        )
    rule = name.removeprefix("baseline:")
    identity = {"provider": "baseline", "model": rule} if rule != name else {"provider": "hf", "model": name, "revision": "abc123"}
    meta = {"elicitation": elicitation, "template": "direct", "template_version": "1", "respondent": identity, "seed": 3}
    return FakeRun(name=name.replace(":", "-"), meta=meta, responses=RESPONSES.frame(rows))


def score(dataset: ds.Dataset, runs: list[FakeRun], intervals: bool = True) -> pl.DataFrame:
    """Score runs the slow way, for every cut that a report shows."""
    items = dataset.items.select("item", "topic", "level", size=pl.col("codes").list.len())
    groups = dataset.subgroups.drop("n", "n_eff")
    gold = dataset.gold.drop("n", "n_eff", "item", "subgroup")
    rows = []
    for run in runs:
        frame = run.responses.select("pair_id", "item", "subgroup", "answer", "status", "option_probs", "elicitation")
        frame = frame.join(gold, on="pair_id").join(items, on="item").join(groups, on="subgroup")
        ok, step = pl.col("answer").is_not_null(), pl.col("size") - 1
        gap = (pl.col("answer") - pl.col("mode")) / step
        ordinal = pl.col("level") != "nominal"
        frame = frame.with_columns(
            all=pl.lit("all"),
            accuracy=(pl.col("answer") == pl.col("mode")).fill_null(False).cast(float),
            accuracy_expected=pl.when(ok).then(pl.col("p_mode").list.get(pl.col("answer") - 1, null_on_oob=True)).otherwise(0.0),
            nmae=pl.when(ordinal).then(gap.abs().fill_null(1.0)),
            bias=pl.when(ordinal).then(gap),
            w1=pl.when(ordinal & pl.col("option_probs").is_not_null()).then(pl.lit(0.21)),
            refusal_rate=(pl.col("status") == "refused").cast(float),
            invalid_rate=(pl.col("status") == "unparsed").cast(float),
        )
        names = ["accuracy", "accuracy_expected", "nmae", "bias", "w1", "refusal_rate", "invalid_rate", "ceiling_oracle", "ceiling_human"]
        cuts: list[tuple[str, pl.DataFrame, str]] = [(by, frame, by) for by in ("all", "stratum", "subgroup", "topic", "item")]
        cuts += [("level", frame.with_columns(key=pl.lit(f"{a}=") + pl.col(a)).drop_nulls(a), "key") for a in dataset.attributes]
        for by, cut, column in cuts:
            for key, part in cut.group_by(column, maintain_order=True):
                for metric in names:
                    values = part[metric].drop_nulls()
                    mean = values.mean()
                    half = 1.96 * (values.std() or 0) / max(len(values), 1) ** 0.5 if intervals and mean is not None else None
                    rows.append(
                        {
                            "run": run.name,
                            "scheme": "paper",
                            "part": "test",
                            "by": by,
                            "key": key[0],
                            "metric": metric,
                            "value": mean,
                            "ci_low": None if half is None else max(mean - half, -1.0 if metric == "bias" else 0.0),
                            "ci_high": None if half is None else min(mean + half, 1.0),
                            "pairs": part.height,
                            "coverage": 1.0,
                            "elicitation": run.meta["elicitation"],
                            "template": run.meta["template"],
                        }
                    )
    return SCORES.frame(rows)


def make_world(
    items: int = 18, subgroups: int = 50, attributes: int = 3, nominal: bool = False, intervals: bool = True, everywhere: bool = False
) -> World:
    """A data set with four baselines and one model, scored."""
    data = make_dataset(items, subgroups, attributes, nominal, everywhere)
    runs = [
        make_run(data, "baseline:uniform", 0.05, "stated-distribution", 1),
        make_run(data, "baseline:item-mode", 0.72, "stated-distribution", 2),
        make_run(data, "HuggingFaceTB/SmolLM2-135M-Instruct", 0.2, "text", 3),
        make_run(data, "baseline:midpoint", 0.1, "stated-distribution", 4),
        make_run(data, "baseline:nearest-parent", 0.82, "stated-distribution", 5),
    ]
    return World(data, runs, score(data, runs, intervals))


@pytest.fixture(scope="session")
def world() -> World:
    """The everyday case: 18 items, 50 subgroups."""
    return make_world()


@pytest.fixture(scope="session")
def worlds():
    """The maker of worlds, for tests that need another one."""
    return make_world


@pytest.fixture(scope="session")
def fake_run():
    """The maker of runs."""
    return make_run


@pytest.fixture(scope="session")
def scored():
    """The slow scorer."""
    return score


@pytest.fixture
def no_charts(monkeypatch):
    """Skip the rendering of charts, which takes most of the time of a page."""
    for module in ("figures", "heatmaps"):
        monkeypatch.setattr(f"valuestrata.reports.closed.{module}.to_svg", lambda chart, name, description: "<svg></svg>")
