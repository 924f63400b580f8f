"""Rules for claims about judges and about open answers: tables in, claim records out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import polars as pl

from valuestrata.claims.claim import Claim, Figure, Strength, importance
from valuestrata.openended.text.checks import TextChecks
from valuestrata.openended.validity.decision_rule import MIN_ANSWERS, NOT_USABLE, PEOPLE_CHECKS, TOO_FEW, UNFIT, USABLE
from valuestrata.openended.validity.judge_validity import Validity
from valuestrata.stats.cluster_bootstrap import CONFIDENCE, MIN_ITEMS

JUDGES, OPEN = "judges", "open"
_UNITS = {"invalid_share": "call", "order_consistency": "pair", "position_bias": "decided verdict", "tie_share": "verdict"}
# Checks that a claim about a judge without a failed check reports.
_REPORTED = ("order_consistency", "position_bias", "invalid_share")
_VERDICTS: Mapping[str, tuple[str, int]] = {NOT_USABLE: ("not-usable", 100), TOO_FEW: ("too-few-data", 95), USABLE: ("usable", 80)}


def judge_claims(found: Validity) -> list[Claim]:
    """Return one claim for each judge and criterion: whether the judge is usable, with the checks that decide.

    The run of these claims is the judge, their key the criterion.
    """
    whole = found.checks.filter(pl.col("by") == "all")
    claims: list[Claim] = []
    for row in found.usable.iter_rows(named=True):
        mine = whole.filter(pl.col("judge") == row["judge"], pl.col("criterion") == row["criterion"])
        checks = {check["check"]: check for check in mine.iter_rows(named=True)}
        kind, weight = _VERDICTS.get(row["verdict"], ("not-validated", 85))
        names, notes = _deciding(row, checks)
        figures = tuple(_check_figure(checks[name]) for name in names if name in checks)
        strength = Strength.UNDETERMINED if row["verdict"] == TOO_FEW else Strength.SHOWN
        claims.append(
            Claim(
                family=JUDGES,
                kind=kind,
                run=row["judge"],
                by="criterion",
                key=row["criterion"],
                figures=figures,
                strength=strength,
                # Whether a judge is usable is stated first, even if it is undetermined.
                importance=weight,
                notes=notes,
            )
        )
    return claims


def _deciding(row: Mapping[str, Any], checks: Mapping[str, Mapping[str, Any]]) -> tuple[list[str], tuple[str, ...]]:
    """Return the checks that decide a verdict, most important first, and notes."""
    if row["verdict"] == NOT_USABLE:
        names = list(row["failed"])
        if PEOPLE_CHECKS[1] in names and PEOPLE_CHECKS[0] not in names:
            # A difference to people is given together with the agreement itself.
            names.append(PEOPLE_CHECKS[0])
        return names, ()
    if row["verdict"] == TOO_FEW:
        return [name for name in row["unknown"] if name not in PEOPLE_CHECKS], ()
    if row["verdict"] == USABLE:
        return [*PEOPLE_CHECKS, *_REPORTED], ()
    if PEOPLE_CHECKS[0] not in checks:
        return [*_REPORTED], ("no-codings",)
    wide = [name for name in ("kappa_difference", "agreement_difference") if name in row["unknown"] and not _too_few(checks[name])]
    return [*_REPORTED, *(wide or PEOPLE_CHECKS[1:])], ("margin-not-shown" if wide else "few-codings",)


def _too_few(check: Mapping[str, Any]) -> bool:
    return check["value"] is None or check["ci_low"] is None or check["n"] < MIN_ANSWERS


def _check_figure(check: Mapping[str, Any]) -> Figure:
    unit = _UNITS.get(check["check"], "answer")
    return Figure(role=check["check"], value=check["value"], low=check["ci_low"], high=check["ci_high"], n=check["n"], unit=unit)


def own_answer_claims(judged: Mapping[str, Sequence[str]]) -> list[Claim]:
    """Return a claim for each judge that judged its own answers.

    Args:
        judged: judge -> runs that the same model wrote.
    """
    return [
        Claim(family=JUDGES, kind="own-answers", run=judge, importance=importance(90, Strength.SHOWN), notes=tuple(runs))
        for judge, runs in judged.items()
        if runs
    ]


def shared_base_claims(judged: Mapping[str, Sequence[str]]) -> list[Claim]:
    """Return a claim for each judge that judged answers of other models on its own base.

    Args:
        judged: judge -> runs of such models.
    """
    return [
        Claim(family=JUDGES, kind="shared-base", run=judge, importance=importance(88, Strength.SHOWN), notes=tuple(runs))
        for judge, runs in judged.items()
        if runs
    ]


def corrected_claims(corrected: pl.DataFrame) -> list[Claim]:
    """Return the estimates over all answers that were corrected with people's codings (a frame of CORRECTED)."""
    claims: list[Claim] = []
    for row in corrected.filter(pl.col("by") == "all").iter_rows(named=True):
        estimate = Figure(metric=row["metric"], value=row["value"], low=row["ci_low"], high=row["ci_high"], n=row["coded"])
        judge = Figure(role="judge", label=row["judge"], metric=row["metric"], value=row["judge_value"], n=row["judged"])
        strength = Strength.UNDETERMINED if row["ci_low"] is None else Strength.SHOWN
        figures = (judge, Figure(role="coders", n=row["coders"]))
        claims.append(_open_claim("corrected", row, row["criterion"], row["reference"], estimate, figures, strength, 75))
    return claims


