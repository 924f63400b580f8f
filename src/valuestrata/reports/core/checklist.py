"""Checklist from a raw score to a claim: what was done, what was found, and the command for what is missing."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import polars as pl

from valuestrata.dataset.tables import Dataset, base_of, uses_halves
from valuestrata.formatting import count, percent
from valuestrata.reports.core.names import blocks_note
from valuestrata.reports.core.page import Check
from valuestrata.reports.core.status import asked_once, is_tuned, was_asked
from valuestrata.reports.core.view import RunLike
from valuestrata.respondents.baselines import TRAINS_ON_NOTHING
from valuestrata.responses.run.identity import run_identity
from valuestrata.scores.plan import Declared, controls_of


@dataclass(frozen=True)
class CheckedResults:
    """What the checklist looks at.

    Attributes:
        dataset: the ground truth. runs: all runs of the page. scheme: the split.
        has_ceiling: whether the ceiling was scored; None where a page has no use for one.
        has_intervals: whether the scores have intervals.
        tests: number of tests whose p-values were corrected; methods: of the correction; 0 tests where nothing was tested.
        plan: the declared plan. declares: whether a plan can name what the page tests.
        seeds: numbers of training seeds of the recipes, where a study trained several.
    """

    dataset: Dataset
    runs: Sequence[RunLike]
    scheme: str
    has_ceiling: bool | None
    has_intervals: bool
    tests: int
    methods: Sequence[str]
    plan: Declared | None = None
    declares: bool = True
    seeds: Sequence[int] = ()


def checklist(results: CheckedResults) -> list[Check]:
    """Return the questions in the order in which a raw score becomes a claim."""
    return [
        _baselines(results.runs),
        _ceiling(results.has_ceiling),
        _intervals(results),
        _controls(results.runs),
        _declared(results),
        _corrected(results),
        _repeated(results),
        _disjoint(results),
    ]


def corrected_tests(table: pl.DataFrame, adjusted: str, method: str) -> tuple[int, list[str]]:
    """Return the number of tests with an adjusted p-value, and the methods.

    Args:
        table: of tests. adjusted: column of the adjusted p-values. method: column of the names of the methods.
    """
    done = table.filter(pl.col(adjusted).is_not_null())
    return done.height, [str(name) for name in done[method].drop_nulls().unique(maintain_order=True)]


def _models(runs: Iterable[RunLike]) -> list[RunLike]:
    return [run for run in runs if run_identity(run).kind == "model"]


def _baselines(runs: Iterable[RunLike]) -> Check:
    question = "Is every score shown beside baselines?"
    names = [found.rule for found in map(run_identity, runs) if found.is_baseline]
    if not [name for name in names if name not in TRAINS_ON_NOTHING]:
        said = "No baseline that knows the training answers was scored."
        return Check(question, "no", said, "`valuestrata report DATASET RUN --baselines all`.")
    return Check(question, "yes", f"{count(len(names), 'baseline')}: {', '.join(dict.fromkeys(names))}.")


def _ceiling(has_ceiling: bool | None) -> Check:
    question = "Is the score shown beside its ceiling?"
    if has_ceiling is None:
        return Check(question, "not applicable", "This page compares subgroups with each other, not with a ceiling.")
    if not has_ceiling:
        return Check(question, "no", "The data set has no ceiling.", "Build the data set again with this version: `valuestrata build`.")
    return Check(question, "yes", "Expected accuracy is shown beside its ceiling.")


def _intervals(results: CheckedResults) -> Check:
    question = "Do intervals resample blocks of items?"
    note = blocks_note(results.dataset)
    if not results.has_intervals:
        return Check(question, "no", "The scores have no intervals.", "`valuestrata report DATASET RUN --bootstrap 1000`.")
    if not note.endswith("intervals resample blocks."):
        named = results.dataset.items["block"].null_count() < results.dataset.items.height
        todo = "Ask questions of several batteries" if named else "Name the batteries of the questionnaire as `block` in the codebook"
        return Check(question, "no", note, f"{todo} (docs/surveys.md).")
    return Check(question, "yes", note)


def _controls(runs: Sequence[RunLike]) -> Check:
    question = "Were controls asked, such as the same model without a persona or with shuffled personas?"
    models = _models(runs)
    if not models:
        return Check(question, "not applicable", "No language model was scored.")
    found = {run.name: [str(run_identity(one).control) for one in controls_of(run, runs)] for run in models}
    without = [name for name, controls in found.items() if not controls]
    asked = ", ".join(dict.fromkeys(control for controls in found.values() for control in controls))
    if without:
        said = f"No control of {', '.join(without)}." + (f" Asked of other models: {asked}." if asked else "")
        todo = "`valuestrata ask DATASET --model control:no-persona@MODEL -o RUN`, and the same with `control:shuffled-persona@MODEL`."
        return Check(question, "no", said, todo)
    return Check(question, "yes", f"Asked: {asked}.")


def _declared(results: CheckedResults) -> Check:
    question, plan = "Were the comparisons declared before the first answer?", results.plan
    todo = "Name them under `plan` in a study, then `valuestrata run STUDY.yaml` (docs/study.md)."
    if plan is None:
        return Check(question, "no", "There is no plan.", todo)
    named = f"Plan {plan.hash}"
    if not results.declares:
        return Check(question, "not applicable", f"{named} declares comparisons of runs, not the findings of this page.")
    if plan.status != "declared":
        return Check(question, "no", f"{named} was made or changed at {plan.declared}, after answers existed.", todo)
    return Check(question, "yes", f"{named}, declared at {plan.declared}.")


def _corrected(results: CheckedResults) -> Check:
    question = "Are p-values corrected for the number of comparisons?"
    if not results.tests:
        return Check(question, "not applicable", "Nothing was tested.")
    methods = f" ({', '.join(results.methods)})" if results.methods else ""
    return Check(question, "yes", f"{count(results.tests, 'corrected p-value')}{methods}.")


def _repeated(results: CheckedResults) -> Check:
    question = "Were several orders or samples asked, and several training seeds used?"
    models = _models(results.runs)
    once = [run.name for run in models if asked_once(run)]
    tuned = [run.name for run in models if is_tuned(run)]
    if not models:
        return Check(question, "not applicable", "No language model was scored.")
    if once:
        todo = "`valuestrata ask DATASET --model MODEL --orders balanced:2 -o RUN`; `valuestrata variance` says how much this changes."
        return Check(question, "no", f"{', '.join(once)}: one response to each pair.", todo)
    if tuned and min(results.seeds, default=1) < 2:
        return Check(question, "no", f"{', '.join(tuned)}: one training seed.", "Train with several `seeds` (docs/tuning.md).")
    if not any(map(was_asked, models)):
        return Check(question, "not applicable", "Calibrated and imported runs do not say how often a pair was asked.")
    seeds = f"; {count(min(results.seeds), 'training seed')}" if results.seeds else ""
    return Check(question, "yes", f"Several responses to each pair{seeds}.")


def _disjoint(results: CheckedResults) -> Check:
    question, scheme = "Are the respondents of a test pair kept out of its training answers?", results.scheme
    if uses_halves(scheme):
        return Check(question, "yes", f"The split {scheme} trains and tests on different halves of the respondents.")
    if base_of(scheme) in ("transfer", "none"):
        return Check(question, "not applicable", "Nothing is trained on this data set.")
    shared = results.dataset.leakage.filter(pl.col("scheme") == scheme)["shared_respondents"].mean()
    if shared == 0:
        return Check(question, "yes", f"Under the split {scheme}, no answer to a tested question is in training. The people are the same.")
    many = percent(shared) if isinstance(shared, float) else "an unknown share"
    said = f"Under the split {scheme}, {many} of the respondents of a test pair are in training, on average."
    return Check(question, "no", said, f"`valuestrata report DATASET RUN --split {scheme}+disjoint` (docs/reading-a-score.md).")
