"""The examples a model learns from: training gold of one split and fold, and nothing else, as prompts with targets.

Gold of test pairs is never read here, not even to describe the nation: its distribution of answers is pooled from the
training cells, as the baselines pool it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import polars as pl

from valuestrata.dataset.tables import DISJOINT, Dataset, half_of
from valuestrata.errors import InputDataError, UsageError, did_you_mean
from valuestrata.prompts import Prompt, load_template, orders_from, paraphrases_from, render_prompts
from valuestrata.prompts.persona import Persona
from valuestrata.prompts.template import Template
from valuestrata.respondents.baselines.gold import training_gold
from valuestrata.respondents.baselines.pooling import pooled
from valuestrata.respondents.controls.assignment import assign_personas
from valuestrata.respondents.controls.spec import ControlSpec
from valuestrata.tuning.data.weights import balanced_weights, departure, shift_weights
from valuestrata.tuning.recipe import Recipe

# The controls of `ask` that make sense in training. A wrong country would teach about a country that was never asked.
CONTROLS = ("no-persona", "country-only", "shuffled-persona")


@dataclass(frozen=True, slots=True)
class Example:
    """A prompt and what its answer should be. Everything about options stands in scale order, whatever the prompt shows.

    Attributes:
        prompt: the prompt, of the readout `logprob`; its `subgroup` is that of the gold, also under a control.
        codes: scale codes.
        shares: gold shares. p_mode: chance of each code to be the mode in a redraw.
        mode: place of the mode on the scale.
        ordinal: whether places on the scale mean anything (nominal items: False).
        weight: what the example counts; 1 on average.
        group: number of its group, as in `TuningData.groups`.
        rejected: place of the code that loses to the mode under `dpo`; -1 where every other code is as likely.
    """

    prompt: Prompt
    codes: tuple[int, ...]
    shares: tuple[float, ...]
    p_mode: tuple[float, ...]
    mode: int
    ordinal: bool
    weight: float = 1.0
    group: int = 0
    rejected: int = -1


@dataclass(frozen=True)
class TuningData:
    """What a model learns from, what it is looked at with, and what was held out.

    Attributes:
        train, validation: the examples.
        groups: names of the groups that `Example.group` numbers.
        held_out: subgroups and items of the split that no training or validation pair has, and the fold's own label.
        control: what was done to the personas, or None.
        first: what prompts with a common beginning share: `persona` or `item`.
    """

    train: tuple[Example, ...]
    validation: tuple[Example, ...]
    groups: tuple[str, ...]
    held_out: Mapping[str, Any]
    control: Mapping[str, Any] | None
    first: str


def tuning_data(
    dataset: Dataset, recipe: Recipe, *, split: str = "paper", fold: int | None = None, control: str | None = None
) -> TuningData:
    """Collect the examples of a split.

    Args:
        dataset: the data set. recipe: which template, orders, weights and validation pairs.
        split: split scheme, with `+disjoint` gold of half A. fold: its fold; needed where there are several.
        control: `no-persona`, `country-only` or `shuffled-persona` (personas permuted by the recipe's data_seed), or None.

    Raises:
        UsageError: a split, fold, control, template or order that does not exist, or no fold where there are several.
        InputDataError: the survey does not admit the split, or nothing trains in it.
    """
    if control is not None and control not in CONTROLS:
        raise UsageError(f"A model cannot be tuned under the control {control!r}.{did_you_mean(control, CONTROLS)}")
    pairs = _pairs_of(dataset, split, "train", fold)
    template = load_template(recipe.template)
    assignment = None if control is None else assign_personas(ControlSpec(control, None, ""), dataset, recipe.data_seed)
    personas = None if assignment is None else assignment.personas
    train = _examples(dataset, recipe, template, split, "train", pairs, personas)
    if not train:
        raise InputDataError(f"{dataset.path or 'The data set'}: no training pair of split {split!r} has answers.")
    weighted, groups = _weighted(dataset, recipe, split, fold, train)
    held_back = _drawn(_pairs_of(dataset, split, "validation", fold, may_be_empty=True), recipe)
    return TuningData(
        train=tuple(weighted),
        validation=tuple(_examples(dataset, recipe, template, split, "validation", held_back, personas)),
        groups=groups,
        held_out=_held_out(dataset, split, fold),
        control=None if assignment is None else {"control": control, **assignment.identity},
        first=template.first,
    )


def _pairs_of(dataset: Dataset, split: str, part: str, fold: int | None, *, may_be_empty: bool = False) -> pl.DataFrame:
    pairs = dataset.part(split, part, fold)
    if (folds := pairs["fold"].n_unique()) > 1:
        raise UsageError(f"Split {split!r} has {folds} folds, and what trains in one is tested in another: say which fold.")
    if pairs.is_empty() and not may_be_empty:
        where = dataset.path or "The data set"
        if split.removesuffix(DISJOINT) == "transfer":
            raise InputDataError(
                f"{where}: every pair of the split {split!r} is tested, and none trains. Tune on another data set, and ask the tuned "
                "model about this one."
            )
        raise InputDataError(f"{where}: nothing trains in split {split!r}" + ("." if fold is None else f", fold {fold}."))
    return pairs


def _drawn(pairs: pl.DataFrame, recipe: Recipe) -> pl.DataFrame:
    """Return as many validation pairs as the recipe looks at, drawn by its data_seed."""
    count = min(recipe.validation.samples, pairs.height)
    chosen = np.random.default_rng([recipe.data_seed, 1]).choice(pairs.height, size=count, replace=False)
    return pairs[np.sort(chosen).tolist()]


def _examples(
    dataset: Dataset,
    recipe: Recipe,
    template: Template,
    split: str,
    part: str,
    pairs: pl.DataFrame,
    personas: Mapping[str, Persona] | None,
) -> list[Example]:
    half = half_of(split, part)
    # Answers that all weigh nothing say nothing.
    answered = dataset.gold.filter((pl.col("half") == half) & (pl.col("counts_weighted").list.sum() > 0))
    gold = {
        pair_id: (tuple(shares), tuple(p_mode), mode)
        for pair_id, shares, p_mode, mode in answered.join(pairs.select("pair_id"), on="pair_id", how="semi")
        .select("pair_id", "shares", "p_mode", "mode")
        .iter_rows()
    }
    prompts = render_prompts(
        dataset,
        pairs.filter(pl.col("pair_id").is_in(list(gold))),
        template=template,
        elicitation="logprob",
        orders=orders_from(recipe.orders),
        paraphrases=paraphrases_from(recipe.paraphrases, template),
        personas=personas,
    )
    level_of = dict(dataset.items.select("item", "level").iter_rows())
    return [_example(prompt, dataset.codes_of[prompt.item], gold[prompt.pair_id], level_of[prompt.item], recipe) for prompt in prompts]


def _example(
    prompt: Prompt, codes: tuple[int, ...], gold: tuple[tuple[float, ...], tuple[float, ...], int], level: str, recipe: Recipe
) -> Example:
    shares, p_mode, mode = gold
    place = codes.index(mode)
    return Example(
        prompt=prompt,
        codes=codes,
        shares=shares,
        p_mode=p_mode,
        mode=place,
        ordinal=level != "nominal",
        rejected=_rejected(prompt.pair_id, shares, place, recipe),
    )


def _rejected(pair_id: str, shares: Sequence[float], mode: int, recipe: Recipe) -> int:
    """Return the place of a code less likely than the mode; -1 where there is none."""
    below = sorted((place for place, share in enumerate(shares) if share < shares[mode]), key=lambda place: (-shares[place], place))
    if not below:
        return -1
    if recipe.preference.rejected == "second":
        return below[0]
    if recipe.preference.rejected == "least":
        return below[-1]
    digest = hashlib.sha512(f"{recipe.data_seed}\nrejected\n{pair_id}".encode()).digest()
    return below[int.from_bytes(digest) % len(below)]


def _weighted(
    dataset: Dataset, recipe: Recipe, split: str, fold: int | None, examples: Sequence[Example]
) -> tuple[list[Example], tuple[str, ...]]:
    """Return the examples with their weights and groups, and the names of the groups."""
    how = recipe.weights
    weights = np.ones(len(examples))
    if how.by == "shift":
        weights = shift_weights(_departures(dataset, split, fold, examples), how.strength)
    names = [example.prompt.subgroup for example in examples]
    if how.group_by == "stratum":
        stratum_of = dict(dataset.subgroups.select("subgroup", "stratum").iter_rows())
        names = [stratum_of[name] for name in names]
    if how.groups != "none":
        weights = weights * balanced_weights(names)
        weights = weights / weights.mean()
    groups = tuple(dict.fromkeys(names))
    number = {name: at for at, name in enumerate(groups)}
    done = [
        replace(example, weight=float(weight), group=number[name]) for example, weight, name in zip(examples, weights, names, strict=True)
    ]
    return done, groups


def _departures(dataset: Dataset, split: str, fold: int | None, examples: Sequence[Example]) -> list[float]:
    gold = training_gold(dataset, split=split, fold=fold)
    nation = {item: pooled(gold, item) for item in {example.prompt.item for example in examples}}
    return [
        departure(
            example.shares,
            nation[example.prompt.item] / nation[example.prompt.item].sum(),
            gold.n_eff[example.prompt.item, example.prompt.subgroup],
        )
        for example in examples
    ]


def _held_out(dataset: Dataset, split: str, fold: int | None) -> dict[str, Any]:
    test = dataset.part(split, "test", fold)
    seen = pl.concat([dataset.part(split, part, fold) for part in ("train", "validation")])
    unseen = {what: sorted(set(test[what]) - set(seen[what])) for what in ("item", "subgroup")}
    labels = dataset.fold_labels(split) if dataset.meta.get("splits") else []
    return {
        "fold_label": labels[fold or 0] if labels else None,
        "test_pairs": test.height,
        "subgroups": unseen["subgroup"],
        "items": unseen["item"],
    }
