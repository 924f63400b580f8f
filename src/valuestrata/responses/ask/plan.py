"""Plans: which pairs to ask, with which templates, option orders and samples."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import polars as pl

from valuestrata.dataset.tables import Dataset
from valuestrata.errors import InputDataError, Option, UsageError, did_you_mean
from valuestrata.prompts import load_template, orders_from, paraphrases_from, questions_of, render_prompts
from valuestrata.prompts.context import CONTEXT
from valuestrata.prompts.orders import seed_of
from valuestrata.prompts.persona import Persona
from valuestrata.prompts.prompt import OPEN, Elicitation, Prompt
from valuestrata.prompts.template import Template
from valuestrata.respondents.base import NamesTrainingData, Respondent, SupportsElicitationCheck, SupportsVersions
from valuestrata.respondents.controls.control import ReplacesPersonas, ReusesAnswers
from valuestrata.responses.context.gold_context import GoldContext, plan_context, with_context
from valuestrata.responses.run.folder import EXAMPLES, new_meta

PARTS = ("train", "validation", "test", "all")


@dataclass(frozen=True)
class Asking:
    """Plan of the prompts to ask; made by `plan_asking`.

    Attributes:
        pairs: pair_id, item, subgroup; each pair once.
        template: the persona template. elicitation: the readout.
        orders: names of option orders, as responses record them. paraphrases: numbers of the template's paraphrases.
        samples: answers per prompt.
        split, part, fold, items, strata: source of the pairs. chosen: further selection criteria, as in `run.json`.
        context: chooses the training gold that prompts show; None for prompts without.
    """

    pairs: pl.DataFrame
    template: Template
    elicitation: Elicitation
    orders: tuple[str, ...]
    paraphrases: tuple[int, ...]
    samples: int
    split: str
    part: str
    fold: int | None
    items: tuple[str, ...] = ()
    strata: tuple[str, ...] = ()
    chosen: Mapping[str, Any] = field(default_factory=dict[str, Any])
    context: GoldContext | None = None

    @property
    def planned(self) -> int:
        """Number of prompts."""
        return self.pairs.height * len(self.orders) * len(self.paraphrases) * self.samples

    @property
    def document(self) -> dict[str, Any]:
        """The plan as `run.json` holds it."""
        return {
            "split": self.split,
            "part": self.part,
            "fold": self.fold,
            "items": list(self.items),
            "strata": list(self.strata),
            "orders": list(self.orders),
            "paraphrases": list(self.paraphrases),
            "seeds": [seed for seed in map(seed_of, self.orders) if seed is not None],
            "samples": self.samples,
            **({} if self.context is None else {"context": f"gold:{self.context.number}"}),
            **self.chosen,
        }

    def prompts(self, dataset: Dataset, respondent: Respondent) -> Iterator[Prompt]:
        """Render the prompts in prefix order; a control replaces the personas."""
        return self.prompts_with(dataset, personas_asked(dataset, respondent))

    def prompts_with(self, dataset: Dataset, personas: Mapping[str, Persona] | None) -> Iterator[Prompt]:
        """Render the prompts in prefix order with other personas; None for the subgroups' own."""
        return render_prompts(
            dataset,
            self.pairs,
            template=self.template,
            elicitation=self.elicitation,
            orders=self.orders,
            paraphrases=self.paraphrases,
            samples=self.samples,
            personas=personas,
            context=None if self.context is None else self.context.for_personas(personas),
        )

    def of_pairs(self, pairs: pl.DataFrame) -> Asking:
        """Return the same plan for other pairs."""
        return replace(self, pairs=pairs.select("pair_id", "item", "subgroup"))


def personas_asked(dataset: Dataset, respondent: Respondent) -> Mapping[str, Persona] | None:
    """Return the personas of a control; None for other respondents, which are asked with the subgroups' own."""
    return respondent.personas_for(dataset) if isinstance(respondent, ReplacesPersonas) else None


def example_prompts(dataset: Dataset, respondent: Respondent, asking: Asking) -> list[dict[str, Any]]:
    """Return the first prompt of each paraphrase of the template, as `run.json` keeps it."""
    one = replace(asking, orders=asking.orders[:1], samples=1)
    kept = (replace(one, paraphrases=(number,)).prompts(dataset, respondent) for number in asking.paraphrases)
    return [prompt_document(next(prompts)) for prompts in kept]


def prompt_document(prompt: Prompt) -> dict[str, Any]:
    """Return a prompt for JSON: which it is, and what the model sees."""
    which = ("pair_id", "elicitation", "template", "template_version", "paraphrase", "order")
    return {
        **{name: getattr(prompt, name) for name in which},
        "messages": [{"role": message.role, "content": message.content} for message in prompt.messages],
        # Other elicitations do not begin the model's turn.
        **({"prefill": prompt.prefill} if prompt.prefill and prompt.elicitation in ("logprob", "first-token") else {}),
    }


