"""A calibration sample: judged answers for people to code, drawn so that what people say of it speaks for all of them.

**What is drawn.** A *unit* is one judgement that a person can repeat: two answers under a criterion, whoever judged them and
in whichever order, or one answer whose stance was read. Units that were decided by rule (an answer against a refusal) are not
drawn, nor are refusals and empty answers: there is nothing to code.

**How.** Units stand in order of kind, criterion, runs and stratum of the subgroup, within these by chance, and every N/n-th is
taken from a random start (systematic sampling). Each unit has the same chance n/N, so that no weights are needed afterwards,
and each run x criterion x stratum gets its share to within one unit. The tasks then stand in random order, so that a coder who
stops early leaves a random sample, too.

**Blind.** What coders see names no model, run or judge and no verdict; which of two answers comes first is a coin (as many
one way as the other). The coin, the runs, the folders and the seed are kept in two files apart.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from valuestrata.dataset.tables import Dataset
from valuestrata.errors import InputDataError, UsageError
from valuestrata.files import canonical_hash, folder_written_beside, write_json, write_parquet
from valuestrata.openended.annotation.files import FORMAT, KEY, KEY_META, KEYS, META, Sample, Task, coders_of, load_sample, write_items
from valuestrata.openended.questions import with_open_questions
from valuestrata.prompts.persona import Words, noun_phrase, personas_of

STANCE = "stance"
UNIT = ("kind", "criterion", "run", "reference", "pair_id", "item", "subgroup", "sample")
STANCE_INSTRUCTION = (
    "Which option of the question does the answer amount to? Go by what it says, not by what you would answer or who may have "
    "written it. If it takes no stance on the question, say so."
)


class Instruction(NamedTuple):
    """What coders are told of a criterion, and whether they see who speaks."""

    text: str
    persona: bool = True


def pairwise_units(verdicts: pl.DataFrame) -> pl.DataFrame:
    """Return the units behind verdicts (a frame of VERDICTS, of any number of judges), with the columns `UNIT`."""
    identity = [name for name in UNIT if name != "kind"]
    units = verdicts.filter(pl.col("status") != "by_rule").select(identity).unique()
    return units.select(pl.lit("pairwise").alias("kind"), *identity).sort(UNIT)


def stance_units(stances: pl.DataFrame) -> pl.DataFrame:
    """Return the units behind stances (a frame of STANCES, of any number of judges), with the columns `UNIT`.

    Refusals and empty answers, which no judge was asked about (no attempt), are none.
    """
    alone = [pl.lit("stance").alias("kind"), pl.lit(STANCE).alias("criterion"), "run", pl.lit(None, pl.String).alias("reference")]
    asked = stances.filter(pl.col("attempts").fill_null(1) > 0)
    return asked.select(*alone, "pair_id", "item", "subgroup", "sample").unique().sort(UNIT)


def draw_units(units: pl.DataFrame, stratum_of: Mapping[str, str], n: int, seed: int) -> pl.DataFrame:
    """Draw `n` units (all, if there are fewer), each with the same chance, spread over criteria, runs and strata.

    Args:
        units: with the columns `UNIT`. stratum_of: stratum of each subgroup. n: how many. seed: of the draw and of the order.

    Returns:
        The units drawn, in the random order in which they are to be coded.
    """
    rng = np.random.default_rng(seed)
    listed = units.sort(UNIT).with_columns(
        pl.col("subgroup").replace_strict(stratum_of, default=None, return_dtype=pl.String).alias("_stratum"),
        pl.Series("_chance", rng.random(len(units))),
    )
    listed = listed.sort("kind", "criterion", "run", "reference", "_stratum", "_chance")
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
        dataset: where items and subgroups are described. units: all that may be drawn, of `pairwise_units` and `stance_units`.
        answers: what the runs wrote: run, pair_id, sample, text. out: a folder that is not there yet.
        n, seed: as in `draw_units`. instructions: what coders are told, by criterion. sources: folders the units come from.

    Raises:
        UsageError: n is not positive. InputDataError: the folder is there already (people may have coded it), nothing to draw
            from, or a unit whose answer, item, subgroup or criterion is not known.
    """
    if n < 1:
        raise UsageError(f"-n {n}: a sample has at least one task.")
    if out.exists():
        told = f" and holds the codings of {', '.join(coders_of(out))}" if coders_of(out) else ""
        raise InputDataError(f"{out}: is there already{told}. A sample is never drawn over another one: choose another folder with -o.")
    if units.is_empty():
        raise InputDataError("There is nothing to draw from: the folders hold no judged answers.")
    drawn = draw_units(units, dict(dataset.subgroups.select("subgroup", "stratum").iter_rows()), n, seed)
    first = _coins(drawn, seed)
    tasks, keys = _tasks(dataset, drawn, answers, instructions, first)
    meta: dict[str, Any] = {
        "format": FORMAT,
        "dataset": {"fingerprint": dataset.fingerprint},
        "tasks": len(tasks),
        "drawn_from": len(units),
        "by_criterion": dict(drawn.group_by("criterion").len().sort("criterion").iter_rows()),
    }
    behind: dict[str, Any] = {
        "seed": seed,
        "population": units.group_by("criterion", "run", "reference").agg(pl.len().alias("answers")).sort(pl.all()).to_dicts(),
        "sources": list(sources),
    }
    with folder_written_beside(out) as folder:
        write_json(folder / META, meta)
        write_json(folder / KEY_META, behind)
        write_items(folder, tasks)
        write_parquet(folder / KEY, KEYS.frame(keys))
    return load_sample(out)


