"""The base of all codecs: prompt to request, response to `Reply`, exception to `CallFailure`.

A codec calls the provider through the vendor's SDK with its retries switched off: only the caller knows what all calls
together were told. `body`, `parse_reply` and `failure_from` are pure, so batch files use them as well.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from valuestrata.errors import MissingExtraError
from valuestrata.respondents.base import Prompt
from valuestrata.respondents.hosted.codecs.reply import Reply
from valuestrata.respondents.hosted.errors import CallError, CallFailure, ErrorKind, failure
from valuestrata.respondents.hosted.providers import Provider
from valuestrata.respondents.hosted.reply_size import ReplyTooLargeError, hooks
from valuestrata.respondents.hosted.settings import HostedSettings

# Elicitations that read log-probabilities.
READ_OUT = ("first-token", "logprob")
# Errors of the connection before a request was sent: nothing can have been charged.
_BEFORE_SENDING = ("ConnectError", "ConnectTimeout", "PoolTimeout", "UnsupportedProtocol", "ProxyError")


class Codec(ABC):
    """One model of one provider.

    Args:
        provider, model, base_url, key: what is called, and with which key.
        connections: connections open at most.

    Raises:
        MissingExtraError: the provider's library is not installed.
    """

    module: ClassVar[str]
    package: ClassVar[str]

    def __init__(self, provider: Provider, model: str, *, base_url: str, key: str | None, connections: int = 64) -> None:
        if not _installed(self.module):
            raise MissingExtraError(f"Asking {provider.name}", "api", self.package)
        self._provider = provider
        self._model = model
        self._base_url = base_url
        self._key = key
        self._connections = connections
        self._client: Any = None

    @property
    def secrets(self) -> tuple[str, ...]:
        """The keys that requests carry and no message may hold."""
        return () if self._key is None else (self._key,)

    @abstractmethod
    def body(self, prompt: Prompt, settings: HostedSettings) -> dict[str, Any]:
        """Return the request of a prompt as JSON, merged with `settings.extra`; pure.

        The messages are those of the template. `first-token` and `logprob` ask for alternatives at each position.
        """

    @abstractmethod
    async def call(self, body: Mapping[str, Any], timeout: float) -> Reply:
        """Send a request once and return the reply; at most `timeout` seconds may pass between two bytes.

        The first call opens the client in the running event loop. Exceptions are those of the SDK, for `failure_from`.
        """

    @abstractmethod
    def parse_reply(self, document: Any) -> Reply:
        """Read a response given as JSON; pure.

        Raises:
            CallError: `garbled reply` for anything else than a response, `empty reply` for one without an answer or a
                reason, or the error that the document states.
        """

    @abstractmethod
    def failure_from(self, error: BaseException) -> CallFailure:
        """Return what an exception of `call` or `parse_reply` means; an unknown one is a defect and is raised again."""

    async def close(self) -> None:
        """Close the client; a later `call` opens another one in the event loop that then runs."""
        client, self._client = self._client, None
        if client is not None:
            await client.close()

    def _failure(self, kind: ErrorKind, text: str, *, paid: bool = False, retry_after: float | None = None) -> CallFailure:
        return failure(kind, text, paid=paid, retry_after=retry_after, secrets=self.secrets)

    def _connection_failure(self, error: BaseException) -> CallFailure:
        """Return the failure of a connection that timed out, broke or carried undecodable bytes."""
        if isinstance(error, ReplyTooLargeError):
            return self._failure("reply too large", str(error), paid=True)
        name = type(error).__name__
        if name == "DecodingError":
            return self._failure("garbled reply", f"the reply cannot be decoded as its headers say ({error})", paid=True)
        return self._failure("connection", f"{name}: {error}", paid=name not in _BEFORE_SENDING)

    def _timeout_failure(self, error: BaseException | None) -> CallFailure:
        """Return the failure of a call without an answer in time; `error` is the transport's own exception."""
        sent = type(error).__name__ not in _BEFORE_SENDING
        return failure("timeout" if sent else "connection", "no answer in time", paid=sent)

    def _not_json(self, error: BaseException) -> CallFailure:
        return self._failure("garbled reply", f"the reply is not JSON ({error})", paid=True)


class SdkCodec(Codec):
    """A codec through OpenAI's SDK or Anthropic's, which have the same exceptions."""

    def failure_from(self, error: BaseException) -> CallFailure:
        """Return what an exception means."""
        sdk: Any = importlib.import_module(self.module)
        if isinstance(error, CallError):
            return error.failure
        if isinstance(error, ReplyTooLargeError):
            return self._connection_failure(error)
        if isinstance(error, TimeoutError | sdk.APITimeoutError):
            return self._timeout_failure(error.__cause__)
        if isinstance(error, sdk.APIConnectionError):
            return self._connection_failure(error.__cause__ or error)
        if isinstance(error, sdk.APIStatusError):
            return self._status_failure(error)
        if isinstance(error, json.JSONDecodeError | UnicodeDecodeError | sdk.APIError):
            return self._not_json(error)
        raise error

    @abstractmethod
    def _status_failure(self, error: Any) -> CallFailure:
        """Return what a response with an error status means."""

    def _http_client(self, sdk: Any) -> Any:
        import httpx2

        limits = httpx2.Limits(max_connections=self._connections, max_keepalive_connections=self._connections)
        return sdk.DefaultAsyncHttpxClient(limits=limits, follow_redirects=False, event_hooks=hooks(asynchronous=True))


def unexpected(what: str, document: Any) -> CallError:
    """Return the error of a document that is not the expected response."""
    shown = json.dumps(document) if isinstance(document, dict | list) else repr(document)
    return CallError(failure("garbled reply", f"expected {what}, found {shown}", paid=True))


def answer_schema(options: Sequence[str]) -> dict[str, Any]:
    """Return the JSON schema of an object whose `answer` is one of the options."""
    return {
        "type": "object",
        "properties": {"answer": {"type": "string", "enum": list(options)}},
        "required": ["answer"],
        "additionalProperties": False,
    }


def _installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # the package around it is absent
        return False
