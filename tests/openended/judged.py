"""A made-up study of open answers: what people would say of each pair of them is planted, and so are a judge's errors."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path

import numpy as np
import polars as pl

from tests.conftest import build_handmade
from valuestrata.dataset.tables import ITEMS, SUBGROUPS, Dataset
from valuestrata.files import canonical_hash, write_json, write_parquet
from valuestrata.openended.annotation.files import FORMAT as SAMPLE_FORMAT
from valuestrata.openended.annotation.files import KEYS, Sample, Task, load_sample, write_items
from valuestrata.openended.annotation.sample import draw_units
from valuestrata.openended.open_runs import contestants_of
from valuestrata.openended.pairwise.prompts import load_criteria
from valuestrata.openended.schema import STANCES, VERDICTS
from valuestrata.responses.run.folder import FORMAT, Run, load_run
from valuestrata.responses.run.schema import RESPONSES

ORDERS = ("run-first", "reference-first")
LEVELS = {"sex": ["Male", "Female"], "age_group": ["16-24 years", "35-44 years"]}
ATTRIBUTES = ["sex", "age_group", "ethnicity", "religion"]


def made_up(items: int = 20) -> Dataset:
    """A data set of `items` items of four options (the last one nominal) and eight subgroups in three strata."""
    rows = [
        {
            "item": f"Q{number}",
            "topic": "Odd" if number % 2 else "Even",
            "level": "nominal" if number == items else "ordinal",
            "codes": [1, 2, 3, 4],
            "labels": ["Very much", "Rather", "Not much", "Not at all"],
            "question": f"How much does matter {number} mean to you?",
            "open_question": f"What do you think of matter {number}, and why?",
        }
        for number in range(1, items + 1)
    ]
    cells = [{"subgroup": "all", "stratum": "all"}]
    cells += [{"subgroup": f"sex_{sex}", "stratum": "sex", "sex": sex} for sex in LEVELS["sex"]]
    cells += [{"subgroup": f"age_group_{age.replace(' ', '-')}", "stratum": "age_group", "age_group": age} for age in LEVELS["age_group"]]
    cells += [
        {"subgroup": f"sex_x_age_{sex}_{age.replace(' ', '-')}", "stratum": "sex_x_age", "sex": sex, "age_group": age}
        for sex, age in product(*LEVELS.values())
    ]
    types = {**{name: column.dtype for name, column in SUBGROUPS.columns.items()}, **dict.fromkeys(ATTRIBUTES, pl.String)}
    subgroups = pl.DataFrame([{"n": 60, "n_eff": 60.0, **cell} for cell in cells], schema=types, orient="row")
    return replace(build_handmade(), items=ITEMS.frame(rows), subgroups=subgroups)


@dataclass(frozen=True)
class Contests:
    """Answers of a run against a reference's, with what people would say: 1 the run is better, .5 no difference, 0 not."""

    rows: list[dict[str, object]]
    truth: np.ndarray


def contests(dataset: Dataset, seed: int = 0, *, run: str = "tuned", chances=(0.5, 0.2, 0.3), samples: int = 1) -> Contests:
    """Plant the truth of every pair: `chances` of run, tie and reference."""
    rng = np.random.default_rng(seed)
    subgroups = [name for name in dataset.subgroups["subgroup"] if name != "all"]
    rows = [
        {"pair_id": f"{item}_{subgroup}", "item": item, "subgroup": subgroup, "sample": sample, "run": run, "reference": "base"}
        for item in dataset.items["item"]
        for subgroup in subgroups
        for sample in range(samples)
    ]
    return Contests(rows, rng.choice([1.0, 0.5, 0.0], size=len(rows), p=chances))


def verdicts(
    planted: Contests,
    seed: int = 0,
    *,
    judge: str = "fake",
    criterion: str = "overall",
    error: float = 0.0,
    toward: float = 0.5,
    first: float = 0.0,
    invalid: float = 0.0,
    longer: dict[str, str] | None = None,
) -> pl.DataFrame:
    """What a judge says of them in both orders.

    Args:
        error: share of pairs it gets wrong, in both orders alike; `toward`: how often it then says `run`.
        first: share of calls in which it names the answer shown first, whatever it is.
        invalid: share of calls whose text cannot be read. longer: pair -> which side is longer, and then always preferred.
    """
    rng = np.random.default_rng([seed, 7])
    rows = []
    for row, truth in zip(planted.rows, planted.truth, strict=True):
        said = {1.0: "run", 0.5: "tie", 0.0: "reference"}[float(truth)]
        if rng.random() < error:
            said = "run" if rng.random() < toward else "reference"
        if longer is not None:
            said = longer[str(row["pair_id"])]
        for order in ORDERS:
            verdict = order.removesuffix("-first") if rng.random() < first else said
            valid = rng.random() >= invalid
            rows.append(
                {**row, "judge": judge, "criterion": criterion, "order": order, "verdict": verdict if valid else None}
                | {"status": "answered" if valid else "unparsed", "attempts": 1}
            )
    return VERDICTS.frame(rows)


