"""The command `ask`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from valuestrata.cli.inputs import split_list
from valuestrata.cli.model_options import ask_or_estimate, calls_a_model, given, print_prompts, report_batch, report_result, settings_of
from valuestrata.cli.options import (
    MODEL_HELP,
    AsJson,
    DatasetFolder,
    Fold,
    Items,
    OptionalRunOutput,
    Part,
    Samples,
    ShowPrompt,
    Split,
    Strata,
    TemplateName,
    TrainOn,
)
from valuestrata.cli.output import dollars, print_json, reports_interrupt, say, say_unmatched, show
from valuestrata.errors import UsageError

if TYPE_CHECKING:
    from valuestrata.dataset.tables import Dataset
    from valuestrata.respondents.base import Respondent
    from valuestrata.responses.ask.plan import Asking

_MACHINES = "Many machines and batch files"


@calls_a_model(closed=True)
def ask(
    dataset: DatasetFolder,
    model: Annotated[str, typer.Option("--model", help=MODEL_HELP)],
    output: OptionalRunOutput = None,
    split: Split = "paper",
    part: Part = "test",
    fold: Fold = None,
    train_on: TrainOn = None,
    items: Items = None,
    strata: Strata = None,
    template: TemplateName = "default",
    paraphrases: Annotated[
        str, typer.Option("--paraphrases", help="Wordings of the template, by number, separated by commas, or all.")
    ] = "0",
    elicitation: Annotated[
        str, typer.Option("--elicitation", help="How answers are obtained: logprob, first-token, text, stated-distribution or reasoned.")
    ] = "logprob",
    orders: Annotated[
        str, typer.Option("--orders", help="Orders of the options: scale, reversed, shuffled:SEED or balanced:N, separated by commas.")
    ] = "scale",
    samples: Samples = 1,
    context: Annotated[
        str | None,
        typer.Option(
            "--context",
            metavar="gold:K",
            help="Show K answers of the same group to the most similar training questions of the split; never test gold.",
        ),
    ] = None,
    shard: Annotated[
        str | None,
        typer.Option("--shard", metavar="I/N", help="Ask only shard I of N.", rich_help_panel=_MACHINES),
    ] = None,
    on: Annotated[
        str | None,
        typer.Option("--on", metavar="ray[://HOST:PORT]", help="Ask on the workers of a Ray cluster.", rich_help_panel=_MACHINES),
    ] = None,
    workers: Annotated[int, typer.Option("--workers", min=1, help="Number of workers with --on.", rich_help_panel=_MACHINES)] = 2,
    gpus_per_worker: Annotated[
        float, typer.Option("--gpus-per-worker", min=0, help="GPUs per worker with --on.", rich_help_panel=_MACHINES)
    ] = 0.0,
    batch: Annotated[
        bool, typer.Option("--batch", help="Use the provider's batch service: submit, wait, collect.", rich_help_panel=_MACHINES)
    ] = False,
    batch_out: Annotated[
        bool, typer.Option("--batch-out", help="Only write the provider's batch files into the run.", rich_help_panel=_MACHINES)
    ] = False,
    show_prompt: ShowPrompt = None,
    as_json: AsJson = False,
    **options: Any,
) -> None:
    """Ask a model in persona about every pair (item and subgroup) of a split. An interrupted run continues."""
    from valuestrata.dataset.tables import load_dataset
    from valuestrata.respondents.base import elicitation_of
    from valuestrata.respondents.controls.control import ReplacesPersonas
    from valuestrata.respondents.models import make_respondent
    from valuestrata.responses.ask.plan import plan_asking

    dry_run, max_calls, max_cost = options["dry_run"], options["max_calls"], options["max_cost"]
    _check_exclusive({"--shard": shard, "--on": on, "--batch": batch, "--batch-out": batch_out, "--dry-run": dry_run})
    settings = settings_of(options)
    data = load_dataset(dataset)
    # Options are checked before a model is loaded, which may take a minute.
    asking = plan_asking(
        data,
        split=split,
        part=part,
        fold=fold,
        items=split_list(items),
        strata=split_list(strata),
        template=template,
        elicitation=elicitation_of(elicitation),
        orders=orders,
        paraphrases=paraphrases,
        samples=samples,
        context=context,
    )
    if show_prompt is not None:
        print_prompts(data, model, asking, show_prompt, settings, as_json=as_json)
        return
    output = given(output)
    if on is not None:
        from valuestrata.responses.distributed.ray_run import ask_on_ray

        _refuse("--on", max_cost=max_cost, train_on=train_on)
        cluster: dict[str, Any] = {"address": on, "workers": workers, "gpus_per_worker": gpus_per_worker}
        with reports_interrupt(output):
            result = ask_on_ray(data, model, output, asking, settings=settings, max_calls=max_calls, **cluster)
        report_result(result, as_json=as_json)
        return
    other = load_dataset(train_on) if train_on else None
    calls = not (dry_run or batch_out)
    respondent = make_respondent(model, data, split=split, fold=fold, train_on=other, settings=settings, calls=calls)
    if isinstance(respondent, ReplacesPersonas) and respondent.note:
        say(f"{respondent.name}: {respondent.note}")
    say_unmatched((respondent.identity().get("trained_on") or {}).get("unmatched", {}))
    if batch or batch_out:
        _refuse("--batch" if batch else "--batch-out", max_calls=max_calls)
        _check_cost(data, respondent, output, asking, max_cost)
        _ask_in_batches(data, respondent, output, asking, wait=batch, as_json=as_json)
        return
    if shard is not None:
        # A shard knows only its own cost.
        _refuse("--shard", max_cost=max_cost)
        from valuestrata.responses.distributed.shards import parse_shard, prepare_shard, sharded

        number = parse_shard(shard)
        output, asking = prepare_shard(output, number), sharded(data, asking, number)
    ask_or_estimate(data, respondent, output, asking, options, as_json=as_json)


def _ask_in_batches(data: Dataset, respondent: Respondent, output: Path, asking: Asking, *, wait: bool, as_json: bool) -> None:
    """Write batch files; with `wait` also submit them, wait for the results and collect them."""
    from valuestrata.responses.batch.online import run_batch
    from valuestrata.responses.batch.requests import write_batch

    if wait:
        report_batch(run_batch(data, respondent, output, asking), as_json=as_json)
        return
    written = write_batch(data, respondent, output, asking)
    for remark in written.remarks:
        say(remark)
    if as_json:
        print_json({"run": str(output), "files": [str(file) for file in written.files], "requests": written.requests})
        return
    show(f"{output}: {written.requests:,} requests written, {written.kept:,} already answered, {written.waiting:,} in earlier files.")
    for file in written.files:
        show(f"  {file}")
    if written.files:
        show(f"Submit them to the provider, then import the outputs with: valuestrata import DATASET OUTPUT -o {output}")


def _check_cost(data: Dataset, respondent: Respondent, output: Path, asking: Asking, max_cost: float | None) -> None:
    """Refuse batch files that may cost more than `max_cost`: a batch cannot be stopped at a cost."""
    if max_cost is None:
        return
    from valuestrata.respondents.hosted.respondent import HostedRespondent
    from valuestrata.responses.ask.estimate import estimate_run
    from valuestrata.responses.run.folder import read_meta

    cost = estimate_run(data, respondent, output, asking).estimate.cost
    if cost is None or not isinstance(respondent, HostedRespondent) or respondent.prices is None:
        raise UsageError(f"{respondent.name}: its price is not known; give --price-in and --price-out with --max-cost.")
    spent = float(((read_meta(output) or {}).get("usage") or {}).get("cost") or 0.0)
    most = spent + cost * respondent.prices.batch
    if most > max_cost:
        raise UsageError(
            f"With this batch the run may cost up to {dollars(most)} ({dollars(spent)} spent so far), more than --max-cost {max_cost:g}. "
            "Ask less (--items, --strata)."
        )


def _refuse(flag: str, **given: Any) -> None:
    for name, value in given.items():
        if value is not None:
            raise UsageError(f"--{name.replace('_', '-')} cannot be used with {flag}.")


def _check_exclusive(flags: dict[str, Any]) -> None:
    given = [flag for flag, value in flags.items() if value]
    if len(given) > 1 and given != ["--shard", "--dry-run"]:
        raise UsageError(f"{' and '.join(given)} cannot be used together.")
