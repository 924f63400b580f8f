"""Options of one command given to another, so that a model is called in the same words everywhere."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar, get_type_hints

from valuestrata.cli.ask import ask, called_as

if TYPE_CHECKING:
    from valuestrata.respondents.models import ModelSettings

MODEL_OPTIONS = ("device", "temperature", "max_new_tokens", "seed", "base_url", "concurrency", "timeout", "attempts", "extra")
LIMIT_OPTIONS = ("max_calls", "max_cost", "price_in", "price_out", "dry_run")

Command = TypeVar("Command", bound=Callable[..., None])


def calls_a_model(*, leave_out: tuple[str, ...] = ()) -> Callable[[Command], Command]:
    """Give a command the options with which `ask` calls a model and limits the calls; they arrive as keyword arguments.

    Args:
        leave_out: options of `ask` that this command words itself.
    """
    names = [name for name in (*MODEL_OPTIONS, *LIMIT_OPTIONS) if name not in leave_out]

    def decorated(command: Command) -> Command:
        hints = get_type_hints(ask, include_extras=True)
        borrowed = [
            inspect.Parameter(
                name, inspect.Parameter.KEYWORD_ONLY, default=inspect.signature(ask).parameters[name].default, annotation=hints[name]
            )
            for name in names
        ]
        own_hints = get_type_hints(command, include_extras=True)
        own = [
            parameter.replace(annotation=own_hints[parameter.name])
            for parameter in inspect.signature(command).parameters.values()
            if parameter.kind is not inspect.Parameter.VAR_KEYWORD
        ]
        # The command line reads both; Python itself calls with what it reads.
        vars(command)["__signature__"] = inspect.Signature([*own, *borrowed])
        command.__annotations__ = {**{one.name: one.annotation for one in (*own, *borrowed)}, "return": None}
        return command

    return decorated


def settings_of(options: Mapping[str, Any], *, max_new_tokens: int | None = None) -> ModelSettings:
    """Return how a model is called, from the options that `calls_a_model` gives.

    Args:
        options: as they arrive. max_new_tokens: tokens written at most where the user says nothing.

    Raises:
        UsageError: an option that makes no sense.
    """
    own = {name: options[name] for name in (*MODEL_OPTIONS, "price_in", "price_out")}
    own["max_new_tokens"] = own["max_new_tokens"] or max_new_tokens
    return called_as(**own, persona_seed=options.get("persona_seed", 0))


def limits_of(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return `max_calls` and `max_cost` as functions take them."""
    return {name: options[name] for name in ("max_calls", "max_cost")}
