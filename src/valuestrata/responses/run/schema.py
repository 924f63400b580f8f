"""The table of responses: a row a response."""

from __future__ import annotations

from typing import Literal

import polars as pl

from valuestrata.frames import Column, Schema

Status = Literal["answered", "refused", "unparsed", "invalid_code", "failed"]
STATUSES: tuple[Status, ...] = ("answered", "refused", "unparsed", "invalid_code", "failed")

RESPONSES = Schema(
    "responses.parquet",
    {
        "pair_id": Column(pl.String, "{item}_{subgroup}"),
        "item": Column(pl.String, "item id"),
        "subgroup": Column(pl.String, "subgroup id"),
        "elicitation": Column(pl.String, "how the answer was drawn out: text, logprob, first-token, stated-distribution, reasoned, open"),
        "template": Column(pl.String, "persona template"),
        "template_version": Column(pl.String, "its version"),
        "paraphrase": Column(pl.Int32, "number of the template's wording, 0 the first"),
        "order": Column(pl.String, "option order: scale, reversed, shuffled-SEED, balanced-I-of-N"),
        "shown": Column(pl.List(pl.Int32), "scale codes in displayed order"),
        "sample": Column(pl.Int32, "0, 1, ..."),
        "prompt_hash": Column(pl.String, "SHA-256 of what the model saw"),
        "text": Column(pl.String, "what the model wrote; under reasoned the closing part of it"),
        "reasoning": Column(pl.String, "reasoning the provider gave apart and, under reasoned, what was written before the closing part"),
        "answer": Column(pl.Int32, "scale code, null unless answered; always null under open"),
        "status": Column(pl.String, "answered, refused, unparsed, invalid_code or failed"),
        "error": Column(pl.String, "why it failed"),
        "attempts": Column(pl.Int32, "calls made"),
        "finish_reason": Column(pl.String, "as the provider says"),
        "option_probs": Column(pl.List(pl.Float64), "probabilities by scale code, in SCALE order (not displayed order), sum 1"),
        "option_mass": Column(pl.Float64, "probability of all legal answers before normalisation; null where none was read"),
        "prompt_tokens": Column(pl.Int64, "tokens read"),
        "completion_tokens": Column(pl.Int64, "tokens written"),
        "cost": Column(pl.Float64, "US dollars"),
        "latency": Column(pl.Float64, "seconds"),
    },
)
