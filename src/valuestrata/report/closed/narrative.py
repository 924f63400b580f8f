"""What a newcomer reads first: what was asked of whom and how, and a sentence about each model."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast

import polars as pl

from valuestrata.dataset.tables import Dataset
from valuestrata.report.core.names import MINUS, RULES, capital, count, minimum_cell, percent, plain, plural, stratum_titles
from valuestrata.report.core.names import short_label as name_of
from valuestrata.report.core.view import Cell, Entry, RunLike, View
from valuestrata.responses.run.identity import run_identity

SPLITS: Mapping[str, str] = {
    "paper": "Trained on single attributes and on their crossings with sex (the first attribute where there is no sex); "
    "tested on the other crossings. The questions are the same on both sides: only the combination of attributes is unseen.",
    "unseen-level": "Every fold holds out one level of one attribute and every subgroup that contains it.",
    "unseen-item": "Every fold holds out the questions of some topics; the subgroups are the same on both sides.",
    "unseen-both": "Unseen questions asked of unseen combinations of attributes.",
    "none": "Nothing is trained: with fewer than three attributes every pair is a test pair.",
}
READOUTS: Mapping[str, str] = {
    "text": "the answer is read from the text that the model writes",
    "logprob": "the answer is the option whose whole string is most probable",
    "first-token": "the answer is the option whose first token is most probable",
    "stated-distribution": "the model states the share of every option in percent, and the answer is the largest",
    "reasoned": "the model thinks first, and the answer is read from the text it closes with",
}


def facts(dataset: Dataset, views: Sequence[View], runs: Sequence[RunLike]) -> list[tuple[str, str]]:
    """Return (heading, sentence) pairs: survey, people, questions, subgroups, gold, split, readout."""
    meta = dataset.meta
    survey, counts = meta.get("survey") or {}, meta.get("counts") or {}
    rows = [("Survey", f"{survey.get('title') or survey.get('name') or 'unnamed'}{_in_place(dataset)}.")]
    people = meta.get("respondents")
    weighted = meta.get("weighted")
    weight = "not weighted" if not weighted else f"weighted ({count(meta.get('n_eff'))} effective)" if meta.get("n_eff") else "weighted"
    if people is not None:
        rows.append(("People", f"{plural(int(people), 'respondent')}, {weight}."))
    topics = dataset.items["topic"].n_unique()
    levels = dict(dataset.items.group_by("level").len().sort("len", descending=True).iter_rows())
    kinds = ", ".join(f"{number_of} {level}" for level, number_of in levels.items())
    rows.append(("Questions", f"{plural(len(dataset.items), 'item')} in {plural(topics, 'topic')} ({kinds})."))
    groups = dataset.subgroups.filter(dataset.subgroups["stratum"] != "all")
    strata = stratum_titles(dataset)
    rows.append(("Subgroups", f"{plural(len(groups), 'subgroup')}: {', '.join(strata[s] for s in dataset.strata)}."))
    rows.append(("Minimum cell", f"{capital(minimum_cell(dataset))}."))
    dropped = [plural(counts[key], noun) for key, noun in (("subgroups_dropped", "subgroup"), ("pairs_dropped", "pair")) if counts.get(key)]
    if dropped:
        rows.append(("Left out", f"{' and '.join(dropped)} below the minimum."))
    for view in views:
        said = SPLITS.get(view.scheme.removesuffix("+disjoint"), "")
        disjoint = " Training and test gold come from different halves of the respondents." if "+disjoint" in view.scheme else ""
        fold = "" if view.fold is None else f" of fold {view.fold}"
        what = f"{plural(len(view.gold), 'pair')} of an item and a subgroup in the {view.part} part{fold}."
        rows.append((f"Split {view.scheme}", f"{what} {said}{disjoint}".strip()))
    rows += _asking(runs)
    return rows


def _in_place(dataset: Dataset) -> str:
    place = dataset.meta.get("place")
    return f", {place}" if place else ""


def _asking(runs: Iterable[RunLike]) -> list[tuple[str, str]]:
    readouts: dict[str, list[str]] = {}
    templates: dict[str, None] = {}
    for run in runs:
        if run_identity(run).is_baseline:
            continue
        for readout in run.responses["elicitation"].drop_nulls().unique(maintain_order=True):
            readouts.setdefault(readout, []).append(run.name)
        for row in run.responses.select("template", "template_version").unique(maintain_order=True).iter_rows():
            if row[0]:
                templates[f"“{row[0]}”" + (f" (version {row[1]})" if row[1] else "")] = None
    rows: list[tuple[str, str]] = []
    if readouts:
        said = [f"{readout}: {READOUTS.get(readout, 'as recorded')}" for readout in readouts]
        rows.append(("Readout", "; ".join(said) + "."))
    if templates:
        rows.append(("Persona", f"template {', '.join(templates)}."))
    return rows


def models(runs: Sequence[RunLike]) -> list[tuple[str, str]]:
    """Return (run, identity on one line) for what is not a baseline."""
    rows: list[tuple[str, str]] = []
    for run in runs:
        identity = run_identity(run)
        if not identity.is_baseline:
            rows.append((run.name, plain(_without_hashes(identity.respondent.document)) or "no identity recorded"))
    return rows


def _without_hashes(identity: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a reader wants to know of a model; its hashes stand with the method, and what is not set says nothing."""
    hidden = ("versions", "files", "libraries")
    told: dict[str, Any] = {}
    for key, value in identity.items():
        if key in hidden or value is None or value in ([], {}, "") or re.fullmatch(r"[0-9a-f]{32,}", str(value)):
            continue
        told[key] = _without_hashes(cast("Mapping[str, Any]", value)) if isinstance(value, Mapping) else value
    return told


