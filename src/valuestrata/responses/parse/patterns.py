"""Regular expressions for marked answers, choices and refusals."""

from __future__ import annotations

import re


def _any(*words: str) -> str:
    return f"(?:{'|'.join(words)})"


WORDS: dict[str, int] = {
    "zero": 0,
    "one": 1,
    "two": 2,
    "three": 3,
    "four": 4,
    "five": 5,
    "six": 6,
    "seven": 7,
    "eight": 8,
    "nine": 9,
    "ten": 10,
}
_WORD = _any(*WORDS)

# A number of its own, unlike `3rd`, `3%` or the 2 of `v2`.
NUMBER = re.compile(r"[-+–]?\d+(?:\.\d+)?(?![A-Za-zÀ-ɏ0-9_%])")
# A number word must be followed by an end or punctuation, unlike `One of the best`.
NUMBER_WORD = re.compile(rf"(?:(minus|negative) )?({_WORD})(?=\s*(?:\Z|[.,;:!?()\"'\]}}\n–—-]|because\b))", re.IGNORECASE)

# Text allowed before the answer itself.
JUNK = re.compile(
    r"(?:[\s\"'(\[{<#=:_~|>]|[-–—•](?=\s)|(?:the |an? )?(?:"
    + _any("option", "number", "choice", "code", "level", "rating")
    + r"(?=[\s:#\d])|no\.(?=\s?\d)))*",
    re.IGNORECASE,
)
DENOMINATOR = re.compile(r"\s*(?:/|out of|of|von|sur|de)\s*(\d+)(?![\w])", re.IGNORECASE)
ALTERNATIVE = re.compile(
    r"\s*(?:[\"')\]]\s*)?"
    + _any(
        *("or (?:maybe|perhaps|possibly|even)", "or", "and", "to", "through", "vs\\.?", "versus", "oder", "und", "ou", "et", "o", "y"),
        r"[,/&~+–—-]|\.\.+",
    )
    + rf"\s*(?:an? |the |option )?[\"'(\[]?(?:\d+(?![\w%]|[.)] )|{_WORD}\b)"
    # `2; 3` and `| 2 | 3 |`, unlike `3; 2 reasons`.
    r"|\s*[;|]\s*\d+\s*(?:\Z|[;|)\]\n])",
    re.IGNORECASE,
)
# Text allowed after a bare number that is an answer, unlike `3 things matter`.
AFTER_ANSWER = re.compile(
    r"\s*(?:\Z|[\"')\]}]*\s*(?:\Z|[.,;:!?()\[\]|\"/–—-]|\n|"
    + _any("because", "since", "as", "for", "is", "would", "on", "out of", "the scale", "means?")
    + r"\b))",
    re.IGNORECASE,
)

ANSWER = _any(
    *("answer", "response", "réponse", "respuesta", "antwort", "risposta", "resposta", "jawapan", "jawaban", "cevap", "ответ"),
    *("答案", "答え", "回答", "답변", "답", "பதில்", "उत्तर", "الجواب", "الإجابة"),
)
_KEYED = rf"[\"']{_any('choice', 'option', 'code', 'value', 'rating', 'score', 'selection')}[\"']\s*:"
_IS = _any("is", "are", "would be", "will be", "was", "remains", "es", "est", "ist", "は", "是")
MARKER = re.compile(
    rf"(?<![a-z]){ANSWER}[\"')\]_]*\s*(?:\((?:number|code)\)\s*)?{_IS}?\s*(?:[:=]|->|→|=>)+"
    rf"|(?<![a-z]){ANSWER}\s+{_IS}\b(?:\s+{_any('therefore', 'thus', 'probably', 'likely', 'simply', 'closest to')})?"
    rf"|{ANSWER}[は是]"
    rf"|^[\s#>]*(?:final )?{ANSWER}(?=\s+[-+]?\d)"
    rf"|{_KEYED}",
    re.IGNORECASE | re.MULTILINE,
)
# Start of a marker in the original text, and what may belong to it before that.
MARKER_WORD = re.compile(rf"(?<![a-z]){ANSWER}|\\boxed\s*\{{|{_KEYED}", re.IGNORECASE)
MARKER_LEAD = re.compile(r"(?:[\"'*_#>({\[ \t]|\b(?:my|the|final)(?=[ \t\"'*_]))*\Z", re.IGNORECASE)