def corrected_difference_claims(differences: pl.DataFrame) -> list[Claim]:
    """Return the corrected differences of win rates over all answers (a frame of CORRECTED_DIFFERENCES).

    A difference is shown if its interval excludes 0 and its p-value, corrected for all differences, is below 1 - confidence.
    """
    claims: list[Claim] = []
    for row in differences.filter(pl.col("by") == "all", pl.col("value").is_not_null()).iter_rows(named=True):
        estimate = Figure(
            metric="win_rate",
            value=row["value"],
            low=row["ci_low"],
            high=row["ci_high"],
            p=row["p"],
            p_adjusted=row["p_adjusted"],
            n=row["coded"],
        )
        strength = _strength(estimate, 0.0)
        if strength is Strength.SHOWN and (row["p_adjusted"] is None or row["p_adjusted"] > 1 - CONFIDENCE):
            strength = Strength.UNDETERMINED
        claims.append(
            Claim(
                family=OPEN,
                kind="corrected-difference",
                run=row["run"],
                by="criterion",
                key=row["criterion"],
                against=row["against"],
                direction="better" if row["value"] > 0 else "worse",
                estimate=estimate,
                figures=(
                    Figure(role="judge", label=row["judge"], value=row["judge_value"]),
                    Figure(role="reference", label=row["reference"]),
                    Figure(role="coders", n=row["coders"]),
                ),
                correction="holm",
                tests=row["tests"],
                strength=strength,
                importance=importance(78, strength, row["value"]),
            )
        )
    return claims


def win_rate_claims(winrates: pl.DataFrame, usable: pl.DataFrame) -> list[Claim]:
    """Return the win rates over all answers, for criteria for which the judge may be used.

    Args:
        winrates: a frame of WINRATES. usable: a frame of USABLE_TABLE.
    """
    fit = set(usable.filter(~pl.col("verdict").is_in(UNFIT)).select("judge", "criterion").iter_rows())
    whole = winrates.filter(pl.col("metric") == "win_rate", pl.col("by") == "all", pl.col("value").is_not_null())
    claims: list[Claim] = []
    for row in whole.iter_rows(named=True):
        if (row["judge"], row["criterion"]) in fit:
            estimate = Figure(
                metric="win_rate", value=row["value"], low=row["ci_low"], high=row["ci_high"], items=row["items"], pairs=row["pairs"]
            )
            strength = _strength(estimate, 0.5)
            judge = Figure(role="judge", label=row["judge"])
            claims.append(_open_claim("win-rate", row, row["criterion"], row["reference"], estimate, (judge,), strength, 80))
    return claims


