"""Keys: out of the environment, and to nobody but the server that they are for."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, cast

from valuestrata.errors import UsageError
from valuestrata.respondents.hosted.providers import Provider

# What OpenAI's library needs where the server asks for no key.
NO_KEY = "none"
# Names under which a key would stand among settings. A shorter "key", or one without a digit, is a placeholder that may be a word.
_OF_A_KEY = re.compile(r"(?i)(x[-_])?(api[-_]?key|authorization|(access|auth|hf|bearer)[-_]?token)")
_SHORTEST = 12
_HEADERS = ("authorization", "x-api-key", "x-goog-api-key")


def key_of(provider: Provider) -> str | None:
    """Return the provider's key from the environment, None where there is none; blanks around it are cut off.

    Raises:
        UsageError: it holds something that no key has, and that a header cannot hold; names the variable and not the key.
    """
    for name in provider.keys:
        key = os.environ.get(name, "").strip()
        if not key:
            continue
        if not all("!" <= character <= "~" for character in key):
            raise UsageError(
                f"{name} holds a blank, a line break or another character that no key has; set it to the key of "
                f"{provider.name} and nothing else."
            )
        return key
    return None


def refuse_keys(word: str, settings: Mapping[str, Any], key: str | None = None) -> None:
    """Refuse a key among settings, which stand in `run.json` as they are.

    Args:
        word: the MODEL. settings: JSON as the user wrote it. key: the provider's, where it is known.

    Raises:
        UsageError: names the place, and not the key.
    """
    known = key if key is not None and len(key) >= _SHORTEST and any(map(str.isdigit, key)) else None
    for name, value in _leaves(settings):
        if _OF_A_KEY.fullmatch(name) or (known is not None and known in f"{name} {value}"):
            where = "" if known is not None and known in name else f" ({name})"
            raise UsageError(
                f"{word}: a key stands among the settings{where}, which are written into the run. Keys are taken from the environment "
                "alone; leave it out."
            )


def _leaves(settings: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield each value that is no object, in lists too, with the name that it stands under."""
    for inner, value in settings.items():
        for one in value if isinstance(value, list) else [value]:
            if isinstance(one, Mapping):
                yield from _leaves(cast("Mapping[str, Any]", one))
            else:
                yield inner, one


def drop_key_elsewhere(base_url: str) -> Callable[[Any], None]:
    """Return a hook for requests that takes the key out of one to any other server than `base_url`'s, as after a redirect."""
    import httpx2

    home = httpx2.URL(base_url).origin

    def hook(request: Any) -> None:
        if request.url.origin != home:
            for name in _HEADERS:
                request.headers.pop(name, None)

    return hook


def without_openai_environment(key: str | None) -> dict[str, Any]:
    """Return headers that take out what OpenAI's library reads from the environment for OpenAI; a key of theirs gives way to `key`."""
    import openai

    lines = os.environ.get("OPENAI_CUSTOM_HEADERS", "").split("\n")
    names = [line.partition(":")[0].strip() for line in lines if ":" in line]
    ours = f"Bearer {key or NO_KEY}"
    return {name: ours if name.lower() == "authorization" else openai.Omit() for name in names}
