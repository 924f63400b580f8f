"""Templates of the claims about variance components."""

from __future__ import annotations

from collections.abc import Mapping

from valuestrata.claims.claim import Claim, Figure
from valuestrata.claims.wording import ClaimTemplate, Names, interval
from valuestrata.formatting import capital, number, percent
from valuestrata.scores.variance.table import GOLD, PERSON, REPEAT
from valuestrata.stats.variance_components import COMBINATION, INTERACTION, SAMPLE

# Variances of answers on 0 to 1 are small numbers.
DIGITS = 4
COMPONENT_NAMES: Mapping[str, str] = {
    "persona": "the persona",
    "order": "the order of the options",
    "paraphrase": "the paraphrase",
    "template": "the template",
    COMBINATION: "the combination of order, paraphrase and template",
    INTERACTION: "the interaction of persona and presentation",
    SAMPLE: "sampling at the same prompt",
    REPEAT: "repeated answers for the same pair",
    PERSON: "the different people of a subgroup",
    GOLD[0]: "the mean answers of real subgroups",
    GOLD[1]: "the most common answers of real subgroups",
}


def component_name(component: str | None) -> str:
    """Return the name of a component, or of components that the design cannot separate (joined by ` + `)."""
    return " together with ".join(COMPONENT_NAMES.get(name, name) for name in (component or "").split(" + "))


def _variance(claim: Claim, figure: Figure | None = None) -> str:
    figure = figure or claim.estimate
    return f"{number(figure.value, DIGITS)} ({interval(claim, figure, write=lambda value: number(value, DIGITS))})"


def _share(claim: Claim) -> str:
    share = claim.figure("share")
    return "unknown" if share is None else f"{percent(share.value)} ({interval(claim, share, write=percent)})"


def _most(claim: Claim, names: Names) -> str:
    return f"Most of the variance within items comes from {component_name(claim.key)}: {_share(claim)}"


def _largest(claim: Claim, names: Names) -> str:
    return f"The largest source of variance within items is {component_name(claim.key)}: {_share(claim)}; no source is shown to exceed half"


def _persona_moves(claim: Claim, names: Names) -> str:
    return f"{capital(component_name(claim.key))} changes the answers: variance {_variance(claim)}"


def _persona_unseen(claim: Claim, names: Names) -> str:
    return f"The data do not show that {component_name(claim.key)} changes the answers: variance {_variance(claim)}"


def _ratio(claim: Claim) -> str:
    ratio = claim.figure("ratio")
    if ratio is None or ratio.low is None:
        return f"difference in variance {_variance(claim)}"
    return f"ratio of variances {number(ratio.value, 2)} ({interval(claim, ratio, write=lambda value: number(value, 2))})"


def _compared(comparison: str) -> ClaimTemplate:
    """Return the template of two components; the comparison is `more`, `less`, `as-much` or `cannot-tell`."""

    def sentence(claim: Claim, names: Names) -> str:
        first, people = component_name(claim.key), claim.against in GOLD
        second = component_name(claim.against)
        if people:
            text = {
                "more": f"{capital(first)} changes the answers more than {second} differ",
                "less": f"{capital(first)} changes the answers less than {second} differ",
                "as-much": f"{capital(first)} changes the answers about as much as {second} differ",
                "cannot-tell": f"The data do not show whether {first} changes the answers more or less than {second} differ",
            }
        else:
            text = {
                "more": f"{capital(first)} changes the answers more than {second}",
                "less": f"{capital(second)} changes the answers more than {first}",
                "as-much": f"{capital(first)} changes the answers about as much as {second}",
                "cannot-tell": f"The data do not show whether {first} or {second} changes the answers more",
            }
        return f"{text[comparison]}: {_ratio(claim)}"

    return ClaimTemplate(sentence, _both)


def _both(claim: Claim, names: Names) -> list[str]:
    first, second = claim.figure("first"), claim.figure("second")
    if first is None or second is None:
        return []
    values = f"{number(first.value, DIGITS)} and {number(second.value, DIGITS)}"
    return [f"Variances {values}, difference {_variance(claim)}"]


def _not_known(claim: Claim, names: Names) -> str:
    return f"The variance due to {component_name(claim.key)} is unknown: {', '.join(claim.notes)}"


VARIANCE_KINDS: Mapping[str, str] = {
    "more": "more-than-{}",
    "less": "less-than-{}",
    "as-much": "as-much-as-{}",
    "cannot-tell": "cannot-tell-from-{}",
}
VARIANCE: Mapping[str, ClaimTemplate] = {
    "most": ClaimTemplate(_most),
    "largest": ClaimTemplate(_largest),
    "persona-moves": ClaimTemplate(_persona_moves),
    "persona-unseen": ClaimTemplate(_persona_unseen),
    **{
        kind.format(other): _compared(comparison) for other in ("persona", "people", "modes") for comparison, kind in VARIANCE_KINDS.items()
    },
    "not-told": ClaimTemplate(_not_known),
}
