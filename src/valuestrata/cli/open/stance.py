"""The command `open stance`."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from valuestrata.cli.model_options import calls_a_model, limits_of, settings_of
from valuestrata.cli.options import AsJson, Bootstrap, Context, DatasetFolder, Fold, OpenRuns, Part, Split, Truncate
from valuestrata.cli.output import (
    estimate_document,
    exit_if_failed,
    print_estimate,
    print_json,
    print_result,
    print_table,
    reports_interrupt,
    result_document,
    say,
    show,
)

if TYPE_CHECKING:
    import polars as pl

    from valuestrata.dataset.tables import Dataset
    from valuestrata.openended.files import Stances
    from valuestrata.responses.ask.loop import AskResult

_SCORED = ("accuracy_expected", "accuracy", "nmae", "w1")


@calls_a_model()
def open_stance_(
    dataset: DatasetFolder,
    runs: OpenRuns,
    judge: Annotated[list[str], typer.Option("--judge", metavar="MODEL", help="A judge: any language model; repeatable.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder of the stances.")],
    elicitation: Annotated[
        str | None, typer.Option("--elicitation", help="logprob, text or reasoned; default text for hosted models, logprob for others.")
    ] = None,
    closed: Annotated[
        list[Path] | None,
        typer.Option("--closed", metavar="RUN", help="Closed run of the same model, to compare with its stances."),
    ] = None,
    split: Split = "paper",
    part: Part = "test",
    fold: Fold = None,
    truncate: Truncate = None,
    context: Context = None,
    bootstrap: Bootstrap = 1000,
    as_json: AsJson = False,
    **options: Any,
) -> None:
    """Let judges place open answers on the scales of their items, blind to persona and gold, and score them as closed answers.

    Several judges are compared, and the reading of their majority is scored as well. --max-calls and --max-cost apply to all together.
    """
    from valuestrata.dataset.tables import load_dataset
    from valuestrata.openended.files import Stances, load_stances
    from valuestrata.openended.judging import left_of
    from valuestrata.openended.open_runs import load_open_run
    from valuestrata.openended.schema import STANCES
    from valuestrata.openended.stance.closed_vs_open import closed_runs_of
    from valuestrata.openended.stance.prompts import stance_elicitation_of
    from valuestrata.openended.stance.read import StancePlan, estimate_stance, judge_folder, open_stance, plan_stance
    from valuestrata.respondents.models import check_model_spec, is_hosted, make_respondent
    from valuestrata.responses.run.folder import load_run

    how = None if elicitation is None else stance_elicitation_of(elicitation)
    judges = list(dict.fromkeys(judge))
    for name in judges:
        # All judges are checked before the first one is paid.
        check_model_spec(name)
    data = load_dataset(dataset)
    loaded = [load_open_run(run) for run in runs]
    closed_runs = [load_run(run) for run in closed or []]
    results: list[AskResult] = []
    estimates: list[dict[str, Any]] = []

    def planned(name: str) -> StancePlan:
        respondent = make_respondent(name, data, settings=settings_of(options), calls=not options["dry_run"])
        return plan_stance(data, loaded, respondent, elicitation=how, truncate=truncate, context=context)

    # Paid judges are planned first: a missing key is found before a local judge reads, and the cost limit applies to all of them.
    paid = {name: planned(name) for name in judges if is_hosted(name)}
    limits = limits_of(options)
    for name in judges:
        plan = paid.get(name) or planned(name)
        if closed_runs:
            # Checked before the judge is paid.
            closed_runs_of(Stances(output, plan.meta, STANCES.empty()), closed_runs)
        for note in plan.notes:
            say(note)
        if options["dry_run"]:
            dry = estimate_stance(plan, output)
            estimates.append({"judge": name, **estimate_document(dry)})
            if not as_json:
                show(f"{name}:")
                print_estimate(dry)
            continue
        calls, cost = limits["max_calls"], limits["max_cost"]
        if calls is not None:
            calls -= sum(result.asked for result in results)
        if cost is not None and paid:
            # If some judges are paid, the cost limit applies to them only.
            folders = [judge_folder(output, one) for one in paid.values()]
            cost = left_of(cost, judge_folder(output, plan), folders) if name in paid else None
        with reports_interrupt(output):
            results.append(open_stance(plan, output, max_calls=calls, max_cost=cost))
        if not as_json:
            print_result(results[-1])
    if options["dry_run"]:
        if as_json:
            print_json({"judges": estimates})
        return
    found = _tables(data, load_stances(output), closed_runs, bootstrap, {"split": split, "part": part, "fold": fold})
    if found["scores"]["value"].null_count() == found["scores"].height:
        say(f"None of these answers is in part {part} of split {split}, so nothing is scored. Use the --split and --part of `open ask`.")
    if as_json:
        print_json({"judges": [result_document(result) for result in results], **{name: frame.to_dicts() for name, frame in found.items()}})
    else:
        _print_tables(found)
    exit_if_failed(sum(result.failed for result in results), sum((Counter(result.failures) for result in results), Counter[str]()))


def _tables(data: Dataset, stances: Stances, closed: list[Any], bootstrap: int, where: dict[str, Any]) -> dict[str, pl.DataFrame]:
    """Return the results over all pairs: agreement of judges, scores, silence, agreement with closed answers."""
    import polars as pl

    from valuestrata.openended.stance.closed_vs_open import AGREEMENT, closed_against_open, closed_runs_of
    from valuestrata.openended.stance.majority import judges_compared, majority
    from valuestrata.openended.stance.scores import score_stances, silence

    compared = judges_compared(data, stances.stances, by=("all",), bootstrap=bootstrap)
    stances = replace(stances, stances=pl.concat([stances.stances, majority(stances.stances)]))
    agreement = AGREEMENT.empty()
    if closed:
        agreement = closed_against_open(data, stances.stances, closed_runs_of(stances, closed), by=("all",), bootstrap=bootstrap)
    return {
        "judges_compared": compared,
        "scores": score_stances(data, stances, by=("all",), bootstrap=bootstrap, **where),
        "silence": silence(data, stances.stances, by=("all",), bootstrap=bootstrap),
        "agreement": agreement,
    }


def _print_tables(found: dict[str, pl.DataFrame]) -> None:
    import polars as pl

    show("Stances scored as closed answers (no stance counts as a missing answer)")
    scores = found["scores"].filter(pl.col("metric").is_in(_SCORED) & pl.col("value").is_not_null())
    print_table(scores.select("answers_of", "judge", "metric", "value", "ci_low", "ci_high", "pairs", "coverage"))
    print_table(found["silence"].select("run", "judge", "metric", "value", "ci_low", "ci_high", "pairs"))
    if found["judges_compared"].height:
        show("Agreement between judges")
        print_table(found["judges_compared"].select("run", "judge", "other", "metric", "value", "ci_low", "ci_high", "pairs", "items"))
    if found["agreement"].height:
        show("Closed against open: agreement of closed answers with stances")
        print_table(found["agreement"].select("run", "closed", "judge", "metric", "value", "ci_low", "ci_high", "pairs", "items"))
