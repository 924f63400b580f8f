"""From pairs to prompts: persona first, then the question, so that everything one persona is asked shares a prefix."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import polars as pl

from valuestrata.dataset import Dataset
from valuestrata.errors import InputDataError, UsageError, did_you_mean
from valuestrata.prompts.orders import arranged, check_order
from valuestrata.prompts.persona import Persona, in_place, noun_phrase, personas_of, place, profile, pronouns
from valuestrata.prompts.prompt import Elicitation, Message, Prompt, Role
from valuestrata.prompts.question import Question, options_text, printed_numbers, questions_of
from valuestrata.prompts.template import Pattern, Template

# A stated distribution needs a prompt that asks for one; these three read the same prompt in different ways.
READOUTS: tuple[Elicitation, ...] = ("text", "logprob", "first-token")


def render_prompts(
    dataset: Dataset,
    pairs: pl.DataFrame,
    *,
    template: Template,
    elicitation: Elicitation,
    orders: Sequence[str] = ("scale",),
    samples: int = 1,
    personas: Mapping[str, Persona] | None = None,
) -> Iterator[Prompt]:
    """Render every pair under every order and sample, those of one persona next to each other.

    The prompts stand in the order subgroup, item, order, sample, whatever the order of `pairs`; a pair that is there
    twice is rendered once. `text`, `logprob` and `first-token` see the same messages.

    Args:
        dataset: the data set the pairs are from.
        pairs: a frame with pair_id, item and subgroup.
        template: the recipe.
        elicitation: the readout the prompts are for.
        orders: names of option orders, as `orders_from` gives them.
        samples: how often each prompt is asked.
        personas: subgroup -> persona, instead of the subgroup's own; for controls.

    Raises:
        UsageError: an order or a readout that does not exist, or samples below 1.
        InputDataError: a pair of an item or subgroup that the data set does not have; a half-translated template (one that
            translates the survey's place and not another in which a persona lives).
    """
    if elicitation not in READOUTS:
        raise UsageError(f"The readout {elicitation!r} cannot be asked with a persona template.{did_you_mean(elicitation, READOUTS)}")
    if samples < 1:
        raise UsageError(f"samples is {samples}; it must be at least 1.")
    template.check_translations(dataset)
    names = [check_order(order) for order in orders]
    questions = questions_of(dataset)
    subgroups = personas_of(dataset) if personas is None else personas
    _check_places(dataset, template, subgroups)
    rows = _in_prefix_order(pairs, list(questions), list(subgroups))
    return _rendered(rows, questions, subgroups, template, elicitation, names, samples)


def _check_places(dataset: Dataset, template: Template, personas: Mapping[str, Persona]) -> None:
    translated = template.words.places
    if dataset.meta.get("place") not in translated:
        return
    for persona in personas.values():
        if persona.place is not None and persona.place not in translated:
            known = ", ".join(translated)
            raise InputDataError(
                f"template {template.name}: places has no entry for {persona.place!r}, where a persona lives. It has: {known}."
            )


def messages_for(template: Template, persona: Persona, question: Question, shown: Sequence[int], order: str) -> tuple[Message, ...]:
    """Return the chat that asks one persona one question with the options in the order of `shown`."""
    return _messages(_patterns(template, persona), _question_values(question, shown, order))


def _in_prefix_order(pairs: pl.DataFrame, items: list[str], subgroups: list[str]) -> list[tuple[str, str, str]]:
    place_of_item = {item: position for position, item in enumerate(items)}
    place_of_subgroup = {subgroup: position for position, subgroup in enumerate(subgroups)}
    rows: dict[str, tuple[str, str, str]] = {row[0]: row for row in pairs.select("pair_id", "item", "subgroup").iter_rows()}
    for pair_id, item, subgroup in rows.values():
        for what, word, known in (("item", item, place_of_item), ("subgroup", subgroup, place_of_subgroup)):
            if word not in known:
                raise InputDataError(f"pair {pair_id!r}: the data set has no {what} {word!r}.{did_you_mean(word, known)}")
    return sorted(rows.values(), key=lambda row: (place_of_subgroup[row[2]], place_of_item[row[1]]))


def _rendered(
    rows: Sequence[tuple[str, str, str]],
    questions: Mapping[str, Question],
    personas: Mapping[str, Persona],
    template: Template,
    elicitation: Elicitation,
    orders: Sequence[str],
    samples: int,
) -> Iterator[Prompt]:
    numeric = {item: question.is_numeric_scale for item, question in questions.items()}
    of_question: dict[tuple[str, tuple[int, ...], bool], tuple[tuple[str, ...], dict[str, str]]] = {}
    last_subgroup, patterns = None, _patterns(template, Persona())
    for pair_id, item, subgroup in rows:
        if subgroup != last_subgroup:
            last_subgroup, patterns = subgroup, _patterns(template, personas[subgroup])
        question = questions[item]
        for order in orders:
            shown = arranged(question.codes, order, pair_id, numeric=numeric[item])
            known = (item, shown, order == "scale")
            if known not in of_question:
                of_question[known] = printed_numbers(shown, order), _question_values(question, shown, order)
            numbers, values = of_question[known]
            messages = _messages(patterns, values)
            for sample in range(samples):
                yield Prompt(
                    pair_id=pair_id,
                    item=item,
                    subgroup=subgroup,
                    messages=messages,
                    prefill=template.prefill,
                    options=numbers,
                    shown=shown,
                    elicitation=elicitation,
                    template=template.name,
                    template_version=template.version,
                    order=order,
                    sample=sample,
                )


def _persona_values(template: Template, persona: Persona) -> dict[str, str]:
    words = template.words
    they, their, them = pronouns(persona)
    values = {
        "profile": profile(persona, words),
        "persona": noun_phrase(persona, words),
        "persona_in_place": noun_phrase(persona, words, with_place=True),
        "place": place(persona, words),
        "in_place": in_place(persona, words),
        "they": they,
        "their": their,
        "them": them,
    }
    values["who"] = (template.who if persona.traits else template.who_all).fill(values)
    return values


def _question_values(question: Question, shown: Sequence[int], order: str) -> dict[str, str]:
    numbers = printed_numbers(shown, order)
    return {
        "question": question.text,
        "options": options_text(question, shown, numbers),
        "first": numbers[0],
        "last": numbers[-1],
    }


def _patterns(template: Template, persona: Persona) -> list[tuple[Role, Pattern]]:
    """The messages of one persona, in which only what belongs to the question is still open."""
    values = _persona_values(template, persona)
    parts: list[tuple[Role, Pattern | None]] = [("system", template.system), ("user", template.user)]
    return [(role, pattern.filled_in_part(values)) for role, pattern in parts if pattern is not None]


def _messages(patterns: Sequence[tuple[Role, Pattern]], values: Mapping[str, str]) -> tuple[Message, ...]:
    return tuple([Message(role, pattern.fill(values)) for role, pattern in patterns])
