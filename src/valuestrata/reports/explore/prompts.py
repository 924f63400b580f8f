"""The prompts of runs, rendered again, and their texts stored once each."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import polars as pl

from valuestrata.dataset.tables import Dataset
from valuestrata.errors import ValuestrataError
from valuestrata.prompts.persona import Persona
from valuestrata.prompts.prompt import Message
from valuestrata.reports.explore.columns import Block, whole

# Between paragraphs of a prompt. Most of them occur in many prompts, such as the persona and the list of options.
BETWEEN = "\n\n"
Messages = tuple[Message, ...]


def prompts_again(
    dataset: Dataset, responses: pl.DataFrame, meta: Mapping[str, Any], known: Mapping[str, Messages] | None = None
) -> dict[str, Messages]:
    """Render the prompts of responses again, as the run's plan says.

    Args:
        dataset: the data set that was asked.
        responses: RESPONSES; of those without a template or a hash, nothing is rendered.
        meta: the run's document. known: prompts that need not be rendered again.

    Returns:
        Hash of a prompt -> its messages, for the recorded hashes only. A prompt whose template or data set has changed has another
        hash, so it is left out.
    """
    from valuestrata.prompts import load_template, render_prompts
    from valuestrata.prompts.prompt import ELICITATIONS
    from valuestrata.responses.context.gold_context import context_of_plan

    asked = responses.filter(pl.col("prompt_hash").is_not_null() & pl.col("template").is_not_null() & pl.col("prompt_hash").ne(""))
    asked = asked.filter(pl.col("elicitation").is_in(ELICITATIONS) & ~pl.col("prompt_hash").is_in(list(known or ())))
    if asked.is_empty():
        return {}
    wanted = set(asked["prompt_hash"])
    found: dict[str, Messages] = {}
    asked = asked.with_columns(pl.col("order").fill_null("scale"), pl.col("paraphrase").fill_null(0))
    for (name, readout, order, paraphrase), rows in asked.group_by("template", "elicitation", "order", "paraphrase", maintain_order=True):
        try:
            template = load_template(str(name))
            personas = _personas(dataset, meta)
            context = context_of_plan(dataset, meta.get("plan") or {}, personas)
            prompts = render_prompts(
                dataset,
                rows.select("pair_id", "item", "subgroup"),
                template=template if context is None else template.showing_context(),
                elicitation=readout,  # pyright: ignore[reportArgumentType]
                orders=[str(order)],
                paraphrases=[int(str(paraphrase))],
                personas=personas,
                context=context,
            )
            found |= {made: prompt.messages for prompt in prompts if (made := prompt.hash) in wanted}
        except ValuestrataError:
            # The template file of a user may be missing when the report is written.
            continue
    return found


def _personas(dataset: Dataset, meta: Mapping[str, Any]) -> Mapping[str, Persona] | None:
    """Return the personas of a control, None for other runs."""
    from valuestrata.respondents.controls.assignment import assign_personas
    from valuestrata.respondents.controls.spec import parse_control

    respondent = meta.get("respondent")
    if not isinstance(respondent, Mapping) or respondent.get("provider") != "control":
        return None
    return assign_personas(parse_control(str(respondent.get("name"))), dataset, int(respondent.get("seed") or 0)).personas


def prompt_text(messages: Iterable[Message]) -> str:
    """Return messages as one text, as examples show them."""
    return BETWEEN.join(message.content for message in messages)


def prompts_block(prompts: Mapping[str, Messages], by_run: Iterable[pl.Series]) -> Block:
    """Return the prompts of all runs with every paragraph stored once.

    Args:
        prompts: hash -> messages. by_run: for each run, the hashes of its responses.

    Returns:
        Document: `paragraphs` and `roles`. Columns: `part` (paragraphs of all messages, one message after the other), `parts` (their
        number in each message), `role` (of each message), `message` (messages of all prompts), `messages` (their number in each
        prompt), and `run0`, `run1`, ... (the prompt of each response, null without one).
    """
    paragraphs: dict[str, int] = {}
    roles: dict[str, int] = {}
    kinds: dict[Message, int] = {}
    parts: list[int] = []
    sizes: list[int] = []
    told: list[int] = []
    of_prompts: list[int] = []
    for messages in prompts.values():
        for message in messages:
            if message not in kinds:
                kinds[message] = len(kinds)
                cut = message.content.split(BETWEEN)
                parts += [paragraphs.setdefault(paragraph, len(paragraphs)) for paragraph in cut]
                sizes.append(len(cut))
                told.append(roles.setdefault(message.role, len(roles)))
            of_prompts.append(kinds[message])
    place = {found: at for at, found in enumerate(prompts)}
    columns = {
        "part": whole(np.array(parts)),
        "parts": whole(np.array(sizes)),
        "role": whole(np.array(told)),
        "message": whole(np.array(of_prompts)),
        "messages": whole(np.array([len(messages) for messages in prompts.values()])),
    }
    for number, hashes in enumerate(by_run):
        columns[f"run{number}"] = whole(np.array([place.get(found, -1) for found in hashes.to_list()]))
    return Block({"paragraphs": list(paragraphs), "roles": list(roles)}, columns)
