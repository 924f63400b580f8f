"""Open questions put to a model in persona: the ordinary asking loop, with the elicitation `open`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from valuestrata.dataset.tables import Dataset
from valuestrata.errors import Message, Option
from valuestrata.openended.questions import chosen_items, subsampled, with_open_questions
from valuestrata.prompts.prompt import OPEN
from valuestrata.respondents.base import Respondent
from valuestrata.responses.ask.loop import AskResult, ask_planned
from valuestrata.responses.ask.plan import Asking, plan_asking

_NAMED = 5


@dataclass(frozen=True)
class OpenAsking:
    """What is asked openly.

    Attributes:
        dataset: the data set, with an open question for every item.
        asking: the plan, as `ask_planned` takes it.
        drafted: items asked in words drafted by rule.
    """

    dataset: Dataset
    asking: Asking
    drafted: tuple[str, ...]

    @property
    def notes(self) -> list[Message]:
        """What the user should know before the first call."""
        if not self.drafted:
            return []
        more = ", ..." if len(self.drafted) > _NAMED else ""
        return [
            Message(
                f"{len(self.drafted)} items have no open question and are asked in one drafted by rule ({', '.join(self.drafted[:_NAMED])}"
                f"{more}); word them with `open_question` in the file of ",
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
    """Say what is asked openly.

    Args:
        dataset: what is asked about.
        split, part, fold, strata: which pairs, as for `ask`.
        items, topics, most_divided: which items, as `chosen_items` takes them.
        pairs_per_item, seed: a stratified subsample, as `subsampled` takes it; None for all pairs.
        template: name or file of the persona template, which has the key `open`.
        samples: how often each question is asked.

    Raises:
        UsageError: a name that does not exist, or a number that makes no sense.
        InputDataError: nothing to ask, or a template file that cannot be used.
    """
    worded, drafted = with_open_questions(dataset)
    chosen = chosen_items(dataset, items=items, topics=topics, most_divided=most_divided, strata=strata)
    narrowed = bool(items or topics or most_divided is not None)
    asking = plan_asking(
        worded,
        split=split,
        part=part,
        fold=fold,
        items=chosen if narrowed else (),
        strata=strata,
        template=template,
        elicitation=OPEN,
        samples=samples,
    )
    asking.template.check_asks(OPEN)
    pairs = asking.pairs if pairs_per_item is None else subsampled(dataset, asking.pairs, pairs_per_item, seed)
    asked = set(pairs["item"].unique())
    mine = tuple(item for item in drafted if item in asked)
    said: dict[str, Any] = {
        "topics": list(topics),
        "most_divided": most_divided,
        "pairs_per_item": pairs_per_item,
        "subsample_seed": None if pairs_per_item is None else seed,
        "drafted_items": list(mine),
    }
    return OpenAsking(worded, replace(asking.of_pairs(pairs), chosen=said), mine)


def open_ask(
    dataset: Dataset,
    respondent: Respondent,
    out: str | Path,
    *,
    max_calls: int | None = None,
    max_cost: float | None = None,
    **which: Any,
) -> AskResult:
    """Ask a respondent model open questions in persona and keep what it writes in a run folder.

    Args:
        dataset: what is asked about. respondent: who answers; one that writes. out: folder of the run, which goes on where it stopped.
        max_calls, max_cost: as for `ask_planned`.
        which: what is asked, as `plan_open` takes it.

    Raises:
        UsageError, InputDataError, RunFailedError: as `plan_open` and `ask_planned`.
    """
    plan = plan_open(dataset, **which)
    return ask_planned(plan.dataset, respondent, out, plan.asking, max_calls=max_calls, max_cost=max_cost)