def closed_vs_open_claims(agreement: pl.DataFrame, usable: pl.DataFrame) -> list[Claim]:
    """Return how often models choose the option that they express in their own words (a frame of AGREEMENT)."""
    fit = set(usable.filter(~pl.col("verdict").is_in(UNFIT), pl.col("criterion") == "stance")["judge"])
    whole = agreement.filter(pl.col("by") == "all")
    kappas = {
        (row["run"], row["closed"], row["judge"]): row["value"] for row in whole.filter(pl.col("metric") == "kappa").iter_rows(named=True)
    }
    claims: list[Claim] = []
    for row in whole.filter(pl.col("metric") == "same", pl.col("value").is_not_null()).iter_rows(named=True):
        estimate = Figure(metric="same", value=row["value"], low=row["ci_low"], high=row["ci_high"], items=row["items"], pairs=row["pairs"])
        kappa = Figure(role="kappa", metric="kappa", value=kappas.get((row["run"], row["closed"], row["judge"])))
        strength = Strength.SHOWN if row["judge"] in fit else Strength.UNDETERMINED
        figures = (Figure(role="judge", label=row["judge"]), kappa)
        claims.append(_open_claim("closed-vs-open", row, "stance", row["closed"], estimate, figures, strength, 70))
    return claims


def text_claims(found: TextChecks) -> list[Claim]:
    """Return the findings of the checks without a judge: missing answers, restated personas, and wording by attribute."""
    claims: list[Claim] = []
    for run in found.rates["run"].unique(maintain_order=True):
        rates = found.rates.filter(pl.col("run") == run, pl.col("by") == "all")
        figures = {row["measure"]: _rate_figure(row) for row in rates.iter_rows(named=True)}
        missing = tuple(figures[name] for name in ("refused", "empty", "cut") if name in figures and figures[name].value)
        if missing:
            largest = max(figure.value or 0.0 for figure in missing)
            weight = importance(75, Strength.SHOWN, largest)
            claims.append(Claim(family=OPEN, kind="missing-answers", run=run, figures=missing, importance=weight))
        if "leak" in figures:
            leak = figures["leak"]
            claims.append(
                Claim(family=OPEN, kind="restates-persona", run=run, estimate=leak, importance=importance(60, Strength.SHOWN, leak.value))
            )
        claims += _wording_claims(str(run), found.similarity.filter(pl.col("run") == run))
    return claims


def _rate_figure(row: Mapping[str, Any]) -> Figure:
    sizes = {"items": row["items"], "pairs": row["pairs"]}
    return Figure(role=row["measure"], metric=row["measure"], value=row["value"], low=row["ci_low"], high=row["ci_high"], **sizes)


def gap_strength(row: Mapping[str, Any]) -> Strength | None:
    """Return whether a row of SIMILARITY shows a difference in wording; None if nothing could be shuffled."""
    if row["gap"] is None:
        return None
    if row["items_shuffled"] < MIN_ITEMS or row["gap_low"] is None:
        return Strength.UNDETERMINED
    return Strength.SHOWN if row["gap_low"] > 0 else Strength.NOT_SHOWN


def _wording_claims(run: str, similarity: pl.DataFrame) -> Iterator[Claim]:
    by_strength: dict[Strength, list[str]] = {}
    for row in similarity.filter(pl.col("by") == "attribute").iter_rows(named=True):
        if (strength := gap_strength(row)) is not None:
            by_strength.setdefault(strength, []).append(str(row["key"]))
    whole = similarity.filter(pl.col("by") == "all", pl.col("across").is_not_null())
    figures = tuple(
        Figure(role=role, value=row[role])
        for row in whole.iter_rows(named=True)
        for role in ("across", "elsewhere")
        if row[role] is not None
    )
    for strength, attributes in by_strength.items():
        weight = importance(70, strength)
        yield Claim(
            family=OPEN, kind="wording", run=run, figures=figures, strength=strength, importance=weight, notes=tuple(sorted(attributes))
        )


def _open_claim(
    kind: str,
    row: Mapping[str, Any],
    criterion: str,
    against: str | None,
    estimate: Figure,
    figures: tuple[Figure, ...],
    strength: Strength,
    weight: float,
) -> Claim:
    effect = None if kind != "win-rate" or estimate.value is None else estimate.value - 0.5
    return Claim(
        family=OPEN,
        kind=kind,
        run=row["run"],
        by="criterion",
        key=criterion,
        against=against,
        direction=None if effect is None else "better" if effect > 0 else "worse",
        estimate=estimate,
        figures=figures,
        strength=strength,
        importance=importance(weight, strength, effect),
    )


def _strength(figure: Figure, null: float) -> Strength:
    if figure.low is None or figure.high is None:
        return Strength.UNDETERMINED
    return Strength.SHOWN if figure.low > null or figure.high < null else Strength.NOT_SHOWN
