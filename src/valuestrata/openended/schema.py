"""Tables of open-ended answers: verdicts over pairs of answers, stances of single answers, and estimates."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from valuestrata.frames import Column, Schema

CRITERIA: tuple[str, ...] = ("value", "persona", "overall")
ORDERS: tuple[str, ...] = ("run-first", "reference-first")
# Value of a verdict for the run.
WINS: Mapping[str, float] = {"run": 1.0, "tie": 0.5, "reference": 0.0}
# Verdicts that count in a win rate. `by_rule`: decided without the judge because at least one side gave no answer.
COUNTED: tuple[str, ...] = ("answered", "by_rule")

_CALL = {
    "error": Column(pl.String, "why nothing was read, or a remark"),
    "attempts": Column(pl.Int32, "calls made; 0 if the judge was not asked"),
    "finish_reason": Column(pl.String, "as the provider reports it"),
    "prompt_hash": Column(pl.String, "SHA-256 of the prompt"),
    "text": Column(pl.String, "text of the judge; with the elicitation reasoned its closing part"),
    "prompt_tokens": Column(pl.Int64, "tokens read"),
    "completion_tokens": Column(pl.Int64, "tokens written"),
    "cost": Column(pl.Float64, "US dollars"),
    "latency": Column(pl.Float64, "seconds"),
}
_ANSWER = {
    "pair_id": Column(pl.String, "{item}_{subgroup}"),
    "item": Column(pl.String, "item id"),
    "subgroup": Column(pl.String, "subgroup id"),
}

VERDICTS = Schema(
    "verdicts.parquet",
    {
        **_ANSWER,
        "sample": Column(pl.Int32, "sample of both answers: 0, 1, ..."),
        "run": Column(pl.String, "run that is judged"),
        "reference": Column(pl.String, "run it is compared with"),
        "judge": Column(pl.String, "model specification of the judge"),
        "order": Column(pl.String, "whose answer the judge saw first: run-first or reference-first"),
        "criterion": Column(pl.String, "value, persona, overall or a custom one"),
        "verdict": Column(pl.String, "run, reference or tie; null without a verdict"),
        "rationale": Column(pl.String, "text of the judge before its verdict"),
        "status": Column(pl.String, "answered, by_rule (at least one side gave no answer), refused, unparsed or failed"),
        **_CALL,
    },
)

STANCES = Schema(
    "stances.parquet",
    {
        **_ANSWER,
        "sample": Column(pl.Int32, "sample of the answer: 0, 1, ..."),
        "run": Column(pl.String, "run whose answer is read"),
        "judge": Column(pl.String, "model specification of the judge"),
        "answer": Column(pl.Int32, "scale code, null unless answered"),
        "status": Column(pl.String, "answered, no_stance, refused, unparsed or failed"),
        "rationale": Column(pl.String, "text of the judge before its choice"),
        "option_probs": Column(pl.List(pl.Float64), "probabilities of the codes in scale order, given that a stance is taken; sum 1"),
        **_CALL,
    },
)


def estimate_columns(metrics: str, pairs: str = "observations") -> dict[str, Column]:
    """Return the columns of a table of estimates by grouping.

    Args:
        metrics: the metrics of the table. pairs: what the column `pairs` counts.
    """
    return {
        "by": Column(pl.String, "all, stratum, attribute, level, subgroup or topic"),
        "key": Column(pl.String, "value of the grouping"),
        "metric": Column(pl.String, metrics),
        "value": Column(pl.Float64, "the estimate, null if undefined"),
        "ci_low": Column(pl.Float64, "lower end of the 95 % interval, clustered by block of items; null under 5 items"),
        "ci_high": Column(pl.Float64, "upper end"),
        "pairs": Column(pl.Int64, pairs),
        "items": Column(pl.Int64, "number of their items"),
    }
