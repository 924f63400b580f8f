"""The command that asks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from valuestrata.cli.options import MODEL_HELP, AsJson, DatasetFolder, Fold, Items, Part, Split, Strata, TrainOn
from valuestrata.cli.output import (
    asked,
    collected,
    dollars,
    exit_if_failed,
    planned,
    print_json,
    say,
    say_unmatched,
    tells_what_is_kept,
    words,
)
from valuestrata.errors import UsageError

if TYPE_CHECKING:
    from valuestrata.dataset.tables import Dataset
    from valuestrata.respondents.base import Respondent
    from valuestrata.respondents.models import ModelSettings
    from valuestrata.responses.ask.loop import AskResult
    from valuestrata.responses.ask.plan import Asking

_MODEL = "How the model is called"
_LIMITS = "Limits"
_MACHINES = "Many machines and batch files"


def ask(
    dataset: DatasetFolder,
    model: Annotated[str, typer.Option("--model", help=MODEL_HELP)],
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder of the run.")],
    split: Split = "paper",
    part: Part = "test",
    fold: Fold = None,
    train_on: TrainOn = None,
    items: Items = None,
    strata: Strata = None,
    template: Annotated[
        str, typer.Option("--template", help="default, second-person, third-person, item-first or a YAML file.")
    ] = "default",
    paraphrases: Annotated[str, typer.Option("--paraphrases", help="Wordings of the template: 0, 0,2 or all.")] = "0",
    elicitation: Annotated[
        str, typer.Option("--elicitation", help="logprob, first-token, text, stated-distribution or reasoned.")
    ] = "logprob",
    orders: Annotated[str, typer.Option("--orders", help="scale, reversed, shuffled:SEED or balanced:N, separated by commas.")] = "scale",
    samples: Annotated[int, typer.Option("--samples", min=1, help="Answers to each prompt.")] = 1,
    device: Annotated[str | None, typer.Option("--device", help="cpu, cuda or mps; chosen if left out.", rich_help_panel=_MODEL)] = None,
    temperature: Annotated[
        str, typer.Option("--temperature", help="Of written text; 0 takes the likeliest token, none sends none.", rich_help_panel=_MODEL)
    ] = "0",
    max_new_tokens: Annotated[
        int | None,
        typer.Option("--max-new-tokens", min=1, help="Tokens written at most; by elicitation if left out.", rich_help_panel=_MODEL),
    ] = None,
    constrain: Annotated[bool, typer.Option("--constrain", help="Allow nothing but the options as text.", rich_help_panel=_MODEL)] = False,
    seed: Annotated[int, typer.Option("--seed", help="Seed of sampling.", rich_help_panel=_MODEL)] = 0,
    persona_seed: Annotated[
        int, typer.Option("--persona-seed", help="Seed of shuffled personas and of the wrong country.", rich_help_panel=_MODEL)
    ] = 0,
    base_url: Annotated[
        str | None, typer.Option("--base-url", help="Where a hosted model is, instead of its provider's address.", rich_help_panel=_MODEL)
    ] = None,
    concurrency: Annotated[
        int, typer.Option("--concurrency", min=1, help="Calls under way at most; the rate limit is found below it.", rich_help_panel=_MODEL)
    ] = 64,
    timeout: Annotated[float, typer.Option("--timeout", min=0.1, help="Seconds a call may take.", rich_help_panel=_MODEL)] = 120.0,
    attempts: Annotated[int, typer.Option("--attempts", min=1, help="Tries before a prompt ends failed.", rich_help_panel=_MODEL)] = 6,
    extra: Annotated[
        str | None, typer.Option("--extra", metavar="JSON", help="Sent as it is with every call.", rich_help_panel=_MODEL)
    ] = None,
    max_calls: Annotated[
        int | None, typer.Option("--max-calls", min=1, help="Stop after so many prompts.", rich_help_panel=_LIMITS)
    ] = None,
    max_cost: Annotated[
        float | None,
        typer.Option("--max-cost", min=0, help="Stop before the whole run costs more than so many US dollars.", rich_help_panel=_LIMITS),
    ] = None,
    price_in: Annotated[
        float | None, typer.Option("--price-in", min=0, help="Dollars a million tokens read.", rich_help_panel=_LIMITS)
    ] = None,
    price_out: Annotated[
        float | None, typer.Option("--price-out", min=0, help="Dollars a million tokens written.", rich_help_panel=_LIMITS)
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print calls, tokens and cost, and ask nothing.", rich_help_panel=_LIMITS)
    ] = False,
    shard: Annotated[
        str | None,
        typer.Option("--shard", metavar="I/N", help="Ask only the I-th of N shards.", rich_help_panel=_MACHINES),
    ] = None,
    on: Annotated[
        str | None,
        typer.Option("--on", metavar="ray[://HOST:PORT]", help="Ask on workers of Ray.", rich_help_panel=_MACHINES),
    ] = None,
    workers: Annotated[int, typer.Option("--workers", min=1, help="Workers with --on.", rich_help_panel=_MACHINES)] = 2,
    gpus_per_worker: Annotated[
        float, typer.Option("--gpus-per-worker", min=0, help="GPUs of each worker with --on.", rich_help_panel=_MACHINES)
    ] = 0.0,
    batch: Annotated[
        bool, typer.Option("--batch", help="Through the provider's batch files: submit, wait, collect.", rich_help_panel=_MACHINES)
    ] = False,
    batch_out: Annotated[
        bool, typer.Option("--batch-out", help="Only write the provider's batch files into the run.", rich_help_panel=_MACHINES)
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Ask a model every pair of a split in persona; a run that stopped goes on where it was."""
    from valuestrata.dataset.tables import load_dataset
    from valuestrata.respondents.base import elicitation_of
    from valuestrata.respondents.controls.control import ReplacesPersonas
    from valuestrata.respondents.models import make_respondent
    from valuestrata.responses.ask.plan import plan_asking

    _one_way_only({"--shard": shard, "--on": on, "--batch": batch, "--batch-out": batch_out, "--dry-run": dry_run})
    settings = called_as(
        device=device,
        temperature=temperature,
        max_new_tokens=max_new_tokens,
        constrain=constrain,
        seed=seed,
        persona_seed=persona_seed,
        base_url=base_url,
        concurrency=concurrency,
        timeout=timeout,
        attempts=attempts,
        price_in=price_in,
        price_out=price_out,
        extra=extra,
    )
    data = load_dataset(dataset)
    # A misspelt word is refused before a model is loaded, which may take a minute.
    asking = plan_asking(
        data,
        split=split,
        part=part,
        fold=fold,
        items=words(items),
        strata=words(strata),
        template=template,
        elicitation=elicitation_of(elicitation),
        orders=orders,
        paraphrases=paraphrases,
        samples=samples,
    )
    if on is not None:
        from valuestrata.responses.distributed.ray_run import ask_on_ray

        _check_limits("--on", max_cost=max_cost, train_on=train_on)
        spread: dict[str, Any] = {"address": on, "workers": workers, "gpus_per_worker": gpus_per_worker}
        with tells_what_is_kept(output):
            result = ask_on_ray(data, model, output, asking, settings=settings, max_calls=max_calls, **spread)
        _finish(result, as_json)
        return
    foreign = load_dataset(train_on) if train_on else None
    calls = not (dry_run or batch_out)
    respondent = make_respondent(model, data, split=split, fold=fold, train_on=foreign, settings=settings, calls=calls)
    if isinstance(respondent, ReplacesPersonas) and respondent.note:
        say(f"{respondent.name}: {respondent.note}")
    say_unmatched((respondent.identity().get("trained_on") or {}).get("unmatched", {}))
    if batch or batch_out:
        _check_limits("--batch" if batch else "--batch-out", max_calls=max_calls)
        _check_cost(data, respondent, output, asking, max_cost)
        _through_batches(data, respondent, output, asking, wait=batch, as_json=as_json)
        return
    if shard is not None:
        # Each shard knows what it spent itself, and not what the others did.
        _check_limits("--shard", max_cost=max_cost)
        from valuestrata.responses.distributed.shards import parse_shard, prepare_shard, sharded

        number = parse_shard(shard)
        output, asking = prepare_shard(output, number), sharded(data, asking, number)
    if dry_run:
        from valuestrata.responses.ask.estimate import estimate_run

        planned(estimate_run(data, respondent, output, asking), as_json)
        return
    from valuestrata.responses.ask.loop import ask_planned

    with tells_what_is_kept(output):
        result = ask_planned(data, respondent, output, asking, max_calls=max_calls, max_cost=max_cost)
    _finish(result, as_json)


