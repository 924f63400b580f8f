"""Whether the people of a sample are among those that a run was taught on: then an estimate would use their answers twice."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl

from valuestrata.dataset.subgroups import EVERYONE
from valuestrata.dataset.tables import Dataset
from valuestrata.dataset.training_source import TrainingSource, same_halves
from valuestrata.errors import OptionText, UsageError
from valuestrata.estimation.people.interviewed import InterviewedPeople
from valuestrata.respondents.baselines.kinds import TRAINS_ON_NOTHING
from valuestrata.responses.run.identity import Identified, run_identity
from valuestrata.scores.train_test_overlap import completed_source, may_be_trained

# The people are those of the data set, or of one of its halves, if they gave the same number of each answer to every item.
_FEWEST_ANSWERS = 30
_DONE = {"calibrate": "calibrated with", "tune": "tuned on", "context": "shown", "baseline": "fitted to"}


def check_taught(dataset: Dataset, runs: Sequence[Identified], people: InterviewedPeople) -> list[OptionText]:
    """Refuse runs that were taught on the answers of the people, and return remarks on runs of which it is not known.

    The people are those of a run's training if they come from the same file (by SHA-256), or if their answers have the counts of all
    respondents of the data set, or of the half that the run was taught on. A model that was not taught is never refused, even if the
    data set was built from the same people.

    Args:
        dataset: the data set of the runs. runs: the runs. people: those who were interviewed.

    Raises:
        UsageError: a run was taught on answers of these people.
    """
    halves = _halves_of(dataset, people)
    found: list[OptionText] = []
    for run in runs:
        identity = run_identity(run)
        if identity.rule in TRAINS_ON_NOTHING:
            continue
        sources = [completed_source(source, identity) for source in identity.sources]
        if not sources and identity.is_baseline:
            sources = [TrainingSource(dataset=identity.dataset.fingerprint)]
        if not sources and may_be_trained(identity):
            found.append(
                OptionText(
                    f"It is not recorded what {run.name} was taught on. If it was taught on the answers of these people, its estimates are "
                    "too good and their intervals too short."
                )
            )
        for source in sources:
            if (known := _knows(source, dataset, people, halves)) is None:
                found.append(
                    OptionText(
                        f"{run.name} was taught on answers to the same survey ({_file_of(source, dataset)}). It cannot be seen whether the "
                        f"people of {people.source} are among its respondents; if they are, estimates with {run.name} use their answers "
                        "twice, and their intervals are too short."
                    )
                )
            elif known:
                raise UsageError(_refusal(run.name, source, people))
    return list({str(remark): remark for remark in found}.values())


def _knows(source: TrainingSource, dataset: Dataset, people: InterviewedPeople, halves: set[str]) -> bool | None:
    """Return whether a run was taught on answers of the people; None if that cannot be known."""
    about = dataset.meta
    if source.halves == () or (source.survey is not None and source.survey != (about.get("survey") or {}).get("name")):
        return False
    countries = {str(country.get("alpha") or country["code"]) for country in about.get("countries") or ()}
    if countries and source.countries and not countries.intersection(source.countries):
        return False
    here = (about.get("source") or {}).get("sha256")
    file = source.file or (here if source.dataset == dataset.fingerprint else None)
    if file is not None and file == people.sha256:
        return True
    if source.dataset != dataset.fingerprint and (file is None or file != here):
        return None
    used = set(source.used_halves)
    if "all" in halves | (used if halves else set()):
        return True
    return bool(halves & used) if halves and same_halves(source, dataset) else None


def _halves_of(dataset: Dataset, people: InterviewedPeople) -> set[str]:
    """Return `all`, `A` or `B` if the people gave as many answers of each kind as those respondents of the data set; else nothing."""
    place = {item: number for number, item in enumerate(dataset.codes_of)}
    found: set[str] = set()
    for half in ("all", "A", "B"):
        rows = dataset.gold.filter((pl.col("half") == half) & (pl.col("subgroup") == EVERYONE)).select("item", "counts_raw")
        answers = [(people.answers[:, place[item]], np.array(counts)) for item, counts in rows.iter_rows()]
        asked = [(own[own >= 0], counts) for own, counts in answers if (own >= 0).any()]
        equal = all(np.array_equal(np.bincount(own, minlength=len(counts)), counts) for own, counts in asked)
        if equal and sum(len(own) for own, _ in asked) >= _FEWEST_ANSWERS:
            found.add(half)
    return found


def _file_of(source: TrainingSource, dataset: Dataset) -> str:
    here = dataset.meta.get("source") or {}
    same = source.dataset == dataset.fingerprint or (source.file is not None and source.file == here.get("sha256"))
    halves = "" if source.used_halves == ("all",) else f", half {' and '.join(source.used_halves)} of its respondents"
    return (str(here.get("file")) if same else "another file") + halves


def _refusal(name: str, source: TrainingSource, people: InterviewedPeople) -> str:
    done = _DONE.get((source.method or "").split(":")[0], "taught on")
    half = "" if source.used_halves == ("all",) else f" (half {' and '.join(source.used_halves)} of the respondents)"
    return (
        f"The run {name!r} was {done} answers of the people in {people.source}{half}, so an estimate would use these answers twice and its "
        "intervals would be too short. Use a run that was not taught on them: the model as it was before, a run that was taught on another "
        "wave, or one that was taught under a split with +disjoint (half A of the respondents), with the people of half B only."
    )
