"""Access to scores by run, subset and metric, and the order of runs in a report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import polars as pl

from valuestrata.dataset.tables import Dataset
from valuestrata.errors import InputDataError
from valuestrata.respondents.baselines import CHEAP
from valuestrata.responses.run.identity import KINDS, Answered, Kind, RunIdentity, run_identity
from valuestrata.scores.best_baseline import best_of
from valuestrata.scores.schema import SCORES

RunLike = Answered


class Cell(NamedTuple):
    """One score with its interval; every part may be null."""

    value: float | None
    low: float | None = None
    high: float | None = None
    pairs: int | None = None
    coverage: float | None = None


EMPTY = Cell(None)


def cell_of(row: Mapping[str, Any], name: str = "value", ends: str = "ci") -> Cell:
    """Return the cell of a column of a table's row, with its interval in `{ends}_low` and `{ends}_high`."""
    return Cell(row.get(name), row.get(f"{ends}_low"), row.get(f"{ends}_high"))


@dataclass(frozen=True)
class Entry:
    """One row of a table: a run with one elicitation and template.

    Attributes:
        run, elicitation, template: as in the scores.
        label: how tables and charts name it; unique within a report.
        kind: model, control or baseline.
        rule: the name behind `baseline:` or `control:`, else the empty string.
    """

    run: str
    elicitation: str
    template: str
    label: str
    kind: Kind
    rule: str = ""

    @property
    def key(self) -> tuple[str, str, str]:
        """Key of its scores."""
        return (self.run, self.elicitation, self.template)


def entries_of(runs: Sequence[RunLike], scores: pl.DataFrame) -> list[Entry]:
    """Return the rows of the tables: models first, then controls, then baselines, each in the order of `runs`.

    A calibrated run follows the run that was calibrated.

    Raises:
        InputDataError: the scores hold a run that is not among `runs`.
    """
    known = {run.name: run_identity(run) for run in runs}
    if strangers := sorted(set(scores["run"].to_list()).difference(known)):
        raise InputDataError(f"the scores hold the run {strangers[0]!r}, which was not given; given: {', '.join(known) or 'none'}.")
    found = scores.select("run", "elicitation", "template").unique(maintain_order=True).rows()
    order = {name: _place(identity, known) for name, identity in known.items()}
    repeated = {run for run, *_ in found if sum(other == run for other, *_ in found) > 1}
    made: list[Entry] = []
    for run, elicitation, template in found:
        label = f"{run} ({elicitation}, {template})" if run in repeated else run
        made.append(Entry(run, elicitation, template, label, known[run].kind, known[run].rule))
    return sorted(made, key=lambda entry: (KINDS.index(entry.kind), order[entry.run]))


def _place(identity: RunIdentity, known: Mapping[str, RunIdentity]) -> tuple[int, int]:
    """Return where a run stands among those of its kind: its own place, or that of the run it was calibrated from and then its own."""
    names = list(known)
    source = next((at for at, other in enumerate(known.values()) if identity.is_calibrated_from(other)), names.index(identity.name))
    return source, names.index(identity.name)


