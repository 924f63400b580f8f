"""Keys: out of the environment, and to nobody but the server that they are for."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from valuestrata.errors import UsageError
from valuestrata.respondents.hosted.providers import Provider

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


def kept_at_home(base_url: str) -> Callable[[Any], None]:
    """Return a hook for requests that takes the key out of one to any other server than `base_url`'s, as after a redirect."""
    import httpx2

    home = httpx2.URL(base_url).origin

    def hook(request: Any) -> None:
        if request.url.origin != home:
            for name in _HEADERS:
                request.headers.pop(name, None)

    return hook
