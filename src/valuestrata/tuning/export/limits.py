"""What those who train elsewhere take at most and at least, checked before anything leaves this machine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from valuestrata.errors import InputDataError
from valuestrata.tuning.data.chat_examples import ChatLine

GIB = 2**30


@dataclass(frozen=True, slots=True)
class Limits:
    """What a format's reader takes.

    Attributes:
        whose: who sets them, for messages.
        least_rows: rows of training at least.
        most_bytes: bytes of one file at most; None where nobody says.
        most_tokens: tokens of one row at most; None where it depends on the model.
    """

    whose: str
    least_rows: int = 1
    most_bytes: int | None = None
    most_tokens: int | None = None


# As the documentation and the readers themselves had them in November 2026.
LIMITS: Mapping[str, Limits] = MappingProxyType(
    {
        # The rules of OpenAI's chat lines, the strictest that are written down: 10 examples, files of 512 MB, examples of 65,536
        # tokens. Others that read the same lines take less rows or longer ones.
        "chat": Limits("the chat format of OpenAI", least_rows=10, most_bytes=512 * 10**6, most_tokens=65_536),
        # The check of together 3.1 (MIN_SAMPLES, MAX_FILE_SIZE_GB). Tokens depend on the model, and are asked for before a job.
        "together": Limits("Together", most_bytes=int(50.1 * GIB)),
        # Tinker's service says for each model how long its context is; the cookbook cuts rows at a length that the caller sets.
        "tinker": Limits("Tinker's cookbook"),
        "llama-factory": Limits("LLaMA-Factory"),
        "axolotl": Limits("axolotl"),
    }
)


def check_lines(lines: Sequence[ChatLine], limits: Limits, where: str, *, least_rows: int | None = None) -> None:
    """Refuse rows that a reader would refuse, cut or leave out.

    Args:
        lines: the rows. limits: the reader's. where: the file they go to, for messages.
        least_rows: in place of the reader's own; validation may be short.

    Raises:
        InputDataError: names the file, the limit and, where there is one, the row and its pair.
    """
    least = limits.least_rows if least_rows is None else least_rows
    if len(lines) < least:
        raise InputDataError(f"{where}: {len(lines)} rows, and {limits.whose} takes {least} at least. Take a split that trains more pairs.")
    for number, line in enumerate(lines, start=1):
        row = f"{where}: row {number} ({line.pair_id})"
        _check_chat(line, row)
        if limits.most_tokens is not None and line.most_tokens > limits.most_tokens:
            raise InputDataError(
                f"{row} may have {line.most_tokens:,} tokens (a token stands for a byte at least), and {limits.whose} takes "
                f"{limits.most_tokens:,}. Shorten the template or the question."
            )


def check_bytes(size: int, limits: Limits, where: str) -> None:
    """Refuse a file that is too large.

    Raises:
        InputDataError: names the file and the limit.
    """
    if limits.most_bytes is not None and size > limits.most_bytes:
        raise InputDataError(
            f"{where}: {size:,} bytes, and {limits.whose} takes {limits.most_bytes:,}. "
            "Take fewer answers a pair, or fewer orders and paraphrases."
        )


def _check_chat(line: ChatLine, row: str) -> None:
    """Refuse a chat of another form than [system], user, assistant, ..., assistant, with words in every message."""
    roles = [role for role, _ in line.messages]
    turns = roles[1:] if roles[0] == "system" else roles
    if len(turns) % 2 or any(role != ("user", "assistant")[at % 2] for at, role in enumerate(turns)):
        raise InputDataError(
            f"{row}: the roles are {', '.join(roles)}; trainers take one system message at most, then user and assistant in turn."
        )
    for role, content in line.messages:
        if not content.strip():
            raise InputDataError(f"{row}: the {role} message is empty, which trainers refuse or skip.")
        try:
            content.encode()
        except UnicodeEncodeError as error:
            raise InputDataError(f"{row}: the {role} message cannot be written as UTF-8 ({error.reason}).") from error
