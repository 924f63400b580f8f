"""The command `predict`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from valuestrata.cli.inputs import split_list
from valuestrata.cli.model_options import calls_a_model, given, limits_of, settings_of
from valuestrata.cli.options import AsJson, Bootstrap, BootstrapSeed, DatasetFolder, Strata
from valuestrata.cli.output import (
    dollars,
    estimate_document,
    exit_if_failed,
    print_json,
    print_table,
    reports_interrupt,
    result_document,
    say,
    show,
)

if TYPE_CHECKING:
    from valuestrata.prediction.predict import Prediction
    from valuestrata.responses.ask.estimate import DryRun
    from valuestrata.responses.ask.loop import AskResult


@calls_a_model(closed=True)
def predict_(
    dataset: DatasetFolder,
    questions: Annotated[
        Path, typer.Option("--questions", help="YAML file: a list of questions with id, question, options in scale order, and scale.")
    ],
    model: Annotated[
        str | None, typer.Option("--model", help="The model that answers, as for `ask`; with --run by default the model of the run.")
    ] = None,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="Folder of the prediction; its runs are inside.")] = None,
    run: Annotated[
        Path | None,
        typer.Option("--run", metavar="RUN", help="Reuse this run of the survey's questions (`ask --part all`); only ask the new ones."),
    ] = None,
    method: Annotated[str | None, typer.Option("--method", help="Calibration method; docs/calibration.md describes them.")] = None,
    strata: Strata = None,
    own_items: Annotated[
        int | None, typer.Option("--own-items", min=3, metavar="N", help="Ask at most N of the survey's own questions, spread over topics.")
    ] = None,
    template: Annotated[str | None, typer.Option("--template", help="Persona template, as for `ask`.")] = None,
    elicitation: Annotated[str | None, typer.Option("--elicitation", help="How answers are obtained, as for `ask`.")] = None,
    orders: Annotated[
        str | None, typer.Option("--orders", help="Orders of the options, as for `ask`; by default scale,reversed, which are averaged.")
    ] = None,
    bootstrap: Bootstrap = 1000,
    bootstrap_seed: BootstrapSeed = 0,
    as_json: AsJson = False,
    **options: Any,
) -> None:
    """Predict how each subgroup would answer new questions, with 90 % intervals and a backtest on the survey's own questions.

    The model answers the new questions and, to learn how far it can be trusted, the survey's own. An interrupted command continues.
    """
    from valuestrata.dataset.tables import load_dataset
    from valuestrata.prediction.asking import plan_prediction
    from valuestrata.prediction.predict import DEFAULT_METHOD, check_method, predicted, respondent_of
    from valuestrata.prediction.questions import read_questions
    from valuestrata.reports.prediction.page import write_prediction
    from valuestrata.responses.run.folder import load_run

    out, name = given(output), check_method(method or DEFAULT_METHOD)
    settings = settings_of(options)
    data = load_dataset(dataset)
    how: dict[str, Any] = {"template": template, "elicitation": elicitation, "orders": orders}
    how |= {"strata": split_list(strata), "own_items": own_items, "run": None if run is None else load_run(run)}
    plan = plan_prediction(data, read_questions(questions, data), out, **how)
    respondent = respondent_of(plan, model, settings, calls=not options["dry_run"])
    estimates = plan.estimates(respondent)
    if options["dry_run"]:
        _print_estimates(estimates, as_json=as_json)
        return
    say(_estimate(estimates))
    with reports_interrupt(out):
        results = list(plan.ask(respondent, **limits_of(options)))
    failures = {kind: number for result in results for kind, number in result.failures.items()}
    exit_if_failed(sum(result.failed for result in results), failures)
    if _unfinished(results, len(plan.parts), as_json=as_json):
        return
    found = predicted(plan, respondent.name, name, bootstrap=bootstrap, seed=bootstrap_seed)
    page = write_prediction(found, out)
    _print(found, page, as_json=as_json)


def _estimate(estimates: list[DryRun]) -> str:
    calls = sum(one.estimate.calls for one in estimates)
    kept = sum(one.kept for one in estimates)
    costs = [one.estimate.cost for one in estimates]
    cost = "" if not any(costs) else " The cost is unknown." if None in costs else f" At most {dollars(sum(one or 0.0 for one in costs))}."
    return f"{calls:,} calls ({kept:,} answers are there already).{cost}"


def _print_estimates(estimates: list[DryRun], *, as_json: bool) -> None:
    if as_json:
        print_json({"parts": [estimate_document(one) for one in estimates]})
    else:
        show(_estimate(estimates))


def _unfinished(results: list[AskResult], parts: int, *, as_json: bool) -> bool:
    """Say what is left if a limit stopped the asking; return whether it did."""
    left = sum(result.left for result in results)
    if not left and len(results) == parts:
        return False
    if as_json:
        print_json({"left": left, "runs": [result_document(result) for result in results]})
    else:
        stopped = next((f"{result.stopped}. " for result in results if result.stopped), "")
        show(f"{stopped}{left:,} answers are missing, so nothing is predicted yet. Run the same command again to continue.")
    return True


def _print(found: Prediction, page: Path, *, as_json: bool) -> None:
    from valuestrata.prediction.files import population_table, prediction_document
    from valuestrata.prediction.sentences import opening

    if as_json:
        print_json({**prediction_document(found), "predictions": found.table.to_dicts(), "report": str(page)})
        return
    for sentence in opening(found):
        show(sentence)
    show(f"Report: {page}")
    print_table(population_table(found))
