"""The option `context`: prompts show training gold of the split that is asked."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

import polars as pl

from valuestrata.dataset.tables import CROSSFIT, Dataset
from valuestrata.dataset.training_source import source_of_split
from valuestrata.errors import InputDataError, Option, UsageError
from valuestrata.prompts.context import ShownAnswers
from valuestrata.prompts.persona import Persona, personas_of
from valuestrata.respondents.baselines.gold import GoldByFold
from valuestrata.responses.context.choose import AnswerChooser, ChosenAnswers, Levels, SimilarItems

_SPEC = re.compile(r"gold:([1-9][0-9]{0,2})")
Folds = tuple[int, ...]


def answers_of(spec: str | None) -> int:
    """Return the number of answers that `gold:K` shows; 0 for None and `none`.

    Raises:
        UsageError: another text.
    """
    if spec is None or spec.strip() == "none":
        return 0
    if (match := _SPEC.fullmatch(spec.strip())) is None:
        raise UsageError(Option("context", spec), ": expected gold:K, such as gold:8 for eight answers in each prompt (1 to 999), or none.")
    return int(match[1])


class GoldContext:
    """Chooses the survey answers that the prompts of a plan show; `plan_context` makes one.

    The answers of a pair are training gold of the fold that tests the pair, or of every fold that does. With one fold only, or with
    `fold`, other pairs are shown the training gold of that fold.
    """

    def __init__(self, dataset: Dataset, number: int, *, split: str, fold: int | None) -> None:
        self.number = number
        self._gold = GoldByFold(dataset, split)
        self._similar = SimilarItems.of(dataset)
        tests = dataset.part(split, "test", fold).select("item", "subgroup", "fold").sort("fold")
        self._folds = dataset.part(split, "all", fold)["fold"].unique().sort().to_list()
        self._tested: dict[tuple[str, str], Folds] = {}
        self._tested_items: dict[int, set[str]] = {}
        for item, subgroup, one in tests.iter_rows():
            self._tested[item, subgroup] = (*self._tested.get((item, subgroup), ()), one)
            self._tested_items.setdefault(one, set()).add(item)
        self._choosers: dict[Folds, AnswerChooser] = {}
        self._levels = {subgroup: _levels_of(persona) for subgroup, persona in personas_of(dataset).items()}
        self._personas = {_levels_of(persona): persona for persona in personas_of(dataset).values()}
        source = source_of_split(dataset, split, fold, method=f"context:gold:{number}")
        if source is None:
            raise InputDataError(
                f"{dataset.path or 'The data set'}: split {split!r} has no training pairs, so prompts cannot show their gold. Choose "
                "another one with ",
                Option("split"),
                ", or leave out ",
                Option("context"),
                ".",
            )
        self.trained_on = source

    @property
    def identity(self) -> dict[str, Any]:
        """The part of a run's identity that describes the shown answers."""
        return {"gold": self.number, "embedding": self._similar.method}

    def check(self, pairs: pl.DataFrame, split: str) -> None:
        """Refuse pairs that no fold tests if there are several folds: each has other training gold.

        Raises:
            UsageError: names the number of pairs and the option to use.
        """
        if len(self._folds) == 1:
            return
        lost = sum(pair not in self._tested for pair in pairs.select("item", "subgroup").iter_rows())
        if lost:
            raise UsageError(
                f"{lost:,} of {pairs.height:,} pairs are test pairs of no fold of split {split!r}, and each fold would show other training "
                "gold with them. Ask one fold at a time, with ",
                Option("fold"),
                ".",
            )

    def choose(self, item: str, subgroup: str, levels: Levels) -> ChosenAnswers | None:
        """Return the answers of the group with `levels` that the prompt of a pair shows; None if there are none."""
        return self._chooser(self._tested.get((item, subgroup), ()) if len(self._folds) > 1 else tuple(self._folds)).choose(item, levels)

    def _chooser(self, folds: Folds) -> AnswerChooser:
        if folds not in self._choosers:
            golds = [self._gold.of(fold) for fold in folds]
            # Only pairs that are training pairs in every fold that tests the pair.
            held = {pair for gold in golds[1:] for pair in golds[0].counts if pair not in gold.counts}
            tested = frozenset[str]().union(*(self._tested_items.get(fold, ()) for fold in folds))
            gold = golds[0].without(held) if held else golds[0]
            self._choosers[folds] = AnswerChooser(gold, self._similar, self.number, tested)
        return self._choosers[folds]

    def for_personas(self, personas: Mapping[str, Persona] | None) -> PersonaContext:
        """Return the answers to show with the personas of a control (subgroup -> persona), or with the subgroups' own."""
        return PersonaContext(self, personas, self._levels, self._personas)


