"""Rules of the status banner: what a reader must know about the results of a page before reading them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import polars as pl

from valuestrata.dataset.tables import Dataset
from valuestrata.formatting import count, percent
from valuestrata.openended.validity.decision_rule import NOT_USABLE, NOT_VALIDATED, TOO_FEW
from valuestrata.reports.core.page import StatusLevel, StatusLine
from valuestrata.reports.core.tables import FULL_COVERAGE
from valuestrata.reports.core.view import RunLike
from valuestrata.responses.run.halves import response_keys, scored_responses
from valuestrata.responses.run.identity import run_identity
from valuestrata.scores.plan import Declared, describe

# The most serious first.
LEVELS: tuple[StatusLevel, ...] = ("warning", "note", "ok")
_NOT_A_TEST = "These scores do not measure how the run does on new data. Score a split that the run was not trained on."


def in_order(lines: Iterable[StatusLine]) -> list[StatusLine]:
    """Return the lines with the most serious first and each once; lines of one level keep their order."""
    return sorted(dict.fromkeys(lines), key=lambda line: LEVELS.index(line.level))


def plan_line(plan: Declared | None, *, declares: bool = True) -> StatusLine:
    """Return whether the comparisons of a page were declared in a plan before the first answer, with the hash of the plan.

    Args:
        plan: of the study, None without one. declares: whether a plan can name what the page tests.
    """
    if plan is None:
        return StatusLine(
            "note",
            "Exploratory: this page uses no plan that was declared before the answers.",
            "Treat the findings as hypotheses and test them on new data. To declare comparisons, name them under `plan` in a study before "
            "you run it (docs/study.md). The report of a study uses its plan.",
        )
    named = f"plan {plan.hash[:12]}"
    if plan.status != "declared":
        return StatusLine("warning", f"Exploratory: the {named} was made or changed after answers existed.", describe(plan))
    if not declares:
        return StatusLine("note", f"Exploratory: the {named} declares comparisons of runs, not the findings of this page.", describe(plan))
    return StatusLine("ok", f"Declared in the {named} before any answer.", f"{describe(plan)} Full hash: {plan.hash}.")


def coverage_lines(coverage: Mapping[str, float | None], least: float = FULL_COVERAGE) -> list[StatusLine]:
    """Return a warning for each run that was scored on too few of the pairs, or one line that says that there is none.

    Args:
        coverage: name of a run -> pairs scored / pairs of the part; None where that is not known. least: the threshold.
    """
    known = {run: share for run, share in coverage.items() if share is not None}
    short = {run: share for run, share in known.items() if share < least}
    lines = [
        StatusLine(
            "warning",
            f"{run} was scored on {percent(share)} of the pairs.",
            "Its score on the other pairs is unknown and may differ. Ask again with the same command: answers that exist are kept.",
        )
        for run, share in short.items()
    ]
    if known and not short:
        lines.append(StatusLine("ok", f"Every run was scored on at least {percent(least)} of the pairs."))
    return lines


def coverage_of(dataset: Dataset, runs: Iterable[RunLike], table: pl.DataFrame) -> dict[str, float | None]:
    """Return name of a run -> the smallest share of the pairs of a part that it was asked, over the parts of a table.

    Args:
        dataset: the ground truth. runs: with `name`, `meta` and `responses`. table: with the columns scheme, fold and part.
    """
    found: dict[str, float | None] = {run.name: None for run in runs}
    for split, fold, part in table.select("scheme", "fold", "part").unique(maintain_order=True).iter_rows():
        wanted = dataset.scored_pairs(split, part, fold)
        for run in runs:
            responses = scored_responses(run, split, fold)
            share = wanted.join(responses, on=response_keys(responses), how="semi").height / max(wanted.height, 1)
            before = found[run.name]
            found[run.name] = share if before is None else min(before, share)
    return found


def overlap_lines(warnings: Sequence[str]) -> list[StatusLine]:
    """Return a warning for each sentence of `warnings_about`, or one line that says that there is none."""
    if not warnings:
        return [StatusLine("ok", "No run was trained on the pairs or the people that it is scored on.")]
    return [StatusLine("warning", text.removeprefix("Warning: "), _NOT_A_TEST) for text in warnings]


def repetition_lines(runs: Iterable[RunLike], seeds: Mapping[str, int] | None = None) -> list[StatusLine]:
    """Return a note about models that were asked every pair once, and one about recipes or models trained with one seed.

    Args:
        runs: with `name`, `meta` and `responses`. seeds: recipe -> number of training seeds, where a study trained several.
    """
    models = [run for run in runs if not run_identity(run).is_baseline]
    lines: list[StatusLine] = []
    if once := [run.name for run in models if asked_once(run)]:
        lines.append(
            StatusLine(
                "note",
                f"Single sample: {_listed(once)} answered each pair once.",
                "Another sample, or another order of the options, can give another answer, and the intervals do not include this. Ask "
                "with several orders or samples (docs/variance.md).",
            )
        )
    single = [recipe for recipe, number in seeds.items() if number < 2] if seeds else [run.name for run in models if is_tuned(run)]
    if single:
        lines.append(
            StatusLine(
                "note",
                f"Single seed: {_listed(single)} {'was' if len(single) == 1 else 'were'} trained with one seed.",
                "Another seed can give another result, and the intervals do not include this. Train with several seeds (docs/tuning.md).",
            )
        )
    return lines


def asked_once(run: RunLike) -> bool:
    """Whether a run has a single response for each pair and elicitation; not of calibrated or imported runs."""
    return was_asked(run) and not run.responses.select("pair_id", "elicitation").is_duplicated().any()


def was_asked(run: RunLike) -> bool:
    """Whether the responses of a run are answers of its model to prompts; those of calibrated and imported runs are not."""
    responses, identity = run.responses, run_identity(run)
    if responses.is_empty() or identity.method is not None or identity.model.provider == "imported":
        return False
    return "respondents" not in responses.columns or not responses["respondents"].is_not_null().any()


def is_tuned(run: RunLike) -> bool:
    """Whether a run is of a model with an adapter."""
    return run_identity(run).model.adapter_hash is not None


def judge_lines(usable: pl.DataFrame) -> list[StatusLine]:
    """Return a warning for each judge and criterion that is not usable, and a note where no people checked it.

    Args:
        usable: USABLE (`openended.validity.decision_rule`), with judge, criterion and verdict.
    """
    words = {
        NOT_USABLE: ("warning", "is not usable for", "It failed a check. Do not rely on its verdicts or on win rates from them."),
        TOO_FEW: ("warning", "cannot be checked for", "There are too few verdicts for the checks. Do not rely on win rates from them."),
        NOT_VALIDATED: ("note", "was not compared with people for", "It passed the checks that need no people, and can still be wrong."),
    }
    lines: list[StatusLine] = []
    for verdict, (level, said, details) in words.items():
        rows = usable.filter(pl.col("verdict") == verdict)
        for (judge,), of in rows.group_by("judge", maintain_order=True):
            text = f"The judge {judge} {said} {_listed([str(one) for one in of['criterion'].unique(maintain_order=True)])}."
            lines.append(StatusLine("warning" if level == "warning" else "note", text, f"{details} See docs/judge-validity.md."))
    if not usable.is_empty() and not lines:
        lines.append(StatusLine("ok", "Every judge is usable."))
    return lines


def _listed(names: Sequence[str], most: int = 3) -> str:
    """Return names in a sentence, the first few of many."""
    if len(names) > most:
        return f"{', '.join(names[:most])} and {count(len(names) - most, 'other')}"
    return " and ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else names[0]
