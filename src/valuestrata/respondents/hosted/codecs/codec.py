"""One provider's language: from a prompt to a request, from a response to a Reply, from an error to a CallFailure.

A codec goes through the vendor's own SDK, whose retries are switched off: the runner retries, for it alone knows what
all calls together are told. What a codec says is pure (`body`, `parse_reply`, `failure_from`), so that batch files are written
and read by it as well; only `call` touches the network.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from valuestrata.respondents.base import Prompt
from valuestrata.respondents.hosted.codecs.reply import Reply
from valuestrata.respondents.hosted.errors import CallFailure
from valuestrata.respondents.hosted.settings import HostedSettings


class Codec(Protocol):
    """One model of one provider. Made with `(provider, model, *, base_url, key, connections)`; no SDK is loaded before."""

    @property
    def secrets(self) -> tuple[str, ...]:
        """The keys it sends, which no message may hold."""
        ...

    def body(self, prompt: Prompt, settings: HostedSettings) -> dict[str, Any]:
        """Return the request of a prompt as JSON, `settings.extra` laid over it; pure.

        The messages stand as they were rendered, whoever answers them. `first-token` and `logprob` ask for alternatives
        at each position.
        """
        ...

    async def call(self, body: Mapping[str, Any], timeout: float) -> Reply:
        """Send a request once and return what came, within `timeout` seconds between two bytes.

        The first call opens the client in the running event loop. Whatever goes wrong is raised as it is, for `failure_from`.
        """
        ...

    def parse_reply(self, document: Any) -> Reply:
        """Read a response, given as JSON; pure.

        Raises:
            CallError: `garbled reply` where it is none, `empty reply` where it holds no answer and gives no reason for it,
                or the error that the document itself states.
        """
        ...

    def failure_from(self, error: BaseException) -> CallFailure:
        """Return what an exception of `call` or `parse_reply` means; one that it does not know is raised again: a defect."""
        ...

    async def close(self) -> None:
        """Close the client; a later `call` opens another one, in whatever event loop then runs."""
        ...
