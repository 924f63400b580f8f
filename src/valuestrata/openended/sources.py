"""Folders as a user names them: verdicts, stances, and the runs of open answers that they are about."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from valuestrata.dataset.tables import Dataset
from valuestrata.errors import InputDataError, Option, UsageError, ValuestrataError
from valuestrata.files import read_json
from valuestrata.openended.annotation.sample import Instruction
from valuestrata.openended.files import JUDGED, READ, load_judgements, load_stances
from valuestrata.openended.open_runs import Contestant, contestants_of, load_open_run, truncated
from valuestrata.openended.pairwise.prompts import load_criteria
from valuestrata.openended.schema import STANCES, VERDICTS
from valuestrata.responses.run.folder import RUN

_ANSWERS = {"run": pl.String, "pair_id": pl.String, "sample": pl.Int32, "text": pl.String}


@dataclass(frozen=True)
class Sources:
    """What judges said, and of what.

    Attributes:
        verdicts, stances: frames of VERDICTS and STANCES, of all folders.
        answers: what the runs wrote, as the judges read it: run, pair_id, sample, text.
        lacking: runs that were judged and whose answers were not found.
        criteria: criterion -> version of its wording.
    """

    verdicts: pl.DataFrame
    stances: pl.DataFrame
    answers: pl.DataFrame
    lacking: tuple[str, ...]
    criteria: Mapping[str, str]


def load_sources(dataset: Dataset, folders: Sequence[Path]) -> Sources:
    """Read folders of verdicts and stances; runs of open answers among them, or lying beside them, bring the texts.

    Raises:
        UsageError: no folder of verdicts or stances, one judge's verdicts of the same answers in two folders, or answers that
            one judge read cut and another did not.
        InputDataError: a folder of another kind or data set, or a run whose answers are not those that were judged.
    """
    judgements, stances, given = [], [], dict[str, Path]()
    for folder in folders:
        kind = _kind(folder)
        if kind == JUDGED:
            judgements.append(load_judgements(folder))
        elif kind == READ:
            stances.append(load_stances(folder))
        else:
            given[load_open_run(folder).name] = folder
    if not judgements and not stances:
        raise UsageError("No folder of verdicts or stances was given; make one with `valuestrata open judge` or `valuestrata open stance`.")
    said = [*judgements, *stances]
    for one in said:
        if one.meta["dataset"]["fingerprint"] != dataset.fingerprint:
            raise InputDataError(f"{one.path}: what was judged there is of another data set than {dataset.path or 'this one'}.")
    verdicts = pl.concat([VERDICTS.empty(), *(one.verdicts for one in judgements)])
    read = pl.concat([STANCES.empty(), *(one.stances for one in stances)])
    _check_once(verdicts, ("judge", "criterion", "run", "reference", "pair_id", "sample", "order"))
    _check_once(read, ("judge", "run", "pair_id", "sample"))
    answers, lacking = _answers(dataset, [(one.path, one.meta) for one in said], given)
    criteria: dict[str, str] = {}
    for one in judgements:
        for name, version in one.meta["judged"]["criteria"].items():
            if criteria.setdefault(name, version) != version:
                raise UsageError(f"The criterion {name!r} was judged in two wordings ({criteria[name]} and {version}): take one at a time.")
    return Sources(verdicts, read, answers, lacking, criteria)


def instructions_of(criteria: Mapping[str, str], file: Path | None = None) -> dict[str, Instruction]:
    """Return what coders are told of criteria: the words that the judge was told.

    Args:
        criteria: criterion -> version of its wording. file: the file of criteria given to the judge.

    Raises:
        InputDataError: a criterion that was judged in other words than those at hand.
    """
    known = {one.name: one for one in load_criteria(file=file)}
    found: dict[str, Instruction] = {}
    for name, version in criteria.items():
        if name not in known or known[name].version != version:
            raise InputDataError(
                f"The criterion {name!r} was judged in a wording that is not at hand (version {version}): "
                "give the file that words it with ",
                Option("criteria"),
                ", as `open judge` had it.",
            )
        found[name] = Instruction(known[name].wording.strip(), known[name].persona)
    return found


def _kind(folder: Path) -> str:
    if not (folder / RUN).is_file():
        raise InputDataError(f"{folder}: no verdicts, stances or open answers here ({RUN} is missing).")
    meta = read_json(folder / RUN)
    return str(meta.get("kind")) if isinstance(meta, dict) else ""


def _check_once(rows: pl.DataFrame, unit: Sequence[str]) -> None:
    """Refuse what one judge said twice of the same: its second word is no second judge."""
    doubled = rows.filter(rows.select(unit).is_duplicated())
    if len(doubled):
        raise UsageError(
            f"{doubled['judge'][0]} judged {doubled['pair_id'][0]!r} of run {doubled['run'][0]!r} in two of the folders; give one of them."
        )


def _answers(
    dataset: Dataset, said: Sequence[tuple[Path, Mapping[str, Any]]], given: Mapping[str, Path]
) -> tuple[pl.DataFrame, tuple[str, ...]]:
    """Return the answers of all runs that were judged, and the runs that were not found."""
    cuts = {meta["judged"].get("truncate") for _, meta in said}
    if len(cuts) > 1:
        raise UsageError("The judges read the answers cut to different lengths: use folders with the same ", Option("truncate"), ".")
    cut = cuts.pop()
    hashes: dict[str, tuple[str, Path]] = {}
    for path, meta in said:
        for name, text_hash in {**meta["judged"]["runs"], **meta["judged"].get("reference", {})}.items():
            if hashes.setdefault(name, (text_hash, path))[0] != text_hash:
                raise InputDataError(
                    f"{path} and {hashes[name][1]}: runs named {name!r} in both, and not of the same answers. Take one folder at a time."
                )
    frames = [pl.DataFrame(schema=_ANSWERS)]
    lacking: list[str] = []
    for name, (text_hash, path) in hashes.items():
        found = _same_answers(dataset, name, text_hash, given.get(name), path.resolve().parent / name)
        if found is None:
            lacking.append(name)
        else:
            frames.append(_texts(found, cut))
    return pl.concat(frames), tuple(lacking)


def _same_answers(dataset: Dataset, name: str, text_hash: str, given: Path | None, beside: Path) -> Contestant | None:
    """Return the run of that name if its answers are those that were judged."""
    if given is not None:
        found = contestants_of(dataset, [load_open_run(given)])[0]
        if found.hash != text_hash:
            raise InputDataError(
                f"{given}: run {name!r} does not hold the answers that were judged; it was asked again, or is another one."
            )
        return found
    if not (beside / RUN).is_file():
        return None
    try:
        found = contestants_of(dataset, [load_open_run(beside)])[0]
    except ValuestrataError:
        # A folder that happens to have the name: nobody said that it is the run.
        return None
    return found if found.hash == text_hash else None


def _texts(contestant: Contestant, cut: int | None) -> pl.DataFrame:
    """Return what a run wrote, as the judges read it; refusals and empty answers are left out, as they were not shown."""
    rows = contestant.answers.filter(pl.col("status") == "answered").select("pair_id", "sample", "text")
    texts = [truncated(text or "", cut) for text in rows["text"]]
    columns = {"run": pl.Series([contestant.name] * len(rows), dtype=pl.String), "text": pl.Series(texts, dtype=pl.String)}
    return rows.with_columns(**columns).select(pl.col(name).cast(kind) for name, kind in _ANSWERS.items())
