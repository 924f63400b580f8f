"""The page of the ladder of baselines: tables and plain words from the figures that `baseline_table` makes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Figures = Mapping[str, Any]

RAW = {"accuracy": "Accuracy", "accuracy_expected": "Expected accuracy", "nmae": "NMAE", "w1": "W1"}
# Score -> the bound it is measured against.
BOUND = {"accuracy_expected": "ceiling_oracle", "nmae": "floor_nmae", "w1": "floor_w1"}
HIGH_IS_GOOD = ("accuracy", "accuracy_expected")

PAGE = """# The ladder of baselines

What no model, and what a statistical model, would score on the same pairs. This page is written whole by

    python bench/baseline_table.py -o docs/baselines.md

{about}
Intervals are 95 %, two-way over items and respondents ({bootstrap:,} replicates; see `reading-a-score.md`); differences are paired
on pairs. A split of several folds is pooled: a pair is answered by the folds that test it. Accuracies are high, NMAE and W1
low where a baseline is good.
{missing}
## The baselines

| baseline | answers |
| --- | --- |
| uniform | every code equally often |
| midpoint | the middle of the scale, whoever is asked |
| item-average | the mean distribution of the other training items with as many codes |
| item-mode | the item's own training distribution over everyone |
| nearest-parent | that of the smallest trained parent subgroup, shrunk toward the parent's parents |
| additive | main effects of the attributes, proportional odds (nominal items: multinomial logit) |
| additive-multinomial | the same, multinomial for every item |
| multilevel | effects of levels and of pairs of levels, partially pooled, poststratified |
| low-rank | effects of levels, cut to a few patterns that all items share |
| ensemble | the mean of multilevel and low-rank; where train and test share people, raked to the training cells |
| item-text | an unseen item from its wording, labels, scale and topic; a trained item from its own shares and smoothed departures |

All see training pairs only (`tests/respondents/test_poison.py`). Penalties and ranks are chosen inside the training pairs,
by leaving out strata. Those who stay are the people of those left out, as the people of a test cell are in the plain splits; under
`+disjoint` they are not, and the penalties of additive and low-rank are then too weak. Multilevel estimates its variances from
how far cells share people, and is not touched by this. An item that nothing trained on is answered by
item-average, except by uniform, midpoint and item-text. The claim below is about
`{strongest}`, the baseline that `bench/simulation_study.py` names; the tables show where another one does better. {embedding}

One choice was not made blind. Item-text first trusted the text alone, and lost to item-average on unseen items of gss2018
(expected accuracy .431 against .596). Since then it is a mixture with item-average, whose weight is chosen by leaving topics
out of the training items and never on test gold; but that there is a mixture is owed to that figure. A variant that answers
the median of the predictive distribution instead of its mean was tried on unseen items of gss2012 and not taken: expected
accuracy .453 against .460, W1 .176 against .178.

## What was claimed

{claims}

## The tables

*Relative* is (score - best cheap baseline) / (bound - best cheap baseline), the cheap ones being uniform, midpoint, item-mode and
nearest-parent, and the bound `ceiling_oracle` for expected accuracy, `floor_nmae` and `floor_w1` for distances: 1 is all that
the survey's noise leaves to be had. "Saturated" means that there is no room beyond noise. Above 1 a baseline knows the noise of the
very people it is tested on, which only `+disjoint` takes away.

{tables}
"""


def document(
    found: Sequence[Figures], about: Mapping[str, Figures], strongest: str, by_item: str, bootstrap: int, missing: Sequence[str]
) -> str:
    """Return the page.

    Args:
        found: what `baseline_table.figures` returns, a data set and split each.
        about: data set -> items, subgroups, pairs, attributes. strongest: the baseline whose gain is the claim.
        by_item: name of the split that deals items one by one. bootstrap: replicates behind the intervals.
        missing: splits that were not asked for; the page says so.
    """
    whole = [one for one in found if "refused" not in one]
    page = PAGE.format(
        about="\n".join(_about(name, its) for name, its in about.items()) + "\n",
        bootstrap=bootstrap,
        missing=f"\n**Not in this edition of the page:** {', '.join(missing)}.\n" if missing else "",
        strongest=strongest,
        embedding=_embedding(whole),
        claims="\n\n".join([_paper_claim(whole, strongest), _item_claim(whole, by_item)]),
        tables="\n\n".join("\n\n".join([f"### {name}", *(_section(one) for one in found if one["dataset"] == name)]) for name in about),
    )
    return page.rstrip() + "\n"


def _about(name: str, its: Figures) -> str:
    attributes = ", ".join(its["attributes"])
    return f"- **{name}**: {its['items']} items, {its['subgroups']} subgroups, {its['pairs']:,} pairs; {attributes}."


def _embedding(found: Sequence[Figures]) -> str:
    methods: set[str] = set()
    for one in found:
        settings = one["settings"].get("baseline-item-text") or []
        methods |= {its["embedding"] for its in (settings if isinstance(settings, list) else [settings])}
    return f"Item texts were embedded by {' and '.join(sorted(methods))}." if methods else ""


def _paper_claim(found: Sequence[Figures], strongest: str) -> str:
    lines = [f"**Unseen combinations: {strongest} less nearest-parent.** Claimed: better in expected accuracy and in W1.", ""]
    rows = []
    for one in found:
        if one["split"].removesuffix("+disjoint") in ("paper", "unseen-level", "transfer"):
            cells = [_difference(one, strongest, "nearest-parent", metric) for metric in ("accuracy_expected", "w1")]
            rows.append([one["dataset"], one["split"], *(text for text, _ in cells), _reached([better for _, better in cells])])
    return "\n".join([*lines, _table(["data", "split", "Expected accuracy", "W1", "claim"], rows)])


def _item_claim(found: Sequence[Figures], by_item: str) -> str:
    rows = []
    for one in found:
        if not one["split"].startswith(("unseen-item", "unseen-both")):
            continue
        for other in ("midpoint", "item-average"):
            cells = [_difference(one, "item-text", other, metric) for metric in ("accuracy_expected", "w1")]
            rows.append([one["dataset"], one["split"], other, *(text for text, _ in cells), _reached([better for _, better in cells])])
    table = _table(["data", "split", "less", "Expected accuracy", "W1", "claim"], rows)
    return f"""**Unseen items: item-text less midpoint and less item-average.** Claimed: better than both.

