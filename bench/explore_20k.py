"""The explorer of a report over 20,000 pairs and six runs: size of the page, time to make it, and time until it can be used.

    python bench/explore_20k.py [FOLDER]

Limits: 10 MB; 30 s to make; 2 s from navigation until the first row of the table is visible and a filter has been applied. The
survey is drawn from a simulated population with the questions of the World Values Survey. Four models answer in different ways, with
the prompts that would really be sent; two baselines are the real ones.
"""

from __future__ import annotations

import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from valuestrata.building import BuildSettings, build
from valuestrata.dataset.tables import Dataset
from valuestrata.prompts import load_template, render_prompts
from valuestrata.responses.reference_baselines import reference_baselines
from valuestrata.responses.run.schema import RESPONSES
from valuestrata.survey.simulation.population import SimulationSettings, draw_survey, plant

RESPONDENTS, ITEMS = 2_500, 189
WHERE = {"split": "paper", "part": "all"}
# Name -> elicitation and option orders.
MODELS = {
    "hosted-text": ("text", ("scale",)),
    "local-logprob": ("logprob", ("scale",)),
    "hosted-reasoned": ("reasoned", ("scale",)),
    "local-two-orders": ("logprob", ("balanced-1-of-2", "balanced-2-of-2")),
}
BASELINES = ("item-mode", "nearest-parent")
WORDS = (
    "people",
    "like",
    "this",
    "think",
    "that",
    "family",
    "work",
    "friends",
    "money",
    "faith",
    "matter",
    "more",
    "because",
    "they",
    "often",
)
# Longest text of a reasoned answer, in words.
LONGEST = 60


@dataclass(frozen=True)
class MadeRun:
    """A run with a name, its document and its responses."""

    name: str
    meta: dict[str, Any]
    responses: pl.DataFrame


@dataclass(frozen=True)
class ExploredWorld:
    """A data set and the runs of a report."""

    dataset: Dataset
    runs: list[Any]


def world(respondents: int = RESPONDENTS, items: int = ITEMS) -> ExploredWorld:
    """Return a simulated survey with four models and two baselines."""
    survey = draw_survey(plant(SimulationSettings(survey="wvs7", respondents=respondents, items=items)), 0)
    dataset = build(survey, BuildSettings(draws=50, share_draws=0))
    models = [answers(dataset, name, seed) for seed, name in enumerate(MODELS)]
    return ExploredWorld(dataset, [*models, *reference_baselines(dataset, models, kinds=BASELINES, **WHERE)])


def answers(dataset: Dataset, name: str, seed: int) -> MadeRun:
    """Return a model's answers to every pair: distributions around the gold, a few refusals, tokens and costs."""
    elicitation, orders = MODELS[name]
    rng = np.random.default_rng(seed)
    template = load_template("default")
    shares = dict(dataset.gold.filter(pl.col("half") == "all").select("pair_id", "shares").iter_rows())
    codes = dataset.codes_of
    rows: list[dict[str, Any]] = []
    pairs = dataset.part(WHERE["split"], WHERE["part"]).unique("pair_id", maintain_order=True)
    for prompt in render_prompts(dataset, pairs, template=template, elicitation=elicitation, orders=orders):
        gold = np.array(shares[prompt.pair_id])
        stated = rng.dirichlet(20 * gold + 0.3)
        refused = rng.random() < 0.02
        place = int(stated.argmax())
        reasoning = " ".join(rng.choice(WORDS, rng.integers(20, LONGEST))) if elicitation == "reasoned" else None
        written = "I cannot speak for a group of people." if refused else f"Answer: {1 + place}"
        rows.append(
            {name: getattr(prompt, name) for name in ("pair_id", "item", "subgroup", "elicitation", "template", "template_version")}
            | {"order": prompt.order, "paraphrase": 0, "sample": 0, "shown": list(prompt.shown), "prompt_hash": prompt.hash}
            | {"text": None if elicitation == "logprob" else written, "reasoning": reasoning}
            | {"status": "refused" if refused else "answered", "answer": None if refused else codes[prompt.item][place]}
            | {"option_probs": stated.tolist() if elicitation == "logprob" and not refused else None, "attempts": 1}
            | {"prompt_tokens": int(rng.integers(90, 240)), "completion_tokens": int(rng.integers(2, 90))}
            | {"cost": float(rng.integers(90, 900)) * 1e-7 if name.startswith("hosted") else None}
        )
    meta = {"elicitation": elicitation, "template": "default", "respondent": {"provider": "test", "name": name, "model": name}}
    return MadeRun(name, {**meta, "plan": {**WHERE, "orders": list(orders)}}, RESPONSES.frame(rows))


def make_page(made: ExploredWorld, file: Path) -> tuple[float, float]:
    """Write the report with and without the explorer; return the seconds that each took."""
    from valuestrata.reports import write_report
    from valuestrata.scores import score

    scores = score(made.dataset, made.runs, bootstrap=0, **WHERE)
    took: list[float] = []
    for explore in (False, True):
        start = time.perf_counter()
        write_report(made.dataset, made.runs, scores, file, explore=explore)
        took.append(time.perf_counter() - start)
    return took[1], took[0]


FIRST_ROW = "document.querySelector('#explore-table tbody a')"


def opened(tab: Any, file: Path) -> dict[str, float]:
    """Open the page in a browser; return seconds from navigation until its first row is visible and until a filter is applied."""
    tab.open(file.as_uri())
    tab.wait(f"performance.getEntriesByName('explorer-ready').length && {FIRST_ROW}")
    ready = tab.js("performance.getEntriesByName('explorer-ready')[0].startTime")
    filtering = tab.js(
        "(() => { const start = performance.now(); const field = document.querySelector('#explore-filters [name=outcome]');"
        "field.value = 'wrong'; field.dispatchEvent(new Event('change', {bubbles: true}));"
        "document.querySelector('#explore-table').getBoundingClientRect(); return performance.now() - start; })()"
    )
    return {"first row": ready / 1000, "filter": filtering / 1000}


def main() -> None:
    """Print sizes and times."""
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    from tests.browser import browser

    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(sys.argv[1] if len(sys.argv) > 1 else scratch)
        made = world()
        file = folder / "report.html"
        took, without = make_page(made, file)
        pairs = made.dataset.part(WHERE["split"], WHERE["part"])["pair_id"].n_unique()
        print(f"{pairs:,} pairs x {len(made.runs)} runs: {file.stat().st_size / 1e6:.2f} MB")
        print(f"made in {took:.1f} s, of which the explorer {took - without:.1f} s")
        with browser(Path(scratch)) as tab:
            for name, seconds in opened(tab, file).items():
                print(f"{name}: {seconds:.2f} s")


if __name__ == "__main__":
    main()
