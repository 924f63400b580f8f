"""Rules for claims about scores: comparisons, ceilings, missing answers and train-test overlap (docs/verdicts.md lists them)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from statistics import NormalDist
from typing import Any

import polars as pl

from valuestrata.claims.claim import Claim, Figure, Strength, importance
from valuestrata.claims.templates_closed import CLOSED
from valuestrata.errors import InputDataError, UsageError, did_you_mean
from valuestrata.formatting import DIRECTED, LOWER_IS_BETTER
from valuestrata.respondents.baselines import TRAINS_ON_NOTHING
from valuestrata.responses.run.identity import Answered, RunIdentity, run_identity, trained_here
from valuestrata.responses.run.schema import RESPONSES
from valuestrata.scores.degenerate_answers import position_of, sameness_of
from valuestrata.scores.plan import MEASURED_AGAINST, PERSONA_CONTROL, Thresholds
from valuestrata.scores.schema import COMPARISONS, RELATIVE, SCORES

CUT = ("scheme", "part", "fold")
# z(.8): a difference this many standard errors past the end of its interval is detected in 80 % of samples.
Z_POWER = 0.8416
SAME_POSITION = 0.99
# A run is at the ceiling if its interval reaches the ceiling and starts above this share of the way to it.
AT_CEILING = 0.8
# Least share of responses without an answer that makes a claim.
UNANSWERED = 0.05
# Metrics that may show the same as the primary one.
ALSO = ("accuracy_expected", "nmae")
# Weights of kinds for `importance`; the outcomes of a comparison share one.
WEIGHTS: Mapping[str, float] = {
    "taught-what-is-tested": 100,
    "not-a-test": 98,
    "beyond-the-ceiling": 97,
    "no-baseline": 96,
    "same-position": 95,
    "same-answer": 94,
    "item-mode": 92,
    "nearest-parent": 90,
    "persona": 88,
    "": 85,
    "cannot-be-judged": 80,
    "incomplete": 78,
    "unanswered": 76,
    "at-the-ceiling": 75,
    "saturated": 70,
    "cannot-be-placed": 45,
    "shared-respondents": 50,
}
# What a run is compared with -> kinds of the outcomes worse, no difference shown, better.
OUTCOMES: Mapping[str, tuple[str, str, str]] = {
    "item-mode": ("below-item-mode", "level-with-item-mode", "above-item-mode"),
    "nearest-parent": ("below-nearest-parent", "level-with-nearest-parent", "above-nearest-parent"),
    "persona": ("persona-hurts", "persona-adds-nothing", "persona-adds"),
    "": ("below", "level", "above"),
}


def closed_claims(
    scores: pl.DataFrame,
    comparisons: pl.DataFrame,
    relative: pl.DataFrame,
    leakage: pl.DataFrame,
    runs: Sequence[Answered],
    thresholds: Thresholds | None = None,
    metric: str = "accuracy_expected",
    taught: Mapping[str, tuple[float, int]] | None = None,
) -> list[Claim]:
    """Return the claims that the rules support, for each split, part and run; within a run in the order of `CLOSED`.

    Folds are used pooled. A part scored only by fold has claims by fold.

    Args:
        scores: SCORES rows. comparisons: COMPARISONS rows by `metric` over all pairs, and declared ones by any metric or key.
        relative: RELATIVE rows. leakage: `scheme` and `shared_respondents`, one row per test pair (LEAKAGE), or one row per
            scheme with its mean and its number of `pairs`.
        runs: the runs in the frames. thresholds: those of the plan; defaults without one.
        metric: the primary metric; one in `DIRECTED`.
        taught: name of a run -> share of its pairs that its model was trained on, and their number.

    Raises:
        UsageError: a metric without a better direction. InputDataError: a frame lacks a column, or names a run not given.
    """
    if metric not in DIRECTED:
        raise UsageError(
            f"metric={metric!r}: neither high nor low values are better, so it supports no claims.{did_you_mean(metric, DIRECTED)}"
        )
    scores = SCORES.check(scores, "scores").filter((pl.col("by") == "all") & pl.col("against").is_null())
    comparisons = COMPARISONS.check(comparisons, "comparisons")
    relative = RELATIVE.check(relative, "relative scores").filter(pl.col("by") == "all")
    known = {run.name: run for run in runs}
    for frame, columns in ((scores, ("run",)), (comparisons, ("run", "against")), (relative, ("run",))):
        for name in (name for column in columns for name in frame[column].unique(maintain_order=True)):
            if name not in known:
                raise InputDataError(f"The tables contain the run {name!r}, which was not given.{did_you_mean(name, known)}")
    order, found = list(CLOSED), list[Claim]()
    for scheme, part, fold in _cuts(scores, comparisons, relative):
        figures = [_at(frame, scheme, part, fold) for frame in (scores, comparisons, relative)]
        here = _PartTables(figures[0], figures[1], figures[2], known, thresholds or Thresholds(), metric)
        shared = _shared(leakage, scheme, fold) if part in ("test", "all") and not scheme.endswith("+disjoint") else Figure()
        for run in (run for run in runs if run.name in here.names):
            share, pairs = (taught or {}).get(run.name, (0.0, 0))
            own = [*_comparisons(here, run), *_ceiling(here, run), *_coverage(here, run), *_answers(here, run)]
            own += _training(run, part, Figure(value=share, pairs=pairs), shared)
            for claim in sorted(own, key=lambda claim: order.index(claim.kind)):
                found.append(
                    replace(
                        claim,
                        scheme=scheme,
                        part=part,
                        fold=fold,
                        run_kind=here.identities[run.name].kind,
                        confidence=here.thresholds.confidence,
                    )
                )
    return found


@dataclass(frozen=True)
class _PartTables:
    """The tables of one part of a split, the runs by name, and the settings."""

    scores: pl.DataFrame
    comparisons: pl.DataFrame
    relative: pl.DataFrame
    runs: Mapping[str, Answered]
    thresholds: Thresholds
    metric: str

    @cached_property
    def identities(self) -> Mapping[str, RunIdentity]:
        """Identity of each run, by name."""
        return {name: run_identity(run) for name, run in self.runs.items()}

    @property
    def names(self) -> set[str]:
        """Names of the runs in any table."""
        columns = (self.scores["run"], self.relative["run"], self.comparisons["run"], self.comparisons["against"])
        return {name for column in columns for name in column}

    def score(self, run: str, metric: str) -> dict[str, Any]:
        """Return the row of a score, empty without one."""
        rows = self.scores.filter((pl.col("run") == run) & (pl.col("metric") == metric)).to_dicts()
        return rows[-1] if rows else {}


def _claim(kind: str, run: Answered, estimate: Figure, *, weight: str | None = None, **fields: Any) -> Claim:
    strength = fields.pop("strength", Strength.SHOWN)
    # Of comparisons, the size of the difference counts; shares are facts of any size.
    effect = None if weight is None else estimate.value or 0.0
    score = importance(WEIGHTS[kind if weight is None else weight], strength, effect)
    return Claim(family="closed", kind=kind, run=run.name, estimate=estimate, strength=strength, importance=score, **fields)


def _comparisons(tables: _PartTables, run: Answered) -> Iterator[Claim]:
    """Yield a claim for each comparison of a run: its own rows, and those a baseline or control was given with it; each once."""
    rank = {"model": 0, "control": 1, "baseline": 2}
    found: dict[tuple[str | None, ...], Claim] = {}
    for row in tables.comparisons.filter((pl.col("run") == run.name) | (pl.col("against") == run.name)).to_dicts():
        first, second = tables.runs[row["run"]], tables.runs[row["against"]]
        swapped = rank[tables.identities[row["against"]].kind] < rank[tables.identities[row["run"]].kind]
        subject, other = (second, first) if swapped else (first, second)
        declared = row["status"] == "declared"
        wanted = (row["by"] == "all" and row["metric"] in (tables.metric, *ALSO)) or declared
        if subject.name != run.name or row["metric"] not in DIRECTED or not wanted:
            continue
        compared = _compared_with(tables.identities[subject.name], tables.identities[other.name])
        if not (compared or declared):
            continue
        claim = _comparison(tables, run, other, compared, row, sign=-1.0 if swapped != (row["metric"] in LOWER_IS_BETTER) else 1.0)
        key = (claim.against, claim.metric, claim.by, claim.key)
        # A comparison given in both directions makes one claim, the declared one.
        if key not in found or declared:
            found[key] = claim
    secondary = [one for one in found.values() if one.metric != tables.metric and one.status != "declared"]
    for claim in found.values():
        if claim not in secondary:
            same = (claim.kind, claim.against, claim.by)
            also = tuple(one.estimate for one in secondary if (one.kind, one.against, one.by) == same and claim.by is None)
            yield replace(claim, also=also if claim.metric == tables.metric and claim.estimate.low is not None else ())


def _compared_with(mine: RunIdentity, theirs: RunIdentity) -> str:
    """Return the key of `OUTCOMES` that the other run is for this one; empty for runs compared only where declared."""
    if theirs.is_baseline and theirs.rule in ("item-mode", "nearest-parent"):
        return theirs.rule
    return "persona" if theirs.control == PERSONA_CONTROL and mine.kind == "model" and mine.same_model(theirs) else ""


def _comparison(tables: _PartTables, run: Answered, other: Answered, compared: str, row: Mapping[str, Any], *, sign: float) -> Claim:
    """Return the claim of a row of COMPARISONS, turned by `sign` so that positive is better for `run`."""
    gain, low, high = (None if row[name] is None else sign * row[name] for name in ("difference", "ci_low", "ci_high"))
    if sign < 0:
        low, high = high, low
    tests: dict[str, Any] = {"p": row["p"], "p_adjusted": row["p_adjusted"], "pairs": row["pairs"] or 0}
    estimate = Figure(metric=row["metric"], value=gain, low=low, high=high, se=row["se"], **tests)
    covered = row["coverage"] or 0.0
    figures = (Figure(role="coverage", value=covered),) if covered < tables.thresholds.coverage else ()
    fields: dict[str, Any] = {
        "against": other.name,
        "status": row["status"],
        "correction": row["adjustment"],
        "tests": _family_size(tables.comparisons, row),
        **({} if row["by"] == "all" else {"by": row["by"], "key": row["key"]}),
    }
    if gain is None or low is None or high is None:
        kind = "cannot-be-judged"
        return _claim(kind, run, estimate, weight=kind, strength=Strength.UNDETERMINED, figures=figures, **fields)
    outcome = 0 if high < 0 else 2 if low > 0 else 1
    fields["direction"] = ("worse", None, "better")[outcome]
    strength = Strength.SHOWN
    if outcome == 1:
        detectable = _detectable(low, high, tables.thresholds.confidence)
        figures += (Figure(role="detectable", metric=row["metric"], value=detectable),)
        strength = Strength.UNDERPOWERED if row["se"] is not None and detectable > tables.thresholds.smallest_gap else Strength.NOT_SHOWN
    elif (row["p_adjusted"] or 0.0) > 1 - tables.thresholds.confidence:
        strength, fields["notes"] = Strength.UNDETERMINED, ("not-after-correction",)
    return _claim(OUTCOMES[compared][outcome], run, estimate, weight=compared, strength=strength, figures=figures, **fields)


def _detectable(low: float, high: float, confidence: float) -> float:
    """Return the difference that would be detected with 80 % power: half width times (z(1 - alpha / 2) + z(.8)) / z(1 - alpha / 2)."""
    return 0.5 * (high - low) * (1 + Z_POWER / NormalDist().inv_cdf((1 + confidence) / 2))


def _family_size(comparisons: pl.DataFrame, row: Mapping[str, Any]) -> int | None:
    """Return the number of tests that a p-value was corrected for (see `scores.multiple.adjust`)."""
    if row["p_adjusted"] is None:
        return None
    tested = comparisons.filter(pl.col("p_adjusted").is_not_null() & (pl.col("status") == row["status"]))
    screened = (pl.col("metric") == row["metric"]) & (pl.col("by") == row["by"])
    return tested.height if row["status"] == "declared" else tested.filter(screened).height


def _ceiling(tables: _PartTables, run: Answered) -> Iterator[Claim]:
    """Place a run between the best cheap baseline (0) and the ceiling (1); no claim where it is below the ceiling."""
    metric = "accuracy_expected" if tables.metric.startswith("accuracy") else tables.metric.removesuffix("_valid")
    for row in tables.relative.filter((pl.col("run") == run.name) & (pl.col("metric") == metric)).tail(1).to_dicts():
        if row["baseline"] in (None, run.name) or row["baseline_value"] is None or row["bound_value"] is None:
            return
        fields: dict[str, Any] = {
            "against": row["baseline"],
            "figures": (
                Figure(role="baseline", metric=metric, label=row["baseline"], value=row["baseline_value"]),
                Figure(role="bound", metric=metric, label=row["bound"], value=row["bound_value"]),
            ),
        }
        value, low, high = row["relative"], row["relative_low"], row["relative_high"]
        if row["state"] == "saturated":
            yield _claim("saturated", run, Figure(metric=metric, value=row["bound_value"], pairs=row["pairs"]), **fields)
        elif value is not None and low is not None and high is not None and high >= 1:
            kind = "beyond-the-ceiling" if low > 1 else "cannot-be-placed" if low < AT_CEILING else "at-the-ceiling"
            estimate = Figure(metric=metric, value=value, low=low, high=high, pairs=row["pairs"])
            strength = Strength.UNDETERMINED if kind == "cannot-be-placed" else Strength.SHOWN
            yield _claim(kind, run, estimate, strength=strength, **fields)


def _coverage(tables: _PartTables, run: Answered) -> Iterator[Claim]:
    """State that a run was not asked all pairs of the part."""
    row = tables.score(run.name, tables.metric)
    threshold = tables.thresholds.coverage
    if row and row["coverage"] is not None and row["coverage"] < threshold:
        estimate = Figure(role="coverage", value=row["coverage"], pairs=row["pairs"])
        yield _claim("incomplete", run, estimate, figures=(Figure(role="threshold", value=threshold),))


def _answers(tables: _PartTables, run: Answered) -> Iterator[Claim]:
    """State, of models and controls, missing baselines, missing answers and answers that ignore the question or the persona."""
    kind = run_identity(run).kind
    if kind == "baseline":
        return
    row = tables.score(run.name, tables.metric)
    identities = [run_identity(run) for name, run in tables.runs.items() if name in tables.names]
    baselines = {one.name: one.rule for one in identities if one.is_baseline}
    if not set(baselines.values()) & set(MEASURED_AGAINST):
        value, low, high = row.get("value"), row.get("ci_low"), row.get("ci_high")
        estimate = Figure(metric=tables.metric, value=value, low=low, high=high, pairs=row.get("pairs") or 0)
        yield _claim("no-baseline", run, estimate, strength=Strength.UNDETERMINED, notes=tuple(baselines))
    refused, invalid = (tables.score(run.name, metric) for metric in ("refusal_rate", "invalid_rate"))
    rates = {"refused": refused.get("value") or 0.0, "invalid": invalid.get("value") or 0.0}
    if sum(rates.values()) > UNANSWERED:
        estimate = Figure(value=sum(rates.values()), pairs=refused.get("pairs") or invalid.get("pairs") or 0)
        yield _claim("unanswered", run, estimate, figures=tuple(Figure(role=role, value=value) for role, value in rates.items()))
    responses = RESPONSES.check(run.responses, run.name)
    position = position_of(responses)
    if position is not None and position.share >= SAME_POSITION and position.fewest != position.most:
        yield _claim(
            "same-position",
            run,
            Figure(value=position.share, pairs=position.pairs, n=position.answers, unit="answer"),
            direction=position.place,
            figures=(Figure(role="fewest options", n=position.fewest), Figure(role="most options", n=position.most)),
            notes=("one-order",) if position.one_order else (),
        )
    spread, same = tables.score(run.name, "spread_ratio").get("value"), sameness_of(responses)
    # Without variation in the gold, `spread_ratio` is null: the same answer for everyone may be right.
    if kind == "model" and spread is not None and spread <= 1e-9 and 0 < same.items == same.alike:
        yield _claim("same-answer", run, Figure(metric="spread_ratio", value=0.0, items=same.items, pairs=same.pairs))


def _training(run: Answered, part: str, taught: Figure, shared: Figure) -> Iterator[Claim]:
    """State that a run was scored on what it was trained on, or on respondents behind its training data."""
    if taught.value:
        yield _claim("taught-what-is-tested", run, taught)
    identity = run_identity(run)
    if identity.kind == "model" or (identity.is_baseline and identity.rule not in TRAINS_ON_NOTHING):
        if shared.value and trained_here(identity):
            yield _claim("shared-respondents", run, shared)
        if part in ("train", "validation"):
            yield _claim("not-a-test", run, Figure())


def _cuts(*frames: pl.DataFrame) -> list[tuple[str, str, int | None]]:
    """Return (scheme, part, fold) of all tables; single folds only where there are no pooled rows."""
    found = pl.concat([frame.select(CUT) for frame in frames]).unique(maintain_order=True).rows()
    pooled = {(scheme, part) for scheme, part, fold in found if fold is None}
    return [(scheme, part, fold) for scheme, part, fold in found if fold is None or (scheme, part) not in pooled]


def _at(frame: pl.DataFrame, scheme: str, part: str, fold: int | None) -> pl.DataFrame:
    return frame.filter((pl.col("scheme") == scheme) & (pl.col("part") == part) & pl.col("fold").eq_missing(pl.lit(fold, dtype=pl.Int32)))


def _shared(leakage: pl.DataFrame, scheme: str, fold: int | None) -> Figure:
    """Return the mean share of respondents shared with training data on a split, and the number of test pairs."""
    for name in ("scheme", "shared_respondents"):
        if name not in leakage.columns:
            raise InputDataError(f"leakage: the column {name!r} is missing; found {leakage.columns}. Give the data set's leakage table.")
    rows = leakage.filter((pl.col("scheme") == scheme) & pl.col("shared_respondents").is_not_null())
    if fold is not None and "fold" in rows.columns:
        rows = rows.filter(pl.col("fold") == fold)
    weights = rows["pairs"].cast(pl.Float64) if "pairs" in rows.columns else pl.repeat(1.0, rows.height, eager=True)
    total = float(weights.sum())
    return Figure(value=float((rows["shared_respondents"] * weights).sum()) / total, pairs=round(total)) if total > 0 else Figure()
