"""What may be said of a run, from fixed rules: one line a finding, for tables and reports.

Who reads nothing but these lines must not be misled: each holds the figure, its interval, the pairs behind it and what
it is against. The rules are in `rules`, their thresholds in the plan (`plan.Thresholds`), all of them in `docs/verdicts.md`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import polars as pl

from valuestrata.claims import closed_rules as rules
from valuestrata.claims.closed_rules import RULES, Finding, Gap
from valuestrata.errors import InputDataError, UsageError, did_you_mean
from valuestrata.formatting import DIRECTED, LOWER_IS_BETTER
from valuestrata.respondents.baselines import TRAINS_ON_NOTHING
from valuestrata.responses.run.identity import Answered, run_identity
from valuestrata.responses.run.schema import RESPONSES
from valuestrata.scores.degenerate_answers import position_of, sameness_of
from valuestrata.scores.plan import MEASURED_AGAINST, PERSONA_CONTROL, Thresholds
from valuestrata.scores.schema import COMPARISONS, RELATIVE, SCORES, VERDICTS

CUT = ("scheme", "part", "fold")


def verdicts(
    scores: pl.DataFrame,
    comparisons: pl.DataFrame,
    relative: pl.DataFrame,
    leakage: pl.DataFrame,
    runs: Sequence[Answered],
    thresholds: Thresholds | None = None,
    metric: str = "accuracy_expected",
    taught: Mapping[str, tuple[float, int]] | None = None,
) -> pl.DataFrame:
    """Return every line that the rules allow, for each run on each scored split and part, in the order of `RULES`.

    Folds are read pooled; a part scored only fold by fold has its lines fold by fold, and they say which.

    Args:
        scores: SCORES rows. comparisons: COMPARISONS rows; by `metric` over all pairs, and declared ones by any metric or key.
        relative: RELATIVE rows. leakage: `scheme` and `shared_respondents`, a row a test pair (LEAKAGE) or a row a scheme
            with its mean and the number of its `pairs`.
        runs: what the frames speak of. thresholds: those of the plan; its defaults without one.
        metric: the primary metric, one that has a better direction.
        taught: name of a run -> share of its pairs that its model was taught, and their number (`taught.taught_shares`).

    Returns:
        VERDICTS. `value` and its interval are gains: positive is better whatever the metric.

    Raises:
        UsageError: a metric without a better direction. InputDataError: a frame lacks a column, or names a run not given.
    """
    if metric not in DIRECTED:
        raise UsageError(f"Verdicts cannot be made by {metric!r}: neither high nor low is better.{did_you_mean(metric, DIRECTED)}")
    thresholds = thresholds or Thresholds()
    scores = SCORES.check(scores, "scores").filter((pl.col("by") == "all") & pl.col("against").is_null())
    comparisons = COMPARISONS.check(comparisons, "comparisons")
    relative = RELATIVE.check(relative, "relative scores").filter(pl.col("by") == "all")
    known = {run.name: run for run in runs}
    for frame, columns in ((scores, ("run",)), (comparisons, ("run", "against")), (relative, ("run",))):
        for name in (name for column in columns for name in frame[column].unique(maintain_order=True)):
            if name not in known:
                raise InputDataError(f"The verdicts' figures name the run {name!r}, which was not given.{did_you_mean(name, known)}")
    rows: list[dict[str, Any]] = []
    for scheme, part, fold in _cuts(scores, comparisons, relative):
        figures = (_at(scores, scheme, part, fold), _at(comparisons, scheme, part, fold), _at(relative, scheme, part, fold))
        here = _Cut(*figures, runs, thresholds, metric)
        shared = _shared(leakage, scheme, fold) if part in ("test", "all") else (None, 0)
        for run in runs:
            if run.name not in here.names:
                continue
            seen = _some(rules.taught_what_is_tested(*(taught or {}).get(run.name, (None, 0))))
            findings = [*here.findings(run), *seen, *_leaks(run, shared, scheme), *_untested(run, part)]
            for finding in sorted(findings, key=lambda found: RULES.index(found.rule)):
                text = finding.verdict if fold is None else f"fold {fold}: {finding.verdict}"
                rows.append({"run": run.name, "scheme": scheme, "part": part, **finding._asdict(), "verdict": text})
    return VERDICTS.frame(rows)


class _Cut:
    """The figures of one part of a split."""

    def __init__(
        self,
        scores: pl.DataFrame,
        comparisons: pl.DataFrame,
        relative: pl.DataFrame,
        runs: Sequence[Answered],
        thresholds: Thresholds,
        metric: str,
    ) -> None:
        self._scores = {(row["run"], row["metric"]): row for row in scores.to_dicts()}
        wanted = ((pl.col("metric") == metric) & (pl.col("by") == "all")) | (pl.col("status") == "declared")
        self._comparisons = comparisons.filter(wanted & pl.col("metric").is_in(DIRECTED)).to_dicts()
        against_ceiling = "accuracy_expected" if metric.startswith("accuracy") else metric.removesuffix("_valid")
        self._relative = {row["run"]: row for row in relative.filter(pl.col("metric") == against_ceiling).to_dicts()}
        self._runs = {run.name: run for run in runs}
        self._thresholds, self._metric = thresholds, metric
        self.names = {name for name, _ in self._scores} | self._relative.keys()
        self.names |= {row["run"] for row in self._comparisons} | {row["against"] for row in self._comparisons}

    def findings(self, run: Answered) -> Iterator[Finding]:
        """Yield every finding about a run but that on leakage, in no particular order."""
        kind = run_identity(run).kind
        for gap in self._gaps(run):
            finding = self._compared(run, gap)
            if finding is not None:
                yield finding
                if power := rules.underpowered(gap, self._thresholds.smallest_gap):
                    yield power
        yield from _some(self._placed(run), self._incomplete(run))
        if kind != "baseline":
            responses = RESPONSES.check(run.responses, run.name)
            yield from _some(self._alone(run), self._unanswered(run), rules.same_position(position_of(responses)))
            if kind == "model":
                spread = self._scores.get((run.name, "spread_ratio"), {}).get("value")
                yield from _some(rules.same_answer(sameness_of(responses), spread))

    def _gaps(self, run: Answered) -> list[Gap]:
        """Return the comparisons that are about a run: its own, and those a baseline or control made with it; each once."""
        rank = {"model": 0, "control": 1, "baseline": 2}
        found: dict[tuple[str, str, str], Gap] = {}
        for row in self._comparisons:
            first, second = self._runs[row["run"]], self._runs[row["against"]]
            turned = rank[run_identity(second).kind] < rank[run_identity(first).kind]
            if (second if turned else first).name == run.name:
                gap = _gap(row, self._thresholds, turned=turned)
                key = (gap.against, gap.metric, gap.within)
                # Made both ways round, it is said once, and as what was declared.
                if key not in found or gap.status == "declared":
                    found[key] = gap
        return list(found.values())

    def _compared(self, run: Answered, gap: Gap) -> Finding | None:
        against = self._runs[gap.against]
        mine, other = run_identity(run), run_identity(against)
        if other.is_baseline and other.rule == "item-mode":
            return rules.item_mode(gap)
        if other.is_baseline and other.rule == "nearest-parent":
            return rules.nearest_parent(gap)
        if other.control == PERSONA_CONTROL and mine.kind == "model" and mine.same_model(other):
            return rules.persona(gap, self._thresholds.smallest_gap)
        return rules.other(gap) if gap.status == "declared" else None

    def _placed(self, run: Answered) -> Finding | None:
        row = self._relative.get(run.name)
        if row is None or row["baseline"] in (None, run.name) or row["baseline_value"] is None or row["bound_value"] is None:
            return None
        place = (row["relative"], row["relative_low"], row["relative_high"])
        if row["state"] != "saturated" and None in place:
            return None
        return rules.ceiling(
            row["metric"],
            row["baseline"],
            row["baseline_value"],
            row["bound"],
            row["bound_value"],
            None if row["state"] == "saturated" else place,
            row["pairs"],
            self._thresholds.confidence,
        )

    def _incomplete(self, run: Answered) -> Finding | None:
        row = self._scores.get((run.name, self._metric))
        return None if row is None else rules.incomplete(row["coverage"], row["pairs"], self._thresholds.coverage)

    def _unanswered(self, run: Answered) -> Finding | None:
        refused, invalid = (self._scores.get((run.name, name), {}) for name in ("refusal_rate", "invalid_rate"))
        return rules.unanswered(refused.get("value"), invalid.get("value"), refused.get("pairs") or invalid.get("pairs") or 0)

    def _alone(self, run: Answered) -> Finding | None:
        known = {name: run_identity(run) for name, run in self._runs.items() if name in self.names}
        beside = [name for name, identity in known.items() if identity.is_baseline]
        if any(known[name].rule in MEASURED_AGAINST for name in beside):
            return None
        row = self._scores.get((run.name, self._metric), {})
        figures = (row.get("value"), row.get("ci_low"), row.get("ci_high"), row.get("pairs") or 0)
        return rules.no_baseline(tuple(beside), self._metric, *figures)


def _gap(row: dict[str, Any], thresholds: Thresholds, *, turned: bool) -> Gap:
    """Turn a row of COMPARISONS so that its subject is `run` (`against` where it is turned) and positive is better."""
    sign = -1.0 if turned != (row["metric"] in LOWER_IS_BETTER) else 1.0
    gain, low, high = (None if row[name] is None else sign * row[name] for name in ("difference", "ci_low", "ci_high"))
    if sign < 0:
        low, high = high, low
    run, against = ("against", "run") if turned else ("run", "against")
    return Gap(
        run=row[run],
        against=row[against],
        metric=row["metric"],
        gain=gain,
        low=low,
        high=high,
        se=row["se"],
        pairs=row["pairs"] or 0,
        confidence=thresholds.confidence,
        thin=row["coverage"] if (row["coverage"] or 0.0) < thresholds.coverage else None,
        within="" if row["by"] == "all" else f"{row['by']} {row['key']}",
        p_adjusted=row["p_adjusted"],
        adjustment=row["adjustment"],
        status=row["status"],
    )


def _cuts(*frames: pl.DataFrame) -> list[tuple[str, str, int | None]]:
    """Return (scheme, part, fold) of all figures; single folds only where nothing is pooled."""
    found = pl.concat([frame.select(CUT) for frame in frames]).unique(maintain_order=True).rows()
    pooled = {(scheme, part) for scheme, part, fold in found if fold is None}
    return [(scheme, part, fold) for scheme, part, fold in found if fold is None or (scheme, part) not in pooled]


def _at(frame: pl.DataFrame, scheme: str, part: str, fold: int | None) -> pl.DataFrame:
    in_fold = pl.col("fold").is_null() if fold is None else pl.col("fold") == fold
    return frame.filter((pl.col("scheme") == scheme) & (pl.col("part") == part) & in_fold)


def _shared(leakage: pl.DataFrame, scheme: str, fold: int | None) -> tuple[float | None, int]:
    """Return the mean share of respondents behind trained gold on a split, and the test pairs behind it."""
    for name in ("scheme", "shared_respondents"):
        if name not in leakage.columns:
            raise InputDataError(f"leakage: the column {name!r} is missing; found {leakage.columns}. Give the data set's leakage table.")
    rows = leakage.filter((pl.col("scheme") == scheme) & pl.col("shared_respondents").is_not_null())
    if fold is not None and "fold" in rows.columns:
        rows = rows.filter(pl.col("fold") == fold)
    if rows.is_empty():
        return None, 0
    weights = rows["pairs"].cast(pl.Float64) if "pairs" in rows.columns else pl.Series([1.0] * len(rows))
    total = float(weights.sum())
    return float((rows["shared_respondents"] * weights).sum()) / total if total > 0 else None, round(total)


def _leaks(run: Answered, shared: tuple[float | None, int], scheme: str) -> Iterator[Finding]:
    identity = run_identity(run)
    if identity.kind == "model" or (identity.is_baseline and identity.rule not in TRAINS_ON_NOTHING):
        yield from _some(rules.shared_respondents(*shared, scheme))


def _untested(run: Answered, part: str) -> Iterator[Finding]:
    identity = run_identity(run)
    if identity.kind == "model" or (identity.is_baseline and identity.rule not in TRAINS_ON_NOTHING):
        yield from _some(rules.not_a_test(part))


def _some(*findings: Finding | None) -> Iterator[Finding]:
    yield from (finding for finding in findings if finding is not None)
