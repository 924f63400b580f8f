"""Asking open questions in persona: the ordinary asking loop with the elicitation `open`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from valuestrata.dataset.tables import Dataset
from valuestrata.errors import Option, OptionText
from valuestrata.openended.questions import chosen_items, subsampled, with_open_questions
from valuestrata.prompts.prompt import OPEN
from valuestrata.respondents.base import Respondent
from valuestrata.responses.ask.loop import AskResult, ask_planned
from valuestrata.responses.ask.plan import Asking, plan_asking

_ITEMS_NAMED = 5


@dataclass(frozen=True)
class OpenAsking:
    """A plan of open questions.

    Attributes:
        dataset: the data set, with an open question for every item. asking: the plan, as `ask_planned` takes it.
        drafted: items whose open question was drafted by rule.
    """

    dataset: Dataset
    asking: Asking
    drafted: tuple[str, ...]

    @property
    def notes(self) -> list[OptionText]:
        """Messages for the user before the first call."""
        if not self.drafted:
            return []
        more = ", ..." if len(self.drafted) > _ITEMS_NAMED else ""
        return [
            OptionText(
                f"{len(self.drafted)} items have no open question; one is drafted by rule: {', '.join(self.drafted[:_ITEMS_NAMED])}{more}. "
                "To word them yourself, set `open_question` in the file of ",
                Option("wording"),
                ".",
            )
        ]


def plan_open(
    dataset: Dataset,
    *,
    split: str = "paper",
    part: str = "test",
    fold: int | None = None,
    items: Sequence[str] = (),
    topics: Sequence[str] = (),
    most_divided: int | None = None,
    strata: Sequence[str] = (),
    pairs_per_item: int | None = None,
    seed: int = 0,
    template: str | Path = "default",
    samples: int = 1,
) -> OpenAsking:
    """Plan which open questions are asked.

    Args:
        dataset: the data set. split, part, fold, strata: pairs, as for `ask`.
        items, topics, most_divided: items, as for `chosen_items`.
        pairs_per_item, seed: a stratified subsample, as for `subsampled`; None for all pairs.
        template: name or file of a persona template with the key `open`. samples: answers to each question.

    Raises:
        UsageError: an unknown name, or a number out of range.
        InputDataError: nothing to ask, or an unusable template file.
    """
    worded, drafted = with_open_questions(dataset)
    chosen = chosen_items(dataset, items=items, topics=topics, most_divided=most_divided, strata=strata)
    selected = bool(items or topics or most_divided is not None)
    asking = plan_asking(
        worded,
        split=split,
        part=part,
        fold=fold,
        items=chosen if selected else (),
        strata=strata,
        template=template,
        elicitation=OPEN,
        samples=samples,
    )
    asking.template.check_asks(OPEN)
    pairs = asking.pairs if pairs_per_item is None else subsampled(dataset, asking.pairs, pairs_per_item, seed)
    asked = set(pairs["item"].unique())
    drafted = tuple(item for item in drafted if item in asked)
    choice: dict[str, Any] = {
        "topics": list(topics),
        "most_divided": most_divided,
        "pairs_per_item": pairs_per_item,
        "subsample_seed": None if pairs_per_item is None else seed,
        "drafted_items": list(drafted),
    }
    return OpenAsking(worded, replace(asking.of_pairs(pairs), chosen=choice), drafted)


def open_ask(
    dataset: Dataset, respondent: Respondent, out: str | Path, *, max_calls: int | None = None, max_cost: float | None = None, **which: Any
) -> AskResult:
    """Ask a model open questions in persona and store its answers in a run folder; an interrupted run is continued.

    Args:
        dataset: the data set.
        respondent: a model that writes text.
        out: folder of the run.
        max_calls: stop after this many prompts; the same call continues.
        max_cost: stop before the whole run costs more than this, in US dollars.
        which: what is asked, as for `plan_open`.

    Raises:
        UsageError: as for `plan_open` and `ask_planned`.
        InputDataError: as for `plan_open` and `ask_planned`.
        RunFailedError: as for `plan_open` and `ask_planned`.
    """
    plan = plan_open(dataset, **which)
    return ask_planned(plan.dataset, respondent, out, plan.asking, max_calls=max_calls, max_cost=max_cost)