@dataclass(frozen=True)
class View:
    """The scores of one part of one split, of one fold or (`fold` None) pooled over folds."""

    dataset: Dataset
    entries: list[Entry]
    scheme: str
    part: str
    scores: pl.DataFrame
    fold: int | None = None

    @cached_property
    def _cells(self) -> dict[tuple[Any, ...], Cell]:
        columns = ("run", "elicitation", "template", "by", "key", "metric", "value", "ci_low", "ci_high", "pairs", "coverage")
        return {row[:6]: Cell(*row[6:]) for row in self.scores.select(columns).iter_rows()}

    @property
    def title(self) -> str:
        """`split paper, part test`, with the fold if it is one."""
        return f"split {self.scheme}, part {self.part}" + ("" if self.fold is None else f", fold {self.fold}")

    def cell(self, entry: Entry, by: str, key: str, metric: str) -> Cell:
        """Return one score; an empty cell without one."""
        return self._cells.get((*entry.key, by, key, metric), EMPTY)

    def overall(self, entry: Entry, metric: str) -> Cell:
        """Return the score over all pairs of the part."""
        return self.cell(entry, "all", self.all_key, metric)

    @cached_property
    def all_key(self) -> str:
        """Key of the scores over all pairs."""
        keys = self.scores.filter(pl.col("by") == "all")["key"]
        return str(keys[0]) if len(keys) else "all"

    def keys(self, by: str) -> list[str]:
        """Return the scored keys of a grouping, in the order of the data set."""
        found = set(self.scores.filter(pl.col("by") == by)["key"].to_list())
        known = {
            "item": self.dataset.items["item"],
            "topic": self.dataset.items["topic"],
            "subgroup": self.dataset.subgroups["subgroup"],
            "stratum": self.dataset.subgroups["stratum"],
        }.get(by)
        ordered = [key for key in known.unique(maintain_order=True).to_list() if key in found] if known is not None else []
        return ordered + sorted(found.difference(ordered))

    def has(self, metric: str, by: str = "all") -> bool:
        """Whether any run has a value of the metric in the grouping."""
        return not self.scores.filter((pl.col("by") == by) & (pl.col("metric") == metric) & pl.col("value").is_not_null()).is_empty()

    @cached_property
    def accuracy_metric(self) -> str:
        """`accuracy_expected`, which the oracle ceiling bounds; without it `accuracy`."""
        return "accuracy_expected" if self.has("accuracy_expected") else "accuracy"

    def of_kind(self, *kinds: Kind) -> list[Entry]:
        """Return the entries of these kinds that have a score over all pairs."""
        return [e for e in self.entries if e.kind in kinds and self.overall(e, "accuracy") is not EMPTY]

    def best_cheap(self, metric: str) -> Entry | None:
        """Return the best cheap baseline over all pairs, used for every subset: the best in each subset would be too optimistic."""
        cheap = {entry.label: entry for entry in self.of_kind("baseline") if entry.rule in CHEAP}
        values = {label: value for label, entry in cheap.items() if (value := self.overall(entry, metric).value) is not None}
        return cheap.get(best_of(metric, values) or "")

    @cached_property
    def gold(self) -> pl.DataFrame:
        """Gold of the pairs of the part (and fold), from the half of the respondents that the scores use."""
        return self.dataset.scored_gold(self.scheme, self.part, self.fold)

    @cached_property
    def _bounds(self) -> dict[tuple[str, str], dict[str, float | None]]:
        frame = self.gold.join(self.dataset.items.select("item", "topic"), on="item", how="left")
        names = ["ceiling_oracle", "ceiling_human", "floor_nmae", "floor_w1", "floor_rps"]
        made = {("all", self.all_key): frame.select(names).mean().row(0, named=True)}
        for by in ("subgroup", "topic", "item"):
            made |= {(by, row.pop(by)): row for row in frame.group_by(by).agg(pl.col(names).mean()).to_dicts()}
        return made

    def bound(self, by: str, key: str, name: str) -> Cell:
        """Return a ceiling or floor from the scores (with its interval), or the mean over the gold."""
        for entry in self.entries:
            cell = self.cell(entry, by, key, name)
            # The ceiling of a run that skipped pairs is that of the pairs it answered.
            if cell.value is not None and (cell.coverage is None or cell.coverage >= 0.9999):
                return cell
        return Cell(self._bounds.get((by, key), {}).get(name))


def views_of(dataset: Dataset, runs: Sequence[RunLike], scores: pl.DataFrame) -> list[View]:
    """Return a view for each scored split and part; the test part of split `paper` first."""
    scores = SCORES.check(scores, "the report's scores").filter(pl.col("against").is_null())
    scores = scores.with_columns(pl.col("elicitation", "template").fill_null(""))
    entries = entries_of(runs, scores)
    made: list[View] = []
    for scheme, part in scores.select("scheme", "part").unique(maintain_order=True).rows():
        rows = scores.filter((pl.col("scheme") == scheme) & (pl.col("part") == part))
        # Pooled scores if available, else those of the first fold.
        fold = None if rows["fold"].has_nulls() else min(rows["fold"].to_list())
        made.append(View(dataset, entries, scheme, part, rows.filter(pl.col("fold").eq_missing(fold)), fold))
    return sorted(made, key=lambda view: (view.scheme != "paper", view.part != "test"))
