"""Parse a model's text under `stated-distribution` into a probability per option, or a failure status.

The parser reads percentages or fractions after an option's number, mark or label: one per line, all on one line, in a table
or in a JSON object. Nothing is guessed: a range (`20-25%`), an option with two shares, a share of several options, a share
before its option, and shares that do not sum to 100 are `unparsed`, with a note.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from valuestrata.responses.parse.normalise import plain, without_thoughts
from valuestrata.responses.parse.options import ParseStatus, Scale
from valuestrata.responses.parse.patterns import REFUSAL, SHORT_REFUSAL
from valuestrata.responses.parse.shares import Share, UnclearError, shares_in

# Whole percentages may be off by one in total.
EXACT = 1.0
# A share for every option is accepted within this distance of 100 and divided by the sum.
NEAR = 5.0


@dataclass(frozen=True, slots=True)
class Stated:
    """Result of parsing.

    Attributes:
        probabilities: of the options in displayed order, sum 1; None unless `status` is `answered`.
        status: `answered`, `refused` or `unparsed`.
        note: reason of a failure, or a correction of the shares.
    """

    probabilities: tuple[float, ...] | None
    status: ParseStatus
    note: str | None = None


def parse_distribution(text: str, prompt_options: Sequence[str], shown: Sequence[int], labels: Mapping[int, str]) -> Stated:
    """Parse a model's text as shares of the options.

    Options without a share count as 0 if the others sum to 100 within `EXACT`. If every option has one, a sum within `NEAR`
    of 100 is normalised. Without a percent sign, shares may sum to 1 instead.

    Args:
        prompt_options: answer strings of the prompt, in displayed order.
        shown: scale code of each option.
        labels: label of each scale code, as in the prompt; codes may have none.
    """
    clean = plain(without_thoughts(text)).replace("٪", "%")
    if not clean:
        return _unparsed("empty")
    scale = Scale.of(prompt_options, shown, labels)
    shares: dict[int, Share] = {}
    try:
        for share in shares_in(clean, scale):
            before = shares.setdefault(share.code, share)
            if before.value != share.value:
                raise UnclearError(
                    f"option {_name(share.code, prompt_options, shown)} has two shares, {before.written} and {share.written}"
                )
    except UnclearError as unclear:
        return _unparsed(str(unclear))
    if shares:
        return _distribution(shares, prompt_options, shown)
    if REFUSAL.search(clean) or SHORT_REFUSAL.fullmatch(clean):
        return Stated(None, "refused")
    return _unparsed("no shares in the text")


def _unparsed(note: str) -> Stated:
    return Stated(None, "unparsed", note)


def _distribution(shares: Mapping[int, Share], options: Sequence[str], shown: Sequence[int]) -> Stated:
    total = sum(share.value for share in shares.values())
    whole = 1.0 if _are_fractions(shares.values(), total, complete=len(shares) == len(shown)) else 100.0
    off = abs(total - whole) * 100 / whole
    left = [_name(code, options, shown) for code in shown if code not in shares]
    # Tolerance of floating-point sums.
    slack = 1e-6
    if off > (EXACT if left else NEAR) + slack:
        return _unparsed(f"the shares come to {total:g} and not to 100" + (f"; none for {', '.join(left)}" if left else ""))
    notes = [f"nothing said of {', '.join(left)}, taken as 0"] if left else []
    if off > slack:
        notes.append(f"the shares come to {total:g} and were divided by it")
    values = [shares[code].value if code in shares else 0.0 for code in shown]
    return Stated(tuple(value / total for value in values), "answered", "; ".join(notes) or None)


def _are_fractions(shares: Collection[Share], total: float, *, complete: bool) -> bool:
    """Whether shares sum to 1 rather than 100: needs decimals or a share for every option, since `3: 1` alone is ambiguous."""
    if any(share.is_percent for share in shares) or abs(total - 1) > NEAR / 100:
        return False
    return complete or any(not share.written.isdigit() for share in shares)


def _name(code: int, options: Sequence[str], shown: Sequence[int]) -> str:
    return options[list(shown).index(code)]
