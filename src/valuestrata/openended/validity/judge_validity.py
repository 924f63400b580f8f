"""Validity of judges: checks of their verdicts, agreement with people, and estimates corrected for their errors."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from valuestrata.dataset.tables import Dataset
from valuestrata.errors import InputDataError
from valuestrata.files import write_parquet, write_text
from valuestrata.frames import csv_text
from valuestrata.openended.annotation.files import (
    CODINGS,
    KEY,
    KEY_META,
    SKIP,
    KeyFile,
    check_coder_name,
    coders_of,
    load_key,
    load_sample,
    read_codings,
)
from valuestrata.openended.annotation.sample import STANCE, hash_of, pairwise_units, stance_units
from valuestrata.openended.validity.corrected import CORRECTED, corrected_table
from valuestrata.openended.validity.corrected_differences import CORRECTED_DIFFERENCES, corrected_differences
from valuestrata.openended.validity.decision_rule import VALIDITY, check_row, usable, with_verdicts
from valuestrata.openended.validity.human_agreement import AGREED, DECIDING, agreement_table
from valuestrata.openended.validity.judge_checks import longer_won, pairwise_checks, stance_checks
from valuestrata.openended.validity.units import IDENTITY, coded_places, judged_pairs, judged_stances, preferred_side
from valuestrata.stats.cluster_bootstrap import ClusterEstimate, clustered_mean
from valuestrata.yaml_files import read_document

# A larger share of skipped tasks is reported.
MAX_SKIPPED = 0.10
_CONTEST = ("criterion", "run", "reference")
# Name of the check for each comparison of agreement.
_CHECKS = {"judge-people": "kappa_with_people", "people-people": "kappa_among_people", "difference": "kappa_difference"}


@dataclass(frozen=True)
class Validity:
    """Validity of judges.

    Attributes:
        checks: a frame of VALIDITY. usable: a frame of USABLE_TABLE, the verdict for each judge and criterion.
        agreed: a frame of AGREED. corrected: a frame of CORRECTED. corrected_differences: a frame of CORRECTED_DIFFERENCES. All three are
            empty without codings.
        notes: remarks on the data.
    """

    checks: pl.DataFrame
    usable: pl.DataFrame
    agreed: pl.DataFrame
    corrected: pl.DataFrame
    corrected_differences: pl.DataFrame
    notes: Sequence[str]


@dataclass(frozen=True)
class Codings:
    """Codings of a sample.

    Attributes:
        key: a frame of KEYS. verdicts: coder -> code_id -> (verdict, note).
        population: (criterion, run, reference) -> number of answers the sample was drawn from.
        path: folder of the sample, for messages.
    """

    key: pl.DataFrame
    verdicts: Mapping[str, Mapping[str, tuple[str, str]]]
    population: Mapping[tuple[str, str, str | None], int]
    path: Path | None = None


def load_codings(path: Path, dataset: Dataset | None = None) -> Codings:
    """Read a sample with its key and the codings of all coders.

    Raises:
        InputDataError: no sample, a sample of another data set, an invalid file, or no codings yet.
    """
    sample = load_sample(path)
    fingerprint = (sample.meta.get("dataset") or {}).get("fingerprint")
    if dataset is not None and fingerprint != dataset.fingerprint:
        raise InputDataError(f"{path}: the sample is of answers to another data set than {dataset.path or 'this one'}.")
    verdicts = {coder: read_codings(sample, coder) for coder in map(check_coder_name, coders_of(path))}
    if not any(verdicts.values()):
        raise InputDataError(f"{path}: there are no codings yet. Code the sample with: valuestrata open code {path} --coder NAME")
    if missing := [name for name in (KEY, KEY_META) if not (path / name).is_file()]:
        raise InputDataError(
            f"{path}: {missing[0]} is missing; it says which answers the tasks show. Copy the coders' files ({CODINGS}/NAME.csv) into "
            "the folder made by `valuestrata open sample` and give that folder."
        )
    key = read_document(path / KEY_META, KeyFile, "Restore the file from a copy.")
    population = {(row["criterion"], row["run"], row["reference"]): row["answers"] for row in key["population"]}
    return Codings(load_key(path), verdicts, population, path)


def judge_validity(
    dataset: Dataset,
    verdicts: pl.DataFrame,
    stances: pl.DataFrame,
    *,
    answers: pl.DataFrame | None = None,
    codings: Codings | None = None,
    pairs: Sequence[tuple[str, str]] | None = None,
    bootstrap: int = 1000,
    seed: int = 0,
) -> Validity:
    """Assess judges, for every criterion.

    Args:
        dataset: the ground truth.
        verdicts: frame of VERDICTS, of any number of judges; may be empty.
        stances: frame of STANCES, of any number of judges; may be empty.
        answers: run, pair_id, sample, text, for the check of length.
        codings: codings of a sample of the same answers.
        pairs: (run, run to subtract) of corrected differences of win rates; by default all pairs of runs, the later minus the
            earlier one.
        bootstrap: number of bootstrap replicates; intervals are clustered by block of items.
        seed: their seed.

    Raises:
        InputDataError: coders saw other answers than those given, under the same names.
    """
    settings = {"bootstrap": bootstrap, "seed": seed}
    checks = [pairwise_checks(dataset, verdicts, answers, **settings), stance_checks(dataset, stances, **settings)]
    agreed, corrected, differences, notes = [AGREED.empty()], [CORRECTED.empty()], CORRECTED_DIFFERENCES.empty(), list[str]()
    if codings is not None:
        _check_texts(codings, answers)
        coded = coded_places(codings.key, codings.verdicts)
        for kind, judged, units in (
            ("pairwise", judged_pairs(verdicts), _per_judge(verdicts, pairwise_units)),
            ("stance", judged_stances(stances, dataset.codes_of), _per_judge(stances, stance_units)),
        ):
            people = coded.filter(pl.col("kind") == kind)
            agreed.append(agreement_table(dataset, judged, people, **settings))
            corrected.append(corrected_table(dataset, units, judged, people, **settings))
            notes += _population_notes(units, codings)
            if kind == "pairwise":
                differences = corrected_differences(dataset, units, judged, people, pairs=pairs, **settings)
            if kind == "pairwise" and answers is not None:
                checks.append(_longer_by_people(dataset, judged, people, answers, **settings))
        notes += _coder_notes(codings, coded, {*verdicts["criterion"].unique(), *([STANCE] if len(stances) else [])})
        checks.append(_kappa_checks(pl.concat(agreed)))
    if answers is None and not verdicts.is_empty():
        notes.append("Preference for longer answers was not checked because the texts of the answers were not given.")
    if answers is None and codings is not None:
        notes.append("It was not checked whether people coded the answers that were judged, because the texts were not given.")
    table = pl.concat(checks)
    return Validity(with_verdicts(table), usable(table), pl.concat(agreed), pl.concat(corrected), differences, notes)


def write_validity(found: Validity, folder: Path, lines: Sequence[str]) -> None:
    """Write the tables as CSV and Parquet, and the lines as text."""
    tables = {
        "validity": found.checks,
        "usable": found.usable,
        "agreement": found.agreed,
        "corrected": found.corrected,
        "corrected_differences": found.corrected_differences,
    }
    for name, table in tables.items():
        write_parquet(folder / f"{name}.parquet", table)
        flat = table.with_columns(pl.col(column).list.join(" ") for column, kind in table.schema.items() if kind == pl.List(pl.String))
        write_text(folder / f"{name}.csv", csv_text(flat))
    write_text(folder / "validity.txt", "".join(f"{line}\n" for line in lines))


def _per_judge(frame: pl.DataFrame, units_of: Callable[[pl.DataFrame], pl.DataFrame]) -> pl.DataFrame:
    """Return the units of each judge."""
    parts = [
        units_of(part).with_columns(pl.lit(judge, pl.String).alias("judge"))
        for (judge,), part in frame.group_by("judge", maintain_order=True)
    ]
    return pl.concat(parts) if parts else units_of(frame).with_columns(pl.lit(None, pl.String).alias("judge"))


def _kappa_checks(agreed: pl.DataFrame) -> pl.DataFrame:
    """Return the deciding measure of agreement as checks; if people always agree and have no kappa, plain agreement as well."""
    deciding = agreed.filter(pl.col("measure") == DECIDING)
    rows = [_agreement_check(row, _CHECKS[row["between"]]) for row in deciding.iter_rows(named=True)]
    where = ("judge", "criterion", "by", "key")
    without = deciding.filter(pl.col("between") == "people-people", pl.col("value").is_null(), pl.col("n") > 0)
    plain = agreed.filter(pl.col("measure") == "agreement", pl.col("between") == "difference")
    plain = plain.join(without.select(where), on=where, how="semi")
    return VALIDITY.frame([*rows, *(_agreement_check(row, "agreement_difference") for row in plain.iter_rows(named=True))])


def _agreement_check(row: Mapping[str, Any], check: str) -> dict[str, object]:
    value, low, high = (float("nan") if row[name] is None else float(row[name]) for name in ("value", "ci_low", "ci_high"))
    found = ClusterEstimate(value, low, high, row["n"], row["items"])
    return check_row(row["judge"], row["criterion"], row["by"], row["key"], check, found, "people")


def _longer_by_people(
    dataset: Dataset, judged: pl.DataFrame, people: pl.DataFrame, answers: pl.DataFrame, *, bootstrap: int, seed: int
) -> pl.DataFrame:
    """Return how often people prefer the longer answer, for comparison with the judge's own preference."""
    rows: list[dict[str, object]] = []
    means = people.group_by(IDENTITY, maintain_order=True).agg(preferred_side(pl.col("place").mean()).alias("place"))
    for judge, criterion in judged.select("judge", "criterion").unique(maintain_order=True).iter_rows():
        values = longer_won(means.filter(pl.col("criterion") == criterion), answers)
        if len(values):
            items = values["item"].to_numpy()
            found = clustered_mean(values["value"].to_numpy(), items, dataset.blocks_of(items), bootstrap=bootstrap, seed=seed)
            rows.append(check_row(judge, criterion, "all", "all", "longer_preferred_by_people", found, "people"))
    return VALIDITY.frame(rows)


