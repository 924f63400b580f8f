"""Persona templates, read from YAML.

A template is text with placeholders from a fixed list. `user` and its `paraphrases` contain persona and question;
`{reply}` is the part that differs by elicitation. The version includes a hash of everything the model could see, so an
edited template has a new version.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path
from typing import Literal

from pydantic import ConfigDict, Field

from valuestrata.dataset.tables import Dataset
from valuestrata.errors import InputDataError, UsageError, did_you_mean
from valuestrata.files import canonical_hash
from valuestrata.prompts.context import (
    CONTEXT,
    DEFAULT_ANSWER,
    DEFAULT_CONTEXT,
    OF_ANSWER,
    OF_CONTEXT,
    ContextWording,
    with_place_for_context,
)
from valuestrata.prompts.pattern import Pattern, read_pattern
from valuestrata.prompts.persona import Words
from valuestrata.prompts.prompt import OPEN, Elicitation, Role
from valuestrata.yaml_files import StrictModel, parse_yaml, read_yaml

OF_PERSONA = ("profile", "persona", "persona_in_place", "place", "in_place", "they", "their", "them")
OF_QUESTION = ("question", "options", "first", "last")
PLACEHOLDERS = ("who", *OF_PERSONA, *OF_QUESTION)
REPLY = "reply"
# The key with the reply instruction of each elicitation. The first three use the same prompt.
REPLY_KEYS: Mapping[Elicitation, str] = {
    "text": "reply",
    "logprob": "reply",
    "first-token": "reply",
    "stated-distribution": "reply_stated",
    "reasoned": "reply_reasoned",
}
_REPLIES = tuple(dict.fromkeys(REPLY_KEYS.values()))
# The same for all personas of a data set.
_OF_EVERYONE = ("place", "in_place")

First = Literal["persona", "item"]


@dataclass(frozen=True)
class Template:
    """A persona template.

    Attributes:
        name, version, description: from the file; `version` is followed by a hash of the content.
        source: the file, for messages.
        who: the sentence about a persona with traits. who_all: the sentence for a persona without traits. `{who}` inserts
            the one that applies.
        system: the system message, or None.
        wordings: the user message, then its paraphrases, by the number that responses store.
        replies: key (`reply`, `reply_stated`, `reply_reasoned`) -> reply instruction, inserted by `{reply}`; empty if the
            wordings contain it.
        prefill: start of the assistant's turn for option probabilities.
        words: words for personas.
        open: the user message for open questions, or None.
        open_version: the version for open questions.
        dont_know: whether its reply instructions offer "don't know" as an answer.
        context: how it words survey answers. shows_context: whether its prompts show survey answers.
    """

    name: str
    version: str
    description: str
    source: str
    who: Pattern
    who_all: Pattern
    system: Pattern | None
    wordings: tuple[Pattern, ...]
    replies: Mapping[str, Pattern]
    prefill: str
    words: Words
    context: ContextWording
    open: Pattern | None = None
    open_version: str = ""
    dont_know: bool = False
    shows_context: bool = False

    @property
    def first(self) -> First:
        """What comes first, and is the shared prefix: the persona, or the item (question and options)."""
        return _first_of(self.system, self.wordings[0])

    def messages(self, elicitation: Elicitation, paraphrase: int = 0) -> tuple[tuple[Role, Pattern], ...]:
        """Return the message patterns of one elicitation and wording.

        Raises:
            UsageError: an unknown paraphrase.
            InputDataError: no reply instruction for this elicitation.
        """
        self.check_asks(elicitation)
        self.check_paraphrases([paraphrase])
        user = self.wordings[paraphrase]
        if elicitation == OPEN and self.open is not None:
            if paraphrase:
                raise UsageError(f"The template {self.name!r} has one wording of open questions: paraphrase 0.")
            user = self.open
        elif self.replies:
            user = user.with_pattern(REPLY, self.replies[REPLY_KEYS[elicitation]])
        user = with_place_for_context(user) if self.shows_context else user.with_pattern(CONTEXT, Pattern(()))
        return (("user", user),) if self.system is None else (("system", self.system), ("user", user))

    def version_of(self, elicitation: Elicitation) -> str:
        """Return the version that responses store. Text used by open questions only does not change the version of the others."""
        if self.shows_context:
            return self.context.open_version if elicitation == OPEN else self.context.version
        return self.open_version if elicitation == OPEN else self.version

    def showing_context(self) -> Template:
        """Return the template for prompts that show survey answers; it has a version of its own."""
        return replace(self, shows_context=True)

    def check_asks(self, elicitation: Elicitation) -> None:
        """Raise InputDataError, with the key to add, if the template has no reply instruction for this elicitation."""
        if elicitation == OPEN:
            if self.open is None:
                raise InputDataError(f"{self.source}: the template has no open question; add the key `open`.")
            return
        key = REPLY_KEYS[elicitation]
        if key in self.replies or (not self.replies and key == "reply"):
            return
        add = (
            f"add the key `{key}`"
            if self.replies
            else f"replace the reply instruction in `user` by {{reply}}, and add the keys `reply` and `{key}`"
        )
        raise InputDataError(f"{self.source}: the template has no reply instruction for {elicitation}; {add}.")

    def check_paraphrases(self, numbers: Sequence[int]) -> None:
        """Raise UsageError for unknown, repeated or no paraphrases."""
        for at, number in enumerate(numbers):
            if not 0 <= number < len(self.wordings):
                raise UsageError(f"The template {self.name!r} has no paraphrase {number}. {self._numbers()}")
            if number in numbers[:at]:
                raise UsageError(f"Paraphrase {number} of the template {self.name!r} occurs more than once. {self._numbers()}")
        if not numbers:
            raise UsageError(f"No paraphrase of the template {self.name!r} is selected. {self._numbers()}")

    def _numbers(self) -> str:
        last = len(self.wordings) - 1
        return f"It has 0 to {last}; 0 is `user`." if last else "It has only 0, which is `user`; the key `paraphrases` adds others."

    def check_translations(self, dataset: Dataset) -> None:
        """Raise InputDataError if only some levels of an attribute are translated, which would mix languages."""
        for attribute in dataset.meta["attributes"]:
            for kind, table in (("levels", self.words.levels), ("phrases", self.words.phrases)):
                given = table.get(attribute["name"])
                if given is None:
                    continue
                # Only levels that occur: a codebook may list the ethnic groups of every country.
                for label in dataset.subgroups[attribute["name"]].drop_nulls().unique(maintain_order=True):
                    if label not in given:
                        raise InputDataError(
                            f"template {self.name}: {kind}.{attribute['name']} has no entry for "
                            f"{label!r}, a level of the data set. It has: {', '.join(given)}."
                        )


def paraphrases_from(spec: str, template: Template) -> tuple[int, ...]:
    """Parse a list of paraphrases: `0` (the wording of `user`), `0,2`, or `all`.

    Raises:
        UsageError: not a number, an unknown number, or a repeated one.
    """
    if spec.strip() == "all":
        return tuple(range(len(template.wordings)))
    words = [word.strip() for word in spec.split(",")]
    for word in words:
        if not re.fullmatch(r"[0-9]{1,9}", word):
            raise UsageError(f"Paraphrases are numbers separated by commas, or `all`; found {word[:40]!r}.")
    numbers = tuple(int(word) for word in words)
    template.check_paraphrases(numbers)
    return numbers


class _TemplateFile(StrictModel):
    # Labels of levels and versions may be written as numbers.
    model_config = ConfigDict(coerce_numbers_to_str=True)

    name: str = Field(min_length=1)
    version: str = "1"
    description: str = ""
    who: str = ""
    who_all: str = ""
    system: str | None = None
    user: str
    paraphrases: list[str] = Field(default_factory=list[str])
    reply: str = ""
    reply_stated: str = ""
    reply_reasoned: str = ""
    context: str = DEFAULT_CONTEXT
    context_answer: str = DEFAULT_ANSWER
    open: str = ""
    prefill: str = "Answer:"
    dont_know: bool = False
    person: str = "person"
    articles: bool = True
    living_in: str = " living in {place}"
    whose: str = "whose {title} is {label}"
    attributes: dict[str, str] = Field(default_factory=dict[str, str])
    levels: dict[str, dict[str, str]] = Field(default_factory=dict[str, dict[str, str]])
    phrases: dict[str, dict[str, str]] = Field(default_factory=dict[str, dict[str, str]])
    places: dict[str, str] = Field(default_factory=dict[str, str])


def load_template(name_or_path: str | Path) -> Template:
    """Read a built-in template by name (see `builtin_templates`), or a YAML file.

    Raises:
        UsageError: neither a built-in name nor a file.
        InputDataError: invalid YAML, or an unknown key or placeholder.
    """
    text = str(name_or_path)
    names = builtin_templates()
    if text in names:
        source = resources.files("valuestrata.prompts") / "templates" / f"{text}.yaml"
        where = f"{text}.yaml"
        return _template(parse_yaml(source.read_text(encoding="utf-8"), where).checked(_TemplateFile), where)
    path = Path(name_or_path)
    if not path.is_file():
        raise UsageError(f"There is no template {text!r}: it is neither a built-in template nor a file.{did_you_mean(text, names)}")
    return _template(read_yaml(path).checked(_TemplateFile), str(path))


def builtin_templates() -> list[str]:
    """Return the names of the built-in templates, sorted."""
    folder = resources.files("valuestrata.prompts") / "templates"
    return sorted(entry.name.removesuffix(".yaml") for entry in folder.iterdir() if entry.name.endswith(".yaml"))


def _template(file: _TemplateFile, where: str) -> Template:
    who, who_all = (read_pattern(getattr(file, key), f"{where}: {key}", OF_PERSONA) for key in ("who", "who_all"))
    system = None if file.system is None else read_pattern(file.system, f"{where}: system", PLACEHOLDERS)
    wordings = {"user": file.user} | {f"paraphrases: {number}": text for number, text in enumerate(file.paraphrases, start=1)}
    patterns = {key: read_pattern(text, f"{where}: {key}", (*PLACEHOLDERS, REPLY, CONTEXT)) for key, text in wordings.items()}
    replies = {key: read_pattern(text, f"{where}: {key}", PLACEHOLDERS) for key in _REPLIES if (text := getattr(file, key))}
    read_pattern(file.living_in, f"{where}: living_in", ("place",))
    read_pattern(file.whose, f"{where}: whose", ("title", "label"))
    _check_wordings(patterns, system, replies, where)
    openly = _open_wording(file, where, _first_of(system, patterns["user"]), system)
    every = (*patterns.values(), *replies.values(), system, openly)
    used = frozenset[str]().union(*(pattern.names for pattern in every if pattern is not None))
    if "who" in used and not (file.who and file.who_all):
        raise InputDataError(f"{where}: {{who}} is used, so the template needs both `who` and `who_all`.")
    return Template(
        name=file.name,
        version=f"{file.version}+{canonical_hash(_seen(file))[:6]}",
        description=file.description,
        source=where,
        who=who,
        who_all=who_all,
        system=system,
        wordings=tuple(patterns.values()),
        replies=replies,
        prefill=file.prefill,
        words=Words(
            person=file.person,
            articles=file.articles,
            living_in=file.living_in,
            whose=file.whose,
            attributes=file.attributes,
            levels=file.levels,
            phrases=file.phrases,
            places=file.places,
        ),
        context=_context_wording(file, where),
        open=openly,
        open_version=f"{file.version}+{canonical_hash(_seen(file) | {'open': file.open})[:6]}",
        dont_know=file.dont_know,
    )


def _context_wording(file: _TemplateFile, where: str) -> ContextWording:
    """Return how the template words survey answers. The version covers these keys and the places of `{context}`."""
    found: list[Pattern] = []
    for key, known, needed in (("context", OF_CONTEXT, "answers"), ("context_answer", OF_ANSWER, "answer")):
        found.append(read_pattern(getattr(file, key), f"{where}: {key}", known))
        if needed not in found[-1].names:
            raise InputDataError(f"{where}: {key}: {{{needed}}} is missing, so the model would not see the answers.")
    seen = _seen(file) | {key: getattr(file, key) for key in ("user", "paraphrases", "context", "context_answer")}
    versions = [f"{file.version}+{canonical_hash(own)[:6]}" for own in (seen, seen | {"open": file.open})]
    return ContextWording(found[0], found[1], versions[0], versions[1])


def _open_wording(file: _TemplateFile, where: str, first: First, system: Pattern | None) -> Pattern | None:
    """Return the wording of open questions, or None."""
    if not file.open:
        return None
    pattern = read_pattern(file.open, f"{where}: open", ("who", *OF_PERSONA, "question"))
    if "question" not in pattern.names:
        raise InputDataError(f"{where}: open: {{question}} is missing, so the model would not see the question.")
    hidden = sorted((system.names if system is not None else frozenset[str]()) & set(OF_QUESTION))
    if hidden:
        raise InputDataError(f"{where}: open: `system` contains {{{hidden[0]}}}, which open questions must not show; move it to `user`.")
    if _first_of(system, pattern) != first:
        raise InputDataError(f"{where}: open: it must begin with the {first}, as `user` does; write another template for another order.")
    return pattern


def _seen(file: _TemplateFile) -> dict[str, object]:
    # Unused keys are left out, so templates without them keep the hash they had before these keys existed. Text for open
    # questions only does not change the hash for closed questions, and text about survey answers that of prompts without them.
    unused = {key for key in (*_REPLIES, "paraphrases", "dont_know") if not getattr(file, key)}
    seen: dict[str, object] = file.model_dump(exclude={"description", "open", "context", "context_answer", *unused})
    place = f"{{{CONTEXT}}}"
    seen["user"] = file.user.replace(place, "")
    if file.paraphrases:
        seen["paraphrases"] = [text.replace(place, "") for text in file.paraphrases]
    return seen


def _check_wordings(patterns: Mapping[str, Pattern], system: Pattern | None, replies: Mapping[str, Pattern], where: str) -> None:
    """Raise InputDataError for a wording without the question, options or reply, or with another order than `user`."""
    first = _first_of(system, patterns["user"])
    for key, pattern in patterns.items():
        for name in ("question", "options"):
            if name not in pattern.names:
                raise InputDataError(f"{where}: {key}: {{{name}}} is missing, so the model would not see it.")
        if replies and REPLY not in pattern.names:
            raise InputDataError(f"{where}: {key}: {{reply}} is missing, so the model would not see `{next(iter(replies))}`.")
        if not replies and REPLY in pattern.names:
            raise InputDataError(f"{where}: {key}: {{reply}} is used, so the template needs the key `reply`.")
        if _first_of(system, pattern) != first:
            raise InputDataError(
                f"{where}: {key}: it must begin with the {first}, as `user` does. A paraphrase keeps the order; write another "
                "template for another order."
            )


def _first_of(system: Pattern | None, user: Pattern) -> First:
    for _, name in (*(system.pieces if system is not None else ()), *user.pieces):
        if name in ("question", "options"):
            return "item"
        if name == "who" or (name in OF_PERSONA and name not in _OF_EVERYONE):
            return "persona"
    return "item"
