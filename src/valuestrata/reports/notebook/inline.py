"""A report that a notebook shows inline: `vs.report(dataset, runs)`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from html import escape
from pathlib import Path
from typing import Any

import polars as pl

from valuestrata.assessment import Assessment, assess
from valuestrata.dataset.tables import Dataset
from valuestrata.errors import MissingExtraError
from valuestrata.reports.closed.page import report_page, write_report
from valuestrata.reports.core.page import Page
from valuestrata.reports.core.render import render
from valuestrata.reports.core.runs import check_number
from valuestrata.responses.reference_baselines import check_training, kinds_of, reference_baselines
from valuestrata.responses.run.folder import Run, check_same_dataset
from valuestrata.scores.variance.by_model import variation

# Height of the report in a notebook, in pixels; it scrolls inside.
HEIGHT = 720


@dataclass(frozen=True, repr=False)
class InlineReport:
    """A report on runs. A notebook shows it inline; `save` writes it as a file with its tables.

    Attributes:
        dataset: the ground truth. runs: the runs, then the baselines that were added.
        assessment: scores, comparisons and claims. variance: VARIANCE of the runs, None if none can be estimated.
        title: of the page, None for the survey's title. height: in a notebook, in pixels.
    """

    dataset: Dataset
    runs: tuple[Run, ...]
    assessment: Assessment
    variance: pl.DataFrame | None
    title: str | None = None
    height: int = HEIGHT

    def page(self, *, notes: Sequence[str] = (), pages: Sequence[tuple[str, str]] = ()) -> Page:
        """Return the page before it is rendered; arguments as for `write_report`."""
        found = self.assessment
        parts: dict[str, Any] = {"assessment": found, "variance": self.variance, "title": self.title}
        return report_page(self.dataset, self.runs, found.scores, notes=notes, pages=pages, **parts)

    @cached_property
    def html(self) -> str:
        """The page as one HTML file."""
        return render(self.page())

    def save(self, path: str | Path) -> Path:
        """Write the page, and its tables as CSV in a folder next to it; return the page's path.

        Args:
            path: the HTML file; a path without a suffix is a folder that gets `report.html`.
        """
        found = self.assessment
        return write_report(self.dataset, self.runs, found.scores, Path(path), title=self.title, assessment=found, variance=self.variance)

    def show(self) -> None:
        """Show the report now, for example inside a loop; the last value of a cell is shown without it.

        Raises:
            MissingExtraError: IPython is not installed.
        """
        try:
            from IPython.display import display
        except ImportError as error:
            raise MissingExtraError("report(...).show()", "notebook", "ipython") from error
        display(self)

    def __repr__(self) -> str:
        return f"Report on {', '.join(run.name for run in self.runs)}; write it with .save('report.html')."

    def _repr_html_(self) -> str:
        # The frame keeps the style of the page and of the notebook apart; its scripts cannot reach the notebook.
        return (
            f'<iframe srcdoc="{escape(self.html)}" sandbox="allow-scripts" title="Report" '
            f'style="box-sizing: border-box; width: 100%; height: {self.height:d}px; border: 1px solid #8888"></iframe>'
        )


def report(
    dataset: Dataset,
    runs: Sequence[Run],
    *,
    split: str = "paper",
    part: str = "test",
    fold: int | None = None,
    baselines: str = "all",
    train_on: Dataset | None = None,
    against: str | None = None,
    bootstrap: int = 1000,
    seed: int = 0,
    title: str | None = None,
    height: int = HEIGHT,
) -> InlineReport:
    """Score runs beside the reference baselines and return the report of `valuestrata report`.

    Args:
        dataset: the data set of the runs.
        runs: at most 50 runs with answers to closed questions.
        split: split scheme.
        part: train, validation, test or all.
        fold: only this fold; None for all folds.
        baselines: `all`, `cheap`, `none` or kinds separated by commas.
        train_on: training data set of the baselines under `transfer`.
        against: name of a run to compare all others with.
        bootstrap: replicates of the intervals; 0 for no intervals and no comparisons.
        seed: of the bootstrap.
        title: of the page; None for the survey's title.
        height: in a notebook, in pixels.

    Returns:
        The report: the last value of a cell is shown inline.

    Raises:
        UsageError: more than MOST_RUNS runs, and as for `assess`.
        InputDataError: a run of another data set, and as for `assess`.
    """
    check_number(len(runs))
    for run in runs:
        check_same_dataset(run, dataset)
    check_training(dataset, runs, split, fold)
    kinds = kinds_of(baselines)
    every = [*runs, *reference_baselines(dataset, runs, kinds=kinds, split=split, part=part, fold=fold, train_on=train_on)]
    found = assess(dataset, every, split=split, part=part, fold=fold, against=against, bootstrap=bootstrap, seed=seed)
    varied = variation(dataset, runs, bootstrap=bootstrap, seed=seed)
    return InlineReport(dataset, tuple(every), found, varied, title, height)
