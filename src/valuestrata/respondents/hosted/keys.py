"""API keys: read from the environment, and sent to their own server only."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, cast

from valuestrata.errors import UsageError
from valuestrata.respondents.hosted.providers import Provider

# OpenAI's SDK needs a key even for servers that ask for none.
NO_KEY = "none"
# Names of settings that would hold a key. A shorter "key", or one without a digit, may be an ordinary word.
_OF_A_KEY = re.compile(r"(?i)(x[-_])?(api[-_]?key|authorization|(access|auth|hf|bearer)[-_]?token)")
_SHORTEST = 12
_HEADERS = ("authorization", "x-api-key", "x-goog-api-key")


def key_of(provider: Provider) -> str | None:
    """Return the provider's key from the environment without surrounding blanks, None if there is none.

    Raises:
        UsageError: it contains a character that a header cannot hold; the message names the variable, not the key.
    """
    for name in provider.keys:
        key = os.environ.get(name, "").strip()
        if not key:
            continue
        if not all("!" <= character <= "~" for character in key):
            raise UsageError(
                f"{name} contains a blank, a line break or another character that no key has; set it to the key of {provider.name} only."
            )
        return key
    return None


def refuse_keys(word: str, settings: Mapping[str, Any], key: str | None = None) -> None:
    """Refuse a key among settings, because settings are written to `run.json`.

    Args:
        word: the model specification. settings: JSON as the user wrote it. key: the provider's, if known.

    Raises:
        UsageError: names the setting, not the key.
    """
    known = key if key is not None and len(key) >= _SHORTEST and any(map(str.isdigit, key)) else None
    for name, value in _leaves(settings):
        if _OF_A_KEY.fullmatch(name) or (known is not None and known in f"{name} {value}"):
            where = "" if known is not None and known in name else f" ({name})"
            raise UsageError(
                f"{word}: the settings contain a key{where}, and settings are written to the run. Leave it out; keys are read from the "
                "environment only."
            )


def _leaves(settings: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield each value that is not an object, also within lists, with its name."""
    for inner, value in settings.items():
        for one in value if isinstance(value, list) else [value]:
            if isinstance(one, Mapping):
                yield from _leaves(cast("Mapping[str, Any]", one))
            else:
                yield inner, one


def drop_key_elsewhere(base_url: str) -> Callable[[Any], None]:
    """Return a request hook that removes the key from requests to any other server, such as after a redirect."""
    import httpx2

    home = httpx2.URL(base_url).origin

    def hook(request: Any) -> None:
        if request.url.origin != home:
            for name in _HEADERS:
                request.headers.pop(name, None)

    return hook


def without_openai_environment(key: str | None) -> dict[str, Any]:
    """Return headers that remove those which OpenAI's SDK reads from the environment; `key` replaces its key."""
    import openai

    lines = os.environ.get("OPENAI_CUSTOM_HEADERS", "").split("\n")
    names = [line.partition(":")[0].strip() for line in lines if ":" in line]
    ours = f"Bearer {key or NO_KEY}"
    return {name: ours if name.lower() == "authorization" else openai.Omit() for name in names}
