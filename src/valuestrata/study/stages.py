"""The stages of a study, and running it until one of them."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import TypeVar

from valuestrata.errors import UsageError
from valuestrata.study.config import Study

Result = TypeVar("Result")


@dataclass(frozen=True)
class Reached:
    """A stage that has ended.

    Attributes:
        stage: its name.
        problems: errors so far, one line each. left: prompts that are not answered yet.
    """

    stage: str
    problems: tuple[str, ...] = ()
    left: int = 0


@dataclass(frozen=True)
class StudyProgress:
    """A study that was stopped after a stage.

    Attributes:
        done, remaining: names of the stages that have ended, and of those that have not.
        problems: errors so far, one line each. left: prompts that are not answered yet.
    """

    done: tuple[str, ...]
    remaining: tuple[str, ...]
    problems: tuple[str, ...] = ()
    left: int = 0


def stages_of(study: Study) -> list[str]:
    """Return the names of the stages of a study, in order; sections that it does not have add none."""
    sections = {"tune": study.tune, "calibrate": study.calibrate, "open": study.open, "audit": study.audit}
    every = ("build", "plan", "tune", "ask", "calibrate", "open", "score", "audit", "report")
    return [stage for stage in every if sections.get(stage, study) is not None]


def check_stage(study: Study, stage: str) -> None:
    """Refuse a stage that a study does not have.

    Raises:
        UsageError: names the stages that it has.
    """
    stages = stages_of(study)
    if stage not in stages:
        raise UsageError(f"This study has no stage {stage!r}. Its stages are {', '.join(stages)}.")


def finished(steps: Generator[Reached, None, Result]) -> Result:
    """Run all stages and return the result."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value


def stopped_after(study: Study, steps: Generator[Reached, None, object], stage: str) -> StudyProgress:
    """Run the stages of a study until one of them has ended."""
    stages = stages_of(study)
    reached = next(one for one in steps if one.stage == stage)
    steps.close()
    place = stages.index(stage) + 1
    return StudyProgress(tuple(stages[:place]), tuple(stages[place:]), reached.problems, reached.left)