def verdict(view: View, entry: Entry, comparisons: pl.DataFrame | None = None) -> str:
    """Return what one model's score is worth, in plain words: beside the baselines, and beside what noise allows.

    Args:
        view: the part. entry: the model or control.
        comparisons: frame of the schema COMPARISONS. A distance from a baseline is said with its interval from there, on the
            pairs common to both; without it, only where both were scored on every pair of the part.
    """
    score = view.overall(entry, "accuracy")
    if score.value is None:
        return f"{entry.label} has no score on this part."
    ends = f" (95 % interval {percent(score.low)} to {percent(score.high)})" if score.low is not None and score.high is not None else ""
    text = [f"{entry.label} gives the subgroup's commonest answer for {percent(score.value)} of {plural(score.pairs or 0, 'pair')}{ends}."]
    text += _against_baselines(view, entry, score, comparisons)
    expected = view.overall(entry, "accuracy_expected")
    # A run that skipped pairs is bounded by the ceiling of what it answered, not of the part.
    ceiling = view.bound("all", view.all_key, "ceiling_oracle") if _whole(score) else view.overall(entry, "ceiling_oracle")
    if ceiling.value is not None and expected.value is not None:
        text.append(
            f"Measured against a fresh draw of the same people it would score {percent(expected.value)}, "
            f"and no predictor can be expected to exceed {percent(ceiling.value)} here."
        )
    refused = (view.overall(entry, "refusal_rate").value or 0.0) + (view.overall(entry, "invalid_rate").value or 0.0)
    if refused >= 0.005:
        text.append(f"{percent(refused)} of its responses were refusals or could not be read; they count as wrong.")
    if not _whole(score):
        text.append(f"It was asked {percent(score.coverage)} of the pairs; the rest is not scored.")
    return " ".join(text)


def _whole(score: Cell) -> bool:
    return score.coverage is None or score.coverage >= 0.9999


def _against_baselines(view: View, entry: Entry, score: Cell, comparisons: pl.DataFrame | None) -> list[str]:
    best = view.best_cheap("accuracy")
    if best is None:
        return ["No baseline was run beside it, so this number cannot be judged; run baseline:item-mode."]
    modes = [one for one in view.of_kind("baseline") if one.rule == "item-mode" and view.overall(one, "accuracy").value is not None]
    mode = modes[0] if modes else None
    named = list(dict.fromkeys(baseline for baseline in (mode, best) if baseline is not None))
    gaps = {baseline: _gap(view, entry, baseline, comparisons) for baseline in named}
    if not all(_whole(cell) for cell in (score, *(view.overall(baseline, "accuracy") for baseline in named))):
        return _on_common_pairs(gaps, best)
    text: list[str] = []
    for baseline in named:
        value = view.overall(baseline, "accuracy").value
        scores = f"scores {percent(value)}"
        gap = gaps[baseline] or Cell((score.value or 0.0) - (value or 0.0))
        if baseline is not best:
            text.append(f"{capital(_rule(baseline))} {scores}.")
        elif baseline is mode:
            text.append(f"{capital(_rule(baseline))} {scores}: the best of the cheap baselines, and the model is {_far(gap)}.")
        else:
            text.append(f"The best cheap baseline, {_rule(baseline)}, {scores}: the model is {_far(gap)}.")
    return text