def _coins(drawn: pl.DataFrame, seed: int) -> list[str | None]:
    """Return whose answer comes first in each task: as often the run's as the reference's, by chance; null for one answer."""
    two = (drawn["kind"] == "pairwise").to_numpy()
    number = int(two.sum())
    rng = np.random.default_rng([seed, 1])
    extra = rng.integers(2) if number % 2 else 0
    coins = iter(rng.permutation(np.arange(number) < number // 2 + extra).tolist())
    return [("run" if next(coins) else "reference") if is_two else None for is_two in two]


def _tasks(
    dataset: Dataset,
    drawn: pl.DataFrame,
    answers: pl.DataFrame,
    instructions: Mapping[str, Instruction],
    first: Sequence[str | None],
) -> tuple[list[Task], list[dict[str, Any]]]:
    """Return the tasks as coders see them, and the rows of the key."""
    texts = {(run, pair, sample): text for run, pair, sample, text in answers.select("run", "pair_id", "sample", "text").iter_rows()}
    # In the words in which it was asked, drafted ones included.
    items = {row["item"]: row for row in with_open_questions(dataset)[0].items.iter_rows(named=True)}
    personas = {name: _capital(noun_phrase(persona, Words(), with_place=True)) for name, persona in personas_of(dataset).items()}
    tasks: list[Task] = []
    keys: list[dict[str, Any]] = []
    for unit, ahead in zip(drawn.iter_rows(named=True), first, strict=True):
        if unit["item"] not in items or unit["subgroup"] not in personas:
            where = dataset.path or "the data set"
            raise InputDataError(f"The pair {unit['pair_id']!r} is not in {where}: give the data set it was asked on.")
        item = items[unit["item"]]
        if unit["kind"] == "pairwise":
            if unit["criterion"] not in instructions:
                raise InputDataError(f"The criterion {unit['criterion']!r} has no wording: coders cannot be told what to look at.")
            told = instructions[unit["criterion"]]
            order = (unit["run"], unit["reference"]) if ahead == "run" else (unit["reference"], unit["run"])
            shown = tuple(_text(texts, run, unit) for run in order)
            persona = personas[unit["subgroup"]] if told.persona else ""
            task = Task("", "pairwise", unit["criterion"], told.text, item["open_question"], persona, shown, ())
            texts_hash, codes = hash_of(_text(texts, run, unit) for run in (unit["run"], unit["reference"])), None
        else:
            options = tuple(str(label) for label in item["labels"])
            answer = (_text(texts, unit["run"], unit),)
            task = Task("", "stance", STANCE, STANCE_INSTRUCTION, item["question"], "", answer, options)
            texts_hash, codes = hash_of(answer), list(item["codes"])
        tasks.append(task)
        keys.append({**unit, "first": ahead, "codes": codes, "texts_hash": texts_hash})
    named = _names(dataset, keys)
    return (
        [replace(task, id=name) for task, name in zip(tasks, named, strict=True)],
        [{"code_id": name, **key} for key, name in zip(keys, named, strict=True)],
    )


def _names(dataset: Dataset, keys: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the names of the tasks, of this sample's own making: codings of another sample are told by them."""
    tag, width = canonical_hash([dataset.fingerprint, keys])[:5], max(len(str(len(keys))), 3)
    return [f"C{tag}-{number:0{width}d}" for number in range(1, len(keys) + 1)]


def hash_of(texts: Iterable[str]) -> str:
    """Return the hash of what coders were shown: the run's answer, and the reference's behind it where there are two."""
    return canonical_hash(list(texts))


def _capital(phrase: str) -> str:
    return phrase[:1].upper() + phrase[1:]


def _text(texts: Mapping[tuple[str, str, int], str], run: str, unit: Mapping[str, Any]) -> str:
    text = texts.get((run, unit["pair_id"], unit["sample"]))
    if not text:
        raise InputDataError(
            f"Run {run!r} holds no answer to {unit['pair_id']!r}, sample {unit['sample']}, though it was judged. "
            "Give the run folder that was judged."
        )
    return text