def _check_texts(codings: Codings, answers: pl.DataFrame | None) -> None:
    """Refuse codings of other texts than those that were judged; missing answers are not compared."""
    if answers is None:
        return
    coded = answers.join(codings.key.select("pair_id").unique(), on="pair_id", how="semi")
    texts = {(run, pair, sample): text for run, pair, sample, text in coded.select("run", "pair_id", "sample", "text").iter_rows()}
    for row in codings.key.filter(pl.col("texts_hash").is_not_null()).iter_rows(named=True):
        runs = (row["run"],) if row["reference"] is None else (row["run"], row["reference"])
        shown = [texts.get((run, row["pair_id"], row["sample"])) for run in runs]
        known = [text for text in shown if text is not None]
        if len(known) == len(shown) and hash_of(known) != row["texts_hash"]:
            raise InputDataError(
                f"{codings.path or 'The sample'}: task {row['code_id']} showed other answers to {row['pair_id']!r} than "
                f"{' and '.join(runs)} contain now; they were asked again or cut differently after the sample was drawn. Give the folders "
                "of that time, or draw a new sample. The codings are kept."
            )


def _population_notes(units: pl.DataFrame, codings: Codings) -> list[str]:
    """Report judges whose answers are not those the sample was drawn from: it is then no random sample of them."""
    notes: list[str] = []
    for (judge, *contest), part in units.group_by("judge", *_CONTEST, maintain_order=True):
        criterion, run, reference = (None if name is None else str(name) for name in contest)
        tasks = codings.key.filter(pl.all_horizontal(pl.col(name).eq_missing(what) for name, what in zip(_CONTEST, contest, strict=True)))
        gone = tasks.join(part, on=IDENTITY, how="anti", nulls_equal=True).height
        if gone:
            notes.append(
                f"{judge}, {criterion}: {gone:,} of the {tasks.height:,} tasks about {run} are not among the judged answers. "
                "Their codings are ignored."
            )
        drawn_from = codings.population.get((str(criterion), str(run), reference))
        if drawn_from is not None and drawn_from != len(part):
            notes.append(
                f"{judge}, {criterion}: the sample was drawn from {drawn_from:,} answers of {run}, but {len(part):,} are judged now. "
                "Corrected estimates need a random sample of all answers: draw a new one."
            )
    return notes


def _coder_notes(codings: Codings, coded: pl.DataFrame, judged: set[str]) -> list[str]:
    tasks = len(codings.key)
    skipped = {coder: sum(verdict == SKIP for verdict, _ in said.values()) for coder, said in codings.verdicts.items()}
    counts = [
        f"{coder} {coded.filter(pl.col('coder') == coder).height:,} of {tasks:,}" + (f" ({number:,} skipped)" if number else "")
        for coder, number in skipped.items()
    ]
    notes = [f"Coders: {', '.join(counts)}."]
    if most := max((number for number in skipped.values() if number > MAX_SKIPPED * tasks), default=0):
        notes.append(
            f"A coder skipped {most:,} of {tasks:,} tasks. Skipped tasks are not missing at random: the corrected estimates are about the "
            "answers that people could code."
        )
    if unjudged := sorted(set(coded["criterion"].unique()) - judged):
        notes.append(f"The criteria {', '.join(unjudged)} were coded but are not judged in the given folders.")
    return notes