{table}

Why it is hard where folds are dealt by topic: batteries stand in one topic, so that whole scales and subjects are unseen and
nothing that trains is like the item asked about. `{by_item}` is the same data with items dealt one by one, so that others of their
battery train. It is no split of the data set; it shows what of the loss is the topic."""


def _difference(one: Figures, run: str, other: str, metric: str) -> tuple[str, bool | None]:
    """Return a difference as text, and whether its interval lies on the better side; None where there is none."""
    for row in one["differences"]:
        if (row["run"], row["against"], row["metric"]) == (f"baseline-{run}", f"baseline-{other}", metric) and row["ci_low"] is not None:
            good = row["ci_low"] > 0 if metric in HIGH_IS_GOOD else row["ci_high"] < 0
            return f"{row['difference']:+.4f} [{row['ci_low']:+.4f}, {row['ci_high']:+.4f}]", good
    return "-", None


def _reached(better: Sequence[bool | None]) -> str:
    if all(better):
        return "reached"
    names = [name for name, good in zip(("expected accuracy", "W1"), better, strict=True) if good]
    return f"{' and '.join(names)} only" if names else "not reached"


def _section(one: Figures) -> str:
    title = f"#### {one['dataset']}, {one['split']}"
    if "refused" in one:
        return f"{title}\n\nNot there: {one['refused']}"
    bounds = {row["metric"]: row["value"] for row in one["scores"]}
    words = f"{one['pairs']:,} test pairs of {one['items']} items" + (f" in {one['folds']} folds" if one["folds"] > 1 else "")
    if one["trained_on"]:
        lacks = one["unmatched"] or {}
        absent = ", ".join([f"{len(lacks.get('items', []))} items", f"{len(lacks.get('levels', []))} levels"])
        words += f"; trained on {one['trained_on']}, where {absent} have no match"
    words += (
        f". Ceiling of expected accuracy {_number(bounds['ceiling_oracle'])}, of two fresh samples {_number(bounds['ceiling_human'])}; "
        f"floor of NMAE {_number(bounds['floor_nmae'])}, of W1 {_number(bounds['floor_w1'])}."
    )
    value = {(row["run"], row["metric"]): row for row in one["scores"]}
    against = {(row["run"], row["metric"]): row for row in one["relative"]}
    runs = list(dict.fromkeys(row["run"] for row in one["scores"]))
    best = {metric: against[runs[0], metric]["baseline"] for metric in BOUND}
    rows = [
        [
            run.removeprefix("baseline-"),
            *(_interval(value[run, metric], "value", "ci_low", "ci_high") for metric in RAW),
            *(_relative(against[run, metric]) for metric in BOUND),
        ]
        for run in runs
    ]
    headers = ["baseline", *RAW.values(), *(f"relative, {RAW[metric]}" for metric in BOUND)]
    cheap = "; ".join(f"{RAW[metric]}: {(name or 'none').removeprefix('baseline-')}" for metric, name in best.items())
    scores = _table(headers, rows)
    kept = list(dict.fromkeys((row["run"], row["against"]) for row in one["differences"]))
    paired = [
        [
            f"{run.removeprefix('baseline-')} less {other.removeprefix('baseline-')}",
            *(_difference(one, run.removeprefix("baseline-"), other.removeprefix("baseline-"), metric)[0] for metric in RAW),
        ]
        for run, other in kept
    ]
    return "\n\n".join(
        [title, f"{words}\nBest cheap baseline: {cheap}.", scores, "Paired differences:", _table(["", *RAW.values()], paired)]
    )


def _relative(row: Figures) -> str:
    return _interval(row, "relative", "relative_low", "relative_high", places=2) if row["state"] == "ok" else str(row["state"])


def _interval(row: Figures, middle: str, low: str, high: str, places: int = 3) -> str:
    if row[middle] is None:
        return "-"
    inside = "" if row[low] is None else f" [{_number(row[low], places)}, {_number(row[high], places)}]"
    return f"{_number(row[middle], places)}{inside}"


def _number(value: float | None, places: int = 3) -> str:
    if value is None:
        return "-"
    text = f"{value:.{places}f}"
    return text.replace("0.", ".", 1) if text.startswith(("0.", "-0.")) else text


def _table(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    line = "| " + " | ".join(headers) + " |"
    return "\n".join([line, "|" + " --- |" * len(headers), *("| " + " | ".join(row) + " |" for row in rows)])