@dataclass(frozen=True)
class PersonaContext:
    """The answers shown to each persona: those of the group that the persona describes, whichever subgroup the pair belongs to."""

    context: GoldContext
    personas: Mapping[str, Persona] | None
    levels: Mapping[str, Levels]
    own: Mapping[Levels, Persona]

    def shown(self, item: str, subgroup: str) -> ShownAnswers | None:
        """Return the answers to show in the prompt of a pair, None for none."""
        persona = None if self.personas is None else self.personas[subgroup]
        levels = self.levels[subgroup] if persona is None else _levels_of(persona)
        if (chosen := self.context.choose(item, subgroup, levels)) is None:
            return None
        described = self.own[chosen.group] if chosen.group in self.own else Persona()
        place = described.place if persona is None else persona.place
        return ShownAnswers(Persona(described.traits, place), chosen.answers)

    def document(self, pairs: pl.DataFrame) -> dict[str, Any]:
        """Return what the prompts of some pairs show, for `run.json`.

        Returns:
            `answers`: number of shown answers -> pairs. `groups`: `own`, `parent`, `population` or `none` -> pairs.
            `parents`: subgroup -> levels of the parents that answered for it.
        """
        answers, groups = Counter[int](), Counter[str]()
        parents: dict[str, set[str]] = {}
        for item, subgroup in pairs.select("item", "subgroup").iter_rows():
            persona = None if self.personas is None else self.personas[subgroup]
            found = self.context.choose(item, subgroup, self.levels[subgroup] if persona is None else _levels_of(persona))
            answers[0 if found is None else len(found.answers)] += 1
            groups["none" if found is None else found.relation] += 1
            if found is not None and found.relation == "parent":
                parents.setdefault(subgroup, set()).add(", ".join(f"{name}={label}" for name, label in sorted(found.group)))
        return {
            "answers": {str(number): answers[number] for number in sorted(answers)},
            "groups": dict(sorted(groups.items())),
            "parents": {subgroup: sorted(names) for subgroup, names in parents.items()},
        }


def plan_context(dataset: Dataset, spec: str | None, pairs: pl.DataFrame, *, split: str, fold: int | None) -> GoldContext | None:
    """Return what chooses the answers shown with some pairs; None without a context.

    Args:
        spec: `gold:K` or None. pairs: the pairs to ask: pair_id, item, subgroup. split, fold: where they are from.

    Raises:
        UsageError: not a number of answers; or folds differ in what they would show, and none is given.
        InputDataError: the split has no training pairs.
    """
    if not (number := answers_of(spec)):
        return None
    if split.endswith(CROSSFIT) and fold is None:
        raise UsageError(
            f"Split {split!r}: prompts show the answers of one half of the respondents. Ask one fold at a time, with ",
            Option("fold"),
            " (even folds show half A, odd ones half B).",
        )
    context = GoldContext(dataset, number, split=split, fold=fold)
    context.check(pairs, split)
    return context


def context_of_plan(dataset: Dataset, plan: Mapping[str, Any], personas: Mapping[str, Persona] | None = None) -> PersonaContext | None:
    """Return the answers that a run's prompts showed, by the plan in its `run.json`; None for a run without a context.

    Args:
        dataset: the data set. plan: of the run. personas: of a control (subgroup -> persona); None for the subgroups' own.
    """
    none = dataset.splits.clear()
    found = plan_context(dataset, plan.get("context"), none, split=str(plan.get("split")), fold=plan.get("fold"))
    return None if found is None else found.for_personas(personas)


def with_context(respondent: Mapping[str, Any], context: GoldContext) -> dict[str, Any]:
    """Return the identity of a respondent whose prompts show survey answers: what is shown, and the record of the gold.

    Of a control, the model inside has them, so the control belongs to the model that was asked with the same context.

    Raises:
        UsageError: the respondent is a baseline, which reads no prompts.
    """
    if respondent.get("provider") == "baseline":
        raise UsageError(
            f"MODEL {respondent['name']!r} reads no prompts, so it cannot be shown answers. Leave out ", Option("context"), "."
        )
    if isinstance(inside := respondent.get("of"), Mapping):
        return {**respondent, "of": with_context(cast("Mapping[str, Any]", inside), context)}
    return {**respondent, "context": context.identity, "trained_on": context.trained_on}


def _levels_of(persona: Persona) -> Levels:
    return frozenset((trait.attribute, trait.label) for trait in persona.traits)
