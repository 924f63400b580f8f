"""What a judge is worth: its checks, its agreement with people, and what its estimates become once its errors are known."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from valuestrata.dataset.tables import Dataset
from valuestrata.errors import InputDataError
from valuestrata.files import read_json, write_parquet, write_text
from valuestrata.openended.annotation.files import (
    CODINGS,
    KEY,
    KEY_META,
    SKIP,
    Sample,
    coder_name,
    coders_of,
    load_key,
    load_sample,
    read_codings,
)
from valuestrata.openended.annotation.sample import hash_of, pairwise_units, stance_units
from valuestrata.openended.validity.corrected import CORRECTED, corrected_table
from valuestrata.openended.validity.decision_rule import VALIDITY, check_row, usable, with_verdicts
from valuestrata.openended.validity.human_agreement import AGREED, DECIDING, agreement_table
from valuestrata.openended.validity.judge_checks import longer_won, pairwise_checks, stance_checks
from valuestrata.openended.validity.units import IDENTITY, coded_places, judged_pairs, judged_stances
from valuestrata.stats.cluster_bootstrap import Estimate, mean

# Above this share of tasks skipped by a coder, the sample that is left is remarked upon.
MOST_SKIPPED = 0.10
_CONTEST = ("criterion", "run", "reference")
# What a row of agreement is called among the checks.
_CHECKS = {"judge-people": "kappa_with_people", "people-people": "kappa_among_people", "difference": "kappa_difference"}


@dataclass(frozen=True)
class Validity:
    """What judges are worth.

    Attributes:
        checks: a frame of VALIDITY. usable: a frame of USABLE_TABLE, what the rule says of each judge and criterion.
        agreed: a frame of AGREED. corrected: a frame of CORRECTED. Both empty without people's codings.
        notes: what a reader of the tables must know besides.
    """

    checks: pl.DataFrame
    usable: pl.DataFrame
    agreed: pl.DataFrame
    corrected: pl.DataFrame
    notes: Sequence[str]


@dataclass(frozen=True)
class Codings:
    """What people said of a sample.

    Attributes:
        key: a frame of `coding_files.KEYS`. said: coder -> code_id -> (verdict, note).
        population: (criterion, run, reference) -> answers that the sample was drawn from.
        path: folder of the sample, for messages.
    """

    key: pl.DataFrame
    said: Mapping[str, Mapping[str, tuple[str, str]]]
    population: Mapping[tuple[str, str, str | None], int]
    path: Path | None = None


def load_codings(path: Path, dataset: Dataset | None = None) -> Codings:
    """Read a sample with its key and all that its coders said.

    Raises:
        InputDataError: no sample there, one of another data set, a broken or foreign file, or nobody has coded it yet.
    """
    sample: Sample = load_sample(path)
    fingerprint = sample.meta.get("dataset", {}).get("fingerprint")
    if dataset is not None and fingerprint != dataset.fingerprint:
        raise InputDataError(f"{path}: the sample was drawn from answers to another data set than {dataset.path or 'this one'}.")
    said = {coder: read_codings(sample, coder) for coder in map(coder_name, coders_of(path))}
    if not any(said.values()):
        raise InputDataError(f"{path}: nobody has coded this sample yet. Code it with: valuestrata open code {path} --coder NAME")
    if lacking := [name for name in (KEY, KEY_META) if not (path / name).is_file()]:
        raise InputDataError(
            f"{path}: {lacking[0]} is missing, which says what stands behind the tasks. Put the coders' files ({CODINGS}/NAME.csv) into "
            "the folder that `valuestrata open sample` made, and give that one."
        )
    population = {(row["criterion"], row["run"], row["reference"]): row["answers"] for row in read_json(path / KEY_META)["population"]}
    return Codings(load_key(path), said, population, path)


def judge_validity(
    dataset: Dataset,
    verdicts: pl.DataFrame,
    stances: pl.DataFrame,
    *,
    answers: pl.DataFrame | None = None,
    codings: Codings | None = None,
    bootstrap: int = 1000,
    seed: int = 0,
) -> Validity:
    """Say what judges are worth, for every criterion.

    Args:
        dataset: the ground truth. verdicts, stances: frames of VERDICTS and STANCES, of any number of judges; either may be empty.
        answers: what the runs wrote (run, pair_id, sample, text), for the check of length.
        codings: what people said of a sample of the same answers.
        bootstrap, seed: of the intervals, clustered by item.

    Raises:
        InputDataError: people coded other answers than those given, though they bear the same names.
    """
    drawn = {"bootstrap": bootstrap, "seed": seed}
    checks = [pairwise_checks(dataset, verdicts, answers, **drawn), stance_checks(dataset, stances, **drawn)]
    agreed, corrected, notes = [AGREED.empty()], [CORRECTED.empty()], list[str]()
    if codings is not None:
        _check_texts(codings, answers)
        coded = coded_places(codings.key, codings.said)
        for kind, judged, units in (
            ("pairwise", judged_pairs(verdicts), _per_judge(verdicts, pairwise_units)),
            ("stance", judged_stances(stances, dataset.codes_of), _per_judge(stances, stance_units)),
        ):
            people = coded.filter(pl.col("kind") == kind)
            agreed.append(agreement_table(dataset, judged, people, **drawn))
            corrected.append(corrected_table(dataset, units, judged, people, **drawn))
            notes += _population_notes(units, codings)
            if kind == "pairwise" and answers is not None:
                checks.append(_longer_by_people(judged, people, answers, **drawn))
        notes += _coder_notes(codings, coded, verdicts, stances)
        checks.append(_kappa_checks(pl.concat(agreed)))
    if answers is None and not verdicts.is_empty():
        notes.append("The answers' texts were not given: whether a judge prefers the longer answer was not checked.")
    if answers is None and codings is not None:
        notes.append("The answers' texts were not given: whether people coded the very answers that were judged was not checked.")
    table = pl.concat(checks)
    return Validity(with_verdicts(table), usable(table), pl.concat(agreed), pl.concat(corrected), notes)


def write_validity(found: Validity, folder: Path, lines: Sequence[str]) -> None:
    """Write the tables as CSV and Parquet, and the sentences as text."""
    tables = {"validity": found.checks, "usable": found.usable, "agreement": found.agreed, "corrected": found.corrected}
    for name, table in tables.items():
        write_parquet(folder / f"{name}.parquet", table)
        flat = table.with_columns(pl.col(column).list.join(" ") for column, kind in table.schema.items() if kind == pl.List(pl.String))
        write_text(folder / f"{name}.csv", flat.write_csv())
    write_text(folder / "validity.txt", "".join(f"{line}\n" for line in lines))


def _per_judge(frame: pl.DataFrame, units_of: Callable[[pl.DataFrame], pl.DataFrame]) -> pl.DataFrame:
    """Return the units that each judge was asked about."""
    parts = [
        units_of(part).with_columns(pl.lit(judge, pl.String).alias("judge"))
        for (judge,), part in frame.group_by("judge", maintain_order=True)
    ]
    return pl.concat(parts) if parts else units_of(frame).with_columns(pl.lit(None, pl.String).alias("judge"))


def _kappa_checks(agreed: pl.DataFrame) -> pl.DataFrame:
    """Return the deciding measure of agreement as checks; where people differ in nothing, their plain agreement with the judge's."""
    rows = [_agreed_row(row, _CHECKS[row["between"]]) for row in agreed.filter(pl.col("measure") == DECIDING).iter_rows(named=True)]
    where = ("judge", "criterion", "by", "key")
    alike = agreed.filter(pl.col("measure") == DECIDING, pl.col("between") == "people-people", pl.col("value").is_null(), pl.col("n") > 0)
    plain = agreed.filter(pl.col("measure") == "agreement", pl.col("between") == "difference").join(
        alike.select(where), on=where, how="semi"
    )
    return VALIDITY.frame([*rows, *(_agreed_row(row, "agreement_difference") for row in plain.iter_rows(named=True))])