def _on_common_pairs(gaps: Mapping[Entry, Cell | None], best: Entry) -> list[str]:
    """Say how far the model is from baselines that were scored on other pairs too; their own scores would mislead beside its."""
    said: dict[int | None, list[str]] = {}
    for baseline, gap in gaps.items():
        if gap is not None:
            name = f"the best cheap baseline of the part, {_rule(baseline)}" if baseline is best else _rule(baseline)
            said.setdefault(gap.pairs, []).append(_far(gap, name))
    text = [f"On the {plural(pairs or 0, 'pair')} that both answered, the model is {' and '.join(far)}." for pairs, far in said.items()]
    return text or ["The baselines were scored on other pairs than it, so it is not compared with them here."]


def _gap(view: View, entry: Entry, baseline: Entry, comparisons: pl.DataFrame | None) -> Cell | None:
    """Return the model's accuracy minus the baseline's on their common pairs, as compared; None where that was not done."""
    # Runs are compared whole: of a run that has several rows none is meant.
    if comparisons is None or sum(other.run in (entry.run, baseline.run) for other in view.entries) > 2:
        return None
    here = (pl.col("scheme") == view.scheme) & (pl.col("part") == view.part) & pl.col("fold").eq_missing(view.fold)
    rows = comparisons.filter(here & (pl.col("by") == "all") & (pl.col("metric") == "accuracy") & pl.col("difference").is_not_null())
    ways = rows.filter((pl.col("run") == entry.run) & (pl.col("against") == baseline.run)).to_dicts()
    if ways:
        return Cell(ways[0]["difference"], ways[0]["ci_low"], ways[0]["ci_high"], ways[0]["pairs"])
    turned = rows.filter((pl.col("run") == baseline.run) & (pl.col("against") == entry.run)).to_dicts()
    if not turned:
        return None
    low, high = turned[0]["ci_low"], turned[0]["ci_high"]
    ends = (None, None) if low is None or high is None else (-high, -low)
    return Cell(-turned[0]["difference"], *ends, turned[0]["pairs"])


def _far(gap: Cell, name: str = "it") -> str:
    """Return `3 points below it (95 % interval −1 to 7)`; a distance below counts downwards, its interval too."""
    points = round(100 * (gap.value or 0.0))
    ends = ""
    if gap.low is not None and gap.high is not None:
        low, high = (-gap.high, -gap.low) if points < 0 else (gap.low, gap.high)
        ends = f" (95 % interval {_points(low)} to {_points(high)})"
    where = "level with" if points == 0 else f"{plural(abs(points), 'point')} {'above' if points > 0 else 'below'}"
    return f"{where} {name}{ends}"


def _points(value: float) -> str:
    points = round(100 * value)
    return f"{MINUS if points < 0 else ''}{abs(points)}"


def _rule(baseline: Entry) -> str:
    return RULES.get(baseline.rule, name_of(baseline))


def method(dataset: Dataset, runs: Sequence[RunLike], views: Sequence[View], command: str | None) -> list[tuple[str, str]]:
    """Return (heading, value) pairs of what would be needed to make the report again."""
    meta, settings = dataset.meta, dataset.meta.get("settings") or {}
    source = meta.get("source") or {}
    seeds = {key: value for key, value in settings.items() if str(key).endswith("seed")} | dict(meta.get("seeds") or {})
    rows = [
        ("Survey file", f"{source.get('file', 'not recorded')}, SHA-256 {source.get('sha256', 'not recorded')}"),
        ("Data set", f"fingerprint {meta.get('fingerprint', 'not recorded')}"),
        ("Minimum cell", f"{capital(minimum_cell(dataset))}."),
        ("Settings", plain({key: value for key, value in settings.items() if not str(key).endswith("seed")})),
        ("Seeds", plain(seeds) or "not recorded"),
        ("Scored", "; ".join(view.title for view in views)),
        ("Shareable", "yes" if meta.get("shareable") else "no: some published cell stands on fewer answers than may be passed on"),
        ("Versions", plain(meta.get("versions") or {}) or "not recorded"),
    ]
    for run in runs:
        rows.append((f"Run {run.name}", plain({key: value for key, value in run.meta.items() if value not in (None, {}, [])})))
    commands = [str(m["command"]) for m in (meta, *(run.meta for run in runs)) if m.get("command")]
    commands += [command] if command else []
    if commands:
        rows.append(("Command" if len(commands) == 1 else "Commands", "; ".join(dict.fromkeys(commands))))
    if meta.get("survey", {}).get("citation"):
        rows.append(("Survey's citation", str(meta["survey"]["citation"])))
    return rows
