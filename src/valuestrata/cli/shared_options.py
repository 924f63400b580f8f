"""Options of the commands that call a model, and the steps that follow from them."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar, get_type_hints

import typer

from valuestrata.cli.output import asked, collected, exit_if_failed, planned, say, tells_what_is_kept
from valuestrata.errors import UsageError

if TYPE_CHECKING:
    from valuestrata.dataset.tables import Dataset
    from valuestrata.respondents.base import Respondent
    from valuestrata.respondents.models import ModelSettings
    from valuestrata.responses.ask.loop import AskResult
    from valuestrata.responses.ask.plan import Asking
    from valuestrata.responses.batch.requests import CollectedBatch

_MODEL = "Model settings"
_LIMITS = "Limits"
_CLOSED_ONLY = ("constrain", "persona_seed")
Command = TypeVar("Command", bound=Callable[..., None])


def _options(
    *,
    device: Annotated[
        str | None, typer.Option("--device", help="cpu, cuda or mps; chosen automatically by default.", rich_help_panel=_MODEL)
    ] = None,
    temperature: Annotated[
        str,
        typer.Option(
            "--temperature", help="Sampling temperature; 0 takes the most likely token, none sends no temperature.", rich_help_panel=_MODEL
        ),
    ] = "0",
    max_new_tokens: Annotated[
        int | None,
        typer.Option("--max-new-tokens", min=1, help="Maximum tokens to generate; default by elicitation.", rich_help_panel=_MODEL),
    ] = None,
    constrain: Annotated[bool, typer.Option("--constrain", help="Allow only the answer options as text.", rich_help_panel=_MODEL)] = False,
    seed: Annotated[int, typer.Option("--seed", help="Sampling seed.", rich_help_panel=_MODEL)] = 0,
    persona_seed: Annotated[
        int, typer.Option("--persona-seed", help="Seed of the shuffled-persona and wrong-country controls.", rich_help_panel=_MODEL)
    ] = 0,
    base_url: Annotated[
        str | None, typer.Option("--base-url", help="Address of the hosted model, instead of its provider's.", rich_help_panel=_MODEL)
    ] = None,
    concurrency: Annotated[
        int,
        typer.Option(
            "--concurrency", min=1, help="Maximum concurrent calls; lowered automatically at the rate limit.", rich_help_panel=_MODEL
        ),
    ] = 64,
    timeout: Annotated[float, typer.Option("--timeout", min=0.1, help="Timeout of a call in seconds.", rich_help_panel=_MODEL)] = 120.0,
    attempts: Annotated[
        int, typer.Option("--attempts", min=1, help="Attempts before a prompt counts as failed.", rich_help_panel=_MODEL)
    ] = 6,
    extra: Annotated[
        str | None, typer.Option("--extra", metavar="JSON", help="Further settings to send with every call.", rich_help_panel=_MODEL)
    ] = None,
    max_calls: Annotated[
        int | None, typer.Option("--max-calls", min=1, help="Stop after this many prompts.", rich_help_panel=_LIMITS)
    ] = None,
    max_cost: Annotated[
        float | None,
        typer.Option("--max-cost", min=0, help="Stop before the whole run costs more than this, in US dollars.", rich_help_panel=_LIMITS),
    ] = None,
    price_in: Annotated[
        float | None, typer.Option("--price-in", min=0, help="US dollars per million input tokens.", rich_help_panel=_LIMITS)
    ] = None,
    price_out: Annotated[
        float | None, typer.Option("--price-out", min=0, help="US dollars per million output tokens.", rich_help_panel=_LIMITS)
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the calls, tokens and cost, and ask nothing.", rich_help_panel=_LIMITS)
    ] = False,
) -> None:
    """The signature that `calls_a_model` adds to a command."""


def calls_a_model(*, closed: bool = False) -> Callable[[Command], Command]:
    """Add the options that call a model and limit the calls to a command, which receives them as `**options`.

    Args:
        closed: include the options that apply to closed questions only.
    """

    def decorated(command: Command) -> Command:
        shared = [parameter for parameter in _parameters(_options) if closed or parameter.name not in _CLOSED_ONLY]
        own = [parameter for parameter in _parameters(command) if parameter.kind is not inspect.Parameter.VAR_KEYWORD]
        # typer reads the signature and the annotations; Python calls the command with what typer reads.
        vars(command)["__signature__"] = inspect.Signature([*own, *shared])
        command.__annotations__ = {**{one.name: one.annotation for one in (*own, *shared)}, "return": None}
        return command

    return decorated


def _parameters(function: Callable[..., None]) -> list[inspect.Parameter]:
    hints = get_type_hints(function, include_extras=True)
    return [parameter.replace(annotation=hints[name]) for name, parameter in inspect.signature(function).parameters.items()]


def settings_of(options: Mapping[str, Any], *, max_new_tokens: int | None = None) -> ModelSettings:
    """Return the model settings that the options of `calls_a_model` describe.

    Args:
        options: the options. max_new_tokens: default of `--max-new-tokens`.

    Raises:
        UsageError: a value that is not valid.
    """
    from valuestrata.respondents.models import ModelSettings

    price_in, price_out = options["price_in"], options["price_out"]
    if (price_in is None) != (price_out is None):
        raise UsageError("--price-in and --price-out must be given together: US dollars per million input and output tokens.")
    as_given = ("device", "seed", "base_url", "concurrency", "timeout", "attempts", *(name for name in _CLOSED_ONLY if name in options))
    return ModelSettings(
        temperature=_temperature(options["temperature"]),
        max_new_tokens=options["max_new_tokens"] or max_new_tokens,
        prices=None if price_in is None else (price_in, price_out),
        extra=_json_object(options["extra"]),
        **{name: options[name] for name in as_given},
    )


def limits_of(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return `max_calls` and `max_cost` as keyword arguments."""
    return {name: options[name] for name in ("max_calls", "max_cost")}


