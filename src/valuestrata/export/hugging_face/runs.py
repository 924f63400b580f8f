"""What is published about a run: the model and how it was asked, without paths, addresses and keys."""

from __future__ import annotations

import re
from dataclasses import dataclass

from valuestrata.respondents.model_paths import without_folders
from valuestrata.responses.run.folder import Run
from valuestrata.responses.run.identity import run_identity


@dataclass(frozen=True)
class RunFacts:
    """A run in the card: its name, the model, how it was asked, and the number of responses."""

    name: str
    model: str
    asked: str
    answers: int


def run_facts(run: Run) -> RunFacts:
    """Return what is published about a run."""
    identity = run_identity(run)
    inner = identity.model
    word = without_folders(identity.respondent.name or inner.name or inner.model or run.name)
    revision = f" ({inner.revision[:12]})" if inner.revision and re.fullmatch(r"[0-9a-f]{12,}", inner.revision) else ""
    method = f", calibrated: {identity.method}" if identity.method else ""
    asked = ", ".join(without_folders(text) for text in (identity.elicitation, identity.template) if text)
    return RunFacts(run.name, f"{word}{revision}{method}", asked, run.responses.height)
