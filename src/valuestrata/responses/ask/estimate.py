"""Cost estimates: calls, tokens and US dollars of a plan, without asking."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from valuestrata.dataset.tables import Dataset
from valuestrata.respondents.base import CostEstimate, Prompt, Respondent, estimate_of
from valuestrata.respondents.controls.control import ReusesAnswers
from valuestrata.responses.ask.plan import Asking, asked_meta
from valuestrata.responses.run.damage import damage_of
from valuestrata.responses.run.folder import STORE
from valuestrata.responses.run.session import check_folder
from valuestrata.responses.run.store import answered_keys, read_store


@dataclass(frozen=True)
class DryRun:
    """Estimate of asking.

    Attributes:
        planned: prompts of the plan. kept: those that the run has answered. estimate: of the others.
        remark: a message about damaged lines of the run's store, or None.
    """

    planned: int
    kept: int
    estimate: CostEstimate
    remark: str | None = None


def estimate_run(dataset: Dataset, respondent: Respondent, out: str | Path, asking: Asking) -> DryRun:
    """Estimate `ask_planned`, in a run that may have answers already. Nothing is asked or written.

    Args:
        dataset: the data set.
        respondent: the model, from `make_respondent`.
        out: folder of the run.
        asking: what would be asked, from `plan_asking`.

    Raises:
        InputDataError: the folder is not a run, or is a run of another identity.
    """
    folder = Path(out)
    meta = asked_meta(dataset, respondent, folder.resolve().name, asking)
    return estimate_prompts(respondent, folder, meta, lambda: asking.prompts(dataset, respondent), asking.planned)


def estimate_prompts(
    respondent: Respondent, folder: Path, meta: Mapping[str, Any], prompts: Callable[[], Iterator[Prompt]], planned: int
) -> DryRun:
    """Estimate `ask_prompts`; errors as for `estimate_run`."""
    check_folder(folder, meta)
    answered = answered_keys(folder / STORE)
    if isinstance(respondent, ReusesAnswers):
        respondent.recall(read_store(folder / STORE))
    waiting = [prompt for prompt in prompts() if prompt.key not in answered]
    return DryRun(planned, planned - len(waiting), estimate_of(respondent, waiting), damage_of(folder / STORE))
