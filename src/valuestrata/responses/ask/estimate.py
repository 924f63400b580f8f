"""What a run would take, before anything is asked: calls, tokens, dollars."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from valuestrata.dataset.tables import Dataset
from valuestrata.respondents.base import CostEstimate, Prompt, Respondent, estimate_of
from valuestrata.respondents.controls.control import ReusesAnswers
from valuestrata.responses.ask.plan import Asking, asked_meta
from valuestrata.responses.run.folder import STORE
from valuestrata.responses.run.session import check_folder
from valuestrata.responses.run.store import answered_keys, read_store


@dataclass(frozen=True)
class DryRun:
    """What asking would take.

    Attributes:
        planned: prompts of the plan. kept: those that the run has answered already.
        estimate: what the others take.
    """

    planned: int
    kept: int
    estimate: CostEstimate


def estimate_run(dataset: Dataset, respondent: Respondent, out: str | Path, asking: Asking) -> DryRun:
    """Say what `ask_planned` would take of the respondent model, in a run that may have answers already; nothing is asked or written.

    Raises:
        InputDataError: `out` holds something else, or a run of another identity.
    """
    folder = Path(out)
    meta = asked_meta(dataset, respondent, folder.resolve().name, asking)
    return estimate_prompts(respondent, folder, meta, lambda: asking.prompts(dataset, respondent), asking.planned)


def estimate_prompts(
    respondent: Respondent, folder: Path, meta: Mapping[str, Any], prompts: Callable[[], Iterator[Prompt]], planned: int
) -> DryRun:
    """Say what `ask_prompts` would take; arguments as there.

    Raises:
        InputDataError: as `estimate_run`.
    """
    check_folder(folder, meta)
    answered = answered_keys(folder / STORE)
    if isinstance(respondent, ReusesAnswers):
        respondent.recall(read_store(folder / STORE))
    waiting = [prompt for prompt in prompts() if prompt.key not in answered]
    return DryRun(planned, planned - len(waiting), estimate_of(respondent, waiting))
