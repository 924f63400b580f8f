"""Commands of open-ended answers: ask, judge in pairs, read stances."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from valuestrata.cli.judge_validity import code_, sample_, validity_
from valuestrata.cli.open_report import open_report_, texts_
from valuestrata.cli.options import MODEL_HELP, AsJson, DatasetFolder, Fold, Items, Part, Samples, Split, Strata, TemplateName
from valuestrata.cli.output import asked, exit_if_failed, planned, print_json, print_table, say, tells_what_is_kept, words
from valuestrata.cli.shared_options import ask_or_estimate, calls_a_model, limits_of, settings_of

if TYPE_CHECKING:
    import polars as pl

    from valuestrata.dataset.tables import Dataset
    from valuestrata.openended.files import Stances
    from valuestrata.responses.ask.loop import AskResult

OpenRuns = Annotated[list[Path], typer.Argument(metavar="RUN...", help="Run folders made by `open ask`.")]
Truncate = Annotated[
    int | None, typer.Option("--truncate", min=1, metavar="TOKENS", help="Cut every answer to about this many tokens (4 characters each).")
]
Context = Annotated[
    int | None, typer.Option("--context", min=1, metavar="TOKENS", help="Context length of the judge, if it does not report one.")
]
Bootstrap = Annotated[int, typer.Option("--bootstrap", min=0, help="Bootstrap replicates of every interval.")]
_SHOWN = ("win_rate", "consistency", "position_bias", "invalid_rate", "tie_rate", "by_rule_rate", "left_out")
_SCORED = ("accuracy_expected", "accuracy", "nmae", "w1")


def open_group() -> typer.Typer:
    """Return the commands as a group."""
    group = typer.Typer(help="Open-ended answers: ask, judge, read, check.", no_args_is_help=True)
    group.command("ask", short_help="Ask open questions in persona; resumable.")(open_ask_)
    group.command("judge", short_help="Let a judge compare runs with a reference, in both orders.")(open_judge_)
    group.command("stance", short_help="Let judges place open answers on the scales of their items.")(open_stance_)
    group.command("sample", short_help="Draw judged answers for people to code, blinded.")(sample_)
    group.command("code", short_help="Code a sample on a local page, or from a spreadsheet.")(code_)
    group.command("validity", short_help="Assess whether a judge may be used, by criterion.")(validity_)
    group.command("texts", short_help="Check texts without a judge: refusals, leakage, stereotypes, similarity.")(texts_)
    group.command("report", short_help="Write a report on open answers, with its tables.")(open_report_)
    return group


@calls_a_model()
def open_ask_(
    dataset: DatasetFolder,
    model: Annotated[str, typer.Option("--model", help=MODEL_HELP)],
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder of the run.")],
    split: Split = "paper",
    part: Part = "test",
    fold: Fold = None,
    items: Items = None,
    topics: Annotated[str | None, typer.Option("--topics", help="Only items of these topics, separated by commas.")] = None,
    most_divided: Annotated[
        int | None, typer.Option("--most-divided", min=1, metavar="N", help="Only the N items on which subgroups differ most.")
    ] = None,
    strata: Strata = None,
    pairs_per_item: Annotated[
        int | None, typer.Option("--pairs-per-item", min=1, metavar="N", help="A random sample of N pairs per item, spread over strata.")
    ] = None,
    pairs_seed: Annotated[int, typer.Option("--pairs-seed", help="Seed of that sample.")] = 0,
    template: TemplateName = "default",
    samples: Samples = 1,
    as_json: AsJson = False,
    **options: Any,
) -> None:
    """Ask a model open questions in persona, without options or numbers. Run the command again to continue an interrupted run."""
    from valuestrata.dataset.tables import load_dataset
    from valuestrata.openended.ask import plan_open
    from valuestrata.respondents.base import OPEN_TOKENS
    from valuestrata.respondents.models import make_respondent

    data = load_dataset(dataset)
    plan = plan_open(
        data,
        split=split,
        part=part,
        fold=fold,
        items=words(items),
        topics=words(topics),
        most_divided=most_divided,
        strata=words(strata),
        pairs_per_item=pairs_per_item,
        seed=pairs_seed,
        template=template,
        samples=samples,
    )
    for note in plan.notes:
        say(note)
    # Set explicitly so the run records the maximum length.
    settings = settings_of(options, max_new_tokens=OPEN_TOKENS)
    respondent = make_respondent(model, data, split=split, fold=fold, settings=settings, calls=not options["dry_run"])
    ask_or_estimate(plan.dataset, respondent, output, plan.asking, options, as_json=as_json)


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
    chosen = load_criteria(words(only), criteria)
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
        planned(estimate_judging(plan, output), as_json)
        return
    with tells_what_is_kept(output):
        result = open_judge(plan, output, **limits_of(options))
    verdicts = load_judgements(output).verdicts
    rates = winrates(data, verdicts, by=("all",), bootstrap=bootstrap)
    pairs = [] if base is None else [(name, base) for name in names if name != base]
    gains = win_differences(data, verdicts, pairs, by=("all",), bootstrap=bootstrap)
    if as_json:
        print_json({**_told(result), "winrates": rates.to_dicts(), "differences": gains.to_dicts()})
    else:
        asked(result, False)
        print(f"Win rates against {reference.name}, judged by {judge} (win 1, tie .5, loss 0; mean of both orders)")
        print_table(_wide(rates))
        if gains.height:
            print(f"Difference from the win rate of {base}")
            print_table(gains.select("run", "criterion", "value", "ci_low", "ci_high", "pairs", "items"))
        print(f"Check whether this judge is usable: valuestrata open validity {dataset} {output}")
    exit_if_failed(result.failed, result.failures)


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
    from valuestrata.openended.open_runs import load_open_run
    from valuestrata.openended.schema import STANCES
    from valuestrata.openended.stance.closed_vs_open import closed_runs_of
    from valuestrata.openended.stance.prompts import stance_elicitation_of
    from valuestrata.openended.stance.read import estimate_stance, open_stance, plan_stance
    from valuestrata.respondents.models import check_model_spec, is_hosted, make_respondent
    from valuestrata.responses.run.folder import load_run

    how = None if elicitation is None else stance_elicitation_of(elicitation)
    judges = list(dict.fromkeys(judge))
    for name in judges:
        # Checked for all judges before the first one is paid.
        check_model_spec(name)
    data = load_dataset(dataset)
    loaded = [load_open_run(run) for run in runs]
    closed_runs = [load_run(run) for run in closed or []]
    results: list[AskResult] = []
    would: list[dict[str, Any]] = []
    for name in judges:
        respondent = make_respondent(name, data, settings=settings_of(options), calls=not options["dry_run"])
        plan = plan_stance(data, loaded, respondent, elicitation=how, truncate=truncate, context=context)
        if closed_runs:
            # Checked before the judge is paid.
            closed_runs_of(Stances(output, plan.meta, STANCES.empty()), closed_runs)
        for note in plan.notes:
            say(note)
        if options["dry_run"]:
            dry = estimate_stance(plan, output)
            would.append({"judge": name, "planned": dry.planned, "answered_before": dry.kept, **asdict(dry.estimate)})
            if not as_json:
                print(f"{name}:")
                planned(dry, False)
            continue
        with tells_what_is_kept(output):
            # If some judges are paid, the cost limit applies to them only.
            unpaid = not is_hosted(name) and any(map(is_hosted, judges))
            results.append(open_stance(plan, output, **_left(limits_of(options), results, unpaid)))
        if not as_json:
            asked(results[-1], False)
    if options["dry_run"]:
        if as_json:
            print_json({"judges": would})
        return
    found = _read(data, load_stances(output), closed_runs, bootstrap, {"split": split, "part": part, "fold": fold})
    if found["scores"]["value"].null_count() == found["scores"].height:
        say(f"None of these answers is in part {part} of split {split}, so nothing is scored. Use the --split and --part of `open ask`.")
    if as_json:
        print_json({"judges": [_told(result) for result in results], **{name: frame.to_dicts() for name, frame in found.items()}})
    else:
        _print_read(found)
    exit_if_failed(sum(result.failed for result in results), sum((Counter(result.failures) for result in results), Counter[str]()))


def _left(limits: dict[str, Any], results: list[AskResult], unpaid: bool) -> dict[str, Any]:
    """Return the remaining calls and cost; the limits apply to all judges together."""
    calls, cost = limits["max_calls"], limits["max_cost"]
    spent = sum(result.usage["cost"] or 0.0 for result in results)
    return {
        "max_calls": None if calls is None else calls - sum(result.asked for result in results),
        "max_cost": None if cost is None or unpaid else max(cost - spent, 0.0),
    }


def _read(data: Dataset, stances: Stances, closed: list[Any], bootstrap: int, where: dict[str, Any]) -> dict[str, pl.DataFrame]:
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


def _print_read(found: dict[str, pl.DataFrame]) -> None:
    import polars as pl

    print("Stances scored as closed answers (no stance counts as a missing answer)")
    scores = found["scores"].filter(pl.col("metric").is_in(_SCORED) & pl.col("value").is_not_null())
    print_table(scores.select("answers_of", "judge", "metric", "value", "ci_low", "ci_high", "pairs", "coverage"))
    print_table(found["silence"].select("run", "judge", "metric", "value", "ci_low", "ci_high", "pairs"))
    if found["judges_compared"].height:
        print("Agreement between judges")
        print_table(found["judges_compared"].select("run", "judge", "other", "metric", "value", "ci_low", "ci_high", "pairs", "items"))
    if found["agreement"].height:
        print("Closed against open: agreement of closed answers with stances")
        print_table(found["agreement"].select("run", "closed", "judge", "metric", "value", "ci_low", "ci_high", "pairs", "items"))


def _told(result: AskResult) -> dict[str, Any]:
    counts = {"asked": result.asked, "answered": result.answered, "left": result.left, **result.counts}
    return {"run": str(result.run_dir), **counts, "failures": result.failures, "usage": result.usage, "stopped": result.stopped}


def _wide(rates: pl.DataFrame) -> pl.DataFrame:
    """Return one row per run and criterion: the win rate with its interval, and diagnostics of the judge."""
    import polars as pl

    head = ["run", "criterion"]
    wins = rates.filter(pl.col("metric") == "win_rate").select(*head, "value", "ci_low", "ci_high", "pairs").rename({"value": "win_rate"})
    for metric in _SHOWN[1:]:
        other = rates.filter(pl.col("metric") == metric).select(*head, pl.col("value").alias(metric))
        wins = wins.join(other, on=head, how="left", maintain_order="left")
    return wins
