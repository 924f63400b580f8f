"""Training and validation examples of one split and fold: prompts with gold targets.

`tuning_data` never reads gold of test pairs. The national distribution is pooled from training cells, as in the baselines.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import polars as pl

from valuestrata.dataset.tables import Dataset, base_of, half_of
from valuestrata.dataset.training_source import source_of
from valuestrata.errors import InputDataError, Option, UsageError, did_you_mean
from valuestrata.prompts import Prompt, load_template, orders_from, paraphrases_from, render_prompts
from valuestrata.prompts.persona import Persona
from valuestrata.prompts.template import Template
from valuestrata.respondents.baselines.gold import training_gold
from valuestrata.respondents.baselines.pooling import pooled
from valuestrata.respondents.controls.assignment import assign_personas
from valuestrata.respondents.controls.spec import ControlSpec
from valuestrata.tuning.data.weights import balanced_weights, departure, shift_weights
from valuestrata.tuning.recipe import Recipe

# Controls of `ask` that are meaningful in training. A wrong country would train on a country without data.
CONTROLS = ("no-persona", "country-only", "shuffled-persona")


@dataclass(frozen=True, slots=True)
class Example:
    """A prompt and its gold answers. Values of options are in scale order, whatever order the prompt shows.

    Attributes:
        prompt: the prompt, for `logprob`; its `subgroup` is that of the gold, also under a control.
        codes: scale codes.
        shares: gold shares. p_mode: probability of each code to be the mode in a redraw.
        mode: position of the mode on the scale.
        ordinal: whether the options are ordered (nominal items: False).
        weight: weight in the loss, 1 on average.
        group: index of its group in `TuningData.groups`.
        rejected: position of the code that `dpo` rejects; -1 if no code is less likely than the mode.
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
    """Training and validation examples, and what is held out.

    Attributes:
        train, validation: the examples.
        groups: names of the groups.
        held_out: subgroups and items without a training or validation pair, the number of test pairs and the fold's label.
        control: the control and its settings, or None.
        first: what prompts with a common beginning share: `persona` or `item`.
        source: the record of the training data (see `dataset.training_source`).
    """

    train: tuple[Example, ...]
    validation: tuple[Example, ...]
    groups: tuple[str, ...]
    held_out: Mapping[str, Any]
    control: Mapping[str, Any] | None
    first: str
    source: Mapping[str, Any]


def tuning_data(
    dataset: Dataset, recipe: Recipe, *, split: str = "paper", fold: int | None = None, control: str | None = None
) -> TuningData:
    """Collect the examples of a split.

    Args:
        dataset: the data set. recipe: template, orders, weights and validation pairs.
        split: split scheme; `+disjoint` uses the gold of half A, `+crossfit` that of the fold's half.
        fold: its fold, needed if there are several.
        control: `no-persona`, `country-only` or `shuffled-persona` (personas permuted by the recipe's data_seed), or None.

    Raises:
        UsageError: an unknown split, fold, control, template or order, or a missing fold.
        InputDataError: the survey does not allow the split, or the split has no training pairs.
    """
    if control is not None and control not in CONTROLS:
        raise UsageError(f"A model cannot be tuned under the control {control!r}.{did_you_mean(control, CONTROLS)}")
    pairs = _pairs_of(dataset, split, "train", fold)
    if pairs.is_empty():
        only_tested = base_of(split) == "transfer"
        advice = " Tune on another data set and ask the tuned model about this one." if only_tested else ""
        where = f"{dataset.path or 'The data set'}: there are no training pairs in split {split!r}"
        raise InputDataError(f"{where}{'' if fold is None else f', fold {fold}'}.{advice}")
    template = load_template(recipe.template)
    assignment = None if control is None else assign_personas(ControlSpec(control, None, ""), dataset, recipe.data_seed)
    personas = None if assignment is None else assignment.personas
    train = _examples(dataset, recipe, template, half_of(split, "train", fold), pairs, personas)
    if not train:
        raise InputDataError(f"{dataset.path or 'The data set'}: no training pair of split {split!r} has answers.")
    validation = _pairs_of(dataset, split, "validation", fold)
    count = min(recipe.validation.samples, validation.height)
    drawn = np.sort(np.random.default_rng([recipe.data_seed, 1]).choice(validation.height, size=count, replace=False))
    groups, group_of = _groups(dataset, recipe, train)
    weights = _weights(dataset, recipe, split, fold, train, [groups[at] for at in group_of])
    trained = pl.DataFrame({name: [getattr(example.prompt, name) for example in train] for name in ("item", "subgroup")}).unique()
    return TuningData(
        train=tuple(replace(example, weight=weight, group=at) for example, weight, at in zip(train, weights, group_of, strict=True)),
        validation=tuple(_examples(dataset, recipe, template, half_of(split, "validation", fold), validation[drawn.tolist()], personas)),
        groups=groups,
        held_out=_held_out(dataset, split, fold),
        control=None if assignment is None else {"control": control, **assignment.identity},
        first=template.first,
        source=source_of(dataset, trained, split=split, fold=fold, halves=(half_of(split, "train", fold),), method=f"tune:{recipe.name}"),
    )


