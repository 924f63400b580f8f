"""The study, its data sets and its progress messages, as passed between the stages."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from valuestrata.dataset.tables import Dataset
from valuestrata.respondents.base import Respondent
from valuestrata.respondents.models import make_respondent
from valuestrata.study.config import ModelSection, Study, model_seen_from
from valuestrata.study.model_spec import is_baseline


@dataclass(frozen=True)
class StudyContext:
    """What every stage of a study needs.

    Attributes:
        study: the study. dataset: its data set.
        train_on: data set that baselines are fitted to under `transfer`, None for the same data set.
        say: takes a line about progress.
        root: folder of the whole study, also where `study` is a part of it. Names of models are relative to it.
    """

    study: Study
    dataset: Dataset
    train_on: Dataset | None
    say: Callable[[str], None]
    root: Path

    @property
    def folder(self) -> Path:
        """The study's folder."""
        return self.study.folder

    @property
    def where(self) -> dict[str, Any]:
        """`split`, `part` and `fold` of the study as keyword arguments."""
        section = self.study.split
        return {"split": section.scheme, "part": section.part, "fold": section.fold}

    @property
    def asked(self) -> dict[str, Any]:
        """`split`, `part` and `fold` of the pairs to ask: every part where the answers are calibrated, else those scored."""
        return self.where if self.study.calibrate is None else {**self.where, "part": "all"}

    def prefixed(self, prefix: str) -> StudyContext:
        """Return the context with `prefix: ` before every progress message."""

        def say(line: str) -> None:
            self.say(f"{prefix}: {line}")

        return replace(self, say=say)

    def known_as(self, spec: str) -> str:
        """Return a model's specification as runs record it: the same from every working directory."""
        return model_seen_from(spec, self.root)

    def respondent(self, model: ModelSection, *, calls: bool = True) -> Respondent:
        """Return the respondent of one of the study's models; errors and `calls` as in `make_respondent`."""
        return make_respondent(
            model.model,
            self.dataset,
            split=self.study.split.scheme,
            fold=self.study.split.fold,
            train_on=self.train_on if is_baseline(model.model) else None,
            settings=model.settings(self.study.seeds, self.known_as(model.model)),
            calls=calls,
        )
