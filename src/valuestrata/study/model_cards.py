"""What is written into every adapter's folder once it was tested: its card with scores, and what it has forgotten."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import polars as pl

from valuestrata.dataset.tables import Dataset
from valuestrata.responses.run.folder import Run
from valuestrata.scores import score
from valuestrata.study.config import Study
from valuestrata.study.tuning_grid import Field, Lesson
from valuestrata.tuning.evaluate.forgetting import compared, measured_of, read_forgetting, write_forgetting
from valuestrata.tuning.evaluate.general_questions import general_version
from valuestrata.tuning.model_card import write_card

Checked = tuple[dict[str, float], dict[str, int]]


def write_cards(
    study: Study,
    dataset: Dataset,
    fields: Sequence[Field],
    taught: Sequence[Lesson],
    runs: Mapping[str, Sequence[Run]],
    *,
    forgetting: bool,
    say: Callable[[str], None],
) -> None:
    """Write the card of every adapter of a split: recipe, data, scores with intervals by attribute, forgetting.

    Args:
        study: the study. dataset: the ground truth. fields: folds of the split. taught: what was taught in each.
        runs: name of a run -> its runs in the fields, in their order.
        forgetting: whether each adapter is checked for what it has forgotten. say: told of every check.
    """
    before: dict[str, Checked] = {}
    for place, one in enumerate(fields):
        for lesson in taught:
            adapter = study.folder / "adapters" / one.name / lesson.name
            mine = runs.get(lesson.name, ())
            if not adapter.is_dir() or len(mine) != len(fields):
                continue
            scores = score(
                dataset,
                [mine[place]],
                split=one.split.scheme,
                part=study.split.part,
                fold=one.fold,
                bootstrap=study.score.bootstrap,
                seed=study.seeds.bootstrap,
            )
            forgot = _forgotten(adapter, lesson, before, say) if forgetting else None
            write_card(adapter, scores=scores, forgetting=forgot)


def _forgotten(adapter: Path, lesson: Lesson, before: dict[str, Checked], say: Callable[[str], None]) -> pl.DataFrame:
    """Return what an adapter has forgotten: checked once, and kept in its folder."""
    kept = read_forgetting(adapter)
    if kept is not None and set(kept["version"]) == {general_version()}:
        return kept
    say(f"what {lesson.name} has forgotten")
    word, device = lesson.model.model, lesson.model.device
    if word not in before:
        before[word] = measured_of(word, device)
    first, counts = before[word]
    second, _ = measured_of(f"{word}+{adapter}", device)
    frame = compared(first, second, counts)
    write_forgetting(adapter, frame)
    return frame