def ask_or_estimate(
    dataset: Dataset, respondent: Respondent, output: Path, asking: Asking, options: Mapping[str, Any], *, as_json: bool
) -> None:
    """Ask what is planned and print the result; with `--dry-run` only print the estimate."""
    if options["dry_run"]:
        from valuestrata.responses.ask.estimate import estimate_run

        planned(estimate_run(dataset, respondent, output, asking), as_json)
        return
    from valuestrata.responses.ask.loop import ask_planned

    with tells_what_is_kept(output):
        result = ask_planned(dataset, respondent, output, asking, **limits_of(options))
    report_asked(result, as_json)


def report_asked(result: AskResult, as_json: bool) -> None:
    """Print the result of asking; exit with code 4 if any response failed."""
    asked(result, as_json)
    exit_if_failed(result.failed, result.failures)


def report_batch(found: CollectedBatch, as_json: bool) -> None:
    """Print the result of collecting a batch; exit with code 4 if any response failed."""
    for remark in found.remarks:
        say(remark)
    collected(found, as_json)
    exit_if_failed(found.counts["failed"], found.failures)


def _temperature(text: str) -> float | None:
    if text.strip().casefold() == "none":
        return None
    try:
        value = float(text)
    except ValueError:
        raise UsageError(f"--temperature is a number or none, not {text!r}.") from None
    if not 0 <= value < float("inf"):
        raise UsageError(f"--temperature is {text}; it must be 0 or more.")
    return value


def _json_object(text: str | None) -> dict[str, Any]:
    if text is None:
        return {}
    try:
        found = json.loads(text, parse_constant=_refuse_constant)
    except ValueError as error:
        raise UsageError(f"--extra is not valid JSON ({error}); expected for example --extra '{{\"top_p\": 0.9}}'.") from error
    if not isinstance(found, dict):
        raise UsageError("--extra must be a JSON object, such as '{\"top_p\": 0.9}'.")
    return found


def _refuse_constant(text: str) -> Any:
    raise ValueError(f"{text} is not a JSON value")
