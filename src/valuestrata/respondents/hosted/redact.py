"""Removes API keys from messages: a server or SDK may quote the key that it was sent."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable
from urllib.parse import quote

_HIDDEN = "[key]"
# Anything that looks like a key, since a proxy may quote an unknown one. A digit distinguishes it from a word.
_LOOKS_LIKE = (
    (re.compile(r"(?i)\b(bearer)\s+(?=\S*\d)[A-Za-z0-9._~+/=*-]{6,}"), rf"\1 {_HIDDEN}"),
    (re.compile(r"\b(Basic)\s+[A-Za-z0-9+/]{8,}={0,2}(?![A-Za-z ])"), rf"\1 {_HIDDEN}"),
    (re.compile(r"\b(?=\S*\d)(?:sk|pk|rk|gsk|xai|key|fw|tgp|hf|AIza)[-_]?[A-Za-z0-9*][A-Za-z0-9_*.-]{14,}"), _HIDDEN),
    (re.compile(r"(?i)((?:api[-_]?key|access_token)[\"']?\s*[=:]\s*[\"']?)(?=\S*\d)[^\s&\"',;)]{4,}"), rf"\1{_HIDDEN}"),
    (re.compile(r"(?i)([?&](?:key|token)=)[^\s&\"',;)]{4,}"), rf"\1{_HIDDEN}"),
    (re.compile(r"(?i)\bsk-[A-Za-z0-9_*-]{2,}"), _HIDDEN),
)
# A shorter "key" is a placeholder, and may be an ordinary word.
_SHORTEST = 5


def redact(text: str, secrets: Iterable[str] = ()) -> str:
    """Return `text` without the given keys and without anything that looks like a key."""
    for secret in secrets:
        if len(secret) >= _SHORTEST:
            for form in _forms(secret):
                text = text.replace(form, _HIDDEN)
    for pattern, instead in _LOOKS_LIKE:
        text = pattern.sub(instead, text)
    return text


def _forms(secret: str) -> list[str]:
    """Return a key in all forms in which a message may quote it, the longest first."""
    content = secret.encode()
    forms = {secret, repr(secret)[1:-1], repr(content)[2:-1], json.dumps(secret)[1:-1], quote(secret, safe=""), quote(secret)}
    if any(character.isdigit() for character in secret):  # not an ordinary word
        forms |= {secret.upper(), secret.lower()}
    # Within a longer base64 text a key starts at one of three offsets; characters shared with its neighbours stay.
    for shift in range(3):
        within = base64.b64encode(bytes(shift) + content).decode()
        within = within[-(-shift * 8 // 6) : (shift + len(content)) * 8 // 6]
        forms |= {within, within.replace("+", "-").replace("/", "_")}
    return sorted(forms, key=lambda form: (-len(form), form))


def one_line(text: str, secrets: Iterable[str] = (), most: int = 300) -> str:
    """Return a server's message as one line of at most `most` characters, without keys."""
    line = " ".join(redact(text, secrets).split())
    return line if len(line) <= most else line[: most - 4].rstrip() + " ..."