def plan_asking(
    dataset: Dataset,
    *,
    split: str = "paper",
    part: str = "test",
    fold: int | None = None,
    items: Sequence[str] = (),
    strata: Sequence[str] = (),
    template: str | Path = "default",
    elicitation: Elicitation = "logprob",
    orders: str = "scale",
    paraphrases: str = "0",
    samples: int = 1,
    context: str | None = None,
) -> Asking:
    """Return the plan of asking the pairs of a split.

    Args:
        dataset: the data set whose pairs are asked.
        split: split scheme, such as `paper` or `unseen-item`.
        part: `train`, `validation`, `test` or `all`.
        fold: only this fold of the split; None for all folds, each pair once.
        items: only these, if given.
        strata: only these, if given.
        template: name or file of the persona template.
        elicitation: how answers are obtained: `logprob`, `first-token`, `text`, `stated-distribution` or `reasoned`.
        orders: option orders (see `orders_from`).
        paraphrases: wordings of the template (see `paraphrases_from`).
        samples: answers per prompt.
        context: `gold:K` shows K answers of the same group to similar questions, from the training gold of the split (see
            `plan_context`); None or `none` shows none.

    Raises:
        UsageError: an unknown name or an invalid number; a context whose fold must be given.
        InputDataError: no pairs to ask, or an invalid template file; a context in a split without training pairs.
    """
    recipe = load_template(template)
    if elicitation == OPEN and orders.strip() != "scale":
        raise UsageError(Option("orders", orders), ": open questions show no options; leave it out.")
    pairs = select_pairs(dataset, split, part, fold, items, strata)
    shown = plan_context(dataset, context, pairs, split=split, fold=fold)
    return Asking(
        pairs=pairs,
        template=recipe if shown is None else recipe.showing_context(),
        elicitation=elicitation,
        orders=orders_from(orders),
        paraphrases=paraphrases_from(paraphrases, recipe),
        samples=samples,
        split=split,
        part=part,
        fold=fold,
        items=tuple(items),
        strata=tuple(strata),
        context=shown,
    )


def select_pairs(
    dataset: Dataset, split: str, part: str, fold: int | None = None, items: Sequence[str] = (), strata: Sequence[str] = ()
) -> pl.DataFrame:
    """Return the pairs to ask, each once: pair_id, item, subgroup.

    Raises:
        UsageError: an unknown part, fold, item or stratum.
        InputDataError: the data set has no such split, or no pairs remain.
    """
    if part not in PARTS:
        raise UsageError(f"There is no part {part!r} of a split.{did_you_mean(part, PARTS)}")
    for what, given, known in (("item", items, list(dataset.codes_of)), ("stratum", strata, dataset.strata)):
        for name in given:
            if name not in known:
                raise UsageError(f"{dataset.path or 'The data set'} has no {what} {name!r}.{did_you_mean(name, known)}")
    pairs = dataset.part(split, part, fold).unique("pair_id", maintain_order=True)
    if items:
        pairs = pairs.filter(pl.col("item").is_in(list(items)))
    if strata:
        wanted = dataset.subgroups.filter(pl.col("stratum").is_in(list(strata))).select("subgroup")
        pairs = pairs.join(wanted, on="subgroup", how="semi")
    if pairs.is_empty():
        chosen = ", ".join([*items, *strata])
        raise InputDataError(
            f"{dataset.path or 'the data set'}: part {part!r} of split {split!r}"
            + ("" if fold is None else f", fold {fold},")
            + " has no pairs to ask"
            + (f" of {chosen}." if chosen else ".")
        )
    return pairs.select("pair_id", "item", "subgroup")


def labels_of(dataset: Dataset) -> dict[str, Mapping[int, str]]:
    """Return item -> (scale code -> label, in scale order)."""
    return {item: question.label_of for item, question in questions_of(dataset).items()}


def asked_meta(dataset: Dataset, respondent: Respondent, name: str, asking: Asking) -> dict[str, Any]:
    """Return the document of `run.json` of a run called `name`.

    Raises:
        UsageError: the respondent model does not support this elicitation, a control does not support shards, or a baseline is to be
            shown a context.
    """
    if isinstance(respondent, SupportsElicitationCheck):
        respondent.check(asking.elicitation)
    if isinstance(respondent, ReusesAnswers) and "shard" in asking.document:
        raise UsageError(
            f"MODEL {respondent.name!r} asks each question once and copies its answer to all subgroups; every shard would ask it "
            "again, and answers would differ. Ask it without ",
            Option("shard"),
            ": it needs few calls.",
        )
    answering: Mapping[str, Any] = {"name": respondent.name, **respondent.identity()}
    if asking.context is not None:
        answering = with_context(answering, asking.context)
    meta = new_meta(
        dataset,
        name,
        "asked",
        respondent=_as_json(answering),
        template=asking.template.name,
        template_version=asking.template.version_of(asking.elicitation),
        elicitation=asking.elicitation,
        **({"dont_know": True} if asking.template.dont_know else {}),
        plan=asking.document,
        planned=asking.planned,
    )
    if isinstance(respondent, SupportsVersions):
        meta["versions"] |= respondent.versions()
    if isinstance(respondent, NamesTrainingData) and (source := respondent.training_data()) is not None:
        meta["training_data"] = dict(source)
    if meta["respondent"].get("provider") != "baseline":
        meta[EXAMPLES] = example_prompts(dataset, respondent, asking)
    if asking.context is not None:
        meta[CONTEXT] = asking.context.for_personas(personas_asked(dataset, respondent)).document(asking.pairs)
    return meta


def _as_json(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return the document as read back from `run.json`: tuples become lists, so the two compare equal."""
    return json.loads(json.dumps(document, ensure_ascii=False))