def examples_of_part(dataset: Dataset, recipe: Recipe, part: str, *, split: str = "paper", fold: int | None = None) -> list[Example]:
    """Return all examples of one part of a split, with weight 1.

    Unlike `tuning_data` it also returns test examples: for data sets that are published with them, never for training.

    Args:
        dataset: the data set. recipe: template and orders. part: `train`, `validation` or `test`. split, fold: as for `tuning_data`.

    Raises:
        UsageError, InputDataError: as for `tuning_data`; a part may be empty.
    """
    pairs = _pairs_of(dataset, split, part, fold)
    return _examples(dataset, recipe, load_template(recipe.template), half_of(split, part, fold), pairs, None)


def _pairs_of(dataset: Dataset, split: str, part: str, fold: int | None) -> pl.DataFrame:
    pairs = dataset.part(split, part, fold)
    if (folds := pairs["fold"].n_unique()) > 1:
        why = f"Split {split!r} has {folds} folds, and training pairs of one are test pairs of another"
        raise UsageError(f"{why}; choose one with ", Option("fold"), ".")
    return pairs


def _examples(
    dataset: Dataset, recipe: Recipe, template: Template, half: str, pairs: pl.DataFrame, personas: Mapping[str, Persona] | None
) -> list[Example]:
    """Return the examples of pairs with gold of a half (`all`, `A` or `B`), with weight 1 and group 0."""
    # Leave out cells whose answers all have weight 0.
    answered = dataset.gold.filter((pl.col("half") == half) & (pl.col("counts_weighted").list.sum() > 0))
    answered = answered.join(pairs.select("pair_id"), on="pair_id", how="semi")
    gold = {row["pair_id"]: row for row in answered.select("pair_id", "shares", "p_mode", "mode").iter_rows(named=True)}
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
    examples: list[Example] = []
    for prompt in prompts:
        codes, of_pair = dataset.codes_of[prompt.item], gold[prompt.pair_id]
        mode, shares = codes.index(of_pair["mode"]), tuple(of_pair["shares"])
        rejected = _rejected(prompt.pair_id, shares, mode, recipe)
        ordinal = level_of[prompt.item] != "nominal"
        examples.append(Example(prompt, codes, shares, tuple(of_pair["p_mode"]), mode, ordinal, rejected=rejected))
    return examples


def _rejected(pair_id: str, shares: Sequence[float], mode: int, recipe: Recipe) -> int:
    """Return the position of a code less likely than the mode; -1 if there is none."""
    below = sorted((place for place, share in enumerate(shares) if share < shares[mode]), key=lambda place: (-shares[place], place))
    if not below:
        return -1
    digest = hashlib.sha512(f"{recipe.data_seed}\nrejected\n{pair_id}".encode()).digest()
    return below[{"second": 0, "least": -1, "drawn": int.from_bytes(digest) % len(below)}[recipe.preference.rejected]]


def _groups(dataset: Dataset, recipe: Recipe, examples: Sequence[Example]) -> tuple[tuple[str, ...], list[int]]:
    """Return the names of the groups, and the number of each example's group."""
    names = [example.prompt.subgroup for example in examples]
    if recipe.weights.group_by == "stratum":
        stratum_of = dict(dataset.subgroups.select("subgroup", "stratum").iter_rows())
        names = [stratum_of[name] for name in names]
    groups = tuple(dict.fromkeys(names))
    number = {name: at for at, name in enumerate(groups)}
    return groups, [number[name] for name in names]


def _weights(
    dataset: Dataset, recipe: Recipe, split: str, fold: int | None, examples: Sequence[Example], groups: Sequence[str]
) -> list[float]:
    """Return the weights of the examples, with mean 1; `groups` has the group of each."""
    weights = np.ones(len(examples))
    if recipe.weights.by == "shift":
        gold = training_gold(dataset, split=split, fold=fold)
        nation = {item: pooled(gold, item) for item in {example.prompt.item for example in examples}}
        departures = [
            departure(example.shares, nation[item] / nation[item].sum(), gold.n_eff[item, example.prompt.subgroup])
            for example in examples
            for item in [example.prompt.item]
        ]
        weights = shift_weights(departures, recipe.weights.strength)
    if recipe.weights.groups != "none":
        weights = weights * balanced_weights(groups)
        weights = weights / weights.mean()
    return weights.tolist()


def _held_out(dataset: Dataset, split: str, fold: int | None) -> dict[str, Any]:
    test = dataset.part(split, "test", fold)
    seen = pl.concat([dataset.part(split, part, fold) for part in ("train", "validation")])
    labels = dataset.fold_labels(split) if dataset.meta.get("splits") else []
    return {
        "fold_label": labels[fold or 0] if labels else None,
        "test_pairs": test.height,
        "subgroups": sorted(set(test["subgroup"]) - set(seen["subgroup"])),
        "items": sorted(set(test["item"]) - set(seen["item"])),
    }
