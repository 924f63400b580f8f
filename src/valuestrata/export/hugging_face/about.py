"""What the card and the Croissant metadata say about an exported data set, written once for both."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from importlib.metadata import metadata, version
from typing import Any

import polars as pl

from valuestrata.dataset.document import published_text
from valuestrata.dataset.sharing import SHAREABLE_FROM
from valuestrata.dataset.tables import MISSING_CLASSES, Dataset, base_of, uses_halves
from valuestrata.errors import one_line
from valuestrata.export.export import ExportOptions
from valuestrata.export.hugging_face.fields import CLASSES
from valuestrata.export.hugging_face.rows import DECIMALS
from valuestrata.export.hugging_face.subtraction import Remainders
from valuestrata.formatting import count
from valuestrata.reports.closed.narrative import SPLITS, facts
from valuestrata.reports.core.names import stratum_titles

NO_LICENSE = "Not chosen yet. Whoever publishes this data set chooses a licence that the terms of the survey allow."
USES = (
    "Test how closely a language model, prompted with a persona, answers as the people of a subgroup do. Report its scores next to "
    "those of baselines, such as the most frequent answer to each question, and next to the ceilings in this data set.",
    "Study for which subgroups and questions a model is worse, with intervals.",
    "Train models on the parts `train` and `validation`, and test them on subgroups or questions that they have not seen.",
)
MISUSES = (
    "Do not infer what a person thinks from sex, age, ethnicity, religion or any other attribute. People differ within subgroups, mostly "
    "more than subgroups differ from each other.",
    "Do not use it to replace surveys of people, or to decide about a person or a group.",
    "Do not use it to persuade or target people, or to write texts that pass as the voice of a group.",
    "Do not train on the part `test` and then report scores on it.",
    "Do not compare accuracies across questions without ceilings and baselines: questions differ in how much people agree.",
)


@dataclass(frozen=True)
class About:
    """Facts and sentences about an exported data set.

    Attributes:
        title, summary: its name, and what it is.
        survey: (heading, sentence) pairs on the survey, its sample, weights and design.
        subgroups: sentences on how subgroups were made. attributes: (title, levels) of each attribute.
        minimum: sentences on minimum cells and what is not protected. missing: (class, meaning, its share among all answers).
        splits: (scheme, what it tests, folds, sizes of the parts) of each scheme. split: sentences on the exported one.
        uses, misuses, limits, biases, sensitive: sentences.
        collection: sentences on how the data were collected. maintenance: on releases.
        license: as the user stated it; None if not. citations: texts. paper: address of the last one.
        version: of the data set. made: date of the export.
        versions: (name, value) of hashes, files and programs.
    """

    title: str
    summary: str
    survey: tuple[tuple[str, str], ...]
    subgroups: tuple[str, ...]
    attributes: tuple[tuple[str, str], ...]
    minimum: tuple[str, ...]
    missing: tuple[tuple[str, str, str], ...]
    splits: tuple[tuple[str, str, str, str], ...]
    split: tuple[str, ...]
    uses: tuple[str, ...]
    misuses: tuple[str, ...]
    limits: tuple[str, ...]
    biases: tuple[str, ...]
    sensitive: tuple[str, ...]
    collection: tuple[str, ...]
    maintenance: str
    license: str | None
    citations: tuple[str, ...]
    paper: str
    version: str
    made: date
    versions: tuple[tuple[str, str], ...]


def describe(dataset: Dataset, options: ExportOptions, remainders: Remainders) -> About:
    """Return what is known about a data set and its export; `remainders` are those of its exported gold."""
    meta = dataset.meta
    survey: Mapping[str, Any] = meta["survey"]
    known = facts(dataset, [], [])
    targets = dataset.target_gold
    made = options.today or date.today()
    title = one_line(f"{dataset.survey_and_place}: answers of subgroups")
    return About(
        title=title,
        summary=f"This data set shows how {targets['subgroup'].n_unique():,} subgroups of respondents answered "
        f"{len(dataset.items):,} closed questions of a survey ({dataset.survey_and_place}). It has {targets.height:,} pairs of a question "
        "and a subgroup, each with the shares of the answers, the most frequent answer (the mode), how certain the mode is, and the best "
        "scores that can be expected (ceilings). It was made to compare language models that answer in a persona with the people whom the "
        "persona describes. It holds aggregates only; no row describes a respondent.",
        survey=tuple(known),
        subgroups=_how_subgroups_were_made(dataset),
        attributes=tuple(
            (str(one.get("title") or one["name"]), ", ".join(level["label"] for level in one["levels"])) for one in meta["attributes"]
        ),
        minimum=_minimum(dict(known)["Minimum cell"], remainders, weighted=bool(meta.get("weighted"))),
        missing=_missing(dataset),
        splits=tuple(_scheme(dataset, name, found) for name, found in (meta.get("splits") or {}).items() if "folds" in found),
        split=_exported_split(dataset, options),
        uses=USES,
        misuses=MISUSES,
        limits=_limits(dataset),
        biases=_biases(dataset),
        sensitive=_sensitive(dataset),
        collection=_collection(dataset),
        maintenance="An export does not change. If the survey is built again with other settings, the fingerprint changes, and a new "
        "export replaces this one. Errors are corrected in the survey's codebook; then everything is built again.",
        license=None if options.license is None else one_line(options.license),
        citations=_citations(survey),
        paper=_paper(),
        version=f"1.0.0+{dataset.fingerprint[:12]}",
        made=made,
        versions=_versions(dataset),
    )


def _how_subgroups_were_made(dataset: Dataset) -> tuple[str, ...]:
    counts: Mapping[str, Any] = dataset.meta.get("counts") or {}
    titles = stratum_titles(dataset)
    strata = ", ".join(titles[stratum] for stratum in dataset.strata)
    made = [
        "A subgroup is the set of all respondents with the same level of one attribute, or with the same levels of several attributes. "
        f"Attributes and combinations: {strata}.",
        "Levels are those of the survey, or bands of its variables; respondents without a level are in no subgroup of that attribute. "
        "Subgroups overlap: the same person is in a subgroup by sex, in one by age and in one by both.",
    ]
    if dropped := counts.get("subgroups_dropped"):
        made.append(f"{dropped:,} subgroups and {counts.get('pairs_dropped', 0):,} pairs are below the minimum and are left out.")
    return tuple(made)


def _minimum(rule: str, remainders: Remainders, *, weighted: bool) -> tuple[str, ...]:
    found = [
        f"{rule} No published cell has fewer than {SHAREABLE_FROM} answers.",
        f"Shares are rounded to {DECIMALS} decimals. Weighted counts, sizes of combinations of all attributes, redraws and their seeds are "
        "not published: weights and answers of single respondents could be worked out from them.",
        "Not protected: what follows from subtracting published subgroups from each other, and that all or nearly all respondents of a "
        "subgroup gave the same answer.",
    ]
    if remainders.rests:
        exactly = "roughly, because shares are weighted" if weighted else "exactly, because shares are not weighted"
        found.append(
            f"{count(remainders.rests, 'group')} of fewer than {SHAREABLE_FROM} answers can be worked out by subtracting the subgroups "
            f"of one stratum from a larger subgroup, {exactly}: for example respondents without a level of an attribute."
        )
    return tuple(found)


def _missing(dataset: Dataset) -> tuple[tuple[str, str, str], ...]:
    """Return each class with its share among the answers of the whole population to all items."""
    nation = dataset.gold.filter((pl.col("half") == "all") & (pl.col("subgroup") == "all"))
    totals = nation.select("n", "missing").unnest("missing").sum().row(0, named=True)
    every = sum(number or 0 for number in totals.values())
    return tuple((name, CLASSES[name], f"{(totals[name] or 0) / every:.2%}" if every else "not known") for name in MISSING_CLASSES)


def _scheme(dataset: Dataset, name: str, found: Mapping[str, Any]) -> tuple[str, str, str, str]:
    sizes = dataset.splits.filter((pl.col("scheme") == name) & (pl.col("fold") == 0)).group_by("part").len()
    of_part = dict(sizes.iter_rows())
    written = ", ".join(f"{of_part[part]:,} {part}" for part in ("train", "validation", "test") if part in of_part)
    return name, SPLITS.get(name, ""), f"{len(found['folds']):,}", written


def _exported_split(dataset: Dataset, options: ExportOptions) -> tuple[str, ...]:
    split = options.split
    held = dataset.fold_labels(split) if (dataset.meta.get("splits") or {}).get(base_of(split)) else []
    fold = "" if options.fold is None else f", fold {options.fold}" + (f" ({held[options.fold]})" if options.fold < len(held) else "")
    found = [f"The configurations `gold` and `chat` are divided by the split `{split}`{fold}. {SPLITS.get(base_of(split), '')}".strip()]
    if uses_halves(split):
        found.append("Training gold comes from one half of the respondents, test gold from the other; the column `half` names it.")
    found.append(
        "Each pair is in one part only. Subgroups overlap, so the same respondents can stand behind training and test pairs"
        + ("." if uses_halves(split) else "; the splits `+disjoint` and `+crossfit` of valuestrata avoid that.")
    )
    found.append("The part `unassigned` of `gold` has the pairs that the split leaves out, such as those of the whole population (`all`).")
    return tuple(found)


def _limits(dataset: Dataset) -> tuple[str, ...]:
    small = dataset.target_gold.filter(pl.col("flag") == "small").height
    flagged = f"{small:,} of {dataset.target_gold.height:,} pairs have fewer than {dataset.meta.get('flag_below', 60):g} effective answers"
    return (
        "It covers one survey, one population, one time and one wording of each question. Opinions change, and other wordings give other "
        "answers.",
        "Shares are estimates. Those of small subgroups are noisy: use `p_mode` and the ceilings, which state how noisy they are.",
        *([f"{flagged} and the flag `small`."] if small else []),
        "A good score does not show that a model understands or represents a group: baselines without a language model also score well.",
    )


def _biases(dataset: Dataset) -> tuple[str, ...]:
    published = dataset.meta.get("published")
    return (
        "Only people who could be reached and agreed to an interview are represented. People in institutions, without a home or without "
        "the language of the interview often are not.",
        "Respondents may have given answers that seemed acceptable to the interviewer.",
        "Attributes have the levels that the survey recorded. People whom these levels do not describe are left out or counted elsewhere.",
        "Small groups are missing because of the minimum cell, so results hold for larger groups only.",
        "Shares use the survey's weights, which correct for known differences between sample and population only."
        if dataset.meta.get("weighted")
        else "Shares are not weighted, so differences between the sample and the population are not corrected.",
        *([published_text(published)] if published else []),
    )


def _sensitive(dataset: Dataset) -> tuple[str, ...]:
    titles = ", ".join(str(one.get("title") or one["name"]) for one in dataset.meta["attributes"])
    topics = ", ".join(dataset.items["topic"].unique(maintain_order=True).to_list()[:20])
    return (
        f"It describes groups defined by: {titles}. Topics of the questions: {topics}. Statements about groups can be sensitive, above all "
        "about beliefs, politics, ethnicity and religion.",
        f"No row describes a person: there are no respondents' rows, ids or weights, and no cell with fewer than {SHAREABLE_FROM} answers.",
    )


def _collection(dataset: Dataset) -> tuple[str, ...]:
    meta = dataset.meta
    source: Mapping[str, Any] = meta.get("source") or {}
    wording = sorted(dataset.items["wording_source"].unique().drop_nulls().to_list())
    ours = ", written for valuestrata after the questionnaire; labels of options are the survey's" if wording == ["valuestrata"] else ""
    citation = (meta["survey"].get("citation") or "").strip()
    return (
        f"The answers were collected by the survey, not for this data set. {citation}".strip(),
        f"Answers were counted from the survey file with SHA-256 {source.get('sha256', 'not recorded')}.",
        f"Wording of the questions: {', '.join(wording) or 'not recorded'}{ours}.",
    )


def _citations(survey: Mapping[str, Any]) -> tuple[str, ...]:
    return (
        *([str(survey["citation"])] if survey.get("citation") else []),
        f"valuestrata {version('valuestrata')}, by the valuestrata developers.",
        "Tan et al. (2026): Can Persona-Prompted LLMs Emulate Subgroup Values? Its design is followed here.",
    )


def _paper() -> str:
    """Return the address of the paper, from the package's metadata."""
    links = dict(line.split(", ", 1) for line in metadata("valuestrata").get_all("Project-URL") or [])
    return links["Paper"]


def _versions(dataset: Dataset) -> tuple[tuple[str, str], ...]:
    meta = dataset.meta
    settings: Mapping[str, Any] = meta.get("settings") or {}
    built = ", ".join(f"{name} {number}" for name, number in (meta.get("versions") or {}).items())
    return (
        ("fingerprint of the data set", dataset.fingerprint),
        ("SHA-256 of the survey file", str((meta.get("source") or {}).get("sha256", "not recorded"))),
        ("survey and version of its codebook", f"{meta['survey']['name']}, {meta['survey'].get('version') or 'not recorded'}"),
        ("seed of the splits", str(settings.get("split_seed", "not recorded"))),
        ("built with", built or "not recorded"),
        ("exported with", f"valuestrata {version('valuestrata')}"),
    )