_CHOOSES = _any(
    *("say", "choose", "chose", "pick", "picked", "select", "selected", "answer", "rate", "give", "opt for", "go with", "go for"),
    *("lean towards?", "(?:place|put) (?:it|this|myself) at"),
)
_FILLING = _any(
    *("that", "it", "this", "it's", "it is", "it as", "this as", "them", "at", "as", "with", "for", "to be", "is", "myself"),
    *("about", "around", "an?", "the"),
)
CHOICE = re.compile(
    r"\bi(?:'d| would| will|'ll| might| think i would| think i'd)?(?: have to| probably| likely| personally| most likely)*"
    rf" {_CHOOSES}\b(?: {_FILLING}(?=\W))*"
    rf"|\bmy {_any('choice', 'rating', 'score', 'selection', 'vote', 'opinion', 'view', 'pick', 'number')}(?: here)? (?:is|would be)\b"
    r"(?: that it is)?"
    rf"|\b{_any('choice', 'rating', 'selection', 'score')}:",
    re.IGNORECASE,
)
OPTION = re.compile(r"\b(?:option|choice|number|code)\s*[:#]?\s*(?=\d)", re.IGNORECASE)

_MACHINE = r"(?:ai|artificial intelligence|(?:large )?language model|llm|assistant|chatbot)"
_UNABLE = _any(
    *("cannot", "can't", "can not", "am unable to", "'m unable to", "am not able to", "'m not able to", "won't", "will not"),
    *("do not feel comfortable", "don't feel comfortable"),
)
_TELL = _any(
    *("answer", "answering", "respond", "say", "choose", "provide", "give", "help", "assist", "express", "share", "take", "adopt"),
    *("role-?play", "select", "pick", "comply", "fulfill", "engage", "generate", "offer", "speak"),
)
REFUSAL = re.compile(
    rf"\bas an? (?:\w+ )?{_MACHINE}\b|\bi(?:'m| am) (?:just |only )?(?:an? )?{_MACHINE}\b"
    r"|\bi (?:would |'d )?(?:prefer|rather|choose|wish)(?: not)? (?:not )?to "
    + _any("answer", "respond", "say", "share", "disclose", "comment", "participate")
    + r"|\bi(?:'d| would) (?:rather|prefer) not\b|\bi (?:must |have to )?(?:decline|refuse)\b"
    rf"|\bi ?{_UNABLE}(?: \w+){{0,3}}? {_TELL}|\bi(?:'m| am) (?:unable|not able) to\b"
    r"|\bi (?:do not|don't) have (?:any )?"
    + _any("personal", "opinions", "feelings", "beliefs", "an opinion", "views", "preferences")
    + r"|\b(?:i'm|i am) sorry,? (?:but )?i (?:can|could|am|do|don)|\brefuse to answer\b|\bno comment\b",
    re.IGNORECASE,
)
# `No` as a refusal rather than an option; `No, I can't say I do` is an answer.
NO_REFUSAL = re.compile(
    rf"no[,.;!]? (?:(?:i'm |i am )?sorry,? )?(?:but )?(?:as an? (?:\w+ )?{_MACHINE}\b|i ?"
    + _any(_UNABLE, "(?:am|'m) (?:unable|not able) to", "(?:must|have to) (?:decline|refuse)")
    + r"(?: \w+){0,2}? ?"
    + _any("answer", "respond", "help", "assist", "comply", "engage", "fulfill", "participate", "provide", "role-?play")
    + r"\b)",
    re.IGNORECASE,
)
# Another option after the label of the first: `1 (Yes) or 2 (No)`.
OR_NUMBER = re.compile(r"[\s\"')\].]*(?:or|/)\s*(?:maybe |perhaps |possibly )?(?:option )?[\"'(\[]?(-?\d{1,9})(?![\w%])", re.IGNORECASE)
# "Don't know" as the whole text, or as the marked answer at its end.
DONT_KNOW = re.compile(
    r"(?:^|\banswer\s*:)\W*"
    + _any(
        "(?:(?:i|he|she|they|this person|the person) )?(?:would )?(?:don't|do not|dont|doesn't|does not|not) know",
        "dk",
        "i(?:'m| am) not sure",
    )
    + r"\W*$",
    re.IGNORECASE,
)
# Refusals only as the whole text; inside a longer text these words mean nothing.
SHORT_REFUSAL = re.compile(
    r"\W*"
    + _any(
        *("(?:i )?(?:don't|do not|dont) know", "i(?:'m| am) not sure", "no answer", "no opinion", "prefer not to (?:say|answer)"),
        *("refused?", "can't choose", "cannot choose", "n/?a", "none of (?:the above|these|them)"),
    )
    + r"\W*",
    re.IGNORECASE,
)
