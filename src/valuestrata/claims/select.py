"""Selection of the claims to show: merging over metrics, at most five per run, none of baselines unless requested.

The first screen of a run shows findings only if they hold after correction over everything it may show (`Claim.page_p`). The others are
a screen for hypotheses: each family of them has its own error rate.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from valuestrata.claims.claim import Claim

MOST_CLAIMS = 5


@dataclass(frozen=True)
class RunClaims:
    """The claims of one run: `shown` in order of importance, and the `rest`, in the same order."""

    run: str
    shown: tuple[Claim, ...]
    rest: tuple[Claim, ...]


def merged(claims: Iterable[Claim]) -> list[Claim]:
    """Return the claims with those that differ only in metric merged into the first of them.

    Claims are merged where family, kind, run, split, subgroup, comparison, direction and strength are equal, and all or none of them
    hold over the whole first screen.
    """
    groups: dict[tuple[object, ...], list[Claim]] = {}
    for number, one in enumerate(claims):
        split = (one.scheme, one.fold, one.part, one.elicitation)
        subject = (one.family, one.kind, one.run, *split, one.by, one.key, one.against, one.direction, one.strength)
        subject = (*subject, one.on_first_screen)
        # Claims about no metric are not merged: they are different statements.
        groups.setdefault((*subject, number if one.metric is None else None), []).append(one)
    return [
        replace(
            one[0],
            also=one[0].also + tuple(other.estimate for other in one[1:]),
            importance=max(other.importance for other in one),
            page_p=max((other.page_p for other in one if other.page_p is not None), default=None),
        )
        for one in groups.values()
    ]


def ranked(claims: Iterable[Claim]) -> list[Claim]:
    """Return the merged claims, most important first; equally important ones keep their order."""
    return sorted(merged(claims), key=lambda claim: -claim.importance)


def select(claims: Iterable[Claim], *, most: int | None = MOST_CLAIMS, baselines: bool = False) -> list[RunClaims]:
    """Return the claims of each run to show, runs in order of appearance.

    Args:
        claims: of any number of runs. most: claims shown of a run, of those that may be on its first screen; None shows all.
        baselines: whether baselines get claims too; otherwise all theirs are in `rest`.
    """
    by_run: dict[str, list[Claim]] = {}
    given = list(claims)
    for claim in given:
        by_run.setdefault(claim.run, [])
    for claim in ranked(given):
        by_run[claim.run].append(claim)
    found: list[RunClaims] = []
    for run, own in by_run.items():
        if own[0].run_kind == "baseline" and not baselines:
            shown = []
        else:
            shown = own if most is None else [claim for claim in own if claim.on_first_screen][:most]
        found.append(RunClaims(run, tuple(shown), tuple(claim for claim in own if all(claim is not one for one in shown))))
    return found
