"""Removes API keys from messages: a server or SDK may quote the key that it was sent."""

from __future__ import annotations

import base64
import json
import re
import unicodedata
from collections.abc import Iterable, Iterator
from urllib.parse import quote

from valuestrata.errors import printable

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
# A key without a digit is only known to be no word if it is this long; one in an answer must be this long with a digit.
_NO_WORD = 16
_IN_ANSWERS = 12
# A piece of a key of this many letters and digits is recognised by itself, so that keys cut into lines or chunks are found.
_PIECE = 8
# A message is shown up to 300 characters; what is far behind them needs no reading.
_LONGEST = 4_000
# Ways to write a character: URLs, JSON, Python and HTML. Decoding runs twice, since proxies quote what they were sent.
_WRITTEN = re.compile(
    r"%([0-9a-f]{2})|\\u([0-9a-f]{4})|\\x([0-9a-f]{2})|&#x([0-9a-f]{1,6});|&#([0-9]{1,7});|(\\[nrtbfv\\\"'/])|.", re.IGNORECASE | re.DOTALL
)


def redact(text: str, secrets: Iterable[str] = ()) -> str:
    """Return `text` without the given keys and without anything that looks like a key."""
    for secret in secrets:
        if len(secret) >= _SHORTEST:
            for form in _forms(secret):
                text = text.replace(form, _HIDDEN)
            if any(map(str.isdigit, secret)) or len(secret) >= _NO_WORD:
                text = _without_pieces(text, secret)
    for pattern, instead in _LOOKS_LIKE:
        text = pattern.sub(instead, text)
    return text


def redact_answer(text: str, secrets: Iterable[str]) -> str:
    """Return a model's text without the given keys; unlike `redact`, nothing else is taken for a key."""
    for secret in secrets:
        if len(secret) >= _IN_ANSWERS and any(map(str.isdigit, secret)):
            text = _without_pieces(text.replace(secret, _HIDDEN), secret, step=_PIECE // 2)
    return text


def _without_pieces(text: str, secret: str, *, step: int = 1) -> str:
    """Return a text without a key in any case, direction and encoding, whatever stands between its characters.

    Args:
        step: 1 finds pieces of `_PIECE` letters and digits, more finds only longer ones, faster.
    """
    content = secret.encode()
    forms = [secret, secret[::-1], content.hex(), *_in_base64(content), *_in_base64(content[::-1])]
    folded = dict.fromkeys("".join(filter(str.isalnum, form.lower())) for form in forms)
    pieces = {form[at : at + _PIECE]: (form, at) for form in folded for at in range(0, max(1, len(form) - _PIECE + 1), step)}
    if not any(mark in text for mark in "%\\&"):
        plain = "".join(filter(str.isalnum, text.lower()))
        if plain.isascii() and not any(piece in plain for piece in pieces):
            return text
    letters, spans = _decoded(text)
    hidden: set[int] = set()
    for piece, (form, at) in pieces.items():
        found = letters.find(piece)
        while found >= 0:
            start, end = found, found + len(piece)
            before, after = at, at + len(piece)
            while start and before and letters[start - 1] == form[before - 1]:
                start, before = start - 1, before - 1
            while end < len(letters) and after < len(form) and letters[end] == form[after]:
                end, after = end + 1, after + 1
            hidden.update(range(start, end))
            found = letters.find(piece, found + 1)
    made, kept = "", 0
    for place in sorted(hidden):
        if place - 1 not in hidden:
            made += text[kept : spans[place][0]] + _HIDDEN
        kept = spans[place][1]
    return made + text[kept:]


def _decoded(text: str) -> tuple[str, list[tuple[int, int]]]:
    """Return the letters and digits of a text in lower case, each with its place; characters written as codes are decoded."""
    letters = text
    spans = [(at, at + 1) for at in range(len(text))]
    for _ in range(2):
        found: list[tuple[str, tuple[int, int]]] = []
        for match in _WRITTEN.finditer(letters):
            span = (spans[match.start()][0], spans[match.end() - 1][1])
            *in_hex, decimal, escape = match.groups()
            code = next((int(one, 16) for one in in_hex if one), int(decimal) if decimal else None)
            if code is not None:
                found.append((chr(code) if code < 0x110000 else " ", span))
            else:
                found.append(((escape[1] if escape[1] in "\\\"'/" else " ") if escape else match[0], span))
        letters, spans = "".join(letter for letter, _ in found), [span for _, span in found]
    # Wide forms and letters in other styles count as plain ones.
    plain = [
        (letter, span)
        for written, span in zip(letters, spans, strict=True)
        for letter in unicodedata.normalize("NFKC", written).lower()
        if letter.isalnum()
    ]
    return "".join(letter for letter, _ in plain), [span for _, span in plain]


def _forms(secret: str) -> list[str]:
    """Return a key in the forms in which a message usually quotes it, the longest first."""
    content = secret.encode()
    forms = {secret, repr(secret)[1:-1], repr(content)[2:-1], json.dumps(secret)[1:-1], quote(secret, safe=""), quote(secret)}
    if any(character.isdigit() for character in secret):  # not an ordinary word
        forms |= {secret.upper(), secret.lower()}
    forms |= {form for within in _in_base64(content) for form in (within, within.replace("+", "-").replace("/", "_"))}
    return sorted(forms, key=lambda form: (-len(form), form))


def _in_base64(content: bytes) -> Iterator[str]:
    """Yield a key within a longer base64 text, at each of three offsets, without characters shared with its neighbours."""
    for shift in range(3):
        within = base64.b64encode(bytes(shift) + content).decode()
        yield within[-(-shift * 8 // 6) : (shift + len(content)) * 8 // 6]


def one_line(text: str, secrets: Iterable[str] = (), most: int = 300) -> str:
    """Return a server's message as one printable line of at most `most` characters, without keys."""
    line = printable(" ".join(redact(text[:_LONGEST], secrets).split()))
    return line if len(line) <= most else line[: most - 4].rstrip() + " ..."