def stances(dataset: Dataset, planted: Contests, seed: int = 0, *, judge: str = "fake", error: float = 0.0, none: float = 0.1):
    """The option that each answer of the run takes (None: no stance), and what a judge reads."""
    rng = np.random.default_rng([seed, 8])
    taken = [None if rng.random() < none else int(rng.choice([1, 2, 3, 4], p=[0.4, 0.3, 0.2, 0.1])) for _ in planted.rows]
    rows = []
    for row, truth in zip(planted.rows, taken, strict=True):
        said = int(rng.integers(1, 5)) if rng.random() < error else truth
        status = "no_stance" if said is None else "answered"
        rows.append({**row, "judge": judge, "answer": said, "status": status, "attempts": 1})
    return taken, STANCES.frame([{name: value for name, value in row.items() if name != "reference"} for row in rows])


def open_run(folder: Path, dataset: Dataset, planted: Contests, *, text=lambda row: f"I say of {row['pair_id']} what I think.") -> Run:
    """Write a run of open answers as `open ask` leaves it."""
    rows = [
        {key: row[key] for key in ("pair_id", "item", "subgroup", "sample")}
        | {"elicitation": "open", "template": "default", "shown": [], "order": "scale", "text": text(row), "status": "answered"}
        for row in planted.rows
    ]
    meta = {"format": FORMAT, "name": folder.name, "kind": "asked", "elicitation": "open", "template": "default", "respondent": {}}
    write_json(folder / "run.json", meta | {"dataset": {"fingerprint": dataset.fingerprint, "survey": "handmade"}})
    write_parquet(folder / "responses.parquet", RESPONSES.frame(rows))
    return load_run(folder, closed=False)


def judged_folder(folder: Path, dataset: Dataset, table: pl.DataFrame, runs: list[Run], reference: Run) -> Path:
    """Write a folder of verdicts as `open judge` leaves it."""
    known = {one.name: one.version for one in load_criteria()}
    criteria = {name: known[name] for name in table["criterion"].unique(maintain_order=True)}
    judged = {"runs": _hashes(dataset, runs), "reference": _hashes(dataset, [reference]), "criteria": criteria, "truncate": None}
    return _folder(folder, dataset, "judged", judged, "verdicts", table)


def read_folder(folder: Path, dataset: Dataset, table: pl.DataFrame, runs: list[Run]) -> Path:
    """Write a folder of stances as `open stance` leaves it."""
    return _folder(folder, dataset, "read", {"runs": _hashes(dataset, runs), "truncate": None}, "stances", table)


def _hashes(dataset: Dataset, runs: list[Run]) -> dict[str, str]:
    return {one.name: one.hash for one in contestants_of(dataset, runs)}


def _folder(folder: Path, dataset: Dataset, kind: str, judged: dict[str, object], name: str, table: pl.DataFrame) -> Path:
    meta = {"format": FORMAT, "name": folder.name, "kind": kind, "judged": judged, "respondent": {"name": "fake"}}
    write_json(folder / "run.json", meta | {"dataset": {"fingerprint": dataset.fingerprint}, "hash": canonical_hash(judged)})
    write_parquet(folder / f"{name}.parquet", table)
    return folder


def coded(key: pl.DataFrame, planted: Contests, seed: int, *, error: float = 0.0, share: float = 1.0) -> dict[str, tuple[str, str]]:
    """What a coder says of the pairwise tasks of a sample: the truth, but for a share of errors taken at random."""
    rng = np.random.default_rng([seed, 9])
    truth = {(row["pair_id"], row["sample"], row["run"]): value for row, value in zip(planted.rows, planted.truth, strict=True)}
    said = {}
    for task in key.filter(pl.col("kind") == "pairwise").iter_rows(named=True):
        place = float(rng.choice([0.0, 0.5, 1.0])) if rng.random() < error else truth[task["pair_id"], task["sample"], task["run"]]
        word = "tie" if place == 0.5 else "1" if (place == 1.0) == (task["first"] == "run") else "2"
        if rng.random() < share:
            said[task["code_id"]] = (word, "")
    return said


def drawn_key(dataset: Dataset, units: pl.DataFrame, n: int, seed: int = 0, codes: list[int] | None = None) -> pl.DataFrame:
    """Return the key of a sample of `n` units, with the run's answer first in every other task."""
    drawn = draw_units(units, dict(dataset.subgroups.select("subgroup", "stratum").iter_rows()), n, seed)
    rows = enumerate(drawn.iter_rows(named=True))
    return KEYS.frame([{"code_id": f"C{at}", "first": "run" if at % 2 else "reference", "codes": codes, **row} for at, row in rows])


def sample_of(folder: Path, tasks: list[Task]) -> Sample:
    """Write a sample with these tasks, without a key."""
    folder.mkdir()
    write_items(folder, tasks)
    write_json(folder / "sample.json", {"format": SAMPLE_FORMAT})
    return load_sample(folder)
