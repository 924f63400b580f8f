"""Loading of judged folders together with the runs of open answers they are about."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

from valuestrata.dataset.tables import Dataset
from valuestrata.errors import InputDataError, Option, UsageError, ValuestrataError
from valuestrata.openended.annotation.sample import Instruction
from valuestrata.openended.files import JUDGED, READ, Judgements, Stances, judges_of, load_judgements, load_stances
from valuestrata.openended.open_runs import Contestant, contestants_of, load_open_run, truncated
from valuestrata.openended.pairwise.prompts import load_criteria
from valuestrata.openended.schema import STANCES, VERDICTS
from valuestrata.responses.run.folder import RUN, read_meta
from valuestrata.responses.run.identity import RunIdentity

_ANSWERS = {"run": pl.String, "pair_id": pl.String, "sample": pl.Int32, "text": pl.String}


@dataclass(frozen=True)
class Sources:
    """Judgements and the answers they are about.

    Attributes:
        verdicts, stances: frames of VERDICTS and STANCES, of all folders.
        answers: the answers as the judges read them: run, pair_id, sample, text.
        missing_runs: judged runs whose answers were not found.
        criteria: criterion -> version of its wording. judges: judge -> its identity, as its run records it.
    """

    verdicts: pl.DataFrame
    stances: pl.DataFrame
    answers: pl.DataFrame
    missing_runs: tuple[str, ...]
    criteria: Mapping[str, str]
    judges: Mapping[str, RunIdentity] = field(default_factory=dict[str, RunIdentity])


def load_sources(dataset: Dataset, folders: Sequence[Path]) -> Sources:
    """Read folders of verdicts and stances, and the answers from runs among the folders or next to them.

    Raises:
        UsageError: no folder of verdicts or stances, one judge's verdicts of the same answers in two folders, or answers cut to different
            lengths.
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
        raise UsageError("No folder of verdicts or stances was given. Make one with `valuestrata open judge` or `valuestrata open stance`.")
    judged = [*judgements, *stances]
    for one in judged:
        if one.meta["dataset"]["fingerprint"] != dataset.fingerprint:
            raise InputDataError(f"{one.path}: these answers were given to another data set than {dataset.path or 'this one'}.")
    verdicts = pl.concat([VERDICTS.empty(), *(one.verdicts for one in judgements)])
    read = pl.concat([STANCES.empty(), *(one.stances for one in stances)])
    _check_judged_once(verdicts, ("judge", "criterion", "run", "reference", "pair_id", "sample", "order"))
    _check_judged_once(read, ("judge", "run", "pair_id", "sample"))
    answers, missing = _answers(dataset, [(one.path, one.meta) for one in judged], given)
    criteria: dict[str, str] = {}
    for one in judgements:
        for name, version in one.meta["judged"]["criteria"].items():
            if criteria.setdefault(name, version) != version:
                raise UsageError(
                    f"The folders judged the criterion {name!r} with different wordings ({criteria[name]} and {version}). "
                    "Give folders with one wording."
                )
    judges = {name: RunIdentity.from_document({"respondent": one}, name, "run.json") for name, one in _judges(judgements, stances)}
    return Sources(verdicts, read, answers, missing, criteria, judges)


def _judges(judgements: Sequence[Judgements], stances: Sequence[Stances]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield name and recorded identity of every judge."""
    metas = [dict(one.meta) for one in judgements]
    metas += [meta for one in stances for _, meta in judges_of(one.path)]
    for meta in metas:
        found = meta.get("respondent")
        if isinstance(found, dict) and "name" in found:
            yield str(found["name"]), found


def instructions_of(criteria: Mapping[str, str], file: Path | None = None) -> dict[str, Instruction]:
    """Return the instructions for coders: the wording of each criterion that the judge saw.

    Args:
        criteria: criterion -> version of its wording. file: the file of criteria given to the judge.

    Raises:
        InputDataError: a criterion was judged with another wording.
    """
    known = {one.name: one for one in load_criteria(file=file)}
    found: dict[str, Instruction] = {}
    for name, version in criteria.items():
        if name not in known or known[name].version != version:
            raise InputDataError(
                f"The criterion {name!r} was judged with a wording that was not found (version {version}). Give its file with ",
                Option("criteria"),
                ", as for `open judge`.",
            )
        found[name] = Instruction(known[name].wording.strip(), known[name].persona)
    return found


def _kind(folder: Path) -> str:
    if not (folder / RUN).is_file():
        raise InputDataError(f"{folder}: holds no verdicts, stances or open answers ({RUN} is missing).")
    return str((read_meta(folder) or {}).get("kind"))


def _check_judged_once(rows: pl.DataFrame, unit: Sequence[str]) -> None:
    """Refuse two judgements of one answer by the same judge: they would count as two judges."""
    doubled = rows.filter(rows.select(unit).is_duplicated())
    if len(doubled):
        judge, pair, run = (doubled[name][0] for name in ("judge", "pair_id", "run"))
        raise UsageError(f"{judge} judged {pair!r} of run {run!r} in two of the folders. Give one of them.")


def _answers(
    dataset: Dataset, judged: Sequence[tuple[Path, Mapping[str, Any]]], given: Mapping[str, Path]
) -> tuple[pl.DataFrame, tuple[str, ...]]:
    """Return the answers of all judged runs, and the runs that were not found."""
    lengths = {meta["judged"].get("truncate") for _, meta in judged}
    if len(lengths) > 1:
        raise UsageError("The judges read the answers cut to different lengths. Give folders with the same ", Option("truncate"), ".")
    length = lengths.pop()
    hashes: dict[str, tuple[str, Path]] = {}
    for path, meta in judged:
        for name, text_hash in {**meta["judged"]["runs"], **meta["judged"].get("reference", {})}.items():
            if hashes.setdefault(name, (text_hash, path))[0] != text_hash:
                raise InputDataError(
                    f"{path} and {hashes[name][1]}: both judged a run named {name!r}, but with different answers. Give one of the folders."
                )
    frames = [pl.DataFrame(schema=_ANSWERS)]
    missing: list[str] = []
    for name, (text_hash, path) in hashes.items():
        found = _judged_run(dataset, name, text_hash, given.get(name), path.resolve().parent / name)
        if found is None:
            missing.append(name)
        else:
            frames.append(_texts(found, length))
    return pl.concat(frames), tuple(missing)


def _judged_run(dataset: Dataset, name: str, text_hash: str, given: Path | None, neighbour: Path) -> Contestant | None:
    """Return the run of this name if its answers are those that were judged."""
    if given is not None:
        found = contestants_of(dataset, [load_open_run(given)])[0]
        if found.hash != text_hash:
            raise InputDataError(
                f"{given}: run {name!r} does not hold the answers that were judged; it is another run, or it was asked again."
            )
        return found
    if not (neighbour / RUN).is_file():
        return None
    try:
        found = contestants_of(dataset, [load_open_run(neighbour)])[0]
    except ValuestrataError:
        # The user did not name this folder: it may have the same name by chance.
        return None
    return found if found.hash == text_hash else None


def _texts(contestant: Contestant, length: int | None) -> pl.DataFrame:
    """Return the answers of a run as the judges read them, without refusals and empty answers."""
    rows = contestant.answers.filter(pl.col("status") == "answered").select("pair_id", "sample", "text")
    texts = [truncated(text or "", length) for text in rows["text"]]
    columns = {"run": pl.Series([contestant.name] * len(rows), dtype=pl.String), "text": pl.Series(texts, dtype=pl.String)}
    return rows.with_columns(**columns).select(pl.col(name).cast(kind) for name, kind in _ANSWERS.items())
