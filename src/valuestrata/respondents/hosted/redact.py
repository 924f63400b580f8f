"""Keys out of messages: what a server or a library said may quote the key that it was sent."""

from __future__ import annotations

import re
from collections.abc import Iterable

_HIDDEN = "[key]"
# What looks like a key, whoever it belongs to: a proxy may quote one that we never knew. A digit tells it from a word.
_LOOKS_LIKE = (
    (re.compile(r"(?i)\b(bearer)\s+(?=\S*\d)[A-Za-z0-9._~+/=*-]{6,}"), rf"\1 {_HIDDEN}"),
    (re.compile(r"\b(Basic)\s+[A-Za-z0-9+/]{8,}={0,2}(?![A-Za-z ])"), rf"\1 {_HIDDEN}"),
    (re.compile(r"\b(?=\S*\d)(?:sk|pk|rk|gsk|xai|key|fw|tgp|hf|AIza)[-_]?[A-Za-z0-9*][A-Za-z0-9_*.-]{14,}"), _HIDDEN),
    (re.compile(r"(?i)((?:api[-_]?key|access_token)[\"']?\s*[=:]\s*[\"']?)(?=\S*\d)[^\s&\"',;)]{4,}"), rf"\1{_HIDDEN}"),
    (re.compile(r"(?i)([?&](?:key|token)=)[^\s&\"',;)]{4,}"), rf"\1{_HIDDEN}"),
    (re.compile(r"(?i)\bsk-[A-Za-z0-9_*-]{2,}"), _HIDDEN),
)
# A shorter "key" is a placeholder, and a word that a message may need.
_SHORTEST = 5


def redact(text: str, secrets: Iterable[str] = ()) -> str:
    """Return `text` without the keys given and without anything that looks like one."""
    for secret in secrets:
        if len(secret) >= _SHORTEST:
            text = text.replace(secret, _HIDDEN)
    for pattern, instead in _LOOKS_LIKE:
        text = pattern.sub(instead, text)
    return text


def in_short(text: str, secrets: Iterable[str] = (), most: int = 300) -> str:
    """Return a server's words as one line of at most `most` characters, without keys."""
    line = " ".join(redact(text, secrets).split())
    return line if len(line) <= most else line[: most - 4].rstrip() + " ..."
