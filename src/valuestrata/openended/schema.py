"""The tables of open-ended answers: verdicts of a judge over pairs of answers, stances that a judge reads from one answer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import polars as pl

from valuestrata.frames import Column, Schema

CRITERIA: tuple[str, ...] = ("value", "persona", "overall")
ORDERS: tuple[str, ...] = ("run-first", "reference-first")
VERDICT_WORDS: tuple[str, ...] = ("run", "reference", "tie")
WINS: Mapping[str, float] = {"run": 1.0, "tie": 0.5, "reference": 0.0}

VerdictStatus = Literal["answered", "by_rule", "refused", "unparsed", "failed"]
VERDICT_STATUSES: tuple[VerdictStatus, ...] = ("answered", "by_rule", "refused", "unparsed", "failed")
# `by_rule`: decided without the judge, because at least one side gave no answer to judge.
COUNTED: tuple[VerdictStatus, ...] = ("answered", "by_rule")

StanceStatus = Literal["answered", "no_stance", "refused", "unparsed", "failed"]
STANCE_STATUSES: tuple[StanceStatus, ...] = ("answered", "no_stance", "refused", "unparsed", "failed")

_CALL = {
    "error": Column(pl.String, "why nothing was read, or what was remarked"),
    "attempts": Column(pl.Int32, "calls made; 0 where the judge was not asked"),
    "finish_reason": Column(pl.String, "as the provider says"),
    "prompt_hash": Column(pl.String, "SHA-256 of what the judge saw"),
    "text": Column(pl.String, "what the judge wrote; under reasoned the closing part of it"),
    "prompt_tokens": Column(pl.Int64, "tokens read"),
    "completion_tokens": Column(pl.Int64, "tokens written"),
    "cost": Column(pl.Float64, "US dollars"),
    "latency": Column(pl.Float64, "seconds"),
}

VERDICTS = Schema(
    "verdicts.parquet",
    {
        "pair_id": Column(pl.String, "{item}_{subgroup}"),
        "item": Column(pl.String, "item id"),
        "subgroup": Column(pl.String, "subgroup id"),
        "sample": Column(pl.Int32, "sample of both answers: 0, 1, ..."),
        "run": Column(pl.String, "run that is judged"),
        "reference": Column(pl.String, "run that it is judged against"),
        "judge": Column(pl.String, "the judge, as the user wrote it"),
        "order": Column(pl.String, "whose answer the judge saw first: run-first or reference-first"),
        "criterion": Column(pl.String, "value, persona, overall or one of the study's own"),
        "verdict": Column(pl.String, "run, reference or tie; null where nothing was decided"),
        "rationale": Column(pl.String, "what the judge wrote before its verdict"),
        "status": Column(pl.String, "answered, by_rule (an answer against a refusal or nothing), refused, unparsed or failed"),
        **_CALL,
    },
)

STANCES = Schema(
    "stances.parquet",
    {
        "pair_id": Column(pl.String, "{item}_{subgroup}"),
        "item": Column(pl.String, "item id"),
        "subgroup": Column(pl.String, "subgroup id"),
        "sample": Column(pl.Int32, "sample of the answer: 0, 1, ..."),
        "run": Column(pl.String, "run whose answer is read"),
        "judge": Column(pl.String, "the judge, as the user wrote it"),
        "answer": Column(pl.Int32, "scale code, null unless answered"),
        "status": Column(pl.String, "answered, no_stance, refused, unparsed or failed"),
        "rationale": Column(pl.String, "what the judge wrote before its choice"),
        "option_probs": Column(pl.List(pl.Float64), "probabilities by scale code, in scale order, given that a stance is taken; sum 1"),
        **_CALL,
    },
)
