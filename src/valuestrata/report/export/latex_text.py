r"""Text of data as LaTeX prints it, under pdfLaTeX, XeLaTeX and LuaLaTeX alike, with no package loaded.

Letters with accents are written as accent and letter. What the old fonts lack (Chinese, Arabic, Cyrillic, ...) is written as itself
where the engine knows Unicode (a document then needs a font that has it), and by its code point in brackets under pdfLaTeX; a Latin
letter with a mark that they lack, or with two, loses that mark there.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping

# Characters that LaTeX takes for commands, or that its old text font lacks, and what prints them.
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
# Combining marks and the commands that set them.
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
# Printed as it stands by an engine that knows Unicode, as its second argument otherwise. Stands before every table.
LETTER = r"\providecommand{\anyletter}[2]{\ifdefined\Umathcode#1\else#2\fi}"


def escaped(text: str) -> str:
    """Return text that LaTeX prints as it stands; line breaks become spaces, and what cannot be printed is left out."""
    made = " ".join("".join(_letter(letter) for letter in unicodedata.normalize("NFC", text)).split())
    # After a line break of a table these would be taken for its length and its star.
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
    # The old fonts set one mark on a letter; a second one would stand beside it.
    return made if len(known) == len(marks) == 1 else rf"\anyletter{{{letter}}}{{{made}}}"


def _accented(base: str, mark: str) -> str:
    """Set a mark on a letter; one above takes the place of the dot."""
    dotless = base in ("i", "j") and unicodedata.combining(mark) == 230
    return rf"\{ACCENTS[mark]}{{{chr(92) if dotless else ''}{base}}}"
