"""Survey, split, prompts and models of a report in words, and a summary of each model."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast

from valuestrata.claims.wording import BASELINE_RULES
from valuestrata.dataset.design import design_text
from valuestrata.dataset.document import published_text
from valuestrata.dataset.tables import Dataset, base_of, survey_and_place, uses_halves
from valuestrata.dataset.training_source import LONG_KEYS
from valuestrata.formatting import capital, count, percent, title
from valuestrata.reports.core.names import minimum_cell, plain, stratum_titles
from valuestrata.reports.core.names import short_label as name_of
from valuestrata.reports.core.view import EMPTY, Cell, Entry, RunLike, View
from valuestrata.responses.run.folder import EXAMPLES
from valuestrata.responses.run.identity import run_identity
from valuestrata.scores.train_test_overlap import training_overlap

SPLITS: Mapping[str, str] = {
    "paper": "Trained on single attributes and on their crossings with sex (the first attribute where there is no sex); "
    "tested on the other crossings. Questions are the same in train and test; only the combination of attributes is new.",
    "unseen-level": "Every fold holds out one level of one attribute and every subgroup that contains it.",
    "unseen-item": "Every fold holds out the questions of some topics; subgroups are the same in train and test.",
    "unseen-both": "Unseen questions asked of unseen combinations of attributes.",
    "transfer": "Every pair is a test pair; baselines and tuned models are trained on another data set.",
    "none": "Nothing is trained: with fewer than three attributes every pair is a test pair.",
}
READOUTS: Mapping[str, str] = {
    "text": "the answer is parsed from the text of the model",
    "logprob": "the answer is the option with the most probable string",
    "first-token": "the answer is the option with the most probable first token",
    "per-respondent": "shares of the answers given as single respondents; the answer is the largest",
    "shares": "shares of the options, as imported; the answer is the largest",
    "stated-distribution": "the model states a percentage for each option; the answer is the largest",
    "reasoned": "the model writes its reasoning, then the answer, which is parsed",
}


def facts(dataset: Dataset, views: Sequence[View], runs: Sequence[RunLike]) -> list[tuple[str, str]]:
    """Return (heading, sentence) pairs: survey, respondents, questions, subgroups, split, elicitation."""
    meta = dataset.meta
    survey, counts = meta.get("survey") or {}, meta.get("counts") or {}
    rows = [("Survey", f"{survey.get('title') or survey.get('name') or 'unnamed'}{_in_place(dataset)}.")]
    respondents = meta.get("respondents")
    weighted = meta.get("weighted")
    weight = "not weighted" if not weighted else f"weighted ({count(meta.get('n_eff'))} effective)" if meta.get("n_eff") else "weighted"
    if respondents is not None:
        rows.append(("Respondents", f"{count(int(respondents), 'respondent')}, {weight}."))
    published = meta.get("published")
    design = published_text(published) if published else design_text(meta.get("design"), meta.get("design_effect"))
    rows.append(("Published counts" if published else "Sampling design", design))
    topics = dataset.items["topic"].n_unique()
    levels = dict(dataset.items.group_by("level").len().sort("len", descending=True).iter_rows())
    kinds = ", ".join(f"{n} {level}" for level, n in levels.items())
    rows.append(("Questions", f"{count(len(dataset.items), 'item')} in {count(topics, 'topic')} ({kinds})."))
    groups = dataset.subgroups.filter(dataset.subgroups["stratum"].is_in(dataset.strata))
    strata = stratum_titles(dataset)
    rows.append(("Subgroups", f"{count(len(groups), 'subgroup')}: {', '.join(strata[s] for s in dataset.strata)}."))
    rows.append(("Minimum cell", f"{capital(minimum_cell(dataset))}."))
    dropped = [count(counts[key], noun) for key, noun in (("subgroups_dropped", "subgroup"), ("pairs_dropped", "pair")) if counts.get(key)]
    if dropped:
        rows.append(("Left out", f"{' and '.join(dropped)} below the minimum."))
    for view in views:
        rule = SPLITS.get(base_of(view.scheme), "")
        disjoint = " Training and test gold come from different halves of the respondents." if uses_halves(view.scheme) else ""
        fold = "" if view.fold is None else f" of fold {view.fold}"
        pairs = f"{count(view.gold['pair_id'].n_unique(), 'pair')} of an item and a subgroup in the {view.part} part{fold}."
        rows.append((f"Split {view.scheme}", f"{pairs} {rule}{disjoint}".strip()))
    for view in views[:1]:
        rows += [("Trained on", sentence) for sentence in trained_elsewhere(dataset, runs, view.scheme, view.part, view.fold)]
    rows += _asking(runs)
    return rows


def trained_elsewhere(dataset: Dataset, runs: Sequence[RunLike], split: str, part: str, fold: int | None) -> list[str]:
    """Return where runs were trained, if not on the data set: a sentence for each other survey, and one for runs without a record."""
    overlaps = training_overlap(dataset, runs, split=split, part=part, fold=fold)
    found: dict[str, list[str]] = {}
    for run in runs:
        overlap = overlaps[run.name]
        if overlap.relation == "unknown":
            found.setdefault("not recorded, so it cannot be compared with the test", []).append(name_of_run(run))
        elif overlap.relation == "elsewhere":
            source: Mapping[str, Any] = run.meta.get("training_data") or {}
            stated = [survey_and_place(one.survey, one.place) for one in run_identity(run).sources if one.survey is not None]
            survey = str(source.get("survey") or (stated[0] if stated else "a survey that is not recorded"))
            digest = source.get("fingerprint") or next((one.dataset for one in run_identity(run).sources if one.dataset), None)
            also = "; another file of the survey tested here, which may hold the same respondents" if overlap.same_survey else ""
            found.setdefault(f"{survey}{f' (data set {digest[:12]})' if digest else ''}{also}", []).append(name_of_run(run))
    return [f"{where}: {', '.join(names)}." for where, names in found.items()]


def name_of_run(run: RunLike) -> str:
    """Return the name of a run, for a baseline that of its kind."""
    identity = run_identity(run)
    return f"baseline {identity.rule}" if identity.is_baseline else run.name


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
        texts = [f"{readout}: {READOUTS.get(readout, 'as recorded')}" for readout in readouts]
        rows.append(("Elicitation", "; ".join(texts) + "."))
    if templates:
        rows.append(("Persona", f"template {', '.join(templates)}."))
    return rows


def example_prompts(runs: Iterable[RunLike]) -> list[tuple[str, str]]:
    """Return (heading, prompt): one rendered prompt of each template and elicitation, from the runs that keep one."""
    found: dict[tuple[str, str], str] = {}
    for run in runs:
        for prompt in run.meta.get(EXAMPLES) or ():
            turns = [f"{message['role']}: {message['content']}" for message in prompt["messages"]]
            turns += [f"assistant: {prompt['prefill']}"] if prompt.get("prefill") else []
            found.setdefault((prompt["template"], prompt["elicitation"]), "\n".join(turns))
    return [(f"Prompt, {template}, {elicitation}", text) for (template, elicitation), text in found.items()]


def models(runs: Sequence[RunLike]) -> list[tuple[str, str]]:
    """Return (run, identity on one line) for what is not a baseline."""
    rows: list[tuple[str, str]] = []
    for run in runs:
        identity = run_identity(run)
        if not identity.is_baseline:
            rows.append((run.name, plain(_without_hashes(identity.respondent.document)) or "no identity recorded"))
    return rows


def _without_hashes(identity: Mapping[str, Any]) -> dict[str, Any]:
    """Return the identity of a model without hashes, versions and unset fields."""
    hidden = ("versions", "files", "libraries", *_fitted(identity), *LONG_KEYS)
    kept: dict[str, Any] = {}
    for key, value in identity.items():
        if key in hidden or value is None or value in ([], {}, "") or re.fullmatch(r"[0-9a-f]{32,}", str(value)):
            continue
        kept[key] = _without_hashes(cast("Mapping[str, Any]", value)) if isinstance(value, Mapping) else value
    return kept


def _fitted(document: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the key of the parameters in the document of a calibrated run, which have a section of their own."""
    return ("settings",) if "method" in document else ()


