"""The command `open judge`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from valuestrata.cli.inputs import split_list
from valuestrata.cli.model_options import calls_a_model, limits_of, settings_of
from valuestrata.cli.options import AsJson, Bootstrap, Context, DatasetFolder, OpenRuns, Truncate
from valuestrata.cli.output import (
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

_SHOWN = ("win_rate", "consistency", "position_bias", "invalid_rate", "refused_rate", "tie_rate", "by_rule_rate", "left_out")


@calls_a_model()
def open_judge_(
    dataset: DatasetFolder,
    runs: OpenRuns,
    against: Annotated[Path, typer.Option("--against", metavar="RUN", help="Reference run that all others are compared with.")],
    judge: Annotated[str, typer.Option("--judge", metavar="MODEL", help="The judge: any language model, as for `ask`.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder of the verdicts.")],
    only: Annotated[
        str | None, typer.Option("--only", help="Only these criteria, separated by commas: value, persona, overall, ...")
    ] = None,
    criteria: Annotated[Path | None, typer.Option("--criteria", metavar="FILE", help="YAML file that adds or replaces criteria.")] = None,
    elicitation: Annotated[
        str, typer.Option("--elicitation", help="reasoned (rationale, then verdict) or logprob (the most likely verdict).")
    ] = "reasoned",
    common: Annotated[bool, typer.Option("--common", help="Judge only pairs that the reference has.")] = False,
    base: Annotated[str | None, typer.Option("--base", metavar="NAME", help="Also print differences of win rates from this run.")] = None,
    truncate: Truncate = None,
    context: Context = None,
    bootstrap: Bootstrap = 1000,
    as_json: AsJson = False,
    **options: Any,
) -> None:
    """Let a judge compare open answers with those of a reference run, in both orders and blind to the runs."""
    from valuestrata.dataset.tables import load_dataset
    from valuestrata.errors import UsageError, did_you_mean
    from valuestrata.openended.files import load_judgements
    from valuestrata.openended.open_runs import load_open_run
    from valuestrata.openended.pairwise.judge import estimate_judging, open_judge, plan_judging
    from valuestrata.openended.pairwise.prompts import judge_elicitation_of, load_criteria
    from valuestrata.openended.pairwise.win_rates import win_differences, winrates
    from valuestrata.respondents.models import make_respondent

    how = judge_elicitation_of(elicitation)
    chosen = load_criteria(split_list(only), criteria)
    data = load_dataset(dataset)
    loaded = [load_open_run(run) for run in runs]
    names = [run.name for run in loaded]
    if base is not None and base not in names:
        raise UsageError(f"--base {base}: no run that is judged has this name.{did_you_mean(base, names)}")
    reference = load_open_run(against)
    respondent = make_respondent(judge, data, settings=settings_of(options), calls=not options["dry_run"])
    plan = plan_judging(
        data, loaded, reference, respondent, criteria=chosen, elicitation=how, common=common, truncate=truncate, context=context
    )
    for note in plan.notes:
        say(note)
    if options["dry_run"]:
        print_estimate(estimate_judging(plan, output), as_json=as_json)
        return
    with reports_interrupt(output):
        result = open_judge(plan, output, **limits_of(options))
    verdicts = load_judgements(output).verdicts
    rates = winrates(data, verdicts, by=("all",), bootstrap=bootstrap)
    pairs = [] if base is None else [(name, base) for name in names if name != base]
    gains = win_differences(data, verdicts, pairs, by=("all",), bootstrap=bootstrap)
    if as_json:
        print_json({**result_document(result), "winrates": rates.to_dicts(), "differences": gains.to_dicts()})
    else:
        print_result(result)
        show(f"Win rates against {reference.name}, judged by {judge} (win 1, tie .5, loss 0; mean of both orders)")
        print_table(_wide(rates))
        if gains.height:
            show(f"Difference from the win rate of {base}")
            print_table(gains.select("run", "criterion", "value", "ci_low", "ci_high", "pairs", "items"))
        show(f"Check whether this judge is usable: valuestrata open validity {dataset} {output}")
    exit_if_failed(result.failed, result.failures)


def _wide(rates: pl.DataFrame) -> pl.DataFrame:
    """Return one row per run and criterion: the win rate with its interval, and diagnostics of the judge."""
    import polars as pl

    head = ["run", "criterion"]
    wins = rates.filter(pl.col("metric") == "win_rate").select(*head, "value", "ci_low", "ci_high", "pairs").rename({"value": "win_rate"})
    for metric in _SHOWN[1:]:
        other = rates.filter(pl.col("metric") == metric).select(*head, pl.col("value").alias(metric))
        wins = wins.join(other, on=head, how="left", maintain_order="left")
    return wins