def _through_batches(data: Dataset, respondent: Respondent, output: Path, asking: Asking, *, wait: bool, as_json: bool) -> None:
    """Write batch files; with `wait` hand them in, wait for them and take what came."""
    from valuestrata.responses.batch.online import run_batch
    from valuestrata.responses.batch.requests import write_batch

    if wait:
        found = run_batch(data, respondent, output, asking)
        for remark in found.remarks:
            say(remark)
        collected(found, as_json)
        exit_if_failed(found.counts["failed"], found.failures)
        return
    written = write_batch(data, respondent, output, asking)
    if as_json:
        print_json({"run": str(output), "files": [str(file) for file in written.files], "requests": written.requests})
        return
    print(f"{output}: {written.requests:,} requests written, {written.kept:,} answered before, {written.waiting:,} in files already.")
    for file in written.files:
        print(f"  {file}")
    if written.files:
        print(f"Hand them in, then take what comes back with: valuestrata import DATASET OUTPUT -o {output}")


def _check_cost(data: Dataset, respondent: Respondent, output: Path, asking: Asking, max_cost: float | None) -> None:
    """Refuse batch files that may cost more than `max_cost`: once handed in they cannot be stopped at a sum."""
    if max_cost is None:
        return
    from valuestrata.respondents.hosted.respondent import HostedRespondent
    from valuestrata.responses.ask.estimate import estimate_run
    from valuestrata.responses.run.folder import read_meta

    cost = estimate_run(data, respondent, output, asking).estimate.cost
    if cost is None or not isinstance(respondent, HostedRespondent) or respondent.prices is None:
        raise UsageError(f"{respondent.name}: what it costs is not known; give --price-in and --price-out beside --max-cost.")
    spent = float(((read_meta(output) or {}).get("usage") or {}).get("cost") or 0.0)
    most = spent + cost * respondent.prices.batch
    if most > max_cost:
        raise UsageError(
            f"With the batch the run may cost up to {dollars(most)}, {dollars(spent)} of it spent before: more than --max-cost "
            f"{max_cost:g}. Ask less (--items, --strata)."
        )


