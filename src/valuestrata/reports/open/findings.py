"""Results of open answers for a report: judges, win rates, stances, closed answers and text checks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

import polars as pl

from valuestrata.dataset.tables import Dataset
from valuestrata.errors import InputDataError, Option, UsageError
from valuestrata.openended.files import Stances
from valuestrata.openended.open_runs import contestants_of
from valuestrata.openended.pairwise.win_rates import WIN_DIFFERENCES, WINRATES, win_differences, winrates
from valuestrata.openended.schema import STANCES, VERDICTS
from valuestrata.openended.sources import Sources
from valuestrata.openended.stance.closed_vs_open import AGREEMENT, closed_against_open, closed_runs_of
from valuestrata.openended.stance.majority import judges_compared
from valuestrata.openended.stance.scores import SILENCE, silence, stance_runs
from valuestrata.openended.text.checks import TextChecks, text_checks
from valuestrata.openended.validity.judge_validity import Codings, Validity, judge_validity
from valuestrata.responses.reference_baselines import reference_baselines
from valuestrata.responses.run.base_models import is_tuned_from
from valuestrata.responses.run.folder import Run
from valuestrata.responses.run.identity import RunIdentity, run_identity
from valuestrata.scores import score
from valuestrata.scores.schema import SCORES

_SCORED_BY = ("all", "stratum", "level", "subgroup", "topic")


@dataclass(frozen=True)
class OpenFindings:
    """Results that a report of open answers shows.

    Attributes:
        runs: the open runs. verdicts: VERDICTS. stances: STANCES.
        winrates: WINRATES. differences: WIN_DIFFERENCES. validity: validity of the judges.
        scores: SCORES of the readings, the closed runs and baselines, on the pairs with readings.
        read: name in `scores` -> (open run, judge). closed: open run -> its closed runs. chosen: the closed runs.
        tuned: (run of a tuned model, run of its base). judges: judge -> its identity, as the folders of judgements record it.
        silence: SILENCE. compared: JUDGES_COMPARED. agreement: AGREEMENT. texts: the checks without a judge.
        split, part, fold: what was scored.
    """

    runs: Sequence[Run]
    verdicts: pl.DataFrame
    stances: pl.DataFrame
    winrates: pl.DataFrame
    differences: pl.DataFrame
    validity: Validity
    scores: pl.DataFrame
    read: Mapping[str, tuple[str, str]]
    closed: Mapping[str, Sequence[str]]
    chosen: Sequence[Run]
    tuned: Sequence[tuple[str, str]]
    judges: Mapping[str, RunIdentity]
    silence: pl.DataFrame
    compared: pl.DataFrame
    agreement: pl.DataFrame
    texts: TextChecks
    split: str
    part: str
    fold: int | None

    def tables(self) -> dict[str, pl.DataFrame]:
        """Return the non-empty tables by name, with lists joined."""
        found = {
            "win_rates": self.winrates,
            "win_differences": self.differences,
            "judges": self.validity.checks,
            "judges_usable": self.validity.usable,
            "judges_and_people": self.validity.agreed,
            "corrected": self.validity.corrected,
            "corrected_differences": self.validity.corrected_differences,
            "stance_scores": self.scores,
            "no_stance": self.silence,
            "judges_compared": self.compared,
            "closed_against_open": self.agreement,
            **{name: frame for name, frame in self.texts.tables().items() if name != "texts"},
        }
        return {
            name: frame.with_columns(pl.col(pl.List(pl.String)).list.join(";")) for name, frame in found.items() if not frame.is_empty()
        }


def open_findings(
    dataset: Dataset,
    runs: Sequence[Run],
    *,
    sources: Sources | None = None,
    stances: Sequence[Stances] = (),
    closed: Sequence[Run] = (),
    codings: Codings | None = None,
    baselines: Sequence[str] = (),
    split: str = "paper",
    part: str = "test",
    fold: int | None = None,
    bootstrap: int = 1000,
    permutations: int = 500,
    seed: int = 0,
) -> OpenFindings:
    """Compute the results of open answers.

    Args:
        dataset: the ground truth. runs: open runs, including the reference. sources: judgements, or None. stances: the folders of
            stances among them.
        closed: closed runs of the same models. codings: codings of a sample. baselines: kinds of baselines to score.
        split, part, fold: pairs to score. bootstrap, permutations, seed: replicates, shuffles and their seed.

    Raises:
        UsageError: no run, or two of one name; closed runs without stances, or codings without judgements.
        InputDataError: a run of another data set, a judged run that was not given, or closed runs of other models only.
    """
    if not runs:
        raise UsageError(
            "A report of open answers needs the runs themselves, including the reference: give them with ", Option("runs"), "."
        )
    contestants_of(dataset, runs)
    if closed and not stances:
        raise UsageError("Closed runs are compared with stances: give ", Option("stances"), ", as well.")
    if codings is not None and sources is None:
        raise UsageError("Codings are compared with judgements: give ", Option("judgements"), " or ", Option("stances"), ", as well.")
    verdicts = VERDICTS.empty() if sources is None else sources.verdicts
    readings = STANCES.empty() if sources is None else sources.stances
    if sources is not None:
        _check(sources, [run.name for run in runs])
    where: dict[str, Any] = {"split": split, "part": part, "fold": fold}
    resampling: dict[str, Any] = {"bootstrap": bootstrap, "seed": seed}
    scores, read = _scored(dataset, stances, closed, baselines, where, resampling)
    links, agreement = _against_closed(dataset, stances, closed, resampling)
    answers = None if sources is None or sources.missing_runs else sources.answers
    tuned = tuned_runs(runs)
    pairs = _compared(verdicts, runs, tuned)
    return OpenFindings(
        runs=runs,
        verdicts=verdicts,
        stances=readings,
        winrates=WINRATES.empty() if verdicts.is_empty() else winrates(dataset, verdicts, **resampling),
        differences=win_differences(dataset, verdicts, pairs, **resampling) if pairs else WIN_DIFFERENCES.empty(),
        validity=judge_validity(dataset, verdicts, readings, answers=answers, codings=codings, pairs=pairs, **resampling),
        scores=scores,
        read=read,
        closed=links,
        chosen=closed,
        tuned=tuned,
        judges={} if sources is None else sources.judges,
        silence=SILENCE.empty() if readings.is_empty() else silence(dataset, readings, **resampling),
        compared=judges_compared(dataset, readings, **resampling),
        agreement=agreement,
        texts=text_checks(dataset, runs, permutations=permutations, seed=seed),
        **where,
    )


def tuned_runs(runs: Sequence[Run]) -> list[tuple[str, str]]:
    """Return (run of a tuned model, run of its base) for models that answered both ways.

    A model is tuned if it has an adapter, or if it is hosted and its name contains that of its base (`is_tuned_from`).
    """
    found = [run_identity(run) for run in runs]
    return [(one.name, other.name) for other in found for one in found if is_tuned_from(one, other) and one.same_readout(other)]


def _compared(verdicts: pl.DataFrame, runs: Sequence[Run], tuned: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """Return the pairs of judged runs whose win rates are compared: tuned minus base, else later minus earlier."""
    judged = [run.name for run in runs if run.name in set(verdicts["run"])]
    pairs = [(one, other) if (one, other) in tuned else (other, one) for one, other in combinations(judged, 2)]
    pairs.sort(key=lambda pair: pair not in tuned)
    return pairs


def _check(sources: Sources, names: Sequence[str]) -> None:
    """Refuse judgements of a run that was not given: the report shows its texts."""
    judged = [*sources.verdicts["run"], *sources.verdicts["reference"], *sources.stances["run"]]
    if missing := [name for name in dict.fromkeys(judged) if name not in names]:
        raise InputDataError(
            f"The judgements are about the run {missing[0]!r}, which was not given (given: {', '.join(names)}). "
            "The report needs its texts: add its folder to ",
            Option("runs"),
            ".",
        )


def _scored(
    dataset: Dataset,
    stances: Sequence[Stances],
    closed: Sequence[Run],
    baselines: Sequence[str],
    where: Mapping[str, Any],
    resampling: Mapping[str, Any],
) -> tuple[pl.DataFrame, dict[str, tuple[str, str]]]:
    """Return the scores of readings, closed runs and baselines on the pairs with readings, and (run, judge) of each reading."""
    read = [run for one in stances for run in stance_runs(one)]
    if not read:
        return SCORES.empty(), {}
    judged = [row for one in stances for row in one.stances.select("run", "judge").unique(maintain_order=True).rows()]
    pairs = pl.concat([run.responses.select("pair_id") for run in read]).unique()
    others = [*closed, *reference_baselines(dataset, list(closed), kinds=baselines, **where)]
    shared = [replace(run, responses=run.responses.join(pairs, on="pair_id", how="semi", maintain_order="left")) for run in others]
    compared = [run for run in shared if not run.responses.is_empty()]
    scores = score(dataset, [*read, *compared], by=_SCORED_BY, **where, **resampling)
    # Baselines are named by their kind.
    kinds = {found.name: found.rule for found in map(run_identity, compared) if found.is_baseline}
    titles = {name: f"baseline: {kind}" for name, kind in kinds.items()}
    named = scores.with_columns(pl.col("run").replace(titles) if titles else pl.col("run"))
    return named, {run.name: names for run, names in zip(read, judged, strict=True)}


def _against_closed(
    dataset: Dataset, stances: Sequence[Stances], closed: Sequence[Run], resampling: Mapping[str, Any]
) -> tuple[dict[str, list[str]], pl.DataFrame]:
    """Return open run -> closed runs of the same model, and their agreement."""
    links: dict[str, list[str]] = {}
    frames: list[pl.DataFrame] = []
    unmatched: InputDataError | None = None
    for one in stances if closed else ():
        try:
            found = closed_runs_of(one, closed)
        except InputDataError as error:
            # An error only if no folder matches.
            unmatched = error
            continue
        for name, run in found:
            links[name] = list(dict.fromkeys([*links.get(name, []), run.name]))
        frames.append(closed_against_open(dataset, one.stances, found, **resampling))
    if unmatched is not None and not frames:
        raise unmatched
    return links, pl.concat([AGREEMENT.empty(), *frames])
