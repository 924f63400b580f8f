"""Size limits of other trainers and services, checked before export."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from valuestrata.errors import InputDataError
from valuestrata.tuning.data.chat_examples import ChatLine

GIB = 2**30


@dataclass(frozen=True, slots=True)
class FormatLimits:
    """Limits of an export format.

    Attributes:
        owner: who sets them, for error messages.
        least_rows: minimum number of training rows.
        most_bytes: maximum size of a file; None if not documented.
        most_tokens: maximum tokens of a row; None if it depends on the model.
    """

    owner: str
    least_rows: int = 1
    most_bytes: int | None = None
    most_tokens: int | None = None


# From the documentation and the readers' source code, November 2026.
LIMITS: Mapping[str, FormatLimits] = MappingProxyType(
    {
        # OpenAI's documented rules, the strictest of all readers of this format.
        "chat": FormatLimits("the chat format of OpenAI", least_rows=10, most_bytes=512 * 10**6, most_tokens=65_536),
        # MIN_SAMPLES and MAX_FILE_SIZE_GB of together 3.1. The token limit of the model is read before a job starts.
        "together": FormatLimits("Together", most_bytes=int(50.1 * GIB)),
        # The context length depends on the model, and the cookbook's caller sets where rows are cut.
        "tinker": FormatLimits("Tinker's cookbook"),
        "llama-factory": FormatLimits("LLaMA-Factory"),
        "axolotl": FormatLimits("axolotl"),
    }
)


def check_lines(lines: Sequence[ChatLine], limits: FormatLimits, where: str, *, least_rows: int | None = None) -> None:
    """Check that a reader takes all rows complete.

    Args:
        lines: the rows. limits: limits of the reader. where: the file, for error messages.
        least_rows: overrides the reader's minimum, for example for validation.

    Raises:
        InputDataError: names the file, the limit and, if there is one, the row and its pair.
    """
    least = limits.least_rows if least_rows is None else least_rows
    if len(lines) < least:
        raise InputDataError(f"{where}: {len(lines)} rows, but {limits.owner} needs at least {least}. Use a larger split.")
    for number, line in enumerate(lines, start=1):
        row = f"{where}: row {number} ({line.pair_id})"
        _check_chat(line, row)
        if limits.most_tokens is not None and line.most_tokens > limits.most_tokens:
            raise InputDataError(
                f"{row} may have {line.most_tokens:,} tokens (a token is at least one byte), but {limits.owner} takes at most "
                f"{limits.most_tokens:,}. Shorten the template or the question."
            )


def check_bytes(size: int, limits: FormatLimits, where: str) -> None:
    """Raise InputDataError if a file is too large; names the file and the limit."""
    if limits.most_bytes is not None and size > limits.most_bytes:
        raise InputDataError(
            f"{where}: {size:,} bytes, but {limits.owner} takes at most {limits.most_bytes:,}. "
            "Use fewer answers per pair, or fewer orders and paraphrases."
        )


def _check_chat(line: ChatLine, row: str) -> None:
    """Check that a chat is [system], user, assistant, ..., assistant, with text in every message."""
    roles = [role for role, _ in line.messages]
    turns = roles[1:] if roles[0] == "system" else roles
    if len(turns) % 2 or any(role != ("user", "assistant")[at % 2] for at, role in enumerate(turns)):
        raise InputDataError(
            f"{row}: the roles are {', '.join(roles)}; trainers take at most one system message, then user and assistant in turn."
        )
    for role, content in line.messages:
        if not content.strip():
            raise InputDataError(f"{row}: the {role} message is empty; trainers reject or skip it.")
        try:
            content.encode()
        except UnicodeEncodeError as error:
            raise InputDataError(f"{row}: the {role} message cannot be written as UTF-8 ({error.reason}).") from error