def _check_limits(way: str, **given: Any) -> None:
    for name, value in given.items():
        if value is not None:
            raise UsageError(f"--{name.replace('_', '-')} cannot go together with {way}.")


def _finish(result: AskResult, as_json: bool) -> None:
    """Print what came of asking; end with exit code 4 if any response failed."""
    asked(result, as_json)
    exit_if_failed(result.failed, result.failures)


def _one_way_only(flags: dict[str, Any]) -> None:
    given = [flag for flag, value in flags.items() if value]
    if len(given) > 1 and given != ["--shard", "--dry-run"]:
        raise UsageError(f"{' and '.join(given)} cannot go together.")


def called_as(*, temperature: str, price_in: float | None, price_out: float | None, extra: str | None, **settings: Any) -> ModelSettings:
    """Return how a model is called, from options as they were typed; `settings` are those that need no reading.

    Raises:
        UsageError: an option that makes no sense.
    """
    from valuestrata.respondents.models import ModelSettings

    if (price_in is None) != (price_out is None):
        raise UsageError("--price-in and --price-out go together: dollars a million tokens read, and written.")
    prices = None if price_in is None or price_out is None else (price_in, price_out)
    return ModelSettings(temperature=temperature_of(temperature), prices=prices, extra=json_of(extra), **settings)


def temperature_of(word: str) -> float | None:
    """Return the temperature that a word says, None for `none`; UsageError for what is no temperature."""
    if word.strip().casefold() == "none":
        return None
    try:
        value = float(word)
    except ValueError:
        raise UsageError(f"--temperature is a number or none, not {word!r}.") from None
    if not 0 <= value < float("inf"):
        raise UsageError(f"--temperature is {word}; it cannot be negative.")
    return value


def json_of(text: str | None) -> dict[str, Any]:
    """Return the JSON object of `--extra`; UsageError for what is none."""
    if text is None:
        return {}
    try:
        found = json.loads(text, parse_constant=_refuse_constant)
    except ValueError as error:
        raise UsageError(f"--extra is not JSON ({error}); write for example --extra '{{\"top_p\": 0.9}}'.") from error
    if not isinstance(found, dict):
        raise UsageError("--extra is a JSON object, such as '{\"top_p\": 0.9}'.")
    return found


def _refuse_constant(word: str) -> Any:
    raise ValueError(f"{word} is no JSON value")
