"""Options of the commands that call a model, and the steps that these commands share."""

from __future__ import annotations

import functools
import inspect
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar, cast, get_type_hints

import typer

from valuestrata.cli.output import exit_if_failed, print_collected, print_estimate, print_json, print_result, reports_interrupt, say, show
from valuestrata.errors import MOST_SEED, UsageError

if TYPE_CHECKING:
    from valuestrata.dataset.tables import Dataset
    from valuestrata.respondents.base import Prompt, Respondent
    from valuestrata.respondents.models import ModelSettings
    from valuestrata.responses.ask.loop import AskResult
    from valuestrata.responses.ask.plan import Asking
    from valuestrata.responses.batch.requests import CollectedBatch

_CLOSED_ONLY = ("constrain", "persona_seed")
Command = TypeVar("Command", bound=Callable[..., None])


def _setting(flag: str, text: str, **more: Any) -> Any:
    return typer.Option(flag, help=text, rich_help_panel="Model settings", **more)


def _limit(flag: str, text: str, **more: Any) -> Any:
    return typer.Option(flag, help=text, rich_help_panel="Limits", **more)


def _options(
    *,
    device: Annotated[str | None, _setting("--device", "cpu, cuda or mps; chosen automatically by default.")] = None,
    temperature: Annotated[
        str, _setting("--temperature", "Sampling temperature; 0 takes the most likely token, none sends no temperature.")
    ] = "0",
    max_new_tokens: Annotated[
        int | None, _setting("--max-new-tokens", "Maximum tokens to generate; default by elicitation.", min=1)
    ] = None,
    constrain: Annotated[bool, _setting("--constrain", "Allow only the answer options as text.")] = False,
    seed: Annotated[int, _setting("--seed", "Sampling seed.", min=0, max=MOST_SEED)] = 0,
    persona_seed: Annotated[
        int, _setting("--persona-seed", "Seed of the shuffled-persona and wrong-country controls.", min=0, max=MOST_SEED)
    ] = 0,
    base_url: Annotated[str | None, _setting("--base-url", "Address of the hosted model, instead of its provider's.")] = None,
    concurrency: Annotated[
        int, _setting("--concurrency", "Maximum concurrent calls; lowered automatically at the rate limit.", min=1)
    ] = 64,
    timeout: Annotated[float, _setting("--timeout", "Timeout of a call in seconds.", min=0.1)] = 120.0,
    attempts: Annotated[int, _setting("--attempts", "Attempts before a prompt counts as failed.", min=1)] = 6,
    extra: Annotated[str | None, _setting("--extra", "Further settings to send with every call.", metavar="JSON")] = None,
    max_calls: Annotated[int | None, _limit("--max-calls", "Stop after this many prompts.", min=1)] = None,
    max_cost: Annotated[float | None, _limit("--max-cost", "Stop before the whole run costs more than this, in US dollars.", min=0)] = None,
    price_in: Annotated[float | None, _limit("--price-in", "US dollars per million input tokens.", min=0)] = None,
    price_out: Annotated[float | None, _limit("--price-out", "US dollars per million output tokens.", min=0)] = None,
    dry_run: Annotated[bool, _limit("--dry-run", "Print the calls, tokens and cost, and ask nothing.")] = False,
    ask_again: Annotated[
        bool, _limit("--ask-again", "Ask prompts again whose stored answers are damaged, even if many were paid.")
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

        @functools.wraps(command)
        def called(*arguments: Any, **named: Any) -> None:
            if named.get("ask_again") and not named.get("dry_run") and named["output"] is not None:
                from valuestrata.responses.run.damage import allow_asking_again

                for remark in allow_asking_again(named["output"]):
                    say(remark)
            command(*arguments, **named)

        # typer reads the signature and the annotations; Python calls the command with what typer reads.
        vars(called)["__signature__"] = inspect.Signature([*own, *shared])
        called.__annotations__ = {**{one.name: one.annotation for one in (*own, *shared)}, "return": None}
        return cast("Command", called)

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
    """Ask the planned prompts and print the result; with `--dry-run` only print the estimate."""
    if options["dry_run"]:
        from valuestrata.responses.ask.estimate import estimate_run

        print_estimate(estimate_run(dataset, respondent, output, asking), as_json=as_json)
        return
    from valuestrata.responses.ask.loop import ask_planned

    with reports_interrupt(output):
        result = ask_planned(dataset, respondent, output, asking, **limits_of(options))
    report_result(result, as_json=as_json)


def given(output: Path | None) -> Path:
    """Return the folder of a run; UsageError without one."""
    if output is None:
        raise UsageError("Give the folder of the run with -o.")
    return output


def print_prompts(dataset: Dataset, model: str, asking: Asking, number: int, settings: ModelSettings, *, as_json: bool) -> None:
    """Print the first different prompts of a plan, as they would be sent. Nothing is asked or loaded.

    Raises:
        UsageError: an invalid model, or one whose provider does not support the elicitation.
    """
    from itertools import islice

    from valuestrata.respondents.models import check_model_elicitation, personas_of_model
    from valuestrata.responses.ask.plan import prompt_document

    check_model_elicitation(model, asking.elicitation)
    prompts = asking.prompts_with(dataset, personas_of_model(model, dataset, settings))
    documents = [prompt_document(prompt) for prompt in islice(_different(prompts), number)]
    if as_json:
        print_json({"planned": asking.planned, "prompts": documents})
        return
    for place, document in enumerate(documents, start=1):
        paraphrase = f", paraphrase {document['paraphrase']}" if document["paraphrase"] else ""
        show(f"Prompt {place} of {asking.planned:,}: {document['pair_id']}, order {document['order']}{paraphrase}")
        for message in document["messages"]:
            show(f"[{message['role']}]\n{message['content']}")
        if "prefill" in document:
            show(f"[assistant, to be continued]\n{document['prefill']}")
        show("")


def _different(prompts: Iterable[Prompt]) -> Iterator[Prompt]:
    """Yield the prompts whose texts did not come before: samples, and controls without a persona, repeat them."""
    seen: set[str] = set()
    for prompt in prompts:
        if prompt.hash not in seen:
            seen.add(prompt.hash)
            yield prompt


def report_result(result: AskResult, *, as_json: bool) -> None:
    """Print the result of asking; exit with code 4 if any response failed."""
    print_result(result, as_json=as_json)
    exit_if_failed(result.failed, result.failures)


def report_batch(found: CollectedBatch, *, as_json: bool) -> None:
    """Print the result of collecting a batch; exit with code 4 if any response failed."""
    for remark in found.remarks:
        say(remark)
    print_collected(found, as_json=as_json)
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
