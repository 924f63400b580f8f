"""Calibration sample: a random, stratified and blinded sample of judged answers for people to code.

A *unit* is one judgement that a person can repeat: two answers under a criterion, whoever judged them and in whichever order, or one
answer whose stance was read. Units decided by rule, refusals and empty answers are not drawn.

Units are sorted by kind, criterion, runs and stratum, shuffled within these, and every N/n-th is taken from a random start (systematic
sampling). Each unit has the probability n/N, so no weights are needed, and each run x criterion x stratum gets its share to within one
unit. Tasks are then shuffled, so a coder who stops early has coded a random sample as well.

Coders see no model, run, judge or verdict. Which of two answers comes first is random, balanced over tasks. Order, runs, folders and seed
are kept in two separate files.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from valuestrata.dataset.tables import Dataset
from valuestrata.errors import InputDataError, UsageError
from valuestrata.files import canonical_hash, folder_written_beside, write_json, write_parquet
from valuestrata.openended.annotation.files import FORMAT, KEY, KEY_META, KEYS, META, Sample, Task, coders_of, load_sample, write_items
from valuestrata.openended.questions import with_open_questions
from valuestrata.prompts.persona import Words, noun_phrase, personas_of
from valuestrata.stats.arrays import generator

STANCE = "stance"
UNIT = ("kind", "criterion", "run", "reference", "pair_id", "item", "subgroup", "sample")
STANCE_INSTRUCTION = (
    "Which option of the question does the answer amount to? Go by what it says, not by what you would answer or who may have "
    "written it. If it takes no stance on the question, say so."
)


@dataclass(frozen=True)
class Instruction:
    """Instruction for coders on a criterion, and whether they see the persona."""

    text: str
    persona: bool = True


def pairwise_units(verdicts: pl.DataFrame) -> pl.DataFrame:
    """Return the units of verdicts (a frame of VERDICTS, of any number of judges), with the columns UNIT."""
    identity = [name for name in UNIT if name != "kind"]
    units = verdicts.filter(pl.col("status") != "by_rule").select(identity).unique()
    return units.select(pl.lit("pairwise").alias("kind"), *identity).sort(UNIT)


def stance_units(stances: pl.DataFrame) -> pl.DataFrame:
    """Return the units of stances (a frame of STANCES, of any number of judges), with the columns UNIT.

    Answers that were not sent to the judge (0 attempts) are left out.
    """
    alone = [pl.lit("stance").alias("kind"), pl.lit(STANCE).alias("criterion"), "run", pl.lit(None, pl.String).alias("reference")]
    asked = stances.filter(pl.col("attempts").fill_null(1) > 0)
    return asked.select(*alone, "pair_id", "item", "subgroup", "sample").unique().sort(UNIT)


def draw_units(units: pl.DataFrame, stratum_of: Mapping[str, str], n: int, seed: int) -> pl.DataFrame:
    """Draw `n` units (all, if there are fewer) with equal probabilities, stratified by criterion, runs and stratum.

    Args:
        units: with the columns UNIT. stratum_of: stratum of each subgroup. n: number of units. seed: seed of the draw and the order.

    Returns:
        The drawn units in random order.
    """
    rng = generator(seed)
    listed = units.sort(UNIT).with_columns(
        pl.col("subgroup").replace_strict(stratum_of, default=None, return_dtype=pl.String).alias("_stratum"),
        pl.Series("_random", rng.random(len(units))),
    )
    listed = listed.sort("kind", "criterion", "run", "reference", "_stratum", "_random")
    n = min(n, len(listed))
    places = np.floor((np.arange(n) + rng.random()) * (len(listed) / n)).astype(np.int64) if n else np.zeros(0, dtype=np.int64)
    return listed[rng.permutation(np.minimum(places, len(listed) - 1))].select(UNIT)


def write_sample(
    dataset: Dataset,
    units: pl.DataFrame,
    answers: pl.DataFrame,
    out: Path,
    *,
    n: int,
    seed: int,
    instructions: Mapping[str, Instruction],
    sources: Sequence[str] = (),
) -> Sample:
    """Draw a sample and write its folder.

    Args:
        dataset: describes items and subgroups. units: the population, from `pairwise_units` and `stance_units`.
        answers: run, pair_id, sample, text. out: a folder that does not exist yet. n, seed: as in `draw_units`.
        instructions: instructions by criterion. sources: folders of the units.

    Raises:
        UsageError: n is not positive.
        InputDataError: the folder exists (it may hold codings), there are no units, or an answer, item, subgroup or criterion is unknown.
    """
    if n < 1:
        raise UsageError(f"-n {n}: a sample has at least one task.")
    if out.exists():
        codings = f" and holds the codings of {', '.join(coders_of(out))}" if coders_of(out) else ""
        raise InputDataError(f"{out}: already exists{codings}. Samples are never overwritten: choose another folder with -o.")
    if units.is_empty():
        raise InputDataError("There is nothing to draw from: the folders hold no judged answers.")
    drawn = draw_units(units, dict(dataset.subgroups.select("subgroup", "stratum").iter_rows()), n, seed)
    tasks, keys = _tasks(dataset, drawn, answers, instructions, _first_answers(drawn, seed))
    meta: dict[str, Any] = {
        "format": FORMAT,
        "dataset": {"fingerprint": dataset.fingerprint},
        "tasks": len(tasks),
        "drawn_from": len(units),
        "by_criterion": dict(drawn.group_by("criterion").len().sort("criterion").iter_rows()),
    }
    key_meta: dict[str, Any] = {
        "seed": seed,
        "population": units.group_by("criterion", "run", "reference").agg(pl.len().alias("answers")).sort(pl.all()).to_dicts(),
        "sources": list(sources),
    }
    with folder_written_beside(out) as folder:
        write_json(folder / META, meta)
        write_json(folder / KEY_META, key_meta)
        write_items(folder, tasks)
        write_parquet(folder / KEY, KEYS.frame(keys))
    return load_sample(out)


def _first_answers(drawn: pl.DataFrame, seed: int) -> list[str | None]:
    """Return whose answer comes first in each task, random and balanced between run and reference; None for one answer."""
    two = (drawn["kind"] == "pairwise").to_numpy()
    number = int(two.sum())
    rng = generator(seed, 1)
    extra = rng.integers(2) if number % 2 else 0
    run_first = iter(rng.permutation(np.arange(number) < number // 2 + extra).tolist())
    return [("run" if next(run_first) else "reference") if is_two else None for is_two in two]


def _tasks(
    dataset: Dataset, drawn: pl.DataFrame, answers: pl.DataFrame, instructions: Mapping[str, Instruction], first: Sequence[str | None]
) -> tuple[list[Task], list[dict[str, Any]]]:
    """Return the tasks as coders see them, and the rows of the key."""
    texts = {(run, pair, sample): text for run, pair, sample, text in answers.select("run", "pair_id", "sample", "text").iter_rows()}
    items = {row["item"]: row for row in with_open_questions(dataset)[0].items.iter_rows(named=True)}
    phrases = {name: noun_phrase(persona, Words(), with_place=True) for name, persona in personas_of(dataset).items()}
    tasks: list[Task] = []
    keys: list[dict[str, Any]] = []
    for unit, ahead in zip(drawn.iter_rows(named=True), first, strict=True):
        criterion, item = unit["criterion"], items.get(unit["item"])
        if item is None or unit["subgroup"] not in phrases:
            where = dataset.path or "the data set"
            raise InputDataError(f"The pair {unit['pair_id']!r} is not in {where}. Give the data set that the run was asked on.")
        if unit["kind"] == "pairwise":
            if criterion not in instructions:
                raise InputDataError(f"The criterion {criterion!r} has no wording, so there is no instruction for coders.")
            told = instructions[criterion]
            order = (unit["run"], unit["reference"]) if ahead == "run" else (unit["reference"], unit["run"])
            phrase = phrases[unit["subgroup"]]
            persona = phrase[:1].upper() + phrase[1:] if told.persona else ""
            shown = tuple(_text(texts, run, unit) for run in order)
            task = Task("", "pairwise", criterion, told.text, item["open_question"], persona, shown, ())
            texts_hash, codes = hash_of(_text(texts, run, unit) for run in (unit["run"], unit["reference"])), None
        else:
            answer = (_text(texts, unit["run"], unit),)
            task = Task("", "stance", STANCE, STANCE_INSTRUCTION, item["question"], "", answer, tuple(map(str, item["labels"])))
            texts_hash, codes = hash_of(answer), list(item["codes"])
        tasks.append(task)
        keys.append({**unit, "first": ahead, "codes": codes, "texts_hash": texts_hash})
    # Task names contain a hash of the sample, so codings of another sample are recognised.
    tag, width = canonical_hash([dataset.fingerprint, keys])[:5], max(len(str(len(keys))), 3)
    names = [f"C{tag}-{number:0{width}d}" for number in range(1, len(keys) + 1)]
    return (
        [replace(task, id=name) for task, name in zip(tasks, names, strict=True)],
        [{"code_id": name, **key} for key, name in zip(keys, names, strict=True)],
    )


def hash_of(texts: Iterable[str]) -> str:
    """Return the hash of the answers that coders saw: the run's, then the reference's if there is one."""
    return canonical_hash(list(texts))


def _text(texts: Mapping[tuple[str, str, int], str], run: str, unit: Mapping[str, Any]) -> str:
    text = texts.get((run, unit["pair_id"], unit["sample"]))
    if not text:
        raise InputDataError(
            f"Run {run!r} has no answer to {unit['pair_id']!r}, sample {unit['sample']}, although it was judged. "
            "Give the run folder that was judged."
        )
    return text
