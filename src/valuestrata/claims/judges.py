"""What may be said of judges, in sentences from a fixed rule: the verdict first, then why, with figures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import polars as pl

from valuestrata.formatting import number, percent
from valuestrata.openended.validity.decision_rule import (
    MAX_INVALID,
    MAX_LONGER,
    MAX_POSITION_BIAS,
    MAX_SAME_READING,
    MAX_TIES,
    MIN_ANSWERS,
    MIN_CONSISTENCY,
    NOT_USABLE,
    NOT_VALIDATED,
    PEOPLE_CHECKS,
    TOO_FEW,
)
from valuestrata.openended.validity.judge_validity import Validity

_UNITS = {"invalid_share": "calls", "order_consistency": "pairs", "position_bias": "decided verdicts", "tie_share": "verdicts"}


def validity_lines(found: Validity) -> list[str]:
    """Return a sentence for each judge and criterion, then the corrected figures, then the notes."""
    whole = found.checks.filter(pl.col("by") == "all")
    lines: list[str] = []
    for row in found.usable.iter_rows(named=True):
        mine = whole.filter(pl.col("judge") == row["judge"], pl.col("criterion") == row["criterion"])
        lines.append(_verdict_line(row, {check["check"]: check for check in mine.iter_rows(named=True)}))
    lines += [_corrected_line(row) for row in found.corrected.filter(pl.col("by") == "all").iter_rows(named=True)]
    return [*lines, *found.notes]


def _verdict_line(row: Mapping[str, Any], checks: Mapping[str, Mapping[str, Any]]) -> str:
    who = f"{row['judge']}, {row['criterion']}"
    if row["verdict"] == NOT_USABLE:
        names = list(row["failed"])
        if PEOPLE_CHECKS[1] in names and PEOPLE_CHECKS[0] not in names:
            # How far below people it is says nothing without where it is.
            names.insert(names.index(PEOPLE_CHECKS[1]), PEOPLE_CHECKS[0])
        return f"{who}: judge not usable for this criterion. " + " ".join(_sentence(checks[name]) for name in names)
    if row["verdict"] == TOO_FEW:
        names = [name for name in row["unknown"] if name not in PEOPLE_CHECKS]
        told = "; ".join(f"{name.replace('_', ' ')} rests on {checks[name]['n']:,} {_UNITS.get(name, 'answers')}" for name in names)
        return f"{who}: too few to tell, {MIN_ANSWERS} are asked for ({told}). The judge counts as not usable until there are more."
    told = " ".join(_sentence(checks[name]) for name in ("order_consistency", "position_bias", "invalid_share") if name in checks)
    if row["verdict"] == NOT_VALIDATED:
        why = "nobody has coded a sample" if "kappa_with_people" not in checks else _why_unproven(checks)
        return f"{who}: nothing in its own verdicts speaks against the judge, but {why}: whether it is right is not known. {told}"
    return f"{who}: judge usable. {told} " + " ".join(_sentence(checks[name]) for name in PEOPLE_CHECKS)


def _why_unproven(checks: Mapping[str, Mapping[str, Any]]) -> str:
    shared = checks["kappa_difference"]["n"] if "kappa_difference" in checks else 0
    if shared >= MIN_ANSWERS:
        return f"the comparison with people has no interval over {shared:,} answers (under five items, or people who always say the same)"
    return f"only {shared:,} answers have its word and that of two coders ({MIN_ANSWERS} of five items or more are asked for)"


def _sentence(check: Mapping[str, Any]) -> str:
    name, n = check["check"], f"{check['n']:,}"
    if check["value"] is None:
        return f"{name.replace('_', ' ').capitalize()} is not defined over {n} {_UNITS.get(name, 'answers')}."
    if name in PEOPLE_CHECKS:
        return _kappa_sentence(check)
    shift = 0.5 if name == "position_bias" else 0.0
    share = percent(check["value"] + shift)
    interval = "no interval" if check["ci_low"] is None else f"{percent(check['ci_low'] + shift)} to {percent(check['ci_high'] + shift)}"
    told = {
        "invalid_share": f"{share} of {n} calls gave no verdict ({interval}; at most {percent(MAX_INVALID)} is allowed).",
        "order_consistency": (
            f"{share} of {n} pairs have the same verdict in both orders ({interval}; {percent(MIN_CONSISTENCY)} is asked for)."
        ),
        "position_bias": (
            f"The answer shown first wins {share} of {n} decided verdicts "
            f"({interval}; {percent(0.5 - MAX_POSITION_BIAS)} to {percent(0.5 + MAX_POSITION_BIAS)} is allowed)."
        ),
        "tie_share": f"{share} of {n} verdicts are ties ({interval}; at most {percent(MAX_TIES)} is allowed).",
        "longer_preferred": f"The longer answer wins {share} of {n} pairs ({interval}, all of it above {percent(MAX_LONGER)}).",
        "agreement_difference": (
            f"People always say the same. Over {n} answers its agreement with them is {percent(abs(check['value']))} "
            f"{'below' if check['value'] < 0 else 'above'} theirs (difference {interval})."
        ),
        "same_reading": f"{share} of {n} readings are one and the same ({interval}; at most {percent(MAX_SAME_READING)} is allowed).",
    }
    return told[name]


def _kappa_sentence(check: Mapping[str, Any]) -> str:
    interval = "no interval" if check["ci_low"] is None else f"{number(check['ci_low'])} to {number(check['ci_high'])}"
    if check["check"] == "kappa_with_people":
        chance = ", no better than chance" if check["passed"] is False else ""
        return f"Its weighted kappa with people is {number(check['value'])} over {check['n']:,} answers ({interval}{chance})."
    side = "below" if check["value"] < 0 else "above"
    return f"That is {number(abs(check['value']))} {side} people among themselves (difference {interval}, {check['n']:,} answers)."


def _corrected_line(row: Mapping[str, Any]) -> str:
    about = row["run"] if row["reference"] is None else f"{row['run']} against {row['reference']}"
    what = {"win_rate": "win rate", "place": "mean place on the scale", "no_stance": "share without a stance"}[row["metric"]]
    write = number if row["metric"] == "place" else percent
    corrected = "not defined" if row["value"] is None else write(row["value"])
    ends = "no interval" if row["ci_low"] is None else f"{write(row['ci_low'])} to {write(row['ci_high'])}"
    alone = "undefined" if row["judge_value"] is None else write(row["judge_value"])
    return (
        f"{row['judge']}, {row['criterion']}, {about}: {what} {corrected} ({ends}) by people's measure, from {row['coded']:,} coded of "
        f"{row['judged']:,} answers; {alone} by the judge alone."
    )
