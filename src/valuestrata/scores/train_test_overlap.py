"""What runs were trained on, compared with what they are scored on: the overlap of each run, and warnings in words."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import polars as pl

from valuestrata.dataset.tables import Dataset
from valuestrata.dataset.training_source import Halves, Overlap, Relation, TrainingSource, overlap_of, tested_beside
from valuestrata.formatting import percent
from valuestrata.respondents.baselines import TRAINS_ON_NOTHING
from valuestrata.responses.run.base_models import hosted_base
from valuestrata.responses.run.halves import RunWithResponses, response_keys, scored_responses
from valuestrata.responses.run.identity import RunIdentity

# Beginning of the notes in tables.
NOT_A_TEST = "not a test"
HALVES: Mapping[Halves, str] = {
    "all": "all respondents, including those scored",
    "same half": "the half of the respondents that is scored",
    "other halves": "a half of the respondents that was drawn in another way and overlaps with the half scored",
}


# Of several sources of a run, the last of these relations counts.
_CLOSER: Sequence[Relation] = ("none", "elsewhere", "unknown", "here")


def training_overlap(
    dataset: Dataset, runs: Iterable[RunWithResponses], *, split: str, part: str, fold: int | None = None
) -> dict[str, Overlap]:
    """Return name of a run -> what its training has in common with the pairs that it is scored on.

    Of a run with several sources, such as a calibrated run of a tuned model, the sources are combined. The relation is `unknown` for
    an imported run, an adapter and a fine-tuned hosted model without a record, and `none` for other models without one.
    """
    scored = dataset.scored_pairs(split, part, fold)
    return {run.name: _overlap(dataset, run, scored, split, part, fold) for run in runs}


def _overlap(dataset: Dataset, run: RunWithResponses, scored: pl.DataFrame, split: str, part: str, fold: int | None) -> Overlap:
    # Tables of scores accept runs without metadata.
    meta: Mapping[str, Any] = getattr(run, "meta", {})
    identity = RunIdentity.from_document(meta, run.name, f"run.json of the run {run.name!r}")
    if identity.rule in TRAINS_ON_NOTHING:
        return Overlap("none")
    responses = scored_responses(run, split, fold)
    own = scored.join(responses, on=response_keys(responses), how="semi")
    described = (meta.get("training_data") or {}).get("survey")
    sources = [completed_source(source, identity) for source in identity.sources]
    found = [overlap_of(source, dataset, own, split, described) for source in sources]
    if not found:
        relation: Relation = "here" if identity.is_baseline else "unknown" if may_be_trained(identity) else "none"
        return Overlap(relation, pairs=own["pair_id"].n_unique())
    relations: list[Relation] = [one.relation for one in found]
    beside = 0.0
    # Part `all` holds training pairs, so it tests no fold.
    if identity.method is not None and identity.respondent.trained_on is not None and found[0].relation == "here" and part != "all":
        beside = tested_beside(identity.respondent.trained_on, dataset, own, split, part, fold)
    return Overlap(
        max(relations, key=_CLOSER.index),
        max(one.tested for one in found),
        next((one.halves for one in found if one.halves is not None), None),
        any(one.same_survey for one in found),
        own["pair_id"].n_unique(),
        beside,
    )


def completed_source(source: TrainingSource, identity: RunIdentity) -> TrainingSource:
    """Return the record of a baseline with the data set, which earlier versions left out: that of the run unless it names another."""
    other = source.document.get("data_set")
    if not identity.is_baseline or source.dataset is not None:
        return source
    return source.model_copy(update={"dataset": str(other) if other is not None else identity.dataset.fingerprint})


def may_be_trained(identity: RunIdentity) -> bool:
    """Whether a model without a record may have been trained on survey data: imported, with an adapter, or fine-tuned at a provider."""
    model = identity.model
    return model.provider == "imported" or model.adapter_hash is not None or hosted_base(model.model or "") is not None


def training_notes(overlaps: Mapping[str, Overlap]) -> dict[str, str]:
    """Return name of a run -> why its scores are not a test, for runs where they are not."""
    return {name: f"{NOT_A_TEST}: trained on {reason_of(overlap)}" for name, overlap in overlaps.items() if overlap.voids}


def training_warnings(overlaps: Mapping[str, Overlap], split: str, part: str) -> list[str]:
    """Return a sentence for each reason why scores are not a test, with the runs it concerns: the first lines of every output."""
    by_note: dict[str, list[str]] = {}
    for name, note in training_notes(overlaps).items():
        by_note.setdefault(note, []).append(name)
    return [f"Warning: {', '.join(names)}: {note} (split {split}, part {part})." for note, names in by_note.items()]


def warnings_about(dataset: Dataset, runs: Iterable[RunWithResponses], table: pl.DataFrame) -> list[str]:
    """Return the warnings about every part of a split in a table with `scheme`, `fold` and `part`."""
    given, lines = list(runs), list[str]()
    for split, fold, part in table.select("scheme", "fold", "part").unique(maintain_order=True).iter_rows():
        lines += training_warnings(training_overlap(dataset, given, split=split, part=part, fold=fold), split, part)
    return list(dict.fromkeys(lines))


def reason_of(overlap: Overlap) -> str:
    """Return what a run was trained on that it should not have been: `all respondents, including those scored`."""
    reasons = [] if overlap.halves is None else [HALVES[overlap.halves]]
    if overlap.tested:
        reasons.append(f"{percent(overlap.tested) if overlap.tested >= 0.01 else 'less than 1 %'} of the pairs scored")
    if overlap.beside:
        reasons.append("pairs that the same fold tests")
    return " and ".join(reasons)
