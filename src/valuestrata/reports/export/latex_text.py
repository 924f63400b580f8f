r"""Escape text for LaTeX: pdfLaTeX, XeLaTeX and LuaLaTeX, without packages.

Accented letters become accent commands. Other scripts (Chinese, Arabic, Cyrillic, ...) are kept under Unicode engines, which need a font
that has them, and become code points in brackets under pdfLaTeX. A Latin letter with an unsupported or a second mark loses it there.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping

# Characters that are commands in LaTeX or missing in its default font.
ESCAPES: Mapping[str, str] = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "%": r"\%",
    "_": r"\_",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "`": r"\textasciigrave{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': "''{}",
    "\u00a0": "~",
    "−": r"$-$",
    "–": "--",
    "—": "---",
    "×": r"$\times$",
    "→": r"$\rightarrow$",
    "±": r"$\pm$",
    "≤": r"$\leq$",
    "≥": r"$\geq$",
    "«": r"$\ll$",
    "»": r"$\gg$",
    "‘": "`{}",
    "’": "'{}",
    "“": "``{}",
    "”": "''{}",
    "…": r"\dots{}",
    "£": r"\pounds{}",
    "§": r"\S{}",
    "°": r"$^{\circ}$",
    "·": r"$\cdot$",
    "¡": "!`",
    "¿": "?`",
    "ß": r"\ss{}",
    "æ": r"\ae{}",
    "Æ": r"\AE{}",
    "œ": r"\oe{}",
    "Œ": r"\OE{}",
    "ø": r"\o{}",
    "Ø": r"\O{}",
    "ł": r"\l{}",
    "Ł": r"\L{}",
    "ı": r"\i{}",
}
# Combining marks and their commands.
ACCENTS: Mapping[str, str] = {
    "\u0300": "`",
    "\u0301": "'",
    "\u0302": "^",
    "\u0303": "~",
    "\u0304": "=",
    "\u0306": "u",
    "\u0307": ".",
    "\u0308": '"',
    "\u030a": "r",
    "\u030b": "H",
    "\u030c": "v",
    "\u0323": "d",
    "\u0327": "c",
    "\u0331": "b",
}
# Prints its first argument under Unicode engines, its second otherwise; defined before every table.
LETTER = r"\providecommand{\anyletter}[2]{\ifdefined\Umathcode#1\else#2\fi}"


def escaped(text: str) -> str:
    """Return text escaped for LaTeX; line breaks become spaces, unprintable characters are dropped."""
    made = " ".join("".join(_letter(letter) for letter in unicodedata.normalize("NFC", text)).split())
    # After a table's line break these would be read as its options.
    return "{}" + made if made.startswith(("[", "*")) else made


def _letter(letter: str) -> str:
    if letter in ESCAPES:
        return ESCAPES[letter]
    if letter.isascii() or letter.isspace():
        return letter if letter.isprintable() or letter.isspace() else ""
    base, *marks = unicodedata.normalize("NFD", letter)
    if not marks or not (base.isascii() and base.isalpha()):
        return rf"\anyletter{{{letter}}}{{[U+{ord(letter):04X}]}}" if letter.isprintable() else ""
    known = [mark for mark in marks if mark in ACCENTS]
    made = _accented(base, known[0]) if known else base
    # The default fonts set one mark on a letter; a second one would be misplaced.
    return made if len(known) == len(marks) == 1 else rf"\anyletter{{{letter}}}{{{made}}}"


def _accented(base: str, mark: str) -> str:
    """Set a mark on a letter; a mark above replaces the dot."""
    dotless = base in ("i", "j") and unicodedata.combining(mark) == 230
    return rf"\{ACCENTS[mark]}{{{chr(92) if dotless else ''}{base}}}"