def _agreed_row(row: Mapping[str, Any], check: str) -> dict[str, object]:
    value, low, high = (np.nan if row[name] is None else float(row[name]) for name in ("value", "ci_low", "ci_high"))
    found = Estimate(value, low, high, row["n"], row["items"])
    return check_row(row["judge"], row["criterion"], row["by"], row["key"], check, found, "people")


def _longer_by_people(judged: pl.DataFrame, people: pl.DataFrame, answers: pl.DataFrame, *, bootstrap: int, seed: int) -> pl.DataFrame:
    """Return how often people prefer the longer answer: what a judge's own preference is to be read beside."""
    rows: list[dict[str, object]] = []
    means = people.group_by(IDENTITY, maintain_order=True).agg(pl.col("place").mean())
    lean = pl.when(pl.col("place") > 0.5).then(1.0).when(pl.col("place") < 0.5).then(0.0).otherwise(0.5).alias("place")
    for judge, criterion in judged.select("judge", "criterion").unique(maintain_order=True).iter_rows():
        values = longer_won(means.filter(pl.col("criterion") == criterion).with_columns(lean), answers)
        if len(values):
            found = mean(values["value"].to_numpy(), values["item"].to_numpy(), bootstrap=bootstrap, seed=seed)
            rows.append(check_row(judge, criterion, "all", "all", "longer_preferred_by_people", found, "people"))
    return VALIDITY.frame(rows)


