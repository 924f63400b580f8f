"""Summaries of a survey file: what was recognised and what was not, as text and as a dictionary."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from textwrap import wrap
from typing import Any

import numpy as np

from valuestrata.measures import kish_n_eff
from valuestrata.stats.blocks import ENOUGH_BLOCKS, block_numbers, effective_blocks
from valuestrata.survey.codebook import Attribute, Missing
from valuestrata.survey.levels import values_text
from valuestrata.survey.read import problem_text
from valuestrata.survey.survey import DroppedRespondents, Survey

# Longer lists are cut in the text, but not in the dictionary.
SHOWN = 12
WIDTH = 110
# A larger share of respondents without a level of an attribute is a warning.
WARN_ABOVE = 0.05


def describe(survey: Survey) -> str:
    """Return the summary as text for a terminal."""
    source, findings = survey.source, survey.findings
    lines = [f"{source.file} ({source.format}): {survey.codebook.title}"]
    lines.append(f"  {source.respondents:,} respondents" + ("" if source.rows == source.respondents else f" of {source.rows:,} rows"))
    if survey.countries:
        lines += _listed("  Countries", [f"{country.alpha} {country.name}" for country in survey.countries])
    lines.append(f"  Weight: {_weight_text(survey)}")

    lines += ["", f"Items: {len(survey.items)}"]
    for topic, ids in _topics(survey).items():
        lines += _listed(f"  {topic} ({len(ids)})", ids)
    lines += wrap(blocks_text([item.block for item in survey.items]), WIDTH, initial_indent="  ", subsequent_indent="  ")

    lines += ["", f"Attributes: {len(survey.attributes)}"]
    without = {entry.attribute: entry for entry in findings.dropped}
    for attribute, counts, unknown in _attribute_counts(survey):
        shown = [f"{label} {count:,}" for label, count in counts.items() if count]
        lines += _listed(f"  {attribute.name}", [*shown, *([f"(unknown {unknown:,})"] if unknown else [])], shown=30)
        if attribute.name in without:
            text = f"left out: {_values_text(without[attribute.name])}"
            lines += wrap(text, WIDTH, initial_indent="      ", subsequent_indent="        ")

    lines += ["", "Missing answers"]
    values = dict(findings.missing_values)
    for kind, counts in _missing(survey).items():
        most = ", ".join(f"{item} {count:,}" for item, count in counts.most_common(3))
        lines.append(f"  {kind:<15}{counts.total():>10,}" + (f"   most in {most}" if counts.total() else ""))
        if kind in values:
            lines += wrap(f"values: {values_text(values[kind])}", WIDTH, initial_indent="      ", subsequent_indent="        ")

    rest = _listed("  Items whose labels match nothing", [problem_text(problem) for problem in findings.label_problems])
    rest += _listed("  Items not in the file", findings.absent_items)
    rest += _listed("  Items without a valid answer", findings.unanswered_items)
    rest += _listed("  Attributes not in the file", findings.absent_attributes)
    for name, values in findings.unknown_levels:
        rest += _listed(f"  {name}: values that match no level", [f"{value!r} ({count})" for value, count in values])
    rest += _listed("  Columns not in the codebook", findings.ignored_columns)
    lines += ["", "Not recognised or not used", *(rest or ["  nothing"])]
    if findings.notes:
        lines += ["", "Notes"]
        for note in findings.notes:
            lines += wrap(note, WIDTH, initial_indent="  - ", subsequent_indent="    ")
    return "\n".join(lines) + "\n"


def blocks_text(blocks: Sequence[str | None]) -> str:
    """Return how many blocks the items form, what intervals resample, and what follows from it.

    Args:
        blocks: the block of each item, None without one.
    """
    numbers, items = block_numbers(blocks), f"{len(blocks)} {'item' if len(blocks) == 1 else 'items'}"
    named = len(set(blocks) - {None})
    if not named:
        return (
            f"No item has a `block` (battery of the questionnaire): intervals take {items} as independent, and are too narrow if some "
            "belong to one battery."
        )
    effective = float(effective_blocks(np.ones((1, len(numbers))), numbers)[0])
    found = f"{items} in {int(numbers.max()) + 1} blocks ({named} named), equivalent to {effective:.1f} of equal size"
    if effective < ENOUGH_BLOCKS:
        return f"{found}: most items are of one block, so intervals resample items and refer to other questions of this battery."
    return f"{found}: intervals resample blocks."


def notices(survey: Survey) -> list[str]:
    """Return what a build should say: notes, items that were left out, and respondents that attributes drop.

    An attribute that drops more than 5 % of the respondents gets a warning.
    """
    findings = survey.findings
    lines = list(findings.notes)
    for what, names in (
        ("of the codebook not in the file", findings.absent_items),
        ("without a valid answer", findings.unanswered_items),
    ):
        if names:
            lines.append(f"Left out: {len(names)} {'item' if len(names) == 1 else 'items'} {what}: {_first(names)}.")
    if findings.absent_attributes:
        lines.append(f"Left out: attributes of the codebook not in the file: {_first(findings.absent_attributes)}.")
    for entry in findings.dropped:
        warning = "Warning: " if entry.share > WARN_ABOVE else ""
        lines.append(f"{warning}{entry.attribute} leaves out {_values_text(entry)}.")
    return lines


def _values_text(entry: DroppedRespondents) -> str:
    respondents = "respondent" if entry.respondents == 1 else "respondents"
    return f"{entry.respondents:,} of {entry.total:,} {respondents} ({entry.share:.1%}): {values_text(entry.values)}"


def _first(names: Sequence[str]) -> str:
    return ", ".join(names[:SHOWN]) + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")


def describe_dict(survey: Survey) -> dict[str, Any]:
    """Return the summary as a JSON-serialisable dictionary, with all lists complete."""
    source, findings = survey.source, survey.findings
    left_out = {entry.attribute: dict(entry.values) for entry in findings.dropped}
    values = {kind: dict(counts) for kind, counts in findings.missing_values}
    return {
        "file": source.file,
        "format": source.format,
        "sha256": source.sha256,
        "rows": source.rows,
        "respondents": source.respondents,
        "survey": survey.codebook.survey,
        "title": survey.codebook.title,
        "countries": [{"code": c.code, "alpha": c.alpha, "name": c.name} for c in survey.countries],
        "weight": _weight(survey),
        "pooling": survey.pooling,
        "items": [
            {
                "item": item.id,
                "topic": item.topic,
                "block": item.block,
                "level": item.level,
                "codes": list(item.codes),
                "answers": int(answered),
            }
            for item, answered in zip(survey.items, (survey.answers >= 0).sum(axis=0), strict=True)
        ],
        "attributes": [
            {"attribute": attribute.name, "levels": counts, "unknown": unknown, "left_out": left_out.get(attribute.name, {})}
            for attribute, counts, unknown in _attribute_counts(survey)
        ],
        "missing": {
            kind: {"total": counts.total(), "items": dict(counts), "values": values.get(kind, {})}
            for kind, counts in _missing(survey).items()
        },
        "not_recognised": {
            "label_problems": [{"item": p.item, "column": p.column, "labels": dict(p.labels)} for p in findings.label_problems],
            "absent_items": list(findings.absent_items),
            "unanswered_items": list(findings.unanswered_items),
            "absent_attributes": list(findings.absent_attributes),
            "unknown_levels": {name: dict(values) for name, values in findings.unknown_levels},
            "ignored_columns": list(findings.ignored_columns),
        },
        "notes": list(findings.notes),
    }


def _topics(survey: Survey) -> dict[str, list[str]]:
    topics: dict[str, list[str]] = {}
    for item in survey.items:
        topics.setdefault(item.topic, []).append(item.id)
    return topics


def _attribute_counts(survey: Survey) -> list[tuple[Attribute, dict[str, int], int]]:
    """Return, for each attribute, level label -> number of respondents, and the number without a level."""
    found: list[tuple[Attribute, dict[str, int], int]] = []
    for attribute, column in zip(survey.attributes, survey.levels.T, strict=True):
        counts = np.bincount(column[column >= 0], minlength=len(attribute.levels))
        labels = {level.label: int(count) for level, count in zip(attribute.levels, counts, strict=True)}
        found.append((attribute, labels, int((column < 0).sum())))
    return found


def _missing(survey: Survey) -> dict[str, Counter[str]]:
    """Return, for each class of missing, item -> number of missing answers, for items that have any."""
    found: dict[str, Counter[str]] = {}
    for kind in Missing:
        cells = (survey.answers == kind).sum(axis=0)
        found[kind.key] = Counter({item.id: int(count) for item, count in zip(survey.items, cells, strict=True) if count})
    return found


def _weight(survey: Survey) -> dict[str, Any] | None:
    """Return the weight's column, range and effective sample size (sum w)^2 / sum w^2; None if unweighted."""
    weight = survey.weight
    if weight is None:
        return None
    return {"column": survey.codebook.weight, "min": float(weight.min()), "max": float(weight.max()), "n_eff": kish_n_eff(weight)}


def _weight_text(survey: Survey) -> str:
    weight = _weight(survey)
    if weight is None:
        return "none"
    pooled = f" (countries combined by {survey.pooling})" if survey.pooling else ""
    return f"{weight['column'] or 'none'}{pooled}, {weight['min']:.3g} to {weight['max']:.3g}, effective sample size {weight['n_eff']:,.0f}"


def _listed(head: str, words: list[str] | tuple[str, ...], shown: int = SHOWN) -> list[str]:
    """Return `head: word, word, ...` as wrapped lines, or no lines if there are no words."""
    if not words:
        return []
    rest = [f"and {len(words) - shown} more"] if len(words) > shown else []
    return wrap(f"{head}: {', '.join([*words[:shown], *rest])}", WIDTH, initial_indent="  ", subsequent_indent="      ")
