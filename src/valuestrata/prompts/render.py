"""Rendering of pairs to prompts, in an order that keeps shared prefixes together.

Persona texts and question texts are filled in once and joined for every pair, because a run of millions of prompts is
rendered again each time it resumes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from operator import add

import polars as pl

from valuestrata.dataset.tables import Dataset
from valuestrata.errors import InputDataError, UsageError, did_you_mean
from valuestrata.prompts.context import CONTEXT, ShownAnswers, ShowsAnswers, context_text
from valuestrata.prompts.orders import arranged, check_order, seed_of
from valuestrata.prompts.pattern import Pattern
from valuestrata.prompts.persona import Persona, personas_of
from valuestrata.prompts.prompt import OPEN, Elicitation, Message, Prompt, Role, elicitation_of
from valuestrata.prompts.question import Question, printed_numbers, questions_of
from valuestrata.prompts.template import OF_QUESTION, First, Template
from valuestrata.prompts.values import open_values, persona_values, question_values

# Bound the caches: a long list of options has more shuffled orders than a run has pairs, and texts with survey answers are long.
_MOST_SHUFFLED = 20_000
_MOST_WITH_ANSWERS = 1_000


def render_prompts(
    dataset: Dataset,
    pairs: pl.DataFrame,
    *,
    template: Template,
    elicitation: Elicitation,
    orders: Sequence[str] = ("scale",),
    samples: int = 1,
    paraphrases: Sequence[int] = (0,),
    personas: Mapping[str, Persona] | None = None,
    context: ShowsAnswers | None = None,
) -> Iterator[Prompt]:
    """Render every pair in every wording, order and sample, with shared prefixes together.

    The order does not depend on `pairs`. Templates that start with the persona give the order subgroup, paraphrase, item,
    order, sample; those that start with the item (`Template.first`) give item, paraphrase, order, subgroup, sample.
    Duplicate pairs are rendered once. `text`, `logprob` and `first-token` use the same messages.

    Args:
        dataset: data set of the pairs.
        pairs: a frame with pair_id, item and subgroup.
        template: template of the prompts.
        elicitation: how answers are obtained.
        orders: option orders from `orders_from`.
        samples: number of times each prompt is asked.
        paraphrases: wordings of the template, from `paraphrases_from`.
        personas: subgroup -> persona, for controls; by default the subgroup's own.
        context: chooses the survey answers that prompts show; `template` must be one that shows them.

    Raises:
        UsageError: an unknown order, elicitation or paraphrase, or samples below 1.
        InputDataError: an unknown item or subgroup; an item without an open question under `open`; a template with missing
            translations, or without a reply text for this elicitation.
    """
    elicitation_of(elicitation)
    if samples < 1:
        raise UsageError(f"samples is {samples}; it must be at least 1.")
    template.check_paraphrases(paraphrases)
    questions = questions_of(dataset)
    wordings = [_Wording(template, elicitation, number, questions) for number in paraphrases]
    template.check_translations(dataset)
    names = [check_order(order) for order in orders]
    subgroups = personas_of(dataset) if personas is None else personas
    _check_places(dataset, template, subgroups)
    groups = _in_prefix_order(pairs, list(questions), list(subgroups), template.first)
    together = _asked_together(groups, wordings, names, template.first)
    shown = _QuestionTexts(questions, openly=elicitation == OPEN)
    return _rendered(together, shown, subgroups, context, template, elicitation, samples)


def _check_places(dataset: Dataset, template: Template, personas: Mapping[str, Persona]) -> None:
    translated = template.words.places
    if dataset.meta.get("place") not in translated:
        return
    for persona in personas.values():
        if persona.place is not None and persona.place not in translated:
            known = ", ".join(translated)
            raise InputDataError(
                f"template {template.name}: places has no entry for {persona.place!r}, the place of a persona. It has: {known}."
            )


# --- Order of prompts -------------------------------------------------------------------------------------------------

Pair = tuple[str, str, str]
"""pair_id, item, subgroup."""


def _in_prefix_order(pairs: pl.DataFrame, items: list[str], subgroups: list[str], first: First) -> list[list[Pair]]:
    """Return the distinct pairs in one list per subgroup or item, whichever is `first`, in the order of the data set."""
    rows = pairs.select("pair_id", "item", "subgroup").unique("pair_id", keep="last")
    places: dict[str, pl.Series] = {}
    for what, known in (("item", items), ("subgroup", subgroups)):
        places[what] = rows[what].replace_strict({word: place for place, word in enumerate(known)}, default=None, return_dtype=pl.UInt32)
        if places[what].null_count():
            lost = rows.filter(places[what].is_null()).sort("pair_id").row(0, named=True)
            raise InputDataError(f"pair {lost['pair_id']!r}: unknown {what} {lost[what]!r}.{did_you_mean(lost[what], known)}")
    outer, inner = ("item", "subgroup") if first == "item" else ("subgroup", "item")
    placed = rows.with_columns(outer=places[outer], inner=places[inner]).sort("outer", "inner")
    return [group.select("pair_id", "item", "subgroup").rows() for group in placed.partition_by("outer", maintain_order=True)]


def _asked_together(
    groups: Sequence[Sequence[Pair]], wordings: Sequence[_Wording], orders: Sequence[str], first: First
) -> Iterator[tuple[_Wording, Sequence[Pair], Sequence[str]]]:
    """Yield a wording, the pairs to ask in it one after the other, and the option orders of each pair."""
    for pairs in groups:
        for wording in wordings:
            if first == "item":
                # The option order is part of the shared prefix.
                for order in orders:
                    yield wording, pairs, (order,)
            else:
                yield wording, pairs, orders


# --- Texts of prompts -------------------------------------------------------------------------------------------------

Texts = tuple[tuple[str, ...], ...]
"""For each message, the texts of the question or of the persona, which alternate."""


@dataclass(frozen=True, slots=True)
class _Shown:
    """One question in one order: displayed codes and numbers, values of placeholders, texts by paraphrase."""

    codes: tuple[int, ...]
    numbers: tuple[str, ...]
    values: Mapping[str, str]
    texts: dict[int, Texts] = field(default_factory=dict[int, Texts])


class _QuestionTexts:
    """The questions of a data set, in every order that is asked."""

    def __init__(self, questions: Mapping[str, Question], *, openly: bool = False) -> None:
        self._questions = questions
        self._openly = openly
        self._numeric = {item: question.is_numeric_scale for item, question in questions.items()}
        self._shuffled: dict[tuple[str, tuple[int, ...]], _Shown] = {}
        self._fixed: dict[tuple[str, str], _Shown] = {}

    def shown(self, item: str, order: str, pair_id: str) -> _Shown:
        """Return the question of a pair in an option order."""
        if (found := self._fixed.get((item, order))) is not None:
            return found
        if self._openly:
            return self._fixed.setdefault((item, order), _Shown((), (), open_values(self._questions[item])))
        codes = arranged(self._questions[item].codes, order, pair_id, numeric=self._numeric[item])
        if seed_of(order) is None:
            return self._fixed.setdefault((item, order), self._made(item, codes, order))
        if (found := self._shuffled.get((item, codes))) is None:
            if len(self._shuffled) >= _MOST_SHUFFLED:
                self._shuffled.clear()
            found = self._shuffled[item, codes] = self._made(item, codes, order)
        return found

    def _made(self, item: str, codes: tuple[int, ...], order: str) -> _Shown:
        numbers = printed_numbers(codes, order)
        return _Shown(codes, numbers, question_values(self._questions[item], codes, numbers))


class _Wording:
    """One wording of a template: its message patterns, and a cache of persona texts."""

    def __init__(self, template: Template, elicitation: Elicitation, paraphrase: int, questions: Mapping[str, Question]) -> None:
        messages = template.messages(elicitation, paraphrase)
        halves = [pattern.in_halves(OF_QUESTION) for _, pattern in messages]
        self.paraphrase = paraphrase
        self._template = template
        self._questions = questions
        self._roles: list[Role] = [role for role, _ in messages]
        self._of_question = [of_question for of_question, _ in halves]
        self._of_persona = [of_persona for _, of_persona in halves]
        self._said: dict[str, Texts] = {}
        self._with_answers: dict[tuple[str, ShownAnswers], Texts] = {}

    def persona_texts(self, subgroup: str, persona: Persona, answers: ShownAnswers | None) -> Texts:
        """Return the texts of a persona, and of the survey answers shown with it, in the messages."""
        if answers is not None:
            return self._texts_with_answers(subgroup, persona, answers)
        if (said := self._said.get(subgroup)) is None:
            said = self._said[subgroup] = _filled(self._of_persona, {**persona_values(self._template, persona), CONTEXT: ""})
        return said

    def _texts_with_answers(self, subgroup: str, persona: Persona, answers: ShownAnswers) -> Texts:
        if (said := self._with_answers.get((subgroup, answers))) is None:
            if len(self._with_answers) >= _MOST_WITH_ANSWERS:
                self._with_answers.clear()
            text = context_text(self._template, self._questions, answers)
            values = {**persona_values(self._template, persona), CONTEXT: text}
            said = self._with_answers[subgroup, answers] = _filled(self._of_persona, values)
        return said

    def messages(self, said: Texts, shown: _Shown) -> tuple[Message, ...]:
        """Return the messages for one persona and one question."""
        if (asked := shown.texts.get(self.paraphrase)) is None:
            asked = shown.texts[self.paraphrase] = _filled(self._of_question, shown.values)
        return tuple([Message(role, "".join(map(add, ours, theirs))) for role, ours, theirs in zip(self._roles, asked, said, strict=True)])


def _filled(patterns: Sequence[Sequence[Pattern]], values: Mapping[str, str]) -> Texts:
    return tuple(tuple(pattern.fill(values) for pattern in row) for row in patterns)


def _rendered(
    together: Iterator[tuple[_Wording, Sequence[Pair], Sequence[str]]],
    questions: _QuestionTexts,
    personas: Mapping[str, Persona],
    context: ShowsAnswers | None,
    template: Template,
    elicitation: Elicitation,
    samples: int,
) -> Iterator[Prompt]:
    for wording, pairs, orders in together:
        for pair_id, item, subgroup in pairs:
            answers = None if context is None else context.shown(item, subgroup)
            said = wording.persona_texts(subgroup, personas[subgroup], answers)
            for order in orders:
                shown = questions.shown(item, order, pair_id)
                messages = wording.messages(said, shown)
                for sample in range(samples):
                    yield Prompt(
                        pair_id=pair_id,
                        item=item,
                        subgroup=subgroup,
                        messages=messages,
                        prefill=template.prefill,
                        options=shown.numbers,
                        shown=shown.codes,
                        elicitation=elicitation,
                        template=template.name,
                        template_version=template.version_of(elicitation),
                        order=order,
                        paraphrase=wording.paraphrase,
                        sample=sample,
                    )