def _check_texts(codings: Codings, answers: pl.DataFrame | None) -> None:
    """Refuse codings of other texts than those that were judged; answers that are not at hand are not compared."""
    if answers is None:
        return
    some = answers.join(codings.key.select("pair_id").unique(), on="pair_id", how="semi")
    texts = {(run, pair, sample): text for run, pair, sample, text in some.select("run", "pair_id", "sample", "text").iter_rows()}
    for row in codings.key.filter(pl.col("texts_hash").is_not_null()).iter_rows(named=True):
        runs = (row["run"],) if row["reference"] is None else (row["run"], row["reference"])
        shown = [texts.get((run, row["pair_id"], row["sample"])) for run in runs]
        known = [text for text in shown if text is not None]
        if len(known) == len(shown) and hash_of(known) != row["texts_hash"]:
            raise InputDataError(
                f"{codings.path or 'The sample'}: task {row['code_id']} showed people other answers to {row['pair_id']!r} than "
                f"{' and '.join(runs)} hold now: asked again, or cut elsewhere, since the sample was drawn. Give the folders of that "
                "time, or draw a new sample; the codings stay where they are."
            )


def _population_notes(units: pl.DataFrame, codings: Codings) -> list[str]:
    """Tell where a judge's answers are not those that the sample was drawn from: it is then no random sample of them."""
    notes: list[str] = []
    for (judge, *contest), part in units.group_by("judge", *_CONTEST, maintain_order=True):
        tasks = codings.key.filter(pl.all_horizontal(pl.col(name).eq_missing(what) for name, what in zip(_CONTEST, contest, strict=True)))
        gone = tasks.join(part, on=IDENTITY, how="anti", nulls_equal=True).height
        if gone:
            notes.append(
                f"{judge}, {contest[0]}: {gone:,} of the {tasks.height:,} tasks about {contest[1]} are not among the answers judged now; "
                "what people said of them is left out."
            )
        drawn_from = codings.population.get(tuple(contest))  # pyright: ignore[reportArgumentType, reportCallIssue]
        if drawn_from is not None and drawn_from != len(part):
            notes.append(
                f"{judge}, {contest[0]}: the sample was drawn from {drawn_from:,} answers of {contest[1]}, and {len(part):,} are judged "
                "now. Corrected figures suppose a random sample of all: draw one anew."
            )
    return notes


def _coder_notes(codings: Codings, coded: pl.DataFrame, verdicts: pl.DataFrame, stances: pl.DataFrame) -> list[str]:
    tasks = len(codings.key)
    counts = {coder: coded.filter(pl.col("coder") == coder).height for coder in codings.said}
    skipped = {coder: sum(verdict == SKIP for verdict, _ in said.values()) for coder, said in codings.said.items()}
    told = [
        f"{coder} {count:,} of {tasks:,}" + (f" ({skipped[coder]:,} skipped)" if skipped[coder] else "") for coder, count in counts.items()
    ]
    notes = [f"Coders: {', '.join(told)}."]
    if most := max((count for count in skipped.values() if count > MOST_SKIPPED * tasks), default=0):
        notes.append(
            f"A coder skipped {most:,} of {tasks:,} tasks. What is skipped is not left out by chance: the corrected figures speak for the "
            "answers that people could code."
        )
    judged = {*verdicts["criterion"].unique()} | ({"stance"} if len(stances) else set())
    if lacking := sorted(set(coded["criterion"].unique()) - judged):
        notes.append(f"People coded {', '.join(lacking)}, too, which no folder given here judges.")
    return notes
