"""Verdict lines on gaps between levels: which are shown, what explains them, which could not have been seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

from valuestrata.auditing.sentences import Finding, Manner, Row, corrected, p_of, turned, turned_ends
from valuestrata.scores.phrases import count, percent, size, title

# Chance with which a detectable gap is found.
TARGET = 0.8
# Gaps under this need not be seen: the size from which `underpowered` is said.
SMALLEST_GAP = 0.02


def no_baseline(metric: str, pairs: int) -> Finding:
    """Say that no baseline tells what lies in the survey itself."""
    text = f"no cheap baseline was run beside it: how much of any gap in {title(metric)} a model-free answer shows too is not known"
    return Finding("no-baseline", f"{text} ({count(pairs, 'pair')})", metric, pairs=pairs)


@dataclass(frozen=True)
class Left:
    """What an explanation leaves of an advantage.

    Attributes:
        called: the explanation in words. value, low, high: what is left, turned as the advantage is; None where not known.
        p: adjusted within its family.
    """

    called: str
    value: float | None
    low: float | None
    high: float | None
    p: float | None

    def word(self, advantage: float, manner: Manner) -> str:
        """Say what the explanation does to an advantage: `remains`, `explained`, `turned`, `untold` or `unknown`.

        It *explains* the advantage where its interval includes 0 and leaves out the advantage. An interval that holds both tells
        nothing: what is left may be nothing or all of it.
        """
        if self.value is None or self.low is None or self.high is None or self.p is None:
            return "unknown"
        if manner.shown(self.p, self.value):
            return "remains" if self.value > 0 else "turned"
        return "explained" if self.low <= 0 <= self.high < advantage else "untold"


def gap(row: Row, family: int, manner: Manner) -> Finding | None:
    """Say what a gap between two levels is worth, and what remains of it; None where nothing is shown.

    A gap that is not there plainly but beside the baseline or at equal difficulty is said, too.

    Args:
        row: of GAPS. family: gaps tested together. manner: of writing.
    """
    if row["gap"] is None or row["p_holm"] is None:
        return None
    plain = manner.shown(row["p_holm"], row["gap"])
    leading = row["gap"] if plain else _hidden(row, manner)
    if leading is None:
        return None
    sign = turned(row["metric"], 1.0)
    forward = sign * leading > 0
    sign = sign if forward else -sign
    better, worse = (row["level"], row["against_level"]) if forward else (row["against_level"], row["level"])
    metric, advantage = row["metric"], sign * row["gap"]
    low, high = turned_ends(sign, row["ci_low"], row["ci_high"])
    named = f"the baseline {row['baseline']}" if row["baseline"] else "a baseline"
    left = (
        Left(f"beside {named}", *_side(sign, row, "excess")),
        Left("at equal difficulty", *_side(sign, row, "adjusted")),
    )
    words = [one.word(advantage, manner) for one in left]
    what = "; ".join(_left(one, word, metric, manner) for one, word in zip(left, words, strict=True))
    alike = row["expected_alike"]
    way = "better" if advantage >= 0 else "worse"
    figures = f"{title(metric)} {size(metric, abs(advantage))} {way} for {better} ({manner.interval(metric, low, high, 'the advantage')}"
    figures += f"; noise alone gives {size(metric, alike)} on average" if alike is not None else ""
    figures += f"; {p_of(row['p_holm'])}{corrected(family, 'gap')}; {count(row['items'], 'item')}, {count(row['pairs'], 'pair')})"
    claim = f"better for {better} than for {worse} ({row['attribute']})"
    if not plain:
        rule, head = "gap-hidden", f"{claim} than the plain figures show"
    elif "turned" in words:
        rule, head = "gap-turned", f"{claim}, but turned round by what explains it"
    elif words == ["remains", "remains"]:
        rule, head = "gap-remains", f"{claim}, and that remains"
    elif "explained" in words and "remains" not in words:
        rule, head = "gap-explained", f"{claim}, but explained without the model"
    else:
        rule, head = "gap-unclear", f"{claim}; how much of it is the model's doing cannot be told"
    return Finding(
        rule,
        f"{head}: {figures}; {what}",
        metric,
        "level",
        f"{row['attribute']}={better}",
        advantage,
        low,
        high,
        alike,
        None,
        None if row["se"] is None else NormalDist().inv_cdf((1 + manner.confidence) / 2) * row["se"],
        row["p_holm"],
        row["items"],
        row["pairs"],
        f"{row['attribute']}={worse}",
    )


def _hidden(row: Row, manner: Manner) -> float | None:
    """Return what is left of a gap that only explanations bring to light; both of them must, and the same way round.

    One alone overshoots now and then where levels differ much in difficulty and the model treats all alike.
    """
    left = [float(row[name]) for name in ("excess", "adjusted") if row[name] is not None and manner.shown(row[f"{name}_p_holm"], row[name])]
    return left[0] if len(left) == 2 and left[0] * left[1] > 0 else None


def _side(sign: float, row: Row, name: str) -> tuple[float | None, float | None, float | None, float | None]:
    value = None if row[name] is None else sign * row[name]
    return (value, *turned_ends(sign, row[f"{name}_low"], row[f"{name}_high"]), row[f"{name}_p_holm"])


def _left(one: Left, word: str, metric: str, manner: Manner) -> str:
    if word == "unknown" or one.value is None:
        return f"what is left of it {one.called} is not known"
    corrected_away = word == "untold" and one.low is not None and one.low > 0
    says = (
        "are left, not shown once corrected for the number of gaps"
        if corrected_away
        else {
            "remains": "remain",
            "explained": "are left, which may be nothing and is less than the gap",
            "turned": "remain, the other way round",
            "untold": "are left, which may be nothing or all of it",
        }[word]
    )
    return f"{one.called} {size(metric, one.value)} {says} ({manner.interval(metric, one.low, one.high)})"


def no_gaps(rows: Sequence[Row], shown: Sequence[str], family: int, manner: Manner) -> list[Finding]:
    """Say of which attributes no gap is shown, and which gaps could not have been seen there.

    Args:
        rows: of GAPS, one run and metric. shown: attributes of which a gap is claimed. family: gaps tested together. manner: of writing.
    """
    found: list[Finding] = []
    unknown = [row for row in rows if row["p_holm"] is None]
    if unknown:
        why = "no common items" if all(row["gap"] is None for row in unknown) else "no common items or no interval"
        names = ", ".join(dict.fromkeys(row["attribute"] for row in unknown))
        text = f"cannot be judged: {count(len(unknown), 'gap')} in {title(rows[0]['metric'])} between levels of {names}: {why}"
        found.append(
            Finding(
                "cannot-be-judged", f"{text} (0 pairs)" if not any(row["pairs"] for row in unknown) else text, rows[0]["metric"], "level"
            )
        )
    quiet = [row for row in rows if row["p_holm"] is not None and row["attribute"] not in shown]
    if not quiet:
        return found
    metric = quiet[0]["metric"]
    attributes = ", ".join(dict.fromkeys(row["attribute"] for row in quiet))
    largest = max(quiet, key=lambda row: abs(row["gap"]))
    pair = f"{largest['level']} less {largest['against_level']}"
    text = (
        f"no gap between levels of {attributes} is shown ({count(len(quiet), 'gap')} in {title(metric)}, Holm over {family}), "
        f"which is no proof that there is none: the largest is {pair}, {size(metric, largest['gap'])} "
        f"({manner.interval(metric, largest['ci_low'], largest['ci_high'])}; noise alone gives {size(metric, largest['expected_alike'])} "
        f"on average; {count(largest['items'], 'item')}, {count(largest['pairs'], 'pair')})"
    )
    found.append(_about_gap("no-gap-shown", text, largest, largest["gap"], largest["ci_low"], largest["ci_high"]))
    seen = sorted(quiet, key=lambda row: row["se"])
    first, last = (_detectable(row["se"], family, manner) for row in (seen[0], seen[-1]))
    if last > SMALLEST_GAP:
        between = f"{size(metric, first)} ({seen[0]['level']}, {seen[0]['against_level']})"
        if len(seen) > 1:
            between += f" to {size(metric, last)} ({seen[-1]['level']}, {seen[-1]['against_level']})"
        text = (
            f"underpowered for {attributes}: a gap in {title(metric)} must be at least {between} to be seen "
            f"({percent(TARGET)} power{corrected(family, 'gap')}); smaller ones may be there "
            f"(noise alone gives {size(metric, seen[0]['expected_alike'])} to {size(metric, seen[-1]['expected_alike'])} on average; "
            f"{seen[0]['pairs']:,} and {count(seen[-1]['pairs'], 'pair')})"
        )
        found.append(_about_gap("underpowered", text, seen[-1], last, None, None))
    return found


def _detectable(se: float, family: int, manner: Manner) -> float:
    """Return the gap found with chance TARGET at Holm's first step."""
    normal = NormalDist()
    return (normal.inv_cdf(1 - manner.alpha / 2 / max(family, 1)) + normal.inv_cdf(TARGET)) * se


def _about_gap(rule: str, text: str, row: Row, value: float, low: float | None, high: float | None) -> Finding:
    key, against = (f"{row['attribute']}={row[name]}" for name in ("level", "against_level"))
    where = (row["metric"], "level", key, value, low, high, row["expected_alike"], None, None, row["p_holm"])
    return Finding(rule, text, *where, row["items"], row["pairs"], against)


def reference_level(rows: Sequence[Row]) -> str:
    """Return the level with most pairs in its gaps, the first of those that tie: rows of GAPS, one attribute."""
    pairs: dict[str, int] = {}
    for row in rows:
        for name in ("level", "against_level"):
            pairs[row[name]] = pairs.get(row[name], 0) + (row["pairs"] or 0)
    return max(pairs, key=lambda level: pairs[level])