def _short(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return a run's document without its longest parts: example prompts, fitted parameters, and lists of training pairs."""
    return {
        key: _short(cast("Mapping[str, Any]", value)) if isinstance(value, Mapping) else value
        for key, value in document.items()
        if key not in (EXAMPLES, *_fitted(document), *LONG_KEYS)
    }


def summary(view: View, entry: Entry) -> str:
    """Return one model's score in words, next to those of the baselines and the ceiling, all in the metric that the ceiling bounds.

    Baselines are named only where model and baselines were scored on every pair: scores on different pairs are not comparable.
    """
    metric = view.accuracy_metric
    score = view.overall(entry, metric)
    if score.value is None:
        return f"{entry.label} has no score on this part."
    ends = "" if score.low is None or score.high is None else f" (95\u00a0% CI {percent(score.low)} to {percent(score.high)})"
    text = [f"{entry.label} has an {title(metric)} of {percent(score.value)} over {count(score.pairs, 'pair')}{ends}."]
    baselines = [one for one in view.of_kind("baseline") if one.rule == "item-mode"]
    best = view.best_cheap(metric)
    baselines = baselines[:1] + [one for one in (best,) if one is not None and one not in baselines[:1]]
    if not baselines:
        text.append("No baseline was scored, so this number cannot be judged. Run baseline:item-mode.")
    elif all(is_complete(view.overall(one, metric)) for one in (entry, *baselines)):
        text += [f"{capital(_rule(one))} scores {percent(view.overall(one, metric).value)}." for one in baselines]
    ceiling = ceiling_of(view, entry)
    if ceiling.value is not None:
        text.append(f"The ceiling is {percent(ceiling.value)}.")
    if not is_complete(score):
        text.append(f"It was asked {percent(score.coverage)} of the pairs; the rest is not scored.")
    return " ".join(text)


def ceiling_of(view: View, entry: Entry) -> Cell:
    """Return the ceiling of the score of a run: of a run that skipped pairs, that of the pairs it answered. Empty without one."""
    metric = view.accuracy_metric
    if metric != "accuracy_expected":
        return EMPTY
    complete = is_complete(view.overall(entry, metric))
    return view.bound("all", view.all_key, "ceiling_oracle") if complete else view.overall(entry, "ceiling_oracle")


def is_complete(score: Cell) -> bool:
    """Whether a run was scored on every pair."""
    return score.coverage is None or score.coverage >= 0.9999


def _rule(baseline: Entry) -> str:
    return f"The {name_of(baseline)} baseline" + (f" ({BASELINE_RULES[baseline.rule]})" if baseline.rule in BASELINE_RULES else "")


def method(dataset: Dataset, runs: Sequence[RunLike], views: Sequence[View], command: str | None) -> list[tuple[str, str]]:
    """Return (heading, value) pairs of what is needed to reproduce the report."""
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
        ("Shareable", "yes" if meta.get("shareable") else "no: some cells have fewer answers than the minimum for sharing"),
        ("Versions", plain(meta.get("versions") or {}) or "not recorded"),
    ]
    for run in runs:
        rows.append((f"Run {run.name}", plain({key: value for key, value in _short(run.meta).items() if value not in (None, {}, [])})))
    commands = [str(m["command"]) for m in (meta, *(run.meta for run in runs)) if m.get("command")]
    commands += [command] if command else []
    if commands:
        rows.append(("Command" if len(commands) == 1 else "Commands", "; ".join(dict.fromkeys(commands))))
    if meta.get("survey", {}).get("citation"):
        rows.append(("Survey's citation", str(meta["survey"]["citation"])))
    return rows
