"""Templates of the claims about tuned models."""

from __future__ import annotations

from collections.abc import Mapping

from valuestrata.claims.claim import Claim
from valuestrata.claims.wording import ClaimTemplate, Names, difference, listed, score_of
from valuestrata.formatting import count, ends

# Kind -> sentence. `{run}` is the tuned model, `{against}` the run it is compared with.
_SENTENCES: Mapping[str, str] = {
    "tuned-better": "Tuning made {run} better than the base model {against}",
    "tuned-worse": "Tuning made {run} worse than the base model {against}",
    "tuned-no-difference": "The data do not show that tuning made {run} better or worse than the base model {against}",
    "personas-better": "Personas added to the gain of {run}, so part of the gain is about the subgroups",
    "personas-worse": "Personas reduced the gain of {run}",
    "personas-no-difference": "The data do not show that personas added to the gain of {run}",
    "labels-better": "Training with the correct personas made {run} better than training with shuffled personas",
    "labels-worse": "Training with the correct personas made {run} worse than training with shuffled personas",
    "labels-no-difference": "The data do not show that {run} learned more from the correct personas than from shuffled ones",
    "swapped-better": "{run} answers better as the correct subgroup than as another one",
    "swapped-worse": "{run} answers better as another subgroup than as the correct one",
    "swapped-no-difference": "The data do not show that the answers of {run} depend on the persona in the prompt",
    "item-mode-better": "{run} is better than the item-mode baseline",
    "item-mode-worse": "{run} is worse than the item-mode baseline",
    "item-mode-no-difference": "The data do not show a difference between {run} and the item-mode baseline",
    "nearest-parent-better": "{run} is better than the nearest-parent baseline",
    "nearest-parent-worse": "{run} is worse than the nearest-parent baseline",
    "nearest-parent-no-difference": "The data do not show a difference between {run} and the nearest-parent baseline",
}


# Note of a claim -> what its interval includes.
_SOURCES: Mapping[str, str] = {
    "seed": "training seeds",
    "order": "orders of the options",
    "paraphrase": "wordings",
    "template": "templates",
}


def _template(text: str) -> ClaimTemplate:
    def sentence(claim: Claim, names: Names) -> str:
        found = f"{text.format(run=names.run(claim.run), against=names.run(claim.against))}: {difference(claim)}"
        return f"{found}. This is one training with one seed; other seeds may give another result" if "one-seed" in claim.notes else found

    return ClaimTemplate(sentence, _details)


def _details(claim: Claim, names: Names) -> list[str]:
    lines: list[str] = []
    before, after, alone = claim.figure("before"), claim.figure("after"), claim.figure("without-personas")
    if before is not None and after is not None:
        lines.append(f"{score_of(before)} before tuning and {score_of(after)} after")
    if alone is not None:
        lines.append(f"The same model trained and asked without personas, compared with the base model: {difference(claim, alone)}")
    if (seeds := claim.figure("seeds")) is not None:
        single = (
            "" if seeds.low is None or seeds.high is None else f"; gains of single seeds: {ends(claim.metric or '', seeds.low, seeds.high)}"
        )
        lines.append(f"Mean of {count(seeds.n, 'training seed')}{single}")
        sources = listed(["items", "respondents", *(written for name, written in _SOURCES.items() if name in claim.notes)])
        lines.append(f"The interval includes the variation over {sources}")
    if "not-after-correction" in claim.notes:
        lines.append("The interval excludes no difference before, but not after the correction for the number of tests")
    if claim.kind == "personas-no-difference":
        lines.append("The gain may come from the usual answer to each question alone")
    return lines


TUNING: Mapping[str, ClaimTemplate] = {kind: _template(text) for kind, text in _SENTENCES.items()}
